//! The time that a core goes by: the monotonic clock, or one that stands still until it is moved.

use std::cell::Cell;

use crate::sys::clock::monotonic_ns;

thread_local! {
    /// The paused time in nanoseconds; 0 while the clock runs.
    static PAUSED: Cell<u64> = const { Cell::new(0) };
}

/// Now, in nanoseconds of the monotonic clock or of the paused one.
#[inline]
pub(crate) fn now_ns() -> u64 {
    match PAUSED.get() {
        0 => monotonic_ns(),
        paused => paused,
    }
}

#[inline]
pub(crate) fn is_paused() -> bool {
    PAUSED.get() != 0
}

/// Stops the clock of this thread where it stands.
pub(crate) fn pause() {
    PAUSED.set(now_ns());
}

/// Lets it follow the real clock again.
pub(crate) fn resume() {
    PAUSED.set(0);
}

/// Moves the stopped clock to `to_ns`, never back.
pub(crate) fn advance_to(to_ns: u64) {
    PAUSED.set(PAUSED.get().max(to_ns));
}
