//! Buffers that are counted, and that notice if they go while the kernel may still touch them.
//!
//! Invariant: what is noticed in a destructor is kept and told later, since nobody hears a panic of an orphan's.

use std::cell::Cell;
use std::rc::Rc;

use corering::buf::{IoBuf, IoBufMut, Room};
use corering::sim::is_in_flight;

/// Where buffers are made and counted. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Rc<Counts>);

#[derive(Default)]
struct Counts {
    made: Cell<u64>,
    gone: Cell<u64>,
    gone_in_flight: Cell<u64>,
}

impl Buffers {
    /// One with room for so many bytes.
    pub(crate) fn empty(&self, room: usize) -> Tracked {
        self.tracked(vec![0; room], 0)
    }

    /// One that holds these bytes.
    pub(crate) fn of(&self, bytes: impl Into<Vec<u8>>) -> Tracked {
        let bytes = bytes.into();
        let filled = bytes.len();
        self.tracked(bytes, filled)
    }

    fn tracked(&self, bytes: Vec<u8>, filled: usize) -> Tracked {
        self.0.made.set(self.0.made.get() + 1);
        Tracked { bytes: bytes.into_boxed_slice(), filled, buffers: self.clone() }
    }

    /// How many live.
    pub(crate) fn alive(&self) -> u64 {
        self.0.made.get() - self.0.gone.get()
    }

    /// Fails if any has gone too early.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.0.gone_in_flight.get(), 0, "buffers were given back while the kernel had them");
    }

    /// Fails if any lives, or has gone too early.
    #[track_caller]
    pub(crate) fn assert_all_back(&self) {
        self.assert_untouched();
        assert_eq!(self.alive(), 0, "of {} buffers so many never came back", self.0.made.get());
    }
}

/// A buffer that is counted while it lives.
pub(crate) struct Tracked {
    bytes: Box<[u8]>,
    filled: usize,
    buffers: Buffers,
}

impl Tracked {
    /// Where its memory is.
    pub(crate) fn address(&self) -> usize {
        self.bytes.as_ptr() as usize
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let counts = &self.buffers.0;
        counts.gone.set(counts.gone.get() + 1);
        if is_in_flight(&self.bytes) {
            counts.gone_in_flight.set(counts.gone_in_flight.get() + 1);
        }
        self.bytes.fill(0xee);
    }
}

impl IoBuf for Tracked {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl IoBufMut for Tracked {
    fn room(&mut self) -> Room<'_> {
        Room::from(&mut self.bytes[self.filled..])
    }

    unsafe fn advance(&mut self, count: usize) {
        self.filled += count;
    }
}
