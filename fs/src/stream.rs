//! Reading what has no positions: a named pipe, a terminal.
//!
//! What was read of these cannot be read again: what a dropped read has brought stays with the descriptor (see
//! `read_stream`), so that all handles of the same file find it.

use std::io;

use corering_runtime::buf::IoBufMut;
use corering_runtime::op::{Descriptor, read_stream};

/// More than this is not read at once.
const MOST_AT_ONCE: usize = 64 * 1024;

/// What a file is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// It has positions.
    Placed,
    Stream,
}

impl Source {
    /// Whether it has no positions.
    #[inline]
    pub(crate) fn is_stream(&mut self, file: &Descriptor) -> bool {
        if *self == Source::Unknown {
            *self = if file.is_seekable() { Source::Placed } else { Source::Stream };
        }
        *self == Source::Stream
    }
}

/// Reads the next bytes of a stream into the room of `buffer`, which is not empty.
pub(crate) async fn read<B: IoBufMut>(stream: &Descriptor, mut buffer: B) -> (io::Result<usize>, B) {
    let most = buffer.room().len().min(MOST_AT_ONCE);
    match read_stream(stream, most).await {
        Ok(bytes) => (Ok(buffer.fill_from(&bytes)), buffer),
        Err(error) => (Err(error), buffer),
    }
}
