//! What all sockets of messages are made of: the socket, and what has arrived at it. Their methods stand here once.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use corering_runtime::buf::Chunk;
use corering_runtime::op::{
    Arrivals, Descriptor, FromMessage, How, Message, Multishot, One, Op, Readiness, ReceiveMessage, ReceiveMessages,
    Rooms,
};
use socket2::SockAddr;

use crate::connection::{Sender, into_owned};

/// A socket of messages.
pub(crate) struct Messages {
    sender: Sender,
    pub(crate) arrivals: Arrivals,
    /// All that arrives comes from the other side.
    connected: AtomicBool,
}

impl Messages {
    pub(crate) fn new(socket: Descriptor) -> Self {
        let connected = AtomicBool::new(socket.peer_addr().is_ok());
        Self { sender: Sender(socket), arrivals: Arrivals::new(), connected }
    }

    pub(crate) fn set_connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    pub(crate) fn socket(&self) -> &Descriptor {
        &self.sender.0
    }

    pub(crate) fn receive<R: Rooms, M: FromMessage>(&self, rooms: R, how: How) -> Op<ReceiveMessage<R, M>> {
        let how = How { connected: self.connected.load(Ordering::Relaxed), ..how };
        Op::new(ReceiveMessage::new(self.socket(), &self.arrivals, rooms, how))
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| match self.arrivals.is_empty() {
            true => self.arrivals.poll_free(cx),
            false => Poll::Ready(()),
        })
        .await;
        if self.arrivals.is_empty() {
            Op::new(Readiness::of(self.socket(), libc::POLLIN)).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(self) -> io::Result<()> {
        let Self { sender, .. } = self;
        let socket = sender.0.clone();
        drop(sender);
        socket.close().await
    }

    pub(crate) async fn into_parts(self) -> io::Result<(OwnedFd, Vec<(Vec<u8>, Message)>)> {
        let Self { sender, arrivals, .. } = self;
        let socket = sender.0.clone();
        drop(sender);
        // All receives have ended by then.
        let fd = into_owned(socket).await?;
        Ok((fd, arrivals.take_all()))
    }
}

/// The datagrams of a socket, one after the other, in pooled buffers.
///
/// It takes in what arrives without being asked, one buffer of the core's pool for each datagram. While it is there,
/// other receives of the socket wait.
///
/// # Cancel safety
///
/// What it has taken in and nobody has fetched stays with the socket when this is dropped: the next receive gives it.
#[derive(Debug)]
pub(crate) struct PooledMessages<'a> {
    messages: &'a Messages,
    bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing is with the kernel.
    Idle,
    Armed(Multishot<ReceiveMessages>),
    /// The core had no buffer: one of our own.
    Own(Box<Op<ReceiveMessage<One<Vec<u8>>, Message>>>),
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.socket())
    }
}

impl<'a> PooledMessages<'a> {
    pub(crate) fn new(messages: &'a Messages, bytes: usize) -> Self {
        Self { messages, bytes, state: State::Idle }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Chunk, Option<SockAddr>)>> {
        loop {
            match &mut self.state {
                State::Idle => {
                    ready!(self.messages.arrivals.poll_free(cx));
                    if let Some(kept) = self.messages.arrivals.take_datagram() {
                        return Poll::Ready(kept.map(|datagram| (datagram.bytes, datagram.from)));
                    }
                    let receive = ReceiveMessages::new(self.messages.socket(), &self.messages.arrivals, self.bytes);
                    self.state = match receive {
                        Some(receive) => State::Armed(Multishot::new(receive)),
                        None => self.own_memory(),
                    };
                }
                State::Armed(multishot) => match ready!(multishot.poll_next(cx)) {
                    Ok(datagram) => return Poll::Ready(Ok((datagram.bytes, datagram.from))),
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        self.state = State::Idle;
                        self.state = self.own_memory();
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                },
                State::Own(receive) => {
                    let (received, bytes) = ready!(std::pin::Pin::new(&mut **receive).poll(cx));
                    self.state = State::Idle;
                    return Poll::Ready(received.and_then(|message| {
                        let count = <(usize, Option<SockAddr>)>::from_message(message)?;
                        Ok((Chunk::from(bytes), count.1))
                    }));
                }
            }
        }
    }

    fn own_memory(&self) -> State {
        let room = One(Vec::with_capacity(self.bytes.max(1)));
        State::Own(Box::new(self.messages.receive(room, How::default())))
    }
}

/// The methods that all sockets of messages have; `$messages` is the field.
macro_rules! message_methods {
    ($socket:ident, $address:ty) => {
        impl $socket {
            pub(crate) fn socket(&self) -> &Descriptor {
                self.messages.socket()
            }

            /// Receives a message: how many bytes it has, and the buffer, also on error.
            ///
            /// One receive is under way at a time: others wait for it.
            ///
            /// # Errors
            ///
            /// What `recv(2)` says. [`InvalidData`](io::ErrorKind::InvalidData) with a [`Truncated`](crate::Truncated)
            /// if the message has more bytes than `buffer` has room for: the buffer has the first, and the others are
            /// gone. [`InvalidInput`](io::ErrorKind::InvalidInput) if it has no room.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses no message (only the buffer): the next call gets it. It is cut to the room of the one
            /// that was dropped.
            pub fn recv<B: IoBufMut>(&self, buffer: B) -> Op<ReceiveMessage<One<B>, usize>> {
                self.messages.receive(One(buffer), How::default())
            }

            /// Receives a message, and leaves it there; of one with more bytes than there is room for only the first.
            ///
            /// # Errors
            ///
            /// What `recv(2)` says.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses nothing.
            pub fn peek<B: IoBufMut>(&self, buffer: B) -> Op<ReceiveMessage<One<B>, usize>> {
                self.messages.receive(One(buffer), How { peek: true, ..How::default() })
            }

            /// Receives a message into several buffers in turn, with what comes along: so many descriptors at most. The
            /// [`Message`](crate::Message) says who sent it, and whether it was cut.
            ///
            /// # Errors
            ///
            /// What `recvmsg(2)` says.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses neither the message nor what came along: the next `recv_msg` gets both; other receives
            /// get the message, and close what came along.
            pub fn recv_msg<B: IoBufMut>(
                &self,
                buffers: Vec<B>,
                descriptors: usize,
            ) -> Op<ReceiveMessage<Vec<B>, Message>> {
                self.messages.receive(buffers, How { descriptors: Some(descriptors), ..How::default() })
            }

            /// Waits until the next receive gives something at once: a message, or an error.
            ///
            /// # Errors
            ///
            /// What `poll(2)` says.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses nothing.
            pub async fn readable(&self) -> io::Result<()> {
                self.messages.readable().await
            }

            /// Waits until there is room for a message to be sent.
            ///
            /// # Errors
            ///
            /// What `poll(2)` says.
            ///
            /// # Cancel safety
            ///
            /// Dropping it loses nothing.
            pub async fn writable(&self) -> io::Result<()> {
                writable(self.socket()).await
            }

            /// How many bytes may wait to be sent (`SO_SNDBUF`). The kernel doubles what is set.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
                self.socket().set_option(SocketOption::SendBuffer, size(bytes))
            }

            /// How many may.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn send_buffer_size(&self) -> io::Result<u32> {
                self.socket().option(SocketOption::SendBuffer).map(|bytes| bytes as u32)
            }

            /// How many bytes may wait to be received (`SO_RCVBUF`). The kernel doubles what is set.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` says.
            pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
                self.socket().set_option(SocketOption::ReceiveBuffer, size(bytes))
            }

            /// How many may.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn recv_buffer_size(&self) -> io::Result<u32> {
                self.socket().option(SocketOption::ReceiveBuffer).map(|bytes| bytes as u32)
            }

            /// The error that waits to be told, if there is one. It is told once (`SO_ERROR`).
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` says.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket().take_error()
            }

            /// The address of this side.
            ///
            /// # Errors
            ///
            /// What `getsockname(2)` says.
            pub fn local_addr(&self) -> io::Result<$address> {
                address(self.socket().local_addr()?)
            }

            /// The address of the other side.
            ///
            /// # Errors
            ///
            /// What `getpeername(2)` says: also that the socket is not connected.
            pub fn peer_addr(&self) -> io::Result<$address> {
                address(self.socket().peer_addr()?)
            }

            /// Says that nothing more will be sent, or received, or both.
            ///
            /// # Errors
            ///
            /// What `shutdown(2)` says, such as that it is not connected.
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.socket().shutdown(how)
            }

            /// The socket without the runtime, and the messages that had been received for futures which are gone:
            /// nobody else will receive these.
            ///
            /// # Errors
            ///
            /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if an operation still uses the socket;
            /// [`Unsupported`](io::ErrorKind::Unsupported) in a simulated world. It is closed then.
            ///
            /// # Cancel safety
            ///
            /// Dropped, the socket is closed in the background.
            pub async fn into_owned_fd(self) -> io::Result<(OwnedFd, Vec<(Vec<u8>, Message)>)> {
                self.messages.into_parts().await
            }

            /// Closes it: gives up what was dropped, waits for that, and closes. Dropping it does that in the
            /// background.
            ///
            /// # Errors
            ///
            /// What `close(2)` says.
            pub async fn close(self) -> io::Result<()> {
                self.messages.close().await
            }
        }

        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket().as_fd()
            }
        }

        /// Of a socket of this kind, which is set to block: the ring waits for it.
        impl std::convert::From<OwnedFd> for $socket {
            fn from(fd: OwnedFd) -> Self {
                Self { messages: Messages::new(taken_over(fd)) }
            }
        }
    };
}

/// The sends of sockets for which the ring can wait.
macro_rules! send_methods {
    ($socket:ident) => {
        impl $socket {
            /// Sends a message to the other side: see `connect`.
            ///
            /// # Errors
            ///
            /// What `send(2)` says: that it is too large (`EMSGSIZE`), that the socket is not connected, that nobody
            /// took the last one.
            ///
            /// # Cancel safety
            ///
            /// Dropped in flight, it goes out all the same; the next send waits for it.
            pub fn send<B: IoBuf>(&self, buffer: B) -> Op<SendTo<B>> {
                Op::new(SendTo::new(self.socket(), buffer, None))
            }

            /// Sends several buffers in turn as one message, with what goes along. All comes back with the result.
            ///
            /// # Errors
            ///
            /// What `sendmsg(2)` says.
            ///
            /// # Cancel safety
            ///
            /// As [`send`](Self::send).
            pub fn send_msg<B: IoBuf>(&self, buffers: Vec<B>, ancillary: Ancillary) -> Op<SendMessage<B>> {
                Op::new(SendMessage::new(self.socket(), buffers, ancillary, None))
            }
        }
    };
}

pub(crate) use {message_methods, send_methods};
