//! tokio: servers.

use std::io;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::net::{TcpListener, UdpSocket, UnixListener};
use ::tokio::task;

use super::tokio::local;
use crate::network::server::{Listening, add_done, buffer_bytes};
use crate::network::stream::{self, Position, ROOM};
use crate::workload::Flow;

/// Sends back what it gets.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; bytes];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

pub(crate) fn echo(listening: Listening, message: usize) -> io::Result<()> {
    let bytes = buffer_bytes(message);
    local()?.block_on(async {
        match listening {
            Listening::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    task::spawn_local(answer(stream, bytes));
                }
            }
            Listening::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                loop {
                    task::spawn_local(answer(listener.accept().await?.0, bytes));
                }
            }
        }
    })
}

pub(crate) fn datagrams(socket: std::net::UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    local()?.block_on(async {
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = vec![0; 2048];
        loop {
            let (count, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..count], from).await?;
        }
    })
}

pub(crate) fn storm(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    local()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            task::spawn_local(async move {
                drop(stream);
                add_done(1);
            });
        }
    })
}

pub(crate) fn proxy(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    local()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let ((mut front, _), (mut back, _)) = (listener.accept().await?, listener.accept().await?);
        front.set_nodelay(true)?;
        back.set_nodelay(true)?;
        ::tokio::io::copy_bidirectional(&mut front, &mut back).await.map(drop)
    })
}

pub(crate) fn stream(listener: std::net::TcpListener, flow: Flow) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    local()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match flow {
            Flow::ToServer => {
                let (mut buffer, mut position) = (vec![0; ROOM], Position::default());
                loop {
                    let count = stream.read(&mut buffer).await?;
                    if count == 0 {
                        return Ok(());
                    }
                    position.take(&buffer[..count])?;
                    add_done(count as u64);
                }
            }
            Flow::FromServer => {
                let content = stream::content();
                loop {
                    stream.write_all(&content).await?;
                }
            }
        }
    })
}
