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

/// Sends a whole buffer that the kernel does not copy if it need not; output `(io::Result<()>, B)`, when the kernel has done
/// with the buffer. On error, a part of it may have been sent.
///
/// That is later than with a [`SendAll`]: when the other side has acknowledged all. What is shorter than
/// [`LEAST`](Self::LEAST) is copied, and so is all on a socket of which the kernel has told that it copies nevertheless (as on
/// loopback, or by a network card that cannot gather), or that it cannot do otherwise (of the Unix family).
///
/// # Cancel safety
///
/// As with every send: dropped in flight, it goes out all the same, the buffer stays where it is until the kernel has done
/// with it, and the next send waits for that.
///
/// # Kernel
///
/// `IORING_OP_SEND_ZC` (6.0) with `IORING_SEND_ZC_REPORT_USAGE` (6.2). Before, and where the memory that may be locked is
/// used up, `IORING_OP_SEND`.
#[derive(Debug)]
pub struct SendZeroCopy<B> {
    send: SendAll<B>,
    copies: bool,
}

/// `IORING_SEND_ZC_REPORT_USAGE`.
const REPORT_USAGE: u16 = 1 << 3;

impl<B: IoBuf> SendZeroCopy<B> {
    /// What is shorter is copied: to look after its pages costs more.
    pub const LEAST: usize = 16 * 1024;

    /// Sends all of `buffer` on the socket.
    pub fn new(socket: &Descriptor, buffer: B) -> Self {
        let copies = buffer.as_slice().len() < Self::LEAST || socket.copies();
        Self { send: SendAll::new(socket, buffer), copies }
    }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them: until the
//         notification, which is the final completion.
unsafe impl<B: IoBuf> Operation for SendZeroCopy<B> {
    type Output = (io::Result<()>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_ready(cx)
    }

    fn submission(&mut self) -> Submission {
        if self.copies {
            return self.send.submission();
        }
        let (start, len) = bytes_of(&self.send.buffer.as_slice()[self.send.done..]);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        opcode::SendZc::new(self.send.held.fd(), start, len).flags(flags).zc_flags(REPORT_USAGE).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        if !self.copies {
            if completion.flags & Completion::COPIED != 0 {
                self.send.held.descriptor().set_copies();
            }
            // It knows no such operation, or not for this socket, or may hold no more memory: nothing was sent.
            let cannot = [-libc::EOPNOTSUPP, -libc::EINVAL, -libc::ENOMEM, -libc::ENOBUFS];
            if cannot.contains(&completion.result) && !self.send.held.was_cancelled() {
                self.copies = true;
                if completion.result == -libc::EOPNOTSUPP || completion.result == -libc::EINVAL {
                    self.send.held.descriptor().set_copies();
                }
                return Progress::Again;
            }
        }
        self.send.progress(completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        self.send.complete(completion)
    }

    fn abandoned(&mut self) {
        self.send.abandoned();
    }
}
