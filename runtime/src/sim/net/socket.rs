//! Sockets, and the table of them.
//!
//! Invariant: an id is never given out twice, so one of a socket that is gone finds nothing. A socket that its owner
//! has closed may live on in the table until what it had sent has arrived; for its owner it is gone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use slab::Slab;

use super::datagram::Mailbox;
use super::listener::Listener;
use super::option::Options;
use super::stream::End;
use super::unix::{Letters, Name};
use crate::sim::{Answer, Errno, HostId};

/// A socket, in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SocketId {
    serial: u32,
    index: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Stream,
    Datagram,
    UnixStream,
    /// A connection that keeps messages apart.
    UnixMessages,
    UnixDatagram,
}

pub(super) struct Socket {
    serial: u32,
    pub(super) host: HostId,
    pub(super) kind: Kind,
    pub(super) ipv6: bool,
    pub(super) options: Options,
    /// Where it is bound. An IPv4 address is one even if the socket is of IPv6.
    pub(super) local: Option<SocketAddr>,
    /// Where its owner wanted it, if that was a certain port: there it stays when it is disconnected.
    pub(super) bound: Option<SocketAddr>,
    /// It holds its port: others may not bind it. Connections that a listener took do not.
    pub(super) holds_port: bool,
    pub(super) error: Option<Errno>,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    /// Closed by its owner, or its owner crashed.
    pub(super) closed: bool,
    /// Already among those that have changed.
    pub(super) noted: bool,
    pub(super) state: State,
    /// Of the Unix family: what it is bound to, and how that is shown.
    pub(super) name: Option<(Name, Vec<u8>)>,
    /// How it is shown without being bound: as the listener that took it.
    pub(super) shown: Vec<u8>,
}

pub(super) enum State {
    /// A stream that is neither connected nor listening.
    Idle,
    Listening(Listener),
    Stream(Box<End>),
    Datagram(Mailbox),
    Letters(Letters),
}

impl Socket {
    pub(super) fn fresh(host: HostId, kind: Kind, ipv6: bool) -> Self {
        let state = match kind {
            Kind::Stream | Kind::UnixStream | Kind::UnixMessages => State::Idle,
            Kind::Datagram => State::Datagram(Mailbox::default()),
            Kind::UnixDatagram => State::Letters(Letters::default()),
        };
        Self {
            serial: 0,
            host,
            kind,
            ipv6,
            options: Options::default(),
            local: None,
            bound: None,
            holds_port: false,
            error: None,
            read_shut: false,
            write_shut: false,
            closed: false,
            noted: false,
            state,
            name: None,
            shown: Vec::new(),
        }
    }

    /// An address as this socket calls it: one of IPv6 knows those of IPv4 by their mapped form.
    pub(super) fn shown(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) if self.ipv6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => address,
        }
    }

    /// An address that its owner named, in the form used in here.
    pub(super) fn named(&self, address: SocketAddr) -> Answer<SocketAddr> {
        match (self.ipv6, address.ip().to_canonical()) {
            (true, IpAddr::V4(_)) if address.is_ipv4() || self.options.only_ipv6 => Err(Errno(libc::EINVAL)),
            (false, IpAddr::V6(_)) => Err(Errno(libc::EAFNOSUPPORT)),
            (false, _) if address.is_ipv6() => Err(Errno(libc::EAFNOSUPPORT)),
            (_, ip) => Ok(SocketAddr::new(ip, address.port())),
        }
    }

    pub(super) fn unspecified(&self) -> IpAddr {
        if self.ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
    }

    /// Whether what is sent to `ip` comes to the address that it is bound to.
    pub(super) fn covers(&self, ip: IpAddr) -> bool {
        match self.local.map(|local| local.ip()) {
            Some(IpAddr::V6(own)) if own.is_unspecified() => ip.is_ipv6() || !self.options.only_ipv6,
            Some(IpAddr::V4(own)) if own.is_unspecified() => ip.is_ipv4(),
            Some(own) => own == ip,
            None => false,
        }
    }

    /// Its owner will not read what arrives, and has said goodbye: it is answered with a reset (RFC 1122, 4.2.2.13).
    pub(super) fn is_done(&self) -> bool {
        self.closed || (self.read_shut && self.write_shut)
    }

    pub(super) fn end(&self) -> Option<&End> {
        match &self.state {
            State::Stream(end) => Some(end),
            State::Idle | State::Listening(_) | State::Datagram(_) | State::Letters(_) => None,
        }
    }

    pub(super) fn end_mut(&mut self) -> Option<&mut End> {
        match &mut self.state {
            State::Stream(end) => Some(end),
            State::Idle | State::Listening(_) | State::Datagram(_) | State::Letters(_) => None,
        }
    }
}

#[derive(Default)]
pub(super) struct Sockets {
    entries: Slab<Socket>,
    serial: u32,
}

impl Sockets {
    pub(super) fn insert(&mut self, socket: Socket) -> SocketId {
        self.serial += 1;
        let serial = self.serial;
        let index = self.entries.insert(Socket { serial, ..socket }) as u32;
        SocketId { serial, index }
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<Socket> {
        self.get(id)?;
        self.entries.try_remove(id.index as usize)
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.entries.get(id.index as usize).filter(|socket| socket.serial == id.serial)
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.entries.get_mut(id.index as usize).filter(|socket| socket.serial == id.serial)
    }

    /// The socket, for its owner.
    pub(super) fn open(&self, id: SocketId) -> Answer<&Socket> {
        self.get(id).filter(|socket| !socket.closed).ok_or(Errno(libc::EBADF))
    }

    pub(super) fn open_mut(&mut self, id: SocketId) -> Answer<&mut Socket> {
        self.get_mut(id).filter(|socket| !socket.closed).ok_or(Errno(libc::EBADF))
    }

    pub(super) fn end(&self, id: SocketId) -> Option<&End> {
        self.get(id)?.end()
    }

    pub(super) fn end_mut(&mut self, id: SocketId) -> Option<&mut End> {
        self.get_mut(id)?.end_mut()
    }

    /// In the order of their places, which is the same in each run.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketId, &Socket)> {
        let id = |index: usize, socket: &Socket| SocketId { serial: socket.serial, index: index as u32 };
        self.entries.iter().map(move |(index, socket)| (id(index, socket), socket))
    }
}

impl super::Network {
    /// What a socket is; one that is not there any more is taken for a stream.
    pub(crate) fn kind(&self, id: SocketId) -> Kind {
        self.sockets.open(id).map_or(Kind::Stream, |socket| socket.kind)
    }
}
