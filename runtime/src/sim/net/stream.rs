//! Streams: one end of a connection, and what its owner sends and receives.
//!
//! Invariant: bytes lie at their sender until the other end has taken them, in flight first, then those that wait; so
//! none is lost, doubled or overtaken, whatever becomes of the segments.
//!
//! ```text
//!   SynSent ---------> Established -----> Closed      by resets, time-outs, and when both ends have said that they
//!      | refused            ^     \                   are done; what was received may still be read
//!      v                    |      v crash, close that resets
//!   Failed     SynReceived -+     Gone                what was in flight may still arrive
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::event::Key;
use super::segment::Segment;
use super::{Network, Received, SocketId, State};
use crate::sim::{Answer, Errno, HostId};

pub(super) struct End {
    /// Both ends know the connection by this number.
    pub(super) connection: u64,
    pub(super) phase: Phase,
    pub(super) peer: Option<SocketId>,
    pub(super) peer_host: HostId,
    pub(super) remote: SocketAddr,
    pub(super) received: VecDeque<u8>,
    /// The other end is done sending, and all of it has been received.
    pub(super) received_all: bool,
    /// Where messages end, those in flight included, if the socket keeps them apart.
    pub(super) messages: Option<VecDeque<usize>>,
    /// It is of a pair, whose ends know of each other without a network.
    pub(super) of_pair: bool,
    pub(super) out: Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    SynSent,
    SynReceived {
        listener: SocketId,
    },
    Established,
    Closed,
    /// It could not be connected, and its owner does not know yet.
    Failed,
    /// Its owner is, by a crash or without a goodbye.
    Gone,
}

/// What goes to the other end.
#[derive(Default)]
pub(super) struct Out {
    pub(super) bytes: VecDeque<u8>,
    pub(super) flight: VecDeque<Segment>,
    /// Bytes of the segments in flight: the first of `bytes`.
    pub(super) in_flight: usize,
    pub(super) fin: Fin,
    /// How often the segment at the head has been sent again, and since when it is there.
    pub(super) tries: u32,
    pub(super) head_since_ns: u64,
    pub(super) armed: Option<Key>,
}

/// How far the news is that this end is done sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fin {
    #[default]
    Unwanted,
    Waits,
    InFlight,
    Arrived,
}

impl End {
    pub(super) fn new(connection: u64, phase: Phase, peer_host: HostId, remote: SocketAddr) -> Self {
        Self {
            connection,
            phase,
            peer: None,
            peer_host,
            remote,
            received: VecDeque::new(),
            received_all: false,
            messages: None,
            of_pair: false,
            out: Out::default(),
        }
    }

    pub(super) fn is_established(&self) -> bool {
        self.phase == Phase::Established
    }

    /// Nothing comes or goes any more.
    pub(super) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Closed | Phase::Failed | Phase::Gone => true,
            Phase::SynSent | Phase::SynReceived { .. } | Phase::Established => false,
        }
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.is_established().then_some(self.remote)
    }
}

impl Network {
    pub(super) fn send_stream(&mut self, id: SocketId, bytes: &[u8]) -> Answer<Option<usize>> {
        let socket = self.sockets.open_mut(id)?;
        if let Some(error) = socket.error.take() {
            self.note(id);
            return Err(error);
        }
        let State::Stream(end) = &mut socket.state else {
            return Err(Errno(libc::EPIPE));
        };
        if socket.write_shut || end.is_over() {
            return Err(Errno(libc::EPIPE));
        }
        if !end.is_established() {
            return Ok(None);
        }
        if end.of_pair && self.receiver(id).is_none() {
            return Err(Errno(libc::EPIPE));
        }
        let room = self.room_to_send(id, bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Ok(None);
        }
        let taken = &bytes[..bytes.len().min(room)];
        if let Some(end) = self.sockets.end_mut(id) {
            end.out.bytes.extend(taken);
        }
        self.end_message(id, taken.len());
        self.fill_window(id);
        Ok(Some(taken.len()))
    }

    pub(super) fn receive_stream(&mut self, id: SocketId, room: &mut [u8], peek: bool) -> Answer<Option<Received>> {
        let socket = self.sockets.open_mut(id)?;
        let end = match &mut socket.state {
            State::Stream(end) => end,
            State::Idle if socket.read_shut => return Ok(Some(Received::bytes(0))),
            State::Idle | State::Listening(_) | State::Datagram(_) | State::Letters(_) => {
                return Err(Errno(libc::ENOTCONN));
            }
        };
        // What has come of a message that is under way does not count yet.
        let message = end.messages.as_ref().map(|messages| messages.front().copied().unwrap_or(usize::MAX));
        if !end.received.is_empty() && message.is_none_or(|message| end.received.len() >= message) {
            let most = room.len().min(message.unwrap_or(usize::MAX));
            let copied = copy(&mut end.received, &mut room[..most], peek);
            if let Some(message) = message.filter(|_| !peek) {
                end.received.drain(..message - copied);
                end.messages.as_mut().and_then(VecDeque::pop_front);
            }
            if !peek && copied > 0 {
                self.note(id);
                self.fill_window_of_peer(id);
            }
            return Ok(Some(Received { length: message.unwrap_or(copied), ..Received::bytes(copied) }));
        }
        let over = end.is_over() || socket.read_shut;
        if end.received_all {
            return Ok(Some(Received::bytes(0)));
        }
        if let Some(error) = socket.error.take() {
            self.note(id);
            return Err(error);
        }
        Ok(over.then_some(Received::bytes(0)))
    }
}

impl Received {
    fn bytes(copied: usize) -> Self {
        Self { copied, length: copied, from: None }
    }
}

fn copy(received: &mut VecDeque<u8>, room: &mut [u8], peek: bool) -> usize {
    let (first, second) = received.as_slices();
    let in_first = first.len().min(room.len());
    let in_second = second.len().min(room.len() - in_first);
    room[..in_first].copy_from_slice(&first[..in_first]);
    room[in_first..in_first + in_second].copy_from_slice(&second[..in_second]);
    let copied = in_first + in_second;
    if !peek {
        received.drain(..copied);
    }
    copied
}
