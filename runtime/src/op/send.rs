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
/// As with every send: dropped in flight, it goes out all the same, and the next send waits until the kernel has taken all of
/// it over. The buffer stays where it is until the kernel has done with it, also after the socket was closed.
///
/// A [`deadline`](super::Op::deadline) ends the sending, not the wait for the buffer: while the other side acknowledges nothing,
/// the kernel does not let go of what it has taken over. To wait no longer, drop it.
///
/// # Kernel
///
/// `IORING_OP_SEND_ZC` (6.0) with `IORING_SEND_ZC_REPORT_USAGE` (6.2). Before, and where the memory that may be locked is
/// used up, `IORING_OP_SEND`.
#[derive(Debug)]
pub struct SendZeroCopy<B> {
    /// Gone when nothing more is to be sent, and only the buffer is waited for.
    held: Option<Held>,
    buffer: B,
    done: usize,
    copies: bool,
    is_orphan: bool,
    /// The kernel has taken all over that it is going to.
    is_over: bool,
}

/// `IORING_SEND_ZC_REPORT_USAGE`.
const REPORT_USAGE: u16 = 1 << 3;

impl<B: IoBuf> SendZeroCopy<B> {
    /// What is shorter is copied: to look after its pages costs more.
    pub const LEAST: usize = 16 * 1024;

    /// Sends all of `buffer` on the socket.
    pub fn new(socket: &Descriptor, buffer: B) -> Self {
        let copies = buffer.as_slice().len() < Self::LEAST || socket.copies();
        let held = Some(Held::to_change(socket));
        Self { held, buffer, done: 0, copies, is_orphan: false, is_over: false }
    }

    fn descriptor(&self) -> Option<&Descriptor> {
        self.held.as_ref().map(Held::descriptor)
    }

    fn was_cancelled(&self) -> bool {
        self.held.as_ref().is_none_or(Held::was_cancelled)
    }

    /// Whether the kernel could not do so, and nothing was sent.
    fn has_to_copy(&self, completion: Completion) -> bool {
        let cannot = [-libc::EOPNOTSUPP, -libc::EINVAL, -libc::ENOMEM, -libc::ENOBUFS];
        !self.copies && cannot.contains(&completion.result) && !self.was_cancelled()
    }

    fn let_go_if_over(&mut self) {
        if self.is_orphan && self.is_over {
            self.held = None;
        }
    }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them: until the
//         notification, which is the final completion.
unsafe impl<B: IoBuf> Operation for SendZeroCopy<B> {
    type Output = (io::Result<()>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.descriptor().map_or(Poll::Ready(()), |socket| socket.poll_settled(cx))
    }

    fn submission(&mut self) -> Submission {
        self.is_over = false;
        let Some(held) = &self.held else { unreachable!("let go of when nothing more is to be sent") };
        let (start, len) = bytes_of(&self.buffer.as_slice()[self.done..]);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        match self.copies {
            true => opcode::Send::new(held.fd(), start, len).flags(flags).build(),
            false => opcode::SendZc::new(held.fd(), start, len).flags(flags).zc_flags(REPORT_USAGE).build(),
        }
    }

    /// The kernel has taken that much over, and reads the buffer yet.
    fn has_result(&mut self, completion: Completion) {
        let whole = completion.result >= 0
            && completion.result as usize == bytes_of(&self.buffer.as_slice()[self.done..]).1 as usize
            && self.done + completion.result as usize == self.buffer.as_slice().len();
        let goes_on = matches!(-completion.result, libc::EINTR | libc::EAGAIN) || self.has_to_copy(completion);
        let has_failed = completion.result < 0 && !goes_on;
        self.is_over = whole || has_failed || self.was_cancelled();
        self.let_go_if_over();
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        let Some(held) = &self.held else {
            self.done += completion.result.max(0) as usize;
            return Progress::Done;
        };
        if completion.flags & Completion::COPIED != 0 {
            held.descriptor().set_copies();
        }
        if self.has_to_copy(completion) {
            if [-libc::EOPNOTSUPP, -libc::EINVAL].contains(&completion.result) {
                held.descriptor().set_copies();
            }
            self.copies = true;
            return Progress::Again;
        }
        if completion.result > 0 {
            self.done += completion.result as usize;
            let more = self.done < self.buffer.as_slice().len() && !held.was_cancelled();
            return if more { Progress::Again } else { Progress::Done };
        }
        held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        let result = all_or_error(completion, self.buffer.as_slice().len() - self.done);
        (result, self.buffer)
    }

    fn abandoned(&mut self) {
        if let Some(held) = &mut self.held {
            held.abandon();
        }
        self.is_orphan = true;
        self.let_go_if_over();
    }
}
