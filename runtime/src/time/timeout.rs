//! A limit on how long something may take.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::{Instant, Sleep, sleep_until};
use crate::scope::{Left, dropping};

/// Awaits `future` for `duration` at most, which counts from this call.
///
/// asyncio's `wait_for` and `timeout`. A result wins over the deadline if both are there; with a deadline that has
/// passed, the future is polled once and only its first wait is cut short. Of nested timeouts whose time is over
/// together, the outer one says so, unless the inner one's deadline was earlier.
///
/// # Errors
///
/// [`Elapsed`] if the time was over first. The future has then been dropped, which cancels it, and the
/// [cleanup](crate::task::cancel) that it left is over.
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
#[doc(alias = "wait_for")]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    timeout_at(Instant::now() + duration, future)
}

/// Awaits `future` until `deadline` at most. As [`timeout`] otherwise.
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    let passed = Instant::now() >= deadline;
    Timeout { future: Some(future.into_future()), sleep: sleep_until(deadline), passed, cleanups: None }
}

pin_project! {
    /// A future with a limit; made by [`timeout`].
    #[must_use = "a timeout does nothing unless it is awaited"]
    pub struct Timeout<F> {
        // `None` once the result has been given: on expiry the future is dropped before that is said.
        #[pin]
        future: Option<F>,
        sleep: Sleep,
        // The deadline had passed before the future was first polled.
        passed: bool,
        // What the future left when its time was over.
        cleanups: Option<Left>,
    }
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
        let mut this = self.project();
        let Some(running) = this.future.as_mut().as_pin_mut() else {
            return poll_cleanups(this.cleanups, cx);
        };
        let deadline = this.sleep.deadline();
        let (polled, enclosing) = enclosed(deadline, || running.poll(cx));
        if let Poll::Ready(output) = polled {
            this.future.set(None);
            return Poll::Ready(Ok(output));
        }
        if !*this.passed && Pin::new(this.sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        if enclosing.is_some_and(|enclosing| enclosing <= deadline) {
            leave_it_to_the_outer(cx);
            return Poll::Pending;
        }
        expire(this.cleanups, cx, || this.future.set(None))
    }
}

/// The time is over: drops what it was for.
fn expire<T>(cleanups: &mut Option<Left>, cx: &mut Context<'_>, drop_it: impl FnOnce()) -> Poll<Result<T, Elapsed>> {
    *cleanups = dropping(drop_it);
    if cleanups.is_none() {
        return Poll::Ready(Err(Elapsed(())));
    }
    poll_cleanups(cleanups, cx)
}

/// The time is over; says so when what was left has ended, too.
fn poll_cleanups<T>(cleanups: &mut Option<Left>, cx: &mut Context<'_>) -> Poll<Result<T, Elapsed>> {
    let Some(left) = cleanups else {
        panic!("a timeout was polled after it had given its result");
    };
    if left.poll_ended(cx).is_pending() {
        return Poll::Pending;
    }
    *cleanups = None;
    Poll::Ready(Err(Elapsed(())))
}

/// The time of an enclosing timeout is over, too, and its deadline was no later: it will drop this one when this poll
/// is over. Should its deadline be moved in the very same poll, this one is polled again.
fn leave_it_to_the_outer(cx: &Context<'_>) {
    cx.waker().wake_by_ref();
}

thread_local! {
    /// The earliest deadline of those whose futures are being polled, from the outermost to here.
    static ENCLOSING: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Sets it back, also after a panic.
struct Back(Option<Instant>);

impl Drop for Back {
    #[inline]
    fn drop(&mut self) {
        ENCLOSING.set(self.0);
    }
}

/// Runs what has nothing to do with the deadlines further up: another task.
pub(crate) fn unlimited<T>(run: impl FnOnce() -> T) -> T {
    let _back = Back(ENCLOSING.take());
    run()
}

/// Polls what has a deadline; returns with it the earliest one further up.
#[inline]
fn enclosed<T>(deadline: Instant, poll: impl FnOnce() -> T) -> (T, Option<Instant>) {
    let before = ENCLOSING.get();
    let _back = Back(before);
    ENCLOSING.set(Some(before.map_or(deadline, |before| before.min(deadline))));
    (poll(), before)
}

impl<F: fmt::Debug> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("deadline", &self.deadline()).field("future", &self.future).finish()
    }
}

/// Runs `body` with a limit that it can look at and move. asyncio's `async with timeout(..) as limit`.
///
/// `None` sets no limit for now. As [`timeout`] otherwise.
///
/// # Errors
///
/// [`Elapsed`], as there.
///
/// # Cancel safety
///
/// Dropping it drops the body.
///
/// # Examples
///
/// ```
/// use corering_runtime::time::{self, Duration, Instant};
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let outcome = time::timeout_scope(Duration::from_secs(1), async |limit| {
///         time::sleep(Duration::from_millis(900)).await;
///         // There is progress: some more time.
///         limit.reschedule(Instant::now() + Duration::from_secs(1)).unwrap();
///         time::sleep(Duration::from_millis(900)).await;
///         "done"
///     });
///     assert_eq!(outcome.await, Ok("done"));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[doc(alias = "timeout")]
pub async fn timeout_scope<T>(
    duration: impl Into<Option<Duration>>,
    body: impl AsyncFnOnce(Limit) -> T,
) -> Result<T, Elapsed> {
    let deadline = duration.into().map(|duration| Instant::now() + duration);
    let limit = Limit(Rc::new(State {
        deadline: Cell::new(deadline),
        phase: Cell::new(Phase::Active),
        waker: Cell::default(),
    }));
    Limited { future: Some(body(limit.clone())), limit, sleep: None, cleanups: None }.await
}

/// The limit of a [`timeout_scope`].
#[derive(Clone)]
pub struct Limit(Rc<State>);

struct State {
    deadline: Cell<Option<Instant>>,
    phase: Cell<Phase>,
    /// Of the scope, for when another task moves the deadline.
    waker: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Active,
    Expired,
    Finished,
}

impl Limit {
    /// When the time is over; `None` if there is no limit.
    #[doc(alias = "when")]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Whether the time was over before the body had ended.
    #[doc(alias = "expired")]
    pub fn has_expired(&self) -> bool {
        self.0.phase.get() == Phase::Expired
    }

    /// Moves the deadline; `None` takes it away. One that has passed cuts the body short at its next wait.
    ///
    /// # Errors
    ///
    /// [`NotActive`] if the time was over, or the body has ended.
    pub fn reschedule(&self, deadline: impl Into<Option<Instant>>) -> Result<(), NotActive> {
        if self.0.phase.get() != Phase::Active {
            return Err(NotActive(()));
        }
        self.0.deadline.set(deadline.into());
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
        Ok(())
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("deadline", &self.deadline()).field("phase", &self.0.phase.get()).finish()
    }
}

pin_project! {
    struct Limited<F> {
        #[pin]
        future: Option<F>,
        limit: Limit,
        sleep: Option<Sleep>,
        cleanups: Option<Left>,
    }
}

impl<F: Future> Future for Limited<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let state = &*this.limit.0;
        let Some(running) = this.future.as_mut().as_pin_mut() else {
            return poll_cleanups(this.cleanups, cx);
        };
        let polled = match state.deadline.get() {
            Some(deadline) => enclosed(deadline, || running.poll(cx)).0,
            None => running.poll(cx),
        };
        if let Poll::Ready(output) = polled {
            state.phase.set(Phase::Finished);
            this.future.set(None);
            return Poll::Ready(Ok(output));
        }
        let waker = cx.waker().clone();
        drop(state.waker.replace(Some(waker)));
        // Looked at again: the body may have moved it.
        let Some(deadline) = state.deadline.get() else {
            *this.sleep = None;
            return Poll::Pending;
        };
        let is_new = this.sleep.as_ref().is_none_or(|sleep| sleep.deadline() != deadline);
        let sleep = this.sleep.get_or_insert_with(|| sleep_until(deadline));
        if is_new {
            sleep.reset(deadline);
        }
        // A deadline that was in the past when it was set cuts this very wait short.
        let passed = is_new && Instant::now() >= deadline;
        if !passed && Pin::new(sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        state.phase.set(Phase::Expired);
        if ENCLOSING.get().is_some_and(|enclosing| enclosing <= deadline) {
            leave_it_to_the_outer(cx);
            return Poll::Pending;
        }
        expire(this.cleanups, cx, || this.future.set(None))
    }
}

/// The limit cannot be moved: the time was over, or what it was for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotActive(());

impl fmt::Display for NotActive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the limit cannot be moved: its time was over, or what it was for has ended")
    }
}

impl std::error::Error for NotActive {}

/// The time was over before the result was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

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
