//! Operations that are ended early, by a deadline or by their owner, and give back what they have.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Op, OpState, Operation};
use crate::time::{Instant, Sleep, sleep_until};

impl<O: Operation> Op<O> {
    /// Ends the operation if it is not over after `limit`, counted from this call, and then fails it with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut), along with its buffer. A result that is there first wins.
    pub fn deadline(self, limit: Duration) -> Deadline<O> {
        self.deadline_at(Instant::now() + limit)
    }

    /// As [`deadline`](Self::deadline), at a point in time.
    pub fn deadline_at(self, deadline: Instant) -> Deadline<O> {
        Deadline { op: self, sleep: sleep_until(deadline), passed: false }
    }

    /// Asks the kernel to cancel the operation, and waits for what comes of it.
    ///
    /// The output is a result if it was faster; else the error `ECANCELED`, with the buffer. One that was never
    /// submitted never will be.
    pub fn cancel(self) -> Cancel<O> {
        Cancel { op: self, asked: false }
    }
}

/// An operation with a limit on its time; made by [`Op::deadline`].
#[must_use = "an operation does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Deadline<O: Operation> {
    op: Op<O>,
    sleep: Sleep,
    passed: bool,
}

impl<O: Operation> Future for Deadline<O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = &mut *self;
        let cancelled_as = this.passed.then_some(-libc::ETIMEDOUT);
        if let Poll::Ready(output) = this.op.poll_as(cx, cancelled_as) {
            return Poll::Ready(output);
        }
        if !this.passed && Pin::new(&mut this.sleep).poll(cx).is_ready() {
            this.passed = true;
            if let OpState::Idle(_) = this.op.state {
                return Poll::Ready(this.op.end_unsubmitted(-libc::ETIMEDOUT));
            }
            this.op.ask_to_cancel();
        }
        Poll::Pending
    }
}

/// An operation that is being cancelled; made by [`Op::cancel`].
#[must_use = "await it to get the operation's output back"]
#[derive(Debug)]
pub struct Cancel<O: Operation> {
    op: Op<O>,
    asked: bool,
}

impl<O: Operation> Future for Cancel<O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = &mut *self;
        if let OpState::Idle(_) = this.op.state {
            return Poll::Ready(this.op.end_unsubmitted(-libc::ECANCELED));
        }
        let polled = this.op.poll_as(cx, this.asked.then_some(-libc::ECANCELED));
        if polled.is_pending() && !this.asked {
            this.asked = true;
            this.op.ask_to_cancel();
        }
        polled
    }
}
