//! A point in time of the core's clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::driver::clock;

/// A point in time of the core's clock: the monotonic one, or the paused one of a test.
///
/// Like [`std::time::Instant`], but sums that overflow stop at the far end of time instead of panicking, so
/// `Instant::now() + Duration::MAX` is a deadline that never comes.
///
/// # Examples
///
/// ```
/// use corering_runtime::time::Instant;
/// use std::time::Duration;
///
/// let start = Instant::now();
/// let deadline = start + Duration::from_secs(1);
/// assert!(deadline > start);
/// assert_eq!(deadline - start, Duration::from_secs(1));
/// assert_eq!(start - deadline, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    /// Now. Outside a runtime, and in one without paused time, by the monotonic clock.
    #[inline]
    pub fn now() -> Self {
        Self { ns: clock::now_ns() }
    }

    /// How long ago this was; zero if it lies in the future.
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }

    /// The time from `earlier` to this; zero if that is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        self - earlier
    }

    /// The time from `earlier` to this, if it is earlier.
    pub fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        self.ns.checked_sub(earlier.ns).map(Duration::from_nanos)
    }

    /// The moment that the core's clock shows as `ns`.
    pub(crate) fn from_ns(ns: u64) -> Self {
        Self { ns }
    }

    #[inline]
    pub(crate) fn to_ns(self) -> u64 {
        self.ns
    }
}

fn to_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant { ns: self.ns.saturating_add(to_ns(duration)) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant { ns: self.ns.saturating_sub(to_ns(duration)) }
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.ns))
    }
}
