//! The parts of a stream, one after the other.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::AsyncBufRead;
use super::buf_read::{Found, TooLong, find};
use super::kept::Kept;
use super::read::not_utf8;

/// A reader, and how far it has looked for the end of a part.
#[derive(Debug)]
struct Parts<R> {
    reader: Kept<R, io::Result<usize>>,
    delimiter: u8,
    limit: usize,
    /// So many bytes of the buffer do not hold the delimiter.
    searched: usize,
}

impl<R: AsyncBufRead> Parts<R> {
    fn new(reader: R, delimiter: u8) -> Self {
        Self { reader: Kept::new(reader), delimiter, limit: usize::MAX, searched: 0 }
    }

    /// Waits for the next part, and takes it if `make` makes something of it, which is told whether the delimiter is there.
    fn poll_next<T>(
        &mut self,
        cx: &mut Context<'_>,
        make: impl FnOnce(&[u8]) -> io::Result<T>,
    ) -> Poll<io::Result<Option<T>>> {
        let mut more = true;
        loop {
            if self.reader.is_busy() {
                more = ready!(self.reader.poll(cx))? > 0;
            }
            let Some(reader) = self.reader.get_mut() else { unreachable!("what was under way has ended") };
            let buffer = reader.buffer();
            let bytes = match find(buffer, self.searched.min(buffer.len()), self.delimiter, self.limit) {
                Found::Part(bytes) => bytes,
                Found::TooLong => return Poll::Ready(Err(TooLong::error(self.limit, self.delimiter))),
                Found::NotYet(bytes) if more => {
                    self.searched = bytes;
                    self.reader.begin(|reader| Box::pin(reader.fill_more()));
                    continue;
                }
                Found::NotYet(0) => return Poll::Ready(Ok(None)),
                Found::NotYet(bytes) => bytes,
            };
            let made = make(&buffer[..bytes]);
            if made.is_ok() {
                reader.consume(bytes);
                self.searched = 0;
            }
            return Poll::Ready(made.map(Some));
        }
    }
}

macro_rules! accessors {
    () => {
        /// At most so many bytes from here on, the delimiter not counted. A longer part is the error [`TooLong`], and is
        /// not taken: allow more, or leave it out by [`get_mut`](Self::get_mut).
        pub fn limit(mut self, bytes: usize) -> Self {
            self.0.limit = bytes;
            self
        }

        /// The reader; `None` if a read is under way, which a call that was dropped has begun.
        pub fn get_mut(&mut self) -> Option<&mut R> {
            self.0.searched = 0;
            self.0.reader.get_mut()
        }

        /// The reader, with all that was read and not given.
        pub fn into_inner(self) -> R {
            self.0.reader.into_value()
        }
    };
}

/// The lines of a stream; made by [`AsyncBufReadExt::lines`](super::AsyncBufReadExt::lines).
///
/// After an error nothing has been taken: the next call meets the same line.
#[derive(Debug)]
#[must_use = "lines are read only when they are asked for"]
pub struct Lines<R>(Parts<R>, Text);

/// What becomes of bytes that are not UTF-8.
#[derive(Clone, Copy, Debug)]
enum Text {
    Refused,
    Replaced,
}

impl<R: AsyncBufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self(Parts::new(reader, b'\n'), Text::Refused)
    }

    accessors!();

    /// Takes lines from here on also if they are not UTF-8: each place that is not becomes U+FFFD (`�`).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::io::{self, AsyncBufReadExt, Cursor};
    ///
    /// corering_runtime::run(async {
    ///     let mut lines = Cursor::new(b"caf\xe9\nhello\n").lines();
    ///     assert!(lines.next_line().await.is_err());
    ///     let mut lines = lines.lossy();
    ///     assert_eq!(lines.next_line().await?.as_deref(), Some("caf\u{fffd}"));
    ///     assert_eq!(lines.next_line().await?.as_deref(), Some("hello"));
    ///     io::Result::Ok(())
    /// })??;
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn lossy(self) -> Self {
        Self(self.0, Text::Replaced)
    }

    /// The next line, without its end (`\n` or `\r\n`); `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the stream says; [`InvalidData`](io::ErrorKind::InvalidData) if the line is too long, or not UTF-8: every
    /// call meets that line again, until [`lossy`](Self::lossy) takes it, or it is left out by
    /// [`get_mut`](Self::get_mut).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    #[inline]
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<String>>> {
        let not_text = self.1;
        self.0.poll_next(cx, |bytes| {
            let line = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
            match (std::str::from_utf8(line), not_text) {
                (Ok(text), _) => Ok(text.to_owned()),
                (Err(_), Text::Replaced) => Ok(String::from_utf8_lossy(line).into_owned()),
                (Err(error), Text::Refused) => Err(not_utf8(error)),
            }
        })
    }
}

impl<R: AsyncBufRead> Stream for Lines<R> {
    type Item = io::Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_line(cx).map(Result::transpose)
    }
}

// The reader lies elsewhere.
impl<R> Unpin for Lines<R> {}

/// The parts of a stream; made by [`AsyncBufReadExt::split`](super::AsyncBufReadExt::split).
///
/// After an error nothing has been taken: the next call meets the same part.
#[derive(Debug)]
#[must_use = "parts are read only when they are asked for"]
pub struct Split<R>(Parts<R>);

impl<R: AsyncBufRead> Split<R> {
    pub(super) fn new(reader: R, delimiter: u8) -> Self {
        Self(Parts::new(reader, delimiter))
    }

    accessors!();

    /// The next part, without the delimiter; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the stream says; [`InvalidData`](io::ErrorKind::InvalidData) if the part is too long.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn next_segment(&mut self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|cx| self.poll_segment(cx)).await
    }

    #[inline]
    fn poll_segment(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let delimiter = self.0.delimiter;
        self.0.poll_next(cx, |bytes| Ok(bytes.strip_suffix(&[delimiter]).unwrap_or(bytes).to_vec()))
    }
}

impl<R: AsyncBufRead> Stream for Split<R> {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_segment(cx).map(Result::transpose)
    }
}

// The reader lies elsewhere.
impl<R> Unpin for Split<R> {}
