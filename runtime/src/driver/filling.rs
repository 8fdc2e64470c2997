//! The two fillings of the seam: the real kernel's ring, and the simulated one. Where the feature is off there is only
//! the first, and nothing is left of the choice.

use std::io;
use std::ptr::NonNull;

use io_uring::squeue::Entry;

use crate::ring::{BufferRing, Completion, Ring, Wait, passes};
#[cfg(feature = "sim")]
use crate::sim;
use crate::sys::event::Event;

#[cfg_attr(feature = "sim", allow(clippy::large_enum_variant, reason = "one of them per core; no way around"))]
pub(super) enum Filling {
    Real(Ring),
    #[cfg(feature = "sim")]
    Simulated(sim::Ring),
}

/// The same call on whichever it is.
macro_rules! either {
    ($filling:expr, $ring:ident => $call:expr) => {
        match $filling {
            Filling::Real($ring) => $call,
            #[cfg(feature = "sim")]
            Filling::Simulated($ring) => $call,
        }
    };
}

impl Filling {
    /// # Safety
    ///
    /// As for [`Ring::push`].
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &Entry) -> bool {
        // SAFETY: the caller's promise.
        either!(self, ring => unsafe { ring.push(entry) })
    }

    #[inline]
    pub(super) fn room(&mut self) -> usize {
        either!(self, ring => ring.room())
    }

    #[inline]
    pub(super) fn queued(&mut self) -> usize {
        either!(self, ring => ring.queued())
    }

    #[inline]
    pub(super) fn withholds(&mut self) -> bool {
        either!(self, ring => ring.withholds())
    }

    #[inline]
    pub(super) fn overflowing(&mut self) -> bool {
        either!(self, ring => ring.overflowing())
    }

    #[inline]
    pub(super) fn has_completions(&mut self) -> bool {
        either!(self, ring => ring.has_completions())
    }

    #[inline]
    pub(super) fn ready(&mut self) -> usize {
        either!(self, ring => ring.ready())
    }

    #[inline]
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        either!(self, ring => ring.reap(into));
    }

    /// Interruptions, time-outs and shortages that pass are no errors: whoever calls looks at the queues and the
    /// clock, never at what the call says (K7).
    #[inline]
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        match either!(self, ring => ring.enter(wait)) {
            Err(error) if !passes(&error) => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    pub(super) fn register_buffers(&mut self, buffers: &BufferRing, group: u16) -> io::Result<()> {
        match self {
            Filling::Real(ring) => ring.register_buffers(buffers, group),
            #[cfg(feature = "sim")]
            Filling::Simulated(ring) => {
                ring.register_buffers(buffers, group);
                Ok(())
            }
        }
    }

    pub(super) fn register_direct(&mut self, count: u32) -> io::Result<()> {
        match self {
            Filling::Real(ring) => ring.register_direct(count),
            #[cfg(feature = "sim")]
            Filling::Simulated(ring) => {
                ring.register_direct(count);
                Ok(())
            }
        }
    }

    pub(super) fn register_region(&mut self, number: u16, start: NonNull<u8>, bytes: usize) -> io::Result<()> {
        match self {
            Filling::Real(ring) => ring.register_region(number, start, bytes),
            #[cfg(feature = "sim")]
            Filling::Simulated(ring) => {
                ring.register_region(number, start, bytes);
                Ok(())
            }
        }
    }

    /// Nobody's threads do what a simulated kernel does.
    pub(super) fn limit_workers(&mut self, bounded: u32, unbounded: u32) -> io::Result<()> {
        match self {
            Filling::Real(ring) => ring.limit_workers(bounded, unbounded),
            #[cfg(feature = "sim")]
            Filling::Simulated(_) => Ok(()),
        }
    }

    /// A simulated core is turned by its world alone.
    pub(super) fn register_event(&mut self, event: &Event) -> io::Result<()> {
        match self {
            Filling::Real(ring) => ring.register_event(event),
            #[cfg(feature = "sim")]
            Filling::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn cancel_all(&mut self) -> io::Result<()> {
        match self {
            Filling::Real(ring) => ring.cancel_all(),
            #[cfg(feature = "sim")]
            Filling::Simulated(ring) => {
                ring.cancel_all();
                Ok(())
            }
        }
    }
}
