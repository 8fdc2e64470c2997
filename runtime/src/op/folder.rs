//! Folders, as batches look at them: plain calls for [`blocking`](crate::blocking::call), not for the core.
//!
//! To list names, there is [`read_entries`](super::plain::read_entries).
//!
//! One trip to a thread for all that is to be done in a folder costs less than one to a kernel worker for each of its
//! names, and the ring cannot list names at all. All of these block; a path that does not start with "/" is seen from
//! the folder that is given, or from the current one.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;

use super::descriptor::Descriptor;
use super::metadata::{Metadata, WANTED};
use crate::driver::calls;
use crate::driver::folder_calls;
pub use crate::driver::folder_calls::How;

/// Opens what `path` leads to, as openat2(2) does. Blocks.
///
/// # Errors
///
/// What `openat2(2)` says.
pub fn open(folder: Option<&Descriptor>, path: &CStr, how: How) -> io::Result<Descriptor> {
    let fd = folder_calls::open(folder.map(AsFd::as_fd), path, how)?;
    // SAFETY: the kernel has just given us this number.
    Ok(unsafe { Descriptor::owning(fd) })
}

/// What the system knows of the file that `path` leads to, or of the link. Blocks.
///
/// # Errors
///
/// What `statx(2)` says.
pub fn stat(folder: Option<&Descriptor>, path: &CStr, follow_links: bool) -> io::Result<Metadata> {
    folder_calls::stat(folder.map(AsFd::as_fd), path, follow_links, WANTED).map(|answer| Metadata::of(&answer))
}

/// Removes a name: of an empty folder, or of anything else. Blocks.
///
/// # Errors
///
/// What `unlinkat(2)` says.
pub fn remove(folder: Option<&Descriptor>, path: &CStr, is_folder: bool) -> io::Result<()> {
    folder_calls::remove(folder.map(AsFd::as_fd), path, is_folder)
}

/// Cuts or extends an open file. Blocks.
///
/// # Errors
///
/// What `ftruncate(2)` says.
pub fn set_len(file: &Descriptor, bytes: u64) -> io::Result<()> {
    calls::truncate(file.as_fd(), bytes)
}

/// Writes all of `bytes` at `offset`. Blocks.
///
/// # Errors
///
/// What `pwrite(2)` says, and [`WriteZero`](io::ErrorKind::WriteZero) if the file takes no more.
pub fn write_all(file: &Descriptor, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match folder_calls::write(file.as_fd(), &bytes[written..], offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Closes what is open. Blocks.
///
/// # Errors
///
/// What `close(2)` says; [`ResourceBusy`](io::ErrorKind::ResourceBusy) if somebody else still holds it.
pub fn close(file: Descriptor) -> io::Result<()> {
    file.close_now()
}
