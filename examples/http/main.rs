//! A server of HTTP/1 and HTTP/2: hyper on corering, with what a server needs that people run.
//!
//! ```text
//!   net::serve --a task for each--> connection: hyper's, which can be shut down, and is cut off when nothing moves
//!                                       |
//!                                       v
//!                                     site: routes, files, counts --> body --> log
//! ```
//!
//! Everything that strangers choose has a limit: connections, heads, bodies, and how long nothing may move. Ctrl-C and
//! SIGTERM end it in good order: what was asked is answered. A second one ends it at once.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

#[path = "../server/arguments.rs"]
mod arguments;
mod body;
mod connection;
mod files;
#[path = "../server/lines.rs"]
mod lines;
mod log;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::fs::Dir;
use corering::net::{self, TcpListener};
use corering::sync::CancellationToken;
use corering::time::Duration;
use corering::{io, signal};

use arguments::seconds;
use connection::{Limits, Server};
use log::Log;
use site::Site;

/// Serves a few routes, and the files of a folder.
///
/// `/hello/NAME`, `POST /echo`, `/json`, `/stream`, `/metrics`, and below `--root` files. HTTP/2 is spoken by clients that
/// know beforehand that it is (curl --http2-prior-knowledge).
#[derive(Parser)]
#[command(name = "http", version)]
struct Arguments {
    /// Where to listen; with port 0 it takes a free one, and says which.
    #[arg(default_value = "127.0.0.1:8080")]
    address: String,
    /// The folder with the files. Nothing outside of it can be reached.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// So many connections at a time; further ones wait.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// How long the head of a request may take.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    header_timeout: Duration,
    /// How long nothing may move on a connection, whether a request is under way or not.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    idle_timeout: Duration,
    /// How long a connection may take at all.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    connection_timeout: Option<Duration>,
    /// How long connections may go on after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    drain: Duration,
    /// How long the head of a request may be.
    #[arg(long, value_name = "KIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=16_384))]
    max_head: u32,
    /// How long the body of a request may be.
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_body: u32,
    /// Print a line for each request.
    #[arg(long)]
    log: bool,
}

fn main() -> ExitCode {
    match corering::run(serve(Arguments::parse())).map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let root = match &arguments.root {
        Some(root) => Some(Dir::open(root).await.map_err(|error| named(root.display(), &error))?),
        None => None,
    };
    let listener = TcpListener::bind(&*arguments.address).await.map_err(|error| named(&arguments.address, &error))?;
    let address = listener.local_addr()?;
    let (log, writer) = Log::new(arguments.log);
    let site = Rc::new(Site::new(root, u64::from(arguments.max_body) << 20, log));
    let shutdown = CancellationToken::new();
    let limits =
        Limits { header: arguments.header_timeout, idle: arguments.idle_timeout, head_bytes: arguments.max_head << 10 };
    let connections = Server::new(Rc::clone(&site), limits, shutdown.clone());
    let mut server = net::serve(listener, async move |stream, peer| connections.converse(stream, peer).await)
        .max_connections(arguments.max_connections as usize)
        .drain(arguments.drain);
    if let Some(limit) = arguments.connection_timeout {
        server = server.connection_timeout(limit);
    }
    site.count_by(server.metrics());
    drop(site);
    // It listens from here on. The second signal ends the process, as nobody listens any more then.
    let signal = signal::shutdown();
    let server = server.shutdown(async move {
        match signal.await {
            Ok(signal) => eprintln!("http: {signal}: answering what was asked, then ending"),
            Err(error) => eprintln!("http: cannot wait for signals, and so ends: {error}"),
        }
        shutdown.cancel();
    });
    println!("listening on {address}");
    let served = server.await;
    writer.end().await;
    served
}

fn named(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
