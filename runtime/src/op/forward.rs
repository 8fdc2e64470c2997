//! One direction of a stream of sockets: what arrives at one goes out at the other.
//!
//! ```text
//!              little comes at once                    much comes at once
//!  Receive:  pooled receive --> send  <-------->  Splice:  socket --> pipe --> socket
//!            (waits for data)                              (waits for data when it was much)
//! ```
//!
//! A receive waits without any memory, and costs least for what is short. What comes in bulk goes by a pipe and is never
//! copied. Both leave off when the other side takes nothing, and go on when there is room, or end when the one that sends
//! has broken off.
//!
//! Invariant: what was taken from one socket and has not gone out at the other lies with the receiver, or in the pipe; and
//! when this goes, what is in the pipe is put back to the receiver. Nothing is ever with an operation in flight.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::descriptor::Descriptor;
use super::passing::Pipe;
use super::readiness::Readiness;
use super::receive::Receiver;
use super::{Op, poll_share};

/// What a receive brings at least before a pipe is tried.
const MUCH_AT_ONCE: usize = 2048;
/// What went by the pipe at least, for it to be used again when something comes. Less is cheaper received and sent.
const MUCH: u64 = 32 * 1024;
/// How many receives go by before a pipe is tried again that had nothing to carry, at most.
const MOST_PASSES: u32 = 63;
/// So many bytes go by before other tasks have their turn.
const TURN: u64 = 1024 * 1024;

/// Sends on a socket what arrives at another, to the end of the stream; output: how many bytes that were.
///
/// # Errors
///
/// What either socket says.
///
/// # Cancel safety
///
/// Dropped, or failed, nothing is lost: what has not gone out is given by the next read of the receiver. Forgotten
/// (`mem::forget`), what lies in the pipe is lost.
///
/// # Kernel
///
/// `splice(2)` through a pipe of the core's for what comes in bulk; else `IORING_OP_RECV` into pooled buffers, and
/// `sendmsg(2)`. Room is waited for by `IORING_OP_POLL_ADD`. Both sockets are set to `O_NONBLOCK` until they are given
/// away: for the ring that makes no difference.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::socket2::Type;
/// use corering_runtime::op::{Descriptor, Forward, Op, Receive, Receiver, SendAll};
///
/// corering_runtime::run(async {
///     let (client, front) = Descriptor::socket_pair(Type::STREAM)?;
///     let (back, server) = Descriptor::socket_pair(Type::STREAM)?;
///     Op::new(SendAll::new(&client, "hello")).await.0?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     assert_eq!(Forward::new(&mut Receiver::new(front), &back).await?, 5);
///     let (count, bytes) = Op::new(Receive::new(&server, Vec::with_capacity(64))).await;
///     assert_eq!((count?, &bytes[..]), (5, &b"hello"[..]));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent unless it is awaited"]
pub struct Forward<'a> {
    from: &'a mut Receiver,
    to: &'a Descriptor,
    way: Way,
    /// What is waited for: room, or data.
    waits: Option<Op<Readiness>>,
    watch: Watch,
    pipe: Option<Pipe>,
    /// Something may be there to take.
    may_take: bool,
    /// The stream has ended, or failed, behind what lies in the pipe.
    ended: Option<io::Result<()>>,
    /// So many bytes have gone out.
    moved: u64,
    /// And so many since something was last waited for.
    in_a_row: u64,
    /// And so many since others had their turn.
    in_turn: u64,
    passes: u32,
    next_passes: u32,
}

/// Whether the side that data comes from has broken off, while it is not read from.
#[derive(Debug)]
enum Watch {
    Idle,
    /// As long as it is waited for room.
    Wanted,
    Armed(Op<Readiness>),
    /// It has ended, in whatever way: it would be told at once, again and again.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Receive,
    Splice,
}

impl<'a> Forward<'a> {
    /// From a stream's receiver to a stream socket, on which nobody else sends.
    pub fn new(from: &'a mut Receiver, to: &'a Descriptor) -> Self {
        Self {
            from,
            to,
            way: Way::Receive,
            waits: None,
            watch: Watch::Idle,
            pipe: None,
            may_take: false,
            ended: None,
            moved: 0,
            in_a_row: 0,
            in_turn: 0,
            passes: 0,
            next_passes: 0,
        }
    }

    /// How many bytes have gone out.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// How many bytes are on their way within the kernel: they go out next, or are put back.
    pub fn on_the_way(&self) -> usize {
        self.pipe.as_ref().map_or(0, |pipe| pipe.held())
    }

    fn has_sent(&mut self, count: usize) {
        self.moved += count as u64;
        self.in_a_row += count as u64;
        self.in_turn += count as u64;
    }

    fn wait_for_room(&mut self) {
        self.waits = Some(Op::new(Readiness::of(self.to, libc::POLLOUT)));
        if let Watch::Idle = self.watch {
            self.watch = Watch::Wanted;
        }
    }

    fn wait_for_data(&mut self) {
        self.waits = Some(Op::new(Readiness::of(self.from.socket(), libc::POLLIN)));
    }

    /// The error with which the other side has broken off, while there is no room for what came from it before. Nobody
    /// reads from it then, and so nobody else would know.
    fn poll_broken_off(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Watch::Wanted = self.watch {
            self.watch = Watch::Armed(Op::new(Readiness::of(self.from.socket(), 0)));
        }
        if let Watch::Armed(watch) = &mut self.watch {
            if Pin::new(watch).poll(cx).is_ready() {
                self.watch = Watch::Over;
                if let Ok(Some(error)) = self.from.socket().take_error() {
                    return Poll::Ready(error);
                }
            }
        }
        Poll::Pending
    }

    /// A step by the pooled receive: true at the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let bytes = ready!(self.from.poll_available(cx))?;
        let count = bytes.len();
        if count == 0 {
            return Poll::Ready(Ok(true));
        }
        ready!(poll_share(cx));
        let Some(sent) = self.to.send_now(&[IoSlice::new(bytes)])? else {
            self.wait_for_room();
            return Poll::Ready(Ok(false));
        };
        self.from.consume(sent);
        self.has_sent(sent);
        if count >= MUCH_AT_ONCE && sent == count && self.from.is_quiet() {
            match self.passes.checked_sub(1) {
                Some(passes) => self.passes = passes,
                None => (self.way, self.may_take, self.in_a_row) = (Way::Splice, true, 0),
            }
        }
        Poll::Ready(Ok(false))
    }

    /// A step by the pipe: true at the end of the stream.
    fn poll_splice(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        ready!(poll_share(cx));
        let mut pipe = match self.pipe.take().map_or_else(|| self.begin_to_splice(), Ok) {
            Ok(pipe) => pipe,
            // Without one it goes the other way: later there may be one.
            Err(_) => {
                self.leave_off(MOST_PASSES);
                return Poll::Ready(Ok(false));
            }
        };
        if self.may_take && self.ended.is_none() {
            match pipe.fill_from(self.from.socket()) {
                Ok(Some(0)) => self.ended = Some(Ok(())),
                Ok(Some(_)) => {}
                Ok(None) => self.may_take = false,
                // Not every socket can. (Other errors are told once, so the receive would take them for the end.)
                Err(error)
                    if pipe.held() == 0
                        && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) =>
                {
                    pipe.keep();
                    self.leave_off(MOST_PASSES);
                    return Poll::Ready(Ok(false));
                }
                Err(error) => self.ended = Some(Err(error)),
            }
        }
        if pipe.held() > 0 {
            let sent = pipe.empty_into(self.to);
            self.pipe = Some(pipe);
            match sent? {
                Some(sent) => {
                    self.has_sent(sent);
                    self.may_take = true;
                }
                None => self.wait_for_room(),
            }
            return Poll::Ready(Ok(false));
        }
        // Who waits holds no pipe.
        pipe.keep();
        if let Some(ended) = self.ended.take() {
            return Poll::Ready(ended.map(|()| true));
        }
        if !self.may_take {
            self.may_take = true;
            if self.in_a_row >= MUCH {
                self.in_a_row = 0;
                self.wait_for_data();
            } else {
                self.leave_off(self.next_passes);
            }
        }
        Poll::Ready(Ok(false))
    }

    fn begin_to_splice(&self) -> io::Result<Pipe> {
        self.from.socket().set_at_once()?;
        self.to.set_at_once()?;
        Pipe::take()
    }

    /// A pipe was not worth it. If it had nothing to carry at all, it is tried again later and later.
    fn leave_off(&mut self, passes: u32) {
        self.way = Way::Receive;
        (self.passes, self.next_passes) = match self.in_a_row {
            0 => (passes, (self.next_passes * 2 + 1).min(MOST_PASSES)),
            _ => (0, 0),
        };
    }

    fn poll_to_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        ready!(self.to.poll_settled(cx));
        loop {
            if let Some(waits) = &mut self.waits {
                match Pin::new(waits).poll(cx) {
                    Poll::Ready(ready) => ready.map(drop)?,
                    Poll::Pending => return self.poll_broken_off(cx).map(Err),
                }
                self.waits = None;
            }
            if self.in_turn >= TURN {
                self.in_turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let over = match self.way {
                Way::Receive => ready!(self.poll_receive(cx))?,
                Way::Splice => ready!(self.poll_splice(cx))?,
            };
            if over {
                return Poll::Ready(Ok(self.moved));
            }
        }
    }
}

impl Future for Forward<'_> {
    type Output = io::Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_to_end(cx)
    }
}

impl Drop for Forward<'_> {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // It holds that much, and so gives it at once.
            if let Ok(bytes) = pipe.take_all() {
                self.from.put_back(bytes);
            }
            pipe.keep();
        }
        if let Some(Err(error)) = self.ended.take() {
            self.from.put_back_error(error);
        }
    }
}
