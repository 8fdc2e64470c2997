//! The bell of a simulated core: an event counter that wakers ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};

/// Rung by wakers, which may be on any thread as far as the compiler knows; in a world there is only one.
#[derive(Clone, Debug)]
pub(crate) struct Chime(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    rung: AtomicU64,
    home: ThreadId,
    /// Somebody was here who is not part of the world.
    foreign: AtomicBool,
}

impl Chime {
    pub(super) fn new() -> Self {
        let home = thread::current().id();
        Self(Arc::new(Counter { rung: AtomicU64::new(0), home, foreign: AtomicBool::new(false) }))
    }

    pub(crate) fn ring(&self) {
        self.0.rung.fetch_add(1, Ordering::Relaxed);
    }

    /// To be called by whoever leaves something for the core.
    pub(crate) fn touch(&self) {
        if thread::current().id() != self.0.home {
            self.0.foreign.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn rung(&self) -> u64 {
        self.0.rung.load(Ordering::Relaxed)
    }

    pub(super) fn was_touched_from_outside(&self) -> bool {
        self.0.foreign.load(Ordering::Relaxed)
    }
}
