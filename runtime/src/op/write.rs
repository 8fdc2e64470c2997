//! Writing to a file (or a pipe, or a terminal).
//!
//! A write whose future is dropped is not cancelled: half a write is worse than a whole one. It counts as an orphan,
//! and what comes later on the same descriptor waits for it.

use std::io;
use std::task::{Context, Poll};

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::read::{MOST, Parts};
use super::{Completion, OnDrop, Operation, Progress, Submission};
use crate::buf::IoBuf;

/// Where and how much of `bytes` to write, as the kernel wants it told.
#[inline]
pub(super) fn bytes_of(bytes: &[u8]) -> (*const u8, u32) {
    (bytes.as_ptr(), bytes.len().min(MOST) as u32)
}

/// Writes a buffer, or as much as goes at once; output `(io::Result<usize>, B)`.
#[derive(Debug)]
pub struct Write<B> {
    held: Held,
    offset: u64,
    buffer: B,
}

impl<B: IoBuf> Write<B> {
    /// Writes at `offset`, without moving any file position.
    pub fn at(descriptor: &Descriptor, buffer: B, offset: u64) -> Self {
        Self { held: Held::to_change(descriptor), offset, buffer }
    }

    /// Writes where the descriptor's own position is: at the end of what was opened for appending, to a pipe.
    pub fn stream(descriptor: &Descriptor, buffer: B) -> Self {
        Self::at(descriptor, buffer, u64::MAX)
    }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them.
unsafe impl<B: IoBuf> Operation for Write<B> {
    type Output = (io::Result<usize>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        let (start, len) = bytes_of(self.buffer.as_slice());
        opcode::Write::new(self.held.fd(), start, len).offset(self.offset).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        (completion.to_result().map(|count| count as usize), self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Writes a whole buffer; output `(io::Result<()>, B)`.
///
/// The error [`WriteZero`](io::ErrorKind::WriteZero) says that the file takes no more.
#[derive(Debug)]
pub struct WriteAll<B> {
    held: Held,
    offset: u64,
    buffer: B,
    done: usize,
}

impl<B: IoBuf> WriteAll<B> {
    /// Writes at `offset`, without moving any file position.
    pub fn at(descriptor: &Descriptor, buffer: B, offset: u64) -> Self {
        Self { held: Held::to_change(descriptor), offset, buffer, done: 0 }
    }

    /// Writes where the descriptor's own position is: at the end of what was opened for appending, to a pipe.
    pub fn stream(descriptor: &Descriptor, buffer: B) -> Self {
        Self::at(descriptor, buffer, u64::MAX)
    }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them.
unsafe impl<B: IoBuf> Operation for WriteAll<B> {
    type Output = (io::Result<()>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        let (start, len) = bytes_of(&self.buffer.as_slice()[self.done..]);
        let offset = match self.offset {
            u64::MAX => u64::MAX,
            offset => offset + self.done as u64,
        };
        opcode::Write::new(self.held.fd(), start, len).offset(offset).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        if completion.result > 0 {
            self.done += completion.result as usize;
            let more = self.done < self.buffer.as_slice().len() && !self.held.was_cancelled();
            return if more { Progress::Again } else { Progress::Done };
        }
        self.held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        let result = all_or_error(completion, self.buffer.as_slice().len() - self.done);
        (result, self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// What the last part of writing everything says when `left` bytes have not been written.
pub(super) fn all_or_error(completion: Completion, left: usize) -> io::Result<()> {
    match completion.to_result()? {
        _ if left == 0 => Ok(()),
        0 => Err(io::Error::new(io::ErrorKind::WriteZero, "the other side takes no more bytes")),
        _ => Err(io::Error::from_raw_os_error(libc::ECANCELED)),
    }
}

/// Writes several buffers in turn, or as much of them as goes at once; output `(io::Result<usize>, Vec<B>)`.
#[derive(Debug)]
pub struct WriteVectored<B> {
    held: Held,
    offset: u64,
    buffers: Vec<B>,
    parts: Parts,
}

impl<B: IoBuf> WriteVectored<B> {
    /// Writes at `offset`, without moving any file position.
    pub fn at(descriptor: &Descriptor, buffers: Vec<B>, offset: u64) -> Self {
        Self { held: Held::to_change(descriptor), offset, buffers, parts: Parts::default() }
    }

    /// Writes to what has no positions: a socket, a pipe.
    pub fn stream(descriptor: &Descriptor, buffers: Vec<B>) -> Self {
        Self::at(descriptor, buffers, u64::MAX)
    }
}

// SAFETY: the bytes are the buffers', the list is on the heap in `parts`; neither is touched while the kernel uses it.
unsafe impl<B: IoBuf> Operation for WriteVectored<B> {
    type Output = (io::Result<usize>, Vec<B>);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        self.parts.0.clear();
        self.parts.0.extend(self.buffers.iter().map(|buffer| {
            let (start, len) = bytes_of(buffer.as_slice());
            libc::iovec { iov_base: start.cast_mut().cast(), iov_len: len as usize }
        }));
        let count = self.parts.0.len() as u32;
        opcode::Writev::new(self.held.fd(), self.parts.0.as_ptr(), count).offset(self.offset).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        (completion.to_result().map(|count| count as usize), self.buffers)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
