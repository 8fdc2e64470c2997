//! Sending on a socket, one send at a time and in order.
//!
//! A send whose future is dropped is not cancelled: it goes out whole, and the next send on the same socket waits for
//! it. So a stream never carries half of one message inside another. Closing the socket cancels it.

use std::io;
use std::task::{Context, Poll};

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::write::{all_or_error, bytes_of};
use super::{Completion, OnDrop, Operation, Progress, Submission};
use crate::buf::IoBuf;

/// Sends a buffer, or as much as goes at once; output `(io::Result<usize>, B)`.
#[derive(Debug)]
pub struct Send<B> {
    held: Held,
    buffer: B,
}

impl<B: IoBuf> Send<B> {
    /// Sends `buffer` on the socket.
    pub fn new(socket: &Descriptor, buffer: B) -> Self {
        Self { held: Held::to_change(socket), buffer }
    }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them.
unsafe impl<B: IoBuf> Operation for Send<B> {
    type Output = (io::Result<usize>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        let (start, len) = bytes_of(self.buffer.as_slice());
        opcode::Send::new(self.held.fd(), start, len).flags(libc::MSG_NOSIGNAL).build()
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

/// Sends a whole buffer; output `(io::Result<()>, B)`. On error, a part of it may have been sent.
#[derive(Debug)]
pub struct SendAll<B> {
    held: Held,
    buffer: B,
    done: usize,
}

impl<B: IoBuf> SendAll<B> {
    /// Sends all of `buffer` on the socket.
    #[inline]
    pub fn new(socket: &Descriptor, buffer: B) -> Self {
        Self { held: Held::to_change(socket), buffer, done: 0 }
    }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them.
unsafe impl<B: IoBuf> Operation for SendAll<B> {
    type Output = (io::Result<()>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    /// The kernel itself goes on until everything is sent; it stops short for an error or a cancel.
    #[inline]
    fn submission(&mut self) -> Submission {
        let (start, len) = bytes_of(&self.buffer.as_slice()[self.done..]);
        opcode::Send::new(self.held.fd(), start, len).flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build()
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        if completion.result > 0 {
            self.done += completion.result as usize;
            let more = self.done < self.buffer.as_slice().len() && !self.held.was_cancelled();
            return if more { Progress::Again } else { Progress::Done };
        }
        self.held.again_if_interrupted(completion)
    }

    #[inline]
    fn complete(self, completion: Completion) -> Self::Output {
        let result = all_or_error(completion, self.buffer.as_slice().len() - self.done);
        (result, self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
