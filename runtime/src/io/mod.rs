//! Streams of bytes: reading and writing with owned buffers, and the familiar calls on top of them.
//!
//! | to read or write | use |
//! | --- | --- |
//! | what has come, into a buffer that is given away and comes back | [`AsyncRead`], [`AsyncReadExt`] |
//! | a whole buffer, and to say that nothing more comes | [`AsyncWrite`], [`AsyncWriteExt`] |
//! | anywhere in a file | [`AsyncReadAt`], [`AsyncWriteAt`], [`AsyncSeek`] |
//! | lines, parts, `&mut [u8]` | [`BufReader`], with [`AsyncBufRead`] and [`AsyncBufReadExt`] |
//! | text: other line ends, byte order marks, encodings | [`TextReader`], [`TextWriter`] |
//! | many small pieces, `&[u8]` | [`BufWriter`], [`LineWriter`], [`BufStream`] |
//! | all of one stream to another | [`copy`], [`copy_buf`], [`copy_bidirectional`] |
//! | what the process was given | [`stdin`], [`stdout`], [`stderr`] |
//! | what one writes and another reads | [`pipe`] |
//!
//! # What a drop loses
//!
//! No byte of a stream, whichever future of this module is dropped, at whatever await:
//!
//! - **Reads** leave with the reader what they have not given to anybody: the next read gets it. Only the owned buffer
//!   of a dropped read is gone, since the kernel may still be writing into it.
//! - **Buffered reads** ([`read_line`](AsyncBufReadExt::read_line), `read_exact`, [`read_until`](AsyncBufReadExt::read_until))
//!   take all of what they give at once, when it is all there: dropped before, they have taken nothing. So do they when they fail.
//! - **Buffered writes** have taken nothing, if dropped while they wait for room. What has been taken goes out once and in
//!   order, however many flushes are dropped meanwhile: the writer owns the write that is under way.
//! - **Whole writes** ([`AsyncWrite::write_all`]) to files and sockets go out whole once they have begun, and later ones wait
//!   for them. A single [`write`](AsyncWrite::write) does not say how much went out if it is dropped.
//!
//! # Examples
//!
//! ```
//! use corering_runtime::io::{self, AsyncBufReadExt, BufReader, BufWriter};
//!
//! corering_runtime::run(async {
//!     let mut reader = BufReader::new(io::Cursor::new("one\ntwo\n"));
//!     let mut writer = BufWriter::new(Vec::new());
//!     let mut line = String::new();
//!     while reader.read_line(&mut line).await? > 0 {
//!         writer.write_all(line.to_uppercase().as_bytes()).await?;
//!         line.clear();
//!     }
//!     assert_eq!(writer.into_inner().await?, b"ONE\nTWO\n");
//!     io::Result::Ok(())
//! })??;
//! # Ok::<(), io::Error>(())
//! ```

mod buf_read;
mod buf_reader;
mod buf_stream;
mod buf_writer;
mod chain;
mod copy;
mod join;
mod kept;
mod line_writer;
mod lines;
mod memory;
mod pipe;
mod put_back;
mod read;
mod read_at;
mod seek;
mod stdio;
mod take;
mod text;
mod text_reader;
mod text_writer;
mod write;

pub use self::buf_read::{AsyncBufRead, AsyncBufReadExt, TooLong};
pub use self::buf_reader::BufReader;
pub use self::buf_stream::BufStream;
pub use self::buf_writer::{BufWriter, IntoInnerError};
pub use self::chain::Chain;
pub use self::copy::{copy, copy_bidirectional, copy_buf};
pub use self::join::{Duplex, Join, join};
pub use self::line_writer::LineWriter;
pub use self::lines::{Lines, Split};
pub use self::memory::{Empty, Repeat, Sink, empty, repeat, sink};
pub use self::pipe::{PipeReader, PipeWriter, pipe};
pub use self::read::{AsyncRead, AsyncReadExt};
pub use self::read_at::{AsyncReadAt, AsyncReadAtExt, AsyncWriteAt, AsyncWriteAtExt};
pub use self::seek::AsyncSeek;
pub use self::stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
pub use self::take::Take;
#[cfg(feature = "encoding")]
pub use self::text::EncodeError;
pub use self::text::{DecodeError, Newline};
pub use self::text_reader::TextReader;
pub use self::text_writer::TextWriter;
pub use self::write::{AsyncWrite, AsyncWriteExt};

#[cfg(feature = "encoding")]
pub use encoding_rs::Encoding;
pub use std::io::{Cursor, Error, ErrorKind, Result, SeekFrom};

/// All the traits of this module, for `use corering::io::prelude::*`.
pub mod prelude {
    pub use super::{
        AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadAt, AsyncReadAtExt, AsyncReadExt, AsyncSeek, AsyncWrite,
        AsyncWriteAt, AsyncWriteAtExt, AsyncWriteExt,
    };
}
