//! Parts of buffers: what to write of one, how much to read into one.

use std::ops::{Bound, RangeBounds};

use super::{IoBuf, IoBufMut, Room};

/// A part of a buffer to write from; made by [`IoBuf::slice`].
#[derive(Clone, Debug)]
pub struct Slice<B> {
    buffer: B,
    start: usize,
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(buffer: B, range: impl RangeBounds<usize>) -> Self {
        let len = buffer.as_slice().len();
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => len,
        };
        assert!(start <= end && end <= len, "range {start}..{end} does not lie in a buffer of {len} bytes");
        Self { buffer, start, end }
    }
}

impl<B> Slice<B> {
    /// The whole buffer again.
    pub fn into_inner(self) -> B {
        self.buffer
    }
}

impl<B: IoBuf> IoBuf for Slice<B> {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        // A buffer that shrank of itself in the meantime (none here does) is written as far as it goes.
        let bytes = self.buffer.as_slice();
        let end = self.end.min(bytes.len());
        &bytes[self.start.min(end)..end]
    }
}

/// A buffer that takes at most so many bytes; made by [`IoBufMut::limit`].
#[derive(Clone, Debug)]
pub struct Limit<B> {
    buffer: B,
    left: usize,
}

impl<B: IoBufMut> Limit<B> {
    pub(super) fn new(buffer: B, bytes: usize) -> Self {
        Self { buffer, left: bytes }
    }
}

impl<B> Limit<B> {
    /// The buffer itself.
    pub fn into_inner(self) -> B {
        self.buffer
    }

    /// Lends the buffer.
    pub(crate) fn get_ref(&self) -> &B {
        &self.buffer
    }

    /// How many bytes may still be read.
    pub fn left(&self) -> usize {
        self.left
    }
}

impl<B: IoBufMut> IoBufMut for Limit<B> {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        self.buffer.room().truncate(self.left)
    }

    #[inline]
    unsafe fn advance(&mut self, count: usize) {
        // SAFETY: our room is the start of the buffer's, so what is initialised there is initialised here.
        unsafe { self.buffer.advance(count) };
        self.left = self.left.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_the_part_and_gives_the_whole_back() {
        let part = String::from("corering").slice(4..);
        assert_eq!(part.as_slice(), b"ring");
        assert_eq!(part.into_inner(), "corering");
        assert_eq!([1_u8, 2, 3].slice(..=1).as_slice(), [1, 2]);
    }

    #[test]
    #[should_panic(expected = "range 2..9 does not lie in a buffer of 3 bytes")]
    fn a_slice_beyond_the_buffer_panics() {
        let _ = vec![0_u8; 3].slice(2..9);
    }

    #[test]
    fn a_limit_takes_no_more_than_it_says_however_often_it_is_filled() {
        let mut buffer = Vec::with_capacity(16).limit(5);
        assert_eq!(buffer.fill_from(b"abc"), 3);
        assert_eq!(buffer.fill_from(b"defg"), 2);
        assert_eq!(buffer.fill_from(b"h"), 0);
        assert_eq!(buffer.left(), 0);
        assert_eq!(buffer.into_inner(), b"abcde");
    }
}
