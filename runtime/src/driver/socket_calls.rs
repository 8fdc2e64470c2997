//! The plain calls that sockets have beside those of every descriptor: pairs and pipes, who is at the other side,
//! groups, devices, and the names of hosts.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::calls::{Kernel, done};
#[cfg(feature = "sim")]
use crate::sim;
pub use crate::sys::credentials::Credentials;

/// Who belongs to a group whose address is one, and by which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// By the network of an address of this machine; of any if that is `0.0.0.0`.
    V4 {
        /// The address of the group.
        group: Ipv4Addr,
        /// An address of this machine.
        interface: Ipv4Addr,
    },
    /// By the network of such a number; of any if that is 0.
    V6 {
        /// The address of the group.
        group: Ipv6Addr,
        /// The number of the network.
        interface: u32,
    },
}

/// Makes two sockets of the Unix family that are connected. They are the caller's to close.
pub(crate) fn pair(kind: Type) -> io::Result<[RawFd; 2]> {
    match Kernel::here() {
        Kernel::Real => {
            let (one, other) = Socket::pair(Domain::UNIX, kind, None)?;
            Ok([one.into_raw_fd(), other.into_raw_fd()])
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::pair(kind),
    }
}

/// Makes a pipe: the end that is read from, and the one that is written to. They are the caller's to close.
pub(crate) fn pipe() -> io::Result<[RawFd; 2]> {
    match Kernel::here() {
        Kernel::Real => {
            let mut ends = [0; 2];
            // SAFETY: there is room for two descriptors.
            done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
            Ok(ends)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::pipe(),
    }
}

/// Sends a message without waiting, to an address if there is one. In a world that always has to wait: the ring does it.
#[inline]
pub(crate) fn send_message_now(fd: BorrowedFd<'_>, bytes: &[u8], to: Option<&SockAddr>) -> io::Result<usize> {
    const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    match (Kernel::answering(fd.as_raw_fd()), to) {
        (Kernel::Real, Some(to)) => SockRef::from(&fd).send_to_with_flags(bytes, to, FLAGS),
        (Kernel::Real, None) => SockRef::from(&fd).send_with_flags(bytes, FLAGS),
        #[cfg(feature = "sim")]
        (Kernel::Simulated, _) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Receives a message without waiting, and who sent it if that is asked for: how long it is, which with `MSG_TRUNC` may be
/// more than there is room for. In a world that always has to wait: the ring does it.
#[inline]
pub(crate) fn receive_message_now(
    fd: BorrowedFd<'_>,
    room: &mut [MaybeUninit<u8>],
    flags: i32,
    wants_sender: bool,
) -> io::Result<(usize, Option<SockAddr>)> {
    let flags = flags | libc::MSG_DONTWAIT;
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real if wants_sender => {
            SockRef::from(&fd).recv_from_with_flags(room, flags).map(|(length, from)| (length, Some(from)))
        }
        Kernel::Real => SockRef::from(&fd).recv_with_flags(room, flags).map(|length| (length, None)),
        #[cfg(feature = "sim")]
        Kernel::Simulated => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Who was at the other side of a socket of the Unix family when it was connected.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
            let mut len = size_of::<libc::ucred>() as libc::socklen_t;
            let (fd, place) = (fd.as_raw_fd(), (&raw mut found).cast());
            // SAFETY: there is room for as many bytes as `len` says.
            done(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut len) })?;
            let process = (found.pid > 0).then_some(found.pid);
            Ok(Credentials { process, user: found.uid, group: found.gid })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::peer_credentials(fd.as_raw_fd()),
    }
}

/// Joins a group, or leaves it.
pub(crate) fn set_member(fd: BorrowedFd<'_>, group: Group, member: bool) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            let socket = SockRef::from(&fd);
            match (group, member) {
                (Group::V4 { group, interface }, true) => socket.join_multicast_v4(&group, &interface),
                (Group::V4 { group, interface }, false) => socket.leave_multicast_v4(&group, &interface),
                (Group::V6 { group, interface }, true) => socket.join_multicast_v6(&group, interface),
                (Group::V6 { group, interface }, false) => socket.leave_multicast_v6(&group, interface),
            }
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::unknown("groups of addresses".to_owned()),
    }
}

/// Keeps a socket to one network device, or lets it use all.
pub(crate) fn bind_device(fd: BorrowedFd<'_>, device: Option<&[u8]>) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).bind_device(device),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::unknown("network devices".to_owned()),
    }
}

/// The device that a socket is kept to.
pub(crate) fn device(fd: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).device(),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::unknown("network devices".to_owned()),
    }
}

/// By which algorithm a TCP socket controls its congestion.
pub(crate) fn set_congestion(fd: BorrowedFd<'_>, algorithm: &[u8]) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).set_tcp_congestion(algorithm),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::unknown("the congestion of TCP".to_owned()),
    }
}

/// Its name.
pub(crate) fn congestion(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            let mut name = SockRef::from(&fd).tcp_congestion()?;
            // The kernel fills up its room.
            name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
            Ok(name)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::unknown("the congestion of TCP".to_owned()),
    }
}

/// The addresses of a host, with a port. It may wait for other machines: not for the core.
#[expect(clippy::disallowed_methods, reason = "this is what others ask for it")]
pub(crate) fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match Kernel::here() {
        Kernel::Real => Ok(std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?.collect()),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::look_up(host).map(|ip| vec![SocketAddr::new(ip, port)]),
    }
}
