//! An echo server: `echo [ADDRESS]`. With `--bench` it drives itself and says how fast it is.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own, whose load is timed by the standard library's clock"
)]

use std::process::ExitCode;
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
    /// How many connections the bench opens.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How many bytes each message has.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    bytes: u32,
    /// How long it lasts.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = arguments.address.to_socket_addr() {
        eprintln!("echo: {error}");
        return ExitCode::from(2);
    }
    let result = corering::run(async {
        if arguments.bench {
            bench(&arguments).await
        } else {
            let listener = TcpListener::bind(&arguments.address).await?;
            println!("listening on {}", listener.local_addr()?);
            serve(listener).await
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

async fn serve(listener: TcpListener) -> io::Result<()> {
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
        stream.set_nodelay(true)?;
        corering::spawn(async move {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        })
        .name(format_args!("echo {peer}"));
    }
}

/// Serves on this core, and loads the server from another.
async fn bench(arguments: &Arguments) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (connections, bytes) = (arguments.connections, arguments.bytes as usize);
    let time = Duration::from_secs_f64(arguments.seconds.max(0.0));
    let clients = std::thread::spawn(move || corering::run(load(address, connections, bytes, time)));
    let server = corering::spawn(serve(listener));
    // The clients are another core; this one looks now and then whether they have ended.
    while !clients.is_finished() {
        corering::time::sleep(Duration::from_millis(10)).await;
    }
    server.abort();
    let latency = clients.join().map_err(|_| io::Error::other("the clients panicked"))??;
    let latency = latency?;
    println!(
        "{connections} connections of {bytes} bytes: {:.0} messages/s, p50 {:.1} us, p99 {:.1} us",
        latency.len() as f64 / time.as_secs_f64(),
        latency.value_at_quantile(0.5) as f64 / 1000.0,
        latency.value_at_quantile(0.99) as f64 / 1000.0,
    );
    Ok(())
}

async fn load(
    address: std::net::SocketAddr,
    connections: u32,
    bytes: usize,
    time: Duration,
) -> io::Result<Histogram<u64>> {
    let end = Instant::now() + time;
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            corering::spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let mut latency = Vec::new();
                let (mut message, mut reply) = (vec![7; bytes], Vec::with_capacity(bytes));
                while Instant::now() < end {
                    let began = Instant::now();
                    let (sent, back) = stream.write_all(message).await;
                    sent?;
                    message = back;
                    reply.clear();
                    while reply.len() < bytes {
                        let (count, back) = stream.read(reply).await;
                        reply = back;
                        if count? == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                    }
                    latency.push(began.elapsed().as_nanos() as u64);
                }
                io::Result::Ok(latency)
            })
        })
        .collect();
    let mut all = Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other)?;
    for client in clients {
        for latency in client.await?? {
            all.saturating_record(latency);
        }
    }
    Ok(all)
}
