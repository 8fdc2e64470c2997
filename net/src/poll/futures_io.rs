//! As `futures` reads and writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::PollStream;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

macro_rules! reads_and_writes {
    ($stream:ident) => {
        impl<S> AsyncRead for $stream<S> {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
                self.get_mut().poll_copy(cx, |arrived| {
                    let count = arrived.len().min(room.len());
                    room[..count].copy_from_slice(&arrived[..count]);
                    count
                })
            }
        }

        impl<S> AsyncBufRead for $stream<S> {
            fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
                self.get_mut().poll_available(cx)
            }

            fn consume(self: Pin<&mut Self>, count: usize) {
                self.get_mut().consume(count);
            }
        }

        writes!($stream, AsyncWrite, poll_close);
    };
}

reads_and_writes!(PollStream);
#[cfg(feature = "tls")]
reads_and_writes!(TlsStream);
