//! Every value to everyone who listens.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use crate::error::{Closed, RecvError, TryGetError};
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

struct Shared<T> {
    /// Each with the number of receivers that have not had it.
    values: RefCell<VecDeque<(Rc<T>, usize)>>,
    /// The number of the first of them, counted from the beginning.
    first: Cell<u64>,
    capacity: usize,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    waiters: WaitList<()>,
}

/// A way from many to many: every receiver gets every value that is sent after it came.
///
/// At most `capacity` values are kept. When one more is sent, the oldest is dropped, and receivers that had not had
/// it are told [how many](RecvError::Lagged) they missed: who listens slowly does not hold up anybody.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// # Examples
///
/// ```
/// use corering::sync::{RecvError, broadcast};
///
/// corering::run(async {
///     let (sender, mut first) = broadcast::channel(2);
///     let mut second = sender.subscribe();
///     for value in 1..=3 {
///         sender.send(value).unwrap();
///     }
///     drop(sender);
///     assert_eq!(first.recv().await, Err(RecvError::Lagged(1)));
///     assert_eq!(first.recv().await, Ok(2));
///     assert_eq!(first.recv().await, Ok(3));
///     assert_eq!(first.recv().await, Err(RecvError::Closed));
///     assert_eq!(second.recv().await, Err(RecvError::Lagged(1)));
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[track_caller]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "the capacity of a broadcast must be at least 1");
    let shared = Rc::new(Shared {
        values: RefCell::new(VecDeque::new()),
        first: Cell::new(0),
        capacity,
        senders: Cell::new(1),
        receivers: Cell::new(1),
        waiters: WaitList::new(),
    });
    (Sender(Rc::clone(&shared)), Receiver { shared, next: Cell::new(0) })
}

impl<T> Shared<T> {
    fn end(&self) -> u64 {
        self.first.get() + self.values.borrow().len() as u64
    }

    /// One receiver has had the value at `position`. What all have had is taken out.
    fn had(&self, position: u64) -> Option<Rc<T>> {
        let mut values = self.values.borrow_mut();
        let (value, left) = values.get_mut((position - self.first.get()) as usize)?;
        let value = Rc::clone(value);
        *left -= 1;
        while values.front().is_some_and(|(_, left)| *left == 0) {
            // The one that was had is among the last references: it is dropped by the caller.
            let gone = values.pop_front();
            self.first.set(self.first.get() + 1);
            if let Some((gone, _)) = gone.filter(|(gone, _)| !Rc::ptr_eq(gone, &value)) {
                drop(values);
                drop(gone);
                values = self.values.borrow_mut();
            }
        }
        Some(value)
    }
}

/// Sends values.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T: Clone> Sender<T> {
    /// Sends a value to all who listen; says how many that are.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the value, if nobody listens.
    pub fn send(&self, value: T) -> Result<usize, Closed<T>> {
        let Self(shared) = self;
        let receivers = shared.receivers.get();
        if receivers == 0 {
            return Err(Closed(value));
        }
        let mut values = shared.values.borrow_mut();
        let oldest = (values.len() == shared.capacity).then(|| values.pop_front()).flatten();
        if oldest.is_some() {
            shared.first.set(shared.first.get() + 1);
        }
        values.push_back((Rc::new(value), receivers));
        drop(values);
        shared.waiters.give_all(Turn::Given);
        drop(oldest);
        Ok(receivers)
    }

    /// One more who listens, from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        let Self(shared) = self;
        shared.receivers.set(shared.receivers.get() + 1);
        Receiver { next: Cell::new(shared.end()), shared: Rc::clone(shared) }
    }

    /// How many listen.
    pub fn receivers(&self) -> usize {
        self.0.receivers.get()
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
            self.0.waiters.give_all(Turn::Given);
        }
    }
}

/// Receives values.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    next: Cell<u64>,
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next value.
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Cancel safety
    ///
    /// One that is dropped has received nothing.
    #[track_caller]
    pub fn recv(&mut self) -> Wait<Receiving<'_, T>> {
        Wait::new(Receiving(self), ())
    }

    /// The next value, if it is there. What was missed is passed over.
    ///
    /// # Errors
    ///
    /// [`TryGetError`] if none is there.
    pub fn try_recv(&mut self) -> Result<T, TryGetError> {
        loop {
            match self.fetch() {
                Ok(value) => return Ok(value),
                Err(RecvError::Lagged(0)) => return Err(TryGetError::Empty),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(TryGetError::Closed),
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.next.get() < self.shared.end() || self.shared.senders.get() == 0
    }

    /// The next value. To have missed none means that there is none.
    fn fetch(&self) -> Result<T, RecvError> {
        let Self { shared, next } = self;
        let missed = shared.first.get().saturating_sub(next.get());
        if missed > 0 {
            next.set(shared.first.get());
            return Err(RecvError::Lagged(missed));
        }
        match shared.had(next.get()) {
            Some(value) => {
                next.set(next.get() + 1);
                Ok(Rc::unwrap_or_clone(value))
            }
            None if shared.senders.get() == 0 => Err(RecvError::Closed),
            None => Err(RecvError::Lagged(0)),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let Self { shared, next } = self;
        shared.receivers.set(shared.receivers.get() - 1);
        let mut position = next.get().max(shared.first.get());
        while position < shared.end() {
            drop(shared.had(position));
            position = (position + 1).max(shared.first.get());
        }
    }
}

/// The wait of [`Receiver::recv`].
#[derive(Debug)]
pub struct Receiving<'a, T>(&'a Receiver<T>);

impl<T: Clone> Source for Receiving<'_, T> {
    type Want = ();
    type Output = Result<T, RecvError>;
    const WHAT: &'static str = "broadcast::Receiver::recv";

    fn list(&self) -> &WaitList<()> {
        &self.0.shared.waiters
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        self.0.is_ready().then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) -> Result<T, RecvError> {
        self.0.fetch()
    }

    fn pass_on(&self, _: &()) {}
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receivers", &self.0.receivers.get()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("waiting", &(self.shared.end().saturating_sub(self.next.get()))).finish()
    }
}
