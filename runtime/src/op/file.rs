//! Opening files, and what else is asked of them: to be synced, cut, described.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use super::descriptor::{Descriptor, Held};
use super::read::again_if_interrupted;
use super::{Completion, OnDrop, Operation, Progress, Submission, check};
use crate::driver::calls;

/// Opens a file; output `io::Result<Descriptor>`. Always with `O_CLOEXEC`.
///
/// One that is opened after its future was dropped is closed again.
#[derive(Debug)]
pub struct OpenAt {
    path: CString,
    flags: i32,
    mode: u32,
    in_worker: bool,
}

impl OpenAt {
    /// Opens `path` with the `flags` and, if it is created, the `mode` of `open(2)`.
    ///
    /// The kernel first tries to open it without waiting, which for a named pipe is another thing: it opens for reading
    /// though nobody writes, and for writing it fails with `ENXIO` if nobody reads.
    pub fn new(path: CString, flags: i32, mode: u32) -> Self {
        Self { path, flags, mode, in_worker: false }
    }

    /// Lets a kernel worker open it, which may wait, as `open(2)` does.
    pub fn in_worker(self) -> Self {
        Self { in_worker: true, ..self }
    }
}

// SAFETY: the path is on the heap, owned by `path`, and not changed.
unsafe impl Operation for OpenAt {
    type Output = io::Result<Descriptor>;

    fn submission(&mut self) -> Submission {
        let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), self.path.as_ptr())
            .flags(self.flags | libc::O_CLOEXEC)
            .mode(self.mode)
            .build();
        if self.in_worker { entry.flags(Flags::ASYNC) } else { entry }
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<Descriptor> {
        let fd = check(completion.result)?;
        // SAFETY: the kernel has just given us this descriptor; the completion is looked at once.
        Ok(unsafe { Descriptor::owning(fd) })
    }
}

/// Brings what was written to the disk; output `io::Result<()>`.
#[derive(Debug)]
pub struct Sync {
    held: Held,
    data_only: bool,
}

impl Sync {
    /// All of the file: data and metadata, as `fsync(2)`.
    pub fn all(file: &Descriptor) -> Self {
        Self { held: Held::to_change(file), data_only: false }
    }

    /// The data, and only the metadata that reading it back needs, as `fdatasync(2)`.
    pub fn data(file: &Descriptor) -> Self {
        Self { data_only: true, ..Self::all(file) }
    }
}

// SAFETY: a sync points to nothing.
unsafe impl Operation for Sync {
    type Output = io::Result<()>;
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        let flags = if self.data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
        opcode::Fsync::new(self.held.fd()).flags(flags).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result).map(drop)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Cuts or extends a file; output `io::Result<()>`. By ring since Linux 6.9, by a plain call before.
#[derive(Debug)]
pub struct Truncate {
    held: Held,
    bytes: u64,
}

impl Truncate {
    /// Makes `file` that many bytes long.
    pub fn to(file: &Descriptor, bytes: u64) -> Self {
        Self { held: Held::to_change(file), bytes }
    }
}

// SAFETY: a truncate points to nothing.
unsafe impl Operation for Truncate {
    type Output = io::Result<()>;
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        opcode::Ftruncate::new(self.held.fd(), self.bytes).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<()> {
        // An older kernel does not know the operation; what else it answers so, it answers again.
        if completion.result == -libc::EINVAL {
            return calls::truncate(self.held.descriptor().as_fd(), self.bytes);
        }
        check(completion.result).map(drop)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}

/// Asks for a file's metadata; output `io::Result<Metadata>`. Always done by a kernel worker (K13).
#[derive(Debug)]
pub struct Stat {
    path: CString,
    flags: i32,
    answer: Box<MaybeUninit<libc::statx>>,
}

impl Stat {
    /// Of the file at `path`, or of the link itself.
    pub fn new(path: CString, follow_links: bool) -> Self {
        Self {
            path,
            flags: if follow_links { 0 } else { libc::AT_SYMLINK_NOFOLLOW },
            answer: Box::new(MaybeUninit::zeroed()),
        }
    }

    /// Of an open file, at once: its inode is in memory.
    ///
    /// # Errors
    ///
    /// What `statx(2)` says.
    pub fn of(file: &Descriptor) -> io::Result<Metadata> {
        calls::stat(file.as_fd(), WANTED).map(Metadata)
    }
}

/// What direct I/O on a file has to keep to, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Memory begins at a multiple of it.
    pub memory: u32,
    /// Offsets and lengths are multiples of it.
    pub blocks: u32,
}

impl Stat {
    /// What direct I/O on an open file has to keep to. `None` if this kernel does not say (it does since 6.1, for ext4,
    /// xfs and block devices); zeroes if the file has no direct I/O.
    ///
    /// # Errors
    ///
    /// What `statx(2)` says.
    pub fn alignment(file: &Descriptor) -> io::Result<Option<Alignment>> {
        let answer = calls::stat(file.as_fd(), libc::STATX_DIOALIGN)?;
        let told = answer.stx_mask & libc::STATX_DIOALIGN != 0;
        let (memory, blocks) = (answer.stx_dio_mem_align, answer.stx_dio_offset_align);
        Ok(told.then_some(Alignment { memory, blocks }))
    }
}

const WANTED: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

// SAFETY: the path and the answer are on the heap, owned by `self`, and not looked at before completion.
unsafe impl Operation for Stat {
    type Output = io::Result<Metadata>;

    fn submission(&mut self) -> Submission {
        let answer = self.answer.as_mut_ptr().cast();
        opcode::Statx::new(types::Fd(libc::AT_FDCWD), self.path.as_ptr(), answer).flags(self.flags).mask(WANTED).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<Metadata> {
        check(completion.result)?;
        // SAFETY: zeroed before, so initialised whatever the kernel has filled in.
        Ok(Metadata(*unsafe { self.answer.assume_init() }))
    }
}

/// What the system knows of a file.
#[derive(Clone, Copy)]
pub struct Metadata(libc::statx);

impl Metadata {
    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a file's metadata is not a container, as in std")]
    pub fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    /// Whether it is a symbolic link (and was not followed).
    pub fn is_symlink(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }

    /// Whether it is a named pipe.
    pub fn is_fifo(&self) -> bool {
        self.kind() == libc::S_IFIFO
    }

    /// Its kind and permission bits, as in `st_mode`.
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode)
    }

    /// Its number within its file system.
    pub fn ino(&self) -> u64 {
        self.0.stx_ino
    }

    /// The number of its file system.
    pub fn dev(&self) -> u64 {
        libc::makedev(self.0.stx_dev_major, self.0.stx_dev_minor)
    }

    /// How many names it has.
    pub fn nlink(&self) -> u64 {
        u64::from(self.0.stx_nlink)
    }

    /// The user that owns it.
    pub fn uid(&self) -> u32 {
        self.0.stx_uid
    }

    /// The group that owns it.
    pub fn gid(&self) -> u32 {
        self.0.stx_gid
    }

    /// How many blocks of 512 bytes it occupies.
    pub fn blocks(&self) -> u64 {
        self.0.stx_blocks
    }

    /// When its contents were last changed.
    pub fn modified(&self) -> SystemTime {
        to_time(self.0.stx_mtime)
    }

    /// When it was last read, as far as the file system keeps count.
    pub fn accessed(&self) -> SystemTime {
        to_time(self.0.stx_atime)
    }

    /// When it was made, if the file system knows.
    pub fn created(&self) -> Option<SystemTime> {
        (self.0.stx_mask & libc::STATX_BTIME != 0).then(|| to_time(self.0.stx_btime))
    }

    fn kind(&self) -> u32 {
        u32::from(self.0.stx_mode) & libc::S_IFMT
    }
}

fn to_time(time: libc::statx_timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.tv_sec.unsigned_abs());
    let base = if time.tv_sec < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
    base + Duration::from_nanos(u64::from(time.tv_nsec))
}

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metadata")
            .field("len", &self.len())
            .field("mode", &format_args!("{:o}", self.mode()))
            .field("modified", &self.modified())
            .finish_non_exhaustive()
    }
}
