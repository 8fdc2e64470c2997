//! A server of https: hyper on corering, under TLS, with HTTP/2 for clients that speak it.
//!
//! ```text
//!   net::serve --a task for each--> handshake --> connection: hyper's, which can be shut down
//!                                      ^
//!   SIGHUP --> the files are read anew-+     (connections that there are keep what they have)
//! ```
//!
//! Certificates are replaced while it runs: whoever renews them sends SIGHUP. If the new files cannot be used, that
//! is said, and the old ones stay. Ctrl-C and SIGTERM end it in good order.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::net::tls::{Acceptor, TlsStream};
use corering::net::{self, CoreExecutor, CoreTimer, TcpListener, TcpStream};
use corering::signal::{self, SignalKind, Signals};
use corering::sync::CancellationToken;
use corering::time::Duration;
use corering::{fs, io, select};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::server::conn::auto;

/// Says hello by https.
#[derive(Parser)]
#[command(name = "https", version)]
struct Arguments {
    /// Where to listen; with port 0 it takes a free one, and says which.
    #[arg(default_value = "127.0.0.1:8443")]
    address: String,
    /// The certificate, and after it those of its issuers, as PEM. Read again at SIGHUP.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its key, as PEM. Read again at SIGHUP.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Only clients whose certificates one of these has issued (PEM).
    #[arg(long, value_name = "FILE")]
    clients: Option<PathBuf>,
    /// How long connections may go on after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
}

impl Arguments {
    async fn acceptor(&self) -> io::Result<Acceptor> {
        let (certificate, key) = (read(&self.certificate).await?, read(&self.key).await?);
        let mut builder = Acceptor::builder().certificate(certificate, key)?.protocols(&["h2", "http/1.1"]);
        if let Some(clients) = &self.clients {
            builder = builder.client_roots(read(clients).await?)?;
        }
        builder.build()
    }
}

async fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    fs::read(path).await.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn main() -> ExitCode {
    match corering::run(serve(Arguments::parse())).map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("https: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let arguments = Rc::new(arguments);
    let acceptor = arguments.acceptor().await?;
    let listener = TcpListener::bind(&*arguments.address).await?;
    let address = listener.local_addr()?;
    let shutdown = CancellationToken::new();
    let server = Rc::new(Server { acceptor: acceptor.clone(), http: http(), shutdown: shutdown.clone() });
    let server = net::serve(listener, async move |stream, peer| {
        // Strangers speak no TLS, or do not like the certificate: that is not this server's failure.
        if let Err(error) = server.converse(stream).await {
            eprintln!("https: {peer}: {error}");
        }
        Ok(())
    });
    let renewed = Signals::new([SignalKind::HANGUP])?;
    let renewing = corering::spawn(renew(renewed, arguments.clone(), acceptor)).name("SIGHUP").abort_on_drop();
    let signal = signal::shutdown();
    println!("listening on {address}");
    let served = server
        .drain(Duration::from_secs(arguments.drain))
        .shutdown(async move {
            if let Ok(signal) = signal.await {
                eprintln!("https: {signal}: answering what was asked, then ending");
            }
            shutdown.cancel();
        })
        .await;
    drop(renewing);
    served
}

/// Reads the files at each SIGHUP.
async fn renew(mut signals: Signals, arguments: Rc<Arguments>, acceptor: Acceptor) {
    while signals.next().await.is_ok() {
        match arguments.acceptor().await {
            Ok(new) => {
                acceptor.replace(&new);
                eprintln!("https: the certificate was read anew");
            }
            Err(error) => eprintln!("https: the certificate stays as it is: {error}"),
        }
    }
}

fn http() -> auto::Builder<CoreExecutor> {
    let mut http = auto::Builder::new(CoreExecutor);
    http.http1().timer(CoreTimer::new()).header_read_timeout(Duration::from_secs(10));
    http.http2().timer(CoreTimer::new()).max_concurrent_streams(128);
    http
}

struct Server {
    acceptor: Acceptor,
    http: auto::Builder<CoreExecutor>,
    shutdown: CancellationToken,
}

impl Server {
    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream: TlsStream = self.acceptor.accept(stream).await?;
        let mut connection = pin!(self.http.serve_connection(stream, service_fn(hello)));
        let ended = select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(io::Error::other)
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let text = format!("hello by {:?}: {}\n", request.version(), request.uri().path());
    Ok(Response::new(text))
}
