//! A TCP stream, which owns its receive.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corering_runtime::buf::{Chunk, IoBuf, IoBufMut};
use corering_runtime::op::{
    Cancel, Connect, Deadline, Descriptor, Op, Operation, Receiver, Send, SendAll, SocketOption, WriteVectored,
};
use corering_runtime::time::{Instant, Sleep, sleep_until};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::addr::ToSocketAddrs;
use crate::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};

/// A TCP connection.
///
/// The receive belongs to the stream, not to the call: what has arrived waits here until somebody reads it, whatever
/// becomes of the future that asked for it. Writes go out whole and in order; one whose future is dropped goes out
/// all the same if it had begun, and the next one waits for it.
///
/// # Examples
///
/// ```
/// use corering_net::{TcpListener, TcpStream};
///
/// corering_runtime::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///
///     client.write_all("hello").await.0?;
///     let chunk = server.recv().await?.expect("not the end");
///     assert_eq!(&chunk[..], b"hello");
///     server.write_all(chunk).await.0?;
///     let (count, buffer) = client.read(Vec::with_capacity(64)).await;
///     assert_eq!((count?, &buffer[..]), (5, &b"hello"[..]));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

/// The side of a stream that writes. When it goes, a write that was dropped and cannot end goes, too: it must not
/// keep the connection open.
pub(crate) struct Sender(pub(crate) Descriptor);

impl Drop for Sender {
    fn drop(&mut self) {
        if self.0.has_orphans() {
            self.0.cancel_all();
        }
    }
}

impl Sender {
    pub(crate) fn write<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<Send<B>>> {
        Writing::new(Op::new(Send::new(&self.0, buffer)))
    }

    #[inline]
    pub(crate) fn write_all<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendAll<B>>> {
        Writing::new(Op::new(SendAll::new(&self.0, buffer)))
    }

    pub(crate) fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> Writing<'_, Op<WriteVectored<B>>> {
        Writing::new(Op::new(WriteVectored::stream(&self.0, buffers)))
    }

    /// Waits until what was dropped in flight has gone out, then says that nothing more will come.
    pub(crate) async fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            poll_fn(|cx| self.0.poll_settled(cx)).await;
        }
        self.0.shutdown(how)
    }
}

impl TcpStream {
    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// What `connect(2)` says, with the address: that it refuses, is unreachable, does not answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the attempt up and closes the socket.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let address = address.to_socket_addr()?;
        let connect = async {
            let socket = tcp_socket(address)?;
            Op::new(Connect::new(&socket, SockAddr::from(address))).await?;
            Ok(Self::new(socket))
        };
        connect
            .await
            .map_err(|error: io::Error| io::Error::new(error.kind(), format!("cannot connect to {address}: {error}")))
    }

    /// Takes over a connection that was made otherwise.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self::new(Descriptor::new(stream.into())))
    }

    pub(crate) fn receiver_mut(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    pub(crate) fn sender_mut(&mut self) -> &mut Sender {
        &mut self.sender
    }

    pub(crate) fn new(socket: Descriptor) -> Self {
        Self { receiver: Receiver::new(socket.clone()), sender: Sender(socket) }
    }

    /// What has arrived, in a pooled buffer; `None` at the end of the stream.
    ///
    /// A connection that waits holds no buffer.
    ///
    /// # Errors
    ///
    /// What `recv(2)` says, such as that the connection was reset.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing: the next call gets what arrives.
    #[inline]
    pub fn recv(&mut self) -> Recv<'_> {
        Recv { receiver: &mut self.receiver }
    }

    /// Reads what has arrived into the room of `buffer`; 0 at the end of the stream. The buffer comes back with the
    /// result, also on error.
    ///
    /// # Errors
    ///
    /// What `recv(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the buffer has no room.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses no byte of the stream (only the buffer). To get the buffer back, give it a
    /// [`deadline`](Read::deadline).
    pub fn read<B: IoBufMut>(&mut self, buffer: B) -> Read<'_, B> {
        Read { receiver: &mut self.receiver, buffer: Some(buffer) }
    }

    /// Writes a part of `buffer`, as much as goes at once.
    ///
    /// # Errors
    ///
    /// What `send(2)` says. A connection that the other side has closed is [`BrokenPipe`](io::ErrorKind::BrokenPipe),
    /// never a signal.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it goes out all the same; the next write waits for it.
    pub fn write<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<Send<B>>> {
        self.sender.write(buffer)
    }

    /// Writes all of `buffer`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it goes on until the part that the kernel has taken over is out; the next write waits for
    /// it.
    #[inline]
    pub fn write_all<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendAll<B>>> {
        self.sender.write_all(buffer)
    }

    /// Writes several buffers in turn, as much of them as goes at once.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), but a connection that the other side has closed also raises `SIGPIPE`, which Rust
    /// programs ignore.
    pub fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> Writing<'_, Op<WriteVectored<B>>> {
        self.sender.write_vectored(buffers)
    }

    /// Says that nothing more will be written, or read, or both. The other side then reads the end of the stream, after
    /// all that was written: a write that was dropped in flight is waited for.
    ///
    /// # Errors
    ///
    /// What `shutdown(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may not have happened; it can be called again.
    pub async fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.sender.shutdown(how).await
    }

    /// Takes chunks of about `bytes` from now on: from the core's pool of the smallest buffers that hold as much.
    pub fn set_chunk_bytes(&mut self, bytes: usize) {
        self.receiver.set_chunk_bytes(bytes);
    }

    /// Sends small writes at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.sender.0.set_option(SocketOption::NoDelay, on.into())
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.sender.0.option(SocketOption::NoDelay)? != 0)
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// What `getpeername(2)` says: also that there is no other side any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(self.sender.0.peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(self.sender.0.local_addr()?)
    }

    /// A half to read and a half to write, for two futures of one task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::borrowed(self)
    }

    /// A half to read and a half to write, for two tasks.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::owned(self)
    }

    /// Closes the connection: ends the receive, gives up a write that was dropped, waits for both, and closes.
    ///
    /// Dropping the stream does that in the background.
    ///
    /// # Errors
    ///
    /// What `close(2)` says.
    pub async fn close(self) -> io::Result<()> {
        let Self { mut receiver, sender } = self;
        receiver.stop().await;
        drop(receiver);
        let socket = sender.0.clone();
        drop(sender);
        socket.close().await
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.0.as_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.local_addr(), self.peer_addr()) {
            (Ok(here), Ok(there)) => write!(f, "TcpStream({here} to {there})"),
            _ => f.write_str("TcpStream"),
        }
    }
}

/// A write to a stream; made by [`TcpStream::write`] and its like. It borrows the stream's writing side, so that one write
/// begins after the other has ended or was dropped.
///
/// ```compile_fail
/// # async fn two_at_once(stream: &mut corering_net::TcpStream) {
/// let first = stream.write_all("one");
/// let second = stream.write_all("two"); // error: cannot borrow `*stream` as mutable more than once at a time
/// (first.await.0, second.await.0);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a write does nothing unless it is awaited"]
pub struct Writing<'a, F> {
    write: F,
    hold: Hold<'a>,
}

/// A hold on the writing side, until it is dropped: without a destructor it would end where it is last used.
#[derive(Debug)]
struct Hold<'a>(PhantomData<&'a mut Sender>);

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {}
}

impl<'a, F> Writing<'a, F> {
    #[inline]
    fn new(write: F) -> Self {
        Self { write, hold: Hold(PhantomData) }
    }

    fn map<G>(self, change: impl FnOnce(F) -> G) -> Writing<'a, G> {
        Writing { write: change(self.write), hold: self.hold }
    }
}

impl<'a, O: Operation> Writing<'a, Op<O>> {
    /// Whether the kernel has it: from then on it goes out even if this is dropped.
    pub fn is_submitted(&self) -> bool {
        self.write.is_submitted()
    }

    /// Ends it if it is not over after `limit`, and then fails with [`TimedOut`](io::ErrorKind::TimedOut): see
    /// [`Op::deadline`].
    pub fn deadline(self, limit: Duration) -> Writing<'a, Deadline<O>> {
        self.map(|write| write.deadline(limit))
    }

    /// As [`deadline`](Self::deadline), at a point in time.
    pub fn deadline_at(self, deadline: Instant) -> Writing<'a, Deadline<O>> {
        self.map(|write| write.deadline_at(deadline))
    }

    /// Ends it, and waits for what comes of that: see [`Op::cancel`].
    pub fn cancel(self) -> Writing<'a, Cancel<O>> {
        self.map(|write| write.cancel())
    }
}

impl<F: Future + Unpin> Future for Writing<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.write).poll(cx)
    }
}

/// The next chunk of a stream; made by [`TcpStream::recv`].
#[derive(Debug)]
#[must_use = "a receive does nothing unless it is awaited"]
pub struct Recv<'a> {
    pub(crate) receiver: &'a mut Receiver,
}

impl Future for Recv<'_> {
    type Output = io::Result<Option<Chunk>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.receiver.poll_chunk(cx)
    }
}

/// A read of a stream into a buffer; made by [`TcpStream::read`].
#[derive(Debug)]
#[must_use = "a read does nothing unless it is awaited"]
pub struct Read<'a, B> {
    pub(crate) receiver: &'a mut Receiver,
    pub(crate) buffer: Option<B>,
}

impl<'a, B: IoBufMut> Read<'a, B> {
    /// Gives up after `limit`, counted from this call: with the error [`TimedOut`](io::ErrorKind::TimedOut), and the
    /// buffer. What arrives later is there for the next read.
    pub fn deadline(self, limit: Duration) -> ReadDeadline<'a, B> {
        ReadDeadline { read: self, sleep: sleep_until(Instant::now() + limit) }
    }

    fn end(&mut self, result: io::Result<usize>) -> (io::Result<usize>, B) {
        match self.buffer.take() {
            Some(buffer) => (result, buffer),
            None => panic!("a read was polled after it had given its result"),
        }
    }
}

impl<B> Unpin for Read<'_, B> {}

impl<B: IoBufMut> Future for Read<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = match &mut this.buffer {
            Some(buffer) => ready!(this.receiver.poll_read(cx, buffer)),
            None => Ok(0),
        };
        Poll::Ready(this.end(result))
    }
}

/// A read with a limit on its time; made by [`Read::deadline`].
#[derive(Debug)]
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadDeadline<'a, B> {
    read: Read<'a, B>,
    sleep: Sleep,
}

impl<B: IoBufMut> Future for ReadDeadline<'_, B> {
    type Output = (io::Result<usize>, B);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(done) = Pin::new(&mut this.read).poll(cx) {
            return Poll::Ready(done);
        }
        ready!(Pin::new(&mut this.sleep).poll(cx));
        let late = io::Error::new(io::ErrorKind::TimedOut, "nothing arrived before the deadline");
        Poll::Ready(this.read.end(Err(late)))
    }
}

/// A socket that can connect to `address`, or listen on it.
pub(crate) fn tcp_socket(address: SocketAddr) -> io::Result<Descriptor> {
    Descriptor::socket(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

/// An address of the kernel's as one of the standard library's.
pub(crate) fn socket_addr(address: SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the socket's address is not one of IP"))
}
