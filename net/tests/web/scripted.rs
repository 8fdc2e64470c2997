//! A core that has to be left as it was found, and servers that do as they are told.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use corering_net::{TcpListener, TcpStream};
use corering_runtime::task::{AbortOnDrop, yield_now};
use corering_runtime::time::{Instant, timeout};

pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Runs on a core, and checks that nothing is left behind: no task, timer, operation or buffer.
#[track_caller]
pub(crate) fn clean<T>(body: impl Future<Output = T>) -> T {
    corering_runtime::run(async {
        let output = timeout(LONG, body).await.expect("in time");
        let began = Instant::now();
        loop {
            let left = corering_runtime::metrics().expect("a core");
            if (left.operations, left.tasks, left.timers, left.buffers_held) == (0, 1, 0, 0) {
                return output;
            }
            assert!(began.elapsed() < LONG, "something is left: {left:?}");
            yield_now().await;
        }
    })
    .expect("a core")
}

/// Waits until something is so, which has to come.
#[track_caller]
pub(crate) fn until(is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < LONG, "{caller}: not in time");
            yield_now().await;
        }
    }
}

/// What a server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) accepted: Cell<usize>,
    pub(crate) open: Cell<usize>,
    /// The most that were open at a time.
    pub(crate) most: Cell<usize>,
    /// The requests, heads and bodies.
    pub(crate) requests: RefCell<Vec<String>>,
}

/// A server on a port of its own, until this is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) seen: Rc<Seen>,
    _accepts: AbortOnDrop<()>,
}

impl Server {
    /// Each connection is given to `serve`.
    pub(crate) async fn of(serve: impl AsyncFn(&mut Visit) + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (seen, serve) = (Rc::new(Seen::default()), Rc::new(serve));
        let counts = seen.clone();
        let accepts = corering_runtime::spawn(async move {
            let mut visits = corering_runtime::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counts.accepted.set(counts.accepted.get() + 1);
                counts.open.set(counts.open.get() + 1);
                counts.most.set(counts.most.get().max(counts.open.get()));
                let (serve, seen) = (serve.clone(), counts.clone());
                visits.spawn(async move {
                    let mut visit = Visit { stream, rest: Vec::new(), seen };
                    serve(&mut visit).await;
                    visit.seen.open.set(visit.seen.open.get() - 1);
                });
            }
        });
        Self { address, seen, _accepts: accepts.abort_on_drop() }
    }

    /// Each request is answered by what `answer` makes of it; with an empty one, the connection is closed.
    pub(crate) async fn answering(answer: impl Fn(&str) -> String + 'static) -> Self {
        Self::of(async move |visit| {
            while let Some(request) = visit.request().await {
                let answer = answer(&request);
                if answer.is_empty() || visit.send(&answer).await.is_none() {
                    return;
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A connection of a client.
pub(crate) struct Visit {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
    seen: Rc<Seen>,
}

impl Visit {
    /// The next request; none if the client has gone.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut need = None;
        loop {
            if need.is_none() {
                if let Some(end) = find(&self.rest, b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&self.rest[..end]).to_lowercase();
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    need = if head.contains("\r\ntransfer-encoding: chunked") {
                        find(&self.rest, b"\r\n0\r\n\r\n").map(|end| end + 7)
                    } else {
                        Some(end + 4 + length.map_or(0, |length| length.parse().expect("a number")))
                    };
                }
            }
            if let Some(need) = need.filter(|need| *need <= self.rest.len()) {
                let request: Vec<u8> = self.rest.drain(..need).collect();
                let request = String::from_utf8_lossy(&request).into_owned();
                self.seen.requests.borrow_mut().push(request.clone());
                return Some(request);
            }
            let chunk = self.stream.recv().await.ok()??;
            self.rest.extend_from_slice(&chunk);
        }
    }

    pub(crate) async fn send(&mut self, answer: &str) -> Option<()> {
        self.stream.write_all(answer.to_owned()).await.0.ok()
    }

    /// Waits until the client has gone.
    pub(crate) async fn end(&mut self) {
        while let Ok(Some(_)) = self.stream.recv().await {}
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

/// An answer of that status, headers and body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// The path that a request asks for.
pub(crate) fn path(request: &str) -> &str {
    request.split(' ').nth(1).expect("a path")
}
