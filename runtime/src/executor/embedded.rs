//! A core that a loop of somebody else turns: one pass at a time, and in between it is away.
//!
//! ```text
//! poll_once --> [ run what is ready, until nothing is or it has taken long ] --> away --> poll_once
//!                          ^                    |
//!                          |                    v
//!                          +--- something --- announce that it sleeps, clear the event, submit, look once more
//! ```
//!
//! Invariant: when a pass ends, either the host's event is readable, or there is nothing to do and whatever changes that
//! rings it. The event is cleared before the last look, never after.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{BATCH_NS, Core, FETCHES, PAUSED_GRACE_NS, Running, Runtime, Turn};
use crate::driver::{Wait, clock};
use crate::sys::current;
use crate::task;
use crate::time::Instant;

/// What [`Runtime::poll_once`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pass {
    /// Whether any task has run.
    pub ran: bool,
    /// Whether tasks are ready to run: call again before waiting for anything.
    pub more: bool,
    /// How many tasks have not ended.
    pub tasks: usize,
}

impl Runtime {
    /// Runs the tasks that are ready, and what they make ready, for about half a millisecond; if there are none, waits for at
    /// most `timeout` until there are. With a `timeout` of zero it never waits.
    ///
    /// For those who have a loop of their own, and want to run tasks in it. Such a loop waits until the
    /// [descriptor](crate::Builder::embedded) is readable or the time of [`next_deadline`](Self::next_deadline) has come,
    /// whatever is first, and calls this. The descriptor is also readable if this left ready tasks, or if something was
    /// spawned, woken or dropped on this thread in between. Tasks are spawned by [`spawn`](crate::spawn), at any time
    /// after the runtime was made, on its thread.
    ///
    /// It does not look whether anything can ever run again, nor whether Ctrl-C was pressed: that is up to the loop around.
    ///
    /// # Panics
    ///
    /// When called from inside a runtime, this one or another; in the child after a fork; and if the kernel refuses the ring
    /// from now on. A panic of a task is its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use corering_runtime::{Builder, spawn, time::sleep};
    ///
    /// let runtime = Builder::new().build()?;
    /// let task = spawn(async {
    ///     sleep(Duration::from_millis(5)).await;
    ///     7
    /// });
    /// while !task.is_finished() {
    ///     // Other work of the loop goes here.
    ///     runtime.poll_once(Duration::from_millis(1));
    /// }
    /// assert_eq!(runtime.block_on(task).unwrap(), 7);
    /// # Ok::<(), corering_runtime::RunError>(())
    /// ```
    #[track_caller]
    pub fn poll_once(&self, timeout: Duration) -> Pass {
        let core = &**self.core;
        assert!(
            current::core() == core.id,
            "the runtime was made by the parent of this process: make one of its own after the fork"
        );
        assert!(!core.running.replace(true), "already inside a runtime on this thread: it cannot be turned from there");
        let _around = core.around.enter();
        let running = Running::of(core);
        let pass = core.pass(timeout);
        running.at_rest.set(!pass.more);
        pass
    }

    /// When the next timer is due, by the core's clock: the loop around waits no longer than until then, and calls
    /// [`poll_once`](Self::poll_once). `None` if no timer is armed. It may change with every call of that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use corering_runtime::{Builder, spawn, time::{Instant, sleep}};
    ///
    /// let runtime = Builder::new().build()?;
    /// assert_eq!(runtime.next_deadline(), None);
    /// let _task = spawn(sleep(Duration::from_secs(60)));
    /// runtime.poll_once(Duration::ZERO);
    /// let left = runtime.next_deadline().map(|deadline| deadline - Instant::now());
    /// assert!(left > Some(Duration::from_secs(50)));
    /// # Ok::<(), corering_runtime::RunError>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.timers.next_ns().map(Instant::from_ns)
    }
}

/// The descriptor that is readable when there is something to do, but for timers: those are told by
/// [`Runtime::next_deadline`]. It is to be waited on, for reading, and nothing else: [`Runtime::poll_once`] reads it.
///
/// # Panics
///
/// If the runtime was not made with [`Builder::embedded`](crate::Builder::embedded).
impl AsFd for Runtime {
    #[track_caller]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.core.driver.host() {
            Some(host) => host.event().as_fd(),
            None => panic!("this runtime has no descriptor to wait on: make it with Builder::embedded(true)"),
        }
    }
}

impl Core {
    fn pass(&self, timeout: Duration) -> Pass {
        let mut began = clock::steady_ns();
        let end = began.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let mut waits = !timeout.is_zero();
        let mut ran = false;
        self.mailbox.sleeper().awake();
        // If a waker panicked in the last pass, what came with its completion is still to be handed on.
        self.dispatch();
        loop {
            self.turns.set(self.turns.get() + 1);
            ran |= self.tasks.has_ready();
            let is_idle = matches!(self.go_round(&|| false), Turn::Idle);
            if is_idle && waits && !ran {
                waits = false;
                self.wait_until(end);
                began = clock::steady_ns();
            } else if is_idle && !self.leaves_something() {
                return self.come_to(ran, false);
            } else if clock::steady_ns() - began > BATCH_NS {
                return self.come_to(ran, true);
            }
        }
    }

    fn come_to(&self, ran: bool, more: bool) -> Pass {
        Pass { ran, more, tasks: task::local::alive() }
    }

    /// Waits within the ring.
    fn wait_until(&self, end_ns: u64) {
        self.mailbox.sleeper().announce();
        let wait = match self.timers.next_ns() {
            _ if self.is_called() => Wait::No,
            Some(_) if clock::is_paused() && !self.is_working() => Wait::No,
            Some(_) if clock::is_paused() => Wait::Until(end_ns.min(clock::steady_ns() + PAUSED_GRACE_NS)),
            Some(next) => Wait::Until(end_ns.min(next)),
            None => Wait::Until(end_ns),
        };
        self.sleep(wait);
        if clock::is_paused() && !self.tasks.has_ready() && !self.is_called() {
            // Nothing but operations takes time.
            if let Some(next) = self.timers.next_ns() {
                clock::advance_to(next);
            }
        }
    }

    /// Whether somebody elsewhere has left something.
    fn is_called(&self) -> bool {
        self.tasks.has_mail() || self.mailbox.has_letters()
    }

    /// Nothing is ready: the core goes away, hands over what was queued, and looks once more. True if there is something
    /// to do again.
    fn leaves_something(&self) -> bool {
        match self.driver.host() {
            Some(host) => host.leave(),
            None => self.mailbox.sleeper().announce(),
        }
        for calls in 0..=FETCHES {
            if self.driver.has_completions() || self.is_called() || !self.driver.wants_enter() {
                break;
            }
            // One call may run a part of what is held back and bring nothing of it (K1). If the flag still says that there
            // is more, it may lie (K2): a wait of no time runs all.
            self.enter(if calls < FETCHES { Wait::No } else { Wait::Until(clock::steady_ns()) });
        }
        let came = self.driver.has_completions() || self.is_called();
        if came {
            match self.driver.host() {
                Some(host) => host.come_back(),
                None => self.mailbox.sleeper().awake(),
            }
            self.fetch();
        }
        came
    }
}
