//! The kernel's own interface to files: loops on a ring, as fast as we can write them.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{DestinationSlot, Fd, Fixed};

use super::raw::Ring;
use crate::files::{Action, Block, Blocks, Done, Meter, PAGE, SMALL_DEPTH, Until, whole};

/// Reads or writes, so many under way, on a registered file, and what passes the cache in registered buffers.
pub(crate) fn blocks(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let file = blocks.access.open(path)?;
    let mut ring = Ring::new(blocks.depth as u32)?;
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let mut buffers: Vec<_> = (0..blocks.depth).map(|_| Block::new(blocks.bytes, b'x')).collect();
    let parts: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    if blocks.access.direct {
        // SAFETY: the buffers outlive the loop below, which ends when nothing is under way.
        unsafe { ring.submitter().register_buffers(&parts) }?;
    }
    let (mut offsets, mut until) = (blocks.offsets(), Until::by(time, blocks.bytes));
    let (mut done, mut under_way, mut over) = (0, blocks.depth, false);
    let meter = Meter::start();
    let mut begin = |ring: &mut Ring, index: usize| {
        let (start, len, offset) = (parts[index].iov_base.cast::<u8>(), blocks.bytes as u32, offsets.next());
        let entry = match (blocks.access.action, blocks.access.direct) {
            (Action::Read, false) => opcode::Read::new(Fixed(0), start, len).offset(offset).build(),
            (Action::Read, true) => opcode::ReadFixed::new(Fixed(0), start, len, index as u16).offset(offset).build(),
            (Action::Write, false) => opcode::Write::new(Fixed(0), start, len).offset(offset).build(),
            (Action::Write, true) => opcode::WriteFixed::new(Fixed(0), start, len, index as u16).offset(offset).build(),
        };
        // SAFETY: as above.
        unsafe { ring.push(entry.user_data(index as u64)) };
    };
    for index in 0..blocks.depth {
        begin(&mut ring, index);
    }
    while under_way > 0 {
        ring.enter(true)?;
        while let Some((index, result, _)) = ring.next() {
            whole(count_of(result)?, blocks.bytes)?;
            done += 1;
            over = over || until.is_over();
            if over {
                under_way -= 1;
            } else {
                begin(&mut ring, index as usize);
            }
        }
    }
    Ok(meter.stop(done))
}

fn count_of(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Calls that give up instead of waiting (`RWF_NOWAIT`), one after the other: what never blocks, without a ring.
pub(crate) fn reads_by_calls(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let file = blocks.access.open(path)?;
    let (mut offsets, mut until) = (blocks.offsets(), Until::by(time, blocks.bytes));
    let (mut buffer, mut done) = (Block::new(blocks.bytes, b'x'), 0);
    let meter = Meter::start();
    while !until.is_over() {
        let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let offset = offsets.next() as libc::off_t;
        // SAFETY: `part` names the buffer, which nobody else uses.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, offset, libc::RWF_NOWAIT) };
        match usize::try_from(read) {
            Ok(read) => whole(read, blocks.bytes)?,
            // Not in the page cache any more.
            Err(_) => file.read_exact_at(&mut buffer, offset as u64)?,
        }
        done += 1;
    }
    Ok(meter.stop(done))
}

/// Open, read and close as linked operations on direct descriptors, 64 files under way.
pub(crate) fn small_files(paths: &[PathBuf], time: Duration) -> io::Result<Done> {
    let mut until = Until::new(time);
    chains(paths, libc::O_RDONLY, |begun| (!until.is_over()).then_some(begun % paths.len()))
}

/// As above: create, write and close.
pub(crate) fn small_writes(paths: &[PathBuf]) -> io::Result<Done> {
    chains(paths, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, |begun| (begun < paths.len()).then_some(begun))
}

/// `next` gets how many files were begun, and says which comes now.
fn chains(paths: &[PathBuf], flags: i32, mut next: impl FnMut(usize) -> Option<usize>) -> io::Result<Done> {
    let paths: Vec<CString> =
        paths.iter().map(|path| CString::new(path.as_os_str().as_bytes())).collect::<Result<_, _>>()?;
    let mut ring = Ring::new(4 * SMALL_DEPTH as u32)?;
    ring.submitter().register_files_sparse(SMALL_DEPTH as u32)?;
    let mut buffers: Vec<_> = (0..SMALL_DEPTH).map(|_| Block::new(PAGE, b'x')).collect();
    let mut begun = 0;
    let mut begin = |ring: &mut Ring, slot: usize| {
        let path = &paths[next(begun)?];
        begun += 1;
        let place = DestinationSlot::try_from_slot_target(slot as u32).ok();
        let (file, buffer) = (Fixed(slot as u32), buffers[slot].as_mut_ptr());
        let open = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr());
        let open = open.flags(flags).mode(0o666).file_index(place).build();
        let data: Entry = if flags == libc::O_RDONLY {
            opcode::Read::new(file, buffer, PAGE as u32).build()
        } else {
            opcode::Write::new(file, buffer, PAGE as u32).build()
        };
        let close = opcode::Close::new(file).build();
        for entry in [
            open.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS).user_data(u64::MAX),
            data.flags(Flags::IO_HARDLINK).user_data(1 << 32 | slot as u64),
            close.user_data(slot as u64),
        ] {
            // SAFETY: path and buffer outlive the loop below, which ends when nothing is under way.
            unsafe { ring.push(entry) };
        }
        Some(())
    };
    let meter = Meter::start();
    let mut under_way = (0..SMALL_DEPTH).filter_map(|slot| begin(&mut ring, slot)).count();
    while under_way > 0 {
        ring.enter(true)?;
        while let Some((data, result, _)) = ring.next() {
            let count = count_of(result)?;
            if data >= 1 << 32 {
                whole(count, PAGE)?;
            } else if begin(&mut ring, data as usize).is_none() {
                under_way -= 1;
            }
        }
    }
    Ok(meter.stop(begun as u64))
}
