//! A reader with a buffer.
//!
//! ```text
//!  bytes   [ consumed | rest ]             a read that is dropped takes `next` with it: the rest is still here
//!                        | copied
//!  next               [ rest | room ] <-- the kernel reads behind it; when that has ended, the two change places
//! ```

use std::io::{self, SeekFrom};

use super::read::ended;
use super::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek, AsyncWrite};
use crate::buf::{IoBuf, IoBufMut};

/// Reads in large blocks, and gives what is asked for: lines, parts, bytes into a `&mut [u8]`.
///
/// # Cancel safety
///
/// Any call may be dropped: what was read is in the buffer, and the next call gets it.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncBufReadExt, BufReader};
///
/// corering_runtime::run(async {
///     let mut reader = BufReader::new(io::Cursor::new("name: value\n\x05hello"));
///     let mut head = String::new();
///     reader.read_line(&mut head).await?;
///     assert_eq!(head, "name: value\n");
///     let mut length = [0];
///     reader.read_exact(&mut length).await?;
///     let mut body = vec![0; length[0].into()];
///     reader.read_exact(&mut body).await?;
///     assert_eq!(body, b"hello");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct BufReader<R> {
    reader: R,
    bytes: Vec<u8>,
    /// So many of them have been consumed.
    consumed: usize,
    /// Memory for the next read, if there is a rest then.
    next: Vec<u8>,
    capacity: usize,
}

impl<R: AsyncRead> BufReader<R> {
    /// With a buffer of the size that suits the reader ([`AsyncRead::block_bytes`]).
    pub fn new(reader: R) -> Self {
        Self::with_capacity(reader.block_bytes(), reader)
    }
}

impl<R> BufReader<R> {
    /// With a buffer of that many bytes. (For a part that does not fit it grows.)
    pub fn with_capacity(bytes: usize, reader: R) -> Self {
        Self { reader, bytes: Vec::new(), consumed: 0, next: Vec::new(), capacity: bytes.max(1) }
    }

    /// The reader itself.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }

    /// The reader itself. What is read from it does not go through the buffer.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The reader. What is in the [buffer](AsyncBufRead::buffer) is lost.
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// How many bytes are read at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    fn rest(&self) -> &[u8] {
        // A slice from `consumed`, which is never beyond the end, without a way to panic.
        self.bytes.get(self.consumed..).unwrap_or_default()
    }

    /// Takes as many bytes as `into` has room for, or are there.
    fn take(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.rest().len());
        into[..count].copy_from_slice(&self.rest()[..count]);
        self.consumed += count;
        count
    }

    fn discard(&mut self) {
        self.bytes.clear();
        self.consumed = 0;
    }
}

impl<R: AsyncRead> BufReader<R> {
    /// Reads into `into`, as much as is there, and says how much that was: 0 at the end of the stream (or if `into` is
    /// empty).
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rest().is_empty() && !into.is_empty() {
            self.read_more(0).await?;
        }
        Ok(self.take(into))
    }

    /// Fills `into`.
    ///
    /// # Errors
    ///
    /// What the stream says, and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if it ends before. Nothing has been taken then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing. (So the buffer grows to the length of `into`; [`read`](Self::read) goes by parts.)
    pub async fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        while self.rest().len() < into.len() {
            if self.read_more(into.len()).await? == 0 {
                return Err(ended());
            }
        }
        self.take(into);
        Ok(())
    }

    /// Appends all that comes until the stream ends, and says how much that was.
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, or failing, it has appended what it has taken.
    pub async fn read_to_end(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        loop {
            into.extend_from_slice(self.rest());
            self.discard();
            if self.read_more(0).await? == 0 {
                return Ok(into.len() - before);
            }
        }
    }

    /// Appends all that comes until the stream ends, which has to be text, and says how many bytes that were.
    ///
    /// # Errors
    ///
    /// What the stream says, and [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8. Nothing has been taken then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn read_to_string(&mut self, into: &mut String) -> io::Result<usize> {
        let (result, text) = AsyncReadExt::read_to_string(self, String::new()).await;
        into.push_str(&text);
        result
    }

    /// Reads behind the rest, into a buffer that has room for `want` bytes in all.
    async fn read_more(&mut self, want: usize) -> io::Result<usize> {
        let rest = self.rest().len();
        let mut next = if rest == 0 {
            self.consumed = 0;
            std::mem::take(&mut self.bytes)
        } else {
            std::mem::take(&mut self.next)
        };
        next.clear();
        // At least half of it is room, so that something long is not copied again and again.
        let size = if rest * 2 > self.capacity { want.max(rest * 2) } else { want.max(self.capacity) };
        if next.capacity() < size || next.capacity() > size.max(self.capacity) * 2 {
            next = Vec::with_capacity(size);
        }
        next.extend_from_slice(self.rest());
        let (result, next) = self.reader.read(next).await;
        if rest == 0 {
            self.bytes = next;
        } else if result.is_ok() {
            self.next = std::mem::replace(&mut self.bytes, next);
            self.consumed = 0;
        } else {
            self.next = next;
        }
        result
    }
}

impl<R: AsyncRead> AsyncBufRead for BufReader<R> {
    #[inline]
    fn buffer(&self) -> &[u8] {
        self.rest()
    }

    fn fill_more(&mut self) -> impl Future<Output = io::Result<usize>> {
        self.read_more(0)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        self.consumed = (self.consumed + bytes).min(self.bytes.len());
    }
}

impl<R: AsyncRead> AsyncRead for BufReader<R> {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        // What is as large as a block needs no copy.
        if self.rest().is_empty() && buffer.room().len() >= self.capacity || buffer.room().is_empty() {
            return self.reader.read(buffer).await;
        }
        if let Err(error) = self.fill_buf().await {
            return (Err(error), buffer);
        }
        let count = buffer.fill_from(self.rest());
        self.consumed += count;
        (Ok(count), buffer)
    }

    fn put_back(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(self.rest());
        (self.bytes, self.consumed) = (bytes, 0);
    }

    fn block_bytes(&self) -> usize {
        self.capacity
    }
}

impl<R: AsyncSeek> AsyncSeek for BufReader<R> {
    /// What is in the buffer is given up, and read again if need be.
    async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            // The reader stands behind what is in the buffer.
            SeekFrom::Current(by) => match by.checked_sub(self.rest().len() as i64) {
                Some(by) => self.reader.seek(SeekFrom::Current(by)).await?,
                None => {
                    let here = self.stream_position().await?;
                    let to = here.checked_add_signed(by).ok_or_else(before_the_start)?;
                    self.reader.seek(SeekFrom::Start(to)).await?
                }
            },
            SeekFrom::Start(_) | SeekFrom::End(_) => self.reader.seek(to).await?,
        };
        self.discard();
        Ok(position)
    }

    /// What is in the buffer stays.
    async fn stream_position(&mut self) -> io::Result<u64> {
        let behind = self.reader.stream_position().await?;
        Ok(behind.saturating_sub(self.rest().len() as u64))
    }
}

fn before_the_start() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is nothing before the start")
}

/// Writes go to the stream itself.
impl<S: AsyncWrite> AsyncWrite for BufReader<S> {
    fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        self.reader.write(buffer)
    }

    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        self.reader.write_all(buffer)
    }

    fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        self.reader.write_vectored(buffers)
    }

    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        self.reader.settled()
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        self.reader.flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        self.reader.shutdown()
    }
}
