//! TCP sockets before they are connected or listen, for those who set what the others leave as it is.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use corering_runtime::op::socket2::{Domain, Protocol, Type};
use corering_runtime::op::{Descriptor, SocketOption};

use crate::connect;
use crate::connection::size;
use crate::listener::{Listening, TcpListener};
use crate::options::tcp_options;
use crate::stream::{TcpStream, socket_addr};

/// A TCP socket that is neither connected nor listens, to be set up.
///
/// # Examples
///
/// ```
/// use corering_net::{Keepalive, TcpSocket};
/// use std::time::Duration;
///
/// corering_runtime::run(async {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_reuseaddr(true)?;
///     socket.set_keepalive(Some(Keepalive::new().idle(Duration::from_secs(60)).count(3)))?;
///     socket.bind("127.0.0.1:0".parse().expect("an address"))?;
///     let listener = socket.listen(16)?;
///
///     let client = TcpSocket::new_v4()?;
///     client.set_recv_buffer_size(64 * 1024)?;
///     let client = client.connect(listener.local_addr()?).await?;
///     client.set_nodelay(true)?;
///     assert!(client.nodelay()?);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpSocket {
    socket: Descriptor,
}

impl TcpSocket {
    /// One of IPv4.
    ///
    /// # Errors
    ///
    /// What `socket(2)` says, such as that no descriptor is free (`EMFILE`).
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::IPV4)
    }

    /// One of IPv6, which also takes what comes by IPv4 unless it is told [not to](Self::set_only_v6).
    ///
    /// # Errors
    ///
    /// As [`new_v4`](Self::new_v4).
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::IPV6)
    }

    fn new(domain: Domain) -> io::Result<Self> {
        Ok(Self { socket: Descriptor::socket(domain, Type::STREAM, Some(Protocol::TCP))? })
    }

    fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// Lets the address be bound while connections that it had are still remembered (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_reuseaddr(&self, on: bool) -> io::Result<()> {
        self.socket.set_option(SocketOption::ReuseAddress, on.into())
    }

    /// Whether it may be.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        Ok(self.socket.option(SocketOption::ReuseAddress)? != 0)
    }

    /// Lets several sockets of one user, which all have to allow it, be bound to the address (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_reuseport(&self, on: bool) -> io::Result<()> {
        self.socket.set_option(SocketOption::ReusePort, on.into())
    }

    /// Whether they may be.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn reuseport(&self) -> io::Result<bool> {
        Ok(self.socket.option(SocketOption::ReusePort)? != 0)
    }

    /// Keeps a socket of IPv6 away from IPv4 (`IPV6_V6ONLY`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says: that it is none of IPv6, or that it is bound already.
    pub fn set_only_v6(&self, on: bool) -> io::Result<()> {
        self.socket.set_option(SocketOption::OnlyV6, on.into())
    }

    /// How many bytes may wait to be sent (`SO_SNDBUF`). The kernel doubles what is set.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.socket.set_option(SocketOption::SendBuffer, size(bytes))
    }

    /// How many may.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        self.socket.option(SocketOption::SendBuffer).map(|bytes| bytes as u32)
    }

    /// How many bytes may wait to be read (`SO_RCVBUF`): set it before the socket is connected or listens, since the
    /// window that the other side is offered follows from it. The kernel doubles what is set.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.socket.set_option(SocketOption::ReceiveBuffer, size(bytes))
    }

    /// How many may.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        self.socket.option(SocketOption::ReceiveBuffer).map(|bytes| bytes as u32)
    }

    /// Lets so many connections bring data with their first packet while they wait to be accepted, if the system allows
    /// it (`TCP_FASTOPEN`, for a socket that is to listen).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_fastopen(&self, waiting: u32) -> io::Result<()> {
        self.socket.set_option(SocketOption::FastOpen, size(waiting))
    }

    /// Has connecting end at once, and the first packet go out with the first data, if the system allows it and knows
    /// the other side (`TCP_FASTOPEN_CONNECT`). That nobody listens is then an error of the first read or write.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_fastopen_connect(&self, on: bool) -> io::Result<()> {
        self.socket.set_option(SocketOption::FastOpenConnect, on.into())
    }

    /// Keeps the socket to one network device, by its name, or lets it use all (`SO_BINDTODEVICE`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says: that there is no such device, or that it is not allowed.
    pub fn bind_device(&self, device: Option<&str>) -> io::Result<()> {
        self.socket.bind_device(device.map(str::as_bytes))
    }

    /// The device that it is kept to.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn device(&self) -> io::Result<Option<String>> {
        Ok(self.socket.device()?.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    /// Prefers what a certain processor handles, if several sockets share an address (`SO_INCOMING_CPU`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_incoming_cpu(&self, cpu: usize) -> io::Result<()> {
        self.socket.set_option(SocketOption::IncomingCpu, i32::try_from(cpu).unwrap_or(i32::MAX))
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(self.socket.local_addr()?)
    }

    /// Gives it an address; port 0 lets the kernel pick one.
    ///
    /// # Errors
    ///
    /// What `bind(2)` says, with the address: that it is in use, not of this machine, not allowed.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        let bound = self.socket.bind(&address.into());
        bound.map_err(|error| io::Error::new(error.kind(), format!("cannot bind to {address}: {error}")))
    }

    /// Connects it.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the attempt up and closes the socket.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        connect::one(address, Ok(self.socket)).await.map(TcpStream::new)
    }

    /// Listens; so many connections may wait to be accepted.
    ///
    /// # Errors
    ///
    /// What `listen(2)` says.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(size(backlog))?;
        Ok(TcpListener { listening: Listening::new(self.socket) })
    }
}

tcp_options!(TcpSocket);

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpSocket({:?})", self.socket)
    }
}
