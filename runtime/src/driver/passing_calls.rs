//! The plain calls by which bytes pass from one descriptor to another within the kernel, or from a file to a socket.
//!
//! Invariant: as in `calls`. None of these waits, if the sockets were told not to ([`set_at_once`]); what is not in the
//! page cache is waited for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::calls::{Kernel, done};
use crate::buf::Room;
#[cfg(feature = "sim")]
use crate::sim;
use crate::sys::signal::without_broken_pipe;

/// From now on plain calls on a socket do not wait (`O_NONBLOCK`). For the ring it makes no difference (K49).
pub(crate) fn set_at_once(fd: BorrowedFd<'_>, at_once: bool) -> io::Result<()> {
    match Kernel::answering(fd.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
            done(flags)?;
            let flags = if at_once { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
            // SAFETY: takes no pointers.
            done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) })
        }
        // No plain call waits there.
        #[cfg(feature = "sim")]
        Kernel::Simulated => Ok(()),
    }
}

/// Makes room for so many bytes in a pipe, if that is allowed, and says for how many there is room then.
pub(crate) fn widen_pipe(pipe: BorrowedFd<'_>, bytes: u32) -> io::Result<usize> {
    match Kernel::answering(pipe.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: takes no pointers.
            let set = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as libc::c_int) };
            if let Ok(room) = usize::try_from(set) {
                return Ok(room);
            }
            // SAFETY: takes no pointers.
            let room = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) };
            usize::try_from(room).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => Ok(bytes as usize),
    }
}

/// Moves what has arrived at a socket into a pipe, at most so many bytes. None are the end of the stream.
pub(crate) fn splice_in(socket: BorrowedFd<'_>, pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    match Kernel::answering(socket.as_raw_fd()) {
        Kernel::Real => splice(socket, pipe, bytes),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::passing_calls::splice_in(socket.as_raw_fd(), pipe.as_raw_fd(), bytes),
    }
}

/// Sends so many bytes of a pipe on a socket, or as many as it takes.
pub(crate) fn splice_out(pipe: BorrowedFd<'_>, socket: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    match Kernel::answering(socket.as_raw_fd()) {
        Kernel::Real => without_broken_pipe(|| splice(pipe, socket, bytes)),
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::passing_calls::splice_out(pipe.as_raw_fd(), socket.as_raw_fd(), bytes),
    }
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let (from, to, flags) = (from.as_raw_fd(), to.as_raw_fd(), libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK);
    // SAFETY: no positions are given, and it takes no other pointers.
    let moved = unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), bytes, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Takes what lies in a pipe into memory.
pub(crate) fn empty_pipe(pipe: BorrowedFd<'_>, room: &mut Room<'_>) -> io::Result<usize> {
    match Kernel::answering(pipe.as_raw_fd()) {
        Kernel::Real => {
            // SAFETY: the room is borrowed exclusively and may be written to its end.
            let read = unsafe { libc::read(pipe.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
            usize::try_from(read).map_err(|_| io::Error::last_os_error())
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => Ok(room.put(&sim::passing_calls::empty_pipe(pipe.as_raw_fd(), room.len())?)),
    }
}

/// Sends a part of a file on a socket, or as much of it as the socket takes. None at the end of the file.
pub(crate) fn send_file(to: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<usize> {
    match Kernel::answering(to.as_raw_fd()) {
        Kernel::Real => {
            let mut offset = libc::off64_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
            let (to, file) = (to.as_raw_fd(), file.as_raw_fd());
            without_broken_pipe(|| {
                // SAFETY: the position is there as long as the call lasts; it takes no other pointers.
                let sent = unsafe { libc::sendfile64(to, file, &raw mut offset, bytes) };
                usize::try_from(sent).map_err(|_| io::Error::last_os_error())
            })
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::passing_calls::send_file(to.as_raw_fd(), file.as_raw_fd(), offset, bytes),
    }
}

/// Whether all of a part of a file is in the page cache, where nobody has to wait for it. An error if nobody can tell:
/// Linux can since 6.5.
pub(crate) fn is_cached(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<bool> {
    match Kernel::answering(file.as_raw_fd()) {
        Kernel::Real => {
            let range = CachestatRange { offset, bytes };
            let mut found = Cachestat::default();
            let (file, flags) = (file.as_raw_fd(), 0_u32);
            // SAFETY: a range to read, and room for the answer.
            let result = unsafe { libc::syscall(CACHESTAT, file, &raw const range, &raw mut found, flags) };
            done(result as i32)?;
            // SAFETY: takes no pointers.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
            let pages = (offset + bytes).div_ceil(page) - offset / page;
            Ok(found.cached >= pages)
        }
        #[cfg(feature = "sim")]
        Kernel::Simulated => sim::passing_calls::is_cached(file.as_raw_fd(), offset, bytes as usize),
    }
}

/// The same number on every machine; libc does not know it.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    bytes: u64,
}

/// `struct cachestat`: numbers of pages.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    written_back: u64,
    evicted: u64,
    recently_evicted: u64,
}
