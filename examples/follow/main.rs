//! Follows files by their names, as `tail -F` does, through rotation.
//!
//! The kernel tells of what happens to the folders that the names stand in, which makes following quick; a look at every
//! name each second makes it certain, where the kernel tells nothing (network file systems, folders that are swapped
//! above), or not all (its queue is full).
//!
//! A file that came to a name and was moved on before anybody could open it is found by the moves that the kernel tells
//! of. What was opened by a path counts only if no move came in between; a mark in the stream of events shows that.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

#[path = "../tool/mod.rs"]
mod tool;

mod generation;
mod globs;
mod name;
mod told;
mod watching;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use corering::fs::{self, Change};
use corering::time::Instant;

use generation::Identity;
use globs::Globs;
use name::Name;
use told::{Names, Told};
use tool::{EXIT_CODES, Telling, Tool};
use watching::{Happened, Watching};

/// Prints the last lines of files, and then what is appended to them, whatever becomes of them: when another file comes to
/// a name, as when logs are rotated, the old one is read to its end and then the new one is followed; when a file is cut,
/// it is read from its beginning.
///
/// Names may be globs: quote them, and files that come later are followed, too. Ends with Ctrl-C (130).
#[derive(Parser)]
#[command(name = "follow", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Files, which need not be there yet, and globs.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print so many lines of what is there first, or "+N": all from line N on.
    #[arg(short = 'n', long, value_name = "N", default_value = "10")]
    lines: From,
    /// Put the file's name in front of each line, not above.
    #[arg(short, long, conflicts_with = "json")]
    prefix: bool,
    /// With --prefix: put a zero byte behind names, which is in none.
    #[arg(short = '0', long, requires = "prefix")]
    null: bool,
    /// Print no names.
    #[arg(short, long, conflicts_with_all = ["prefix", "json"])]
    quiet: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// End when that process has.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// End when nothing was appended for so long.
    #[arg(long, value_name = "SECONDS")]
    until_idle: Option<f64>,
    /// Do not let the kernel tell, but look every so often.
    #[arg(long, value_name = "SECONDS")]
    poll: Option<f64>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Last(u64),
    Line(u64),
}

impl FromStr for From {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('+') {
            Some(line) => line.parse().map(From::Line),
            None => text.parse().map(From::Last),
        }
    }
}

/// How often every name is looked at, and without the kernel's help.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_ALONE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let telling = Telling { json: arguments.json, null: false, no_progress: true };
    let tool = Tool::new("follow", &telling, true);
    let mut globs = Vec::new();
    let mut plain = Vec::new();
    for path in &arguments.paths {
        match Globs::new(path) {
            Ok(Some(glob)) if std::fs::symlink_metadata(path).is_err() => globs.push(glob),
            Ok(_) => plain.push(path.clone()),
            Err(error) => tool::usage("follow", error),
        }
    }
    let seconds = |seconds: Option<f64>| match seconds.map(Duration::try_from_secs_f64) {
        Some(Err(error)) => tool::usage("follow", error),
        Some(Ok(duration)) => Some(duration),
        None => None,
    };
    let names = if arguments.json {
        Names::Json
    } else if arguments.prefix {
        Names::Prefixes(if arguments.null { b"\0" } else { b": " })
    } else if !arguments.quiet && (plain.len() > 1 || !globs.is_empty()) {
        Names::Headers
    } else {
        Names::None
    };
    let mut follow = Follow {
        tool: Rc::clone(&tool),
        told: Told::new(Rc::clone(&tool), names),
        names: plain.into_iter().map(|path| Name::new(path, Some(arguments.lines))).collect(),
        globs,
        watching: Watching::new(&tool, seconds(arguments.poll).is_none()),
        lines: arguments.lines,
        poll: seconds(arguments.poll).unwrap_or(LOOK_ALONE),
        pid: arguments.pid,
        until_idle: seconds(arguments.until_idle),
    };
    tool.run(async { follow.go().await }, |_| {})
}

struct Follow {
    tool: Rc<Tool>,
    told: Told,
    names: Vec<Name>,
    globs: Vec<Globs>,
    watching: Watching,
    lines: From,
    /// How often to look if the kernel does not tell.
    poll: Duration,
    pid: Option<u32>,
    until_idle: Option<Duration>,
}

impl Follow {
    async fn go(&mut self) {
        let mut is_first = true;
        loop {
            // Asked before the last look: what a process wrote before it ended is told.
            let is_last = self.is_at_the_end().await;
            self.look_at_all(is_first).await;
            is_first = false;
            self.read_due().await;
            if is_last || self.tool.is_over() {
                break;
            }
            let pause = if self.watching.is_on() { LOOK } else { self.poll };
            let idle_for = self.told.last_told.elapsed();
            let next_look =
                Instant::now() + self.until_idle.map_or(pause, |limit| pause.min(limit.saturating_sub(idle_for)));
            while self
                .watching
                .wait(next_look, |happened| take_note(&mut self.names, &self.globs, &self.tool, happened))
                .await
            {
                self.open_unseen().await;
                self.read_due().await;
                if self.tool.is_over() {
                    return;
                }
            }
        }
        for name in &mut self.names {
            name.end(&mut self.told);
        }
    }

    async fn is_at_the_end(&self) -> bool {
        if let Some(pid) = self.pid {
            if fs::metadata(format!("/proc/{pid}")).await.is_err() {
                return true;
            }
        }
        self.until_idle.is_some_and(|limit| self.told.last_told.elapsed() >= limit)
    }

    /// Looks where all names lead to, and which files match the globs.
    async fn look_at_all(&mut self, is_first: bool) {
        let mut paths = Vec::new();
        for globs in &self.globs {
            let (found, folders) = globs.expand().await;
            for folder in folders {
                self.watching.add_folder(&self.tool, &folder).await;
            }
            paths.extend(found);
        }
        for path in paths {
            if self.names.iter().any(|name| name.path == path) {
                continue;
            }
            // A file that is followed already, and was given another name, is none to begin with.
            let Ok(metadata) = fs::metadata(&path).await else { continue };
            let identity = Identity::of(&metadata);
            if metadata.is_file() && !self.names.iter().any(|name| name.knows(identity)) {
                self.names.push(Name::new(path, is_first.then_some(self.lines)));
            }
        }
        for name in &self.names {
            self.watching.add(&self.tool, &name.path).await;
        }
        // What has happened until now comes before what is seen now.
        self.watching.catch_up(|happened| take_note(&mut self.names, &self.globs, &self.tool, happened)).await;
        for name in &mut self.names {
            name.look(&self.tool).await;
            name.is_due = true;
        }
        self.open_unseen().await;
    }

    /// Opens the files that have come to names. What is moved meanwhile is opened again where it is then.
    async fn open_unseen(&mut self) {
        // Each try catches up with all that has happened: a writer would have to rotate all the time to be faster.
        for _ in 0..100 {
            if !self.names.iter().any(Name::has_unseen) {
                return;
            }
            let mut all = Vec::new();
            for (at, name) in self.names.iter_mut().enumerate() {
                if name.has_unseen() {
                    all.push((at, name.open_unseen().await));
                }
            }
            let is_watched = self.watching.is_on();
            let mut meanwhile = Vec::new();
            self.watching.catch_up(|happened| meanwhile.push(happened)).await;
            let nothing_came = meanwhile.is_empty();
            // Moves first, for these decide which answers hold; what came meanwhile is behind what was asked.
            for happened in meanwhile {
                take_note(&mut self.names, &self.globs, &self.tool, happened);
            }
            for (at, answers) in all {
                let (before, rest) = self.names.split_at_mut(at);
                let Some((name, behind)) = rest.split_first_mut() else { continue };
                let others = |identity| before.iter().chain(behind.iter()).any(|other| other.knows(identity));
                name.take_in(&self.tool, answers, is_watched, &others).await;
            }
            // What has not been found will be told of.
            if nothing_came {
                return;
            }
        }
    }

    async fn read_due(&mut self) {
        loop {
            for name in &mut self.names {
                if name.is_due {
                    if let Err(error) = name.read(&mut self.told).await {
                        name.is_due = false;
                        self.tool.report(&name.path, error);
                    }
                }
            }
            self.tool.flush();
            if self.tool.is_over() || !self.names.iter().any(|name| name.is_due) {
                return;
            }
        }
    }
}

/// Notes for each name what has happened in its folder.
fn take_note(names: &mut Vec<Name>, globs: &[Globs], tool: &Tool, happened: Happened) {
    match happened {
        Happened::In { path, change } => {
            // A name that a glob is for. It is known from its first file on, however soon that is moved.
            let came = matches!(change, Change::Created | Change::MovedTo(_));
            if came && globs.iter().any(|globs| globs.is_match(&path)) && !names.iter().any(|name| name.path == path) {
                names.push(Name::new(path.clone(), None));
            }
            let folder = folder_of(&path);
            for name in names.iter_mut().filter(|name| folder_of(&name.path) == folder) {
                if name.path == path || name.reads_others() {
                    name.is_due = true;
                }
                name.happened(tool, &path, change);
            }
        }
        Happened::ToFile(path) => {
            for name in names.iter_mut().filter(|name| name.path == path) {
                name.is_due = true;
            }
        }
        // The next look finds what it was, but not what came and went.
        Happened::TooMuch => {
            tool.say("more files came and went than the kernel tells of: some may not be read");
            names.iter_mut().for_each(|name| name.is_due = true);
        }
        Happened::TooMuchWritten => names.iter_mut().for_each(|name| name.is_due = true),
    }
}

/// The folder that a name stands in, as it is written in front of it.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
