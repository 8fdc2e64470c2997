//! Files for the corering runtime, read and written by the ring. Programs use it as `corering::fs`.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod atomic;
mod beneath;
mod chunks;
mod copy;
mod dir;
mod direct;
mod doomed;
mod elsewhere;
mod file;
mod io;
mod listing;
mod lock;
mod names;
mod options;
mod permissions;
mod remove;
mod space;
mod stream;
mod temp;
mod times;
mod walk;
mod watch;
mod whole;
mod xattr;

pub use atomic::{AtomicFile, write_atomic};
pub use beneath::{Dir, DirName, DirNames};
pub use chunks::{Block, Chunks, WriteBehind};
pub use copy::{Copied, copy, copy_tree};
pub use corering_runtime::op::plain::Space;
pub use corering_runtime::op::{FileType, Metadata, Permissions, Resolve};
pub use dir::{ReadDir, read_dir};
pub use direct::DirectFile;
pub use file::File;
pub use listing::DirEntry;
pub use names::{
    Access, access, canonicalize, create_dir, create_dir_all, exists, hard_link, read_link, remove_dir, remove_file,
    rename, rename_exchange, rename_no_replace, symlink, try_exists,
};
pub use options::OpenOptions;
pub use permissions::{chown, lchown, set_permissions};
pub use remove::remove_dir_all;
pub use space::{Advice, statvfs};
pub use temp::{NamedTempFile, PersistError, SpooledTempFile, TempBuilder, TempDir, tempfile, tempfile_in};
pub use times::{FileTimes, set_link_times, set_times};
pub use walk::{Walk, WalkError, walk};
pub use watch::{Change, Cookie, Event, Events, WatchId, Watcher, watch};
pub use whole::{metadata, read, read_into, read_to_string, symlink_metadata, write};
pub use xattr::{get_link_xattr, get_xattr, list_xattr, remove_xattr, set_link_xattr, set_xattr};

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
