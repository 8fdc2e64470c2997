//! Listeners of streams.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll};

use corering_runtime::op::Descriptor;
use socket2::Type;

use super::{Peer, SocketAddr, UnixStream};
use crate::connection::taken_over;
use crate::listener::{Accept, Accepts, Incoming, ListenerSocket, Listening, listener_methods, peer_of, poll_accept};
use crate::serve::Listen;

/// Accepts connections of the Unix family.
///
/// As with a [`TcpListener`](crate::TcpListener), the accept belongs to the listener. The path that it was bound to
/// stays when it is closed: remove it when nobody shall connect any more, or before it is bound again.
///
/// # Examples
///
/// ```
/// use corering_net::{UnixListener, UnixStream};
///
/// corering_runtime::run(async {
///     let name = format!("\0listener of {}", std::process::id());
///     let listener = UnixListener::bind(&name)?;
///     let mut client = UnixStream::connect(&name).await?;
///     let (mut server, _) = listener.accept().await?;
///     client.write_all("hello").await.0?;
///     assert_eq!(&server.recv().await?.expect("not the end")[..], b"hello");
///     listener.close().await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener {
    pub(crate) listening: Listening,
}

listener_methods!(UnixListener, UnixStream, SocketAddr, super::address);

impl Accepts for UnixListener {
    fn listening(&self) -> &Listening {
        &self.listening
    }

    fn accepted(socket: Descriptor) -> io::Result<Option<(UnixStream, SocketAddr)>> {
        let peer = peer_of(&socket)?.map_or_else(super::unnamed, super::address)?;
        Ok(Some((UnixStream::new(socket), peer)))
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;
    type Address = Peer;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Peer)>> {
        poll_accept(self, cx).map_ok(|(stream, peer)| (stream, Peer(peer)))
    }
}

impl UnixListener {
    /// Listens at a path, which is made, or at an abstract name (`"\0name"`).
    ///
    /// # Errors
    ///
    /// What `bind(2)` says, with the path: that there is something already ([`AddrInUse`](io::ErrorKind::AddrInUse)),
    /// be it of a socket that is closed; that its folder is not there, or cannot be written to.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { listening: Listening::new(super::listening(Type::STREAM, path.as_ref())?) })
    }

    /// As [`bind`](Self::bind), by an address.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        let socket = super::socket(Type::STREAM)?;
        socket.bind(&super::of_address(address)?)?;
        socket.listen(crate::listener::BACKLOG)?;
        Ok(Self { listening: Listening::new(socket) })
    }

    /// Takes over a listener that was set up otherwise. It is set to block: the ring waits for it.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> Self {
        OwnedFd::from(listener).into()
    }

    /// The listener as the standard library has it, set to block, and the connections that had been accepted and that
    /// nobody took. See [`into_owned_fd`](Self::into_owned_fd).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn into_std(self) -> io::Result<(std::os::unix::net::UnixListener, Vec<UnixStream>)> {
        let (fd, accepted) = self.into_owned_fd().await?;
        Ok((fd.into(), accepted))
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local_addr() {
            Ok(address) => write!(f, "UnixListener({address:?})"),
            Err(_) => f.write_str("UnixListener"),
        }
    }
}
