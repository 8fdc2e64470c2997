//! From an error number to its cause: what makes the difference is read where the system tells it.

use std::io;

use super::Sizes;
use crate::error::SetupError;
use crate::sys::limits;

/// The oldest kernel whose rings can defer task work to a single issuer.
const OLDEST: (u32, u32) = (6, 1);

/// Why `io_uring_setup` (or the mapping that follows it) failed.
pub(super) fn setup(error: io::Error, wanted: Sizes) -> SetupError {
    let call = "io_uring_setup";
    match error.raw_os_error() {
        Some(libc::EPERM) => refused(call, error),
        Some(libc::EACCES) if limits::seccomp_filtered() => SetupError::Blocked { call },
        Some(libc::EACCES) => SetupError::Denied { call },
        Some(libc::ENOSYS) => SetupError::Unavailable { kernel: limits::kernel_release() },
        Some(libc::EINVAL) if too_old() => SetupError::TooOld { kernel: limits::kernel_release() },
        Some(libc::ENOMEM | libc::EAGAIN) => SetupError::LockedMemory {
            limit: limits::locked_memory(),
            needed: wanted.locked_bytes(),
            entries: wanted.submissions,
        },
        Some(libc::EMFILE | libc::ENFILE) => SetupError::Descriptors { limit: limits::descriptors() },
        _ => SetupError::Other { action: "create an io_uring", source: error },
    }
}

/// Why a registration with a ring that already exists failed.
pub(crate) fn register(action: &'static str, error: io::Error, wanted: Sizes, bytes: u64) -> SetupError {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => SetupError::LockedMemory {
            limit: limits::locked_memory(),
            needed: wanted.locked_bytes() + bytes,
            entries: wanted.submissions,
        },
        Some(libc::EPERM | libc::EACCES) => SetupError::Blocked { call: "io_uring_register" },
        _ => SetupError::Other { action, source: error },
    }
}

/// Two things answer EPERM: the sysctl and a filter.
fn refused(call: &'static str, error: io::Error) -> SetupError {
    match limits::io_uring_disabled() {
        Some(setting @ 1..) => SetupError::Disabled { setting },
        Some(0) | None if limits::seccomp_filtered() => SetupError::Blocked { call },
        Some(0) | None => SetupError::Other {
            action: "create an io_uring (no sysctl and no seccomp filter of this process forbids it)",
            source: error,
        },
    }
}

fn too_old() -> bool {
    limits::version_of(&limits::kernel_release()) < OLDEST
}
