//! The core's pooled buffers: the kernel picks one when data is there, so an idle connection holds none.
//!
//! ```text
//!        offered to the kernel --completion--> taken (a Chunk) --dropped--> offered again
//! ```
//!
//! A chunk may be dropped anywhere: on its core it goes straight back into the ring; elsewhere it is left on a list
//! that the core empties when it looks for buffers. When few buffers are left, chunks are copies and the buffer goes
//! back at once, so whoever holds chunks for long cannot starve the core.
//!
//! Not all buffers circulate from the start: the kernel takes them in turn, so each one that does is memory that has to
//! be resident, and that falls out of the caches. More are brought in when those that circulate run low.
//!
//! Invariant: a buffer is offered, or named by exactly one completion or chunk, never both.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::IoBuf;
use crate::ring::BufferRing;
use crate::sys::current::{self, CoreId};
use crate::sys::mmap::Mapping;

/// The buffers of one size of one core.
pub(crate) struct Pool {
    core: CoreId,
    group: u16,
    count: u16,
    size: u32,
    memory: Mapping,
    /// Only for the thread of `core`.
    local: RefCell<Local>,
    /// What other threads have dropped.
    returned: Mutex<Vec<u16>>,
    any_returned: AtomicBool,
}

struct Local {
    ring: BufferRing,
    /// The buffers with numbers below have been offered at least once.
    circulating: u16,
    /// Those of them that chunks hold.
    taken: u16,
}

/// How many buffers circulate at first.
const FIRST: u16 = 64;

// SAFETY: `local` is touched only by the thread on which `core` lives (each access compares the number first), and
//         dropped by whoever drops the pool, when nobody else can touch it; all other fields are `Sync`.
unsafe impl Sync for Pool {}
// SAFETY: as above; no field is bound to a thread otherwise.
unsafe impl Send for Pool {}

impl Pool {
    /// `count` buffers of `size` bytes, for `group` of the ring of this thread's core.
    pub(crate) fn new(core: CoreId, group: u16, count: u16, size: u32) -> io::Result<Self> {
        let pool = Self {
            core,
            group,
            count,
            size,
            memory: Mapping::new(usize::from(count) * size as usize)?,
            local: RefCell::new(Local { ring: BufferRing::new(count)?, circulating: 0, taken: 0 }),
            returned: Mutex::new(Vec::new()),
            any_returned: AtomicBool::new(false),
        };
        pool.bring_in(FIRST);
        Ok(pool)
    }

    /// Lets so many more buffers circulate, or what is left of them.
    fn bring_in(&self, more: u16) {
        let mut local = self.local.borrow_mut();
        let first = local.circulating;
        let end = self.count.min(first.saturating_add(more));
        for id in first..end {
            // SAFETY: the buffer was never offered before, so nobody touches it; the memory lives as long as the pool,
            //         which the driver keeps until its ring is closed, and each of the `count` numbers is offered once.
            unsafe { local.ring.offer(id, self.buffer(id), self.size) };
        }
        local.circulating = end;
    }

    /// Few buffers are left, or none: lets more circulate. False if there are no more.
    #[cold]
    pub(crate) fn ran_low(&self) -> bool {
        if current::core() != self.core {
            return false;
        }
        let circulating = self.local.borrow().circulating;
        self.bring_in(circulating);
        circulating < self.count
    }

    /// Makes the ring known to the kernel.
    pub(crate) fn register(&self, register: impl FnOnce(&BufferRing, u16) -> io::Result<()>) -> io::Result<()> {
        register(&self.local.borrow().ring, self.group)
    }

    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Bytes of memory that the pool spans; resident is only what has been used.
    pub(crate) fn bytes(&self) -> u64 {
        self.memory.bytes() as u64
    }

    /// The first `len` bytes of buffer `id`, which a completion has just named.
    ///
    /// Returns nothing if the completion cannot be true: it names no buffer of ours.
    #[inline]
    pub(crate) fn take(self: &Arc<Self>, id: u16, len: u32) -> Option<Chunk> {
        if current::core() != self.core {
            return None;
        }
        let scarce = {
            let mut local = self.local.borrow_mut();
            if id >= local.circulating {
                return None;
            }
            local.taken += 1;
            // A quarter is kept for those who give back at once.
            local.taken > local.circulating - local.circulating / 4
        };
        let scarce = scarce && !self.ran_low();
        let chunk = Chunk(Inner::Pooled(Pooled { pool: Arc::clone(self), id, start: 0, end: len.min(self.size) }));
        if scarce {
            return Some(Chunk::from(chunk.to_vec()));
        }
        Some(chunk)
    }

    /// Takes back what other threads have dropped.
    #[inline]
    pub(crate) fn collect(&self) {
        if self.any_returned.load(Ordering::Relaxed) {
            self.collect_all();
        }
    }

    #[cold]
    fn collect_all(&self) {
        // Acquire: pairs with the Release in `give_back`.
        if current::core() != self.core || !self.any_returned.swap(false, Ordering::Acquire) {
            return;
        }
        let returned = std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        for id in returned {
            self.offer(id);
        }
    }

    #[inline]
    fn give_back(&self, id: u16) {
        if current::core() == self.core {
            self.offer(id);
        } else {
            self.returned.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            // Release: pairs with the Acquire in `collect_all`.
            self.any_returned.store(true, Ordering::Release);
        }
    }

    /// Puts a taken buffer into the ring.
    #[inline]
    fn offer(&self, id: u16) {
        let mut local = self.local.borrow_mut();
        local.taken -= 1;
        let buffer = self.buffer(id);
        // SAFETY: buffer `id` was taken and its chunk is gone (or the pool is new), so nobody here touches it; the
        //         memory lives as long as the pool, which the driver keeps until its ring is closed. `taken` says
        //         that there is an entry for it.
        unsafe { local.ring.offer(id, buffer, self.size) };
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        debug_assert!(id < self.count);
        // SAFETY: `id` is below `count`, so the offset lies inside the mapping.
        unsafe { self.memory.start().add(usize::from(id) * self.size as usize) }
    }

    /// How many buffers chunks hold. Those of results that nobody has fetched yet are not among them.
    pub(crate) fn held(&self) -> usize {
        usize::from(self.local.borrow().taken)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} buffers of {} bytes of {}", self.count, self.size, self.core)
    }
}

/// Received bytes, in a buffer of the core's pool (or in one of their own when the pool runs low).
///
/// Dereferences to the bytes, and can be written as it is. Dropped, it gives the buffer back, on whatever thread.
///
/// # Examples
///
/// ```
/// use corering_runtime::buf::Chunk;
///
/// let mut chunk = Chunk::from(b"hello, world".to_vec());
/// chunk.advance(7);
/// assert_eq!(&chunk[..], b"world");
/// ```
pub struct Chunk(Inner);

enum Inner {
    Pooled(Pooled),
    Owned { bytes: Vec<u8>, start: usize },
}

struct Pooled {
    pool: Arc<Pool>,
    id: u16,
    start: u32,
    end: u32,
}

impl Drop for Pooled {
    #[inline]
    fn drop(&mut self) {
        self.pool.give_back(self.id);
    }
}

impl Chunk {
    /// Forgets the first `count` bytes, which have been used.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "cannot advance {count} bytes in a chunk of {}", self.len());
        match &mut self.0 {
            Inner::Pooled(pooled) => pooled.start += count as u32,
            Inner::Owned { start, .. } => *start += count,
        }
    }

    /// Whether the bytes lie in a buffer of the pool, which is short of one as long as this chunk lives.
    pub fn is_pooled(&self) -> bool {
        matches!(self.0, Inner::Pooled(_))
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::Pooled(pooled) => {
                let start = pooled.pool.buffer(pooled.id).as_ptr();
                // SAFETY: start <= end <= size, so this lies in the buffer.
                let start = unsafe { start.add(pooled.start as usize) };
                // SAFETY: the kernel has filled the buffer up to `end` and does not have it until this chunk is
                //         dropped; the memory was zeroed at first, so it is initialised in any case.
                unsafe { std::slice::from_raw_parts(start, (pooled.end - pooled.start) as usize) }
            }
            Inner::Owned { bytes, start } => &bytes[*start..],
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl IoBuf for Chunk {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Inner::Owned { bytes, start: 0 })
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes, {})", self.len(), if self.is_pooled() { "pooled" } else { "own" })
    }
}
