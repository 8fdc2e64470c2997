//! The plain calls, as the simulated kernel answers them: for the host of the core that runs.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;

use socket2::{Domain, SockAddr, Type};

use super::disk::Inode;
use super::host::{Call, File};
use super::memory::Area;
use super::net::{Address, Kind, Name, Network, SocketId};
use super::perform::{check_read, check_truncate};
use super::place::here;
use super::state::State;
use super::{Answer, Errno, HostId};
use crate::sys::credentials::Credentials;
use crate::sys::socket_option::SocketOption;

/// Makes a socket.
pub(crate) fn socket(domain: Domain, kind: Type) -> io::Result<RawFd> {
    let ipv6 = domain == Domain::IPV6;
    let kind = match (domain, kind) {
        (Domain::IPV4 | Domain::IPV6, Type::STREAM) => Kind::Stream,
        (Domain::IPV4 | Domain::IPV6, Type::DGRAM) => Kind::Datagram,
        (Domain::UNIX, Type::STREAM) => Kind::UnixStream,
        (Domain::UNIX, Type::SEQPACKET) => Kind::UnixMessages,
        (Domain::UNIX, Type::DGRAM) => Kind::UnixDatagram,
        _ => return unknown(format!("sockets of the {domain:?} and {kind:?}")),
    };
    answer(|state, host| {
        if let Some(error) = state.host(host).take_failure(Call::Socket) {
            return Err(error);
        }
        let socket = state.network.socket(host, kind, ipv6);
        state.open(host, File::Socket(socket))
    })
}

pub(crate) fn bind(fd: RawFd, address: &SockAddr) -> io::Result<()> {
    match (address.as_socket(), unix_name(address)) {
        (Some(address), _) => on_socket(fd, |state, socket| match state.network.is_unix(socket) {
            true => Err(Errno(libc::EINVAL)),
            false => state.network.bind(socket, address),
        }),
        (None, Some(name)) => bind_unix(fd, name),
        (None, None) => unknown("addresses that are neither of IP nor of the Unix family".to_owned()),
    }
}

/// A name as the kernel has it: a path, or a zero and more.
fn unix_name(address: &SockAddr) -> Option<Vec<u8>> {
    if let Some(name) = address.as_abstract_namespace() {
        return Some([&[0], name].concat());
    }
    let path = address.as_pathname().map(|path| path.as_os_str().as_bytes().to_vec());
    path.or_else(|| address.is_unix().then(Vec::new))
}

fn bind_unix(fd: RawFd, shown: Vec<u8>) -> io::Result<()> {
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let File::Socket(socket) = state.opens[open].file else {
            return Err(Errno(libc::ENOTSOCK));
        };
        if !state.network.is_unix(socket) || state.network.is_named(socket) || shown.is_empty() {
            return Err(Errno(libc::EINVAL));
        }
        let now_ns = state.now_ns;
        let name = match shown.strip_prefix(b"\0") {
            Some(name) => Name::Abstract(name.to_vec()),
            None => Name::Node(state.host(host).disk.make_socket(&shown[..], now_ns)?),
        };
        state.network.bind_unix(socket, name, shown)
    })
}

/// Makes two sockets that are connected.
pub(crate) fn pair(kind: Type) -> io::Result<[RawFd; 2]> {
    let make = match kind {
        Type::STREAM => |network: &mut Network, host| network.pair(host, false),
        Type::SEQPACKET => |network: &mut Network, host| network.pair(host, true),
        Type::DGRAM => Network::pair_of_letters,
        _ => return unknown(format!("pairs of the {kind:?}")),
    };
    answer(|state, host| {
        if let Some(error) = state.host(host).take_failure(Call::Socket) {
            return Err(error);
        }
        let pair = make(&mut state.network, host);
        open_both(state, host, pair)
    })
}

/// Makes a pipe, which is a pair whose ends are shut in one direction.
pub(crate) fn pipe() -> io::Result<[RawFd; 2]> {
    answer(|state, host| {
        let [reader, writer] = state.network.pair(host, false);
        let now_ns = state.now_ns;
        state.network.shutdown(reader, false, true, now_ns)?;
        state.network.shutdown(writer, true, false, now_ns)?;
        open_both(state, host, [reader, writer])
    })
}

fn open_both(state: &mut State, host: HostId, [one, other]: [SocketId; 2]) -> Answer<[RawFd; 2]> {
    let first = match state.open(host, File::Socket(one)) {
        Ok(first) => first,
        Err(error) => {
            let now_ns = state.now_ns;
            state.network.close(other, now_ns);
            return Err(error);
        }
    };
    match state.open(host, File::Socket(other)) {
        Ok(second) => Ok([first, second]),
        Err(error) => {
            state.close(host, first)?;
            Err(error)
        }
    }
}

/// All programs of a host are of one process, and of root.
pub(crate) fn peer_credentials(fd: RawFd) -> io::Result<Credentials> {
    on_socket(fd, |state, socket| {
        if !state.network.is_unix(socket) {
            return Err(Errno(libc::ENOPROTOOPT));
        }
        match state.network.peer_name(socket) {
            Ok(_) => Ok(Credentials { process: Some(1), user: 0, group: 0 }),
            Err(_) => Ok(Credentials { process: None, user: u32::MAX, group: u32::MAX }),
        }
    })
}

/// The address of a host of the world.
pub(crate) fn look_up(name: &str) -> io::Result<IpAddr> {
    here(|state, _| match state.host_named(name) {
        Some(host) => Ok(state.address_of(host)),
        None => Err(Errno(libc::ENOENT)),
    })
    .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "no host of the world has that name"))
}

pub(crate) fn listen(fd: RawFd, backlog: i32) -> io::Result<()> {
    on_socket(fd, |state, socket| state.network.listen(socket, u32::try_from(backlog).unwrap_or(u32::MAX)))
}

pub(crate) fn local_addr(fd: RawFd) -> io::Result<SockAddr> {
    let found = on_socket(fd, |state, socket| match state.network.is_unix(socket) {
        true => Ok(Address::Unix(state.network.shown_name(socket))),
        false => state.network.local_addr(socket).map(Address::Ip),
    })?;
    told(found)
}

pub(crate) fn peer_addr(fd: RawFd) -> io::Result<SockAddr> {
    let found = on_socket(fd, |state, socket| match state.network.is_unix(socket) {
        true => state.network.peer_name(socket).map(Address::Unix),
        false => state.network.peer_addr(socket).map(Address::Ip),
    })?;
    told(found)
}

fn told(address: Address) -> io::Result<SockAddr> {
    match address {
        Address::Ip(address) => Ok(address.into()),
        Address::Unix(name) => SockAddr::unix(OsStr::from_bytes(&name)),
    }
}

pub(crate) fn shutdown(fd: RawFd, how: Shutdown) -> io::Result<()> {
    let (read, write) = (how != Shutdown::Write, how != Shutdown::Read);
    on_socket(fd, |state, socket| state.network.shutdown(socket, read, write, state.now_ns))
}

/// As sendmsg(2) of what does not wait.
pub(crate) fn send_now(fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let File::Socket(socket) = state.opens[open].file else {
            return Err(Errno(libc::ENOTSOCK));
        };
        if let Some(error) = state.host(host).take_failure(Call::Send) {
            return Err(error);
        }
        let end = if state.network.goes_in_parts(socket) { state.part_of_send(bytes.len()) } else { bytes.len() };
        let sent = state.network.send(socket, &bytes[..end], None, state.now_ns);
        state.look_at_network();
        sent?.ok_or(Errno(libc::EAGAIN))
    })
}

pub(crate) fn set_option(fd: RawFd, option: SocketOption, value: i32) -> io::Result<()> {
    on_socket(fd, |state, socket| state.network.set_option(socket, option, value))
}

pub(crate) fn option(fd: RawFd, option: SocketOption) -> io::Result<i32> {
    on_socket(fd, |state, socket| state.network.option(socket, option))
}

pub(crate) fn take_error(fd: RawFd) -> io::Result<Option<io::Error>> {
    on_socket(fd, |state, socket| Ok(state.network.take_error(socket).map(io::Error::from)))
}

/// The position of a file; of what is no file there is none.
pub(crate) fn position(fd: RawFd) -> Option<u64> {
    let position = answer(|state, host| {
        let open = state.find(host, fd)?;
        match state.opens[open].file {
            File::Disk { position, .. } => Ok(position),
            _ => Err(Errno(libc::ESPIPE)),
        }
    });
    position.ok()
}

/// Whether a file was opened to pass the page cache.
pub(crate) fn is_direct(fd: RawFd) -> bool {
    has_flag(fd, libc::O_DIRECT)
}

/// Whether a file was opened for appending.
pub(crate) fn is_append(fd: RawFd) -> bool {
    has_flag(fd, libc::O_APPEND)
}

fn has_flag(fd: RawFd, flag: i32) -> bool {
    let flags = answer(|state, host| {
        let open = state.find(host, fd)?;
        match state.opens[open].file {
            File::Disk { flags, .. } => Ok(flags),
            _ => Ok(0),
        }
    });
    flags.is_ok_and(|flags| flags & flag != 0)
}

/// What is cached of a file. From its position if `offset` is `u64::MAX`, which then moves.
pub(crate) fn read_now(fd: RawFd, room: usize, offset: u64) -> io::Result<Vec<u8>> {
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let File::Disk { inode, flags, position, .. } = state.opens[open].file else {
            return Err(Errno(libc::EAGAIN));
        };
        let at = if offset == u64::MAX { position } else { offset };
        check_read(flags & !libc::O_DIRECT, at, &[Area { address: 0, len: room }])?;
        if flags & libc::O_DIRECT != 0 || state.takes_liberty(|kernel| kernel.not_cached) {
            return Err(Errno(libc::EAGAIN));
        }
        // What shall fail, fails where it is asked of the disk.
        if state.host(host).has_failure(Call::Read) {
            return Err(Errno(libc::EAGAIN));
        }
        let mut bytes = vec![0; state.part_of_cache(at, room)];
        let count = state.host(host).disk.read_cached(inode, at, &mut bytes)?.ok_or(Errno(libc::EAGAIN))?;
        bytes.truncate(count);
        if let (File::Disk { position, .. }, u64::MAX) = (&mut state.opens[open].file, offset) {
            *position += count as u64;
        }
        Ok(bytes)
    })
}

pub(crate) fn stat(fd: RawFd) -> io::Result<libc::statx> {
    on_file(fd, |state, host, inode, _| Ok(super::perform::statx(&state.host(host).disk.stat(inode))))
}

pub(crate) fn truncate(fd: RawFd, bytes: u64) -> io::Result<()> {
    let cut = on_file(fd, |state, host, inode, flags| {
        check_truncate(flags, bytes)?;
        let now_ns = state.now_ns;
        state.host(host).disk.truncate(inode, bytes, now_ns)
    });
    cut.map_err(|error| if error.raw_os_error() == Some(libc::ESPIPE) { Errno(libc::EINVAL).into() } else { error })
}

/// Closes a descriptor. Nothing, if its host has lost its power since.
pub(crate) fn close(fd: RawFd) -> io::Result<()> {
    let closed = here(|state, _| match super::host::place(fd) {
        Some((owner, _)) => state.close(owner, fd),
        None => Err(Errno(libc::EBADF)),
    });
    closed.map(drop).map_err(io::Error::from)
}

/// A number that follows from the seed.
pub(crate) fn random() -> u64 {
    here(|state, _| Ok(state.draw())).unwrap_or(0)
}

pub(super) fn answer<T>(ask: impl FnOnce(&mut State, HostId) -> Answer<T>) -> io::Result<T> {
    here(ask).map_err(io::Error::from)
}

fn on_socket<T>(fd: RawFd, ask: impl FnOnce(&mut State, SocketId) -> Answer<T>) -> io::Result<T> {
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let File::Socket(socket) = state.opens[open].file else {
            return Err(Errno(libc::ENOTSOCK));
        };
        let answer = ask(state, socket);
        state.look_at_network();
        answer
    })
}

pub(super) fn on_file<T>(fd: RawFd, ask: impl FnOnce(&mut State, HostId, Inode, i32) -> Answer<T>) -> io::Result<T> {
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let File::Disk { inode, flags, .. } = state.opens[open].file else {
            return Err(Errno(libc::ESPIPE));
        };
        ask(state, host, inode, flags)
    })
}

/// Ends the run: it asks for something that is not simulated.
pub(crate) fn unknown<T>(what: String) -> io::Result<T> {
    answer(|state, _| {
        state.fail(format!("the simulated kernel does not know {what}: run what needs them on the real one"));
        Err(Errno(libc::EAFNOSUPPORT))
    })
}
