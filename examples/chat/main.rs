//! A chat by WebSocket: rooms, names, and a page to try it in a browser.
//!
//! ```text
//!   net::serve --a task for each--> hyper: the page, or an upgrade --> session: frames --> room --> all other sessions
//! ```
//!
//! Everything that strangers choose has a limit: heads, names, messages, how far a reader may fall behind, and how long it
//! may be silent. Ctrl-C and SIGTERM end it in good order: everybody is told, and has a moment to say goodbye.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

#[path = "../server/arguments.rs"]
mod arguments;
mod frames;
mod http;
mod room;
mod session;

use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::net::{self, TcpListener};
use corering::sync::CancellationToken;
use corering::time::Duration;
use corering::{io, signal};

use arguments::seconds;
use http::Server;
use room::Rooms;
use session::Limits;

/// Serves a chat: open the address in a browser, twice.
///
/// A client of one's own connects to /chat?room=ROOM&name=NAME, sends text, and gets JSON.
#[derive(Parser)]
#[command(name = "chat", version)]
struct Arguments {
    /// Where to listen; with port 0 it takes a free one, and says which.
    #[arg(default_value = "127.0.0.1:8080")]
    address: String,
    /// So many connections at a time; further ones wait.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// How long a message may be.
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_message: u32,
    /// How many messages a reader may fall behind before it is dropped.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    behind: u32,
    /// How long a client may take to read what was sent, before it is dropped.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    write_timeout: Duration,
    /// A client that has been silent for so long is asked whether it is there, and dropped after as long again.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    ping: Duration,
    /// How long a client may take to say goodbye.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    goodbye: Duration,
}

fn main() -> ExitCode {
    match corering::run(serve(Arguments::parse())).map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let address = &*arguments.address;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    let address = listener.local_addr()?;
    let limits = Limits {
        message_bytes: arguments.max_message as usize,
        write: arguments.write_timeout,
        ping: arguments.ping,
        goodbye: arguments.goodbye,
    };
    let shutdown = CancellationToken::new();
    let connections = Server::new(Rc::new(Rooms::new(arguments.behind as usize)), limits, shutdown.clone());
    let server = net::serve(listener, async move |stream, _peer| connections.converse(stream).await)
        .max_connections(arguments.max_connections as usize)
        .drain(2 * arguments.goodbye);
    // It listens from here on. The second signal ends the process, as nobody listens any more then.
    let signal = signal::shutdown();
    let server = server.shutdown(async move {
        match signal.await {
            Ok(signal) => eprintln!("chat: {signal}: saying goodbye, then ending"),
            Err(error) => eprintln!("chat: cannot wait for signals, and so ends: {error}"),
        }
        shutdown.cancel();
    });
    println!("listening on {address}");
    server.await
}
