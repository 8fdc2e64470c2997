//! Calls on files that no opcode does: plain functions, which may wait for a disk. Make them on the blocking pool.
//!
//! They wait for nothing that was dropped before: await [`poll_names_settled`](super::poll_names_settled) or
//! [`Descriptor::poll_settled`] first. If one that changes something may be dropped while it is under way, let it go
//! through [`change_names_elsewhere`](super::change_names_elsewhere) or [`change_elsewhere`](super::change_elsewhere).

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use super::Descriptor;
use super::metadata::FileType;
use crate::driver::{file_calls, socket_calls};

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a>(file_calls::Subject<'a>);

impl<'a> Subject<'a> {
    /// What is at a path; what it leads to, if that is a symbolic link and `follow`.
    pub fn path(path: &'a CStr, follow: bool) -> Self {
        Self(file_calls::Subject::Path { directory: None, path, follow })
    }

    /// What is at a path from an open directory. Not for extended attributes and file systems.
    pub fn below(directory: &'a Descriptor, path: &'a CStr, follow: bool) -> Self {
        Self(file_calls::Subject::Path { directory: Some(directory.as_fd()), path, follow })
    }

    /// What is open.
    pub fn open(descriptor: &'a Descriptor) -> Self {
        Self(file_calls::Subject::Open(descriptor.as_fd()))
    }
}

/// The addresses of a host, with a port: by its name, as `getaddrinfo(3)` finds them, or as text. In a simulated world,
/// its hosts have names.
///
/// # Errors
///
/// What `getaddrinfo(3)` says: that there is no such host, or that those who should know do not answer.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    socket_calls::look_up(host, port)
}

/// Where a symbolic link leads.
///
/// # Errors
///
/// What `readlink(2)` says: `EINVAL` if it is none.
pub fn read_link(path: &CStr) -> io::Result<Vec<u8>> {
    file_calls::read_link(None, path)
}

/// Where a symbolic link leads, by its path from an open directory.
///
/// # Errors
///
/// As [`read_link`].
pub fn read_link_below(directory: &Descriptor, path: &CStr) -> io::Result<Vec<u8>> {
    file_calls::read_link(Some(directory.as_fd()), path)
}

/// The absolute path without links and dots by which something can be reached.
///
/// # Errors
///
/// What `realpath(3)` says.
pub fn real_path(path: &CStr) -> io::Result<Vec<u8>> {
    file_calls::real_path(path)
}

/// Asks whether the program may do that: bits of `R_OK`, `W_OK` and `X_OK`, by its effective user.
///
/// # Errors
///
/// What `faccessat2(2)` says: `EACCES` if it may not.
pub fn access(subject: Subject<'_>, mode: i32) -> io::Result<()> {
    file_calls::access(subject.0, mode)
}

/// Sets the twelve lower bits of a mode.
///
/// # Errors
///
/// What `fchmodat(2)` says: `EOPNOTSUPP` for a symbolic link that is not followed.
pub fn set_mode(subject: Subject<'_>, mode: u32) -> io::Result<()> {
    file_calls::set_mode(subject.0, mode)
}

/// Gives it to a user, to a group, or to both.
///
/// # Errors
///
/// What `fchownat(2)` says.
pub fn set_owner(subject: Subject<'_>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    file_calls::set_owner(subject.0, user, group)
}

/// A time that a file is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileTime {
    /// The one that it has.
    #[default]
    Kept,
    /// The time at which it is set.
    Now,
    /// That one.
    At(SystemTime),
}

impl FileTime {
    fn to_timespec(self) -> io::Result<libc::timespec> {
        let (seconds, nanoseconds) = match self {
            FileTime::Kept => (0, libc::UTIME_OMIT),
            FileTime::Now => (0, libc::UTIME_NOW),
            FileTime::At(time) => since_1970(time)?,
        };
        Ok(libc::timespec { tv_sec: seconds as libc::time_t, tv_nsec: nanoseconds as _ })
    }
}

/// Seconds and nanoseconds; the latter always count forwards.
fn since_1970(time: SystemTime) -> io::Result<(i64, i64)> {
    let whole = |duration: Duration| {
        let seconds = i64::try_from(duration.as_secs());
        seconds.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no file system knows a time so far away"))
    };
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Ok((whole(after)?, i64::from(after.subsec_nanos()))),
        Err(before) => {
            let before = before.duration();
            Ok(match before.subsec_nanos() {
                0 => (-whole(before)?, 0),
                nanoseconds => (-whole(before)? - 1, 1_000_000_000 - i64::from(nanoseconds)),
            })
        }
    }
}

/// Sets when it was last read, and when its contents were last changed.
///
/// # Errors
///
/// What `utimensat(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) for a time that no number says.
pub fn set_times(subject: Subject<'_>, accessed: FileTime, modified: FileTime) -> io::Result<()> {
    file_calls::set_times(subject.0, accessed.to_timespec()?, modified.to_timespec()?)
}

/// The names of the extended attributes, each with a zero behind.
///
/// # Errors
///
/// What `listxattr(2)` says.
pub fn list_xattr(subject: Subject<'_>) -> io::Result<Vec<u8>> {
    file_calls::list_xattr(subject.0)
}

/// The value of an extended attribute of a symbolic link itself, which no opcode reads.
///
/// # Errors
///
/// What `lgetxattr(2)` says.
pub fn get_link_xattr(path: &CStr, name: &CStr) -> io::Result<Vec<u8>> {
    file_calls::get_link_xattr(path, name)
}

/// Sets an extended attribute of a symbolic link itself, which no opcode sets.
///
/// # Errors
///
/// What `lsetxattr(2)` says.
pub fn set_link_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    file_calls::set_link_xattr(path, name, value)
}

/// Takes an extended attribute away.
///
/// # Errors
///
/// What `removexattr(2)` says: `ENODATA` if it is not there.
pub fn remove_xattr(subject: Subject<'_>, name: &CStr) -> io::Result<()> {
    file_calls::remove_xattr(subject.0, name)
}

/// A kind of lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Others may have it as well.
    Shared,
    /// Nobody else has any.
    Exclusive,
    /// None: it is given back.
    Nothing,
}

/// Locks what is open, as `flock(2)`, or gives the lock back. Does not wait, so it may be called anywhere.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if somebody else has a lock that keeps this one from it.
pub fn try_lock(file: &Descriptor, lock: Lock) -> io::Result<()> {
    let operation = match lock {
        Lock::Shared => libc::LOCK_SH,
        Lock::Exclusive => libc::LOCK_EX,
        Lock::Nothing => libc::LOCK_UN,
    };
    file_calls::lock(file.as_fd(), operation | libc::LOCK_NB)
}

/// Locks a range of what is open, or gives it back: a lock of the open file description, as `F_OFD_SETLK` of
/// `fcntl(2)`. 0 bytes are all to the end, however far that moves. Does not wait.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) if somebody else has a lock that keeps this one from it.
pub fn try_lock_range(file: &Descriptor, lock: Lock, offset: u64, bytes: u64) -> io::Result<()> {
    let kind = match lock {
        Lock::Shared => libc::F_RDLCK,
        Lock::Exclusive => libc::F_WRLCK,
        Lock::Nothing => libc::F_UNLCK,
    };
    file_calls::lock_range(file.as_fd(), kind, offset, bytes)
}

/// Whether it is a terminal. At once.
pub fn is_terminal(file: BorrowedFd<'_>) -> bool {
    file_calls::is_terminal(file)
}

/// Another descriptor of what is open. They share the kernel's own position and the locks, and nothing else: neither
/// waits for what was dropped on the other one. At once.
///
/// # Errors
///
/// What `fcntl(2)` says, such as that there are too many descriptors.
pub fn duplicate(file: impl AsFd) -> io::Result<Descriptor> {
    let fd = file_calls::duplicate(file.as_fd())?;
    // SAFETY: just made, and given to nobody else.
    Ok(unsafe { Descriptor::owning(fd) })
}

/// Copies a range from one file to another within the kernel, as much as goes at once; 0 at the end of the first.
///
/// # Errors
///
/// What `copy_file_range(2)` says: `EXDEV`, `EINVAL` or `EOPNOTSUPP` if these two cannot be copied so.
pub fn copy_range(
    from: &Descriptor,
    from_offset: u64,
    to: &Descriptor,
    to_offset: u64,
    bytes: usize,
) -> io::Result<usize> {
    file_calls::copy_range(from.as_fd(), from_offset, to.as_fd(), to_offset, bytes)
}

/// Lets `to` share all the contents of `from`, until one of them is changed (`FICLONE`).
///
/// # Errors
///
/// `EOPNOTSUPP`, `EXDEV` or `EINVAL` if the file system cannot do that.
pub fn clone_file(from: &Descriptor, to: &Descriptor) -> io::Result<()> {
    file_calls::clone_file(from.as_fd(), to.as_fd())
}

/// Where from `offset` on the next bytes are that are no hole. `None` if none come. Moves the kernel's own position.
///
/// # Errors
///
/// What `lseek(2)` says.
pub fn seek_data(file: &Descriptor, offset: u64) -> io::Result<Option<u64>> {
    match file_calls::seek(file.as_fd(), offset, libc::SEEK_DATA) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        found => found.map(Some),
    }
}

/// Where from `offset` on the next hole is; there is one at the end of every file. `None` beyond that. Moves the
/// kernel's own position.
///
/// # Errors
///
/// What `lseek(2)` says.
pub fn seek_hole(file: &Descriptor, offset: u64) -> io::Result<Option<u64>> {
    match file_calls::seek(file.as_fd(), offset, libc::SEEK_HOLE) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        found => found.map(Some),
    }
}

/// How much a file system holds, and how much more it can.
#[derive(Clone, Copy)]
pub struct Space(libc::statvfs64);

/// How full the file system is that something is on.
///
/// # Errors
///
/// What `statvfs(3)` says.
pub fn space(subject: Subject<'_>) -> io::Result<Space> {
    file_calls::stat_file_system(subject.0).map(Space)
}

impl Space {
    /// All bytes.
    pub fn total_bytes(&self) -> u64 {
        self.0.f_blocks.saturating_mul(self.0.f_frsize)
    }

    /// Those that are not used, some of them perhaps only for root.
    pub fn free_bytes(&self) -> u64 {
        self.0.f_bfree.saturating_mul(self.0.f_frsize)
    }

    /// Those that anybody may use.
    pub fn available_bytes(&self) -> u64 {
        self.0.f_bavail.saturating_mul(self.0.f_frsize)
    }

    /// How many files there can be; 0 if nothing limits that.
    pub fn total_inodes(&self) -> u64 {
        self.0.f_files
    }

    /// How many more files there can be.
    pub fn free_inodes(&self) -> u64 {
        self.0.f_ffree
    }

    /// How many more files anybody may make.
    pub fn available_inodes(&self) -> u64 {
        self.0.f_favail
    }

    /// The bytes of a block, by which room is given out.
    pub fn block_size(&self) -> u64 {
        self.0.f_frsize
    }

    /// How many bytes a name may have.
    pub fn longest_name(&self) -> u64 {
        self.0.f_namemax
    }

    /// Whether nothing on it can be changed.
    pub fn is_read_only(&self) -> bool {
        self.0.f_flag & libc::ST_RDONLY != 0
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space")
            .field("total_bytes", &self.total_bytes())
            .field("free_bytes", &self.free_bytes())
            .field("available_bytes", &self.available_bytes())
            .finish_non_exhaustive()
    }
}

/// Reads entries of an open directory into `room`, from where the last call ended: see [`entries`]. 0 bytes at the end.
///
/// # Errors
///
/// What `getdents64(2)` says: `EINVAL` if there is no room for the next name.
pub fn read_entries(directory: &Descriptor, room: &mut [u8]) -> io::Result<usize> {
    file_calls::read_entries(directory.as_fd(), room)
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name, without the zero at its end.
    pub name: &'a [u8],
    /// The same, as the kernel takes it.
    pub c_name: &'a CStr,
    /// The number of what it names, within the file system.
    pub ino: u64,
    /// What it names, if the file system tells that.
    pub file_type: Option<FileType>,
}

/// The entries in bytes that [`read_entries`] has read. `.` and `..` are left out.
///
/// # Examples
///
/// ```
/// use corering_runtime::op::{Descriptor, plain};
///
/// let directory = Descriptor::new(std::fs::File::open("/proc/self")?.into());
/// let mut room = vec![0; 32768];
/// let count = plain::read_entries(&directory, &mut room)?;
/// assert!(plain::entries(&room[..count]).any(|entry| entry.name == b"status"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        loop {
            let (entry, rest) = entry(bytes)?;
            bytes = rest;
            if entry.name != b"." && entry.name != b".." {
                return Some(entry);
            }
        }
    })
}

/// The first entry, and what is behind it: a `linux_dirent64`, whose name has a zero at its end.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let ino = u64::from_ne_bytes(*bytes.first_chunk()?);
    let len = usize::from(u16::from_ne_bytes(*bytes.get(16..)?.first_chunk()?));
    let (kind, name) = bytes.get(18..len)?.split_first()?;
    let c_name = CStr::from_bytes_until_nul(name).ok()?;
    // The kinds of a directory are those of a mode, moved.
    let file_type = (*kind != libc::DT_UNKNOWN).then(|| FileType::from_mode(u32::from(*kind) << 12));
    Some((Entry { name: c_name.to_bytes(), c_name, ino, file_type }, bytes.get(len..)?))
}

/// Makes a descriptor that tells of changes of files (`inotify(7)`). It can be read by the ring. At once.
///
/// # Errors
///
/// What `inotify_init1(2)` says: `EMFILE` if the user has too many.
pub fn watch() -> io::Result<Descriptor> {
    let fd = file_calls::watch()?;
    // SAFETY: just made, and given to nobody else.
    Ok(unsafe { Descriptor::owning(fd) })
}

/// Lets it tell of what is at `path`, too, or from now on of other events; gives the number by which it is told of.
///
/// # Errors
///
/// What `inotify_add_watch(2)` says: `ENOSPC` if the user has too many.
pub fn add_watch(watch: &Descriptor, path: &CStr, events: u32) -> io::Result<i32> {
    file_calls::add_watch(watch.as_fd(), path, events)
}

/// Does not tell of that any more.
///
/// # Errors
///
/// `EINVAL` if it did not.
pub fn remove_watch(watch: &Descriptor, number: i32) -> io::Result<()> {
    file_calls::remove_watch(watch.as_fd(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(name: &[u8], kind: u8) -> Vec<u8> {
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let mut bytes = vec![0; len];
        bytes[..8].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[16..18].copy_from_slice(&(len as u16).to_ne_bytes());
        bytes[18] = kind;
        bytes[19..19 + name.len()].copy_from_slice(name);
        bytes
    }

    #[test]
    fn entries_are_found_one_behind_the_other_without_the_dots() {
        let names: [&[u8]; 5] = [b".", b"one", b"..", b"three-and-more", b"\xff\xfe"];
        let bytes: Vec<u8> = names.iter().flat_map(|name| bytes_of(name, libc::DT_REG)).collect();
        let found: Vec<&[u8]> = entries(&bytes).map(|entry| entry.name).collect();
        assert_eq!(found, [&b"one"[..], b"three-and-more", b"\xff\xfe"]);
        let first = entries(&bytes).next().expect("there");
        assert_eq!((first.ino, first.file_type.map(FileType::is_file)), (7, Some(true)));
        let unknown = bytes_of(b"x", libc::DT_UNKNOWN);
        assert_eq!(entries(&unknown).next().expect("there").file_type, None);
    }

    #[test]
    fn bytes_that_are_no_entries_give_none_and_do_not_panic() {
        let whole = bytes_of(b"name", libc::DT_DIR);
        for len in 0..whole.len() {
            assert_eq!(entries(&whole[..len]).count(), 0, "{len} of {}", whole.len());
        }
        for len in [0_u16, 1, 17, 18, 19, 200] {
            let mut bytes = whole.clone();
            bytes[16..18].copy_from_slice(&len.to_ne_bytes());
            assert!(entries(&bytes).count() <= 1, "{len}");
        }
    }

    #[test]
    fn times_before_1970_count_forwards() {
        let time = |seconds: i64, nanoseconds: u32| {
            let whole = Duration::from_secs(seconds.unsigned_abs());
            let base = if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
            base + Duration::from_nanos(nanoseconds.into())
        };
        for (seconds, nanoseconds) in [(0, 0), (5, 1), (-1, 0), (-1, 999_999_999), (-7, 3)] {
            let found = since_1970(time(seconds, nanoseconds)).expect("near");
            assert_eq!(found, (seconds, i64::from(nanoseconds)));
        }
    }
}
