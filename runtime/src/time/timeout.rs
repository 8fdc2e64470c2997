//! A limit on how long something may take.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Instant, Sleep, sleep_until};

/// Awaits `future` for `duration` at most, which counts from this call.
///
/// asyncio's `wait_for` and `timeout`. A result wins over the deadline if both are there; with a deadline that has
/// passed, the future is polled once and only its first wait is cut short.
///
/// # Errors
///
/// [`Elapsed`] if the time was over first. The future has then been dropped, which cancels it.
///
/// # Cancel safety
///
/// Dropping it drops the future.
///
/// # Examples
///
/// ```
/// use corering_runtime::{Builder, time};
/// use std::time::Duration;
///
/// Builder::new().paused_time(true).run(async {
///     let slow = time::sleep(Duration::from_secs(60));
///     assert!(time::timeout(Duration::from_secs(1), slow).await.is_err());
///     assert_eq!(time::timeout(Duration::ZERO, async { 5 }).await, Ok(5));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    timeout_at(Instant::now() + duration, future)
}

/// Awaits `future` until `deadline` at most. As [`timeout`] otherwise.
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: Some(future.into_future()), sleep: sleep_until(deadline), passed: Instant::now() >= deadline }
}

/// A future with a limit; made by [`timeout`].
#[derive(Debug)]
#[must_use = "a timeout does nothing unless it is awaited"]
pub struct Timeout<F> {
    /// `None` once the result has been given: on expiry the future is dropped before that is said.
    future: Option<F>,
    sleep: Sleep,
    /// The deadline had passed before the future was first polled.
    passed: bool,
}

impl<F> Timeout<F> {
    /// When the time is over.
    pub fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is never moved: it is only polled through the pin below and dropped in place by `set`.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above; `this` came from a pin, and nothing else hands out the field.
        let mut future = unsafe { Pin::new_unchecked(&mut this.future) };
        let Some(running) = future.as_mut().as_pin_mut() else {
            panic!("a timeout was polled after it had given its result");
        };
        if let Poll::Ready(output) = running.poll(cx) {
            future.set(None);
            return Poll::Ready(Ok(output));
        }
        if this.passed || Pin::new(&mut this.sleep).poll(cx).is_ready() {
            future.set(None);
            return Poll::Ready(Err(Elapsed(())));
        }
        Poll::Pending
    }
}

/// The time was over before the result was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over before the result was there")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
