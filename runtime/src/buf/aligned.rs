//! Aligned buffers: for direct I/O, which needs them, and for large reads and writes of files, which they make cheaper.
//!
//! ```text
//!   region of the core --taken--> AlignedBuf --dropped, on whatever thread--> free again
//!     |  first used by an operation of the core
//!     +--> registered with its ring: the kernel keeps its pages at hand and need not look them up for each operation
//! ```
//!
//! Regions are made as needed, up to a bound. What does not fit, what is asked for outside a runtime and what is
//! aligned more than pages are has memory of its own, which is never registered. Nor is a region that the kernel
//! refuses, for want of locked memory: it is used all the same.
//!
//! Invariant: a piece of a region is free, or of exactly one buffer. A region lives as long as any buffer of its pool,
//! so memory that the kernel has been told of is not given back while an operation may use it: that operation owns a
//! buffer of it.

use std::alloc::{self, Layout};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{IoBuf, IoBufMut, Room};
use crate::ring::Ring;
use crate::sys::current::{self, CoreId};
use crate::sys::mmap::Mapping;

/// What regions are aligned to, and most devices ask for at most.
const PAGE: usize = 4096;
/// Pieces are 4 KiB to 4 MiB large.
const CLASSES: usize = 11;
/// A region holds so many pieces, and is at least and at most so large.
const PIECES: usize = 8;
const SMALLEST_REGION: usize = 512 * 1024;
const LARGEST_REGION: usize = 4 << 20;
/// All regions of a core together.
const MOST_BYTES: usize = 64 << 20;
/// How many regions a core may have.
const REGIONS: u16 = (MOST_BYTES / SMALLEST_REGION) as u16;
const _: () = assert!(REGIONS as u32 <= Ring::REGIONS, "the kernel's table has a place for each");

thread_local! {
    /// The regions of this thread's core.
    static HERE: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

/// A core's own hold on its regions.
pub(crate) struct Regions(Arc<Pool>);

impl Regions {
    pub(crate) fn new(core: CoreId) -> Self {
        Self(Pool::new(core))
    }

    /// From now on buffers of this thread are of these.
    pub(crate) fn install(&self) {
        // A thread that is ending makes none from a pool.
        let _ = HERE.try_with(|here| here.replace(Some(Arc::clone(&self.0))));
    }

    /// From now on they are not, if they were.
    pub(crate) fn uninstall(&self) {
        let _ = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            if here.as_ref().is_some_and(|here| Arc::ptr_eq(here, &self.0)) {
                *here = None;
            }
        });
    }
}

/// The regions of a core.
struct Pool {
    core: CoreId,
    regions: [OnceLock<Region>; REGIONS as usize],
    free: Mutex<Free>,
}

struct Region {
    memory: Mapping,
    /// Whether the ring knows it. Written by the thread of its core alone.
    known: AtomicU8,
}

const NOT_TRIED: u8 = 0;
const REGISTERED: u8 = 1;
const REFUSED: u8 = 2;

#[derive(Default)]
struct Free {
    /// Of each size, the pieces that nobody has; the last one was used last.
    pieces: [Vec<Piece>; CLASSES],
    regions: u16,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Piece {
    region: u16,
    offset: u32,
}

impl Pool {
    fn new(core: CoreId) -> Arc<Self> {
        Arc::new(Self { core, regions: [const { OnceLock::new() }; REGIONS as usize], free: Mutex::default() })
    }

    /// A piece of at least so many bytes. `None` if there is none left, or none so large.
    fn take(&self, bytes: usize) -> Option<(NonNull<u8>, u16, u8)> {
        let class = class_of(bytes)?;
        let mut free = self.free();
        if free.pieces[class].is_empty() {
            self.grow(&mut free, class);
        }
        let Piece { region, offset } = free.pieces[class].pop()?;
        let memory = &self.regions[usize::from(region)].get()?.memory;
        // SAFETY: `grow` has cut the region into pieces that lie inside it.
        let start = unsafe { memory.start().add(offset as usize) };
        Some((start, region, class as u8))
    }

    /// Makes one more region, if there may be one.
    #[cold]
    fn grow(&self, free: &mut Free, class: usize) {
        let piece = PAGE << class;
        let bytes = (piece * PIECES).clamp(SMALLEST_REGION, LARGEST_REGION);
        if free.regions == REGIONS || free.bytes + bytes > MOST_BYTES {
            return;
        }
        let Ok(memory) = Mapping::new(bytes) else {
            return;
        };
        let region = free.regions;
        if self.regions[usize::from(region)].set(Region { memory, known: AtomicU8::new(NOT_TRIED) }).is_err() {
            return;
        }
        free.regions += 1;
        free.bytes += bytes;
        let offsets = (0..bytes).step_by(piece).rev();
        free.pieces[class].extend(offsets.map(|offset| Piece { region, offset: offset as u32 }));
    }

    fn give_back(&self, start: NonNull<u8>, region: u16, class: u8) {
        let Some(Region { memory, .. }) = self.regions[usize::from(region)].get() else {
            return;
        };
        let offset = (start.as_ptr() as usize - memory.start().as_ptr() as usize) as u32;
        self.free().pieces[usize::from(class)].push(Piece { region, offset });
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which pieces hold so many bytes.
fn class_of(bytes: usize) -> Option<usize> {
    let class = bytes.max(PAGE).checked_next_power_of_two()?.trailing_zeros() - PAGE.trailing_zeros();
    Some(class as usize).filter(|class| *class < CLASSES)
}

/// A piece of the regions of this thread's core.
fn take_here(bytes: usize) -> Option<(NonNull<u8>, Memory)> {
    HERE.try_with(|here| {
        let here = here.borrow();
        // In a forked child this thread has no core, though its regions are still noted.
        let pool = here.as_ref().filter(|pool| pool.core == current::core())?;
        let (start, region, class) = pool.take(bytes)?;
        Some((start, Memory::Pooled { pool: Arc::clone(pool), region, class }))
    })
    .ok()
    .flatten()
}

/// Memory that starts at a multiple of 4096 bytes (or of another power of two) and is as many of these long.
///
/// A read appends to what it holds, as to a `Vec`; [`clear`](Self::clear) makes room again. It never grows. It
/// dereferences to what it holds, and may be used and dropped on any thread. Dropped, it goes back to its core's pool,
/// so making another one of the same size costs next to nothing.
///
/// # Examples
///
/// ```
/// use corering_runtime::buf::{AlignedBuf, IoBufMut};
///
/// let mut buffer = AlignedBuf::new(10_000);
/// assert_eq!(buffer.capacity(), 12_288);
/// assert_eq!(buffer.extend_from_slice(b"hello"), 5);
/// assert_eq!(&buffer[..], b"hello");
/// assert_eq!(buffer.room().len(), 12_283);
/// buffer.resize(4096, 0);
/// assert_eq!((buffer.len(), buffer[4095]), (4096, 0));
/// ```
pub struct AlignedBuf {
    start: NonNull<u8>,
    capacity: u32,
    len: u32,
    memory: Memory,
}

enum Memory {
    Pooled {
        pool: Arc<Pool>,
        region: u16,
        class: u8,
    },
    /// Of the allocator, with that alignment.
    Own {
        alignment: u32,
    },
}

// SAFETY: the memory is the buffer's alone and no thread has a mark on it; a pool is `Sync`.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// The most bytes that one buffer can have.
    const MOST: usize = 1 << 31;

    /// An empty buffer with room for `bytes`, or as many more as are missing to a multiple of 4096.
    ///
    /// From the pool of this thread's core, if it has one with room; else it has memory of its own.
    ///
    /// # Panics
    ///
    /// If it is to be larger than 2 GiB.
    pub fn new(bytes: usize) -> Self {
        Self::with_alignment(bytes, PAGE)
    }

    /// Likewise, with another alignment than 4096.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new), and if the alignment is no power of two or is more than 1 GiB.
    pub fn with_alignment(bytes: usize, alignment: usize) -> Self {
        assert!(alignment.is_power_of_two(), "cannot align to {alignment}: it is no power of two");
        assert!(
            bytes <= Self::MOST && alignment <= Self::MOST / 2,
            "cannot make an aligned buffer of {bytes} bytes: use several"
        );
        let capacity = bytes.max(1).next_multiple_of(alignment);
        let pooled = if alignment <= PAGE { take_here(capacity) } else { None };
        let (start, memory) = pooled.unwrap_or_else(|| allocate(capacity, alignment));
        Self { start, capacity: capacity as u32, len: 0, memory }
    }

    /// How many bytes it can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Forgets what it holds.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets what it holds beyond the first `len` bytes.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Appends a copy of `bytes`, as many as there is room for, and says how many these were.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> usize {
        self.fill_from(bytes)
    }

    /// Makes it hold `len` bytes: cut, or filled up with `value`.
    ///
    /// # Panics
    ///
    /// If it cannot hold so many.
    pub fn resize(&mut self, len: usize, value: u8) {
        let capacity = self.capacity();
        assert!(len <= capacity, "{len} bytes do not fit into an aligned buffer of {capacity}");
        let held = self.len();
        if let Some(more) = len.checked_sub(held) {
            let room = self.room().as_mut_ptr();
            // SAFETY: the room begins after what is held, and has `more` bytes: `len` is at most the capacity.
            unsafe { room.write_bytes(value, more) };
        }
        self.len = len as u32;
    }

    /// Whether its memory is of the core's pool.
    pub fn is_pooled(&self) -> bool {
        matches!(self.memory, Memory::Pooled { .. })
    }

    /// The number by which the ring of `core` knows the memory. Asked for the first time, it is made known: `register`
    /// is given the number, and where it starts and how long it is.
    #[inline]
    pub(crate) fn registered(
        &self,
        core: CoreId,
        register: impl FnOnce(u16, NonNull<u8>, usize) -> io::Result<()>,
    ) -> Option<u16> {
        let Memory::Pooled { pool, region, .. } = &self.memory else {
            return None;
        };
        if pool.core != core {
            return None;
        }
        let Region { memory, known } = pool.regions[usize::from(*region)].get()?;
        match known.load(Ordering::Relaxed) {
            REGISTERED => Some(*region),
            REFUSED => None,
            _ => {
                let result = register(*region, memory.start(), memory.bytes());
                known.store(if result.is_ok() { REGISTERED } else { REFUSED }, Ordering::Relaxed);
                result.ok().map(|()| *region)
            }
        }
    }
}

#[cold]
fn allocate(capacity: usize, alignment: usize) -> (NonNull<u8>, Memory) {
    let layout = layout(capacity, alignment);
    // SAFETY: the capacity is not zero.
    let start = unsafe { alloc::alloc(layout) };
    match NonNull::new(start) {
        Some(start) => (start, Memory::Own { alignment: alignment as u32 }),
        None => alloc::handle_alloc_error(layout),
    }
}

fn layout(capacity: usize, alignment: usize) -> Layout {
    match Layout::from_size_align(capacity, alignment) {
        Ok(layout) => layout,
        Err(_) => unreachable!("at most 2 GiB, aligned to a power of two"),
    }
}

impl Drop for AlignedBuf {
    #[inline]
    fn drop(&mut self) {
        match &self.memory {
            Memory::Pooled { pool, region, class } => pool.give_back(self.start, *region, *class),
            Memory::Own { alignment } => {
                let layout = layout(self.capacity(), *alignment as usize);
                // SAFETY: `allocate` got it with this very layout, and nobody uses it any more.
                unsafe { alloc::dealloc(self.start.as_ptr(), layout) };
            }
        }
    }
}

impl IoBuf for AlignedBuf {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        self
    }
}

impl IoBufMut for AlignedBuf {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        // SAFETY: `len` is at most the capacity.
        let start = unsafe { self.start.add(self.len()) };
        let len = self.capacity() - self.len();
        let memory = NonNull::slice_from_raw_parts(start.cast(), len);
        // SAFETY: the rest of the memory, which is the buffer's alone, and borrowed exclusively here.
        let rest: &mut [std::mem::MaybeUninit<u8>] = unsafe { &mut *memory.as_ptr() };
        Room::from(rest)
    }

    #[inline]
    unsafe fn advance(&mut self, count: usize) {
        self.len += count as u32;
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes have been initialised: whatever raises `len` has.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl DerefMut for AlignedBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len as usize) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = if self.is_pooled() { "pooled" } else { "own" };
        write!(f, "AlignedBuf({} of {} bytes, {memory})", self.len, self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `body` as if this thread had a core.
    fn on_a_core(body: impl FnOnce(CoreId)) {
        let core = CoreId::next();
        let regions = Regions::new(core);
        current::set(core);
        regions.install();
        body(core);
        regions.uninstall();
        current::clear(core);
    }

    fn address(buffer: &AlignedBuf) -> usize {
        buffer.start.as_ptr() as usize
    }

    #[test]
    fn every_size_is_aligned_and_holds_what_was_asked_for() {
        on_a_core(|_| {
            for bytes in [0, 1, 4095, 4096, 4097, 100_000, 4 << 20, (4 << 20) + 1, 9 << 20] {
                for alignment in [512, 4096, 1 << 21] {
                    let mut buffer = AlignedBuf::with_alignment(bytes, alignment);
                    assert_eq!(address(&buffer) % alignment, 0, "{buffer:?}");
                    assert!(buffer.capacity() >= bytes && buffer.capacity() % alignment == 0, "{buffer:?}");
                    let pooled = buffer.capacity() <= 4 << 20 && alignment <= 4096;
                    assert_eq!(buffer.is_pooled(), pooled, "{buffer:?}");
                    let capacity = buffer.capacity();
                    buffer.resize(capacity, 7);
                    assert!(buffer.iter().all(|byte| *byte == 7));
                }
            }
        });
    }

    #[test]
    fn a_buffer_that_was_dropped_elsewhere_is_used_again() {
        on_a_core(|_| {
            let first = AlignedBuf::new(4096);
            let at = address(&first);
            std::thread::spawn(move || drop(first)).join().expect("no panic");
            assert_eq!(address(&AlignedBuf::new(100)), at);
        });
    }

    #[test]
    fn no_two_buffers_share_memory_and_an_exhausted_pool_is_no_error() {
        on_a_core(|_| {
            for bytes in [4096, 65536, 1 << 20, 4 << 20] {
                let buffers: Vec<_> = (0..(MOST_BYTES / bytes).min(4096) + 2).map(|_| AlignedBuf::new(bytes)).collect();
                let mut starts: Vec<usize> = buffers.iter().map(address).collect();
                starts.sort();
                assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= bytes), "{bytes}");
                if bytes == 4 << 20 {
                    assert!(buffers.iter().any(|buffer| !buffer.is_pooled()), "there is an end to the pool");
                }
            }
        });
    }

    #[test]
    fn a_region_is_registered_once_for_its_core_alone() {
        on_a_core(|core| {
            let (one, other) = (AlignedBuf::new(4096), AlignedBuf::new(4096));
            let calls = std::cell::Cell::new(0);
            let register = |_: u16, start: NonNull<u8>, bytes: usize| {
                calls.set(calls.get() + 1);
                assert!((start.as_ptr() as usize..).contains(&address(&one)));
                assert!(address(&other) < start.as_ptr() as usize + bytes);
                Ok(())
            };
            assert_eq!(one.registered(CoreId::next(), register), None, "of another core");
            assert_eq!(one.registered(core, register), Some(0));
            assert_eq!(other.registered(core, register), Some(0));
            assert_eq!(calls.get(), 1);
        });
    }

    #[test]
    fn a_region_that_was_refused_is_used_without() {
        on_a_core(|core| {
            let buffer = AlignedBuf::new(4096);
            let refused = buffer.registered(core, |_, _, _| Err(io::Error::from_raw_os_error(libc::ENOMEM)));
            assert_eq!(refused, None);
            assert_eq!(buffer.registered(core, |_, _, _| unreachable!("refused once is enough")), None);
        });
    }

    #[test]
    fn buffers_outlive_their_core() {
        let mut left = None;
        on_a_core(|_| left = Some(AlignedBuf::new(4096)));
        let mut left = left.expect("made");
        left.resize(4096, 3);
        assert!(left.iter().all(|byte| *byte == 3));
    }

    #[test]
    fn without_a_core_memory_is_its_own() {
        assert!(!AlignedBuf::new(4096).is_pooled());
    }
}
