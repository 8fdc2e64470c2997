//! Removing a folder with everything in it.

use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;

use corering_runtime::op::{Descriptor, Stat, folder, plain};

use crate::elsewhere::change_names;

/// Names that one job removes.
const SHARE: usize = 512;
/// Names that are read before the first of them is removed.
const PART: usize = 4096;
/// How much of a folder is asked for in one call.
const RECORDS: usize = 32 * 1024;
/// How many folders are open at once, one in the other.
const OPEN: usize = 64;
/// How often a folder is looked through again in which others have made something meanwhile.
const TRIES: u32 = 8;

/// Removes a folder and everything in it. A link is removed, not what it leads to.
///
/// No path leaves the folder, even if links take the place of folders in it meanwhile: each folder is opened from the one
/// it stands in.
///
/// # Errors
///
/// What `open(2)`, `unlink(2)` and `rmdir(2)` say of the first thing that cannot be removed; what is left then stays.
/// `ENOTDIR` if `path` is something else than a folder or a link. What somebody else has removed is no error.
///
/// # Cancel safety
///
/// Dropped, it stops after the few hundred names that are under way; whatever comes later on names of this core waits for
/// these.
///
/// # Kernel
///
/// `unlinkat(2)` on a thread beside the core, many names at a time: the ring would send a kernel worker for each.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("corering-remove-{}", std::process::id()));
/// # std::fs::create_dir_all(folder.join("a/b"))?;
/// corering_runtime::run(corering_fs::remove_dir_all(&folder))??;
/// assert!(!folder.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    remove_by(Removal::new(path.as_ref())?).await
}

/// Likewise, of what has a name in an open folder.
pub(crate) async fn remove_below(folder: Descriptor, name: CString) -> io::Result<()> {
    remove_by(Removal { from: Some(folder), ..Removal::of(name) }).await
}

async fn remove_by(mut removal: Removal) -> io::Result<()> {
    loop {
        let (over, back) = change_names(move || (removal.go_on(), removal)).await;
        if over? {
            return Ok(());
        }
        removal = back;
    }
}

/// Likewise, here and now. Blocks.
pub(crate) fn remove_now(path: &Path) -> io::Result<()> {
    let mut removal = Removal::new(path)?;
    while !removal.go_on()? {}
    Ok(())
}

/// A removal under way, between two jobs.
struct Removal {
    /// Where the path begins; it has one name then.
    from: Option<Descriptor>,
    path: CString,
    /// The folders that it is in, each within the one before.
    levels: Vec<Level>,
    begun: bool,
}

struct Level {
    /// Its name in the folder above; of the first, the whole path.
    name: CString,
    /// Unless it is closed for a while, since too many are open.
    open: Option<Descriptor>,
    /// What it is on the disk.
    dev: u64,
    ino: u64,
    names: Vec<CString>,
    /// There may be more names.
    more: bool,
    tries: u32,
}

impl Removal {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self::of(crate::c_path(path)?))
    }

    fn of(path: CString) -> Self {
        Self { from: None, path, levels: Vec::new(), begun: false }
    }

    /// Removes some names. Whether all has been removed.
    fn go_on(&mut self) -> io::Result<bool> {
        if !std::mem::replace(&mut self.begun, true) && self.begin()? {
            return Ok(true);
        }
        for _ in 0..SHARE {
            let Some(level) = self.levels.last_mut() else {
                return Ok(true);
            };
            match level.names.pop() {
                Some(name) => self.remove(name)?,
                None if level.more => level.read()?,
                None => self.leave()?,
            }
        }
        Ok(self.levels.is_empty())
    }

    /// Whether that was all already.
    fn begin(&mut self) -> io::Result<bool> {
        match Level::open(self.from.as_ref(), self.path.clone()) {
            Ok(level) => self.levels.push(level),
            Err(error) if is(&error, &[libc::ELOOP, libc::ENOTDIR]) => {
                let from = self.from.as_ref();
                let is_link = folder::stat(from, &self.path, false)?.is_symlink();
                return if is_link { folder::remove(from, &self.path, false).map(|()| true) } else { Err(error) };
            }
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    /// Removes a name of the innermost folder, or goes into it.
    fn remove(&mut self, name: CString) -> io::Result<()> {
        let Some(open) = self.levels.last().and_then(|level| level.open.as_ref()) else {
            unreachable!("the innermost folder is open")
        };
        match folder::remove(Some(open), &name, false) {
            Ok(()) => Ok(()),
            Err(error) if is(&error, &[libc::ENOENT]) => Ok(()),
            // A folder. (Some file systems say EPERM to that, and so does one that allows nothing.)
            Err(error) if is(&error, &[libc::EISDIR, libc::EPERM]) => match Level::open(Some(open), name) {
                Ok(level) => {
                    self.enter(level);
                    Ok(())
                }
                Err(other) if is(&other, &[libc::ENOENT]) => Ok(()),
                Err(other) if is(&other, &[libc::ENOTDIR, libc::ELOOP]) => Err(error),
                Err(other) => Err(other),
            },
            Err(error) => Err(error),
        }
    }

    fn enter(&mut self, level: Level) {
        self.levels.push(level);
        if let Some(outer) = self.levels.len().checked_sub(OPEN) {
            self.levels[outer].open = None;
        }
    }

    /// Removes the innermost folder, which is empty.
    fn leave(&mut self) -> io::Result<()> {
        let Some(mut level) = self.levels.pop() else {
            return Ok(());
        };
        if let Some(outer) = self.levels.last_mut() {
            outer.open_again(&level)?;
        }
        let outer = self.levels.last().map_or(self.from.as_ref(), |outer| outer.open.as_ref());
        match folder::remove(outer, &level.name, true) {
            Ok(()) => Ok(()),
            Err(error) if is(&error, &[libc::ENOENT]) => Ok(()),
            Err(error) if is(&error, &[libc::ENOTEMPTY, libc::EEXIST]) && level.tries < TRIES => {
                level.open = level.open.as_ref().map(|open| open_folder(Some(open), c".")).transpose()?;
                (level.more, level.tries) = (true, level.tries + 1);
                self.levels.push(level);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

const FOLDER: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;

impl Level {
    fn open(outer: Option<&Descriptor>, name: CString) -> io::Result<Self> {
        let open = open_folder(outer, &name)?;
        let metadata = Stat::of(&open)?;
        let (dev, ino) = (metadata.dev(), metadata.ino());
        Ok(Self { name, open: Some(open), dev, ino, names: Vec::new(), more: true, tries: 0 })
    }

    fn read(&mut self) -> io::Result<()> {
        let Some(open) = &self.open else { unreachable!("the innermost folder is open") };
        let mut room = vec![0; RECORDS];
        while self.names.len() < PART {
            let count = plain::read_entries(open, &mut room)?;
            if count == 0 {
                self.more = false;
                break;
            }
            for entry in plain::entries(&room[..count]) {
                self.names.push(CString::new(entry.name)?);
            }
        }
        Ok(())
    }

    /// Opens it again from a folder in it, unless that has been moved somewhere else.
    fn open_again(&mut self, inner: &Level) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let open = open_folder(inner.open.as_ref(), c"..")?;
        let metadata = Stat::of(&open)?;
        if (metadata.dev(), metadata.ino()) != (self.dev, self.ino) {
            let text = format!("the folder {:?} was moved while it was removed", inner.name);
            return Err(io::Error::other(text));
        }
        (self.open, self.more) = (Some(open), true);
        Ok(())
    }
}

/// Opens a folder that is seen from an open one, or from the current one. A link is not followed.
fn open_folder(from: Option<&Descriptor>, name: &CStr) -> io::Result<Descriptor> {
    folder::open(from, name, folder::How::new(FOLDER))
}

fn is(error: &io::Error, any: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|number| any.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "sets its scene with the standard library")]
    fn no_link_is_gone_into() {
        let place = std::env::temp_dir().join(format!("corering-remove-link-{}", std::process::id()));
        std::fs::create_dir_all(place.join("folder")).expect("made");
        std::os::unix::fs::symlink("folder", place.join("link")).expect("made");
        let outer = Level::open(None, crate::c_path(&place).expect("no zero")).expect("a folder");
        assert!(Level::open(outer.open.as_ref(), c"folder".into()).is_ok());
        let error = Level::open(outer.open.as_ref(), c"link".into()).err().expect("a link");
        assert!(is(&error, &[libc::ENOTDIR, libc::ELOOP]), "{error}");
        std::fs::remove_dir_all(&place).expect("removed");
    }
}
