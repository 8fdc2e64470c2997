//! Waiting for a change of what a lock guards.

use std::future::Future;
use std::ops::Deref;
use std::panic::Location;

use crate::lock::{Guard, Lock};
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

/// Lets those who hold a [`Lock`] wait until somebody says that what it guards has changed.
///
/// asyncio's `Condition`, apart from the lock: [`wait`](Self::wait) takes the guard, gives the lock up, and returns a
/// guard when it has been notified and holds the lock again. First come, first served. A notification to a waiter
/// that is dropped before it has the lock again goes to the next.
///
/// # Examples
///
/// ```
/// use corering::sync::{Condition, Lock};
/// use std::rc::Rc;
///
/// corering::run(async {
///     let shared = Rc::new((Lock::new(0), Condition::new()));
///     let watcher = corering::spawn({
///         let shared = shared.clone();
///         async move {
///             let (lock, changed) = &*shared;
///             let level = changed.wait_for(lock.lock().await, |level| *level >= 3).await;
///             *level
///         }
///     });
///     let (lock, changed) = &*shared;
///     for _ in 0..5 {
///         *lock.lock().await += 1;
///         changed.notify_all();
///         corering::task::yield_now().await;
///     }
///     assert!(watcher.await.unwrap() >= 3);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[doc(alias = "Condvar")]
#[derive(Debug)]
pub struct Condition {
    waiters: WaitList<()>,
}

impl Condition {
    /// With nobody waiting.
    pub const fn new() -> Self {
        Self { waiters: WaitList::new() }
    }

    /// Gives the lock up, waits until it is notified, and returns with the lock held again.
    ///
    /// What it waits for may have changed back meanwhile: look again, or use [`wait_for`](Self::wait_for).
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the lock released (asyncio would take it again first): the guard was moved in. If it had
    /// been notified, the notification goes to the next waiter.
    #[track_caller]
    pub fn wait<'a, T, L>(&'a self, guard: Guard<L>) -> impl Future<Output = Guard<L>> + use<'a, T, L>
    where
        T: ?Sized,
        L: Deref<Target = Lock<T>> + Clone,
    {
        let at = Location::caller();
        async move { self.wait_at(guard, at).await }
    }

    /// Waits until `holds` says that what the lock guards is as wanted: looks at once, and after each notification.
    /// Returns with the lock held.
    ///
    /// # Cancel safety
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_for<'a, T, L, P>(
        &'a self,
        mut guard: Guard<L>,
        mut holds: P,
    ) -> impl Future<Output = Guard<L>> + use<'a, T, L, P>
    where
        T: ?Sized,
        L: Deref<Target = Lock<T>> + Clone,
        P: FnMut(&mut T) -> bool,
    {
        let at = Location::caller();
        async move {
            while !holds(&mut guard) {
                guard = self.wait_at(guard, at).await;
            }
            guard
        }
    }

    async fn wait_at<T, L>(&self, guard: Guard<L>, at: &'static Location<'static>) -> Guard<L>
    where
        T: ?Sized,
        L: Deref<Target = Lock<T>> + Clone,
    {
        let lock = guard.lock();
        drop(guard);
        let notified = Wait::at(Notifying(self), (), at).await;
        let guard = Guard::again(lock, at).await;
        // From here on the notification is used.
        std::mem::forget(notified);
        guard
    }

    /// Wakes the first `count` who wait, or as many as there are. They go on when they have the lock.
    pub fn notify(&self, count: usize) {
        self.waiters.give_some(Turn::Given, count);
    }

    /// Wakes the first who waits.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.waiters.give_all(Turn::Given);
    }

    /// How many wait to be notified.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

struct Notifying<'a>(&'a Condition);

/// Goes to the next waiter when it is dropped.
struct Notified<'a>(&'a Condition);

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        self.0.notify(1);
    }
}

impl<'a> Source for Notifying<'a> {
    type Want = ();
    type Output = Notified<'a>;
    const WHAT: &'static str = "Condition::wait";

    fn list(&self) -> &WaitList<()> {
        &self.0.waiters
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        None
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) -> Notified<'a> {
        Notified(self.0)
    }

    fn pass_on(&self, _: &()) {
        self.0.notify(1);
    }
}
