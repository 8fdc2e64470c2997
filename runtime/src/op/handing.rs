//! Completions and operations on their way out: whatever panics meanwhile, nothing is handed on twice or lost.

use std::cell::RefCell;
use std::task::Waker;

use super::context::with;
use super::slot::{Contents, Key, Vtable};
use crate::ring::Completion;

/// The completions that are being handed on. If a destructor or a waker panics meanwhile, the rest is kept.
pub(super) struct Batch<'a> {
    home: &'a RefCell<Vec<Completion>>,
    pub(super) completions: Vec<Completion>,
    handed_on: usize,
}

impl<'a> Batch<'a> {
    #[inline]
    pub(super) fn of(home: &'a RefCell<Vec<Completion>>) -> Self {
        Self { home, completions: home.take(), handed_on: 0 }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Completion> {
        let completion = self.completions.get(self.handed_on).copied();
        self.handed_on += 1;
        completion
    }
}

impl Drop for Batch<'_> {
    #[inline]
    fn drop(&mut self) {
        let handed_on = self.handed_on.min(self.completions.len());
        self.completions.drain(..handed_on);
        self.home.replace(std::mem::take(&mut self.completions));
    }
}

/// What has ended and was not fetched. It is given up when nothing of the core is borrowed, since what it owns may
/// do anything when it is dropped.
#[derive(Default)]
#[must_use]
pub(super) struct Left {
    pub(super) waker: Option<Waker>,
    pub(super) ended: Option<Ended>,
}

pub(super) struct Ended {
    pub(super) key: Key,
    pub(super) vtable: &'static Vtable,
    pub(super) contents: Contents,
    pub(super) completion: Completion,
}

impl Left {
    #[inline]
    pub(super) fn dispose(self) {
        let Self { waker, ended } = self;
        drop(waker);
        if let Some(Ended { key, vtable, contents, completion }) = ended {
            let _freed = Freed(key);
            // SAFETY: the operation is done, so the kernel is, too; its owner has gone and will not take it. Pages with
            //         something in them are never given back, so it is there whatever has become of the core.
            unsafe { (vtable.dispose)(contents, completion) };
        }
    }
}

/// Frees a slot of this thread's core that is being emptied, also if that panics.
pub(super) struct Freed(pub(super) Key);

impl Drop for Freed {
    #[inline]
    fn drop(&mut self) {
        with(|operations| {
            let mut slots = operations.slots.borrow_mut();
            if slots.get(self.0).is_some() {
                slots.free(self.0.index);
            }
        });
    }
}
