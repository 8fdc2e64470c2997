//! One connection: hyper speaks on it, and is watched.
//!
//! Invariant: a connection on which nothing moves is cut off, whatever the client does or leaves undone: before it has
//! said which HTTP it speaks, within a head, within a body, between requests, and when it does not read its answer.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use corering::io;
use corering::net::{CoreExecutor, CoreTimer, PollStream, TcpStream};
use corering::sync::CancellationToken;
use corering::time::{Duration, Instant, sleep_until};
use hyper::service::service_fn;
use hyper_util::server::conn::auto;

use crate::site::Site;

/// What strangers may take.
pub(crate) struct Limits {
    pub(crate) header: Duration,
    pub(crate) idle: Duration,
    pub(crate) head_bytes: u32,
}

/// When something moved on a connection last, and what for.
pub(crate) struct Moves {
    last: Cell<Instant>,
    requests: Cell<u64>,
}

impl Moves {
    fn new() -> Self {
        Self { last: Cell::new(Instant::now()), requests: Cell::new(0) }
    }

    pub(crate) fn note(&self) {
        self.last.set(Instant::now());
    }

    /// When to cut it off, if nothing moves.
    fn deadline(&self, limits: &Limits) -> Instant {
        self.last.get() + if self.requests.get() == 0 { limits.header } else { limits.idle }
    }
}

/// What all connections have in common.
pub(crate) struct Server {
    site: Rc<Site>,
    limits: Limits,
    shutdown: CancellationToken,
    http: auto::Builder<CoreExecutor>,
}

enum End {
    Ended(Result<(), Box<dyn std::error::Error + Send + Sync>>),
    Quiet,
}

impl Server {
    pub(crate) fn new(site: Rc<Site>, limits: Limits, shutdown: CancellationToken) -> Self {
        let timer = CoreTimer::new();
        let mut http = auto::Builder::new(CoreExecutor);
        // Who has sent all that it has to say still wants to be answered.
        http.http1().half_close(true);
        http.http1().timer(timer).header_read_timeout(limits.header).max_buf_size(limits.head_bytes as usize);
        http.http2().timer(timer).max_header_list_size(limits.head_bytes).max_concurrent_streams(128);
        Self { site, limits, shutdown, http }
    }

    pub(crate) async fn converse(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Answers go out at once. If that cannot be said, the client has gone, and that shows soon.
        drop(stream.set_nodelay(true));
        let moves = Rc::new(Moves::new());
        let service = service_fn(|request| {
            moves.requests.set(moves.requests.get() + 1);
            moves.note();
            Rc::clone(&self.site).answer(request, peer, Rc::clone(&moves))
        });
        let mut connection = pin!(self.http.serve_connection(PollStream::new(stream), service));
        let mut shutdown = pin!(self.shutdown.cancelled());
        let mut is_shut_down = false;
        let mut quiet = sleep_until(moves.deadline(&self.limits));
        let end = poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(End::Ended(ended));
                }
                if !is_shut_down && shutdown.as_mut().poll(cx).is_ready() {
                    is_shut_down = true;
                    connection.as_mut().graceful_shutdown();
                } else if Pin::new(&mut quiet).poll(cx).is_pending() {
                    return Poll::Pending;
                } else {
                    // Set again only when it has run out: nothing is done for it as long as all goes well.
                    let deadline = moves.deadline(&self.limits);
                    if deadline <= Instant::now() {
                        return Poll::Ready(End::Quiet);
                    }
                    quiet.reset(deadline);
                }
            }
        })
        .await;
        match end {
            End::Ended(Ok(())) => Ok(()),
            // It had not said which HTTP it speaks, so there is nothing to answer.
            End::Ended(Err(error)) if is_shut_down && is_interrupted(&*error) => Ok(()),
            End::Ended(Err(error)) => self.judge(&*error),
            End::Quiet => {
                self.site.counts.too_slow.set(self.site.counts.too_slow.get() + 1);
                Ok(())
            }
        }
    }

    /// What the client has done wrong is counted. What is left is the server's own fault, and told.
    fn judge(&self, error: &(dyn std::error::Error + 'static)) -> io::Result<()> {
        let counts = &self.site.counts;
        let count = |counter: &Cell<u64>| counter.set(counter.get() + 1);
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        if let Some(error) = causes.find_map(|cause| cause.downcast_ref::<io::Error>()) {
            // By its kind the server knows whether the client has gone.
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_timeout() => count(&counts.too_slow),
            Some(_) | None => count(&counts.malformed),
        }
        Ok(())
    }
}

fn is_interrupted(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::Interrupted)
}
