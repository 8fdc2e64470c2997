//! Connecting: a SYN to the listener, its answer, and the answer to that.
//!
//! The SYN stays at the head of what the connecting end has in flight until it is answered, so it is sent again as
//! often as it takes. The listener's end exists from the first SYN that finds room; it may be accepted when the
//! last answer has arrived.

use std::net::SocketAddr;

use super::event::Event;
use super::segment::What;
use super::socket::{Socket, State};
use super::stream::{End, Phase};
use super::wire::Passage;
use super::{Kind, Network, SocketId};
use crate::sim::{Answer, Errno};

impl Network {
    /// True: connected. False: under way, see [`connect_result`](Self::connect_result).
    pub(crate) fn connect(&mut self, id: SocketId, to: SocketAddr, now_ns: u64) -> Answer<bool> {
        self.catch_up(now_ns);
        let socket = self.sockets.open(id)?;
        let to = socket.named(to)?;
        match &socket.state {
            State::Datagram(_) => return self.connect_datagram(id, to),
            State::Letters(_) => return Err(Errno(libc::EINVAL)),
            State::Listening(_) => return Err(Errno(libc::EISCONN)),
            State::Stream(end) => match end.phase {
                Phase::SynSent => return Err(Errno(libc::EALREADY)),
                Phase::Failed => return Err(self.take_failure(id)),
                Phase::SynReceived { .. } | Phase::Established | Phase::Closed | Phase::Gone => {
                    return Err(Errno(libc::EISCONN));
                }
            },
            State::Idle => {}
        }
        self.send_syn(id, to)?;
        self.settle();
        self.connect_result(id).map_or(Ok(false), |result| result.map(|()| true))
    }

    /// How connecting has ended; none while it is under way. A failure is told once.
    pub(crate) fn connect_result(&mut self, id: SocketId) -> Option<Answer<()>> {
        let socket = match self.sockets.open(id) {
            Ok(socket) => socket,
            Err(error) => return Some(Err(error)),
        };
        match &socket.state {
            State::Datagram(mailbox) if mailbox.peer.is_some() => Some(Ok(())),
            State::Idle | State::Listening(_) | State::Datagram(_) | State::Letters(_) => {
                Some(Err(Errno(libc::ENOTCONN)))
            }
            State::Stream(end) => match end.phase {
                Phase::SynSent | Phase::SynReceived { .. } => None,
                Phase::Established => Some(Ok(())),
                Phase::Failed => Some(Err(self.take_failure(id))),
                // Both ends may have said goodbye since.
                Phase::Closed | Phase::Gone => Some(self.take_error(id).map_or(Ok(()), Err)),
            },
        }
    }

    fn send_syn(&mut self, id: SocketId, to: SocketAddr) -> Answer<()> {
        let socket = self.sockets.open(id)?;
        let route = self.route(socket.host, to)?;
        self.bind_to_any_port(id)?;
        self.connections += 1;
        let end = End::new(self.connections, Phase::SynSent, route.host, route.to);
        let socket = self.sockets.open_mut(id)?;
        if let Some(local) = socket.local.as_mut().filter(|local| local.ip().is_unspecified()) {
            local.set_ip(route.from_ip);
        }
        socket.state = State::Stream(Box::new(end));
        self.note(id);
        self.transmit(id, What::Syn);
        Ok(())
    }

    /// Makes the socket one that may be connected again.
    fn take_failure(&mut self, id: SocketId) -> Errno {
        let error = self.take_error(id).unwrap_or(Errno(libc::ECONNABORTED));
        self.disconnect(id);
        error
    }

    /// Makes of a socket that connects or listens one that does neither, and that is no longer shut.
    pub(super) fn disconnect(&mut self, id: SocketId) {
        self.disarm(id);
        if self.sockets.get(id).is_some_and(|socket| socket.bound.is_none()) {
            self.release_port(id);
        }
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.local = socket.bound;
            (socket.read_shut, socket.write_shut) = (false, false);
            socket.state = State::Idle;
        }
        self.note(id);
    }

    pub(super) fn syn_arrives(&mut self, id: SocketId) {
        if self.receiver(id).is_some() {
            // Sent again while the answer is under way.
            self.head_is_lost(id);
            return;
        }
        let Some((client, end)) = self.sockets.get(id).and_then(|socket| Some((socket, socket.end()?))) else {
            return;
        };
        let Some(from) = client.local else {
            return;
        };
        let (host, to, client_host, connection) = (end.peer_host, end.remote, client.host, end.connection);
        let Some(listener) = self.listener_for(host, to, from) else {
            self.answer_with_reset(id);
            return;
        };
        if let Some(mut child) = self.take_in(listener, to) {
            let mut end = End::new(connection, Phase::SynReceived { listener }, client_host, from);
            end.peer = Some(id);
            child.state = State::Stream(Box::new(end));
            let child = self.sockets.insert(child);
            if let Some(end) = self.sockets.end_mut(id) {
                end.peer = Some(child);
            }
            if let Some(queue) = self.listener_mut(listener) {
                queue.pending.push(child);
            }
            self.transmit(child, What::SynAck);
        }
        self.head_is_lost(id);
    }

    /// The socket of a connection to come, if the listener has room for it.
    fn take_in(&mut self, listener: SocketId, to: SocketAddr) -> Option<Socket> {
        let listener = self.sockets.get(listener)?;
        let State::Listening(queue) = &listener.state else {
            return None;
        };
        let mut child = Socket::fresh(listener.host, Kind::Stream, listener.ipv6);
        child.options = listener.options.inherited();
        child.local = Some(to);
        queue.has_room().then_some(child)
    }

    pub(super) fn syn_ack_arrives(&mut self, child: SocketId) {
        let Some(client) = self.receiver(child) else {
            self.answer_with_reset(child);
            return;
        };
        self.disarm(client);
        if let Some(end) = self.sockets.end_mut(client) {
            end.out.flight.clear();
            end.phase = Phase::Established;
        }
        self.note(client);
        self.transmit(client, What::Ack);
        self.head_is_taken(child);
    }

    pub(super) fn ack_arrives(&mut self, client: SocketId) {
        let Some(child) = self.receiver(client) else {
            self.answer_with_reset(client);
            return;
        };
        let Some(end) = self.sockets.end_mut(child) else {
            return;
        };
        let Phase::SynReceived { listener } = end.phase else {
            self.head_is_taken(client);
            return;
        };
        end.phase = Phase::Established;
        if let Some(queue) = self.listener_mut(listener) {
            queue.pending.retain(|other| *other != child);
            queue.complete.push_back(child);
        }
        self.note(listener);
        self.head_is_taken(client);
    }

    /// The host says that there is no such connection. What has asked for it is sent again until it knows.
    pub(super) fn answer_with_reset(&mut self, id: SocketId) {
        let Some((host, end)) = self.sockets.get(id).and_then(|socket| Some((socket.host, socket.end()?))) else {
            return;
        };
        let (from, connection) = (end.peer_host, end.connection);
        self.head_is_lost(id);
        if let Passage::Arrives { at_ns } = self.wires.segment(from, host, 0, self.now_ns) {
            self.schedule(at_ns, Event::Reset { to: id, connection });
        }
    }
}
