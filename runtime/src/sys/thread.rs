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

/// Has the calling thread, when it is woken, let others run on before it: a core that wakes it is not held up by it.
pub(crate) fn serve_in_batches() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` is valid to read, and 0 means the calling thread. It changes nothing but when that runs, so
    //         whether it has changed is left open.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}

/// A small file of /proc or /sys, which never blocks.
#[expect(
    clippy::disallowed_methods,
    reason = "only for /proc and /sys while a core is set up or described, never in its loop"
)]
pub(crate) fn read_to_string(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
