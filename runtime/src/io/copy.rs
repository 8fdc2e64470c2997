//! From one stream to another.
//!
//! Invariant: no await lies between taking bytes from the reader and beginning to write them, and the writer has settled
//! before. So wherever a copy is dropped, each byte is with the reader, or on its way out. What passes without being copied
//! (from a socket or a file to a socket) is put back if it has not gone out.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::{AsyncBufRead, AsyncRead, AsyncWrite, Duplex};
use crate::op::{Descriptor, Forward, SendFile};

/// Copies a stream to its end, flushes, and says how many bytes that were. While the reader has nothing, the writer is flushed.
///
/// # Errors
///
/// What either stream says. What was read last may not have been written.
///
/// # Cancel safety
///
/// Dropped, it has lost nothing, if the writer's [`write_all`](AsyncWrite::write_all) goes out whole once it has begun, as those
/// of files, sockets and buffered writers do: what was read goes out, and the next copy goes on behind it. Around any
/// other writer, put a [`BufWriter`](super::BufWriter).
///
/// # Kernel
///
/// From a stream socket to another, what comes in bulk is not copied (`splice(2)`), nor is what is in the page cache of a
/// file that goes to a stream socket (`sendfile(2)`): see [`Forward`] and [`SendFile`]. For all else, reads and writes.
///
/// # Examples
///
/// ```
/// use corering_runtime::io;
///
/// corering_runtime::run(async {
///     let mut out = Vec::new();
///     assert_eq!(io::copy(&mut io::Cursor::new("hello"), &mut out).await?, 5);
///     assert_eq!(out, b"hello");
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub async fn copy<R: AsyncRead, W: AsyncWrite>(reader: &mut R, writer: &mut W) -> io::Result<u64> {
    if let Some(socket) = writer.passing_socket() {
        if let Some(receiver) = reader.passing_receiver() {
            return Forward::new(receiver, socket).await;
        }
        if let Some((file, position)) = reader.passing_file() {
            return send_file(file, position, socket).await;
        }
    }
    let mut copied = 0;
    let mut buffer = Vec::with_capacity(reader.block_bytes());
    loop {
        writer.settled().await?;
        buffer.clear();
        let (result, read) = read_or_flush(reader, writer, buffer).await?;
        let count = result?;
        if count == 0 {
            writer.flush().await?;
            return Ok(copied);
        }
        let (result, written) = writer.write_all(read).await;
        result?;
        copied += count as u64;
        buffer = written;
    }
}

/// From a position on, which moves along with what has gone out.
async fn send_file(file: &Descriptor, position: &mut u64, socket: &Descriptor) -> io::Result<u64> {
    let start = *position;
    let mut send = SendFile::new(socket, file, start..);
    poll_fn(|cx| {
        let sent = Pin::new(&mut send).poll(cx);
        *position = start + send.sent();
        sent
    })
    .await
}

/// Reads, and flushes if that takes long.
async fn read_or_flush<R: AsyncRead, W: AsyncWrite>(
    reader: &mut R,
    writer: &mut W,
    buffer: Vec<u8>,
) -> io::Result<(io::Result<usize>, Vec<u8>)> {
    let mut read = pin!(reader.read(buffer));
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
        return Ok(read);
    }
    writer.flush().await?;
    Ok(read.await)
}

/// As [`copy`], from a reader with a buffer: what is in it goes first.
///
/// # Errors
///
/// As [`copy`].
///
/// # Cancel safety
///
/// As [`copy`].
pub async fn copy_buf<R: AsyncBufRead, W: AsyncWrite>(reader: &mut R, writer: &mut W) -> io::Result<u64> {
    let mut copied = 0;
    let mut block = Vec::new();
    loop {
        if reader.buffer().is_empty() && fill_or_flush(reader, writer).await? == 0 {
            writer.flush().await?;
            return Ok(copied);
        }
        writer.settled().await?;
        block.clear();
        block.extend_from_slice(reader.buffer());
        reader.consume(block.len());
        copied += block.len() as u64;
        let (result, written) = writer.write_all(block).await;
        result?;
        block = written;
    }
}

async fn fill_or_flush<R: AsyncBufRead, W: AsyncWrite>(reader: &mut R, writer: &mut W) -> io::Result<usize> {
    let mut fill = pin!(reader.fill_more());
    if let Poll::Ready(filled) = poll_fn(|cx| Poll::Ready(fill.as_mut().poll(cx))).await {
        return filled;
    }
    writer.flush().await?;
    fill.await
}

/// Copies both ways between two streams, until both have ended, and says how many bytes went from the first to the second, and
/// back. When one direction ends, its writer is [shut down](AsyncWrite::shutdown), and the other direction goes on.
///
/// # Errors
///
/// What comes first of either direction; the other one is dropped then.
///
/// # Cancel safety
///
/// As [`copy`]: nothing is lost, and it can be called again.
///
/// # Examples
///
/// A proxy:
///
/// ```
/// use corering_runtime::io::{self, Duplex};
///
/// async fn proxy(mut client: impl Duplex, mut server: impl Duplex) -> io::Result<()> {
///     io::copy_bidirectional(&mut client, &mut server).await?;
///     Ok(())
/// }
/// ```
pub async fn copy_bidirectional<A: Duplex, B: Duplex>(first: &mut A, second: &mut B) -> io::Result<(u64, u64)> {
    let (mut first_reader, mut first_writer) = first.duplex();
    let (mut second_reader, mut second_writer) = second.duplex();
    let there = pin!(copy_and_end(&mut first_reader, &mut second_writer));
    let back = pin!(copy_and_end(&mut second_reader, &mut first_writer));
    let (mut there, mut back) = (Direction::new(there), Direction::new(back));
    poll_fn(|cx| {
        let (there, back) = (there.poll(cx)?, back.poll(cx)?);
        Poll::Ready(match (there, back) {
            (Some(there), Some(back)) => Ok((there, back)),
            (Some(_) | None, None) | (None, Some(_)) => return Poll::Pending,
        })
    })
    .await
}

async fn copy_and_end<R: AsyncRead, W: AsyncWrite>(reader: &mut R, writer: &mut W) -> io::Result<u64> {
    let copied = copy(reader, writer).await?;
    match writer.shutdown().await {
        // The other side has gone altogether, and so knows.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(copied),
        ended => ended.map(|()| copied),
    }
}

/// One of the two, and how many bytes it has copied when it has ended.
struct Direction<'a, F> {
    copy: Pin<&'a mut F>,
    copied: Option<u64>,
}

impl<'a, F: Future<Output = io::Result<u64>>> Direction<'a, F> {
    fn new(copy: Pin<&'a mut F>) -> Self {
        Self { copy, copied: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<Option<u64>> {
        if self.copied.is_none() {
            if let Poll::Ready(copied) = self.copy.as_mut().poll(cx) {
                self.copied = Some(copied?);
            }
        }
        Ok(self.copied)
    }
}
