//! Buffers that are filled by several reads.

use super::{IoBufMut, Room};

/// A buffer that one read after the other fills further, also where each would begin at its start (an array). It says
/// only at its end how much has come.
#[derive(Debug)]
pub(crate) struct Filling<B> {
    buffer: B,
    filled: usize,
}

impl<B: IoBufMut> Filling<B> {
    pub(crate) fn new(buffer: B) -> Self {
        Self { buffer, filled: 0 }
    }

    /// Whether there is no more room.
    pub(crate) fn is_full(&mut self) -> bool {
        self.room().is_empty()
    }

    /// The bytes that have come, but for the first `from`.
    pub(crate) fn come(&mut self, from: usize) -> &[u8] {
        let mut room = self.buffer.room();
        let filled = self.filled.min(room.len());
        // SAFETY: `advance` was told that so many bytes at the start of the room have been initialised, and the buffer
        //         has not been changed since; it is borrowed as long as the slice is.
        let come = unsafe { std::slice::from_raw_parts(room.as_mut_ptr(), filled) };
        &come[from.min(filled)..]
    }

    /// The buffer, which now knows what has come.
    pub(crate) fn end(mut self) -> B {
        // SAFETY: `advance` was told so, and the buffer has not been changed since.
        unsafe { self.buffer.advance(self.filled) };
        self.buffer
    }
}

impl<B: IoBufMut> IoBufMut for Filling<B> {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        self.buffer.room().skip(self.filled)
    }

    #[inline]
    unsafe fn advance(&mut self, count: usize) {
        self.filled += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_filled_by_several_reads() {
        let mut filling = Filling::new([0; 5]);
        assert_eq!(filling.fill_from(b"abc"), 3);
        assert!(!filling.is_full());
        assert_eq!(filling.fill_from(b"defg"), 2);
        assert!(filling.is_full());
        assert_eq!(filling.come(2), b"cde");
        assert_eq!(filling.end(), *b"abcde");
    }

    #[test]
    fn a_vec_keeps_what_it_had() {
        let mut bytes = Vec::with_capacity(8);
        bytes.push(b'a');
        let mut filling = Filling::new(bytes);
        filling.fill_from(b"b");
        filling.fill_from(b"c");
        assert_eq!(filling.come(0), b"bc");
        assert_eq!(filling.end(), b"abc");
    }
}
