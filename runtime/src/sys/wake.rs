//! Waking several tasks.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

/// Wakes all of them, even if a waker panics: its panic goes on when the others have been woken.
#[inline]
pub(crate) fn wake_all(mut wakers: impl Iterator<Item = Waker>) {
    let mut panicked: Option<Box<dyn Any + Send>> = None;
    while let Err(payload) = catch_unwind(AssertUnwindSafe(|| wakers.by_ref().for_each(Waker::wake))) {
        match &panicked {
            None => panicked = Some(payload),
            // One is enough to tell, and a payload may panic, too, when it is dropped.
            Some(_) => std::mem::forget(payload),
        }
    }
    if let Some(payload) = panicked {
        resume_unwind(payload);
    }
}
