//! What a copy is to be like.

use std::io;
use std::path::Path;

use crate::copy::{self, Copied};

/// What a copy is to be like. As it is, it is that of [`copy`](crate::copy()) and [`copy_tree`](crate::copy_tree): what is
/// there is overwritten, and permissions and holes are kept.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("corering-copy-options-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let (from, to) = (folder.join("from"), folder.join("to"));
/// use corering_fs::{self as fs, CopyOptions};
///
/// corering_runtime::run(async {
///     fs::write(&from, "hello").await?;
///     let options = CopyOptions::new().times(true).overwrite(false);
///     options.copy(&from, &to).await?;
///     assert_eq!(fs::metadata(&to).await?.modified(), fs::metadata(&from).await?.modified());
///     let error = options.copy(&from, &to).await.unwrap_err();
///     assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
///     fs::remove_dir_all(&folder).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until copy or copy_tree is called"]
pub struct CopyOptions {
    pub(crate) of_file: OfFile,
    pub(crate) follow_links: bool,
    pub(crate) at_once: usize,
}

/// What the copy of one file is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfFile {
    pub(crate) overwrite: bool,
    pub(crate) permissions: bool,
    pub(crate) times: bool,
    pub(crate) ownership: bool,
    pub(crate) holes: bool,
    pub(crate) reflink: Reflink,
}

/// Whether a copy shares its contents with the original, until one of them is changed: then it takes no time and no room.
/// Some file systems can, such as Btrfs and XFS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reflink {
    /// Where the file system can.
    #[default]
    Auto,
    /// Or else it is an error.
    Always,
    /// Never: the bytes are read and written.
    Never,
}

/// Files of a tree that are copied side by side, unless another number was asked for.
const AT_ONCE: usize = 32;

impl CopyOptions {
    /// As [`copy`](crate::copy()) and [`copy_tree`](crate::copy_tree) do it.
    pub fn new() -> Self {
        Self {
            of_file: OfFile {
                overwrite: true,
                permissions: true,
                times: false,
                ownership: false,
                holes: true,
                reflink: Reflink::Auto,
            },
            follow_links: false,
            at_once: AT_ONCE,
        }
    }

    /// Whether files and links that are there are overwritten, which they are unless it is set otherwise: else they are the
    /// error [`AlreadyExists`](io::ErrorKind::AlreadyExists). Folders that are there are filled in any case.
    pub fn overwrite(mut self, on: bool) -> Self {
        self.of_file.overwrite = on;
        self
    }

    /// Whether permissions are kept, which they are unless it is set otherwise: else what is made has them less the umask,
    /// and what is there keeps its own.
    pub fn permissions(mut self, on: bool) -> Self {
        self.of_file.permissions = on;
        self
    }

    /// Whether it is kept when each was last read and changed. Not unless it is set.
    pub fn times(mut self, on: bool) -> Self {
        self.of_file.times = on;
        self
    }

    /// Whether the user and the group are kept. Not unless it is set; to give files to others takes privileges
    /// (`CAP_CHOWN`).
    pub fn ownership(mut self, on: bool) -> Self {
        self.of_file.ownership = on;
        self
    }

    /// Whether holes are kept, which they are unless it is set otherwise: else the zeros in them are written, and the copy
    /// shares nothing.
    pub fn holes(mut self, on: bool) -> Self {
        self.of_file.holes = on;
        self
    }

    /// Whether a copy shares its contents with the original. Where the file system can, unless it is set otherwise.
    pub fn reflink(mut self, reflink: Reflink) -> Self {
        self.of_file.reflink = reflink;
        self
    }

    /// Copies what the links of a tree lead to, also if it is outside of the tree, and not the links. Not unless it is set.
    /// A link that leads nowhere, or to a folder above it, is an error then. (Of a single file it makes no difference:
    /// the link is always followed.)
    pub fn follow_links(mut self, on: bool) -> Self {
        self.follow_links = on;
        self
    }

    /// How many files of a tree are copied side by side, at least one; 32 unless it is set. Each holds two
    /// descriptors.
    pub fn concurrency(mut self, files: usize) -> Self {
        self.at_once = files.max(1);
        self
    }

    /// Copies a file, as [`copy`](crate::copy()) does it.
    ///
    /// # Errors
    ///
    /// As [`copy`](crate::copy()). That it is there, if it is not to be overwritten; what `FICLONE` says, if contents have
    /// to be shared; [`InvalidInput`](io::ErrorKind::InvalidInput) if they have to be shared without the holes.
    ///
    /// # Cancel safety
    ///
    /// As [`copy`](crate::copy()).
    pub async fn copy(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
        self.check()?;
        copy::file(from.as_ref(), to.as_ref(), self.of_file).await
    }

    /// Copies a folder with everything in it, as [`copy_tree`](crate::copy_tree) does it.
    ///
    /// # Errors
    ///
    /// As [`copy_tree`](crate::copy_tree) and [`copy`](Self::copy).
    ///
    /// # Cancel safety
    ///
    /// As [`copy_tree`](crate::copy_tree).
    pub async fn copy_tree(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<Copied> {
        self.check()?;
        copy::tree(from.as_ref(), to.as_ref(), self).await
    }

    fn check(&self) -> io::Result<()> {
        if self.of_file.reflink == Reflink::Always && !self.of_file.holes {
            let text = "a copy that shares its contents has the holes, too";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}
