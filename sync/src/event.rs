//! Something that has happened or not, and those who wait for it.

use std::cell::Cell;

use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

/// A flag that tasks wait for.
///
/// asyncio's `Event`: [`set`](Self::set) wakes all who wait at that moment, first come, first served, also if it is
/// [cleared](Self::clear) before they run; waiting for an event that is set returns at once.
///
/// # Examples
///
/// ```
/// use corering::sync::Event;
/// use std::rc::Rc;
///
/// corering::run(async {
///     let ready = Rc::new(Event::new());
///     let waits = corering::spawn({
///         let ready = ready.clone();
///         async move {
///             ready.wait().await;
///             "went on"
///         }
///     });
///     corering::task::yield_now().await;
///     ready.set();
///     assert_eq!(waits.await.unwrap(), "went on");
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[doc(alias = "Notify")]
#[derive(Debug)]
pub struct Event {
    set: Cell<bool>,
    waiters: WaitList<()>,
}

impl Event {
    /// An event that is not set.
    pub const fn new() -> Self {
        Self { set: Cell::new(false), waiters: WaitList::new() }
    }

    /// Waits until it is set.
    #[track_caller]
    #[inline]
    pub fn wait(&self) -> Wait<Waiting<'_>> {
        Wait::new(Waiting(self), ())
    }

    /// Sets it, and wakes all who wait. Does nothing if it is set.
    pub fn set(&self) {
        if !self.set.replace(true) {
            self.waiters.give_all(Turn::Given);
        }
    }

    /// Clears it: who waits from now on waits until it is set again.
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// Wakes all who wait now, and nobody who comes later. For something that happens again and again.
    pub fn pulse(&self) {
        self.waiters.give_all(Turn::Given);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

/// The wait of [`Event::wait`].
#[derive(Debug)]
pub struct Waiting<'a>(&'a Event);

impl Source for Waiting<'_> {
    type Want = ();
    type Output = ();
    const WHAT: &'static str = "Event::wait";

    #[inline]
    fn list(&self) -> &WaitList<()> {
        &self.0.waiters
    }

    #[inline]
    fn at_once(&self, _: &()) -> Option<Turn> {
        self.0.set.get().then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) {}

    fn pass_on(&self, _: &()) {}
}
