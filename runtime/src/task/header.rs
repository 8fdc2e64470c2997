//! The untyped part of a task, its references and its end.
//!
//! ```text
//!          spawn                 polled: Pending, woken            Ready, panicked or aborted
//!  (new) --------> scheduled <-------------------------> waiting ---+
//!                      +--------------------------------------------+--> complete --last reference--> freed
//! ```
//!
//! Who touches what: `state` and `link` belong to all threads; `core`, `vtable`, `remote`, `id` and `spawned_at` never
//! change; all the rest belongs to the thread of the core. `references` is also read by whoever frees the task after
//! its core has gone, when it does not change any more.
//!
//! References: one of the core until the task has ended, one of its handle, one of each waker, one that travels with
//! the task through the inbox.

use std::cell::Cell;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Waker};

use corering_sync::inbox::Node;
use corering_sync::shim::atomic::AtomicPtr;

use super::extra::Extra;
use super::local::Remote;
use super::state::{State, Then};
use super::{TaskId, TaskInfo};
use crate::sys::current::{self, CoreId};

/// In the run queue.
pub(super) const SCHEDULED: u16 = 1;
/// The future has gone: ended, panicked or aborted.
pub(super) const COMPLETE: u16 = 2;
/// To be dropped at its next turn.
pub(super) const ABORTED: u16 = 4;
/// A handle exists.
pub(super) const JOINED: u16 = 8;
/// The handle holds the only reference that there is.
pub(super) const SOLE: u16 = 16;
/// The future has gone, and the task ends when the cleanup that it has left has.
pub(super) const LINGERS: u16 = 32;
/// Runs cleanup: is not aborted when the runtime ends.
pub(super) const SHIELDED: u16 = 64;
/// There is something in `extra`.
pub(super) const EXTRA: u16 = 128;
/// What it spawns inherits from it.
pub(super) const LOCALS: u16 = 256;
/// Cleanup that it has left is running.
pub(super) const CLEANUPS: u16 = 512;

/// What waking and polling touch comes first, so that it shares a cache line.
#[repr(C)]
pub(crate) struct Header {
    pub(super) state: State,
    pub(super) vtable: &'static Vtable,
    pub(super) core: CoreId,
    pub(super) flags: Cell<u16>,
    /// References that this core has taken, less those that it has given back: may be below zero.
    references: Cell<isize>,
    /// The next in the run queue.
    pub(super) next: Cell<Option<NonNull<Header>>>,
    pub(super) joiner: Cell<Option<Waker>>,
    /// The place in the core's list of tasks.
    pub(super) place: Cell<usize>,
    remote: *const Remote,
    link: AtomicPtr<Header>,
    pub(super) id: TaskId,
    pub(super) spawned_at: &'static Location<'static>,
    /// Who spawned it; 0 if nobody did.
    pub(super) parent: TaskId,
    extra: Cell<Option<Box<Extra>>>,
    /// Tells what is wrong with an output that nobody fetched.
    pub(super) describe: Cell<Describe>,
}

/// Given the address of an output (of the type that it was made for), tells what is wrong with it, if something is.
pub(super) type Describe = unsafe fn(*const ()) -> Option<String>;

/// What the untyped side calls of a task's type. All but `free` are for the core's thread only.
pub(super) struct Vtable {
    /// Polls the future; true when it has ended, and its output lies in the task.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future unfinished; the output is then that it was cancelled.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Moves the output to the given place, an `Option` of its result.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// The address of the outcome; null once it has been taken out.
    pub(super) output: unsafe fn(NonNull<Header>) -> *const (),
    /// Drops the output, and tells what was wrong with it.
    pub(super) drop_output: unsafe fn(NonNull<Header>) -> Option<String>,
    /// Gives the memory back. The future and the output have gone before.
    pub(super) free: unsafe fn(NonNull<Header>),
}

// SAFETY: `link` returns the one link of the task, which nobody but the inbox writes.
unsafe impl Node for Header {
    fn link(&self) -> &AtomicPtr<Header> {
        &self.link
    }
}

impl Header {
    pub(super) fn new(
        vtable: &'static Vtable,
        remote: *const Remote,
        core: CoreId,
        id: TaskId,
        parent: TaskId,
        spawned_at: &'static Location<'static>,
        describe: Describe,
    ) -> Self {
        Self {
            state: State::new(),
            link: AtomicPtr::new(std::ptr::null_mut()),
            vtable,
            remote,
            core,
            flags: Cell::new(JOINED),
            // The core's own, and the handle's.
            references: Cell::new(2),
            next: Cell::new(None),
            place: Cell::new(0),
            joiner: Cell::new(None),
            id,
            spawned_at,
            parent,
            extra: Cell::new(None),
            describe: Cell::new(describe),
        }
    }

    #[inline]
    pub(super) fn has(&self, flags: u16) -> bool {
        self.flags.get() & flags != 0
    }

    #[inline]
    pub(super) fn set(&self, flags: u16) {
        self.flags.set(self.flags.get() | flags);
    }

    #[inline]
    pub(super) fn unset(&self, flags: u16) {
        self.flags.set(self.flags.get() & !flags);
    }

    /// Whether this thread is the one of the task's core, and the core lives.
    #[inline]
    pub(super) fn at_home(&self) -> bool {
        current::core() == self.core
    }

    pub(super) fn info(&self) -> TaskInfo {
        let name = self.look_at_extra(|extra| extra.name.as_deref().map(str::to_owned)).flatten();
        let parent = (self.parent != TaskId::NONE).then_some(self.parent);
        TaskInfo { id: self.id, parent, name, spawned_at: self.spawned_at }
    }

    /// All references that there are.
    pub(super) fn references(&self) -> isize {
        self.references.get() + self.state.count()
    }

    /// Looks at what only some tasks have; makes room for it.
    pub(super) fn with_extra<R>(&self, change: impl FnOnce(&mut Extra) -> R) -> R {
        let mut extra = self.extra.take().unwrap_or_default();
        let result = change(&mut extra);
        self.extra.set(Some(extra));
        self.set(EXTRA);
        result
    }

    /// Looks at what only some tasks have, if this one has it. Runs no code of others meanwhile.
    pub(super) fn look_at_extra<R>(&self, look: impl FnOnce(&mut Extra) -> R) -> Option<R> {
        self.has(EXTRA).then(|| self.with_extra(look))
    }

    /// Takes a reference, on whatever thread.
    #[inline]
    pub(super) fn take_reference(&self) {
        if self.at_home() {
            self.references.set(self.references.get() + 1);
        } else {
            self.state.take();
        }
        if !self.state.is_shared() && self.state.share() {
            // SAFETY: whoever clones a waker holds one that was cloned before, and then this is not the first time;
            //         or the borrowed one of a poll, during which the core holds its count.
            unsafe { Arc::increment_strong_count(self.remote) };
        }
    }

    /// Gives a reference back, on whatever thread.
    ///
    /// # Safety
    ///
    /// `this` is a task of which the caller holds a reference, which is gone then.
    #[inline]
    pub(super) unsafe fn release(this: NonNull<Header>) {
        // SAFETY: the caller holds a reference.
        let header = unsafe { this.as_ref() };
        if header.at_home() {
            header.references.set(header.references.get() - 1);
            if header.references.get() + header.state.count() == 0 {
                // SAFETY: no reference is left anywhere.
                unsafe { Self::free(this) };
            }
        } else {
            let then = header.state.give_back();
            // SAFETY: the caller's reference is gone, or goes along.
            unsafe { Self::act(this, then) };
        }
    }

    /// The core gives its own reference back: the task has ended and is not in the run queue.
    ///
    /// # Safety
    ///
    /// `this` is a task of this thread's core, which still holds its reference.
    #[inline]
    pub(super) unsafe fn release_own(this: NonNull<Header>) {
        // SAFETY: the core holds a reference.
        let header = unsafe { this.as_ref() };
        let left = header.references.get() - 1;
        header.references.set(left);
        match left + header.state.count() {
            // SAFETY: no reference is left anywhere.
            0 => unsafe { Self::free(this) },
            1 if header.has(JOINED) => header.set(SOLE),
            _ => {
                // Others may have given theirs back since the count was taken, and then it was for us to free.
                if left + header.state.complete() == 0 {
                    // SAFETY: no reference is left anywhere.
                    unsafe { Self::free(this) };
                }
            }
        }
    }

    /// On another thread than the core's, does what giving back or waking led to.
    ///
    /// # Safety
    ///
    /// With [`Then::Send`], a reference goes along.
    pub(super) unsafe fn act(this: NonNull<Header>, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Send => {
                // SAFETY: the reference that goes along keeps the task, and every waker that is not on its core was
                //         cloned (or is lent by a poll), so the shared part is there.
                let header = unsafe { this.as_ref() };
                // SAFETY: as above.
                unsafe { Arc::increment_strong_count(header.remote) };
                // SAFETY: the count has just been taken. It is held until the bell has been rung, since the task
                //         may be gone as soon as it was pushed.
                let remote = unsafe { Arc::from_raw(header.remote) };
                // SAFETY: the reference goes along, and NOTIFIED keeps the task from being pushed again.
                if unsafe { remote.push(this) }.is_err() {
                    let then = header.state.refused();
                    // SAFETY: nothing is sent now.
                    unsafe { Self::act(this, then) };
                }
            }
            Then::FreeIfNone(count) => {
                // SAFETY: whoever frees is the last, so the memory is there until then.
                let header = unsafe { this.as_ref() };
                // The core is gone, and its last write to the counter happened before the inbox was found closed.
                if header.references.get() + count == 0 {
                    // SAFETY: no reference is left anywhere.
                    unsafe { Self::free(this) };
                }
            }
        }
    }

    /// # Safety
    ///
    /// No reference is left, and the future and the output have gone.
    pub(super) unsafe fn free(this: NonNull<Header>) {
        // SAFETY: not freed yet.
        let header = unsafe { this.as_ref() };
        let shared = header.state.is_shared().then_some(header.remote);
        // SAFETY: the caller's promise.
        unsafe { (header.vtable.free)(this) };
        if let Some(remote) = shared {
            // SAFETY: the count that `take_reference` took for this task.
            unsafe { Arc::decrement_strong_count(remote) };
        }
    }
}
