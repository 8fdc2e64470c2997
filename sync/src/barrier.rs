//! A point that several tasks pass together.

use std::cell::Cell;

use crate::error::{Broken, ZeroSize};
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

/// Lets a number of tasks wait for each other.
///
/// asyncio's `Barrier`: the last that comes lets all of them pass, each with a number of its own from 0 on, in the
/// order of their coming. It can be used again at once: who passes does not hold up those who come for the next
/// round. A waiter that is dropped has not come; the others wait for one more.
///
/// # Examples
///
/// ```
/// use corering::sync::Barrier;
/// use std::rc::Rc;
///
/// corering::run(async {
///     let barrier = Rc::new(Barrier::new(3));
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = barrier.clone();
///             corering::spawn(async move { barrier.wait().await })
///         })
///         .collect();
///     for (number, task) in tasks.into_iter().enumerate() {
///         assert_eq!(task.await.unwrap(), Ok(number));
///     }
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[derive(Debug)]
pub struct Barrier {
    parties: usize,
    broken: Cell<bool>,
    waiters: WaitList<Cell<usize>>,
}

impl Barrier {
    /// For `parties` tasks.
    ///
    /// # Panics
    ///
    /// If `parties` is 0: nobody could ever be the last. See [`try_new`](Self::try_new).
    #[track_caller]
    pub const fn new(parties: usize) -> Self {
        assert!(parties > 0, "the parties of a barrier must be at least 1");
        Self { parties, broken: Cell::new(false), waiters: WaitList::new() }
    }

    /// For `parties` tasks.
    ///
    /// # Errors
    ///
    /// [`ZeroSize`] if `parties` is 0.
    pub fn try_new(parties: usize) -> Result<Self, ZeroSize> {
        if parties == 0 {
            return Err(ZeroSize { what: "the parties of a barrier" });
        }
        Ok(Self::new(parties))
    }

    /// Waits until as many wait as the barrier is for. Gives the number of this one's coming: exactly one of each
    /// round is 0.
    ///
    /// # Errors
    ///
    /// [`Broken`] if the barrier was reset or aborted meanwhile, or has been aborted.
    #[track_caller]
    pub fn wait(&self) -> Wait<Passing<'_>> {
        Wait::new(Passing(self), Cell::new(0))
    }

    /// Sends those who wait away with [`Broken`], and makes the barrier as new.
    pub fn reset(&self) {
        self.broken.set(false);
        self.waiters.give_all(Turn::Refused);
    }

    /// Sends those who wait away with [`Broken`], and all who come, until it is [reset](Self::reset).
    pub fn abort(&self) {
        self.broken.set(true);
        self.waiters.give_all(Turn::Refused);
    }

    /// How many it is for.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait.
    #[doc(alias = "n_waiting")]
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Whether it has been aborted.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

/// The wait of [`Barrier::wait`].
#[derive(Debug)]
pub struct Passing<'a>(&'a Barrier);

impl Source for Passing<'_> {
    type Want = Cell<usize>;
    type Output = Result<usize, Broken>;
    const WHAT: &'static str = "Barrier::wait";

    fn list(&self) -> &WaitList<Cell<usize>> {
        &self.0.waiters
    }

    fn at_once(&self, number: &Cell<usize>) -> Option<Turn> {
        let Self(barrier) = self;
        if barrier.broken.get() {
            return Some(Turn::Refused);
        }
        if barrier.waiters.len() + 1 < barrier.parties {
            return None;
        }
        // The last: all pass, and nobody of them has to be waited for.
        number.set(barrier.parties - 1);
        let mut next = 0;
        barrier.waiters.give_while(Turn::Given, |number| {
            number.set(next);
            next += 1;
            next < barrier.parties
        });
        Some(Turn::Given)
    }

    fn take(&self, turn: Turn, number: &Cell<usize>, _: *const ()) -> Result<usize, Broken> {
        match turn {
            Turn::Given => Ok(number.get()),
            Turn::Refused => Err(Broken),
        }
    }

    /// It came, and the others have passed.
    fn pass_on(&self, _: &Cell<usize>) {}
}
