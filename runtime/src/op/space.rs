//! The room that a file takes on its disk and in memory: to be had before it is written, given back, or told about.

use std::io;
use std::task::{Context, Poll};

use io_uring::opcode;

use super::descriptor::{Descriptor, Held};
use super::file::finishes_on_open;
use super::{Completion, OnDrop, Operation, Progress, Submission, check};

/// Changes how much room a range of a file takes; output `io::Result<()>`.
#[derive(Debug)]
pub struct Fallocate {
    held: Held,
    mode: i32,
    offset: u64,
    bytes: u64,
}

impl Fallocate {
    /// With the `mode` of `fallocate(2)`: 0 makes room, and the file as long as the range is; others keep its length,
    /// make a hole, zero, or take parts out.
    pub fn new(file: &Descriptor, mode: i32, offset: u64, bytes: u64) -> Self {
        Self { held: Held::to_change(file), mode, offset, bytes }
    }

    fn entry(&self) -> Submission {
        opcode::Fallocate::new(self.held.fd(), self.bytes).offset(self.offset).mode(self.mode).build()
    }
}

finishes_on_open!(Fallocate);

/// Tells the kernel how a range of a file is going to be used; output `io::Result<()>`.
#[derive(Debug)]
pub struct Advise {
    held: Held,
    advice: i32,
    offset: u64,
    bytes: u32,
}

impl Advise {
    /// With an `advice` of `posix_fadvise(2)`; 0 bytes are all to the end of the file.
    pub fn new(file: &Descriptor, advice: i32, offset: u64, bytes: u32) -> Self {
        Self { held: Held::to_look(file), advice, offset, bytes }
    }

    fn entry(&self) -> Submission {
        opcode::Fadvise::new(self.held.fd(), self.bytes.into(), self.advice).offset(self.offset).build()
    }
}

finishes_on_open!(Advise);

/// Begins to write a range of a file to its disk, or waits until that has been done; output `io::Result<()>`.
///
/// It makes nothing durable: neither what the file system knows of the range, nor what the disk itself still caches.
#[derive(Debug)]
pub struct SyncRange {
    held: Held,
    flags: u32,
    offset: u64,
    bytes: u32,
}

impl SyncRange {
    /// With the `flags` of `sync_file_range(2)`; 0 bytes are all to the end of the file.
    pub fn new(file: &Descriptor, flags: u32, offset: u64, bytes: u32) -> Self {
        Self { held: Held::to_change(file), flags, offset, bytes }
    }

    fn entry(&self) -> Submission {
        opcode::SyncFileRange::new(self.held.fd(), self.bytes).offset(self.offset).flags(self.flags).build()
    }
}

finishes_on_open!(SyncRange);
