//! Pairs: two sockets of one host that are connected from the beginning and have no address, as of `socketpair(2)`.
//!
//! Those that keep messages apart give each receive one message at most; what it has no room for is lost.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use super::socket::Socket;
use super::stream::{End, Phase};
use super::{Kind, Network, SocketId, State};
use crate::sim::HostId;

/// How much may wait on the way, as net.core.wmem_default has it.
const SEND_BUFFER: usize = 208 << 10;
/// What a message takes of the room for what is sent, however short it is.
const MESSAGE: usize = 768;

impl Network {
    /// Two sockets that are connected to each other.
    pub(crate) fn pair(&mut self, host: HostId, messages: bool) -> [SocketId; 2] {
        let kind = if messages { Kind::UnixMessages } else { Kind::UnixStream };
        let pair = [(); 2].map(|()| self.sockets.insert(Socket::fresh(host, kind, false)));
        self.join(pair, messages);
        pair
    }

    /// Connects two sockets that are neither connected nor listen.
    pub(super) fn join(&mut self, pair: [SocketId; 2], messages: bool) {
        self.connections += 1;
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        for id in pair {
            let Some(socket) = self.sockets.get_mut(id) else {
                continue;
            };
            let mut end = End::new(self.connections, Phase::Established, socket.host, nowhere);
            end.messages = messages.then(VecDeque::new);
            end.of_pair = true;
            socket.state = State::Stream(Box::new(end));
            socket.options.send_buffer = if messages { SEND_BUFFER } else { socket.options.send_buffer };
        }
        for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            if let Some(end) = self.sockets.end_mut(one) {
                end.peer = Some(other);
            }
        }
    }

    /// Whether what is sent or received may be a part: of streams, and not of messages.
    pub(crate) fn goes_in_parts(&self, id: SocketId) -> bool {
        let of_messages = self.sockets.end(id).is_some_and(|end| end.messages.is_some());
        matches!(self.kind(id), Kind::Stream | Kind::UnixStream) && !of_messages
    }

    /// How many of `bytes` may be sent now: of a message all or none.
    pub(super) fn room_to_send(&self, id: SocketId, bytes: usize) -> usize {
        let Some((socket, end)) = self.sockets.get(id).and_then(|socket| Some((socket, socket.end()?))) else {
            return 0;
        };
        let size = socket.options.send_buffer;
        if end.messages.is_none() {
            return size.saturating_sub(end.out.bytes.len());
        }
        let waiting = self.receiver(id).and_then(|peer| self.sockets.end(peer)?.messages.as_ref());
        let used: usize = waiting.into_iter().flatten().map(|message| MESSAGE.max(*message)).sum();
        if used + MESSAGE.max(bytes) > size { 0 } else { bytes }
    }

    /// A message has been sent: the other end knows where it ends.
    pub(super) fn end_message(&mut self, id: SocketId, bytes: usize) {
        let peer = self.receiver(id).and_then(|peer| self.sockets.end_mut(peer)?.messages.as_mut());
        if let Some(messages) = peer {
            messages.push_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Errno;
    use crate::sys::random::Random;
    use std::net::IpAddr;

    fn pair(messages: bool) -> (Network, [SocketId; 2]) {
        let mut network = Network::new(Random::new(1));
        network.add_host(HostId(0), IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)));
        let pair = network.pair(HostId(0), messages);
        (network, pair)
    }

    fn received(network: &mut Network, id: SocketId, most: usize) -> Option<Vec<u8>> {
        let mut room = vec![0; most];
        let received = network.receive(id, &mut room, false).expect("open")?;
        room.truncate(received.copied);
        Some(room)
    }

    #[test]
    fn messages_stay_apart_and_end_with_their_sender() {
        let (mut network, [one, other]) = pair(true);
        for message in [&b"one"[..], b"two", b"three"] {
            assert_eq!(network.send(one, message, None, 0), Ok(Some(message.len())));
        }
        network.close(one, 0);
        assert_eq!(received(&mut network, other, 100).as_deref(), Some(&b"one"[..]));
        assert_eq!(received(&mut network, other, 1).as_deref(), Some(&b"t"[..]), "the rest of it is lost");
        assert_eq!(received(&mut network, other, 100).as_deref(), Some(&b"three"[..]));
        assert_eq!(received(&mut network, other, 100).as_deref(), Some(&b""[..]));
        assert_eq!(network.send(other, b"x", None, 0), Err(Errno(libc::EPIPE)));
    }

    #[test]
    fn there_is_room_for_so_many_messages_however_short() {
        let (mut network, [one, other]) = pair(true);
        let sent = (0..1000).take_while(|_| network.send(one, b"x", None, 0) == Ok(Some(1))).count();
        assert!((50..500).contains(&sent), "{sent}");
        assert!(received(&mut network, other, 1).is_some());
        assert_eq!(network.send(one, b"x", None, 0), Ok(Some(1)), "there is room again");
        assert_eq!(network.send(one, b"x", None, 0), Ok(None));
    }

    #[test]
    fn a_stream_of_a_pair_carries_both_ways() {
        let (mut network, [one, other]) = pair(false);
        assert_eq!(network.send(one, b"there", None, 0), Ok(Some(5)));
        assert_eq!(network.send(one, b" and", None, 0), Ok(Some(4)));
        assert_eq!(network.send(other, b"back", None, 0), Ok(Some(4)));
        assert_eq!(received(&mut network, other, 100).as_deref(), Some(&b"there and"[..]));
        assert_eq!(received(&mut network, one, 100).as_deref(), Some(&b"back"[..]));
        assert_eq!(received(&mut network, one, 100), None);
    }
}
