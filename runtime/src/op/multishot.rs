//! Multishot operations: one submission, many completions.
//!
//! Completions queue up in the slot until somebody fetches them, so a fetch that is dropped loses nothing. The
//! kernel ends a multishot when it likes (an error, an overflow, no buffers, K14); then it is armed again by the next
//! fetch that finds the queue empty. When more lies there than anybody fetches, it is stopped, and armed again once
//! the queue has been emptied: so the backlog stays where the kernel bounds it.

use std::collections::VecDeque;
use std::fmt;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use super::context::{self, Operations};
use super::slot::{Contents, Key, Queued, State, Vtable};
use super::{Submission, on_another_core};
use crate::ring::Completion;
use crate::sys::current::{self, CoreId};

/// How many completions may lie unfetched before the kernel is asked to stop.
const ENOUGH: usize = 256;

/// Something that the kernel completes again and again.
///
/// # Safety
///
/// As for [`Operation`](super::Operation): what [`submission`](Self::submission) points to is owned by `self`, at an
/// address that stays.
pub unsafe trait MultishotOperation: 'static {
    /// What each completion gives.
    type Item;

    /// Describes it to the kernel. Called again whenever it has ended and more is wanted.
    fn submission(&mut self) -> Submission;

    /// Whether a completion gives an item. If not it is passed over, and the operation armed again if it was the last.
    fn gives_item(&mut self, _completion: Completion) -> bool {
        true
    }

    /// Makes the item of one completion. Also called for what nobody fetched, and the item then dropped (see
    /// [`orphaned`](Self::orphaned)): that must close a descriptor and give a buffer back.
    fn item(&mut self, completion: Completion) -> Self::Item;

    /// A completion that nobody will fetch. The default makes the item, and drops it.
    fn orphaned(&mut self, completion: Completion) {
        drop(self.item(completion));
    }

    /// Whether everything on its descriptor was cancelled since this was asked last. One that the kernel had ended by
    /// then is not armed again: it gives the error `ECANCELED`, as one that was armed does.
    fn takes_cancel(&mut self) -> bool {
        false
    }

    /// Its owner was dropped while the kernel has it: it will end as an orphan.
    fn abandoned(&mut self) {}
}

/// The owner of a [`MultishotOperation`]. It belongs to a listener or a stream, whose calls fetch from it.
///
/// # Cancel safety
///
/// What has been completed stays until it is fetched, whichever future asked for it. Dropping the multishot cancels
/// it and gives up what was not fetched.
pub struct Multishot<M: MultishotOperation> {
    state: MultishotState<M>,
}

enum MultishotState<M> {
    Idle(M),
    Active { core: CoreId, key: Key },
    Over,
}

/// What lies in the slot.
struct Stored<M> {
    operation: M,
    completed: VecDeque<Completion>,
    waiting: Vec<Waker>,
    /// It was asked to stop because nobody fetched.
    stopped: bool,
}

impl<M: MultishotOperation> Stored<M> {
    const VTABLE: Vtable = Vtable {
        queue: Some(queue::<M>),
        dispose: dispose::<M>,
        resume: None,
        abandoned: abandoned::<M>,
        has_result: only_items,
        cancel_on_drop: true,
    };
    const TABLE: &'static Vtable = &Self::VTABLE;

    fn wait(&mut self, cx: &mut Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }
}

/// All that it has goes to the queue.
fn only_items(_: Contents, _: Completion) {}

/// # Safety
///
/// A `Stored<M>` lies in `contents`, and nobody else here looks at it now.
unsafe fn queue<M: MultishotOperation>(contents: Contents, completion: Completion) -> Queued {
    // SAFETY: the caller's promise.
    let mut place = unsafe { contents.get::<Stored<M>>() };
    // SAFETY: the kernel uses what the operation owns, never the queue; nobody else here looks at it now.
    let stored = unsafe { place.as_mut() };
    stored.completed.push_back(completion);
    let enough = stored.completed.len() == ENOUGH;
    stored.stopped |= enough;
    Queued { wakers: std::mem::take(&mut stored.waiting), enough }
}

/// # Safety
///
/// A `Stored<M>` that the kernel has let go of lies in `contents`, and nobody will look at it again.
unsafe fn dispose<M: MultishotOperation>(contents: Contents, last: Completion) {
    // SAFETY: the caller's promise.
    let mut stored = unsafe { contents.take::<Stored<M>>() };
    // If the owner went after the end had come, `last` is the made-up one from `start`, which gives nothing.
    stored.completed.push_back(last);
    for completion in stored.completed {
        stored.operation.orphaned(completion);
    }
}

/// # Safety
///
/// A `Stored<M>` lies in `contents`, and nobody else here looks at it now.
unsafe fn abandoned<M: MultishotOperation>(contents: Contents) {
    // SAFETY: the caller's promise.
    let mut place = unsafe { contents.get::<Stored<M>>() };
    // SAFETY: `abandoned` touches nothing that the kernel uses: that is the trait's contract.
    unsafe { place.as_mut() }.operation.abandoned();
}

impl<M: MultishotOperation> Multishot<M> {
    /// The owner of `operation`. Nothing is submitted before the first fetch.
    pub fn new(operation: M) -> Self {
        Self { state: MultishotState::Idle(operation) }
    }

    /// Fetches the next item; any number of tasks may wait for it.
    ///
    /// # Panics
    ///
    /// When polled outside a runtime, or on another core than before.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<M::Item> {
        let polled = context::with(|operations| {
            if !operations.is_running() {
                return None;
            }
            let key = match self.state {
                MultishotState::Active { core, .. } if core != operations.core => {
                    on_another_core(core, operations.core)
                }
                MultishotState::Active { key, .. } => key,
                MultishotState::Idle(_) | MultishotState::Over => self.start(operations),
            };
            Some(poll_active::<M>(operations, key, cx))
        });
        match (polled.flatten(), &self.state) {
            (Some(polled), _) => polled,
            (None, MultishotState::Active { core, .. }) if *core != current::core() => {
                on_another_core(*core, current::core())
            }
            (None, _) => panic!("a listener or stream was used outside a runtime"),
        }
    }

    /// Cancels it, waits until the kernel has let go, and gives up what was not fetched.
    pub async fn close(self) {
        let MultishotState::Active { core, key } = self.state else {
            return;
        };
        let mut asked = false;
        std::future::poll_fn(|cx| {
            context::with(|operations| {
                if operations.core != core || has_ended::<M>(operations, key, cx) {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut asked, true) {
                    operations.cancel(key);
                }
                Poll::Pending
            })
            .unwrap_or(Poll::Ready(()))
        })
        .await;
    }

    /// Cancels it, waits until the kernel has let go, and gives what was not fetched.
    pub async fn into_items(self) -> Vec<M::Item> {
        let MultishotState::Active { core, key } = self.state else {
            return Vec::new();
        };
        let mut asked = false;
        std::future::poll_fn(|cx| {
            let polled = context::with(|operations| {
                if operations.core != core {
                    return Poll::Ready(Vec::new());
                }
                if has_ended::<M>(operations, key, cx) {
                    return Poll::Ready(left::<M>(operations, key));
                }
                if !std::mem::replace(&mut asked, true) {
                    operations.cancel(key);
                }
                Poll::Pending
            });
            polled.unwrap_or(Poll::Ready(Vec::new()))
        })
        .await
    }

    fn start(&mut self, operations: &Operations) -> Key {
        let MultishotState::Idle(mut operation) = std::mem::replace(&mut self.state, MultishotState::Over) else {
            panic!("a multishot was used after its submission had panicked");
        };
        // What was cancelled before it began has nothing to do with it.
        operation.takes_cancel();
        let (key, contents) = operations.slots.borrow_mut().reserve(Stored::<M>::TABLE);
        let stored = Stored { operation, completed: VecDeque::new(), waiting: Vec::new(), stopped: false };
        // SAFETY: the slot has just been reserved.
        unsafe { contents.place(stored) };
        // As if it had ended: the first fetch arms it.
        operations.end(key, -libc::ECANCELED);
        self.state = MultishotState::Active { core: operations.core, key };
        key
    }
}

/// What lies in the slot of a multishot, and whether the kernel has ended it.
fn stored<M: MultishotOperation>(operations: &Operations, key: Key) -> (NonNull<Stored<M>>, bool) {
    let mut slots = operations.slots.borrow_mut();
    let Some((header, contents)) = slots.get(key) else {
        unreachable!("the slot is freed only when its owner has gone")
    };
    // SAFETY: the owner placed a `Stored<M>` here.
    (unsafe { contents.get::<Stored<M>>() }, header.state == State::Done)
}

/// Whether the kernel has ended it; if not, its next completion wakes the task.
fn has_ended<M: MultishotOperation>(operations: &Operations, key: Key, cx: &mut Context<'_>) -> bool {
    let (mut place, ended) = stored::<M>(operations, key);
    // SAFETY: the kernel uses what the operation owns, never the queue; nobody else here looks at it now.
    unsafe { place.as_mut() }.wait(cx);
    ended
}

/// The items that wait in a multishot which the kernel has ended. That it was cancelled is not one.
fn left<M: MultishotOperation>(operations: &Operations, key: Key) -> Vec<M::Item> {
    let (mut place, _) = stored::<M>(operations, key);
    // SAFETY: the kernel has let go of it; nobody else here looks at it now.
    let stored = unsafe { place.as_mut() };
    let completed = std::mem::take(&mut stored.completed);
    let news = completed.into_iter().filter(|completion| completion.result != -libc::ECANCELED);
    news.map(|completion| stored.operation.item(completion)).collect()
}

fn poll_active<M: MultishotOperation>(operations: &Operations, key: Key, cx: &mut Context<'_>) -> Poll<M::Item> {
    let (mut place, ended) = stored::<M>(operations, key);
    // SAFETY: the kernel uses what the operation owns, never the queue; nobody else here looks at it now.
    let stored = unsafe { place.as_mut() };
    while let Some(completion) = stored.completed.pop_front() {
        // That it was stopped because nobody fetched is not news to whoever does.
        let cancelled = completion.result == -libc::ECANCELED;
        let stopped = cancelled && !stored.operation.takes_cancel() && std::mem::take(&mut stored.stopped);
        if !stopped && stored.operation.gives_item(completion) {
            return Poll::Ready(stored.operation.item(completion));
        }
    }
    stored.wait(cx);
    if ended {
        stored.stopped = false;
        if stored.operation.takes_cancel() {
            return Poll::Ready(stored.operation.item(Completion { user_data: 0, result: -libc::ECANCELED, flags: 0 }));
        }
        let entry = stored.operation.submission();
        operations.slots.borrow_mut().begin_again(key.index);
        // SAFETY: the entry was made by the operation in this slot.
        unsafe { context::submit(operations, key, entry) };
    }
    Poll::Pending
}

impl<M: MultishotOperation> Drop for Multishot<M> {
    fn drop(&mut self) {
        if let MultishotState::Active { core, key } = self.state {
            context::abandon(core, key);
        }
    }
}

impl<M: MultishotOperation> fmt::Debug for Multishot<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            MultishotState::Idle(_) => "Multishot(not submitted)",
            MultishotState::Active { .. } => "Multishot(submitted)",
            MultishotState::Over => "Multishot(over)",
        })
    }
}
