//! The operations of this thread's core: their slots, what becomes of completions, and how the core ends.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types;

use super::direct::DirectTable;
use super::slot::{Key, Queued, Slots, State};
use crate::buf::Pool;
use crate::driver::Driver;
use crate::driver::mailbox::{self, Letter};
use crate::ring::Completion;
use crate::sys::current::{self, CoreId};

thread_local! {
    static CURRENT: Cell<*const Operations> = const { Cell::new(ptr::null()) };
}

/// What the low byte of a submission's user data says.
const KIND_SLOT: u64 = 0;
/// A submission that nobody waits for: a cancel, a close in the background.
const KIND_IGNORED: u64 = 1;
/// The poll of the core's bell.
const KIND_BELL: u64 = 2;

/// How many times an operation may end at once, without the kernel's queue, before its task must wait for a turn.
const INLINE_BUDGET: u32 = 128;

/// One core's operations.
pub(crate) struct Operations {
    /// First, so that the ring is closed before slots and pools are given up.
    pub(super) driver: Rc<Driver>,
    pub(super) core: CoreId,
    pub(super) slots: RefCell<Slots>,
    pub(super) direct: DirectTable,
    pools: Vec<Arc<Pool>>,
    /// Used for one batch of completions at a time.
    batch: RefCell<Vec<Completion>>,
    inline_budget: Cell<u32>,
    unknown: Cell<u64>,
}

impl Operations {
    pub(crate) fn new(core: CoreId, driver: Rc<Driver>, pools: Vec<Arc<Pool>>) -> Self {
        Self {
            core,
            driver,
            slots: RefCell::new(Slots::new()),
            direct: DirectTable::new(),
            pools,
            batch: RefCell::new(Vec::new()),
            inline_budget: Cell::new(INLINE_BUDGET),
            unknown: Cell::new(0),
        }
    }

    /// Makes these the operations of this thread.
    ///
    /// # Safety
    ///
    /// [`uninstall`] is called, on this thread, before `self` moves or ends.
    pub(crate) unsafe fn install(&self) {
        CURRENT.set(ptr::from_ref(self));
    }

    /// Fetches what the kernel has completed and hands it on: to whoever waits, or to the end of an orphan.
    ///
    /// Returns whether the bell was rung and has to be armed again.
    pub(crate) fn dispatch(&self) -> bool {
        let mut bell = false;
        let mut batch = self.batch.take();
        self.driver.reap(&mut batch);
        for completion in batch.drain(..) {
            match completion.user_data & 0xff {
                KIND_SLOT => self.complete(key_of(completion.user_data), completion),
                KIND_BELL => bell |= !completion.more(),
                KIND_IGNORED => {}
                _ => self.unknown.set(self.unknown.get() + 1),
            }
        }
        self.batch.replace(batch);
        bell
    }

    /// One completion. Nothing is borrowed when a waker is woken or an orphan's resources are dropped.
    #[inline]
    fn complete(&self, key: Key, completion: Completion) {
        let mut slots = self.slots.borrow_mut();
        let last = !completion.more();
        let Some((header, contents)) = slots.get(key) else {
            self.unknown.set(self.unknown.get() + 1);
            return;
        };
        let vtable = header.vtable;
        match (header.state, vtable.queue) {
            (State::InFlight, None) => {
                header.result = completion.result;
                header.flags = completion.flags;
                let mut waker = None;
                if last {
                    header.state = State::Done;
                    waker = header.waker.take();
                    slots.in_flight -= 1;
                }
                drop(slots);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            (State::InFlight, Some(queue)) => {
                if last {
                    header.state = State::Done;
                    slots.in_flight -= 1;
                }
                drop(slots);
                // SAFETY: the slot holds the operation that its table was made for, and is not freed before its
                //         owner, who runs on this thread and not now, says so.
                let Queued { wakers, enough } = unsafe { queue(contents, completion) };
                if enough && !last {
                    self.cancel(key);
                }
                for waker in wakers {
                    waker.wake();
                }
            }
            (State::Orphaned, queue) => {
                if !last {
                    drop(slots);
                    if let Some(queue) = queue {
                        // SAFETY: as above; an orphan stays in its slot until its final completion.
                        unsafe { queue(contents, completion) };
                    }
                    return;
                }
                slots.in_flight -= 1;
                drop(slots);
                // SAFETY: the final completion of the operation in this slot; nobody else will take it.
                unsafe { (vtable.dispose)(contents, completion) };
                self.slots.borrow_mut().free(key.index);
            }
            (State::Done | State::Vacant, _) => self.unknown.set(self.unknown.get() + 1),
        }
    }

    /// Asks the kernel to cancel an operation. Its own completion will tell what came of that.
    pub(super) fn cancel(&self, key: Key) {
        self.submit_ignored(opcode::AsyncCancel::new(user_data(key)).build());
    }

    /// Cancels everything in flight on a descriptor.
    pub(super) fn cancel_descriptor(&self, fd: i32) {
        self.submit_ignored(opcode::AsyncCancel2::new(types::CancelBuilder::fd(types::Fd(fd)).all()).build());
    }

    /// Closes a descriptor in the background, after all that has been submitted before.
    pub(super) fn close(&self, fd: i32) {
        self.submit_ignored(opcode::Close::new(types::Fd(fd)).build());
    }

    /// Closes what is open in a direct place, likewise.
    pub(super) fn close_direct(&self, place: u32) {
        self.submit_ignored(opcode::Close::new(types::Fixed(place)).build());
    }

    /// Submits what points to nothing, and whose outcome nobody waits for.
    fn submit_ignored(&self, entry: Entry) {
        let entry = entry.flags(Flags::SKIP_SUCCESS).user_data(KIND_IGNORED);
        // SAFETY: the callers above make cancels and closes, which point to nothing.
        unsafe { self.driver.submit(entry) };
    }

    /// Lets the kernel say when the bell is rung.
    pub(crate) fn arm_bell(&self, bell: i32) {
        let entry = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32).multi(true).build().user_data(KIND_BELL);
        // SAFETY: a poll points to nothing; the bell outlives the ring.
        unsafe { self.driver.submit(entry) };
    }

    /// Deals with a letter about something of ours that was dropped on another thread.
    pub(crate) fn receive(&self, letter: Letter) {
        match letter {
            Letter::Operation { index, generation } => self.abandon(Key { index, generation }),
            Letter::Direct { index } => self.direct.give_back(index),
            Letter::Timer { .. } => {}
        }
    }

    /// A new turn of the loop has begun.
    #[inline]
    pub(crate) fn begin_turn(&self) {
        self.inline_budget.set(INLINE_BUDGET);
        for pool in &self.pools {
            pool.collect();
        }
    }

    /// The owner of an operation has gone. What it has is given up; what it has not yet becomes an orphan.
    pub(super) fn abandon(&self, key: Key) {
        let mut slots = self.slots.borrow_mut();
        let Some((header, contents)) = slots.get(key) else {
            return;
        };
        let waker = header.waker.take();
        let vtable = header.vtable;
        match header.state {
            State::InFlight => {
                header.state = State::Orphaned;
                drop(slots);
                drop(waker);
                // SAFETY: the operation that the table was made for is in the slot until its final completion, and
                //         its owner, the only other one to look at it, has gone.
                unsafe { (vtable.abandoned)(contents) };
                if vtable.cancel_on_drop {
                    self.cancel(key);
                }
            }
            State::Done => {
                let completion = Completion { user_data: user_data(key), result: header.result, flags: header.flags };
                drop(slots);
                drop(waker);
                // SAFETY: the operation is done, so the kernel is, too; its owner has gone and will not take it.
                unsafe { (vtable.dispose)(contents, completion) };
                self.slots.borrow_mut().free(key.index);
            }
            State::Orphaned | State::Vacant => {}
        }
    }

    /// The pool for `bytes`: the smallest whose buffers hold as much, or else the one with the largest.
    pub(crate) fn pool(&self, bytes: usize) -> Option<&Arc<Pool>> {
        let large_enough = self.pools.iter().filter(|pool| pool.size() as usize >= bytes);
        large_enough.min_by_key(|pool| pool.size()).or_else(|| self.pools.iter().max_by_key(|pool| pool.size()))
    }

    pub(super) fn pool_of(&self, group: u16) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.group() == group)
    }

    /// Whether an operation may still end at once in this turn.
    #[inline]
    pub(super) fn may_end_inline(&self) -> bool {
        let left = self.inline_budget.get();
        self.inline_budget.set(left.saturating_sub(1));
        left > 0
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.borrow().in_flight
    }

    /// At the end of the core: nobody will fetch anything any more.
    pub(crate) fn give_up_all(&self) {
        let keys = self.slots.borrow_mut().occupied_keys();
        for key in keys {
            self.abandon(key);
        }
    }

    /// Whether the kernel has anything of ours, or we anything for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight() > 0 || self.driver.wants_enter()
    }

    /// What the kernel would not let go of is leaked: the buffers it may still write to.
    pub(crate) fn leak_if_busy(&self) {
        if self.in_flight() > 0 {
            for pool in &self.pools {
                std::mem::forget(Arc::clone(pool));
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let slots = self.slots.borrow();
        let (enters, overflows) = self.driver.counts();
        Counts {
            in_flight: slots.in_flight,
            occupied: slots.occupied,
            slot_bytes: slots.bytes(),
            buffers_held: self.pools.iter().map(|pool| pool.held()).sum(),
            unknown_completions: self.unknown.get(),
            overflows,
            enters,
        }
    }
}

/// How a core's operations stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) in_flight: usize,
    pub(crate) occupied: usize,
    pub(crate) slot_bytes: usize,
    pub(crate) buffers_held: usize,
    pub(crate) unknown_completions: u64,
    pub(crate) overflows: u64,
    pub(crate) enters: u64,
}

/// Leaves this thread without operations.
pub(crate) fn uninstall() {
    CURRENT.set(ptr::null());
}

/// The operations of this thread's core.
#[inline]
pub(crate) fn with<R>(use_them: impl FnOnce(&Operations) -> R) -> Option<R> {
    let operations = CURRENT.get();
    if operations.is_null() {
        return None;
    }
    // SAFETY: `install` promises that they stay where they are until `uninstall` clears the pointer. Whoever is
    //         called in here does not end the runtime, which `block_on` borrows while anything runs.
    let operations = unsafe { &*operations };
    // In a forked child this thread has no core, though the pointer is still there.
    (operations.core == current::core()).then(|| use_them(operations))
}

/// The owner of an operation of `core` has gone, perhaps on another thread.
#[inline]
pub(super) fn abandon(core: CoreId, key: Key) {
    let at_home = with(|operations| {
        let home = operations.core == core;
        if home {
            operations.abandon(key);
        }
        home
    });
    if at_home != Some(true) {
        let Key { index, generation } = key;
        mailbox::send(core, Letter::Operation { index, generation });
    }
}

/// Sets the waker of an operation in flight. The old one is dropped with nothing borrowed.
#[inline]
pub(super) fn wait(operations: &Operations, key: Key, waker: &Waker) {
    let mut slots = operations.slots.borrow_mut();
    let Some((header, _)) = slots.get(key) else {
        return;
    };
    if header.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
        return;
    }
    drop(slots);
    let waker = waker.clone();
    let mut slots = operations.slots.borrow_mut();
    let old = slots.get(key).and_then(|(header, _)| header.waker.replace(waker));
    drop(slots);
    drop(old);
}

#[inline]
pub(super) fn user_data(key: Key) -> u64 {
    u64::from(key.index) << 32 | u64::from(key.generation) << 8 | KIND_SLOT
}

#[inline]
fn key_of(user_data: u64) -> Key {
    Key { index: (user_data >> 32) as u32, generation: (user_data >> 8) as u32 & 0x00ff_ffff }
}

/// Hands a submission for the operation in `key`'s slot over.
///
/// # Safety
///
/// What `entry` points to lies in that slot or is owned by what lies there.
#[inline]
pub(super) unsafe fn submit(operations: &Operations, key: Key, entry: Entry) {
    // SAFETY: the contents of a slot stay where they are until the final completion; the caller says that all that
    //         is pointed to is owned by them.
    unsafe { operations.driver.submit(entry.user_data(user_data(key))) };
}
