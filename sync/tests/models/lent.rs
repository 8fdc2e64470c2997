//! Ends that waits borrow mutably.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Something that waits borrow mutably: it comes home when the wait has ended or was dropped.
pub(crate) struct Home<T>(Rc<Cell<Option<T>>>);

impl<T> Home<T> {
    pub(crate) fn new(thing: T) -> Self {
        Self(Rc::new(Cell::new(Some(thing))))
    }

    pub(crate) fn lend(&self) -> Option<Lent<T>> {
        Some(Lent { thing: Some(self.0.take()?), home: Rc::clone(&self.0) })
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }
}

pub(crate) struct Lent<T> {
    thing: Option<T>,
    home: Rc<Cell<Option<T>>>,
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("lent")
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_mut().expect("lent")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        self.home.set(self.thing.take());
    }
}
