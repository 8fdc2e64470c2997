//! Streams.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncWrite, Duplex};
use corering_runtime::op::{
    Ancillary, Connect, Credentials, Descriptor, How, Message, Op, ReceiveMessage, Receiver, Send, SendAll, SendFile,
    SendMessage, SendVectored, SendZeroCopy, SocketOption,
};
use socket2::{SockAddr, Type};

use super::SocketAddr;
use crate::connection::{
    Connection, Read, Recv, Sealed, Sender, StreamSocket, Writing, async_write, size, stream_methods, taken_over,
    writable,
};
use crate::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};

/// A connection of the Unix family.
///
/// All is as with a [`TcpStream`](crate::TcpStream): the receive belongs to the stream, and so does what has arrived.
/// Besides, open descriptors can be sent along with bytes ([`send_msg`](Self::send_msg)).
///
/// # Examples
///
/// ```
/// use corering_net::UnixStream;
///
/// corering_runtime::run(async {
///     let (mut here, mut there) = UnixStream::pair()?;
///     here.write_all("hello").await.0?;
///     let chunk = there.recv().await?.expect("not the end");
///     assert_eq!(&chunk[..], b"hello");
///     assert_eq!(there.peer_cred()?.process, Some(std::process::id() as i32));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixStream {
    pub(crate) connection: Connection,
}

stream_methods!(UnixStream, SocketAddr, super::address);

impl UnixStream {
    /// Connects to what listens at a path, or at an abstract name (`"\0name"`).
    ///
    /// # Errors
    ///
    /// What `connect(2)` says, with the path: that nothing is there, or nobody listens.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the attempt up and closes the socket.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        super::connected(Type::STREAM, path.as_ref()).await.map(Self::new)
    }

    /// As [`connect`](Self::connect), by an address.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        let socket = super::socket(Type::STREAM)?;
        Op::new(Connect::new(&socket, super::of_address(address)?)).await?;
        Ok(Self::new(socket))
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` says, such as that no descriptor is free (`EMFILE`).
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Descriptor::socket_pair(Type::STREAM)?;
        Ok((Self::new(one), Self::new(other)))
    }

    /// Who is at the other side: who connected, or made the listener, or the pair.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        self.socket().peer_credentials()
    }

    /// Writes several buffers in turn, as much as goes at once, with what goes along: with the first byte, so that
    /// there has to be one. All comes back with the result.
    ///
    /// # Errors
    ///
    /// What `sendmsg(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it goes out all the same; the next write waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_net::{Ancillary, UnixStream};
    /// use corering_runtime::io::{AsyncReadExt, AsyncWrite, PipeWriter, pipe};
    ///
    /// corering_runtime::run(async {
    ///     let (mut here, mut there) = UnixStream::pair()?;
    ///     let (mut reader, writer) = pipe()?;
    ///     let along = Ancillary::new().descriptor(writer.into_owned_fd().await?);
    ///     drop(here.send_msg(vec!["take this"], along).await); // with our own descriptor
    ///
    ///     let (message, _) = there.recv_msg(vec![Vec::with_capacity(64)], 1).await;
    ///     let writer = message?.ancillary().take_descriptors().pop().expect("sent along");
    ///     PipeWriter::from(writer).write_all("by another way").await.0?;
    ///     let (count, text) = reader.read_to_end(Vec::new()).await;
    ///     assert_eq!((count?, &text[..]), (14, &b"by another way"[..]));
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_msg<B: IoBuf>(&mut self, buffers: Vec<B>, ancillary: Ancillary) -> Writing<'_, Op<SendMessage<B>>> {
        Writing::new(Op::new(SendMessage::new(self.socket(), buffers, ancillary, None)))
    }

    /// Reads what has arrived into several buffers in turn, with what comes along: so many descriptors at most, others
    /// are closed, which the [`Message`] tells. No bytes are the end of the stream.
    ///
    /// What comes along with bytes that [`recv`](Self::recv) or [`read`](Self::read) take is closed, also by one that
    /// was dropped and is still armed (this ends it): read with this alone where descriptors may come.
    ///
    /// # Errors
    ///
    /// What `recvmsg(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no room.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses neither bytes nor what came along: the next call gets both.
    pub async fn recv_msg<B: IoBufMut>(
        &mut self,
        buffers: Vec<B>,
        descriptors: usize,
    ) -> (io::Result<Message>, Vec<B>) {
        let socket = self.socket().clone();
        let receiver = self.receiver_mut();
        receiver.stop().await;
        let arrivals = match receiver.hand_over() {
            Ok(arrivals) => arrivals,
            Err(error) => return (Err(error), buffers),
        };
        let how = How { stream: true, descriptors: Some(descriptors), ..How::default() };
        Op::new(ReceiveMessage::new(&socket, arrivals, buffers, how)).await
    }

    /// Takes over a connection that was made otherwise. It is set to block: the ring waits for it.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> Self {
        OwnedFd::from(stream).into()
    }

    /// The connection as the standard library has it, set to block, and what had already been received: nobody else
    /// will read that. See [`into_owned_fd`](Self::into_owned_fd).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn into_std(self) -> io::Result<(std::os::unix::net::UnixStream, Vec<u8>)> {
        let (fd, rest) = self.into_owned_fd().await?;
        Ok((fd.into(), rest))
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.local_addr(), self.peer_addr()) {
            (Ok(here), Ok(there)) => write!(f, "UnixStream({here:?} to {there:?})"),
            _ => f.write_str("UnixStream"),
        }
    }
}
