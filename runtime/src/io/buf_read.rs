//! Readers that have bytes to look at before they are taken.

use std::fmt;
use std::io;

use memchr::memchr;

use super::read::not_utf8;
use super::{Lines, Split};

/// A reader with a buffer: what is in it can be looked at, and is taken only when it is [consumed](Self::consume).
pub trait AsyncBufRead {
    /// What has been read and not been consumed. Nothing is read for that.
    fn buffer(&self) -> &[u8];

    /// Reads more, behind what is in the [buffer](Self::buffer), and says how much that was: 0 at the end of the stream. The
    /// buffer grows if it must.
    ///
    /// # Errors
    ///
    /// What the stream says. What is in the buffer stays.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    fn fill_more(&mut self) -> impl Future<Output = io::Result<usize>>;

    /// Takes that many bytes of what is in the buffer.
    fn consume(&mut self, bytes: usize);
}

impl<R: AsyncBufRead> AsyncBufRead for &mut R {
    #[inline]
    fn buffer(&self) -> &[u8] {
        R::buffer(self)
    }

    fn fill_more(&mut self) -> impl Future<Output = io::Result<usize>> {
        R::fill_more(self)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        R::consume(self, bytes);
    }
}

impl<R: AsyncBufRead> AsyncBufRead for Box<R> {
    #[inline]
    fn buffer(&self) -> &[u8] {
        R::buffer(self)
    }

    fn fill_more(&mut self) -> impl Future<Output = io::Result<usize>> {
        R::fill_more(self)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        R::consume(self, bytes);
    }
}

/// What an [`io::Error`] holds (with the kind [`InvalidData`](io::ErrorKind::InvalidData)) if a part of a stream is longer than
/// was allowed.
///
/// Nothing has been taken then: allow more, or leave it out with [`skip_until`](AsyncBufReadExt::skip_until).
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncBufReadExt, Cursor, TooLong};
///
/// corering_runtime::run(async {
///     let mut reader = Cursor::new("an endless line\nhello\n");
///     let mut line = String::new();
///     let error = reader.read_line_limited(&mut line, 8).await.unwrap_err();
///     assert_eq!(error.get_ref().unwrap().downcast_ref::<TooLong>().unwrap().limit(), 8);
///     reader.skip_until(b'\n').await?;
///     reader.read_line_limited(&mut line, 8).await?;
///     assert_eq!(line, "hello\n");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    limit: usize,
    delimiter: u8,
}

impl TooLong {
    #[cold]
    pub(super) fn error(limit: usize, delimiter: u8) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { limit, delimiter })
    }

    /// How many bytes were allowed before the delimiter.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.delimiter {
            b'\n' => write!(f, "a line is longer than {limit} bytes, which is the limit"),
            delimiter => {
                write!(f, "there is no {:?} within {limit} bytes, which is the limit", char::from(delimiter))
            }
        }
    }
}

impl std::error::Error for TooLong {}

/// How far a part of a stream reaches in the buffer.
pub(super) enum Found {
    /// So many bytes, with the delimiter at their end.
    Part(usize),
    /// It is not here; so many bytes were looked at.
    NotYet(usize),
    /// It is longer than it may be.
    TooLong,
}

/// Looks for the end of a part in `buffer`, of which the first `searched` bytes do not hold it.
#[inline]
pub(super) fn find(buffer: &[u8], searched: usize, delimiter: u8, limit: usize) -> Found {
    match memchr(delimiter, &buffer[searched..]) {
        Some(at) if searched + at <= limit => Found::Part(searched + at + 1),
        None if buffer.len() <= limit => Found::NotYet(buffer.len()),
        Some(_) | None => Found::TooLong,
    }
}

/// Reads on until a whole part is in the buffer, or the end of the stream, and says how long the part is.
async fn part<R: AsyncBufRead>(reader: &mut R, delimiter: u8, limit: usize) -> io::Result<usize> {
    let mut searched = 0;
    loop {
        match find(reader.buffer(), searched, delimiter, limit) {
            Found::Part(bytes) => return Ok(bytes),
            Found::TooLong => return Err(TooLong::error(limit, delimiter)),
            Found::NotYet(bytes) => searched = bytes,
        }
        if reader.fill_more().await? == 0 {
            return Ok(searched);
        }
    }
}

/// Takes a line of so many bytes.
#[inline]
fn take_line<R: AsyncBufRead>(reader: &mut R, bytes: usize, line: &mut String) -> io::Result<usize> {
    match std::str::from_utf8(&reader.buffer()[..bytes]) {
        Ok(text) => line.push_str(text),
        Err(error) => return Err(not_utf8(error)),
    }
    reader.consume(bytes);
    Ok(bytes)
}

/// What every [`AsyncBufRead`] can do.
///
/// # Cancel safety
///
/// Lines and parts are taken when they are there as a whole: dropped before, or failing, a call has taken nothing, and the
/// next one finds everything.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncBufReadExt, BufReader};
///
/// corering_runtime::run(async {
///     let mut lines = BufReader::new(io::Cursor::new("first\r\nsecond")).lines();
///     assert_eq!(lines.next_line().await?.as_deref(), Some("first"));
///     assert_eq!(lines.next_line().await?.as_deref(), Some("second"));
///     assert_eq!(lines.next_line().await?, None);
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub trait AsyncBufReadExt: AsyncBufRead + Sized {
    /// What is in the buffer, after reading if there is nothing; empty at the end of the stream.
    /// [Consume](AsyncBufRead::consume) what was used of it.
    ///
    /// # Errors
    ///
    /// As [`fill_more`](AsyncBufRead::fill_more).
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    #[inline]
    fn fill_buf(&mut self) -> impl Future<Output = io::Result<&[u8]>> {
        async move {
            let reader = self;
            if reader.buffer().is_empty() {
                reader.fill_more().await?;
            }
            let reader: &Self = reader;
            Ok(reader.buffer())
        }
    }

    /// Appends the next line, with its `\n`, and says how many bytes that were: 0 at the end of the stream. The last line
    /// may have no `\n`.
    ///
    /// # Errors
    ///
    /// As [`fill_more`](AsyncBufRead::fill_more), and [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8: then
    /// nothing has been taken, and [`read_line_lossy`](Self::read_line_lossy) or [`read_until`](Self::read_until) takes
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    #[inline]
    fn read_line(&mut self, line: &mut String) -> impl Future<Output = io::Result<usize>> {
        self.read_line_limited(line, usize::MAX)
    }

    /// As [`read_line`](Self::read_line), but the line has at most `limit` bytes, its `\n` not counted. A buffer never grows
    /// much beyond that.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if it has more: then nothing has been taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    #[inline]
    fn read_line_limited(&mut self, line: &mut String, limit: usize) -> impl Future<Output = io::Result<usize>> {
        async move {
            // Mostly it is there: no other future is made for that.
            let bytes = match find(self.buffer(), 0, b'\n', limit) {
                Found::Part(bytes) => bytes,
                Found::NotYet(_) | Found::TooLong => part(self, b'\n', limit).await?,
            };
            take_line(self, bytes, line)
        }
    }

    /// As [`read_line`](Self::read_line), but takes the line also if it is not UTF-8: each place that is not becomes
    /// U+FFFD (`�`). Says how many bytes were taken of the stream, which may be fewer than were appended.
    ///
    /// # Errors
    ///
    /// As [`fill_more`](AsyncBufRead::fill_more).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    fn read_line_lossy(&mut self, line: &mut String) -> impl Future<Output = io::Result<usize>> {
        async move {
            let bytes = part(self, b'\n', usize::MAX).await?;
            line.push_str(&String::from_utf8_lossy(&self.buffer()[..bytes]));
            self.consume(bytes);
            Ok(bytes)
        }
    }

    /// Appends the bytes up to the next `delimiter`, and that, and says how many bytes that were: 0 at the end of the
    /// stream. The last part may have no delimiter.
    ///
    /// # Errors
    ///
    /// As [`fill_more`](AsyncBufRead::fill_more).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    #[inline]
    fn read_until(&mut self, delimiter: u8, part: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
        self.read_until_limited(delimiter, part, usize::MAX)
    }

    /// As [`read_until`](Self::read_until), but at most `limit` bytes, the delimiter not counted.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if there are more: then nothing has been taken.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    #[inline]
    fn read_until_limited(
        &mut self,
        delimiter: u8,
        bytes: &mut Vec<u8>,
        limit: usize,
    ) -> impl Future<Output = io::Result<usize>> {
        async move {
            let count = match find(self.buffer(), 0, delimiter, limit) {
                Found::Part(count) => count,
                Found::NotYet(_) | Found::TooLong => part(self, delimiter, limit).await?,
            };
            bytes.extend_from_slice(&self.buffer()[..count]);
            self.consume(count);
            Ok(count)
        }
    }

    /// Leaves out the bytes up to the next `delimiter`, and that, and says how many bytes that were. They are not kept.
    ///
    /// # Errors
    ///
    /// As [`fill_more`](AsyncBufRead::fill_more).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have left out a part; called again, it leaves out the rest.
    fn skip_until(&mut self, delimiter: u8) -> impl Future<Output = io::Result<usize>> {
        async move {
            let mut skipped = 0;
            loop {
                let (bytes, found) = match find(self.fill_buf().await?, 0, delimiter, usize::MAX) {
                    Found::Part(bytes) => (bytes, true),
                    Found::NotYet(bytes) => (bytes, false),
                    Found::TooLong => unreachable!("there is no limit"),
                };
                self.consume(bytes);
                skipped += bytes;
                if found || bytes == 0 {
                    return Ok(skipped);
                }
            }
        }
    }

    /// The lines of the stream, without their ends (`\n` or `\r\n`).
    fn lines(self) -> Lines<Self> {
        Lines::new(self)
    }

    /// The parts of the stream between delimiters.
    fn split(self, delimiter: u8) -> Split<Self> {
        Split::new(self, delimiter)
    }
}

impl<R: AsyncBufRead> AsyncBufReadExt for R {}
