//! Sending messages: bytes with where they go to and what goes along, each whole or not at all.
//!
//! As with every send, one that was dropped in flight goes out all the same, and the next waits for it.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::task::{Context, Poll};

use io_uring::opcode;
use socket2::SockAddr;

use super::ancillary::Ancillary;
use super::datagram::header;
use super::descriptor::{Descriptor, Held};
use super::read::Parts;
use super::socket::MOST_PARTS;
use super::write::bytes_of;
use super::{Completion, OnDrop, Operation, Progress, Submission};
use crate::buf::IoBuf;
use crate::driver::socket_calls;

/// Sends a buffer as a message, to an address or to the other side; output `(io::Result<usize>, B)`.
///
/// # Kernel
///
/// `sendto(2)`; where there is no room, `IORING_OP_SEND` with an address. Mostly there is room, and then the plain call costs
/// less than the ring.
#[derive(Debug)]
pub struct SendTo<B> {
    held: Held,
    buffer: B,
    to: Option<SockAddr>,
    waits: bool,
}

impl<B: IoBuf> SendTo<B> {
    /// Sends `buffer` on `socket`, to an address if there is one.
    pub fn new(socket: &Descriptor, buffer: B, to: Option<SockAddr>) -> Self {
        Self { held: Held::to_change(socket), buffer, to, waits: true }
    }

    /// If there is no room, it fails with [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn at_once(mut self) -> Self {
        self.waits = false;
        self
    }
}

/// The flags of a send.
fn flags(waits: bool) -> i32 {
    libc::MSG_NOSIGNAL | if waits { 0 } else { libc::MSG_DONTWAIT }
}

/// What comes after a send that may have been interrupted. If it does not wait, that there is no room is its result.
fn progress(held: &Held, waits: bool, completion: Completion) -> Progress {
    if !waits && completion.result == -libc::EAGAIN { Progress::Done } else { held.again_if_interrupted(completion) }
}

// SAFETY: the bytes are the buffer's, which is neither moved nor changed while the kernel reads them; the address is in
//         `self`.
unsafe impl<B: IoBuf> Operation for SendTo<B> {
    type Output = (io::Result<usize>, B);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn may_end_now(&mut self) -> bool {
        true
    }

    fn try_now(&mut self) -> Option<i32> {
        let fd = self.held.descriptor().as_fd();
        match socket_calls::send_message_now(fd, self.buffer.as_slice(), self.to.as_ref()) {
            Ok(count) => i32::try_from(count).ok(),
            Err(error) => match error.raw_os_error() {
                // Whether it waits for room, the ring decides.
                None | Some(libc::EAGAIN | libc::EINTR) => None,
                Some(number) => Some(-number),
            },
        }
    }

    fn submission(&mut self) -> Submission {
        let (start, len) = bytes_of(self.buffer.as_slice());
        let send = opcode::Send::new(self.held.fd(), start, len).flags(flags(self.waits));
        match &self.to {
            Some(to) => send.dest_addr(to.as_ptr().cast()).dest_addr_len(to.len()).build(),
            None => send.build(),
        }
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        progress(&self.held, self.waits, completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        (completion.to_result().map(|count| count as usize), self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Sends several buffers in turn as one message, with what goes along; output `(io::Result<usize>, Vec<B>, Ancillary)`.
///
/// On a stream, or as much of it as goes at once: what goes along goes with the first byte, and without a byte nothing
/// goes.
///
/// # Kernel
///
/// `IORING_OP_SENDMSG`.
pub struct SendMessage<B> {
    held: Held,
    buffers: Vec<B>,
    /// Its descriptors stay open until the message has been sent.
    ancillary: Ancillary,
    to: Option<SockAddr>,
    waits: bool,
    /// A message is whole, so the kernel refuses one of too many parts. Of a stream, the first go at once.
    most_parts: usize,
    records: Vec<u8>,
    parts: Parts,
    header: libc::msghdr,
}

// SAFETY: the addresses in the header are of what the same operation owns, and are used by nobody but the kernel.
unsafe impl<B: Send> Send for SendMessage<B> {}
// SAFETY: as above; a shared reference gives nobody access to the memory.
unsafe impl<B: Sync> Sync for SendMessage<B> {}

impl<B> fmt::Debug for SendMessage<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendMessage({} buffers, {:?})", self.buffers.len(), self.ancillary)
    }
}

impl<B: IoBuf> SendMessage<B> {
    /// Sends `buffers` on `socket`, to an address if there is one.
    pub fn new(socket: &Descriptor, buffers: Vec<B>, ancillary: Ancillary, to: Option<SockAddr>) -> Self {
        let (records, parts) = (ancillary.records(), Parts::default());
        let (waits, most_parts) = (true, usize::MAX);
        let held = Held::to_change(socket);
        Self { held, buffers, ancillary, to, waits, most_parts, records, parts, header: header() }
    }

    /// If there is no room, it fails with [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn at_once(mut self) -> Self {
        self.waits = false;
        self
    }
}

// SAFETY: the bytes are the buffers', which are neither moved nor changed while the kernel reads them; the lists and the
//         records are on the heap, header and address in `self`.
unsafe impl<B: IoBuf> Operation for SendMessage<B> {
    type Output = (io::Result<usize>, Vec<B>, Ancillary);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        self.parts.0.clear();
        self.parts.0.extend(self.buffers.iter().take(self.most_parts).map(|buffer| {
            let (start, len) = bytes_of(buffer.as_slice());
            libc::iovec { iov_base: start.cast_mut().cast(), iov_len: len as usize }
        }));
        self.header = header();
        if let Some(to) = &self.to {
            self.header.msg_name = to.as_ptr().cast_mut().cast();
            self.header.msg_namelen = to.len();
        }
        self.header.msg_iov = self.parts.0.as_mut_ptr();
        self.header.msg_iovlen = self.parts.0.len();
        if !self.records.is_empty() {
            self.header.msg_control = self.records.as_mut_ptr().cast();
            self.header.msg_controllen = self.records.len();
        }
        opcode::SendMsg::new(self.held.fd(), &raw const self.header).flags(flags(self.waits) as u32).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        progress(&self.held, self.waits, completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        (completion.to_result().map(|count| count as usize), self.buffers, self.ancillary)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Sends several buffers in turn on a stream, or as much of them as goes at once; output
/// `(io::Result<usize>, Vec<B>)`. Unlike a [`WriteVectored`](super::WriteVectored), it raises no signal if the other side has
/// gone.
///
/// # Kernel
///
/// `IORING_OP_SENDMSG`, of the first 1,024 buffers.
#[derive(Debug)]
pub struct SendVectored<B>(SendMessage<B>);

impl<B: IoBuf> SendVectored<B> {
    /// Sends `buffers` on the socket.
    pub fn new(socket: &Descriptor, buffers: Vec<B>) -> Self {
        Self(SendMessage { most_parts: MOST_PARTS, ..SendMessage::new(socket, buffers, Ancillary::default(), None) })
    }
}

// SAFETY: all that it points to is of the message in it, which promises the same.
unsafe impl<B: IoBuf> Operation for SendVectored<B> {
    type Output = (io::Result<usize>, Vec<B>);
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    fn submission(&mut self) -> Submission {
        self.0.submission()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.0.progress(completion)
    }

    fn complete(self, completion: Completion) -> Self::Output {
        let (sent, buffers, _) = self.0.complete(completion);
        (sent, buffers)
    }

    fn abandoned(&mut self) {
        self.0.abandoned();
    }
}
