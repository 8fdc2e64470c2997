//! Standard input, output and error: descriptors that the process shares with whoever started it.
//!
//! Invariant: they are never closed, and nothing is set on them, since what is set (`O_NONBLOCK`) would be set for the others,
//! too. What a dropped read of standard input still brings is kept for the next one, whichever core asks.
//!
//! ```text
//!  read --> LEFT has something? --> what lies ready? --> the ring --> output
//!             ^                                            | dropped, in either window
//!             +--------------------------------------------+
//! ```

use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::read::{read_into, room_of};
use super::{Completion, Operation, Progress, Submission};
use crate::buf::IoBufMut;

/// The descriptor of a standard stream, whose barrier all cores share.
fn standard(number: RawFd, place: &'static OnceLock<Descriptor>) -> &'static Descriptor {
    // SAFETY: a static is never dropped, so nobody closes it. If the program has closed it, the kernel says so.
    place.get_or_init(|| unsafe { Descriptor::owning(number) })
}

/// Standard input.
pub(crate) fn input() -> &'static Descriptor {
    static INPUT: OnceLock<Descriptor> = OnceLock::new();
    standard(libc::STDIN_FILENO, &INPUT)
}

/// Standard output.
pub(crate) fn output() -> &'static Descriptor {
    static OUTPUT: OnceLock<Descriptor> = OnceLock::new();
    standard(libc::STDOUT_FILENO, &OUTPUT)
}

/// Standard error.
pub(crate) fn error() -> &'static Descriptor {
    static ERROR: OnceLock<Descriptor> = OnceLock::new();
    standard(libc::STDERR_FILENO, &ERROR)
}

/// What was read from standard input and has not been given to anybody.
static LEFT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn left() -> std::sync::MutexGuard<'static, Vec<u8>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts back what was read from standard input last.
pub(crate) fn put_back(mut bytes: Vec<u8>) {
    let mut left = left();
    bytes.append(&mut left);
    *left = bytes;
}

/// Reads from standard input; output `io::Result<Vec<u8>>`. One that was dropped is cancelled, the next one waits for that,
/// and then gets what it brought nevertheless.
#[derive(Debug)]
pub(crate) struct ReadInput {
    held: Held,
    buffer: Vec<u8>,
}

impl ReadInput {
    pub(crate) fn new(most: usize) -> Self {
        Self { held: Held::to_change(input()), buffer: Vec::with_capacity(most) }
    }
}

// SAFETY: the room is that of `buffer`, on the heap, which is not touched while the kernel fills it.
unsafe impl Operation for ReadInput {
    type Output = io::Result<Vec<u8>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn may_end_now(&mut self) -> bool {
        !left().is_empty() || self.held.descriptor().may_read_now()
    }

    fn try_now(&mut self) -> Option<i32> {
        let mut room = self.buffer.room();
        let mut left = left();
        if !left.is_empty() {
            let count = room.put(&left);
            left.drain(..count);
            return i32::try_from(count).ok();
        }
        self.held.descriptor().read_now(&mut room, u64::MAX)
    }

    /// Where the position of the descriptor is, which moves with it.
    fn submission(&mut self) -> Submission {
        let (start, len) = room_of(&mut self.buffer);
        opcode::Read::new(self.held.fd(), start, len).offset(u64::MAX).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(mut self, completion: Completion) -> Self::Output {
        read_into(&mut self.buffer, completion)?;
        Ok(self.buffer)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }

    /// Behind what is left already, and before whoever waits for this to end goes on.
    fn orphaned(mut self, completion: Completion) {
        if read_into(&mut self.buffer, completion).is_ok() {
            left().append(&mut self.buffer);
        }
    }
}
