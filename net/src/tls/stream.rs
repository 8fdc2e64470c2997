//! A connection under TLS.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncWrite};
use rustls::pki_types::CertificateDer;
use rustls::{Connection, ProtocolVersion};

use super::error::{explained, truncated};
use crate::connection::StreamSocket;
use crate::poll::PollStream;
use crate::stream::TcpStream;

/// What the largest record takes: if the core has buffers for that, it comes at once.
const RECORD: usize = 16 * 1024 + 256;

/// A connection under TLS; made by a [`Connector`](super::Connector) or an [`Acceptor`](super::Acceptor).
///
/// It reads and writes by the runtime's traits ([`AsyncRead`], [`AsyncWrite`]), and, with the features of these
/// names, as
/// `hyper`, `tokio` and `futures` do.
///
/// Who has said all shuts it down, which tells the other side (`close_notify`); who reads to the end and did not get
/// that gets an error of the kind [`UnexpectedEof`](io::ErrorKind::UnexpectedEof). Dropped, it closes without a word.
///
/// # Cancel safety
///
/// A read that is dropped takes nothing. What a write has taken goes out with the next write or
/// [`flush`](AsyncWrite::flush), also if it is dropped; of a `write_all` that is dropped nobody knows how much that is.
pub struct TlsStream<S = TcpStream> {
    stream: PollStream<S>,
    session: Box<Connection>,
    peer: Option<Box<str>>,
    /// What was read and given back: it is read again first.
    put_back: Vec<u8>,
    /// The stream has come to its end.
    ended: bool,
    /// What was wrong with what came; nothing after it can be right.
    wrong: Option<rustls::Error>,
    has_said_bye: bool,
}

impl<S: StreamSocket> TlsStream<S> {
    pub(super) fn new(stream: S, session: impl Into<Connection>, peer: Option<&str>) -> Self {
        let mut stream = PollStream::new(stream);
        stream.set_chunk_bytes(RECORD);
        Self {
            stream,
            session: Box::new(session.into()),
            peer: peer.map(Into::into),
            put_back: Vec::new(),
            ended: false,
            wrong: None,
            has_said_bye: false,
        }
    }

    /// Says that nothing more comes, waits until that has gone out, and closes the connection.
    ///
    /// # Errors
    ///
    /// What the sends have said; what `close(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the connection is closed in the background.
    pub async fn close(mut self) -> io::Result<()> {
        self.shutdown().await?;
        self.stream.into_inner().await.map(drop)
    }
}

impl<S> TlsStream<S> {
    /// The protocol that both sides have agreed on (ALPN): `b"h2"`, for one.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// The version of TLS.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.session.protocol_version()
    }

    /// On the server's side: the name of the host that the client wanted (SNI).
    pub fn server_name(&self) -> Option<&str> {
        match &*self.session {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// What the other side has shown, its own certificate first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.session.peer_certificates()
    }

    pub(super) async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_handshake(cx)).await
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send_on(cx))?;
            if !self.session.is_handshaking() {
                return self.stream.poll_flush_all(cx);
            }
            if self.ended {
                let text = match &self.peer {
                    Some(peer) => format!("{peer} has closed the connection in the middle of the TLS handshake"),
                    None => "the connection was closed in the middle of the TLS handshake".to_owned(),
                };
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Gives what has arrived to the session.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(wrong) = &self.wrong {
            return Poll::Ready(Err(explained(wrong.clone(), self.peer.as_deref())));
        }
        let mut arrived = ready!(self.stream.poll_available(cx))?;
        self.ended = arrived.is_empty();
        let count = self.session.read_tls(&mut arrived)?;
        self.stream.consume(count);
        if let Err(error) = self.session.process_new_packets() {
            self.wrong = Some(error.clone());
            // The other side is told why, if that goes at once.
            let _ = self.poll_send_on(cx)?;
            return Poll::Ready(Err(explained(error, self.peer.as_deref())));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what the session has to send.
    fn poll_send_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire { stream: &mut self.stream, cx }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What has arrived and was not taken, in plain: nothing at the end.
    pub(crate) fn poll_available(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if !self.put_back.is_empty() {
            return Poll::Ready(Ok(&self.put_back));
        }
        loop {
            match self.session.reader().fill_buf() {
                Ok(_) => return Poll::Ready(self.session.reader().into_first_chunk()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Err(truncated())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            // Who waits for an answer may not have sent the end of the question; and what the session answers by itself
            // has to go out, too.
            let _ = self.poll_send_on(cx)?;
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Says that so much of it has been taken.
    pub(crate) fn consume(&mut self, count: usize) {
        if self.put_back.is_empty() {
            self.session.reader().consume(count);
        } else {
            self.put_back.drain(..count);
        }
    }

    #[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
    pub(crate) fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        copy: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let count = copy(ready!(self.poll_available(cx))?);
        self.consume(count);
        Poll::Ready(Ok(count))
    }

    /// Takes what there is room for, and sends as much as goes at once.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.has_said_bye {
            let text = "nothing can be written after the connection was shut down";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, text)));
        }
        ready!(self.poll_send_on(cx))?;
        let count = self.session.writer().write_vectored(parts)?;
        // What does not go now goes with the next write or flush.
        let _ = self.poll_send_on(cx)?;
        Poll::Ready(Ok(count))
    }

    pub(crate) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_on(cx))?;
        self.stream.poll_flush_all(cx)
    }

    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_said_bye {
            self.has_said_bye = true;
            self.session.send_close_notify();
        }
        match ready!(self.poll_send_on(cx)) {
            // The other side has gone already.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            sent => sent?,
        }
        self.stream.poll_end(cx)
    }
}

/// Where the session writes to.
struct Wire<'a, 'b, S> {
    stream: &'a mut PollStream<S>,
    cx: &'a mut Context<'b>,
}

impl<S> io::Write for Wire<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.stream.poll_send(self.cx, parts) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S> AsyncRead for TlsStream<S> {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        if buffer.room().is_empty() {
            let text = "the buffer has no room to read into: give a Vec spare capacity, or a longer slice";
            return (Err(io::Error::new(io::ErrorKind::InvalidInput, text)), buffer);
        }
        let copied = poll_fn(|cx| {
            let count = buffer.fill_from(ready!(self.poll_available(cx))?);
            self.consume(count);
            Poll::Ready(Ok(count))
        });
        (copied.await, buffer)
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        self.put_back.splice(..0, bytes);
    }

    fn block_bytes(&self) -> usize {
        16 * 1024
    }
}

impl<S> AsyncWrite for TlsStream<S> {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        (poll_fn(|cx| self.poll_send(cx, &[IoSlice::new(buffer.as_slice())])).await, buffer)
    }

    /// Waits until all has been handed to the kernel.
    async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
        let mut at = 0;
        let written = poll_fn(|cx| {
            while at < buffer.as_slice().len() {
                at += ready!(self.poll_send(cx, &[IoSlice::new(&buffer.as_slice()[at..])]))?;
            }
            self.poll_flush_all(cx)
        });
        (written.await, buffer)
    }

    async fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
        let parts: Vec<_> = buffers.iter().map(|buffer| IoSlice::new(buffer.as_slice())).collect();
        let written = poll_fn(|cx| self.poll_send(cx, &parts)).await;
        drop(parts);
        (written, buffers)
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush_all(cx)).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_end(cx)).await
    }
}

impl<S> AsFd for TlsStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("stream", &self.stream)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
