//! Connections for libraries that poll: HTTP, TLS, databases.
//!
//! Such a library brings its own memory for a moment: `poll_read` into it, `poll_write` from it. The kernel may keep
//! neither longer than that, so a completion cannot use it. What is done instead:
//!
//! ```text
//!  read   the stream's own receive, into the core's pool --copied once--> the library's memory
//!  write  sendmsg(2) from the library's memory, at once; if there is no room, wait by the ring until there is
//!  write  behind: copied once, then the ring sends what has gathered; errors are told by the next call
//! ```
//!
//! Reading so costs no system call of its own: the receives of all connections go to the kernel together, and a
//! connection that waits holds no memory. What a poll did not take stays with the stream, whoever reads next.

/// What `futures`, `hyper` and `tokio` ask of a writer: the same, but for the name of its end.
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
macro_rules! writes {
    ($stream:ident, $writer:ident, $end:ident $(, $more:item)*) => {
        impl<S> $writer for $stream<S> {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.get_mut().poll_send(cx, &[IoSlice::new(bytes)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().poll_send(cx, parts)
            }

            $($more)*

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.get_mut().poll_flush_all(cx)
            }

            fn $end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.get_mut().poll_end(cx)
            }
        }
    };
}

mod behind;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub(crate) mod hyper;
#[cfg(feature = "tokio-io")]
mod tokio_io;

use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corering_runtime::op::{Op, Readiness, Receiver, poll_share};

use self::behind::Behind;
use crate::connection::{Connection, Sender, StreamSocket};
use crate::stream::TcpStream;

/// A connection for libraries that poll: it is what `hyper`, `tokio` and `futures` call a reader and a writer, all at
/// once (features `hyper`, `tokio-io`, `futures-io`).
///
/// Made [from](PollStream::new) a connection, and [turned back](PollStream::into_inner) into it: no byte that has arrived is
/// lost on either way. Small writes should go out at once: set `TCP_NODELAY`
/// ([`set_nodelay`](TcpStream::set_nodelay)), as libraries gather by themselves.
///
/// # Cancel safety
///
/// A read that is given up takes nothing. A write has gone out when it says so, unless it is
/// [behind](PollStream::write_behind).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "futures-io")] {
/// use corering_net::{PollStream, TcpListener, TcpStream};
/// use futures_util::{AsyncReadExt, AsyncWriteExt};
///
/// corering_runtime::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = PollStream::new(TcpStream::connect(listener.local_addr()?).await?);
///     let (mut server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     client.close().await?;
///     assert_eq!(server.recv().await?.as_deref(), Some(&b"hello"[..]));
///     server.write_all("bye").await.0?;
///     drop(server);
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await?;
///     assert_eq!(answer, "bye");
///     std::io::Result::Ok(())
/// })??;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PollStream<S = TcpStream> {
    receiver: Receiver,
    sender: Sender,
    stream: PhantomData<fn() -> S>,
    /// Waits for room to send.
    room: Option<Op<Readiness>>,
    behind: Option<Box<Behind>>,
}

impl<S: StreamSocket> PollStream<S> {
    /// Takes over a connection.
    pub fn new(stream: S) -> Self {
        let Connection { receiver, sender } = stream.into_connection();
        Self { receiver, sender, stream: PhantomData, room: None, behind: None }
    }

    /// Writes behind from now on: what is written is copied, and is sent while the library goes on, `bytes` at most at a
    /// time. The sends of all connections then go to the kernel together. That an error came of it is told by the next
    /// write, flush or shutdown; what has not been flushed when the stream is dropped may be lost.
    ///
    /// It pays for many connections with short messages; long ones are copied once more than otherwise.
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    #[must_use]
    pub fn write_behind(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "nothing can be written behind into 0 bytes: give it room, such as 16 KiB");
        self.behind = Some(Box::new(Behind::new(bytes)));
        self
    }

    /// Gives the connection back, with what has arrived and was not read.
    ///
    /// # Errors
    ///
    /// What came of what was written behind and was not flushed; the connection is closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes the connection.
    pub async fn into_inner(mut self) -> io::Result<S> {
        std::future::poll_fn(|cx| self.poll_flush_all(cx)).await?;
        Ok(S::of(Connection { receiver: self.receiver, sender: self.sender }))
    }
}

impl<S> PollStream<S> {
    /// What has arrived and was not taken: nothing at the end of the stream.
    #[inline]
    pub(crate) fn poll_available(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if let Some(behind) = &mut self.behind {
            // Who waits for an answer may have gathered the end of the question.
            behind.send_on(cx, &self.sender);
        }
        self.receiver.poll_available(cx)
    }

    /// Receives into buffers that hold as much, if the core has such.
    #[cfg(feature = "tls")]
    pub(crate) fn set_chunk_bytes(&mut self, bytes: usize) {
        self.receiver.set_chunk_bytes(bytes);
    }

    /// Says that so much of it has been taken.
    #[cfg(any(feature = "futures-io", feature = "tls", feature = "tokio-io"))]
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.receiver.consume(count);
    }

    /// Copies what has arrived, by a function that says how much of it there was room for.
    #[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
    #[inline]
    fn poll_copy(&mut self, cx: &mut Context<'_>, copy: impl FnOnce(&[u8]) -> usize) -> Poll<io::Result<usize>> {
        let count = copy(ready!(self.poll_available(cx))?);
        self.receiver.consume(count);
        Poll::Ready(Ok(count))
    }

    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(behind) = &mut self.behind {
            return behind.poll_take(cx, &self.sender, parts);
        }
        ready!(self.sender.0.poll_settled(cx));
        loop {
            if let Some(room) = &mut self.room {
                let waited = ready!(Pin::new(room).poll(cx));
                self.room = None;
                waited?;
            }
            ready!(poll_share(cx));
            match self.sender.0.send_now(parts) {
                Ok(Some(count)) => return Poll::Ready(Ok(count)),
                Ok(None) => self.room = Some(Op::new(Readiness::of(&self.sender.0, libc::POLLOUT))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    pub(crate) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.behind {
            Some(behind) => behind.poll_flush(cx, &self.sender),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush_all(cx))?;
        ready!(self.sender.0.poll_settled(cx));
        Poll::Ready(match self.sender.0.shutdown(Shutdown::Write) {
            // The other side knows already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            ended => ended,
        })
    }
}

impl<S: StreamSocket> From<S> for PollStream<S> {
    fn from(stream: S) -> Self {
        Self::new(stream)
    }
}

impl<S> AsFd for PollStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.0.as_fd()
    }
}

impl<S> fmt::Debug for PollStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollStream")
            .field("socket", &self.sender.0)
            .field("behind", &self.behind)
            .finish_non_exhaustive()
    }
}
