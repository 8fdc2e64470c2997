//! Buffers that an operation owns while the kernel uses them.
//!
//! A buffer moves into its operation's slot first; only there, at its final address, is a pointer into it taken.
//! Until the final completion nothing moves it or touches it. So a buffer may hold its bytes inline (an array), and
//! the traits are safe to implement: what they return need only be valid as long as the borrow that it came from.
//!
//! | buffer | written from | read into |
//! | --- | --- | --- |
//! | `Vec<u8>` | all of it | its spare capacity: what is read is appended |
//! | `Box<[u8]>`, `[u8; N]` | all of it | all of it, from the start |
//! | `String`, `&'static [u8]`, `&'static str`, `Rc<[u8]>`, `Arc<[u8]>` | all of it | |
//! | `bytes::Bytes`, `bytes::BytesMut` (feature `bytes`) | all of it | `BytesMut`: its spare capacity |
//! | [`Slice`] of any of these | the part | |
//! | [`Limit`] of any of these | | at most that many bytes |
//! | [`Chunk`] | all of it | |
//! | [`AlignedBuf`], for direct I/O | what it holds | its spare capacity |

mod aligned;
mod filling;
mod impls;
mod pool;
mod slice;

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::RangeBounds;

pub use self::aligned::AlignedBuf;
pub(crate) use self::aligned::Regions;
pub(crate) use self::filling::Filling;
pub use self::pool::Chunk;
pub(crate) use self::pool::{OwnedPool, Pool};
pub use self::slice::{Limit, Slice};

/// Bytes that can be written from.
///
/// # Examples
///
/// ```
/// use corering_runtime::buf::IoBuf;
///
/// let part = vec![1, 2, 3, 4].slice(1..3);
/// assert_eq!(part.as_slice(), [2, 3]);
/// assert_eq!(part.into_inner(), [1, 2, 3, 4]);
/// ```
pub trait IoBuf: 'static {
    /// The bytes to write. The kernel reads them between submission and completion, while the buffer is neither
    /// moved nor borrowed again.
    fn as_slice(&self) -> &[u8];

    /// Only a part of the buffer. [`Slice::into_inner`] gives the whole back.
    ///
    /// # Panics
    ///
    /// If the range ends beyond the buffer, or before it starts: as indexing a slice does.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice::new(self, range)
    }
}

/// Room that can be read into.
///
/// # Examples
///
/// ```
/// use corering_runtime::buf::IoBufMut;
///
/// let mut buffer = Vec::with_capacity(8);
/// let put = buffer.room().put(b"hello");
/// assert_eq!(put, 5);
/// // SAFETY: the first five bytes have just been put there.
/// unsafe { buffer.advance(put) };
/// assert_eq!(buffer, b"hello");
/// ```
pub trait IoBufMut: 'static {
    /// The room to read into. The kernel writes there between submission and completion, while the buffer is neither
    /// moved nor borrowed again.
    fn room(&mut self) -> Room<'_>;

    /// Says that `count` bytes have been read into the room.
    ///
    /// # Safety
    ///
    /// The first `count` bytes of what [`room`](Self::room) returned last have been initialised, and the buffer has
    /// not been changed since.
    unsafe fn advance(&mut self, count: usize);

    /// Lets at most `bytes` be read. [`Limit::into_inner`] gives the buffer back.
    fn limit(self, bytes: usize) -> Limit<Self>
    where
        Self: Sized,
    {
        Limit::new(self, bytes)
    }

    /// Appends a copy of `bytes`, as many as there is room for, and says how many these were.
    fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let count = self.room().put(bytes);
        // SAFETY: these bytes have just been put into the room.
        unsafe { self.advance(count) };
        count
    }
}

/// Memory to read into: initialised or not, and never to be read before it has been written.
#[derive(Debug)]
pub struct Room<'a> {
    start: *mut u8,
    len: usize,
    memory: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl Room<'_> {
    /// How many bytes fit.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing fits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it starts. Only bytes may be written there, [`len`](Self::len) of them at most.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start
    }

    /// The same room, at most `bytes` of it.
    #[inline]
    pub fn truncate(mut self, bytes: usize) -> Self {
        self.len = self.len.min(bytes);
        self
    }

    /// The room behind the first `bytes` of it.
    #[inline]
    pub(crate) fn skip(self, bytes: usize) -> Self {
        let bytes = bytes.min(self.len);
        Self { start: self.start.wrapping_add(bytes), len: self.len - bytes, memory: PhantomData }
    }

    /// Copies `bytes` to the start, as many as fit, and says how many these were.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.len);
        // SAFETY: `start` is valid for writes of `len` bytes under the exclusive borrow that this room was made
        //         from, and `bytes`, another borrow, does not overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, count) };
        count
    }
}

impl<'a> From<&'a mut [u8]> for Room<'a> {
    #[inline]
    fn from(bytes: &'a mut [u8]) -> Self {
        Self { start: bytes.as_mut_ptr(), len: bytes.len(), memory: PhantomData }
    }
}

impl<'a> From<&'a mut [MaybeUninit<u8>]> for Room<'a> {
    #[inline]
    fn from(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { start: bytes.as_mut_ptr().cast(), len: bytes.len(), memory: PhantomData }
    }
}
