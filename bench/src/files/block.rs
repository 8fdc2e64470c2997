//! Bytes to read into and write from, for every runtime that has none of its own.

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};

/// Bytes that begin at a page, as direct I/O wants them. All of it is read into or written from.
#[derive(Debug)]
pub(crate) struct Block(Box<[Page]>);

#[repr(C, align(4096))]
#[derive(Clone, Debug)]
struct Page([u8; super::PAGE]);

impl Block {
    /// All bytes are `byte`.
    ///
    /// # Panics
    ///
    /// If `bytes` is not a multiple of a page.
    pub(crate) fn new(bytes: usize, byte: u8) -> Self {
        assert!(bytes % Layout::new::<Page>().size() == 0, "{bytes} bytes are not whole pages");
        Self(vec![Page([byte; super::PAGE]); bytes / super::PAGE].into())
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: pages are made of bytes, one page right after the other, and borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&*self.0)) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively; any byte will do in a page.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), size_of_val(&*self.0)) }
    }
}

#[cfg(feature = "peers")]
mod peers {
    use std::mem::MaybeUninit;

    use super::Block;

    impl compio::buf::IoBuf for Block {
        fn as_init(&self) -> &[u8] {
            self
        }
    }

    impl compio::buf::SetLen for Block {
        unsafe fn set_len(&mut self, _len: usize) {}
    }

    impl compio::buf::IoBufMut for Block {
        fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
            let bytes: *mut [u8] = &mut **self;
            // SAFETY: the bytes are ours as long as `self` is borrowed; compio writes none back as uninitialised.
            unsafe { &mut *(bytes as *mut [MaybeUninit<u8>]) }
        }
    }

    // SAFETY: the pages are on the heap, where they stay when the block is moved, and are all initialised.
    unsafe impl monoio::buf::IoBuf for Block {
        fn read_ptr(&self) -> *const u8 {
            self.as_ptr()
        }

        fn bytes_init(&self) -> usize {
            self.len()
        }
    }

    // SAFETY: as above.
    unsafe impl monoio::buf::IoBufMut for Block {
        fn write_ptr(&mut self) -> *mut u8 {
            self.as_mut_ptr()
        }

        fn bytes_total(&mut self) -> usize {
            self.len()
        }

        unsafe fn set_init(&mut self, _pos: usize) {}
    }
}
