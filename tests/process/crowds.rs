//! Ten thousand clients of another process: all are served, and while they say nothing they cost next to nothing. And many
//! more who come and go: nothing grows.
//!
//! `CORERING_SECONDS` says for how long the ten thousand go on, `CORERING_CHURN` how many come and go.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use corering::io::AsyncBufReadExt as _;
use corering::net::{self, TcpListener, TcpStream};
use corering::sync::Event;
use corering::{Builder, io};

use crate::{Case, child_of, set_limit};

const CONNECTIONS: usize = 10_000;
/// Of this process and the other one, beside those of connections.
const SPARE: usize = 500;
/// What the server has beside those of connections: less than this, of descriptors and of operations.
const OWN: usize = 20;
/// So many attempts are under way at a time: fewer than wait in the listener's queue.
const AT_ONCE: usize = 500;

fn from_environment(name: &str) -> Option<f64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Lets this process have as many descriptors as it may; how many that is.
fn all_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid to write to.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    limit.rlim_cur as usize
}

/// What the server says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    connections: usize,
    /// Private memory that is no file's, in KiB.
    memory_kib: usize,
    descriptors: usize,
    /// Calls into the kernel.
    enters: usize,
    operations: usize,
    failed: usize,
    accept_errors: usize,
}

/// How many are open. As with the memory: none, if there is none to look with.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn memory_kib() -> usize {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Serves until its standard input ends; for each line there it says how it is.
pub(crate) fn serve_crowds() {
    all_descriptors();
    let served = Builder::new().run(async {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        println!("{}", listener.local_addr()?.port());
        let stop = Rc::new(Event::new());
        let server = net::serve(listener, async |mut stream: TcpStream, _| {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            Ok(())
        });
        let counts = server.metrics();
        let ended = stop.clone();
        let server = corering::spawn(server.shutdown(async move { ended.wait().await }).into_future());
        let mut lines = io::BufReader::new(io::stdin()).lines();
        while lines.next_line().await?.is_some() {
            let metrics = corering::metrics().expect("a core");
            println!(
                "{} {} {} {} {} {} {}",
                counts.active(),
                memory_kib(),
                descriptors(),
                metrics.enters,
                metrics.operations,
                counts.failed(),
                counts.accept_errors(),
            );
        }
        stop.set();
        server.await.expect("no panic")?;
        println!("ended with {} connections", counts.active());
        io::Result::Ok(())
    });
    served.expect("io_uring").expect("no error");
}

/// The other process.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(case: &Case) -> Result<Self, String> {
        let arguments = child_of(case);
        let child = Command::new(&arguments[0])
            .args(&arguments[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("cannot start it: {error}"))?;
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        let mut server = Self { child, input, output, port: 0 };
        server.port = server.line()?.parse().map_err(|error| format!("no port: {error}"))?;
        Ok(server)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            result => Err(format!("the server says nothing more: {result:?}")),
        }
    }

    fn state(&mut self) -> Result<State, String> {
        let asked = self.input.as_mut().expect("open").write_all(b"?\n");
        asked.map_err(|error| format!("the server does not listen: {error}"))?;
        let line = self.line()?;
        let numbers: Vec<usize> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [connections, memory_kib, descriptors, enters, operations, failed, accept_errors] = numbers[..] else {
            return Err(format!("the server says {line:?}"));
        };
        Ok(State { connections, memory_kib, descriptors, enters, operations, failed, accept_errors })
    }

    /// Waits until it has so many connections, and has closed what it had of others: that happens in the background.
    fn settled(&mut self, connections: usize) -> Result<State, String> {
        let began = Instant::now();
        loop {
            let state = self.state()?;
            let is_closed = state.descriptors <= connections + OWN && state.operations <= connections + OWN;
            if state.connections == connections && is_closed {
                return Ok(state);
            }
            if began.elapsed() > Duration::from_secs(20) {
                return Err(format!("not {connections} connections: {state:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it, which it does in good order, and says what it has told of errors.
    fn end(mut self) -> Result<String, String> {
        drop(self.input.take());
        let said = self.line()?;
        let mut told = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut told).map_err(|error| error.to_string())?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if said == "ended with 0 connections" && status.success() {
            Ok(told)
        } else {
            Err(format!("{status}: {said} {told}"))
        }
    }

    /// Ends it, which it does in good order and without a word.
    fn end_silently(self) -> Result<(), String> {
        let told = self.end()?;
        if told.is_empty() { Ok(()) } else { Err(told) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has ended, nobody is killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address of this machine, a different one for every few hundred connections: each has ports of its own.
fn address(port: u16, number: usize) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 1 + (number / AT_ONCE % 200) as u8, 1), port).into()
}

/// Sends a message, and gets it back.
async fn round_trip(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    let message = [number.to_le_bytes(); 8].concat();
    stream.write_all(message.clone()).await.0?;
    let mut back = Vec::with_capacity(message.len());
    while back.len() < message.len() {
        let read;
        (read, back) = stream.read(back).await;
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if back == message { Ok(()) } else { Err(io::Error::other("the bytes of another")) }
}

async fn all_connected(port: u16, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let more = AT_ONCE.min(count - streams.len());
        let attempts: Vec<_> =
            (0..more).map(|_| corering::spawn(TcpStream::connect(address(port, streams.len())))).collect();
        for attempt in attempts {
            streams.push(attempt.await.expect("no panic")?);
        }
    }
    Ok(streams)
}

/// All of them send, again and again: how long a round trip of the slowest hundredth took, or the first error.
async fn all_served(streams: Vec<TcpStream>, until: Instant) -> io::Result<(Vec<TcpStream>, Duration)> {
    let tasks: Vec<_> = (0..)
        .zip(streams)
        .map(|(number, mut stream)| {
            corering::spawn(async move {
                let mut times = Vec::new();
                while times.len() < 5 || Instant::now() < until {
                    let began = Instant::now();
                    round_trip(&mut stream, (number << 20) + times.len() as u64).await?;
                    times.push(began.elapsed());
                }
                io::Result::Ok((stream, times))
            })
        })
        .collect();
    let (mut streams, mut all) = (Vec::new(), Vec::new());
    for task in tasks {
        let (stream, mut times) = task.await.expect("no panic")?;
        streams.push(stream);
        all.append(&mut times);
    }
    all.sort_unstable();
    let slow = all[all.len() * 99 / 100];
    println!("{} round trips of {} connections, p99 {slow:?}", all.len(), streams.len());
    Ok((streams, slow))
}

/// A debug build's futures are larger than those that people run.
const MOST_BYTES: usize = if cfg!(debug_assertions) { 2048 } else { 1024 };

pub(crate) fn ten_thousand_are_served(case: &Case) -> Result<(), String> {
    let most = all_descriptors();
    if most < CONNECTIONS + SPARE {
        if std::env::var_os("CORERING_REQUIRE_ALL").is_some() {
            return Err(format!("only {most} descriptors, and nothing may be skipped"));
        }
        println!("SKIPPED: {} needs {} descriptors (ulimit -Hn)", case.name, CONNECTIONS + SPARE);
        return Ok(());
    }
    let mut server = Server::start(case)?;
    let seconds = Duration::from_secs_f64(from_environment("CORERING_SECONDS").unwrap_or(0.0));
    let runtime = Builder::new().build().map_err(|error| error.to_string())?;
    let told = |error: io::Error| format!("a client met an error: {error}");
    // What any connection needs at all is there by then.
    let first = runtime.block_on(all_connected(server.port, AT_ONCE)).map_err(told)?;
    let (first, _) = runtime.block_on(all_served(first, Instant::now())).map_err(told)?;
    let before = server.settled(AT_ONCE)?;
    let mut streams = runtime.block_on(all_connected(server.port, CONNECTIONS - AT_ONCE)).map_err(told)?;
    streams.extend(first);
    let full = server.settled(CONNECTIONS)?;
    let bytes = (full.memory_kib.saturating_sub(before.memory_kib)) * 1024 / (CONNECTIONS - AT_ONCE);
    println!("{bytes} bytes for each connection that waits");
    if bytes > MOST_BYTES {
        return Err(format!("{bytes} bytes for each connection: {before:?}, then {full:?}"));
    }
    // While nobody says anything, nothing happens: but for the question.
    std::thread::sleep(Duration::from_millis(200));
    let later = server.state()?;
    if later.enters > full.enters + 20 {
        return Err(format!("it does not rest: {full:?}, then {later:?}"));
    }
    let (streams, _) = runtime.block_on(all_served(streams, Instant::now() + seconds)).map_err(told)?;
    let loaded = server.settled(CONNECTIONS)?;
    drop(streams);
    drop(runtime);
    let after = server.settled(0)?;
    if loaded.failed > 0 || after.descriptors > before.descriptors - AT_ONCE {
        return Err(format!("something is left: {before:?} at first, {after:?} in the end"));
    }
    server.end_silently()
}

pub(crate) fn many_come_and_go(case: &Case) -> Result<(), String> {
    let count = from_environment("CORERING_CHURN").unwrap_or(20_000.0) as usize;
    let mut server = Server::start(case)?;
    let runtime = Builder::new().build().map_err(|error| error.to_string())?;
    let mut states = Vec::new();
    for part in 0..4 {
        let port = server.port;
        let come_and_go = async {
            let tasks: Vec<_> = (0..100)
                .map(|task| {
                    corering::spawn(async move {
                        for number in 0..count / 400 {
                            let mut stream = TcpStream::connect(address(port, task * 100)).await?;
                            round_trip(&mut stream, number as u64).await?;
                            // Half of them break off, so that ports do not run out.
                            if number % 2 == 0 {
                                stream.set_linger(Some(Duration::ZERO))?;
                            }
                            stream.close().await?;
                        }
                        io::Result::Ok(())
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic")?;
            }
            io::Result::Ok(())
        };
        runtime.block_on(come_and_go).map_err(|error| format!("a client met an error in part {part}: {error}"))?;
        states.push(server.settled(0)?);
    }
    let (first, last) = (states[0], states[states.len() - 1]);
    println!("{count} connections: {} KiB after a quarter, {} KiB in the end", first.memory_kib, last.memory_kib);
    if last.memory_kib > first.memory_kib + 1024 || last.failed > 0 {
        return Err(format!("something grows: {states:?}"));
    }
    server.end_silently()
}

/// Of so many descriptors a server has some itself.
const FEW: u64 = 40;

pub(crate) fn serve_with_few_descriptors() {
    set_limit(libc::RLIMIT_NOFILE, FEW);
    serve_crowds();
}

/// More come than there are descriptors for: they wait, and are served when others go. Meanwhile the server rests.
pub(crate) fn more_than_there_is_room_for_are_served(case: &Case) -> Result<(), String> {
    const CLIENTS: usize = 60;
    let mut server = Server::start(case)?;
    let port = server.port;
    let told = Builder::new().run(async {
        let (served, release) = (Rc::new(Cell::new(0)), Rc::new(Event::new()));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (served, release) = (served.clone(), release.clone());
                corering::spawn(async move {
                    let mut stream = TcpStream::connect(address(port, number)).await?;
                    round_trip(&mut stream, number as u64).await?;
                    served.set(served.get() + 1);
                    release.wait().await;
                    stream.close().await
                })
            })
            .collect();
        let began = Instant::now();
        let mut errors = 0;
        // So often that it waits long each time.
        while errors < 5 {
            if began.elapsed() > Duration::from_secs(20) {
                return Err(format!("it has not run out of descriptors: {:?}", server.state()));
            }
            corering::time::sleep(Duration::from_millis(20)).await;
            errors = server.state()?.accept_errors;
        }
        let (most, now) = (errors + 10, served.get());
        corering::time::sleep(Duration::from_millis(200)).await;
        let state = server.state()?;
        if state.accept_errors > most || now >= CLIENTS || now == 0 {
            return Err(format!("{now} served, and then {state:?}"));
        }
        release.set();
        for client in clients {
            client.await.expect("no panic").map_err(|error| format!("a client met an error: {error}"))?;
        }
        server.settled(0)?;
        server.end()
    });
    let told = told.expect("io_uring")?;
    let is_told_once = told.lines().count() == 1 && told.contains("no connection can be accepted for now");
    if is_told_once { Ok(()) } else { Err(told) }
}
