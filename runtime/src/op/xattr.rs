//! Extended attributes: names with values that a file has beside its contents. Always done by a kernel worker.

use std::ffi::CString;
use std::io;
use std::task::{Context, Poll};

use io_uring::opcode;

use super::changes::{Changing, poll_names_settled};
use super::descriptor::{Descriptor, Held};
use super::read::again_if_interrupted;
use super::{Completion, OnDrop, Operation, Progress, Submission, check};

/// What has the attribute.
#[derive(Debug)]
enum Of {
    Path(CString),
    Open(Held),
}

impl Of {
    fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Of::Path(_) => poll_names_settled(cx),
            Of::Open(held) => held.descriptor().poll_settled(cx),
        }
    }

    fn again_if_interrupted(&self, completion: Completion) -> Progress {
        match self {
            Of::Path(_) => again_if_interrupted(completion),
            Of::Open(held) => held.again_if_interrupted(completion),
        }
    }

    fn abandon(&mut self) {
        if let Of::Open(held) = self {
            held.abandon();
        }
    }
}

/// Reads an extended attribute; output `io::Result<Vec<u8>>`.
#[derive(Debug)]
pub struct GetXattr {
    of: Of,
    name: CString,
    value: Vec<u8>,
}

impl GetXattr {
    /// Of what is at `path`, links followed, if its value has no more than `most` bytes.
    ///
    /// # Errors
    ///
    /// `ERANGE` if it has more, `ENODATA` if it is not there.
    pub fn new(path: CString, name: CString, most: usize) -> Self {
        Self { of: Of::Path(path), name, value: Vec::with_capacity(most.min(MOST)) }
    }

    /// Of an open file.
    pub fn of(file: &Descriptor, name: CString, most: usize) -> Self {
        Self { of: Of::Open(Held::to_look(file)), name, value: Vec::with_capacity(most.min(MOST)) }
    }
}

/// No value is longer: `XATTR_SIZE_MAX`.
const MOST: usize = 65_536;

// SAFETY: name, path and the room for the value are on the heap, owned by `self`, and left alone until completion.
unsafe impl Operation for GetXattr {
    type Output = io::Result<Vec<u8>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.of.poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        let (value, room) = (self.value.as_mut_ptr().cast(), self.value.capacity().min(MOST) as u32);
        match &self.of {
            Of::Path(path) => opcode::GetXattr::new(self.name.as_ptr(), value, path.as_ptr(), room).build(),
            Of::Open(held) => opcode::FGetXattr::new(held.fd(), self.name.as_ptr(), value, room).build(),
        }
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.of.again_if_interrupted(completion)
    }

    fn complete(mut self, completion: Completion) -> io::Result<Vec<u8>> {
        let count = check(completion.result)? as usize;
        // Without room the kernel tells only how much there would be to read.
        let count = count.min(self.value.capacity());
        // SAFETY: the kernel has written that many bytes, which is no more than there is room for.
        unsafe { self.value.set_len(count) };
        Ok(self.value)
    }

    fn abandoned(&mut self) {
        self.of.abandon();
    }
}

/// Sets an extended attribute; output `io::Result<()>`.
#[derive(Debug)]
pub struct SetXattr {
    of: Of,
    name: CString,
    value: Vec<u8>,
    flags: i32,
    changing: Changing,
}

impl SetXattr {
    /// Of what is at `path`, links followed.
    pub fn new(path: CString, name: CString, value: Vec<u8>) -> Self {
        Self { of: Of::Path(path), name, value, flags: 0, changing: Changing::default() }
    }

    /// Of an open file.
    pub fn of(file: &Descriptor, name: CString, value: Vec<u8>) -> Self {
        Self { of: Of::Open(Held::to_change(file)), name, value, flags: 0, changing: Changing::default() }
    }

    /// With `XATTR_CREATE` (an error if it is there) or `XATTR_REPLACE` (an error if it is not).
    pub fn flags(self, flags: i32) -> Self {
        Self { flags, ..self }
    }
}

// SAFETY: name, path and value are on the heap, owned by `self`, and left alone until completion.
unsafe impl Operation for SetXattr {
    type Output = io::Result<()>;
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.of.poll_settled(cx)
    }

    fn submission(&mut self) -> Submission {
        // What is too long for the kernel is too long for its number, too.
        let (value, len) = (self.value.as_ptr().cast(), u32::try_from(self.value.len()).unwrap_or(u32::MAX));
        match &self.of {
            Of::Path(path) => {
                opcode::SetXattr::new(self.name.as_ptr(), value, path.as_ptr(), len).flags(self.flags).build()
            }
            Of::Open(held) => {
                opcode::FSetXattr::new(held.fd(), self.name.as_ptr(), value, len).flags(self.flags).build()
            }
        }
    }

    fn progress(&mut self, completion: Completion) -> Progress {
        self.of.again_if_interrupted(completion)
    }

    fn complete(self, completion: Completion) -> io::Result<()> {
        check(completion.result).map(drop)
    }

    fn abandoned(&mut self) {
        match &mut self.of {
            Of::Path(_) => self.changing.abandon(),
            Of::Open(held) => held.abandon(),
        }
    }
}
