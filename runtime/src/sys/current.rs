//! Which core lives on this thread.
//!
//! A core is a runtime instance with its ring; its number is never used again in the process. What belongs to a
//! core remembers the number, and compares it before it touches anything that only that core may touch.

use std::cell::Cell;
use std::fmt;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::random;

/// The number of a core, unique in the process for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoreId(u32);

impl CoreId {
    const NONE: CoreId = CoreId(0);

    /// A number that nobody has had.
    pub(crate) fn next() -> CoreId {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        CoreId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == CoreId::NONE {
            return f.write_str("no core");
        }
        write!(f, "core {}", self.0)
    }
}

thread_local! {
    static CORE: Cell<CoreId> = const { Cell::new(CoreId::NONE) };
}

/// The core of this thread, or a number that no core has.
#[inline]
pub(crate) fn core() -> CoreId {
    CORE.get()
}

/// Whether a core lives on this thread.
pub(crate) fn has_core() -> bool {
    CORE.get() != CoreId::NONE
}

/// Gives this thread its core.
pub(crate) fn set(core: CoreId) {
    clear_in_forked_children();
    CORE.set(core);
}

/// Takes the core away again, if it is this thread's.
pub(crate) fn clear(core: CoreId) {
    if CORE.get() == core {
        CORE.set(CoreId::NONE);
    }
}

/// A forked child has no ring (its memory is not inherited, K17) and must not touch its parent's: there, this
/// thread has no core. Nor does it draw the random numbers that its parent draws.
pub(super) fn clear_in_forked_children() {
    extern "C" fn in_child() {
        CORE.set(CoreId::NONE);
        random::forget();
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only writes constant-initialised thread-locals without destructors, which is
        //         allowed between fork and exec. A failure (no memory) leaves the child unguarded, not unsound:
        //         the ring's memory is unmapped there, so touching it faults.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
