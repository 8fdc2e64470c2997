//! Datagrams: each arrives whole, or not at all, or twice, before or after others.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::event::Event;
use super::listener::shared;
use super::socket::State;
use super::wire::Passage;
use super::{Kind, Network, Received, SocketId};
use crate::sim::{Answer, Errno, HostId};

/// What a datagram socket has received.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) peer: Option<SocketAddr>,
    received: VecDeque<(SocketAddr, Box<[u8]>)>,
    used: usize,
}

pub(super) struct Packet {
    sender: SocketId,
    from_host: HostId,
    pub(super) to_host: HostId,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Box<[u8]>,
}

/// The largest that fits into a packet of IPv4.
const LARGEST: usize = 65507;

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
}

/// One without bytes takes room, too.
fn room_of(bytes: &[u8]) -> usize {
    bytes.len().max(1)
}

impl Network {
    pub(super) fn connect_datagram(&mut self, id: SocketId, to: SocketAddr) -> Answer<bool> {
        let host = self.sockets.open(id)?.host;
        let route = self.route(host, to)?;
        self.bind_to_any_port(id)?;
        let socket = self.sockets.open_mut(id)?;
        if let Some(local) = socket.local.as_mut().filter(|local| local.ip().is_unspecified()) {
            local.set_ip(route.from_ip);
        }
        if let State::Datagram(mailbox) = &mut socket.state {
            mailbox.peer = Some(route.to);
        }
        self.note(id);
        Ok(true)
    }

    pub(super) fn send_datagram(&mut self, id: SocketId, bytes: &[u8], to: Option<SocketAddr>) -> Answer<usize> {
        self.bind_to_any_port(id)?;
        let socket = self.sockets.open_mut(id)?;
        let State::Datagram(mailbox) = &socket.state else {
            return Err(Errno(libc::EINVAL));
        };
        if bytes.len() > LARGEST {
            return Err(Errno(libc::EMSGSIZE));
        }
        let to = to.map_or(mailbox.peer.ok_or(Errno(libc::EDESTADDRREQ)), |to| socket.named(to))?;
        if let Some(error) = socket.error.take() {
            self.note(id);
            return Err(error);
        }
        if socket.write_shut {
            return Err(Errno(libc::EPIPE));
        }
        if to.port() == 0 {
            return Err(Errno(libc::EINVAL));
        }
        if to.ip() == IpAddr::from([255; 4]) && !socket.options.broadcast {
            return Err(Errno(libc::EACCES));
        }
        let host = socket.host;
        let route = self.route(host, to)?;
        let local = self.sockets.open(id)?.local.ok_or(Errno(libc::EINVAL))?;
        let from_ip = if local.ip().is_unspecified() { route.from_ip } else { local.ip() };
        let from = SocketAddr::new(from_ip, local.port());
        let packet =
            || Packet { sender: id, from_host: host, to_host: route.host, from, to: route.to, bytes: bytes.into() };
        let (first, double) = self.wires.datagram(host, route.host, bytes.len(), self.now_ns);
        for passage in [Some(first), double].into_iter().flatten() {
            if let Passage::Arrives { at_ns } = passage {
                self.schedule(at_ns, Event::Datagram(Box::new(packet())));
            }
        }
        Ok(bytes.len())
    }

    pub(super) fn datagram_arrives(&mut self, packet: Packet) {
        let Packet { from_host, to_host, .. } = packet;
        if self.wires.is_cut(from_host, to_host) || !self.is_up(to_host) {
            return;
        }
        let Some(to) = self.recipient(&packet) else {
            self.tell_that_nobody_took_it(&packet);
            return;
        };
        let Some(socket) = self.sockets.get_mut(to) else {
            return;
        };
        let State::Datagram(mailbox) = &mut socket.state else {
            return;
        };
        let used = mailbox.used + room_of(&packet.bytes);
        if used <= socket.options.receive_buffer {
            mailbox.used = used;
            mailbox.received.push_back((packet.from, packet.bytes));
            self.note(to);
        }
    }

    /// Who gets it: one that is connected to the sender rather than one bound to that very address, and that rather
    /// than one bound to all. Of those who share an address, with `SO_REUSEPORT` the port of the sender decides, else
    /// the last gets it.
    fn recipient(&self, packet: &Packet) -> Option<SocketId> {
        let at_port = self.hosts.get(&packet.to_host)?.at_port(Kind::Datagram, packet.to.port());
        let rank = |id: &SocketId| {
            let socket = self.sockets.get(*id).filter(|socket| socket.covers(packet.to.ip()))?;
            match &socket.state {
                State::Datagram(Mailbox { peer: Some(peer), .. }) => (*peer == packet.from).then_some(2),
                State::Datagram(_) => Some(u8::from(socket.local == Some(packet.to))),
                State::Idle | State::Listening(_) | State::Stream(_) | State::Letters(_) => None,
            }
        };
        let best = at_port.iter().filter_map(rank).max()?;
        let sharing: Vec<_> = at_port.iter().copied().filter(|id| rank(id) == Some(best)).collect();
        let last = sharing.last().copied()?;
        if self.sockets.get(last)?.options.reuse_port { shared(&sharing, packet.from) } else { Some(last) }
    }

    fn tell_that_nobody_took_it(&mut self, packet: &Packet) {
        let passage = self.wires.segment(packet.to_host, packet.from_host, 0, self.now_ns);
        if let Passage::Arrives { at_ns } = passage {
            self.schedule(at_ns, Event::Unreachable(packet.sender));
        }
    }

    /// Only who is connected is told, and once.
    pub(super) fn unreachable_arrives(&mut self, id: SocketId) {
        if let Ok(socket) = self.sockets.open_mut(id) {
            if matches!(socket.state, State::Datagram(Mailbox { peer: Some(_), .. })) {
                socket.error = Some(Errno(libc::ECONNREFUSED));
                self.note(id);
            }
        }
    }

    pub(super) fn receive_datagram(&mut self, id: SocketId, room: &mut [u8], peek: bool) -> Answer<Option<Received>> {
        let socket = self.sockets.open_mut(id)?;
        if let Some(error) = socket.error.take() {
            self.note(id);
            return Err(error);
        }
        let read_shut = socket.read_shut;
        let State::Datagram(mailbox) = &mut socket.state else {
            return Err(Errno(libc::EINVAL));
        };
        let Some((from, bytes)) = mailbox.received.front() else {
            return Ok(read_shut.then_some(Received { copied: 0, length: 0, from: None }));
        };
        let (from, length, copied) = (*from, bytes.len(), bytes.len().min(room.len()));
        room[..copied].copy_from_slice(&bytes[..copied]);
        if !peek {
            mailbox.used -= room_of(bytes);
            mailbox.received.pop_front();
        }
        let from = Some(socket.shown(from).into());
        if !peek {
            self.note(id);
        }
        Ok(Some(Received { copied, length, from }))
    }
}
