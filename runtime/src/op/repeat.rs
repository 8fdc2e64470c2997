//! Operations that are done again and again, one at a time, in the slot where they are.
//!
//! ```text
//!  Op (idle) --first poll--> armed --completion, fetched--> resting --polled--> armed ...
//! ```
//!
//! A resting operation stays in its slot. If its owner goes it ends as if it had been cancelled with nothing done.

use std::task::{Context, Poll};

use super::context::{self, Operations};
use super::slot::State;
use super::{Completion, Op, OpState, Operation, Progress, on_another_core};

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
                self.resting = false;
                arm::<O>(operations, key);
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

/// Submits the operation in this slot, which the kernel does not have.
#[inline]
fn arm<O: Repeat>(operations: &Operations, key: super::Key) {
    let mut slots = operations.slots.borrow_mut();
    let Some((header, contents)) = slots.get(key) else { unreachable!("a slot is freed only when its owner has gone") };
    let rested = std::mem::replace(&mut header.state, State::InFlight) == State::Resting;
    slots.resting -= usize::from(rested);
    slots.in_flight += 1;
    drop(slots);
    // SAFETY: an O lies there, and only its owner looks at it while the kernel does not have it.
    let mut operation = unsafe { contents.get::<O>() };
    // SAFETY: as above.
    let entry = unsafe { operation.as_mut() }.submission();
    // SAFETY: the entry was made by the operation in this slot.
    unsafe { context::submit(operations, key, entry) };
}

#[inline]
fn fetch<O: Repeat>(
    operations: &Operations,
    key: super::Key,
    cx: &mut Context<'_>,
    cancelled_as: Option<i32>,
) -> Poll<O::Output> {
    loop {
        let mut slots = operations.slots.borrow_mut();
        let Some((header, contents)) = slots.get(key) else {
            unreachable!("a slot is freed only when its owner has gone")
        };
        if header.state != State::Done {
            drop(slots);
            context::wait(operations, key, cx.waker());
            return Poll::Pending;
        }
        let mut completion = Completion { user_data: 0, result: header.result, flags: header.flags };
        drop(slots);
        // SAFETY: an O lies there, and only its owner looks at it: the kernel has let go of it.
        let mut operation = unsafe { contents.get::<O>() };
        // SAFETY: as above.
        let operation = unsafe { operation.as_mut() };
        let mut progress = operation.progress(completion);
        if let Some(cancelled_as) = cancelled_as {
            if progress == Progress::Again || completion.result == -libc::ECANCELED {
                completion.result = cancelled_as;
                progress = Progress::Done;
            }
        }
        match progress {
            Progress::Done => {
                let mut slots = operations.slots.borrow_mut();
                slots.resting += 1;
                if let Some((header, _)) = slots.get(key) {
                    header.state = State::Resting;
                }
                drop(slots);
                return Poll::Ready(operation.output(completion));
            }
            Progress::Again => arm::<O>(operations, key),
        }
    }
}
