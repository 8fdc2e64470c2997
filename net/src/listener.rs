//! A TCP listener, which owns its accept.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corering_runtime::op::{AcceptMulti, Descriptor, Multishot, SocketOption};

use crate::addr::ToSocketAddrs;
use crate::stream::{TcpStream, socket_addr, tcp_socket};

/// How many connections may wait in the kernel.
const BACKLOG: i32 = 1024;

/// Accepts TCP connections.
///
/// The accept belongs to the listener, not to the call: connections that have arrived wait here until somebody takes
/// them, whatever becomes of the future that asked for one.
///
/// # Examples
///
/// ```
/// use corering_net::{TcpListener, TcpStream};
///
/// corering_runtime::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_server, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     listener.close().await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    socket: Descriptor,
    accept: RefCell<Multishot<AcceptMulti>>,
}

impl TcpListener {
    /// Listens on `address`; port 0 lets the kernel pick one. The address can be bound again at once after a restart
    /// (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// What `bind(2)` and `listen(2)` say, with the address: that it is in use, not of this machine, not allowed.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let address = address.to_socket_addr()?;
        let bind = || {
            let socket = tcp_socket(address)?;
            socket.set_option(SocketOption::ReuseAddress, 1)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        };
        let socket = bind()
            .map_err(|error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        Ok(Self::new(socket))
    }

    /// Takes over a listener that was set up otherwise.
    pub fn from_std(listener: std::net::TcpListener) -> Self {
        Self::new(Descriptor::new(listener.into()))
    }

    fn new(socket: Descriptor) -> Self {
        Self { accept: RefCell::new(Multishot::new(AcceptMulti::new(&socket))), socket }
    }

    /// The next connection, and who it is from.
    ///
    /// # Errors
    ///
    /// What `accept(2)` says, such as that no descriptor is free (`EMFILE`). The listener can be used again.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses no connection: the next call gets it.
    pub fn accept(&self) -> Accept<'_> {
        Accept { listener: self }
    }

    /// The connections one after the other, as a stream that does not end.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(self.socket.local_addr()?)
    }

    /// Stops listening: cancels the accept, waits for that, and closes. Then the address is free.
    ///
    /// Connections that had arrived and were not taken are closed. Dropping the listener does all that in the
    /// background.
    ///
    /// # Errors
    ///
    /// What `close(2)` says.
    pub async fn close(self) -> io::Result<()> {
        let Self { socket, accept } = self;
        accept.into_inner().close().await;
        socket.close().await
    }

    /// The next connection, as [`accept`](Self::accept) gives it.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let socket = ready!(self.accept.borrow_mut().poll_next(cx))?;
            let peer = match socket.peer_addr() {
                Ok(peer) => peer,
                // It came and went before anybody looked: accept(2) says nothing of these either.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => continue,
                Err(error) => return Poll::Ready(Err(error)),
            };
            return Poll::Ready(Ok((TcpStream::new(socket), socket_addr(peer)?)));
        }
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local_addr() {
            Ok(address) => write!(f, "TcpListener({address})"),
            Err(_) => f.write_str("TcpListener"),
        }
    }
}

/// The next connection of a listener; made by [`TcpListener::accept`].
#[derive(Debug)]
#[must_use = "an accept does nothing unless it is awaited"]
pub struct Accept<'a> {
    listener: &'a TcpListener,
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.listener.poll_accept(cx)
    }
}

/// The connections of a listener, one after the other; made by [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Incoming<'_> {
    /// The next connection. Never `None`; as with [`TcpListener::accept`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`].
    pub async fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().await.map(|(stream, _)| stream))
    }
}
