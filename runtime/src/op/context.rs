//! The operations of this thread's core: their slots, what becomes of completions, and how the core ends.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::task::Waker;

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

use super::changes::NameChanges;
use super::direct::DirectTable;
use super::handing::{Batch, Ended, Freed, Left};
use super::passing::Pipes;
use super::slot::{Contents, Key, Queued, Slots, State, Vtable};
use crate::buf::{OwnedPool, Pool, Regions};
use crate::driver::mailbox::{self, Letter};
use crate::driver::{Driver, calls};
use crate::ring::Completion;
use crate::sys::current::{self, CoreId};
use crate::sys::wake::wake_all;

thread_local! {
    static CURRENT: Cell<*const Operations> = const { Cell::new(ptr::null()) };
}

/// What the low byte of a submission's user data says.
const KIND_SLOT: u64 = 0;
/// A submission that nobody waits for: a cancel, the close of a direct place.
const KIND_IGNORED: u64 = 1;
/// The poll of the core's bell.
const KIND_BELL: u64 = 2;
/// The close of a descriptor in the background. The descriptor stands above.
const KIND_CLOSE: u64 = 3;
/// The cancel of an orphan that begins about now. Its key stands above.
const KIND_CANCEL_BEGUN: u64 = 4;

/// How many operations may end at once, without the kernel's queue, before their task must give way.
const SHARE: u32 = 32;
/// And how many of all tasks, before the loop looks at the kernel again.
const SHARES: u32 = 256;

/// One core's operations.
pub(crate) struct Operations {
    /// First, so that the ring is closed before slots and pools are given up.
    pub(super) driver: Rc<Driver>,
    pub(super) core: CoreId,
    pub(super) slots: RefCell<Slots>,
    pub(super) direct: DirectTable,
    pub(super) names: NameChanges,
    pub(super) pipes: Pipes,
    pools: Vec<OwnedPool>,
    regions: Regions,
    /// Completions that were fetched and not yet handed on.
    batch: RefCell<Vec<Completion>>,
    /// Closes in the background that have not ended.
    closing: Cell<usize>,
    /// The loop runs: only then may operations be polled.
    running: Cell<bool>,
    /// The core is ending: nothing is begun again.
    ending: Cell<bool>,
    /// How many more may end at once for the running task.
    share: Cell<u32>,
    /// And for all tasks of this turn.
    shares: Cell<u32>,
    unknown: Cell<u64>,
}

impl Operations {
    pub(crate) fn new(core: CoreId, driver: Rc<Driver>, pools: Vec<OwnedPool>) -> Self {
        Self {
            core,
            driver,
            slots: RefCell::new(Slots::new()),
            direct: DirectTable::new(),
            names: NameChanges::default(),
            pipes: Pipes::default(),
            pools,
            regions: Regions::new(core),
            batch: RefCell::new(Vec::new()),
            closing: Cell::new(0),
            running: Cell::new(false),
            ending: Cell::new(false),
            share: Cell::new(SHARE),
            shares: Cell::new(SHARES),
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
        self.regions.install();
    }

    /// Fetches what the kernel has completed and hands it on: to whoever waits, or to the end of an orphan.
    ///
    /// Returns whether the bell was rung and has to be armed again.
    pub(crate) fn dispatch(&self) -> bool {
        let mut bell = false;
        let mut batch = Batch::of(&self.batch);
        self.driver.reap(&mut batch.completions);
        while let Some(completion) = batch.next() {
            match completion.user_data & 0xff {
                KIND_SLOT => self.complete(key_of(completion.user_data), completion),
                KIND_BELL => bell |= !completion.more(),
                KIND_CLOSE => self.closed((completion.user_data >> 8) as i32, completion),
                KIND_CANCEL_BEGUN if completion.result == -libc::ENOENT => {
                    self.cancel_begun(key_of(completion.user_data));
                }
                KIND_IGNORED | KIND_CANCEL_BEGUN => {}
                _ => self.unknown.set(self.unknown.get() + 1),
            }
        }
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
                header.note(completion);
                let mut waker = None;
                let mut next = None;
                if last {
                    header.state = State::Done;
                    waker = header.waker.take();
                    next = header.take_next();
                    slots.in_flight -= 1;
                }
                drop(slots);
                if let Some(next) = next {
                    self.begun(next);
                }
                if let Some(waker) = waker {
                    waker.wake();
                }
                if !last {
                    // SAFETY: the slot holds the operation that its table was made for, and its owner, who runs on this
                    //         thread and not now, has not taken it.
                    unsafe { (vtable.has_result)(contents, completion) };
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
                wake_all(wakers.into_iter());
            }
            (State::Orphaned, queue) => {
                let mut completion = completion;
                if queue.is_none() {
                    header.note(completion);
                    (completion.result, completion.flags) = (header.result, header.flags);
                }
                if !last {
                    drop(slots);
                    if let Some(queue) = queue {
                        // SAFETY: as above; an orphan stays in its slot until its final completion.
                        unsafe { queue(contents, completion) };
                    } else {
                        // SAFETY: as above.
                        unsafe { (vtable.has_result)(contents, completion) };
                    }
                    return;
                }
                let next = header.take_next();
                drop(slots);
                if let Some(next) = next {
                    self.begun(next);
                }
                if self.resume(key, vtable, contents, completion) {
                    return;
                }
                self.slots.borrow_mut().in_flight -= 1;
                let freed = Freed(key);
                // SAFETY: the final completion of the operation in this slot; nobody else will take it.
                let dispose = || unsafe { (vtable.dispose)(contents, completion) };
                // Nobody waits for it, so nobody is to be hit by what its destructor does; the hook has printed it.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(dispose)) {
                    std::mem::forget(payload);
                }
                drop(freed);
            }
            (State::Done | State::Resting | State::Leaving | State::Vacant, _) => {
                self.unknown.set(self.unknown.get() + 1)
            }
        }
    }

    /// An orphan that changes something and has done a part goes on with the rest. False if it is over.
    fn resume(&self, key: Key, vtable: &Vtable, contents: Contents, completion: Completion) -> bool {
        let Some(resume) = vtable.resume.filter(|_| !self.ending.get()) else {
            return false;
        };
        // SAFETY: the operation is in its slot, the kernel has let go of it, and its owner has gone.
        let Some(entry) = (unsafe { resume(contents, completion) }) else {
            return false;
        };
        // SAFETY: the entry was made by the operation in this slot.
        unsafe { submit(self, key, entry) };
        self.call_host();
        true
    }

    /// The operation in this slot was linked to one that has just ended, so it begins now. If its owner went before,
    /// the cancel from then found nothing; nor does one that reaches the kernel before it has begun there, which is
    /// after its predecessor's completion: then it is cancelled again (K44).
    #[cold]
    fn begun(&self, index: u32) {
        let key = self.slots.borrow_mut().orphan(index).map(|(key, _)| key);
        if let Some(key) = key {
            self.cancel_begun(key);
        }
    }

    #[cold]
    fn cancel_begun(&self, key: Key) {
        let orphan = self.slots.borrow_mut().orphan(key.index);
        if let Some((orphan, vtable)) = orphan {
            if orphan == key && vtable.cancel_on_drop {
                let cancel = opcode::AsyncCancel::new(user_data(key)).build().flags(Flags::SKIP_SUCCESS);
                // SAFETY: a cancel points to nothing.
                unsafe { self.driver.submit(cancel.user_data(user_data(key) | KIND_CANCEL_BEGUN)) };
            }
        }
    }

    /// A close in the background has ended; one that never ran is done here.
    fn closed(&self, fd: i32, completion: Completion) {
        self.closing.set(self.closing.get() - 1);
        if completion.result == -libc::ECANCELED {
            // SAFETY: the last holder handed it over to be closed, and the kernel has not done it.
            let closed = unsafe { calls::close(fd) };
            // Nobody is left who could be told.
            drop(closed);
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
        self.call_host();
        self.closing.set(self.closing.get() + 1);
        let entry = opcode::Close::new(types::Fd(fd)).build().user_data((fd as u64) << 8 | KIND_CLOSE);
        // SAFETY: a close points to nothing.
        unsafe { self.driver.submit(entry) };
    }

    /// Closes what is open in a direct place, likewise.
    pub(super) fn close_direct(&self, place: u32) {
        self.submit_ignored(opcode::Close::new(types::Fixed(place)).build());
    }

    /// What is submitted while the loop does not run would wait for its next turn.
    #[inline]
    fn call_host(&self) {
        if !self.running.get() {
            if let Some(host) = self.driver.host() {
                host.call();
            }
        }
    }

    /// Submits what points to nothing, and whose outcome nobody waits for.
    fn submit_ignored(&self, entry: Entry) {
        self.call_host();
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
            Letter::Operation { index, generation } => self.abandon(Key { index, generation }).dispose(),
            Letter::Direct { index } => self.release_direct(index),
            Letter::Timer { .. } => {}
        }
    }

    /// A new turn of the loop has begun.
    #[inline]
    pub(crate) fn begin_turn(&self) {
        self.shares.set(SHARES);
        self.driver.begin_turn();
        for pool in &self.pools {
            pool.collect();
        }
    }

    /// The owner of an operation has gone. What is in flight becomes an orphan; what has ended is left to the caller.
    fn abandon(&self, key: Key) -> Left {
        let mut slots = self.slots.borrow_mut();
        let Some((header, contents)) = slots.get(key) else {
            return Left::default();
        };
        let waker = header.waker.take();
        let vtable = header.vtable;
        let mut ended = None;
        match header.state {
            State::InFlight => {
                header.state = State::Orphaned;
                drop(slots);
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
                if self.resume(key, vtable, contents, completion) {
                    let mut slots = self.slots.borrow_mut();
                    slots.in_flight += 1;
                    if let Some((header, _)) = slots.get(key) {
                        header.state = State::Orphaned;
                    }
                    drop(slots);
                    // SAFETY: as above.
                    unsafe { (vtable.abandoned)(contents) };
                } else {
                    if let Some((header, _)) = self.slots.borrow_mut().get(key) {
                        header.state = State::Leaving;
                    }
                    ended = Some(Ended { key, vtable, contents, completion });
                }
            }
            State::Resting => {
                header.state = State::Leaving;
                slots.resting -= 1;
                ended = Some(Ended { key, vtable, contents, completion: Completion::made_up(-libc::ECANCELED) });
            }
            State::Orphaned | State::Leaving | State::Vacant => {}
        }
        Left { waker, ended }
    }

    /// Ends an operation that was placed and never handed to the kernel.
    pub(super) fn end(&self, key: Key, result: i32) {
        let mut slots = self.slots.borrow_mut();
        slots.in_flight -= 1;
        if let Some((header, _)) = slots.get(key) {
            header.state = State::Done;
            header.result = result;
            header.flags = 0;
        }
    }

    /// The pool for `bytes`: the smallest whose buffers hold as much, or else the one with the largest.
    pub(crate) fn pool(&self, bytes: usize) -> Option<&Pool> {
        let pools = || self.pools.iter().map(|pool| &**pool);
        let large_enough = pools().filter(|pool| pool.size() as usize >= bytes);
        large_enough.min_by_key(|pool| pool.size()).or_else(|| pools().max_by_key(|pool| pool.size()))
    }

    #[inline]
    pub(super) fn pool_of(&self, group: u16) -> Option<&Pool> {
        // Groups are numbered as the pools stand.
        self.pools.get(usize::from(group)).map(|pool| &**pool)
    }

    /// A task begins to run. False if this turn's tasks have had enough.
    #[inline]
    pub(crate) fn begin_share(&self) -> bool {
        self.share.set(SHARE);
        self.shares.get() > 0
    }

    /// Whether one more operation of the running task may end at once.
    #[inline]
    pub(super) fn take_share(&self) -> bool {
        let left = self.share.get();
        self.share.set(left.saturating_sub(1));
        self.shares.set(self.shares.get().saturating_sub(1));
        left > 0
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.borrow().in_flight
    }

    /// At the end of the core: nobody will fetch anything any more.
    pub(crate) fn give_up_all(&self) {
        self.ending.set(true);
        self.pipes.end();
        let keys = self.slots.borrow_mut().occupied_keys();
        for key in keys {
            self.abandon(key).dispose();
        }
    }

    /// The loop begins or ends.
    pub(crate) fn set_running(&self, running: bool) {
        self.running.set(running);
    }

    /// Whether operations may be polled.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.running.get()
    }

    /// Whether the kernel has anything of ours, or we anything for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.awaits_completions() || self.driver.wants_enter()
    }

    /// Whether the kernel is going to say something.
    pub(crate) fn awaits_completions(&self) -> bool {
        self.in_flight() > 0 || self.closing.get() > 0
    }

    /// What the kernel would not let go of is leaked: the buffers it may still write to.
    pub(crate) fn leak_if_busy(&self) {
        if self.in_flight() > 0 {
            for pool in &self.pools {
                pool.leak();
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let slots = self.slots.borrow();
        let (enters, overflows) = self.driver.counts();
        Counts {
            in_flight: slots.in_flight,
            occupied: slots.occupied - slots.resting,
            slot_bytes: slots.bytes(),
            buffers_held: self.pools.iter().map(|pool| pool.held()).sum(),
            pipes_kept: self.pipes.count(),
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
    pub(crate) pipes_kept: usize,
    pub(crate) unknown_completions: u64,
    pub(crate) overflows: u64,
    pub(crate) enters: u64,
}

/// Leaves this thread without operations, if these are its.
pub(crate) fn uninstall(operations: &Operations) {
    if ptr::eq(CURRENT.get(), operations) {
        CURRENT.set(ptr::null());
    }
    operations.regions.uninstall();
}

/// The operations of this thread's core.
#[inline]
pub(crate) fn with<R>(use_them: impl FnOnce(&Operations) -> R) -> Option<R> {
    let operations = CURRENT.get();
    if operations.is_null() {
        return None;
    }
    // SAFETY: `install` promises that they stay where they are until `uninstall` clears the pointer. Nobody ends the
    //         runtime in here: while its loop runs, `block_on` borrows it; otherwise no code of others is called.
    let operations = unsafe { &*operations };
    // In a forked child this thread has no core, though the pointer is still there.
    (operations.core == current::core()).then(|| use_them(operations))
}

/// The owner of an operation of `core` has gone, perhaps on another thread.
#[inline]
pub(super) fn abandon(core: CoreId, key: Key) {
    let left = with(|operations| (operations.core == core).then(|| operations.abandon(key))).flatten();
    match left {
        Some(left) => left.dispose(),
        None => {
            let Key { index, generation } = key;
            mailbox::send(core, Letter::Operation { index, generation });
        }
    }
}

/// Sets the waker of an operation that has just been placed, and has none.
#[inline]
pub(super) fn begin_to_wait(operations: &Operations, key: Key, waker: Waker) {
    operations.slots.borrow_mut().set_first_waker(key.index, waker);
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
pub(super) fn key_of(user_data: u64) -> Key {
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
