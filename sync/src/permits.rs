//! Permits and those who wait for them: the ground of locks and semaphores.

use std::cell::Cell;

use crate::wait::Source;
use crate::wait_list::{Turn, WaitList};

/// A source whose waiters ask for permits.
pub trait PermitSource {
    /// What a wait gives.
    type Output;
    /// What is waited for, for reports.
    const WHAT: &'static str;

    /// The permits.
    fn permits(&self) -> &Permits;

    /// The end of a wait. `task` is what the waker points to.
    fn outcome(&self, turn: Turn, count: usize, task: *const ()) -> Self::Output;

    /// A new one comes: takes what it wants, if it need not wait.
    #[inline]
    fn take_now(&self, count: usize) -> Option<Turn> {
        self.permits().at_once(count)
    }

    /// Whether `task` has what it is about to wait for itself.
    fn is_held_by(&self, task: *const ()) -> bool {
        let _ = task;
        false
    }
}

impl<P: PermitSource> Source for P {
    type Want = usize;
    type Output = P::Output;
    const WHAT: &'static str = P::WHAT;

    #[inline]
    fn list(&self) -> &WaitList<usize> {
        &self.permits().waiters
    }

    #[inline]
    fn at_once(&self, count: &usize) -> Option<Turn> {
        self.take_now(*count)
    }

    #[inline]
    fn take(&self, turn: Turn, count: &usize, task: *const ()) -> P::Output {
        self.outcome(turn, *count, task)
    }

    fn pass_on(&self, count: &usize) {
        self.permits().give_back(*count);
    }

    /// It may have been the first, with more behind it that ask for less.
    fn left(&self) {
        self.permits().serve();
    }

    fn is_held_by(&self, task: *const ()) -> bool {
        PermitSource::is_held_by(self, task)
    }
}

/// Permits that are handed out first come, first served: a waiter that asks for many is not overtaken by one that
/// asks for few.
#[derive(Debug)]
pub struct Permits {
    /// Below zero when a limit was set below what is out.
    free: Cell<isize>,
    closed: Cell<bool>,
    waiters: WaitList<usize>,
}

impl Permits {
    /// The largest number that there may be.
    pub(crate) const MOST: usize = isize::MAX as usize / 2;

    pub(crate) const fn new(free: usize) -> Self {
        let free = if free > Self::MOST { Self::MOST } else { free };
        Self { free: Cell::new(free as isize), closed: Cell::new(false), waiters: WaitList::new() }
    }

    #[inline]
    pub(crate) fn waiters(&self) -> &WaitList<usize> {
        &self.waiters
    }

    /// Takes permits that nobody waits for. `None` if the caller has to wait.
    #[inline]
    pub(crate) fn at_once(&self, want: usize) -> Option<Turn> {
        if self.closed.get() {
            return Some(Turn::Refused);
        }
        if self.waiters.is_empty() && self.has(want) {
            self.free.set(self.free.get() - want as isize);
            return Some(Turn::Given);
        }
        None
    }

    #[inline]
    fn has(&self, want: usize) -> bool {
        self.free.get() >= want as isize
    }

    /// Takes back `count` permits, and hands them on.
    #[inline]
    pub(crate) fn give_back(&self, count: usize) {
        self.free.set(self.free.get() + count as isize);
        self.serve();
    }

    /// Takes permits away that are not out, or as soon as they are given back.
    pub(crate) fn withdraw(&self, count: usize) {
        self.free.set(self.free.get() - count as isize);
    }

    /// Gives those who wait what there is.
    #[inline]
    pub(crate) fn serve(&self) {
        self.waiters.give_while(Turn::Given, |want| {
            let fits = self.has(*want);
            if fits {
                self.free.set(self.free.get() - *want as isize);
            }
            fits
        });
    }

    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.waiters.give_all(Turn::Refused);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// How many could be had at once if nobody waited.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.free.get().max(0) as usize
    }
}
