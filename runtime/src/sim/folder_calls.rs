//! The plain calls on folders, as the simulated kernel answers them: for the host of the core that runs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::calls::answer;
use super::host::File;
use super::submission::Named;
use super::{Answer, Errno};

fn named(folder: Option<BorrowedFd<'_>>, path: &CStr, resolve: u64) -> Named {
    let directory = folder.map_or(libc::AT_FDCWD, |folder| folder.as_raw_fd());
    Named { directory, path: path.to_bytes().to_vec(), resolve }
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
        if !state.host(host).has_room() {
            return Err(Errno(libc::EMFILE));
        }
        let now_ns = state.now_ns;
        let place = state.place(host, &name)?;
        let disk = &mut state.host(host).disk;
        let inode = disk.open(place.at(), flags, mode, now_ns)?;
        let failed_syncs = disk.sync_failures(inode);
        state.open(host, File::Disk { inode, flags, position: 0, failed_syncs })
    })
}

/// As statx(2).
pub(crate) fn stat(folder: Option<BorrowedFd<'_>>, path: &CStr, follow: bool) -> io::Result<libc::statx> {
    let name = named(folder, path, 0);
    answer(|state, host| {
        let place = state.place(host, &name)?;
        let disk = &state.host(host).disk;
        let inode = disk.inode_at(place.at(), follow)?;
        Ok(super::perform::statx(&disk.stat(inode)))
    })
}

/// As unlinkat(2).
pub(crate) fn remove(folder: Option<BorrowedFd<'_>>, path: &CStr, a_folder: bool) -> io::Result<()> {
    let name = named(folder, path, 0);
    answer(|state, host| -> Answer<()> {
        let now_ns = state.now_ns;
        let place = state.place(host, &name)?;
        let disk = &mut state.host(host).disk;
        if a_folder { disk.rmdir(place.at(), now_ns) } else { disk.unlink(place.at(), now_ns) }
    })
}
