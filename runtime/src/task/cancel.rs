//! Cleanup that is run on every path, also when the future that owns it is dropped.
//!
//! In Rust a future is cancelled by dropping it, and nothing can be awaited in a destructor. Here cleanup is a future
//! of its own, which [`finally`] and [`with`] own beside the work. When they are dropped unfinished, it is *adopted*:
//! the nearest scope (a timeout that expires, a group that cancels its children, else the task, and at its end the
//! runtime) runs it to its end, beside other tasks and shielded from further cancels, before it reports: `timeout`
//! returns `Elapsed`, a group its error, [`JoinHandle::cancel`](crate::JoinHandle::cancel) its outcome only when the
//! cleanup inside is over. What takes longer than [`Builder::cleanup_limit`](crate::Builder::cleanup_limit) is dropped.
//!
//! Cleanup that fails or panics while nobody awaits it is told to
//! [`on_unhandled`](crate::task::on_unhandled). Code without cleanup pays nothing for it.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

use super::local::{self, Lingering};
use crate::scope::{self, Cleanup};
use crate::time::timeout;

/// What cleanup gives: nothing, or whether it failed.
pub trait Outcome {
    /// What went wrong.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// Awaits `future`, then `cleanup`, whatever becomes of the future: also when this is dropped unfinished, or the
/// future panics. asyncio's `try: ... finally: ...` with awaits in it.
///
/// A failure of the cleanup does not hide the future's output; it is told to
/// [`on_unhandled`](crate::task::on_unhandled).
///
/// # Cancel safety
///
/// Dropping it drops the future and has the [nearest scope](self) run the cleanup. If it was never polled, neither of
/// them has begun, and both are dropped.
///
/// # Examples
///
/// ```
/// use corering_runtime::{task::cancel, time};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let closed = Rc::new(Cell::new(false));
///     let cleanup = {
///         let closed = closed.clone();
///         async move {
///             time::sleep(Duration::from_secs(1)).await; // says goodbye to the other side
///             closed.set(true);
///         }
///     };
///     let work = cancel::finally(std::future::pending::<()>(), cleanup);
///     assert!(time::timeout(Duration::from_secs(5), work).await.is_err());
///     assert!(closed.get(), "the time-out has waited for it");
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn finally<F, C>(future: F, cleanup: C) -> impl Future<Output = F::Output>
where
    F: IntoFuture,
    C: IntoFuture<Output: Outcome> + 'static,
    C::IntoFuture: 'static,
{
    let at = Location::caller();
    async move {
        let owned = Owned::new(async move { cleanup.await.failure() }, at);
        let output = future.await;
        if let Some(failure) = owned.run().await {
            local::report(at, &format!("the cleanup failed: {failure}"));
        }
        output
    }
}

/// Acquires something, uses it, and releases it again on every path: when `use_it` fails, panics, or this is dropped.
/// asyncio's `async with`.
///
/// # Errors
///
/// What `acquire` fails with (then there is nothing to release), else what `use_it` fails with, else what `release`
/// fails with. If both do, the failure of the release is told to [`on_unhandled`](crate::task::on_unhandled).
///
/// # Cancel safety
///
/// Dropping it while it acquires drops that; from then on the [nearest scope](self) runs the release, or the rest of
/// it.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::cancel;
/// use std::io;
///
/// # struct Db; impl Db { async fn fetch(&self, id: u32) -> io::Result<u32> { Ok(id) } async fn close(self) -> io::Result<()> { Ok(()) } }
/// # async fn connect() -> io::Result<Db> { Ok(Db) }
/// corering_runtime::run(async {
///     let row = cancel::with(connect(), async |db| db.fetch(7).await, async |db| db.close().await).await?;
///     assert_eq!(row, 7);
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[track_caller]
pub fn with<R, T, E, A, U, D>(acquire: A, use_it: U, release: D) -> impl Future<Output = Result<T, E>>
where
    A: IntoFuture<Output = Result<R, E>>,
    U: AsyncFnOnce(&mut R) -> Result<T, E>,
    D: AsyncFnOnce(R) -> Result<(), E> + 'static,
    R: 'static,
    E: fmt::Display + 'static,
{
    let at = Location::caller();
    async move {
        let mut held = Held { resource: Some((acquire.await?, release)), at };
        let used = match &mut held.resource {
            Some((resource, _)) => use_it(resource).await,
            None => unreachable!("it is taken below"),
        };
        let Some((resource, release)) = held.resource.take() else { unreachable!("it is taken once") };
        let error = Rc::new(RefCell::new(None));
        let cleanup = {
            let error = error.clone();
            async move {
                // The error goes to whoever awaits; its text, if nobody does any more.
                let failed = release(resource).await.err()?;
                let text = failed.to_string();
                error.replace(Some(failed));
                Some(text)
            }
        };
        let failure = Owned::new(cleanup, at).run().await;
        match (used, error.take()) {
            (Ok(_), Some(error)) => Err(error),
            (used, _) => {
                if let Some(failure) = failure.filter(|_| used.is_err()) {
                    local::report(at, &format!("the release failed, after the use had: {failure}"));
                }
                used
            }
        }
    }
}

/// A resource while it is used.
struct Held<R: 'static, D: AsyncFnOnce(R) -> Result<(), E> + 'static, E: fmt::Display + 'static> {
    resource: Option<(R, D)>,
    at: &'static Location<'static>,
}

impl<R, D: AsyncFnOnce(R) -> Result<(), E>, E: fmt::Display> Drop for Held<R, D, E> {
    fn drop(&mut self) {
        if let Some((resource, release)) = self.resource.take() {
            adopt(Box::pin(async move { release(resource).await.failure() }), self.at);
        }
    }
}

pub(super) type Running = Pin<Box<dyn Future<Output = Option<String>>>>;

/// Cleanup, and that it will be run.
struct Owned {
    cleanup: Option<Running>,
    at: &'static Location<'static>,
}

impl Owned {
    fn new(cleanup: impl Future<Output = Option<String>> + 'static, at: &'static Location<'static>) -> Self {
        Self { cleanup: Some(Box::pin(cleanup)), at }
    }

    async fn run(mut self) -> Option<String> {
        let failure = match &mut self.cleanup {
            Some(cleanup) => cleanup.await,
            None => None,
        };
        self.cleanup = None;
        failure
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(cleanup) = self.cleanup.take() {
            adopt(cleanup, self.at);
        }
    }
}

/// Who waits for cleanup.
enum Scope {
    Dropping { _cleanup: Cleanup },
    Task { _lingering: Lingering },
    Nobody,
}

/// Has the nearest scope run cleanup that a dropped future has left.
pub(super) fn adopt(cleanup: Running, at: &'static Location<'static>) {
    let Some(limit) = local::cleanup_limit() else {
        crate::report(format_args!("the cleanup begun at {at} was not run to its end: its runtime is no more"));
        return;
    };
    let nearest = scope::leave_cleanup();
    let scope = match nearest {
        Some(cleanup) => Scope::Dropping { _cleanup: cleanup },
        None => local::linger().map_or(Scope::Nobody, |lingering| Scope::Task { _lingering: lingering }),
    };
    local::spawn_cleanup(
        async move {
            // Dropped last, also when the cleanup panics: whoever waits goes on then.
            let _scope = scope;
            match timeout(limit, cleanup).await {
                Ok(None) => Ok(()),
                Ok(Some(failure)) => Err(failure),
                Err(_) => Err(format!("it did not end within {limit:?}, and was dropped")),
            }
        },
        at,
    );
}
