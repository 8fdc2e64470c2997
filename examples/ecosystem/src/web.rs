//! axum: its `Router` is a tower service, and hyper serves it on each core.
//!
//! ```text
//!   address --the kernel deals connections out--> a listener per core --> net::serve --> hyper --> the same Router
//! ```
//!
//! A handler's future has to be `Send`, though here it never leaves its core. What of corering may be awaited in one:
//! streams, files, sleeps and timeouts, by value or by reference. What may not: a `JoinHandle`, an `Rc`, and what is
//! of `corering::sync`. For these there is [`on_core`]; and channels and locks of `tokio::sync` are `Send`, and need nothing
//! of tokio to run.

use std::net::SocketAddr;
use std::num::NonZero;
use std::pin::pin;

use axum::Router;
use corering::net::{self, CoreExecutor, CoreTimer, PollStream, TcpListener};
use corering::time::Duration;
use corering::{Builder, io, select};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{oneshot, watch};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves `router` on this core until `stop` says true, or nobody is left who could say it; then what was asked is
/// answered.
///
/// # Errors
///
/// What the listener cannot get over.
pub async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) -> io::Result<()> {
    let mut http = auto::Builder::new(CoreExecutor);
    http.http1().timer(CoreTimer::new()).header_read_timeout(HEAD);
    http.http2().timer(CoreTimer::new()).max_concurrent_streams(128);
    let service = TowerToHyperService::new(router);
    let server = net::serve(listener, {
        let stop = stop.clone();
        async move |stream, _peer| {
            stream.set_nodelay(true)?;
            let mut connection = pin!(http.serve_connection(PollStream::new(stream), service.clone()));
            let ended = select! {
                ended = connection.as_mut() => ended,
                () = is_said(stop.clone()) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            ended.map_err(told)
        }
    });
    server.drain(DRAIN).shutdown(is_said(stop)).await
}

/// The cause, if that is of I/O: by its kind the server knows whether the client has gone.
fn told(error: Box<dyn std::error::Error + Send + Sync>) -> io::Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    io::Error::new(cause.unwrap_or(io::ErrorKind::Other), error)
}

async fn is_said(mut stop: watch::Receiver<bool>) {
    // An error says that nobody is left who could say it.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Serves `router` on so many cores, each on a thread of its own with a listener of its own, until `stop` says true.
/// `listening` is told the address, once all listen.
///
/// # Errors
///
/// The first that any core had; the others are stopped then.
pub fn serve_on_cores(
    cores: NonZero<usize>,
    address: SocketAddr,
    router: &Router,
    stop: &watch::Sender<bool>,
    listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    std::thread::scope(|scope| {
        let mut at = address;
        let mut started = Vec::new();
        for core in 0..cores.get() {
            let (told, bound) = std::sync::mpsc::channel();
            let (router, stop) = (router.clone(), stop.clone());
            started.push(scope.spawn(move || {
                let served = Builder::new().thread_name(format!("web-{core}")).run(async {
                    let listener = TcpListener::bind_shared(at).await?;
                    // It is waited for below.
                    let _ = told.send(listener.local_addr()?);
                    serve(listener, router, stop.subscribe()).await
                });
                let served = served.map_err(io::Error::from).and_then(|served| served);
                if served.is_err() {
                    stop.send_replace(true);
                }
                served
            }));
            // The first may have been given a free port: that is where the others listen, too.
            match bound.recv() {
                Ok(given) => at = given,
                Err(_) => break,
            }
        }
        if !*stop.borrow() {
            listening(at);
        }
        let ends = started.into_iter().map(|thread| match thread.join() {
            Ok(served) => served,
            Err(panicked) => std::panic::resume_unwind(panicked),
        });
        ends.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Does something that is not `Send` as a task of this core, for a future that has to be: a handler's.
///
/// # Errors
///
/// If it panicked.
///
/// # Cancel safety
///
/// Dropped, it drops the work.
pub async fn on_core<T: Send + 'static>(work: impl AsyncFnOnce() -> T + 'static) -> io::Result<T> {
    let (mut sender, receiver) = oneshot::channel();
    drop(corering::spawn(async move {
        let done = select! {
            done = work() => done,
            () = sender.closed() => return,
        };
        // If nobody wants it any more, it is dropped.
        drop(sender.send(done));
    }));
    receiver.await.map_err(|_| io::Error::other("the work has panicked"))
}
