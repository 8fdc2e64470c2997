//! The plain calls on files and paths that no opcode does. They may wait for a disk, and so are made where that hurts
//! nobody: on the blocking pool.
//!
//! Invariant: as in `calls`: each answers for the kernel that what it is asked of is of.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::calls::{Kernel, done};
#[cfg(feature = "sim")]
use crate::sim;
pub(crate) use crate::sys::subject::Subject;

/// The kernel that answers for it.
fn kernel_of(subject: Subject<'_>) -> Kernel {
    subject.descriptor().map_or_else(Kernel::here, Kernel::answering)
}

/// Where a symbolic link leads.
pub(crate) fn read_link(directory: Option<BorrowedFd<'_>>, path: &CStr) -> io::Result<Vec<u8>> {
    let subject = Subject::Path { directory, path, follow: false };
    match kernel_of(subject) {
        Kernel::Real => {
            let (directory, path, _) = subject.at();
            let mut target: Vec<u8> = Vec::with_capacity(LONGEST_PATH);
            let (start, room) = (target.as_mut_ptr(), target.capacity());
            // SAFETY: a path that ends with a zero, and that much room.
            let len = unsafe { libc::readlinkat(directory, path, start.cast(), room) };
            let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
            // SAFETY: the kernel has written that many bytes.
            unsafe { target.set_len(len) };
            target.shrink_to_fit();
            Ok(target)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::read_link(subject),
    }
}

/// The path without links and dots by which something can be reached.
pub(crate) fn real_path(path: &CStr) -> io::Result<Vec<u8>> {
    match Kernel::here() {
        Kernel::Real => {
            let mut found = vec![0_u8; LONGEST_PATH];
            // SAFETY: a path that ends with a zero, and room for the longest that there is.
            let answer = unsafe { libc::realpath(path.as_ptr(), found.as_mut_ptr().cast()) };
            if answer.is_null() {
                return Err(io::Error::last_os_error());
            }
            let len = found.iter().position(|byte| *byte == 0).unwrap_or(0);
            found.truncate(len);
            found.shrink_to_fit();
            Ok(found)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::real_path(path),
    }
}

/// Whether the program may do that with it: bits of `R_OK`, `W_OK`, `X_OK`; by its effective user.
pub(crate) fn access(subject: Subject<'_>, mode: i32) -> io::Result<()> {
    match kernel_of(subject) {
        Kernel::Real => {
            let (directory, path, flags) = subject.at();
            // SAFETY: a path that ends with a zero.
            done(unsafe { libc::faccessat(directory, path, mode, flags | libc::AT_EACCESS) })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::access(subject, mode),
    }
}

/// How full the file system is.
pub(crate) fn stat_file_system(subject: Subject<'_>) -> io::Result<libc::statvfs64> {
    match kernel_of(subject) {
        Kernel::Real => {
            let mut answer = MaybeUninit::<libc::statvfs64>::zeroed();
            let result = match subject {
                // SAFETY: a path that ends with a zero, and room for the answer.
                Subject::Path { path, .. } => unsafe { libc::statvfs64(path.as_ptr(), answer.as_mut_ptr()) },
                // SAFETY: room for the answer.
                Subject::Open(fd) => unsafe { libc::fstatvfs64(fd.as_raw_fd(), answer.as_mut_ptr()) },
            };
            done(result)?;
            // SAFETY: zeroed before, so initialised whatever has been filled in.
            Ok(unsafe { answer.assume_init() })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::stat_file_system(subject),
    }
}

/// Sets the twelve lower bits of the mode. Those of a symbolic link itself cannot be set.
pub(crate) fn set_mode(subject: Subject<'_>, mode: u32) -> io::Result<()> {
    match (kernel_of(subject), subject) {
        // SAFETY: takes no pointers.
        (Kernel::Real, Subject::Open(fd)) => done(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }),
        (Kernel::Real, Subject::Path { .. }) => {
            let (directory, path, flags) = subject.at();
            // SAFETY: a path that ends with a zero.
            done(unsafe { libc::fchmodat(directory, path, mode, flags) })
        }
        #[cfg(feature = "sim")]
        (Kernel::Simulated, _) => sim::file_calls::set_mode(subject, mode),
    }
}

/// Gives it to a user, to a group, or to both.
pub(crate) fn set_owner(subject: Subject<'_>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    match kernel_of(subject) {
        Kernel::Real => {
            let (directory, path, flags) = subject.at();
            // The largest number stands for: as it is.
            let (user, group) = (user.unwrap_or(u32::MAX), group.unwrap_or(u32::MAX));
            // SAFETY: a path that ends with a zero.
            done(unsafe { libc::fchownat(directory, path, user, group, flags) })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::set_owner(subject, user, group),
    }
}

/// Sets when it was last read and last changed; `UTIME_NOW` and `UTIME_OMIT` as in `utimensat(2)`.
pub(crate) fn set_times(subject: Subject<'_>, accessed: libc::timespec, modified: libc::timespec) -> io::Result<()> {
    match (kernel_of(subject), subject) {
        (Kernel::Real, Subject::Open(fd)) => {
            let times = [accessed, modified];
            // SAFETY: two times.
            done(unsafe { libc::futimens(fd.as_raw_fd(), times.as_ptr()) })
        }
        (Kernel::Real, Subject::Path { .. }) => {
            let (directory, path, flags) = subject.at();
            let times = [accessed, modified];
            // SAFETY: a path that ends with a zero, and two times.
            done(unsafe { libc::utimensat(directory, path, times.as_ptr(), flags) })
        }
        #[cfg(feature = "sim")]
        (Kernel::Simulated, _) => sim::file_calls::set_times(subject, accessed, modified),
    }
}

/// The names of the extended attributes, each with a zero behind.
pub(crate) fn list_xattr(subject: Subject<'_>) -> io::Result<Vec<u8>> {
    match kernel_of(subject) {
        Kernel::Real => {
            let mut names: Vec<u8> = Vec::with_capacity(XATTR_NAMES);
            let (start, room) = (names.as_mut_ptr().cast(), names.capacity());
            let len = match subject {
                Subject::Path { path, follow: true, .. } => {
                    // SAFETY: a path that ends with a zero, and that much room.
                    unsafe { libc::listxattr(path.as_ptr(), start, room) }
                }
                Subject::Path { path, follow: false, .. } => {
                    // SAFETY: as above.
                    unsafe { libc::llistxattr(path.as_ptr(), start, room) }
                }
                // SAFETY: that much room.
                Subject::Open(fd) => unsafe { libc::flistxattr(fd.as_raw_fd(), start, room) },
            };
            let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
            // SAFETY: the kernel has written that many bytes.
            unsafe { names.set_len(len) };
            names.shrink_to_fit();
            Ok(names)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::list_xattr(subject),
    }
}

/// The value of an extended attribute of a symbolic link itself, which no opcode reads.
pub(crate) fn get_link_xattr(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    match Kernel::here() {
        Kernel::Real => {
            let mut value: Vec<u8> = Vec::with_capacity(XATTR_VALUE);
            let (start, room) = (value.as_mut_ptr().cast(), value.capacity());
            // SAFETY: two texts that end with a zero, and that much room.
            let len = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), start, room) };
            let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
            // SAFETY: the kernel has written that many bytes.
            unsafe { value.set_len(len) };
            value.shrink_to_fit();
            Ok(value)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::get_link_xattr(path, name),
    }
}

/// Sets an extended attribute of a symbolic link itself.
pub(crate) fn set_link_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    match Kernel::here() {
        Kernel::Real => {
            let (start, len) = (value.as_ptr().cast(), value.len());
            // SAFETY: two texts that end with a zero, and that many bytes.
            done(unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), start, len, 0) })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::set_link_xattr(path, name, value),
    }
}

/// Takes an extended attribute away.
pub(crate) fn remove_xattr(subject: Subject<'_>, name: &CStr) -> io::Result<()> {
    match (kernel_of(subject), subject) {
        (Kernel::Real, Subject::Path { path, follow: true, .. }) => {
            // SAFETY: two texts that end with a zero.
            done(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) })
        }
        (Kernel::Real, Subject::Path { path, follow: false, .. }) => {
            // SAFETY: two texts that end with a zero.
            done(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) })
        }
        (Kernel::Real, Subject::Open(fd)) => {
            // SAFETY: a text that ends with a zero.
            done(unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) })
        }
        #[cfg(feature = "sim")]
        (Kernel::Simulated, _) => sim::file_calls::remove_xattr(subject, name),
    }
}

/// Locks or unlocks what is open, as flock(2) does with that operation. With `LOCK_NB` it does not wait.
pub(crate) fn lock(fd: BorrowedFd<'_>, operation: i32) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        // SAFETY: takes no pointers.
        Kernel::Real => done(unsafe { libc::flock(fd.as_raw_fd(), operation) }),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::lock(fd.as_raw_fd(), operation),
    }
}

/// Locks or unlocks a range of what is open, without waiting: `kind` is `F_RDLCK`, `F_WRLCK` or `F_UNLCK`; 0 bytes are
/// all to the end.
pub(crate) fn lock_range(fd: BorrowedFd<'_>, kind: i32, offset: u64, bytes: u64) -> io::Result<()> {
    let invalid = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let (offset, bytes) = (i64::try_from(offset).map_err(invalid)?, i64::try_from(bytes).map_err(invalid)?);
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: it consists of numbers, for which all zeroes is a value.
            let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
            (lock.l_type, lock.l_whence) = (kind as _, libc::SEEK_SET as _);
            (lock.l_start, lock.l_len) = (offset, bytes);
            // SAFETY: what describes a lock.
            done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::lock_range(fd.as_raw_fd(), kind, offset as u64, bytes as u64),
    }
}

/// Whether it is a terminal. At once.
pub(crate) fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    match Kernel::answering(fd.as_raw_fd()) {
        // SAFETY: takes no pointers.
        Kernel::Real => unsafe { libc::isatty(fd.as_raw_fd()) == 1 },
        #[cfg(feature = "sim")]
        Kernel::Simulated => false,
    }
}

/// Another descriptor of what is open, with the same position and the same locks. It is the caller's to close.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<RawFd> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
            done(copy).map(|()| copy)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::duplicate(fd.as_raw_fd()),
    }
}

/// Copies a range from one file to another within the kernel, as much as goes at once; 0 at the end.
pub(crate) fn copy_range(
    from: BorrowedFd<'_>,
    from_offset: u64,
    to: BorrowedFd<'_>,
    to_offset: u64,
    bytes: usize,
) -> io::Result<usize> {
    match Kernel::answering(from.as_raw_fd()) {
        Kernel::Real => {
            let (mut at, mut to_at) = (from_offset as i64, to_offset as i64);
            let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
            // SAFETY: two numbers that the kernel changes.
            let copied = unsafe { libc::copy_file_range(from, &raw mut at, to, &raw mut to_at, bytes, 0) };
            usize::try_from(copied).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => {
            sim::file_calls::copy_range(from.as_raw_fd(), from_offset, to.as_raw_fd(), to_offset, bytes)
        }
    }
}

/// Lets `to` share all the contents of `from`, until one of them is changed.
pub(crate) fn clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    match Kernel::answering(from.as_raw_fd()) {
        // SAFETY: takes no pointers, but a descriptor.
        Kernel::Real => done(unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) }),
        #[cfg(feature = "sim")]
        Kernel::Simulated => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    }
}

/// Where from `offset` on the next data (`SEEK_DATA`) or hole (`SEEK_HOLE`) is. Moves the kernel's own position.
pub(crate) fn seek(fd: BorrowedFd<'_>, offset: u64, to: i32) -> io::Result<u64> {
    let offset = i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::ENXIO))?;
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let found = unsafe { libc::lseek64(fd.as_raw_fd(), offset, to) };
            u64::try_from(found).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::seek(fd.as_raw_fd(), offset as u64, to),
    }
}

/// Reads entries of an open directory, from where the last call ended; 0 bytes at the end.
pub(crate) fn read_entries(fd: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<usize> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            let (fd, start, len) = (fd.as_raw_fd(), room.as_mut_ptr(), room.len());
            // SAFETY: that much room, which is borrowed exclusively.
            let read = unsafe { libc::syscall(libc::SYS_getdents64, fd, start, len) };
            usize::try_from(read).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::read_entries(fd.as_raw_fd(), room),
    }
}

/// Makes a descriptor that tells of changes of files. It is the caller's to close.
pub(crate) fn watch() -> io::Result<RawFd> {
    match Kernel::here() {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
            done(fd).map(|()| fd)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::unknown("inotify"),
    }
}

/// Tells of what is at `path`, too, or from now on otherwise; gives the number by which it is told of.
pub(crate) fn add_watch(watch: BorrowedFd<'_>, path: &CStr, events: u32) -> io::Result<i32> {
    match Kernel::answering(watch.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: a path that ends with a zero.
            let number = unsafe { libc::inotify_add_watch(watch.as_raw_fd(), path.as_ptr(), events) };
            done(number).map(|()| number)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::unknown("inotify"),
    }
}

/// Does not tell of that any more.
pub(crate) fn remove_watch(watch: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    match Kernel::answering(watch.as_raw_fd()) {
        // SAFETY: takes no pointers.
        Kernel::Real => done(unsafe { libc::inotify_rm_watch(watch.as_raw_fd(), number) }),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::file_calls::unknown("inotify"),
    }
}

/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;
/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const XATTR_NAMES: usize = 65_536;
const XATTR_VALUE: usize = 65_536;
