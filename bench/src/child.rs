//! Children: one process for each measurement.
//!
//! A server serves until its input ends ([`server`]), a program takes the place of the child. Any other child prints what
//! it has measured, as JSON, and ends.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Failure;
use crate::files::{self, Sizes};
use crate::machine;
use crate::micro;
use crate::network::generator::Exchange;
use crate::network::server::{self, Served, no_answer};
use crate::network::{self, programs};
use crate::runtimes;
use crate::stats::Measured;
use crate::workload::{Echo, Kind, Transport, WORKLOADS, Workload};

const SERVER_CORE: usize = 0;
/// What a page of HTTP has that wrk asks for.
const PAGE_OF_WRK: usize = 64;

/// A directory for files to measure with, removed in the end: where it is asked for, else beside this program, which is
/// on a disk as a rule.
pub(crate) fn scratch(wanted: Option<&Path>) -> io::Result<tempfile::TempDir> {
    let mut named = tempfile::Builder::new();
    named.prefix("bench-files-");
    if let Some(wanted) = wanted {
        return named.tempdir_in(wanted);
    }
    let program = std::env::current_exe()?;
    let near = program.parent().map(|here| named.tempdir_in(here));
    near.and_then(Result::ok).map_or_else(|| named.tempdir(), Ok)
}

/// Measures once, in a child.
pub(crate) fn measure(
    workload: &Workload,
    runtime: &str,
    seconds: f64,
    sizes: Sizes,
    directory: &Path,
) -> io::Result<Measured> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", workload.name, runtime, &seconds.to_string()])
        .args([sizes.large.to_string(), sizes.tree.to_string()])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = command.spawn()?;
    let time = Duration::from_secs_f64(seconds);
    let measured = match workload.kind {
        Kind::Echo(echo) => network::exchange(&mut process, echo.connections, Exchange::Echo(echo), time),
        Kind::Http { connections, bytes } => network::exchange(&mut process, connections, Exchange::Http(bytes), time),
        Kind::Wrk { connections } => programs::wrk(&mut process, connections, time),
        Kind::Redis { pipeline } => programs::redis_benchmark(&mut process, pipeline, time),
        Kind::Idle { connections } => network::idle(&mut process, connections),
        Kind::Storm => network::storm(&mut process, time),
        Kind::Stream(flow) => network::stream(&mut process, flow, time),
        Kind::Proxy => network::proxy(&mut process, time),
        Kind::Tasks | Kind::Files(_) => output_of(&mut process),
    };
    // A server ends when its input ends; whatever happened, nothing is left behind.
    drop(process.stdin.take());
    let _ = process.kill();
    process.wait()?;
    measured.map_err(|error| io::Error::new(error.kind(), format!("{} with {runtime}: {error}", workload.name)))
}

fn output_of(process: &mut Child) -> io::Result<Measured> {
    let output = process.stdout.take().ok_or_else(no_answer)?;
    let text = io::read_to_string(output)?;
    serde_json::from_str(&text).map_err(|_| no_answer())
}

/// What the child does.
pub(crate) fn run(workload: &str, runtime: &str, seconds: f64, sizes: Sizes, directory: &Path) -> Result<(), Failure> {
    let time = Duration::from_secs_f64(seconds);
    machine::die_with_parent();
    machine::pin(SERVER_CORE);
    let Some(workload) = WORKLOADS.iter().find(|known| known.name == workload) else {
        return Err(Failure::Usage(format!("no workload is called '{workload}'")));
    };
    machine::raise_descriptors();
    let serve = |served| server::serve(runtime, served, directory);
    match workload.kind {
        Kind::Echo(echo) => serve(Served::Echo(echo))?,
        Kind::Http { bytes, .. } => serve(Served::Http(bytes))?,
        Kind::Wrk { .. } => serve(Served::Http(PAGE_OF_WRK))?,
        Kind::Redis { .. } => programs::become_store(runtime)?,
        Kind::Idle { connections } => {
            serve(Served::Echo(Echo { by: Transport::Tcp, connections, bytes: 64, depth: 1 }))?;
        }
        Kind::Storm => serve(Served::Storm)?,
        Kind::Stream(flow) => serve(Served::Stream(flow))?,
        Kind::Proxy => serve(Served::Proxy)?,
        Kind::Tasks => print(&match runtime {
            "corering" => micro::run::<runtimes::corering::Local>(workload.name, time),
            _ => micro::run::<runtimes::tokio::Local>(workload.name, time),
        }),
        Kind::Files(job) => print(&files::run(job, runtime, time, sizes, directory)?),
    }
    Ok(())
}

fn print(measured: &Measured) {
    println!("{}", serde_json::json!(measured));
}
