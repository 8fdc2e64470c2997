//! Who waits on this thread, and for what: the ground on which a runtime can tell a deadlock from a pause.
//!
//! Every wait for a primitive of this crate hangs its `Parked` into a list of its thread, from when it has to wait
//! until it has taken its turn or was dropped. Nothing is allocated for that, and what need not wait never gets here.
//!
//! Invariant: what hangs in the list lies in a pinned future that has not been dropped, so it is alive; a future that
//! was forgotten stays in memory for ever.

use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;
use std::task::Waker;

thread_local! {
    static FIRST: Cell<Link> = const { Cell::new(None) };
}

type Link = Option<NonNull<Parked>>;

/// One wait, as its thread's list has it.
pub(crate) struct Parked {
    next: Cell<Link>,
    previous: Cell<Link>,
    waker: Cell<Option<Waker>>,
    /// What the waker points to, also when it has been woken and is gone.
    task: Cell<*const ()>,
    what: &'static str,
    pub(crate) at: &'static Location<'static>,
    /// It waits for what its own task held when it began to wait.
    held_by_itself: Cell<bool>,
}

impl Parked {
    pub(crate) fn new(what: &'static str, at: &'static Location<'static>) -> Self {
        Self {
            next: Cell::new(None),
            previous: Cell::new(None),
            waker: Cell::new(None),
            task: Cell::new(std::ptr::null()),
            what,
            at,
            held_by_itself: Cell::new(false),
        }
    }

    /// Hangs it into the list.
    ///
    /// # Safety
    ///
    /// It is in no list, does not move from now on, and [`leave`](Self::leave) is called before its memory is used
    /// for anything else.
    pub(crate) unsafe fn enter(&self, waker: Waker, held_by_itself: bool) {
        self.task.set(waker.data());
        self.waker.set(Some(waker));
        self.held_by_itself.set(held_by_itself);
        let this = NonNull::from(self);
        let before = FIRST.replace(Some(this));
        self.next.set(before);
        self.previous.set(None);
        if let Some(before) = before {
            // SAFETY: what hangs in the list is alive.
            unsafe { before.as_ref() }.previous.set(Some(this));
        }
    }

    /// Takes it out of the list it hangs in.
    ///
    /// # Safety
    ///
    /// It was hung into the list of this thread, and not taken out since.
    pub(crate) unsafe fn leave(&self) {
        let (previous, next) = (self.previous.get(), self.next.get());
        match previous {
            // SAFETY: what hangs in the list is alive, and our neighbour hangs there.
            Some(previous) => unsafe { previous.as_ref() }.next.set(next),
            None => FIRST.set(next),
        }
        if let Some(next) = next {
            // SAFETY: as above.
            unsafe { next.as_ref() }.previous.set(previous);
        }
    }

    /// Has it wake this waker from now on. The old one is returned, to be dropped with nothing borrowed.
    pub(crate) fn renew(&self, waker: &Waker) -> Option<Waker> {
        let old = self.waker.take();
        if old.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.waker.set(old);
            return None;
        }
        self.task.set(waker.data());
        // Cloning may run anybody's code, and finds nothing here meanwhile.
        self.waker.set(Some(waker.clone()));
        old
    }

    #[inline]
    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.waker.take()
    }
}

/// A wait on this thread.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// What it waits for: `Lock::lock`, `Queue::get`.
    pub what: &'static str,
    /// Where that was called.
    pub at: &'static Location<'static>,
    /// What the waker that it was given last points to: tells whose it is.
    pub task: *const (),
    /// Its turn has come: it was woken and has not been polled since.
    pub is_chosen: bool,
    /// When it began to wait, its own task had what it waits for.
    pub held_by_itself: bool,
}

/// All who wait on this thread for a primitive of this crate, latest first.
pub fn on_this_thread() -> Vec<Waiting> {
    let mut all = Vec::new();
    let mut next = FIRST.get();
    while let Some(parked) = next {
        // SAFETY: what hangs in the list is alive, and nothing in this loop runs anybody's code.
        let parked = unsafe { parked.as_ref() };
        let waker = parked.waker.take();
        all.push(Waiting {
            what: parked.what,
            at: parked.at,
            task: parked.task.get(),
            is_chosen: waker.is_none(),
            held_by_itself: parked.held_by_itself.get(),
        });
        parked.waker.set(waker);
        next = parked.next.get();
    }
    all
}
