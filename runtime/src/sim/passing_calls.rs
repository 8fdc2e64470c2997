//! How bytes pass from one descriptor to another, as the simulated kernel does it. A pipe is a pair of sockets there.

use std::io;
use std::os::fd::RawFd;

use super::calls::{answer, on_file};
use super::host::{Call, File};
use super::net::SocketId;
use super::perform::check_read;
use super::state::State;
use super::{Answer, Errno, HostId};

pub(crate) fn splice_in(socket: RawFd, pipe: RawFd, bytes: usize) -> io::Result<usize> {
    splice(socket, pipe, bytes, Call::Receive)
}

pub(crate) fn splice_out(pipe: RawFd, socket: RawFd, bytes: usize) -> io::Result<usize> {
    splice(pipe, socket, bytes, Call::Send)
}

fn splice(from: RawFd, to: RawFd, bytes: usize, call: Call) -> io::Result<usize> {
    answer(|state, host| {
        let (from, to) = (socket_of(state, host, from)?, socket_of(state, host, to)?);
        if let Some(error) = state.host(host).take_failure(call) {
            return Err(error);
        }
        let most = state.part_of_send(bytes);
        let mut room = vec![0; most];
        // Nothing is taken before it is known to have gone.
        let there = state.network.receive(from, &mut room, true)?.ok_or(Errno(libc::EAGAIN))?.copied;
        if there == 0 {
            return Ok(0);
        }
        let sent = state.network.send(to, &room[..there], None, state.now_ns);
        let moved = match sent {
            Ok(Some(moved)) => state.network.receive(from, &mut room[..moved], false).map(|_| moved),
            Ok(None) => Err(Errno(libc::EAGAIN)),
            Err(error) => Err(error),
        };
        state.look_at_network();
        moved
    })
}

pub(crate) fn empty_pipe(pipe: RawFd, most: usize) -> io::Result<Vec<u8>> {
    answer(|state, host| {
        let pipe = socket_of(state, host, pipe)?;
        let mut room = vec![0; most];
        let received = state.network.receive(pipe, &mut room, false)?.ok_or(Errno(libc::EAGAIN))?;
        state.look_at_network();
        room.truncate(received.copied);
        Ok(room)
    })
}

pub(crate) fn send_file(to: RawFd, file: RawFd, offset: u64, bytes: usize) -> io::Result<usize> {
    answer(|state, host| {
        let to = socket_of(state, host, to)?;
        let open = state.find(host, file)?;
        let File::Disk { inode, flags, .. } = state.opens[open].file else {
            return Err(Errno(libc::EINVAL));
        };
        check_read(flags & !libc::O_DIRECT, offset, &[])?;
        for call in [Call::Read, Call::Send] {
            if let Some(error) = state.host(host).take_failure(call) {
                return Err(error);
            }
        }
        let mut room = vec![0; state.part_of_send(bytes)];
        let read = state.host(host).disk.read(inode, offset, &mut room)?;
        if read == 0 {
            return Ok(0);
        }
        let sent = state.network.send(to, &room[..read], None, state.now_ns);
        state.look_at_network();
        sent?.ok_or(Errno(libc::EAGAIN))
    })
}

pub(crate) fn is_cached(file: RawFd, offset: u64, bytes: usize) -> io::Result<bool> {
    on_file(file, |state, host, inode, _| {
        if state.takes_liberty(|kernel| kernel.not_cached) {
            return Ok(false);
        }
        Ok(state.host(host).disk.is_cached(inode, offset, bytes))
    })
}

fn socket_of(state: &mut State, host: HostId, fd: RawFd) -> Answer<SocketId> {
    let open = state.find(host, fd)?;
    match state.opens[open].file {
        File::Socket(socket) => Ok(socket),
        File::Disk { .. } | File::Bell { .. } => Err(Errno(libc::EINVAL)),
    }
}
