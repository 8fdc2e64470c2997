//! Sockets of this machine: what only its kernel does, and tells of them.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use corering::io;
use corering::net::TcpStream;
use corering::op::{Completion, Descriptor, Op, Operation, Submission, io_uring};
use corering::time::timeout;
use socket2::{Domain, Socket, Type};

use crate::{clean, soon};

/// How many sockets of this machine are connecting to `port`.
fn attempts_at(port: u16) -> usize {
    const SYN_SENT: &str = "02";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let remote = format!(":{port:04X}");
    let is_attempt = |line: &&str| {
        let mut words = line.split_whitespace().skip(2);
        words.next().is_some_and(|address| address.ends_with(&remote)) && words.next() == Some(SYN_SENT)
    };
    table.lines().filter(is_attempt).count()
}

/// A listener with no room answers nobody: an attempt waits, until it is given up.
#[test]
fn attempts_to_connect_that_are_given_up_leave_nothing() {
    let crowded = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    crowded.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    crowded.listen(0).expect("listening");
    let address = crowded.local_addr().expect("an address").as_socket().expect("an address");
    clean(async || {
        // Fills the queue of one.
        let _first = soon(TcpStream::connect(address)).await.expect("there");
        let mut waited = 0;
        for round in 0..200_u32 {
            let limit = Duration::from_micros(u64::from(round % 4) * 300);
            let attempt = timeout(limit, TcpStream::connect(address)).await;
            waited += u32::from(attempt.is_err());
        }
        assert!(waited > 150, "{waited} attempts had to wait");
        let waiting = TcpStream::connect(address);
        let mut waiting = std::pin::pin!(waiting);
        assert!(timeout(Duration::from_millis(5), waiting.as_mut()).await.is_err());
        assert_eq!(attempts_at(address.port()), 1, "the one that goes on, and none that was given up");
    });
}

#[test]
fn a_zero_copy_send_gives_the_count_and_not_its_notification() {
    struct SendZeroCopy(Descriptor, Vec<u8>);
    // SAFETY: the bytes are on the heap, and not changed.
    unsafe impl Operation for SendZeroCopy {
        type Output = io::Result<u32>;

        fn submission(&mut self) -> Submission {
            use std::os::fd::AsRawFd as _;
            let fd = io_uring::types::Fd(self.0.as_raw_fd());
            io_uring::opcode::SendZc::new(fd, self.1.as_ptr(), self.1.len() as u32).build()
        }

        fn complete(self, completion: Completion) -> io::Result<u32> {
            completion.to_result()
        }
    }
    clean(async || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("there");
        let (mut server, _) = listener.accept().expect("a connection");
        let socket = Descriptor::new(client.into());
        assert_eq!(Op::new(SendZeroCopy(socket.clone(), vec![5; 1000])).await.expect("sent"), 1000);
        let mut got = vec![0; 1000];
        server.read_exact(&mut got).expect("all of it");
        assert_eq!(got, [5; 1000]);
    });
}
