//! An open directory, and paths that begin in it and do not lead out of it.
//!
//! Invariant: a call is made on a directory that was reached without leaving, and on one name in it that the kernel does
//! not follow. So whatever somebody else does to the names meanwhile, what is opened or changed lies below.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use corering_runtime::op::plain;
use corering_runtime::op::{
    Descriptor, FileType, Link, MakeDir, Metadata, Name, Op, OpenAt, Permissions, Rename, Resolve, Stat, Symlink, Sync,
    Unlink, change_names_elsewhere, poll_names_settled,
};
use futures_core::Stream;

use crate::{DirEntry, File, OpenOptions, ReadDir, c_path, dir, elsewhere, remove};

const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY;

/// An open directory. Its paths begin in it, wherever it is moved, and do not lead out of it: neither by `..`, nor by
/// an absolute path, nor by a symbolic link (`EXDEV`); also not if somebody changes names while they are followed.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-beneath-{}", std::process::id()));
/// use corering_fs::{self as fs, Dir};
///
/// corering_runtime::run(async {
///     fs::create_dir(&path).await?;
///     let dir = Dir::open(&path).await?;
///     dir.create_dir("uploads").await?;
///     let file = dir.create_file("uploads/one").await?;
///     file.write_all_at("from a stranger", 0).await.0?;
///     file.close().await?;
///     assert!(dir.open_file("uploads/../../secret").await.is_err());
///     dir.symlink("/etc", "uploads/etc").await?;
///     assert!(dir.open_file("uploads/etc/hostname").await.is_err());
///     # dir.remove_file("uploads/etc").await?;
///     dir.remove_file("uploads/one").await?;
///     dir.remove_dir("uploads").await?;
///     fs::remove_dir(&path).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Dir {
    descriptor: Descriptor,
}

impl Dir {
    /// Opens a directory, wherever the path leads.
    ///
    /// # Errors
    ///
    /// What `open(2)` says: [`NotADirectory`](io::ErrorKind::NotADirectory) if it is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; what was opened all the same is closed again.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT` with `O_DIRECTORY`.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let descriptor = Op::new(OpenAt::new(c_path(path.as_ref())?, DIRECTORY, 0)).await?;
        Ok(Self { descriptor })
    }

    /// Takes over a directory that was opened otherwise.
    pub fn from_std(directory: std::fs::File) -> Self {
        Self { descriptor: Descriptor::new(directory.into()) }
    }

    /// Opens a directory in it.
    ///
    /// # Errors
    ///
    /// What `openat2(2)` says: [`CrossesDevices`](io::ErrorKind::CrossesDevices) if the path leads out.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2` with `RESOLVE_BENEATH`.
    pub async fn open_dir(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let name = Name::below(&self.descriptor, c_path(path.as_ref())?);
        let descriptor = Op::new(OpenAt::at(name, DIRECTORY, 0).resolve(Resolve::BENEATH)).await?;
        Ok(Self { descriptor })
    }

    /// Opens a file in it for reading.
    ///
    /// # Errors
    ///
    /// As [`open_dir`](Self::open_dir).
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2` with `RESOLVE_BENEATH`.
    pub async fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(OpenOptions::new().read(true), path).await
    }

    /// Opens a file in it for writing: made if it is not there, cut to nothing if it is.
    ///
    /// # Errors
    ///
    /// As [`open_dir`](Self::open_dir).
    ///
    /// # Cancel safety
    ///
    /// As [`OpenOptions::open`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2` with `RESOLVE_BENEATH`, which a kernel worker does.
    pub async fn create_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(OpenOptions::new().write(true).create(true).truncate(true), path).await
    }

    /// Opens a file in it with all the ways to open a file. What the options say of how the path is followed counts
    /// beside that it does not lead out: with [`Resolve::IN_ROOT`] the directory is taken as the root instead.
    ///
    /// # Errors
    ///
    /// As [`open_dir`](Self::open_dir); [`InvalidInput`](io::ErrorKind::InvalidInput) if the options contradict each
    /// other.
    ///
    /// # Cancel safety
    ///
    /// As [`OpenOptions::open`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2` with `RESOLVE_BENEATH`; with `create` or `truncate` a kernel worker does it.
    pub async fn open_with(&self, options: OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
        options.open_below(&self.descriptor, path.as_ref()).await
    }

    /// What the system knows of what is at `path`, links followed as long as they do not lead out.
    ///
    /// # Errors
    ///
    /// As [`open_dir`](Self::open_dir).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2` of the path alone (`O_PATH`), then a plain `statx(2)`: the inode is in memory.
    pub async fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        Stat::of(&self.reach(path.as_ref(), 0).await?)
    }

    /// What the system knows of what is at `path`, also if that is a link.
    ///
    /// # Errors
    ///
    /// As [`open_dir`](Self::open_dir).
    ///
    /// # Kernel
    ///
    /// As [`metadata`](Self::metadata).
    pub async fn symlink_metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        Stat::of(&self.reach(path.as_ref(), libc::O_NOFOLLOW).await?)
    }

    /// Makes a directory in it.
    ///
    /// # Errors
    ///
    /// What `mkdirat(2)` says; [`CrossesDevices`](io::ErrorKind::CrossesDevices) if the path leads out.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; whatever comes later on names of this core waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_MKDIRAT`, which a kernel worker does; before it, if the path has several parts, `IORING_OP_OPENAT2`
    /// of what is above the last one.
    pub async fn create_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        Op::new(MakeDir::new(self.name(path.as_ref()).await?, 0o777)).await
    }

    /// Makes a directory in it, and those above it that are not there.
    ///
    /// # Errors
    ///
    /// As [`create_dir`](Self::create_dir); not if there is such a directory.
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir), of each of them.
    pub async fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        // Upwards until one can be made, then down again.
        let mut missing = vec![path];
        while let Some(last) = missing.last().copied() {
            match self.create_dir(last).await {
                Ok(()) => {
                    missing.pop();
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => match last.parent() {
                    Some(above) if !above.as_os_str().is_empty() => missing.push(above),
                    Some(_) | None => return Err(error),
                },
                // Somebody else may have made it meanwhile.
                Err(error) => {
                    if !self.metadata(last).await.is_ok_and(|there| there.is_dir()) {
                        return Err(error);
                    }
                    missing.pop();
                }
            }
        }
        Ok(())
    }

    /// The names in a directory in it ("." is this one itself), in no order, without "." and "..".
    ///
    /// # Errors
    ///
    /// As [`open_dir`](Self::open_dir).
    ///
    /// # Cancel safety
    ///
    /// May be dropped; nothing is left open.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2`, then as [`read_dir`](crate::read_dir).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_fs::Dir;
    ///
    /// corering_runtime::run(async {
    ///     let dir = Dir::open("/etc").await?;
    ///     let mut names = dir.read_dir(".").await?;
    ///     while let Some(entry) = names.next().await {
    ///         let entry = entry?;
    ///         if entry.file_type().is_dir() {
    ///             println!("{}", entry.file_name().display());
    ///         }
    ///     }
    ///     dir.close().await
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_dir(&self, path: impl AsRef<Path>) -> io::Result<DirNames> {
        let path = path.as_ref();
        let directory = self.open_dir(path).await?;
        Ok(DirNames(dir::read_open(directory.descriptor, path).await?))
    }

    /// Whether something is at `path`, links followed as long as they do not lead out.
    ///
    /// # Errors
    ///
    /// As [`metadata`](Self::metadata), unless that says that nothing is there.
    pub async fn try_exists(&self, path: impl AsRef<Path>) -> io::Result<bool> {
        match self.metadata(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets the permissions of what is at `path`, which is no symbolic link.
    ///
    /// # Errors
    ///
    /// What `fchmodat(2)` says: `EOPNOTSUPP` for a symbolic link; [`CrossesDevices`](io::ErrorKind::CrossesDevices) if
    /// the path leads out.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it may happen; whatever comes later on names of this core waits for it.
    ///
    /// # Kernel
    ///
    /// `fchmodat(2)` on the blocking pool: there is no opcode.
    pub async fn set_permissions(&self, path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
        let (directory, last) = self.above(path.as_ref()).await?;
        let mode = permissions.mode();
        std::future::poll_fn(poll_names_settled).await;
        let (here, elsewhere) = change_names_elsewhere();
        let set = move |directory: &Descriptor| {
            let set = plain::set_mode(plain::Subject::below(directory, &last, false), mode);
            drop(elsewhere);
            set
        };
        let set = elsewhere::with_open(&directory, set).await;
        drop(here);
        set
    }

    /// Removes the name of anything that is no directory.
    ///
    /// # Errors
    ///
    /// What `unlinkat(2)` says; [`CrossesDevices`](io::ErrorKind::CrossesDevices) if the path leads out.
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir).
    ///
    /// # Kernel
    ///
    /// As [`create_dir`](Self::create_dir), with `IORING_OP_UNLINKAT`.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        Op::new(Unlink::file(self.name(path.as_ref()).await?)).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// As [`remove_file`](Self::remove_file).
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir).
    ///
    /// # Kernel
    ///
    /// As [`create_dir`](Self::create_dir), with `IORING_OP_UNLINKAT`.
    pub async fn remove_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        Op::new(Unlink::directory(self.name(path.as_ref()).await?)).await
    }

    /// Removes a directory in it and everything that is in that, as [`remove_dir_all`](crate::remove_dir_all) does. A link is
    /// removed, not what it leads to.
    ///
    /// # Errors
    ///
    /// As [`remove_dir_all`](crate::remove_dir_all); [`CrossesDevices`](io::ErrorKind::CrossesDevices) if the path leads out, and
    /// `EINVAL` for the directory itself.
    ///
    /// # Cancel safety
    ///
    /// As [`remove_dir_all`](crate::remove_dir_all).
    ///
    /// # Kernel
    ///
    /// As [`remove_dir_all`](crate::remove_dir_all), from the directory that `IORING_OP_OPENAT2` finds above the last name.
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("corering-dir-all-{}", std::process::id()));
    /// use corering_fs::{self as fs, Dir};
    ///
    /// corering_runtime::run(async {
    ///     fs::create_dir_all(path.join("uploads/one/two")).await?;
    ///     let dir = Dir::open(&path).await?;
    ///     dir.remove_dir_all("uploads/one").await?;
    ///     dir.remove_dir("uploads").await?;
    ///     fs::remove_dir(&path).await
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn remove_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (above, last) = self.above(path.as_ref()).await?;
        remove::remove_below(above, last).await
    }

    /// Gives what is at `from` the name `to` in `directory`, which may be this one, at once. What had that name before
    /// loses it.
    ///
    /// # Errors
    ///
    /// What `renameat2(2)` says; [`CrossesDevices`](io::ErrorKind::CrossesDevices) if a path leads out.
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir).
    ///
    /// # Kernel
    ///
    /// As [`create_dir`](Self::create_dir), with `IORING_OP_RENAMEAT`.
    pub async fn rename(&self, from: impl AsRef<Path>, directory: &Dir, to: impl AsRef<Path>) -> io::Result<()> {
        let from = self.name(from.as_ref()).await?;
        let to = directory.name(to.as_ref()).await?;
        Op::new(Rename::new(from, to)).await
    }

    /// As [`rename`](Self::rename), unless something has the name `to`.
    ///
    /// # Errors
    ///
    /// As [`rename`](Self::rename); [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir).
    pub async fn rename_no_replace(
        &self,
        from: impl AsRef<Path>,
        directory: &Dir,
        to: impl AsRef<Path>,
    ) -> io::Result<()> {
        let from = self.name(from.as_ref()).await?;
        let to = directory.name(to.as_ref()).await?;
        Op::new(Rename::new(from, to).no_replace()).await
    }

    /// Gives what is at `original` one more name, `link` in `directory`, which may be this one. Of a symbolic link it is
    /// the link itself that has it.
    ///
    /// # Errors
    ///
    /// What `linkat(2)` says; [`CrossesDevices`](io::ErrorKind::CrossesDevices) if a path leads out.
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir).
    pub async fn hard_link(
        &self,
        original: impl AsRef<Path>,
        directory: &Dir,
        link: impl AsRef<Path>,
    ) -> io::Result<()> {
        let (above, last) = self.above(original.as_ref()).await?;
        let original = Name::below(&above, last);
        let link = directory.name(link.as_ref()).await?;
        Op::new(Link::new(original, link)).await
    }

    /// Makes a symbolic link at `link`, which leads to `original`, wherever that is.
    ///
    /// # Errors
    ///
    /// What `symlinkat(2)` says; [`CrossesDevices`](io::ErrorKind::CrossesDevices) if the path of the link leads out.
    ///
    /// # Cancel safety
    ///
    /// As [`create_dir`](Self::create_dir).
    ///
    /// # Kernel
    ///
    /// As [`create_dir`](Self::create_dir), with `IORING_OP_SYMLINKAT`.
    pub async fn symlink(&self, original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
        let original = c_path(original.as_ref())?;
        Op::new(Symlink::new(original, self.name(link.as_ref()).await?)).await
    }

    /// Where a symbolic link leads, as it was made.
    ///
    /// # Errors
    ///
    /// What `readlinkat(2)` says: `ENOENT` if what is at `path` is none.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT2` of the path alone, then `readlinkat(2)` on the blocking pool.
    pub async fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let link = self.reach(path.as_ref(), libc::O_NOFOLLOW).await?;
        let target = elsewhere::with_open(&link, |link| plain::read_link_below(link, c"")).await?;
        Ok(OsString::from_vec(target).into())
    }

    /// Brings the names in it to the disk.
    ///
    /// # Errors
    ///
    /// What `fsync(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FSYNC`, which a kernel worker does.
    pub async fn sync_all(&self) -> io::Result<()> {
        // A name that was dropped on its way is there then, or is not.
        std::future::poll_fn(poll_names_settled).await;
        Op::new(Sync::all(&self.descriptor)).await
    }

    /// Closes it, and says how that went. Dropping it closes it in the background.
    ///
    /// # Errors
    ///
    /// What `close(2)` says; [`ResourceBusy`](io::ErrorKind::ResourceBusy) while it is used elsewhere.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes it in the background.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_CLOSE`.
    pub async fn close(self) -> io::Result<()> {
        self.descriptor.close().await
    }

    /// What is open.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Opens no more than the path.
    async fn reach(&self, path: &Path, flags: i32) -> io::Result<Descriptor> {
        let name = Name::below(&self.descriptor, c_path(path)?);
        Op::new(OpenAt::at(name, libc::O_PATH | flags, 0).resolve(Resolve::BENEATH)).await
    }

    /// The directory that has the last name of a path, reached without leaving, and that name, without slashes behind it: with
    /// one, a link would be followed.
    async fn above(&self, path: &Path) -> io::Result<(Descriptor, CString)> {
        let (above, last) = split(path)?;
        let last = c_path(Path::new(last).components().as_path())?;
        match above {
            None => Ok((self.descriptor.clone(), last)),
            Some(above) => Ok((self.reach(above, libc::O_DIRECTORY).await?, last)),
        }
    }

    /// The directory that has the last name of a path, reached without leaving, and that name.
    async fn name(&self, path: &Path) -> io::Result<Name> {
        let (above, last) = split(path)?;
        let last = c_path(Path::new(last))?;
        match above {
            None => Ok(Name::below(&self.descriptor, last)),
            Some(above) => {
                let directory = self.reach(above, libc::O_DIRECTORY).await?;
                Ok(Name::below(&directory, last))
            }
        }
    }
}

/// The names in a directory; made by [`Dir::read_dir`].
///
/// What is made or removed while it is read may be among them or not.
#[derive(Debug)]
pub struct DirNames(ReadDir);

impl DirNames {
    /// The next name; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// What `getdents64(2)` says. Then there are no more names.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no name.
    pub async fn next(&mut self) -> Option<io::Result<DirName>> {
        std::future::poll_fn(|cx| self.poll_name(cx)).await
    }

    fn poll_name(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<DirName>>> {
        self.0.poll_entry(cx).map_ok(DirName::new)
    }
}

impl Stream for DirNames {
    type Item = io::Result<DirName>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_name(cx)
    }
}

/// A name in a directory, from [`DirNames`] or [`DirWalk`](crate::DirWalk). More is known to the [`Dir`], as by
/// [`Dir::symlink_metadata`] of its path.
#[derive(Clone)]
pub struct DirName(DirEntry);

impl DirName {
    pub(crate) fn new(entry: DirEntry) -> Self {
        Self(entry)
    }

    /// The path from the [`Dir`]: that of what was read, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// How many directories a [walk](Dir::walk) has gone down to it: none to what it begins with.
    pub fn depth(&self) -> usize {
        self.0.depth()
    }

    /// What the system knows of it, if that was asked for along with the names
    /// ([`DirWalk::metadata`](crate::DirWalk::metadata)).
    pub fn known_metadata(&self) -> Option<&Metadata> {
        self.0.known_metadata()
    }

    /// The name alone.
    pub fn file_name(&self) -> &OsStr {
        self.0.file_name()
    }

    /// What it names; links are not followed.
    pub fn file_type(&self) -> FileType {
        self.0.file_type()
    }

    /// The number of what it names, within the file system.
    pub fn ino(&self) -> u64 {
        self.0.ino()
    }
}

impl fmt::Debug for DirName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirName({:?}, {:?})", self.file_name(), self.file_type())
    }
}

/// What is above the last name of a path, and that name with the slashes behind it.
fn split(path: &Path) -> io::Result<(Option<&Path>, &OsStr)> {
    let leads_out = || io::Error::from_raw_os_error(libc::EXDEV);
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let start = bytes[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    match &bytes[start..end] {
        _ if bytes.first() == Some(&b'/') => Err(leads_out()),
        b".." => Err(leads_out()),
        b"." => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        _ => {
            Ok(((start > 0).then(|| Path::new(OsStr::from_bytes(&bytes[..start]))), OsStr::from_bytes(&bytes[start..])))
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dir({:?})", self.descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_before_its_last_name() {
        let split = |path: &'static str| {
            let (above, last) = split(Path::new(path)).expect("below");
            (above.map(|above| above.to_str().expect("text")), last.to_str().expect("text"))
        };
        assert_eq!(split("a"), (None, "a"));
        assert_eq!(split("a/"), (None, "a/"));
        assert_eq!(split("a/b"), (Some("a/"), "b"));
        assert_eq!(split("a//b//"), (Some("a//"), "b//"));
        assert_eq!(split("../b"), (Some("../"), "b"));
        assert_eq!(split(""), (None, ""));
        assert_eq!(split("..."), (None, "..."));
    }

    #[test]
    fn a_path_that_leads_out_or_has_no_last_name_is_refused() {
        for (path, errno) in [
            ("/", libc::EXDEV),
            ("/a", libc::EXDEV),
            ("..", libc::EXDEV),
            ("a/..//", libc::EXDEV),
            ("a/.", libc::EINVAL),
        ] {
            assert_eq!(split(Path::new(path)).expect_err("refused").raw_os_error(), Some(errno), "{path}");
        }
    }
}
