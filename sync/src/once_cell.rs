//! A value that is made once, by whoever needs it first.

use std::cell;
use std::future::Future;
use std::panic::Location;

use crate::error::AlreadySet;
use crate::lock::Lock;

/// A value that is made once, by an async function; others wait until it is there.
///
/// If the one who makes it is dropped or fails, the next who waits makes it.
///
/// # Examples
///
/// ```
/// use corering::sync::OnceCell;
///
/// corering::run(async {
///     let config = OnceCell::new();
///     let text = config.get_or_init(async || "read once".to_owned()).await;
///     assert_eq!(text, "read once");
///     assert_eq!(config.get_or_init(async || unreachable!()).await, "read once");
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[derive(Debug, Default)]
pub struct OnceCell<T> {
    value: cell::OnceCell<T>,
    making: Lock<()>,
}

impl<T> OnceCell<T> {
    /// Without a value.
    pub const fn new() -> Self {
        Self { value: cell::OnceCell::new(), making: Lock::new(()) }
    }

    /// The value, if it has been made.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// [`AlreadySet`], with the value, if there is one.
    pub fn set(&self, value: T) -> Result<(), AlreadySet<T>> {
        self.value.set(value).map_err(AlreadySet)
    }

    /// The value, made by `make` if there is none.
    #[track_caller]
    pub fn get_or_init<F>(&self, make: F) -> impl Future<Output = &T>
    where
        F: AsyncFnOnce() -> T,
    {
        let at = Location::caller();
        async move {
            let made = self.get_or_try(async || Ok::<T, std::convert::Infallible>(make().await), at).await;
            match made {
                Ok(value) => value,
                Err(never) => match never {},
            }
        }
    }

    /// The value, made by `make` if there is none.
    ///
    /// # Errors
    ///
    /// What `make` fails with. There is no value then, and the next one tries.
    #[track_caller]
    pub fn get_or_try_init<E, F>(&self, make: F) -> impl Future<Output = Result<&T, E>>
    where
        F: AsyncFnOnce() -> Result<T, E>,
    {
        self.get_or_try(make, Location::caller())
    }

    async fn get_or_try<E, F>(&self, make: F, at: &'static Location<'static>) -> Result<&T, E>
    where
        F: AsyncFnOnce() -> Result<T, E>,
    {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let _making = self.making.lock_at(at).await;
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let value = make().await?;
        // If somebody has set it meanwhile, theirs stays.
        Ok(self.value.get_or_init(|| value))
    }

    /// The value; nobody else has it, since it is owned here.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}
