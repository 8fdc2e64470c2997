//! Writing owned buffers to a stream.

use std::io;

use crate::buf::{IoBuf, Slice};
use crate::op::Descriptor;

/// A stream of bytes to write to.
///
/// A write takes its buffer and gives it back with the result, also on error.
///
/// # Cancel safety
///
/// Of a single [`write`](Self::write) that is dropped nobody knows how much has gone out. For what must not be torn there
/// are two ways:
///
/// - [`write_all`](Self::write_all) of files, sockets and standard output: once it has begun, it goes out whole, also if it is
///   dropped, and everything later waits for it. It begins when it is first polled after [`settled`](Self::settled).
/// - [`BufWriter`](super::BufWriter), around whatever writes: it owns the write that is under way, and learns of its end.
///
/// # Examples
///
/// A writer that counts:
///
/// ```
/// use corering_runtime::buf::IoBuf;
/// use corering_runtime::io::{self, AsyncWrite};
///
/// struct Counted<W> {
///     writer: W,
///     bytes: usize,
/// }
///
/// impl<W: AsyncWrite> AsyncWrite for Counted<W> {
///     async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
///         let (result, buffer) = self.writer.write(buffer).await;
///         if let Ok(count) = result {
///             self.bytes += count;
///         }
///         (result, buffer)
///     }
///
///     async fn flush(&mut self) -> io::Result<()> {
///         self.writer.flush().await
///     }
///
///     async fn shutdown(&mut self) -> io::Result<()> {
///         self.writer.shutdown().await
///     }
/// }
///
/// corering_runtime::run(async {
///     let mut writer = Counted { writer: Vec::new(), bytes: 0 };
///     writer.write_all("hello").await.0?;
///     assert_eq!((writer.bytes, &writer.writer[..]), (5, &b"hello"[..]));
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub trait AsyncWrite {
    /// Writes as much of `buffer` as goes at once, and says how much that was.
    ///
    /// # Errors
    ///
    /// What the stream says, such as that nobody reads it any more.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have written a part, or do so yet; what is written later comes after that.
    fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)>;

    /// Writes all of `buffer`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and [`WriteZero`](io::ErrorKind::WriteZero) if the stream takes no more. A part may have
    /// been written.
    ///
    /// # Cancel safety
    ///
    /// As it is, it writes part after part, and goes on with none when it is dropped. Who can promises more: polled once,
    /// after [`settled`](Self::settled), it goes out whole.
    fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
        async move {
            let mut buffer = buffer;
            let mut done = 0;
            while done < buffer.as_slice().len() {
                let (result, part) = self.write(buffer.slice(done..)).await;
                buffer = part.into_inner();
                match result {
                    Ok(0) => return (Err(takes_no_more()), buffer),
                    Ok(count) => done += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buffer),
                }
            }
            (Ok(()), buffer)
        }
    }

    /// Writes several buffers in turn, as much of them as goes at once; as it is, of the first that is not empty.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
        async move {
            let mut buffers = buffers;
            let Some(first) = buffers.iter().position(|buffer| !buffer.as_slice().is_empty()) else {
                return (Ok(0), buffers);
            };
            let (result, buffer) = self.write(buffers.remove(first)).await;
            buffers.insert(first, buffer);
            (result, buffers)
        }
    }

    /// Waits until no write that was dropped is under way, and there is room: then a [`write_all`](Self::write_all) begins
    /// when it is first polled.
    ///
    /// # Errors
    ///
    /// What came of earlier writes, if that is known only now.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Hands on what has been collected, and waits for what was dropped: then all that was written is with the kernel.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing, and it can be called again.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>>;

    /// Flushes, and says that nothing more will be written: the other side reads the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing, and it can be called again.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>>;

    /// The stream socket, if what is written goes there and nowhere else.
    #[doc(hidden)]
    fn passing_socket(&mut self) -> Option<&Descriptor> {
        None
    }
}

/// What a writer says that takes 0 bytes of some.
pub(super) fn takes_no_more() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the other side takes no more bytes")
}

macro_rules! forwards {
    ($($pointer:ty),*) => {
        $(impl<W: AsyncWrite> AsyncWrite for $pointer {
            fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
                W::write(self, buffer)
            }

            fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
                W::write_all(self, buffer)
            }

            fn write_vectored<B: IoBuf>(
                &mut self,
                buffers: Vec<B>,
            ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
                W::write_vectored(self, buffers)
            }

            fn settled(&mut self) -> impl Future<Output = io::Result<()>> {
                W::settled(self)
            }

            fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
                W::flush(self)
            }

            fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
                W::shutdown(self)
            }

            fn passing_socket(&mut self) -> Option<&Descriptor> {
                W::passing_socket(self)
            }
        })*
    };
}

forwards!(&mut W, Box<W>);

/// What every [`AsyncWrite`] can do.
pub trait AsyncWriteExt: AsyncWrite + Sized {
    /// Writes all of several buffers, in turn.
    ///
    /// # Errors
    ///
    /// As [`write_all`](AsyncWrite::write_all).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have written a part.
    fn write_vectored_all<B: IoBuf>(&mut self, buffers: Vec<B>) -> impl Future<Output = (io::Result<()>, Vec<B>)> {
        async move {
            let mut buffers = buffers;
            let mut done = 0;
            let all: usize = buffers.iter().map(|buffer| buffer.as_slice().len()).sum();
            while done < all {
                let (result, parts) = self.write_vectored(behind(buffers, done)).await;
                buffers = parts.into_iter().map(Slice::into_inner).collect();
                match result {
                    Ok(0) => return (Err(takes_no_more()), buffers),
                    Ok(count) => done += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buffers),
                }
            }
            (Ok(()), buffers)
        }
    }
}

impl<W: AsyncWrite> AsyncWriteExt for W {}

/// What is left of buffers, of which the first `done` bytes together are written.
pub(super) fn behind<B: IoBuf>(buffers: Vec<B>, mut done: usize) -> Vec<Slice<B>> {
    let part = |buffer: B| {
        let written = done.min(buffer.as_slice().len());
        done -= written;
        buffer.slice(written..)
    };
    buffers.into_iter().map(part).collect()
}
