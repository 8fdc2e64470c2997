//! The sleep handshake: how a core goes to sleep without missing what others have just left for it.
//!
//! ```text
//! sleeper                         waker
//! announce()  sleeping = true     leave the work
//! look again for work             must_wake()?  sleeping was true: ring the bell
//! sleep, if there is none
//! awake()     sleeping = false
//! ```
//!
//! Both sides write, then read what the other writes, with a sequentially consistent fence in between: at least
//! one of them sees the other. Wakers swap the flag, so that a burst of them rings the bell once.

use crate::shim::atomic::{AtomicBool, Ordering, fence};

/// One thread's announcement that it is about to sleep.
///
/// # Examples
///
/// ```
/// use corering_sync::sleep::Sleeper;
///
/// let sleeper = Sleeper::new();
/// assert!(!sleeper.must_wake());
/// sleeper.announce();
/// assert!(sleeper.must_wake());
/// assert!(!sleeper.must_wake(), "one bell is enough");
/// ```
#[derive(Debug)]
pub struct Sleeper {
    sleeping: AtomicBool,
}

impl Sleeper {
    /// A sleeper that is awake.
    pub fn new() -> Self {
        Self { sleeping: AtomicBool::new(false) }
    }

    /// Says that this thread will sleep unless it finds work now. Look for work after this call.
    pub fn announce(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        // Pairs with the fence in `must_wake`: either we see the work, or the waker sees the flag.
        fence(Ordering::SeqCst);
    }

    /// Says that this thread runs again.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether the sleeper has to be woken for the work that the caller has just left.
    ///
    /// True at most once for each announcement.
    pub fn must_wake(&self) -> bool {
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}
