//! Buffers that are counted: one that is dropped twice, never or too early is seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corering::buf::{IoBuf, IoBufMut, Room};

use crate::guard::Guarded;

/// How many buffers live.
#[derive(Clone, Default)]
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    /// A buffer of one page.
    pub(crate) fn buffer(&self) -> Tracked {
        self.0.fetch_add(1, Ordering::SeqCst);
        Tracked { guarded: Guarded::new(4096), alive: self.clone() }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A buffer that is counted while it lives, and unmapped when it is dropped.
pub(crate) struct Tracked {
    guarded: Guarded,
    alive: Alive,
}

impl Tracked {
    pub(crate) fn address(&self) -> usize {
        self.guarded.address()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let before = self.alive.0.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(before, 0, "more buffers were dropped than made");
    }
}

impl IoBuf for Tracked {
    fn as_slice(&self) -> &[u8] {
        self.guarded.as_slice()
    }
}

impl IoBufMut for Tracked {
    fn room(&mut self) -> Room<'_> {
        self.guarded.room()
    }

    unsafe fn advance(&mut self, count: usize) {
        // SAFETY: the caller's promise is about the same room.
        unsafe { self.guarded.advance(count) };
    }
}
