//! A place that two have: it goes with the second of them.
//!
//! What it lies in is kept for the next pair of the same thread, up to a limit: a pair is often made for one message,
//! and would spend most of its time in the general allocator.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// One of the two.
pub(crate) struct Twin<T>(NonNull<Place<T>>);

struct Place<T> {
    /// One of the two has gone.
    alone: Cell<bool>,
    value: T,
}

impl<T> Twin<T> {
    const LAYOUT: Layout = Layout::new::<Place<T>>();
    /// Whether it lies in a block that is kept.
    const IS_KEPT: bool = Self::LAYOUT.size() <= BLOCK.size() && Self::LAYOUT.align() <= BLOCK.align();

    #[inline]
    pub(crate) fn pair(value: T) -> (Self, Self) {
        let place = if Self::IS_KEPT { take() } else { allocate(Self::LAYOUT) };
        let place = place.cast::<Place<T>>();
        // SAFETY: large and aligned enough, by its layout or that of a block, and nobody else has it.
        unsafe { place.write(Place { alone: Cell::new(false), value }) };
        (Self(place), Self(place))
    }

    /// Whether the other one has gone.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.place().alone.get()
    }

    #[inline]
    fn place(&self) -> &Place<T> {
        // SAFETY: it was written in `pair`, is only ever borrowed shared, and is freed by the second of the two.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Deref for Twin<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.place().value
    }
}

impl<T> Drop for Twin<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.place().alone.replace(true) {
            return;
        }
        /// Frees the place, also if what is in it panics when it is dropped.
        struct Free<T>(NonNull<Place<T>>);
        impl<T> Drop for Free<T> {
            #[inline]
            fn drop(&mut self) {
                let place = self.0.cast();
                if Twin::<T>::IS_KEPT {
                    // SAFETY: a block, which nobody uses any more.
                    unsafe { put(place) };
                } else {
                    // SAFETY: allocated with this layout, and not used any more.
                    unsafe { dealloc(place.as_ptr(), Twin::<T>::LAYOUT) };
                }
            }
        }
        let _free = Free(self.0);
        // SAFETY: the other one has gone, so this one is the last to have it.
        unsafe { self.0.drop_in_place() };
    }
}

/// Blocks that are kept.
const BLOCK: Layout = match Layout::from_size_align(128, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};
/// How many of them. None in debug builds, where tools that look for misused memory should see all of it.
const KEPT: usize = if cfg!(debug_assertions) { 0 } else { 256 };

/// Blocks of this thread that nobody uses: each begins with the address of the next.
struct Kept {
    first: Cell<*mut u8>,
    /// How many more are kept.
    room: Cell<usize>,
}

thread_local! {
    static BLOCKS: Kept = const { Kept { first: Cell::new(ptr::null_mut()), room: Cell::new(KEPT) } };
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: a place holds at least a flag, so the size is not 0.
    let start = unsafe { alloc(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}

#[inline]
fn take() -> NonNull<u8> {
    BLOCKS.try_with(Kept::take).ok().flatten().unwrap_or_else(|| allocate(BLOCK))
}

/// # Safety
///
/// `block` was allocated with the layout of a block, and nobody uses it.
#[inline]
unsafe fn put(block: NonNull<u8>) {
    // SAFETY: as the caller says.
    let kept = BLOCKS.try_with(|kept| unsafe { kept.put(block) });
    if kept != Ok(true) {
        // SAFETY: as the caller says.
        unsafe { dealloc(block.as_ptr(), BLOCK) };
    }
}

impl Kept {
    #[inline]
    fn take(&self) -> Option<NonNull<u8>> {
        let first = NonNull::new(self.first.get())?;
        // SAFETY: what is kept begins with the address of the next.
        self.first.set(unsafe { first.cast().read() });
        self.room.set(self.room.get() + 1);
        Some(first)
    }

    /// Keeps a block, if there are not enough.
    ///
    /// # Safety
    ///
    /// As for [`put`].
    #[inline]
    unsafe fn put(&self, block: NonNull<u8>) -> bool {
        let Some(room) = self.room.get().checked_sub(1) else {
            return false;
        };
        // SAFETY: nobody uses the block, and it is large and aligned enough for an address.
        unsafe { block.cast().write(self.first.replace(block.as_ptr())) };
        self.room.set(room);
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        while let Some(block) = self.take() {
            // SAFETY: a block that nobody uses.
            unsafe { dealloc(block.as_ptr(), BLOCK) };
        }
    }
}
