//! A limit on how often something is done.

use std::cell::Cell;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use crate::error::{WouldBlock, ZeroSize};
use crate::lock::Lock;

/// Where a limiter gets the time from. A runtime implements it once.
pub trait Clock {
    /// The time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// Waits until `now` is at least `deadline`.
    fn sleep_until(&self, deadline: Duration) -> impl Future<Output = ()>;
}

/// Lets something be done a number of times per period, with a number of them at once at most.
///
/// A semaphore limits how many do something at a time; this limits how often it is done, however long it takes. First
/// come, first served; only the first in the queue has a timer, so thousands that wait cost nothing.
///
/// (The algorithm is the virtual scheduling of ITU-T I.371, known as GCRA.)
///
/// # Examples
///
/// ```
/// use corering::sync::RateLimiter;
/// use corering::time::{Duration, Instant};
///
/// corering::Builder::new().paused_time(true).run(async {
///     // Ten per second; five at once.
///     let limiter = RateLimiter::new(10, Duration::from_secs(1)).burst(5);
///     let start = Instant::now();
///     for _ in 0..7 {
///         limiter.acquire().await;
///     }
///     assert_eq!(start.elapsed(), Duration::from_millis(200));
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[doc(alias = "AsyncLimiter")]
#[derive(Debug)]
pub struct RateLimiter<C> {
    clock: C,
    /// How long one of them takes of the time that there is.
    each_ns: Cell<u64>,
    burst: Cell<u32>,
    /// When all that was let through is paid for, as nanoseconds of the clock.
    paid_ns: Cell<u64>,
    first: Lock<()>,
}

impl<C: Clock + Default> RateLimiter<C> {
    /// `count` per `period`, one at a time: evenly spread, unless a [burst](Self::burst) is allowed.
    ///
    /// # Panics
    ///
    /// If `count` is 0. See [`try_new`](Self::try_new).
    #[track_caller]
    pub fn new(count: u32, period: Duration) -> Self {
        match Self::try_new(count, period) {
            Ok(limiter) => limiter,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`ZeroSize`] if `count` is 0.
    pub fn try_new(count: u32, period: Duration) -> Result<Self, ZeroSize> {
        if count == 0 {
            return Err(ZeroSize { what: "the count of a rate" });
        }
        let each_ns = Cell::new(each(count, period));
        let (burst, paid_ns) = (Cell::new(1), Cell::new(0));
        Ok(Self { clock: C::default(), each_ns, burst, paid_ns, first: Lock::new(()) })
    }
}

impl<C: Clock> RateLimiter<C> {
    /// Lets up to `count` through at once, if the time before was not used. At least 1.
    #[must_use]
    pub fn burst(self, count: u32) -> Self {
        self.burst.set(count.max(1));
        self
    }

    /// Changes the rate, also for those who wait (but for the first of them). A count of 0 counts as 1.
    pub fn set_rate(&self, count: u32, period: Duration) {
        self.each_ns.set(each(count.max(1), period));
    }

    /// Waits until it may be done once more.
    ///
    /// # Cancel safety
    ///
    /// One that is dropped has used nothing.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let _first = self.first.lock_at(at).await;
            while let Err(when) = self.take() {
                self.clock.sleep_until(when).await;
            }
        }
    }

    /// Does it once more if that may be now, and nobody waits.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] otherwise.
    pub fn try_acquire(&self) -> Result<(), WouldBlock> {
        let _first = self.first.try_lock()?;
        self.take().map_err(|_| WouldBlock)
    }

    /// How many wait, apart from the first.
    pub fn waiters(&self) -> usize {
        self.first.waiters()
    }

    /// Uses one, or says when that may be.
    fn take(&self) -> Result<(), Duration> {
        let now = nanoseconds(self.clock.now());
        let each = self.each_ns.get();
        let paid = self.paid_ns.get().max(now);
        let ahead = each.saturating_mul(u64::from(self.burst.get() - 1));
        if paid - now > ahead {
            return Err(Duration::from_nanos(paid - ahead));
        }
        self.paid_ns.set(paid.saturating_add(each));
        Ok(())
    }
}

/// Rounded up: a rate is a limit.
fn each(count: u32, period: Duration) -> u64 {
    let each = period.as_nanos().div_ceil(u128::from(count));
    u64::try_from(each).unwrap_or(u64::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
