//! A TCP stream, which owns its receive.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::RangeBounds;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncWrite, Duplex};
use corering_runtime::op::{
    Descriptor, Op, Receiver, Send, SendAll, SendFile, SendVectored, SendZeroCopy, SocketOption,
};
use corering_runtime::time::timeout;
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::addr::ToSocketAddrs;
use crate::connect;
use crate::connection::{
    Connection, Read, Recv, Sealed, Sender, StreamSocket, Writing, async_write, size, stream_methods, taken_over,
    writable,
};
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
    pub(crate) connection: Connection,
}

stream_methods!(TcpStream, SocketAddr, socket_addr);

impl TcpStream {
    /// Connects to an address, or to a host by its name.
    ///
    /// If there are several addresses, they are tried in turn, the families alternating: the next begins when one has
    /// failed or has not answered for 250 ms, the first that answers wins, and the others are given up (RFC 8305).
    ///
    /// # Errors
    ///
    /// What `connect(2)` says, with the address: that it refuses, is unreachable, does not answer; of several addresses
    /// all that was said. That the name cannot be looked up.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives all attempts up and closes their sockets.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        connect::connect(&address.to_target()?, tcp_socket).await.map(Self::new)
    }

    /// As [`connect`](Self::connect), for `limit` at most, with looking the name up.
    ///
    /// # Errors
    ///
    /// As there; and [`TimedOut`](io::ErrorKind::TimedOut) if nobody has answered by then.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn connect_timeout(address: impl ToSocketAddrs, limit: Duration) -> io::Result<Self> {
        let target = address.to_target()?;
        match timeout(limit, connect::connect(&target, tcp_socket)).await {
            Ok(connected) => connected.map(Self::new),
            Err(_) => {
                let text = format!("cannot connect to {target}: no answer within {limit:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }

    /// Takes over a connection that was made otherwise.
    ///
    /// # Errors
    ///
    /// If it cannot be set to block, as the ring wants it.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self::new(Descriptor::new(stream.into())))
    }

    /// The connection as the standard library has it, set to block, and what had already been received: nobody else
    /// will read that. See [`into_owned_fd`](Self::into_owned_fd).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_net::{TcpListener, TcpStream};
    /// use std::io::Read;
    ///
    /// corering_runtime::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (mut server, _) = listener.accept().await?;
    ///     client.write_all("one two").await.0?;
    ///     server.readable().await?; // takes what has come
    ///     client.close().await?;
    ///
    ///     let (mut server, mut bytes) = server.into_std().await?;
    ///     server.read_to_end(&mut bytes)?;
    ///     assert_eq!(bytes, b"one two");
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn into_std(self) -> io::Result<(std::net::TcpStream, Vec<u8>)> {
        let (fd, rest) = self.into_owned_fd().await?;
        Ok((fd.into(), rest))
    }
}

crate::options::tcp_options!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.local_addr(), self.peer_addr()) {
            (Ok(here), Ok(there)) => write!(f, "TcpStream({here} to {there})"),
            _ => f.write_str("TcpStream"),
        }
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
