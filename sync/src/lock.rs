//! A lock around a value, for tasks of one core.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use crate::error::WouldBlock;
use crate::permits::{PermitSource, Permits};
use crate::wait::Wait;
use crate::wait_list::Turn;

/// Lets one task at a time at a value.
///
/// asyncio's `Lock`, with the value inside. First come, first served: when the lock is released it belongs to the one
/// who has waited longest from that moment, so it stays locked and [`try_lock`](Self::try_lock) fails until that one
/// has had its turn. A panic of the holder releases it, and does not poison it.
///
/// Hold it across an await only if what it guards must not be seen halfway. On one core, code between two awaits is
/// never interrupted, and a `RefCell` will do.
///
/// # Examples
///
/// ```
/// use corering::sync::Lock;
/// use std::rc::Rc;
///
/// corering::run(async {
///     let account = Rc::new(Lock::new(100));
///     let other = corering::spawn({
///         let account = account.clone();
///         async move {
///             let mut balance = account.lock().await;
///             let seen = *balance;
///             corering::task::yield_now().await; // nobody comes in between
///             *balance = seen - 30;
///         }
///     });
///     corering::task::yield_now().await;
///     *account.lock().await += 1;
///     other.await.unwrap();
///     assert_eq!(*account.lock().await, 71);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[doc(alias = "Mutex")]
pub struct Lock<T: ?Sized> {
    permits: Permits,
    /// What the waker of its holder points to, if that is known.
    holder: Cell<*const ()>,
    value: UnsafeCell<T>,
}

impl<T> Lock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self { permits: Permits::new(1), holder: Cell::new(ptr::null()), value: UnsafeCell::new(value) }
    }

    /// The value; nobody holds the lock, since it is owned here.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Waits for the lock, and holds it until the guard is dropped.
    #[track_caller]
    #[inline]
    pub fn lock(&self) -> Wait<Locking<&Self>> {
        Wait::new(Locking(self), 1)
    }

    pub(crate) fn lock_at(&self, at: &'static Location<'static>) -> Wait<Locking<&Self>> {
        Wait::at(Locking(self), 1, at)
    }

    /// As [`lock`](Self::lock), with a guard that keeps the lock alive by itself.
    #[track_caller]
    #[inline]
    pub fn lock_owned(self: &Rc<Self>) -> Wait<Locking<Rc<Self>>> {
        Wait::new(Locking(Rc::clone(self)), 1)
    }

    /// Takes the lock if it is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] otherwise.
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_, T>, WouldBlock> {
        self.take_now()?;
        Ok(Guard { lock: self })
    }

    /// As [`try_lock`](Self::try_lock), with a guard that keeps the lock alive by itself.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`], as there.
    pub fn try_lock_owned(self: &Rc<Self>) -> Result<OwnedLockGuard<T>, WouldBlock> {
        self.take_now()?;
        Ok(Guard { lock: Rc::clone(self) })
    }

    #[inline]
    fn take_now(&self) -> Result<(), WouldBlock> {
        self.permits.at_once(1).ok_or(WouldBlock)?;
        self.holder.set(ptr::null());
        Ok(())
    }

    /// The value; nobody holds the lock, since it is borrowed mutably here.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Whether somebody holds it, or has been promised it and not run yet.
    pub fn is_locked(&self) -> bool {
        self.permits.free() == 0
    }

    /// How many wait for it.
    pub fn waiters(&self) -> usize {
        self.permits.waiters().len()
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Lock");
        match self.try_lock() {
            Ok(guard) => shown.field("value", &&*guard),
            Err(_) => shown.field("value", &format_args!("<locked>")),
        };
        shown.field("waiters", &self.waiters()).finish()
    }
}

/// The wait of [`Lock::lock`].
#[derive(Debug)]
pub struct Locking<L>(L);

impl<L: Deref<Target: Release> + Clone> PermitSource for Locking<L> {
    type Output = Guard<L>;
    const WHAT: &'static str = "Lock::lock";

    #[inline]
    fn permits(&self) -> &Permits {
        self.0.permits()
    }

    #[inline]
    fn outcome(&self, _: Turn, _: usize, task: *const ()) -> Guard<L> {
        self.0.holder().set(task);
        Guard { lock: self.0.clone() }
    }

    fn is_held_by(&self, task: *const ()) -> bool {
        !task.is_null() && self.0.holder().get() == task
    }
}

/// Holds a [`Lock`]: derefs to the value, and releases the lock when it is dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard<L: Deref<Target: Release>> {
    lock: L,
}

/// What [`Lock::lock`] gives.
pub type LockGuard<'a, T> = Guard<&'a Lock<T>>;
/// What [`Lock::lock_owned`] gives.
pub type OwnedLockGuard<T> = Guard<Rc<Lock<T>>>;

/// What a guard holds. Only [`Lock`] implements it.
pub trait Release {
    #[doc(hidden)]
    fn permits(&self) -> &Permits;
    #[doc(hidden)]
    fn holder(&self) -> &Cell<*const ()>;
}

impl<T: ?Sized> Release for Lock<T> {
    #[inline]
    fn permits(&self) -> &Permits {
        &self.permits
    }

    #[inline]
    fn holder(&self) -> &Cell<*const ()> {
        &self.holder
    }
}

impl<L: Deref<Target: Release> + Clone> Guard<L> {
    /// The lock that it holds.
    pub(crate) fn lock(&self) -> L {
        self.lock.clone()
    }

    /// Waits for a lock again.
    pub(crate) fn again(lock: L, at: &'static Location<'static>) -> Wait<Locking<L>> {
        Wait::at(Locking(lock), 1, at)
    }
}

impl<L: Deref<Target: Release>> Drop for Guard<L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.holder().set(ptr::null());
        self.lock.permits().give_back(1);
    }
}

impl<T: ?Sized, L: Deref<Target = Lock<T>>> Deref for Guard<L> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a guard is made only with the lock's one permit, which goes back when the guard is dropped. So
        //         while it lives no other guard does, and borrows of the value are borrows of this one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized, L: Deref<Target = Lock<T>>> DerefMut for Guard<L> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; and this guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized + fmt::Debug, L: Deref<Target = Lock<T>>> fmt::Debug for Guard<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
