//! A reader of text.
//!
//! ```text
//!  bytes, read in blocks --decoded, ends of lines made one--> text [ consumed | rest ]
//! ```
//!
//! Invariant: the only await is that for more bytes; what is taken of these is decoded in the same step. So a drop loses
//! nothing, and what stands for nothing is met again by every call.

use std::io;

use memchr::memchr;

#[cfg(feature = "encoding")]
use encoding_rs::Encoding;

use super::read::not_utf8;
use super::text::Decoding;
use super::{AsyncBufRead, AsyncRead, BufReader};

/// Reads text: takes bytes of a stream that are UTF-8 (or, with the feature `encoding`, something else), and gives them as
/// UTF-8 without a byte order mark, and on request with `\n` at the end of every line.
///
/// What can be done with it is mostly in [`AsyncBufReadExt`](super::AsyncBufReadExt): lines, with and without a limit. Its
/// buffer holds whole characters only.
///
/// What is no text is an [error](super::DecodeError) that names its offset, after all the text before it has been given;
/// every call meets it again, until [`lossy`](Self::lossy) passes over it.
///
/// # Cancel safety
///
/// Any call may be dropped: what was read is in the buffers, and the next call gets it.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncBufReadExt, Cursor, TextReader};
///
/// corering_runtime::run(async {
///     let bytes = Cursor::new("\u{feff}one\r\ntwo\rthree");
///     let mut reader = TextReader::new(bytes).universal_newlines();
///     let mut line = String::new();
///     reader.read_line(&mut line).await?;
///     assert_eq!(line, "one\n");
///     let mut rest = String::new();
///     reader.read_to_string(&mut rest).await?;
///     assert_eq!(rest, "two\nthree");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct TextReader<R> {
    bytes: BufReader<R>,
    decoding: Decoding,
    /// There is nothing to be decoded among the bytes that are here.
    starved: bool,
    lossy: bool,
    lines: Option<Ends>,
    text: Vec<u8>,
    /// So many bytes of the text have been consumed.
    consumed: usize,
}

/// Makes every end of a line the same.
#[derive(Debug)]
struct Ends {
    /// A `\r` came last, and is a `\n` already: a `\n` behind it belongs to the same end.
    after_cr: bool,
}

impl<R: AsyncRead> TextReader<R> {
    /// Reads UTF-8, in blocks of the size that suits the reader ([`AsyncRead::block_bytes`]).
    pub fn new(reader: R) -> Self {
        Self::with_capacity(reader.block_bytes(), reader)
    }
}

impl<R> TextReader<R> {
    /// Reads UTF-8, so many bytes at once.
    pub fn with_capacity(bytes: usize, reader: R) -> Self {
        Self {
            bytes: BufReader::with_capacity(bytes, reader),
            decoding: Decoding::utf8(),
            starved: true,
            lossy: false,
            lines: None,
            text: Vec::new(),
            consumed: 0,
        }
    }

    /// Gives `\n` for every `\r\n` and for every `\r`, from here on. As it is, ends of lines stay what they are, and a line
    /// ends with `\n`.
    pub fn universal_newlines(mut self) -> Self {
        self.lines = Some(Ends { after_cr: false });
        self
    }

    /// Gives U+FFFD (`�`) for what is no text, from here on. After an error it goes on where that was.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::io::{self, Cursor, TextReader};
    ///
    /// corering_runtime::run(async {
    ///     let mut text = String::new();
    ///     let mut reader = TextReader::new(Cursor::new(b"caf\xe9"));
    ///     assert!(reader.read_to_string(&mut text).await.is_err() && text.is_empty());
    ///     reader.lossy().read_to_string(&mut text).await?;
    ///     assert_eq!(text, "caf\u{fffd}");
    ///     io::Result::Ok(())
    /// })??;
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn lossy(mut self) -> Self {
        self.lossy = true;
        self
    }

    /// Gives a byte order mark at the start as U+FEFF, as any character. As it is, it is left out.
    ///
    /// Say so before anything is read.
    pub fn keep_bom(mut self) -> Self {
        self.decoding.keep_mark();
        self
    }

    /// Reads another encoding than UTF-8, one of those that the web has. A byte order mark at the start that is of UTF-8 or
    /// UTF-16 outweighs it, unless it is [kept](Self::keep_bom).
    ///
    /// Say so before anything is read.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::io::{self, Cursor, Encoding, TextReader};
    ///
    /// corering_runtime::run(async {
    ///     let encoding = Encoding::for_label(b"latin1").unwrap();
    ///     let mut reader = TextReader::new(Cursor::new(b"caf\xe9")).encoding(encoding);
    ///     let mut text = String::new();
    ///     reader.read_to_string(&mut text).await?;
    ///     assert_eq!(text, "café");
    ///     io::Result::Ok(())
    /// })??;
    /// # Ok::<(), io::Error>(())
    /// ```
    #[cfg(feature = "encoding")]
    pub fn encoding(mut self, encoding: &'static Encoding) -> Self {
        self.decoding.from(encoding);
        self
    }

    /// The reader itself.
    pub fn get_ref(&self) -> &R {
        self.bytes.get_ref()
    }

    /// The reader itself. What is read from it does not go through the buffers.
    pub fn get_mut(&mut self) -> &mut R {
        self.bytes.get_mut()
    }

    /// The reader. What has been read and not been taken is lost.
    pub fn into_inner(self) -> R {
        self.bytes.into_inner()
    }

    /// Goes on with what was decoded: from `start` on it is new.
    fn end_lines(&mut self, start: usize) {
        let Some(Ends { after_cr }) = &mut self.lines else {
            return;
        };
        let text = &mut self.text;
        let (mut from, mut to) = (start, start);
        if from < text.len() && std::mem::take(after_cr) && text[from] == b'\n' {
            from += 1;
        }
        while let Some(at) = memchr(b'\r', &text[from..]) {
            text.copy_within(from..from + at, to);
            text[to + at] = b'\n';
            (from, to) = (from + at + 1, to + at + 1);
            match text.get(from) {
                Some(b'\n') => from += 1,
                Some(_) => {}
                None => *after_cr = true,
            }
        }
        if from > to {
            text.copy_within(from.., to);
            text.truncate(text.len() - (from - to));
        }
    }
}

impl<R: AsyncRead> TextReader<R> {
    /// Appends the next characters, at most so many, and says how many these are: fewer at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the stream says, and [`DecodeError`](super::DecodeError). Nothing has been taken then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn read_chars(&mut self, chars: usize, into: &mut String) -> io::Result<usize> {
        // Up to here there are so many of them.
        let (mut end, mut found) = (0, 0);
        loop {
            let text = &self.buffer()[end..];
            // A character is where a byte does not go on with one.
            let mut starts = text.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80).map(|(at, _)| at);
            match starts.nth(chars - found) {
                Some(at) => (end, found) = (end + at, chars),
                None => (end, found) = (end + text.len(), found + count_chars(text)),
            }
            if found == chars || self.fill_more().await? == 0 {
                break;
            }
        }
        self.take(end, into)?;
        Ok(found)
    }

    /// Appends all text that comes until the stream ends, and says how many bytes of UTF-8 that were.
    ///
    /// # Errors
    ///
    /// What the stream says, and [`DecodeError`](super::DecodeError). Nothing has been taken then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken nothing.
    pub async fn read_to_string(&mut self, into: &mut String) -> io::Result<usize> {
        while self.fill_more().await? > 0 {}
        let all = self.buffer().len();
        self.take(all, into)?;
        Ok(all)
    }

    fn take(&mut self, bytes: usize, into: &mut String) -> io::Result<()> {
        // A part of a character is there if somebody has consumed the other one.
        into.push_str(std::str::from_utf8(&self.buffer()[..bytes]).map_err(not_utf8)?);
        self.consume(bytes);
        Ok(())
    }
}

fn count_chars(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl<R: AsyncRead> AsyncBufRead for TextReader<R> {
    #[inline]
    fn buffer(&self) -> &[u8] {
        self.text.get(self.consumed..).unwrap_or_default()
    }

    /// Fails if what comes next is no text. If text comes before that, it gives this, and fails when it is called again.
    async fn fill_more(&mut self) -> io::Result<usize> {
        loop {
            if let Some(error) = self.decoding.bad().filter(|_| !self.lossy) {
                return Err(error.error());
            }
            let ended = self.starved && self.bytes.fill_more().await? == 0;
            self.text.drain(..std::mem::take(&mut self.consumed));
            let before = self.text.len();
            loop {
                if self.lossy && self.decoding.bad().is_some() {
                    self.decoding.pass_over();
                    self.text.extend_from_slice("\u{fffd}".as_bytes());
                }
                let taken = self.decoding.decode(self.bytes.buffer(), ended, &mut self.text);
                self.bytes.consume(taken);
                self.starved = self.decoding.bad().is_none();
                if self.starved || !self.lossy {
                    break;
                }
            }
            self.end_lines(before);
            let count = self.text.len() - before;
            if count > 0 || ended && self.starved {
                return Ok(count);
            }
        }
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        self.consumed = (self.consumed + bytes).min(self.text.len());
    }
}
