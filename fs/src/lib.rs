//! Files for the corering runtime, read and written by the ring. Programs use it as `corering::fs`.
//!
//! | to | use |
//! | --- | --- |
//! | read or write a whole file | [`read`], [`read_to_string`], [`read_into`], [`write()`] |
//! | replace a file as a whole, and durably | [`write_atomic`], [`AtomicFile`] |
//! | open a file, and read and write it at positions | [`File`], [`OpenOptions`] |
//! | read ahead, write behind | [`File::chunks`], [`File::sink`] |
//! | go past the page cache | [`DirectFile`] |
//! | list a folder, or all that is below it | [`read_dir`], [`walk()`] |
//! | copy and remove files and trees | [`copy`], [`copy_tree`], [`CopyOptions`], [`remove_file`], [`remove_dir_all`] |
//! | make, move and follow names | [`create_dir_all`], [`rename`], [`hard_link`], [`symlink`], [`canonicalize`] |
//! | use paths that strangers choose | [`Dir`], [`OpenOptions::resolve`] |
//! | have files for a while | [`tempfile`], [`NamedTempFile`], [`SpooledTempFile`], [`TempDir`] |
//! | know about a file | [`metadata`], [`symlink_metadata`], [`try_exists`], [`access`] |
//! | change what is known of it | [`set_permissions`], [`chown`], [`set_times`], [`set_xattr`] |
//! | keep other programs out | [`File::lock`], [`File::try_lock`] |
//! | reserve room, punch holes | [`File::allocate`], [`File::punch_hole`], [`File::advise`], [`statvfs`] |
//! | be told of changes | [`watch()`], [`watch_tree`] |
//!
//! What changes something and is dropped in flight happens all the same, and whatever comes later on the same file, or
//! on names of the same core, waits for it. What is read may be dropped at any time.
//!
//! # Examples
//!
//! ```
//! # let path = std::env::temp_dir().join(format!("corering-fs-{}", std::process::id()));
//! use corering_fs as fs;
//!
//! corering_runtime::run(async {
//!     fs::write_atomic(&path, "old or new, never a part").await?;
//!     assert_eq!(fs::metadata(&path).await?.len(), 24);
//!     fs::remove_file(&path).await
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod atomic;
mod beneath;
mod chunks;
mod copy;
mod copy_options;
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
pub use copy_options::{CopyOptions, Reflink};
pub use corering_runtime::op::plain::Space;
pub use corering_runtime::op::{FileType, Metadata, Permissions, Resolve};
pub use dir::{ReadDir, read_dir};
pub use direct::DirectFile;
pub use file::{File, IntoStdError};
pub use listing::DirEntry;
pub use names::{
    Access, access, canonicalize, create_dir, create_dir_all, exists, hard_link, is_mount_point, read_link, remove_dir,
    remove_file, rename, rename_exchange, rename_no_replace, same_file, symlink, try_exists,
};
pub use options::OpenOptions;
pub use permissions::{chown, lchown, set_permissions};
pub use remove::remove_dir_all;
pub use space::{Advice, statvfs};
pub use temp::{NamedTempFile, PersistError, SpooledTempFile, TempBuilder, TempDir, tempfile, tempfile_in};
pub use times::{FileTimes, set_link_times, set_times};
pub use walk::{DirWalk, Walk, WalkError, walk};
pub use watch::{Change, Cookie, Event, Events, WatchId, Watcher, watch, watch_tree};
pub use whole::{metadata, read, read_into, read_to_string, symlink_metadata, write};
pub use xattr::{
    get_link_xattr, get_xattr, list_link_xattr, list_xattr, remove_link_xattr, remove_xattr, set_link_xattr, set_xattr,
};

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
