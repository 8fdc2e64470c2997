//! What programs see of the network, and what faults do to it.

mod connecting;
mod datagrams;
mod ends;
mod faults;
mod ports;
mod streams;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::sim::Errno;
use crate::sys::socket_option::SocketOption;

const A: HostId = HostId(0);
const B: HostId = HostId(1);
const C: HostId = HostId(2);

const IN: u32 = libc::POLLIN as u32;
const OUT: u32 = libc::POLLOUT as u32;
const ERR: u32 = libc::POLLERR as u32;
const HUP: u32 = libc::POLLHUP as u32;
const RDHUP: u32 = libc::POLLRDHUP as u32;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

fn ip(host: HostId) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host.0 as u8 + 1).into()
}

fn at(host: HostId, port: u16) -> SocketAddr {
    SocketAddr::new(ip(host), port)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

fn link(latency: Duration) -> Link {
    Link::new().latency(latency..=latency)
}

/// Three hosts, and a millisecond between any two.
fn network(seed: u64) -> Network {
    let mut net = Network::new(Random::new(seed));
    net.set_default_link(link(Duration::from_millis(1)));
    for host in [A, B, C] {
        net.add_host(host, ip(host));
    }
    net
}

fn in_order() -> Network {
    let mut net = network(0);
    net.set_in_order(true);
    net
}

/// The error, by its number.
fn refused<T: std::fmt::Debug>(answer: Answer<T>) -> i32 {
    answer.expect_err("an error").0
}

impl Network {
    /// Until nothing happens any more, or for so long.
    fn run_for(&mut self, duration_ns: u64) {
        let until_ns = self.now_ns + duration_ns;
        self.advance(until_ns);
    }

    fn stream(&mut self, host: HostId) -> SocketId {
        self.socket(host, Kind::Stream, false)
    }

    fn listener(&mut self, host: HostId, port: u16) -> SocketId {
        let id = self.stream(host);
        self.bind(id, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).expect("a free port");
        self.listen(id, 128).expect("to listen");
        id
    }

    fn datagrams(&mut self, host: HostId, port: u16) -> SocketId {
        let id = self.socket(host, Kind::Datagram, false);
        self.bind(id, at(host, port)).expect("a free port");
        id
    }

    fn begin(&mut self, host: HostId, to: SocketAddr) -> SocketId {
        let id = self.stream(host);
        assert_eq!(self.connect(id, to, self.now_ns), Ok(false));
        id
    }

    /// A connection from `a` to `b`, both ends, with its listener closed.
    fn connected(&mut self, a: HostId, b: HostId) -> (SocketId, SocketId) {
        let listener = self.listener(b, 700);
        let client = self.stream(a);
        self.connect(client, at(b, 700), self.now_ns).expect("to be under way");
        self.run_for(100 * MS);
        assert_eq!(self.connect_result(client), Some(Ok(())));
        let server = self.accept(listener).expect("to listen").expect("a connection");
        self.close(listener, self.now_ns);
        (client, server)
    }

    fn put(&mut self, id: SocketId, bytes: &[u8]) -> Answer<Option<usize>> {
        self.send(id, bytes, None, self.now_ns)
    }

    /// What is there to be read from a stream; none if nothing is.
    fn get(&mut self, id: SocketId) -> Answer<Option<Vec<u8>>> {
        let mut room = vec![0; 1 << 18];
        let received = self.receive(id, &mut room, false)?;
        Ok(received.map(|received| room[..received.copied].to_vec()))
    }

    fn gone(&self, id: SocketId) -> bool {
        self.sockets.get(id).is_none()
    }
}
