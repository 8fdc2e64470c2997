//! A connection to a host: made in phases, each of which says what was wrong in it.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::Poll;

use corering_runtime::task::yield_now;
use corering_runtime::time::{Duration, Instant, timeout_at};
use corering_runtime::{JoinHandle, spawn};
use corering_sync::Event;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};

use super::body::Body;
use super::error::{Error, Phase};
use super::session::Settings;
use super::url::Origin;
use crate::addr::Target;
use crate::connect;
use crate::poll::PollStream;
use crate::poll::hyper::{CoreExecutor, CoreTimer};
use crate::stream::{TcpStream, tcp_socket};

/// The tasks of a session's connections: so that somebody can wait for their end.
#[derive(Default)]
pub(super) struct Tasks {
    running: Cell<usize>,
    ended: Event,
}

impl Tasks {
    fn spawn(self: &Rc<Self>, origin: &Origin, connection: impl Future + 'static) -> JoinHandle<()> {
        let running = Running::new(self);
        spawn(async move {
            let _running = running;
            // What was wrong is told to who has asked something; a connection that nobody uses may end as it likes.
            drop(connection.await);
        })
        .name(format_args!("connection to {origin}"))
    }

    pub(super) fn running(&self) -> usize {
        self.running.get()
    }

    pub(super) async fn ended(&self) {
        while self.running.get() > 0 {
            self.ended.clear();
            self.ended.wait().await;
        }
    }
}

struct Running(Rc<Tasks>);

impl Running {
    fn new(tasks: &Rc<Tasks>) -> Self {
        tasks.running.set(tasks.running.get() + 1);
        Self(tasks.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.ended.set();
    }
}

/// A connection by which requests are sent: one at a time, or many.
pub(super) struct Connection {
    kind: Kind,
    was_used: bool,
}

enum Kind {
    Http1(Http1),
    Http2(Http2),
}

struct Http1 {
    sender: http1::SendRequest<Body>,
    task: JoinHandle<()>,
}

/// Of a connection that others use, too. It ends when the last of them has gone.
struct Http2 {
    sender: http2::SendRequest<Body>,
    shared: Rc<Shared>,
}

/// How often the other side of a connection that many share is asked whether it is still there, while it owes answers.
const ALIVE_EVERY: Duration = Duration::from_secs(20);

/// What those who come later take part in.
pub(super) struct Shared(http2::SendRequest<Body>);

impl Drop for Http1 {
    fn drop(&mut self) {
        // In the middle of something: nothing may come of it any more. Else it ends by itself, and says so.
        if !self.sender.is_ready() {
            self.task.abort();
        }
    }
}

impl Connection {
    pub(super) async fn open(origin: &Origin, settings: &Settings, tasks: &Rc<Tasks>) -> Result<Self, Error> {
        let deadline = Instant::now() + settings.connect_timeout;
        let phase = Cell::new(Phase::Resolve);
        match timeout_at(deadline, Self::open_in_time(origin, settings, tasks, &phase)).await {
            Ok(opened) => opened,
            Err(_) => {
                let (host, limit) = (origin.to_string(), settings.connect_timeout);
                Err(Error::Timeout { host, phase: phase.get(), limit })
            }
        }
    }

    async fn open_in_time(
        origin: &Origin,
        settings: &Settings,
        tasks: &Rc<Tasks>,
        phase: &Cell<Phase>,
    ) -> Result<Self, Error> {
        let host = || origin.to_string();
        let target = match origin.host.parse::<IpAddr>() {
            Ok(ip) => Target::Address((ip, origin.port).into()),
            Err(_) => Target::Name { host: origin.host.clone(), port: origin.port },
        };
        let addresses = target.addresses().await.map_err(|source| Error::Resolve { host: host(), source })?;
        phase.set(Phase::Connect);
        let found = match target {
            Target::Address(_) | Target::Addresses(_) => target,
            Target::Name { .. } => Target::Addresses(addresses),
        };
        let connected = connect::connect(&found, tcp_socket).await.map(TcpStream::new);
        let stream = connected.map_err(|source| Error::Connect { host: host(), source })?;
        // Requests are gathered already; waiting for more only delays them. If it cannot be said, it is slower.
        let _ = stream.set_nodelay(true);
        if !origin.is_secure {
            return Self::http1(origin, PollStream::new(stream), tasks).await;
        }
        phase.set(Phase::Tls);
        Self::secure(origin, settings, stream, tasks).await
    }

    #[cfg(feature = "tls")]
    async fn secure(origin: &Origin, settings: &Settings, stream: TcpStream, tasks: &Rc<Tasks>) -> Result<Self, Error> {
        let wrong = |source| Error::Tls { host: origin.to_string(), source };
        let connector = settings.connector().await.map_err(wrong)?;
        // It has a limit of its own, too.
        let begun = Instant::now();
        let stream = connector.connect(&origin.host, stream).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::TimedOut => {
                Error::Timeout { host: origin.to_string(), phase: Phase::Tls, limit: begun.elapsed() }
            }
            _ => wrong(source),
        })?;
        if stream.protocol() == Some(b"h2") {
            Self::http2(origin, stream, tasks).await
        } else {
            Self::http1(origin, stream, tasks).await
        }
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as with TLS")]
    async fn secure(origin: &Origin, _: &Settings, _: TcpStream, _: &Rc<Tasks>) -> Result<Self, Error> {
        let text = "this program was built without the feature `tls` of corering: https cannot be spoken";
        Err(Error::Tls { host: origin.to_string(), source: std::io::Error::new(std::io::ErrorKind::Unsupported, text) })
    }

    async fn http1(
        origin: &Origin,
        stream: impl Read + Write + Unpin + 'static,
        tasks: &Rc<Tasks>,
    ) -> Result<Self, Error> {
        let (sender, connection) = http1::Builder::new()
            .handshake(stream)
            .await
            .map_err(|source| Error::Send { host: origin.to_string(), source })?;
        let task = tasks.spawn(origin, connection);
        Ok(Self { kind: Kind::Http1(Http1 { sender, task }), was_used: false })
    }

    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS says that it is spoken"))]
    async fn http2(
        origin: &Origin,
        stream: impl Read + Write + Unpin + 'static,
        tasks: &Rc<Tasks>,
    ) -> Result<Self, Error> {
        let (sender, connection) = http2::Builder::new(CoreExecutor)
            .timer(CoreTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(ALIVE_EVERY)
            .handshake(stream)
            .await
            .map_err(|source| Error::Send { host: origin.to_string(), source })?;
        drop(tasks.spawn(origin, connection));
        let shared = Rc::new(Shared(sender.clone()));
        Ok(Self { kind: Kind::Http2(Http2 { sender, shared }), was_used: false })
    }

    /// Takes part in one that there is.
    pub(super) fn of(shared: Rc<Shared>) -> Self {
        Self { kind: Kind::Http2(Http2 { sender: shared.0.clone(), shared }), was_used: true }
    }

    /// What others may take part in, if they may.
    pub(super) fn shared(&self) -> Option<Weak<Shared>> {
        match &self.kind {
            Kind::Http1(_) => None,
            Kind::Http2(connection) => Some(Rc::downgrade(&connection.shared)),
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        match &self.kind {
            Kind::Http1(_) => false,
            Kind::Http2(_) => true,
        }
    }

    /// Whether anything was sent by it before.
    pub(super) fn was_used(&self) -> bool {
        self.was_used
    }

    /// Whether a request can be sent by it: it is looked at when it was idle.
    pub(super) async fn is_usable(&mut self) -> bool {
        for _ in 0..2 {
            let ready = poll_fn(|cx| {
                Poll::Ready(match &mut self.kind {
                    Kind::Http1(connection) => connection.sender.poll_ready(cx),
                    Kind::Http2(connection) => connection.sender.poll_ready(cx),
                })
            });
            match ready.await {
                Poll::Ready(ready) => return ready.is_ok(),
                // Its task may not have had its turn since the last answer was read.
                Poll::Pending => yield_now().await,
            }
        }
        false
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.was_used = true;
        match &mut self.kind {
            Kind::Http1(connection) => connection.sender.try_send_request(request).await,
            Kind::Http2(connection) => connection.sender.try_send_request(request).await,
        }
    }

    /// Closes it at once, if nobody else uses it.
    pub(super) fn cut(self) {
        match &self.kind {
            Kind::Http1(connection) => {
                connection.task.abort();
            }
            Kind::Http2(_) => {}
        }
    }
}

impl Shared {
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}
