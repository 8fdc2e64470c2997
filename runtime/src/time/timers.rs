//! The timers of this thread's core, found by those who sleep and turned by the loop.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::task::Waker;

use super::wheel::{Due, Key, Wheel};
use crate::driver::clock;
use crate::driver::mailbox::{self, Letter};
use crate::sys::current::{self, CoreId};
use crate::sys::wake::wake_all;

thread_local! {
    static CURRENT: Cell<*const Timers> = const { Cell::new(ptr::null()) };
}

/// From here on lies the far end of time, 292 years from the clock's beginning: such a deadline never comes, and a
/// paused clock does not jump there.
const NEVER_NS: u64 = 1 << 63;

/// One core's timers.
pub(crate) struct Timers {
    core: CoreId,
    wheel: RefCell<Wheel>,
    due: RefCell<Vec<Due>>,
}

impl Timers {
    pub(crate) fn new(core: CoreId) -> Self {
        Self { core, wheel: RefCell::new(Wheel::new(clock::now_ns())), due: RefCell::new(Vec::new()) }
    }

    /// Makes these the timers of this thread.
    ///
    /// # Safety
    ///
    /// [`uninstall`] is called, on this thread, before `self` moves or ends.
    pub(crate) unsafe fn install(&self) {
        CURRENT.set(ptr::from_ref(self));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.wheel.borrow().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.wheel.borrow().len()
    }

    /// Wakes whoever's time has come. The wheel is free again before anybody is woken.
    pub(crate) fn expire(&self) {
        let mut due = self.due.take();
        self.wheel.borrow_mut().expire(clock::now_ns(), &mut due);
        wake_all(due.drain(..).map(|due| due.waker));
        self.due.replace(due);
    }

    /// Until when the core may sleep, in nanoseconds of the clock.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.wheel.borrow().next_ns(clock::is_exact()).filter(|next| *next < NEVER_NS)
    }

    /// Drops a timer whose sleep was dropped on another thread.
    pub(crate) fn cancel(&self, key: Key) {
        let waker = self.wheel.borrow_mut().cancel(key);
        drop(waker);
    }
}

/// Leaves this thread without timers, if these are its.
pub(crate) fn uninstall(timers: &Timers) {
    if ptr::eq(CURRENT.get(), timers) {
        CURRENT.set(ptr::null());
    }
}

#[inline]
fn with<R>(use_them: impl FnOnce(&Timers) -> R) -> Option<R> {
    let timers = CURRENT.get();
    if timers.is_null() {
        return None;
    }
    // SAFETY: `install` promises that they stay where they are until `uninstall` clears the pointer. `use_them` is
    //         code of this file, which calls nothing that could end a runtime.
    let timers = unsafe { &*timers };
    // In a forked child this thread has no core, though the pointer is still there.
    (timers.core == current::core()).then(|| use_them(timers))
}

/// A timer that somebody waits for.
#[derive(Debug)]
pub(super) struct Armed {
    core: CoreId,
    key: Key,
}

/// Arms a timer of this thread's core. `None` where there is none.
#[inline]
pub(super) fn arm(deadline_ns: u64, waker: Waker) -> Option<Armed> {
    with(|timers| Armed { core: timers.core, key: timers.wheel.borrow_mut().arm(deadline_ns, waker) })
}

impl Armed {
    /// Whether the timer has ended; if not, it will wake `waker`.
    #[inline]
    pub(super) fn has_ended(&self, waker: &Waker) -> bool {
        assert!(
            current::core() == self.core,
            "a sleep of {} was polled on {}: await it where it was first awaited",
            self.core,
            current::core()
        );
        let same = with(|timers| timers.wheel.borrow_mut().waker(self.key).map(|old| old.will_wake(waker))).flatten();
        if let Some(false) = same {
            // Wakers are cloned and dropped with the wheel free.
            let waker = waker.clone();
            let old = with(|timers| timers.wheel.borrow_mut().waker(self.key).map(|old| std::mem::replace(old, waker)));
            drop(old);
        }
        same.is_none()
    }
}

impl Drop for Armed {
    #[inline]
    fn drop(&mut self) {
        if current::core() == self.core {
            let waker = with(|timers| timers.wheel.borrow_mut().cancel(self.key));
            drop(waker);
        } else {
            let Key { index, sequence } = self.key;
            mailbox::send(self.core, Letter::Timer { index, sequence });
        }
    }
}

/// How many timers of this thread's core wait.
pub(crate) fn waiting() -> usize {
    with(Timers::len).unwrap_or(0)
}

/// A letter's key.
pub(crate) fn key(index: u32, sequence: u64) -> Key {
    Key { index, sequence }
}
