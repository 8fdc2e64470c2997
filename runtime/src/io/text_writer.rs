//! A writer of text.

use std::io;

#[cfg(feature = "encoding")]
use encoding_rs::Encoding;

#[cfg(feature = "encoding")]
use super::text::Encode;
use super::{AsyncWrite, BufWriter, IntoInnerError, Newline};

/// Writes text: collects it, and writes it as UTF-8 (or, with the feature `encoding`, as something else), on request with
/// other ends of lines than `\n`, and with a byte order mark.
///
/// End with [`flush`](Self::flush), [`shutdown`](Self::shutdown) or [`into_inner`](Self::into_inner): what was collected is
/// lost when this is dropped.
///
/// # Cancel safety
///
/// As [`BufWriter`]: each call takes all of its text or, dropped before, nothing, and what was taken goes out once.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, Newline, TextWriter};
///
/// corering_runtime::run(async {
///     let mut writer = TextWriter::new(Vec::new()).newline(Newline::CrLf).with_bom();
///     writer.write_str("one\ntwo\n").await?;
///     assert_eq!(writer.into_inner().await?, "\u{feff}one\r\ntwo\r\n".as_bytes());
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct TextWriter<W> {
    writer: BufWriter<W>,
    newline: Newline,
    /// A byte order mark is to come first.
    bom: bool,
    by_lines: bool,
    #[cfg(feature = "encoding")]
    encode: Option<Encode>,
}

impl<W> TextWriter<W> {
    /// Writes UTF-8, and collects up to 8 KiB of it.
    #[track_caller]
    pub fn new(writer: W) -> Self {
        Self::around(BufWriter::new(writer))
    }

    /// Writes UTF-8, and collects up to so many bytes of it.
    #[track_caller]
    pub fn with_capacity(bytes: usize, writer: W) -> Self {
        Self::around(BufWriter::with_capacity(bytes, writer))
    }

    fn around(writer: BufWriter<W>) -> Self {
        Self {
            writer,
            newline: Newline::Lf,
            bom: false,
            by_lines: false,
            #[cfg(feature = "encoding")]
            encode: None,
        }
    }

    /// Ends lines so, in place of `\n`, from here on.
    pub fn newline(mut self, newline: Newline) -> Self {
        self.newline = newline;
        self
    }

    /// Writes a byte order mark before what is written next.
    pub fn with_bom(mut self) -> Self {
        self.bom = true;
        self
    }

    /// Writes what was collected whenever a line is complete: for people who watch.
    pub fn line_buffered(mut self) -> Self {
        self.by_lines = true;
        self
    }

    /// Writes another encoding than UTF-8 from here on, one of those that the web has. A character that it does not have
    /// is an [`EncodeError`](super::EncodeError).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::io::{self, Encoding, TextWriter};
    ///
    /// corering_runtime::run(async {
    ///     let encoding = Encoding::for_label(b"latin1").unwrap();
    ///     let mut writer = TextWriter::new(Vec::new()).encoding(encoding);
    ///     writer.write_str("café").await?;
    ///     let error = writer.write_str("日本").await.unwrap_err();
    ///     assert_eq!(error.to_string(), "windows-1252 has no '日' (U+65E5)");
    ///     assert_eq!(writer.into_inner().await?, b"caf\xe9");
    ///     io::Result::Ok(())
    /// })??;
    /// # Ok::<(), io::Error>(())
    /// ```
    #[cfg(feature = "encoding")]
    pub fn encoding(mut self, encoding: &'static Encoding) -> Self {
        self.encode = Some(Encode::new(encoding, false));
        self
    }

    /// As [`encoding`](Self::encoding), but writes `?` for what the encoding does not have.
    #[cfg(feature = "encoding")]
    pub fn lossy_encoding(mut self, encoding: &'static Encoding) -> Self {
        self.encode = Some(Encode::new(encoding, true));
        self
    }

    /// The writer itself; see [`BufWriter::get_ref`].
    pub fn get_ref(&self) -> Option<&W> {
        self.writer.get_ref()
    }

    /// The writer itself; see [`BufWriter::get_mut`].
    pub fn get_mut(&mut self) -> Option<&mut W> {
        self.writer.get_mut()
    }

    /// How many bytes were taken and have not been written: what would be lost if this were dropped.
    pub fn unwritten(&self) -> usize {
        self.writer.unwritten()
    }
}

impl<W: AsyncWrite> TextWriter<W> {
    /// Takes all of `text`, after writing if there is no room; and writes it if it is to be
    /// [written by lines](Self::line_buffered) and ends one.
    ///
    /// # Errors
    ///
    /// What came of writing what was collected before, and with the feature `encoding` an `EncodeError`: nothing has been
    /// taken then. What came of writing the lines: then the text is kept, and goes out by the next call.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has taken all of `text` or (while it waits for room) nothing.
    pub async fn write_str(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let text_out = self.newline.put_into(text);
        if self.bom {
            self.take(&format!("\u{feff}{text_out}")).await?;
            self.bom = false;
        } else {
            self.take(&text_out).await?;
        }
        if self.by_lines && text.contains('\n') { self.writer.write_out(0).await } else { Ok(()) }
    }

    async fn take(&mut self, text: &str) -> io::Result<()> {
        #[cfg(feature = "encoding")]
        if let Some(encode) = &mut self.encode {
            let alone = encode.encode(text)?;
            // Only what is taken changes the state.
            self.writer.make_room(alone.len()).await?;
            self.writer.take(&encode.go_on(text, alone));
            return Ok(());
        }
        self.writer.write_all(text.as_bytes()).await
    }

    /// Takes what a text of this encoding ends with, if it is not there yet.
    fn end(&mut self) {
        #[cfg(feature = "encoding")]
        if let Some(encode) = &mut self.encode {
            self.writer.take(&encode.end());
        }
    }

    /// Writes all that was collected, and flushes the writer; see [`BufWriter::flush`].
    ///
    /// # Errors
    ///
    /// What the writer says. What has not been written is kept, and can be flushed again.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::flush`].
    pub async fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().await
    }

    /// Writes all that was collected, and says that nothing more will come; see [`BufWriter::shutdown`].
    ///
    /// # Errors
    ///
    /// What the writer says.
    ///
    /// # Cancel safety
    ///
    /// As [`BufWriter::shutdown`].
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.end();
        self.writer.shutdown().await
    }

    /// Flushes, and gives the writer back.
    ///
    /// # Errors
    ///
    /// As [`BufWriter::into_inner`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the writer: use [`flush`](Self::flush) where that matters.
    pub async fn into_inner(mut self) -> Result<W, IntoInnerError<W>> {
        self.end();
        self.writer.into_inner().await
    }
}
