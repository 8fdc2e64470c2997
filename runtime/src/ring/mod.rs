//! The ring: one submission queue, one completion queue, owned by one thread.
//!
//! Set up for a single issuer with deferred task work: completions appear only while this thread is inside
//! `io_uring_enter` and asks for events, so nothing interrupts it in between. The flag that says 'there is something
//! to fetch' is switched on too, so a turn with nothing to do makes no call.
//!
//! Invariant: what was pushed is live, whatever a later `enter` returns; it is given up only by its final completion.

mod buffer_ring;
pub(crate) mod diagnose;
mod probe;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use io_uring::squeue::Entry;
use io_uring::{IoUring, cqueue};

pub(crate) use self::buffer_ring::BufferRing;
pub use self::probe::{Probe, probe};
use crate::error::SetupError;
use crate::sys::clock::monotonic_ns;
use crate::sys::enter::{Enter, Until, enter};
use crate::sys::event::Event;

/// What the kernel says of one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub(crate) user_data: u64,
    /// The result: what the system call of the same name returns, or a negated error number.
    pub result: i32,
    /// The completion's flags (`IORING_CQE_F_*`).
    pub flags: u32,
}

impl Completion {
    /// A flag that the kernel does not know: what was to be sent without being copied was copied.
    pub(crate) const COPIED: u32 = 1 << 14;

    /// A completion that no ring has given: for an operation that ends without one.
    pub(crate) fn made_up(result: i32) -> Self {
        Self { user_data: 0, result, flags: 0 }
    }

    /// The result as a number of bytes (or whatever the operation counts), or the error.
    ///
    /// # Errors
    ///
    /// The operating system's error that a negative result stands for.
    #[inline]
    pub fn to_result(self) -> io::Result<u32> {
        if self.result < 0 { Err(io::Error::from_raw_os_error(-self.result)) } else { Ok(self.result as u32) }
    }

    /// Whether more completions of the same submission will follow.
    #[inline]
    pub fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The pooled buffer that the kernel filled, if it took one.
    #[inline]
    pub fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// Sizes of the two queues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) submissions: u32,
    pub(crate) completions: u32,
}

impl Sizes {
    const LARGEST: u32 = 32768;

    pub(crate) fn check(self) -> Result<(), SetupError> {
        let possible = (1..=Self::LARGEST).contains(&self.submissions)
            && (self.submissions..=2 * Self::LARGEST).contains(&self.completions);
        if possible { Ok(()) } else { Err(SetupError::InvalidEntries { entries: self.submissions }) }
    }

    fn at_least(self, entries: u32) -> Self {
        Self { submissions: self.submissions.max(entries), completions: self.completions.max(2 * entries) }
    }

    /// What the kernel charges for both queues.
    fn locked_bytes(self) -> u64 {
        let submissions = u64::from(self.submissions.next_power_of_two()) * 64;
        let completions = u64::from(self.completions.next_power_of_two()) * 16;
        submissions + completions + 4096
    }
}

pub(crate) struct Ring {
    io: IoUring,
    absolute_waits: bool,
    no_iowait: bool,
    /// There is a table of regions.
    has_regions: bool,
}

impl Ring {
    /// How many regions of memory the kernel may be told of.
    pub(crate) const REGIONS: u32 = 128;

    /// The shortest submission queue: the longest chain has room in it, and so it is not cut.
    const SHORTEST: u32 = 8;

    /// Makes a ring for this thread.
    ///
    /// When locked memory is short, smaller queues are tried before it gives up: a small ring works, only with more
    /// calls.
    pub(crate) fn new(wanted: Sizes) -> Result<Self, SetupError> {
        wanted.check()?;
        let smaller = [
            wanted,
            Sizes { submissions: wanted.submissions.min(256), completions: wanted.completions.min(1024) },
            Sizes { submissions: wanted.submissions.min(64), completions: wanted.completions.min(256) },
        ];
        let mut result = Self::with_sizes(wanted);
        for sizes in smaller {
            match result {
                Err(ref error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                    result = Self::with_sizes(sizes);
                }
                Ok(_) | Err(_) => break,
            }
        }
        result.map_err(|error| diagnose::setup(error, wanted))
    }

    /// With the array between queue and submissions left out where the kernel can (since 6.6).
    fn with_sizes(sizes: Sizes) -> io::Result<Self> {
        let sizes = sizes.at_least(Self::SHORTEST);
        let io = match Self::builder(sizes).setup_no_sqarray().build(sizes.submissions) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Self::builder(sizes).build(sizes.submissions)?
            }
            other => other?,
        };
        Ok(Self {
            // The same release (6.12) brought both, and only one of them has a feature bit.
            absolute_waits: io.params().is_feature_min_timeout(),
            no_iowait: io.params().is_feature_no_iowait(),
            has_regions: false,
            io,
        })
    }

    fn builder(sizes: Sizes) -> io_uring::Builder {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(sizes.completions);
        builder
    }

    /// Queues a submission. False if the queue is full.
    ///
    /// # Safety
    ///
    /// Everything that `entry` points to stays valid, and untouched where the kernel writes, until its final
    /// completion has been reaped.
    #[inline]
    pub(crate) unsafe fn push(&mut self, entry: &Entry) -> bool {
        let mut queue = self.io.submission();
        // SAFETY: the caller's promise is the one that the queue asks for.
        unsafe { queue.push(entry) }.is_ok()
    }

    /// How many submissions fit in.
    pub(crate) fn room(&mut self) -> usize {
        let queue = self.io.submission();
        queue.capacity() - queue.len()
    }

    /// How many submissions the kernel has not taken yet.
    #[inline]
    pub(crate) fn queued(&mut self) -> usize {
        self.io.submission().len()
    }

    /// Whether the kernel holds completions back until it is entered.
    #[inline]
    pub(crate) fn withholds(&mut self) -> bool {
        let queue = self.io.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    pub(crate) fn overflowing(&mut self) -> bool {
        self.io.submission().cq_overflow()
    }

    /// Whether completions lie ready.
    #[inline]
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.io.completion().is_empty()
    }

    /// How many completions lie ready.
    pub(crate) fn ready(&mut self) -> usize {
        self.io.completion().len()
    }

    /// Copies out all completions that lie ready.
    #[inline]
    pub(crate) fn reap(&mut self, into: &mut Vec<Completion>) {
        into.extend(self.io.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    /// Submits all, lets deferred completions happen, and, if asked, waits for one until `deadline_ns`.
    ///
    /// # Errors
    ///
    /// What the call says; see [`passes`].
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let (wait, until) = match wait {
            Wait::No => (false, None),
            Wait::Forever => (true, None),
            Wait::Until(ns) if self.absolute_waits => (true, Some(Until::At(ns))),
            Wait::Until(ns) => (true, Some(Until::In(ns.saturating_sub(monotonic_ns())))),
        };
        let call = Enter { submit: self.queued() as u32, wait, until, no_iowait: self.no_iowait };
        enter(self.fd(), call).map(drop)
    }

    /// Hands the kernel a ring of buffers to pick from.
    pub(crate) fn register_buffers(&mut self, buffers: &BufferRing, group: u16) -> io::Result<()> {
        // SAFETY: the entries' memory belongs to `buffers`, which the pool keeps until after this ring is closed.
        unsafe { self.io.submitter().register_buf_ring_with_flags(buffers.address(), buffers.entries(), group, 0) }
    }

    /// Makes a table of `count` empty places for direct descriptors.
    pub(crate) fn register_direct(&mut self, count: u32) -> io::Result<()> {
        self.io.submitter().register_files_sparse(count)
    }

    /// Has `event` rung whenever there is something to fetch: by polling the ring itself nobody is told of it (K48).
    pub(crate) fn register_event(&mut self, event: &Event) -> io::Result<()> {
        self.io.submitter().register_eventfd(event.raw())
    }

    /// Makes a region of memory known, so that the kernel keeps its pages at hand. They count as locked memory.
    ///
    /// The kernel holds the pages themselves, not the addresses: whatever becomes of the mapping, it writes nowhere else.
    pub(crate) fn register_region(&mut self, number: u16, start: NonNull<u8>, bytes: usize) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_regions, true) {
            self.io.submitter().register_buffers_sparse(Self::REGIONS)?;
        }
        let region = libc::iovec { iov_base: start.as_ptr().cast(), iov_len: bytes };
        // SAFETY: the memory is a region's (`buf::aligned`), which lives as long as anybody has a buffer of it, and only
        //         operations that own one name it.
        unsafe { self.io.submitter().register_buffers_update(u32::from(number), &[region], None) }
    }

    /// Limits the kernel's worker threads: for what ends by itself, and for what may wait for ever. 0 leaves a limit as it
    /// is.
    pub(crate) fn limit_workers(&mut self, bounded: u32, unbounded: u32) -> io::Result<()> {
        self.io.submitter().register_iowq_max_workers(&mut [bounded, unbounded])
    }

    /// Cancels everything that is in flight.
    pub(crate) fn cancel_all(&mut self) -> io::Result<()> {
        let all = io_uring::types::CancelBuilder::any();
        match self.io.submitter().register_sync_cancel(None, all) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `io` owns the descriptor and lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.io.as_raw_fd()) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

/// Whether an error of [`enter`](Ring::enter) passes by itself: an interruption, a time-out, a shortage. What had been
/// queued is still there, or was taken in.
#[cold]
pub(crate) fn passes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY))
}

/// Whether an [`enter`](Ring::enter) waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Forever,
    /// Until that time of the monotonic clock, in nanoseconds.
    Until(u64),
}
