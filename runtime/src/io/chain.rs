//! Two streams, one after the other.

use std::io;

use super::AsyncRead;
use super::put_back::PutBack;
use super::read::no_room;
use crate::buf::IoBufMut;

/// A stream, and another one after its end; made by [`AsyncReadExt::chain`](super::AsyncReadExt::chain).
#[derive(Debug)]
pub struct Chain<R, S> {
    first: R,
    second: S,
    first_has_ended: bool,
    back: PutBack,
}

impl<R, S> Chain<R, S> {
    pub(super) fn new(first: R, second: S) -> Self {
        Self { first, second, first_has_ended: false, back: PutBack::new() }
    }

    /// Both streams.
    pub fn get_ref(&self) -> (&R, &S) {
        (&self.first, &self.second)
    }

    /// Both streams, with what is left of them. (What was put back and not read again, by a call that was dropped, is
    /// gone.)
    pub fn into_inner(self) -> (R, S) {
        (self.first, self.second)
    }
}

impl<R: AsyncRead, S: AsyncRead> AsyncRead for Chain<R, S> {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        if buffer.room().is_empty() {
            return (Err(no_room()), buffer);
        }
        if let Some(count) = self.back.take_into(&mut buffer) {
            return (Ok(count), buffer);
        }
        if !self.first_has_ended {
            let (result, back) = self.first.read(buffer).await;
            match result {
                Ok(0) => self.first_has_ended = true,
                Ok(_) | Err(_) => return (result, back),
            }
            buffer = back;
        }
        self.second.read(buffer).await
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        // They may be of both.
        self.back.put(bytes);
    }

    fn block_bytes(&self) -> usize {
        self.first.block_bytes().max(self.second.block_bytes())
    }
}
