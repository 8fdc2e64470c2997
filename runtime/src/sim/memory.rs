//! The memory that submissions name: the only place where the simulated kernel reads or writes what is not its own.
//!
//! Invariant: every address in here comes from a submission that has been taken in and whose final completion has not
//! been posted, or from a buffer ring that is registered. Who pushed it promised that such memory is valid and left
//! alone (`Ring::push`); so what is wrong with that promise is found here, by whatever watches memory.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::Entry;
use io_uring::types::BufRingEntry;

/// A piece of a program's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(super) address: u64,
    pub(super) len: usize,
}

impl Area {
    pub(super) fn truncated(self, len: usize) -> Self {
        Self { len: self.len.min(len), ..self }
    }

    /// Whether the two have a byte in common.
    pub(super) fn overlaps(self, other: Area) -> bool {
        self.address < other.address + other.len as u64 && other.address < self.address + self.len as u64
    }

    /// Whether all of the other lies in it.
    pub(super) fn contains(self, other: Area) -> bool {
        self.address <= other.address && other.address + other.len as u64 <= self.address + self.len as u64
    }

    fn pointer(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.address as usize)
    }

    /// What lies there.
    pub(super) fn load(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        if self.len > 0 {
            // SAFETY: the submission's owner keeps the area valid, and does not write to what the kernel reads; the
            //         copy is our own, and as long.
            unsafe { std::ptr::copy_nonoverlapping(self.pointer(), bytes.as_mut_ptr(), self.len) };
        }
        bytes
    }

    /// Puts `bytes` at the beginning of it, as many as it has room for.
    pub(super) fn store(self, bytes: &[u8]) {
        let len = bytes.len().min(self.len);
        if len > 0 {
            // SAFETY: as above, for an area that the kernel writes: nobody else looks at it now.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.pointer(), len) };
        }
    }
}

/// Takes bytes from, or puts them into, several areas in turn.
pub(super) fn load_all(areas: &[Area]) -> Vec<u8> {
    areas.iter().flat_map(|area| area.load()).collect()
}

pub(super) fn store_all(areas: &[Area], mut bytes: &[u8]) {
    for area in areas {
        let (here, rest) = bytes.split_at(bytes.len().min(area.len));
        area.store(here);
        bytes = rest;
    }
}

/// The areas of a list of vectors.
pub(super) fn vectors(address: u64, count: usize) -> Vec<Area> {
    let first: *const libc::iovec = std::ptr::with_exposed_provenance(address as usize);
    (0..count)
        .map(|index| {
            // SAFETY: the submission says that there are `count` of them.
            let vector = unsafe { first.add(index) };
            // SAFETY: as above; the list is valid until it has been taken in, which is now.
            let vector = unsafe { vector.read_unaligned() };
            Area { address: vector.iov_base as u64, len: vector.iov_len }
        })
        .collect()
}

/// The header of a message.
pub(super) fn message(address: u64) -> libc::msghdr {
    let header: *const libc::msghdr = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the submission names a header, which is valid until it is over.
    unsafe { header.read_unaligned() }
}

/// A path, without its end.
pub(super) fn path(address: u64) -> Vec<u8> {
    let text: *const libc::c_char = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the submission names a text that ends with a zero.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}

/// The bytes of what says how openat2(2) opens.
pub(super) const OPEN_HOW: usize = 24;

/// Flags, mode and how the path is followed.
pub(super) fn open_how(address: u64) -> (u64, u64, u64) {
    let how = Area { address, len: OPEN_HOW }.load();
    let number = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| how[at + byte]));
    (number(0), number(8), number(16))
}

/// Puts a value of the system's own types there.
pub(super) fn write<T: Copy>(address: u64, value: T) {
    let place: *mut T = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the submission names room for a value of that type there, and nobody else looks at it now.
    unsafe { place.write_unaligned(value) };
}

/// A structure of the system's with nothing in it.
pub(super) fn empty_statx() -> libc::statx {
    // SAFETY: it consists of numbers, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

/// Another one.
pub(super) fn empty_statvfs() -> libc::statvfs64 {
    // SAFETY: as above.
    unsafe { std::mem::zeroed() }
}

/// The 64 bytes of a submission.
pub(super) fn submission(entry: &Entry) -> [u8; 64] {
    const { assert!(size_of::<Entry>() == 64) };
    let bytes = std::ptr::from_ref(entry).cast::<[u8; 64]>();
    // SAFETY: as large, without padding (the kernel's own structure), and any byte is a byte.
    unsafe { bytes.read() }
}

/// What a program has put into a ring of buffers.
pub(super) fn offered(ring: u64, index: usize) -> (Area, u16) {
    let entries: *const BufRingEntry = std::ptr::with_exposed_provenance(ring as usize);
    // SAFETY: `index` is below the number of entries with which the ring was registered.
    let entry = unsafe { entries.add(index) };
    // SAFETY: the entry lies between head and tail, so nobody writes to it.
    let entry = unsafe { &*entry };
    (Area { address: entry.addr(), len: entry.len() as usize }, entry.bid())
}

/// How far a program has filled a ring of buffers.
pub(super) fn tail(ring: u64) -> u16 {
    let entries: *const BufRingEntry = std::ptr::with_exposed_provenance(ring as usize);
    // SAFETY: the first entry of a ring that is registered.
    let tail = unsafe { BufRingEntry::tail(entries) };
    // SAFETY: a u16 that its owner writes atomically, too.
    let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
    // Acquire: pairs with the Release in `BufferRing::offer`.
    tail.load(Ordering::Acquire)
}
