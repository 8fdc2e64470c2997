//! A pipeline: `pipeline [FOLDER] [--workers N] [--room N] [--first N]`, or `pipeline --tutorial`.
//!
//! asyncio's producers and consumers over a `Queue`. One task finds the files of a folder, several count their lines,
//! one adds up; each stage waits when the next is behind. Nobody sends a sentinel: a queue is closed, or closes itself
//! when its last sender has gone, and whoever takes from it gets what is left and then the end. If a stage fails, the
//! group ends the others.
//!
//! `--tutorial` runs the classic program of the tutorials, which there hangs in `queue.join()`, or needs one sentinel
//! for each consumer.
#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own; directories are listed by the standard library, one at a time"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::io::AsyncWrite as _;
use corering::sync::{self, Queue};
use corering::time::{Duration, sleep};
use corering::{TaskGroup, fs, io};

/// Counts the files, lines and bytes below a folder, by what the files' names end with. Links are not followed.
#[derive(Parser)]
struct Arguments {
    /// Where to look.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// How many files are read at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    workers: u16,
    /// How many items wait between two stages.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    room: u16,
    /// Stop when so many files have been counted.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    first: Option<u64>,
    /// Run the tutorials' program instead.
    #[arg(long, conflicts_with_all = ["folder", "first"])]
    tutorial: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = corering::run(async {
        let (text, code) = if arguments.tutorial { tutorial().await? } else { count(arguments).await? };
        io::stdout().write_all(text).await.0?;
        Ok(code)
    });
    match result.map_err(io::Error::from).and_then(|result| result) {
        Ok(code) => code,
        // Whoever reads has gone, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was counted in a file, or in several.
#[derive(Default)]
struct Count {
    files: u64,
    lines: u64,
    bytes: u64,
}

async fn count(arguments: Arguments) -> io::Result<(String, ExitCode)> {
    let folder = arguments.folder;
    // A folder that cannot be listed is an error of its own, told before anything is started.
    let entries = list(&folder)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot list {}: {error}", folder.display())))?;

    let paths = Rc::new(Queue::bounded(arguments.room.into()));
    let (counted, results) = sync::channel(arguments.room.into());
    let result = TaskGroup::scope(async |group| {
        let finder = group.spawn(find(entries, paths.clone())).name("finds");
        for number in 1..=arguments.workers {
            let (paths, counted) = (paths.clone(), counted.clone());
            group
                .spawn_infallible(async move {
                    // Ends when the queue is closed and empty.
                    while let Ok(path) = paths.get().await {
                        let count = count_one(&path).await;
                        if counted.put((path.into_inner(), count)).await.is_err() {
                            return;
                        }
                    }
                })
                .name(format_args!("counts {number}"));
        }
        // The workers have clones: when the last of them has gone, `results` ends.
        drop(counted);

        let (mut totals, mut errors) = (BTreeMap::<String, Count>::new(), Vec::new());
        let (mut files, mut left) = (0, None);
        while let Ok(result) = results.get().await {
            match result.into_inner() {
                (path, Ok((lines, bytes))) => {
                    let total = totals.entry(kind_of(&path)).or_default();
                    (total.files, total.lines, total.bytes) =
                        (total.files + 1, total.lines + lines, total.bytes + bytes);
                }
                (path, Err(error)) => errors.push(format!("{}: {error}", path.display())),
            }
            files += 1;
            if Some(files) == arguments.first {
                // Nothing more goes in; what waits comes back here, what is being counted is thrown away.
                left = Some(paths.close_now().len());
                break;
            }
        }
        drop(results);
        // All that was taken out is done: each of the workers has dropped its job.
        paths.join().await;
        errors.extend(finder.await?);
        Ok((totals, errors, left))
    });
    let (totals, errors, left) = result.await?;

    let mut text = format!("{:12} {:>8} {:>10} {:>12}\n", "kind", "files", "lines", "bytes");
    let mut all = Count::default();
    for (kind, Count { files, lines, bytes }) in &totals {
        let _ = writeln!(text, "{kind:12} {files:8} {lines:10} {bytes:12}");
        (all.files, all.lines, all.bytes) = (all.files + files, all.lines + lines, all.bytes + bytes);
    }
    let _ = writeln!(text, "{:12} {:8} {:10} {:12}", "all", all.files, all.lines, all.bytes);
    if let Some(left) = left {
        let _ = writeln!(text, "stopped as asked; {left} that had been found were not looked at");
    }
    for error in &errors {
        eprintln!("pipeline: {error}");
    }
    Ok((text, if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// Puts the files below a folder into the queue, and closes it. What could not be listed.
async fn find(mut entries: Vec<PathBuf>, paths: Rc<Queue<PathBuf>>) -> io::Result<Vec<String>> {
    let mut errors = Vec::new();
    while let Some(path) = entries.pop() {
        match fs::symlink_metadata(&path).await {
            Ok(metadata) if metadata.is_dir() => match list(&path) {
                Ok(below) => entries.extend(below),
                Err(error) => errors.push(format!("{}: {error}", path.display())),
            },
            // Waits while the queue is full; refused when nobody wants more.
            Ok(metadata) if metadata.is_file() => {
                if paths.put(path).await.is_err() {
                    break;
                }
            }
            Ok(_) => {}
            Err(error) => errors.push(format!("{}: {error}", path.display())),
        }
    }
    paths.close();
    Ok(errors)
}

/// The entries of a folder, the first one last.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|one, other| other.cmp(one));
    Ok(entries)
}

/// Lines and bytes of a file.
async fn count_one(path: &Path) -> io::Result<(u64, u64)> {
    let bytes = fs::read(path).await?;
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    Ok((lines as u64, bytes.len() as u64))
}

fn kind_of(path: &Path) -> String {
    path.extension().map_or_else(|| "(none)".to_owned(), |end| format!(".{}", end.to_string_lossy()))
}

/// Three producers, two consumers, a queue with room for four, and no sentinel.
async fn tutorial() -> io::Result<(String, ExitCode)> {
    let (sender, receiver) = sync::channel(4);
    let report = TaskGroup::scope(async |group| {
        for producer in 1..=3_u64 {
            let sender = sender.clone();
            group.spawn(async move {
                for item in 1..=10_u64 {
                    sleep(Duration::from_millis(producer)).await;
                    sender.put((producer, item)).await?;
                }
                io::Result::Ok(())
            });
        }
        drop(sender);
        let consumers: Vec<_> = (1..=2)
            .map(|_| {
                let receiver = receiver.clone();
                group.spawn_infallible(async move {
                    let mut sum = 0;
                    while let Ok(job) = receiver.get().await {
                        sleep(Duration::from_millis(2)).await;
                        let (_producer, item) = *job;
                        sum += item;
                        // Here the job is dropped, which says that it is done.
                    }
                    sum
                })
            })
            .collect();
        let mut sum = 0;
        for consumer in consumers {
            sum += consumer.await?;
        }
        receiver.queue().join().await;
        Ok(format!("30 items put and taken, their sum is {sum}, all are done\n"))
    });
    Ok((report.await?, ExitCode::SUCCESS))
}
