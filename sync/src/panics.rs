//! Panics in the middle of work that has to be done to its end.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Panics of wakers, kept until all are woken.
#[derive(Default)]
#[must_use = "a panic that is kept is to go on"]
pub struct Panics(Option<Box<dyn Any + Send>>);

impl Panics {
    /// None yet.
    #[inline]
    pub fn none() -> Self {
        Self::default()
    }

    /// Runs a part of the work. `None` if it panicked.
    #[inline]
    pub fn keep<R>(&mut self, part: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(part)) {
            Ok(result) => return Some(result),
            Err(payload) if self.0.is_none() => self.0 = Some(payload),
            // One is enough to tell, and a payload may panic, too, when it is dropped.
            Err(payload) => std::mem::forget(payload),
        }
        None
    }

    /// Lets the first panic go on, if there was one.
    #[inline]
    pub fn go_on(self) {
        if let Some(payload) = self.0 {
            resume_unwind(payload);
        }
    }
}

impl fmt::Debug for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panics").field("any", &self.0.is_some()).finish()
    }
}
