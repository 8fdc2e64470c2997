//! Direct descriptors: files that only the ring knows, open for the length of one chain.
//!
//! A chain `open, read, close` needs a place for the file that the later operations can name before it is open. The
//! places are a table of the ring, made when the first is asked for.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::io;

use io_uring::{opcode, types};

use super::context;
use super::read::{read_into, room_of};
use super::{Completion, Operation, Progress, Submission, check};
use crate::buf::IoBufMut;
use crate::driver::Driver;
use crate::driver::mailbox::{self, Letter};
use crate::sys::current::{self, CoreId};

/// How many places there are: as many chains can be under way at once.
const PLACES: u32 = 256;

pub(super) struct DirectTable {
    made: Cell<bool>,
    free: RefCell<Vec<u32>>,
}

impl DirectTable {
    pub(super) fn new() -> Self {
        Self { made: Cell::new(false), free: RefCell::new(Vec::new()) }
    }

    /// A free place. `None` while all are taken, or if the kernel gives us no table (a limit on descriptors).
    #[inline]
    fn take(&self, driver: &Driver) -> Option<u32> {
        if !self.made.replace(true) && driver.register_direct(PLACES).is_ok() {
            self.free.borrow_mut().extend((0..PLACES).rev());
        }
        self.free.borrow_mut().pop()
    }

    pub(super) fn give_back(&self, index: u32) {
        self.free.borrow_mut().push(index);
    }
}

/// A place for a direct descriptor. Whoever closes the file holds it, so it is not used again before that.
#[derive(Debug)]
pub struct DirectSlot {
    core: CoreId,
    index: u32,
}

impl DirectSlot {
    /// Takes a free place of this thread's core. `None` while all are taken, if the kernel gives no table of them,
    /// and outside a runtime: then open an ordinary descriptor.
    #[inline]
    pub fn take() -> Option<Self> {
        context::with(|operations| {
            let index = operations.direct.take(&operations.driver)?;
            Some(Self { core: operations.core, index })
        })
        .flatten()
    }

    fn place(&self) -> Place {
        Place { core: self.core, index: self.index }
    }
}

/// A place as the operations name it, on the ring whose place it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    core: CoreId,
    index: u32,
}

impl Place {
    /// Its number, for a submission of this thread's core.
    #[inline]
    fn index(self) -> u32 {
        let here = current::core();
        assert!(self.core == here, "a direct place of {} was used on {here}: take one there", self.core);
        self.index
    }

    #[inline]
    fn fixed(self) -> types::Fixed {
        types::Fixed(self.index())
    }
}

impl Drop for DirectSlot {
    #[inline]
    fn drop(&mut self) {
        let at_home = context::with(|operations| {
            let home = operations.core == self.core;
            if home {
                operations.direct.give_back(self.index);
            }
            home
        });
        if at_home != Some(true) {
            mailbox::send(self.core, Letter::Direct { index: self.index });
        }
    }
}

/// Opens a file for reading, into a direct place.
///
/// It is for chains, whose last link is a [`CloseDirect`] of the same place.
#[derive(Debug)]
pub struct OpenDirect {
    path: CString,
    flags: i32,
    place: Place,
}

impl OpenDirect {
    /// Opens `path` with `flags` (`O_RDONLY` and the like) into `slot`.
    pub fn new(path: CString, flags: i32, slot: &DirectSlot) -> Self {
        Self { path, flags, place: slot.place() }
    }
}

// SAFETY: the path is on the heap, owned by `path`, and not changed.
unsafe impl Operation for OpenDirect {
    type Output = io::Result<()>;

    #[inline]
    fn submission(&mut self) -> Submission {
        let place = types::DestinationSlot::try_from_slot_target(self.place.index()).ok();
        opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), self.path.as_ptr()).flags(self.flags).file_index(place).build()
    }

    #[inline]
    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result).map(drop)
    }
}

/// Reads from the file in a direct place.
#[derive(Debug)]
pub struct ReadDirect<B> {
    place: Place,
    offset: u64,
    buffer: B,
}

impl<B: IoBufMut> ReadDirect<B> {
    /// Reads into the room of `buffer`, from `offset`.
    pub fn new(slot: &DirectSlot, buffer: B, offset: u64) -> Self {
        Self { place: slot.place(), offset, buffer }
    }
}

// SAFETY: the room is the buffer's, which is neither moved nor borrowed while the kernel fills it.
unsafe impl<B: IoBufMut> Operation for ReadDirect<B> {
    type Output = (io::Result<usize>, B);

    #[inline]
    fn submission(&mut self) -> Submission {
        let (start, len) = room_of(&mut self.buffer);
        opcode::Read::new(self.place.fixed(), start, len).offset(self.offset).build()
    }

    #[inline]
    fn complete(mut self, completion: Completion) -> Self::Output {
        (read_into(&mut self.buffer, completion), self.buffer)
    }
}

/// Asks whether the file in a direct place is one whose end a short read tells; output `io::Result<()>`.
///
/// It fails with `EOPNOTSUPP` for pipes, terminals and the files of /proc and /sys, whose reads may stop short of the
/// end, and changes nothing: a read of no bytes that must not wait, which only files with a page cache allow.
#[derive(Debug)]
pub struct ProbeDirect {
    place: Place,
}

impl ProbeDirect {
    /// Asks about what is open in `slot`.
    pub fn new(slot: &DirectSlot) -> Self {
        Self { place: slot.place() }
    }
}

// SAFETY: it reads no bytes, so it points to nothing.
unsafe impl Operation for ProbeDirect {
    type Output = io::Result<()>;

    #[inline]
    fn submission(&mut self) -> Submission {
        opcode::Read::new(self.place.fixed(), std::ptr::null_mut(), 0).rw_flags(libc::RWF_NOWAIT).build()
    }

    #[inline]
    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result).map(drop)
    }
}

/// Closes the file in a direct place, and frees the place. If the chain ends before it, it is done all the same.
#[derive(Debug)]
pub struct CloseDirect {
    slot: DirectSlot,
}

impl CloseDirect {
    /// Closes what is open in `slot`.
    pub fn new(slot: DirectSlot) -> Self {
        Self { slot }
    }
}

// SAFETY: a close points to nothing.
unsafe impl Operation for CloseDirect {
    type Output = io::Result<()>;
    const ON_DROP: super::OnDrop = super::OnDrop::Finish;

    #[inline]
    fn submission(&mut self) -> Submission {
        opcode::Close::new(self.slot.place().fixed()).build()
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        if completion.result == -libc::ECANCELED { Progress::Again } else { Progress::Done }
    }

    #[inline]
    fn complete(self, completion: Completion) -> io::Result<()> {
        if completion.result == -libc::ECANCELED {
            // Nobody waits for it, but the place is given back only then.
            context::with(|operations| operations.close_direct(self.slot.index));
        }
        check(completion.result).map(drop)
    }
}
