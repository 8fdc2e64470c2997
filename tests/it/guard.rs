//! Buffers whose memory is unmapped when they are dropped: a kernel that still wrote there would fail, or crash us.

use corering::buf::{IoBuf, IoBufMut, Room};

pub(crate) struct Guarded {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the mapping belongs to the value, on whatever thread that is.
unsafe impl Send for Guarded {}

impl Guarded {
    pub(crate) fn new(bytes: usize) -> Self {
        // SAFETY: a new anonymous mapping.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        Self { start: start.cast(), bytes }
    }

    pub(crate) fn address(&self) -> usize {
        self.start as usize
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, which nobody uses any more.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

impl IoBuf for Guarded {
    fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped, readable, and zeroed at first.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }
}

impl IoBufMut for Guarded {
    fn room(&mut self) -> Room<'_> {
        // SAFETY: mapped, writable, and ours alone.
        Room::from(unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) })
    }

    unsafe fn advance(&mut self, _count: usize) {}
}
