//! A limit on how many do something at the same time.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use crate::error::AcquireError;
use crate::permits::{PermitSource, Permits};
use crate::wait::Wait;
use crate::wait_list::Turn;

/// Hands out a limited number of permits.
///
/// asyncio's `Semaphore`; since a permit is a guard that goes back when it is dropped, none can be given back that was
/// not taken, so it is a `BoundedSemaphore`, too. First come, first served: who asks for many is not overtaken by who
/// asks for few, and permits that are released belong to those who wait from that moment.
///
/// It limits how many do something *at a time*, not how often it is done: for that, see
/// [`RateLimiter`](crate::RateLimiter).
///
/// # Examples
///
/// ```
/// use corering::sync::Semaphore;
/// use std::rc::Rc;
///
/// corering::run(async {
///     let slots = Rc::new(Semaphore::new(10));
///     let _slot = slots.acquire().await;
///     assert_eq!(slots.available(), 9);
///
///     // For a task of its own: the permit goes along.
///     let permit = slots.acquire_owned().await.unwrap();
///     corering::spawn(async move {
///         // ...
///         drop(permit);
///     });
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[doc(alias = "BoundedSemaphore")]
#[doc(alias = "CapacityLimiter")]
#[derive(Debug)]
pub struct Semaphore {
    permits: Permits,
    limit: Cell<usize>,
}

impl Semaphore {
    /// With `limit` permits. Zero is allowed: nobody gets one until the limit is raised.
    pub const fn new(limit: usize) -> Self {
        let limit = if limit > Permits::MOST { Permits::MOST } else { limit };
        Self { permits: Permits::new(limit), limit: Cell::new(limit) }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Closed`] once the semaphore is closed. Where it never is, `let _slot = slots.acquire().await;` will
    /// do; where it may be, an error that is kept like that limits nothing.
    #[track_caller]
    #[inline]
    pub fn acquire(&self) -> Wait<Acquiring<&Self>> {
        Wait::new(Acquiring(self), 1)
    }

    /// Waits for `count` permits, which are given all at once. If the limit sinks below `count` meanwhile, it waits until
    /// that is raised, and those behind it with it.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Closed`] once the semaphore is closed; [`AcquireError::TooMany`] at once if there are not as
    /// many.
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Wait<Acquiring<&Self>> {
        Wait::new(Acquiring(self), count)
    }

    /// As [`acquire`](Self::acquire), with a permit that keeps the semaphore alive by itself.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn acquire_owned(self: &Rc<Self>) -> Wait<Acquiring<Rc<Self>>> {
        Wait::new(Acquiring(Rc::clone(self)), 1)
    }

    /// As [`acquire_many`](Self::acquire_many), with a permit that keeps the semaphore alive by itself.
    ///
    /// # Errors
    ///
    /// As there.
    #[track_caller]
    pub fn acquire_many_owned(self: &Rc<Self>, count: usize) -> Wait<Acquiring<Rc<Self>>> {
        Wait::new(Acquiring(Rc::clone(self)), count)
    }

    /// Takes a permit if one is free and nobody waits.
    ///
    /// # Errors
    ///
    /// [`AcquireError::WouldBlock`] otherwise, and [`AcquireError::Closed`] once the semaphore is closed.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<&Self>, AcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if as many are free and nobody waits.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire); [`AcquireError::TooMany`] if there are not as many.
    pub fn try_acquire_many(&self, count: usize) -> Result<Permit<&Self>, AcquireError> {
        self.take_now(count)?;
        Ok(Permit { semaphore: self, count })
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that keeps the semaphore alive by itself.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_acquire_owned(self: &Rc<Self>) -> Result<Permit<Rc<Self>>, AcquireError> {
        self.take_now(1)?;
        Ok(Permit { semaphore: Rc::clone(self), count: 1 })
    }

    fn take_now(&self, count: usize) -> Result<(), AcquireError> {
        match self.at_once(count) {
            Some(turn) => self.outcome(turn, count),
            None => Err(AcquireError::WouldBlock),
        }
    }

    #[inline]
    fn at_once(&self, count: usize) -> Option<Turn> {
        if count > self.limit.get() && count > 1 {
            return Some(Turn::Refused);
        }
        self.permits.at_once(count)
    }

    #[inline]
    fn outcome(&self, turn: Turn, wanted: usize) -> Result<(), AcquireError> {
        match turn {
            Turn::Given => Ok(()),
            Turn::Refused if self.is_closed() => Err(AcquireError::Closed),
            Turn::Refused => Err(AcquireError::TooMany { wanted, limit: self.limit.get() }),
        }
    }

    /// How many permits there are, out and not.
    pub fn limit(&self) -> usize {
        self.limit.get()
    }

    /// Changes how many there are. Permits that are out stay out: below their number, nobody gets one until enough
    /// have come back. Raising it serves those who wait.
    pub fn set_limit(&self, limit: usize) {
        let limit = limit.min(Permits::MOST);
        let before = self.limit.replace(limit);
        if limit >= before {
            self.permits.give_back(limit - before);
        } else {
            self.permits.withdraw(before - limit);
        }
    }

    /// How many are free.
    pub fn available(&self) -> usize {
        self.permits.free()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.permits.waiters().len()
    }

    /// Hands out no more. Those who wait are told so; permits that are out may be dropped as before.
    pub fn close(&self) {
        self.permits.close();
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }
}

/// The wait of [`Semaphore::acquire`].
#[derive(Debug)]
pub struct Acquiring<S>(S);

impl<S: Deref<Target = Semaphore> + Clone> PermitSource for Acquiring<S> {
    type Output = Result<Permit<S>, AcquireError>;
    const WHAT: &'static str = "Semaphore::acquire";

    #[inline]
    fn permits(&self) -> &Permits {
        &self.0.permits
    }

    #[inline]
    fn take_now(&self, count: usize) -> Option<Turn> {
        self.0.at_once(count)
    }

    #[inline]
    fn outcome(&self, turn: Turn, count: usize, _: *const ()) -> Self::Output {
        self.0.outcome(turn, count)?;
        Ok(Permit { semaphore: self.0.clone(), count })
    }
}

/// One or more permits of a [`Semaphore`], which go back when this is dropped.
#[derive(Debug)]
#[must_use = "the permit goes back when it is dropped"]
pub struct Permit<S: Deref<Target = Semaphore>> {
    semaphore: S,
    count: usize,
}

/// What [`Semaphore::acquire_owned`] gives.
pub type OwnedPermit = Permit<Rc<Semaphore>>;

impl<S: Deref<Target = Semaphore>> Permit<S> {
    /// How many it is.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes the permits out of use: the semaphore has as many fewer from now on.
    pub fn forget(mut self) {
        let count = std::mem::take(&mut self.count);
        let Semaphore { limit, permits } = &*self.semaphore;
        let fewer = count.min(limit.get());
        limit.set(limit.get() - fewer);
        // If more are out than there are, the rest was missing already.
        permits.give_back(count - fewer);
    }

    /// Gives `count` of them to a permit of its own. `None` if there are not as many.
    pub fn split(&mut self, count: usize) -> Option<Permit<S>>
    where
        S: Clone,
    {
        self.count = self.count.checked_sub(count)?;
        Some(Permit { semaphore: self.semaphore.clone(), count })
    }
}

impl<S: Deref<Target = Semaphore>> Drop for Permit<S> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.give_back(self.count);
    }
}
