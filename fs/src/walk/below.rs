//! Everything below an open directory, by paths that do not lead out of it.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::{Walk, WalkError};
use crate::beneath::{Dir, DirName};

impl Dir {
    /// Walks through what is at `path` in it ("." is this one itself), and everything below that, as [`walk`](crate::walk())
    /// does. No path leads out of the directory, also not if somebody changes names meanwhile; links are not followed, but for
    /// those in `path`.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_fs::Dir;
    ///
    /// corering_runtime::run(async {
    ///     let dir = Dir::open("/etc").await?;
    ///     let mut bytes = 0;
    ///     let mut names = dir.walk(".").metadata(true);
    ///     while let Some(name) = names.next().await {
    ///         match name {
    ///             Ok(name) => bytes += name.known_metadata().map_or(0, |known| known.len()),
    ///             Err(error) => eprintln!("{error}"),
    ///         }
    ///     }
    ///     assert!(bytes > 0);
    ///     dir.close().await
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn walk(&self, path: impl AsRef<Path>) -> DirWalk {
        DirWalk(Walk::new(Some(self.descriptor().clone()), path.as_ref()))
    }
}

/// A way through a directory and everything below it; made by [`Dir::walk`]. A [`Stream`] of names.
///
/// # Kernel
///
/// As [`Walk`].
#[must_use = "a walk does nothing unless next is awaited"]
pub struct DirWalk(Walk);

impl DirWalk {
    /// As [`Walk::metadata`].
    pub fn metadata(self, on: bool) -> Self {
        Self(self.0.metadata(on))
    }

    /// As [`Walk::sorted`].
    pub fn sorted(self, on: bool) -> Self {
        Self(self.0.sorted(on))
    }

    /// As [`Walk::same_file_system`].
    pub fn same_file_system(self, on: bool) -> Self {
        Self(self.0.same_file_system(on))
    }

    /// As [`Walk::min_depth`].
    pub fn min_depth(self, depth: usize) -> Self {
        Self(self.0.min_depth(depth))
    }

    /// As [`Walk::max_depth`].
    pub fn max_depth(self, depth: usize) -> Self {
        Self(self.0.max_depth(depth))
    }

    /// As [`Walk::filter`].
    pub fn filter(self, mut keep: impl FnMut(&DirName) -> bool + 'static) -> Self {
        Self(self.0.filter(move |entry| keep(&DirName::new(entry.clone()))))
    }

    /// The next name; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// As [`Walk::next`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no name.
    ///
    /// # Kernel
    ///
    /// As [`Walk::next`].
    pub async fn next(&mut self) -> Option<Result<DirName, WalkError>> {
        std::future::poll_fn(|cx| self.poll_name(cx)).await
    }

    /// Does not go down into the directory that was given last.
    pub fn skip_dir(&mut self) {
        self.0.skip_dir();
    }

    fn poll_name(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<DirName, WalkError>>> {
        self.0.poll_entry(cx).map_ok(DirName::new)
    }
}

impl Stream for DirWalk {
    type Item = Result<DirName, WalkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_name(cx)
    }
}

impl fmt::Debug for DirWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirWalk({:?})", self.0.root)
    }
}
