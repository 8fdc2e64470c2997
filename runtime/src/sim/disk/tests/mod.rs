//! What a program may rely on, what a power loss leaves, and both for many seeds.

mod contents;
mod crash;
mod model;
mod names;
mod noted;
mod sync;

use super::*;
use crate::sys::random::Random;

const READ_WRITE: i32 = libc::O_RDWR | libc::O_CREAT;

/// A new file that is open.
fn file(disk: &mut Disk, path: &str) -> Inode {
    disk.open(path.as_bytes(), READ_WRITE, 0o644, 0).unwrap()
}

fn write(disk: &mut Disk, inode: Inode, offset: u64, bytes: &[u8]) {
    assert_eq!(disk.write(inode, offset, bytes, 0), Ok(bytes.len()));
}

fn read(disk: &mut Disk, inode: Inode, offset: u64, len: usize) -> Vec<u8> {
    let mut room = vec![0xee; len];
    let read = disk.read(inode, offset, &mut room).unwrap();
    room.truncate(read);
    room
}

fn seen(disk: &Disk, path: &str) -> Answer<Vec<u8>> {
    disk.contents(path.as_bytes(), View::Seen)
}

/// The directory "/" is synced.
fn sync_root(disk: &mut Disk) {
    disk.sync(ROOT, false).unwrap();
}

/// The answers after a crash of the same disk with many seeds, without doubles, sorted.
fn after_crashes<T: Ord>(make: impl Fn() -> Disk, ask: impl Fn(&mut Disk) -> T) -> Vec<T> {
    let mut answers: Vec<T> = (0..300)
        .map(|seed| {
            let mut disk = make();
            disk.crash(&mut Random::new(seed));
            ask(&mut disk)
        })
        .collect();
    answers.sort();
    answers.dedup();
    answers
}

fn failed<T>(error: i32) -> Answer<T> {
    Err(Errno(error))
}
