//! Sockets of the Unix family: of one host, without a network between them.
//!
//! Streams and messages are pairs that are made when they are connected (see [`pair`](super::pair)). Datagrams lie at
//! whom they were sent to, in order; when there are too many, the sender waits. Who takes what is at a path, the disk's
//! node says: so a path that was moved is still the same socket's, and one that is bound anew is another's.

use std::collections::{BTreeMap, VecDeque};

use super::socket::{Socket, State};
use super::{Kind, Network, Received, SocketId};
use crate::sim::disk::Inode;
use crate::sim::{Answer, Errno, HostId};

/// What a socket of the Unix family is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// A node of its host's disk.
    Node(Inode),
    Abstract(Vec<u8>),
}

/// Which socket has a name.
pub(super) type Names = BTreeMap<Key, SocketId>;

/// Abstract names are of one kind of socket each, paths of all.
type Key = (HostId, Name, Option<Kind>);

fn key(host: HostId, name: Name, kind: Kind) -> Key {
    let kind = match &name {
        Name::Node(_) => None,
        Name::Abstract(_) => Some(kind),
    };
    (host, name, kind)
}

/// What a datagram socket has received.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) peer: Option<SocketId>,
    received: VecDeque<Letter>,
    /// Who waits for room.
    waiting: Vec<SocketId>,
}

struct Letter {
    from: SocketId,
    /// As its sender was called then.
    name: Vec<u8>,
    bytes: Box<[u8]>,
}

/// net.unix.max_dgram_qlen, as is common: one more may lie there.
const MOST_LETTERS: usize = 10;
/// How much may be on the way from one sender, as net.core.wmem_default has it, and what a datagram takes of it at
/// least.
const SEND_BUFFER: usize = 208 << 10;
const LETTER: usize = 768;
/// What the kernel keeps of the room for itself.
const RESERVED: usize = 32;

impl Letters {
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
}

impl Network {
    /// Gives a socket its name, and how that is shown.
    pub(crate) fn bind_unix(&mut self, id: SocketId, name: Name, shown: Vec<u8>) -> Answer<()> {
        let socket = self.sockets.open_mut(id)?;
        if socket.name.is_some() {
            return Err(Errno(libc::EINVAL));
        }
        let key = key(socket.host, name, socket.kind);
        if self.names.contains_key(&key) {
            return Err(Errno(libc::EADDRINUSE));
        }
        socket.name = Some((key.1.clone(), shown));
        self.names.insert(key, id);
        Ok(())
    }

    /// Whether it has a name already.
    pub(crate) fn is_named(&self, id: SocketId) -> bool {
        self.sockets.open(id).is_ok_and(|socket| socket.name.is_some())
    }

    /// A socket is closed.
    pub(super) fn forget_name(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        if let Some((name, _)) = &socket.name {
            let key = key(socket.host, name.clone(), socket.kind);
            if self.names.get(&key) == Some(&id) {
                self.names.remove(&key);
            }
        }
        let waiting = match &socket.state {
            State::Letters(letters) => letters.waiting.clone(),
            State::Listening(listener) => listener.waiting.clone(),
            State::Idle | State::Stream(_) | State::Datagram(_) => Vec::new(),
        };
        waiting.into_iter().for_each(|waiting| self.note(waiting));
    }

    fn named(&self, host: HostId, name: &Name, kind: Kind) -> Answer<SocketId> {
        self.names.get(&key(host, name.clone(), kind)).copied().ok_or(Errno(libc::ECONNREFUSED))
    }

    /// Connects to whoever has that name. False: the listener has no room; it will be noted when it has.
    pub(crate) fn connect_unix(&mut self, id: SocketId, name: &Name) -> Answer<bool> {
        let socket = self.sockets.open(id)?;
        let (host, kind) = (socket.host, socket.kind);
        let there = self.named(host, name, kind)?;
        if self.sockets.open(there)?.kind != kind {
            return Err(Errno(libc::EPROTOTYPE));
        }
        match &mut self.sockets.open_mut(id)?.state {
            State::Letters(letters) => {
                letters.peer = Some(there);
                self.note(id);
                return Ok(true);
            }
            State::Idle => {}
            State::Stream(_) => return Err(Errno(libc::EISCONN)),
            State::Listening(_) => return Err(Errno(libc::EINVAL)),
            State::Datagram(_) => return Err(Errno(libc::EAFNOSUPPORT)),
        }
        let shown = self.shown_name(there);
        let Some(listener) = self.listener_mut(there) else {
            return Err(Errno(libc::ECONNREFUSED));
        };
        if !listener.has_room() {
            if !listener.waiting.contains(&id) {
                listener.waiting.push(id);
            }
            return Ok(false);
        }
        let child = self.sockets.insert(Socket::fresh(host, kind, false));
        self.join([id, child], kind == Kind::UnixMessages);
        if let Some(child) = self.sockets.get_mut(child) {
            child.shown = shown;
        }
        if let Some(listener) = self.listener_mut(there) {
            listener.complete.push_back(child);
        }
        self.note(there);
        self.note(id);
        Ok(true)
    }

    /// What a socket is called; nothing, if it has no name.
    pub(crate) fn shown_name(&self, id: SocketId) -> Vec<u8> {
        let socket = self.sockets.get(id);
        let name =
            |socket: &Socket| socket.name.as_ref().map_or_else(|| socket.shown.clone(), |(_, shown)| shown.clone());
        socket.map_or_else(Vec::new, name)
    }

    /// What the other side of a socket is called.
    pub(crate) fn peer_name(&self, id: SocketId) -> Answer<Vec<u8>> {
        let peer = match &self.sockets.open(id)?.state {
            State::Stream(end) => end.peer,
            State::Letters(letters) => letters.peer,
            State::Idle | State::Listening(_) | State::Datagram(_) => None,
        };
        peer.map(|peer| self.shown_name(peer)).ok_or(Errno(libc::ENOTCONN))
    }

    /// Two datagram sockets that are connected to each other.
    pub(crate) fn pair_of_letters(&mut self, host: HostId) -> [SocketId; 2] {
        let pair = [(); 2].map(|()| self.sockets.insert(Socket::fresh(host, Kind::UnixDatagram, false)));
        for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            if let Some(State::Letters(letters)) = self.sockets.get_mut(one).map(|socket| &mut socket.state) {
                letters.peer = Some(other);
            }
        }
        pair
    }

    /// Sends a datagram, to the other side if to nobody else. None: there are too many.
    pub(crate) fn send_letter(&mut self, id: SocketId, bytes: &[u8], to: Option<&Name>) -> Answer<Option<usize>> {
        let socket = self.sockets.open_mut(id)?;
        let host = socket.host;
        let State::Letters(letters) = &socket.state else {
            return Err(Errno(libc::EOPNOTSUPP));
        };
        let peer = letters.peer;
        if bytes.len() + RESERVED > SEND_BUFFER {
            return Err(Errno(libc::EMSGSIZE));
        }
        if socket.write_shut {
            return Err(Errno(libc::EPIPE));
        }
        let there = match to {
            Some(name) => self.named(host, name, Kind::UnixDatagram)?,
            None => peer.ok_or(Errno(libc::ENOTCONN))?,
        };
        let name = self.shown_name(id);
        let Ok(socket) = self.sockets.open_mut(there) else {
            // The other side was closed: nobody is connected any more.
            if let Some(State::Letters(letters)) = self.sockets.get_mut(id).map(|socket| &mut socket.state) {
                letters.peer = None;
            }
            return Err(Errno(libc::ECONNREFUSED));
        };
        let read_shut = socket.read_shut;
        let State::Letters(letters) = &mut socket.state else {
            return Err(Errno(libc::EPROTOTYPE));
        };
        if letters.peer.is_some_and(|peer| peer != id) {
            return Err(Errno(libc::EPERM));
        }
        if read_shut {
            return Err(Errno(libc::EPIPE));
        }
        let own = letters.received.iter().filter(|letter| letter.from == id);
        let used: usize = own.map(|letter| letter.bytes.len().max(LETTER)).sum();
        let crowded = letters.peer != Some(id) && letters.received.len() > MOST_LETTERS;
        if crowded || used + bytes.len().max(LETTER) > SEND_BUFFER {
            if !letters.waiting.contains(&id) {
                letters.waiting.push(id);
            }
            return Ok(None);
        }
        letters.received.push_back(Letter { from: id, name, bytes: bytes.into() });
        self.note(there);
        Ok(Some(bytes.len()))
    }

    pub(super) fn receive_letter(&mut self, id: SocketId, room: &mut [u8], peek: bool) -> Answer<Option<Received>> {
        let socket = self.sockets.open_mut(id)?;
        let read_shut = socket.read_shut;
        let State::Letters(letters) = &mut socket.state else {
            return Err(Errno(libc::EINVAL));
        };
        let Some(letter) = letters.received.front() else {
            return Ok(read_shut.then_some(Received { copied: 0, length: 0, from: None }));
        };
        let (length, copied) = (letter.bytes.len(), letter.bytes.len().min(room.len()));
        room[..copied].copy_from_slice(&letter.bytes[..copied]);
        let from = Some(super::Address::Unix(letter.name.clone()));
        if !peek {
            letters.received.pop_front();
            let mut waiting = std::mem::take(&mut letters.waiting);
            let connected = self.sockets.iter().filter(|(_, socket)| match &socket.state {
                State::Letters(letters) => letters.peer == Some(id),
                State::Idle | State::Listening(_) | State::Stream(_) | State::Datagram(_) => false,
            });
            waiting.extend(connected.map(|(connected, _)| connected));
            self.note(id);
            waiting.into_iter().for_each(|waiting| self.note(waiting));
        }
        Ok(Some(Received { copied, length, from }))
    }

    /// Whether the other side of a datagram socket has no room for more.
    pub(super) fn is_peer_crowded(&self, id: SocketId) -> bool {
        let letters = |id| match &self.sockets.get(id)?.state {
            State::Letters(letters) => Some(letters),
            State::Idle | State::Listening(_) | State::Stream(_) | State::Datagram(_) => None,
        };
        let peer = letters(id).and_then(|own| letters(own.peer?));
        peer.is_some_and(|peer| peer.peer != Some(id) && peer.received.len() > MOST_LETTERS)
    }

    /// Whether it is of the Unix family.
    pub(crate) fn is_unix(&self, id: SocketId) -> bool {
        match self.kind(id) {
            Kind::UnixStream | Kind::UnixMessages | Kind::UnixDatagram => true,
            Kind::Stream | Kind::Datagram => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::Random;

    const HOST: HostId = HostId(0);

    fn network() -> Network {
        let mut network = Network::new(Random::new(1));
        network.add_host(HOST, std::net::Ipv4Addr::new(10, 0, 0, 1).into());
        network
    }

    fn name(text: &str) -> Name {
        Name::Abstract(text.into())
    }

    fn named(network: &mut Network, kind: Kind, text: &str) -> SocketId {
        let id = network.socket(HOST, kind, false);
        network.bind_unix(id, name(text), text.into()).expect("free");
        id
    }

    fn received(network: &mut Network, id: SocketId) -> Option<(Vec<u8>, Option<super::super::Address>)> {
        let mut room = [0; 100];
        let received = network.receive(id, &mut room, false).expect("open")?;
        Some((room[..received.copied].to_vec(), received.from))
    }

    #[test]
    fn a_name_is_one_sockets_as_long_as_it_is_open() {
        let mut network = network();
        let first = named(&mut network, Kind::UnixDatagram, "here");
        let other = network.socket(HOST, Kind::UnixDatagram, false);
        assert_eq!(network.bind_unix(other, name("here"), Vec::new()), Err(Errno(libc::EADDRINUSE)));
        assert_eq!(network.send_letter(other, b"x", Some(&name("there"))), Err(Errno(libc::ECONNREFUSED)));
        network.close(first, 0);
        assert_eq!(network.send_letter(other, b"x", Some(&name("here"))), Err(Errno(libc::ECONNREFUSED)));
        assert_eq!(network.bind_unix(other, name("here"), Vec::new()), Ok(()));
    }

    #[test]
    fn who_sends_too_much_waits_until_there_is_room() {
        let mut network = network();
        let (there, here) =
            (named(&mut network, Kind::UnixDatagram, "there"), named(&mut network, Kind::UnixDatagram, "here"));
        let to = name("there");
        let sent = (0..100).take_while(|_| network.send_letter(here, b"x", Some(&to)) == Ok(Some(1))).count();
        assert_eq!(sent, MOST_LETTERS + 1);
        let mut changed = Vec::new();
        network.take_changed(&mut changed);
        let from = Some(super::super::Address::Unix(b"here".to_vec()));
        assert_eq!(received(&mut network, there), Some((b"x".to_vec(), from)));
        changed.clear();
        network.take_changed(&mut changed);
        assert!(changed.contains(&here), "who waits is told");
        assert_eq!(network.send_letter(here, b"x", Some(&to)), Ok(Some(1)));
    }

    #[test]
    fn a_listener_takes_as_many_as_it_has_room_for_and_the_next_waits() {
        let mut network = network();
        let listener = named(&mut network, Kind::UnixStream, "listener");
        network.listen(listener, 0).expect("to listen");
        let clients = [(); 2].map(|()| network.socket(HOST, Kind::UnixStream, false));
        assert_eq!(network.connect_unix(clients[0], &name("listener")), Ok(true));
        assert_eq!(network.connect_unix(clients[1], &name("listener")), Ok(false));
        let server = network.accept(listener).expect("listening").expect("a connection");
        assert_eq!(network.connect_unix(clients[1], &name("listener")), Ok(true));
        assert_eq!(network.send(clients[0], b"hello", None, 0), Ok(Some(5)));
        assert_eq!(received(&mut network, server).map(|received| received.0).as_deref(), Some(&b"hello"[..]));
        assert_eq!(network.peer_name(clients[0]), Ok(b"listener".to_vec()));
        let other = network.socket(HOST, Kind::UnixMessages, false);
        assert_eq!(network.connect_unix(other, &name("listener")), Err(Errno(libc::ECONNREFUSED)));
    }
}
