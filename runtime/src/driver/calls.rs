//! The seam to the kernel beside the ring: the plain calls that are made on a descriptor, and random numbers.
//!
//! Invariant: nothing else in the libraries makes such a call (`tests/tidy.rs`), and what is asked of a descriptor is
//! asked of the kernel that it is of. Which one that is, its number says.
//!
//! ```text
//! op, net, fs --> Descriptor --> one function per call --> match Kernel::of(fd) { Real => the system call, .. }
//! ```

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::buf::Room;
#[cfg(feature = "sim")]
use crate::sim;
use crate::sys;
pub use crate::sys::socket_option::SocketOption;

/// The kernel that answers a call. Another filling is another variant: then the compiler names every call that it has
/// to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    Real,
    #[cfg(feature = "sim")]
    Simulated,
}

impl Kernel {
    /// The one that a descriptor is of. No real number is as large as a simulated one: that would need a descriptor
    /// table of 8 GiB.
    #[inline]
    fn of(_fd: RawFd) -> Self {
        #[cfg(feature = "sim")]
        if _fd >= sim::host::FIRST_DESCRIPTOR {
            return Kernel::Simulated;
        }
        Kernel::Real
    }

    /// The one that is to answer for a descriptor: in a world the simulated one, which refuses what is real.
    #[inline]
    pub(super) fn answering(fd: RawFd) -> Self {
        match Kernel::of(fd) {
            Kernel::Real => Kernel::here(),
            #[cfg(feature = "sim")]
            Kernel::Simulated => Kernel::Simulated,
        }
    }

    /// The one that this thread's programs run on.
    #[inline]
    pub(super) fn here() -> Self {
        #[cfg(feature = "sim")]
        if super::clock::is_simulated() {
            return Kernel::Simulated;
        }
        Kernel::Real
    }
}

/// Whether a descriptor is of a simulated kernel.
#[cfg(feature = "sim")]
pub(crate) fn is_simulated(fd: RawFd) -> bool {
    Kernel::of(fd) == Kernel::Simulated
}

/// Listens for signals of the process, and gives the bell that they ring.
pub(crate) fn listen_for(signals: &[i32]) -> io::Result<(sys::signal::Listening, OwnedFd)> {
    match Kernel::here() {
        Kernel::Real => sys::signal::Listening::to(signals),
        #[cfg(feature = "sim")]
        Kernel::Simulated => {
            let text = "a simulated host has no signals: let the test end the program otherwise";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

/// Makes a socket, which programs that are started do not inherit. It is the caller's to close.
pub(crate) fn socket(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<RawFd> {
    match Kernel::here() {
        Kernel::Real => Ok(Socket::new(domain, kind, protocol)?.into_raw_fd()),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::socket(domain, kind),
    }
}

/// Gives a socket its address.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).bind(address),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::bind(fd.as_raw_fd(), address),
    }
}

/// Lets a socket take connections, of which so many may wait.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).listen(backlog),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::listen(fd.as_raw_fd(), backlog),
    }
}

/// The address of a socket.
pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SockAddr> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).local_addr(),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::local_addr(fd.as_raw_fd()),
    }
}

/// The address of the other side of a socket.
pub(crate) fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<SockAddr> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).peer_addr(),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::peer_addr(fd.as_raw_fd()),
    }
}

/// Ends one direction of a socket, or both.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).shutdown(how),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::shutdown(fd.as_raw_fd(), how),
    }
}

/// Sends without waiting.
#[inline]
pub(crate) fn send_now(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).send_vectored_with_flags(parts, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::send_now(fd.as_raw_fd(), parts),
    }
}

/// Changes a setting of a socket.
pub(crate) fn set_option(fd: BorrowedFd<'_>, option: SocketOption, value: i32) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => set_real_option(&SockRef::from(&fd), option, value),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::set_option(fd.as_raw_fd(), option, value),
    }
}

/// What a setting of a socket is.
pub(crate) fn option(fd: BorrowedFd<'_>, option: SocketOption) -> io::Result<i32> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => real_option(&SockRef::from(&fd), option),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::option(fd.as_raw_fd(), option),
    }
}

/// Takes the error that waits on a socket to be told.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => SockRef::from(&fd).take_error(),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::take_error(fd.as_raw_fd()),
    }
}

/// The position of a descriptor, if it has one.
pub(crate) fn position(fd: BorrowedFd<'_>) -> Option<u64> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let position = unsafe { libc::lseek64(fd.as_raw_fd(), 0, libc::SEEK_CUR) };
            u64::try_from(position).ok()
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::position(fd.as_raw_fd()),
    }
}

/// Whether what is written goes to the end (`O_APPEND`).
pub(crate) fn is_append(fd: BorrowedFd<'_>) -> bool {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
            flags >= 0 && flags & libc::O_APPEND != 0
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::is_append(fd.as_raw_fd()),
    }
}

/// Whether it was opened to pass the page cache (`O_DIRECT`).
pub(crate) fn is_direct(fd: BorrowedFd<'_>) -> bool {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
            flags >= 0 && flags & libc::O_DIRECT != 0
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::is_direct(fd.as_raw_fd()),
    }
}

/// Reads into `room` if that needs no waiting: from the page cache, or what lies ready. From the position if `offset`
/// is [`u64::MAX`].
#[inline]
pub(crate) fn read_now(fd: BorrowedFd<'_>, room: &mut Room<'_>, offset: u64) -> io::Result<usize> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            let part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let offset = offset as libc::off_t;
            // SAFETY: `part` names the room, which is borrowed exclusively and may be written to its end.
            let read = unsafe { libc::preadv2(fd.as_raw_fd(), &raw const part, 1, offset, libc::RWF_NOWAIT) };
            usize::try_from(read).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => {
            let bytes = sim::calls::read_now(fd.as_raw_fd(), room.len(), offset)?;
            // SAFETY: no more than the room has; both are different memory.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr(), bytes.len()) };
            Ok(bytes.len())
        }
    }
}

/// What the system knows of an open file. At once: its inode is in memory.
pub(crate) fn stat(fd: BorrowedFd<'_>, mask: u32) -> io::Result<libc::statx> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            let mut answer = MaybeUninit::<libc::statx>::zeroed();
            let (fd, path, flags) = (fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
            // SAFETY: an empty path, and room for the answer.
            let result = unsafe { libc::statx(fd, path, flags, mask, answer.as_mut_ptr()) };
            done(result)?;
            // SAFETY: zeroed before, so initialised whatever the kernel has filled in.
            Ok(unsafe { answer.assume_init() })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::stat(fd.as_raw_fd()),
    }
}

/// Makes a file that many bytes long, where the ring cannot.
pub(crate) fn truncate(fd: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no file is 2^63 bytes long"))?;
    match Kernel::answering(fd.as_raw_fd()) {
        // SAFETY: takes no pointers.
        Kernel::Real => done(unsafe { libc::ftruncate(fd.as_raw_fd(), bytes) }),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::truncate(fd.as_raw_fd(), bytes as u64),
    }
}

/// Closes a descriptor, where no ring does. Whatever this says, the number is free.
///
/// # Safety
///
/// The caller owns `fd`, and nobody uses or closes it any more.
pub(crate) unsafe fn close(fd: RawFd) -> io::Result<()> {
    match Kernel::of(fd) {
        // SAFETY: takes no pointers; the caller's promise.
        Kernel::Real => done(unsafe { libc::close(fd) }),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::close(fd),
    }
}

/// Gives a descriptor of the real system to an owner that closes it.
///
/// # Safety
///
/// It is open, of the real system, and nobody else closes it.
pub(crate) unsafe fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A random number. It cannot be foretold from those of other threads or runs, but it can from those that came before:
/// it is not for secrets.
///
/// Needs no runtime. The numbers are of a generator of this thread, which the system has seeded.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// // Clients that were all turned away at once do not all come back at once.
/// let wait = Duration::from_millis(100 + corering_runtime::random() % 50);
/// assert!((100..150).contains(&wait.as_millis()));
/// ```
#[inline]
pub fn random() -> u64 {
    match Kernel::here() {
        Kernel::Real => sys::random::draw(),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::calls::random(),
    }
}

/// What setsockopt(2) calls it: level and name.
fn number_of(option: SocketOption) -> (i32, i32) {
    match option {
        SocketOption::NoDelay => (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        SocketOption::ReuseAddress => (libc::SOL_SOCKET, libc::SO_REUSEADDR),
        SocketOption::ReusePort => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
        SocketOption::KeepAlive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        SocketOption::SendBuffer => (libc::SOL_SOCKET, libc::SO_SNDBUF),
        SocketOption::ReceiveBuffer => (libc::SOL_SOCKET, libc::SO_RCVBUF),
        SocketOption::Linger => (libc::SOL_SOCKET, libc::SO_LINGER),
        SocketOption::Broadcast => (libc::SOL_SOCKET, libc::SO_BROADCAST),
        SocketOption::Ttl => (libc::IPPROTO_IP, libc::IP_TTL),
        SocketOption::OnlyV6 => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        SocketOption::KeepIdle => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        SocketOption::KeepInterval => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        SocketOption::KeepCount => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        SocketOption::QuickAck => (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
        SocketOption::FastOpen => (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
        SocketOption::FastOpenConnect => (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
        SocketOption::UserTimeout => (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
        SocketOption::IncomingCpu => (libc::SOL_SOCKET, libc::SO_INCOMING_CPU),
        SocketOption::HopsV6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        SocketOption::MulticastTtl => (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
        SocketOption::MulticastLoop => (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
        SocketOption::MulticastHopsV6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS),
        SocketOption::MulticastLoopV6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP),
        SocketOption::PassCredentials => (libc::SOL_SOCKET, libc::SO_PASSCRED),
        SocketOption::Gro => (libc::SOL_UDP, libc::UDP_GRO),
        SocketOption::SegmentBytes => (libc::SOL_UDP, libc::UDP_SEGMENT),
    }
}

fn set_real_option(socket: &Socket, option: SocketOption, value: i32) -> io::Result<()> {
    if option == SocketOption::Linger {
        return socket.set_linger(u64::try_from(value).ok().map(Duration::from_secs));
    }
    // The kernel would take a size below 0 for the largest there is, and -1 routers for as many as is usual.
    let is_count = matches!(option, SocketOption::SendBuffer | SocketOption::ReceiveBuffer | SocketOption::Ttl);
    if value < 0 && is_count {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let ((level, name), fd) = (number_of(option), socket.as_raw_fd());
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is as long as `len` says.
    done(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) })
}

fn real_option(socket: &Socket, option: SocketOption) -> io::Result<i32> {
    if option == SocketOption::Linger {
        return Ok(socket.linger()?.map_or(-1, |wait| wait.as_secs() as i32));
    }
    let ((level, name), fd) = (number_of(option), socket.as_raw_fd());
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: there is room for as many bytes as `len` says.
    done(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

pub(super) fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn stream() -> OwnedFd {
        let fd = socket(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // SAFETY: just made, and ours.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    #[test]
    fn an_option_reads_as_it_was_set() {
        let socket = stream();
        let fd = socket.as_fd();
        for which in [
            SocketOption::NoDelay,
            SocketOption::ReuseAddress,
            SocketOption::ReusePort,
            SocketOption::KeepAlive,
            SocketOption::Broadcast,
        ] {
            assert_eq!(option(fd, which).expect("known"), 0, "{which:?} is off at first");
            set_option(fd, which, 1).expect("known");
            assert_eq!(option(fd, which).expect("known"), 1, "{which:?}");
        }
        for (which, value) in [(SocketOption::Ttl, 7), (SocketOption::Linger, 3), (SocketOption::Linger, -1)] {
            set_option(fd, which, value).expect("known");
            assert_eq!(option(fd, which).expect("known"), value, "{which:?}");
        }
        for which in [SocketOption::SendBuffer, SocketOption::ReceiveBuffer] {
            set_option(fd, which, 8192).expect("known");
            assert!(option(fd, which).expect("known") >= 8192, "{which:?}");
            assert!(set_option(fd, which, -1).is_err(), "{which:?} below nothing");
        }
        assert!(set_option(fd, SocketOption::OnlyV6, 1).is_err(), "a socket of version 4");
    }

    #[test]
    fn a_socket_has_the_address_that_it_was_bound_to_and_no_peer() {
        let socket = stream();
        let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        bind(socket.as_fd(), &any.into()).expect("a free port");
        let bound = local_addr(socket.as_fd()).expect("bound").as_socket().expect("of IP");
        assert_eq!(bound.ip(), any.ip());
        assert_ne!(bound.port(), 0);
        assert_eq!(peer_addr(socket.as_fd()).expect_err("not connected").kind(), io::ErrorKind::NotConnected);
        assert!(take_error(socket.as_fd()).expect("a socket").is_none());
        assert_eq!(position(socket.as_fd()), None);
    }

    #[test]
    fn a_length_that_no_file_has_is_refused() {
        let socket = stream();
        let error = truncate(socket.as_fd(), u64::MAX).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
