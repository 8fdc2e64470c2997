//! An echo server: `echo [ADDRESS]`. With `--bench` it drives itself and says how fast it is.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own, whose load is timed by the standard library's clock"
)]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use corering::io;
use corering::net::{TcpListener, TcpStream, ToSocketAddrs};
use hdrhistogram::Histogram;

/// Sends everything back that it is sent.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7000")]
    address: String,
    /// Drive the server from a second thread, and say how fast that went. Listens on a free port of its own.
    #[arg(long)]
    bench: bool,
    #[command(flatten)]
    load: Load,
}

/// What the bench does.
#[derive(clap::Args, Clone, Copy)]
struct Load {
    /// How many connections the bench opens.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How many bytes each message has: no more than sockets hold, since each is written whole before its echo is read.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    bytes: u32,
    /// How long it lasts.
    #[arg(long, default_value = "3", value_parser = seconds)]
    seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) if !time.is_zero() && time <= Duration::from_secs(3600) => Ok(time),
        Some(_) | None => Err("give a number of seconds above 0, 3600 at most".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = arguments.address.to_target() {
        eprintln!("echo: {error}");
        return ExitCode::from(2);
    }
    let result = corering::run(async {
        if arguments.bench {
            bench(arguments.load).await
        } else {
            let listener = TcpListener::bind(&arguments.address).await?;
            println!("listening on {}", listener.local_addr()?);
            serve(listener).await;
            Ok(())
        }
    });
    match result.map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of descriptors, or the like: those that are connected go on, and some will leave.
            Err(error) => {
                eprintln!("echo: cannot accept: {error}");
                corering::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        corering::spawn(async move {
            stream.set_nodelay(true)?;
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        })
        .name(format_args!("echo {peer}"));
    }
}

/// Serves on this core, and loads the server from another.
async fn bench(load: Load) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let clients = std::thread::spawn(move || corering::run(drive(address, load)));
    let server = corering::spawn(serve(listener));
    // The clients are another core; this one looks now and then whether they have ended.
    while !clients.is_finished() {
        corering::time::sleep(Duration::from_millis(10)).await;
    }
    server.abort();
    let latency = clients.join().map_err(|_| io::Error::other("the clients panicked"))???;
    println!(
        "{} connections of {} bytes: {:.0} messages/s, p50 {:.1} us, p99 {:.1} us",
        load.connections,
        load.bytes,
        latency.len() as f64 / load.seconds.as_secs_f64(),
        latency.value_at_quantile(0.5) as f64 / 1000.0,
        latency.value_at_quantile(0.99) as f64 / 1000.0,
    );
    Ok(())
}

/// Sends on all connections at once, on each the next message when the last one is back. The latencies are in ns.
async fn drive(address: SocketAddr, load: Load) -> io::Result<Histogram<u64>> {
    let latency = Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other)?;
    let latency = Rc::new(RefCell::new(latency));
    let mut streams = Vec::new();
    for _ in 0..load.connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let end = Instant::now() + load.seconds;
    let clients: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let latency = latency.clone();
            corering::spawn(async move {
                let mut message = vec![7; load.bytes as usize];
                let mut reply = Vec::with_capacity(message.len());
                let mut began = Instant::now();
                while began < end {
                    let (sent, back) = stream.write_all(message).await;
                    sent?;
                    message = back;
                    reply.clear();
                    while reply.len() < message.len() {
                        let (count, back) = stream.read(reply).await;
                        reply = back;
                        if count? == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                    let now = Instant::now();
                    latency.borrow_mut().saturating_record((now - began).as_nanos() as u64);
                    began = now;
                }
                io::Result::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let latency = latency.borrow();
    Ok(latency.clone())
}
