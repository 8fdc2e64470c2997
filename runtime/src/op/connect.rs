//! Connecting a socket.

use std::io;

use io_uring::opcode;
use socket2::SockAddr;

use super::descriptor::{Descriptor, Held};
use super::{Completion, Operation, Submission, check};

/// Connects a socket; output `io::Result<()>`.
#[derive(Debug)]
pub struct Connect {
    held: Held,
    address: SockAddr,
}

impl Connect {
    /// Connects `socket` to `address`.
    pub fn new(socket: &Descriptor, address: SockAddr) -> Self {
        Self { held: Held::to_look(socket), address }
    }
}

// SAFETY: the address is inside `self`.
unsafe impl Operation for Connect {
    type Output = io::Result<()>;

    fn submission(&mut self) -> Submission {
        opcode::Connect::new(self.held.fd(), self.address.as_ptr().cast(), self.address.len()).build()
    }

    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result).map(drop)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
