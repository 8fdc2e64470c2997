//! One value from one task to another.

use std::cell::Cell;
use std::fmt;
use std::future::IntoFuture;

use crate::error::Abandoned;
use crate::twin::Twin;
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

struct Shared<T> {
    value: Cell<Option<T>>,
    /// The receiver, for the value.
    receiving: WaitList<()>,
    /// The sender, for the receiver to go.
    closing: WaitList<()>,
}

/// A way for one value.
///
/// # Examples
///
/// ```
/// use corering::sync::oneshot;
///
/// corering::run(async {
///     let (sender, receiver) = oneshot::channel();
///     corering::spawn(async move { sender.send("hello") });
///     assert_eq!(receiver.await, Ok("hello"));
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) =
        Twin::pair(Shared { value: Cell::new(None), receiving: WaitList::new(), closing: WaitList::new() });
    (Sender(sender), Receiver(receiver))
}

/// Sends the value.
pub struct Sender<T>(Twin<Shared<T>>);

impl<T> Sender<T> {
    /// Sends the value, without waiting.
    ///
    /// # Errors
    ///
    /// The value, if the receiver has gone.
    #[inline]
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.0.value.set(Some(value));
        Ok(())
    }

    /// Whether the receiver has gone.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.is_alone()
    }

    /// Waits until the receiver has gone: nobody wants the value any more.
    #[track_caller]
    pub fn closed(&mut self) -> Wait<Closing<'_, T>> {
        Wait::new(Closing(self), ())
    }
}

impl<T> Drop for Sender<T> {
    #[inline]
    fn drop(&mut self) {
        // Whoever is woken finds the value, or that there is none and will be none.
        self.0.receiving.give_all(Turn::Given);
    }
}

/// Receives the value: await it.
///
/// # Cancel safety
///
/// A [`recv`](Self::recv) that is dropped leaves the value for the next.
pub struct Receiver<T>(Twin<Shared<T>>);

impl<T> Receiver<T> {
    /// Waits for the value. To be used where the receiver is needed afterwards; otherwise await the receiver.
    ///
    /// # Errors
    ///
    /// [`Abandoned`] if the sender was dropped without having sent, or the value has been received.
    #[track_caller]
    pub fn recv(&mut self) -> Wait<Receiving<&mut Self>> {
        Wait::new(Receiving(self), ())
    }

    /// The value, if it is there.
    ///
    /// # Errors
    ///
    /// [`Abandoned`] if there will be none.
    pub fn try_recv(&mut self) -> Result<Option<T>, Abandoned> {
        match self.0.value.take() {
            Some(value) => Ok(Some(value)),
            None if self.0.is_alone() => Err(Abandoned),
            None => Ok(None),
        }
    }
}

impl<T> Drop for Receiver<T> {
    #[inline]
    fn drop(&mut self) {
        self.0.closing.give_all(Turn::Given);
    }
}

impl<T> IntoFuture for Receiver<T> {
    type Output = Result<T, Abandoned>;
    type IntoFuture = Wait<Receiving<Self>>;

    #[track_caller]
    #[inline]
    fn into_future(self) -> Self::IntoFuture {
        Wait::new(Receiving(self), ())
    }
}

/// The wait of [`Receiver::recv`], and of a receiver itself.
#[derive(Debug)]
pub struct Receiving<R>(R);

macro_rules! receiving {
    ($receiver:ty) => {
        impl<T> Source for Receiving<$receiver> {
            type Want = ();
            type Output = Result<T, Abandoned>;
            const WHAT: &'static str = "a oneshot";

            fn list(&self) -> &WaitList<()> {
                &self.0.0.receiving
            }

            #[inline]
            fn at_once(&self, _: &()) -> Option<Turn> {
                self.0.0.is_alone().then_some(Turn::Given)
            }

            #[inline]
            fn take(&self, _: Turn, _: &(), _: *const ()) -> Self::Output {
                self.0.0.value.take().ok_or(Abandoned)
            }

            fn pass_on(&self, _: &()) {}
        }
    };
}

receiving!(Receiver<T>);
receiving!(&mut Receiver<T>);

/// The wait of [`Sender::closed`].
#[derive(Debug)]
pub struct Closing<'a, T>(&'a Sender<T>);

impl<T> Source for Closing<'_, T> {
    type Want = ();
    type Output = ();
    const WHAT: &'static str = "a oneshot's receiver to go";

    fn list(&self) -> &WaitList<()> {
        &self.0.0.closing
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        self.0.is_closed().then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) {}

    fn pass_on(&self, _: &()) {}
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("sender_gone", &self.0.is_alone()).finish()
    }
}
