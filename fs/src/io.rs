//! A file as a stream: the traits of [`corering_runtime::io`].

use std::io::{self, SeekFrom};

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncReadAt, AsyncReadAtExt, AsyncSeek, AsyncWrite, AsyncWriteAt};

use crate::File;
use corering_runtime::op::Descriptor;

/// What a buffered reader reads of a file at once.
const BLOCK: usize = 64 * 1024;

impl File {
    /// Fills all the room of `buffer` from `offset` on, without moving any file position.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at), and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the file ends before. The buffer
    /// then holds what had come.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; the buffer goes with it.
    pub async fn read_exact_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> (io::Result<()>, B) {
        AsyncReadAtExt::read_exact_at(self, buffer, offset).await
    }

    /// Moves the file's position, and says where it is then.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if that is before the start; from the end, also as
    /// [`metadata`](Self::metadata).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not moved the position.
    ///
    /// # Kernel
    ///
    /// None, since the position is kept here; from the end, as [`metadata`](Self::metadata).
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("corering-seek-{}", std::process::id()));
    /// use corering_runtime::io::{self, SeekFrom};
    ///
    /// corering_runtime::run(async {
    ///     corering_fs::write(&path, "hello, world").await?;
    ///     let mut file = corering_fs::File::open(&path).await?;
    ///     assert_eq!(file.seek(SeekFrom::End(-5)).await?, 7);
    ///     let (result, buffer) = file.read(Vec::with_capacity(64)).await;
    ///     assert_eq!((result?, &buffer[..]), (5, &b"world"[..]));
    ///     io::Result::Ok(())
    /// })??;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), io::Error>(())
    /// ```
    pub async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position().checked_add_signed(by),
            SeekFrom::End(by) => self.metadata().await?.len().checked_add_signed(by),
        };
        self.set_position(checked(position)?);
        Ok(self.position())
    }
}

/// A position that a file can have: the kernel counts in signed numbers.
pub(crate) fn checked(position: Option<u64>) -> io::Result<u64> {
    let position = position.filter(|position| i64::try_from(*position).is_ok());
    position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file has that position"))
}

/// From the file's position on.
impl AsyncRead for File {
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        File::read(self, buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        File::put_back(self, bytes);
    }

    async fn read_vectored<B: IoBufMut>(&mut self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        let mut buffers = buffers;
        if self.is_stream() {
            return match buffers.iter_mut().position(|buffer| !buffer.room().is_empty()) {
                Some(first) => {
                    let (result, buffer) = File::read(self, buffers.remove(first)).await;
                    buffers.insert(first, buffer);
                    (result, buffers)
                }
                None => self.read_vectored_at(buffers, self.position()).await,
            };
        }
        let (result, buffers) = self.read_vectored_at(buffers, self.position()).await;
        if let Ok(count) = result {
            self.set_position(self.position() + count as u64);
        }
        (result, buffers)
    }

    fn block_bytes(&self) -> usize {
        BLOCK
    }

    fn passing_file(&mut self) -> Option<(&Descriptor, &mut u64)> {
        self.placed()
    }
}

/// At the file's position, or at its end if it was opened for appending.
impl AsyncWrite for File {
    fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        File::write(self, buffer)
    }

    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        File::write_all(self, buffer)
    }

    async fn settled(&mut self) -> io::Result<()> {
        self.settle().await;
        Ok(())
    }

    /// Does not bring it to the disk: that is [`sync_all`](File::sync_all).
    async fn flush(&mut self) -> io::Result<()> {
        self.settle().await;
        Ok(())
    }

    /// A file has no other side: as [`flush`](AsyncWrite::flush).
    async fn shutdown(&mut self) -> io::Result<()> {
        self.settle().await;
        Ok(())
    }
}

impl AsyncReadAt for File {
    #[inline]
    fn read_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<usize>, B)> {
        File::read_at(self, buffer, offset)
    }

    fn read_vectored_at<B: IoBufMut>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        File::read_vectored_at(self, buffers, offset)
    }
}

impl AsyncWriteAt for File {
    fn write_at<B: IoBuf>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<usize>, B)> {
        File::write_at(self, buffer, offset)
    }

    fn write_all_at<B: IoBuf>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<()>, B)> {
        File::write_all_at(self, buffer, offset)
    }

    fn write_vectored_at<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        File::write_vectored_at(self, buffers, offset)
    }
}

impl AsyncSeek for File {
    fn seek(&mut self, to: SeekFrom) -> impl Future<Output = io::Result<u64>> {
        File::seek(self, to)
    }
}
