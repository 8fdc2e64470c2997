//! Sums of folders: each is told when everything in it has been counted, the inner ones first.

use std::path::PathBuf;

/// The folders that a walk is in, with what they have come to.
pub(crate) struct Folders<T> {
    open: Vec<Open<T>>,
    /// Folders further down are not told.
    deepest: usize,
}

struct Open<T> {
    path: PathBuf,
    depth: usize,
    sum: T,
}

/// Something that sums are made of.
pub(crate) trait Sum: Default {
    fn add(&mut self, other: &Self);
}

impl<T: Sum> Folders<T> {
    pub(crate) fn new(deepest: usize) -> Self {
        Self { open: Vec::new(), deepest }
    }

    /// Leaves the folders that are over when something comes that is so many folders down, and tells them.
    pub(crate) fn leave(&mut self, depth: usize, mut tell: impl FnMut(PathBuf, &T)) {
        while self.open.last().is_some_and(|open| open.depth >= depth) {
            let Some(folder) = self.open.pop() else { return };
            if let Some(outer) = self.open.last_mut() {
                outer.sum.add(&folder.sum);
            }
            if folder.depth <= self.deepest {
                tell(folder.path, &folder.sum);
            }
        }
    }

    /// Goes into a folder.
    pub(crate) fn enter(&mut self, path: PathBuf, depth: usize, sum: T) {
        self.open.push(Open { path, depth, sum });
    }

    /// Adds to the folder that it is in, if it is in any.
    pub(crate) fn add(&mut self, sum: &T) {
        if let Some(open) = self.open.last_mut() {
            open.sum.add(sum);
        }
    }
}
