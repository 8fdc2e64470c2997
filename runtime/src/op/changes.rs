//! The barrier behind changes of names that were dropped, and changes that are made on other threads.
//!
//! A change whose future was dropped while the kernel had it may still happen: the unlink of a name, for example, after
//! the same name was made anew. So whatever comes later on names of the same core waits until such orphans have ended;
//! what comes later on a descriptor waits for those of that descriptor (`super::descriptor`).
//!
//! ```text
//!   Changing --abandoned--> counted in NameChanges --dropped with its operation--> not counted, waiters woken
//!   begin_elsewhere: (Here, Elsewhere)   Here dropped before Elsewhere: as abandoned;   Elsewhere dropped: over
//! ```
//!
//! Invariant: what is counted is dropped, whatever becomes of it; so nobody waits for ever for what has ended.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::context;
use super::descriptor::{Descriptor, Held};
use crate::sys::wake::wake_all;

/// A core's changes of names that nobody awaits any more and that may still happen.
#[derive(Clone, Debug, Default)]
pub(super) struct NameChanges(Arc<Orphans>);

#[derive(Debug, Default)]
struct Orphans {
    count: AtomicU32,
    waiting: Mutex<Vec<Waker>>,
}

impl NameChanges {
    #[inline]
    pub(super) fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Acquire: pairs with the Release in `end`.
        if self.0.count.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { self.wait(cx) }
    }

    #[cold]
    fn wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if self.0.count.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn begin(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        // Release: pairs with the Acquire in `poll_settled`.
        if self.0.count.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting());
        wake_all(waiting.into_iter());
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until no dropped operation of this thread's core can change a name any more.
///
/// For what looks at names, or changes them, by other means than the operations in here: these wait by themselves.
#[inline]
pub fn poll_names_settled(cx: &mut Context<'_>) -> Poll<()> {
    context::with(|operations| operations.names.poll_settled(cx)).unwrap_or(Poll::Ready(()))
}

/// What an operation that changes names has: it counts as an orphan once the operation is one.
#[derive(Debug, Default)]
pub(super) struct Changing {
    counted: Option<NameChanges>,
}

impl Changing {
    /// From now on it counts, until it is dropped. On the core of the operation.
    pub(super) fn abandon(&mut self) {
        if self.counted.is_none() {
            self.abandon_to(context::with(|operations| operations.names.clone()));
        }
    }

    fn abandon_to(&mut self, names: Option<NameChanges>) {
        if let Some(names) = &names {
            names.begin();
        }
        self.counted = names;
    }
}

impl Drop for Changing {
    #[inline]
    fn drop(&mut self) {
        if let Some(names) = &self.counted {
            names.end();
        }
    }
}

/// Begins a change of names that a call on another thread makes. Await that no earlier one is left
/// ([`poll_names_settled`]) before.
pub fn change_names_elsewhere() -> (Here, Elsewhere) {
    let names = context::with(|operations| operations.names.clone());
    both(What::Names(Changing::default(), names))
}

/// Begins a change of what is open that a call on another thread makes. Await that no earlier one is left
/// ([`Descriptor::poll_settled`]) before.
pub fn change_elsewhere(descriptor: &Descriptor) -> (Here, Elsewhere) {
    both(What::Open(Held::to_change(descriptor)))
}

/// The side of a change elsewhere that stays with the future which awaits it. If that is dropped before the call has
/// ended, everything later waits for the call.
#[derive(Debug)]
pub struct Here(Arc<Mutex<Stage>>);

/// The side of a change elsewhere that goes with the call: to be dropped when the call has returned, or when it will
/// not be made.
#[derive(Debug)]
pub struct Elsewhere(Arc<Mutex<Stage>>);

#[derive(Debug)]
enum Stage {
    UnderWay(What),
    Over,
}

#[derive(Debug)]
enum What {
    Names(Changing, Option<NameChanges>),
    Open(Held),
}

fn both(what: What) -> (Here, Elsewhere) {
    let stage = Arc::new(Mutex::new(Stage::UnderWay(what)));
    (Here(stage.clone()), Elsewhere(stage))
}

impl Drop for Here {
    fn drop(&mut self) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::UnderWay(What::Names(changing, names)) => changing.abandon_to(names.take()),
            Stage::UnderWay(What::Open(held)) => held.abandon(),
            Stage::Over => {}
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), Stage::Over);
        // With the lock released: this wakes others.
        drop(stage);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn begun(names: &NameChanges) -> (Here, Elsewhere) {
        both(What::Names(Changing::default(), Some(names.clone())))
    }

    #[test]
    fn a_change_that_is_awaited_holds_nobody_up() {
        let names = NameChanges::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (here, elsewhere) = begun(&names);
        assert!(names.poll_settled(&mut cx).is_ready());
        drop(elsewhere);
        drop(here);
        assert!(names.poll_settled(&mut cx).is_ready());
    }

    #[test]
    fn what_comes_after_a_dropped_change_waits_for_its_end() {
        let names = NameChanges::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let (here, elsewhere) = begun(&names);
        drop(here);
        assert!(names.poll_settled(&mut cx).is_pending());
        assert!(!woken.0.load(Ordering::Relaxed));
        std::thread::spawn(move || drop(elsewhere)).join().expect("no panic");
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(names.poll_settled(&mut cx).is_ready());
    }
}
