//! Cleanup that is run on every path, also when the future that owns it is dropped.
//!
//! In Rust a future is cancelled by dropping it, and nothing can be awaited in a destructor. Here cleanup is a future
//! of its own, which [`finally`] and [`with`] own beside the work. When they are dropped unfinished, it is *adopted*:
//! the nearest scope (a timeout that expires, a group that cancels its children, else the task, and at its end the
//! runtime) runs it to its end, beside other tasks and shielded from further cancels, before it reports: `timeout`
//! returns `Elapsed`, a group its error, [`JoinHandle::cancel`](crate::JoinHandle::cancel) its outcome only when the
//! cleanup inside is over. Of nested cleanup the outer one begins when the inner one has ended. What takes longer than [`Builder::cleanup_limit`](crate::Builder::cleanup_limit) is dropped.
//!
//! Cleanup that fails or panics while nobody awaits it is told to
//! [`on_unhandled`](crate::task::on_unhandled). Code without cleanup pays nothing for it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::local;
use crate::scope::{self, Left, dropping};
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
        let output = Work { future: Some(future.into_future()), left: &owned.left }.await;
        if let Some(failure) = owned.await {
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
        let resource = acquire.await?;
        let left = Cell::new(None);
        let mut held = Held { resource: Some((resource, release)), left: &left, at };
        let used = match &mut held.resource {
            Some((resource, _)) => Work { future: Some(use_it(resource)), left: &left }.await,
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
        let failure = Owned::new(cleanup, at).await;
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
struct Held<'a, R: 'static, D: AsyncFnOnce(R) -> Result<(), E> + 'static, E: fmt::Display + 'static> {
    resource: Option<(R, D)>,
    /// What its use has left.
    left: &'a Cell<Option<Left>>,
    at: &'static Location<'static>,
}

impl<R, D: AsyncFnOnce(R) -> Result<(), E>, E: fmt::Display> Drop for Held<'_, R, D, E> {
    fn drop(&mut self) {
        if let Some((resource, release)) = self.resource.take() {
            let release = Box::pin(async move { release(resource).await.failure() });
            adopt_after(self.left.take(), release, self.at);
        }
    }
}

pub(super) type Running = Pin<Box<dyn Future<Output = Option<String>>>>;

pin_project! {
    /// What comes before cleanup. Dropped unfinished, it notes what it leaves: the cleanup comes after that.
    struct Work<'a, F> {
        #[pin]
        future: Option<F>,
        left: &'a Cell<Option<Left>>,
    }

    impl<F> PinnedDrop for Work<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                this.left.set(dropping(|| this.future.set(None)));
            }
        }
    }
}

impl<F: Future> Future for Work<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let mut polled = Ok(Poll::Pending);
        let left = dropping(|| {
            let Some(future) = this.future.as_mut().as_pin_mut() else { unreachable!("it is awaited once") };
            polled = catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
            if !matches!(polled, Ok(Poll::Pending)) {
                this.future.set(None);
            }
        });
        match polled {
            // What it leaves while it goes on is not waited for here, but by the scope around.
            Ok(polled) => polled,
            Err(payload) => {
                this.left.set(left);
                resume_unwind(payload)
            }
        }
    }
}

/// Cleanup, and that it will be run: awaited, or when it is dropped.
struct Owned {
    cleanup: Option<Running>,
    /// What the work before it has left.
    left: Cell<Option<Left>>,
    at: &'static Location<'static>,
}

impl Owned {
    fn new(cleanup: impl Future<Output = Option<String>> + 'static, at: &'static Location<'static>) -> Self {
        Self { cleanup: Some(Box::pin(cleanup)), left: Cell::new(None), at }
    }
}

impl Future for Owned {
    type Output = Option<String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let Some(mut cleanup) = self.cleanup.take() else { unreachable!("it is awaited once") };
        // If it panics, there is no more of it.
        let polled = cleanup.as_mut().poll(cx);
        if polled.is_pending() {
            self.cleanup = Some(cleanup);
        }
        polled
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(cleanup) = self.cleanup.take() {
            adopt_after(self.left.take(), cleanup, self.at);
        }
    }
}

/// Has the nearest scope run cleanup that a dropped future has left.
pub(super) fn adopt(cleanup: Running, at: &'static Location<'static>) {
    adopt_after(None, cleanup, at);
}

/// As [`adopt`], when something else that was left has ended, which has limits of its own.
fn adopt_after(left: Option<Left>, cleanup: Running, at: &'static Location<'static>) {
    let Some(limit) = local::cleanup_limit() else {
        crate::report(format_args!("the cleanup begun at {at} was not run to its end: its runtime is no more"));
        return;
    };
    let scope = scope::nearest();
    local::spawn_cleanup(
        async move {
            // Dropped last, also when the cleanup panics: whoever waits goes on then.
            let _scope = scope;
            if let Some(left) = left {
                poll_fn(|cx| left.poll_ended(cx)).await;
            }
            match timeout(limit, cleanup).await {
                Ok(None) => Ok(()),
                Ok(Some(failure)) => Err(failure),
                Err(_) => Err(format!("it did not end within {limit:?}, and was dropped")),
            }
        },
        at,
    );
}
