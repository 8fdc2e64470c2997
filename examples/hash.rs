//! BLAKE3 digests of files and trees: `hash PATH... [--jobs N] [--json]`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own; directories are listed by the standard library, one at a time"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::fs::{self, File};
use corering::io;

/// Prints the BLAKE3 digest of each file. Directories are walked; links in them are not followed, and what is neither
/// file nor directory is left out. What cannot be read is reported, and the rest goes on.
#[derive(Parser)]
struct Arguments {
    /// Files and directories.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How many files are read at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Files up to this size are read in one go.
const SMALL: u64 = 256 * 1024;
const PART: usize = 256 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let failed = Rc::new(Cell::new(false));
    let files = list(&arguments.paths, &failed);
    let result = corering::run(hash_all(files, usize::from(arguments.jobs), failed.clone()));
    let digests = match result {
        Ok(digests) => digests,
        Err(error) => {
            eprintln!("hash: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = print(&digests, arguments.json) {
        // Whoever reads has gone, as `head` does: that is no failure.
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("hash: cannot print: {error}");
            return ExitCode::FAILURE;
        }
    }
    if failed.get() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn report(path: &Path, error: &io::Error, failed: &Cell<bool>) {
    eprintln!("hash: {}: {error}", path.display());
    failed.set(true);
}

/// All files below `paths`: those that were named as they were named, trees in the order of their names.
fn list(paths: &[PathBuf], failed: &Cell<bool>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk(path, &mut files, failed),
            Ok(_) => files.push(path.clone()),
            Err(error) => report(path, &error, failed),
        }
    }
    files
}

fn walk(root: &Path, files: &mut Vec<PathBuf>, failed: &Cell<bool>) {
    let mut directories = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                report(&directory, &error, failed);
                continue;
            }
        };
        for entry in entries {
            let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
            match kind {
                Ok((path, kind)) if kind.is_dir() => directories.push(path),
                Ok((path, kind)) if kind.is_file() => found.push(path),
                Ok(_) => {}
                Err(error) => report(&directory, &error, failed),
            }
        }
    }
    found.sort();
    files.append(&mut found);
}

/// The digests, in the order of the files; `None` for those that could not be read.
async fn hash_all(files: Vec<PathBuf>, jobs: usize, failed: Rc<Cell<bool>>) -> Vec<(PathBuf, Option<blake3::Hash>)> {
    let work: Rc<RefCell<VecDeque<_>>> = Rc::new(RefCell::new(files.into_iter().enumerate().collect()));
    let digests = Rc::new(RefCell::new(Vec::new()));
    let workers: Vec<_> = (0..jobs)
        .map(|_| {
            let (work, digests, failed) = (work.clone(), digests.clone(), failed.clone());
            corering::spawn(async move {
                loop {
                    let next = work.borrow_mut().pop_front();
                    let Some((number, path)) = next else {
                        return;
                    };
                    let digest = hash(&path).await;
                    if let Err(error) = &digest {
                        report(&path, error, &failed);
                    }
                    digests.borrow_mut().push((number, path, digest.ok()));
                }
            })
        })
        .collect();
    for worker in workers {
        if let Err(error) = worker.await {
            eprintln!("hash: {error}");
            failed.set(true);
        }
    }
    let mut digests = digests.take();
    digests.sort_by_key(|(number, ..)| *number);
    digests.into_iter().map(|(_, path, digest)| (path, digest)).collect()
}

async fn hash(path: &Path) -> io::Result<blake3::Hash> {
    let file = File::open(path).await?;
    let length = file.metadata().await?.len();
    if length <= SMALL && length > 0 {
        drop(file);
        return Ok(blake3::hash(&fs::read(path).await?));
    }
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

fn print(digests: &[(PathBuf, Option<blake3::Hash>)], json: bool) -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for (path, digest) in digests {
        let Some(digest) = digest else {
            continue;
        };
        let path = path.to_string_lossy();
        if json {
            writeln!(output, "{{\"path\":{},\"blake3\":\"{digest}\"}}", quoted(&path))?;
        } else {
            writeln!(output, "{digest}  {path}")?;
        }
    }
    output.flush()
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
