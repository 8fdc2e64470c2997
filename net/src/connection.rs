//! What all connections are made of: a receiver that belongs to the stream, and a sender. Their methods stand here
//! once, for each kind of stream.

use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corering_runtime::buf::{Chunk, IoBuf, IoBufMut};
use corering_runtime::op::{
    Cancel, Deadline, Descriptor, Op, Operation, Readiness, Receiver, Send, SendAll, SendVectored, SendZeroCopy,
};
use corering_runtime::time::{Instant, Sleep, sleep_until};
use socket2::SockAddr;

/// Both sides of a stream.
pub struct Connection {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

impl Connection {
    pub(crate) fn new(socket: Descriptor) -> Self {
        Self { receiver: Receiver::new(socket.clone()), sender: Sender(socket) }
    }

    pub(crate) async fn close(self) -> io::Result<()> {
        let Self { mut receiver, sender } = self;
        receiver.stop().await;
        drop(receiver);
        let socket = sender.0.clone();
        drop(sender);
        socket.close().await
    }

    /// The socket alone, and what it had received.
    pub(crate) async fn into_parts(self) -> io::Result<(OwnedFd, Vec<u8>)> {
        let Self { mut receiver, sender } = self;
        receiver.stop().await;
        let rest = receiver.take_rest();
        drop(receiver);
        let socket = sender.0.clone();
        drop(sender);
        Ok((into_owned(socket).await?, rest))
    }
}

/// Takes over a socket that was made otherwise. It is set to block: else the ring does not wait for it.
pub(crate) fn taken_over(fd: OwnedFd) -> Descriptor {
    let any = std::os::unix::net::UnixStream::from(fd);
    // It cannot fail for an open socket; if it were, a read would say that it would block.
    let _ = any.set_nonblocking(false);
    Descriptor::new(any.into())
}

/// The descriptor of a socket that nobody else holds. If somebody does, it is closed when that one lets go.
pub(crate) async fn into_owned(socket: Descriptor) -> io::Result<OwnedFd> {
    socket.into_owned().await.map_err(|(error, _)| error)
}

/// A kind of stream that can be taken apart into halves: [`TcpStream`](crate::TcpStream),
/// [`UnixStream`](crate::UnixStream).
pub trait StreamSocket: Sealed {
    /// What its addresses are.
    type Address;

    /// Of an address of the kernel's.
    #[doc(hidden)]
    fn address(address: SockAddr) -> io::Result<Self::Address>;
}

/// What only the streams of this crate can do.
pub trait Sealed: Sized {
    /// Of both sides.
    fn of(connection: Connection) -> Self;

    /// Both sides of it.
    fn into_connection(self) -> Connection;

    /// The same.
    fn connection_mut(&mut self) -> &mut Connection;
}

/// Waits until a socket can be written to.
pub(crate) async fn writable(socket: &Descriptor) -> io::Result<()> {
    Op::new(Readiness::of(socket, libc::POLLOUT)).await.map(drop)
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

    pub(crate) fn write_zero_copy<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendZeroCopy<B>>> {
        Writing::new(Op::new(SendZeroCopy::new(&self.0, buffer)))
    }

    pub(crate) fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> Writing<'_, Op<SendVectored<B>>> {
        Writing::new(Op::new(SendVectored::new(&self.0, buffers)))
    }

    /// Waits until what was dropped in flight has gone out.
    pub(crate) async fn settled(&mut self) {
        poll_fn(|cx| self.0.poll_settled(cx)).await;
    }

    /// Waits until what was dropped in flight has gone out, then says that nothing more will come.
    pub(crate) async fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.settled().await;
        }
        self.0.shutdown(how)
    }
}

/// A write to a stream; made by [`TcpStream::write`](crate::TcpStream::write) and its like. It borrows the stream's
/// writing side, so that one write begins after the other has ended or was dropped.
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
    pub(crate) fn new(write: F) -> Self {
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

/// The next chunk of a stream; made by [`TcpStream::recv`](crate::TcpStream::recv) and its like.
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

/// A read of a stream into a buffer; made by [`TcpStream::read`](crate::TcpStream::read) and its like.
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

/// The methods of a kind of stream that has its connection in the field `connection`.
macro_rules! stream_methods {
    ($stream:ident, $address:ty, $to_address:path) => {
        impl $stream {
            pub(crate) fn new(socket: Descriptor) -> Self {
                Self { connection: Connection::new(socket) }
            }

            pub(crate) fn receiver_mut(&mut self) -> &mut Receiver {
                &mut self.connection.receiver
            }

            pub(crate) fn sender_mut(&mut self) -> &mut Sender {
                &mut self.connection.sender
            }

            pub(crate) fn socket(&self) -> &Descriptor {
                &self.connection.sender.0
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
                Recv { receiver: self.receiver_mut() }
            }

            /// Reads what has arrived into the room of `buffer`; 0 at the end of the stream. The buffer comes back with
            /// the result, also on error.
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
                Read { receiver: self.receiver_mut(), buffer: Some(buffer) }
            }

            /// Copies what has arrived, as much as there is room for, and leaves it there; 0 at the end of the stream.
            ///
            /// # Errors
            ///
            /// What `recv(2)` says: the next read says it, too.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses nothing.
            pub async fn peek(&mut self, room: &mut [u8]) -> io::Result<usize> {
                self.receiver_mut().peek(room).await
            }

            /// Waits until the next read gives something at once: bytes, the end of the stream, or an error.
            ///
            /// What has arrived is taken from the kernel for that, and kept for the read: use it on this stream, and
            /// not before others receive from its descriptor.
            ///
            /// # Errors
            ///
            /// None that the next read would not say: but it is there.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses nothing.
            pub async fn readable(&mut self) -> io::Result<()> {
                self.receiver_mut().readable().await;
                Ok(())
            }

            /// Waits until there is room for something to be written, or the connection has failed.
            ///
            /// # Errors
            ///
            /// What `poll(2)` says.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses nothing.
            pub async fn writable(&self) -> io::Result<()> {
                writable(self.socket()).await
            }

            /// Writes a part of `buffer`, as much as goes at once.
            ///
            /// # Errors
            ///
            /// What `send(2)` says. A connection that the other side has closed is
            /// [`BrokenPipe`](io::ErrorKind::BrokenPipe), never a signal.
            ///
            /// # Cancel safety
            ///
            /// Dropped in flight, it goes out all the same; the next write waits for it.
            pub fn write<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<Send<B>>> {
                self.sender_mut().write(buffer)
            }

            /// Writes all of `buffer`.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            ///
            /// # Cancel safety
            ///
            /// Dropped in flight, it goes on until the part that the kernel has taken over is out; the next write waits
            /// for it.
            #[inline]
            pub fn write_all<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendAll<B>>> {
                self.sender_mut().write_all(buffer)
            }

            /// Writes all of `buffer`, which the kernel does not copy if it need not. It comes back when the kernel has done
            /// with it: when the other side has acknowledged all of it, so later than from
            /// [`write_all`](Self::write_all).
            ///
            /// That pays for buffers of much more than 16 KiB that leave the machine: below that, and on connections
            /// of which the kernel has told that it copies nevertheless (within the machine, among others), this is
            /// `write_all`.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            ///
            /// # Cancel safety
            ///
            /// Dropped in flight, it goes out all the same, and the next write waits until the kernel has taken it over.
            /// The buffer stays until the kernel has done with it. A [`deadline`](Writing::deadline) ends the sending, not
            /// the wait for the buffer: to wait no longer for a side that reads nothing, drop it.
            ///
            /// # Kernel
            ///
            /// See [`SendZeroCopy`].
            pub fn write_zero_copy<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendZeroCopy<B>>> {
                self.sender_mut().write_zero_copy(buffer)
            }

            /// Writes several buffers in turn, as much of them as goes at once.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write).
            pub fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> Writing<'_, Op<SendVectored<B>>> {
                self.sender_mut().write_vectored(buffers)
            }

            /// Sends a part of a file, in order, without moving its position, and says how many bytes that were: fewer than
            /// the part has if the file ends before.
            ///
            /// What is in the page cache is not copied into the program's memory. For what is not, the core does not
            /// stand still: the ring reads it.
            ///
            /// # Errors
            ///
            /// What `sendfile(2)` says, or `read(2)`, or `send(2)`. [`SendFile::sent`] tells how many bytes had gone out
            /// before. A connection that the other side has closed is [`BrokenPipe`](io::ErrorKind::BrokenPipe), never a
            /// signal.
            ///
            /// # Cancel safety
            ///
            /// Dropped, what counts as [sent](SendFile::sent) has gone out, and nothing else does later: so another one can
            /// go on from there.
            ///
            /// # Kernel
            ///
            /// See [`SendFile`].
            pub fn send_file<'a>(
                &'a mut self,
                file: &'a impl AsRef<Descriptor>,
                part: impl RangeBounds<u64>,
            ) -> SendFile<'a> {
                SendFile::new(self.socket(), file.as_ref(), part)
            }

            /// Says that nothing more will be written, or read, or both. The other side then reads the end of the
            /// stream, after all that was written: a write that was dropped in flight is waited for.
            ///
            /// # Errors
            ///
            /// What `shutdown(2)` says.
            ///
            /// # Cancel safety
            ///
            /// Dropped, it may not have happened; it can be called again.
            pub async fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
                self.sender_mut().shutdown(how).await
            }

            /// Takes chunks of about `bytes` from now on: from the core's pool of the smallest buffers that hold as
            /// much.
            pub fn set_chunk_bytes(&mut self, bytes: usize) {
                self.receiver_mut().set_chunk_bytes(bytes);
            }

            /// How many bytes may wait to be sent (`SO_SNDBUF`). The kernel doubles what is set.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
                self.socket().set_option(SocketOption::SendBuffer, size(bytes))
            }

            /// How many bytes may wait to be sent.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn send_buffer_size(&self) -> io::Result<u32> {
                self.socket().option(SocketOption::SendBuffer).map(|bytes| bytes as u32)
            }

            /// How many bytes may wait to be read (`SO_RCVBUF`). The kernel doubles what is set.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
                self.socket().set_option(SocketOption::ReceiveBuffer, size(bytes))
            }

            /// How many bytes may wait to be read.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn recv_buffer_size(&self) -> io::Result<u32> {
                self.socket().option(SocketOption::ReceiveBuffer).map(|bytes| bytes as u32)
            }

            /// The error that waits to be told, if there is one. It is told once (`SO_ERROR`).
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket().take_error()
            }

            /// The address of the other side.
            ///
            /// # Errors
            ///
            /// What `getpeername(2)` says: also that there is no other side any more.
            pub fn peer_addr(&self) -> io::Result<$address> {
                $to_address(self.socket().peer_addr()?)
            }

            /// The address of this side.
            ///
            /// # Errors
            ///
            /// What `getsockname(2)` says.
            pub fn local_addr(&self) -> io::Result<$address> {
                $to_address(self.socket().local_addr()?)
            }

            /// A half to read and a half to write, for two futures of one task.
            pub fn split(&mut self) -> (ReadHalf<'_, Self>, WriteHalf<'_, Self>) {
                split::borrowed(&mut self.connection)
            }

            /// A half to read and a half to write, for two tasks. [`OwnedReadHalf::reunite`] puts them together again.
            pub fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
                split::owned(self.connection)
            }

            /// The connection without the runtime, and what had already been received: nobody else will read that. The
            /// receive is ended for it, and a write that was dropped is given up.
            ///
            /// # Errors
            ///
            /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if an operation still uses the socket;
            /// [`Unsupported`](io::ErrorKind::Unsupported) in a simulated world. The connection is closed then.
            ///
            /// # Cancel safety
            ///
            /// Dropped, the connection is closed in the background.
            pub async fn into_owned_fd(self) -> io::Result<(OwnedFd, Vec<u8>)> {
                self.connection.into_parts().await
            }

            /// Closes the connection: ends the receive, gives up a write that was dropped, waits for both, and closes.
            ///
            /// Dropping the stream does that in the background.
            ///
            /// # Errors
            ///
            /// What `close(2)` says.
            pub async fn close(self) -> io::Result<()> {
                self.connection.close().await
            }
        }

        impl AsFd for $stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket().as_fd()
            }
        }

        /// Of a socket that is connected, which is set to block: the ring waits for it.
        impl From<OwnedFd> for $stream {
            fn from(fd: OwnedFd) -> Self {
                Self::new(taken_over(fd))
            }
        }

        impl StreamSocket for $stream {
            type Address = $address;

            fn address(address: SockAddr) -> io::Result<$address> {
                $to_address(address)
            }
        }

        impl Sealed for $stream {
            fn of(connection: Connection) -> Self {
                Self { connection }
            }

            fn into_connection(self) -> Connection {
                self.connection
            }

            fn connection_mut(&mut self) -> &mut Connection {
                &mut self.connection
            }
        }

        impl AsyncRead for $stream {
            fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
                <$stream>::read(self, buffer)
            }

            fn put_back(&mut self, bytes: Vec<u8>) {
                self.receiver_mut().put_back(bytes);
            }

            fn passing_receiver(&mut self) -> Option<&mut Receiver> {
                Some(self.receiver_mut())
            }
        }

        async_write!($stream);

        impl Duplex for $stream {
            type Reader<'a> = ReadHalf<'a, Self>;
            type Writer<'a> = WriteHalf<'a, Self>;

            fn duplex(&mut self) -> (ReadHalf<'_, Self>, WriteHalf<'_, Self>) {
                self.split()
            }
        }
    };
}

/// What writes by a sender, as a stream of the runtime's traits.
macro_rules! async_write {
    ($stream:ty $(, $kind:ident)?) => {
        impl$(<$kind: StreamSocket>)? AsyncWrite for $stream {
            fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
                <$stream>::write(self, buffer)
            }

            fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
                <$stream>::write_all(self, buffer)
            }

            fn write_vectored<B: IoBuf>(
                &mut self,
                buffers: Vec<B>,
            ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
                <$stream>::write_vectored(self, buffers)
            }

            async fn settled(&mut self) -> io::Result<()> {
                self.sender_mut().settled().await;
                Ok(())
            }

            /// Waits until what was dropped in flight has gone out.
            async fn flush(&mut self) -> io::Result<()> {
                self.sender_mut().settled().await;
                Ok(())
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                self.sender_mut().shutdown(Shutdown::Write).await
            }

            fn passing_socket(&mut self) -> Option<&Descriptor> {
                Some(&self.sender_mut().0)
            }
        }
    };
}

pub(crate) use {async_write, stream_methods};

/// A size as the kernel takes it.
pub(crate) fn size(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
