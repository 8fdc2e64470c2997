//! What the system knows of a file.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use io_uring::opcode;

use super::changes::poll_names_settled;
use super::descriptor::Descriptor;
use super::names::Name;
use super::read::again_if_interrupted;
use super::{Completion, Operation, Progress, Submission, check};
use crate::driver::calls;

/// Asks for a file's metadata; output `io::Result<Metadata>`. Always done by a kernel worker (K13).
#[derive(Debug)]
pub struct Stat {
    name: Name,
    flags: i32,
    mask: u32,
    answer: Box<MaybeUninit<libc::statx>>,
}

impl Stat {
    /// Of the file at `path`, or of the link itself.
    pub fn new(path: CString, follow_links: bool) -> Self {
        Self::at(Name::new(path), follow_links)
    }

    /// By a path that may be from an open directory.
    pub fn at(name: Name, follow_links: bool) -> Self {
        Self {
            name,
            flags: if follow_links { 0 } else { libc::AT_SYMLINK_NOFOLLOW },
            mask: WANTED,
            answer: Box::new(MaybeUninit::zeroed()),
        }
    }

    /// Asks only for what the bits of `mask` (`STATX_SIZE` and the like) name: some file systems answer that sooner. The
    /// rest is zero, or what the kernel knows anyway.
    pub fn mask(self, mask: u32) -> Self {
        Self { mask, ..self }
    }

    /// Of an open file, at once: its inode is in memory.
    ///
    /// # Errors
    ///
    /// What `statx(2)` says.
    pub fn of(file: &Descriptor) -> io::Result<Metadata> {
        calls::stat(file.as_fd(), WANTED).map(|answer| Metadata::of(&answer))
    }

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

/// What direct I/O on a file has to keep to, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Memory begins at a multiple of it.
    pub memory: u32,
    /// Offsets and lengths are multiples of it.
    pub blocks: u32,
}

pub(super) const WANTED: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;

// SAFETY: the path and the answer are on the heap, owned by `self`, and not looked at before completion.
unsafe impl Operation for Stat {
    type Output = io::Result<Metadata>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_names_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        let answer = self.answer.as_mut_ptr().cast();
        opcode::Statx::new(self.name.fd(), self.name.bytes(), answer).flags(self.flags).mask(self.mask).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<Metadata> {
        check(completion.result)?;
        // SAFETY: zeroed before, so initialised whatever the kernel has filled in.
        Ok(Metadata::of(unsafe { self.answer.assume_init_ref() }))
    }

    fn abandoned(&mut self) {
        self.name.abandon();
    }
}

/// What the system knows of a file.
// Half as long as what the kernel gives: walks keep one for each name, and hand it on.
#[derive(Clone, Copy)]
pub struct Metadata {
    ino: u64,
    len: u64,
    blocks: u64,
    dev: u64,
    rdev: u64,
    modified: Time,
    accessed: Time,
    changed: Time,
    created: Time,
    nlink: u32,
    uid: u32,
    gid: u32,
    blksize: u32,
    mode: u16,
    attributes: u16,
    known_attributes: u16,
    is_created_known: bool,
}

/// Since 1970, or before.
#[derive(Clone, Copy)]
struct Time {
    seconds: i64,
    nanoseconds: u32,
}

impl Metadata {
    #[inline]
    pub(super) fn of(answer: &libc::statx) -> Self {
        let time = |time: libc::statx_timestamp| Time { seconds: time.tv_sec, nanoseconds: time.tv_nsec };
        Self {
            ino: answer.stx_ino,
            len: answer.stx_size,
            blocks: answer.stx_blocks,
            dev: libc::makedev(answer.stx_dev_major, answer.stx_dev_minor),
            rdev: libc::makedev(answer.stx_rdev_major, answer.stx_rdev_minor),
            modified: time(answer.stx_mtime),
            accessed: time(answer.stx_atime),
            changed: time(answer.stx_ctime),
            created: time(answer.stx_btime),
            nlink: answer.stx_nlink,
            uid: answer.stx_uid,
            gid: answer.stx_gid,
            blksize: answer.stx_blksize,
            mode: answer.stx_mode,
            // Those that can be asked for are among the lowest bits.
            attributes: answer.stx_attributes as u16,
            known_attributes: answer.stx_attributes_mask as u16,
            is_created_known: answer.stx_mask & libc::STATX_BTIME != 0,
        }
    }

    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a file's metadata is not a container, as in std")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What kind of file it is.
    pub fn file_type(&self) -> FileType {
        FileType(u32::from(self.mode) & libc::S_IFMT)
    }

    /// Who may do what with it.
    pub fn permissions(&self) -> Permissions {
        Permissions::from_mode(self.mode())
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a symbolic link (and was not followed).
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// Whether it is a named pipe.
    pub fn is_fifo(&self) -> bool {
        self.file_type().is_fifo()
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        self.file_type().is_socket()
    }

    /// Whether it is a device that is read byte by byte, such as a terminal.
    pub fn is_char_device(&self) -> bool {
        self.file_type().is_char_device()
    }

    /// Whether it is a device that is read by blocks, such as a disk.
    pub fn is_block_device(&self) -> bool {
        self.file_type().is_block_device()
    }

    /// Its kind and permission bits, as in `st_mode`.
    pub fn mode(&self) -> u32 {
        u32::from(self.mode)
    }

    /// Its number within its file system.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// The number of its file system.
    pub fn dev(&self) -> u64 {
        self.dev
    }

    /// If it is a device, the number of that.
    pub fn rdev(&self) -> u64 {
        self.rdev
    }

    /// Whether both are of the same file, by whatever names they were asked for.
    ///
    /// While it is open or has a name: the number of a file that is no more may be that of a new one.
    pub fn same_file(&self, other: &Metadata) -> bool {
        (self.dev(), self.ino()) == (other.dev(), other.ino())
    }

    /// How many names it has.
    pub fn nlink(&self) -> u64 {
        u64::from(self.nlink)
    }

    /// The user that owns it.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The group that owns it.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// How many blocks of 512 bytes it occupies.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// By how many bytes it is read and written best.
    pub fn blksize(&self) -> u64 {
        u64::from(self.blksize)
    }

    /// When its contents were last changed.
    pub fn modified(&self) -> SystemTime {
        self.modified.to_system()
    }

    /// When it was last read, as far as the file system keeps count.
    pub fn accessed(&self) -> SystemTime {
        self.accessed.to_system()
    }

    /// When its contents, names, owner or permissions were last changed.
    pub fn changed(&self) -> SystemTime {
        self.changed.to_system()
    }

    /// When it was made, if the file system knows.
    pub fn created(&self) -> Option<SystemTime> {
        self.is_created_known.then(|| self.created.to_system())
    }

    /// Whether it is the root of a mounted file system, if the kernel knows.
    pub fn is_mount_root(&self) -> Option<bool> {
        self.attribute(libc::STATX_ATTR_MOUNT_ROOT)
    }

    /// Whether nobody can change it, not even root (`chattr +i`), if the file system knows.
    pub fn is_immutable(&self) -> Option<bool> {
        self.attribute(libc::STATX_ATTR_IMMUTABLE)
    }

    /// Whether it can only be appended to (`chattr +a`), if the file system knows.
    pub fn is_append_only(&self) -> Option<bool> {
        self.attribute(libc::STATX_ATTR_APPEND)
    }

    fn attribute(&self, attribute: libc::c_int) -> Option<bool> {
        let attribute = attribute as u16;
        (self.known_attributes & attribute != 0).then_some(self.attributes & attribute != 0)
    }
}

// Truncated to these bits they are what they were.
const _: () = {
    let asked_for = libc::STATX_ATTR_MOUNT_ROOT | libc::STATX_ATTR_IMMUTABLE | libc::STATX_ATTR_APPEND;
    assert!(asked_for == asked_for as u16 as libc::c_int);
};

impl Time {
    fn to_system(self) -> SystemTime {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let base = if self.seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
        base + Duration::from_nanos(u64::from(self.nanoseconds))
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("type", &self.file_type())
            .field("len", &self.len())
            .field("mode", &format_args!("{:o}", self.mode()))
            .field("modified", &self.modified())
            .finish_non_exhaustive()
    }
}

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileType(u32);

impl FileType {
    /// The kind that stands in the upper bits of a mode, as in `st_mode`.
    pub fn from_mode(mode: u32) -> Self {
        Self(mode & libc::S_IFMT)
    }

    /// A regular file.
    pub fn is_file(self) -> bool {
        self.0 == libc::S_IFREG
    }

    /// A directory.
    pub fn is_dir(self) -> bool {
        self.0 == libc::S_IFDIR
    }

    /// A symbolic link.
    pub fn is_symlink(self) -> bool {
        self.0 == libc::S_IFLNK
    }

    /// A named pipe.
    pub fn is_fifo(self) -> bool {
        self.0 == libc::S_IFIFO
    }

    /// A socket.
    pub fn is_socket(self) -> bool {
        self.0 == libc::S_IFSOCK
    }

    /// A device that is read byte by byte.
    pub fn is_char_device(self) -> bool {
        self.0 == libc::S_IFCHR
    }

    /// A device that is read by blocks.
    pub fn is_block_device(self) -> bool {
        self.0 == libc::S_IFBLK
    }
}

impl fmt::Debug for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            libc::S_IFREG => "file",
            libc::S_IFDIR => "directory",
            libc::S_IFLNK => "symbolic link",
            libc::S_IFIFO => "named pipe",
            libc::S_IFSOCK => "socket",
            libc::S_IFCHR => "character device",
            libc::S_IFBLK => "block device",
            _ => "unknown",
        })
    }
}

/// Who may do what with a file: the twelve lower bits of its mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permissions(u32);

impl Permissions {
    /// Those of a mode, whose upper bits do not count.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::op::Permissions;
    ///
    /// let mut permissions = Permissions::from_mode(0o640);
    /// permissions.set_readonly(true);
    /// assert_eq!(permissions.mode(), 0o440);
    /// ```
    pub fn from_mode(mode: u32) -> Self {
        Self(mode & 0o7777)
    }

    /// The bits, such as `0o644`.
    pub fn mode(self) -> u32 {
        self.0
    }

    /// Sets the bits.
    pub fn set_mode(&mut self, mode: u32) {
        *self = Self::from_mode(mode);
    }

    /// Whether nobody (but root) may write to it.
    pub fn readonly(self) -> bool {
        self.0 & 0o222 == 0
    }

    /// Takes the right to write from all, or gives it to all.
    pub fn set_readonly(&mut self, readonly: bool) {
        if readonly {
            self.0 &= !0o222;
        } else {
            self.0 |= 0o222;
        }
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({:o})", self.0)
    }
}

impl From<Permissions> for std::fs::Permissions {
    fn from(permissions: Permissions) -> Self {
        std::os::unix::fs::PermissionsExt::from_mode(permissions.0)
    }
}

impl From<std::fs::Permissions> for Permissions {
    fn from(permissions: std::fs::Permissions) -> Self {
        Self::from_mode(std::os::unix::fs::PermissionsExt::mode(&permissions))
    }
}
