//! Pipes: what one end writes, the other reads.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::read::no_room;
use super::{AsyncRead, AsyncWrite};
use crate::buf::{IoBuf, IoBufMut};
use crate::op::{Descriptor, Op, Readiness, Write, WriteAll, WriteVectored, read_stream};

/// More than this is not read at once: a pipe holds no more unless it was made larger.
const MOST_AT_ONCE: usize = 64 * 1024;

/// Makes a pipe.
///
/// Either end can be given to a program that is started, or taken from one, as an [`OwnedFd`].
///
/// # Errors
///
/// What `pipe2(2)` says, such as that no descriptor is free (`EMFILE`).
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncReadExt, AsyncWrite};
///
/// corering_runtime::run(async {
///     let (mut reader, mut writer) = io::pipe()?;
///     writer.write_all("through the pipe").await.0?;
///     drop(writer);
///     let (count, text) = reader.read_to_end(Vec::new()).await;
///     assert_eq!((count?, &text[..]), (16, &b"through the pipe"[..]));
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = Descriptor::pipe()?;
    Ok((PipeReader(reader), PipeWriter(Some(writer))))
}

/// The end of a pipe that is read from; made by [`pipe`].
///
/// # Cancel safety
///
/// A dropped read loses nothing: what arrives nevertheless is kept for the next one.
///
/// # Kernel
///
/// `IORING_OP_READ`.
pub struct PipeReader(Descriptor);

/// The end of a pipe that is written to; made by [`pipe`]. Dropping it is the end for the reader.
///
/// Writing when nobody can read any more is [`BrokenPipe`](io::ErrorKind::BrokenPipe), and raises `SIGPIPE`, which Rust
/// programs ignore.
///
/// # Cancel safety
///
/// [`write_all`](AsyncWrite::write_all), dropped in flight, goes out whole as long as the writer is there, and
/// everything later waits for it.
///
/// # Kernel
///
/// `IORING_OP_WRITE`.
pub struct PipeWriter(Option<Descriptor>);

/// Takes over an end that was made otherwise. It is set to block: else the ring does not wait for it.
fn taken_over(fd: OwnedFd) -> Descriptor {
    // The call is the same for all that is open.
    let any = std::os::unix::net::UnixStream::from(fd);
    let _ = any.set_nonblocking(false);
    Descriptor::new(any.into())
}

impl PipeReader {
    /// Waits until the next read gives something at once: bytes, or the end.
    ///
    /// # Errors
    ///
    /// What `poll(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.0.poll_settled(cx)).await;
        if !self.0.has_left() {
            Op::new(Readiness::of(&self.0, libc::POLLIN)).await?;
        }
        Ok(())
    }

    /// The end without the runtime.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), with the reader, if a dropped read has brought something: read that
    /// before. [`Unsupported`](io::ErrorKind::Unsupported) in a simulated world.
    pub async fn into_owned_fd(self) -> Result<OwnedFd, (io::Error, Self)> {
        self.0.into_owned().await.map_err(|(error, reader)| (error, Self(reader)))
    }
}

impl AsyncRead for PipeReader {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        let most = buffer.room().len().min(MOST_AT_ONCE);
        if most == 0 {
            return (Err(no_room()), buffer);
        }
        match read_stream(&self.0, most).await {
            Ok(bytes) => (Ok(buffer.fill_from(&bytes)), buffer),
            Err(error) => (Err(error), buffer),
        }
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.0.put_back(bytes);
    }
}

impl PipeWriter {
    fn end(&self) -> io::Result<&Descriptor> {
        self.0.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "this end of the pipe was shut down"))
    }

    /// Waits until something can be written at once, or nobody can read any more.
    ///
    /// # Errors
    ///
    /// What `poll(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn writable(&self) -> io::Result<()> {
        Op::new(Readiness::of(self.end()?, libc::POLLOUT)).await.map(drop)
    }

    /// The end without the runtime. A write that was dropped and cannot end is given up.
    ///
    /// # Errors
    ///
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) if it was shut down; [`Unsupported`](io::ErrorKind::Unsupported) in a
    /// simulated world.
    pub async fn into_owned_fd(mut self) -> io::Result<OwnedFd> {
        self.end()?;
        match self.0.take() {
            Some(end) => end.into_owned().await.map_err(|(error, _)| error),
            None => unreachable!("it has just been there"),
        }
    }
}

impl AsyncWrite for PipeWriter {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        match self.end() {
            Ok(end) => Op::new(Write::stream(end, buffer)).await,
            Err(error) => (Err(error), buffer),
        }
    }

    async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        match self.end() {
            Ok(end) => Op::new(WriteAll::stream(end, buffer)).await,
            Err(error) => (Err(error), buffer),
        }
    }

    async fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        match self.end() {
            Ok(end) => Op::new(WriteVectored::stream(end, buffers)).await,
            Err(error) => (Err(error), buffers),
        }
    }

    async fn settled(&mut self) -> io::Result<()> {
        if let Some(end) = &self.0 {
            poll_fn(|cx| end.poll_settled(cx)).await;
        }
        Ok(())
    }

    /// Waits until what was dropped in flight has gone out.
    async fn flush(&mut self) -> io::Result<()> {
        self.settled().await
    }

    /// Waits until what was dropped in flight has gone out, and closes this end.
    async fn shutdown(&mut self) -> io::Result<()> {
        self.settled().await?;
        self.0 = None;
        Ok(())
    }
}

/// A write that was dropped and cannot end must not keep the pipe open.
impl Drop for PipeWriter {
    fn drop(&mut self) {
        if let Some(end) = self.0.as_ref().filter(|end| end.has_orphans()) {
            end.cancel_all();
        }
    }
}

impl From<OwnedFd> for PipeReader {
    fn from(fd: OwnedFd) -> Self {
        Self(taken_over(fd))
    }
}

impl From<OwnedFd> for PipeWriter {
    fn from(fd: OwnedFd) -> Self {
        Self(Some(taken_over(fd)))
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipeReader({:?})", self.0)
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipeWriter({:?})", self.0)
    }
}
