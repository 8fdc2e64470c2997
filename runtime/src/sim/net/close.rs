//! How connections end: by halves, by closing, by a reset, or because nothing gets through.

use super::event::Event;
use super::socket::State;
use super::stream::{Fin, Out, Phase};
use super::wire::Passage;
use super::{Network, SocketId};
use crate::sim::{Answer, Errno};

/// What ends a connection before its time.
#[derive(Clone, Copy)]
enum Cause {
    Reset,
    TimedOut,
}

impl Network {
    pub(crate) fn shutdown(&mut self, id: SocketId, read: bool, write: bool, now_ns: u64) -> Answer<()> {
        self.catch_up(now_ns);
        let socket = self.sockets.open_mut(id)?;
        let phase = match &mut socket.state {
            State::Listening(_) => {
                if read {
                    self.stop_listening(id);
                    self.settle();
                }
                return Ok(());
            }
            State::Stream(end) => Some(end.phase),
            State::Datagram(mailbox) => mailbox.peer.map(|_| Phase::Established),
            State::Letters(letters) => letters.peer.map(|_| Phase::Established),
            State::Idle => None,
        };
        if phase == Some(Phase::SynSent) {
            self.disconnect(id);
            return Ok(());
        }
        socket.read_shut |= read;
        socket.write_shut |= write;
        if let Some(end) = socket.end_mut().filter(|end| write && end.out.fin == Fin::Unwanted) {
            end.out.fin = Fin::Waits;
        }
        self.note(id);
        self.fill_window(id);
        self.settle();
        // One that is not connected is shut, and told that it is not connected: but not of the Unix family.
        if self.is_unix(id) || phase == Some(Phase::Established) { Ok(()) } else { Err(Errno(libc::ENOTCONN)) }
    }

    /// Closes the socket: its id is stale from now on. What was sent still goes to the other end, and that it is all;
    /// if there is something unread, or no time to linger, the connection is reset instead.
    pub(crate) fn close(&mut self, id: SocketId, now_ns: u64) {
        self.catch_up(now_ns);
        let Ok(socket) = self.sockets.open(id) else {
            return;
        };
        let hard = socket.options.linger == 0 && !self.is_unix(id);
        self.forget_name(id);
        let Ok(socket) = self.sockets.open(id) else {
            return;
        };
        match &socket.state {
            State::Idle | State::Datagram(_) | State::Letters(_) => {
                self.release_port(id);
                self.sockets.remove(id);
            }
            State::Listening(_) => {
                self.stop_listening(id);
                self.release_port(id);
                self.sockets.remove(id);
            }
            State::Stream(end) if !end.is_established() => self.remove_stream(id),
            State::Stream(end) if hard || !end.received.is_empty() => {
                self.send_reset(id);
                self.abandon(id);
            }
            State::Stream(_) => self.finish(id),
        }
        self.settle();
    }

    /// The owner has left; the socket stays until all that was sent has arrived.
    fn finish(&mut self, id: SocketId) {
        self.release_port(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.closed = true;
        let Some(end) = socket.end_mut() else {
            return;
        };
        match end.out.fin {
            Fin::Unwanted => {
                end.out.fin = Fin::Waits;
                self.fill_window(id);
            }
            Fin::Waits | Fin::InFlight => {}
            Fin::Arrived => self.remove_stream(id),
        }
    }

    /// Takes a socket out of the table.
    pub(super) fn remove_stream(&mut self, id: SocketId) {
        self.disarm(id);
        self.release_port(id);
        let peer = self.receiver(id);
        let Some(end) = self.sockets.remove(id).and_then(|socket| match socket.state {
            State::Stream(end) => Some(end),
            State::Idle | State::Listening(_) | State::Datagram(_) | State::Letters(_) => None,
        }) else {
            return;
        };
        if let Phase::SynReceived { listener } = end.phase {
            if let Some(listener) = self.listener_mut(listener) {
                listener.pending.retain(|other| *other != id);
            }
        }
        if let Some(peer) = peer {
            self.left_alone(peer);
        }
    }

    /// The other end is no more. Whoever sends something finds out; whoever waits for an answer gives up.
    fn left_alone(&mut self, id: SocketId) {
        let Some(end) = self.sockets.end(id) else {
            return;
        };
        match end.phase {
            Phase::SynReceived { .. } if end.out.flight.is_empty() => self.remove_stream(id),
            Phase::SynSent | Phase::SynReceived { .. } | Phase::Closed | Phase::Failed | Phase::Gone => {}
            Phase::Established => self.fill_window(id),
        }
    }

    /// Tells the other end that the connection is no more.
    pub(super) fn send_reset(&mut self, id: SocketId) {
        let Some((host, end)) = self.sockets.get(id).and_then(|socket| Some((socket.host, socket.end()?))) else {
            return;
        };
        let (Some(to), peer_host, connection) = (end.peer, end.peer_host, end.connection) else {
            return;
        };
        if let Passage::Arrives { at_ns } = self.wires.segment(host, peer_host, 0, self.now_ns) {
            self.schedule(at_ns, Event::Reset { to, connection });
        }
    }

    pub(super) fn reset_arrives(&mut self, id: SocketId, connection: u64) {
        let Some((host, end)) = self.sockets.get(id).and_then(|socket| Some((socket.host, socket.end()?))) else {
            return;
        };
        if end.connection == connection && !self.wires.is_cut(end.peer_host, host) {
            self.end_connection(id, Cause::Reset);
        }
    }

    /// Ends the connection at this end, as if a reset had arrived.
    pub(super) fn break_off(&mut self, id: SocketId) {
        if self.sockets.get(id).is_some_and(|socket| socket.closed) {
            self.abandon(id);
        } else {
            self.end_connection(id, Cause::Reset);
        }
    }

    pub(super) fn time_out(&mut self, id: SocketId) {
        self.end_connection(id, Cause::TimedOut);
    }

    fn end_connection(&mut self, id: SocketId, cause: Cause) {
        let Some(end) = self.sockets.end(id) else {
            return;
        };
        let (phase, error) = match (end.phase, cause) {
            (Phase::Closed | Phase::Failed | Phase::Gone, _) => return,
            (Phase::SynReceived { .. }, _) => return self.remove_stream(id),
            (Phase::SynSent, Cause::Reset) => (Phase::Failed, libc::ECONNREFUSED),
            (Phase::SynSent, Cause::TimedOut) => (Phase::Failed, libc::ETIMEDOUT),
            (Phase::Established, Cause::Reset) if end.received_all => (Phase::Closed, libc::EPIPE),
            (Phase::Established, Cause::Reset) => (Phase::Closed, libc::ECONNRESET),
            (Phase::Established, Cause::TimedOut) => (Phase::Closed, libc::ETIMEDOUT),
        };
        self.disarm(id);
        let peer = self.receiver(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.error = Some(Errno(error));
        if let Some(end) = socket.end_mut() {
            end.phase = phase;
            end.out = Out::default();
        }
        if socket.closed {
            self.remove_stream(id);
        }
        self.note(id);
        if let Some(peer) = peer {
            self.left_alone(peer);
        }
    }

    /// Its owner leaves without a goodbye: what is in flight may still arrive, all else is no more.
    pub(super) fn abandon(&mut self, id: SocketId) {
        self.release_port(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.closed = true;
        if socket.end().is_some_and(|end| end.phase == Phase::Gone) {
            return;
        }
        let Some(end) = socket.end_mut().filter(|end| end.is_established()) else {
            self.remove_stream(id);
            return;
        };
        end.phase = Phase::Gone;
        end.received.clear();
        let arriving = end.out.flight.iter().take_while(|segment| !segment.lost).count();
        end.out.flight.truncate(arriving);
        if arriving == 0 {
            self.remove_stream(id);
        } else if let Some(peer) = self.receiver(id) {
            self.left_alone(peer);
        }
    }
}
