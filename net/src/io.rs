//! Connections as streams: the traits of [`corering_runtime::io`].

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;

use corering_runtime::buf::{IoBuf, IoBufMut};
use corering_runtime::io::{AsyncRead, AsyncWrite, Duplex};

use crate::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::stream::TcpStream;

macro_rules! reads {
    ($stream:ty) => {
        impl AsyncRead for $stream {
            fn read<B: IoBufMut>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
                <$stream>::read(self, buffer)
            }

            fn put_back(&mut self, bytes: Vec<u8>) {
                self.receiver_mut().put_back(bytes);
            }
        }
    };
}

macro_rules! writes {
    ($stream:ty) => {
        impl AsyncWrite for $stream {
            fn write<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<usize>, B)> {
                <$stream>::write(self, buffer)
            }

            fn write_all<B: IoBuf>(&mut self, buffer: B) -> impl Future<Output = (io::Result<()>, B)> {
                <$stream>::write_all(self, buffer)
            }

            fn write_vectored<B: IoBuf>(
                &mut self,
                buffers: Vec<B>,
            ) -> impl Future<Output = (io::Result<usize>, Vec<B>)> {
                <$stream>::write_vectored(self, buffers)
            }

            async fn settled(&mut self) -> io::Result<()> {
                let sender = self.sender_mut();
                poll_fn(|cx| sender.0.poll_settled(cx)).await;
                Ok(())
            }

            /// Waits until what was dropped in flight has gone out.
            async fn flush(&mut self) -> io::Result<()> {
                self.settled().await
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                self.sender_mut().shutdown(Shutdown::Write).await
            }
        }
    };
}

reads!(TcpStream);
reads!(ReadHalf<'_>);
reads!(OwnedReadHalf);
writes!(TcpStream);
writes!(WriteHalf<'_>);
writes!(OwnedWriteHalf);

impl Duplex for TcpStream {
    type Reader<'a> = ReadHalf<'a>;
    type Writer<'a> = WriteHalf<'a>;

    fn duplex(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        self.split()
    }
}
