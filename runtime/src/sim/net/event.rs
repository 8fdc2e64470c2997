//! Events: what happens at a time, and who is told that something has changed.

use super::datagram::Packet;
use super::{Network, SocketId};

/// When an event happens, and which of those of that time it is.
pub(super) type Key = (u64, u64);

pub(super) enum Event {
    /// The segment at the head of what this end has in flight arrives, or is sent again.
    Segment(SocketId),
    /// A reset arrives, if it is still about this connection.
    Reset {
        to: SocketId,
        connection: u64,
    },
    Datagram(Box<Packet>),
    /// The news arrives that nobody took a datagram.
    Unreachable(SocketId),
}

impl Network {
    /// When something happens next.
    pub(crate) fn next_event_ns(&self) -> Option<u64> {
        self.events.first_key_value().map(|(key, _)| key.0)
    }

    /// Makes all happen that is due by then.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= now_ns) {
            let (key, event) = next.remove_entry();
            self.now_ns = self.now_ns.max(key.0);
            self.happen(key, event);
            self.settle();
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Adds the sockets whose readiness may have changed since, by events and by calls, each once.
    ///
    /// Connections that wait to be accepted are among them.
    pub(crate) fn take_changed(&mut self, into: &mut Vec<SocketId>) {
        for id in self.changed.drain(..) {
            if let Ok(socket) = self.sockets.open_mut(id) {
                socket.noted = false;
                into.push(id);
            }
        }
    }

    pub(super) fn note(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id).filter(|socket| !socket.noted && !socket.closed) {
            socket.noted = true;
            self.changed.push(id);
        }
    }

    /// A call at that time sees what has happened by then.
    pub(super) fn catch_up(&mut self, now_ns: u64) {
        if now_ns > self.now_ns {
            self.advance(now_ns);
        }
    }

    pub(super) fn schedule(&mut self, at_ns: u64, event: Event) -> Key {
        let key = (at_ns, self.sequence);
        self.sequence += 1;
        if at_ns <= self.now_ns {
            self.immediate.push_back((key, event));
        } else {
            self.events.insert(key, event);
        }
        key
    }

    /// Makes happen what needs no time.
    pub(super) fn settle(&mut self) {
        while let Some((key, event)) = self.immediate.pop_front() {
            self.happen(key, event);
        }
    }

    fn happen(&mut self, key: Key, event: Event) {
        match event {
            Event::Segment(id) => self.segment_due(id, key),
            Event::Reset { to, connection } => self.reset_arrives(to, connection),
            Event::Datagram(packet) => self.datagram_arrives(*packet),
            Event::Unreachable(id) => self.unreachable_arrives(id),
        }
    }
}
