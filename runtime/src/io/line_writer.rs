//! A writer that collects lines.

use std::io;

use memchr::{memchr, memrchr};

use super::{AsyncWrite, BufWriter};
use crate::buf::IoBuf;

/// Collects what is written, and writes it when a line is complete: for people who watch.
///
/// # Cancel safety
///
/// As [`BufWriter`], but a call that completes a line takes its bytes first, and then writes: dropped meanwhile it has taken
/// them, and they go out by the next call.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, LineWriter};
///
/// corering_runtime::run(async {
///     let mut writer = LineWriter::new(Vec::new());
///     writer.write_all(b"one\ntw").await?;
///     assert_eq!(writer.get_ref().unwrap(), b"one\n");
///     writer.write_all(b"o\n").await?;
///     assert_eq!(writer.get_ref().unwrap(), b"one\ntwo\n");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct LineWriter<W>(BufWriter<W>);

impl<W> LineWriter<W> {
    /// Collects lines of up to 1 KiB: of a longer one the start is written before it is complete.
    #[track_caller]
    pub fn new(writer: W) -> Self {
        Self::with_capacity(1024, writer)
    }

    /// Collects lines of up to so many bytes.
    #[track_caller]
    pub fn with_capacity(bytes: usize, writer: W) -> Self {
        Self(BufWriter::with_capacity(bytes, writer))
    }

    /// The writer itself; see [`BufWriter::get_ref`].
    pub fn get_ref(&self) -> Option<&W> {
        self.0.get_ref()
    }

    /// The writer itself; see [`BufWriter::get_mut`].
    pub fn get_mut(&mut self) -> Option<&mut W> {
        self.0.get_mut()
    }
}

impl<W: AsyncWrite> LineWriter<W> {
    /// Takes all of `bytes`, and writes the lines that are complete then.
    ///
    /// # Errors
    ///
    /// What the writer says. What has not been written is kept.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken all of `bytes`, or (while it waits for room) nothing.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        if memchr(b'\n', bytes).is_some() { self.write_lines().await } else { Ok(()) }
    }

    /// Writes all that was collected, and flushes the writer; see [`BufWriter::flush`].
    ///
    /// # Errors
    ///
    /// What the writer says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::flush`].
    pub async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    /// Writes all that was collected, and says that nothing more will come; see [`BufWriter::shutdown`].
    ///
    /// # Errors
    ///
    /// What the writer says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::shutdown`].
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    async fn write_lines(&mut self) -> io::Result<()> {
        let collected = self.0.buffer();
        let begun = memrchr(b'\n', collected).map_or(collected.len(), |end| collected.len() - end - 1);
        self.0.write_out(begun).await
    }
}

impl<W: AsyncWrite> AsyncWrite for LineWriter<W> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let (result, buffer) = AsyncWrite::write_all(self, buffer).await;
        (result.map(|()| buffer.as_slice().len()), buffer)
    }

    async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        let has_line = memchr(b'\n', buffer.as_slice()).is_some();
        let (mut result, buffer) = AsyncWrite::write_all(&mut self.0, buffer).await;
        if result.is_ok() && has_line {
            result = self.write_lines().await;
        }
        (result, buffer)
    }

    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        self.0.settled()
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        self.0.flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        self.0.shutdown()
    }
}
