//! A session: settings, and the connections that it keeps.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use corering_runtime::time::{Instant, timeout, timeout_at};
use corering_sync::Semaphore;
use hyper::body::Body as _;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderValue,
    LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{HeaderMap, Method, Request, StatusCode};

use super::body::Body;
use super::connection::Tasks;
use super::error::{Error, Phase};
use super::host::{Exchange, Host};
use super::request::RequestBuilder;
use super::response::{Answer, Response};
use super::url::{Origin, Url};
#[cfg(feature = "tls")]
use crate::tls::Connector;

/// The limits, unless told otherwise.
const CONNECT: Duration = Duration::from_secs(30);
const READ: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(30);
const LIMIT: usize = 100;
const REDIRECTS: usize = 10;
const MAX_BODY: usize = 64 * 1024 * 1024;
/// So much of an answer that sends a request on is read, for so long, to keep its connection.
const DRAIN: u64 = 16 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// From so many hosts on, those are forgotten to which there is no connection.
const MANY_HOSTS: usize = 64;

/// A client for HTTP, which keeps its connections for further requests: aiohttp's `ClientSession`. It belongs to its
/// core. Make one, and use it for all requests; clones are the same session.
///
/// - **Connections** are kept by host. A request waits while all that its host may have are in use, first come, first
///   served; HTTP/2 (over TLS, where the server has it) sends many by one.
/// - **A request that is dropped**, or an answer that is dropped before its end, closes its connection: nothing of it
///   reaches a later request.
/// - **A connection that the server had closed** while it was idle is noticed; if it is closed at the very moment
///   when it is used again, the request is sent once more, if that cannot do harm: if nothing of it was sent, or if
///   its method may be repeated (`GET`, `HEAD`, `PUT`, `DELETE`, `OPTIONS`, `TRACE`).
/// - **Redirects** are followed as browsers do: 303, and 301 and 302 after a `POST`, by `GET`; 307 and 308 with
///   method and body. `Authorization` and `Cookie` do not go along to another host.
/// - **https** needs the feature `tls`.
///
/// It decodes no compression and asks for none; keeps no cookies; and asks no proxies.
///
/// # Examples
///
/// ```no_run
/// use corering_net::client::{Error, Session};
/// use corering_runtime::time::Duration;
///
/// corering_runtime::run(async {
///     let session = Session::builder()
///         .base("https://api.example.org/v1/")
///         .header("authorization", "Bearer 123")
///         .timeout(Duration::from_secs(20))
///         .limit_per_host(8)
///         .build()?;
///     let list: Vec<String> = session.get("names").query([("sort", "up")]).send().await?.json().await?;
///     for name in &list {
///         session.post("seen").json(name).send().await?.error_for_status()?;
///     }
///     session.close().await;
///     Ok::<(), Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "ClientSession")]
pub struct Session(Rc<State>);

struct State {
    settings: Rc<Settings>,
    slots: Rc<Semaphore>,
    hosts: RefCell<HashMap<Origin, Rc<Host>>>,
    tasks: Rc<Tasks>,
}

pub(super) struct Settings {
    base: Option<Url>,
    headers: HeaderMap,
    pub(super) total: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) wait_timeout: Option<Duration>,
    pub(super) read_timeout: Duration,
    pub(super) idle_time: Duration,
    limit: usize,
    pub(super) limit_per_host: usize,
    redirects: usize,
    pub(super) max_body: usize,
    #[cfg(feature = "tls")]
    tls: corering_sync::OnceCell<Connector>,
}

impl Settings {
    /// The one that was given; else one that trusts whom the system trusts, made when it is first needed.
    #[cfg(feature = "tls")]
    pub(super) async fn connector(&self) -> std::io::Result<&Connector> {
        let make = async || Connector::builder().protocols(PROTOCOLS).build().await;
        self.tls.get_or_try_init(make).await
    }
}

#[cfg(feature = "tls")]
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

impl Session {
    /// With the settings that a [`SessionBuilder`] begins with.
    pub fn new() -> Self {
        Self::of(SessionBuilder::new())
    }

    /// With settings.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::new()
    }

    fn of(builder: SessionBuilder) -> Self {
        let SessionBuilder { mut settings, wrong: _ } = builder;
        settings.limit_per_host = settings.limit_per_host.min(settings.limit);
        Self(Rc::new(State {
            slots: Rc::new(Semaphore::new(settings.limit)),
            settings: Rc::new(settings),
            hosts: RefCell::default(),
            tasks: Rc::default(),
        }))
    }

    /// A request that is to be sent: [`send`](RequestBuilder::send) does. The URL is anything that reads as one: text,
    /// a [`Uri`](super::Uri); a path, if the session has a base.
    pub fn request(&self, method: Method, url: impl fmt::Display) -> RequestBuilder {
        let text = url.to_string();
        let url = match &self.0.settings.base {
            Some(base) => base.join(&text),
            None => Url::parse(&text),
        };
        RequestBuilder::new(self.clone(), method, url)
    }

    /// A `GET`.
    pub fn get(&self, url: impl fmt::Display) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A `HEAD`: the answer without its body.
    pub fn head(&self, url: impl fmt::Display) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A `POST`.
    pub fn post(&self, url: impl fmt::Display) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A `PUT`.
    pub fn put(&self, url: impl fmt::Display) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A `PATCH`.
    pub fn patch(&self, url: impl fmt::Display) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A `DELETE`.
    pub fn delete(&self, url: impl fmt::Display) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Ends it: requests that wait or come later fail with [`Error::Closed`], and those under way, whose answers others
    /// hold, are waited for. Then all connections are closed.
    ///
    /// Dropping the session closes its idle connections in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is closed all the same; another call waits on.
    pub async fn close(&self) {
        self.0.slots.close();
        let hosts: Vec<_> = self.0.hosts.borrow().values().cloned().collect();
        for host in &hosts {
            host.stop();
        }
        for host in hosts {
            host.close().await;
        }
        self.0.tasks.ended().await;
    }

    /// What it has now, and has had.
    pub fn status(&self) -> SessionStatus {
        let hosts = self.0.hosts.borrow();
        let mut status = SessionStatus { hosts: hosts.len(), idle: 0, in_use: 0, connections: 0, made: 0 };
        for host in hosts.values() {
            let (idle, in_use, made) = host.counts();
            status.idle += idle;
            status.in_use += in_use;
            status.made += made;
        }
        status.connections = self.0.tasks.running();
        status
    }

    fn host(&self, origin: &Origin) -> Rc<Host> {
        let mut hosts = self.0.hosts.borrow_mut();
        if let Some(host) = hosts.get(origin) {
            return host.clone();
        }
        if hosts.len() >= MANY_HOSTS {
            // Who has got one, but no place in it yet, keeps it to itself.
            hosts.retain(|_, host| !host.is_unused());
        }
        let host = Rc::new(Host::new(origin.clone(), &self.0.settings, &self.0.tasks));
        hosts.insert(origin.clone(), host.clone());
        host
    }

    /// Sends a request, and follows where it is sent on to.
    pub(super) async fn execute(&self, sending: Sending) -> Result<Response, Error> {
        let phase = Cell::new(Phase::Wait);
        let Some(limit) = sending.total else {
            return self.follow(sending, None, &phase).await;
        };
        let (origin, deadline) = (sending.url.origin(), Instant::now() + limit);
        match timeout_at(deadline, self.follow(sending, Some((deadline, limit)), &phase)).await {
            Ok(answered) => answered,
            Err(_) => Err(Error::Timeout { host: origin.to_string(), phase: phase.get(), limit }),
        }
    }

    async fn follow(
        &self,
        mut sending: Sending,
        total: Option<(Instant, Duration)>,
        phase: &Cell<Phase>,
    ) -> Result<Response, Error> {
        let limit = self.0.settings.redirects;
        for redirects in 0.. {
            let answer = self.answer_to(&mut sending, phase).await?;
            let location = match answer.response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => answer.response.headers().get(LOCATION).cloned(),
                _ => None,
            };
            let mut response = Response::new(answer, &sending, total, redirects);
            let Some(location) = location.filter(|_| limit > 0) else {
                return Ok(response);
            };
            let location = String::from_utf8_lossy(location.as_bytes());
            if redirects == limit {
                return Err(Error::Redirects { url: location.into_owned(), limit });
            }
            let next = sending.url.join(&location)?;
            sending.sent_on(response.status(), next)?;
            if response.length().is_some_and(|length| length <= DRAIN) {
                // If it does not come, or breaks off, its connection goes.
                let _ = timeout(DRAIN_TIME, async { while let Ok(Some(_)) = response.chunk().await {} }).await;
            }
        }
        unreachable!("it has returned when the limit was reached")
    }

    /// Sends a request to one host: again, if its connection had been closed by then.
    async fn answer_to(&self, sending: &mut Sending, phase: &Cell<Phase>) -> Result<Answer, Error> {
        let origin = sending.url.origin();
        let host = self.host(&origin);
        let mut has_failed = false;
        loop {
            let mut exchange = host.acquire(&self.0.slots, &origin, &self.0.settings, phase).await?;
            phase.set(Phase::Send);
            let may_be_stale = exchange.connection().was_used();
            match sending.send(&mut exchange).await? {
                Ok(response) => return Ok(Answer { response, exchange, origin }),
                Err(failed) => {
                    drop(exchange);
                    let again = may_be_stale && !has_failed && failed.can_be_repeated;
                    if !again {
                        return Err(Error::Send { host: origin.to_string(), source: failed.error });
                    }
                    has_failed = true;
                    host.forget_idle();
                }
            }
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.status()).finish()
    }
}

/// The connections of a [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStatus {
    /// To how many hosts there are some, or have been lately.
    pub hosts: usize,
    /// How many nobody uses.
    pub idle: usize,
    /// How many requests are under way that have one, or for which one is made.
    pub in_use: usize,
    /// How many are open.
    pub connections: usize,
    /// How many have been made, to these hosts.
    pub made: u64,
}

/// A request, as it is sent next.
pub(super) struct Sending {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// None once it has gone, and cannot be had again.
    pub(super) body: Option<Body>,
    pub(super) total: Option<Duration>,
    pub(super) read: Duration,
    pub(super) max_body: usize,
}

struct Failed {
    error: hyper::Error,
    can_be_repeated: bool,
}

impl Sending {
    /// Sends it by `exchange`. What failed may go well on another connection, if it says so.
    async fn send(
        &mut self,
        exchange: &mut Exchange,
    ) -> Result<Result<hyper::Response<hyper::body::Incoming>, Failed>, Error> {
        let moved = Rc::new(Cell::new(Instant::now()));
        let Some(body) = self.body.take() else {
            let text = "its body has been read and cannot be sent again: give bytes instead of a reader";
            return Err(Error::Request(text.to_owned()));
        };
        self.body = body.again();
        let request = self.request(exchange.connection().is_shared(), body.watched(moved.clone()));
        let read = self.read;
        let sent = {
            let mut answer = pin!(exchange.connection().send(request));
            loop {
                match timeout_at(moved.get() + read, answer.as_mut()).await {
                    Ok(sent) => break sent,
                    // Its body goes out, and nothing can be expected before that has ended.
                    Err(_) if moved.get().elapsed() < read => {}
                    Err(_) => {
                        let host = self.url.origin().to_string();
                        return Err(Error::Timeout { host, phase: Phase::Send, limit: read });
                    }
                }
            }
        };
        let mut failed = match sent {
            Ok(response) => return Ok(Ok(response)),
            Err(failed) => failed,
        };
        let can_be_repeated = match failed.take_message() {
            // Nothing of it was sent.
            Some(request) => {
                self.body = Some(request.into_body());
                true
            }
            None => {
                let error = failed.error();
                let has_gone = error.is_incomplete_message() || error.is_canceled() || is_reset(error);
                has_gone && self.body.is_some() && self.method.is_idempotent()
            }
        };
        Ok(Err(Failed { error: failed.into_error(), can_be_repeated }))
    }

    fn request(&self, is_http2: bool, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if request.body().is_end_stream() && [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) {
            // Who expects a body is told that there is none.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if is_http2 {
            *request.uri_mut() = self.url.to_uri();
            // The URL says it.
            request.headers_mut().remove(HOST);
        } else {
            *request.uri_mut() = self.url.path.clone().into();
            if !self.headers.contains_key(HOST) {
                if let Ok(host) = HeaderValue::from_str(&self.url.host_header()) {
                    request.headers_mut().insert(HOST, host);
                }
            }
        }
        request
    }

    /// It goes on to another place.
    fn sent_on(&mut self, status: StatusCode, url: Url) -> Result<(), Error> {
        let by_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if by_get {
            self.method = Method::GET;
            self.body = Some(Body::default());
            for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
                self.headers.remove(name);
            }
        } else if self.body.is_none() {
            let text = format!("{status} sends it on to {url}, but its body has been read: give bytes, not a reader");
            return Err(Error::Request(text));
        }
        if url.origin() != self.url.origin() {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST] {
                self.headers.remove(name);
            }
        }
        self.url = url;
        Ok(())
    }
}

/// Whether the connection was broken off.
fn is_reset(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
        matches!(cause.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
    })
}

/// How a [`Session`] is to be; made by [`Session::builder`].
pub struct SessionBuilder {
    settings: Settings,
    /// What cannot be so; told when it is built.
    wrong: Option<Error>,
}

impl SessionBuilder {
    fn new() -> Self {
        let agent = HeaderValue::from_static(concat!("corering/", env!("CARGO_PKG_VERSION")));
        let headers = [(USER_AGENT, agent), (ACCEPT, HeaderValue::from_static("*/*"))].into_iter().collect();
        let settings = Settings {
            base: None,
            headers,
            total: None,
            connect_timeout: CONNECT,
            wait_timeout: None,
            read_timeout: READ,
            idle_time: IDLE,
            limit: LIMIT,
            limit_per_host: LIMIT,
            redirects: REDIRECTS,
            max_body: MAX_BODY,
            #[cfg(feature = "tls")]
            tls: corering_sync::OnceCell::new(),
        };
        Self { settings, wrong: None }
    }

    /// What paths are meant to be of: with the base `https://host/v1/`, `get("users")` asks `https://host/v1/users`,
    /// and
    /// `get("/users")` `https://host/users`, as links on a page do.
    #[must_use]
    pub fn base(mut self, url: impl fmt::Display) -> Self {
        match Url::parse(&url.to_string()) {
            Ok(url) => self.settings.base = Some(url),
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// A header that every request has, unless it has one of that name itself, whatever host it is sent to: only
    /// when a host sends a request on to another one, what says who asks is left out. `User-Agent` and `Accept` are there
    /// already.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        match super::request::header(name.as_ref(), value.as_ref()) {
            Ok((name, value)) => drop(self.settings.headers.insert(name, value)),
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// How long a request may take in all, from [`send`](RequestBuilder::send) to the end of its answer: no limit, if
    /// not told.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.total = Some(limit);
        self
    }

    /// How long it may take to make a connection, with looking its name up and TLS: 30 s, if not told.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// How long a host may say nothing while it is waited for: 60 s, if not told.
    #[must_use]
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.settings.read_timeout = limit;
        self
    }

    /// How long a request may wait for a connection that others use: no limit, if not told.
    #[must_use]
    pub fn wait_timeout(mut self, limit: Duration) -> Self {
        self.settings.wait_timeout = Some(limit);
        self
    }

    /// How long a connection is kept that nobody uses: 30 s, if not told.
    #[must_use]
    pub fn idle_time(mut self, time: Duration) -> Self {
        self.settings.idle_time = time;
        self
    }

    /// How many requests may be under way at a time, in all: 100, if not told.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    #[must_use]
    pub fn limit(mut self, most: usize) -> Self {
        assert!(most > 0, "a session of 0 requests asks nothing: give at least 1");
        self.settings.limit = most;
        self
    }

    /// How many requests may be under way at a time to one host: as many as in all, if not told.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    #[must_use]
    pub fn limit_per_host(mut self, most: usize) -> Self {
        assert!(most > 0, "a host of 0 requests is never asked: give at least 1");
        self.settings.limit_per_host = most;
        self
    }

    /// How often a request may be sent on to another place: 10 times, if not told. With 0, answers that send on are
    /// given as they are.
    #[must_use]
    pub fn redirects(mut self, most: usize) -> Self {
        self.settings.redirects = most;
        self
    }

    /// How long an answer may be that is read as a whole ([`bytes`](Response::bytes), [`text`](Response::text),
    /// [`json`](Response::json)): 64 MiB, if not told.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// How https is spoken: with other roots, or a certificate of its own. Unless the connector has been told
    /// [protocols](crate::tls::ConnectorBuilder::protocols), it is HTTP/2 where the server has it, and else HTTP/1.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, connector: Connector) -> Self {
        let tls = corering_sync::OnceCell::new();
        // It is new, and has none.
        let _ = tls.set(connector.or_protocols(PROTOCOLS));
        self.settings.tls = tls;
        self
    }

    /// The session.
    ///
    /// # Errors
    ///
    /// If the base is no URL, or a header none.
    pub fn build(mut self) -> Result<Session, Error> {
        match self.wrong.take() {
            Some(error) => Err(error),
            None => Ok(Session::of(self)),
        }
    }
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("base", &self.settings.base)
            .field("limit", &self.settings.limit)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Sends what a builder has been told.
    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The headers of every request.
    pub(super) fn headers(&self) -> HeaderMap {
        self.0.settings.headers.clone()
    }
}
