//! Children: one process for each measurement.
//!
//! A server prints its port, then answers each line on its standard input with what it has used so far; it ends with
//! its parent, or when its input ends. Any other child prints what it has measured, as JSON, and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Failure;
use crate::files::{self, Sizes};
use crate::generator::{self, Exchange, Load};
use crate::machine::{self, Usage};
use crate::micro;
use crate::perf;
use crate::runtimes;
use crate::stats::Measured;
use crate::workload::{Kind, WORKLOADS, Workload};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const WARM_UP: Duration = Duration::from_millis(100);

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
    let measured = match workload.kind {
        Kind::Echo { connections, bytes } => {
            measure_server(&mut process, connections, Exchange::Echo(bytes), Duration::from_secs_f64(seconds))
        }
        Kind::Http { connections, bytes } => {
            measure_server(&mut process, connections, Exchange::Http(bytes), Duration::from_secs_f64(seconds))
        }
        Kind::Idle { connections } => measure_idle(&mut process, connections),
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

fn no_answer() -> io::Error {
    io::Error::other("the measuring process ended without a result (its own message is above)")
}

/// A server that runs in a child.
struct Server {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn of(process: &mut Child) -> io::Result<Self> {
        let input = process.stdin.take().ok_or_else(no_answer)?;
        let mut output = BufReader::new(process.stdout.take().ok_or_else(no_answer)?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| no_answer())?;
        Ok(Self { input, output, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    fn usage(&mut self) -> io::Result<Usage> {
        self.input.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [cpu, user, system, resident] => Ok(Usage {
                cpu: Duration::from_nanos(cpu),
                user: Duration::from_nanos(user),
                system: Duration::from_nanos(system),
                resident,
            }),
            _ => Err(no_answer()),
        }
    }
}

fn measure_server(process: &mut Child, connections: usize, exchange: Exchange, time: Duration) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let counter = perf::Syscalls::of(process.id());
    let mut server = Server::of(process)?;
    let mut load = Load::connect(server.address, connections, exchange)?;
    load.run(WARM_UP)?;
    let calls = counter.as_ref().map(perf::Syscalls::read).transpose()?;
    let before = server.usage()?;
    let (messages, took, latency) = load.run(time)?;
    let after = server.usage()?;
    let calls = match (&counter, calls) {
        (Some(counter), Some(before)) => Some(counter.read()? - before),
        _ => None,
    };
    let sampled = sample(process.id(), &mut load, time)?;
    let per_message = |time: Duration| time.as_nanos() as f64 / messages as f64;
    let (user, system) = ((after.user - before.user).as_secs_f64(), (after.system - before.system).as_secs_f64());
    let user_share = sampled.unwrap_or(user / (user + system));
    let cpu_ns = per_message(after.cpu - before.cpu);
    let mut measured = Measured::new();
    let mut put = |name: &str, value: f64| measured.insert(name.to_owned(), value);
    put("cpu_ns_per_msg", cpu_ns);
    put("user_ns_per_msg", user_share * cpu_ns);
    put("user_share", user_share);
    put("ops_per_s", messages as f64 / took.as_secs_f64());
    put("p50_us", latency.value_at_quantile(0.5) as f64 / 1000.0);
    put("p99_us", latency.value_at_quantile(0.99) as f64 / 1000.0);
    if let Some(calls) = calls {
        put("syscalls_per_msg", calls as f64 / messages as f64);
    }
    Ok(measured)
}

/// How much of the server's time is user code, by samples in a window that nothing else is measured in.
fn sample(process: u32, load: &mut Load, time: Duration) -> io::Result<Option<f64>> {
    let Some(samples) = perf::Samples::of(process) else {
        return Ok(None);
    };
    load.run(time)?;
    Ok(samples.user_share())
}

fn measure_idle(process: &mut Child, connections: usize) -> io::Result<Measured> {
    machine::raise_descriptors();
    let mut server = Server::of(process)?;
    // What the first connections touch is not what each further one costs.
    let _warm = generator::idle(server.address, 16)?;
    let before = server.usage()?;
    let _idle = generator::idle(server.address, connections)?;
    let after = server.usage()?;
    let bytes = after.resident.saturating_sub(before.resident) as f64 / connections as f64;
    Ok(Measured::from([("bytes_per_conn".to_owned(), bytes)]))
}

/// What the child does.
pub(crate) fn run(workload: &str, runtime: &str, seconds: f64, sizes: Sizes, directory: &Path) -> Result<(), Failure> {
    let time = Duration::from_secs_f64(seconds);
    machine::die_with_parent();
    machine::pin(SERVER_CORE);
    let Some(workload) = WORKLOADS.iter().find(|known| known.name == workload) else {
        return Err(Failure::Usage(format!("no workload is called '{workload}'")));
    };
    match workload.kind {
        Kind::Echo { bytes, .. } => serve(runtime, Served::Echo(bytes))?,
        Kind::Http { bytes, .. } => serve(runtime, Served::Http(bytes))?,
        Kind::Idle { .. } => {
            machine::raise_descriptors();
            serve(runtime, Served::Echo(64))?;
        }
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

/// What a server answers with so many bytes.
#[derive(Clone, Copy, Debug)]
enum Served {
    Echo(usize),
    Http(usize),
}

fn serve(runtime: &str, served: Served) -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        for _ in io::stdin().lines() {
            let Usage { cpu, user, system, resident } = machine::usage();
            println!("{} {} {} {resident}", cpu.as_nanos(), user.as_nanos(), system.as_nanos());
        }
        std::process::exit(0);
    });
    match (served, runtime) {
        (Served::Http(bytes), "tokio") => runtimes::http::serve_by_tokio(listener, bytes),
        (Served::Http(bytes), _) => runtimes::http::serve(runtime, listener, bytes),
        (Served::Echo(_), "corering") => runtimes::corering::serve(listener),
        (Served::Echo(bytes), "tokio") => runtimes::tokio::serve(listener, bytes),
        (Served::Echo(_), "raw-multi") => runtimes::raw::serve_multi(&listener),
        (Served::Echo(bytes), _) => runtimes::raw::serve(&listener, bytes),
    }
}
