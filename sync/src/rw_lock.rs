//! A lock that many may read under and one may write under.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::error::WouldBlock;
use crate::permits::{PermitSource, Permits};
use crate::wait::Wait;
use crate::wait_list::Turn;

/// Lets many tasks read a value at a time, or one write to it.
///
/// Fair: first come, first served. A reader that comes after a waiting writer waits until that one has had its turn,
/// so neither side starves. asyncio has no counterpart.
///
/// # Examples
///
/// ```
/// use corering::sync::RwLock;
///
/// corering::run(async {
///     let routes = RwLock::new(vec!["/"]);
///     {
///         let (one, two) = (routes.read().await, routes.read().await);
///         assert_eq!(one.len() + two.len(), 2);
///         assert!(routes.try_write().is_err());
///     }
///     routes.write().await.push("/about");
///     assert_eq!(routes.read().await.len(), 2);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
pub struct RwLock<T: ?Sized> {
    /// A reader takes one, a writer all.
    permits: Permits,
    value: UnsafeCell<T>,
}

/// More than there can be readers.
const ALL: usize = Permits::MOST;

impl<T> RwLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self { permits: Permits::new(ALL), value: UnsafeCell::new(value) }
    }

    /// The value; nobody holds the lock, since it is owned here.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until it may be read, beside other readers.
    #[track_caller]
    #[inline]
    pub fn read(&self) -> Wait<Reading<&Self>> {
        Wait::new(Reading(self), 1)
    }

    /// As [`read`](Self::read), with a guard that keeps the lock alive by itself.
    #[track_caller]
    pub fn read_owned(self: &Rc<Self>) -> Wait<Reading<Rc<Self>>> {
        Wait::new(Reading(Rc::clone(self)), 1)
    }

    /// Waits until it may be written to, alone.
    #[track_caller]
    #[inline]
    pub fn write(&self) -> Wait<Writing<&Self>> {
        Wait::new(Writing(self), ALL)
    }

    /// As [`write`](Self::write), with a guard that keeps the lock alive by itself.
    #[track_caller]
    pub fn write_owned(self: &Rc<Self>) -> Wait<Writing<Rc<Self>>> {
        Wait::new(Writing(Rc::clone(self)), ALL)
    }

    /// Reads at once, if nobody writes or waits.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] otherwise.
    pub fn try_read(&self) -> Result<ReadGuard<&Self>, WouldBlock> {
        self.permits.at_once(1).ok_or(WouldBlock)?;
        Ok(ReadGuard(Held { lock: self, permits: 1 }))
    }

    /// Writes at once, if nobody reads, writes or waits.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`] otherwise.
    pub fn try_write(&self) -> Result<WriteGuard<&Self>, WouldBlock> {
        self.permits.at_once(ALL).ok_or(WouldBlock)?;
        Ok(WriteGuard(Held { lock: self, permits: ALL }))
    }

    /// The value; nobody holds the lock, since it is borrowed mutably here.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// How many wait for it, readers and writers.
    pub fn waiters(&self) -> usize {
        self.permits.waiters().len()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => shown.field("value", &&*guard),
            Err(_) => shown.field("value", &format_args!("<locked>")),
        };
        shown.field("waiters", &self.waiters()).finish()
    }
}

/// The wait of [`RwLock::read`].
#[derive(Debug)]
pub struct Reading<L>(L);

/// The wait of [`RwLock::write`].
#[derive(Debug)]
pub struct Writing<L>(L);

impl<L: Deref<Target: Permitted> + Clone> PermitSource for Reading<L> {
    type Output = ReadGuard<L>;
    const WHAT: &'static str = "RwLock::read";

    #[inline]
    fn permits(&self) -> &Permits {
        self.0.permits()
    }

    #[inline]
    fn outcome(&self, _: Turn, permits: usize, _: *const ()) -> ReadGuard<L> {
        ReadGuard(Held { lock: self.0.clone(), permits })
    }
}

impl<L: Deref<Target: Permitted> + Clone> PermitSource for Writing<L> {
    type Output = WriteGuard<L>;
    const WHAT: &'static str = "RwLock::write";

    #[inline]
    fn permits(&self) -> &Permits {
        self.0.permits()
    }

    #[inline]
    fn outcome(&self, _: Turn, permits: usize, _: *const ()) -> WriteGuard<L> {
        WriteGuard(Held { lock: self.0.clone(), permits })
    }
}

/// Permits of a lock, given back when dropped.
struct Held<L: Deref<Target: Permitted>> {
    lock: L,
    permits: usize,
}

/// What a guard holds. Only [`RwLock`] implements it.
pub trait Permitted {
    #[doc(hidden)]
    fn permits(&self) -> &Permits;
}

impl<T: ?Sized> Permitted for RwLock<T> {
    #[inline]
    fn permits(&self) -> &Permits {
        &self.permits
    }
}

impl<L: Deref<Target: Permitted>> Drop for Held<L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.permits().give_back(self.permits);
    }
}

/// Reads under a [`RwLock`].
#[must_use = "the lock is released when the guard is dropped"]
pub struct ReadGuard<L: Deref<Target: Permitted>>(Held<L>);

/// Writes under a [`RwLock`].
#[must_use = "the lock is released when the guard is dropped"]
pub struct WriteGuard<L: Deref<Target: Permitted>>(Held<L>);

impl<L: Deref<Target: Permitted> + Clone> WriteGuard<L> {
    /// Goes on reading: readers that wait come in, no writer comes in between.
    pub fn downgrade(mut self) -> ReadGuard<L> {
        // One permit stays out until the new guard is dropped; the others go back, and may wake somebody who panics.
        let reading = ReadGuard(Held { lock: self.0.lock.clone(), permits: 1 });
        self.0.permits = ALL - 1;
        drop(self);
        reading
    }
}

impl<T: ?Sized, L: Deref<Target = RwLock<T>>> Deref for ReadGuard<L> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard has at least one permit until it is dropped, and a writer needs all of them. So nobody
        //         has a mutable reference to the value as long as this one is borrowed.
        unsafe { &*self.0.lock.value.get() }
    }
}

impl<T: ?Sized, L: Deref<Target = RwLock<T>>> Deref for WriteGuard<L> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard has all permits until it is dropped, so no other guard is there.
        unsafe { &*self.0.lock.value.get() }
    }
}

impl<T: ?Sized, L: Deref<Target = RwLock<T>>> DerefMut for WriteGuard<L> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; and this guard is borrowed mutably.
        unsafe { &mut *self.0.lock.value.get() }
    }
}

impl<T: ?Sized + fmt::Debug, L: Deref<Target = RwLock<T>>> fmt::Debug for ReadGuard<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug, L: Deref<Target = RwLock<T>>> fmt::Debug for WriteGuard<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
