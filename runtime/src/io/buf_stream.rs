//! A stream with buffers both ways.

use std::io;

use super::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, BufWriter, IntoInnerError};
use crate::buf::{IoBuf, IoBufMut};

/// Reads and writes a stream through buffers: a [`BufReader`] and a [`BufWriter`] of the same thing.
///
/// Where one side has to go on while the other waits, split the stream and give each half its own.
///
/// # Cancel safety
///
/// As [`BufReader`] and [`BufWriter`]. A read waits for a write that a dropped call has begun.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncBufReadExt, BufStream};
///
/// corering_runtime::run(async {
///     let mut stream = BufStream::new(io::join(io::Cursor::new("question\n"), Vec::new()));
///     let mut line = String::new();
///     stream.read_line(&mut line).await?;
///     stream.write_all(b"answer\n").await?;
///     stream.flush().await?;
///     assert_eq!((line.as_str(), &stream.into_inner().await?.into_inner().1[..]), ("question\n", &b"answer\n"[..]));
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct BufStream<S>(BufReader<BufWriter<S>>);

impl<S: AsyncRead + AsyncWrite> BufStream<S> {
    /// With buffers of sizes that suit the stream.
    #[track_caller]
    pub fn new(stream: S) -> Self {
        Self(BufReader::new(BufWriter::new(stream)))
    }

    /// With buffers of so many bytes to read into, and to collect.
    #[track_caller]
    pub fn with_capacity(read: usize, write: usize, stream: S) -> Self {
        Self(BufReader::with_capacity(read, BufWriter::with_capacity(write, stream)))
    }

    /// The stream itself; `None` while a write is under way, which a call that was dropped has begun.
    pub fn get_ref(&self) -> Option<&S> {
        self.0.get_ref().get_ref()
    }

    /// The stream itself; `None` while a write is under way, which a call that was dropped has begun.
    pub fn get_mut(&mut self) -> Option<&mut S> {
        self.0.get_mut().get_mut()
    }

    /// Flushes, and gives the stream back. What has been read and not been taken is lost.
    ///
    /// # Errors
    ///
    /// As [`BufWriter::into_inner`].
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::into_inner`].
    pub async fn into_inner(self) -> Result<S, IntoInnerError<S>> {
        self.0.into_inner().into_inner().await
    }

    /// Reads into `into`; see [`BufReader::read`].
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufReader::read`].
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).await
    }

    /// Fills `into`; see [`BufReader::read_exact`].
    ///
    /// # Errors
    ///
    /// What the stream says, and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    ///
    /// # Cancel safety
    ///
    /// As [`BufReader::read_exact`].
    pub async fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(into).await
    }

    /// Reads until the stream ends; see [`BufReader::read_to_end`].
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufReader::read_to_end`].
    pub async fn read_to_end(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_to_end(into).await
    }

    /// Reads text until the stream ends; see [`BufReader::read_to_string`].
    ///
    /// # Errors
    ///
    /// What the stream says, and [`InvalidData`](io::ErrorKind::InvalidData).
    ///
    /// # Cancel safety
    ///
    /// As [`BufReader::read_to_string`].
    pub async fn read_to_string(&mut self, into: &mut String) -> io::Result<usize> {
        self.0.read_to_string(into).await
    }

    /// Takes `bytes`; see [`BufWriter::write`].
    ///
    /// # Errors
    ///
    /// What came of writing what was collected before.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::write`].
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes).await
    }

    /// Takes all of `bytes`; see [`BufWriter::write_all`].
    ///
    /// # Errors
    ///
    /// What came of writing what was collected before.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::write_all`].
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes).await
    }

    /// Writes all that was collected; see [`BufWriter::flush`].
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::flush`].
    pub async fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush().await
    }

    /// Writes all that was collected, and says that nothing more will come; see [`BufWriter::shutdown`].
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::shutdown`].
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.0.get_mut().shutdown().await
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncRead for BufStream<S> {
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        AsyncRead::read(&mut self.0, buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.0.put_back(bytes);
    }

    fn block_bytes(&self) -> usize {
        self.0.block_bytes()
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncBufRead for BufStream<S> {
    #[inline]
    fn buffer(&self) -> &[u8] {
        self.0.buffer()
    }

    fn fill_more(&mut self) -> impl Future<Output = io::Result<usize>> {
        self.0.fill_more()
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncWrite for BufStream<S> {
    fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        AsyncWrite::write(self.0.get_mut(), buffer)
    }

    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        AsyncWrite::write_all(self.0.get_mut(), buffer)
    }

    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        self.0.get_mut().settled()
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        self.0.get_mut().flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        self.0.get_mut().shutdown()
    }
}
