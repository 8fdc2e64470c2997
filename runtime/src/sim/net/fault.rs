//! Faults: links, cuts between hosts, resets, and hosts that crash.

use super::event::Event;
use super::{Link, Network, SocketId};
use crate::sim::HostId;

impl Network {
    /// The link between all hosts that have none of their own.
    pub(crate) fn set_default_link(&mut self, link: Link) {
        self.wires.set_default_link(link);
    }

    pub(crate) fn set_link(&mut self, a: HostId, b: HostId, link: Link) {
        self.wires.set_link(a, b, link.clone());
        self.wires.set_link(b, a, link);
    }

    pub(crate) fn set_link_from(&mut self, from: HostId, to: HostId, link: Link) {
        self.wires.set_link(from, to, link);
    }

    /// Nothing passes between the two, in either direction; what is under way is lost.
    pub(crate) fn partition(&mut self, a: HostId, b: HostId) {
        self.wires.set_cut(a, b, true);
        self.wires.set_cut(b, a, true);
    }

    /// Nothing passes from the one to the other.
    pub(crate) fn cut(&mut self, from: HostId, to: HostId) {
        self.wires.set_cut(from, to, true);
    }

    pub(crate) fn heal(&mut self, a: HostId, b: HostId) {
        self.wires.set_cut(a, b, false);
        self.wires.set_cut(b, a, false);
    }

    /// Nothing passes between a host and any other that there is.
    pub(crate) fn partition_all(&mut self, host: HostId) {
        let others: Vec<_> = self.hosts.keys().copied().filter(|other| *other != host).collect();
        others.into_iter().for_each(|other| self.partition(host, other));
    }

    pub(crate) fn heal_all(&mut self) {
        self.wires.mend_all();
    }

    /// Resets every connection between the two, at both ends.
    pub(crate) fn reset(&mut self, a: HostId, b: HostId, now_ns: u64) {
        self.catch_up(now_ns);
        for id in self.ends(|host, peer_host| (host, peer_host) == (a, b) || (host, peer_host) == (b, a)) {
            self.break_off(id);
        }
        self.settle();
    }

    /// The host loses power: its sockets are gone without a word, and so is what is on the way to it.
    pub(crate) fn crash(&mut self, host: HostId) {
        let Some(crashed) = self.hosts.get_mut(&host) else {
            return;
        };
        crashed.up = false;
        crashed.forget_ports();
        self.names.retain(|(of, ..), _| *of != host);
        self.events.retain(|_, event| !matches!(event, Event::Datagram(packet) if packet.to_host == host));
        for id in self.ends(|from, to| from != host && to == host) {
            self.lose_flight(id);
        }
        let own = self.sockets.iter().filter(|(_, socket)| socket.host == host);
        let own: Vec<_> = own.map(|(id, _)| id).collect();
        own.into_iter().for_each(|id| self.abandon(id));
        self.settle();
    }

    /// The host is up again, and knows of nothing.
    pub(crate) fn start(&mut self, host: HostId) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.up = true;
        }
    }

    fn ends(&self, wanted: impl Fn(HostId, HostId) -> bool) -> Vec<SocketId> {
        let ends = self.sockets.iter().filter(|(_, socket)| {
            let end = socket.end().filter(|end| !end.is_over());
            end.is_some_and(|end| wanted(socket.host, end.peer_host))
        });
        ends.map(|(id, _)| id).collect()
    }
}
