//! Files for the corering runtime, read and written by the ring. Programs use it as `corering::fs`.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod atomic;
mod chunks;
mod dir;
mod direct;
mod doomed;
mod file;
mod listing;
mod options;
mod remove;
mod temp;
mod walk;
mod whole;

pub use atomic::{AtomicFile, write_atomic};
pub use chunks::{Block, Chunks, WriteBehind};
pub use corering_runtime::op::{FileType, Metadata};
pub use dir::{ReadDir, read_dir};
pub use direct::DirectFile;
pub use file::File;
pub use listing::DirEntry;
pub use options::OpenOptions;
pub use remove::remove_dir_all;
pub use temp::{NamedTempFile, PersistError, SpooledTempFile, TempDir, tempfile, tempfile_in};
pub use walk::{Walk, WalkError, walk};
pub use whole::{metadata, read, read_into, read_to_string, symlink_metadata, write};

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as the kernel takes it.
fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{path:?} is not a path: it has a zero byte in it"))
    })
}
