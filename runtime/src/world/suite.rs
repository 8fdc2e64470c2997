//! What the project's own suite needs of a world, to run the tests that it runs on the real kernel: sockets that no
//! program holds, and looks at what a host has. Not for others: it changes as the suite does.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;

use super::{Host, World};
use crate::op::{Descriptor, SocketOption};
use crate::sim::net::SocketId;
use crate::sim::{Errno, State};

/// A socket on a host that no program holds: what is done with it happens at once.
#[derive(Debug)]
pub struct Peer {
    world: World,
    socket: SocketId,
}

impl Host {
    /// A socket for a program of this host, and its other side.
    ///
    /// # Errors
    ///
    /// If the host may have no more descriptors.
    pub fn pair(&self, keeps_messages: bool) -> io::Result<(Descriptor, Peer)> {
        self.state(|state, id| {
            let [ours, theirs] = state.network.pair(id, keeps_messages);
            let ours = state.open_socket(id, ours)?;
            Ok((Descriptor::simulated(ours), Peer { world: self.world.clone(), socket: theirs }))
        })
    }

    /// Begins to connect from here.
    ///
    /// # Errors
    ///
    /// If that is refused at once.
    pub fn visit(&self, address: SocketAddr) -> io::Result<Peer> {
        let peer = self.state(|state, id| {
            let socket = state.network.socket(id, crate::sim::net::Kind::Stream, address.is_ipv6());
            Peer { world: self.world.clone(), socket }
        });
        peer.call(|state, socket| state.network.connect(socket, address, state.now_ns()))?;
        Ok(peer)
    }

    /// Sets an option of a socket of this host, whatever holds it.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_option(&self, socket: &impl AsFd, option: SocketOption, value: i32) -> io::Result<()> {
        crate::driver::calls::set_option(socket.as_fd(), option, value)
    }

    /// How many files of its disk are open.
    pub fn open_files(&self) -> usize {
        self.state(|state, id| state.open_files(id))
    }

    /// How many requests its kernel has not ended. One of each core is the runtime's own.
    pub fn requests(&self) -> usize {
        self.state(|state, id| state.requests_of(id))
    }

    /// Takes the name of a file away.
    ///
    /// # Errors
    ///
    /// What `unlink(2)` says.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        self.state(|state, id| {
            let now_ns = state.now_ns();
            state.host(id).disk.unlink(path, now_ns).map_err(io::Error::from)
        })
    }
}

impl Peer {
    fn call<R>(&self, ask: impl FnOnce(&mut State, SocketId) -> Result<R, Errno>) -> io::Result<R> {
        let mut state = self.world.0.state.borrow_mut();
        let answer = ask(&mut state, self.socket);
        state.look_at_network();
        answer.map_err(io::Error::from)
    }

    /// Whether it is connected, or is told that it will not be.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn connected(&self) -> io::Result<bool> {
        self.call(|state, socket| state.network.connect_result(socket).transpose().map(|done| done.is_some()))
    }

    /// Sends what goes in at once.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if nothing does, else what `send(2)` says.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|state, socket| {
            let sent = state.network.send(socket, bytes, None, state.now_ns())?;
            sent.ok_or(Errno(libc::EAGAIN))
        })
    }

    /// Receives what is there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if nothing is, else what `recv(2)` says.
    pub fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.call(|state, socket| {
            let received = state.network.receive(socket, room, false)?;
            Ok(received.ok_or(Errno(libc::EAGAIN))?.copied)
        })
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    ///
    /// If it is not connected.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        let (read, write) = (how != Shutdown::Write, how != Shutdown::Read);
        self.call(|state, socket| state.network.shutdown(socket, read, write, state.now_ns()))
    }

    /// Closes so that the other side gets a reset, not an end.
    ///
    /// # Errors
    ///
    /// None that are known.
    pub fn reset(self) -> io::Result<()> {
        self.call(|state, socket| state.network.set_option(socket, SocketOption::Linger, 0))
    }

    /// Where it is.
    ///
    /// # Errors
    ///
    /// If it has no address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.call(|state, socket| state.network.local_addr(socket))
    }

    /// How much it takes at once.
    ///
    /// # Errors
    ///
    /// None that are known.
    pub fn set_buffers(&mut self, bytes: i32) -> io::Result<()> {
        self.call(|state, socket| state.network.set_option(socket, SocketOption::ReceiveBuffer, bytes))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut state = self.world.0.state.borrow_mut();
        let now_ns = state.now_ns();
        state.network.close(self.socket, now_ns);
        state.look_at_network();
    }
}
