//! The load: connections that each send a message, wait for the answer, check it, and send the next.
//!
//! One thread, one ring, one message under way on each connection.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{opcode, types};

use crate::runtimes::raw::Ring;

/// What is sent, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    /// So many bytes come back as they are. They differ from message to message.
    Echo(usize),
    /// A request by HTTP/1.1, answered by "200 OK" and a body of so many bytes.
    Http(usize),
}

impl Exchange {
    fn message(self, number: usize) -> Box<[u8]> {
        match self {
            Self::Echo(bytes) => (0..bytes).map(|index| (number + index) as u8).collect(),
            Self::Http(_) => Box::from(&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..]),
        }
    }

    /// How long an answer is: all of a server are of the same length.
    fn answer_bytes(self, server: SocketAddr) -> io::Result<usize> {
        let bytes = match self {
            Self::Echo(bytes) => return Ok(bytes),
            Self::Http(bytes) => bytes,
        };
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(&self.message(0))?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        stream.read_exact(&mut vec![0; bytes])?;
        Ok(head.len() + bytes)
    }

    fn is_answered_by(self, sent: &[u8], got: &[u8]) -> bool {
        match self {
            Self::Echo(_) => sent == got,
            Self::Http(bytes) => {
                got.starts_with(b"HTTP/1.1 200 OK\r\n") && got[got.len() - bytes..].iter().all(|byte| *byte == b'x')
            }
        }
    }
}

/// One connection. Its buffers stay where they are while the kernel uses them: they are never resized.
struct Connection {
    stream: TcpStream,
    sent: Box<[u8]>,
    got: Box<[u8]>,
    received: usize,
    began: Instant,
}

pub(crate) struct Load {
    exchange: Exchange,
    ring: Ring,
    connections: Vec<Connection>,
    /// Connections whose last message has come back.
    idle: VecDeque<usize>,
}

const SENDS: u64 = 1 << 32;

impl Load {
    pub(crate) fn connect(server: SocketAddr, connections: usize, exchange: Exchange) -> io::Result<Self> {
        let answer_bytes = exchange.answer_bytes(server)?;
        let connections = (0..connections)
            .map(|number| {
                let stream = TcpStream::connect(server)?;
                stream.set_nodelay(true)?;
                Ok(Connection {
                    stream,
                    sent: exchange.message(number),
                    got: vec![0; answer_bytes].into(),
                    received: 0,
                    began: Instant::now(),
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { exchange, ring: Ring::new(1024)?, idle: (0..connections.len()).collect(), connections })
    }

    /// Sends and receives for that long. Every message that was begun has come back when it returns.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<(u64, Duration, Histogram<u64>)> {
        const MOST_NS: u64 = 10_000_000_000;
        let mut latency = Histogram::new_with_max(MOST_NS, 3).map_err(io::Error::other)?;
        let start = Instant::now();
        let end = start + time;
        let mut messages = 0;
        let mut under_way = self.idle.len();
        while let Some(index) = self.idle.pop_front() {
            self.send(index);
        }
        while under_way > 0 {
            self.ring.enter(true)?;
            let now = Instant::now();
            while let Some((data, result, _)) = self.ring.next() {
                let index = (data & (SENDS - 1)) as usize;
                if result <= 0 {
                    return Err(io::Error::other(format!("the server broke a connection off ({result})")));
                }
                if data >= SENDS {
                    continue;
                }
                let connection = &mut self.connections[index];
                connection.received += result as usize;
                if connection.received < connection.got.len() {
                    self.receive(index);
                    continue;
                }
                if !self.exchange.is_answered_by(&connection.sent, &connection.got) {
                    return Err(io::Error::other("the server answered something else"));
                }
                latency.saturating_record((now - connection.began).as_nanos() as u64);
                messages += 1;
                if now < end {
                    self.send(index);
                } else {
                    under_way -= 1;
                    self.idle.push_back(index);
                }
            }
        }
        Ok((messages, start.elapsed(), latency))
    }

    fn send(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.received = 0;
        if let Exchange::Echo(_) = self.exchange {
            connection.sent[0] = connection.sent[0].wrapping_add(1);
        }
        connection.began = Instant::now();
        let fd = types::Fd(connection.stream.as_raw_fd());
        let send = opcode::Send::new(fd, connection.sent.as_ptr(), connection.sent.len() as u32)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(SENDS | index as u64);
        // SAFETY: the buffer is on the heap, and not touched before the whole message has come back, when the send
        //         has long ended.
        unsafe { self.ring.push(send) };
        self.receive(index);
    }

    fn receive(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let rest = &mut connection.got[connection.received..];
        let fd = types::Fd(connection.stream.as_raw_fd());
        let receive = opcode::Recv::new(fd, rest.as_mut_ptr(), rest.len() as u32).build().user_data(index as u64);
        // SAFETY: the buffer is on the heap, and not touched before this receive has ended.
        unsafe { self.ring.push(receive) };
    }
}

/// Connections that have sent one message and got it back, and now do nothing.
pub(crate) fn idle(server: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(server)?;
            stream.write_all(&[7; 64])?;
            stream.read_exact(&mut [0; 64])?;
            Ok(stream)
        })
        .collect()
}
