//! A file's bytes in order: read ahead of whoever uses them, or written behind whoever makes them.
//!
//! ```text
//!   Chunks:       next <-- oldest [ read | read | .. ] newest <-- begun while the oldest is waited for
//!   WriteBehind:  write --> newest [ write | write | .. ] oldest --> fetched, in order
//! ```
//!
//! Only the oldest is polled with the caller's waker: what ends out of order wakes nobody.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use corering_runtime::buf::{AlignedBuf, IoBuf};
use corering_runtime::op::{Descriptor, FixedFile, Op, Read, ReadFixed, Sync, WriteAll, WriteFixed};
use futures_core::Stream;

use crate::{DirectFile, File};

/// The blocks of a file in order, with some reads under way ahead of them; made by [`File::chunks`] and
/// [`DirectFile::chunks`].
///
/// It ends at the end of the file, wherever that is when it is reached. A file that is cut while it is read gives what
/// was there, and what is added behind the end before it is reached is read, too: there are no holes.
///
/// It keeps the file open. It is a [`Stream`], and fused: after the end, or an error, there is nothing.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-chunks-{}", std::process::id()));
/// # std::fs::write(&path, vec![1; 1_000_000])?;
/// use corering_fs::File;
///
/// let sum = corering_runtime::run(async {
///     let file = File::open(&path).await?;
///     let mut chunks = file.chunks(128 * 1024, 4);
///     let mut sum = 0;
///     while let Some(block) = chunks.next().await {
///         sum += block?.iter().map(|byte| u64::from(*byte)).sum::<u64>();
///     }
///     std::io::Result::Ok(sum)
/// })??;
/// assert_eq!(sum, 1_000_000);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is read before the first block is asked for"]
pub struct Chunks {
    source: Source,
    size: usize,
    depth: usize,
    /// Where the first read begins, and the next.
    start: u64,
    next: u64,
    /// So many bytes from the start on are read.
    most: u64,
    ahead: VecDeque<(u64, Reading)>,
    over: bool,
    /// To be told when what was read before it has been.
    failed: Option<io::Error>,
}

#[derive(Debug)]
enum Source {
    Cached(Descriptor),
    Direct(FixedFile),
}

#[derive(Debug)]
enum Reading {
    Cached(Op<Read<AlignedBuf>>),
    Direct(Op<ReadFixed>),
    Done(io::Result<usize>, AlignedBuf),
    Fetched,
}

impl File {
    /// The file's blocks of `size` bytes in order, from its position on, with up to `depth` reads under way.
    ///
    /// What is in the page cache is read when it is asked for, one block at a time; reads go ahead only where the disk
    /// has to be waited for. The file's position stays where it is.
    ///
    /// # Panics
    ///
    /// If `size` is 0, or more than 2 GiB.
    pub fn chunks(&self, size: usize, depth: usize) -> Chunks {
        Chunks::new(Source::Cached(self.descriptor().clone()), size, depth, self.position())
    }

    /// Writes what it is given in order, from the file's position on, with up to `depth` writes under way.
    ///
    /// The file's position stays where it is. Of a file that was opened for appending one write is under way at a time:
    /// only so they stay in order.
    pub fn sink<B: IoBuf>(&self, depth: usize) -> WriteBehind<B> {
        let position = self.write_position();
        let depth = if position == u64::MAX { 1 } else { depth };
        let target = Target { descriptor: self.descriptor().clone(), fixed: None };
        WriteBehind::new(target, depth, position, |target, buffer, offset| {
            Writing::Cached(Op::new(WriteAll::at(&target.descriptor, buffer, offset)))
        })
    }
}

impl DirectFile {
    /// The file's blocks of `size` bytes (or as many more as are missing to a multiple of the alignment) in order, with
    /// up to `depth` reads under way.
    ///
    /// # Panics
    ///
    /// If `size` is 0, or more than 2 GiB.
    pub fn chunks(&self, size: usize, depth: usize) -> Chunks {
        assert!(size > 0, "blocks of a file have at least one byte");
        Chunks::new(Source::Direct(self.fixed().another()), size.next_multiple_of(self.alignment()), depth, 0)
    }

    /// Writes what it is given in order, with up to `depth` writes under way. All buffers hold a multiple of the
    /// alignment.
    pub fn sink(&self, depth: usize) -> WriteBehind<AlignedBuf> {
        let target = Target { descriptor: self.file().descriptor().clone(), fixed: Some(self.fixed().another()) };
        WriteBehind::new(target, depth, 0, |target, buffer, offset| match &target.fixed {
            Some(file) => Writing::Direct(file.write_all_at(buffer, offset)),
            None => Writing::Cached(Op::new(WriteAll::at(&target.descriptor, buffer, offset))),
        })
    }
}

impl Chunks {
    fn new(source: Source, size: usize, depth: usize, next: u64) -> Self {
        assert!(size > 0, "blocks of a file have at least one byte");
        let ahead = VecDeque::new();
        let (start, most) = (next, u64::MAX);
        Self { source, size, depth: depth.max(1), start, next, most, ahead, over: false, failed: None }
    }

    /// Begins at `offset`, which of a [`DirectFile`] is aligned. To be said before the first block is asked for.
    pub fn starting_at(self, offset: u64) -> Self {
        Self { start: offset, next: offset, ..self }
    }

    /// Ends after so many bytes, if the file does not end before. To be said before the first block is asked for.
    pub fn at_most(self, bytes: u64) -> Self {
        Self { most: bytes, ..self }
    }

    /// Where the last read ends.
    fn end(&self) -> u64 {
        self.start.saturating_add(self.most)
    }

    /// The next block: `None` at the end. All blocks but the last are of the size that was asked for.
    ///
    /// # Errors
    ///
    /// What `pread(2)` says, after what was read before. Then there is nothing more.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing: the next call gives the same block. Dropping the [`Chunks`] cancels what is under
    /// way.
    ///
    /// # Kernel
    ///
    /// `preadv2(2)` with `RWF_NOWAIT` for what is in the page cache, else `IORING_OP_READ`; of a [`DirectFile`]
    /// `IORING_OP_READ_FIXED`.
    pub async fn next(&mut self) -> Option<io::Result<Block>> {
        poll_fn(|cx| self.poll_block(cx)).await
    }

    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Block>>> {
        loop {
            if self.over {
                return Poll::Ready(self.failed.take().map(Err));
            }
            let Some((offset, reading)) = self.ahead.front_mut() else {
                if !self.begin() {
                    self.over = true;
                }
                continue;
            };
            let offset = *offset;
            let Poll::Ready((result, buffer)) = reading.poll(cx) else {
                // One that only gives way to other tasks is no reason to read ahead.
                if reading.is_submitted() {
                    self.read_ahead();
                }
                return Poll::Pending;
            };
            self.ahead.pop_front();
            let have = buffer.len() as u64;
            let ended = match result {
                Ok(0) => true,
                Ok(_) if have == buffer.capacity() as u64 => false,
                // The rest of the block: only a read that brings nothing tells the end.
                Ok(_) if self.source.goes_on_at(offset + have) => {
                    let rest = self.source.read(buffer, offset + have);
                    self.ahead.push_front((offset, rest));
                    continue;
                }
                Ok(_) => true,
                Err(error) => {
                    self.failed = Some(error);
                    true
                }
            };
            if ended {
                self.over = true;
                self.ahead.clear();
                if have == 0 {
                    continue;
                }
            } else if !self.ahead.is_empty() {
                self.read_ahead();
            }
            return Poll::Ready(Some(Ok(self.block(offset, buffer))));
        }
    }

    /// The block that was read, without what is beyond the end that was asked for: direct reads are of whole multiples.
    fn block(&self, offset: u64, mut buffer: AlignedBuf) -> Block {
        buffer.truncate(usize::try_from(self.end() - offset).unwrap_or(usize::MAX));
        Block { offset, buffer }
    }

    /// Makes the next read, unless the end that was asked for has been reached.
    fn begin(&mut self) -> bool {
        let Some(left) = self.end().checked_sub(self.next).filter(|left| *left > 0) else {
            return false;
        };
        let size = self.size.min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = match &self.source {
            Source::Cached(_) => AlignedBuf::with_alignment(size, 1),
            Source::Direct(file) => AlignedBuf::with_alignment(size, file.multiple() as usize),
        };
        let reading = self.source.read(buffer, self.next);
        self.ahead.push_back((self.next, reading));
        self.next = self.next.saturating_add(size as u64);
        true
    }

    /// Begins reads until enough are under way, or one needs no waiting: then the next ones need none either.
    fn read_ahead(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while self.ahead.len() < self.depth && self.begin() {
            let Some((_, reading)) = self.ahead.back_mut() else {
                return;
            };
            if let Poll::Ready((result, buffer)) = reading.poll(&mut cx) {
                *reading = Reading::Done(result, buffer);
                return;
            }
        }
    }
}

impl Source {
    fn read(&self, buffer: AlignedBuf, offset: u64) -> Reading {
        match self {
            Source::Cached(descriptor) => Reading::Cached(Op::new(Read::at(descriptor, buffer, offset))),
            Source::Direct(file) => Reading::Direct(file.read_at(buffer, offset)),
        }
    }

    /// Whether it can be read from there on. A direct read that ends in the middle of a block has met the end.
    fn goes_on_at(&self, offset: u64) -> bool {
        match self {
            Source::Cached(_) => true,
            Source::Direct(file) => offset % u64::from(file.multiple()) == 0,
        }
    }
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, AlignedBuf)> {
        match self {
            Reading::Cached(op) => Pin::new(op).poll(cx),
            Reading::Direct(op) => Pin::new(op).poll(cx),
            Reading::Done(..) => match std::mem::replace(self, Reading::Fetched) {
                Reading::Done(result, buffer) => Poll::Ready((result, buffer)),
                Reading::Cached(_) | Reading::Direct(_) | Reading::Fetched => unreachable!("just looked at"),
            },
            Reading::Fetched => unreachable!("fetched once"),
        }
    }

    fn is_submitted(&self) -> bool {
        match self {
            Reading::Cached(op) => op.is_submitted(),
            Reading::Direct(op) => op.is_submitted(),
            Reading::Done(..) | Reading::Fetched => false,
        }
    }
}

impl Stream for Chunks {
    type Item = io::Result<Block>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Block>>> {
        self.poll_block(cx)
    }
}

/// A block of a file, as [`Chunks`] gives it.
///
/// Dereferences to the bytes, and can be written as it is. Dropped, it gives its memory back for the next reads.
pub struct Block {
    offset: u64,
    buffer: AlignedBuf,
}

impl Block {
    /// Where in the file it begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The buffer that holds it.
    pub fn into_buffer(self) -> AlignedBuf {
        self.buffer
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl IoBuf for Block {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes at {})", self.len(), self.offset)
    }
}

/// Writes to a file in order, with some writes under way behind whoever makes the bytes; made by [`File::sink`] and
/// [`DirectFile::sink`].
///
/// It keeps the file open. The first write that fails ends it: nothing is begun any more, and every call from then on
/// says why, and where.
///
/// Dropped before [`finish`](Self::finish), it leaves what is under way to end, and whatever comes later on the same
/// file waits for that. Whether it was written well is then told to nobody.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-sink-{}", std::process::id()));
/// use corering_fs::File;
///
/// corering_runtime::run(async {
///     let file = File::create(&path).await?;
///     let mut sink = file.sink(4).synced();
///     for number in 0..100_u8 {
///         sink.write(vec![number; 10_000]).await?;
///     }
///     assert_eq!(sink.finish().await?, 1_000_000);
///     file.close().await
/// })??;
/// # assert_eq!(std::fs::read(&path)?[999_999], 99);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "what was written may fail: await `finish`"]
pub struct WriteBehind<B: IoBuf> {
    target: Target,
    begin: fn(&Target, B, u64) -> Writing<B>,
    depth: usize,
    /// Where the next write begins; the largest number is the end of the file.
    next: u64,
    behind: VecDeque<Behind<B>>,
    /// Bytes whose write has ended well.
    written: u64,
    failed: Option<Failed>,
    synced: bool,
}

struct Target {
    descriptor: Descriptor,
    fixed: Option<FixedFile>,
}

struct Behind<B: IoBuf> {
    offset: u64,
    bytes: u64,
    writing: Writing<B>,
}

enum Writing<B: IoBuf> {
    Cached(Op<WriteAll<B>>),
    Direct(Op<WriteFixed>),
}

/// The first write that failed.
#[derive(Debug)]
struct Failed {
    offset: u64,
    kind: io::ErrorKind,
    text: String,
}

impl<B: IoBuf> WriteBehind<B> {
    fn new(target: Target, depth: usize, next: u64, begin: fn(&Target, B, u64) -> Writing<B>) -> Self {
        let (depth, behind) = (depth.max(1), VecDeque::new());
        Self { target, begin, depth, next, behind, written: 0, failed: None, synced: false }
    }

    /// Begins at `offset`. To be said before the first write; a file that was opened for appending knows better.
    pub fn starting_at(mut self, offset: u64) -> Self {
        if self.next != u64::MAX {
            self.next = offset;
        }
        self
    }

    /// Lets [`finish`](Self::finish) bring to the disk what was written, as [`File::sync_data`] does.
    pub fn synced(mut self) -> Self {
        self.synced = true;
        self
    }

    /// Bytes whose write has ended, and was looked at: by [`ready`](Self::ready) or [`write`](Self::write).
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where the write began that failed first.
    pub fn failed_at(&self) -> Option<u64> {
        self.failed.as_ref().map(|failed| failed.offset)
    }

    /// Waits until a write can begin without waiting.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn ready(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_until(self.depth - 1, cx)).await
    }

    /// Begins to write `buffer` behind what was written before; waits for the oldest write if enough are under way.
    ///
    /// # Errors
    ///
    /// That of the first write that failed, with its offset: mostly one from before. Nothing is written then.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has not begun, and the buffer goes with it. After [`ready`](Self::ready) it does not
    /// wait.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_WRITE`, which a kernel worker does, one at a time for each file; of a [`DirectFile`]
    /// `IORING_OP_WRITE_FIXED`.
    pub async fn write(&mut self, buffer: B) -> io::Result<()> {
        self.ready().await?;
        let (offset, bytes) = (self.next, buffer.as_slice().len() as u64);
        let mut writing = (self.begin)(&self.target, buffer, offset);
        // If it has to wait for something dropped before, it begins when its turn comes to be waited for.
        if let Poll::Ready(result) = writing.poll(&mut Context::from_waker(Waker::noop())) {
            self.ended(offset, bytes, result);
            return self.check();
        }
        self.behind.push_back(Behind { offset, bytes, writing });
        self.next = self.next.saturating_add(bytes);
        Ok(())
    }

    /// Waits until all is written (and synced, if that was asked for), and says how many bytes these were.
    ///
    /// # Errors
    ///
    /// That of the first write that failed, with its offset; what `fdatasync(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves what is under way to end.
    pub async fn finish(mut self) -> io::Result<u64> {
        poll_fn(|cx| self.poll_until(0, cx)).await?;
        if self.synced {
            Op::new(Sync::data(&self.target.descriptor)).await?;
        }
        Ok(self.written)
    }

    /// Fetches what has ended, oldest first, and waits until so many are left; all of them, after an error.
    fn poll_until(&mut self, left: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(Behind { offset, bytes, writing }) = self.behind.front_mut() {
            let (offset, bytes) = (*offset, *bytes);
            let Poll::Ready(result) = writing.poll(cx) else {
                if self.behind.len() > left {
                    return Poll::Pending;
                }
                break;
            };
            self.behind.pop_front();
            self.ended(offset, bytes, result);
        }
        Poll::Ready(self.check())
    }

    fn ended(&mut self, offset: u64, bytes: u64, result: io::Result<()>) {
        match result {
            Ok(()) => self.written += bytes,
            Err(error) if self.failed.is_none() => {
                let (kind, text) = (error.kind(), format!("cannot write at {}: {error}", At(offset)));
                self.failed = Some(Failed { offset, kind, text });
            }
            Err(_) => {}
        }
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some(Failed { kind, text, .. }) => Err(io::Error::new(*kind, text.clone())),
            None => Ok(()),
        }
    }
}

/// An offset, for those who read.
struct At(u64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => f.write_str("the end of the file"),
            offset => write!(f, "offset {offset}"),
        }
    }
}

impl<B: IoBuf> Writing<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Writing::Cached(op) => Pin::new(op).poll(cx).map(|(result, _)| result),
            Writing::Direct(op) => Pin::new(op).poll(cx).map(|(result, _)| result),
        }
    }
}

impl<B: IoBuf> fmt::Debug for WriteBehind<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteBehind({:?} at {}, {} under way)", self.target.descriptor, At(self.next), self.behind.len())
    }
}
