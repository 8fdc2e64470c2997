//! Streams that are memory, or nothing at all.

use std::io::{self, Cursor, SeekFrom};

use super::read::no_room;
use super::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
use crate::buf::{IoBuf, IoBufMut};

/// The bytes of a cursor from its position on.
fn rest<T: AsRef<[u8]>>(cursor: &Cursor<T>) -> &[u8] {
    let bytes = cursor.get_ref().as_ref();
    let start = usize::try_from(cursor.position()).map_or(bytes.len(), |position| position.min(bytes.len()));
    &bytes[start..]
}

impl<T: AsRef<[u8]>> AsyncRead for Cursor<T> {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        if buffer.room().is_empty() {
            return (Err(no_room()), buffer);
        }
        let count = buffer.fill_from(rest(self));
        self.set_position(self.position() + count as u64);
        (Ok(count), buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.set_position(self.position() - bytes.len() as u64);
    }
}

impl<T: AsRef<[u8]>> AsyncBufRead for Cursor<T> {
    #[inline]
    fn buffer(&self) -> &[u8] {
        rest(self)
    }

    async fn fill_more(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(rest(self).len());
        self.set_position(self.position() + bytes as u64);
    }
}

impl<T: AsRef<[u8]>> AsyncSeek for Cursor<T> {
    async fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        io::Seek::seek(self, to)
    }
}

impl AsyncWrite for Cursor<Vec<u8>> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        (io::Write::write(self, buffer.as_slice()), buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written is appended.
impl AsyncWrite for Vec<u8> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        self.extend_from_slice(buffer.as_slice());
        (Ok(buffer.as_slice().len()), buffer)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that has ended; made by [`empty`].
#[derive(Clone, Copy, Debug)]
pub struct Empty(());

/// A stream that has ended. What is written to it is gone.
pub fn empty() -> Empty {
    Empty(())
}

impl AsyncRead for Empty {
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        (Ok(0), buffer)
    }

    fn put_back(&mut self, _bytes: Vec<u8>) {}
}

impl AsyncBufRead for Empty {
    fn buffer(&self) -> &[u8] {
        &[]
    }

    async fn fill_more(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    fn consume(&mut self, _bytes: usize) {}
}

/// A stream of one byte that never ends; made by [`repeat`].
#[derive(Clone, Copy, Debug)]
pub struct Repeat(u8);

/// A stream of one byte that never ends.
pub fn repeat(byte: u8) -> Repeat {
    Repeat(byte)
}

impl AsyncRead for Repeat {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        let count = buffer.fill_from(&[self.0; 4096]);
        (if count == 0 { Err(no_room()) } else { Ok(count) }, buffer)
    }

    fn put_back(&mut self, _bytes: Vec<u8>) {}
}

/// A place for what nobody wants; made by [`sink`].
#[derive(Clone, Copy, Debug)]
pub struct Sink(());

/// A place for what nobody wants: whatever is written to it is gone.
pub fn sink() -> Sink {
    Sink(())
}

macro_rules! swallows {
    ($($writer:ty),*) => {
        $(impl AsyncWrite for $writer {
            async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
                (Ok(buffer.as_slice().len()), buffer)
            }

            async fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                Ok(())
            }
        })*
    };
}

swallows!(Sink, Empty);
