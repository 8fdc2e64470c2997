//! Listeners, which own their accepts.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corering_runtime::op::{AcceptMulti, Descriptor, Multishot, SocketOption};
use socket2::SockAddr;

use crate::addr::ToSocketAddrs;
use crate::connection::{into_owned, taken_over};
use crate::stream::{TcpStream, socket_addr, tcp_socket};

/// How many connections may wait in the kernel.
pub(crate) const BACKLOG: i32 = 1024;

/// A socket that listens, and the accept that it owns.
pub struct Listening {
    pub(crate) socket: Descriptor,
    accept: RefCell<Multishot<AcceptMulti>>,
}

impl Listening {
    pub(crate) fn new(socket: Descriptor) -> Self {
        Self { accept: RefCell::new(Multishot::new(AcceptMulti::new(&socket))), socket }
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Descriptor>> {
        self.accept.borrow_mut().poll_next(cx)
    }

    pub(crate) async fn close(self) -> io::Result<()> {
        let Self { socket, accept } = self;
        accept.into_inner().close().await;
        socket.close().await
    }

    /// The socket alone, and the connections that were accepted and that nobody took.
    pub(crate) async fn into_parts(self) -> io::Result<(OwnedFd, Vec<Descriptor>)> {
        let Self { socket, accept } = self;
        let accepted = accept.into_inner().into_items().await.into_iter().flatten().collect();
        Ok((into_owned(socket).await?, accepted))
    }
}

/// A kind of listener.
pub trait ListenerSocket: Accepts {
    /// What it accepts.
    type Stream;
    /// What addresses are.
    type Address;
}

/// What only the listeners of this crate can do.
pub trait Accepts {
    /// The socket.
    fn listening(&self) -> &Listening;

    /// A connection of one that was accepted, and who it is from; none if it went before anybody looked.
    fn accepted(socket: Descriptor) -> io::Result<Option<(Self::Stream, Self::Address)>>
    where
        Self: ListenerSocket;
}

/// The methods of a listener that has the field `listening`.
macro_rules! listener_methods {
    ($listener:ident, $stream:ty, $address:ty, $to_address:path) => {
        impl $listener {
            pub(crate) fn socket(&self) -> &Descriptor {
                &self.listening.socket
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
            pub fn accept(&self) -> Accept<'_, Self> {
                Accept { listener: self }
            }

            /// The next connection, as [`accept`](Self::accept) gives it.
            ///
            /// # Errors
            ///
            /// As [`accept`](Self::accept).
            pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<($stream, $address)>> {
                poll_accept(self, cx)
            }

            /// The connections one after the other, as a stream that does not end.
            pub fn incoming(&self) -> Incoming<'_, Self> {
                Incoming { listener: self }
            }

            /// The address that it listens on.
            ///
            /// # Errors
            ///
            /// What `getsockname(2)` says.
            pub fn local_addr(&self) -> io::Result<$address> {
                $to_address(self.socket().local_addr()?)
            }

            /// The error that waits to be told, if there is one. It is told once (`SO_ERROR`).
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket().take_error()
            }

            /// The socket without the runtime, and the connections that had been accepted and that nobody took.
            ///
            /// # Errors
            ///
            /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if an operation still uses the socket;
            /// [`Unsupported`](io::ErrorKind::Unsupported) in a simulated world. It is closed then.
            ///
            /// # Cancel safety
            ///
            /// Dropped, the listener is closed in the background.
            pub async fn into_owned_fd(self) -> io::Result<(OwnedFd, Vec<$stream>)> {
                let (fd, accepted) = self.listening.into_parts().await?;
                Ok((fd, accepted.into_iter().map(<$stream>::new).collect()))
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
                self.listening.close().await
            }
        }

        impl AsFd for $listener {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket().as_fd()
            }
        }

        /// Of a socket that listens, which is set to block: the ring waits for it.
        impl From<OwnedFd> for $listener {
            fn from(fd: OwnedFd) -> Self {
                Self { listening: Listening::new(taken_over(fd)) }
            }
        }

        impl ListenerSocket for $listener {
            type Stream = $stream;
            type Address = $address;
        }
    };
}

pub(crate) use listener_methods;

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
    pub(crate) listening: Listening,
}

listener_methods!(TcpListener, TcpStream, SocketAddr, socket_addr);

impl Accepts for TcpListener {
    fn listening(&self) -> &Listening {
        &self.listening
    }

    fn accepted(socket: Descriptor) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        match socket.peer_addr() {
            Ok(peer) => Ok(Some((TcpStream::new(socket), socket_addr(peer)?))),
            // It came and went before anybody looked: accept(2) says nothing of these either.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl TcpListener {
    /// Listens on `address`; port 0 lets the kernel pick one. The address can be bound again at once after a restart
    /// (`SO_REUSEADDR`). Of several addresses, the first that can be had. For other settings:
    /// [`TcpSocket`](crate::TcpSocket).
    ///
    /// # Errors
    ///
    /// What `bind(2)` and `listen(2)` say, with the address: that it is in use, not of this machine, not allowed.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, false).await
    }

    /// As [`bind`](Self::bind), on an address that several listeners share, one of each core, say: the kernel gives
    /// each connection to one of them (`SO_REUSEPORT`). All of them have to be of the same user, and made by this
    /// function.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn bind_shared(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, true).await
    }

    async fn bind_with(address: impl ToSocketAddrs, shared: bool) -> io::Result<Self> {
        let bind = |address: SocketAddr| {
            let socket = tcp_socket(address)?;
            socket.set_option(SocketOption::ReuseAddress, 1)?;
            if shared {
                socket.set_option(SocketOption::ReusePort, 1)?;
            }
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        };
        let socket = first_of(address, "listen on", bind).await?;
        Ok(Self { listening: Listening::new(socket) })
    }

    /// Takes over a listener that was set up otherwise.
    pub fn from_std(listener: std::net::TcpListener) -> Self {
        OwnedFd::from(listener).into()
    }

    /// The listener as the standard library has it, set to block, and the connections that had been accepted and that
    /// nobody took. See [`into_owned_fd`](Self::into_owned_fd).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn into_std(self) -> io::Result<(std::net::TcpListener, Vec<TcpStream>)> {
        let (fd, accepted) = self.into_owned_fd().await?;
        Ok((fd.into(), accepted))
    }
}

/// Does something with the first of the addresses with which it can be done; if there is none, the error is that of the
/// first.
pub(crate) async fn first_of<T>(
    address: impl ToSocketAddrs,
    what: &str,
    mut make: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut first = None;
    for address in address.to_target()?.addresses().await? {
        match make(address) {
            Ok(made) => return Ok(made),
            Err(error) => {
                let text = format!("cannot {what} {address}: {error}");
                first.get_or_insert(io::Error::new(error.kind(), text));
            }
        }
    }
    match first {
        Some(error) => Err(error),
        None => unreachable!("a target has an address, or says that it has none"),
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

/// The next connection of a listener; made by [`TcpListener::accept`] and its like.
#[derive(Debug)]
#[must_use = "an accept does nothing unless it is awaited"]
pub struct Accept<'a, L = TcpListener> {
    pub(crate) listener: &'a L,
}

impl<L: ListenerSocket> Future for Accept<'_, L> {
    type Output = io::Result<(L::Stream, L::Address)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        poll_accept(self.listener, cx)
    }
}

/// The next connection of a listener.
pub(crate) fn poll_accept<L: ListenerSocket>(
    listener: &L,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(L::Stream, L::Address)>> {
    loop {
        let socket = ready!(listener.listening().poll_accept(cx))?;
        if let Some(accepted) = L::accepted(socket)? {
            return Poll::Ready(Ok(accepted));
        }
    }
}

/// The connections of a listener, one after the other; made by [`TcpListener::incoming`] and its like.
#[derive(Debug)]
pub struct Incoming<'a, L = TcpListener> {
    pub(crate) listener: &'a L,
}

impl<L: ListenerSocket> Incoming<'_, L> {
    /// The next connection. Never `None`; as with [`TcpListener::accept`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`].
    pub async fn next(&mut self) -> Option<io::Result<L::Stream>> {
        Some(Accept { listener: self.listener }.await.map(|(stream, _)| stream))
    }
}

/// The other side of a connection that was accepted, if it is still there.
pub(crate) fn peer_of(socket: &Descriptor) -> io::Result<Option<SockAddr>> {
    match socket.peer_addr() {
        Ok(peer) => Ok(Some(peer)),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}
