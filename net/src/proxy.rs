//! Two streams as one: what arrives at either goes out at the other.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use corering_runtime::op::{Descriptor, Forward};
use corering_runtime::time::{Instant, Sleep, sleep_until};

use crate::connection::{Connection, StreamSocket};

/// Sends on each of two streams what arrives at the other, until both have ended; output: how many bytes went from the
/// first to the second, and back.
///
/// When one direction ends, its writer is [shut down](crate::TcpStream::shutdown), and the other direction goes on. A side
/// that takes nothing holds the other one up: at most 256 KiB are on their way in each direction, beside what the sockets
/// themselves hold. What comes in bulk is not copied into the program's memory, and a direction in which nothing comes
/// has none.
///
/// # Errors
///
/// What comes first of either stream. The streams are left as they are: drop them, and the other side knows.
/// [`TimedOut`](io::ErrorKind::TimedOut) if there is an [idle timeout](Proxy::idle_timeout) and it is over.
///
/// # Cancel safety
///
/// Dropped, nothing is lost: what has arrived and has not gone out is given by the next read of the stream that it came
/// from, and another proxy can go on. [`Proxy::sent`] tells how much went out, also while it goes on and after an error.
///
/// # Kernel
///
/// See [`Forward`].
///
/// # Examples
///
/// ```
/// use corering_net::{TcpListener, TcpStream, proxy};
/// use std::time::Duration;
///
/// async fn forward(mut client: TcpStream, server: &str) -> std::io::Result<(u64, u64)> {
///     let mut server = TcpStream::connect(server).await?;
///     proxy(&mut client, &mut server).idle_timeout(Duration::from_secs(60)).await
/// }
///
/// corering_runtime::run(async {
///     let front = TcpListener::bind("127.0.0.1:0").await?;
///     let back = TcpListener::bind("127.0.0.1:0").await?;
///     let address = back.local_addr()?.to_string();
///
///     let mut client = TcpStream::connect(front.local_addr()?).await?;
///     let (accepted, _) = front.accept().await?;
///     let forward = corering_runtime::spawn(async move { forward(accepted, &address).await });
///     let (mut server, _) = back.accept().await?;
///
///     client.write_all("hello").await.0?;
///     assert_eq!(&server.recv().await?.expect("bytes")[..], b"hello");
///     server.close().await?;
///     client.close().await?;
///     assert_eq!(forward.await.expect("no panic")?, (5, 0));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn proxy<'a, A: StreamSocket, B: StreamSocket>(first: &'a mut A, second: &'a mut B) -> Proxy<'a> {
    let Connection { receiver: first_receiver, sender: first_sender } = first.connection_mut();
    let Connection { receiver: second_receiver, sender: second_sender } = second.connection_mut();
    Proxy {
        there: Direction::new(Forward::new(first_receiver, &second_sender.0), &second_sender.0),
        back: Direction::new(Forward::new(second_receiver, &first_sender.0), &first_sender.0),
        idle: None,
    }
}

/// Two streams as one; made by [`proxy`].
#[derive(Debug)]
#[must_use = "nothing is sent unless it is awaited"]
pub struct Proxy<'a> {
    there: Direction<'a>,
    back: Direction<'a>,
    idle: Option<Idle>,
}

#[derive(Debug)]
struct Direction<'a> {
    forward: Forward<'a>,
    to: &'a Descriptor,
    over: bool,
}

/// How long nothing may move, and since when nothing has.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    sent: u64,
    sleep: Sleep,
}

impl Proxy<'_> {
    /// Fails with [`TimedOut`](io::ErrorKind::TimedOut) when nothing has gone out in either direction for so long.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle = Some(Idle { limit, sent: 0, sleep: sleep_until(Instant::now() + limit) });
        self
    }

    /// How many bytes have gone from the first to the second so far, and back.
    pub fn sent(&self) -> (u64, u64) {
        (self.there.forward.moved(), self.back.forward.moved())
    }
}

impl<'a> Direction<'a> {
    fn new(forward: Forward<'a>, to: &'a Descriptor) -> Self {
        Self { forward, to, over: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.over {
            return Ok(());
        }
        if let Poll::Ready(ended) = Pin::new(&mut self.forward).poll(cx) {
            ended?;
            self.over = true;
            match self.to.shutdown(Shutdown::Write) {
                // The other side has gone altogether, and so knows.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                ended => ended?,
            }
        }
        Ok(())
    }
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>, sent: u64) -> Poll<()> {
        if self.sent != sent {
            self.sent = sent;
            self.sleep.reset(Instant::now() + self.limit);
        }
        Pin::new(&mut self.sleep).poll(cx)
    }
}

impl Future for Proxy<'_> {
    type Output = io::Result<(u64, u64)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.there.poll(cx)?;
        this.back.poll(cx)?;
        let (there, back) = this.sent();
        if this.there.over && this.back.over {
            return Poll::Ready(Ok((there, back)));
        }
        if let Some(idle) = &mut this.idle {
            if idle.poll(cx, there + back).is_ready() {
                let late = io::Error::new(io::ErrorKind::TimedOut, "nothing moved in either direction for too long");
                return Poll::Ready(Err(late));
            }
        }
        Poll::Pending
    }
}
