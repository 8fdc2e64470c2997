//! The loop of somebody else that turns a core now and then, and how it is called.
//!
//! ```text
//! host: poll(2) on the event <--rings-- the ring: completions
//!         |                  <--rings-- other threads, while the core is away: wakes, drops
//!         |                  <--rings-- this thread, likewise: wakes, spawns, drops
//!         v
//!       one pass of the core: runs what is ready, is away again, clears the event, looks once more
//! ```
//!
//! Invariant: while the core is away and there is something that it could do now, the event is readable.
//!
//! Other threads ring it themselves. By way of the core's bell, which the ring polls, it would take tens of milliseconds: an
//! eventfd that is rung from within another's ring is rung later (K48).

use std::io;

use corering_sync::sleep::Sleeper;

use crate::sys::event::Event;

/// What a core calls its host by.
#[derive(Debug)]
pub(crate) struct Host {
    event: Event,
    /// Whether the core is away, and has not called since.
    away: Sleeper,
}

impl Host {
    /// A host that is called from the beginning: the core has not had its first pass.
    pub(crate) fn new() -> io::Result<Self> {
        let host = Self { event: Event::new()?, away: Sleeper::new() };
        host.event.ring();
        Ok(host)
    }

    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// The core goes away: what there is to do from here on, it is called for. To be followed by a last look.
    pub(crate) fn leave(&self) {
        self.away.announce();
        // Before that look: what rings from here on is still to be read when it has found nothing.
        self.event.clear();
    }

    /// The core runs.
    pub(crate) fn come_back(&self) {
        self.away.awake();
    }

    /// There is something to do. Rings only if the core is away, and then once.
    #[inline]
    pub(crate) fn call(&self) {
        if self.away.must_wake() {
            self.event.ring();
        }
    }
}
