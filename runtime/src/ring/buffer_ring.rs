//! A ring of buffers that the kernel picks from when data is there.
//!
//! Each entry names a buffer; the kernel takes entries at the head, we put them back at the tail.
//! Invariant: an entry between head and tail names memory that nobody here reads or writes.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::sys::mmap::Mapping;

#[derive(Debug)]
pub(crate) struct BufferRing {
    entries: Mapping,
    count: u16,
    tail: u16,
}

impl BufferRing {
    /// An empty ring of `count` entries, a power of two.
    pub(crate) fn new(count: u16) -> io::Result<Self> {
        debug_assert!(count.is_power_of_two());
        Ok(Self { entries: Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?, count, tail: 0 })
    }

    pub(crate) fn address(&self) -> u64 {
        self.entries.start().as_ptr() as u64
    }

    pub(crate) fn entries(&self) -> u16 {
        self.count
    }

    /// Offers a buffer to the kernel.
    ///
    /// # Safety
    ///
    /// `buffer` is `len` bytes that stay valid as long as the ring is registered, and that nobody here touches
    /// until a completion names `id`. No more than `count` buffers are ever offered at once.
    #[inline]
    pub(crate) unsafe fn offer(&mut self, id: u16, buffer: NonNull<u8>, len: u32) {
        let base = self.entries.start().cast::<BufRingEntry>();
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index` is below `count`, for which the mapping has room.
        let entry = unsafe { base.add(index) };
        // SAFETY: the entry lies outside head..tail (at most `count` are offered), so the kernel does not read it
        //         now; it was zeroed with the mapping, and any bytes are a valid entry.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(buffer.as_ptr() as u64);
        entry.set_len(len);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the first entry of a page-aligned ring.
        let tail = unsafe { BufRingEntry::tail(base.as_ptr()) };
        // SAFETY: the tail is a u16 inside the first entry's reserved field, which `set_*` never write; the kernel
        //         only reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel reads the tail with acquire before it reads the entry.
        tail.store(self.tail, Ordering::Release);
    }
}
