//! Connections that are made, given up by the server, and closed: as many as can be.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{opcode, types};

use super::generator::new_histogram;
use super::server::Place;
use crate::runtimes::raw::Ring;

/// Under way at once.
const AT_ONCE: usize = 64;

pub(super) struct Ran {
    pub(super) connections: u64,
    pub(super) took: Duration,
    pub(super) latency: Histogram<u64>,
}

/// One that waits for its end: a byte that never comes is received.
struct Waiting {
    stream: Option<TcpStream>,
    byte: Box<[u8; 1]>,
    began: Instant,
}

pub(super) fn run(server: &Place, time: Duration) -> io::Result<Ran> {
    let Place::Inet(server) = server else {
        return Err(io::Error::other("a storm is one of TCP"));
    };
    let mut ring = Ring::new(AT_ONCE as u32)?;
    let mut latency = new_histogram()?;
    let begin = |ring: &mut Ring, index: usize| -> io::Result<Waiting> {
        let mut waiting = Waiting { stream: None, byte: Box::new([0]), began: Instant::now() };
        let entry = match TcpStream::connect(server) {
            // The handshake over loopback is over when the call comes back: it does not sleep.
            Ok(stream) => {
                let entry = opcode::Recv::new(types::Fd(stream.as_raw_fd()), waiting.byte.as_mut_ptr(), 1).build();
                waiting.stream = Some(stream);
                entry
            }
            // It was even accepted and closed before that.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => opcode::Nop::new().build(),
            Err(error) => return Err(error),
        };
        // SAFETY: the byte is on the heap, and kept until the receive has ended; on an error, as long as the process.
        unsafe { ring.push(entry.user_data(index as u64)) };
        Ok(waiting)
    };
    let start = Instant::now();
    let end = start + time;
    let mut all: Vec<Waiting> = (0..AT_ONCE).map(|index| begin(&mut ring, index)).collect::<io::Result<_>>()?;
    let (mut connections, mut under_way) = (0, AT_ONCE);
    while under_way > 0 {
        ring.enter(true)?;
        while let Some((index, result, _)) = ring.next() {
            if result > 0 || (result < 0 && result != -libc::ECONNRESET) {
                return Err(io::Error::other(format!("the server did something else than to close ({result})")));
            }
            let waiting = &mut all[index as usize];
            latency.saturating_record(waiting.began.elapsed().as_nanos() as u64);
            connections += 1;
            if Instant::now() < end {
                *waiting = begin(&mut ring, index as usize)?;
            } else {
                under_way -= 1;
            }
        }
    }
    Ok(Ran { connections, took: start.elapsed(), latency })
}
