//! New folders, which are filled under a hidden name and get their own at the end.
//!
//! So the files in them need no names of their own before they are whole: to give each its name takes as long as a
//! quarter of the copy of a small file.
//!
//! Invariant: a folder gets its name only when no file in it is under way.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::partial::{beside, unlike_others};
use crate::tool::Tool;

/// The new folders of a run.
#[derive(Default)]
pub(crate) struct Hidden {
    folders: RefCell<Vec<Folder>>,
}

struct Folder {
    hidden: PathBuf,
    to: PathBuf,
}

impl Hidden {
    /// The name under which `to` is filled if it is new: nothing may have that name yet. Blocks.
    pub(crate) fn name(&self, to: &Path) -> Option<PathBuf> {
        let mut folders = self.folders.borrow_mut();
        if let Some(folder) = folders.iter().find(|folder| folder.to == to) {
            return Some(folder.hidden.clone());
        }
        let is_new = std::fs::symlink_metadata(to).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let hidden = is_new.then(|| beside(to, &unlike_others()))?;
        folders.push(Folder { hidden: hidden.clone(), to: to.to_path_buf() });
        Some(hidden)
    }

    /// Whether it is in one of them.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        self.folders.borrow().iter().any(|folder| path.starts_with(&folder.hidden))
    }

    /// The path that it will have.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        let folders = self.folders.borrow();
        let shown = folders.iter().find_map(|folder| Some((folder, path.strip_prefix(&folder.hidden).ok()?)));
        match shown {
            Some((folder, below)) if below.as_os_str().is_empty() => Cow::Owned(folder.to.clone()),
            Some((folder, below)) => Cow::Owned(folder.to.join(below)),
            None => Cow::Borrowed(path),
        }
    }

    /// Gives them their names, when nothing is under way any more. Blocks.
    pub(crate) fn show_all(&self, tool: &Tool, under_way: &UnderWay) {
        for Folder { hidden, to } in self.folders.take() {
            let shown = if under_way.is_none() {
                std::fs::rename(&hidden, &to)
            } else {
                Err(io::Error::other("a file in it is still being copied"))
            };
            match shown {
                // It could not be made, and that has been told.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tool.report(&to, format_args!("what was copied stays in {}: {error}", hidden.display()));
                }
                Ok(()) => {}
            }
        }
    }
}

/// How many files are being copied under the names that they will have.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<AtomicUsize>);

/// One of them, as long as this lives.
#[derive(Debug)]
pub(crate) struct OneMore(Arc<AtomicUsize>);

impl UnderWay {
    pub(crate) fn add(&self) -> OneMore {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneMore(Arc::clone(&self.0))
    }

    fn is_none(&self) -> bool {
        // Acquire: pairs with the Release in `drop`, so that what is not kept has been removed.
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
