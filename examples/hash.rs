//! BLAKE3 digests of files and trees: `hash PATH... [--jobs N] [--json]`.
//!
//! Workers take file after file from one walk, and one writer puts what they find back into the order of the walk: so
//! the output does not depend on who was faster, and begins before the walk has ended.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own; directories are listed by the standard library, one at a time"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::iter::Enumerate;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::fs::{self, File};

/// Prints the BLAKE3 digest of each file, as b3sum does. Directories are walked; links in them are not followed, and
/// what is neither file nor directory is left out. What cannot be read is reported, and the rest goes on.
#[derive(Parser)]
struct Arguments {
    /// Files and directories.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How many files are read at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: u16,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Files up to this size are read in one go.
const SMALL: u64 = 1024 * 1024;
const PART: usize = 256 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match corering::run(hash_all(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hash: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn hash_all(arguments: Arguments) -> ExitCode {
    let work = Rc::new(RefCell::new(Walk::new(arguments.paths).enumerate()));
    let digests = Rc::new(RefCell::new(Digests::new(arguments.json)));
    let workers: Vec<_> =
        (0..arguments.jobs).map(|_| corering::spawn(hash_some(work.clone(), digests.clone()))).collect();
    for worker in workers {
        if let Err(error) = worker.await {
            digests.borrow_mut().report(&error);
        }
    }
    digests.borrow_mut().end()
}

async fn hash_some(work: Rc<RefCell<Enumerate<Walk>>>, digests: Rc<RefCell<Digests>>) {
    while !digests.borrow().ended() {
        let next = work.borrow_mut().next();
        let Some((number, (path, found))) = next else {
            return;
        };
        let digest = match found {
            Ok(bytes) if bytes <= SMALL => fs::read(&path).await.map(|whole| blake3::hash(&whole)),
            Ok(_) => hash_in_parts(&path).await,
            Err(error) => Err(error),
        };
        digests.borrow_mut().add(number, path, digest);
    }
}

async fn hash_in_parts(path: &Path) -> io::Result<blake3::Hash> {
    let file = File::open(path).await?;
    let mut hasher = blake3::Hasher::new();
    let (mut buffer, mut offset) = (Vec::with_capacity(PART), 0);
    loop {
        buffer.clear();
        let (read, back) = file.read_at(buffer, offset).await;
        buffer = back;
        match read? {
            0 => return Ok(hasher.finalize()),
            count => {
                hasher.update(&buffer);
                offset += count as u64;
            }
        }
    }
}

/// The files below some paths, with their sizes: what was named as it was named, trees in the order of their names.
struct Walk {
    /// What is still to be looked at, the next one last.
    stack: Vec<Place>,
}

struct Place {
    path: PathBuf,
    /// Named by the user: then a link is followed, and what cannot be hashed is an error.
    named: bool,
}

impl Walk {
    fn new(paths: Vec<PathBuf>) -> Self {
        Self { stack: paths.into_iter().rev().map(|path| Place { path, named: true }).collect() }
    }

    /// The size of the file at `place`; `None` if it is to be passed over, or a directory, whose entries then come
    /// next.
    fn look_at(&mut self, place: &Place) -> io::Result<Option<u64>> {
        let metadata =
            if place.named { std::fs::metadata(&place.path) } else { std::fs::symlink_metadata(&place.path) }?;
        if metadata.is_file() {
            return Ok(Some(metadata.len()));
        }
        if metadata.is_dir() {
            let entries: io::Result<Vec<_>> =
                std::fs::read_dir(&place.path)?.map(|entry| Ok(Place { path: entry?.path(), named: false })).collect();
            let mut entries = entries?;
            entries.sort_by(|one, other| other.path.cmp(&one.path));
            self.stack.append(&mut entries);
        } else if place.named {
            return Err(io::Error::other("neither a file nor a directory"));
        }
        Ok(None)
    }
}

impl Iterator for Walk {
    type Item = (PathBuf, io::Result<u64>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let place = self.stack.pop()?;
            if let Some(found) = self.look_at(&place).transpose() {
                return Some((place.path, found));
            }
        }
    }
}

/// Writes digests in the order of their numbers, whatever the order in which they come.
struct Digests {
    next: usize,
    early: BTreeMap<usize, (PathBuf, io::Result<blake3::Hash>)>,
    output: BufWriter<StdoutLock<'static>>,
    json: bool,
    failed: bool,
    /// Why nothing can be written any more.
    error: Option<io::Error>,
}

impl Digests {
    fn new(json: bool) -> Self {
        Self {
            next: 0,
            early: BTreeMap::new(),
            output: BufWriter::new(io::stdout().lock()),
            json,
            failed: false,
            error: None,
        }
    }

    fn add(&mut self, number: usize, path: PathBuf, digest: io::Result<blake3::Hash>) {
        self.early.insert(number, (path, digest));
        while let Some((path, digest)) = self.early.remove(&self.next) {
            self.next += 1;
            match digest {
                Ok(digest) => {
                    let line =
                        if self.json { json_line(&path, &digest) } else { line(&path.to_string_lossy(), &digest) };
                    let written = self.output.write_all(line.as_bytes());
                    self.error = self.error.take().or(written.err());
                }
                Err(error) => self.report(&format_args!("{}: {error}", path.display())),
            }
        }
    }

    fn report(&mut self, what: &dyn std::fmt::Display) {
        self.failed = true;
        // Whoever closed standard error does not want to know.
        let _ = writeln!(io::stderr(), "hash: {what}");
    }

    fn ended(&self) -> bool {
        self.error.is_some()
    }

    fn end(&mut self) -> ExitCode {
        let flushed = self.output.flush();
        match self.error.take().or(flushed.err()) {
            // Whoever reads has gone, as `head` does: that is no failure.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Some(error) => self.report(&format_args!("cannot print: {error}")),
            None => {}
        }
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// A line as b3sum writes it: with a backslash in front if the path needs any.
fn line(path: &str, digest: &blake3::Hash) -> String {
    if path.contains(['\\', '\n', '\r']) {
        let path = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        format!("\\{digest}  {path}\n")
    } else {
        format!("{digest}  {path}\n")
    }
}

fn json_line(path: &Path, digest: &blake3::Hash) -> String {
    format!("{{\"path\":{},\"blake3\":\"{digest}\"}}\n", quoted(&path.to_string_lossy()))
}

/// Text as JSON has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if (control as u32) < 0x20 => quoted.push_str(&format!("\\u{:04x}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
