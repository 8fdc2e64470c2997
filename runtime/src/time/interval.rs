//! Ticks at equal distances.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::{Instant, Sleep, sleep_until};

/// What an [`Interval`] does when a tick was not fetched before the next was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTick {
    /// Makes up for it: missed ticks come at once, one after the other, until it has caught up.
    #[default]
    Burst,
    /// Goes on from now: the next tick comes one period after the late one was fetched.
    Delay,
    /// Leaves it out: the next tick comes at the next multiple of the period.
    Skip,
}

/// Ticks every `period`, the first time at once.
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use corering_runtime::{Builder, time};
/// use std::time::Duration;
///
/// Builder::new().paused_time(true).run(async {
///     let start = time::Instant::now();
///     let mut ticks = time::interval(Duration::from_secs(10));
///     ticks.tick().await;
///     ticks.tick().await;
///     assert_eq!(start.elapsed(), Duration::from_secs(10));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, the first time at `start`.
///
/// # Panics
///
/// If `period` is zero.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { next: sleep_until(start), period, missed: MissedTick::default() }
}

/// Ticks at equal distances; made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Sleep,
    period: Duration,
    missed: MissedTick,
}

impl Interval {
    /// Waits for the next tick, and returns the time at which it was due.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses no tick: the next call waits for the same one.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for those who poll.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let due = self.next.deadline();
        let now = Instant::now();
        // What is due already needs no turn of the loop.
        if now < due {
            ready!(Future::poll(Pin::new(&mut self.next), cx));
        }
        let now = now.max(due);
        let next = due + self.period;
        self.next.reset(match self.missed {
            _ if next > now => next,
            MissedTick::Burst => next,
            MissedTick::Delay => now + self.period,
            MissedTick::Skip => now + self.period - self.past_the_last_multiple(due, now),
        });
        Poll::Ready(due)
    }

    /// What to do about ticks that were not fetched in time.
    pub fn set_missed_tick(&mut self, missed: MissedTick) {
        self.missed = missed;
    }

    /// The distance between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Starts anew: the next tick comes one period from now.
    pub fn reset(&mut self) {
        self.next.reset(Instant::now() + self.period);
    }

    fn past_the_last_multiple(&self, due: Instant, now: Instant) -> Duration {
        let rest = (now - due).as_nanos() % self.period.as_nanos();
        Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
    }
}
