//! Programs as servers and as loads: redis-server and the example `kv` under redis-benchmark, hyper under wrk.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::LOAD_CORE;
use super::server::{Place, Server, no_answer};
use crate::machine;
use crate::stats::Measured;

/// Connections of redis-benchmark.
const CLIENTS: usize = 50;

/// What the comparison with redis-server needs, and is not there.
pub(crate) fn lacks() -> Option<String> {
    if !machine::is_installed("redis-benchmark") {
        return Some("redis-benchmark is not installed".to_owned());
    }
    match kv() {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// The example `kv`, beside this program: built with the same profile.
fn kv() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().map(|here| here.join("examples/kv")).unwrap_or_default();
    if path.is_file() {
        return Ok(path);
    }
    let text = format!("{} is not there (cargo build --release --examples)", path.display());
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// The child becomes a server of keys and values, which keeps all in memory alone. It prints its port before.
pub(crate) fn become_store(runtime: &str) -> io::Result<()> {
    // Whoever gets it in between makes this round fail.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    println!("{port}");
    let mut command = match runtime {
        "redis-server" => {
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command
        }
        _ => {
            let mut command = Command::new(kv()?);
            command.arg(format!("127.0.0.1:{port}"));
            command
        }
    };
    Err(command.stdin(Stdio::null()).stdout(Stdio::null()).exec())
}

pub(crate) fn redis_benchmark(process: &mut Child, pipeline: usize, time: Duration) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let server = address(&Server::of(process)?.place)?;
    answers(server)?;
    // It counts commands, not time: as many of either kind as a server does in about that.
    let rate = if pipeline == 1 { 100_000.0 } else { 700_000.0 };
    let count = (rate * time.as_secs_f64()).max(1000.0) as usize;
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &server.port().to_string(), "-c", &CLIENTS.to_string(), "-P", &pipeline.to_string()]);
    command.args(["-n", &count.to_string(), "-t", "set,get", "--csv"]);
    let (before, own) = (machine::cpu_of(process.id())?, machine::children());
    let start = Instant::now();
    let report = output("redis-benchmark", &mut command)?;
    let took = start.elapsed();
    let (after, own) = (machine::cpu_of(process.id())?, machine::children() - own);
    let mut measured = redis_report(&report).ok_or_else(|| unclear("redis-benchmark", &report))?;
    let cpu_ns = (after - before).as_nanos() as f64 / (2 * count) as f64;
    measured.insert("cpu_ns_per_op".to_owned(), cpu_ns);
    measured.insert("load_share".to_owned(), own.as_secs_f64() / took.as_secs_f64());
    Ok(measured)
}

/// Waits until somebody listens there.
fn answers(server: SocketAddr) -> io::Result<()> {
    const LONGEST: Duration = Duration::from_secs(5);
    let start = Instant::now();
    loop {
        match TcpStream::connect(server) {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > LONGEST => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Both tests together: as many of either kind, one after the other. Of the latencies the worse.
fn redis_report(report: &str) -> Option<Measured> {
    let mut header = None;
    let (mut rates, mut measured) = (Vec::new(), Measured::new());
    for line in report.lines().filter(|line| line.starts_with('"')) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        let Some(names) = &header else {
            header = Some(fields);
            continue;
        };
        let of = |name: &str| -> Option<f64> {
            let place = names.iter().position(|known: &&str| *known == name)?;
            fields.get(place)?.parse().ok()
        };
        let rate = of("rps")?;
        rates.push(rate);
        measured.insert(format!("{}_per_s", fields.first()?.to_lowercase()), rate);
        for (metric, name) in [("p50_us", "p50_latency_ms"), ("p99_us", "p99_latency_ms")] {
            let us = of(name)? * 1000.0;
            measured.entry(metric.to_owned()).and_modify(|worst| *worst = us.max(*worst)).or_insert(us);
        }
    }
    let [set, get] = rates[..] else { return None };
    measured.insert("ops_per_s".to_owned(), 2.0 / (1.0 / set + 1.0 / get));
    Some(measured)
}

/// wrk against the harness' own server of HTTP. It knows only whole seconds.
pub(crate) fn wrk(process: &mut Child, connections: usize, time: Duration) -> io::Result<Measured> {
    machine::pin(LOAD_CORE);
    let mut server = Server::of(process)?;
    let mut command = Command::new("wrk");
    let seconds = time.as_secs_f64().ceil().max(1.0);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency"]);
    command.arg(format!("http://{}/", address(&server.place)?));
    let ((before, _), own) = (server.usage()?, machine::children());
    let start = Instant::now();
    let report = output("wrk", &mut command)?;
    let took = start.elapsed();
    let (own, (after, _)) = (machine::children() - own, server.usage()?);
    let (requests, mut measured) = wrk_report(&report).ok_or_else(|| unclear("wrk", &report))?;
    measured.insert("cpu_ns_per_op".to_owned(), (after.cpu - before.cpu).as_nanos() as f64 / requests);
    measured.insert("load_share".to_owned(), own.as_secs_f64() / took.as_secs_f64());
    Ok(measured)
}

/// How many requests, and what is said of them; nothing of a run in which any failed.
fn wrk_report(report: &str) -> Option<(f64, Measured)> {
    if report.contains("Socket errors") || report.contains("Non-2xx") {
        return None;
    }
    let after = |name: &str| {
        let line = report.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let line = report.lines().find(|line| line.contains(" requests in "))?;
    let requests: f64 = line.split_whitespace().next()?.parse().ok()?;
    let measured = Measured::from([
        ("ops_per_s".to_owned(), after("Requests/sec:")?.parse().ok()?),
        ("p50_us".to_owned(), us(after("50%")?)?),
        ("p99_us".to_owned(), us(after("99%")?)?),
    ]);
    Some((requests, measured))
}

/// Of a time as wrk writes it.
fn us(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1000.0), ("s", 1e6)];
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

fn address(place: &Place) -> io::Result<SocketAddr> {
    match place {
        Place::Inet(address) => Ok(*address),
        Place::Path(_) => Err(no_answer()),
    }
}

fn output(name: &str, command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{name}: {}: {said}{error}", output.status)));
    }
    Ok(said)
}

fn unclear(name: &str, report: &str) -> io::Error {
    io::Error::other(format!("the report of {name} lacks what was looked for, or tells of failures: {report}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_benchmark_reports_is_understood() {
        let report = "WARNING: Could not fetch server CONFIG\n\
            \"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
            \"p99_latency_ms\",\"max_latency_ms\"\n\
            \"SET\",\"100000.00\",\"0.3\",\"0.1\",\"0.250\",\"0.5\",\"0.750\",\"1.1\"\n\
            \"GET\",\"300000.00\",\"0.3\",\"0.1\",\"0.300\",\"0.5\",\"0.500\",\"1.1\"\n";
        let found = redis_report(report).expect("all is there");
        assert_eq!((found["set_per_s"], found["get_per_s"]), (100_000.0, 300_000.0));
        assert_eq!(found["ops_per_s"].round(), 150_000.0);
        assert_eq!((found["p50_us"], found["p99_us"]), (300.0, 750.0));
        assert!(redis_report(report.split("\"GET\"").next().expect("the beginning")).is_none());
    }

    #[test]
    fn what_wrk_reports_is_understood() {
        let report = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n\
            Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   377.11us   93.70us   2.02ms   79.80%\n\
            Latency Distribution\n     50%  364.00us\n     75%  405.00us\n     90%  465.00us\n     99%    1.25ms\n\
            \x20 184117 requests in 1.10s, 22.65MB read\nRequests/sec: 167393.26\nTransfer/sec:     20.59MB\n";
        let (requests, found) = wrk_report(report).expect("all is there");
        assert_eq!(requests, 184_117.0);
        assert_eq!((found["ops_per_s"], found["p50_us"], found["p99_us"]), (167_393.26, 364.0, 1250.0));
        assert!(wrk_report(&format!("{report}  Non-2xx or 3xx responses: 3\n")).is_none());
    }
}
