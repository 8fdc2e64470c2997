//! Segments: what carries a stream from end to end, sent again until it has arrived.
//!
//! They arrive in the order in which they were sent. One that is lost, or that meets a cut or a host that is down, is
//! sent again after a delay that doubles, until it has been at the head for too long.

use super::event::Event;
use super::socket::Socket;
use super::stream::{Fin, Phase};
use super::wire::Passage;
use super::{Network, SocketId};

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) what: What,
    sent_ns: u64,
    /// When it arrives or, if it is lost, is sent again.
    due_ns: u64,
    pub(super) lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Syn,
    SynAck,
    /// The other end's answer has arrived: now the connection may be accepted.
    Ack,
    Data(usize),
    Fin,
}

const LARGEST_SEGMENT: usize = 64 << 10;
const SECOND_NS: u64 = 1_000_000_000;

impl What {
    fn bytes(self) -> usize {
        match self {
            What::Data(bytes) => bytes,
            What::Syn | What::SynAck | What::Ack | What::Fin => 0,
        }
    }

    /// How long to wait until it is sent again.
    fn patience_ns(self, tries: u32) -> u64 {
        let first_ns = match self {
            What::Syn | What::SynAck => SECOND_NS,
            What::Ack | What::Data(_) | What::Fin => SECOND_NS / 5,
        };
        first_ns << tries.min(16)
    }

    /// After how long the connection is given up.
    fn limit_ns(self) -> u64 {
        match self {
            What::Syn | What::SynAck => 127 * SECOND_NS,
            What::Ack | What::Data(_) | What::Fin => 120 * SECOND_NS,
        }
    }
}

impl Segment {
    fn new(what: What, passage: Passage, now_ns: u64, tries: u32) -> Self {
        let (due_ns, lost) = match passage {
            Passage::Arrives { at_ns } => (at_ns, false),
            Passage::Lost => (now_ns + what.patience_ns(tries), true),
        };
        Self { what, sent_ns: now_ns, due_ns, lost }
    }

    pub(super) fn lose(&mut self, tries: u32) {
        self.lost = true;
        self.due_ns = self.sent_ns + self.what.patience_ns(tries);
    }
}

impl Network {
    pub(super) fn transmit(&mut self, id: SocketId, what: What) {
        let now_ns = self.now_ns;
        let Some(segment) = self.send_segment(id, what, 0) else {
            return;
        };
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        end.out.flight.push_back(segment);
        end.out.in_flight += what.bytes();
        if end.out.flight.len() == 1 {
            end.out.head_since_ns = now_ns;
            self.arm(id);
        }
    }

    fn send_segment(&mut self, id: SocketId, what: What, tries: u32) -> Option<Segment> {
        let socket = self.sockets.get(id)?;
        let passage = self.wires.segment(socket.host, socket.end()?.peer_host, what.bytes(), self.now_ns);
        Some(Segment::new(what, passage, self.now_ns, tries))
    }

    /// Sends as much of what waits as the other end has room for, and that there is no more if that is so.
    pub(super) fn fill_window(&mut self, id: SocketId) {
        loop {
            let Some(socket) = self.sockets.get(id) else {
                return;
            };
            let Some(end) = socket.end().filter(|end| end.is_established()) else {
                return;
            };
            let waiting = end.out.bytes.len() - end.out.in_flight;
            if waiting == 0 {
                break;
            }
            let bytes = waiting.min(self.window(id)).min(LARGEST_SEGMENT);
            if bytes == 0 {
                return;
            }
            let within_host = socket.host == end.peer_host;
            let bytes = self.wires.cut_up(bytes, within_host);
            self.transmit(id, What::Data(bytes));
        }
        if let Some(end) = self.sockets.end_mut(id).filter(|end| end.out.fin == Fin::Waits) {
            end.out.fin = Fin::InFlight;
            self.transmit(id, What::Fin);
        }
    }

    /// How much more the other end takes; one that is no more would answer with a reset.
    fn window(&self, id: SocketId) -> usize {
        let (Some(end), Some(peer)) = (self.sockets.end(id), self.receiver(id)) else {
            return usize::MAX;
        };
        let Some(peer) = self.sockets.get(peer) else {
            return usize::MAX;
        };
        let size = peer.options.receive_buffer;
        let used = peer.end().map_or(0, |end| end.received.len()) + end.out.in_flight;
        size.saturating_sub(used)
    }

    pub(super) fn fill_window_of_peer(&mut self, id: SocketId) {
        if let Some(peer) = self.receiver(id) {
            self.fill_window(peer);
        }
    }

    /// The other end, if it still takes part in this connection.
    pub(super) fn receiver(&self, id: SocketId) -> Option<SocketId> {
        let end = self.sockets.end(id)?;
        let peer = self.sockets.end(end.peer?)?;
        if peer.connection == end.connection && !peer.is_over() { end.peer } else { None }
    }

    /// The event of the segment at the head.
    fn arm(&mut self, id: SocketId) {
        let Some(head) = self.sockets.end(id).and_then(|end| end.out.flight.front()) else {
            return;
        };
        let key = self.schedule(head.due_ns.max(self.now_ns), Event::Segment(id));
        if let Some(end) = self.sockets.end_mut(id) {
            end.out.armed = Some(key);
        }
    }

    pub(super) fn disarm(&mut self, id: SocketId) {
        if let Some(key) = self.sockets.end_mut(id).and_then(|end| end.out.armed.take()) {
            self.events.remove(&key);
        }
    }

    pub(super) fn segment_due(&mut self, id: SocketId, key: super::Key) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        let Some(end) = socket.end().filter(|end| end.out.armed == Some(key)) else {
            return;
        };
        let Some(head) = end.out.flight.front().copied() else {
            return;
        };
        let (from, to) = (socket.host, end.peer_host);
        if head.lost {
            self.send_again(id);
        } else if self.wires.is_cut(from, to) || !self.is_up(to) {
            self.head_is_lost(id);
        } else {
            match head.what {
                What::Syn => self.syn_arrives(id),
                What::SynAck => self.syn_ack_arrives(id),
                What::Ack => self.ack_arrives(id),
                What::Data(bytes) => self.data_arrives(id, bytes),
                What::Fin => self.fin_arrives(id),
            }
        }
    }

    /// The segment at the head has not arrived, or not been answered.
    pub(super) fn head_is_lost(&mut self, id: SocketId) {
        self.disarm(id);
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        if end.phase == Phase::Gone {
            self.remove_stream(id);
            return;
        }
        let (tries, given_up_ns) = (end.out.tries, end.out.head_since_ns);
        if let Some(head) = end.out.flight.front_mut() {
            head.lose(tries);
            head.due_ns = head.due_ns.min(given_up_ns + head.what.limit_ns());
            self.arm(id);
        }
    }

    /// Nothing that is in flight arrives: all of it must be sent again.
    pub(super) fn lose_flight(&mut self, id: SocketId) {
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        for segment in end.out.flight.iter_mut().filter(|segment| !segment.lost) {
            segment.lose(0);
        }
        if !end.out.flight.is_empty() {
            self.head_is_lost(id);
        }
    }

    fn send_again(&mut self, id: SocketId) {
        let now_ns = self.now_ns;
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        let Some(what) = end.out.flight.front().map(|head| head.what) else {
            return;
        };
        if now_ns >= end.out.head_since_ns + what.limit_ns() {
            self.time_out(id);
            return;
        }
        end.out.tries += 1;
        let (tries, given_up_ns) = (end.out.tries, end.out.head_since_ns + what.limit_ns());
        let Some(mut segment) = self.send_segment(id, what, tries) else {
            return;
        };
        if segment.lost {
            segment.due_ns = segment.due_ns.min(given_up_ns);
        }
        if let Some(head) = self.sockets.end_mut(id).and_then(|end| end.out.flight.front_mut()) {
            *head = segment;
            self.arm(id);
        }
    }

    /// The segment at the head has been taken: the next comes to its place.
    pub(super) fn head_is_taken(&mut self, id: SocketId) {
        self.disarm(id);
        let now_ns = self.now_ns;
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        let out = &mut end.out;
        out.in_flight -= out.flight.pop_front().map_or(0, |segment| segment.what.bytes());
        (out.tries, out.head_since_ns) = (0, now_ns);
        if !out.flight.is_empty() {
            self.arm(id);
        } else if end.phase == Phase::Gone {
            self.remove_stream(id);
            return;
        }
        self.fill_window(id);
    }

    fn data_arrives(&mut self, id: SocketId, bytes: usize) {
        let Some(peer) = self.receiver(id) else {
            self.answer_with_reset(id);
            return;
        };
        if self.sockets.get(peer).is_some_and(Socket::is_done) {
            self.answer_with_reset(id);
            self.break_off(peer);
            return;
        }
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        let mut sent = std::mem::take(&mut end.out.bytes);
        if let Some(peer) = self.sockets.end_mut(peer) {
            let (first, second) = sent.as_slices();
            let in_first = bytes.min(first.len());
            peer.received.extend(&first[..in_first]);
            peer.received.extend(&second[..bytes - in_first]);
        }
        sent.drain(..bytes);
        if let Some(end) = self.sockets.end_mut(id) {
            end.out.bytes = sent;
        }
        self.note(peer);
        self.note(id);
        self.head_is_taken(id);
    }

    fn fin_arrives(&mut self, id: SocketId) {
        let peer = self.receiver(id);
        let Some(end) = self.sockets.end_mut(id) else {
            return;
        };
        if peer.is_none() && !end.received_all {
            self.answer_with_reset(id);
            return;
        }
        end.out.fin = Fin::Arrived;
        self.say_goodbye(id);
        if let Some(end) = peer.and_then(|peer| self.sockets.end_mut(peer)) {
            end.received_all = true;
        }
        if let Some(peer) = peer {
            self.say_goodbye(peer);
            self.note(peer);
        }
        self.note(id);
        self.head_is_taken(id);
        if self.sockets.get(id).is_some_and(|socket| socket.closed) {
            self.remove_stream(id);
        }
    }

    /// Both ends are done: nothing is left of the connection but what has not been read.
    fn say_goodbye(&mut self, id: SocketId) {
        let over = |end: &&mut super::stream::End| end.received_all && end.out.fin == Fin::Arrived;
        if let Some(end) = self.sockets.end_mut(id).filter(over) {
            end.phase = Phase::Closed;
        }
    }
}
