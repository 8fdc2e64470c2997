//! Hosts, their addresses, and who holds which port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::socket::{Socket, State};
use super::stream::End;
use super::{Kind, Network, SocketId};
use crate::sim::{Answer, Errno, HostId};

/// Ports that are given to those who ask for any.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 49152..=65535;

pub(super) struct Host {
    addresses: Vec<IpAddr>,
    pub(super) up: bool,
    /// Never an empty list.
    ports: BTreeMap<(Kind, u16), Vec<SocketId>>,
    next_port: u16,
}

impl Host {
    fn new() -> Self {
        Self { addresses: Vec::new(), up: true, ports: BTreeMap::new(), next_port: *EPHEMERAL.start() }
    }

    fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.addresses.contains(&ip)
    }

    /// Which of its addresses what it sends to `ip` comes from.
    fn source_for(&self, ip: IpAddr) -> Option<IpAddr> {
        if self.has(ip) {
            return Some(ip);
        }
        self.addresses.iter().copied().find(|own| own.is_ipv4() == ip.is_ipv4())
    }

    pub(super) fn at_port(&self, kind: Kind, port: u16) -> &[SocketId] {
        self.ports.get(&(kind, port)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn forget_ports(&mut self) {
        self.ports.clear();
    }

    fn free_port(&mut self, kind: Kind) -> Option<u16> {
        for _ in EPHEMERAL {
            let port = self.next_port;
            self.next_port = if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            if self.at_port(kind, port).is_empty() {
                return Some(port);
            }
        }
        None
    }
}

impl Network {
    /// A host, or another address of one.
    pub(crate) fn add_host(&mut self, host: HostId, address: IpAddr) {
        let address = address.to_canonical();
        self.hosts.entry(host).or_insert_with(Host::new).addresses.push(address);
        self.addresses.insert(address, host);
    }

    /// Who is meant by an address on a host.
    pub(crate) fn host_of(&self, address: IpAddr, from: HostId) -> Option<HostId> {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return Some(from);
        }
        self.addresses.get(&address).copied()
    }

    pub(crate) fn bind(&mut self, id: SocketId, address: SocketAddr) -> Answer<()> {
        let socket = self.sockets.open(id)?;
        let address = socket.named(address)?;
        let host = self.hosts.get_mut(&socket.host).ok_or(Errno(libc::ENETDOWN))?;
        if !address.ip().is_unspecified() && !host.has(address.ip()) {
            return Err(Errno(libc::EADDRNOTAVAIL));
        }
        // A connection that is over has given back the port that it was not bound to itself.
        let gave_back = socket.bound.is_none() && socket.end().is_some_and(End::is_over);
        if socket.local.is_some() && !gave_back {
            return Err(Errno(libc::EINVAL));
        }
        let (at, kind) = (socket.host, socket.kind);
        if gave_back {
            self.release_port(id);
        }
        if address.port() == 0 {
            let host = self.hosts.get_mut(&at).ok_or(Errno(libc::ENETDOWN))?;
            let port = host.free_port(kind).ok_or(Errno(libc::EADDRINUSE))?;
            return self.take_port(id, SocketAddr::new(address.ip(), port));
        }
        self.take_port(id, address)?;
        self.sockets.open_mut(id)?.bound = Some(address);
        Ok(())
    }

    /// Binds a socket that was not bound to any port.
    pub(super) fn bind_to_any_port(&mut self, id: SocketId) -> Answer<()> {
        let socket = self.sockets.open(id)?;
        if socket.local.is_some() {
            return Ok(());
        }
        let any = socket.unspecified();
        let host = self.hosts.get_mut(&socket.host).ok_or(Errno(libc::ENETDOWN))?;
        let port = host.free_port(socket.kind).ok_or(Errno(libc::EADDRNOTAVAIL))?;
        self.take_port(id, SocketAddr::new(any, port))
    }

    fn take_port(&mut self, id: SocketId, address: SocketAddr) -> Answer<()> {
        if self.others_at(id, address).any(|other| self.conflict(id, address, other)) {
            return Err(Errno(libc::EADDRINUSE));
        }
        let socket = self.sockets.open_mut(id)?;
        socket.local = Some(address);
        socket.holds_port = true;
        let host = self.hosts.get_mut(&socket.host).ok_or(Errno(libc::ENETDOWN))?;
        host.ports.entry((socket.kind, address.port())).or_default().push(id);
        Ok(())
    }

    /// Two may share a port if both allow it: with `SO_REUSEADDR` streams until one listens, datagrams always.
    fn conflict(&self, id: SocketId, address: SocketAddr, other: &Socket) -> bool {
        let Some(socket) = self.sockets.get(id) else {
            return false;
        };
        let listening = matches!(other.state, State::Listening(_));
        let shared = (socket.options.reuse_address && other.options.reuse_address && !listening)
            || (socket.options.reuse_port && other.options.reuse_port);
        !shared && overlap(socket, address.ip(), other)
    }

    /// Whether another socket listens where this one is about to.
    pub(super) fn listened_to_by_another(&self, id: SocketId, address: SocketAddr) -> bool {
        let listening = |other: &&Socket| matches!(other.state, State::Listening(_));
        self.others_at(id, address).filter(listening).any(|other| self.conflict(id, address, other))
    }

    fn others_at(&self, id: SocketId, address: SocketAddr) -> impl Iterator<Item = &Socket> {
        let at_port = self.sockets.get(id).and_then(|socket| {
            let host = self.hosts.get(&socket.host)?;
            Some(host.at_port(socket.kind, address.port()))
        });
        at_port
            .unwrap_or_default()
            .iter()
            .filter(move |other| **other != id)
            .filter_map(|other| self.sockets.get(*other))
    }

    pub(super) fn release_port(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.holds_port) else {
            return;
        };
        socket.holds_port = false;
        let (Some(local), Some(host)) = (socket.local, self.hosts.get_mut(&socket.host)) else {
            return;
        };
        let key = (socket.kind, local.port());
        if let Some(at_port) = host.ports.get_mut(&key) {
            at_port.retain(|other| *other != id);
            if at_port.is_empty() {
                host.ports.remove(&key);
            }
        }
    }

    /// The host that `to` leads to, the address there, and the one that this host sends from.
    pub(super) fn route(&self, host: HostId, to: SocketAddr) -> Answer<Route> {
        let unreachable = Errno(libc::ENETUNREACH);
        let to_ip = match to.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let there = self.host_of(to_ip, host).ok_or(unreachable)?;
        let from_ip = self.hosts.get(&host).and_then(|host| host.source_for(to_ip)).ok_or(unreachable)?;
        Ok(Route { host: there, to: SocketAddr::new(to_ip, to.port()), from_ip })
    }

    pub(super) fn is_up(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.up)
    }

    pub(crate) fn local_addr(&self, id: SocketId) -> Answer<SocketAddr> {
        let socket = self.sockets.open(id)?;
        Ok(socket.shown(socket.local.unwrap_or(SocketAddr::new(socket.unspecified(), 0))))
    }

    pub(crate) fn peer_addr(&self, id: SocketId) -> Answer<SocketAddr> {
        let socket = self.sockets.open(id)?;
        let peer = match &socket.state {
            State::Stream(end) => end.peer_addr(),
            State::Datagram(mailbox) => mailbox.peer,
            State::Idle | State::Listening(_) | State::Letters(_) => None,
        };
        peer.map(|peer| socket.shown(peer)).ok_or(Errno(libc::ENOTCONN))
    }
}

/// A way from a socket to an address.
pub(super) struct Route {
    pub(super) host: HostId,
    pub(super) to: SocketAddr,
    pub(super) from_ip: IpAddr,
}

/// Whether something could be meant for both.
fn overlap(socket: &Socket, ip: IpAddr, other: &Socket) -> bool {
    let Some(other_ip) = other.local.map(|local| local.ip()) else {
        return false;
    };
    match (ip.is_unspecified(), other_ip.is_unspecified()) {
        (true, true) => {
            ip.is_ipv6() == other_ip.is_ipv6()
                || (ip.is_ipv6() && !socket.options.only_ipv6)
                || (other_ip.is_ipv6() && !other.options.only_ipv6)
        }
        (true, false) => ip.is_ipv6() == other_ip.is_ipv6() || (ip.is_ipv6() && !socket.options.only_ipv6),
        (false, _) => other.covers(ip),
    }
}
