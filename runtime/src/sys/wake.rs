//! Waking several tasks.

use std::task::Waker;

use corering_sync::panics::Panics;

/// Wakes all of them, even if a waker panics: its panic goes on when the others have been woken.
#[inline]
pub(crate) fn wake_all(mut wakers: impl Iterator<Item = Waker>) {
    let mut panics = Panics::none();
    while panics.keep(|| wakers.by_ref().for_each(Waker::wake)).is_none() {}
    panics.go_on();
}
