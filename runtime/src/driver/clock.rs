//! The time that a core goes by: the monotonic clock, one that stands still until it is moved, or a simulated one.

use std::cell::Cell;

use crate::sys::clock;

thread_local! {
    /// The time in nanoseconds where the clock stands; 0 while it runs.
    static STANDS: Cell<u64> = const { Cell::new(0) };
    #[cfg(feature = "sim")]
    static SIMULATED: Cell<Simulated> = const { Cell::new(Simulated::No) };
}

/// Whether the core of this thread is a simulated one.
#[cfg(feature = "sim")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Simulated {
    No,
    Yes,
    /// And its timers do not share wake-ups.
    Exactly,
}

/// Now, in nanoseconds of whichever clock it is.
#[inline]
pub(crate) fn now_ns() -> u64 {
    match STANDS.get() {
        0 => clock::monotonic_ns(),
        stands => stands,
    }
}

/// What the loop itself is timed by: the real clock though a paused one stands still, but nothing real in a simulation.
#[inline]
pub(crate) fn steady_ns() -> u64 {
    if is_simulated() { now_ns() } else { clock::monotonic_ns() }
}

/// Whether it stands still, and is moved by the loop.
#[inline]
pub(crate) fn is_paused() -> bool {
    STANDS.get() != 0 && !is_simulated()
}

/// Whether timers end at their very deadlines.
#[inline]
pub(crate) fn is_exact() -> bool {
    #[cfg(feature = "sim")]
    if SIMULATED.get() != Simulated::No {
        return SIMULATED.get() == Simulated::Exactly;
    }
    is_paused()
}

#[inline]
pub(crate) fn is_simulated() -> bool {
    #[cfg(feature = "sim")]
    {
        SIMULATED.get() != Simulated::No
    }
    #[cfg(not(feature = "sim"))]
    {
        false
    }
}

/// Stops the clock of this thread where it stands.
pub(crate) fn pause() {
    STANDS.set(now_ns());
}

/// Lets it follow the real clock again.
pub(crate) fn resume() {
    STANDS.set(0);
    #[cfg(feature = "sim")]
    SIMULATED.set(Simulated::No);
}

/// Moves the stopped clock to `to_ns`, never back.
pub(crate) fn advance_to(to_ns: u64) {
    #[cfg(feature = "sim")]
    if is_simulated() {
        crate::sim::pass_time_until(to_ns);
    }
    STANDS.set(STANDS.get().max(to_ns));
}

/// Makes it that of a simulation, where it is `now_ns`.
#[cfg(feature = "sim")]
pub(crate) fn simulate(now_ns: u64) {
    STANDS.set(now_ns);
    if SIMULATED.get() == Simulated::No {
        SIMULATED.set(Simulated::Yes);
    }
}

/// Whether the timers of the core that runs now, a simulated one, end at their very deadlines.
#[cfg(feature = "sim")]
pub(crate) fn set_exact(exact: bool) {
    SIMULATED.set(if exact { Simulated::Exactly } else { Simulated::Yes });
}
