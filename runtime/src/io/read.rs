//! Reading a stream into owned buffers.

use std::io;

use super::{Chain, Take};
use crate::buf::{Filling, IoBufMut};
use crate::op::{Descriptor, Receiver};

/// More than this is not read at once to the end of something.
const MOST_AT_ONCE: usize = 256 * 1024;

/// A stream of bytes to read.
///
/// A read takes its buffer and gives it back with the result, also on error. To implement it, read into the room of the
/// buffer: with a call of something that implements it already, or by [`IoBufMut::fill_from`].
///
/// # Cancel safety
///
/// Whoever implements it promises: a read whose future is dropped has taken no byte from the stream. What arrives
/// nevertheless is given to the next read.
///
/// # Examples
///
/// A reader that counts:
///
/// ```
/// use corering_runtime::buf::IoBufMut;
/// use corering_runtime::io::{self, AsyncRead, AsyncReadExt};
///
/// struct Counted<R> {
///     reader: R,
///     bytes: usize,
/// }
///
/// impl<R: AsyncRead> AsyncRead for Counted<R> {
///     async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
///         let (result, buffer) = self.reader.read(buffer).await;
///         if let Ok(count) = result {
///             self.bytes += count;
///         }
///         (result, buffer)
///     }
///
///     fn put_back(&mut self, bytes: Vec<u8>) {
///         self.bytes -= bytes.len();
///         self.reader.put_back(bytes);
///     }
/// }
///
/// corering_runtime::run(async {
///     let mut reader = Counted { reader: io::Cursor::new("hello"), bytes: 0 };
///     let (result, text) = reader.read_to_string(String::new()).await;
///     assert_eq!((result?, text.as_str(), reader.bytes), (5, "hello", 5));
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub trait AsyncRead {
    /// Reads what has come into the room of `buffer`, and says how much that was: 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the stream says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the buffer has no room.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing from the stream; the buffer is gone.
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)>;

    /// Takes back the bytes that were read last: the next read gets them first.
    ///
    /// By this, calls that need more bytes than one read brings lose none when they are dropped.
    fn put_back(&mut self, bytes: Vec<u8>);

    /// Reads into several buffers in turn, as much as goes at once; as it is, into the first that has room.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    fn read_vectored<B: IoBufMut>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        async move {
            let mut buffers = buffers;
            let Some(first) = buffers.iter_mut().position(|buffer| !buffer.room().is_empty()) else {
                return (Err(no_room()), buffers);
            };
            let (result, buffer) = self.read(buffers.remove(first)).await;
            buffers.insert(first, buffer);
            (result, buffers)
        }
    }

    /// How many bytes are well read at once: the size of the buffer that a [`BufReader`](super::BufReader) of this has.
    fn block_bytes(&self) -> usize {
        8 * 1024
    }

    /// The receiver of a stream socket, if what it has is all that a read would give.
    #[doc(hidden)]
    fn passing_receiver(&mut self) -> Option<&mut Receiver> {
        None
    }

    /// A file with positions, and where in it the next read begins, if it is all that a read would give.
    #[doc(hidden)]
    fn passing_file(&mut self) -> Option<(&Descriptor, &mut u64)> {
        None
    }
}

/// What a read into a buffer without room says: 0 bytes would look like the end of the stream.
pub(super) fn no_room() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the buffer has no room to read into: give a Vec spare capacity (clear it, or reserve), or a longer slice",
    )
}

/// What a stream says that ends too soon.
pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended before the buffer was full")
}

/// What bytes say that are no text.
pub(super) fn not_utf8(error: std::str::Utf8Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stream does not hold text: {error}"))
}

impl<R: AsyncRead> AsyncRead for &mut R {
    #[inline]
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        R::read(self, buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        R::put_back(self, bytes);
    }

    fn read_vectored<B: IoBufMut>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        R::read_vectored(self, buffers)
    }

    fn block_bytes(&self) -> usize {
        R::block_bytes(self)
    }

    fn passing_receiver(&mut self) -> Option<&mut Receiver> {
        R::passing_receiver(self)
    }

    fn passing_file(&mut self) -> Option<(&Descriptor, &mut u64)> {
        R::passing_file(self)
    }
}

impl<R: AsyncRead> AsyncRead for Box<R> {
    #[inline]
    fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
        R::read(self, buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        R::put_back(self, bytes);
    }

    fn read_vectored<B: IoBufMut>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        R::read_vectored(self, buffers)
    }

    fn block_bytes(&self) -> usize {
        R::block_bytes(self)
    }

    fn passing_receiver(&mut self) -> Option<&mut Receiver> {
        R::passing_receiver(self)
    }

    fn passing_file(&mut self) -> Option<(&Descriptor, &mut u64)> {
        R::passing_file(self)
    }
}

/// Bytes that several reads brought together. Dropped, it puts them back.
struct Gathered<'a, R: AsyncRead> {
    reader: &'a mut R,
    bytes: Vec<u8>,
    /// So many at the start are the caller's own, and were not read.
    own: usize,
}

impl<'a, R: AsyncRead> Gathered<'a, R> {
    fn behind(bytes: Vec<u8>, reader: &'a mut R) -> Self {
        Self { reader, own: bytes.len(), bytes }
    }

    /// How many bytes have been read.
    fn count(&self) -> usize {
        self.bytes.len() - self.own
    }

    /// From here on they belong to somebody.
    fn take(&mut self) -> Vec<u8> {
        self.own = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Reads until the stream ends.
    async fn read_to_end(&mut self) -> io::Result<()> {
        let mut size = self.reader.block_bytes();
        let mut block = Vec::with_capacity(size);
        loop {
            let (result, read) = self.reader.read(block).await;
            block = read;
            if result? == 0 {
                return Ok(());
            }
            self.bytes.extend_from_slice(&block);
            if block.len() == block.capacity() && size < MOST_AT_ONCE {
                size *= 2;
                block = Vec::with_capacity(size);
            }
            block.clear();
        }
    }
}

impl<R: AsyncRead> Drop for Gathered<'_, R> {
    fn drop(&mut self) {
        if self.count() > 0 {
            self.reader.put_back(self.bytes.split_off(self.own));
        }
    }
}

/// What every [`AsyncRead`] can do.
///
/// # Cancel safety
///
/// Any of these may be dropped: what had been read is put back, and the next read gets it. The buffers are gone.
pub trait AsyncReadExt: AsyncRead + Sized {
    /// Fills all the room of `buffer`.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the stream ends before, and otherwise as
    /// [`read`](AsyncRead::read). The buffer then holds what had come; with one that does not grow (an array) the count is
    /// not known.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing from the stream.
    fn read_exact<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        async move {
            let mut filling = Filling::new(buffer);
            let mut so_far = Gathered::behind(Vec::new(), self);
            let mut result = Ok(());
            while !filling.is_full() {
                let read;
                (read, filling) = so_far.reader.read(filling).await;
                match read {
                    Ok(0) => result = Err(ended()),
                    Ok(_) if filling.is_full() => {}
                    // The buffer goes away again: what is in it is kept beside it.
                    Ok(_) => {
                        let known = so_far.count();
                        so_far.bytes.extend_from_slice(filling.come(known));
                    }
                    Err(error) => result = Err(error),
                }
                if result.is_err() {
                    break;
                }
            }
            so_far.take();
            (result, filling.end())
        }
    }

    /// Appends all that comes until the stream ends, and says how much that was.
    ///
    /// # Errors
    ///
    /// As [`read`](AsyncRead::read). The buffer then holds what had come.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing from the stream.
    fn read_to_end(&mut self, buffer: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> {
        async move {
            let mut all = Gathered::behind(buffer, self);
            let result = all.read_to_end().await;
            let count = all.count();
            (result.map(|()| count), all.take())
        }
    }

    /// Appends all that comes until the stream ends, which has to be text, and says how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`read`](AsyncRead::read), and [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8. Then nothing has
    /// been taken from the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing from the stream.
    fn read_to_string(&mut self, mut buffer: String) -> impl Future<Output = (io::Result<usize>, String)> {
        async move {
            let mut all = Gathered::behind(Vec::new(), self);
            if let Err(error) = all.read_to_end().await {
                return (Err(error), buffer);
            }
            match std::str::from_utf8(&all.bytes) {
                Ok(text) => buffer.push_str(text),
                Err(error) => return (Err(not_utf8(error)), buffer),
            }
            (Ok(all.take().len()), buffer)
        }
    }

    /// Only the next `limit` bytes of the stream.
    fn take(self, limit: u64) -> Take<Self> {
        Take::new(self, limit)
    }

    /// This stream, and `next` after it.
    fn chain<R: AsyncRead>(self, next: R) -> Chain<Self, R> {
        Chain::new(self, next)
    }
}

impl<R: AsyncRead> AsyncReadExt for R {}
