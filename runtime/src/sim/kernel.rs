//! How freely the simulated kernel does what a kernel may do.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The liberties of a simulated kernel: what the interface leaves open, and how often it is done in an unusual way.
///
/// All of it is allowed behaviour that a program must cope with; each is a chance from 0 (never) to 1 (always) at each
/// opportunity, and what is less or more counts as these. Times are drawn from their range, both ends included; of one
/// that ends before it begins, its beginning is taken. What breaks (errors of a disk, a network that loses) is configured apart: [`Storage`](super::Storage),
/// [`Link`](super::Link), and the controls of a [`Host`](crate::world::Host).
///
/// # Examples
///
/// ```
/// use corering_runtime::world::Kernel;
///
/// // Every transfer on a socket is cut short, and half of the calls into the kernel are interrupted.
/// let kernel = Kernel::new().short_transfers(1.0).interrupted(0.5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    pub(super) short_transfers: f64,
    pub(super) short_files: f64,
    pub(super) deferred: f64,
    pub(super) interrupted: f64,
    pub(super) refused: f64,
    pub(super) multishots_ended: f64,
    pub(super) worker_interrupted: f64,
    pub(super) not_cached: f64,
    pub(super) strangers: f64,
    pub(super) worker_ns: RangeInclusive<u64>,
    pub(super) wake_ns: RangeInclusive<u64>,
    pub(super) turn_ns: RangeInclusive<u64>,
}

impl Kernel {
    /// What worlds do unless they are told otherwise: everything that happens on a real machine now and then, and more
    /// often than there.
    pub fn new() -> Self {
        Self {
            short_transfers: 0.1,
            short_files: 0.0,
            deferred: 0.2,
            interrupted: 0.05,
            refused: 0.02,
            multishots_ended: 0.02,
            worker_interrupted: 0.02,
            not_cached: 0.1,
            strangers: 0.0,
            worker_ns: 2_000..=80_000,
            wake_ns: 1_000..=60_000,
            turn_ns: 100..=3_000,
        }
    }

    /// Nothing unusual, everything at once, and always as fast: what a quiet machine does.
    pub fn plain() -> Self {
        Self {
            short_transfers: 0.0,
            short_files: 0.0,
            deferred: 0.0,
            interrupted: 0.0,
            refused: 0.0,
            multishots_ended: 0.0,
            worker_interrupted: 0.0,
            not_cached: 0.0,
            strangers: 0.0,
            worker_ns: 5_000..=5_000,
            wake_ns: 1_000..=1_000,
            turn_ns: 500..=500,
        }
    }

    /// How often a send or receive on a stream is cut short, to at least one byte. 0.1 unless it is set.
    pub fn short_transfers(self, chance: f64) -> Self {
        Self { short_transfers: chance, ..self }
    }

    /// How often a read, write or copy of a file is cut short. 0 unless it is set: Linux does that to regular files only
    /// at their end, for want of room, or when a signal interrupts a large one. What is read directly is cut between
    /// blocks, and what may only come from the page cache between pages.
    pub fn short_files(self, chance: f64) -> Self {
        Self { short_files: chance, ..self }
    }

    /// How often what could be done at once is done later, at another call into the kernel. 0.2 unless it is set.
    pub fn deferred(self, chance: f64) -> Self {
        Self { deferred: chance, ..self }
    }

    /// How often a call into the kernel is interrupted by a signal (`EINTR`), with what it has taken in by then. 0.05
    /// unless it is set.
    pub fn interrupted(self, chance: f64) -> Self {
        Self { interrupted: chance, ..self }
    }

    /// How often a call into the kernel takes in nothing, or only a part (`EAGAIN`, `EBUSY`). 0.02 unless it is set.
    pub fn refused(self, chance: f64) -> Self {
        Self { refused: chance, ..self }
    }

    /// How often a multishot ends after a completion though nothing is wrong. 0.02 unless it is set.
    pub fn multishots_ended(self, chance: f64) -> Self {
        Self { multishots_ended: chance, ..self }
    }

    /// How often what a kernel worker was to do is not done, since it is interrupted (`EINTR`) or could not wait
    /// (`EAGAIN`). 0.02 unless it is set.
    pub fn worker_interrupted(self, chance: f64) -> Self {
        Self { worker_interrupted: chance, ..self }
    }

    /// How often what was cached has left the cache when it is read. 0.1 unless it is set.
    pub fn not_cached(self, chance: f64) -> Self {
        Self { not_cached: chance, ..self }
    }

    /// How often a call into the kernel brings a completion that belongs to nothing, or to an operation that is long over:
    /// what somebody else who has the ring's descriptor could post. 0 unless it is set.
    pub fn strangers(self, chance: f64) -> Self {
        Self { strangers: chance, ..self }
    }

    /// How long it takes until a kernel worker takes up what it is given; 2 to 80 microseconds unless it is set.
    pub fn worker_delay(self, delay: RangeInclusive<Duration>) -> Self {
        Self { worker_ns: nanoseconds(&delay), ..self }
    }

    /// How long it takes to wake a core from another one; 1 to 60 microseconds unless it is set.
    pub fn wake_delay(self, delay: RangeInclusive<Duration>) -> Self {
        Self { wake_ns: nanoseconds(&delay), ..self }
    }

    /// How much time passes in a turn of a core, in which it runs what is ready; 0.1 to 3 microseconds unless it is set.
    pub fn turn_time(self, time: RangeInclusive<Duration>) -> Self {
        Self { turn_ns: nanoseconds(&time), ..self }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn nanoseconds(range: &RangeInclusive<Duration>) -> RangeInclusive<u64> {
    let ns = |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4);
    ns(range.start())..=ns(range.end())
}
