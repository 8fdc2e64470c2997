//! The seam to the kernel: everything that a core submits, fetches or waits for goes through here, and so does the
//! time that it goes by.
//!
//! ```text
//! operations --submit--> backlog --> submission queue --enter--> kernel
//! executor   <--reap---  completion queue <----------------------+
//! ```
//!
//! The narrow part is [`Kernel`]: `submit`, `reap`, `enter`. Another filling of it (a simulated kernel) needs no
//! change anywhere else; the clock has two fillings already, the real one and the paused one.
//!
//! Invariant: a submission that was accepted here reaches the kernel, in order, even when the queue is full; nothing
//! else runs while the driver is borrowed.

pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod file_calls;
mod filling;
pub(crate) mod folder_calls;
pub(crate) mod host;
mod kernel;
pub(crate) mod mailbox;
pub(crate) mod passing_calls;
pub(crate) mod socket_calls;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use io_uring::squeue::Entry;

use self::filling::Filling;
use self::host::Host;
use self::kernel::Kernel;
pub(crate) use self::kernel::Link;
use crate::buf::Pool;
use crate::error::SetupError;
use crate::ring::diagnose;
use crate::ring::{Completion, Ring};
pub(crate) use crate::ring::{Sizes, Wait};
#[cfg(feature = "sim")]
use crate::sim;

/// Random reads of 4 KiB, 32 at a time: 0.85 of the device's best if all begin at the end of a turn, 1.0 if each or
/// every few begin at once, at 1.5 and 1.2 of the time (measured).
const MOST_EARLY: usize = 4;

/// One core's way to the kernel.
pub(crate) struct Driver {
    kernel: RefCell<Kernel>,
    sizes: Sizes,
    /// So many queued submissions are begun early.
    early: Cell<usize>,
    enters: Cell<u64>,
    overflows: Cell<u64>,
    host: OnceCell<Arc<Host>>,
}

impl Driver {
    /// On the real kernel.
    pub(crate) fn new(sizes: Sizes) -> Result<Self, SetupError> {
        Ok(Self::on(Filling::Real(Ring::new(sizes)?), sizes))
    }

    /// On a simulated one.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(place: &sim::Place, sizes: Sizes) -> Result<Self, SetupError> {
        sizes.check()?;
        Ok(Self::on(Filling::Simulated(sim::Ring::new(place, sizes)), sizes))
    }

    fn on(filling: Filling, sizes: Sizes) -> Self {
        let kernel = RefCell::new(Kernel::new(filling));
        Self {
            kernel,
            sizes,
            early: Cell::new(1),
            enters: Cell::new(0),
            overflows: Cell::new(0),
            host: OnceCell::new(),
        }
    }

    /// Takes a submission. It goes to the kernel with the next [`enter`](Self::enter).
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`]: what `entry` points to stays valid until its final completion has been reaped.
    #[inline]
    pub(crate) unsafe fn submit(&self, entry: Entry) {
        // SAFETY: the caller's promise is the kernel's.
        unsafe { self.kernel.borrow_mut().submit(entry) };
    }

    /// Takes several submissions that are linked: they go to the kernel in one call.
    ///
    /// # Safety
    ///
    /// As for [`submit`](Self::submit), for each of them.
    pub(crate) unsafe fn submit_linked(&self, entries: &[Entry]) {
        // SAFETY: the caller's promise is the kernel's.
        unsafe { self.kernel.borrow_mut().submit_linked(entries) };
    }

    /// Lets the kernel begin early with what is queued, of a turn that queues much for a disk: the disk would else have
    /// nothing to do until the turn has ended, and much at once after it.
    ///
    /// The first is begun alone, and then a few at a time. An error is not lost: the loop's own next enter meets it.
    #[inline]
    pub(crate) fn begin_early(&self) {
        let early = self.early.get();
        if self.kernel.borrow_mut().ring.queued() >= early {
            self.early.set((2 * early).min(MOST_EARLY));
            let _ = self.enter(Wait::No);
        }
    }

    /// A new turn of the loop has begun.
    #[inline]
    pub(crate) fn begin_turn(&self) {
        self.early.set(1);
    }

    /// Whether an [`enter`](Self::enter) has anything to do: submissions wait, or completions are held back.
    #[inline]
    pub(crate) fn wants_enter(&self) -> bool {
        self.kernel.borrow_mut().wants_enter()
    }

    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        self.kernel.borrow_mut().has_completions()
    }

    /// How many completions lie ready.
    pub(crate) fn ready(&self) -> usize {
        self.kernel.borrow_mut().ready()
    }

    /// Submits, lets completions happen, and waits for one if asked to.
    pub(crate) fn enter(&self, wait: Wait) -> io::Result<()> {
        self.enters.set(self.enters.get() + 1);
        let mut kernel = self.kernel.borrow_mut();
        if kernel.overflowing() {
            self.overflows.set(self.overflows.get() + 1);
        }
        let entered = kernel.enter(wait);
        #[cfg(feature = "sim")]
        if let Filling::Simulated(ring) = &kernel.ring {
            clock::simulate(ring.now_ns());
        }
        entered
    }

    /// Copies out what lies ready.
    #[inline]
    pub(crate) fn reap(&self, into: &mut Vec<Completion>) {
        self.kernel.borrow_mut().reap(into);
    }

    pub(crate) fn register_pool(&self, pool: &Pool) -> Result<(), SetupError> {
        pool.register(|ring, group| self.kernel.borrow_mut().ring.register_buffers(ring, group))
            .map_err(|error| diagnose::register("register pooled buffers", error, self.sizes, pool.bytes()))
    }

    /// Limits the kernel's worker threads of this thread. 0 leaves a limit as it is.
    pub(crate) fn limit_workers(&self, bounded: u32, unbounded: u32) -> Result<(), SetupError> {
        let limited = self.kernel.borrow_mut().ring.limit_workers(bounded, unbounded);
        limited.map_err(|source| SetupError::Other { action: "limit the kernel's worker threads", source })
    }

    pub(crate) fn register_direct(&self, count: u32) -> io::Result<()> {
        self.kernel.borrow_mut().ring.register_direct(count)
    }

    /// Makes a region of memory known, by a number below [`Ring::REGIONS`].
    pub(crate) fn register_region(&self, number: u16, start: NonNull<u8>, bytes: usize) -> io::Result<()> {
        self.kernel.borrow_mut().ring.register_region(number, start, bytes)
    }

    /// Has the host called whenever there is something to fetch, and lets others find it by [`host`](Self::host).
    pub(crate) fn register_host(&self, host: Arc<Host>) -> io::Result<()> {
        self.kernel.borrow_mut().ring.register_event(host.event())?;
        // Registered once, when the core is made: the kernel takes no second event.
        drop(self.host.set(host));
        Ok(())
    }

    /// The loop of somebody else that turns this core, if that is how it was made.
    #[inline]
    pub(crate) fn host(&self) -> Option<&Arc<Host>> {
        self.host.get()
    }

    pub(crate) fn cancel_all(&self) -> io::Result<()> {
        self.kernel.borrow_mut().ring.cancel_all()
    }

    /// The number of its ring in the world, if it is simulated.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated_ring(&self) -> Option<usize> {
        match &self.kernel.borrow().ring {
            Filling::Real(_) => None,
            Filling::Simulated(ring) => Some(ring.number()),
        }
    }

    /// How often the kernel was entered, and how often completions had overflowed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.enters.get(), self.overflows.get())
    }
}
