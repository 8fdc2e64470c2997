//! Files for the corering runtime, read and written by the ring. Programs use it as `corering::fs`.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod file;
mod io;
mod options;
mod whole;

pub use corering_runtime::op::Metadata;
pub use file::File;
pub use options::OpenOptions;
pub use whole::{metadata, read, read_into, read_to_string, symlink_metadata, write};

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as the kernel takes it.
fn c_path(path: &Path) -> std::io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            format!("{path:?} is not a path: it has a zero byte in it"),
        )
    })
}
