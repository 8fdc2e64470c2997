//! Accepting connections.

use std::io;

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::multishot::MultishotOperation;
use super::{Completion, Submission, check};

/// Accepts connections, one item each. A connection that nobody fetches is closed.
#[derive(Debug)]
pub struct AcceptMulti {
    held: Held,
}

impl AcceptMulti {
    /// Accepts on a socket that listens.
    pub fn new(listener: &Descriptor) -> Self {
        Self { held: Held::to_look(listener) }
    }
}

// SAFETY: no address is asked for, so it points to nothing.
unsafe impl MultishotOperation for AcceptMulti {
    type Item = io::Result<Descriptor>;

    fn submission(&mut self) -> Submission {
        opcode::AcceptMulti::new(self.held.fd()).flags(libc::SOCK_CLOEXEC).build()
    }

    fn item(&mut self, completion: Completion) -> io::Result<Descriptor> {
        let fd = check(completion.result)?;
        // SAFETY: the kernel has just given us this descriptor; the completion is looked at once.
        Ok(unsafe { Descriptor::owning(fd) })
    }

    fn takes_cancel(&mut self) -> bool {
        self.held.takes_cancel()
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
