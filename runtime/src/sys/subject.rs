//! What a plain call on files is about: a path or what is open.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// A path, perhaps from an open directory, or what is open itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// If `follow`, what a symbolic link leads to.
    Path {
        directory: Option<BorrowedFd<'a>>,
        path: &'a CStr,
        follow: bool,
    },
    Open(BorrowedFd<'a>),
}

impl Subject<'_> {
    /// What the call is made on, beside the names of the program itself.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        match self {
            Subject::Path { directory, .. } => directory.map(|fd| fd.as_raw_fd()),
            Subject::Open(fd) => Some(fd.as_raw_fd()),
        }
    }

    /// Directory, path and flags, as the calls that end in `at` take them.
    pub(crate) fn at(&self) -> (RawFd, *const libc::c_char, i32) {
        match self {
            Subject::Path { directory, path, follow } => {
                let directory = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
                (directory, path.as_ptr(), if *follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW })
            }
            Subject::Open(fd) => (fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH),
        }
    }
}
