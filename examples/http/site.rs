//! What is served.

use std::cell::{Cell, OnceCell};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use corering::fs::Dir;
use corering::io;
use corering::net::ServeMetrics;
use corering::time::Instant;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::body::{Body, Content, UnderWay};
use crate::connection::Moves;
use crate::files::{self, Answer, answer, set};
use crate::log::Log;

const ROUTES: &str = "\
/            this
/hello/NAME  a greeting
/echo        POST: what was sent
/json        how the server stands
/stream      ten lines, one after the other; /stream/N: as many
/metrics     for Prometheus
";

/// Lines of `/stream`, unless told otherwise, and at most.
const LINES: u32 = 10;
const MOST_LINES: u32 = 100_000;

/// What was counted beside what the server counts.
#[derive(Default)]
pub(crate) struct Counts {
    requests: Cell<u64>,
    /// Answers by the first digit of their status.
    answers: [Cell<u64>; 6],
    /// Connections that were cut off since nothing moved.
    pub(crate) too_slow: Cell<u64>,
    /// Connections that ended with what was no HTTP.
    pub(crate) malformed: Cell<u64>,
}

pub(crate) struct Site {
    root: Option<Dir>,
    most_bytes: u64,
    log: Log,
    began: Instant,
    metrics: OnceCell<ServeMetrics>,
    pub(crate) counts: Counts,
}

/// What becomes of a body.
enum Received {
    Whole(Bytes),
    TooLong,
    /// The client has gone, or sends what is no body.
    Broken,
}

/// `/json`.
#[derive(Serialize)]
struct State {
    name: &'static str,
    version: &'static str,
    uptime_s: f64,
    requests: u64,
    connections: usize,
}

impl Site {
    pub(crate) fn new(root: Option<Dir>, most_bytes: u64, log: Log) -> Self {
        let (metrics, counts) = (OnceCell::new(), Counts::default());
        Self { root, most_bytes, log, began: Instant::now(), metrics, counts }
    }

    /// The server's own counts.
    pub(crate) fn count_by(&self, metrics: ServeMetrics) {
        drop(self.metrics.set(metrics));
    }

    pub(crate) async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        moves: Rc<Moves>,
    ) -> Result<Response<Body>, Infallible> {
        self.counts.requests.set(self.counts.requests.get() + 1);
        let (head, body) = request.into_parts();
        let line = self.log.line(peer, &head.method, head.uri.path(), head.version);
        // From here on, the request is under way, until its answer has been sent or nobody wants it any more.
        let under_way = UnderWay { moves, line };
        let mut answer = match self.route(&head, body, &under_way.moves).await {
            Ok(answer) => answer,
            Err(error) => {
                eprintln!("http: {} {}: {error}", head.method, head.uri.path());
                answer(StatusCode::INTERNAL_SERVER_ERROR, "the server could not do that\n")
            }
        };
        let status = answer.status();
        if let Some(count) = self.counts.answers.get(usize::from(status.as_u16() / 100)) {
            count.set(count.get() + 1);
        }
        if head.method == Method::HEAD {
            // As for GET, but for the bytes.
            if let Some(len) = answer.body().len() {
                answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
            }
            *answer.body_mut() = Content::Whole(Bytes::new());
        }
        Ok(answer.map(|content| under_way.answer(status, content)))
    }

    async fn route(&self, head: &Parts, body: Incoming, moves: &Moves) -> io::Result<Answer> {
        let path = head.uri.path();
        if path == "/echo" {
            if head.method != Method::POST {
                return Ok(not_allowed("POST"));
            }
            let kind = head.headers.get(header::CONTENT_TYPE).cloned();
            let mut answer = match self.whole(body, moves).await {
                Received::Whole(bytes) => Response::new(Content::Whole(bytes)),
                Received::TooLong => return Ok(answer(StatusCode::PAYLOAD_TOO_LARGE, "that is too long\n")),
                Received::Broken => return Ok(answer(StatusCode::BAD_REQUEST, "it did not come to its end\n")),
            };
            let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(answer);
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return Ok(not_allowed("GET, HEAD"));
        }
        match path {
            "/" => Ok(answer(StatusCode::OK, ROUTES)),
            "/json" => {
                let mut answer = answer(StatusCode::OK, serde_json::to_vec(&self.state())?);
                set(&mut answer, header::CONTENT_TYPE, "application/json");
                Ok(answer)
            }
            "/metrics" => {
                let mut answer = answer(StatusCode::OK, self.metrics());
                set(&mut answer, header::CONTENT_TYPE, "text/plain; version=0.0.4");
                Ok(answer)
            }
            "/stream" => Ok(stream(LINES)),
            _ => {
                if let Some(name) = path.strip_prefix("/hello/") {
                    return Ok(answer(StatusCode::OK, format!("hello, {name}\n")));
                }
                if let Some(lines) = path.strip_prefix("/stream/").and_then(|lines| lines.parse().ok()) {
                    return Ok(stream(std::cmp::min(lines, MOST_LINES)));
                }
                match &self.root {
                    Some(root) => files::file(root, path, &head.headers).await,
                    None => Ok(files::missing()),
                }
            }
        }
    }

    /// A body as a whole. What says beforehand that it is too long is not read at all, and a client that waits to be told to
    /// go on never sends it.
    async fn whole(&self, mut body: Incoming, moves: &Moves) -> Received {
        if body.size_hint().lower() > self.most_bytes {
            return Received::TooLong;
        }
        // Grows as it comes: what is announced need not come.
        let mut whole = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            moves.note();
            let Ok(frame) = frame else {
                return Received::Broken;
            };
            // Else it is headers that come behind, which nobody asks for.
            if let Ok(bytes) = frame.into_data() {
                if (whole.len() + bytes.len()) as u64 > self.most_bytes {
                    return Received::TooLong;
                }
                whole.extend_from_slice(&bytes);
            }
        }
        Received::Whole(whole.into())
    }

    fn state(&self) -> State {
        State {
            name: "corering",
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.began.elapsed().as_secs_f64(),
            requests: self.counts.requests.get(),
            connections: self.metrics.get().map_or(0, ServeMetrics::active),
        }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut tell = |kind: &str, name: &str, value: u64| {
            let base = name.split('{').next().unwrap_or(name);
            if !text.contains(&format!("# TYPE {base} ")) {
                // A string takes all that is written.
                let _ = writeln!(text, "# TYPE {base} {kind}");
            }
            let _ = writeln!(text, "{name} {value}");
        };
        if let Some(metrics) = self.metrics.get() {
            tell("counter", "http_connections_accepted_total", metrics.accepted());
            tell("gauge", "http_connections_active", metrics.active() as u64);
            tell("counter", "http_connections_failed_total", metrics.failed());
            tell("counter", "http_connections_reset_total", metrics.reset());
            tell("counter", "http_connections_timed_out_total", metrics.timed_out());
            tell("counter", "http_accept_errors_total", metrics.accept_errors());
        }
        tell("counter", "http_connections_too_slow_total", self.counts.too_slow.get());
        tell("counter", "http_connections_malformed_total", self.counts.malformed.get());
        tell("counter", "http_requests_total", self.counts.requests.get());
        for (class, count) in self.counts.answers.iter().enumerate().skip(2) {
            tell("counter", &format!("http_answers_total{{status=\"{class}xx\"}}"), count.get());
        }
        if let Some(core) = corering::metrics() {
            tell("gauge", "corering_tasks", core.tasks as u64);
            tell("gauge", "corering_operations_in_flight", core.operations_in_flight as u64);
            tell("gauge", "corering_buffers_held", core.buffers_held as u64);
            tell("counter", "corering_enters_total", core.enters);
        }
        text
    }
}

fn not_allowed(methods: &str) -> Answer {
    let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done with it\n");
    set(&mut answer, header::ALLOW, methods);
    answer
}

fn stream(lines: u32) -> Answer {
    let mut answer = Response::new(Content::lines(lines));
    set(&mut answer, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    answer
}
