//! How bytes become text, and text bytes, in whatever pieces they come.
//!
//! Invariant: what was decoded does not depend on how the bytes were cut.

use std::borrow::Cow;
use std::fmt;
use std::io;

#[cfg(feature = "encoding")]
use encoding_rs::{DecoderResult, Encoder, EncoderResult, Encoding, ISO_2022_JP, UTF_16BE, UTF_16LE};

/// What an [`io::Error`] holds (with the kind [`InvalidData`](io::ErrorKind::InvalidData)) if a
/// [`TextReader`](super::TextReader) meets bytes that are no text.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, AsyncBufReadExt, Cursor, DecodeError, TextReader};
///
/// corering_runtime::run(async {
///     let mut reader = TextReader::new(Cursor::new(b"name: caf\xe9\n"));
///     let error = reader.read_line(&mut String::new()).await.unwrap_err();
///     let place = error.get_ref().unwrap().downcast_ref::<DecodeError>().unwrap();
///     assert_eq!((place.offset(), place.bytes()), (9, 1));
///     assert_eq!(error.to_string(), "the stream is not UTF-8: the byte at offset 9 stands for nothing");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    offset: u64,
    bytes: usize,
    encoding: &'static str,
}

impl DecodeError {
    /// How many bytes came before, from where the reader began.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[cold]
    pub(super) fn error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, bytes, encoding } = self;
        write!(f, "the stream is not {encoding}: ")?;
        match bytes {
            1 => write!(f, "the byte at offset {offset} stands for nothing"),
            bytes => write!(f, "the {bytes} bytes at offset {offset} stand for nothing"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// What an [`io::Error`] holds (with the kind [`InvalidData`](io::ErrorKind::InvalidData)) if a
/// [`TextWriter`](super::TextWriter) is given a character that its encoding does not have.
#[cfg(feature = "encoding")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    character: char,
    encoding: &'static str,
}

#[cfg(feature = "encoding")]
impl EncodeError {
    /// The first such character.
    pub fn character(&self) -> char {
        self.character
    }
}

#[cfg(feature = "encoding")]
impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no {:?} (U+{:04X})", self.encoding, self.character, u32::from(self.character))
    }
}

#[cfg(feature = "encoding")]
impl std::error::Error for EncodeError {}

/// What stands at the end of each line that a [`TextWriter`](super::TextWriter) writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Newline {
    /// `\n`, as on every Unix.
    #[default]
    Lf,
    /// `\r\n`, as on Windows, and in the protocols of the net.
    CrLf,
    /// `\r`, as long ago.
    Cr,
}

impl Newline {
    /// The text with these ends of lines, in place of `\n`.
    pub(super) fn put_into(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Lf => Cow::Borrowed(text),
            Self::CrLf => Cow::Owned(text.replace('\n', "\r\n")),
            Self::Cr => Cow::Owned(text.replace('\n', "\r")),
        }
    }
}

/// Makes text of bytes.
#[derive(Debug)]
pub(super) struct Decoding {
    form: Form,
    /// So many bytes have been taken.
    taken: u64,
    /// What a byte order mark at the start becomes, while nothing has come.
    mark: Mark,
    /// Bytes that were taken and stand for nothing.
    bad: Option<DecodeError>,
}

enum Form {
    Utf8,
    /// This one deals with byte order marks itself.
    #[cfg(feature = "encoding")]
    Other(encoding_rs::Decoder),
}

impl Form {
    fn name(&self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            #[cfg(feature = "encoding")]
            Self::Other(decoder) => decoder.encoding().name(),
        }
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    LeftOut,
    Kept,
}

/// The byte order mark, in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Decoding {
    pub(super) fn utf8() -> Self {
        Self { form: Form::Utf8, taken: 0, mark: Mark::LeftOut, bad: None }
    }

    #[cfg(feature = "encoding")]
    pub(super) fn from(&mut self, encoding: &'static Encoding) {
        self.form = Form::Other(match self.mark {
            Mark::LeftOut => encoding.new_decoder(),
            Mark::Kept => encoding.new_decoder_without_bom_handling(),
        });
    }

    pub(super) fn keep_mark(&mut self) {
        self.mark = Mark::Kept;
        match &self.form {
            Form::Utf8 => {}
            #[cfg(feature = "encoding")]
            Form::Other(decoder) => self.from(decoder.encoding()),
        }
    }

    /// Bytes that stand for nothing: nothing goes on before they have been [passed over](Self::pass_over).
    pub(super) fn bad(&self) -> Option<DecodeError> {
        self.bad
    }

    pub(super) fn pass_over(&mut self) {
        self.bad = None;
    }

    /// Appends the text that `bytes` begin with, up to what stands for nothing or is not yet whole, and says how many
    /// bytes were taken. With `last` nothing more comes.
    pub(super) fn decode(&mut self, bytes: &[u8], last: bool, text: &mut Vec<u8>) -> usize {
        let start = text.len();
        let (taken, bad) = match &mut self.form {
            Form::Utf8 => decode_utf8(bytes, last, text),
            #[cfg(feature = "encoding")]
            Form::Other(decoder) => decode_other(decoder, bytes, last, text),
        };
        self.taken += taken as u64;
        self.bad = bad.map(|Bad { bytes, behind }| DecodeError {
            offset: self.taken - (bytes + behind) as u64,
            bytes,
            encoding: self.form.name(),
        });
        if matches!(self.form, Form::Utf8)
            && taken > 0
            && std::mem::replace(&mut self.mark, Mark::Kept) == Mark::LeftOut
            && text[start..].starts_with(MARK)
        {
            text.drain(start..start + MARK.len());
        }
        taken
    }
}

/// Bytes that stand for nothing, and how many were taken behind them.
#[derive(Clone, Copy)]
struct Bad {
    bytes: usize,
    behind: usize,
}

fn decode_utf8(bytes: &[u8], last: bool, text: &mut Vec<u8>) -> (usize, Option<Bad>) {
    let error = match std::str::from_utf8(bytes) {
        Ok(whole) => {
            text.extend_from_slice(whole.as_bytes());
            return (bytes.len(), None);
        }
        Err(error) => error,
    };
    let good = error.valid_up_to();
    text.extend_from_slice(&bytes[..good]);
    let bad = match error.error_len() {
        Some(bad) => bad,
        None if last => bytes.len() - good,
        None => return (good, None),
    };
    (good + bad, Some(Bad { bytes: bad, behind: 0 }))
}

#[cfg(feature = "encoding")]
fn decode_other(
    decoder: &mut encoding_rs::Decoder,
    bytes: &[u8],
    last: bool,
    text: &mut Vec<u8>,
) -> (usize, Option<Bad>) {
    let mut taken = 0;
    loop {
        let rest = &bytes[taken..];
        let start = text.len();
        let room = decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(rest.len());
        text.resize(start + room, 0);
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut text[start..], last);
        text.truncate(start + written);
        taken += read;
        match result {
            DecoderResult::InputEmpty => {
                if last {
                    // A decoder that has ended is of no more use, but the stream may go on, such as a file that grows.
                    *decoder = decoder.encoding().new_decoder_without_bom_handling();
                }
                return (taken, None);
            }
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(bytes, behind) => {
                return (taken, Some(Bad { bytes: bytes.into(), behind: behind.into() }));
            }
        }
    }
}

/// Makes bytes of text.
#[cfg(feature = "encoding")]
pub(super) struct Encode {
    encoding: &'static Encoding,
    /// `?` for what the encoding does not have.
    lossy: bool,
    /// Of an encoding with states, what knows the one that it is in.
    state: Option<Encoder>,
}

#[cfg(feature = "encoding")]
impl Encode {
    pub(super) fn new(encoding: &'static Encoding, lossy: bool) -> Self {
        let has_states = encoding == ISO_2022_JP;
        Self { encoding, lossy, state: has_states.then(|| encoding.new_encoder()) }
    }

    /// The text by itself.
    pub(super) fn encode(&self, text: &str) -> io::Result<Vec<u8>> {
        // The Encoding Standard has nothing that writes these.
        if self.encoding == UTF_16LE {
            return Ok(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        }
        if self.encoding == UTF_16BE {
            return Ok(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        }
        let mut bytes = Vec::new();
        match encode_all(&mut self.encoding.new_encoder(), text, self.lossy, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(character) => {
                let encoding = self.encoding.name();
                Err(io::Error::new(io::ErrorKind::InvalidData, EncodeError { character, encoding }))
            }
        }
    }

    /// The text, which can be encoded, as it follows what was before: `alone` if there are no states.
    pub(super) fn go_on(&mut self, text: &str, alone: Vec<u8>) -> Vec<u8> {
        let Some(encoder) = &mut self.state else {
            return alone;
        };
        let mut bytes = Vec::new();
        let _has_all = encode_all(encoder, text, self.lossy, &mut bytes);
        bytes
    }

    /// What leads back to the first state, where a text has to end.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(encoder) = &mut self.state {
            encode_some(encoder, "", true, &mut bytes);
            *encoder = self.encoding.new_encoder();
        }
        bytes
    }
}

#[cfg(feature = "encoding")]
impl fmt::Debug for Encode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encoding.name())
    }
}

/// Appends all of `text`, if the encoding has it; else says which character it does not have.
#[cfg(feature = "encoding")]
fn encode_all(encoder: &mut Encoder, text: &str, lossy: bool, bytes: &mut Vec<u8>) -> Result<(), char> {
    let mut rest = text;
    loop {
        let (read, missing) = encode_some(encoder, rest, false, bytes);
        rest = &rest[read..];
        match missing {
            None => return Ok(()),
            Some(_) if lossy => drop(encode_some(encoder, "?", false, bytes)),
            Some(character) => return Err(character),
        }
    }
}

/// Appends `text` up to the first character that the encoding does not have, and says which one, and where `text` goes on.
/// With `last` nothing more comes.
#[cfg(feature = "encoding")]
fn encode_some(encoder: &mut Encoder, text: &str, last: bool, bytes: &mut Vec<u8>) -> (usize, Option<char>) {
    let mut done = 0;
    loop {
        let rest = &text[done..];
        bytes.reserve(encoder.max_buffer_length_from_utf8_without_replacement(rest.len()).unwrap_or(rest.len()));
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, bytes, last);
        done += read;
        match result {
            EncoderResult::InputEmpty => return (done, None),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(character) => return (done, Some(character)),
        }
    }
}
