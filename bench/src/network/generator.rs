//! The load: connections that each send messages, wait for the answers, check them, and send the next.
//!
//! One thread, one ring. On each connection so many messages are under way; as many as come back are sent next, with one
//! call. What a datagram's loss takes away is noticed after a while, counted, and sent again.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::opcode;
use io_uring::types::{Fd, Timespec};
use socket2::{Domain, SockAddr, Socket, Type};

use super::server::Place;
use crate::runtimes::raw::Ring;
use crate::workload::{Echo, Transport};

/// What is sent, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    /// The bytes come back as they are. They differ from message to message.
    Echo(Echo),
    /// A request by HTTP/1.1, answered by "200 OK" and a body of so many bytes.
    Http(usize),
}

impl Exchange {
    fn transport(self) -> Transport {
        match self {
            Self::Echo(echo) => echo.by,
            Self::Http(_) => Transport::Tcp,
        }
    }

    pub(crate) fn may_lose(self) -> bool {
        self.transport() == Transport::Udp
    }

    fn depth(self) -> usize {
        match self {
            Self::Echo(echo) => echo.depth,
            Self::Http(_) => 1,
        }
    }

    fn message(self, number: usize) -> Vec<u8> {
        match self {
            Self::Echo(echo) => (0..echo.bytes).map(|index| (number + index) as u8).collect(),
            Self::Http(_) => b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        }
    }

    /// How long an answer is: all of a server are of the same length.
    fn answer_bytes(self, server: &Place) -> io::Result<usize> {
        let bytes = match self {
            Self::Echo(echo) => return Ok(echo.bytes),
            Self::Http(bytes) => bytes,
        };
        let mut stream = connect(Transport::Tcp, server)?;
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

fn connect(by: Transport, server: &Place) -> io::Result<Socket> {
    let (domain, kind) = match by {
        Transport::Tcp => (Domain::IPV4, Type::STREAM),
        Transport::Unix => (Domain::UNIX, Type::STREAM),
        Transport::Udp => (Domain::IPV4, Type::DGRAM),
    };
    let address = match server {
        Place::Inet(address) => SockAddr::from(*address),
        Place::Path(path) => SockAddr::unix(path)?,
    };
    let socket = Socket::new(domain, kind, None)?;
    socket.connect(&address)?;
    if by == Transport::Tcp {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

/// One connection. Its buffers stay where they are while the kernel uses them: they are never resized.
struct Connection {
    socket: Socket,
    /// As many messages as may be under way, one after the other.
    sent: Box<[u8]>,
    /// When each of them was sent.
    began: Box<[Instant]>,
    got: Box<[u8]>,
    /// Bytes of `got` that have come.
    filled: usize,
    /// Messages that wait for their answer; which of them is the first.
    under_way: usize,
    first: usize,
    /// Messages that may be sent as soon as the send that is under way has ended.
    owed: usize,
    is_sending: bool,
    is_receiving: bool,
}

/// What happened in a while.
pub(crate) struct Ran {
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) took: Duration,
    pub(crate) latency: Histogram<u64>,
}

pub(super) fn new_histogram() -> io::Result<Histogram<u64>> {
    const MOST_NS: u64 = 10_000_000_000;
    Histogram::new_with_max(MOST_NS, 3).map_err(io::Error::other)
}

pub(crate) struct Load {
    exchange: Exchange,
    ring: Ring,
    connections: Vec<Connection>,
    /// Bytes of a message, and of its answer.
    bytes: usize,
    answer_bytes: usize,
    is_ticking: bool,
}

/// What the data of a completion says that it is of, beside the connection.
const SENDS: u64 = 1 << 32;
const TICK: u64 = 1 << 33;

/// How often it is looked for datagrams that are lost, and after how long one is.
static TICK_EVERY: Timespec = Timespec::new().nsec(20_000_000);
const LOST_AFTER: Duration = Duration::from_millis(100);

impl Load {
    pub(crate) fn connect(server: &Place, connections: usize, exchange: Exchange) -> io::Result<Self> {
        let answer_bytes = exchange.answer_bytes(server)?;
        let depth = exchange.depth();
        let connections = (0..connections)
            .map(|number| {
                let sent: Vec<u8> = (0..depth).flat_map(|index| exchange.message(number + 7 * index)).collect();
                Ok(Connection {
                    socket: connect(exchange.transport(), server)?,
                    sent: sent.into(),
                    began: vec![Instant::now(); depth].into(),
                    got: vec![0; answer_bytes * depth].into(),
                    filled: 0,
                    under_way: 0,
                    first: 0,
                    owed: 0,
                    is_sending: false,
                    is_receiving: false,
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let bytes = exchange.message(0).len();
        Ok(Self { exchange, ring: Ring::new(1024)?, connections, bytes, answer_bytes, is_ticking: false })
    }

    /// Sends and receives for that long. Every message that was begun has come back when it returns, or is lost.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Ran> {
        let start = Instant::now();
        let end = start + time;
        let mut ran = Ran { messages: 0, lost: 0, took: time, latency: new_histogram()? };
        let mut busy = self.connections.len();
        for index in 0..busy {
            self.send(index, self.exchange.depth());
        }
        while busy > 0 {
            if self.exchange.may_lose() && !self.is_ticking {
                self.tick();
            }
            self.ring.enter(true)?;
            let now = Instant::now();
            while let Some((data, result, _)) = self.ring.next() {
                if data == TICK {
                    self.is_ticking = false;
                    busy -= self.give_up_lost(now, end, &mut ran);
                    continue;
                }
                let index = (data & (SENDS - 1)) as usize;
                if result <= 0 {
                    return Err(io::Error::other(format!("the server broke a connection off ({result})")));
                }
                if data >= SENDS {
                    let connection = &mut self.connections[index];
                    connection.is_sending = false;
                    let owed = std::mem::take(&mut connection.owed);
                    self.send(index, owed);
                    continue;
                }
                let answered = self.take(index, result as usize, now, &mut ran)?;
                if answered > 0 && now < end {
                    self.send(index, answered);
                }
                if self.connections[index].under_way > 0 {
                    self.receive(index);
                } else if answered > 0 && self.connections[index].owed == 0 {
                    busy -= 1;
                }
            }
        }
        ran.took = start.elapsed();
        Ok(ran)
    }

    /// Looks at what has come: how many messages are answered by it.
    fn take(&mut self, index: usize, count: usize, now: Instant, ran: &mut Ran) -> io::Result<usize> {
        let (bytes, answer_bytes, depth) = (self.bytes, self.answer_bytes, self.exchange.depth());
        let connection = &mut self.connections[index];
        connection.is_receiving = false;
        connection.filled += count;
        let mut answered = 0;
        while connection.filled - answered * answer_bytes >= answer_bytes {
            let sent = &connection.sent[connection.first * bytes..][..bytes];
            let got = &connection.got[answered * answer_bytes..][..answer_bytes];
            if connection.under_way == 0 || !self.exchange.is_answered_by(sent, got) {
                if !self.exchange.may_lose() {
                    return Err(io::Error::other("the server answered something else"));
                }
                // The late answer of one that was given up.
                connection.filled = 0;
                return Ok(0);
            }
            ran.latency.saturating_record((now - connection.began[connection.first]).as_nanos() as u64);
            connection.first = (connection.first + 1) % depth;
            connection.under_way -= 1;
            answered += 1;
        }
        connection.got.copy_within(answered * answer_bytes..connection.filled, 0);
        connection.filled -= answered * answer_bytes;
        ran.messages += answered as u64;
        Ok(answered)
    }

    /// Sends so many more messages, at once or when the send before has ended; and waits for their answers.
    fn send(&mut self, index: usize, count: usize) {
        let depth = self.exchange.depth();
        let connection = &mut self.connections[index];
        connection.owed += count;
        if connection.is_sending || connection.owed == 0 {
            return;
        }
        // Up to the end of the buffer: the rest goes with the next send.
        let next = (connection.first + connection.under_way) % depth;
        let count = connection.owed.min(depth - next);
        connection.owed -= count;
        let now = Instant::now();
        for slot in next..next + count {
            if let Exchange::Echo(_) = self.exchange {
                let first = &mut connection.sent[slot * self.bytes];
                *first = first.wrapping_add(1);
            }
            connection.began[slot] = now;
        }
        connection.under_way += count;
        connection.is_sending = true;
        let part = &connection.sent[next * self.bytes..][..count * self.bytes];
        let send = opcode::Send::new(Fd(connection.socket.as_raw_fd()), part.as_ptr(), part.len() as u32)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(SENDS | index as u64);
        // SAFETY: the buffer is on the heap; a message is changed only when its answer has come or it is long lost, when
        //         the send that it went with has read it.
        unsafe { self.ring.push(send) };
        self.receive(index);
    }

    fn receive(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if std::mem::replace(&mut connection.is_receiving, true) {
            return;
        }
        let rest = &mut connection.got[connection.filled..];
        let fd = Fd(connection.socket.as_raw_fd());
        let receive = opcode::Recv::new(fd, rest.as_mut_ptr(), rest.len() as u32).build().user_data(index as u64);
        // SAFETY: the buffer is on the heap, and not touched before this receive has ended.
        unsafe { self.ring.push(receive) };
    }

    fn tick(&mut self) {
        self.is_ticking = true;
        let timeout = opcode::Timeout::new(&raw const TICK_EVERY).build().user_data(TICK);
        // SAFETY: the time is a static.
        unsafe { self.ring.push(timeout) };
    }

    /// Sends those again that are lost, or if the time is over, not: how many connections are done by that.
    fn give_up_lost(&mut self, now: Instant, end: Instant, ran: &mut Ran) -> usize {
        let mut over = 0;
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.under_way == 0
                || now.saturating_duration_since(connection.began[connection.first]) < LOST_AFTER
            {
                continue;
            }
            ran.lost += 1;
            connection.under_way = 0;
            if now < end {
                self.send(index, 1);
            } else {
                over += 1;
            }
        }
        over
    }
}

/// Connections that have sent one message and got it back, and now do nothing.
pub(crate) fn idle(server: &Place, connections: usize) -> io::Result<Vec<TcpStream>> {
    let Place::Inet(server) = server else {
        return Err(io::Error::other("idle connections are ones of TCP"));
    };
    (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(server)?;
            stream.write_all(&[7; 64])?;
            stream.read_exact(&mut [0; 64])?;
            Ok(stream)
        })
        .collect()
}
