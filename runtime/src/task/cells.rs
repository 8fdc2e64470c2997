//! Memory of tasks that have ended, kept for those to come.
//!
//! A general allocator is at its quickest for a handful of blocks. Tasks are spawned and end by the hundred, so their
//! core keeps what they lay in, by size, up to a limit.
//!
//! Invariant: what lies here came from the global allocator with the layout of its class, and nobody else has it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

const STEP: usize = 64;
const CLASSES: usize = 16;
const ALIGN: usize = 16;
/// How much memory is kept for each size. None in debug builds, where tools that look for misused memory should see
/// every task come and go.
pub(super) const KEPT: usize = if cfg!(debug_assertions) { 0 } else { 256 << 10 };

pub(super) struct Cells {
    /// How many bytes of each size.
    kept: usize,
    free: [RefCell<Vec<NonNull<u8>>>; CLASSES],
}

/// What a task of a certain type lies in.
#[derive(Clone, Copy)]
pub(super) struct CellKind {
    layout: Layout,
    /// `None` for tasks that are too large or too finely aligned to be kept.
    class: Option<usize>,
}

impl CellKind {
    pub(super) const fn of(task: Layout) -> Self {
        let steps = task.size().div_ceil(STEP);
        if steps == 0 || steps > CLASSES || task.align() > ALIGN {
            return Self { layout: task, class: None };
        }
        match Layout::from_size_align(steps * STEP, ALIGN) {
            Ok(layout) => Self { layout, class: Some(steps - 1) },
            Err(_) => Self { layout: task, class: None },
        }
    }

    fn allocate(self) -> NonNull<u8> {
        // SAFETY: a task has a header, so the size is not 0.
        let start = unsafe { alloc(self.layout) };
        NonNull::new(start).unwrap_or_else(|| handle_alloc_error(self.layout))
    }

    /// Gives memory back to the allocator.
    ///
    /// # Safety
    ///
    /// `cell` was taken for this kind, and nobody uses it any more.
    pub(super) unsafe fn release(self, cell: NonNull<u8>) {
        // SAFETY: `allocate` took it with this layout; the caller says that nobody uses it.
        unsafe { dealloc(cell.as_ptr(), self.layout) };
    }
}

impl Cells {
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, free: [const { RefCell::new(Vec::new()) }; CLASSES] }
    }

    /// Uninitialised memory for a task of this kind.
    #[inline]
    pub(super) fn take(&self, kind: CellKind) -> NonNull<u8> {
        let kept = kind.class.and_then(|class| self.free[class].borrow_mut().pop());
        kept.unwrap_or_else(|| kind.allocate())
    }

    /// Keeps memory for later, or gives it back to the allocator.
    ///
    /// # Safety
    ///
    /// As for [`CellKind::release`].
    #[inline]
    pub(super) unsafe fn put(&self, kind: CellKind, cell: NonNull<u8>) {
        if let Some(class) = kind.class {
            let mut free = self.free[class].borrow_mut();
            if free.len() < self.kept / kind.layout.size() {
                free.push(cell);
                return;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { kind.release(cell) };
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        for (class, free) in self.free.iter_mut().enumerate() {
            let Ok(layout) = Layout::from_size_align((class + 1) * STEP, ALIGN) else {
                continue;
            };
            for cell in free.get_mut().drain(..) {
                // SAFETY: what lies in the list of a class was taken with this layout, and nobody uses it.
                unsafe { CellKind { layout, class: Some(class) }.release(cell) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_rounded_up_and_what_is_special_is_not_kept() {
        let kind = |size, align| CellKind::of(Layout::from_size_align(size, align).expect("possible"));
        for (size, class) in [(1, 0), (64, 0), (65, 1), (1024, 15)] {
            let kind = kind(size, 8);
            assert_eq!(kind.class, Some(class));
            assert!(kind.layout.size() >= size && kind.layout.size() < size + STEP);
        }
        for kind in [kind(1025, 8), kind(64, 32)] {
            assert_eq!(kind.class, None);
        }
        assert_eq!(kind(64, 32).layout, Layout::from_size_align(64, 32).expect("possible"));
    }

    #[test]
    fn memory_is_taken_again_and_goes_with_its_owner() {
        let cells = Cells::new(1 << 16);
        for size in [10, 100, 1000, 5000] {
            let kind = CellKind::of(Layout::from_size_align(size, 8).expect("possible"));
            let first = cells.take(kind);
            let second = cells.take(kind);
            assert_ne!(first, second);
            // SAFETY: `size` bytes, which nobody else has.
            unsafe { first.write_bytes(1, size) };
            // SAFETY: taken for this kind, and not used any more.
            unsafe { cells.put(kind, first) };
            if size <= 1024 {
                assert_eq!(cells.take(kind), first);
                // SAFETY: as above.
                unsafe { cells.put(kind, first) };
            }
            // SAFETY: as above.
            unsafe { cells.put(kind, second) };
        }
    }
}
