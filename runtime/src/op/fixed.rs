//! Reading and writing files that the ring knows, into and from memory that it knows: for direct I/O.
//!
//! What is known is used where it can be: on the core whose ring has the place and the memory. Everywhere else, and
//! where the kernel refused to know them, the same operations go by the descriptor and the address.

use std::io;
use std::task::{Context, Poll};

use io_uring::{opcode, types};

use super::context;
use super::descriptor::{Descriptor, Held};
use super::direct::DirectSlot;
use super::read::{no_room, read_into, room_of};
use super::write::{all_or_error, bytes_of};
use super::{Completion, OnDrop, Op, Operation, Progress, Submission};
use crate::buf::{AlignedBuf, IoBufMut};

/// A file with a direct place, if it could have one, and what its offsets and lengths must be multiples of.
#[derive(Debug)]
pub struct FixedFile {
    descriptor: Descriptor,
    slot: Option<DirectSlot>,
    multiple: u32,
}

impl FixedFile {
    /// The file that is open as `descriptor`, and in `slot` if there is one (see [`PutDirect`](super::PutDirect)).
    /// `multiple` is only for saying what is wrong.
    pub fn new(descriptor: &Descriptor, slot: Option<DirectSlot>, multiple: u32) -> Self {
        Self { descriptor: descriptor.clone(), slot, multiple: multiple.max(1) }
    }

    /// The same file once more: both are to be dropped before it is closed.
    pub fn another(&self) -> Self {
        let slot = self.slot.as_ref().filter(|slot| slot.is_here()).map(DirectSlot::share);
        Self { descriptor: self.descriptor.clone(), slot, multiple: self.multiple }
    }

    /// What offsets and lengths must be multiples of.
    pub fn multiple(&self) -> u32 {
        self.multiple
    }

    /// Whether operations of this thread go by the place.
    pub fn is_registered(&self) -> bool {
        self.slot.as_ref().is_some_and(DirectSlot::is_here)
    }

    /// Reads into the room of `buffer`, from `offset`.
    #[inline]
    pub fn read_at(&self, buffer: AlignedBuf, offset: u64) -> Op<ReadFixed> {
        let offset = exact(offset);
        Op::new(ReadFixed { held: Held::to_look(&self.descriptor), place: self.place(), offset, buffer })
    }

    /// Writes all that `buffer` holds, at `offset`.
    #[inline]
    pub fn write_all_at(&self, buffer: AlignedBuf, offset: u64) -> Op<WriteFixed> {
        let offset = exact(offset);
        Op::new(WriteFixed { held: Held::to_change(&self.descriptor), place: self.place(), done: 0, offset, buffer })
    }

    #[inline]
    fn place(&self) -> Place {
        let slot = self.slot.as_ref().filter(|slot| slot.is_here()).map(DirectSlot::share);
        Place { slot, multiple: self.multiple }
    }
}

/// An operation's own hold on the place.
#[derive(Debug)]
struct Place {
    slot: Option<DirectSlot>,
    multiple: u32,
}

impl Place {
    /// The place, if it is of this thread's core.
    #[inline]
    fn fixed(&self) -> Option<types::Fixed> {
        self.slot.as_ref().filter(|slot| slot.is_here()).map(DirectSlot::fixed)
    }

    /// Says what is wrong with an operation that was refused for what it is.
    fn explain(&self, error: io::Error, offset: u64, held: usize, len: usize) -> io::Error {
        if error.raw_os_error() != Some(libc::EINVAL) {
            return error;
        }
        let multiple = self.multiple;
        let is_wrong = |number: u64| number % u64::from(multiple) != 0;
        let text = if is_wrong(offset) {
            format!("direct I/O goes by blocks of {multiple} bytes here: the offset {offset} is not a multiple of that")
        } else if is_wrong(held as u64) {
            format!(
                "direct I/O goes by blocks of {multiple} bytes here: the buffer holds {held}, so its room does not \
                 begin at a multiple of that; clear it first"
            )
        } else if is_wrong(len as u64) {
            format!("direct I/O goes by blocks of {multiple} bytes here: the length {len} is not a multiple of that")
        } else {
            return error;
        };
        io::Error::new(io::ErrorKind::InvalidInput, text)
    }
}

/// The number of the region that `buffer` is of, if this core's ring knows it.
#[inline]
fn region_of(buffer: &AlignedBuf) -> Option<u16> {
    context::with(|operations| {
        operations.driver.begin_early();
        buffer
            .registered(operations.core, |number, start, bytes| operations.driver.register_region(number, start, bytes))
    })
    .flatten()
}

/// Reads into the room of an aligned buffer; output `(io::Result<usize>, AlignedBuf)`. Made by [`FixedFile::read_at`].
#[derive(Debug)]
pub struct ReadFixed {
    held: Held,
    place: Place,
    offset: u64,
    buffer: AlignedBuf,
}

// SAFETY: the room is the buffer's, on the heap or in a region that lives as long as the buffer, which is neither moved
//         nor borrowed while the kernel fills it. A region's number stands for memory that the buffer lies in.
unsafe impl Operation for ReadFixed {
    type Output = (io::Result<usize>, AlignedBuf);

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    #[inline]
    fn submission(&mut self) -> Submission {
        let region = region_of(&self.buffer);
        let (start, len) = room_of(&mut self.buffer);
        let (fd, offset) = (self.held.fd(), self.offset);
        match (self.place.fixed(), region) {
            (Some(place), Some(region)) => opcode::ReadFixed::new(place, start, len, region).offset(offset).build(),
            (None, Some(region)) => opcode::ReadFixed::new(fd, start, len, region).offset(offset).build(),
            (Some(place), None) => opcode::Read::new(place, start, len).offset(offset).build(),
            (None, None) => opcode::Read::new(fd, start, len).offset(offset).build(),
        }
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    #[inline]
    fn complete(mut self, completion: Completion) -> Self::Output {
        let room = self.buffer.room().len();
        if completion.result == 0 && room == 0 {
            return (Err(no_room()), self.buffer);
        }
        let read = read_into(&mut self.buffer, completion);
        (read.map_err(|error| self.place.explain(error, self.offset, self.buffer.len(), room)), self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Writes all that an aligned buffer holds; output `(io::Result<()>, AlignedBuf)`. Made by [`FixedFile::write_all_at`].
#[derive(Debug)]
pub struct WriteFixed {
    held: Held,
    place: Place,
    done: u32,
    offset: u64,
    buffer: AlignedBuf,
}

// SAFETY: the bytes are the buffer's, on the heap or in a region that lives as long as the buffer, which is neither
//         moved nor changed while the kernel reads them. A region's number stands for memory that the buffer lies in.
unsafe impl Operation for WriteFixed {
    type Output = (io::Result<()>, AlignedBuf);
    const ON_DROP: OnDrop = OnDrop::Finish;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    #[inline]
    fn submission(&mut self) -> Submission {
        let region = region_of(&self.buffer);
        let (start, len) = bytes_of(&self.buffer[self.done as usize..]);
        let fd = self.held.fd();
        // The largest number is no offset: it stands for the descriptor's own position.
        let offset = self.offset.saturating_add(u64::from(self.done));
        match (self.place.fixed(), region) {
            (Some(place), Some(region)) => opcode::WriteFixed::new(place, start, len, region).offset(offset).build(),
            (None, Some(region)) => opcode::WriteFixed::new(fd, start, len, region).offset(offset).build(),
            (Some(place), None) => opcode::Write::new(place, start, len).offset(offset).build(),
            (None, None) => opcode::Write::new(fd, start, len).offset(offset).build(),
        }
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        if completion.result > 0 {
            // Never more than there was to write, whatever the kernel says.
            let left = self.buffer.len() as u32 - self.done;
            self.done += (completion.result as u32).min(left);
            let more = self.done < self.buffer.len() as u32 && !self.held.was_cancelled();
            return if more { Progress::Again } else { Progress::Done };
        }
        self.held.again_if_interrupted(completion)
    }

    #[inline]
    fn complete(self, completion: Completion) -> Self::Output {
        let written = all_or_error(completion, self.buffer.len() - self.done as usize);
        (written.map_err(|error| self.place.explain(error, self.offset, 0, self.buffer.len())), self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
/// An offset, never the number that stands for the kernel's own position: it refuses the one before.
#[inline]
fn exact(offset: u64) -> u64 {
    offset.min(u64::MAX - 1)
}
