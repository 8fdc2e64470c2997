//! Reading and writing at any place of a file.

use std::io;

use super::read::{ended, no_room};
use super::write::{behind, takes_no_more};
use crate::buf::{Filling, IoBuf, IoBufMut, Slice};

/// More than this is not read at once to the end of something.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// Something that can be read from anywhere, by several at once.
pub trait AsyncReadAt {
    /// Reads from `offset` into the room of `buffer`, as much as goes at once; 0 at the end.
    ///
    /// # Errors
    ///
    /// What `pread(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the buffer has no room.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; the buffer goes with it.
    fn read_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<usize>, B)>;

    /// Reads from `offset` into several buffers in turn, as much as goes at once; as it is, into the first that has room.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at).
    fn read_vectored_at<B: IoBufMut>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        async move {
            let mut buffers = buffers;
            let Some(first) = buffers.iter_mut().position(|buffer| !buffer.room().is_empty()) else {
                return (Err(no_room()), buffers);
            };
            let (result, buffer) = self.read_at(buffers.remove(first), offset).await;
            buffers.insert(first, buffer);
            (result, buffers)
        }
    }
}

/// What every [`AsyncReadAt`] can do.
pub trait AsyncReadAtExt: AsyncReadAt {
    /// Fills all the room of `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the end comes before, and otherwise as
    /// [`read_at`](AsyncReadAt::read_at). The buffer then holds what had come.
    fn read_exact_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<()>, B)> {
        async move {
            let mut filling = Filling::new(buffer);
            let mut at = offset;
            while !filling.is_full() {
                let result;
                (result, filling) = self.read_at(filling, at).await;
                match result {
                    Ok(0) => return (Err(ended()), filling.end()),
                    Ok(count) => at += count as u64,
                    Err(error) => return (Err(error), filling.end()),
                }
            }
            (Ok(()), filling.end())
        }
    }

    /// Appends all that there is from `offset` on, and says how much that was.
    ///
    /// # Errors
    ///
    /// As [`read_at`](AsyncReadAt::read_at). The buffer then holds what had come.
    fn read_to_end_at(&self, mut buffer: Vec<u8>, offset: u64) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> {
        async move {
            let before = buffer.len();
            let mut size = 16 * 1024;
            loop {
                if buffer.len() == buffer.capacity() {
                    buffer.reserve(size);
                    size = (size * 2).min(MOST_AT_ONCE);
                }
                let result;
                let at = offset + (buffer.len() - before) as u64;
                (result, buffer) = self.read_at(buffer, at).await;
                match result {
                    Ok(0) => return (Ok(buffer.len() - before), buffer),
                    Ok(_) => {}
                    Err(error) => return (Err(error), buffer),
                }
            }
        }
    }
}

impl<R: AsyncReadAt> AsyncReadAtExt for R {}

/// Something that can be written anywhere.
pub trait AsyncWriteAt {
    /// Writes at `offset`, as much as goes at once, and says how much that was.
    ///
    /// # Errors
    ///
    /// What `pwrite(2)` says, such as that the disk is full.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it may happen all the same; what is written later comes after it.
    fn write_at<B: IoBuf>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<usize>, B)>;

    /// Writes all of `buffer` at `offset`.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at), and [`WriteZero`](io::ErrorKind::WriteZero) if no more is taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have written a part.
    fn write_all_at<B: IoBuf>(&self, buffer: B, offset: u64) -> impl Future<Output = (io::Result<()>, B)> {
        async move {
            let mut buffer = buffer;
            let mut done = 0;
            while done < buffer.as_slice().len() {
                let (result, part) = self.write_at(buffer.slice(done..), offset + done as u64).await;
                buffer = part.into_inner();
                match result {
                    Ok(0) => return (Err(takes_no_more()), buffer),
                    Ok(count) => done += count,
                    Err(error) => return (Err(error), buffer),
                }
            }
            (Ok(()), buffer)
        }
    }

    /// Writes several buffers in turn at `offset`, as much of them as goes at once; as it is, of the first that is not
    /// empty.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    fn write_vectored_at<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        async move {
            let mut buffers = buffers;
            let Some(first) = buffers.iter().position(|buffer| !buffer.as_slice().is_empty()) else {
                return (Ok(0), buffers);
            };
            let (result, buffer) = self.write_at(buffers.remove(first), offset).await;
            buffers.insert(first, buffer);
            (result, buffers)
        }
    }
}

/// What every [`AsyncWriteAt`] can do.
pub trait AsyncWriteAtExt: AsyncWriteAt {
    /// Writes all of several buffers, in turn, at `offset`.
    ///
    /// # Errors
    ///
    /// As [`write_all_at`](AsyncWriteAt::write_all_at).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have written a part.
    fn write_vectored_all_at<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, Vec<B>)> {
        async move {
            let mut buffers = buffers;
            let mut done = 0;
            let all: usize = buffers.iter().map(|buffer| buffer.as_slice().len()).sum();
            while done < all {
                let (result, parts) = self.write_vectored_at(behind(buffers, done), offset + done as u64).await;
                buffers = parts.into_iter().map(Slice::into_inner).collect();
                match result {
                    Ok(0) => return (Err(takes_no_more()), buffers),
                    Ok(count) => done += count,
                    Err(error) => return (Err(error), buffers),
                }
            }
            (Ok(()), buffers)
        }
    }
}

impl<W: AsyncWriteAt> AsyncWriteAtExt for W {}
