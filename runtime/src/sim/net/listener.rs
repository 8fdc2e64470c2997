//! Listeners: connections that wait to be accepted, in the order of their arrival.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::socket::State;
use super::{Kind, Network, SocketId};
use crate::sim::{Answer, Errno, HostId};

pub(super) struct Listener {
    backlog: usize,
    /// Those whose client has not answered yet.
    pub(super) pending: Vec<SocketId>,
    pub(super) complete: VecDeque<SocketId>,
    /// Of the Unix family: who waits for room.
    pub(super) waiting: Vec<SocketId>,
}

/// Linux' net.core.somaxconn.
const LARGEST_BACKLOG: u32 = 4096;

impl Listener {
    /// One more than the backlog may wait, as in Linux; here, those that have yet to answer count as well.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() + self.complete.len() <= self.backlog
    }
}

impl Network {
    /// Begins to listen, or changes the backlog.
    pub(crate) fn listen(&mut self, id: SocketId, backlog: u32) -> Answer<()> {
        let backlog = backlog.min(LARGEST_BACKLOG) as usize;
        match &mut self.sockets.open_mut(id)?.state {
            State::Idle => {}
            State::Listening(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            State::Stream(_) => return Err(Errno(libc::EINVAL)),
            State::Datagram(_) | State::Letters(_) => return Err(Errno(libc::EOPNOTSUPP)),
        }
        if !self.is_unix(id) {
            self.bind_to_any_port(id)?;
        } else if !self.is_named(id) {
            return Err(Errno(libc::EINVAL));
        }
        let socket = self.sockets.open(id)?;
        if socket.local.is_some_and(|local| self.listened_to_by_another(id, local)) {
            return Err(Errno(libc::EADDRINUSE));
        }
        let listener = Listener { backlog, pending: Vec::new(), complete: VecDeque::new(), waiting: Vec::new() };
        self.sockets.open_mut(id)?.state = State::Listening(listener);
        self.note(id);
        Ok(())
    }

    /// The connection that has waited for longest.
    pub(crate) fn accept(&mut self, id: SocketId) -> Answer<Option<SocketId>> {
        let socket = self.sockets.open_mut(id)?;
        let accepted = match &mut socket.state {
            State::Listening(listener) => {
                let accepted = listener.complete.pop_front();
                let waiting = if accepted.is_some() { std::mem::take(&mut listener.waiting) } else { Vec::new() };
                waiting.into_iter().for_each(|waiting| self.note(waiting));
                accepted
            }
            State::Idle | State::Stream(_) => return Err(Errno(libc::EINVAL)),
            State::Datagram(_) | State::Letters(_) => return Err(Errno(libc::EOPNOTSUPP)),
        };
        if accepted.is_some() {
            self.note(id);
        }
        Ok(accepted)
    }

    pub(super) fn listener_mut(&mut self, id: SocketId) -> Option<&mut Listener> {
        match &mut self.sockets.get_mut(id)?.state {
            State::Listening(listener) => Some(listener),
            State::Idle | State::Stream(_) | State::Datagram(_) | State::Letters(_) => None,
        }
    }

    /// Who takes a connection: who is bound to that very address rather than to all; among those who share it, the
    /// port that it comes from decides.
    pub(super) fn listener_for(&self, host: HostId, to: SocketAddr, from: SocketAddr) -> Option<SocketId> {
        let at_port = self.hosts.get(&host)?.at_port(Kind::Stream, to.port());
        let listening: Vec<_> = at_port.iter().copied().filter(|id| self.listens(*id, to)).collect();
        let exactly = |id: &SocketId| self.sockets.get(*id).is_some_and(|socket| socket.local == Some(to));
        let exact: Vec<_> = listening.iter().copied().filter(exactly).collect();
        shared(if exact.is_empty() { &listening } else { &exact }, from)
    }

    fn listens(&self, id: SocketId, to: SocketAddr) -> bool {
        let listening = self.sockets.get(id).filter(|socket| matches!(socket.state, State::Listening(_)));
        listening.is_some_and(|socket| socket.covers(to.ip()))
    }

    /// Resets all that waits.
    pub(super) fn stop_listening(&mut self, id: SocketId) {
        let Some(listener) = self.listener_mut(id) else {
            return;
        };
        let pending = std::mem::take(&mut listener.pending);
        let complete = std::mem::take(&mut listener.complete);
        for child in pending.into_iter().chain(complete) {
            self.send_reset(child);
            self.remove_stream(child);
        }
        self.disconnect(id);
    }
}

/// The one among those who share an address that gets what comes from there: always the same.
pub(super) fn shared(sharing: &[SocketId], from: SocketAddr) -> Option<SocketId> {
    sharing.get(usize::from(from.port()) % sharing.len().max(1)).copied()
}
