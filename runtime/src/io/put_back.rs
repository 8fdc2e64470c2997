//! Bytes that were read, and given back.

use crate::buf::IoBufMut;

/// What comes before everything else that is read.
#[derive(Debug, Default)]
pub(super) struct PutBack {
    bytes: Vec<u8>,
    taken: usize,
}

impl PutBack {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Puts `bytes` before what is here.
    pub(super) fn put(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(&self.bytes[self.taken..]);
        (self.bytes, self.taken) = (bytes, 0);
    }

    /// Fills the room of `buffer`, and says by how much. `None` if nothing is here.
    pub(super) fn take_into(&mut self, buffer: &mut impl IoBufMut) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let count = buffer.fill_from(&self.bytes[self.taken..]);
        self.taken += count;
        if self.is_empty() {
            *self = Self::new();
        }
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_back_last_comes_first() {
        let mut back = PutBack::new();
        back.put(b"cde".to_vec());
        let mut buffer = Vec::with_capacity(8).limit(1);
        assert_eq!(back.take_into(&mut buffer), Some(1));
        back.put(b"abc".to_vec());
        let mut buffer = Vec::with_capacity(8);
        assert_eq!(back.take_into(&mut buffer), Some(5));
        assert_eq!(buffer, b"abcde");
        assert_eq!(back.take_into(&mut buffer), None);
    }
}
