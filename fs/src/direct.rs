//! Direct I/O: between the disk and a program's own memory, without the page cache.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use corering_runtime::buf::AlignedBuf;
use corering_runtime::op::{Descriptor, DirectSlot, FixedFile, Metadata, Op, PutDirect, ReadFixed, Stat, WriteFixed};

use crate::{File, OpenOptions};

/// What direct I/O keeps to where the kernel does not tell: enough for every device in use.
const SAFE: u32 = 4096;

/// A file that is read and written without the page cache (`O_DIRECT`).
///
/// Offsets and lengths are multiples of [`alignment`](Self::alignment), and the bytes lie in [`AlignedBuf`]s. The file
/// is registered with the ring of the core that opens it, and so is the memory when it is first used: that saves a good
/// part of what an operation costs. Where they cannot be registered (too many files, a limit on locked memory) and on
/// other cores everything works all the same.
///
/// What is written is on the device, but not safe from a loss of power before [`sync_data`](Self::sync_data) has ended:
/// devices have caches of their own, and the file's length is metadata.
///
/// # Examples
///
/// ```
/// # let path = std::env::current_dir()?.join(format!("corering-direct-{}", std::process::id()));
/// use corering_fs::DirectFile;
/// use corering_runtime::buf::AlignedBuf;
///
/// corering_runtime::run(async {
///     let file = match DirectFile::create(&path).await {
///         Ok(file) => file,
///         Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(()),
///         Err(error) => return Err(error),
///     };
///     let mut buffer = AlignedBuf::new(8192);
///     buffer.resize(8192, 7);
///     let (written, mut buffer) = file.write_all_at(buffer, 0).await;
///     written?;
///     file.sync_data().await?;
///
///     buffer.clear();
///     let (count, buffer) = file.read_at(buffer, 4096).await;
///     assert_eq!((count?, buffer[0]), (4096, 7));
///     file.close().await
/// })??;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct DirectFile {
    /// Before the file, so that its hold on the descriptor goes first.
    fixed: FixedFile,
    file: File,
    memory: u32,
}

impl DirectFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open_direct`].
    ///
    /// # Cancel safety
    ///
    /// As [`OpenOptions::open`].
    ///
    /// # Kernel
    ///
    /// As [`OpenOptions::open_direct`].
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open_direct(path).await
    }

    /// Opens a file for reading and writing: made if it is not there, cut to nothing if it is.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open_direct`].
    ///
    /// # Cancel safety
    ///
    /// As [`OpenOptions::open`].
    ///
    /// # Kernel
    ///
    /// As [`OpenOptions::open_direct`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open_direct(path).await
    }

    /// All the ways to open a file, for [`open_direct`](OpenOptions::open_direct).
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    async fn of(file: File) -> io::Result<Self> {
        let descriptor = file.descriptor();
        let (memory, blocks) = match Stat::alignment(descriptor)? {
            Some(told) if told.blocks == 0 => return Err(unsupported()),
            Some(told) => (told.memory.max(1), told.blocks),
            None => (SAFE, SAFE),
        };
        let slot = put(descriptor).await;
        Ok(Self { fixed: FixedFile::new(descriptor, slot, blocks), file, memory })
    }

    pub(crate) fn fixed(&self) -> &FixedFile {
        &self.fixed
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What offsets and lengths must be multiples of, in bytes: a power of two, mostly 512 or 4096.
    ///
    /// # Kernel
    ///
    /// `statx(2)` with `STATX_DIOALIGN`, since Linux 6.1. Where a file system does not say, 4096.
    pub fn alignment(&self) -> usize {
        self.fixed.multiple() as usize
    }

    /// What memory must be aligned to. What [`AlignedBuf::new`] gives is aligned to more.
    pub fn memory_alignment(&self) -> usize {
        self.memory as usize
    }

    /// Whether operations of this core go by the ring's own table of files.
    pub fn is_registered(&self) -> bool {
        self.fixed.is_registered()
    }

    /// Reads from `offset` into the room of `buffer`; 0 at the end of the file, and less than there is room for before
    /// it.
    ///
    /// # Errors
    ///
    /// What `pread(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the offset or the room is not aligned
    /// (it says which, and to what), or if there is no room.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; the buffer goes with it, back to its pool when the kernel has let go. [`Op::cancel`] and
    /// [`Op::deadline`] give the buffer back.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_READ_FIXED`; `IORING_OP_READ` for a buffer that is not registered.
    #[inline]
    pub fn read_at(&self, buffer: AlignedBuf, offset: u64) -> Op<ReadFixed> {
        self.fixed.read_at(buffer, offset)
    }

    /// Writes all that `buffer` holds, at `offset`.
    ///
    /// To leave something at the end that is no multiple, write the whole block and then cut the file:
    /// [`set_len`](Self::set_len).
    ///
    /// # Errors
    ///
    /// What `pwrite(2)` says, such as that the disk is full; [`InvalidInput`](io::ErrorKind::InvalidInput) if the
    /// offset or the length is not aligned (it says which, and to what); [`WriteZero`](io::ErrorKind::WriteZero) if the
    /// file takes no more. A part may have been written.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_WRITE_FIXED`; `IORING_OP_WRITE` for a buffer that is not registered. One that makes the file longer
    /// is done by a kernel worker, one at a time.
    #[inline]
    pub fn write_all_at(&self, buffer: AlignedBuf, offset: u64) -> Op<WriteFixed> {
        self.fixed.write_all_at(buffer, offset)
    }

    /// Brings data and metadata to the disk; see [`File::sync_all`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all().await
    }

    /// Brings data, and the metadata that reading it back needs, to the disk; see [`File::sync_data`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().await
    }

    /// Cuts or extends the file to `bytes`, which need not be aligned; see [`File::set_len`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes).await
    }

    /// What the system knows of the file; see [`File::metadata`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata().await
    }

    /// Waits for what was dropped and is still in flight, closes the file, and says how that went; see [`File::close`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn close(self) -> io::Result<()> {
        let Self { fixed, file, .. } = self;
        drop(fixed);
        file.close().await
    }
}

impl OpenOptions {
    /// Opens `path` for direct I/O.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); [`Unsupported`](io::ErrorKind::Unsupported) if the file system has no direct I/O for
    /// this file.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    ///
    /// # Kernel
    ///
    /// `IORING_OP_OPENAT` with `O_DIRECT`, a plain `statx(2)` of the open file, and `IORING_OP_FILES_UPDATE`.
    pub async fn open_direct(&self, path: impl AsRef<Path>) -> io::Result<DirectFile> {
        let path = path.as_ref();
        match self.clone().direct(true).open(path).await {
            Ok(file) => DirectFile::of(file).await,
            // Without direct I/O in general; but what else is wrong with the options is said so, too.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                match OpenOptions::new().read(true).open(path).await {
                    Ok(_) => Err(unsupported()),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for DirectFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Puts the file into the ring's table, if there is a place in it.
async fn put(descriptor: &Descriptor) -> Option<DirectSlot> {
    let slot = DirectSlot::take_lasting()?;
    Op::new(PutDirect::new(descriptor, slot)).await.ok()
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this file system has no direct I/O for this file (O_DIRECT): open it as a File",
    )
}
