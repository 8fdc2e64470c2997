//! Files that are replaced as a whole: whoever looks, now or after a loss of power, finds the old or the new contents.
//!
//! ```text
//!   create .name.<digits>.tmp --> write --> fsync --> rename over name --> fsync of the folder
//!              dropped, or an error up to here: removed ----+
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use corering_runtime::buf::IoBuf;
use corering_runtime::io::{AsyncSeek, AsyncWrite};
use corering_runtime::op::{Op, Permissions, Rename};

use crate::doomed::{Doomed, TRIES, draw_name, is_drawn, is_drawn_from_any};
use crate::{File, OpenOptions};

/// How the names of such temporary files begin and end.
const BEGIN: &str = ".";
const END: &str = ".tmp";

/// Replaces a file by one that holds `bytes`, or makes it: as a whole, and durably.
///
/// Whoever opens the file finds the old or the new contents, never a mixture and never nothing; so does whoever looks
/// after a loss of power at any moment. When this has returned, it is the new ones. See [`AtomicFile`], of which this
/// is the short form.
///
/// # Errors
///
/// As [`AtomicFile::commit`].
///
/// # Cancel safety
///
/// Dropped, the file holds the old or the new contents.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-atomic-{}", std::process::id()));
/// corering_runtime::run(corering_fs::write_atomic(&path, "all or nothing"))??;
/// assert_eq!(std::fs::read(&path)?, b"all or nothing");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn write_atomic(path: impl AsRef<Path>, bytes: impl IoBuf) -> io::Result<()> {
    let mut file = AtomicFile::create(path).await?;
    file.write_all(bytes).await.0?;
    file.commit().await
}

/// A file that takes the place of another when it is complete.
///
/// It is written under another name in the same folder, and nobody sees anything of it before
/// [`commit`](Self::commit). Dropped before, it is removed. If the machine fails meanwhile, that temporary file may be
/// left: [`is_leftover`](Self::is_leftover) knows it by its name.
///
/// It gets the permissions of the file that it replaces; its owner, times, links and attributes are those of a new
/// file. A symbolic link is itself replaced, not what it leads to.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-atomic-file-{}", std::process::id()));
/// use corering_fs::AtomicFile;
///
/// corering_runtime::run(async {
///     let mut file = AtomicFile::create(&path).await?;
///     for line in 0..3 {
///         file.write_all(format!("line {line}\n")).await.0?;
///     }
///     assert!(!path.exists());
///     file.commit().await
/// })??;
/// assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 3);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropped without `commit`, it is removed"]
pub struct AtomicFile {
    /// Before the file, so that its name goes first.
    temporary: Doomed,
    file: File,
    path: PathBuf,
    /// A write has failed, or was dropped, so that nobody knows: what is there is perhaps not what was meant.
    failed: bool,
}

impl AtomicFile {
    /// Makes the temporary file.
    ///
    /// # Errors
    ///
    /// What `open(2)` and `statx(2)` say; [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` names no file, such
    /// as "/" or "..".
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_path_buf();
        let Some(name) = path.file_name() else {
            let text = format!("{} is not the path of a file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let before = before(name);
        let mode = match crate::symlink_metadata(&path).await {
            Ok(found) if found.is_file() => Some(found.mode() & 0o7777),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // What was not for everybody is not for a moment.
        let options = OpenOptions::new().write(true).create_new(true).mode(if mode.is_some() { 0o600 } else { 0o666 });
        let (temporary, file) = make(&folder_of(&path), &before, OsStr::new(END), options).await?;
        if let Some(mode) = mode {
            file.set_permissions(Permissions::from_mode(mode)).await?;
        }
        Ok(Self { temporary, file, path, failed: false })
    }

    /// Writes all of `buffer` behind what was written before.
    ///
    /// # Errors
    ///
    /// As [`File::write_all`]. It cannot be committed then.
    ///
    /// # Cancel safety
    ///
    /// As [`File::write_all`]: what is written next follows it. Since nobody learns whether it went well, the file cannot be
    /// committed any more.
    pub async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        let before = std::mem::replace(&mut self.failed, true);
        let (result, buffer) = self.file.write_all(buffer).await;
        self.failed = before || result.is_err();
        (result, buffer)
    }

    /// The temporary file, to be written in other ways: at an offset, or [behind](File::sink). All of that has to be
    /// over before [`commit`](Self::commit), and whether it went well is for the caller to look at.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Likewise, to be written where its position is, or to move that.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where the temporary file is.
    pub fn temporary_path(&self) -> &Path {
        self.temporary.path()
    }

    /// Brings the contents to the disk, gives the file its name, and brings that to the disk, too.
    ///
    /// # Errors
    ///
    /// What `fsync(2)` and `rename(2)` say; the old contents are then untouched, and the temporary file is removed.
    /// Also what the `fsync(2)` of the folder says: then the new contents are there, but may be gone after a loss of
    /// power, and the old ones back.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the file holds the old or the new contents.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FSYNC` of the file, `IORING_OP_RENAMEAT`, `IORING_OP_FSYNC` of the folder.
    pub async fn commit(self) -> io::Result<()> {
        let Self { temporary, file, path, failed } = self;
        if failed {
            return Err(io::Error::other("cannot commit: a write has failed before, or was dropped"));
        }
        // Opened first: if that fails, nothing has happened.
        let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder_of(&path)).await?;
        file.sync_all().await?;
        let (from, to) = (crate::c_path(temporary.path())?, crate::c_path(&path)?);
        Op::new(Rename::new(from, to)).await?;
        temporary.spare();
        folder.sync_all().await
    }

    /// Removes the temporary file, and waits until that has happened.
    ///
    /// # Errors
    ///
    /// What `unlink(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it removes the file in the background.
    pub async fn discard(self) -> io::Result<()> {
        self.temporary.remove().await
    }

    /// Whether a name (or the last part of a path) is that of such a temporary file, for `of` or, if that is `None`,
    /// for any file: one that is found when a program starts is of a run that has failed, and may be removed.
    ///
    /// Of a name the first 199 bytes count: no more of it is in that of the temporary file.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_fs::AtomicFile;
    ///
    /// assert!(AtomicFile::is_leftover(".settings.0123456789abcdef.tmp", Some("settings".as_ref())));
    /// assert!(!AtomicFile::is_leftover("settings", None));
    /// ```
    pub fn is_leftover(path: impl AsRef<Path>, of: Option<&OsStr>) -> bool {
        path.as_ref().file_name().is_some_and(|name| match of {
            Some(of) => is_drawn(name, &before(of), END),
            None => is_drawn_from_any(name, BEGIN, END),
        })
    }
}

/// What stands before the digits in the name of the temporary file for `name`.
fn before(name: &OsStr) -> OsString {
    let mut before = OsString::from(BEGIN);
    before.push(name);
    before.push(".");
    before
}

/// At the position of the temporary file. After a write that has failed or was dropped, it cannot be committed.
impl AsyncWrite for AtomicFile {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let before = std::mem::replace(&mut self.failed, true);
        let (result, buffer) = self.file.write(buffer).await;
        self.failed = before || result.is_err();
        (result, buffer)
    }

    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        AtomicFile::write_all(self, buffer)
    }

    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        AsyncWrite::settled(&mut self.file)
    }

    /// Brings nothing to the disk: that is [`commit`](AtomicFile::commit).
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        AsyncWrite::flush(&mut self.file)
    }

    /// As [`flush`](AsyncWrite::flush): it still has to be [committed](AtomicFile::commit).
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        AsyncWrite::shutdown(&mut self.file)
    }
}

impl AsyncSeek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> impl Future<Output = io::Result<u64>> {
        self.file.seek(to)
    }
}

impl fmt::Debug for AtomicFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AtomicFile({} for {})", self.temporary.path().display(), self.path.display())
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Makes a file in `folder` under a name that nobody has.
pub(crate) async fn make(
    folder: &Path,
    before: &OsStr,
    after: &OsStr,
    options: OpenOptions,
) -> io::Result<(Doomed, File)> {
    let options = options.create_new(true).undone_if_dropped();
    for _ in 0..TRIES {
        let path = folder.join(draw_name(before, after));
        match options.open(&path).await {
            Ok(file) => return Ok((Doomed::new(path), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name that was drawn is taken"))
}
