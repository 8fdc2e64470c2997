//! `io_uring_enter`, as the loop needs it: exact counts, `GETEVENTS` always, an absolute deadline where the kernel
//! takes one.
//!
//! The `io-uring` crate's own submit asks for events only when it sees a flag that may not be there yet, and passes
//! a signal mask of a size that the kernel refuses; so this call is ours.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// An absolute time of the monotonic clock, in nanoseconds (since 6.12).
    At(u64),
    /// That many nanoseconds from now.
    In(u64),
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enter {
    /// How many submissions the queue holds. More than there are would end the call without a wait (K6).
    pub(crate) submit: u32,
    /// How many completions to wait for: none, or one. A wait for more is not ended by a wake (K4).
    pub(crate) wait: bool,
    /// When to give up waiting.
    pub(crate) until: Option<Until>,
    /// Do not count this wait as waiting for the disk (since 6.15).
    pub(crate) no_iowait: bool,
}

const GETEVENTS: u32 = 1 << 0;
const EXT_ARG: u32 = 1 << 3;
const ABS_TIMER: u32 = 1 << 5;
const NO_IOWAIT: u32 = 1 << 7;

/// The kernel's `io_uring_getevents_arg`.
#[repr(C)]
struct Argument {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// The kernel's `__kernel_timespec`.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Submits, runs deferred completions, and waits if asked to. The value returned is how many submissions were taken;
/// it says nothing about the wait (K7).
pub(crate) fn enter(ring: BorrowedFd<'_>, call: Enter) -> io::Result<u32> {
    let mut flags = GETEVENTS;
    if call.wait && call.no_iowait {
        flags |= NO_IOWAIT;
    }
    let timespec = call.until.map(|until| {
        let ns = match until {
            Until::At(ns) => {
                flags |= ABS_TIMER;
                ns
            }
            Until::In(ns) => ns,
        };
        flags |= EXT_ARG;
        Timespec { seconds: (ns / 1_000_000_000) as i64, nanoseconds: (ns % 1_000_000_000) as i64 }
    });
    let argument = Argument {
        sigmask: 0,
        sigmask_size: 8,
        min_wait_usec: 0,
        timespec: timespec.as_ref().map_or(0, |t| std::ptr::from_ref(t) as u64),
    };
    let (pointer, size) =
        if timespec.is_some() { (std::ptr::from_ref(&argument), size_of::<Argument>()) } else { (std::ptr::null(), 0) };
    // SAFETY: `pointer` is null with size 0, or names `argument`, whose timespec lives in `timespec`; both outlive
    //         the call and have the kernel's layout. Everything submitted was pushed under the contract of
    //         `Ring::push`.
    let taken = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            call.submit,
            u32::from(call.wait),
            flags,
            pointer,
            size,
        )
    };
    if taken < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(taken as u32)
}
