//! A value that somebody sets once and many wait for.

use std::cell::OnceCell;
use std::fmt;
use std::future::IntoFuture;
use std::rc::Rc;

use crate::error::{Abandoned, AlreadySet};
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

#[derive(Debug)]
struct Shared<T> {
    outcome: OnceCell<Result<T, Abandoned>>,
    waiters: WaitList<()>,
}

impl<T> Shared<T> {
    fn settle(&self, outcome: Result<T, Abandoned>) -> Result<(), Result<T, Abandoned>> {
        self.outcome.set(outcome)?;
        self.waiters.give_all(Turn::Given);
        Ok(())
    }
}

/// A value to be set once, and what those who wait for it have.
///
/// asyncio's `Future`, in two halves: who sets it, and who waits. All who wait are woken by the one
/// [`set`](Promise::set), first come, first served.
///
/// # Examples
///
/// ```
/// use corering::sync::promise;
///
/// corering::run(async {
///     let (promise, promised) = promise();
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let promised = promised.clone();
///             corering::spawn(async move { *promised.wait().await.unwrap() })
///         })
///         .collect();
///     promise.set(42).unwrap();
///     assert!(promise.set(43).is_err(), "once");
///     for task in tasks {
///         assert_eq!(task.await.unwrap(), 42);
///     }
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[doc(alias = "Future")]
pub fn promise<T>() -> (Promise<T>, Promised<T>) {
    let shared = Rc::new(Shared { outcome: OnceCell::new(), waiters: WaitList::new() });
    (Promise(Rc::clone(&shared)), Promised(shared))
}

/// Sets the value of a [`promise`]. Dropped before that, it cancels it.
#[derive(Debug)]
pub struct Promise<T>(Rc<Shared<T>>);

impl<T> Promise<T> {
    /// Sets the value, whether somebody waits or not.
    ///
    /// # Errors
    ///
    /// [`AlreadySet`], with the value, if it was set or cancelled before.
    #[doc(alias = "set_result")]
    pub fn set(&self, value: T) -> Result<(), AlreadySet<T>> {
        match self.0.settle(Ok(value)) {
            Ok(()) | Err(Err(Abandoned)) => Ok(()),
            Err(Ok(value)) => Err(AlreadySet(value)),
        }
    }

    /// Says that there will be no value. False if it was set or cancelled before, which stays so.
    pub fn cancel(&self) -> bool {
        self.0.settle(Err(Abandoned)).is_ok()
    }

    /// Whether it was set or cancelled.
    #[doc(alias = "done")]
    pub fn is_settled(&self) -> bool {
        self.0.outcome.get().is_some()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.0.waiters.len()
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Waits for the value of a [`promise`]. May be cloned; awaiting a clone gives a clone of the value.
#[derive(Debug)]
pub struct Promised<T>(Rc<Shared<T>>);

impl<T> Promised<T> {
    /// Waits for the value.
    ///
    /// # Errors
    ///
    /// [`Abandoned`] if there will be none.
    #[track_caller]
    pub fn wait(&self) -> Wait<Awaiting<'_, T>> {
        Wait::new(Awaiting(&self.0), ())
    }

    /// The outcome, if it is there.
    pub fn get(&self) -> Option<Result<&T, Abandoned>> {
        self.0.outcome.get().map(|outcome| outcome.as_ref().map_err(|abandoned| *abandoned))
    }

    /// Whether the outcome is there.
    #[doc(alias = "done")]
    pub fn is_settled(&self) -> bool {
        self.0.outcome.get().is_some()
    }
}

impl<T> Clone for Promised<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: Clone> IntoFuture for Promised<T> {
    type Output = Result<T, Abandoned>;
    type IntoFuture = Wait<Owning<T>>;

    #[track_caller]
    fn into_future(self) -> Self::IntoFuture {
        Wait::new(Owning(self.0), ())
    }
}

impl<'a, T> IntoFuture for &'a Promised<T> {
    type Output = Result<&'a T, Abandoned>;
    type IntoFuture = Wait<Awaiting<'a, T>>;

    #[track_caller]
    fn into_future(self) -> Self::IntoFuture {
        self.wait()
    }
}

/// The wait of [`Promised::wait`].
pub struct Awaiting<'a, T>(&'a Shared<T>);

/// The wait for a [`Promised`] itself.
pub struct Owning<T>(Rc<Shared<T>>);

impl<T> fmt::Debug for Awaiting<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Awaiting")
    }
}

impl<T> fmt::Debug for Owning<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owning")
    }
}

const WHAT: &str = "a promise";

impl<'a, T> Source for Awaiting<'a, T> {
    type Want = ();
    type Output = Result<&'a T, Abandoned>;
    const WHAT: &'static str = WHAT;

    fn list(&self) -> &WaitList<()> {
        &self.0.waiters
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        self.0.outcome.get().map(|_| Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) -> Result<&'a T, Abandoned> {
        match self.0.outcome.get() {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) | None => Err(Abandoned),
        }
    }

    fn pass_on(&self, _: &()) {}
}

impl<T: Clone> Source for Owning<T> {
    type Want = ();
    type Output = Result<T, Abandoned>;
    const WHAT: &'static str = WHAT;

    fn list(&self) -> &WaitList<()> {
        &self.0.waiters
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        self.0.outcome.get().map(|_| Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) -> Result<T, Abandoned> {
        match self.0.outcome.get() {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(_)) | None => Err(Abandoned),
        }
    }

    fn pass_on(&self, _: &()) {}
}
