//! The network workloads: a server in a child on one core, the load of this process on the other.
//!
//! ```text
//! connect  ->  warm up  ->  measure  ->  sample (a window of its own: it costs)
//! ```
//!
//! Every server gets the same: `TCP_NODELAY` on both sides, 4 KiB of buffer for each connection (32 KiB if messages are
//! longer than that), and answers that are checked. `load_share` is how much of its core the load has used: where that is
//! near to 1, the load is what limits the rate, and only processor time tells servers apart.

pub(crate) mod generator;
pub(crate) mod programs;
pub(crate) mod server;
mod storm;
pub(crate) mod stream;

use std::io;
use std::process::Child;
use std::time::Duration;

use self::generator::{Exchange, Load};
use self::server::Server;
use crate::machine::{self, Usage};
use crate::perf;
use crate::stats::Measured;
use crate::workload::Flow;

const LOAD_CORE: usize = 1;
const WARM_UP: Duration = Duration::from_millis(100);

/// Messages that are answered.
pub(crate) fn exchange(
    process: &mut Child,
    connections: usize,
    exchange: Exchange,
    time: Duration,
) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let counter = perf::Syscalls::of(process.id());
    let mut server = Server::of(process)?;
    let mut load = Load::connect(&server.place, connections, exchange)?;
    load.run(WARM_UP)?;
    let calls = counter.as_ref().map(perf::Syscalls::read).transpose()?;
    let ((before, _), own) = (server.usage()?, machine::usage().cpu);
    let ran = load.run(time)?;
    let (own, (after, _)) = (machine::usage().cpu - own, server.usage()?);
    let calls = match (&counter, calls) {
        (Some(counter), Some(before)) => Some(counter.read()? - before),
        _ => None,
    };
    let sampled = sample(process.id(), &mut load, time)?;
    let messages = ran.messages as f64;
    let mut measured = of_server(before, after, messages, sampled, ["cpu_ns_per_msg", "user_ns_per_msg"]);
    let mut put = |name: &str, value: f64| measured.insert(name.to_owned(), value);
    put("ops_per_s", messages / ran.took.as_secs_f64());
    put("load_share", own.as_secs_f64() / ran.took.as_secs_f64());
    put("p50_us", ran.latency.value_at_quantile(0.5) as f64 / 1000.0);
    put("p99_us", ran.latency.value_at_quantile(0.99) as f64 / 1000.0);
    if exchange.may_lose() {
        put("lost_share", ran.lost as f64 / (messages + ran.lost as f64));
    }
    if let Some(calls) = calls {
        put("syscalls_per_msg", calls as f64 / messages);
    }
    Ok(measured)
}

/// Processor time for each of so many, all of it and that of user code.
fn of_server(before: Usage, after: Usage, count: f64, sampled: Option<f64>, names: [&str; 2]) -> Measured {
    let (user, system) = ((after.user - before.user).as_secs_f64(), (after.system - before.system).as_secs_f64());
    let user_share = sampled.unwrap_or(user / (user + system));
    let cpu_ns = (after.cpu - before.cpu).as_nanos() as f64 / count;
    let [cpu, of_user] = names.map(str::to_owned);
    Measured::from([(cpu, cpu_ns), (of_user, user_share * cpu_ns), ("user_share".to_owned(), user_share)])
}

/// How much of the server's time is user code, by samples in a window that nothing else is measured in.
fn sample(process: u32, load: &mut Load, time: Duration) -> io::Result<Option<f64>> {
    let Some(samples) = perf::Samples::of(process) else {
        return Ok(None);
    };
    load.run(time)?;
    Ok(samples.user_share())
}

/// Connections that do nothing.
pub(crate) fn idle(process: &mut Child, connections: usize) -> io::Result<Measured> {
    let mut server = Server::of(process)?;
    // What the first connections touch is not what each further one costs.
    let _warm = generator::idle(&server.place, 16)?;
    let before = server.memory()?;
    let _idle = generator::idle(&server.place, connections)?;
    let bytes = server.memory()?.saturating_sub(before) as f64 / connections as f64;
    Ok(Measured::from([("bytes_per_conn".to_owned(), bytes)]))
}

/// Connections that are made and closed.
pub(crate) fn storm(process: &mut Child, time: Duration) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let mut server = Server::of(process)?;
    let warm = storm::run(&server.place, WARM_UP)?;
    let before = server.when_done(warm.connections)?;
    let own = machine::usage().cpu;
    let ran = storm::run(&server.place, time)?;
    let own = machine::usage().cpu - own;
    let after = server.when_done(warm.connections + ran.connections)?;
    let connections = ran.connections as f64;
    let mut measured = of_server(before, after, connections, None, ["cpu_ns_per_op", "user_ns_per_op"]);
    let mut put = |name: &str, value: f64| measured.insert(name.to_owned(), value);
    put("ops_per_s", connections / ran.took.as_secs_f64());
    put("load_share", own.as_secs_f64() / ran.took.as_secs_f64());
    put("p99_us", ran.latency.value_at_quantile(0.99) as f64 / 1000.0);
    Ok(measured)
}

/// One connection that is always full, another that takes all, and a proxy between them.
pub(crate) fn proxy(process: &mut Child, time: Duration) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let mut server = Server::of(process)?;
    let mut load = stream::Load::connect(&server.place, Flow::ToServer)?;
    let sink = stream::Sink::connect(&server.place)?;
    load.run(WARM_UP)?;
    let (before, own) = (server.usage()?.0, machine::usage().cpu);
    let ran = load.run(time)?;
    let (own, after) = (machine::usage().cpu - own, server.usage()?.0);
    sink.end(load.end()?)?;
    let mut measured = of_stream(before, after, &ran);
    measured.insert("load_share".to_owned(), own.as_secs_f64() / ran.took.as_secs_f64());
    Ok(measured)
}

/// One connection that is always full.
pub(crate) fn stream(process: &mut Child, flow: Flow, time: Duration) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let mut server = Server::of(process)?;
    let mut load = stream::Load::connect(&server.place, flow)?;
    load.run(WARM_UP)?;
    let ((before, _), own) = (server.usage()?, machine::usage().cpu);
    let ran = load.run(time)?;
    let (own, (after, _)) = (machine::usage().cpu - own, server.usage()?);
    if flow == Flow::ToServer {
        server.when_done(load.end()?)?;
    }
    let mut measured = of_stream(before, after, &ran);
    measured.insert("load_share".to_owned(), own.as_secs_f64() / ran.took.as_secs_f64());
    Ok(measured)
}

/// Processor time for each megabyte, and how many went by in a second.
fn of_stream(before: Usage, after: Usage, ran: &stream::Ran) -> Measured {
    let megabytes = ran.bytes as f64 / 1e6;
    let mut measured = of_server(before, after, megabytes, None, ["cpu_us_per_mb", "user_us_per_mb"]);
    for name in ["cpu_us_per_mb", "user_us_per_mb"] {
        measured.entry(name.to_owned()).and_modify(|ns| *ns /= 1000.0);
    }
    measured.insert("mb_per_s".to_owned(), megabytes / ran.took.as_secs_f64());
    measured
}
