//! Waiting until something can be read or written, without doing it.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{opcode, types};

use super::descriptor::Descriptor;
use super::direct::DirectSlot;
use super::{Completion, Operation, Submission};

/// Waits until something is ready, as `poll(2)` does; output `io::Result<u32>`, the events.
///
/// A pipe that was opened for reading is ready when there is something to read, or when a writer has come and gone. A
/// file of a disk is always ready.
#[derive(Debug)]
pub struct Readiness {
    of: Target,
    events: u32,
}

#[derive(Debug)]
enum Target {
    Descriptor(Descriptor),
    Direct(DirectSlot),
}

impl Readiness {
    /// Waits for `events` (`libc::POLLIN` and the like) of a descriptor.
    pub fn of(descriptor: &Descriptor, events: libc::c_short) -> Self {
        Self { of: Target::Descriptor(descriptor.clone()), events: events as u32 }
    }

    /// Waits for `events` of what is open in a direct place.
    pub fn of_direct(slot: &DirectSlot, events: libc::c_short) -> Self {
        Self { of: Target::Direct(slot.share()), events: events as u32 }
    }
}

// SAFETY: a poll points to nothing.
unsafe impl Operation for Readiness {
    type Output = io::Result<u32>;

    fn submission(&mut self) -> Submission {
        match &self.of {
            Target::Descriptor(descriptor) => {
                opcode::PollAdd::new(types::Fd(descriptor.as_raw_fd()), self.events).build()
            }
            Target::Direct(slot) => opcode::PollAdd::new(slot.fixed(), self.events).build(),
        }
    }

    fn complete(self, completion: Completion) -> io::Result<u32> {
        completion.to_result()
    }
}
