//! The two halves of a stream.

use std::fmt;
use std::io;
use std::net::Shutdown;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::op::{Op, Receiver, Send, SendAll, WriteVectored};

use crate::stream::{Read, Recv, Sender, TcpStream, Writing};

/// Reads from a stream whose other half writes; made by [`TcpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a mut Receiver);

/// Writes to a stream whose other half reads; made by [`TcpStream::split`].
pub struct WriteHalf<'a>(&'a mut Sender);

/// Reads from a stream whose other half writes, perhaps in another task; made by [`TcpStream::into_split`].
///
/// The connection is closed when both halves are dropped.
#[derive(Debug)]
pub struct OwnedReadHalf(Receiver);

/// Writes to a stream whose other half reads, perhaps in another task; made by [`TcpStream::into_split`].
///
/// Dropping it tells the other side that nothing more will come.
pub struct OwnedWriteHalf(Option<Sender>);

pub(crate) fn borrowed(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(&mut stream.receiver), WriteHalf(&mut stream.sender))
}

pub(crate) fn owned(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    (OwnedReadHalf(stream.receiver), OwnedWriteHalf(Some(stream.sender)))
}

macro_rules! reads {
    ($half:ty, $receiver:ident => $get:expr) => {
        impl $half {
            pub(crate) fn receiver_mut(&mut self) -> &mut Receiver {
                let $receiver = self;
                $get
            }

            /// What has arrived; see [`TcpStream::recv`].
            pub fn recv(&mut self) -> Recv<'_> {
                let $receiver = self;
                Recv { receiver: $get }
            }

            /// Reads into a buffer; see [`TcpStream::read`].
            pub fn read<B: IoBufMut>(&mut self, buffer: B) -> Read<'_, B> {
                let $receiver = self;
                Read { receiver: $get, buffer: Some(buffer) }
            }
        }
    };
}

macro_rules! writes {
    ($half:ty, $sender:ident => $get:expr) => {
        impl $half {
            pub(crate) fn sender_mut(&mut self) -> &mut Sender {
                let $sender = self;
                $get
            }

            /// Writes a part of a buffer; see [`TcpStream::write`].
            pub fn write<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<Send<B>>> {
                let $sender = self;
                $get.write(buffer)
            }

            /// Writes all of a buffer; see [`TcpStream::write_all`].
            pub fn write_all<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendAll<B>>> {
                let $sender = self;
                $get.write_all(buffer)
            }

            /// Writes several buffers in turn; see [`TcpStream::write_vectored`].
            pub fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> Writing<'_, Op<WriteVectored<B>>> {
                let $sender = self;
                $get.write_vectored(buffers)
            }

            /// Says that nothing more will be written; see [`TcpStream::shutdown`].
            ///
            /// # Errors
            ///
            /// What `shutdown(2)` says.
            pub async fn shutdown(&mut self) -> io::Result<()> {
                let $sender = self;
                $get.shutdown(Shutdown::Write).await
            }
        }
    };
}

reads!(ReadHalf<'_>, half => half.0);
reads!(OwnedReadHalf, half => &mut half.0);
writes!(WriteHalf<'_>, half => half.0);
writes!(OwnedWriteHalf, half => half.whole_mut());

impl OwnedWriteHalf {
    fn sender(&self) -> &Sender {
        match &self.0 {
            Some(sender) => sender,
            None => unreachable!("taken only when the half ends"),
        }
    }
}

impl OwnedWriteHalf {
    fn whole_mut(&mut self) -> &mut Sender {
        match &mut self.0 {
            Some(sender) => sender,
            None => unreachable!("taken only when the half ends"),
        }
    }
}

impl OwnedReadHalf {
    /// Puts the two halves of one stream together again, with all that has arrived.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] gives both back if they are not of the same stream.
    pub fn reunite(self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !self.0.is_of(&write.sender().0) {
            return Err(ReuniteError(self, write));
        }
        match write.0.take() {
            Some(sender) => Ok(TcpStream { receiver: self.0, sender }),
            None => unreachable!("taken only when the half ends"),
        }
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let Some(sender) = &self.0 {
            // Not connected any more: then the other side knows.
            let _ = sender.0.shutdown(Shutdown::Write);
        }
    }
}

impl fmt::Debug for WriteHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteHalf({:?})", self.0.0)
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedWriteHalf({:?})", self.sender().0)
    }
}

/// Two halves that are not of the same stream; see [`OwnedReadHalf::reunite`].
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl std::error::Error for ReuniteError {}
