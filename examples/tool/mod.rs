//! What the tools share: which files they are given, how many they work on at once, and how they tell what came of it.
//!
//! ```text
//! arguments --> Places --> one worker per job --> in order --> Tool: lines on standard output, in large pieces
//!               walks, ignore rules                            one line per failure on standard error
//! ```
//!
//! Exit codes: 0; 1 if something failed and the rest was done; 2 for wrong usage; 130 after Ctrl-C, when what was done
//! until then has been told. A reader that goes away ends a tool quietly, with 0 unless something failed before.
#![allow(dead_code, reason = "each tool uses some of it")]
#![allow(unused_imports, reason = "each tool uses some of it")]

mod contents;
mod ignored;
mod input;
mod names;
mod options;
mod output;
mod places;
mod progress;
mod work;

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fmt::Display;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use corering::io::AsyncWrite;
use corering::sync::Lock;
use corering::{Builder, RunError};

pub(crate) use contents::Contents;
pub(crate) use input::read_all;
pub(crate) use names::{escaped, text};
pub(crate) use options::{EXIT_CODES, Jobs, Reading, Selection, Telling};
pub(crate) use output::Output;
pub(crate) use places::{Place, Places, Rules, Wanted, What, is_open_file, look_at};
pub(crate) use progress::Progress;
pub(crate) use work::{Items, Work, each};

/// Some of it failed, and the rest was done.
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const INTERRUPTED: u8 = 130;

/// A tool at work: what it prints, and whether anything failed.
pub(crate) struct Tool {
    name: &'static str,
    output: RefCell<Output>,
    /// Held while something is written.
    writing: Lock<()>,
    progress: Progress,
    failed: Cell<bool>,
    files: Cell<u64>,
}

impl Tool {
    /// `prints` says whether it prints as it goes: then a progress bar on the same terminal would be in the way.
    pub(crate) fn new(name: &'static str, telling: &Telling, prints: bool) -> Rc<Self> {
        let show = telling.progress() && io::stderr().is_terminal() && !(prints && io::stdout().is_terminal());
        Rc::new(Self {
            name,
            output: RefCell::new(Output::new()),
            writing: Lock::new(()),
            progress: Progress::new(show),
            failed: Cell::new(false),
            files: Cell::new(0),
        })
    }

    /// Runs `work` until it ends or Ctrl-C is pressed, tells the rest, and says how the program ends. `summary` is called
    /// in both cases, before the last lines are written.
    pub(crate) fn run(self: &Rc<Self>, work: impl Future<Output = ()>, summary: impl FnOnce(&Self)) -> ExitCode {
        // Files alone need no buffers for what is received, and no long queues: a core then starts sooner.
        let run = Builder::new().entries(64).buffers(0, 0).cancel_on_ctrl_c(true).run(work);
        if let Err(RunError::Setup(_) | RunError::Deadlock(_)) = &run {
            self.progress.clear();
        }
        match run {
            Ok(()) => {
                summary(self);
                self.end();
                if self.failed.get() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
            }
            Err(RunError::Interrupted) => {
                summary(self);
                self.end();
                self.say(format_args!("interrupted after {} files", self.files.get()));
                ExitCode::from(INTERRUPTED)
            }
            Err(error) => {
                self.end();
                self.say(error);
                ExitCode::from(FAILED)
            }
        }
    }

    /// Adds to what is printed; it is written when enough has come together, by [`settle`](Self::settle).
    pub(crate) fn print(&self, bytes: &[u8]) {
        self.output.borrow_mut().add(bytes);
    }

    /// Writes what was printed, if that is much or a terminal waits for it. A slow reader holds up whoever prints more,
    /// and nothing else.
    pub(crate) async fn settle(&self) {
        if !self.output.borrow().is_due() {
            return;
        }
        let turn = self.writing.lock().await;
        if self.output.borrow().is_due() {
            let pending = self.output.borrow_mut().take();
            let (written, _) = corering::io::stdout().write_all(pending).await;
            self.output.borrow_mut().written(written);
        }
        drop(turn);
    }

    /// Writes all that was printed.
    pub(crate) fn flush(&self) {
        if !self.output.borrow().is_empty() {
            self.progress.suspend(|| self.output.borrow_mut().write());
        }
    }

    /// Whether nobody reads any more what is printed. Then there is nothing left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.output.borrow().is_closed()
    }

    /// Reports that something failed with a file. The rest goes on.
    pub(crate) fn report(&self, path: &Path, what: impl Display) {
        self.failed.set(true);
        self.say_of(path, what);
    }

    /// Reports something of a file that is no failure.
    pub(crate) fn say_of(&self, path: &Path, what: impl Display) {
        let line =
            [self.name.as_bytes(), b": ", path.as_os_str().as_bytes(), format!(": {what}\n").as_bytes()].concat();
        self.tell(&line);
    }

    /// Notes that something failed that has been told otherwise.
    pub(crate) fn fail(&self) {
        self.failed.set(true);
    }

    pub(crate) fn say(&self, what: impl Display) {
        self.tell(format!("{}: {what}\n", self.name).as_bytes());
    }

    /// Counts a file that is done, and its bytes.
    pub(crate) fn count(&self, bytes: u64) {
        self.files.set(self.files.get() + 1);
        self.progress.count(bytes);
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.get()
    }

    fn tell(&self, line: &[u8]) {
        // Whoever closed standard error does not want to know.
        self.progress.suspend(|| {
            let _ = io::stderr().write_all(line);
        });
    }

    fn end(&self) {
        self.progress.clear();
        let mut output = self.output.borrow_mut();
        output.write();
        if let Some(error) = output.take_error() {
            drop(output);
            self.failed.set(true);
            self.say(format_args!("cannot print: {error}"));
        }
    }
}

/// The name of what stands for standard input.
pub(crate) fn is_input(path: &OsStr) -> bool {
    path == "-"
}

/// Ends a program that was called wrongly.
pub(crate) fn usage(name: &str, what: impl Display) -> ! {
    let _ = writeln!(io::stderr(), "{name}: {what}\nTry '{name} --help'.");
    std::process::exit(i32::from(USAGE))
}
