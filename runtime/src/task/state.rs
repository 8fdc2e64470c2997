//! The word of a task that other threads touch.
//!
//! A task's references are counted in two places: those that its own core takes and gives in a plain counter, all
//! others in this word. A reference may be taken in one place and given back in the other, so only the sum means
//! something: the task's memory is given up when the sum is none. While the core lives, only the core does that; the
//! last reference that is given back elsewhere is sent home instead.
//!
//! ```text
//!           others                              the core
//! wake      NOTIFIED, and a reference           takes it out of the inbox: clears NOTIFIED,
//!           goes into the inbox with it         schedules the task, gives the reference back
//! drop      one less; or, once COMPLETE,        the same, without scheduling
//!           sent home as a wake is
//! end                                           sets COMPLETE (unless nobody else holds a reference)
//! core gone CLOSED, one less, and the last      closes the inbox; its counter never changes again
//!           one frees
//! ```
//!
//! All of it is in one word, so there is one order of events, which `tests` checks with every interleaving (loom).

use corering_sync::shim::atomic::{AtomicUsize, Ordering};

/// In the core's inbox, or on its way there, with one reference.
const NOTIFIED: usize = 1;
/// The future has ended and will not be polled again.
const COMPLETE: usize = 2;
/// The core is gone: whoever gives the last reference back frees.
const CLOSED: usize = 4;
/// Holds a count of the core's shared part, because a waker was cloned.
const SHARED: usize = 8;
/// One reference; the count is a signed number above it.
const REFERENCE: usize = 16;

#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// Push the task into its core's inbox: a reference goes with it.
    Send,
    /// The last reference may be gone: free if the core's counter plus this number is none.
    FreeIfNone(isize),
}

/// The count above the flags. The shift keeps the sign: it may be below zero, when more was given back here than
/// taken.
fn count(word: usize) -> isize {
    word as isize >> REFERENCE.trailing_zeros()
}

impl State {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Takes a reference, elsewhere than on the core.
    pub(super) fn take(&self) {
        // Relaxed: whoever takes one holds one.
        self.0.fetch_add(REFERENCE, Ordering::Relaxed);
    }

    /// Gives a reference back, elsewhere than on the core.
    pub(super) fn give_back(&self) -> Then {
        self.change(|word| {
            if word & CLOSED != 0 {
                let word = word.wrapping_sub(REFERENCE);
                return (word, Then::FreeIfNone(count(word)));
            }
            match word & (COMPLETE | NOTIFIED) {
                COMPLETE => (word | NOTIFIED, Then::Send),
                // The core has one of its own, or will look at the count when it opens the inbox.
                _ => (word.wrapping_sub(REFERENCE), Then::Nothing),
            }
        })
    }

    /// Wakes the task, elsewhere than on the core, and gives the waker's reference back or sends it along.
    pub(super) fn wake(&self) -> Then {
        self.change(|word| match word & (COMPLETE | NOTIFIED | CLOSED) {
            0 => (word | NOTIFIED, Then::Send),
            NOTIFIED => (word.wrapping_sub(REFERENCE), Then::Nothing),
            COMPLETE => (word | NOTIFIED, Then::Send),
            state if state & CLOSED != 0 => {
                let word = word.wrapping_sub(REFERENCE);
                (word, Then::FreeIfNone(count(word)))
            }
            _ => (word.wrapping_sub(REFERENCE), Then::Nothing),
        })
    }

    /// Wakes the task, elsewhere than on the core, and keeps the waker.
    pub(super) fn wake_by_ref(&self) -> Then {
        self.change(|word| match word & (COMPLETE | NOTIFIED | CLOSED) {
            0 => (word.wrapping_add(REFERENCE) | NOTIFIED, Then::Send),
            // Written all the same: what was done before this wake must be seen by the poll that is coming.
            _ => (word, Then::Nothing),
        })
    }

    /// The inbox is closed: nobody took what [`Then::Send`] was about.
    pub(super) fn refused(&self) -> Then {
        self.change(|word| {
            let word = (word | CLOSED).wrapping_sub(REFERENCE);
            (word, Then::FreeIfNone(count(word)))
        })
    }

    /// On the core: the task was taken out of the inbox. Whether it can still be scheduled. The reference that came
    /// along is the core's now.
    pub(super) fn received(&self) -> bool {
        // Acquire: pairs with the Release in `wake`. Release: a later wake must find the bit clear.
        self.0.fetch_and(!NOTIFIED, Ordering::AcqRel) & COMPLETE == 0
    }

    /// On the core: the future has ended. The references counted here at that moment: what is given back from now on
    /// is sent home.
    pub(super) fn complete(&self) -> isize {
        count(self.0.fetch_or(COMPLETE, Ordering::AcqRel))
    }

    /// On the core: the references counted here. With the core's own, an exact sum.
    #[inline]
    pub(super) fn count(&self) -> isize {
        // Acquire: whoever has given back has done with the task.
        count(self.0.load(Ordering::Acquire))
    }

    /// Whether the task holds a count of the core's shared part.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.0.load(Ordering::Relaxed) & SHARED != 0
    }

    /// Says that it does. True for the one who has to take the count.
    pub(super) fn share(&self) -> bool {
        self.0.fetch_or(SHARED, Ordering::AcqRel) & SHARED == 0
    }

    #[inline]
    fn change(&self, mut to: impl FnMut(usize) -> (usize, Then)) -> Then {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (new, then) = to(word);
            // Release: what was done before is seen by the core, and by whoever frees. Acquire: whoever frees sees
            // what all others have done.
            match self.0.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return then,
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_count_may_be_below_zero_whatever_the_flags() {
        let state = State::new();
        assert_eq!(state.give_back(), Then::Nothing);
        assert_eq!(state.count(), -1);
        state.share();
        assert_eq!(state.count(), -1);
        state.take();
        state.take();
        assert_eq!(state.count(), 1);
    }

    #[test]
    fn a_burst_of_wakes_goes_into_the_inbox_once() {
        let state = State::new();
        assert_eq!(state.wake_by_ref(), Then::Send);
        assert_eq!(state.wake_by_ref(), Then::Nothing);
        assert!(state.received());
        assert_eq!(state.wake_by_ref(), Then::Send);
    }

    #[test]
    fn what_is_given_back_after_the_end_is_sent_home() {
        let state = State::new();
        state.complete();
        assert_eq!(state.give_back(), Then::Send);
        assert_eq!(state.give_back(), Then::Nothing, "the core looks when it opens the inbox");
        assert!(!state.received());
        assert_eq!(state.count(), -1);
    }

    #[test]
    fn once_the_core_is_gone_the_last_one_frees() {
        let state = State::new();
        state.take();
        state.take();
        state.complete();
        assert_eq!(state.give_back(), Then::Send);
        assert_eq!(state.refused(), Then::FreeIfNone(1));
        assert_eq!(state.give_back(), Then::FreeIfNone(0));
    }
}

/// A core and two other threads, in every order.
#[cfg(all(test, loom))]
mod loom_tests {
    use std::ptr::NonNull;

    use corering_sync::inbox::{Inbox, Node};
    use corering_sync::shim::atomic::AtomicPtr;
    use loom::cell::Cell;
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    struct Task {
        link: AtomicPtr<Task>,
        state: State,
        /// The core's counter: loom reports it if two threads get at it without order.
        local: Cell<isize>,
        freed: AtomicUsize,
        inbox: Inbox<Task>,
    }

    // SAFETY: `link` returns the one link, which only the inbox writes.
    unsafe impl Node for Task {
        fn link(&self) -> &AtomicPtr<Task> {
            &self.link
        }
    }

    // SAFETY: `local` is the point of the test; loom checks it.
    unsafe impl Sync for Task {}
    // SAFETY: as above.
    unsafe impl Send for Task {}

    impl Task {
        /// With `local` references taken by the core.
        fn new(local: isize) -> Arc<Self> {
            Arc::new(Self {
                link: AtomicPtr::new(std::ptr::null_mut()),
                state: State::new(),
                local: Cell::new(local),
                freed: AtomicUsize::new(0),
                inbox: Inbox::new(),
            })
        }

        fn free_if(&self, none: bool) {
            if none {
                assert_eq!(self.freed.fetch_add(1, Ordering::SeqCst), 0, "freed twice");
            }
        }

        /// What a thread elsewhere does with the answer.
        fn act(&self, then: Then) {
            match then {
                Then::Nothing => {}
                // SAFETY: the task outlives the model; NOTIFIED keeps it from being pushed twice.
                Then::Send => match unsafe { self.inbox.push(NonNull::from(self)) } {
                    Ok(()) => {}
                    Err(_) => self.act(self.state.refused()),
                },
                Then::FreeIfNone(count) => self.free_if(self.local.get() + count == 0),
            }
        }

        /// The core opens its inbox; whether it would have scheduled the task.
        fn open(&self) -> bool {
            let mut scheduled = false;
            for _ in self.inbox.take() {
                scheduled |= self.state.received();
                self.release();
            }
            scheduled
        }

        fn release(&self) {
            self.local.set(self.local.get() - 1);
            self.free_if(self.local.get() + self.state.count() == 0);
        }

        /// The task has ended: the core gives its own reference back, as `Header::release_own` does.
        fn release_own(&self) {
            let left = self.local.get() - 1;
            self.local.set(left);
            if left + self.state.count() == 0 {
                self.free_if(true);
            } else {
                let count = self.state.complete();
                self.free_if(left + count == 0);
            }
        }

        fn close(&self) {
            for _ in self.inbox.close() {
                self.act(self.state.refused());
            }
        }
    }

    #[test]
    fn a_task_is_freed_once_whatever_the_order_of_wakes_drops_and_its_end() {
        loom::model(|| {
            // The core's own reference, and two wakers that it cloned and sent away.
            let task = Task::new(3);
            let others: Vec<_> = [false, true]
                .map(|wakes| {
                    let task = task.clone();
                    thread::spawn(move || {
                        let then = if wakes { task.state.wake() } else { task.state.give_back() };
                        task.act(then);
                    })
                })
                .into();
            task.open();
            task.release_own();
            task.open();
            for other in others {
                other.join().unwrap();
            }
            task.open();
            assert_eq!(task.freed.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_task_is_freed_once_when_its_core_goes_meanwhile() {
        loom::model(|| {
            let task = Task::new(3);
            let others: Vec<_> = [false, true]
                .map(|wakes| {
                    let task = task.clone();
                    thread::spawn(move || {
                        let then = if wakes { task.state.wake() } else { task.state.give_back() };
                        task.act(then);
                    })
                })
                .into();
            task.release_own();
            task.close();
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(task.freed.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_task_is_freed_once_when_its_last_wakers_are_dropped_while_it_ends() {
        loom::model(|| {
            let task = Task::new(3);
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let task = task.clone();
                    thread::spawn(move || task.act(task.state.give_back()))
                })
                .collect();
            task.release_own();
            for other in others {
                other.join().unwrap();
            }
            task.open();
            assert_eq!(task.freed.load(Ordering::SeqCst), 1);
        });
    }

    #[test]
    fn a_wake_that_races_with_the_inbox_is_never_lost() {
        loom::model(|| {
            let task = Task::new(3);
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let task = task.clone();
                    thread::spawn(move || {
                        task.act(task.state.wake_by_ref());
                        task.act(task.state.give_back());
                    })
                })
                .collect();
            let early = task.open();
            for other in others {
                other.join().unwrap();
            }
            let late = task.open();
            assert!(early || late, "two wakes and the task was never scheduled");
        });
    }
}
