//! A proxy: it forwards connections to one address, or, asked by HTTP CONNECT, to those that are allowed.
//!
//! ```text
//!   net::serve --a task for each--> CONNECT: head, allowed? --> connect --> tunnel: both ways, not copied --> log
//! ```
//!
//! A side that takes nothing holds the other one up, and a connection that is idle takes no memory. Everything that
//! strangers choose has a limit: connections, heads, and how long nothing may move. When one side breaks off, so does the
//! other: what was cut short never looks whole. Ctrl-C and SIGTERM end it in good order; a second one ends it at once.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

#[path = "../server/arguments.rs"]
mod arguments;
mod connect;
#[path = "../server/lines.rs"]
mod lines;
mod log;
mod tunnel;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use corering::net::{self, TcpListener, TcpStream};
use corering::time::{Duration, timeout};
use corering::{io, signal};

use arguments::seconds;
use connect::{Allowed, Refusal};
use log::Log;
use tunnel::Tunnel;

/// Forwards TCP connections to UPSTREAM, or with --connect to where HTTP CONNECT asks for.
///
/// Prints a line for each connection when that has ended: who, to where, bytes there and back, how long, and how it ended.
/// Ctrl-C or SIGTERM ends it: no more connections are taken, and those that are there may go on for a while. Exit codes:
/// 0, 1 if it failed, 2 for wrong usage.
#[derive(Parser)]
#[command(name = "proxy", version)]
struct Arguments {
    /// Where to listen; with port 0 it takes a free one, and says which.
    listen: String,
    /// Where to forward to, as HOST:PORT.
    #[arg(required_unless_present = "connect")]
    upstream: Option<String>,
    /// Be an HTTP proxy for CONNECT: the client says where to.
    #[arg(long, conflicts_with = "upstream")]
    connect: bool,
    /// Where CONNECT may lead: HOST, HOST:PORT, *.DOMAIN or *, also several times. Without a port, 443. The name is
    /// compared, not what it leads to: a name that others control may lead anywhere.
    #[arg(long, value_name = "HOST[:PORT]", requires = "connect", default_value = "*:443")]
    allow: Vec<Allowed>,
    /// How long connecting may take.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    connect_timeout: Duration,
    /// How long nothing may move on a connection, in either direction.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    idle_timeout: Duration,
    /// How long the head of a CONNECT may take.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    head_timeout: Duration,
    /// So many connections at a time; further ones wait.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// How long connections may go on after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    drain: Duration,
}

fn main() -> ExitCode {
    match corering::run(serve(Arguments::parse())).map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(&*arguments.listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", arguments.listen)))?;
    let address = listener.local_addr()?;
    let (log, writer) = Log::new();
    let (most, drain) = (arguments.max_connections as usize, arguments.drain);
    let proxy = Proxy { arguments, log };
    let server = net::serve(listener, async move |stream, peer| {
        proxy.converse(stream, peer).await;
        Ok(())
    });
    // It listens from here on. The second signal ends the process, as nobody listens any more then.
    let signal = signal::shutdown();
    let server = server.max_connections(most).drain(drain).shutdown(async move {
        match signal.await {
            Ok(signal) => eprintln!("proxy: {signal}: taking no more connections"),
            Err(error) => eprintln!("proxy: cannot wait for signals, and so ends: {error}"),
        }
    });
    println!("listening on {address}");
    let served = server.await;
    writer.end().await;
    served
}

struct Proxy {
    arguments: Arguments,
    log: Log,
}

impl Proxy {
    /// One connection. What goes wrong with it stands in its line of the log.
    async fn converse(&self, mut client: TcpStream, peer: SocketAddr) {
        let mut line = self.log.line(peer);
        let target = match &self.arguments.upstream {
            Some(upstream) => upstream.clone(),
            None => match self.asked(&mut client).await {
                Ok(target) => target,
                Err(refusal) => {
                    line.ended = refusal.to_string();
                    refusal.tell(client).await;
                    return;
                }
            },
        };
        line.target.clone_from(&target);
        let server = match self.reach(&target).await {
            Ok(server) => server,
            Err(refusal) => {
                line.ended = refusal.to_string();
                if self.arguments.connect {
                    refusal.tell(client).await;
                }
                return;
            }
        };
        if self.arguments.connect {
            if let Err(error) = client.write_all("HTTP/1.1 200 Connection established\r\n\r\n").await.0 {
                line.ended = error.to_string();
                return;
            }
        }
        // What is short shall not wait for more. If that cannot be said, the side has gone, and that shows soon.
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        Tunnel::new(client, server, line).carry(self.arguments.idle_timeout).await;
    }

    async fn asked(&self, client: &mut TcpStream) -> Result<String, Refusal> {
        let Ok(head) = timeout(self.arguments.head_timeout, connect::head(client)).await else {
            return Err(Refusal::new(408, "the head of the request took too long"));
        };
        let target = connect::target(&head?)?;
        if !self.arguments.allow.iter().any(|allowed| allowed.allows(&target)) {
            return Err(Refusal::new(403, format!("{target} is not among what this proxy connects to")));
        }
        Ok(target.to_string())
    }

    async fn reach(&self, target: &str) -> Result<TcpStream, Refusal> {
        match timeout(self.arguments.connect_timeout, TcpStream::connect(target)).await {
            Ok(Ok(server)) => Ok(server),
            Ok(Err(error)) => Err(Refusal::new(502, format!("{target}: {error}"))),
            Err(_) => Err(Refusal::new(504, format!("{target} did not answer in time"))),
        }
    }
}
