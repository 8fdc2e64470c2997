//! Anonymous memory of our own, page by page: for what the kernel keeps an address of.

use std::io;
use std::ptr::NonNull;

/// Zeroed, page-aligned memory that a forked child does not inherit. Its pages become resident when touched.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    process: u32,
}

// SAFETY: a mapping is memory without any thread's mark on it; access is the owner's to arrange.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` only gives out the address and the size.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address that the kernel picks touches no memory of ours.
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
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        };
        let mapping = Self { start, bytes, process: std::process::id() };
        // SAFETY: names exactly the mapping made above.
        let advised = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTFORK) };
        if advised < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(mapping)
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // A forked child did not inherit it: whatever lies there now is not ours.
            return;
        }
        // SAFETY: the mapping is ours alone, and whoever points into it does not outlive it (see `buf::pool`).
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
