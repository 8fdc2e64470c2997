//! A simulated ring, as the driver knows it: the same calls as on a real one.

use std::cell::RefCell;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use io_uring::squeue::Entry;

use super::memory::Area;
use super::place::Place;
use super::queues::Queues;
use super::state::State;
use super::submission::Which;
use crate::ring::{BufferRing, Completion, Sizes, Wait};

/// One core's ring in a world.
pub(crate) struct Ring {
    world: Rc<RefCell<State>>,
    ring: usize,
}

impl Ring {
    pub(crate) fn new(place: &Place, sizes: Sizes) -> Self {
        let Place { world, host, core } = place.clone();
        let mut state = world.borrow_mut();
        let ring = state.rings.len();
        let (submissions, completions) = (sizes.submissions.next_power_of_two().max(8), sizes.completions.max(16));
        state.rings.push(Queues::new(host, core, submissions, completions));
        drop(state);
        Self { world, ring }
    }

    /// Its number in the world.
    pub(crate) fn number(&self) -> usize {
        self.ring
    }

    fn queues<R>(&self, look: impl FnOnce(&mut Queues) -> R) -> R {
        look(&mut self.world.borrow_mut().rings[self.ring])
    }

    /// # Safety
    ///
    /// As for a real ring: what `entry` points to stays valid, and untouched where the kernel writes, until its final
    /// completion has been reaped.
    pub(crate) unsafe fn push(&mut self, entry: &Entry) -> bool {
        self.queues(|queues| {
            let room = queues.room() > 0;
            if room {
                queues.submitted.push_back(entry.clone());
            }
            room
        })
    }

    pub(crate) fn room(&mut self) -> usize {
        self.queues(|queues| queues.room())
    }

    pub(crate) fn queued(&mut self) -> usize {
        self.queues(|queues| queues.submitted.len())
    }

    pub(crate) fn withholds(&mut self) -> bool {
        self.queues(|queues| !queues.due.is_empty() || queues.flag_lies || !queues.overflowed.is_empty())
    }

    pub(crate) fn overflowing(&mut self) -> bool {
        self.queues(|queues| !queues.overflowed.is_empty())
    }

    pub(crate) fn has_completions(&mut self) -> bool {
        self.queues(|queues| !queues.completed.is_empty())
    }

    pub(crate) fn ready(&mut self) -> usize {
        self.queues(|queues| queues.completed.len())
    }

    pub(crate) fn reap(&mut self, into: &mut Vec<Completion>) {
        self.queues(|queues| into.extend(queues.completed.drain(..)));
    }

    pub(crate) fn register_buffers(&mut self, buffers: &BufferRing, group: u16) {
        self.queues(|queues| queues.register(group, buffers.address(), buffers.entries()));
    }

    pub(crate) fn register_direct(&mut self, count: u32) {
        self.queues(|queues| queues.direct.resize(count as usize, None));
    }

    pub(crate) fn register_region(&mut self, number: u16, start: NonNull<u8>, bytes: usize) {
        let region = Area { address: start.as_ptr().expose_provenance() as u64, len: bytes };
        self.queues(|queues| queues.register_region(number, region));
    }

    pub(crate) fn cancel_all(&mut self) {
        self.world.borrow_mut().cancel(self.ring, Which::All, usize::MAX);
    }

    /// Time of the world, in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        self.world.borrow().now_ns()
    }

    /// Submits, lets completions happen, and, if asked, waits for one: then time passes, and other cores stand still.
    ///
    /// # Errors
    ///
    /// What a real one says; and, if it was to wait, why the run cannot go on.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let mut state = self.world.borrow_mut();
        let mut entered = state.enter(self.ring, None);
        let until = match wait {
            Wait::No => state.now_ns(),
            Wait::Until(ns) => ns,
            Wait::Forever => u64::MAX,
        };
        while wait != Wait::No && state.rings[self.ring].completed.is_empty() && entered.is_ok() {
            state.look_at_bells();
            if state.rings[self.ring].has_news() {
                // A burst that ends a wait gives one completion (K2).
                entered = state.enter(self.ring, Some(1));
                continue;
            }
            match state.next_event_ns() {
                Some(next) if next <= until => state.advance_to(next),
                _ if until == u64::MAX => {
                    state.fail("nothing can ever happen again".to_owned());
                }
                _ => {
                    state.advance_to(until);
                    break;
                }
            }
            if state.fatal().is_some() {
                break;
            }
        }
        match (state.fatal(), entered) {
            (Some(reason), _) if wait != Wait::No => Err(io::Error::other(reason)),
            (_, entered) => entered.map_err(io::Error::from),
        }
    }
}

impl Queues {
    fn room(&self) -> usize {
        self.submissions - self.submitted.len()
    }
}

impl Drop for Ring {
    /// The kernel ends what is left without touching what its owner may have freed; see `Runtime`'s drop, which waits
    /// for it before.
    fn drop(&mut self) {
        let mut state = self.world.borrow_mut();
        state.kill_ring(self.ring);
        let Queues { host, core, .. } = state.rings[self.ring];
        state.close_bell(host, core);
    }
}
