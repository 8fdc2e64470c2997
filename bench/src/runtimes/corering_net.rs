//! corering: servers.

use std::io;
use std::rc::Rc;

use corering::Builder;
use corering::net::{TcpListener, UdpSocket, UnixListener};

use crate::network::server::{Listening, add_done, buffer_bytes};
use crate::network::stream::{self, Position, ROOM};
use crate::workload::Flow;

/// Sends back what it gets, chunk by chunk: each as it came into a pooled buffer.
macro_rules! echo {
    ($stream:expr, $chunk_bytes:expr) => {{
        let (mut stream, chunk_bytes) = ($stream, $chunk_bytes);
        stream.set_chunk_bytes(chunk_bytes);
        corering::spawn(async move {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            io::Result::Ok(())
        });
    }};
}

pub(crate) fn echo(listening: Listening, message: usize) -> io::Result<()> {
    let bytes = buffer_bytes(message);
    let mut builder = Builder::new();
    if bytes > 4096 {
        builder = builder.buffers(256, bytes as u32);
    }
    builder.run(async {
        match listening {
            Listening::Tcp(listener) => {
                let listener = TcpListener::from_std(listener);
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    echo!(stream, bytes);
                }
            }
            Listening::Unix(listener) => {
                let listener = UnixListener::from_std(listener);
                loop {
                    echo!(listener.accept().await?.0, bytes);
                }
            }
        }
    })?
}

/// Each datagram is answered by a task: so the next one is not held up, and what came together goes together.
pub(crate) fn datagrams(socket: std::net::UdpSocket) -> io::Result<()> {
    corering::run(async {
        let socket = Rc::new(UdpSocket::from_std(socket));
        let mut datagrams = socket.recv_stream(2048);
        while let Some(datagram) = datagrams.next().await {
            let (chunk, from) = datagram?;
            let socket = socket.clone();
            corering::spawn(async move { socket.send_to(chunk, from).await.0 });
        }
        Ok(())
    })?
}

pub(crate) fn storm(listener: std::net::TcpListener) -> io::Result<()> {
    corering::run(async {
        let listener = TcpListener::from_std(listener);
        loop {
            let (stream, _) = listener.accept().await?;
            corering::spawn(async move {
                drop(stream);
                add_done(1);
            });
        }
    })?
}

pub(crate) fn proxy(listener: std::net::TcpListener) -> io::Result<()> {
    corering::run(async {
        let listener = TcpListener::from_std(listener);
        let ((mut front, _), (mut back, _)) = (listener.accept().await?, listener.accept().await?);
        front.set_nodelay(true)?;
        back.set_nodelay(true)?;
        corering::net::proxy(&mut front, &mut back).await.map(drop)
    })?
}

/// What comes goes by pooled buffers as large as the others'. `corering-read` is a core that was told nothing, and a
/// server that brings memory of its own to each read.
pub(crate) fn stream(runtime: &str, listener: std::net::TcpListener, flow: Flow) -> io::Result<()> {
    let pooled = runtime == "corering";
    let builder = if pooled { Builder::new().buffers(16, ROOM as u32) } else { Builder::new() };
    builder.run(async {
        let listener = TcpListener::from_std(listener);
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match flow {
            Flow::ToServer if pooled => {
                let mut position = Position::default();
                while let Some(chunk) = stream.recv().await? {
                    position.take(&chunk)?;
                    add_done(chunk.len() as u64);
                }
                Ok(())
            }
            Flow::ToServer => {
                let (mut buffer, mut position) = (Vec::with_capacity(ROOM), Position::default());
                loop {
                    let (count, mut full) = stream.read(buffer).await;
                    if count? == 0 {
                        return Ok(());
                    }
                    position.take(&full)?;
                    add_done(full.len() as u64);
                    full.clear();
                    buffer = full;
                }
            }
            Flow::FromServer => {
                let mut content = stream::content();
                loop {
                    let (sent, back) = stream.write_all(content).await;
                    sent?;
                    content = back;
                }
            }
        }
    })?
}
