//! Ctrl-C: the first one is noted and rings a bell, the second one ends the process as if nobody listened.
//!
//! While a program listens for SIGINT by itself ([`signal`](super::signal)), it is the program's alone.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use super::signal;

/// The bell of the core that listens; below zero if none does.
static BELL: AtomicI32 = AtomicI32::new(NOBODY);
/// How often it was pressed since somebody listens.
static PRESSED: AtomicU32 = AtomicU32::new(0);

const NOBODY: RawFd = -1;

/// Listens for SIGINT until it is dropped. One in the process does.
pub(crate) struct Interrupts {
    before: libc::sigaction,
    seen: Cell<bool>,
}

impl Interrupts {
    /// `bell` is an eventfd that outlives this.
    pub(crate) fn listen(bell: RawFd) -> io::Result<Self> {
        // Relaxed: the handler reads it only after the system call below has set the handler.
        if BELL.compare_exchange(NOBODY, bell, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another core of this process does"));
        }
        PRESSED.store(0, Ordering::Relaxed);
        // SAFETY: all zeroes is an empty mask, no flags and the default action.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        let handler: extern "C" fn(libc::c_int) = pressed;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        match set(&action) {
            Ok(before) => Ok(Self { before, seen: Cell::new(false) }),
            Err(error) => {
                BELL.store(NOBODY, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Whether it was pressed for the first time. True once.
    pub(crate) fn take(&self) -> bool {
        PRESSED.load(Ordering::Relaxed) > 0 && !self.seen.replace(true)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // What was set before can be set again.
        drop(set(&self.before));
        BELL.store(NOBODY, Ordering::Relaxed);
    }
}

fn set(action: &libc::sigaction) -> io::Result<libc::sigaction> {
    signal::set_below(libc::SIGINT, action)
}

/// The handler: nothing but what signal-safety(7) allows, and `errno` is as it was.
extern "C" fn pressed(signal: libc::c_int) {
    if signal::is_listened_for(signal) {
        return;
    }
    // SAFETY: the address of this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if PRESSED.fetch_add(1, Ordering::Relaxed) == 0 {
        let one = 1_u64;
        // SAFETY: eight bytes, to a descriptor that outlives the handler. If it fails, the core is awake anyway.
        unsafe { libc::write(BELL.load(Ordering::Relaxed), ptr::from_ref(&one).cast(), 8) };
    } else {
        // SAFETY: takes no pointer of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        // SAFETY: ends the process, when this handler is left.
        unsafe { libc::raise(signal) };
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}
