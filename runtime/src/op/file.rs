//! What is asked of open files: to be synced, and cut.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use io_uring::{opcode, types};

use super::descriptor::{Descriptor, Held};
use super::{Completion, OnDrop, Operation, Progress, Submission, check};
use crate::driver::calls;

/// What is done with what is open, has no other result, and ends by itself: it waits for what was dropped before it, and
/// what comes later waits for it.
macro_rules! finishes_on_open {
    ($operation:ident) => {
        // SAFETY: it points to nothing.
        unsafe impl Operation for $operation {
            type Output = io::Result<()>;
            const ON_DROP: OnDrop = OnDrop::Finish;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
                self.held.descriptor().poll_settled(cx)
            }

            fn submission(&mut self) -> Submission {
                self.entry()
            }

            fn progress(&mut self, completion: Completion) -> Progress {
                self.held.again_if_interrupted(completion)
            }

            fn complete(self, completion: Completion) -> io::Result<()> {
                check(completion.result).map(drop)
            }

            fn abandoned(&mut self) {
                self.held.abandon();
            }
        }
    };
}
pub(super) use finishes_on_open;

/// Brings what was written to the disk; output `io::Result<()>`.
#[derive(Debug)]
pub struct Sync {
    held: Held,
    data_only: bool,
}

impl Sync {
    /// All of the file: data and metadata, as `fsync(2)`.
    pub fn all(file: &Descriptor) -> Self {
        Self { held: Held::to_change(file), data_only: false }
    }

    /// The data, and only the metadata that reading it back needs, as `fdatasync(2)`.
    pub fn data(file: &Descriptor) -> Self {
        Self { data_only: true, ..Self::all(file) }
    }

    fn entry(&self) -> Submission {
        let flags = if self.data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
        opcode::Fsync::new(self.held.fd()).flags(flags).build()
    }
}

finishes_on_open!(Sync);

/// Cuts or extends a file; output `io::Result<()>`. By ring since Linux 6.9, by a plain call before.
#[derive(Debug)]
pub struct Truncate {
    held: Held,
    bytes: u64,
}

impl Truncate {
    /// Makes `file` that many bytes long.
    pub fn to(file: &Descriptor, bytes: u64) -> Self {
        Self { held: Held::to_change(file), bytes }
    }
}

// SAFETY: a truncate points to nothing.
unsafe impl Operation for Truncate {
    type Output = io::Result<()>;
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.held.descriptor().poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        opcode::Ftruncate::new(self.held.fd(), self.bytes).build()
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.held.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<()> {
        // An older kernel does not know the operation; what else it answers so, it answers again.
        if completion.result == -libc::EINVAL {
            return calls::truncate(self.held.descriptor().as_fd(), self.bytes);
        }
        check(completion.result).map(drop)
    }

    fn abandoned(&mut self) {
        self.held.abandon();
    }
}
