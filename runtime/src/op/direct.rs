//! Direct descriptors: files that only the ring knows, open for the length of a few operations.
//!
//! Operations that go to the kernel together need a place for the file that the later ones can name before it is open.
//! The places are a table of the ring, made when the first is asked for. Files that stay open for long have places of
//! their own in it, so that they never leave those without any that are open for a moment: an operation on such a file
//! finds it without counting its holders in the process's table.
//!
//! Invariant: a place is held by its handle and by every operation that names it. When the last of them goes, what is
//! open there is closed; and the close is in the kernel's queue before the place is used again.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use io_uring::{opcode, types};

use super::changes::poll_names_settled;
use super::context::{self, Operations};
use super::descriptor::Descriptor;
use super::read::{again_if_interrupted, read_into, room_of};
use super::{Completion, OnDrop, Operation, Progress, Submission, check};
use crate::buf::IoBufMut;
use crate::driver::mailbox::{self, Letter};
use crate::sys::current::{self, CoreId};

/// How many places there are for a moment: as many files can be open at once.
const PLACES: u32 = 256;
/// And how many for long, which stand behind them.
const LASTING: u32 = 256;

pub(super) struct DirectTable {
    made: Cell<bool>,
    free: RefCell<Vec<u32>>,
    lasting: RefCell<Vec<u32>>,
    places: RefCell<Vec<Place>>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// The handle, and the operations that name it.
    holders: u32,
    open: bool,
}

impl DirectTable {
    pub(super) fn new() -> Self {
        Self {
            made: Cell::new(false),
            free: RefCell::new(Vec::new()),
            lasting: RefCell::new(Vec::new()),
            places: RefCell::new(Vec::new()),
        }
    }

    #[cold]
    fn make(operations: &Operations) {
        // The table may not be longer than the limit on descriptors.
        for count in [PLACES + LASTING, PLACES] {
            if operations.driver.register_direct(count).is_ok() {
                operations.direct.free.borrow_mut().extend((0..PLACES).rev());
                operations.direct.lasting.borrow_mut().extend((PLACES..count).rev());
                operations.direct.places.borrow_mut().resize(count as usize, Place::default());
                return;
            }
        }
    }

    fn free(&self, index: u32) {
        let list = if index < PLACES { &self.free } else { &self.lasting };
        list.borrow_mut().push(index);
    }

    fn with<T>(&self, index: u32, change: impl FnOnce(&mut Place) -> T) -> T {
        change(&mut self.places.borrow_mut()[index as usize])
    }
}

impl Operations {
    /// One holder of a direct place has gone.
    #[inline]
    pub(super) fn release_direct(&self, index: u32) {
        let (last, open) = self.direct.with(index, |place| {
            place.holders -= 1;
            (place.holders == 0, place.open)
        });
        if last {
            if open {
                self.close_direct(index);
            }
            self.direct.free(index);
        }
    }
}

/// A place for a direct descriptor. Dropped, it closes what is open there once no operation uses it any more.
#[derive(Debug)]
pub struct DirectSlot {
    core: CoreId,
    index: u32,
}

impl DirectSlot {
    /// Takes a free place of this thread's core. `None` while all are taken, if the kernel gives no table of them
    /// (a limit on descriptors), and outside a runtime: then open an ordinary descriptor.
    #[inline]
    pub fn take() -> Option<Self> {
        Self::take_from(|table| &table.free)
    }

    /// Takes a free place for a file that stays open for long; see [`PutDirect`]. `None` as for [`take`](Self::take).
    pub fn take_lasting() -> Option<Self> {
        Self::take_from(|table| &table.lasting)
    }

    #[inline]
    fn take_from(list: impl FnOnce(&DirectTable) -> &RefCell<Vec<u32>>) -> Option<Self> {
        context::with(|operations| {
            if !operations.direct.made.replace(true) {
                DirectTable::make(operations);
            }
            let index = list(&operations.direct).borrow_mut().pop()?;
            operations.direct.with(index, |place| *place = Place { holders: 1, open: false });
            Some(Self { core: operations.core, index })
        })
        .flatten()
    }

    /// Another holder of the same place.
    #[inline]
    pub(super) fn share(&self) -> Self {
        let index = self.index();
        context::with(|operations| operations.direct.with(index, |place| place.holders += 1));
        Self { core: self.core, index }
    }

    /// Its number, for a submission of this thread's core.
    #[inline]
    fn index(&self) -> u32 {
        let here = current::core();
        assert!(self.core == here, "a direct place of {} was used on {here}: take one there", self.core);
        self.index
    }

    /// Whether it is of this thread's core: only there can it be used.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        self.core == current::core()
    }

    #[inline]
    pub(super) fn fixed(&self) -> types::Fixed {
        types::Fixed(self.index())
    }

    #[inline]
    fn set_open(&self, open: bool) {
        context::with(|operations| operations.direct.with(self.index, |place| place.open = open));
    }
}

impl Drop for DirectSlot {
    #[inline]
    fn drop(&mut self) {
        let at_home = context::with(|operations| {
            let home = operations.core == self.core;
            if home {
                operations.release_direct(self.index);
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
/// For operations that go to the kernel together with it; the last may be a [`CloseDirect`].
#[derive(Debug)]
pub struct OpenDirect {
    path: CString,
    flags: i32,
    slot: DirectSlot,
}

impl OpenDirect {
    /// Opens `path` with `flags` (`O_RDONLY` and the like) into `slot`.
    ///
    /// # Panics
    ///
    /// On another core than that of `slot`, as the other operations with a direct place.
    pub fn new(path: CString, flags: i32, slot: &DirectSlot) -> Self {
        Self { path, flags, slot: slot.share() }
    }
}

// SAFETY: the path is on the heap, owned by `path`, and not changed.
unsafe impl Operation for OpenDirect {
    type Output = io::Result<()>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_names_settled(cx)
    }

    #[inline]
    fn submission(&mut self) -> Submission {
        let place = types::DestinationSlot::try_from_slot_target(self.slot.index()).ok();
        opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), self.path.as_ptr()).flags(self.flags).file_index(place).build()
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        again_if_interrupted(completion)
    }

    #[inline]
    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result)?;
        self.slot.set_open(true);
        Ok(())
    }
}

/// Reads from the file in a direct place; output `(io::Result<usize>, B)`.
#[derive(Debug)]
pub struct ReadDirect<B> {
    slot: DirectSlot,
    offset: u64,
    buffer: B,
    cached: bool,
}

impl<B: IoBufMut> ReadDirect<B> {
    /// Reads into the room of `buffer`, from `offset`.
    pub fn new(slot: &DirectSlot, buffer: B, offset: u64) -> Self {
        Self { slot: slot.share(), offset, buffer, cached: false }
    }

    /// Reads only what is in the page cache, and fails with `EAGAIN` if nothing is.
    ///
    /// What has no page cache (pipes, terminals, the files of /proc, some file systems) fails with `EOPNOTSUPP`. A count
    /// that is less than the room tells the end of the file, unless it is a multiple of the page size: then the next
    /// page may just not be there.
    pub fn cached(self) -> Self {
        Self { cached: true, ..self }
    }
}

// SAFETY: the room is the buffer's, which is neither moved nor borrowed while the kernel fills it.
unsafe impl<B: IoBufMut> Operation for ReadDirect<B> {
    type Output = (io::Result<usize>, B);

    #[inline]
    fn submission(&mut self) -> Submission {
        let (start, len) = room_of(&mut self.buffer);
        let flags = if self.cached { libc::RWF_NOWAIT } else { 0 };
        opcode::Read::new(self.slot.fixed(), start, len).offset(self.offset).rw_flags(flags).build()
    }

    #[inline]
    fn progress(&mut self, completion: Completion) -> Progress {
        if self.cached { Progress::Done } else { again_if_interrupted(completion) }
    }

    #[inline]
    fn complete(mut self, completion: Completion) -> Self::Output {
        (read_into(&mut self.buffer, completion), self.buffer)
    }
}

/// Closes the file in a direct place; output `io::Result<()>`. If a chain ends before it, the place is closed when
/// nobody uses it any more.
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
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn submission(&mut self) -> Submission {
        opcode::Close::new(self.slot.fixed()).build()
    }

    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result)?;
        self.slot.set_open(false);
        Ok(())
    }
}

/// Puts a file that is open into a direct place as well; output: the place, `io::Result<DirectSlot>`.
///
/// Operations that name the place spare the kernel the look into the process's table of descriptors, for each of them.
/// The file stays open until both the place and the descriptor have gone.
#[derive(Debug)]
pub struct PutDirect {
    descriptor: Descriptor,
    slot: DirectSlot,
    number: i32,
}

impl PutDirect {
    /// Puts what `descriptor` is into `slot`, which is empty.
    ///
    /// # Panics
    ///
    /// On another core than that of `slot`, as the other operations with a direct place.
    pub fn new(descriptor: &Descriptor, slot: DirectSlot) -> Self {
        Self { descriptor: descriptor.clone(), slot, number: -1 }
    }
}

// SAFETY: the one number that the kernel reads stands in `number`, and is not changed meanwhile.
unsafe impl Operation for PutDirect {
    type Output = io::Result<DirectSlot>;
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn submission(&mut self) -> Submission {
        self.number = self.descriptor.as_raw_fd();
        opcode::FilesUpdate::new(&raw const self.number, 1).offset(self.slot.index() as i32).build()
    }

    fn complete(self, completion: Completion) -> io::Result<DirectSlot> {
        if check(completion.result)? != 1 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        self.slot.set_open(true);
        Ok(self.slot)
    }
}
