//! Standard input, output and error: descriptors that the process shares with whoever started it.
//!
//! Invariant: they are never closed, and nothing is set on them, since what is set (`O_NONBLOCK`) would be set for the others,
//! too. All cores share their descriptors: so what a dropped read of standard input still brings is kept for the next one
//! (`super::stream`), whichever core asks.

use std::os::fd::RawFd;
use std::sync::OnceLock;

use super::descriptor::Descriptor;

/// The descriptor of a standard stream, whose barrier all cores share.
fn standard(number: RawFd, place: &'static OnceLock<Descriptor>) -> &'static Descriptor {
    // SAFETY: a static is never dropped, so nobody closes it. If the program has closed it, the kernel says so.
    place.get_or_init(|| unsafe { Descriptor::owning(number) })
}

/// Standard input.
pub(crate) fn input() -> &'static Descriptor {
    static INPUT: OnceLock<Descriptor> = OnceLock::new();
    standard(libc::STDIN_FILENO, &INPUT)
}

/// Standard output.
pub(crate) fn output() -> &'static Descriptor {
    static OUTPUT: OnceLock<Descriptor> = OnceLock::new();
    standard(libc::STDOUT_FILENO, &OUTPUT)
}

/// Standard error.
pub(crate) fn error() -> &'static Descriptor {
    static ERROR: OnceLock<Descriptor> = OnceLock::new();
    standard(libc::STDERR_FILENO, &ERROR)
}
