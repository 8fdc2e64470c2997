//! Sockets for the corering runtime: TCP, UDP, and those of the Unix family. Programs use them as `corering::net`.
//!
//! A listener owns its accept, a stream its receive, and a socket of messages what has arrived: calls take what is
//! there, so `timeout` and `select!` around any of them lose nothing.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod addr;
mod connect;
mod connection;
mod listener;
mod messages;
mod options;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod poll;
mod proxy;
mod serve;
mod split;
mod stream;
mod tcp_socket;
mod udp;
pub mod unix;

pub use addr::{Target, ToSocketAddrs, lookup_host};
pub use connection::{Read, ReadDeadline, Recv, StreamSocket, Writing};
pub use corering_runtime::op::{Ancillary, Message, SendFile, Truncated};
pub use listener::{Accept, Incoming, ListenerSocket, TcpListener};
pub use options::Keepalive;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
pub use poll::PollStream;
#[cfg(feature = "hyper")]
pub use poll::hyper::{CoreExecutor, CoreTimer};
pub use proxy::{Proxy, proxy};
pub use serve::{Listen, Serve, ServeMetrics, serve};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use std::net::Shutdown;
pub use stream::TcpStream;
pub use tcp_socket::TcpSocket;
pub use udp::{Datagrams, UdpSocket};
pub use unix::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
