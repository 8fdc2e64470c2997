//! TCP for the corering runtime. Programs use it as `corering::net`.
//!
//! A listener owns its accept and a stream its receive: calls take what has arrived, so `timeout` and `select!`
//! around any of them lose nothing.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod addr;
mod io;
mod listener;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod poll;
mod serve;
mod split;
mod stream;

pub use addr::ToSocketAddrs;
pub use listener::{Accept, Incoming, TcpListener};
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
pub use poll::PollStream;
#[cfg(feature = "hyper")]
pub use poll::hyper::{CoreExecutor, CoreTimer};
pub use serve::{Listen, Serve, ServeMetrics, serve};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use std::net::Shutdown;
pub use stream::{Read, ReadDeadline, Recv, TcpStream, Writing};
