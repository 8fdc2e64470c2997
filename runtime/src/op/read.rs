//! Reading from a file (or a pipe, or a terminal).

use std::io;

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::{Completion, Operation, Progress, Submission};
use crate::buf::IoBufMut;

use std::task::{Context, Poll};

/// More than this is not read or written at once: the kernel's own limit is near it.
pub(super) const MOST: usize = 0x7fff_f000;

/// Where and how much to read: the room of `buffer`, as the kernel wants it told.
#[inline]
pub(super) fn room_of<B: IoBufMut>(buffer: &mut B) -> (*mut u8, u32) {
    let mut room = buffer.room();
    (room.as_mut_ptr(), room.len().min(MOST) as u32)
}

/// Says to `buffer` what the kernel has read, and to the caller how much.
#[inline]
pub(super) fn read_into<B: IoBufMut>(buffer: &mut B, completion: Completion) -> io::Result<usize> {
    match completion.to_result() {
        Ok(count) => {
            // Never more than there is room for, whatever the kernel says (a truncated datagram, K16).
            let count = (count as usize).min(buffer.room().len());
            // SAFETY: the kernel has written `count` bytes to the start of the room, which has not changed since.
            unsafe { buffer.advance(count) };
            Ok(count)
        }
        Err(error) => Err(error),
    }
}

/// What a read into a buffer without room says: 0 bytes would look like the end of the file.
pub(super) fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the buffer has no room to read into: give a Vec spare capacity (clear it, or reserve), or a longer slice",
    )
}

/// Reads into the room of a buffer; output `(io::Result<usize>, B)`.
///
/// What lies in the page cache is read at once, by a call that cannot block; the rest by the ring.
#[derive(Debug)]
pub struct Read<B> {
    held: Held,
    offset: u64,
    buffer: B,
}

impl<B: IoBufMut> Read<B> {
    /// Reads from `offset`, without moving any file position.
    #[inline]
    pub fn at(descriptor: &Descriptor, buffer: B, offset: u64) -> Self {
        Self { held: Held::to_look(descriptor), offset, buffer }
    }

    /// Reads from what has no positions: a pipe, a terminal. What it brings after it was dropped is gone;
    /// [`read_stream`](super::read_stream) keeps that.
    pub fn stream(descriptor: &Descriptor, buffer: B) -> Self {
        Self::at(descriptor, buffer, u64::MAX)
    }
}

// SAFETY: the room is the buffer's, which is neither moved nor borrowed while the kernel fills it.
unsafe impl<B: IoBufMut> Operation for Read<B> {
    type Output = (io::Result<usize>, B);

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    #[inline]
    fn may_end_now(&mut self) -> bool {
        self.held.descriptor().may_read_now()
    }

    #[inline]
    fn try_now(&mut self) -> Option<i32> {
        let mut room = self.buffer.room();
        if room.is_empty() {
            return Some(0);
        }
        self.held.descriptor().read_now(&mut room, self.offset)
    }

    #[inline]
    fn submission(&mut self) -> Submission {
        let (start, len) = room_of(&mut self.buffer);
        opcode::Read::new(self.held.fd(), start, len).offset(self.offset).build()
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    #[inline]
    fn complete(mut self, completion: Completion) -> Self::Output {
        if completion.result == 0 && self.buffer.room().is_empty() {
            return (Err(no_room()), self.buffer);
        }
        (read_into(&mut self.buffer, completion), self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// A kernel worker that was interrupted, or that could not wait, is sent again (K9).
#[inline]
pub(super) fn again_if_interrupted(completion: Completion) -> Progress {
    match -completion.result {
        libc::EINTR | libc::EAGAIN => Progress::Again,
        _ => Progress::Done,
    }
}

/// Reads into several buffers in turn; output `(io::Result<usize>, Vec<B>)`.
#[derive(Debug)]
pub struct ReadVectored<B> {
    held: Held,
    offset: u64,
    buffers: Vec<B>,
    parts: Parts,
}

/// The kernel's list of the parts of a vectored operation.
#[derive(Debug, Default)]
pub(super) struct Parts(pub(super) Vec<libc::iovec>);

// SAFETY: the addresses are of buffers that the same operation owns, and are used by nobody but the kernel.
unsafe impl std::marker::Send for Parts {}
// SAFETY: as above; a shared reference gives nobody access to the memory.
unsafe impl std::marker::Sync for Parts {}

impl<B: IoBufMut> ReadVectored<B> {
    /// Reads from `offset`, without moving any file position.
    pub fn at(descriptor: &Descriptor, buffers: Vec<B>, offset: u64) -> Self {
        Self { held: Held::to_look(descriptor), offset, buffers, parts: Parts::default() }
    }
}

// SAFETY: the rooms are the buffers', the list is on the heap in `parts`; neither is touched while the kernel uses it.
unsafe impl<B: IoBufMut> Operation for ReadVectored<B> {
    type Output = (io::Result<usize>, Vec<B>);

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        self.parts.0.clear();
        self.parts.0.extend(self.buffers.iter_mut().map(|buffer| {
            let (start, len) = room_of(buffer);
            libc::iovec { iov_base: start.cast(), iov_len: len as usize }
        }));
        let count = self.parts.0.len() as u32;
        opcode::Readv::new(self.held.fd(), self.parts.0.as_ptr(), count).offset(self.offset).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(mut self, completion: Completion) -> Self::Output {
        let result = completion.to_result().map(|count| {
            let mut left = count as usize;
            for buffer in &mut self.buffers {
                let count = left.min(buffer.room().len());
                // SAFETY: the kernel fills the rooms in turn, each to its end before the next.
                unsafe { buffer.advance(count) };
                left -= count;
            }
            count as usize
        });
        (result, self.buffers)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
