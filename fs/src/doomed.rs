//! Names that are removed unless somebody decides otherwise, and how such names are made.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use corering_runtime::op::{Op, Unlink, begin, change_names_elsewhere, folder, is_running};
use corering_runtime::{blocking, random, spawn};

use crate::remove::remove_now;

/// How often a name is drawn that somebody has already.
pub(crate) const TRIES: u32 = 100;
/// So much of a name is kept in one that is made of it: the longest have 255 bytes.
const LONGEST: usize = 200;
const DIGITS: usize = 16;

/// A name that nobody can foretell: `before`, digits, `after`.
pub(crate) fn draw_name(before: &OsStr, after: &OsStr) -> OsString {
    let mut name = cut(before).to_vec();
    name.extend(format!("{:0DIGITS$x}", random()).into_bytes());
    name.extend(after.as_bytes());
    OsString::from_vec(name)
}

/// What is kept of the beginning of a name.
fn cut(before: &OsStr) -> &[u8] {
    let before = before.as_bytes();
    &before[..before.len().min(LONGEST)]
}

/// Whether a name may have been drawn so.
pub(crate) fn is_drawn(name: &OsStr, before: &OsStr, after: &str) -> bool {
    between(name, cut(before), after).is_some_and(is_digits)
}

/// Whether a name may have been drawn so, from one that begins with `begin`.
pub(crate) fn is_drawn_from_any(name: &OsStr, begin: &str, after: &str) -> bool {
    between(name, begin.as_bytes(), after)
        .and_then(|middle| middle.get(middle.len().checked_sub(DIGITS)?..))
        .is_some_and(is_digits)
}

fn between<'a>(name: &'a OsStr, before: &[u8], after: &str) -> Option<&'a [u8]> {
    name.as_bytes().strip_prefix(before)?.strip_suffix(after.as_bytes())
}

fn is_digits(bytes: &[u8]) -> bool {
    bytes.len() == DIGITS && bytes.iter().all(u8::is_ascii_hexdigit)
}

/// A file that loses its name when this is dropped. One that is about to be made is not yet in here: it is removed by the
/// operation that makes it, if nobody awaits that any more.
#[derive(Debug)]
pub(crate) struct Doomed {
    path: PathBuf,
    /// The name is not ours any more, or gone.
    over: bool,
}

impl Doomed {
    /// One that has been made.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, over: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name stays.
    pub(crate) fn spare(mut self) -> PathBuf {
        self.over = true;
        std::mem::take(&mut self.path)
    }

    /// Takes the name away, and says how that went. What has it no more is no error.
    pub(crate) async fn remove(mut self) -> io::Result<()> {
        let removed = Op::new(Unlink::file(crate::c_path(&self.path)?)).await;
        self.over = true;
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Ok(path) = crate::c_path(&self.path) {
            if begin(Unlink::file(path.clone())).is_err() {
                // If it cannot be removed, nobody is there to be told.
                let _ = folder::remove(None, &path, false);
            }
        }
    }
}

/// A folder that goes, with all that is in it, when this is dropped. One that is about to be made: as [`Doomed`].
#[derive(Debug)]
pub(crate) struct DoomedFolder {
    path: PathBuf,
}

impl DoomedFolder {
    /// One that has been made.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It stays.
    pub(crate) fn spare(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for DoomedFolder {
    fn drop(&mut self) {
        let doomed = Last(std::mem::take(&mut self.path));
        if doomed.is_spared() || !is_running() {
            return;
        }
        // From now on whatever comes later on names waits for it.
        let (_, elsewhere) = change_names_elsewhere();
        drop(spawn(blocking::call(move || {
            drop(doomed);
            drop(elsewhere);
        })));
    }
}

/// Removed wherever it is dropped: by a thread beside the core, or where the core ends before.
struct Last(PathBuf);

impl Last {
    fn is_spared(&self) -> bool {
        self.0.as_os_str().is_empty()
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if !self.is_spared() {
            // If it cannot be removed, nobody is there to be told.
            let _ = remove_now(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_names_are_recognised_and_others_are_not() {
        let long = "x".repeat(255);
        for name in ["a", "", &long] {
            let before = OsString::from(format!(".{name}."));
            let drawn = draw_name(&before, OsStr::new(".tmp"));
            assert!(is_drawn(&drawn, &before, ".tmp") && drawn.len() <= 255, "{drawn:?}");
            assert!(is_drawn_from_any(&drawn, ".", ".tmp"), "{drawn:?}");
        }
        for name in ["a", ".a.tmp", ".a.0123456789abcde.tmp", ".a.0123456789abcdef.tm", ".a.0123456789abcdeg.tmp"] {
            assert!(!is_drawn(OsStr::new(name), OsStr::new(".a."), ".tmp"), "{name}");
            assert!(!is_drawn_from_any(OsStr::new(name), ".a.", ".tmp"), "{name}");
        }
        assert!(!is_drawn(OsStr::new(".a.b.0123456789abcdef.tmp"), OsStr::new(".a."), ".tmp"), "of another");
    }
}
