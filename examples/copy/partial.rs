//! Files that are under way, and have no name of their own yet.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use corering::fs::Metadata;
use corering::op::plain::{self, Lock};
use corering::op::{Descriptor, Stat, folder};

use crate::attributes::c_path;
use crate::hidden::OneMore;

/// A file under a temporary name. It is removed when this is dropped, unless it has been given its name or is kept.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    pub(crate) c_path: CString,
    is_kept: bool,
    /// It has its own name already, in a folder that has another.
    in_hidden: Option<OneMore>,
}

/// The end of a name that is unlike all others.
pub(crate) fn unlike_others() -> String {
    // Numbers tell what this program makes apart, the process what others do.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
    format!(".{}-{}.copying", *PROCESS, NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl Partial {
    /// Makes a new one, beside `target`. Blocks.
    pub(crate) fn make(target: &Path, mode: u32) -> io::Result<(Self, Descriptor)> {
        let path = beside(target, &unlike_others());
        let c_path = c_path(&path)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let opened = folder::open(None, &c_path, folder::How { flags, mode, ..folder::How::default() });
        let opened = match opened {
            // Left over from a process of the same number, which is no more.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                folder::remove(None, &c_path, false)?;
                folder::open(None, &c_path, folder::How { flags, mode, ..folder::How::default() })
            }
            opened => opened,
        };
        Ok((Self { path, c_path, is_kept: false, in_hidden: None }, opened?))
    }

    /// Makes a new one under its own name, in a hidden folder. Blocks.
    pub(crate) fn make_in_hidden(target: &Path, mode: u32, one: OneMore) -> io::Result<(Self, Descriptor)> {
        let c_path = c_path(target)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let open = folder::open(None, &c_path, folder::How { flags, mode, ..folder::How::default() })?;
        Ok((Self { path: target.to_path_buf(), c_path, is_kept: false, in_hidden: Some(one) }, open))
    }

    /// Goes on with what was interrupted, or makes it, and says how much is there. The name says what it is a copy of, so
    /// that nothing is put behind the beginning of something else. Blocks.
    pub(crate) fn go_on(target: &Path, source: &Metadata, mode: u32) -> io::Result<(Self, Descriptor, u64)> {
        let since_1970 = source.modified().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let end = format!(".{}-{}-{:x}.partial", source.ino(), source.len(), since_1970.as_nanos());
        let path = beside(target, &end);
        let c_path = c_path(&path)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW;
        let open = folder::open(None, &c_path, folder::How { flags, mode, ..folder::How::default() })?;
        plain::try_lock(&open, Lock::Exclusive)
            .map_err(|error| io::Error::new(error.kind(), "another process is copying it"))?;
        let there = Stat::of(&open)?.len();
        let there = if there > source.len() { 0 } else { there };
        folder::set_len(&open, there)?;
        Ok((Self { path, c_path, is_kept: true, in_hidden: None }, open, there))
    }

    /// Gives it its name, and takes that from whatever has it. Blocks.
    pub(crate) fn rename(mut self, target: &Path) -> io::Result<()> {
        if self.in_hidden.is_none() {
            std::fs::rename(&self.path, target)?;
        }
        self.is_kept = true;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It is of no use to go on there.
    pub(crate) fn give_up(mut self) {
        self.is_kept = false;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            // If that fails, the folder is gone or forbids it: nothing is left to be done.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A hidden name beside `target`.
pub(crate) fn beside(target: &Path, end: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_bytes();
    // File systems take 255 bytes.
    let room = 254 - end.len();
    let mut hidden = vec![b'.'];
    if name.len() <= room {
        hidden.extend_from_slice(name);
    } else {
        // What is cut away still tells two names apart.
        let digest = blake3::hash(name).to_hex();
        hidden.extend_from_slice(&name[..room - 17]);
        hidden.push(b'-');
        hidden.extend_from_slice(&digest.as_bytes()[..16]);
    }
    hidden.extend_from_slice(end.as_bytes());
    target.with_file_name(OsString::from_vec(hidden))
}
