//! The buffers that everybody has.

use std::rc::Rc;
use std::sync::Arc;

use super::{IoBuf, IoBufMut, Room};

/// Buffers that dereference to their bytes.
macro_rules! readable {
    ($($buffer:ty),* $(,)?) => {
        $(impl IoBuf for $buffer {
            #[inline]
            fn as_slice(&self) -> &[u8] {
                self.as_ref()
            }
        })*
    };
}

readable!(Vec<u8>, Box<[u8]>, String, &'static [u8], &'static str, Rc<[u8]>, Arc<[u8]>,);

impl<const N: usize> IoBuf for [u8; N] {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        self
    }
}

impl<const N: usize> IoBuf for &'static [u8; N] {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        *self
    }
}

impl IoBufMut for Vec<u8> {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        Room::from(self.spare_capacity_mut())
    }

    #[inline]
    unsafe fn advance(&mut self, count: usize) {
        // SAFETY: `room` returned the spare capacity, of which the caller says that `count` bytes, so no more
        //         than there are, have been initialised.
        unsafe { self.set_len(self.len() + count) };
    }
}

impl IoBufMut for Box<[u8]> {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        Room::from(&mut **self)
    }

    #[inline]
    unsafe fn advance(&mut self, _count: usize) {}
}

impl<const N: usize> IoBufMut for [u8; N] {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        Room::from(&mut self[..])
    }

    #[inline]
    unsafe fn advance(&mut self, _count: usize) {}
}

#[cfg(feature = "bytes")]
mod bytes_crate {
    use bytes::{BufMut, Bytes, BytesMut};

    use super::{IoBuf, IoBufMut, Room};

    impl IoBuf for Bytes {
        fn as_slice(&self) -> &[u8] {
            self
        }
    }

    impl IoBuf for BytesMut {
        fn as_slice(&self) -> &[u8] {
            self
        }
    }

    impl IoBufMut for BytesMut {
        fn room(&mut self) -> Room<'_> {
            Room::from(self.spare_capacity_mut())
        }

        unsafe fn advance(&mut self, count: usize) {
            // SAFETY: `room` returned the spare capacity, of which the caller says that `count` bytes have
            //         been initialised.
            unsafe { self.advance_mut(count) };
        }
    }
}
