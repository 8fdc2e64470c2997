//! What has arrived at a socket of messages, whoever asked for it.
//!
//! ```text
//!  receive --> something kept? --> the ring --> output
//!                  ^                  | dropped, in either window
//!                  +------------------+
//! ```
//!
//! Invariant: one receive of a socket is with the kernel at a time, or has been dropped and is about to end; the others
//! wait for it. So what a dropped one brings nevertheless is kept before anybody else asks the kernel, and comes first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::datagram::Message;
use crate::sys::wake::wake_all;

/// What has arrived at a socket and was given to nobody, and who waits for it. Its handles are all the same.
#[derive(Clone, Default)]
pub struct Arrivals(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: VecDeque<Kept>,
    /// A receive is with the kernel, or was dropped and has not ended.
    taken: bool,
    waiting: Vec<Waker>,
    /// How many receives do without a look whether something lies there, after one that found nothing; and how many of these
    /// are still to come.
    skips: u8,
    skips_left: u8,
}

/// The most receives that do without.
const MOST_SKIPS: u8 = 31;

/// A message that was received for somebody who had gone.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) message: Message,
    pub(super) bytes: Vec<u8>,
}

impl Arrivals {
    /// Nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no receive is with the kernel.
    pub fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.taken {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether something is kept.
    pub fn is_empty(&self) -> bool {
        self.state().kept.is_empty()
    }

    /// Whether nothing is kept, and nothing is going to be.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.kept.is_empty() && !state.taken
    }

    /// The first that is kept.
    pub(super) fn take(&self) -> Option<Kept> {
        self.state().kept.pop_front()
    }

    /// Looks at the first that is kept.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Kept) -> T) -> Option<T> {
        self.state().kept.front().map(look)
    }

    /// Keeps what is left of the first.
    pub(super) fn keep_first(&self, kept: Kept) {
        self.state().kept.push_front(kept);
    }

    /// Puts bytes of a stream before all else.
    pub(super) fn put_back(&self, bytes: Vec<u8>) {
        self.keep_first(Kept { message: Message::of_bytes(bytes.len()), bytes });
    }

    pub(super) fn keep(&self, kept: Kept) {
        self.state().kept.push_back(kept);
    }

    /// All that is kept, in the order of arrival: the bytes, and the rest.
    pub fn take_all(&self) -> Vec<(Vec<u8>, Message)> {
        self.state().kept.drain(..).map(|kept| (kept.bytes, kept.message)).collect()
    }

    /// Whether nothing is kept, and the next receive had better look first whether something lies there. Where that has been in
    /// vain, more and more receives do without: of a socket on which one message comes after the other, each is waited for.
    pub(super) fn is_worth_a_look(&self) -> bool {
        let mut state = self.state();
        if !state.kept.is_empty() {
            return false;
        }
        let is_worth_it = state.skips_left == 0;
        state.skips_left = state.skips_left.saturating_sub(1);
        is_worth_it
    }

    /// What such a look came to.
    pub(super) fn has_looked(&self, found: bool) {
        let mut state = self.state();
        state.skips = if found { 0 } else { (state.skips * 2 + 1).min(MOST_SKIPS) };
        state.skips_left = state.skips;
    }

    /// The kernel gets a receive.
    pub(super) fn claim(&self) -> Claim {
        self.state().taken = true;
        Claim(self.clone())
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arrivals({} kept)", self.state().kept.len())
    }
}

/// The hold of the one receive that is with the kernel.
#[derive(Debug)]
pub(super) struct Claim(Arrivals);

impl Drop for Claim {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.state();
            state.taken = false;
            std::mem::take(&mut state.waiting)
        };
        wake_all(waiting.into_iter());
    }
}
