//! One connection that is always full, with bytes that tell at which place of the stream they stand.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::server::Place;
use crate::workload::Flow;

/// Bytes of one write, after which the content begins again.
pub(crate) const PART: usize = 1 << 20;
/// Bytes that are received at once at most: what stays in a core's own cache.
pub(crate) const ROOM: usize = 64 << 10;

/// What is sent again and again.
pub(crate) fn content() -> Vec<u8> {
    (0..PART).map(byte_at).collect()
}

fn byte_at(place: usize) -> u8 {
    (place % PART % 251) as u8
}

/// Where a receiver stands in the stream.
#[derive(Debug, Default)]
pub(crate) struct Position(usize);

impl Position {
    /// Looks at the first and the last byte: whether something was lost, or came twice. More would be measured, too.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Ok(());
        };
        let end = self.0 + bytes.len();
        if *first != byte_at(self.0) || *last != byte_at(end - 1) {
            return Err(io::Error::other(format!("other bytes than were sent, from {} to {end}", self.0)));
        }
        self.0 = end;
        Ok(())
    }
}

pub(super) struct Ran {
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// The load: plain calls that block, which nothing is faster than on one connection.
pub(super) struct Load {
    stream: TcpStream,
    flow: Flow,
    content: Vec<u8>,
    position: Position,
    total: u64,
}

impl Load {
    pub(super) fn connect(server: &Place, flow: Flow) -> io::Result<Self> {
        let Place::Inet(server) = server else {
            return Err(io::Error::other("a stream is one of TCP"));
        };
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, flow, content: content(), position: Position::default(), total: 0 })
    }

    pub(super) fn run(&mut self, time: Duration) -> io::Result<Ran> {
        let (start, before) = (Instant::now(), self.total);
        while start.elapsed() < time {
            match self.flow {
                Flow::ToServer => {
                    self.stream.write_all(&self.content)?;
                    self.total += PART as u64;
                }
                Flow::FromServer => {
                    let room = &mut self.content[..ROOM];
                    let count = self.stream.read(room)?;
                    if count == 0 {
                        return Err(io::Error::other("the server ended the stream"));
                    }
                    self.position.take(&room[..count])?;
                    self.total += count as u64;
                }
            }
        }
        Ok(Ran { bytes: self.total - before, took: start.elapsed() })
    }

    /// No more is sent: how much was.
    pub(super) fn end(&self) -> io::Result<u64> {
        self.stream.shutdown(Shutdown::Write)?;
        Ok(self.total)
    }
}

/// The other end of a proxy: takes all that comes, on a thread of its own.
pub(super) struct Sink(JoinHandle<io::Result<u64>>);

impl Sink {
    /// Connects after the load has: so the proxy knows which is which.
    pub(super) fn connect(server: &Place) -> io::Result<Self> {
        let Place::Inet(server) = server else {
            return Err(io::Error::other("a stream is one of TCP"));
        };
        let mut stream = TcpStream::connect(server)?;
        Ok(Self(thread::spawn(move || {
            let (mut room, mut position, mut total) = (vec![0; PART], Position::default(), 0);
            loop {
                let count = stream.read(&mut room)?;
                if count == 0 {
                    return Ok(total);
                }
                position.take(&room[..count])?;
                total += count as u64;
            }
        })))
    }

    /// Waits until all has come.
    pub(super) fn end(self, sent: u64) -> io::Result<()> {
        match self.0.join() {
            Ok(received) if received.as_ref().is_ok_and(|received| *received == sent) => Ok(()),
            Ok(received) => Err(io::Error::other(format!("{sent} bytes were sent, and of these came: {received:?}"))),
            Err(_) => Err(io::Error::other("the thread that receives has panicked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_comes_twice_is_seen() {
        let content = content();
        let mut position = Position::default();
        position.take(&content[..1000]).expect("the beginning");
        position.take(&content[1000..]).expect("the rest");
        position.take(&content[..1000]).expect("the beginning again");
        assert!(position.take(&content[1001..2000]).is_err(), "a byte is missing");
        assert!(position.take(&content[..1000]).is_err(), "it came already");
        position.take(&content[1000..1001]).expect("as if nothing had been");
    }
}
