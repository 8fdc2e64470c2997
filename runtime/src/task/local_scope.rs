//! Groups whose futures borrow from the task that they run in.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_sync::{Notice, oneshot};
use pin_project_lite::pin_project;

use super::group::{Failure, GroupError};
use super::set::Pool;
use crate::scope::{Left, dropping};

type Part<'env, E> = Pin<Box<dyn Future<Output = Result<(), E>> + 'env>>;

/// Takes futures that run within the task, and may borrow from it; made by [`local_scope`].
pub struct LocalScope<'env, E>(Rc<Shared<'env, E>>);

struct Shared<'env, E> {
    /// Those that were spawned and not taken over yet.
    spawned: RefCell<Vec<Part<'env, E>>>,
    notice: Notice,
}

/// Runs `body` with a scope that takes futures, which may borrow what is outside of the body; returns when the body and
/// all of them have ended.
///
/// As [`TaskGroup::scope`](super::TaskGroup::scope), but the futures are no tasks: they are polled within the task that
/// awaits this, which is why they may borrow, and while one of them runs for long none of the others does. At the first
/// failure the others are dropped.
///
/// # Errors
///
/// [`GroupError`] with what has failed.
///
/// # Panics
///
/// If a future or the body panics, at once, with the same payload.
///
/// # Cancel safety
///
/// Dropping it drops the body and the futures.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::local_scope;
/// use std::{cell::Cell, io};
///
/// corering_runtime::run(async {
///     let words = ["a", "bc", "def"].map(str::to_owned);
///     let letters = Cell::new(0);
///     local_scope(async |scope| {
///         for word in &words {
///             scope.spawn(async {
///                 letters.set(letters.get() + word.len());
///                 io::Result::Ok(())
///             });
///         }
///         Ok(())
///     })
///     .await?;
///     assert_eq!(letters.get(), 6);
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[track_caller]
pub fn local_scope<'env, T, E, B>(body: B) -> impl Future<Output = Result<T, GroupError<E>>>
where
    E: 'env,
    B: AsyncFnOnce(LocalScope<'env, E>) -> Result<T, E>,
{
    let opened_at = Location::caller();
    async move {
        let notice = Notice::at("futures of its scope", opened_at);
        let scope = LocalScope(Rc::new(Shared { spawned: RefCell::default(), notice }));
        let mut parts = Pool::new();
        let mut body = pin!(Some(body(scope.clone())));
        let mut value = None;
        let failure = poll_fn(|cx| scope.poll(cx, body.as_mut(), &mut value, &mut parts)).await;
        let left = dropping(|| {
            body.set(None);
            parts.clear();
            scope.0.spawned.take();
        });
        poll_fn(|cx| left.as_ref().map_or(Poll::Ready(()), |left: &Left| left.poll_ended(cx))).await;
        match (value, failure) {
            (Some(value), None) => Ok(value),
            (_, failure) => {
                let failures = failure.map(|error| Failure::new(None, error)).into_iter().collect();
                Err(GroupError::new(failures, opened_at))
            }
        }
    }
}

impl<'env, E> LocalScope<'env, E> {
    /// Takes a future: it runs beside the body. If it fails, all of the scope ends. Awaiting what is returned gives its
    /// value; dropping that changes nothing.
    pub fn spawn<T, F>(&self, future: F) -> LocalChild<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
        E: 'env,
    {
        let (sender, receiver) = oneshot::channel();
        let part = async move {
            // Whoever would have it may have gone.
            drop(sender.send(future.await?));
            Ok(())
        };
        self.0.spawned.borrow_mut().push(Box::pin(part));
        self.0.notice.tell();
        LocalChild(receiver)
    }

    /// Ready when all is over, or something has failed.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut Option<impl Future<Output = Result<T, E>>>>,
        value: &mut Option<T>,
        parts: &mut Pool<Part<'env, E>>,
    ) -> Poll<Option<E>> {
        loop {
            if let Some(running) = body.as_mut().as_pin_mut() {
                if let Poll::Ready(result) = running.poll(cx) {
                    body.set(None);
                    match result {
                        Ok(output) => *value = Some(output),
                        Err(error) => return Poll::Ready(Some(error)),
                    }
                }
            }
            for part in self.0.spawned.take() {
                parts.push(part);
            }
            while let Poll::Ready((_, result)) = parts.poll_next(cx) {
                if let Err(error) = result {
                    return Poll::Ready(Some(error));
                }
            }
            let nothing_new = self.0.spawned.borrow().is_empty();
            if body.is_none() && parts.is_empty() && nothing_new {
                return Poll::Ready(None);
            }
            ready!(self.0.notice.poll(cx));
        }
    }
}

impl<E> Clone for LocalScope<'_, E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<E> fmt::Debug for LocalScope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalScope")
    }
}

/// Awaits the value of a future in a [`local_scope`]. If that fails, this never ends: the scope does.
pub struct LocalChild<T>(oneshot::Receiver<T>);

impl<T> LocalChild<T> {
    /// The value, if it is there.
    pub fn try_get(&mut self) -> Option<T> {
        self.0.try_recv().ok().flatten()
    }
}

impl<T> IntoFuture for LocalChild<T> {
    type Output = T;
    type IntoFuture = LocalValue<T>;

    #[track_caller]
    fn into_future(self) -> LocalValue<T> {
        LocalValue { receiving: self.0.into_future() }
    }
}

pin_project! {
    /// The wait for a [`LocalChild`].
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct LocalValue<T> {
        #[pin]
        receiving: <oneshot::Receiver<T> as IntoFuture>::IntoFuture,
    }
}

impl<T> Future for LocalValue<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(self.project().receiving.poll(cx)) {
            Ok(value) => Poll::Ready(value),
            // It has failed, and the scope, in which this is polled, ends.
            Err(_) => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for LocalValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalValue")
    }
}

impl<T> fmt::Debug for LocalChild<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalChild")
    }
}
