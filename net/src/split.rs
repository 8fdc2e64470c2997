//! The two halves of a stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::ops::RangeBounds;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncWrite};
use corering_runtime::op::{Descriptor, Op, Receiver, Send, SendAll, SendFile, SendVectored, SendZeroCopy};

use crate::connection::{Connection, Read, Recv, Sender, StreamSocket, Writing, async_write};
use crate::stream::TcpStream;

/// Which kind of stream a half is of.
type Of<S> = PhantomData<fn() -> S>;

/// Reads from a stream whose other half writes; made by [`TcpStream::split`] and its like.
pub struct ReadHalf<'a, S = TcpStream>(&'a mut Receiver, Of<S>);

/// Writes to a stream whose other half reads; made by [`TcpStream::split`] and its like.
pub struct WriteHalf<'a, S = TcpStream>(&'a mut Sender, Of<S>);

/// Reads from a stream whose other half writes, perhaps in another task; made by [`TcpStream::into_split`] and its
/// like.
///
/// The connection is closed when both halves are dropped.
pub struct OwnedReadHalf<S = TcpStream>(Receiver, Of<S>);

/// Writes to a stream whose other half reads, perhaps in another task; made by [`TcpStream::into_split`] and its like.
///
/// Dropping it tells the other side that nothing more will come.
pub struct OwnedWriteHalf<S = TcpStream>(Option<Sender>, Of<S>);

pub(crate) fn borrowed<S>(connection: &mut Connection) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(&mut connection.receiver, PhantomData), WriteHalf(&mut connection.sender, PhantomData))
}

pub(crate) fn owned<S>(connection: Connection) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let Connection { receiver, sender } = connection;
    (OwnedReadHalf(receiver, PhantomData), OwnedWriteHalf(Some(sender), PhantomData))
}

macro_rules! addresses {
    ($half:ident $(<$life:lifetime>)?, $text:literal) => {
        impl<S: StreamSocket> $half<$($life,)? S> {
            /// The address of the other side.
            ///
            /// # Errors
            ///
            /// What `getpeername(2)` says: also that there is no other side any more.
            pub fn peer_addr(&self) -> io::Result<S::Address> {
                S::address(self.socket().peer_addr()?)
            }

            /// The address of this side.
            ///
            /// # Errors
            ///
            /// What `getsockname(2)` says.
            pub fn local_addr(&self) -> io::Result<S::Address> {
                S::address(self.socket().local_addr()?)
            }
        }

        impl<S> fmt::Debug for $half<$($life,)? S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($text, "({:?})"), self.socket())
            }
        }
    };
}

macro_rules! reads {
    ($half:ident $(<$life:lifetime>)?, $text:literal, $receiver:ident => $get:expr) => {
        impl<S> $half<$($life,)? S> {
            fn receiver_mut(&mut self) -> &mut Receiver {
                let $receiver = self;
                $get
            }

            fn socket(&self) -> &Descriptor {
                self.0.socket()
            }

            /// What has arrived; see [`TcpStream::recv`].
            pub fn recv(&mut self) -> Recv<'_> {
                Recv { receiver: self.receiver_mut() }
            }

            /// Reads into a buffer; see [`TcpStream::read`].
            pub fn read<B: IoBufMut>(&mut self, buffer: B) -> Read<'_, B> {
                Read { receiver: self.receiver_mut(), buffer: Some(buffer) }
            }

            /// Copies what has arrived and leaves it there; see [`TcpStream::peek`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn peek(&mut self, room: &mut [u8]) -> io::Result<usize> {
                self.receiver_mut().peek(room).await
            }

            /// Waits until the next read gives something at once; see [`TcpStream::readable`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn readable(&mut self) -> io::Result<()> {
                self.receiver_mut().readable().await;
                Ok(())
            }
        }

        addresses!($half $(<$life>)?, $text);

        impl<S: StreamSocket> AsyncRead for $half<$($life,)? S> {
            fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
                Self::read(self, buffer)
            }

            fn put_back(&mut self, bytes: Vec<u8>) {
                self.receiver_mut().put_back(bytes);
            }

            fn passing_receiver(&mut self) -> Option<&mut Receiver> {
                Some(self.receiver_mut())
            }
        }
    };
}

macro_rules! writes {
    ($half:ident $(<$life:lifetime>)?, $text:literal, $sender:ident => $get:expr) => {
        impl<S> $half<$($life,)? S> {
            pub(crate) fn sender_mut(&mut self) -> &mut Sender {
                let $sender = self;
                $get
            }

            fn socket(&self) -> &Descriptor {
                &self.sender().0
            }

            /// Writes a part of a buffer; see [`TcpStream::write`].
            pub fn write<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<Send<B>>> {
                self.sender_mut().write(buffer)
            }

            /// Writes all of a buffer; see [`TcpStream::write_all`].
            pub fn write_all<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendAll<B>>> {
                self.sender_mut().write_all(buffer)
            }

            /// Writes all of a buffer that is not copied if it need not; see [`TcpStream::write_zero_copy`].
            pub fn write_zero_copy<B: IoBuf>(&mut self, buffer: B) -> Writing<'_, Op<SendZeroCopy<B>>> {
                self.sender_mut().write_zero_copy(buffer)
            }

            /// Writes several buffers in turn; see [`TcpStream::write_vectored`].
            pub fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> Writing<'_, Op<SendVectored<B>>> {
                self.sender_mut().write_vectored(buffers)
            }

            /// Sends a part of a file; see [`TcpStream::send_file`].
            pub fn send_file<'a>(
                &'a mut self,
                file: &'a impl AsRef<Descriptor>,
                part: impl RangeBounds<u64>,
            ) -> SendFile<'a> {
                SendFile::new(self.socket(), file.as_ref(), part)
            }

            /// Waits until there is room for something to be written; see [`TcpStream::writable`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn writable(&self) -> io::Result<()> {
                crate::connection::writable(self.socket()).await
            }

            /// Says that nothing more will be written; see [`TcpStream::shutdown`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn shutdown(&mut self) -> io::Result<()> {
                self.sender_mut().shutdown(Shutdown::Write).await
            }
        }

        addresses!($half $(<$life>)?, $text);
    };
}

reads!(ReadHalf<'_>, "ReadHalf", half => half.0);
reads!(OwnedReadHalf, "OwnedReadHalf", half => &mut half.0);
writes!(WriteHalf<'_>, "WriteHalf", half => half.0);
writes!(OwnedWriteHalf, "OwnedWriteHalf", half => half.whole_mut());
async_write!(WriteHalf<'_, S>, S);
async_write!(OwnedWriteHalf<S>, S);

impl<S> WriteHalf<'_, S> {
    fn sender(&self) -> &Sender {
        self.0
    }
}

impl<S> OwnedWriteHalf<S> {
    fn sender(&self) -> &Sender {
        match &self.0 {
            Some(sender) => sender,
            None => unreachable!("taken only when the half ends"),
        }
    }

    fn whole_mut(&mut self) -> &mut Sender {
        match &mut self.0 {
            Some(sender) => sender,
            None => unreachable!("taken only when the half ends"),
        }
    }
}

impl<S: StreamSocket> OwnedReadHalf<S> {
    /// Puts the two halves of one stream together again, with all that has arrived.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] gives both back if they are not of the same stream.
    pub fn reunite(self, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !self.0.is_of(&write.sender().0) {
            return Err(ReuniteError(self, write));
        }
        match write.0.take() {
            Some(sender) => Ok(S::of(Connection { receiver: self.0, sender })),
            None => unreachable!("taken only when the half ends"),
        }
    }
}

impl<S> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if let Some(sender) = &self.0 {
            // Not connected any more: then the other side knows.
            let _ = sender.0.shutdown(Shutdown::Write);
        }
    }
}

/// Two halves that are not of the same stream; see [`OwnedReadHalf::reunite`].
#[derive(Debug)]
pub struct ReuniteError<S = TcpStream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl<S: fmt::Debug> std::error::Error for ReuniteError<S> {}
