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
mod generator;
mod machine;
mod micro;
mod perf;
mod report;
mod runtimes;
mod stats;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::stats::Results;
use crate::workload::{RUNTIMES, WORKLOADS, Workload};

/// Measures corering beside tokio and the raw kernel interfaces.
///
/// Without arguments: all workloads, in about a minute. Believe ratios, not absolute numbers, and no ratio that is
/// nearer to 1 than its spread.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure; all if nothing is named.
    workloads: Vec<String>,
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
    Child { workload: String, runtime: String, seconds: f64, directory: PathBuf },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::List) => {
            report::list();
            Ok(())
        }
        Some(Command::Child { workload, runtime, seconds, directory }) => {
            child::run(workload, runtime, *seconds, directory)
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
    }
}

/// Why nothing was measured.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let workloads = chosen(&arguments.workloads)?;
    for runtime in &arguments.against {
        if !RUNTIMES.contains(&runtime.as_str()) {
            let known = RUNTIMES.join(", ");
            return Err(Failure::Usage(format!("no runtime is called '{runtime}'; there are: {known}")));
        }
    }
    if !(arguments.seconds > 0.0 && arguments.seconds <= 3600.0) || arguments.rounds == 0 {
        return Err(Failure::Usage("give --seconds a number above 0, and --rounds one of at least 1".to_owned()));
    }
    report::machine();
    let directory = child::scratch()?;
    let mut all = Vec::new();
    for workload in workloads {
        let runtimes: Vec<_> = workload
            .runtimes
            .iter()
            .copied()
            .filter(|name| arguments.against.is_empty() || arguments.against.iter().any(|n| n == name))
            .collect();
        let mut results = Results::new(workload, &runtimes);
        for round in 0..arguments.rounds {
            let mut order = runtimes.clone();
            if round % 2 == 1 {
                order.reverse();
            }
            for runtime in order {
                report::progress(workload.name, runtime, round, arguments.rounds);
                let measured = child::measure(workload, runtime, arguments.seconds, directory.path())?;
                results.add(runtime, measured);
            }
        }
        report::clear_progress();
        report::table(&results);
        all.push(results);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&all))?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Workload>, Failure> {
    if names.is_empty() {
        return Ok(WORKLOADS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            WORKLOADS.iter().find(|workload| workload.name == name).ok_or_else(|| {
                let known: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
                Failure::Usage(format!("no workload is called '{name}'; there are: {}", known.join(", ")))
            })
        })
        .collect()
}
