//! The simulated network: sockets of streams and datagrams, on hosts with links between them.
//!
//! Plain data, driven from outside. A call does at once what needs no time; what travels becomes an event, and
//! [`advance`](Network::advance) makes all happen that is due, in order of time, and of creation where that is equal.
//! What travels within a host arrives before the call returns, as on Linux' loopback.
//!
//! ```text
//! send -> bytes wait -> a segment is in flight -> arrives -> taken by the other end: room for more
//!              ^ window     ^        | lost, cut, down: again after 200 ms, 400 ms, .. 120 s: ETIMEDOUT
//!                           +--------+
//! ```
//!
//! Of each direction of a stream only the segment at its head has an event: the others arrive after it.
//!
//! Simpler than TCP: an acknowledgement takes no time and is never lost, there is no congestion control, no TIME_WAIT
//! (a port is free once its socket is closed), no packet headers in the bandwidth, and what a host that crashed had
//! in flight arrives at most once.

mod address;
mod close;
mod datagram;
mod event;
mod fault;
mod handshake;
mod link;
mod listener;
mod option;
mod pair;
mod ready;
mod segment;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod unix;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

pub use link::Link;
pub(crate) use socket::{Kind, SocketId};
pub(crate) use unix::Name;

use self::address::Host;
use self::event::{Event, Key};
use self::socket::{Socket, Sockets, State};
use self::unix::Names;
use self::wire::Wires;
use super::{Answer, HostId};
use crate::sys::random::Random;

pub(crate) struct Network {
    now_ns: u64,
    sequence: u64,
    hosts: BTreeMap<HostId, Host>,
    addresses: BTreeMap<IpAddr, HostId>,
    names: Names,
    wires: Wires,
    sockets: Sockets,
    connections: u64,
    events: BTreeMap<Key, Event>,
    /// What happens before the call that made it returns.
    immediate: VecDeque<(Key, Event)>,
    changed: Vec<SocketId>,
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// How many bytes lie in the room given; of a stream, none is its end.
    pub(crate) copied: usize,
    /// How many the datagram had.
    pub(crate) length: usize,
    /// Who sent the datagram.
    pub(crate) from: Option<Address>,
}

/// Who sent something, or is somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Ip(SocketAddr),
    /// A path, an abstract name that begins with a zero, or nothing for none.
    Unix(Vec<u8>),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

impl Network {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            now_ns: 0,
            sequence: 0,
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            names: Names::new(),
            wires: Wires::new(random),
            sockets: Sockets::default(),
            connections: 0,
            events: BTreeMap::new(),
            immediate: VecDeque::new(),
            changed: Vec::new(),
        }
    }

    /// Without anything drawn: each packet takes the shortest latency, none is lost, and streams arrive as sent.
    pub(crate) fn set_in_order(&mut self, on: bool) {
        self.wires.set_in_order(on);
    }

    pub(crate) fn socket(&mut self, host: HostId, kind: Kind, ipv6: bool) -> SocketId {
        self.sockets.insert(Socket::fresh(host, kind, ipv6))
    }

    /// Sends as many bytes as there is room for, or one datagram. None: there is no room.
    pub(crate) fn send(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: Option<SocketAddr>,
        now_ns: u64,
    ) -> Answer<Option<usize>> {
        self.catch_up(now_ns);
        let answer = match self.sockets.open(id)?.kind {
            Kind::Stream | Kind::UnixStream | Kind::UnixMessages => self.send_stream(id, bytes),
            Kind::Datagram => self.send_datagram(id, bytes, to).map(Some),
            Kind::UnixDatagram => self.send_letter(id, bytes, None),
        };
        self.settle();
        answer
    }

    /// Receives what there is, or one datagram; with `peek` it stays there. None: there is nothing.
    pub(crate) fn receive(&mut self, id: SocketId, room: &mut [u8], peek: bool) -> Answer<Option<Received>> {
        let answer = match self.sockets.open(id)?.kind {
            Kind::Stream | Kind::UnixStream | Kind::UnixMessages => self.receive_stream(id, room, peek),
            Kind::Datagram => self.receive_datagram(id, room, peek),
            Kind::UnixDatagram => self.receive_letter(id, room, peek),
        };
        self.settle();
        answer
    }

    /// Connections that are established between two hosts.
    pub(crate) fn connections_between(&self, a: HostId, b: HostId) -> usize {
        let ends = self.sockets.iter().filter(|(_, socket)| {
            socket.host == a && socket.end().is_some_and(|end| end.peer_host == b && end.is_established())
        });
        ends.count()
    }
}
