//! The kernel behind the driver: a ring, and a backlog for what its queue has no room for.

use std::collections::VecDeque;
use std::io;

use io_uring::squeue::{Entry, Flags};

use super::filling::Filling;
use crate::ring::{Completion, Wait};

pub(super) struct Kernel {
    pub(super) ring: Filling,
    /// Submissions that found the queue full, oldest first. While there are any, new ones line up behind them.
    backlog: VecDeque<(Entry, bool)>,
}

impl Kernel {
    pub(super) fn new(ring: Filling) -> Self {
        Self { ring, backlog: VecDeque::new() }
    }

    /// # Safety
    ///
    /// As for [`Ring::push`](crate::ring::Ring::push).
    #[inline]
    pub(super) unsafe fn submit(&mut self, entry: Entry) {
        // SAFETY: the caller's promise.
        if self.backlog.is_empty() && unsafe { self.ring.push(&entry) } {
            return;
        }
        self.make_room(1);
        // SAFETY: the caller's promise.
        if !self.backlog.is_empty() || !unsafe { self.ring.push(&entry) } {
            self.backlog.push_back((entry, false));
        }
    }

    /// # Safety
    ///
    /// As for [`Ring::push`](crate::ring::Ring::push), for every entry.
    pub(super) unsafe fn submit_linked(&mut self, entries: &[Entry]) {
        if !self.backlog.is_empty() || self.ring.room() < entries.len() {
            self.make_room(entries.len());
        }
        if self.backlog.is_empty() && self.ring.room() >= entries.len() {
            for entry in entries {
                // SAFETY: the caller's promise.
                let pushed = unsafe { self.ring.push(entry) };
                debug_assert!(pushed, "there was room for the chain");
            }
            return;
        }
        // It stays together: a chain that is cut is two.
        let last = entries.len() - 1;
        let linked = entries.iter().enumerate().map(|(index, entry)| (entry.clone(), index < last));
        self.backlog.extend(linked);
    }

    #[inline]
    pub(super) fn wants_enter(&mut self) -> bool {
        !self.backlog.is_empty() || self.ring.queued() > 0 || self.ring.withholds()
    }

    #[inline]
    pub(super) fn has_completions(&mut self) -> bool {
        self.ring.has_completions()
    }

    pub(super) fn ready(&mut self) -> usize {
        self.ring.ready()
    }

    pub(super) fn overflowing(&mut self) -> bool {
        self.ring.overflowing()
    }

    #[inline]
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        self.ring.reap(into);
    }

    /// With a backlog it does not wait: the rest of it has to follow first.
    #[inline]
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if self.backlog.is_empty() {
            return self.ring.enter(wait);
        }
        self.refill();
        let wait = if self.backlog.is_empty() { wait } else { Wait::No };
        self.ring.enter(wait)
    }

    /// Hands the full queue to the kernel, and what is waiting behind it into the queue.
    ///
    /// An error here is not lost: the queue stays full, the entry goes to the backlog, and the loop's own next
    /// `enter` meets the same error.
    fn make_room(&mut self, entries: usize) {
        while self.ring.room() < entries || !self.backlog.is_empty() {
            let before = self.ring.queued() + self.backlog.len();
            if self.ring.enter(Wait::No).is_err() {
                return;
            }
            self.refill();
            if self.ring.queued() + self.backlog.len() >= before {
                return;
            }
        }
    }

    /// Moves whole chains from the backlog into the queue.
    fn refill(&mut self) {
        let mut room = self.ring.room();
        loop {
            let chain = self.backlog.iter().position(|(_, linked)| !linked).map_or(0, |last| last + 1);
            if chain == 0 || chain > room {
                return;
            }
            for (entry, _) in self.backlog.drain(..chain) {
                // SAFETY: accepted by `submit` or `submit_linked`, whose callers promised it.
                let pushed = unsafe { self.ring.push(&entry) };
                debug_assert!(pushed, "there was room for the chain");
            }
            room -= chain;
        }
    }
}

/// Links a submission to the one that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The next one runs only if this one succeeds.
    IfDone,
    /// The next one runs in any case.
    Always,
}

impl Link {
    pub(crate) fn flag(self) -> Flags {
        match self {
            Link::IfDone => Flags::IO_LINK,
            Link::Always => Flags::IO_HARDLINK,
        }
    }
}
