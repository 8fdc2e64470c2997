//! The room that files take: had before they are written, given back, and how much is left.

use std::io;
use std::path::Path;

use corering_runtime::op::plain::{self, Space, Subject};
use corering_runtime::op::{Advise, Fallocate, Op, SyncRange};

use crate::{File, c_path, elsewhere};

/// How full the file system is that has `path`.
///
/// # Errors
///
/// What `statvfs(3)` says.
///
/// # Kernel
///
/// `statfs(2)` on the blocking pool: there is no opcode.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let space = corering_fs::statvfs("/").await?;
///     assert!(space.available_bytes() <= space.total_bytes());
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn statvfs(path: impl AsRef<Path>) -> io::Result<Space> {
    elsewhere::look(c_path(path.as_ref())?, |path| plain::space(Subject::path(&path, true))).await
}

/// How a part of a file is going to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// In no special way.
    Normal,
    /// From its beginning to its end: the kernel reads further ahead.
    Sequential,
    /// Here and there: the kernel reads nothing ahead.
    Random,
    /// Soon: the kernel begins to read it.
    WillNeed,
    /// Not soon: what of it is in the page cache, and written to the disk, may leave it.
    DontNeed,
    /// Once.
    NoReuse,
}

/// The most that one piece of advice is about.
const MOST: u64 = 1 << 30;

impl File {
    /// Makes sure that there is room for a range, and makes the file as long as it reaches. What is not yet written
    /// reads as zeroes.
    ///
    /// # Errors
    ///
    /// What `fallocate(2)` says: [`StorageFull`](io::ErrorKind::StorageFull) if there is not enough, `EOPNOTSUPP` if the
    /// file system cannot do it.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FALLOCATE`, which a kernel worker does.
    pub async fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        Op::new(Fallocate::new(self.descriptor(), 0, offset, bytes)).await
    }

    /// As [`allocate`](Self::allocate), but the file stays as long as it is.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// # Cancel safety
    ///
    /// As [`allocate`](Self::allocate).
    pub async fn allocate_keep_len(&self, offset: u64, bytes: u64) -> io::Result<()> {
        Op::new(Fallocate::new(self.descriptor(), libc::FALLOC_FL_KEEP_SIZE, offset, bytes)).await
    }

    /// Gives the room of a range back: it reads as zeroes. The file stays as long as it is.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// # Cancel safety
    ///
    /// As [`allocate`](Self::allocate).
    pub async fn punch_hole(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        Op::new(Fallocate::new(self.descriptor(), mode, offset, bytes)).await
    }

    /// Makes a range read as zeroes, without writing them, and the file as long as it reaches. The range keeps its room.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate).
    ///
    /// # Cancel safety
    ///
    /// As [`allocate`](Self::allocate).
    pub async fn zero_range(&self, offset: u64, bytes: u64) -> io::Result<()> {
        Op::new(Fallocate::new(self.descriptor(), libc::FALLOC_FL_ZERO_RANGE, offset, bytes)).await
    }

    /// Tells the kernel how a range is going to be used; 0 bytes are all to the end of the file.
    ///
    /// # Errors
    ///
    /// What `posix_fadvise(2)` says: `ESPIPE` for a pipe.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FADVISE`.
    pub async fn advise(&self, advice: Advice, offset: u64, bytes: u64) -> io::Result<()> {
        let number = match advice {
            Advice::Normal => libc::POSIX_FADV_NORMAL,
            Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
            Advice::Random => libc::POSIX_FADV_RANDOM,
            Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
            Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
            Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
        };
        in_parts(offset, bytes, async |offset, bytes| {
            Op::new(Advise::new(self.descriptor(), number, offset, bytes)).await
        })
        .await
    }

    /// Begins to write what is dirty of a range to the disk; 0 bytes are all to the end of the file. That is not waited
    /// for, and makes nothing durable: [`sync_data`](Self::sync_data) does.
    ///
    /// # Errors
    ///
    /// What `sync_file_range(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SYNC_FILE_RANGE`, which a kernel worker does.
    pub async fn sync_range(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.sync_range_as(libc::SYNC_FILE_RANGE_WRITE, offset, bytes).await
    }

    /// As [`sync_range`](Self::sync_range), and waits until the disk has taken it. What the disk itself caches, and how
    /// long the file is, may be lost with the power even then.
    ///
    /// # Errors
    ///
    /// As [`sync_range`](Self::sync_range).
    ///
    /// # Cancel safety
    ///
    /// As [`sync_range`](Self::sync_range).
    pub async fn sync_range_wait(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        self.sync_range_as(all, offset, bytes).await
    }

    async fn sync_range_as(&self, flags: u32, offset: u64, bytes: u64) -> io::Result<()> {
        in_parts(offset, bytes, async |offset, bytes| {
            Op::new(SyncRange::new(self.descriptor(), flags, offset, bytes)).await
        })
        .await
    }
}

/// Does something with a range, by parts that the kernel can be told.
async fn in_parts(mut offset: u64, mut bytes: u64, part: impl AsyncFn(u64, u32) -> io::Result<()>) -> io::Result<()> {
    while bytes > MOST {
        part(offset, MOST as u32).await?;
        (offset, bytes) = (offset.saturating_add(MOST), bytes - MOST);
    }
    part(offset, bytes as u32).await
}
