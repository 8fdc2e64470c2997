//! Waiting until something can be read or written, without doing it.

use std::io;

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::{Completion, Operation, Submission};

/// Waits until a descriptor is ready, as `poll(2)` does; output `io::Result<u32>`, the events.
///
/// A pipe that was opened for reading is ready when there is something to read, or when a writer has come and gone. A
/// file of a disk is always ready.
#[derive(Debug)]
pub struct Readiness {
    held: Held,
    events: u32,
}

impl Readiness {
    /// Waits for `events` (`libc::POLLIN` and the like) of a descriptor.
    pub fn of(descriptor: &Descriptor, events: libc::c_short) -> Self {
        Self { held: Held::to_look(descriptor), events: events as u32 }
    }
}

// SAFETY: a poll points to nothing.
unsafe impl Operation for Readiness {
    type Output = io::Result<u32>;

    fn submission(&mut self) -> Submission {
        opcode::PollAdd::new(self.held.fd(), self.events).build()
    }

    fn complete(self, completion: Completion) -> io::Result<u32> {
        completion.to_result()
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
