//! Reading what has no positions: a named pipe, a terminal.
//!
//! What was read of these cannot be read again. So the file owns its read, and what that brought and nobody took.

use std::io;

use corering_runtime::buf::IoBufMut;
use corering_runtime::op::{Descriptor, Op, Read};

/// More than this is not read at once.
const MOST_AT_ONCE: usize = 64 * 1024;

/// What a file is read from.
#[derive(Debug, Default)]
pub(crate) enum Source {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// It has positions.
    Placed,
    Stream(Box<Stream>),
}

impl Source {
    /// The stream, if it is one.
    #[inline]
    pub(crate) fn stream(&mut self, file: &Descriptor) -> Option<&mut Stream> {
        if let Source::Unknown = self {
            *self = if file.is_seekable() { Source::Placed } else { Source::Stream(Box::default()) };
        }
        match self {
            Source::Stream(stream) => Some(stream),
            Source::Placed | Source::Unknown => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Under way, whoever waits for it.
    read: Option<Op<Read<Vec<u8>>>>,
    bytes: Vec<u8>,
    /// So many of `bytes` have been given away.
    given: usize,
}

impl Stream {
    /// Reads into the room of `buffer`, which is not empty.
    pub(crate) async fn read<B: IoBufMut>(&mut self, file: &Descriptor, mut buffer: B) -> (io::Result<usize>, B) {
        if self.given == self.bytes.len() {
            let most = buffer.room().len().min(MOST_AT_ONCE);
            let read = self.read.get_or_insert_with(|| Op::new(Read::stream(file, Vec::with_capacity(most))));
            let (result, bytes) = read.await;
            self.read = None;
            if let Err(error) = result {
                return (Err(error), buffer);
            }
            (self.bytes, self.given) = (bytes, 0);
        }
        let count = buffer.fill_from(&self.bytes[self.given..]);
        self.given += count;
        (Ok(count), buffer)
    }

    /// Puts `bytes` before what is here.
    pub(crate) fn put_back(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(&self.bytes[self.given..]);
        (self.bytes, self.given) = (bytes, 0);
    }
}
