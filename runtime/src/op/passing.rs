//! Pipes through which bytes pass from one socket to another without being copied into memory.
//!
//! ```text
//!  socket --fill_from--> Pipe --empty_into--> socket
//!                          | dropped with something in it: closed; empty: kept by the core for the next
//!                          +--take_all--> memory, for who is to read it next
//! ```
//!
//! Invariant: a pipe that the core keeps is empty. What lies in one counts as `held`, to the byte.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;

use super::context;
use super::descriptor::Descriptor;
use crate::buf::IoBufMut;
use crate::driver::passing_calls;

/// As much is asked for in a pipe. Every page of it counts against a limit of the user (16,384 pages,
/// `pipe-user-pages-soft`), so 256 of these can be in use at a time; with 64 KiB a byte costs 1.6 times as much, with 1
/// MiB 0.9 times (measured).
const ROOM: u32 = 256 * 1024;
/// One with less room is no use: the kernel makes such ones when the user has too many.
const LEAST_ROOM: usize = 64 * 1024;
/// So many empty ones are kept.
const KEPT: usize = 16;

/// A pipe, and how many bytes lie in it.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: Descriptor,
    writer: Descriptor,
    held: usize,
    room: usize,
}

/// The empty pipes of a core.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    kept: RefCell<Vec<Pipe>>,
    ended: Cell<bool>,
}

impl Pipes {
    /// The core ends: they are closed, and none is kept any more.
    pub(super) fn end(&self) {
        self.ended.set(true);
        let kept = self.kept.take();
        drop(kept);
    }

    pub(super) fn count(&self) -> usize {
        self.kept.borrow().len()
    }
}

impl Pipe {
    /// One of the core's, or a new one.
    pub(super) fn take() -> io::Result<Self> {
        let kept = context::with(|operations| operations.pipes.kept.borrow_mut().pop()).flatten();
        kept.map_or_else(Self::make, Ok)
    }

    fn make() -> io::Result<Self> {
        let (reader, writer) = Descriptor::pipe()?;
        let room = passing_calls::widen_pipe(writer.as_fd(), ROOM)?;
        if room < LEAST_ROOM {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the user has too much room in pipes"));
        }
        Ok(Self { reader, writer, held: 0, room })
    }

    /// For the next one, if it is empty and there is room for it.
    pub(super) fn keep(self) {
        let mut unkept = Some(self);
        context::with(|operations| {
            let mut kept = operations.pipes.kept.borrow_mut();
            if kept.len() < KEPT && !operations.pipes.ended.get() {
                kept.extend(unkept.take_if(|pipe| pipe.held == 0));
            }
        });
        // Closed with nothing borrowed.
        drop(unkept);
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes in what has arrived at a socket: `None` if nothing has, or nothing more fits, 0 at the end of the stream.
    pub(super) fn fill_from(&mut self, socket: &Descriptor) -> io::Result<Option<usize>> {
        let room = self.room.saturating_sub(self.held);
        if room == 0 {
            return Ok(None);
        }
        let taken = if_any(passing_calls::splice_in(socket.as_fd(), self.writer.as_fd(), room))?;
        self.held += taken.unwrap_or(0);
        Ok(taken)
    }

    /// Sends on a socket what lies in it: `None` if that takes nothing now.
    pub(super) fn empty_into(&mut self, socket: &Descriptor) -> io::Result<Option<usize>> {
        let sent = if_any(passing_calls::splice_out(self.reader.as_fd(), socket.as_fd(), self.held))?;
        self.held -= sent.unwrap_or(0);
        Ok(sent)
    }

    /// Takes out all that lies in it.
    pub(super) fn take_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.held);
        while self.held > 0 {
            let taken = passing_calls::empty_pipe(self.reader.as_fd(), &mut bytes.room().truncate(self.held))?;
            // SAFETY: the kernel has just put so many there.
            unsafe { bytes.advance(taken) };
            self.held -= taken;
            if taken == 0 {
                break;
            }
        }
        Ok(bytes)
    }
}

/// A call that does not wait: nothing, if it would have had to.
pub(super) fn if_any(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
