//! Time: instants, sleeps, intervals and time-outs, from one wheel of timers per core.
//!
//! A timer is never early: it ends at the first turn of the loop at or after its deadline. An idle core lets timers
//! that are due within 220 µs of each other share one wake-up, so one that is not alone may be that much late, plus
//! what waking a thread takes.
//!
//! In a runtime with paused time ([`Builder::paused_time`](crate::Builder::paused_time)) the clock stands still
//! while tasks run, and jumps to the next deadline when all of them wait: tests take no time and are exact.

mod core_clock;
mod instant;
mod interval;
mod sleep;
mod timeout;
pub(crate) mod timers;
mod wheel;

pub use std::time::Duration;

pub use self::core_clock::CoreClock;
pub use self::instant::Instant;
pub use self::interval::{Interval, MissedTick, interval, interval_at};
pub use self::sleep::{Sleep, sleep, sleep_until};
pub(crate) use self::timeout::unlimited;
pub use self::timeout::{Elapsed, Limit, NotActive, Timeout, timeout, timeout_at, timeout_scope};
use crate::driver::clock;

/// Moves the paused clock on by `duration`. Timers that this makes due end at the core's next turn.
///
/// # Panics
///
/// If the clock is not paused: see [`Builder::paused_time`](crate::Builder::paused_time).
///
/// # Examples
///
/// ```
/// use corering_runtime::{Builder, time};
/// use std::time::Duration;
///
/// Builder::new().paused_time(true).run(async {
///     let start = time::Instant::now();
///     time::advance(Duration::from_secs(3600));
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub fn advance(duration: Duration) {
    assert!(
        clock::is_exact(),
        "time can only be advanced where it is paused: build the runtime with Builder::paused_time(true)"
    );
    clock::advance_to((Instant::now() + duration).to_ns());
}
