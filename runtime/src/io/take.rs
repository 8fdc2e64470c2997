//! A part of a stream.

use std::io;

use super::{AsyncBufRead, AsyncRead};
use crate::buf::IoBufMut;

/// The next bytes of a stream, up to a number; made by [`AsyncReadExt::take`](super::AsyncReadExt::take).
#[derive(Debug)]
pub struct Take<R> {
    reader: R,
    limit: u64,
}

impl<R> Take<R> {
    pub(super) fn new(reader: R, limit: u64) -> Self {
        Self { reader, limit }
    }

    /// How many bytes may still be read.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Sets how many bytes may be read from here on.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }

    /// The stream itself. What is read from it does not count.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The stream, with all that is left of it.
    pub fn into_inner(self) -> R {
        self.reader
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

impl<R: AsyncRead> AsyncRead for Take<R> {
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        if self.limit == 0 {
            return (Ok(0), buffer);
        }
        let (result, buffer) = self.reader.read(buffer.limit(self.bytes())).await;
        if let Ok(count) = result {
            self.limit -= count as u64;
        }
        (result, buffer.into_inner())
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.limit += bytes.len() as u64;
        self.reader.put_back(bytes);
    }

    fn block_bytes(&self) -> usize {
        self.reader.block_bytes()
    }
}

impl<R: AsyncBufRead> AsyncBufRead for Take<R> {
    #[inline]
    fn buffer(&self) -> &[u8] {
        let bytes = self.reader.buffer();
        &bytes[..bytes.len().min(self.bytes())]
    }

    async fn fill_more(&mut self) -> io::Result<usize> {
        let before = self.buffer().len();
        if before == self.bytes() {
            return Ok(0);
        }
        self.reader.fill_more().await?;
        Ok(self.buffer().len() - before)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.buffer().len());
        self.reader.consume(bytes);
        self.limit -= bytes as u64;
    }
}
