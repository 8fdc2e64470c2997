//! The plain calls on folders, as the simulated kernel answers them: for the host of the core that runs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::calls::answer;
use super::host::{Call, File};
use super::perform::check_changes;
use super::state::State;
use super::submission::Named;
use super::{Answer, Errno, HostId};

fn named(folder: Option<BorrowedFd<'_>>, path: &CStr, resolve: u64) -> Named {
    let directory = folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd());
    Named { directory, path: path.to_bytes().to_vec(), resolve }
}

/// What the host was told to let fail, fails.
fn check(state: &mut State, host: HostId, call: Call) -> Answer<()> {
    state.host(host).take_failure(call).map_or(Ok(()), Err)
}

/// As openat2(2).
pub(crate) fn open(
    folder: Option<BorrowedFd<'_>>,
    path: &CStr,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> io::Result<RawFd> {
    let name = named(folder, path, resolve);
    answer(|state, host| {
        check(state, host, Call::Open)?;
        open_now(state, host, &name, flags, mode)
    })
}

fn open_now(state: &mut State, host: HostId, name: &Named, flags: i32, mode: u32) -> Answer<RawFd> {
    if !state.host(host).has_room() {
        return Err(Errno(libc::EMFILE));
    }
    let now_ns = state.now_ns;
    let place = state.place(host, name)?;
    let disk = &mut state.host(host).disk;
    let inode = disk.open(place.at(), flags, mode, now_ns)?;
    let failed_syncs = disk.sync_failures(inode);
    state.open(host, File::Disk { inode, flags, position: 0, failed_syncs })
}

/// As openat2(2) with `RESOLVE_CACHED`: a descriptor, "no such file", or nothing to be had without waiting.
pub(crate) fn open_cached(folder: Option<BorrowedFd<'_>>, path: &CStr, flags: i32, resolve: u64) -> Option<i32> {
    let name = named(folder, path, resolve);
    let opened = answer(|state, host| {
        // What shall fail, fails where it is asked of the disk.
        if state.takes_liberty(|kernel| kernel.not_cached) || state.host(host).has_failure(Call::Open) {
            return Err(Errno(libc::EAGAIN));
        }
        open_now(state, host, &name, flags, 0)
    });
    match opened {
        Ok(fd) => Some(fd),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Some(-libc::ENOENT),
        Err(_) => None,
    }
}

/// As statx(2).
pub(crate) fn stat(folder: Option<BorrowedFd<'_>>, path: &CStr, follow: bool) -> io::Result<libc::statx> {
    let name = named(folder, path, 0);
    answer(|state, host| {
        check(state, host, Call::Stat)?;
        let place = state.place(host, &name)?;
        let disk = &state.host(host).disk;
        let inode = disk.inode_at(place.at(), follow)?;
        Ok(super::perform::statx(&disk.stat(inode)))
    })
}

/// As unlinkat(2).
pub(crate) fn remove(folder: Option<BorrowedFd<'_>>, path: &CStr, a_folder: bool) -> io::Result<()> {
    let name = named(folder, path, 0);
    answer(|state, host| {
        check(state, host, Call::Rename)?;
        let now_ns = state.now_ns;
        let place = state.place(host, &name)?;
        let disk = &mut state.host(host).disk;
        if a_folder { disk.rmdir(place.at(), now_ns) } else { disk.unlink(place.at(), now_ns) }
    })
}

/// As pwrite(2).
pub(crate) fn write(file: RawFd, bytes: &[u8], offset: u64) -> io::Result<usize> {
    answer(|state, host| {
        let open = state.find(host, file)?;
        let File::Disk { inode, flags, .. } = state.opens[open].file else {
            return Err(Errno(libc::ESPIPE));
        };
        check_changes(flags)?;
        check(state, host, Call::Write)?;
        let chance = state.host(host).disk.storage().write_error_chance();
        if state.random.chance(chance) {
            return Err(Errno(libc::EIO));
        }
        let part = state.part_of_file(flags, bytes.len());
        let now_ns = state.now_ns;
        let disk = &mut state.host(host).disk;
        if flags & libc::O_APPEND != 0 {
            disk.append(inode, &bytes[..part], now_ns)
        } else {
            disk.write(inode, offset, &bytes[..part], now_ns)
        }
    })
}
