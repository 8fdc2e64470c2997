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
//! Invariants: a buffer is offered, or named by exactly one completion or chunk, never both. A pool lives until its core
//! has let go of it and no chunk is left; the core counts its chunks, so that a chunk needs no count of its own.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    elsewhere: Mutex<Elsewhere>,
    any_returned: AtomicBool,
}

/// What happens to chunks away from the core, or after it.
#[derive(Default)]
struct Elsewhere {
    /// What was dropped there and not collected.
    returned: Vec<u16>,
    /// The core is gone: so many chunks are left, and the last frees the pool.
    left: Option<usize>,
}

struct Local {
    ring: BufferRing,
    /// The buffers with numbers below have been offered at least once.
    circulating: u16,
    /// Those of them that chunks hold.
    taken: u16,
}

/// So many bytes of buffers circulate at first, ..
const FIRST_BYTES: u32 = 256 * 1024;
/// .. and so many buffers.
const FIRST: std::ops::RangeInclusive<u32> = 4..=64;

// SAFETY: `local` is touched only by the thread on which `core` lives (each access compares the number first), and
//         dropped by whoever drops the pool, when nobody else can touch it; all other fields are `Sync`.
unsafe impl Sync for Pool {}
// SAFETY: as above; no field is bound to a thread otherwise.
unsafe impl Send for Pool {}

impl Pool {
    /// `count` buffers of `size` bytes, for `group` of the ring of this thread's core.
    pub(crate) fn create(core: CoreId, group: u16, count: u16, size: u32) -> io::Result<OwnedPool> {
        let pool = Self {
            core,
            group,
            count,
            size,
            memory: Mapping::new(usize::from(count) * size as usize)?,
            local: RefCell::new(Local { ring: BufferRing::new(count)?, circulating: 0, taken: 0 }),
            elsewhere: Mutex::default(),
            any_returned: AtomicBool::new(false),
        };
        pool.bring_in((FIRST_BYTES / size).clamp(*FIRST.start(), *FIRST.end()) as u16);
        Ok(OwnedPool(NonNull::from(Box::leak(Box::new(pool)))))
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
    pub(crate) fn take(&self, id: u16, len: u32) -> Option<Chunk> {
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
        let chunk = Chunk(Inner::Pooled(Pooled { pool: NonNull::from(self), id, start: 0, end: len.min(self.size) }));
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
        let returned = std::mem::take(&mut self.elsewhere().returned);
        for id in returned {
            self.offer(id);
        }
    }

    /// A chunk has gone.
    ///
    /// # Safety
    ///
    /// `this` is the pool of a chunk that nobody uses any more, with buffer `id`.
    #[inline]
    unsafe fn give_back(this: NonNull<Self>, id: u16) {
        // SAFETY: the pool lives as long as any of its chunks.
        let pool = unsafe { this.as_ref() };
        if current::core() == pool.core {
            pool.offer(id);
        } else if pool.give_back_elsewhere(id) {
            // SAFETY: `create` leaked this very box; the core has let go of it, and this was the last chunk.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }

    /// True if it was the last chunk of a core that is gone.
    #[cold]
    fn give_back_elsewhere(&self, id: u16) -> bool {
        let mut elsewhere = self.elsewhere();
        if let Some(left) = &mut elsewhere.left {
            *left -= 1;
            return *left == 0;
        }
        elsewhere.returned.push(id);
        // Release: pairs with the Acquire in `collect_all`.
        self.any_returned.store(true, Ordering::Release);
        false
    }

    fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A core's own hold on a pool. Dropped when the ring has been closed; chunks may still be left.
pub(crate) struct OwnedPool(NonNull<Pool>);

impl OwnedPool {
    /// Never frees the pool: the kernel may still write to its buffers.
    pub(crate) fn leak(&self) {
        self.elsewhere().left = Some(usize::MAX);
    }
}

impl Deref for OwnedPool {
    type Target = Pool;

    #[inline]
    fn deref(&self) -> &Pool {
        // SAFETY: the pool is freed only after this has been dropped.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for OwnedPool {
    fn drop(&mut self) {
        let mut elsewhere = self.elsewhere();
        if elsewhere.left.is_some() {
            return;
        }
        let left = self.held() - elsewhere.returned.len();
        elsewhere.left = Some(left);
        drop(elsewhere);
        if left == 0 {
            // SAFETY: `create` leaked this very box; no chunk is left, and the core lets go of it here.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
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
    pool: NonNull<Pool>,
    id: u16,
    start: u32,
    end: u32,
}

// SAFETY: as a reference to the pool, which is `Sync`; its buffer is the chunk's alone, and only read.
unsafe impl Send for Pooled {}
// SAFETY: as above.
unsafe impl Sync for Pooled {}

impl Pooled {
    #[inline]
    fn pool(&self) -> &Pool {
        // SAFETY: the pool lives as long as any of its chunks.
        unsafe { self.pool.as_ref() }
    }
}

impl Drop for Pooled {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the chunk's own pool and buffer, which nobody can reach any more.
        unsafe { Pool::give_back(self.pool, self.id) };
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
                let start = pooled.pool().buffer(pooled.id).as_ptr();
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
