//! Plain calls on folders, for threads that may block: a whole folder is looked at in one go there, which is cheaper
//! than a trip to a kernel worker for each of its names.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::calls::{Kernel, done};
#[cfg(feature = "sim")]
use crate::sim;

/// How to open something, as openat2(2) takes it. Close-on-exec comes to the flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// The flags of open(2).
    pub flags: i32,
    /// The permissions of what is made.
    pub mode: u32,
    /// What the path may lead through: `RESOLVE_BENEATH` and the like.
    pub resolve: u64,
}

impl How {
    /// With these flags, making nothing, wherever the path leads.
    pub fn new(flags: i32) -> Self {
        Self { flags, ..Self::default() }
    }
}

/// The kernel's `open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Only by what is in the cache of names (`RESOLVE_CACHED`, since Linux 5.12).
const RESOLVE_CACHED: u64 = 0x20;

/// How often an open that must not leave a folder is tried again, while names change on its way.
const TRIES: u32 = 64;

fn number(folder: Option<BorrowedFd<'_>>) -> RawFd {
    folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd())
}

fn kernel(folder: Option<BorrowedFd<'_>>) -> Kernel {
    folder.map_or_else(Kernel::here, |folder| Kernel::answering(folder.as_raw_fd()))
}

/// Opens what `path`, seen from `folder`, leads to. The number is the caller's to close.
pub(crate) fn open(folder: Option<BorrowedFd<'_>>, path: &CStr, how: How) -> io::Result<RawFd> {
    match kernel(folder) {
        Kernel::Real => {
            for _ in 1..TRIES {
                match really_open(number(folder), path, how) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Names have changed on its way, so that it could not be told where that leads.
                    Err(error) if how.resolve != 0 && error.raw_os_error() == Some(libc::EAGAIN) => {}
                    opened => return opened,
                }
            }
            really_open(number(folder), path, how)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::folder_calls::open(folder, path, how.flags | libc::O_CLOEXEC, how.mode, how.resolve),
    }
}

/// Opens what the kernel has in its cache of names, without waiting for a disk, a lock, or the other end of a named pipe.
/// A descriptor or a negative error number; `None` if somebody has to wait for it, or this kernel cannot be asked so.
pub(crate) fn open_cached(folder: Option<BorrowedFd<'_>>, path: &CStr, how: How) -> Option<i32> {
    match kernel(folder) {
        Kernel::Real => {
            // With a path alone, nothing is opened that could be waited for, and the flag is refused.
            let wait = if how.flags & libc::O_PATH == 0 { libc::O_NONBLOCK } else { 0 };
            let cached = How { flags: how.flags | wait, mode: 0, resolve: how.resolve | RESOLVE_CACHED };
            match really_open(number(folder), path, cached) {
                Ok(fd) => {
                    if cached.flags != how.flags {
                        // SAFETY: takes no pointers. Of the descriptor that was just opened; what is asked for it had.
                        unsafe { libc::fcntl(fd, libc::F_SETFL, how.flags) };
                    }
                    Some(fd)
                }
                // Everything else may have come of what was asked beside, or of a kernel that does not know it.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Some(-libc::ENOENT),
                Err(_) => None,
            }
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::folder_calls::open_cached(folder, path, how.flags | libc::O_CLOEXEC, how.resolve),
    }
}

fn really_open(folder: RawFd, path: &CStr, how: How) -> io::Result<RawFd> {
    let flags = how.flags | libc::O_CLOEXEC;
    // A mode without anything to make is refused.
    let makes = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let mode = if makes { u64::from(how.mode) } else { 0 };
    let how = OpenHow { flags: u64::from(flags as u32), mode, resolve: how.resolve };
    // SAFETY: `path` ends with a zero byte, and `how` is of the size that is told.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat2, folder, path.as_ptr(), &raw const how, std::mem::size_of::<OpenHow>())
    };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd as RawFd) }
}

/// What the system knows of the file, or the link, that `path`, seen from `folder`, leads to.
pub(crate) fn stat(folder: Option<BorrowedFd<'_>>, path: &CStr, follow: bool, mask: u32) -> io::Result<libc::statx> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    match kernel(folder) {
        Kernel::Real => {
            let mut answer = MaybeUninit::<libc::statx>::zeroed();
            // SAFETY: `path` ends with a zero byte, and `answer` has room for the answer.
            done(unsafe { libc::statx(number(folder), path.as_ptr(), flags, mask, answer.as_mut_ptr()) })?;
            // SAFETY: zeroed before, so initialised whatever the kernel has filled in.
            Ok(unsafe { answer.assume_init() })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::folder_calls::stat(folder, path, follow),
    }
}

/// Removes a name: of an empty folder, or of anything else.
pub(crate) fn remove(folder: Option<BorrowedFd<'_>>, path: &CStr, a_folder: bool) -> io::Result<()> {
    match kernel(folder) {
        Kernel::Real => {
            let flags = if a_folder { libc::AT_REMOVEDIR } else { 0 };
            // SAFETY: `path` ends with a zero byte.
            done(unsafe { libc::unlinkat(number(folder), path.as_ptr(), flags) })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::folder_calls::remove(folder, path, a_folder),
    }
}

/// Writes at `offset`, as much as goes at once.
pub(crate) fn write(file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
    match Kernel::answering(file.as_raw_fd()) {
        Kernel::Real => {
            let offset = offset as libc::off_t;
            // SAFETY: `bytes` is borrowed, and may be read to its end.
            let written = unsafe { libc::pwrite(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) };
            usize::try_from(written).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::folder_calls::write(file.as_raw_fd(), bytes, offset),
    }
}
