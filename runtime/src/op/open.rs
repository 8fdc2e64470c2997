//! Opening files, by a path from the current directory, or from an open one that the path may not leave.

use std::ffi::CString;
use std::io;
use std::ops::BitOr;
use std::task::{Context, Poll};

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use super::changes::{Changing, poll_names_settled};
use super::descriptor::Descriptor;
use super::names::{Name, Unwanted};
use super::read::again_if_interrupted;
use super::{Completion, Operation, Progress, Submission, check};
use crate::driver::folder_calls::{self, How};

/// What an open changes beside the table of descriptors, which makes later operations on names wait for a dropped one.
const CHANGES: i32 = libc::O_CREAT | libc::O_TRUNC;

/// Opens a file; output `io::Result<Descriptor>`. Always with `O_CLOEXEC`.
///
/// What the kernel has in its cache of names is opened at once, by a call that does not wait for names from a disk; the
/// rest by the ring, and what is to be made, cut or has no name by a kernel worker.
///
/// One that is opened after its future was dropped is closed again. If it was to be made or cut, that may have happened,
/// and whatever comes later on names of the same core waits until it is known.
#[derive(Debug)]
pub struct OpenAt {
    name: Name,
    flags: i32,
    mode: u32,
    resolve: Resolve,
    /// The same, as the kernel wants to be told.
    how: Option<Box<types::OpenHow>>,
    in_worker: bool,
    undone_if_dropped: bool,
    changing: Changing,
}

impl OpenAt {
    /// Opens `path` with the `flags` and, if it is created, the `mode` of `open(2)`.
    ///
    /// The kernel first tries to open it without waiting, which for a named pipe is another thing: it opens for reading
    /// though nobody writes, and for writing it fails with `ENXIO` if nobody reads.
    pub fn new(path: CString, flags: i32, mode: u32) -> Self {
        Self::at(Name::new(path), flags, mode)
    }

    /// Opens by a path that may be from an open directory.
    pub fn at(name: Name, flags: i32, mode: u32) -> Self {
        let (resolve, changing) = (Resolve::new(), Changing::default());
        Self { name, flags, mode, resolve, how: None, in_worker: false, undone_if_dropped: false, changing }
    }

    /// Follows the path as `openat2(2)` does, which can keep it from leading out of a directory. The kernel then refuses
    /// flags that it does not know.
    pub fn resolve(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }

    /// Lets a kernel worker open it, which may wait, as `open(2)` does.
    pub fn in_worker(self) -> Self {
        Self { in_worker: true, ..self }
    }

    /// If its future is dropped, the name is removed again, also when the core ends. For a file that is made (`O_CREAT` and
    /// `O_EXCL`), under a name that nobody else knows.
    pub fn undone_if_dropped(self) -> Self {
        Self { undone_if_dropped: true, ..self }
    }

    fn may_be_cached(&self) -> bool {
        self.flags & CHANGES == 0 && self.flags & libc::O_TMPFILE != libc::O_TMPFILE
    }
}

// SAFETY: the path and what says how are on the heap, owned by `self`, and not changed.
unsafe impl Operation for OpenAt {
    type Output = io::Result<Descriptor>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_names_settled(cx)
    }

    #[inline]
    fn may_end_now(&mut self) -> bool {
        !self.in_worker && self.may_be_cached()
    }

    #[inline]
    fn try_now(&mut self) -> Option<i32> {
        let how = How { flags: self.flags, mode: 0, resolve: self.resolve.0 };
        folder_calls::open_cached(self.name.directory(), self.name.path(), how)
    }

    fn submission(&mut self) -> Submission {
        let flags = self.flags | libc::O_CLOEXEC;
        let entry = if self.resolve.is_empty() {
            opcode::OpenAt::new(self.name.fd(), self.name.bytes()).flags(flags).mode(self.mode).build()
        } else {
            // A mode without anything to be made is refused.
            let mode = if self.may_be_cached() { 0 } else { u64::from(self.mode & 0o7777) };
            let how = types::OpenHow::new().flags(u64::from(flags as u32)).mode(mode).resolve(self.resolve.0);
            let how = self.how.insert(Box::new(how));
            opcode::OpenAt2::new(self.name.fd(), self.name.bytes(), &raw const **how).build()
        };
        if self.in_worker { entry.flags(Flags::ASYNC) } else { entry }
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<Descriptor> {
        opened(completion, self.flags)
    }

    fn abandoned(&mut self) {
        self.name.abandon();
        if self.flags & CHANGES != 0 {
            self.changing.abandon();
        }
    }

    fn orphaned(self, completion: Completion) {
        let Self { name, flags, undone_if_dropped, changing, .. } = self;
        drop((opened(completion, flags), changing));
        if undone_if_dropped {
            Unwanted::File.remove(name, completion);
        }
    }
}

fn opened(completion: Completion, flags: i32) -> io::Result<Descriptor> {
    let fd = check(completion.result)?;
    // SAFETY: the kernel has just given us this descriptor; the completion is looked at once.
    Ok(unsafe { Descriptor::opened(fd, flags) })
}

/// How the kernel follows a path: where it may not lead. Combined by `|`.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::Resolve;
///
/// let safe = Resolve::BENEATH | Resolve::NO_MAGIC_LINKS;
/// assert!(safe.contains(Resolve::BENEATH));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolve(u64);

impl Resolve {
    /// Not out of the directory in which it begins: what would lead there (`..`, an absolute path, a link to one) fails
    /// with `EXDEV`, even if somebody changes names meanwhile.
    pub const BENEATH: Self = Self(0x08);
    /// As if the directory in which it begins were the root: `..` and absolute paths stay within.
    pub const IN_ROOT: Self = Self(0x10);
    /// No symbolic link at all: one fails with `ELOOP`.
    pub const NO_SYMLINKS: Self = Self(0x04);
    /// None of the links of /proc that lead to what they do not name: one fails with `ELOOP`.
    pub const NO_MAGIC_LINKS: Self = Self(0x02);
    /// Not to another file system: what would lead there fails with `EXDEV`.
    pub const NO_MOUNTS: Self = Self(0x01);

    /// Nothing is kept from it.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is kept from it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Resolve {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
