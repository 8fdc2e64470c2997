//! Readiness: what poll(2) says of a socket.

use super::socket::{Socket, State};
use super::stream::{End, Phase};
use super::{Network, SocketId};

const IN: u32 = libc::POLLIN as u32;
const OUT: u32 = libc::POLLOUT as u32;
const ERR: u32 = libc::POLLERR as u32;
const HUP: u32 = libc::POLLHUP as u32;
const RDHUP: u32 = libc::POLLRDHUP as u32;

impl Network {
    /// `libc::POLLIN`, `POLLOUT`, `POLLERR`, `POLLHUP` and `POLLRDHUP`, or `POLLNVAL` for a stale id.
    pub(crate) fn ready(&self, id: SocketId) -> u32 {
        let Ok(socket) = self.sockets.open(id) else {
            return libc::POLLNVAL as u32;
        };
        let error = if socket.error.is_some() { ERR } else { 0 };
        error
            | match &socket.state {
                State::Idle => OUT | HUP | if socket.read_shut { IN | RDHUP } else { 0 },
                State::Listening(listener) if listener.complete.is_empty() => 0,
                State::Listening(_) => IN,
                State::Stream(end) => of_stream(socket, end),
                State::Datagram(mailbox) => of_datagram(socket, mailbox.is_empty()),
                State::Letters(letters) => {
                    let ready = of_datagram(socket, letters.is_empty());
                    if self.is_peer_crowded(id) { ready & !OUT } else { ready }
                }
            }
    }
}

fn of_stream(socket: &Socket, end: &End) -> u32 {
    match end.phase {
        Phase::SynSent | Phase::SynReceived { .. } => return 0,
        Phase::Closed | Phase::Failed | Phase::Gone => return IN | OUT | HUP | RDHUP,
        Phase::Established => {}
    }
    let read_ended = end.received_all || socket.read_shut;
    let mut ready = 0;
    if read_ended {
        ready |= IN | RDHUP;
    }
    if !end.received.is_empty() {
        ready |= IN;
    }
    // As Linux, not before a third is free: whoever waits then has room for more than a few bytes.
    if socket.write_shut || end.out.bytes.len() <= socket.options.send_buffer / 3 * 2 {
        ready |= OUT;
    }
    if read_ended && socket.write_shut {
        ready |= HUP;
    }
    ready
}

fn of_datagram(socket: &Socket, empty: bool) -> u32 {
    let mut ready = OUT;
    if socket.read_shut {
        ready |= IN | RDHUP;
    }
    if !empty {
        ready |= IN;
    }
    if socket.read_shut && socket.write_shut {
        ready |= HUP;
    }
    ready
}
