//! As `tokio` reads and writes. Nothing of tokio runs: these are its traits alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::PollStream;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

macro_rules! reads_and_writes {
    ($stream:ident) => {
        impl<S> AsyncRead for $stream<S> {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                let copied = self.get_mut().poll_copy(cx, |arrived| {
                    let count = arrived.len().min(room.remaining());
                    room.put_slice(&arrived[..count]);
                    count
                });
                copied.map_ok(drop)
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

        writes!(
            $stream,
            AsyncWrite,
            poll_shutdown,
            fn is_write_vectored(&self) -> bool {
                true
            }
        );
    };
}

reads_and_writes!(PollStream);
#[cfg(feature = "tls")]
reads_and_writes!(TlsStream);
