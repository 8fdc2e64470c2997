//! Sockets by plain calls that never wait: made, named, configured, shut down.
//!
//! What may wait (connecting, accepting, sending, receiving) is an operation.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockAddr, Type};

use super::descriptor::Descriptor;
use crate::driver::calls::{self, SocketOption};
use crate::driver::socket_calls::{self, Credentials, Group};

/// What sendmsg(2) takes at most (`IOV_MAX`).
pub(super) const MOST_PARTS: usize = 1024;

impl Descriptor {
    /// Makes a socket. Programs that are started do not inherit it.
    ///
    /// # Errors
    ///
    /// What `socket(2)` says, such as that no descriptor is free (`EMFILE`).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::{Connect, Descriptor, Op, SocketOption};
    /// use corering_runtime::op::socket2::{Domain, SockAddr, Type};
    /// use std::net::SocketAddr;
    ///
    /// corering_runtime::run(async {
    ///     let listener = Descriptor::socket(Domain::IPV4, Type::STREAM, None)?;
    ///     listener.set_option(SocketOption::ReuseAddress, 1)?;
    ///     listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?; // port 0: any that is free
    ///     listener.listen(16)?;
    ///
    ///     let client = Descriptor::socket(Domain::IPV4, Type::STREAM, None)?;
    ///     Op::new(Connect::new(&client, listener.local_addr()?)).await?;
    ///     assert_eq!(client.peer_addr()?, listener.local_addr()?);
    ///     client.close().await
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn socket(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = calls::socket(domain, kind, protocol)?;
        // SAFETY: it was just made for us.
        Ok(unsafe { Self::owning(fd) })
    }

    /// Makes two sockets of the Unix family that are connected to each other.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` says, such as that no descriptor is free (`EMFILE`).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::socket2::Type;
    /// use corering_runtime::op::{Descriptor, Op, Receive, Send};
    ///
    /// corering_runtime::run(async {
    ///     let (ours, theirs) = Descriptor::socket_pair(Type::SEQPACKET)?;
    ///     Op::new(Send::new(&ours, "a message")).await.0?;
    ///     let (count, buffer) = Op::new(Receive::new(&theirs, Vec::with_capacity(64))).await;
    ///     assert_eq!((count?, &buffer[..]), (9, &b"a message"[..]));
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn socket_pair(kind: Type) -> io::Result<(Self, Self)> {
        let [one, other] = socket_calls::pair(kind)?;
        // SAFETY: it was just made for us.
        let one = unsafe { Self::owning(one) };
        // SAFETY: as above.
        Ok((one, unsafe { Self::owning(other) }))
    }

    /// Makes a pipe: the end that is read from, and the one that is written to.
    ///
    /// # Errors
    ///
    /// What `pipe2(2)` says, such as that no descriptor is free (`EMFILE`).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::{Descriptor, Op, Read, Write};
    ///
    /// corering_runtime::run(async {
    ///     let (reader, writer) = Descriptor::pipe()?;
    ///     Op::new(Write::stream(&writer, "through")).await.0?;
    ///     let (count, buffer) = Op::new(Read::stream(&reader, Vec::with_capacity(64))).await;
    ///     assert_eq!((count?, &buffer[..]), (7, &b"through"[..]));
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pipe() -> io::Result<(Self, Self)> {
        let [reader, writer] = socket_calls::pipe()?;
        // SAFETY: it was just made for us.
        let reader = unsafe { Self::owning(reader) };
        // SAFETY: as above.
        Ok((reader, unsafe { Self::owning(writer) }))
    }

    /// Who was at the other side of a socket of the Unix family when it was connected, or made its listener.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says of `SO_PEERCRED`.
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        socket_calls::peer_credentials(self.as_fd())
    }

    /// Joins a group whose address is one, or leaves it.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says: that the address is none of a group, or that there is no such network.
    pub fn set_member(&self, group: Group, member: bool) -> io::Result<()> {
        socket_calls::set_member(self.as_fd(), group, member)
    }

    /// Keeps a socket to one network device, by its name, or lets it use all (`SO_BINDTODEVICE`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says: that there is no such device, or that it is not allowed.
    pub fn bind_device(&self, device: Option<&[u8]>) -> io::Result<()> {
        socket_calls::bind_device(self.as_fd(), device)
    }

    /// The device that a socket is kept to.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        socket_calls::device(self.as_fd())
    }

    /// Has a TCP socket control its congestion by an algorithm of that name (`TCP_CONGESTION`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says: that the kernel has none of that name, or that it is not allowed.
    pub fn set_congestion(&self, algorithm: &[u8]) -> io::Result<()> {
        socket_calls::set_congestion(self.as_fd(), algorithm)
    }

    /// The name of the algorithm by which a TCP socket controls its congestion.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn congestion(&self) -> io::Result<Vec<u8>> {
        socket_calls::congestion(self.as_fd())
    }

    /// Gives a socket its address. With port 0 the kernel picks a free one.
    ///
    /// # Errors
    ///
    /// What `bind(2)` says: that the address is in use, not of this machine, not allowed.
    ///
    /// # Examples
    ///
    /// See [`socket`](Self::socket).
    pub fn bind(&self, address: &SockAddr) -> io::Result<()> {
        calls::bind(self.as_fd(), address)
    }

    /// Lets a socket take connections, of which `backlog` may wait to be accepted.
    ///
    /// # Errors
    ///
    /// What `listen(2)` says.
    ///
    /// # Examples
    ///
    /// See [`socket`](Self::socket).
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        calls::listen(self.as_fd(), backlog)
    }

    /// The address of a socket.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` says.
    ///
    /// # Examples
    ///
    /// See [`socket`](Self::socket).
    pub fn local_addr(&self) -> io::Result<SockAddr> {
        calls::local_addr(self.as_fd())
    }

    /// The address of the other side of a socket.
    ///
    /// # Errors
    ///
    /// What `getpeername(2)` says: also that there is no other side, or none any more.
    ///
    /// # Examples
    ///
    /// See [`socket`](Self::socket).
    pub fn peer_addr(&self) -> io::Result<SockAddr> {
        calls::peer_addr(self.as_fd())
    }

    /// Says that nothing more will be written to a socket, or read from it, or both. At once: what was dropped in
    /// flight is not waited for (see [`poll_settled`](Self::poll_settled)).
    ///
    /// # Errors
    ///
    /// What `shutdown(2)` says, such as that it is not connected.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::Descriptor;
    /// use std::{io::Read, net::Shutdown, os::{fd::OwnedFd, unix::net::UnixStream}};
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let ours = Descriptor::new(OwnedFd::from(ours));
    /// ours.shutdown(Shutdown::Write)?;
    /// assert_eq!(theirs.read(&mut [0; 8])?, 0); // the end of the stream
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        calls::shutdown(self.as_fd(), how)
    }

    /// Sends as much of `parts`, one after the other, as the socket takes at once; `None` if it takes nothing now. The
    /// bytes are out when it returns, so they may be borrowed.
    ///
    /// It waits for nothing, also not for a send that was dropped: wait for [`poll_settled`](Self::poll_settled) first.
    ///
    /// # Errors
    ///
    /// What `sendmsg(2)` says. A connection that the other side has closed is
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe), never a signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{IoSlice, Read};
    /// use std::os::{fd::OwnedFd, unix::net::UnixStream};
    ///
    /// use corering_runtime::op::Descriptor;
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// let ours = Descriptor::new(OwnedFd::from(ours));
    /// assert_eq!(ours.send_now(&[IoSlice::new(b"he"), IoSlice::new(b"llo")])?, Some(5));
    /// let mut bytes = [0; 5];
    /// theirs.read_exact(&mut bytes)?;
    /// assert_eq!(&bytes, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn send_now(&self, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        // The kernel takes no more parts at once.
        let parts = &parts[..parts.len().min(MOST_PARTS)];
        match calls::send_now(self.as_fd(), parts) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a setting of a socket. The value is the `int` of `setsockopt(2)`: 0 or 1 for off or on.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says, such as that a socket of this kind has no such setting.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::socket2::{Domain, Type};
    /// use corering_runtime::op::{Descriptor, SocketOption};
    ///
    /// let socket = Descriptor::socket(Domain::IPV4, Type::DGRAM, None)?;
    /// socket.set_option(SocketOption::Broadcast, 1)?;
    /// assert_eq!(socket.option(SocketOption::Broadcast)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_option(&self, option: SocketOption, value: i32) -> io::Result<()> {
        calls::set_option(self.as_fd(), option, value)
    }

    /// What a setting of a socket is.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says, such as that a socket of this kind has no such setting.
    ///
    /// # Examples
    ///
    /// See [`set_option`](Self::set_option).
    pub fn option(&self, option: SocketOption) -> io::Result<i32> {
        calls::option(self.as_fd(), option)
    }

    /// The error that waits on a socket to be told, if there is one. It is told once (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::Descriptor;
    /// use corering_runtime::op::socket2::{Domain, Type};
    ///
    /// let socket = Descriptor::socket(Domain::IPV4, Type::STREAM, None)?;
    /// assert!(socket.take_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        calls::take_error(self.as_fd())
    }
}
