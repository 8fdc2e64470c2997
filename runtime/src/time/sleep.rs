//! Sleeping until a point in time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Instant;
use super::timers::{self, Armed};

/// Waits for `duration`, which counts from this call. Zero yields once.
///
/// asyncio's `sleep`.
///
/// # Cancel safety
///
/// Dropping it takes its timer away; nothing else happens.
///
/// # Examples
///
/// ```
/// use corering_runtime::time::{self, Instant};
/// use std::time::Duration;
///
/// corering_runtime::run(async {
///     let start = Instant::now();
///     time::sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until `deadline`. One that has passed yields once.
///
/// # Cancel safety
///
/// Dropping it takes its timer away; nothing else happens.
#[inline]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, state: State::New }
}

/// A wait for a point in time; made by [`sleep`] and [`sleep_until`].
///
/// It may be moved to another thread before it is first polled, and dropped on any.
///
/// # Panics
///
/// When polled outside a runtime, or on another core than before.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Armed(Armed),
    Ended,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has ended, as far as it has been polled.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Starts anew, with another deadline. Works before, while and after it has been awaited.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.state = State::New;
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::New => {
                let Some(armed) = timers::arm(self.deadline.to_ns(), cx.waker().clone()) else { outside_a_runtime() };
                self.state = State::Armed(armed);
                Poll::Pending
            }
            State::Armed(armed) if armed.has_ended(cx.waker()) => {
                self.state = State::Ended;
                Poll::Ready(())
            }
            State::Armed(_) => Poll::Pending,
            State::Ended => Poll::Ready(()),
        }
    }
}

#[cold]
fn outside_a_runtime() -> ! {
    panic!("a sleep was awaited outside a runtime: await it inside corering::run or Runtime::block_on")
}
