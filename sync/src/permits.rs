//! Permits and those who wait for them: the ground of locks and semaphores.

use std::cell::Cell;

use crate::wait_list::{Turn, WaitList};

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
