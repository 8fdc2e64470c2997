//! A writer that collects.
//!
//! ```text
//!  small --> bytes --(full, or flushed)--> front --> a write of the stream, which is kept here until it has ended
//!  large --(if nothing was collected)----> front           | a part, or an error: the rest is next
//!                                            ^-------------+
//! ```
//!
//! Invariant: every byte that was taken is in `bytes`, or in `front` and not yet written, or with the write under way; so
//! each goes out once, in order, whoever stops waiting for it.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::panic::Location;
use std::task::{Context, Poll, ready};

use super::kept::Kept;
use super::write::takes_no_more;
use super::{AsyncRead, AsyncSeek, AsyncWrite};
use crate::buf::{IoBuf, IoBufMut, Slice};
use crate::executor;

/// What a [`BufWriter`] collects, unless another number was asked for.
const CAPACITY: usize = 8 * 1024;

/// Collects what is written, and writes it in large pieces.
///
/// What was collected and not flushed is lost when it is dropped; in [debug mode](crate::Builder::debug) that is told. End
/// with [`flush`](Self::flush), [`shutdown`](Self::shutdown) or [`into_inner`](Self::into_inner).
///
/// # Cancel safety
///
/// Whatever is taken goes out once, and in order, however many calls are dropped: the writer owns the write that is under
/// way, and the next call goes on with it. [`write`](Self::write) and [`write_all`](Self::write_all) take all of their bytes when
/// there is room: dropped before, they have taken nothing.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, BufWriter};
///
/// corering_runtime::run(async {
///     let mut writer = BufWriter::new(Vec::new());
///     writer.write_all(b"hello, ").await?;
///     writer.write_all(b"world").await?;
///     assert_eq!(writer.into_inner().await?, b"hello, world");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct BufWriter<W> {
    writer: Kept<W, (io::Result<usize>, Slice<Block>)>,
    collected: Collected,
    capacity: usize,
}

/// A buffer of whatever kind.
struct Block(Box<dyn Bytes>);

trait Bytes: IoBuf {
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<B: IoBuf> Bytes for B {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Block {
    /// The buffer that this was made of.
    fn into_buffer<B: IoBuf>(self) -> B {
        match self.0.into_any().downcast() {
            Ok(buffer) => *buffer,
            Err(_) => unreachable!("whoever asks has made it, or takes all for collected bytes if nobody does"),
        }
    }
}

impl IoBuf for Block {
    fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_slice().len())
    }
}

/// What has been taken and not been written.
#[derive(Debug)]
struct Collected {
    /// Goes out first.
    front: Option<Block>,
    /// So many bytes of `front` have gone out.
    written: usize,
    /// `front` was not collected here: whoever gave it gets it back.
    given: bool,
    /// So many bytes are with the write that is under way, which has `front`.
    away: usize,
    bytes: Vec<u8>,
    /// Memory for `bytes`, when these go to the front.
    spare: Vec<u8>,
    /// What came of a write when nobody asked.
    failed: Option<io::Error>,
    made: &'static Location<'static>,
}

impl Collected {
    fn len(&self) -> usize {
        let front = self.front.as_ref().map_or(self.away, |front| front.as_slice().len() - self.written);
        front + self.bytes.len()
    }

    /// Puts a buffer in front.
    fn begin(&mut self, front: Block, given: bool) {
        (self.front, self.written, self.given) = (Some(front), 0, given);
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        if self.len() > 0 && executor::is_debugging() && !std::thread::panicking() {
            crate::report(format_args!(
                "a buffered writer, made at {}, was dropped with {} bytes that it has not written: flush it before",
                self.made,
                self.len()
            ));
        }
    }
}

impl<W> BufWriter<W> {
    /// Collects up to 8 KiB.
    #[track_caller]
    pub fn new(writer: W) -> Self {
        Self::with_capacity(CAPACITY, writer)
    }

    /// Collects up to so many bytes.
    #[track_caller]
    pub fn with_capacity(bytes: usize, writer: W) -> Self {
        let collected = Collected {
            front: None,
            written: 0,
            given: false,
            away: 0,
            bytes: Vec::new(),
            spare: Vec::new(),
            failed: None,
            made: Location::caller(),
        };
        Self { writer: Kept::new(writer), collected, capacity: bytes.max(1) }
    }

    /// The writer itself; `None` while a write is under way, which a call that was dropped has begun.
    pub fn get_ref(&self) -> Option<&W> {
        self.writer.get()
    }

    /// The writer itself; `None` while a write is under way, which a call that was dropped has begun. What is written to it
    /// comes before what is collected here.
    pub fn get_mut(&mut self) -> Option<&mut W> {
        self.writer.get_mut()
    }

    /// What was taken last and has not been handed on yet.
    pub fn buffer(&self) -> &[u8] {
        &self.collected.bytes
    }

    /// How many bytes it collects.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many bytes were taken and have not been written: what would be lost if this were dropped.
    pub fn unwritten(&self) -> usize {
        self.collected.len()
    }

    /// Takes them, also beyond the capacity.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let collected = &mut self.collected.bytes;
        if collected.capacity() == 0 {
            collected.reserve_exact(self.capacity.max(bytes.len()));
        }
        collected.extend_from_slice(bytes);
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.collected.bytes.is_empty() || self.collected.bytes.len() + bytes <= self.capacity
    }

    /// What comes of a write: an error leaves the bytes first in line.
    fn landed(&mut self, result: io::Result<usize>, front: Block) {
        self.collected.front = Some(front);
        self.collected.away = 0;
        match result {
            Ok(0) => self.collected.failed = Some(takes_no_more()),
            Ok(count) => self.collected.written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.collected.failed = Some(error),
        }
    }
}

impl<W: AsyncWrite> BufWriter<W> {
    /// Takes `bytes`, after writing if there is no room, and says how many these are.
    ///
    /// # Errors
    ///
    /// What came of writing what was collected before. Nothing has been taken then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).await?;
        Ok(bytes.len())
    }

    /// Takes all of `bytes`, after writing if there is no room. More than the capacity is taken at once.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.make_room(bytes.len()).await?;
        self.take(bytes);
        Ok(())
    }

    /// Writes if there is no room for so many more.
    #[inline]
    pub(super) async fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if self.has_room(bytes) { Ok(()) } else { self.write_out(0).await }
    }

    /// Writes all that was collected, and flushes the writer.
    ///
    /// # Errors
    ///
    /// What the writer says. What has not been written is kept, and can be flushed again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has lost nothing, and written nothing twice: call it again.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.write_out(0).await?;
        self.idle().flush().await
    }

    /// Writes all that was collected, and says that nothing more will come.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// As [`flush`](Self::flush).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.write_out(0).await?;
        self.idle().shutdown().await
    }

    /// Flushes, and gives the writer back.
    ///
    /// # Errors
    ///
    /// What the writer says, and this with what has not been written.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the writer: use [`flush`](Self::flush) where that matters.
    pub async fn into_inner(mut self) -> Result<W, IntoInnerError<W>> {
        match self.flush().await {
            Ok(()) => Ok(self.writer.into_value()),
            Err(error) => Err(IntoInnerError { error, writer: self }),
        }
    }

    /// Writes all that was collected but for the last bytes, so many.
    pub(super) async fn write_out(&mut self, keep: usize) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_out(cx, keep)).await
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>, keep: usize) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_landed(cx));
            if let Some(error) = self.collected.failed.take() {
                return Poll::Ready(Err(error));
            }
            let Some(front) = self.front(keep) else {
                return Poll::Ready(Ok(()));
            };
            let written = self.collected.written;
            self.collected.away = front.as_slice().len() - written;
            self.writer.begin(|writer| Box::pin(writer.write(front.slice(written..))));
        }
    }

    /// Takes what goes out next: what is left of the front, or else what was collected but for the last bytes, so many.
    fn front(&mut self, keep: usize) -> Option<Block> {
        let Collected { front, written, given, bytes, spare, .. } = &mut self.collected;
        if let Some(block) = front.take_if(|block| *written < block.as_slice().len()) {
            return Some(block);
        }
        if *given {
            // It stays for whoever gave it, unless that one has gone, and more comes.
            if bytes.len() <= keep {
                return None;
            }
            *front = None;
        } else if let Some(block) = front.take() {
            *spare = block.into_buffer();
        }
        let count = bytes.len().saturating_sub(keep);
        if count == 0 {
            return None;
        }
        spare.clear();
        if spare.capacity() > 2 * self.capacity {
            *spare = Vec::new();
        }
        let mut next = std::mem::replace(bytes, std::mem::take(spare));
        bytes.extend_from_slice(&next[count..]);
        next.truncate(count);
        (*written, *given) = (0, false);
        Some(Block(Box::new(next)))
    }

    /// Waits for the write that is under way, if there is one.
    fn poll_landed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.writer.is_busy() {
            let (result, part) = ready!(self.writer.poll(cx));
            self.landed(result, part.into_inner());
        }
        Poll::Ready(())
    }

    fn idle(&mut self) -> &mut W {
        match self.writer.get_mut() {
            Some(writer) => writer,
            None => unreachable!("the write that was under way has ended"),
        }
    }
}

impl<W: AsyncWrite> AsyncWrite for BufWriter<W> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        let (result, buffer) = AsyncWrite::write_all(self, buffer).await;
        (result.map(|()| buffer.as_slice().len()), buffer)
    }

    /// What is as large as the buffer goes straight to the writer, if nothing was collected before. If that fails, the rest
    /// is the caller's again.
    async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        if self.collected.bytes.len() >= self.capacity {
            if let Err(error) = self.write_out(0).await {
                return (Err(error), buffer);
            }
        }
        if buffer.as_slice().len() >= self.capacity && self.collected.len() == 0 && !self.writer.is_busy() {
            self.collected.begin(Block(Box::new(buffer)), true);
            let result = self.write_out(0).await;
            let Some(given) = self.collected.front.take() else { unreachable!("it came back from the write") };
            self.collected.given = false;
            return (result, given.into_buffer());
        }
        self.take(buffer.as_slice());
        (Ok(()), buffer)
    }

    async fn settled(&mut self) -> io::Result<()> {
        if self.collected.bytes.len() >= self.capacity {
            self.write_out(0).await?;
        }
        match self.writer.get_mut() {
            Some(writer) => writer.settled().await,
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        BufWriter::flush(self)
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        BufWriter::shutdown(self)
    }
}

/// Reads come from the stream itself, when no write that was dropped is under way.
impl<S: AsyncRead + AsyncWrite> AsyncRead for BufWriter<S> {
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        poll_fn(|cx| self.poll_landed(cx)).await;
        self.idle().read(buffer).await
    }

    async fn read_vectored<B: IoBufMut>(&mut self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        poll_fn(|cx| self.poll_landed(cx)).await;
        self.idle().read_vectored(buffers).await
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        // No write begins between a read and this.
        self.idle().put_back(bytes);
    }

    fn block_bytes(&self) -> usize {
        self.writer.get().map_or(CAPACITY, AsyncRead::block_bytes)
    }
}

impl<W: AsyncWrite + AsyncSeek> AsyncSeek for BufWriter<W> {
    /// Writes what was collected before.
    async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.write_out(0).await?;
        self.idle().seek(to).await
    }
}

/// The error of [`BufWriter::into_inner`], and the writer with what it has not written.
pub struct IntoInnerError<W> {
    error: io::Error,
    writer: BufWriter<W>,
}

impl<W> IntoInnerError<W> {
    /// What the writer said.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The writer, and what it said.
    pub fn into_parts(self) -> (io::Error, BufWriter<W>) {
        (self.error, self.writer)
    }
}

impl<W> fmt::Debug for IntoInnerError<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<W> fmt::Display for IntoInnerError<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<W> std::error::Error for IntoInnerError<W> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<W> From<IntoInnerError<W>> for io::Error {
    fn from(error: IntoInnerError<W>) -> Self {
        error.error
    }
}
