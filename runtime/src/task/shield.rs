//! Work that goes on though whoever waits for it goes.

use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{JoinHandle, local};

/// Runs a future as a task of its own, and awaits it: dropping the wait does not touch the work.
///
/// asyncio's `shield`. The work begins when this is called, not when it is awaited. If the wait is dropped, the work
/// runs to its end, and an error of it that nobody awaits any more is told to
/// [`on_unhandled`](super::on_unhandled) (which knows the errors of `Result<(), E>` with the common types of errors).
/// At the end of the runtime it is dropped like any task.
///
/// # Panics
///
/// Outside a runtime; and if the future panics, with the same payload.
///
/// # Cancel safety
///
/// Dropping it leaves the work running.
///
/// # Examples
///
/// ```
/// use corering_runtime::{task::shield, time};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let committed = Rc::new(Cell::new(false));
///     let commit = {
///         let committed = committed.clone();
///         async move {
///             time::sleep(Duration::from_secs(5)).await;
///             committed.set(true);
///         }
///     };
///     assert!(time::timeout(Duration::from_secs(2), shield(commit)).await.is_err());
///     assert!(!committed.get());
///     time::sleep(Duration::from_secs(5)).await;
///     assert!(committed.get());
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> Shield<F::Output>
where
    F: IntoFuture<Output: 'static>,
    F::IntoFuture: 'static,
{
    match local::spawn(future.into_future(), Location::caller()) {
        Some(task) => Shield(JoinHandle::new(task).name("shielded")),
        None => super::outside_a_runtime("shield"),
    }
}

/// Awaits work that goes on without it; made by [`shield`].
#[must_use = "dropped, the work goes on and nobody gets what it gives"]
pub struct Shield<T>(JoinHandle<T>);

impl<T> Future for Shield<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(output) => Poll::Ready(output),
            Err(error) => match error.into_panic() {
                Ok(payload) => resume_unwind(payload),
                // Only the end of the runtime cancels it, and nobody is polled after that.
                Err(_) => Poll::Pending,
            },
        }
    }
}

impl<T> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shield({})", self.0.info())
    }
}
