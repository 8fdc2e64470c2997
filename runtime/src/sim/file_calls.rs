//! The plain calls on files, as the simulated kernel answers them: for the host of the core that runs.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::calls::{answer, on_file};
use super::disk::Inode;
use super::host::{self, File};
use super::perform::{check_changes, check_open, check_read, range_of};
use super::state::State;
use super::submission::Named;
use super::{Answer, Errno, HostId};
use crate::sys::subject::Subject;

/// Ends the run: it asks for something that is not simulated.
pub(crate) fn unknown<T>(what: &str) -> io::Result<T> {
    super::calls::unknown(what.to_owned())
}

/// Does something with what a call is about.
fn on_subject<T>(subject: Subject<'_>, ask: impl FnOnce(&mut State, HostId, Inode) -> Answer<T>) -> io::Result<T> {
    answer(|state, host| {
        let inode = inode_of(state, host, subject)?;
        ask(state, host, inode)
    })
}

fn inode_of(state: &mut State, host: HostId, subject: Subject<'_>) -> Answer<Inode> {
    match subject {
        Subject::Open(fd) => state.inode_of(host, fd.as_raw_fd()),
        Subject::Path { directory, path, follow } => {
            let directory = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
            let name = Named { directory, path: path.to_bytes().to_vec(), resolve: 0 };
            let place = state.place(host, &name)?;
            state.host(host).disk.inode_at(place.at(), follow)
        }
    }
}

pub(crate) fn read_link(subject: Subject<'_>) -> io::Result<Vec<u8>> {
    match subject {
        // What is open by its path alone.
        Subject::Path { directory: Some(fd), path, .. } if path.is_empty() => answer(|state, host| {
            let inode = state.inode_of(host, fd.as_raw_fd())?;
            state.host(host).disk.target(inode).map_err(|_| Errno(libc::ENOENT))
        }),
        Subject::Path { .. } | Subject::Open(_) => {
            on_subject(subject, |state, host, inode| state.host(host).disk.target(inode))
        }
    }
}

pub(crate) fn real_path(path: &CStr) -> io::Result<Vec<u8>> {
    answer(|state, host| state.host(host).disk.real_path(path.to_bytes()))
}

/// Root may do everything but run what nobody may.
pub(crate) fn access(subject: Subject<'_>, mode: i32) -> io::Result<()> {
    on_subject(subject, |state, host, inode| {
        let stat = state.host(host).disk.stat(inode);
        let runs = stat.mode & libc::S_IFMT != libc::S_IFREG || stat.mode & 0o111 != 0;
        if mode & libc::X_OK != 0 && !runs { Err(Errno(libc::EACCES)) } else { Ok(()) }
    })
}

pub(crate) fn stat_file_system(subject: Subject<'_>) -> io::Result<libc::statvfs64> {
    on_subject(subject, |state, host, _| {
        let (all, free) = state.host(host).disk.pages();
        let mut answer = super::memory::empty_statvfs();
        (answer.f_bsize, answer.f_frsize, answer.f_namemax) = (4096, 4096, 255);
        (answer.f_blocks, answer.f_bfree, answer.f_bavail) = (all, free, free);
        Ok(answer)
    })
}

pub(crate) fn set_mode(subject: Subject<'_>, mode: u32) -> io::Result<()> {
    check_subject(subject)?;
    on_subject(subject, |state, host, inode| {
        let now_ns = state.now_ns;
        state.host(host).disk.set_mode(inode, mode, now_ns)
    })
}

pub(crate) fn set_owner(subject: Subject<'_>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    on_subject(subject, |state, host, inode| {
        let now_ns = state.now_ns;
        state.host(host).disk.set_owner(inode, user, group, now_ns);
        Ok(())
    })
}

pub(crate) fn set_times(subject: Subject<'_>, accessed: libc::timespec, modified: libc::timespec) -> io::Result<()> {
    check_subject(subject)?;
    on_subject(subject, |state, host, inode| {
        let now_ns = state.now_ns;
        let (accessed, modified) = (time_ns(accessed, now_ns), time_ns(modified, now_ns));
        if accessed.is_some() || modified.is_some() {
            state.host(host).disk.set_times(inode, accessed, modified, now_ns);
        }
        Ok(())
    })
}

/// Nanoseconds since 1970, as a signed number. What no number says is the nearest that one says.
fn time_ns(time: libc::timespec, now_ns: u64) -> Option<u64> {
    match time.tv_nsec {
        libc::UTIME_OMIT => None,
        libc::UTIME_NOW => Some(now_ns),
        ns => Some(time.tv_sec.saturating_mul(1_000_000_000).saturating_add(ns) as u64),
    }
}

/// What is opened by its path alone cannot be changed by its number.
fn check_subject(subject: Subject<'_>) -> io::Result<()> {
    match subject {
        Subject::Open(fd) => on_file(fd.as_raw_fd(), |_, _, _, flags| check_open(flags)),
        Subject::Path { .. } => Ok(()),
    }
}

pub(crate) fn list_xattr(subject: Subject<'_>) -> io::Result<Vec<u8>> {
    check_subject(subject)?;
    on_subject(subject, |state, host, inode| Ok(state.host(host).disk.extended_names(inode)))
}

pub(crate) fn get_link_xattr(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    on_subject(Subject::Path { directory: None, path, follow: false }, |state, host, inode| {
        state.host(host).disk.extended(inode, name.to_bytes()).map(<[u8]>::to_vec)
    })
}

pub(crate) fn set_link_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    on_subject(Subject::Path { directory: None, path, follow: false }, |state, host, inode| {
        let now_ns = state.now_ns;
        state.host(host).disk.set_extended(inode, name.to_bytes(), value, 0, now_ns)
    })
}

pub(crate) fn remove_xattr(subject: Subject<'_>, name: &CStr) -> io::Result<()> {
    check_subject(subject)?;
    on_subject(subject, |state, host, inode| {
        let now_ns = state.now_ns;
        state.host(host).disk.remove_extended(inode, name.to_bytes(), now_ns)
    })
}

/// As flock(2), which nobody here lets wait.
pub(crate) fn lock(fd: RawFd, operation: i32) -> io::Result<()> {
    answer(|state, host| {
        let own = state.find(host, fd)?;
        let File::Disk { inode, flags, .. } = state.opens[own].file else {
            return Err(Errno(libc::EBADF));
        };
        check_open(flags)?;
        let wanted = match operation & !libc::LOCK_NB {
            libc::LOCK_UN => None,
            libc::LOCK_SH => Some(false),
            libc::LOCK_EX => Some(true),
            _ => return Err(Errno(libc::EINVAL)),
        };
        // One that has a lock gives it up before it takes another.
        state.opens[own].locked = None;
        let held = state.opens.iter().filter(|(open, _)| *open != own).filter_map(|(_, open)| match open.file {
            File::Disk { inode: other, .. } if open.host == host && other == inode => open.locked,
            File::Disk { .. } | File::Socket(_) | File::Bell { .. } => None,
        });
        let in_the_way = |held: bool| wanted == Some(true) || wanted == Some(false) && held;
        if held.into_iter().any(in_the_way) {
            return Err(Errno(libc::EAGAIN));
        }
        state.opens[own].locked = wanted;
        Ok(())
    })
}

pub(crate) fn lock_range(_fd: RawFd, _kind: i32, _offset: u64, _bytes: u64) -> io::Result<()> {
    unknown("locks of a range")
}

/// Another number for what is open.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<RawFd> {
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let most = state.host(host).most_descriptors;
        let place = state.host(host).install(open, most)?;
        state.opens[open].references += 1;
        Ok(host::number(host, place))
    })
}

pub(crate) fn copy_range(from: RawFd, offset: u64, to: RawFd, to_offset: u64, bytes: usize) -> io::Result<usize> {
    answer(|state, host| {
        let (source, target) = (state.find(host, from)?, state.find(host, to)?);
        let (File::Disk { inode: source, flags: read, .. }, File::Disk { inode: target, flags: written, .. }) =
            (&state.opens[source].file, &state.opens[target].file)
        else {
            return Err(Errno(libc::EINVAL));
        };
        let (source, read, target, written) = (*source, *read, *target, *written);
        check_read(read & !libc::O_DIRECT, offset, &[])?;
        check_changes(written)?;
        if range_of(offset, bytes as u64).and(range_of(to_offset, bytes as u64)).is_none() {
            return Err(Errno(libc::EOVERFLOW));
        }
        if written & libc::O_APPEND != 0 {
            return Err(Errno(libc::EBADF));
        }
        let now_ns = state.now_ns;
        let disk = &mut state.host(host).disk;
        if disk.is_directory(source) || disk.is_directory(target) {
            return Err(Errno(libc::EISDIR));
        }
        let left = disk.len(source).saturating_sub(offset).min(bytes as u64) as usize;
        let (taken, put) = (offset..offset + left as u64, to_offset..to_offset + left as u64);
        if source == target && taken.start < put.end && put.start < taken.end {
            return Err(Errno(libc::EINVAL));
        }
        let mut room = vec![0; state.part_of_file(0, left)];
        let disk = &mut state.host(host).disk;
        let count = disk.read(source, offset, &mut room)?;
        disk.write(target, to_offset, &room[..count], now_ns)
    })
}

pub(crate) fn seek(fd: RawFd, offset: u64, to: i32) -> io::Result<u64> {
    on_file(fd, |state, host, inode, flags| {
        check_open(flags)?;
        state.host(host).disk.seek(inode, offset, to == libc::SEEK_DATA)
    })
}

/// Entries as getdents64(2) writes them. Where it goes on is the order of the last name.
pub(crate) fn read_entries(fd: RawFd, room: &mut [u8]) -> io::Result<usize> {
    answer(|state, host| {
        let open = state.find(host, fd)?;
        let File::Disk { inode, flags, position, .. } = state.opens[open].file else {
            return Err(Errno(libc::ENOTDIR));
        };
        check_open(flags)?;
        let entries = state.host(host).disk.read_dir_after(inode, position)?;
        let any = !entries.is_empty();
        let (mut filled, mut after) = (0, position);
        for entry in entries {
            let len = (NAME_AT + entry.name.len() + 1).next_multiple_of(8);
            let Some(place) = room.get_mut(filled..filled + len) else {
                break;
            };
            place.fill(0);
            place[..8].copy_from_slice(&u64::from(entry.inode.0).to_ne_bytes());
            place[8..16].copy_from_slice(&entry.order.to_ne_bytes());
            place[16..18].copy_from_slice(&(len as u16).to_ne_bytes());
            place[18] = (entry.format >> 12) as u8;
            place[NAME_AT..NAME_AT + entry.name.len()].copy_from_slice(&entry.name);
            (filled, after) = (filled + len, entry.order);
        }
        if any && filled == 0 {
            return Err(Errno(libc::EINVAL));
        }
        if let File::Disk { position, .. } = &mut state.opens[open].file {
            *position = after;
        }
        Ok(filled)
    })
}

/// Where the name of an entry begins.
const NAME_AT: usize = 19;
