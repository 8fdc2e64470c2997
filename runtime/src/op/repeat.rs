//! Operations that are done again and again, one at a time, in the slot where they are.
//!
//! ```text
//!  Op (idle) --first poll--> armed --completion, fetched--> resting --polled--> armed ...
//! ```
//!
//! A resting operation stays in its slot. If its owner goes it ends as if it had been cancelled with nothing done.

use std::task::{Context, Poll, ready};

use super::context::{self, Operations};
use super::slot::Key;
use super::{Completion, Op, OpState, Operation, on_another_core, poll_end, submit_again};

/// An operation that can be done again after it has ended.
///
/// # Safety
///
/// As for [`Operation`]; between a completion and the next submission the kernel uses nothing of it.
pub(super) unsafe trait Repeat: Operation {
    /// What a completion gives, as [`Operation::complete`] would.
    fn output(&mut self, completion: Completion) -> Self::Output;
}

/// The owner of such an operation.
#[derive(Debug)]
pub(super) struct Repeating<O: Repeat> {
    op: Op<O>,
    resting: bool,
}

impl<O: Repeat> Repeating<O> {
    pub(super) fn new(operation: O) -> Self {
        Self { op: Op::new(operation), resting: false }
    }

    /// Whether the kernel has it, or it has ended and was not fetched.
    pub(super) fn is_armed(&self) -> bool {
        self.op.is_submitted() && !self.resting
    }

    pub(super) fn ask_to_cancel(&self) {
        self.op.ask_to_cancel();
    }

    /// Changes the operation while it rests, or before it was armed first.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut O)) {
        match &mut self.op.state {
            OpState::Idle(operation) => change(operation),
            OpState::Submitted { core, key } if self.resting => {
                context::with(|operations| {
                    let mut slots = operations.slots.borrow_mut();
                    let Some((_, contents)) = slots.get(*key).filter(|_| operations.core == *core) else {
                        return;
                    };
                    drop(slots);
                    // SAFETY: the operation lies there, the kernel has let go of it, and only its owner looks at it.
                    let mut operation = unsafe { contents.get::<O>() };
                    // SAFETY: as above.
                    change(unsafe { operation.as_mut() });
                });
            }
            OpState::Submitted { .. } | OpState::Over => unreachable!("changed only while it rests"),
        }
    }

    /// Fetches the next output; arms the operation if it rests. `cancelled_as` as for [`Op::poll_as`].
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, cancelled_as: Option<i32>) -> Poll<O::Output> {
        let OpState::Submitted { core, key } = self.op.state else {
            return self.op.poll_as(cx, cancelled_as);
        };
        let polled = context::with(|operations| {
            if !operations.is_running() {
                return None;
            }
            if core != operations.core {
                on_another_core(core, operations.core);
            }
            if self.resting {
                let waker = cx.waker().clone();
                submit_again::<O>(operations, key);
                self.resting = false;
                context::begin_to_wait(operations, key, waker);
                return Some(Poll::Pending);
            }
            let polled = fetch::<O>(operations, key, cx, cancelled_as);
            self.resting = polled.is_ready();
            Some(polled)
        });
        match polled.flatten() {
            Some(polled) => polled,
            None => self.op.outside_a_runtime(),
        }
    }
}

#[inline]
fn fetch<O: Repeat>(
    operations: &Operations,
    key: Key,
    cx: &mut Context<'_>,
    cancelled_as: Option<i32>,
) -> Poll<O::Output> {
    let (contents, completion) = ready!(poll_end::<O>(operations, key, cx, cancelled_as));
    operations.slots.borrow_mut().rest(key.index);
    // SAFETY: an O lies there: it is not taken out while its owner has it.
    let mut operation = unsafe { contents.get::<O>() };
    // SAFETY: the kernel has let go of it, and only its owner looks at it.
    Poll::Ready(unsafe { operation.as_mut() }.output(completion))
}
