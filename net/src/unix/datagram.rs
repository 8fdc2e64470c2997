//! Datagrams.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::op::{
    Ancillary, Connect, Descriptor, FromMessage, How, Message, One, Op, ReceiveMessage, SendMessage, SendTo,
    SocketOption,
};
use socket2::{SockAddr, Type};

use super::{Credentials, SocketAddr, address};
use crate::connection::{size, taken_over, writable};
use crate::messages::{Messages, message_methods};

/// A socket of datagrams of the Unix family: each arrives whole and in order, and a send waits when too many lie at the
/// other side.
///
/// # Examples
///
/// ```
/// use corering_net::UnixDatagram;
///
/// corering_runtime::run(async {
///     let (here, there) = UnixDatagram::pair()?;
///     here.send("one").await.0?;
///     here.send("two").await.0?;
///     for text in ["one", "two"] {
///         let (count, buffer) = there.recv(Vec::with_capacity(64)).await;
///         assert_eq!(&buffer[..count?], text.as_bytes());
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixDatagram {
    messages: Messages,
}

message_methods!(UnixDatagram, SocketAddr);

/// How many bytes a datagram has, and who sent it.
#[derive(Debug)]
pub struct From {
    /// How many bytes.
    pub count: usize,
    /// Who sent it; unnamed, if that has no name.
    pub address: SocketAddr,
}

impl FromMessage for From {
    fn from_message(message: Message) -> io::Result<Self> {
        let (count, from) = <(usize, Option<SockAddr>)>::from_message(message)?;
        Ok(Self { count, address: from.map_or_else(super::unnamed, address)? })
    }
}

impl UnixDatagram {
    /// A socket of a path, which is made, or of an abstract name (`"\0name"`).
    ///
    /// # Errors
    ///
    /// What `bind(2)` says, with the path: that there is something already ([`AddrInUse`](io::ErrorKind::AddrInUse)),
    /// be it of a socket that is closed; that its folder is not there, or cannot be written to.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { messages: Messages::new(super::bound(Type::DGRAM, path.as_ref())?) })
    }

    /// A socket without a name: it can send, and receive from whom it is connected to.
    ///
    /// # Errors
    ///
    /// What `socket(2)` says, such as that no descriptor is free (`EMFILE`).
    pub fn unbound() -> io::Result<Self> {
        Ok(Self { messages: Messages::new(super::socket(Type::DGRAM)?) })
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// What `socketpair(2)` says, such as that no descriptor is free (`EMFILE`).
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Descriptor::socket_pair(Type::DGRAM)?;
        Ok((Self { messages: Messages::new(one) }, Self { messages: Messages::new(other) }))
    }

    /// Sends to the socket of that path or name from now on, by [`send`](Self::send), and receives only from there.
    ///
    /// # Errors
    ///
    /// What `connect(2)` says, with the path: that nothing is there, or that it is the path of no socket that is open.
    pub async fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let connected = Op::new(Connect::new(self.socket(), super::named(path)?)).await;
        connected.map_err(|error| super::error_of("connect to", path, &error))?;
        self.messages.set_connected();
        Ok(())
    }

    /// Sends a datagram to the other side: see [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// What `send(2)` says, such as that it is too large (`EMSGSIZE`), that the socket is not connected, that nobody
    /// has the other side open.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for room, it is not sent. Dropped once the kernel has it, it goes out, and the next send
    /// waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_SEND`, which is not left to wait there (K47).
    pub async fn send<B: IoBuf>(&self, buffer: B) -> (io::Result<usize>, B) {
        self.send_with_room(buffer, None).await
    }

    /// Sends a datagram to the socket of a path or name.
    ///
    /// # Errors
    ///
    /// What `sendto(2)` says, such as that it is too large (`EMSGSIZE`), that nothing is there, or that nobody has it
    /// open.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_to<B: IoBuf>(&self, buffer: B, path: impl AsRef<Path>) -> (io::Result<usize>, B) {
        match super::named(path.as_ref()) {
            Ok(to) => self.send_with_room(buffer, Some(to)).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// As [`send_to`](Self::send_to), to an address, such as one that a datagram came from.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_to_addr<B: IoBuf>(&self, buffer: B, address: &SocketAddr) -> (io::Result<usize>, B) {
        match super::of_address(address) {
            Ok(to) => self.send_with_room(buffer, Some(to)).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// Sends several buffers in turn as one datagram, with what goes along, to the other side. All comes back with the
    /// result.
    ///
    /// # Errors
    ///
    /// What `sendmsg(2)` says.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_msg<B: IoBuf>(
        &self,
        mut buffers: Vec<B>,
        mut ancillary: Ancillary,
    ) -> (io::Result<usize>, Vec<B>, Ancillary) {
        loop {
            let send = SendMessage::new(self.socket(), buffers, ancillary, None).at_once();
            let (sent, back, along) = Op::new(send).await;
            match self.room_after(sent, None).await {
                Some(sent) => return (sent, back, along),
                None => (buffers, ancillary) = (back, along),
            }
        }
    }

    async fn send_with_room<B: IoBuf>(&self, mut buffer: B, to: Option<SockAddr>) -> (io::Result<usize>, B) {
        loop {
            let (sent, back) = Op::new(SendTo::new(self.socket(), buffer, to.clone()).at_once()).await;
            match self.room_after(sent, to.as_ref()).await {
                Some(sent) => return (sent, back),
                None => buffer = back,
            }
        }
    }

    /// What a send has come to. None: there was no room, and now there is. A send that waits in the kernel would be
    /// sent empty (K47).
    async fn room_after(&self, sent: io::Result<usize>, to: Option<&SockAddr>) -> Option<io::Result<usize>> {
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.room(to).await.err().map(Err),
            sent => Some(sent),
        }
    }

    /// Waits until there is room at whom this is connected to, or at an address: one that is connected there can tell.
    async fn room(&self, to: Option<&SockAddr>) -> io::Result<()> {
        writable(self.socket()).await?;
        if let Some(to) = to {
            let other = super::socket(Type::DGRAM)?;
            Op::new(Connect::new(&other, to.clone())).await?;
            writable(&other).await?;
        }
        Ok(())
    }

    /// Receives a datagram, and who sent it; otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub fn recv_from<B: IoBufMut>(&self, buffer: B) -> Op<ReceiveMessage<One<B>, From>> {
        self.messages.receive(One(buffer), How::default())
    }

    /// As [`recv_from`](Self::recv_from), and leaves the datagram there.
    ///
    /// # Errors
    ///
    /// What `recv(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub fn peek_from<B: IoBufMut>(&self, buffer: B) -> Op<ReceiveMessage<One<B>, From>> {
        self.messages.receive(One(buffer), How { peek: true, ..How::default() })
    }

    /// Who made the pair.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        self.socket().peer_credentials()
    }

    /// Has each message say who sent it (`SO_PASSCRED`): see [`Ancillary::sent_by`].
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_passcred(&self, on: bool) -> io::Result<()> {
        self.socket().set_option(SocketOption::PassCredentials, on.into())
    }

    /// Takes over a socket that was made otherwise. It is set to block: the ring waits for it.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> Self {
        OwnedFd::from(socket).into()
    }

    /// The socket as the standard library has it, and the datagrams that had been received for futures which are gone.
    /// See [`into_owned_fd`](Self::into_owned_fd).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn into_std(self) -> io::Result<(std::os::unix::net::UnixDatagram, Vec<(Vec<u8>, Message)>)> {
        let (fd, messages) = self.into_owned_fd().await?;
        Ok((fd.into(), messages))
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local_addr() {
            Ok(address) => write!(f, "UnixDatagram({address:?})"),
            Err(_) => f.write_str("UnixDatagram"),
        }
    }
}
