//! An open file.

use std::fmt;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::op::{
    Descriptor, Link, Metadata, Op, Read, ReadVectored, Stat, Sync, Truncate, Write, WriteAll, WriteVectored,
};

use crate::OpenOptions;
use crate::stream::{self, Source};
use corering_runtime::op::plain;

/// An open file.
///
/// Reads and writes take a buffer and give it back with the result, also on error. Those with a position
/// (`read_at`, `write_at`) can go on side by side; those without one ([`read`](Self::read), [`write`](Self::write))
/// move the file's own position, which is kept here and not in the kernel.
///
/// What changes the file and is dropped in flight happens all the same, and everything later on this file waits for
/// it: so it never lands after something that was asked for later.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-file-{}", std::process::id()));
/// use corering_fs::File;
///
/// corering_runtime::run(async {
///     let file = File::create(&path).await?;
///     file.write_all_at("hello, world", 0).await.0?;
///     file.sync_all().await?;
///     file.close().await?;
///
///     let file = File::open(&path).await?;
///     let (count, buffer) = file.read_at(Vec::with_capacity(5), 7).await;
///     assert_eq!((count?, &buffer[..]), (5, &b"world"[..]));
///     std::io::Result::Ok(())
/// })??;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct File {
    descriptor: Descriptor,
    position: u64,
    append: bool,
    source: Source,
}

impl File {
    pub(crate) fn new(descriptor: Descriptor, append: bool) -> Self {
        Self { descriptor, position: 0, append, source: Source::Unknown }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// What `open(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; a file that was opened all the same is closed again.
    ///
    /// # Kernel
    ///
    /// As [`OpenOptions::open`]: at once if its names are cached, else by the ring.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for writing: made if it is not there, cut to nothing if it is.
    ///
    /// # Errors
    ///
    /// What `open(2)` says.
    ///
    /// # Cancel safety
    ///
    /// As [`OpenOptions::open`].
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT`, which a kernel worker does.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// All the ways to open a file.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file that was opened otherwise. Its position is where it was, and if it was opened for appending, it
    /// still is.
    pub fn from_std(file: std::fs::File) -> Self {
        Self::from(OwnedFd::from(file))
    }

    /// Makes a file of a descriptor that stays whose it is: of another number for the same open file, which is closed with
    /// this. Python's `closefd=False`.
    ///
    /// The number itself could not be borrowed: an operation may be under way though its future was dropped, and the number
    /// name something else by then. As the open file is the same, so are its locks, whether it is appended to, and the
    /// kernel's position, which this one only begins at. What a dropped read of a pipe has taken is given to the next read of
    /// this one and its clones, not to the other number.
    ///
    /// # Errors
    ///
    /// What `fcntl(2)` says, such as that there are too many descriptors.
    ///
    /// # Kernel
    ///
    /// `F_DUPFD_CLOEXEC` of `fcntl(2)`, in the core.
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("corering-borrowed-{}", std::process::id()));
    /// use corering_fs::File;
    /// use std::io::Write;
    ///
    /// let mut theirs = std::fs::File::create(&path)?;
    /// corering_runtime::run(async {
    ///     let file = File::from_borrowed(&theirs)?;
    ///     file.write_all_at("from here", 0).await.0?;
    ///     file.close().await
    /// })??;
    /// theirs.write_all(b"From")?;
    /// assert_eq!(std::fs::read(&path)?, b"From here");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_borrowed(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_open(plain::duplicate(file)?))
    }

    /// Its position is the kernel's.
    fn from_open(descriptor: Descriptor) -> Self {
        let (position, append) = (descriptor.position(), descriptor.is_append());
        Self { position: position.unwrap_or(0), ..Self::new(descriptor, append) }
    }

    /// Reads from `offset` into the room of `buffer`, as much as goes at once; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// What `pread(2)` says, such as `EINVAL` if it was opened for direct I/O and something is not aligned;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the buffer has no room.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; the buffer goes with it. [`Op::cancel`] and [`Op::deadline`] give the buffer back.
    ///
    /// # Kernel
    ///
    /// `preadv2(2)` with `RWF_NOWAIT` for what is in the page cache, `IORING_OP_READ` for the rest.
    #[inline]
    pub fn read_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> Op<Read<B>> {
        Op::new(Read::at(&self.descriptor, buffer, exact(offset)))
    }

    /// Reads from `offset` into several buffers in turn, as much as goes at once.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at).
    pub fn read_vectored_at<B: IoBufMut>(&self, buffers: Vec<B>, offset: u64) -> Op<ReadVectored<B>> {
        Op::new(ReadVectored::at(&self.descriptor, buffers, exact(offset)))
    }

    /// Writes at `offset`, as much as goes at once.
    ///
    /// # Errors
    ///
    /// What `pwrite(2)` says, such as that the disk is full.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_WRITE`, mostly done by a kernel worker.
    pub fn write_at<B: IoBuf>(&self, buffer: B, offset: u64) -> Op<Write<B>> {
        Op::new(Write::at(&self.descriptor, buffer, exact(offset)))
    }

    /// Writes all of `buffer` at `offset`.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at), and [`WriteZero`](io::ErrorKind::WriteZero) if the file takes no more.
    ///
    /// # Cancel safety
    ///
    /// As [`write_at`](Self::write_at), for the part that the kernel has taken over.
    pub fn write_all_at<B: IoBuf>(&self, buffer: B, offset: u64) -> Op<WriteAll<B>> {
        Op::new(WriteAll::at(&self.descriptor, buffer, exact(offset)))
    }

    /// Writes several buffers in turn at `offset`, as much as goes at once.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub fn write_vectored_at<B: IoBuf>(&self, buffers: Vec<B>, offset: u64) -> Op<WriteVectored<B>> {
        Op::new(WriteVectored::at(&self.descriptor, buffers, exact(offset)))
    }

    /// Reads from the file's position into the room of `buffer`, and moves the position past what was read.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not moved the position. Of what has none (a named pipe, a terminal) it has taken nothing: what
    /// arrives nevertheless is given to the next read, of this handle or another one of the same file.
    pub async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        let (result, buffer) = match self.is_stream() && !buffer.room().is_empty() {
            true => stream::read(&self.descriptor, buffer).await,
            false => self.read_at(buffer, self.position).await,
        };
        if let Ok(count) = result {
            self.position += count as u64;
        }
        (result, buffer)
    }

    /// Writes at the file's position (or at its end, if it was opened for appending), and moves the position past
    /// what was written.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same but does not move the position: what is written next overwrites
    /// it (or, when appending, follows it).
    pub async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let (result, buffer) = Op::new(Write::at(&self.descriptor, buffer, self.write_position())).await;
        if let Ok(count) = result {
            self.position += count as u64;
        }
        (result, buffer)
    }

    /// Writes all of `buffer` at the file's position (or at its end, if it was opened for appending).
    ///
    /// # Errors
    ///
    /// As [`write_all_at`](Self::write_all_at). The position then stands where it stood.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same, and the position is behind it: what is written next follows it. Dropped
    /// while it waits for another that was dropped, it has done nothing.
    pub async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        self.settle().await;
        let (before, count) = (self.position, buffer.as_slice().len() as u64);
        let write = Op::new(WriteAll::at(&self.descriptor, buffer, self.write_position()));
        // Nothing is waited for any more: it is submitted when it is first polled, which is now.
        self.position += count;
        let (result, buffer) = write.await;
        if result.is_err() {
            self.position = before;
        }
        (result, buffer)
    }

    /// The file's position: where the next [`read`](Self::read) or [`write`](Self::write) is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Sets the file's position.
    pub fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// Brings data and metadata to the disk, as `fsync(2)`.
    ///
    /// # Errors
    ///
    /// What `fsync(2)` says, such as that something written before could not be brought there.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FSYNC`, which a kernel worker does.
    pub async fn sync_all(&self) -> io::Result<()> {
        Op::new(Sync::all(&self.descriptor)).await
    }

    /// Brings data, and the metadata that reading it back needs, to the disk, as `fdatasync(2)`.
    ///
    /// # Errors
    ///
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Cancel safety
    ///
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Kernel
    ///
    /// As [`sync_all`](Self::sync_all).
    pub async fn sync_data(&self) -> io::Result<()> {
        Op::new(Sync::data(&self.descriptor)).await
    }

    /// Cuts or extends the file to `bytes`.
    ///
    /// # Errors
    ///
    /// What `ftruncate(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FTRUNCATE` since Linux 6.9, which a kernel worker does; before, `ftruncate(2)` in the core.
    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        Op::new(Truncate::to(&self.descriptor, bytes)).await
    }

    /// What the system knows of the file.
    ///
    /// # Errors
    ///
    /// What `statx(2)` says.
    ///
    /// # Kernel
    ///
    /// A plain `statx(2)`: the inode of an open file is in memory. It waits for a dropped write that is in flight.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        std::future::poll_fn(|cx| self.descriptor.poll_settled(cx)).await;
        Stat::of(&self.descriptor)
    }

    /// Gives the file one more name: also one that was opened as [`temporary`](OpenOptions::temporary) and has none.
    ///
    /// # Errors
    ///
    /// What `linkat(2)` says: [`AlreadyExists`](io::ErrorKind::AlreadyExists) if something has that name,
    /// [`NotFound`](io::ErrorKind::NotFound) if the file had names and has lost them all.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; whatever comes later on names of this core waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_LINKAT` from /proc/self/fd, which a kernel worker does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    /// # let path = folder.join(format!("link-{}", std::process::id()));
    /// use corering_fs::File;
    ///
    /// corering_runtime::run(async {
    ///     let file = File::options().write(true).temporary(true).open(folder).await?;
    ///     file.write_all_at("whole, or not there", 0).await.0?;
    ///     file.link(&path).await?;
    ///     file.close().await
    /// })??;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn link(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::future::poll_fn(|cx| self.descriptor.poll_settled(cx)).await;
        Op::new(Link::of_open(&self.descriptor, crate::c_path(path.as_ref())?)).await
    }

    /// Another handle of the same open file, with a position of its own, which begins where this one's is. Locks are
    /// shared; what was dropped on one is waited for on both. The file is closed when both have gone, so
    /// [`close`](Self::close) of the first fails.
    ///
    /// # Errors
    ///
    /// None: it is a result for the sake of those who know it from `std`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (descriptor, position, append) = (self.descriptor.clone(), self.position, self.append);
        Ok(Self { descriptor, position, append, source: Source::Unknown })
    }

    /// Gives the file away, once what was dropped and is still in flight has ended. Its position is moved to this one's.
    ///
    /// # Errors
    ///
    /// The file comes back with each of them. [`WouldBlock`](io::ErrorKind::WouldBlock) if it has no positions (a named pipe, a
    /// terminal), and a dropped read has taken something of it: [`read`](Self::read) that, it is there at once.
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) while a clone or an operation still uses it.
    /// [`Unsupported`](io::ErrorKind::Unsupported) for a file of a simulated world.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the file in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_fs::File;
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
    /// let mut pipe = File::from(std::os::fd::OwnedFd::from(reader));
    /// let mut pipe = corering_runtime::run(async {
    ///     writer.write_all(b"some")?;
    ///     let (count, mut bytes) = pipe.read(Vec::with_capacity(100)).await;
    ///     assert_eq!(count?, 4);
    ///     loop {
    ///         match pipe.into_std().await {
    ///             Ok(pipe) => return std::io::Result::Ok(pipe),
    ///             Err(error) if error.error.kind() == ErrorKind::WouldBlock => pipe = error.file,
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///         bytes = pipe.read(bytes).await.1;
    ///     }
    /// })??;
    /// writer.write_all(b"more")?;
    /// pipe.read_exact(&mut [0; 4])?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn into_std(self) -> Result<std::fs::File, IntoStdError> {
        let seekable = self.descriptor.is_seekable();
        let position = self.position;
        let mut file = match self.descriptor.into_owned().await {
            Ok(owned) => std::fs::File::from(owned),
            Err((error, descriptor)) => return Err(IntoStdError { error, file: Self { descriptor, ..self } }),
        };
        if seekable {
            if let Err(error) = file.seek(SeekFrom::Start(position)) {
                return Err(IntoStdError { error, file: Self { position, ..Self::from_std(file) } });
            }
        }
        Ok(file)
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        plain::is_terminal(self.as_fd())
    }

    /// What is open, for operations of [`corering_runtime::op`].
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Waits for what was dropped and is still in flight, closes the file, and says how that went.
    ///
    /// Dropping the file closes it in the background.
    ///
    /// # Errors
    ///
    /// What `close(2)` says; [`ResourceBusy`](io::ErrorKind::ResourceBusy) while an operation on it is under way
    /// elsewhere.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the file in the background.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_CLOSE`.
    pub async fn close(self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.descriptor.poll_settled(cx)).await;
        self.descriptor.close().await
    }

    /// Whether it has no positions.
    pub(crate) fn is_stream(&mut self) -> bool {
        self.source.is_stream(&self.descriptor)
    }

    /// What is open, and the position, if it has any.
    pub(crate) fn placed(&mut self) -> Option<(&Descriptor, &mut u64)> {
        if self.is_stream() { None } else { Some((&self.descriptor, &mut self.position)) }
    }

    /// Takes back what was read last.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>) {
        self.position = self.position.saturating_sub(bytes.len() as u64);
        if self.is_stream() {
            self.descriptor.put_back(bytes);
        }
    }

    /// Waits until no dropped operation can change the file any more.
    pub(crate) async fn settle(&self) {
        std::future::poll_fn(|cx| self.descriptor.poll_settled(cx)).await;
    }

    /// Where a write goes: the kernel itself finds the end of what is appended to.
    pub(crate) fn write_position(&self) -> u64 {
        if self.append { u64::MAX } else { self.position }
    }
}

/// A file could not be given away, as [`File::into_std`] does.
#[derive(Debug)]
pub struct IntoStdError {
    /// Why.
    pub error: io::Error,
    /// It is as it was.
    pub file: File,
}

impl fmt::Display for IntoStdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot give the file away: {}", self.error)
    }
}

impl std::error::Error for IntoStdError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<IntoStdError> for io::Error {
    fn from(error: IntoStdError) -> Self {
        error.error
    }
}

/// As [`File::from_std`].
impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self::from_std(file)
    }
}

/// As [`File::from_std`].
impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        Self::from_open(Descriptor::new(fd))
    }
}

/// An offset, never the number that stands for the kernel's own position, which nobody here means. The kernel refuses what
/// it becomes, as all that is so large.
#[inline]
fn exact(offset: u64) -> u64 {
    offset.min(u64::MAX - 1)
}

impl AsRef<Descriptor> for File {
    fn as_ref(&self) -> &Descriptor {
        &self.descriptor
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({:?} at {})", self.descriptor, self.position)
    }
}
