//! Streams with a position.

use std::io::{self, SeekFrom};

/// A stream with a position that can be moved.
pub trait AsyncSeek {
    /// Moves the position, and says where it is then, counted from the start. Beyond the end is allowed.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if that is before the start, and what the stream says of its length.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not moved the position.
    fn seek(&mut self, to: SeekFrom) -> impl Future<Output = io::Result<u64>>;

    /// The position, counted from the start.
    ///
    /// # Errors
    ///
    /// As [`seek`](Self::seek).
    fn stream_position(&mut self) -> impl Future<Output = io::Result<u64>> {
        self.seek(SeekFrom::Current(0))
    }
}

impl<S: AsyncSeek> AsyncSeek for &mut S {
    fn seek(&mut self, to: SeekFrom) -> impl Future<Output = io::Result<u64>> {
        S::seek(self, to)
    }

    fn stream_position(&mut self) -> impl Future<Output = io::Result<u64>> {
        S::stream_position(self)
    }
}

impl<S: AsyncSeek> AsyncSeek for Box<S> {
    fn seek(&mut self, to: SeekFrom) -> impl Future<Output = io::Result<u64>> {
        S::seek(self, to)
    }

    fn stream_position(&mut self) -> impl Future<Output = io::Result<u64>> {
        S::stream_position(self)
    }
}
