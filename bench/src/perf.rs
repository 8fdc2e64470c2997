//! What the kernel counts of another process: its system calls, and where its time goes.
//!
//! `getrusage` divides time into user's and kernel's by what runs at the clock's tick, 250 times a second on many
//! kernels: in a third of a second that cannot see a share of a few percent. A sample every 100 us can. It costs
//! time itself, so samples are taken in a window of their own, never in the one that is measured.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first part of the kernel's `perf_event_attr`, in the size that its first version had.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_and_breakpoint: u64,
    config_1: u64,
}

/// The kernel's `perf_event_header`.
#[repr(C)]
struct Header {
    kind: u32,
    mode: u16,
    size: u16,
}

const SOFTWARE: u32 = 1;
const TRACEPOINT: u32 = 2;
const CPU_CLOCK: u64 = 0;
const INHERIT: u64 = 1 << 1;
const CLOSE_ON_EXEC: u64 = 1 << 3;

fn open(kind: u32, config: u64, sample_period: u64, flags: u64, process: u32) -> Option<File> {
    let attributes = Attributes {
        kind,
        size: size_of::<Attributes>() as u32,
        config,
        sample_period,
        sample_type: 0,
        read_format: 0,
        flags,
        wakeup_and_breakpoint: 0,
        config_1: 0,
    };
    // SAFETY: `attributes` has the kernel's layout in the size that it says, and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, process, -1, -1, CLOSE_ON_EXEC) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the kernel has just given us this descriptor.
    Some(unsafe { File::from_raw_fd(fd as i32) })
}

/// The system calls of a process and of the threads that it starts from now on.
#[derive(Debug)]
pub(crate) struct Syscalls(File);

impl Syscalls {
    /// `None` where that is not allowed.
    pub(crate) fn of(process: u32) -> Option<Self> {
        open(TRACEPOINT, tracepoint()?, 0, INHERIT, process).map(Self)
    }

    pub(crate) fn read(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        (&self.0).read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

fn tracepoint() -> Option<u64> {
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let path = |root| format!("{root}/events/raw_syscalls/sys_enter/id");
    roots.iter().find_map(|root| std::fs::read_to_string(path(root)).ok()?.trim().parse().ok())
}

/// Why system calls are not counted, if they are not.
pub(crate) fn no_syscalls() -> Option<&'static str> {
    if tracepoint().is_none() {
        return Some("tracefs cannot be read (mount -t tracefs none /sys/kernel/tracing, as root)");
    }
    let own = Syscalls::of(std::process::id());
    own.is_none().then_some("perf_event_open is not allowed (needs CAP_PERFMON, or kernel.perf_event_paranoid -1)")
}

/// Samples of the first thread of a process, which is the one that serves.
#[derive(Debug)]
pub(crate) struct Samples {
    /// Kept so that the event goes on.
    _event: File,
    memory: NonNull<u8>,
}

/// One page that describes, and those with the samples: 8 bytes each.
const DATA_PAGES: usize = 64;

impl Samples {
    /// `None` where that is not allowed.
    pub(crate) fn of(process: u32) -> Option<Self> {
        const PERIOD_NS: u64 = 100_000;
        let event = open(SOFTWARE, CPU_CLOCK, PERIOD_NS, 0, process)?;
        // SAFETY: a new mapping, wherever the kernel likes.
        let memory = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), bytes(), access, libc::MAP_SHARED, event.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return None;
        }
        Some(Self { _event: event, memory: NonNull::new(memory.cast())? })
    }

    /// The share of samples that found user code; `None` without any sample.
    pub(crate) fn user_share(&self) -> Option<f64> {
        const HEAD: usize = 1024;
        const SAMPLE: u32 = 9;
        const USER: u16 = 2;
        // SAFETY: the kernel keeps the head there, in the first page of the mapping.
        let head = unsafe { self.memory.add(HEAD) };
        // SAFETY: it is aligned, lives as long as the mapping, and is only ever read here.
        let head = unsafe { AtomicU64::from_ptr(head.as_ptr().cast()) };
        // Acquire: pairs with the kernel's barrier before it moves the head.
        let end = (head.load(Ordering::Acquire) as usize).min(DATA_PAGES * page());
        let (mut at, mut user, mut all) = (0, 0_u32, 0_u32);
        while at + 8 <= end {
            // SAFETY: below `end`, so within the mapping.
            let header = unsafe { self.memory.add(page() + at) };
            // SAFETY: records are aligned to 8 bytes, and the kernel, which was never told that anything was read,
            //         does not write over those below the head.
            let Header { kind, mode, size } = unsafe { header.cast::<Header>().read() };
            if kind == SAMPLE {
                all += 1;
                user += u32::from(mode & 7 == USER);
            }
            at += usize::from(size).max(8);
        }
        (all > 0).then(|| f64::from(user) / f64::from(all))
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        // SAFETY: our own mapping, in its whole length; nothing points into it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), bytes()) };
    }
}

fn page() -> usize {
    // SAFETY: takes no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

fn bytes() -> usize {
    (1 + DATA_PAGES) * page()
}
