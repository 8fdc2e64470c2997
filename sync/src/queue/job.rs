//! Items on their way: what came out of a queue and is not done.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::wait::Source;
use crate::wait_list::{Turn, WaitList};

/// How many items of a queue are not done, and who waits until none is.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    unfinished: Cell<usize>,
    joiners: WaitList<()>,
}

impl Tracker {
    #[inline]
    pub(super) fn came(&self) {
        self.unfinished.set(self.unfinished.get() + 1);
    }

    #[inline]
    pub(super) fn done(&self, count: usize) {
        self.unfinished.set(self.unfinished.get() - count);
        if self.unfinished.get() == 0 {
            self.joiners.give_all(Turn::Given);
        }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.get()
    }
}

impl<W> Default for WaitList<W> {
    fn default() -> Self {
        Self::new()
    }
}

/// The wait of `join`.
#[derive(Debug)]
pub struct Joining<'a>(pub(super) &'a Tracker);

impl Source for Joining<'_> {
    type Want = ();
    type Output = ();
    const WHAT: &'static str = "Queue::join";

    fn list(&self) -> &WaitList<()> {
        &self.0.joiners
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        (self.0.unfinished() == 0).then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) {}

    fn pass_on(&self, _: &()) {}
}

/// An item that came out of a queue. Dropping it says that it is done (asyncio's `task_done`), also when whoever works
/// on it panics or is cancelled.
pub struct Job<T> {
    /// Dropped, or moved out, once: with the job.
    item: ManuallyDrop<T>,
    tracker: Rc<Tracker>,
}

impl<T> Job<T> {
    #[inline]
    pub(super) fn new(item: T, tracker: &Rc<Tracker>) -> Self {
        Self { item: ManuallyDrop::new(item), tracker: Rc::clone(tracker) }
    }

    /// Says that it is done. The same as dropping it.
    #[doc(alias = "task_done")]
    pub fn done(self) {}

    /// The item itself; says that the job is done.
    #[inline]
    pub fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the job is not dropped any more, so this is the one time.
        let item = unsafe { ManuallyDrop::take(&mut this.item) };
        // SAFETY: likewise: the tracker is read once, and not dropped where it was.
        let tracker = unsafe { std::ptr::read(&this.tracker) };
        tracker.done(1);
        item
    }
}

impl<T> Deref for Job<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Job<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T> Drop for Job<T> {
    #[inline]
    fn drop(&mut self) {
        /// Told last, also if the item panics when it is dropped.
        struct Done<'a>(&'a Tracker);
        impl Drop for Done<'_> {
            #[inline]
            fn drop(&mut self) {
                self.0.done(1);
            }
        }
        let _done = Done(&self.tracker);
        // SAFETY: a job is dropped once, and `into_inner`, which moves the item out, does not drop it.
        unsafe { ManuallyDrop::drop(&mut self.item) };
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&**self).finish()
    }
}
