//! Small things of the thread and the process: its name, files of /proc.

use std::ffi::CString;

/// Names the calling thread; the kernel keeps the first 15 bytes. A name with a zero byte in it is cut there.
pub(crate) fn set_name(name: &str) {
    let shown: Vec<u8> = name.bytes().take_while(|byte| *byte != 0).take(15).collect();
    let Ok(shown) = CString::new(shown) else {
        return;
    };
    // SAFETY: PR_SET_NAME reads at most 16 bytes up to the zero byte that `shown` ends with.
    unsafe { libc::prctl(libc::PR_SET_NAME, shown.as_ptr()) };
}

/// Has the calling thread let others run on when it is woken, and give way when they are: a core that shares a processor
/// with it is not held up by it. (A thread with a shorter slice is let in at once since Linux 6.12; before, the slice is
/// ignored.)
pub(crate) fn serve_in_batches() {
    let mut attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_BATCH as u32,
        flags: 0,
        nice: 0,
        priority: 0,
        runtime_ns: LONG_SLICE_NS,
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: takes no pointers; 0 means the calling thread. A thread may have been given a niceness, which stays.
    attributes.nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // SAFETY: `attributes` is valid to read, and says its own size. It changes nothing but when this thread runs, so
    //         whether it has changed is left open.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Longer than what others have, which is a few milliseconds; the kernel takes up to 100 ms.
const LONG_SLICE_NS: u64 = 20_000_000;

/// The kernel's `sched_attr`, as it was first.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// A small file of /proc or /sys, which never blocks.
#[expect(
    clippy::disallowed_methods,
    reason = "only for /proc and /sys while a core is set up or described, never in its loop"
)]
pub(crate) fn read_to_string(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
