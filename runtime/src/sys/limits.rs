//! What this process may do, as far as a ring depends on it.

use std::ffi::CStr;

use crate::sys::thread::read_to_string;

/// `RLIMIT_MEMLOCK` in bytes; `None` is unlimited.
pub(crate) fn locked_memory() -> Option<u64> {
    limit(libc::RLIMIT_MEMLOCK)
}

/// `RLIMIT_NOFILE`: how many descriptors this process may have open.
pub(crate) fn descriptors() -> Option<u64> {
    limit(libc::RLIMIT_NOFILE)
}

fn limit(which: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    unsafe { libc::getrlimit(which, &raw mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// `kernel.io_uring_disabled`: 0 for everybody, 1 for a group, 2 for nobody. Absent before 6.6.
pub(crate) fn io_uring_disabled() -> Option<u32> {
    read_to_string("/proc/sys/kernel/io_uring_disabled")?.trim().parse().ok()
}

/// Whether system calls of this process pass a seccomp filter, as in most containers.
pub(crate) fn seccomp_filtered() -> bool {
    read_to_string("/proc/self/status").is_some_and(|status| {
        status.lines().filter_map(|line| line.strip_prefix("Seccomp:")).any(|mode| mode.trim() == "2")
    })
}

/// The kernel's release, such as `6.18.44`.
pub(crate) fn kernel_release() -> String {
    // SAFETY: all-zero bytes are a valid utsname: arrays of characters.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is a valid utsname to write to.
    unsafe { libc::uname(&raw mut name) };
    // SAFETY: uname ends every field with a zero byte, and `name` was zeroed before.
    unsafe { CStr::from_ptr(name.release.as_ptr()) }.to_string_lossy().into_owned()
}

/// Major and minor of a release; (0, 0) if it does not look like one.
pub(crate) fn version_of(release: &str) -> (u32, u32) {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn a_release_is_read_as_its_two_first_numbers() {
        assert_eq!(version_of("6.18.44-fc-v669"), (6, 18));
        assert_eq!(version_of("5.4"), (5, 4));
        assert_eq!(version_of("nonsense"), (0, 0));
    }
}
