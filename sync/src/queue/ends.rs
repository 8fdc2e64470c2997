//! A queue with two ends: it is closed when all of one kind have gone.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use super::{Getting, Job, Jobs, Putting, Queue, Reserving};
use crate::error::{TryGetError, TryPutError};
use crate::wait::Wait;

struct Shared<T> {
    queue: Queue<T>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
}

/// A queue with room for `capacity` items, by its ends.
///
/// When the last [`Sender`] has gone, the receivers get what is left, and then `Closed`. When the last [`Receiver`]
/// has gone, senders get their items back, and what was left is dropped.
///
/// # Panics
///
/// If `capacity` is 0.
///
/// # Examples
///
/// ```
/// use corering::sync;
///
/// corering::run(async {
///     let (sender, receiver) = sync::channel(16);
///     for name in ["one", "two"] {
///         let sender = sender.clone();
///         corering::spawn(async move { sender.put(name).await });
///     }
///     drop(sender);
///     let mut names = Vec::new();
///     while let Ok(job) = receiver.get().await {
///         names.push(*job);
///     }
///     assert_eq!(names, ["one", "two"]);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends(Queue::bounded(capacity))
}

/// As [`channel`], without a limit.
pub fn unbounded_channel<T>() -> (Sender<T>, Receiver<T>) {
    ends(Queue::unbounded())
}

fn ends<T>(queue: Queue<T>) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared { queue, senders: Cell::new(1), receivers: Cell::new(1) });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

/// The end of a [`channel`] where items go in.
pub struct Sender<T>(Rc<Shared<T>>);

/// The end of a [`channel`] where items come out. There may be several; each item goes to one of them.
pub struct Receiver<T>(Rc<Shared<T>>);

impl<T> Sender<T> {
    /// As [`Queue::put`].
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::Closed), with the item, when all receivers have gone.
    #[track_caller]
    #[inline]
    pub fn put(&self, item: T) -> Wait<Putting<'_, T, super::Fifo<T>>> {
        self.0.queue.put(item)
    }

    /// As [`Queue::reserve`].
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::Closed) when all receivers have gone.
    #[track_caller]
    pub fn reserve(&self) -> Wait<Reserving<'_, T, super::Fifo<T>>> {
        self.0.queue.reserve()
    }

    /// As [`Queue::try_put`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.0.queue.try_put(item)
    }

    /// The queue, to look at and to join.
    pub fn queue(&self) -> &Queue<T> {
        &self.0.queue
    }
}

impl<T> Receiver<T> {
    /// As [`Queue::get`].
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::Closed) when all senders have gone and nothing is left.
    #[track_caller]
    #[inline]
    pub fn get(&self) -> Wait<Getting<'_, T, super::Fifo<T>>> {
        self.0.queue.get()
    }

    /// As [`Queue::try_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_get(&self) -> Result<Job<T>, TryGetError> {
        self.0.queue.try_get()
    }

    /// The items as a stream, until all senders have gone and nothing is left.
    #[track_caller]
    pub fn jobs(&self) -> Jobs<'_, T, super::Fifo<T>> {
        self.0.queue.jobs()
    }

    /// The queue, to look at and to join.
    pub fn queue(&self) -> &Queue<T> {
        &self.0.queue
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Self(Rc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.receivers.set(self.0.receivers.get() + 1);
        Self(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = self.0.senders.get() - 1;
        self.0.senders.set(left);
        if left == 0 {
            self.0.queue.close();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = self.0.receivers.get() - 1;
        self.0.receivers.set(left);
        if left == 0 {
            drop(self.0.queue.close_now());
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.0.queue).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.0.queue).finish()
    }
}
