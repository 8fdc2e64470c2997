//! As `futures` reads and writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::PollStream;

impl<S> AsyncRead for PollStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_copy(cx, |arrived| {
            let count = arrived.len().min(room.len());
            room[..count].copy_from_slice(&arrived[..count]);
            count
        })
    }
}

impl<S> AsyncBufRead for PollStream<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_available(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().receiver.consume(count);
    }
}

writes!(AsyncWrite, poll_close);
