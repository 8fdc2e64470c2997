//! UDP.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use corering_runtime::buf::{Chunk, IoBuf, IoBufMut};
use corering_runtime::op::{
    Ancillary, Connect, Descriptor, Group, How, Message, One, Op, ReceiveMessage, SendMessage, SendTo, SocketOption,
};
use socket2::{Domain, Protocol, Type};

use crate::addr::{Target, ToSocketAddrs};
use crate::connection::{size, taken_over, writable};
use crate::listener::first_of;
use crate::messages::{Messages, PooledMessages, message_methods, send_methods};
use crate::options::ttl_of;
use crate::stream::socket_addr as address;

/// A UDP socket.
///
/// What has arrived is lost with no future: a receive that is dropped leaves its datagram to the next. One that is too
/// large for the buffer is an error that says so.
///
/// # Examples
///
/// ```
/// use corering_net::UdpSocket;
///
/// corering_runtime::run(async {
///     let here = UdpSocket::bind("127.0.0.1:0").await?;
///     let there = UdpSocket::bind("127.0.0.1:0").await?;
///     here.send_to("ping", there.local_addr()?).await.0?;
///     let (received, buffer) = there.recv_from(Vec::with_capacity(2048)).await;
///     let (count, from) = received?;
///     assert_eq!((&buffer[..count], from), (&b"ping"[..], here.local_addr()?));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket {
    messages: Messages,
}

message_methods!(UdpSocket, SocketAddr);
send_methods!(UdpSocket);

impl UdpSocket {
    /// A socket of that address; port 0 lets the kernel pick one. Of several addresses, the first that can be had.
    ///
    /// # Errors
    ///
    /// What `bind(2)` says, with the address: that it is in use, not of this machine, not allowed.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, false).await
    }

    /// As [`bind`](Self::bind), on an address that several sockets share: the kernel gives what comes from one address
    /// always to the same of them (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn bind_shared(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, true).await
    }

    async fn bind_with(address: impl ToSocketAddrs, shared: bool) -> io::Result<Self> {
        let bind = |address: SocketAddr| {
            let socket = Descriptor::socket(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            if shared {
                socket.set_option(SocketOption::ReusePort, 1)?;
            }
            socket.bind(&address.into())?;
            Ok(socket)
        };
        Ok(Self { messages: Messages::new(first_of(address, "bind to", bind).await?) })
    }

    /// Sends to that address from now on, by [`send`](Self::send), and receives only what comes from there. Of a name's
    /// addresses, the first that can be reached from here.
    ///
    /// # Errors
    ///
    /// What `connect(2)` says, with the address. That the name cannot be looked up.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let target = address.to_target()?;
        let mut first = None;
        for address in target.addresses().await? {
            match Op::new(Connect::new(self.socket(), address.into())).await {
                Ok(()) => {
                    self.messages.set_connected();
                    return Ok(());
                }
                Err(error) => {
                    let text = format!("cannot connect to {address}: {error}");
                    first.get_or_insert(io::Error::new(error.kind(), text));
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => unreachable!("a target has an address, or says that it has none"),
        }
    }

    /// Sends a datagram to an address. A name is looked up each time: [`connect`](Self::connect) does so once.
    ///
    /// # Errors
    ///
    /// What `sendto(2)` says: that it is too large (`EMSGSIZE`), that there is no way to the address. That the name
    /// cannot be looked up.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it goes out all the same; the next send waits for it.
    pub async fn send_to<B: IoBuf>(&self, buffer: B, address: impl ToSocketAddrs) -> (io::Result<usize>, B) {
        match self.destination(address).await {
            Ok(address) => Op::new(SendTo::new(self.socket(), buffer, Some(address.into()))).await,
            Err(error) => (Err(error), buffer),
        }
    }

    /// Sends several buffers in turn as one message, with what goes along, to an address. All comes back with the
    /// result.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// Many datagrams with one call:
    ///
    /// ```
    /// use corering_net::{Ancillary, UdpSocket};
    ///
    /// corering_runtime::run(async {
    ///     let here = UdpSocket::bind("127.0.0.1:0").await?;
    ///     let there = UdpSocket::bind("127.0.0.1:0").await?;
    ///     let segments = Ancillary::new().segment_bytes(1000);
    ///     here.send_msg_to(vec![vec![7; 2500]], segments, there.local_addr()?).await.0?;
    ///     let mut lengths = Vec::new();
    ///     for _ in 0..3 {
    ///         lengths.push(there.recv(Vec::with_capacity(2048)).await.0?);
    ///     }
    ///     assert_eq!(lengths, [1000, 1000, 500]);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn send_msg_to<B: IoBuf>(
        &self,
        buffers: Vec<B>,
        ancillary: Ancillary,
        address: impl ToSocketAddrs,
    ) -> (io::Result<usize>, Vec<B>, Ancillary) {
        match self.destination(address).await {
            Ok(address) => Op::new(SendMessage::new(self.socket(), buffers, ancillary, Some(address.into()))).await,
            Err(error) => (Err(error), buffers, ancillary),
        }
    }

    async fn destination(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let target = address.to_target()?;
        if let Target::Address(address) = target {
            return Ok(address);
        }
        let here = self.local_addr()?;
        let found = target.addresses().await?.into_iter().find(|address| address.is_ipv4() == here.is_ipv4());
        found.ok_or_else(|| {
            let text = format!("{target} has no address that {here} can send to");
            io::Error::new(io::ErrorKind::AddrNotAvailable, text)
        })
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
    pub fn recv_from<B: IoBufMut>(&self, buffer: B) -> Op<ReceiveMessage<One<B>, (usize, SocketAddr)>> {
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
    pub fn peek_from<B: IoBufMut>(&self, buffer: B) -> Op<ReceiveMessage<One<B>, (usize, SocketAddr)>> {
        self.messages.receive(One(buffer), How { peek: true, ..How::default() })
    }

    /// The datagrams one after the other, in buffers of the core's pool that fits datagrams of so many bytes best. It
    /// takes in what arrives without being asked: for those that receive many.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECVMSG`, multishot.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_net::UdpSocket;
    ///
    /// corering_runtime::run(async {
    ///     let here = UdpSocket::bind("127.0.0.1:0").await?;
    ///     let there = UdpSocket::bind("127.0.0.1:0").await?;
    ///     for text in ["one", "two"] {
    ///         here.send_to(text, there.local_addr()?).await.0?;
    ///     }
    ///     let mut datagrams = there.recv_stream(1500);
    ///     for text in ["one", "two"] {
    ///         let (bytes, from) = datagrams.next().await.expect("it does not end")?;
    ///         assert_eq!((&bytes[..], from), (text.as_bytes(), here.local_addr()?));
    ///     }
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_stream(&self, bytes: usize) -> Datagrams<'_> {
        Datagrams(PooledMessages::new(&self.messages, bytes))
    }

    /// Lets datagrams go to a broadcast address (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.socket().set_option(SocketOption::Broadcast, on.into())
    }

    /// Whether they may.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.socket().option(SocketOption::Broadcast)? != 0)
    }

    /// How many routers a packet may pass (`IP_TTL`, or `IPV6_UNICAST_HOPS` of a socket of IPv6).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket().set_option(ttl_of(self.socket())?, size(ttl))
    }

    /// How many it may.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().option(ttl_of(self.socket())?).map(|ttl| ttl as u32)
    }

    /// Joins a group of IPv4, by the network that has the address `interface`, or any if that is `0.0.0.0`.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says: that `group` is the address of no group, or that there is no such network.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().set_member(Group::V4 { group, interface }, true)
    }

    /// Leaves it.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().set_member(Group::V4 { group, interface }, false)
    }

    /// Joins a group of IPv6, by the network of that number, or any if that is 0.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().set_member(Group::V6 { group, interface }, true)
    }

    /// Leaves it.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](Self::join_multicast_v4).
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().set_member(Group::V6 { group, interface }, false)
    }

    /// Has what is sent to a group come back to this machine, too (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        let v4 = self.local_addr()?.is_ipv4();
        let option = if v4 { SocketOption::MulticastLoop } else { SocketOption::MulticastLoopV6 };
        self.socket().set_option(option, on.into())
    }

    /// How many routers a packet to a group may pass (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_multicast_ttl(&self, ttl: u32) -> io::Result<()> {
        let v4 = self.local_addr()?.is_ipv4();
        let option = if v4 { SocketOption::MulticastTtl } else { SocketOption::MulticastHopsV6 };
        self.socket().set_option(option, size(ttl))
    }

    /// Lets datagrams that belong together arrive as one, whose [`segments`](Ancillary::segments) says how they are cut
    /// (`UDP_GRO`): for [`recv_msg`](Self::recv_msg) alone.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` says.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.socket().set_option(SocketOption::Gro, on.into())
    }

    /// Takes over a socket that was made otherwise. It is set to block: the ring waits for it.
    pub fn from_std(socket: std::net::UdpSocket) -> Self {
        OwnedFd::from(socket).into()
    }

    /// The socket as the standard library has it, and the datagrams that had been received for futures which are gone.
    /// See [`into_owned_fd`](Self::into_owned_fd).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn into_std(self) -> io::Result<(std::net::UdpSocket, Vec<(Vec<u8>, Message)>)> {
        let (fd, messages) = self.into_owned_fd().await?;
        Ok((fd.into(), messages))
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local_addr() {
            Ok(address) => write!(f, "UdpSocket({address})"),
            Err(_) => f.write_str("UdpSocket"),
        }
    }
}

/// The datagrams of a socket, one after the other; made by [`UdpSocket::recv_stream`]. While it is there, other
/// receives of the socket wait.
///
/// # Cancel safety
///
/// What it has taken in and nobody has fetched stays with the socket when this is dropped: the next receive gives it.
#[derive(Debug)]
pub struct Datagrams<'a>(PooledMessages<'a>);

impl Datagrams<'_> {
    /// The next datagram, and who sent it. Never `None`.
    ///
    /// # Errors
    ///
    /// What `recvmsg(2)` says. [`InvalidData`](io::ErrorKind::InvalidData) with a [`Truncated`](crate::Truncated) if
    /// one had more bytes than the buffers of the pool have: it is gone, and the next call gives the next.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn next(&mut self) -> Option<io::Result<(Chunk, SocketAddr)>> {
        let received = std::future::poll_fn(|cx| self.0.poll_next(cx)).await;
        Some(received.and_then(|(bytes, from)| {
            let from = from.ok_or_else(|| io::Error::other("the datagram does not say who sent it"))?;
            Ok((bytes, address(from)?))
        }))
    }
}
