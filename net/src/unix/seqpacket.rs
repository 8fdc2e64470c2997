//! Connections that keep messages apart.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll};

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::op::{
    Ancillary, Descriptor, How, Message, One, Op, ReceiveMessage, SendMessage, SendTo, SocketOption,
};
use socket2::Type;

use super::{Credentials, SocketAddr, address};
use crate::connection::{size, taken_over, writable};
use crate::listener::{Accept, Accepts, Incoming, ListenerSocket, Listening, listener_methods, peer_of, poll_accept};
use crate::messages::{Messages, message_methods, send_methods};

/// A connection of the Unix family that keeps messages apart: each arrives whole and in order, and its end can be seen.
///
/// A receive of 0 bytes is the end: an empty message looks the same.
///
/// # Examples
///
/// ```
/// use corering_net::UnixSeqpacket;
///
/// corering_runtime::run(async {
///     let (here, there) = UnixSeqpacket::pair()?;
///     here.send("one").await.0?;
///     here.send("two").await.0?;
///     here.close().await?;
///     for text in ["one", "two", ""] {
///         let (count, buffer) = there.recv(Vec::with_capacity(64)).await;
///         assert_eq!(&buffer[..count?], text.as_bytes());
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixSeqpacket {
    messages: Messages,
}

message_methods!(UnixSeqpacket, SocketAddr);
send_methods!(UnixSeqpacket);

impl UnixSeqpacket {
    pub(crate) fn new(socket: Descriptor) -> Self {
        Self { messages: Messages::new(socket) }
    }

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
        super::connected(Type::SEQPACKET, path.as_ref()).await.map(Self::new)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` says, such as that no descriptor is free (`EMFILE`).
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Descriptor::socket_pair(Type::SEQPACKET)?;
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

    /// Has each message say who sent it (`SO_PASSCRED`): see [`Ancillary::sent_by`].
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_passcred(&self, on: bool) -> io::Result<()> {
        self.socket().set_option(SocketOption::PassCredentials, on.into())
    }
}

impl fmt::Debug for UnixSeqpacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.local_addr(), self.peer_addr()) {
            (Ok(here), Ok(there)) => write!(f, "UnixSeqpacket({here:?} to {there:?})"),
            _ => f.write_str("UnixSeqpacket"),
        }
    }
}

/// Accepts connections of the Unix family that keep messages apart.
///
/// The accept belongs to the listener. The path that it was bound to stays when it is closed.
pub struct UnixSeqpacketListener {
    pub(crate) listening: Listening,
}

listener_methods!(UnixSeqpacketListener, UnixSeqpacket, SocketAddr, super::address);

impl Accepts for UnixSeqpacketListener {
    fn listening(&self) -> &Listening {
        &self.listening
    }

    fn accepted(socket: Descriptor) -> io::Result<Option<(UnixSeqpacket, SocketAddr)>> {
        let peer = peer_of(&socket)?.map_or_else(super::unnamed, address)?;
        Ok(Some((UnixSeqpacket::new(socket), peer)))
    }
}

impl UnixSeqpacketListener {
    /// Listens at a path, which is made, or at an abstract name (`"\0name"`).
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { listening: Listening::new(super::listening(Type::SEQPACKET, path.as_ref())?) })
    }
}

impl fmt::Debug for UnixSeqpacketListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local_addr() {
            Ok(address) => write!(f, "UnixSeqpacketListener({address:?})"),
            Err(_) => f.write_str("UnixSeqpacketListener"),
        }
    }
}
