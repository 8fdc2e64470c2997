//! The comparison: corering beside tokio and the kernel's own interfaces, on this machine, in one command.
//!
//! Every measurement runs in a child process of its own, pinned to one core; the load comes from this process, on
//! another. Rounds go through all runtimes in turn, each round in the opposite order of the one before, so that a
//! machine that drifts does so for all of them. What is printed are medians, with the least and the most.

#![allow(
    clippy::disallowed_methods,
    reason = "a measuring program of its own: it times and reads with the standard library"
)]

mod child;
mod files;
mod machine;
mod micro;
mod network;
mod perf;
mod report;
mod runtimes;
mod stats;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::files::Sizes;
use crate::stats::Results;
use crate::workload::{RUNTIMES, WORKLOADS, Workload};

/// Measures corering beside tokio and the raw kernel interfaces.
///
/// Without arguments: those that matter most, in about a minute. Believe ratios, not absolute numbers, and no ratio that
/// is nearer to 1 than its spread. To compare with compio, monoio, glommio and kimojio, build with `--features peers`.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure, as `list` names it, or the beginnings of such names: `read-hot` is `read-hot-1` and the others.
    workloads: Vec<String>,
    /// All that is about files.
    #[arg(long)]
    files: bool,
    /// All that there is.
    #[arg(long)]
    all: bool,
    /// Says what can be measured.
    #[arg(long)]
    list: bool,
    /// Where files to measure with are made, and removed in the end: on a disk. Without it, beside this program.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// MiB of the file for reading and writing in order, past the cache or cold.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    size: u64,
    /// MiB of the tree for reading cold.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    tree: u64,
    /// Which runtimes to measure, separated by commas.
    #[arg(long, value_delimiter = ',')]
    against: Vec<String>,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 0.2)]
    seconds: f64,
    /// How many measurements the medians are of.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also writes all results there, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Says what can be measured.
    List,
    #[command(hide = true)]
    Child { workload: String, runtime: String, seconds: f64, large: u64, tree: u64, directory: PathBuf },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::List) => {
            report::list();
            Ok(())
        }
        Some(Command::Child { workload, runtime, seconds, large, tree, directory }) => {
            child::run(workload, runtime, *seconds, Sizes { large: *large, tree: *tree }, directory)
        }
        None if arguments.list => {
            report::list();
            Ok(())
        }
        None => compare(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("error: {text}");
            ExitCode::from(2)
        }
        Err(Failure::Io(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(Failure::Some(count)) => {
            eprintln!("error: {count} measurements failed (named above); what the others gave is shown");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing was measured, or not all.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Io(std::io::Error),
    /// So many measurements failed, all others went on.
    Some(usize),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let workloads = chosen(arguments)?;
    for runtime in &arguments.against {
        if !RUNTIMES.contains(&runtime.as_str()) {
            let known = RUNTIMES.join(", ");
            return Err(Failure::Usage(format!("no runtime is called '{runtime}'; there are: {known}")));
        }
    }
    if !(arguments.seconds > 0.0 && arguments.seconds <= 3600.0) || arguments.rounds == 0 {
        return Err(Failure::Usage("give --seconds a number above 0, and --rounds one of at least 1".to_owned()));
    }
    let sizes = Sizes { large: arguments.size << 20, tree: arguments.tree << 20 };
    let directory = child::scratch(arguments.dir.as_deref())?;
    report::machine();
    if workloads.iter().any(|workload| workload.kind.is_files()) {
        // In memory everything goes other ways: to kernel workers, and past what is measured here.
        let (name, is_on_device) = files::data::file_system(directory.path())?;
        let place = directory.path().parent().unwrap_or(directory.path()).display();
        if !is_on_device {
            let text =
                format!("{place} is in memory ({name}): give a --dir on a disk, or name workloads without files");
            return Err(Failure::Usage(text));
        }
        println!("files are on {name}, in {place}");
    }
    report::missing(&workloads);
    machine::raise_descriptors();
    let mut all = Vec::new();
    for workload in workloads.into_iter().filter(|workload| workload.lacks().is_none()) {
        let runtimes: Vec<_> = workload
            .runtimes
            .iter()
            .copied()
            .filter(|name| arguments.against.is_empty() || arguments.against.iter().any(|n| n == name))
            .filter(|name| workload::missing(name).is_none())
            .collect();
        let mut results = Results::new(workload, &runtimes);
        for round in 0..arguments.rounds {
            let mut order = runtimes.clone();
            if round % 2 == 1 {
                order.reverse();
            }
            for runtime in order {
                report::progress(workload.name, runtime, round, arguments.rounds);
                let measure = || child::measure(workload, runtime, arguments.seconds, sizes, directory.path());
                // Once more, as what is against it may pass: pages that the kernel took out of its cache, for one.
                match measure().or_else(|_| measure()) {
                    Ok(measured) => results.add(runtime, measured),
                    Err(error) => results.failed(runtime, &error),
                }
            }
        }
        report::clear_progress();
        report::table(&results);
        all.push(results);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&all))?;
    }
    match all.iter().map(|results| results.failures.len()).sum() {
        0 => Ok(()),
        count => Err(Failure::Some(count)),
    }
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Workload>, Failure> {
    let all = || WORKLOADS.iter();
    if arguments.all {
        return Ok(all().collect());
    }
    for name in &arguments.workloads {
        if !all().any(|workload| is_meant(name, workload.name)) {
            let known: Vec<_> = all().map(|workload| workload.name).collect();
            return Err(Failure::Usage(format!("no workload is called '{name}'; there are: {}", known.join(", "))));
        }
    }
    let chosen = all().filter(|workload| {
        let named = arguments.workloads.iter().any(|name| is_meant(name, workload.name));
        let unnamed = arguments.workloads.is_empty() && !arguments.files && workload.by_default;
        named || unnamed || (arguments.files && workload.kind.is_files())
    });
    Ok(chosen.collect())
}

/// Whether a workload is named, or begins with whole words that are.
fn is_meant(name: &str, workload: &str) -> bool {
    workload.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Vec<&'static str> {
        let arguments = Arguments::parse_from([&["bench"], arguments].concat());
        chosen(&arguments).expect("known names").iter().map(|workload| workload.name).collect()
    }

    #[test]
    fn workloads_are_chosen_by_name_beginning_or_kind() {
        assert_eq!(names(&["spawn"]), ["spawn", "spawn-batch"]);
        assert_eq!(names(&["read-hot"]), ["read-hot-1", "read-hot-32", "read-hot-128"]);
        assert_eq!(names(&["lines", "small-writes"]), ["small-writes", "lines"]);
        assert_eq!(names(&["--all"]).len(), WORKLOADS.len());
        assert!(names(&["--files"]).contains(&"cold") && !names(&["--files"]).contains(&"spawn"));
        assert!(names(&[]).contains(&"echo-64x64") && !names(&[]).contains(&"cold"));
        let arguments = Arguments::parse_from(["bench", "read-h"]);
        assert!(matches!(chosen(&arguments), Err(Failure::Usage(text)) if text.contains("read-h")));
    }
}
