//! A reader and a writer as one stream, and streams as two.

use std::io;

use super::{AsyncRead, AsyncWrite};
use crate::buf::{IoBuf, IoBufMut};

/// A stream that can be read and written at the same time.
pub trait Duplex {
    /// Reads from it.
    type Reader<'a>: AsyncRead
    where
        Self: 'a;
    /// Writes to it.
    type Writer<'a>: AsyncWrite
    where
        Self: 'a;

    /// Both sides of it.
    fn duplex(&mut self) -> (Self::Reader<'_>, Self::Writer<'_>);
}

impl<S: Duplex> Duplex for &mut S {
    type Reader<'a>
        = S::Reader<'a>
    where
        Self: 'a;
    type Writer<'a>
        = S::Writer<'a>
    where
        Self: 'a;

    fn duplex(&mut self) -> (Self::Reader<'_>, Self::Writer<'_>) {
        S::duplex(self)
    }
}

/// A reader and a writer as one stream; made by [`join`].
#[derive(Clone, Copy, Debug)]
pub struct Join<R, W> {
    reader: R,
    writer: W,
}

/// A reader and a writer as one stream.
///
/// # Examples
///
/// ```
/// use corering_runtime::io;
///
/// corering_runtime::run(async {
///     let mut left = io::join(io::Cursor::new("to the right"), Vec::new());
///     let mut right = io::join(io::Cursor::new("to the left"), Vec::new());
///     assert_eq!(io::copy_bidirectional(&mut left, &mut right).await?, (12, 11));
///     assert_eq!(left.into_inner().1, b"to the left");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub fn join<R, W>(reader: R, writer: W) -> Join<R, W> {
    Join { reader, writer }
}

impl<R, W> Join<R, W> {
    /// The reader.
    pub fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The writer.
    pub fn writer(&mut self) -> &mut W {
        &mut self.writer
    }

    /// Both again.
    pub fn into_inner(self) -> (R, W) {
        (self.reader, self.writer)
    }
}

impl<R: AsyncRead, W: AsyncWrite> Duplex for Join<R, W> {
    type Reader<'a>
        = &'a mut R
    where
        Self: 'a;
    type Writer<'a>
        = &'a mut W
    where
        Self: 'a;

    fn duplex(&mut self) -> (&mut R, &mut W) {
        (&mut self.reader, &mut self.writer)
    }
}

impl<R: AsyncRead, W> AsyncRead for Join<R, W> {
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        self.reader.read(buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.reader.put_back(bytes);
    }

    fn read_vectored<B: IoBufMut>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        self.reader.read_vectored(buffers)
    }

    fn block_bytes(&self) -> usize {
        self.reader.block_bytes()
    }
}

impl<R, W: AsyncWrite> AsyncWrite for Join<R, W> {
    fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        self.writer.write(buffer)
    }

    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        self.writer.write_all(buffer)
    }

    fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        self.writer.write_vectored(buffers)
    }

    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        self.writer.settled()
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        self.writer.flush()
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        self.writer.shutdown()
    }
}
