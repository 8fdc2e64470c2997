//! Temporary files and folders, which nobody else can open by chance, and which go when they are not needed any more.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, SeekFrom};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncSeek, AsyncWrite};
use corering_runtime::op::{MakeDir, Op, Rename};

use crate::atomic::make;
use crate::doomed::{Doomed, DoomedFolder, TRIES, draw_name};
use crate::{File, OpenOptions};

const BEGIN: &str = ".tmp";

/// For reading and writing, and for this user alone.
fn private() -> OpenOptions {
    OpenOptions::new().read(true).write(true).mode(0o600)
}

/// Makes a file without a name, in the system's folder for temporary files (`TMPDIR`, or /tmp). It goes when it is
/// closed.
///
/// # Errors
///
/// What `open(2)` says.
///
/// # Cancel safety
///
/// Dropped, it leaves nothing.
///
/// # Kernel
///
/// `IORING_OP_OPENAT` with `O_TMPFILE`; where a file system does not know that, a file is made and its name removed.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let file = corering_fs::tempfile().await?;
///     file.write_all_at("for a moment", 0).await.0?;
///     assert_eq!(file.metadata().await?.len(), 12);
///     file.close().await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn tempfile() -> io::Result<File> {
    tempfile_in(std::env::temp_dir()).await
}

/// Likewise, in a given folder, on whose file system it then is.
///
/// # Errors
///
/// As [`tempfile`].
///
/// # Cancel safety
///
/// As [`tempfile`].
///
/// # Kernel
///
/// As [`tempfile`].
pub async fn tempfile_in(folder: impl AsRef<Path>) -> io::Result<File> {
    let folder = folder.as_ref();
    match private().custom_flags(libc::O_TMPFILE | libc::O_EXCL).open(folder).await {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            let (doomed, file) = make(folder, OsStr::new(BEGIN), OsStr::new(""), private()).await?;
            doomed.remove().await?;
            Ok(file)
        }
        opened => opened,
    }
}

/// A temporary file with a name. It is removed when this is dropped.
///
/// # Examples
///
/// ```
/// # let kept = std::env::temp_dir().join(format!("corering-kept-{}", std::process::id()));
/// use corering_fs::NamedTempFile;
///
/// corering_runtime::run(async {
///     let file = NamedTempFile::new().await?;
///     file.file().write_all_at("worth keeping", 0).await.0?;
///     let file = file.persist(&kept).await?;
///     file.close().await
/// })??;
/// assert_eq!(std::fs::read(&kept)?, b"worth keeping");
/// # std::fs::remove_file(&kept)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NamedTempFile {
    /// Before the file, so that its name goes first.
    name: Doomed,
    file: File,
}

impl NamedTempFile {
    /// Makes one in the system's folder for temporary files (`TMPDIR`, or /tmp), for this user alone.
    ///
    /// # Errors
    ///
    /// What `open(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing.
    pub async fn new() -> io::Result<Self> {
        Self::new_in(std::env::temp_dir()).await
    }

    /// Likewise, in a given folder.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn new_in(folder: impl AsRef<Path>) -> io::Result<Self> {
        Self::builder().dir(folder).create().await
    }

    /// All that can be said of it before it is made.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_fs::NamedTempFile;
    ///
    /// corering_runtime::run(async {
    ///     let file = NamedTempFile::builder().prefix("report-").suffix(".log").create().await?;
    ///     let name = file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ///     assert!(name.starts_with("report-") && name.ends_with(".log"));
    ///     file.close().await
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder() -> TempBuilder<Self> {
        TempBuilder::new()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.name.path()
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file, to be read or written where its position is.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it another name, on the same file system, for good. What has that name loses it.
    ///
    /// Nothing is brought to the disk; for that, and for the permissions of what was there, see
    /// [`AtomicFile`](crate::AtomicFile).
    ///
    /// # Errors
    ///
    /// What `rename(2)` says, and the file, which is still a temporary one.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has the other name, or it is removed.
    pub async fn persist(self, path: impl AsRef<Path>) -> Result<File, PersistError> {
        self.rename(path.as_ref(), false).await
    }

    /// Likewise, unless something has that name.
    ///
    /// # Errors
    ///
    /// As [`persist`](Self::persist); [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    ///
    /// # Cancel safety
    ///
    /// As [`persist`](Self::persist).
    pub async fn persist_no_replace(self, path: impl AsRef<Path>) -> Result<File, PersistError> {
        self.rename(path.as_ref(), true).await
    }

    async fn rename(self, path: &Path, no_replace: bool) -> Result<File, PersistError> {
        let renamed = match (crate::c_path(self.path()), crate::c_path(path)) {
            (Ok(from), Ok(to)) => {
                let rename = Rename::new(from, to);
                Op::new(if no_replace { rename.no_replace() } else { rename }).await
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        match renamed {
            Ok(()) => {
                self.name.spare();
                Ok(self.file)
            }
            Err(error) => Err(PersistError { error, file: self }),
        }
    }

    /// Lets it stay, and says where it is.
    pub fn keep(self) -> (File, PathBuf) {
        (self.file, self.name.spare())
    }

    /// Removes it, and says how that went.
    ///
    /// # Errors
    ///
    /// What `unlink(2)` says; not if its name is gone already.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it removes it in the background.
    pub async fn close(self) -> io::Result<()> {
        self.name.remove().await
    }
}

/// A temporary file could not be given another name.
#[derive(Debug)]
pub struct PersistError {
    /// Why.
    pub error: io::Error,
    /// It is as it was.
    pub file: NamedTempFile,
}

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot give {} another name: {}", self.file.path().display(), self.error)
    }
}

impl Error for PersistError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<PersistError> for io::Error {
    fn from(error: PersistError) -> Self {
        error.error
    }
}

/// A temporary folder. It is removed, with all that is in it, when this is dropped.
///
/// # Examples
///
/// ```
/// use corering_fs::TempDir;
///
/// corering_runtime::run(async {
///     let folder = TempDir::new().await?;
///     corering_fs::write(folder.path().join("file"), "within").await?;
///     folder.close().await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TempDir(DoomedFolder);

impl TempDir {
    /// Makes one in the system's folder for temporary files (`TMPDIR`, or /tmp), for this user alone.
    ///
    /// # Errors
    ///
    /// What `mkdir(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing.
    pub async fn new() -> io::Result<Self> {
        Self::new_in(std::env::temp_dir()).await
    }

    /// Likewise, in a given folder.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn new_in(folder: impl AsRef<Path>) -> io::Result<Self> {
        Self::builder().dir(folder).create().await
    }

    /// All that can be said of it before it is made.
    pub fn builder() -> TempBuilder<Self> {
        TempBuilder::new()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Lets it stay, and says where it is.
    pub fn keep(self) -> PathBuf {
        self.0.spare()
    }

    /// Removes it with all that is in it, and says how that went.
    ///
    /// # Errors
    ///
    /// As [`remove_dir_all`](crate::remove_dir_all). What is left then stays.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it removes the rest in the background.
    pub async fn close(self) -> io::Result<()> {
        let removed = crate::remove_dir_all(self.path()).await;
        self.0.spare();
        removed
    }
}

/// How a [`NamedTempFile`] or a [`TempDir`] is called, and where it is made.
#[derive(Debug)]
#[must_use = "nothing is made before `create`"]
pub struct TempBuilder<T> {
    prefix: OsString,
    suffix: OsString,
    folder: Option<PathBuf>,
    makes: PhantomData<fn() -> T>,
}

impl<T> TempBuilder<T> {
    fn new() -> Self {
        Self { prefix: OsString::from(BEGIN), suffix: OsString::new(), folder: None, makes: PhantomData }
    }

    /// How its name begins; ".tmp" if nothing is said. The first 200 bytes count.
    pub fn prefix(self, prefix: impl AsRef<OsStr>) -> Self {
        Self { prefix: prefix.as_ref().to_owned(), ..self }
    }

    /// How its name ends; with nothing more if nothing is said.
    pub fn suffix(self, suffix: impl AsRef<OsStr>) -> Self {
        Self { suffix: suffix.as_ref().to_owned(), ..self }
    }

    /// The folder in which it is made; the system's for temporary files (`TMPDIR`, or /tmp) if nothing is said.
    pub fn dir(self, folder: impl AsRef<Path>) -> Self {
        Self { folder: Some(folder.as_ref().to_path_buf()), ..self }
    }

    /// The folder, if the rest can stand in one name.
    fn folder(&self) -> io::Result<PathBuf> {
        if [&self.prefix, &self.suffix].iter().any(|part| part.as_bytes().contains(&b'/')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name that is made of a prefix has no slash"));
        }
        Ok(self.folder.clone().unwrap_or_else(std::env::temp_dir))
    }
}

impl TempBuilder<NamedTempFile> {
    /// Makes the file, for this user alone.
    ///
    /// # Errors
    ///
    /// What `open(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the prefix or the suffix has a slash.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing.
    pub async fn create(self) -> io::Result<NamedTempFile> {
        let (name, file) = make(&self.folder()?, &self.prefix, &self.suffix, private()).await?;
        Ok(NamedTempFile { name, file })
    }
}

impl TempBuilder<TempDir> {
    /// Makes the folder, for this user alone.
    ///
    /// # Errors
    ///
    /// What `mkdir(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the prefix or the suffix has a slash.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing.
    pub async fn create(self) -> io::Result<TempDir> {
        let folder = self.folder()?;
        for _ in 0..TRIES {
            let path = folder.join(draw_name(&self.prefix, &self.suffix));
            match Op::new(MakeDir::new(crate::c_path(&path)?, 0o700).undone_if_dropped()).await {
                Ok(()) => return Ok(TempDir(DoomedFolder::new(path))),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name that was drawn is taken"))
    }
}

/// Bytes that are kept in memory while they are few, and in a [`tempfile`] when they are more.
///
/// It has a position, which reads and writes move, and which is at first at the start.
///
/// # Examples
///
/// ```
/// use corering_fs::SpooledTempFile;
///
/// corering_runtime::run(async {
///     let mut spool = SpooledTempFile::new(10);
///     spool.write_all("short").await.0?;
///     assert!(!spool.is_rolled());
///     spool.write_all(", and longer").await.0?;
///     assert!(spool.is_rolled());
///     let (count, bytes) = spool.read_at(Vec::with_capacity(100), 3).await;
///     assert_eq!((count?, &bytes[..]), (14, &b"rt, and longer"[..]));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SpooledTempFile {
    most: usize,
    /// Where the file is made; the system's folder if this is `None`.
    folder: Option<PathBuf>,
    len: u64,
    position: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    InMemory(Vec<u8>),
    InFile(File),
}

impl SpooledTempFile {
    /// Keeps up to `most` bytes in memory.
    pub fn new(most: usize) -> Self {
        Self { most, folder: None, len: 0, position: 0, bytes: Bytes::InMemory(Vec::new()) }
    }

    /// Likewise; when they are more, the file is made in a given folder.
    pub fn new_in(most: usize, folder: impl AsRef<Path>) -> Self {
        Self { folder: Some(folder.as_ref().to_path_buf()), ..Self::new(most) }
    }

    /// Writes all of `buffer` at the position, which as long as nothing else moves it is behind what was written
    /// before.
    ///
    /// # Errors
    ///
    /// As [`tempfile`] and [`File::write_all_at`]. Nothing counts as written then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing counts as written, and the position is where it was. What was written before is still there,
    /// unless this was about to overwrite it.
    pub async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        let bytes = buffer.as_slice().len();
        if bytes == 0 {
            return (Ok(()), buffer);
        }
        if let Err(error) = self.make_room(bytes).await {
            return (Err(error), buffer);
        }
        let (result, buffer) = match &mut self.bytes {
            Bytes::InMemory(memory) => {
                overwrite(memory, self.position as usize, buffer.as_slice());
                (Ok(()), buffer)
            }
            Bytes::InFile(file) => file.write_all_at(buffer, self.position).await,
        };
        if result.is_ok() {
            self.move_behind(bytes);
        }
        (result, buffer)
    }

    /// Decides where `bytes` more at the position are kept.
    async fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if self.position.saturating_add(bytes as u64) > self.most as u64 {
            self.roll().await?;
        }
        match &self.bytes {
            // What a dropped write has left behind the end does not count, so it is not between the end and this.
            Bytes::InFile(file) if self.position > self.len => file.set_len(self.len).await,
            Bytes::InFile(_) | Bytes::InMemory(_) => Ok(()),
        }
    }

    fn move_behind(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.len = self.len.max(self.position);
    }

    /// The position: where the next read or write is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Moves the position, and says where it is then.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if that is before the start.
    ///
    /// # Cancel safety
    ///
    /// It waits for nothing.
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = crate::io::checked(match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        })?;
        Ok(self.position)
    }

    /// Waits until nothing that was dropped can change the file any more.
    async fn settle(&self) -> io::Result<()> {
        if let Bytes::InFile(file) = &self.bytes {
            file.settle().await;
        }
        Ok(())
    }

    /// Reads from `offset` into the room of `buffer`, as much as goes at once; 0 at the end.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`].
    ///
    /// # Cancel safety
    ///
    /// As [`File::read_at`].
    pub async fn read_at<B: IoBufMut>(&self, mut buffer: B, offset: u64) -> (io::Result<usize>, B) {
        if buffer.room().is_empty() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the buffer has no room to read into");
            return (Err(error), buffer);
        }
        match &self.bytes {
            Bytes::InMemory(memory) => {
                let from = usize::try_from(offset).map_or(memory.len(), |offset| offset.min(memory.len()));
                let count = buffer.fill_from(&memory[from..]);
                (Ok(count), buffer)
            }
            // What a dropped write has left behind the end does not count.
            Bytes::InFile(file) => {
                let most = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
                if most == 0 {
                    return (Ok(0), buffer);
                }
                let (result, buffer) = file.read_at(buffer.limit(most), offset).await;
                (result, buffer.into_inner())
            }
        }
    }

    /// How many bytes it holds.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether they are in a file.
    pub fn is_rolled(&self) -> bool {
        matches!(self.bytes, Bytes::InFile(_))
    }

    /// Moves them into a file, if they are not in one.
    ///
    /// # Errors
    ///
    /// As [`tempfile`] and [`File::write_all_at`]. They then stay in memory.
    ///
    /// # Cancel safety
    ///
    /// Dropped, they stay in memory.
    pub async fn roll(&mut self) -> io::Result<()> {
        let Bytes::InMemory(memory) = &self.bytes else {
            return Ok(());
        };
        let file = match &self.folder {
            Some(folder) => tempfile_in(folder).await?,
            None => tempfile().await?,
        };
        // A copy: if the write is given up or fails, these are still here.
        file.write_all_at(memory.clone(), 0).await.0?;
        self.bytes = Bytes::InFile(file);
        Ok(())
    }

    /// The file that holds them, which is made if there is none. Its position is where this one is.
    ///
    /// # Errors
    ///
    /// As [`roll`](Self::roll).
    ///
    /// # Cancel safety
    ///
    /// Dropped, the bytes go with it.
    pub async fn into_file(mut self) -> io::Result<File> {
        self.roll().await?;
        match self.bytes {
            Bytes::InFile(mut file) => {
                // What a dropped write has left behind the end does not count.
                file.set_len(self.len).await?;
                file.set_position(self.position);
                Ok(file)
            }
            Bytes::InMemory(_) => unreachable!("just moved into a file"),
        }
    }
}

/// Puts `new` at an offset; what is missing before it are zeroes.
fn overwrite(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

/// From the position on.
impl AsyncRead for SpooledTempFile {
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let (result, buffer) = self.read_at(buffer, self.position).await;
        if let Ok(count) = result {
            self.position += count as u64;
        }
        (result, buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.position = self.position.saturating_sub(bytes.len() as u64);
    }
}

/// At the position.
impl AsyncWrite for SpooledTempFile {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let bytes = buffer.as_slice().len();
        let (result, buffer) = SpooledTempFile::write_all(self, buffer).await;
        (result.map(|()| bytes), buffer)
    }

    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        SpooledTempFile::write_all(self, buffer)
    }

    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        self.settle()
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        self.settle()
    }

    /// It has no other side: as [`flush`](AsyncWrite::flush).
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        self.settle()
    }
}

impl AsyncSeek for SpooledTempFile {
    fn seek(&mut self, to: SeekFrom) -> impl Future<Output = io::Result<u64>> {
        SpooledTempFile::seek(self, to)
    }
}
