//! A server: it accepts, runs a task for each connection, and ends in good order.
//!
//! ```text
//!            limit reached            shutdown                all ended, or the drain is over
//!  accept ----------------> wait      --------> drain ------------------------------------> end
//!    |  ^                                         (no more are accepted; what is left is cancelled)
//!    |  +-- no descriptors: wait, a little longer each time
//!    v
//!  a task of its own: handler(stream, peer)
//! ```
//!
//! Invariant: a connection's task is in the table from before its first step until after its last, so what is in the
//! table is what is served, and when the server goes, nothing of it is left.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use corering_runtime::time::{Sleep, sleep, timeout};
use corering_runtime::{JoinHandle, spawn};
use slab::Slab;

use crate::{TcpListener, TcpStream};

/// How long to wait after an accept for which there were no descriptors or no memory: twice as long each time.
const BACK_OFF: Duration = Duration::from_millis(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);
/// How long connections may go on after the shutdown, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(30);

/// Where connections come from.
pub trait Listen {
    /// A connection.
    type Stream;
    /// Who is at its other side.
    type Address: fmt::Display;

    /// The next connection. It must not lose one if nobody polls it again.
    ///
    /// # Errors
    ///
    /// What `accept(2)` says.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Self::Address)>>;
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        TcpListener::poll_accept(self, cx)
    }
}

/// Serves every connection of `listener` by `handler`, each in a task of its own, until the
/// [shutdown](Serve::shutdown), which without one never comes.
///
/// A handler that fails or panics ends its connection alone. Its error is told like that of any task that nobody awaits
/// ([`on_unhandled`](corering_runtime::task::on_unhandled)), with the name of the other side, but for those that are part of
/// the trade: that the other side has reset or closed the connection.
///
/// # Errors
///
/// What the listener cannot get over: told when the connections have ended, as after a shutdown. Want of descriptors or memory is none of that: it waits until there are some, and
/// counts it.
///
/// # Cancel safety
///
/// Dropped, it accepts no more and cancels all connections.
///
/// # Examples
///
/// ```
/// use corering_net::{self as net, TcpListener, TcpStream};
/// use corering_runtime::time::{Duration, sleep};
///
/// corering_runtime::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = net::serve(listener, async |mut stream, _peer| {
///         while let Some(chunk) = stream.recv().await? {
///             stream.write_all(chunk).await.0?;
///         }
///         Ok(())
///     });
///     let metrics = server.metrics();
///     let client = corering_runtime::spawn(async move {
///         let mut stream = TcpStream::connect(address).await?;
///         stream.write_all("hello").await.0?;
///         stream.recv().await
///     });
///     let served = server.max_connections(1000).shutdown(sleep(Duration::from_millis(50))).await;
///     assert_eq!(client.await??.as_deref(), Some(&b"hello"[..]));
///     served?;
///     assert_eq!((metrics.accepted(), metrics.active()), (1, 0));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn serve<L, H>(listener: L, handler: H) -> Serve<L, H>
where
    L: Listen,
    H: AsyncFn(L::Stream, L::Address) -> io::Result<()> + 'static,
{
    Serve {
        listener,
        handler: Rc::new(handler),
        shutdown: None,
        drain: DRAIN,
        limit: None,
        most: usize::MAX,
        table: Rc::new(Table::default()),
    }
}

/// A server that has not begun; made by [`serve`]. Awaiting it serves.
#[must_use = "a server does nothing unless it is awaited"]
pub struct Serve<L, H> {
    listener: L,
    handler: Rc<H>,
    shutdown: Option<Pin<Box<dyn Future<Output = ()>>>>,
    drain: Duration,
    limit: Option<Duration>,
    most: usize,
    table: Rc<Table>,
}

impl<L, H> Serve<L, H> {
    /// Accepts no more once `shutdown` has ended, and returns when all connections have.
    ///
    /// Handlers that should end their connections earlier than their clients do may wait for the same: for a token that is
    /// cancelled, for one.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + 'static) -> Self {
        self.shutdown = Some(Box::pin(shutdown));
        self
    }

    /// How long connections may go on after the shutdown; those that are left then are cancelled. 30 s, if not told.
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// How long a connection may take at all: it is then cancelled. For a limit on each wait there is
    /// [`deadline`](crate::Read::deadline).
    pub fn connection_timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How many connections are served at once. Further ones wait: some hundreds that the listener has accepted, each with
    /// its descriptor, and then in the kernel's queue, which is as long as `net.core.somaxconn` (sysctl) or the listener's
    /// backlog says; the others are refused there.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    pub fn max_connections(mut self, most: usize) -> Self {
        assert!(most > 0, "a server of 0 connections serves nobody: give at least 1");
        self.most = most;
        self
    }

    /// What it has done so far: to be looked at while it serves, and after.
    pub fn metrics(&self) -> ServeMetrics {
        ServeMetrics(self.table.clone())
    }
}

impl<L, H> IntoFuture for Serve<L, H>
where
    L: Listen + 'static,
    H: AsyncFn(L::Stream, L::Address) -> io::Result<()> + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What ends the accepting.
enum Turn<C> {
    Accepted(C),
    Shutdown,
    Failed(io::Error),
}

impl<L, H> Serve<L, H>
where
    L: Listen + 'static,
    H: AsyncFn(L::Stream, L::Address) -> io::Result<()> + 'static,
{
    async fn run(self) -> io::Result<()> {
        let Self { listener, handler, mut shutdown, drain, limit, most, table } = self;
        let all = All(table);
        let mut back_off = BackOff::default();
        let ended = loop {
            match poll_fn(|cx| all.0.poll_turn(cx, &listener, &mut shutdown, &mut back_off, most)).await {
                Turn::Accepted((stream, peer)) => begin(&all.0, &handler, limit, stream, peer),
                Turn::Shutdown => break Ok(()),
                Turn::Failed(error) => break Err(error),
            }
        };
        drop(listener);
        if timeout(drain, poll_fn(|cx| all.0.poll_none(cx))).await.is_err() {
            all.0.cancel_all();
            poll_fn(|cx| all.0.poll_none(cx)).await;
        }
        ended
    }
}

fn begin<S, A, H>(table: &Rc<Table>, handler: &Rc<H>, limit: Option<Duration>, stream: S, peer: A)
where
    S: 'static,
    A: fmt::Display + 'static,
    H: AsyncFn(S, A) -> io::Result<()> + 'static,
{
    Table::count(&table.accepted);
    let key = table.tasks.borrow_mut().insert(None);
    // Made before the task, so that it is taken out whatever becomes of that.
    let entry = Entry { table: table.clone(), key };
    let (handler, name) = (handler.clone(), format!("connection from {peer}"));
    let task = spawn(async move {
        let entry = entry;
        let counts = &entry.table;
        let handled = pin!(handler(stream, peer));
        let handled = match limit {
            None => handled.await,
            Some(limit) => match timeout(limit, handled).await {
                Ok(handled) => handled,
                Err(_) => {
                    Table::count(&counts.timed_out);
                    Ok(())
                }
            },
        };
        match handled {
            Err(error) if is_part_of_the_trade(&error) => {
                Table::count(&counts.reset);
                Ok(())
            }
            Err(error) => {
                Table::count(&counts.failed);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    })
    .name(name);
    if let Some(place) = table.tasks.borrow_mut().get_mut(key) {
        *place = Some(task);
    }
}

fn is_part_of_the_trade(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

/// Tells of an error that the server gets over, once for each time that it begins, as a task's that nobody awaits.
fn tell(error: io::Error) {
    let text = format!("no connection can be accepted for now: {error}");
    drop(spawn(async move { Err::<(), _>(io::Error::new(error.kind(), text)) }).name("server"));
}

/// Whether a later accept may do better.
fn passes(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|number| [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].contains(&number))
}

/// Whether the accept failed for its connection alone; see accept(2).
fn is_of_one_connection(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| {
        [
            libc::ECONNABORTED,
            libc::EPERM,
            libc::EPROTO,
            libc::ENETDOWN,
            libc::ENOPROTOOPT,
            libc::EHOSTDOWN,
            libc::ENONET,
            libc::EHOSTUNREACH,
            libc::EOPNOTSUPP,
            libc::ENETUNREACH,
        ]
        .contains(&number)
    })
}

/// The time to wait after an accept that failed.
#[derive(Default)]
struct BackOff {
    wait: Duration,
    sleep: Option<Sleep>,
    /// Accepts that failed for one connection each, one after the other.
    in_a_row: u32,
}

/// So many failures in a row are not those of single connections.
const SUSPICIOUS: u32 = 64;

impl BackOff {
    fn begin(&mut self) {
        self.wait = (self.wait * 2).clamp(BACK_OFF, LONGEST_BACK_OFF);
        self.sleep = Some(sleep(self.wait));
    }

    /// Whether it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.sleep {
            std::task::ready!(Pin::new(sleep).poll(cx));
            self.sleep = None;
        }
        Poll::Ready(())
    }
}

/// The connections that are served, and what has been counted of all.
#[derive(Default)]
struct Table {
    tasks: RefCell<Slab<Option<JoinHandle<io::Result<()>>>>>,
    /// Who is told when one has ended.
    server: RefCell<Option<Waker>>,
    accepted: Cell<u64>,
    failed: Cell<u64>,
    reset: Cell<u64>,
    timed_out: Cell<u64>,
    accept_errors: Cell<u64>,
}

impl Table {
    fn count(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }

    fn poll_turn<L: Listen>(
        &self,
        cx: &mut Context<'_>,
        listener: &L,
        shutdown: &mut Option<Pin<Box<dyn Future<Output = ()>>>>,
        back_off: &mut BackOff,
        most: usize,
    ) -> Poll<Turn<(L::Stream, L::Address)>> {
        if let Some(shutdown) = shutdown {
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Turn::Shutdown);
            }
        }
        loop {
            if self.tasks.borrow().len() >= most {
                self.wake_when_one_ends(cx);
                return Poll::Pending;
            }
            std::task::ready!(back_off.poll(cx));
            match std::task::ready!(listener.poll_accept(cx)) {
                Ok(accepted) => {
                    (back_off.wait, back_off.in_a_row) = (Duration::ZERO, 0);
                    return Poll::Ready(Turn::Accepted(accepted));
                }
                Err(error) => {
                    Self::count(&self.accept_errors);
                    back_off.in_a_row += 1;
                    if passes(&error) || back_off.in_a_row > SUSPICIOUS && is_of_one_connection(&error) {
                        if back_off.wait.is_zero() {
                            tell(error);
                        }
                        back_off.begin();
                    } else if !is_of_one_connection(&error) {
                        return Poll::Ready(Turn::Failed(error));
                    }
                }
            }
        }
    }

    fn poll_none(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tasks.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.wake_when_one_ends(cx);
        Poll::Pending
    }

    fn wake_when_one_ends(&self, cx: &mut Context<'_>) {
        *self.server.borrow_mut() = Some(cx.waker().clone());
    }

    fn cancel_all(&self) {
        for (_, task) in &*self.tasks.borrow() {
            if let Some(task) = task {
                task.abort_for("the server ends");
            }
        }
    }
}

/// All connections of a server: cancelled when it goes.
struct All(Rc<Table>);

impl Drop for All {
    fn drop(&mut self) {
        self.0.cancel_all();
    }
}

/// A connection's place in the table.
struct Entry {
    table: Rc<Table>,
    key: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if std::thread::panicking() {
            Table::count(&self.table.failed);
        }
        // Nobody awaits the task, so what went wrong in it is told when it has ended.
        let task = self.table.tasks.borrow_mut().try_remove(self.key);
        drop(task);
        let server = self.table.server.borrow_mut().take();
        if let Some(server) = server {
            server.wake();
        }
    }
}

/// What a server has done so far; made by [`Serve::metrics`].
#[derive(Clone)]
pub struct ServeMetrics(Rc<Table>);

impl ServeMetrics {
    /// Connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.get()
    }

    /// Connections that are being served.
    pub fn active(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// Connections whose handler failed or panicked, but for [`reset`](Self::reset).
    pub fn failed(&self) -> u64 {
        self.0.failed.get()
    }

    /// Connections that the other side has broken off.
    pub fn reset(&self) -> u64 {
        self.0.reset.get()
    }

    /// Connections that were cancelled since they took too long.
    pub fn timed_out(&self) -> u64 {
        self.0.timed_out.get()
    }

    /// Accepts that failed: for want of descriptors, for one.
    pub fn accept_errors(&self) -> u64 {
        self.0.accept_errors.get()
    }
}

impl fmt::Debug for ServeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeMetrics")
            .field("accepted", &self.accepted())
            .field("active", &self.active())
            .field("failed", &self.failed())
            .field("reset", &self.reset())
            .field("timed_out", &self.timed_out())
            .field("accept_errors", &self.accept_errors())
            .finish()
    }
}

impl<L, H> fmt::Debug for Serve<L, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("max_connections", &self.most)
            .field("drain", &self.drain)
            .field("connection_timeout", &self.limit)
            .finish_non_exhaustive()
    }
}
