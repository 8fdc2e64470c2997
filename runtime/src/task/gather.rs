//! Several futures at once, within one task.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::local;
use super::set::{Fixed, Pool};
use crate::scope::{Left, dropping};
use crate::time::{Sleep, sleep};

/// Awaits all futures at once; gives what they gave, in the order in which they came, or the first error.
///
/// asyncio's `gather`: it returns at the first error, and the other futures go on by themselves; what becomes of them
/// is not told. Dropping it, though, drops them. (For futures that borrow, or to end the others at an error, see
/// [`try_join_all`]; to see each outcome, [`gather_settled`]; for tasks that belong together,
/// [`TaskGroup`](super::TaskGroup).)
///
/// Handles of tasks may be gathered, too: dropping it then detaches them, unless they
/// [abort on drop](super::JoinHandle::abort_on_drop).
///
/// # Errors
///
/// The first one.
///
/// # Cancel safety
///
/// Dropping it drops the futures.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::gather;
/// use std::io;
///
/// async fn double(number: u32) -> io::Result<u32> {
///     Ok(2 * number)
/// }
///
/// corering_runtime::run(async {
///     assert_eq!(gather([1, 2, 3].map(double)).await?, [2, 4, 6]);
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub fn gather<T, E, I>(futures: I) -> Gather<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>, IntoFuture: 'static>>,
    T: 'static,
    E: 'static,
{
    Gather { set: Some(Fixed::new(futures)) }
}

/// The future of [`gather`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Gather<F: Future> {
    set: Option<Fixed<F>>,
}

impl<T, E, F> Future for Gather<F>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let set = unfinished(&mut self.set);
        ready!(set.poll_until(cx, Result::is_err));
        let outputs = set.take();
        if let Some(rest) = self.set.take().filter(|rest| rest.running() > 0) {
            go_on(rest);
        }
        Poll::Ready(outputs.into_iter().collect())
    }
}

#[track_caller]
fn unfinished<T>(running: &mut Option<T>) -> &mut T {
    match running {
        Some(running) => running,
        None => panic!("a future was polled after it had given its result"),
    }
}

/// Lets futures that nobody awaits any more run to their end.
fn go_on<F: Future + 'static>(mut rest: Fixed<F>)
where
    F::Output: 'static,
{
    let rest = async move {
        poll_fn(|cx| rest.poll_until(cx, |_| false)).await;
    };
    local::spawn_detached(rest, "the rest of a gather");
}

impl<F: Future> Unpin for Gather<F> {}

impl<F: Future> fmt::Debug for Gather<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("running", &self.set.as_ref().map(Fixed::running)).finish()
    }
}

/// Awaits all futures at once; gives what each gave, in the order in which they came.
///
/// asyncio's `gather(return_exceptions=True)`. The futures may borrow, and give whatever they like.
///
/// # Cancel safety
///
/// Dropping it drops the futures.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::gather_settled;
///
/// corering_runtime::run(async {
///     let words = ["1", "two", "3"].map(str::to_owned);
///     let parse = async |word: &String| word.parse::<u32>();
///     let numbers = gather_settled(words.iter().map(parse)).await;
///     assert!(matches!(numbers[..], [Ok(1), Err(_), Ok(3)]));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[doc(alias = "join_all")]
#[doc(alias = "return_exceptions")]
pub fn gather_settled<I>(futures: I) -> GatherSettled<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    GatherSettled { set: Fixed::new(futures) }
}

/// The future of [`gather_settled`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct GatherSettled<F: Future> {
    set: Fixed<F>,
}

impl<F: Future> Future for GatherSettled<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<F::Output>> {
        let set = &mut self.set;
        ready!(set.poll_until(cx, |_| false));
        Poll::Ready(set.take())
    }
}

impl<F: Future> Unpin for GatherSettled<F> {}

impl<F: Future> fmt::Debug for GatherSettled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherSettled").field("running", &self.set.running()).finish()
    }
}

/// Awaits all futures at once; gives what they gave, in the order in which they came, or the first error: then the
/// others have been dropped, and the [cleanup](super::cancel) that they left is over.
///
/// The futures may borrow.
///
/// # Errors
///
/// The first one.
///
/// # Cancel safety
///
/// Dropping it drops the futures.
pub async fn try_join_all<T, E, I>(futures: I) -> Result<Vec<T>, E>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    until(Fixed::new(futures), Result::is_err).await.into_iter().collect()
}

/// What the futures gave until one decided. The others have been dropped, and their cleanup is over.
async fn until<F: Future>(mut set: Fixed<F>, decides: impl Fn(&F::Output) -> bool) -> Vec<F::Output> {
    poll_fn(|cx| set.poll_until(cx, &decides)).await;
    let outputs = set.take();
    ended(dropping(|| set.clear())).await;
    outputs
}

/// Waits until the cleanup of what was dropped is over.
async fn ended(left: Option<Left>) {
    poll_fn(|cx| left.as_ref().map_or(Poll::Ready(()), |left| left.poll_ended(cx))).await;
}

/// Awaits all futures at once until one succeeds; gives what that one gave. The others have been dropped then, and the
/// [cleanup](super::cancel) that they left is over.
///
/// # Errors
///
/// [`NoneSucceeded`], with all errors in the order in which the futures came.
///
/// # Cancel safety
///
/// Dropping it drops the futures.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::first_ok;
/// use corering_runtime::time::{Duration, sleep};
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let mirror = async |seconds: u64, up: bool| {
///         sleep(Duration::from_secs(seconds)).await;
///         if up { Ok(seconds) } else { Err("down") }
///     };
///     assert_eq!(first_ok([mirror(1, false), mirror(3, true), mirror(2, true)]).await, Ok(2));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub async fn first_ok<T, E, I>(futures: I) -> Result<T, NoneSucceeded<E>>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    first_of(until(Fixed::new(futures), Result::is_ok).await)
}

fn first_of<T, E>(outputs: Vec<Result<T, E>>) -> Result<T, NoneSucceeded<E>> {
    let mut errors = Vec::new();
    for output in outputs {
        match output {
            Ok(value) => return Ok(value),
            Err(error) => errors.push(error),
        }
    }
    Err(NoneSucceeded { errors })
}

/// As [`first_ok`], but starts one future after the other: the next when `delay` has passed, or one has failed.
///
/// Happy eyeballs, and hedged requests. The futures are made as they are started.
///
/// # Errors
///
/// As [`first_ok`].
///
/// # Cancel safety
///
/// Dropping it drops the futures.
pub async fn staggered<T, E, I>(delay: Duration, futures: I) -> Result<T, NoneSucceeded<E>>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    let mut next = futures.into_iter();
    let mut pool = Pool::new();
    let mut outputs: Vec<Option<E>> = Vec::new();
    // Which was started as which, by its key in the pool.
    let mut started: Vec<usize> = Vec::new();
    let mut timer: Option<Sleep> = None;
    let mut is_due = true;
    let won = poll_fn(|cx| {
        loop {
            if is_due {
                is_due = false;
                timer = None;
                if let Some(future) = next.next() {
                    let key = pool.push(future.into_future());
                    if started.len() <= key {
                        started.resize(key + 1, 0);
                    }
                    started[key] = outputs.len();
                    outputs.push(None);
                    timer = Some(sleep(delay));
                }
            }
            match pool.poll_next(cx) {
                Poll::Ready((_, Ok(value))) => return Poll::Ready(Some(value)),
                Poll::Ready((key, Err(error))) => {
                    outputs[started[key]] = Some(error);
                    is_due = true;
                }
                Poll::Pending if timer.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_ready()) => {
                    is_due = true;
                }
                Poll::Pending if pool.is_empty() => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    ended(dropping(|| pool.clear())).await;
    won.ok_or_else(|| NoneSucceeded { errors: outputs.into_iter().flatten().collect() })
}

/// None of the futures succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoneSucceeded<E> {
    errors: Vec<E>,
}

impl<E> NoneSucceeded<E> {
    /// The errors, in the order in which the futures came.
    pub fn errors(&self) -> &[E] {
        &self.errors
    }

    /// The errors, in the order in which the futures came.
    pub fn into_errors(self) -> Vec<E> {
        self.errors
    }

    /// Whether there were no futures.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }
}

impl<E: fmt::Display> fmt::Display for NoneSucceeded<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("there was nothing to try");
        }
        write!(f, "none of {} succeeded", self.errors.len())?;
        for error in &self.errors {
            write!(f, "; {error}")?;
        }
        Ok(())
    }
}

impl<E: fmt::Display + fmt::Debug> Error for NoneSucceeded<E> {}

/// Awaits the futures of an iterator, `limit` at a time; gives what they give in the order in which they end: a stream.
///
/// A future is taken from the iterator only when there is room for it: a million that are made as they are needed take
/// the memory of `limit`.
///
/// # Panics
///
/// If `limit` is 0.
///
/// # Cancel safety
///
/// Dropping it drops the futures that run.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::buffer_unordered;
///
/// corering_runtime::run(async {
///     let mut squares = buffer_unordered(10, (0..100_u64).map(async |number| number * number));
///     let mut sum = 0;
///     while let Some(square) = squares.next().await {
///         sum += square;
///     }
///     assert_eq!(sum, 328_350);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn buffer_unordered<I>(limit: usize, futures: I) -> BufferUnordered<I::IntoIter>
where
    I: IntoIterator<Item: IntoFuture>,
{
    assert!(limit > 0, "the limit of buffer_unordered must be at least 1");
    BufferUnordered { futures: Some(futures.into_iter()), limit, pool: Pool::new() }
}

/// Outputs of futures of which some run at a time; made by [`buffer_unordered`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct BufferUnordered<I: Iterator<Item: IntoFuture>> {
    /// `None` when it has ended.
    futures: Option<I>,
    limit: usize,
    pool: Pool<<I::Item as IntoFuture>::IntoFuture>,
}

impl<I: Iterator<Item: IntoFuture>> BufferUnordered<I> {
    /// The next output; `None` when all have been given.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn next(&mut self) -> Option<<I::Item as IntoFuture>::Output> {
        poll_fn(|cx| self.poll_for_next(cx)).await
    }

    fn poll_for_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<<I::Item as IntoFuture>::Output>> {
        while self.pool.len() < self.limit {
            let Some(future) = self.futures.as_mut().and_then(Iterator::next) else {
                self.futures = None;
                break;
            };
            self.pool.push(future.into_future());
        }
        if self.pool.is_empty() {
            return Poll::Ready(None);
        }
        let (_, output) = ready!(self.pool.poll_next(cx));
        Poll::Ready(Some(output))
    }
}

impl<I: Iterator<Item: IntoFuture>> Unpin for BufferUnordered<I> {}

impl<I: Iterator<Item: IntoFuture>> Stream for BufferUnordered<I> {
    type Item = <I::Item as IntoFuture>::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_for_next(cx)
    }
}

impl<I: Iterator<Item: IntoFuture>> fmt::Debug for BufferUnordered<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferUnordered").field("limit", &self.limit).field("running", &self.pool.len()).finish()
    }
}
