//! A value that changes, and those who follow it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::error::Closed;
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

struct Shared<T> {
    value: RefCell<Rc<T>>,
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    changes: WaitList<()>,
    closing: WaitList<()>,
}

/// A value, and who follows it: receivers see the latest, and may miss those in between.
///
/// # Examples
///
/// ```
/// use corering::sync::watch;
///
/// corering::run(async {
///     let (level, mut seen) = watch::channel(1);
///     let follower = corering::spawn(async move {
///         let mut last = *seen.latest();
///         while seen.changed().await.is_ok() {
///             last = *seen.latest();
///         }
///         last
///     });
///     level.send(2);
///     level.send(3);
///     drop(level);
///     assert_eq!(follower.await.unwrap(), 3);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(Rc::new(value)),
        version: Cell::new(0),
        senders: Cell::new(1),
        receivers: Cell::new(1),
        changes: WaitList::new(),
        closing: WaitList::new(),
    });
    (Sender(Rc::clone(&shared)), Receiver { shared, seen: Cell::new(0) })
}

impl<T> Shared<T> {
    fn latest(&self) -> Rc<T> {
        Rc::clone(&self.value.borrow())
    }
}

/// Changes the value.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T> Sender<T> {
    /// Sets a new value, whether somebody follows or not, and wakes those who wait for a change.
    pub fn send(&self, value: T) {
        let before = self.0.value.replace(Rc::new(value));
        self.0.version.set(self.0.version.get() + 1);
        self.0.changes.give_all(Turn::Given);
        drop(before);
    }

    /// Changes a copy of the value, which then takes its place. If `change` panics, nothing has changed.
    pub fn modify(&self, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        let mut value = T::clone(&self.0.latest());
        change(&mut value);
        self.send(value);
    }

    /// The value.
    #[doc(alias = "borrow")]
    pub fn latest(&self) -> Rc<T> {
        self.0.latest()
    }

    /// One more who follows: it has seen the value of now.
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.set(self.0.receivers.get() + 1);
        Receiver { shared: Rc::clone(&self.0), seen: Cell::new(self.0.version.get()) }
    }

    /// How many follow.
    pub fn receivers(&self) -> usize {
        self.0.receivers.get()
    }

    /// Waits until nobody follows.
    #[track_caller]
    pub fn closed(&self) -> Wait<Closing<'_, T>> {
        Wait::new(Closing(&self.0), ())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.changes.give_all(Turn::Given);
        }
    }
}

/// Follows the value.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: Cell<u64>,
}

impl<T> Receiver<T> {
    /// Waits until there is a value that this receiver has not been told of, which it has then.
    ///
    /// # Errors
    ///
    /// [`Closed`] if all senders have gone and it has been told of the last value.
    #[track_caller]
    pub fn changed(&mut self) -> Wait<Changing<'_, T>> {
        Wait::new(Changing(self), ())
    }

    /// Waits until the value is as wanted: looks at once, and after each change.
    ///
    /// # Errors
    ///
    /// [`Closed`] if all senders have gone, and the last value is not.
    pub async fn wait_for(&mut self, mut holds: impl FnMut(&T) -> bool) -> Result<Rc<T>, Closed> {
        loop {
            {
                let value = self.latest();
                if holds(&value) {
                    return Ok(value);
                }
            }
            self.changed().await?;
        }
    }

    /// The value. It counts as told.
    #[doc(alias = "borrow_and_update")]
    pub fn latest(&mut self) -> Rc<T> {
        self.seen.set(self.shared.version.get());
        self.shared.latest()
    }

    /// Whether there is a value that it has not been told of.
    pub fn has_changed(&self) -> bool {
        self.seen.get() != self.shared.version.get()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Self { shared: Rc::clone(&self.shared), seen: self.seen.clone() }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
        if self.shared.receivers.get() == 0 {
            self.shared.closing.give_all(Turn::Given);
        }
    }
}

/// The wait of [`Receiver::changed`].
#[derive(Debug)]
pub struct Changing<'a, T>(&'a Receiver<T>);

impl<T> Source for Changing<'_, T> {
    type Want = ();
    type Output = Result<(), Closed>;
    const WHAT: &'static str = "watch::Receiver::changed";

    fn list(&self) -> &WaitList<()> {
        &self.0.shared.changes
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        (self.0.has_changed() || self.0.shared.senders.get() == 0).then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) -> Result<(), Closed> {
        if self.0.has_changed() {
            self.0.seen.set(self.0.shared.version.get());
            return Ok(());
        }
        Err(Closed(()))
    }

    fn pass_on(&self, _: &()) {}
}

/// The wait of [`Sender::closed`].
pub struct Closing<'a, T>(&'a Shared<T>);

impl<T> Source for Closing<'_, T> {
    type Want = ();
    type Output = ();
    const WHAT: &'static str = "watch::Sender::closed";

    fn list(&self) -> &WaitList<()> {
        &self.0.closing
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        (self.0.receivers.get() == 0).then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) {}

    fn pass_on(&self, _: &()) {}
}

impl<T> fmt::Debug for Closing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.latest()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("has_changed", &self.has_changed()).finish()
    }
}
