//! A core of a simulated world, which the world turns step by step: one of several on a thread.
//!
//! ```text
//! Runs --its program has ended--> CleansUp --no cleanup is left--> Drains --the kernel has let go--> Over
//!   |                                 |                               |
//!   +-------- crash --------+---------+-------------------------------+--> dropped
//! ```
//!
//! Invariant: between two steps none of its tasks is being polled, so nothing of it lies on the stack.
//!
//! Steps end where other cores can interfere: after each turn of the loop, and now and then between a core's last look
//! for work and its announcement that it sleeps, which on real cores is a matter of nanoseconds.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;

use super::{Builder, CLEANUP_ROUNDS, Core, DRAIN, Deadlock, FINISH, RunError, Running, Turn};
use crate::driver::{Wait, clock};
use crate::error::SetupError;
use crate::sim::Place;
use crate::task;

/// How long a core that drains sleeps at most before it looks again.
const LOOK_AGAIN_NS: u64 = 20_000_000;
/// How often others have a turn just before it announces that it sleeps.
const OVERTAKEN: f64 = 0.2;
/// A dead ring ends at once what it is given; that may lead to a little more.
const ROUNDS_TO_BREAK_OFF: u32 = 64;

pub(crate) struct Stepped {
    core: ManuallyDrop<Box<Core>>,
    place: Place,
    root: Option<task::Root<()>>,
    phase: Phase,
    /// Its program can never run again, and is aborted.
    stuck: Option<Deadlock>,
    /// It has found nothing to do, and has not announced that it sleeps.
    idle: Cell<bool>,
    exact: bool,
}

enum Phase {
    Runs,
    CleansUp { rounds: u32 },
    Drains { since_ns: u64 },
    Over,
}

/// What a step has come to.
pub(crate) enum Step {
    GoesOn,
    /// There is nothing to do before that time, unless the ring has news.
    Sleeps {
        until_ns: Option<u64>,
    },
    /// The program has ended, perhaps by a panic. The core goes on, to end in order.
    Finished(Result<(), Box<dyn Any + Send>>),
    /// Its program could never run again, and has been aborted. The core goes on, to end in order.
    Stuck(Deadlock),
    /// Nothing is left to do, and it can be dropped.
    Over,
}

impl Stepped {
    /// A core at `place` whose program is `future`, which was made `at` there.
    ///
    /// # Safety
    ///
    /// What comes back is dropped before what the future borrows ends.
    pub(crate) unsafe fn new(
        builder: &Builder,
        place: Place,
        future: impl Future<Output = ()>,
        at: &'static Location<'static>,
    ) -> Result<Self, SetupError> {
        let core = builder.build_in(&place)?;
        let mut stepped = Self {
            core: ManuallyDrop::new(core),
            place,
            root: None,
            phase: Phase::Runs,
            stuck: None,
            idle: Cell::new(false),
            exact: builder.is_exact(),
        };
        stepped.arrive();
        stepped.core.operations.arm_bell(stepped.core.mailbox.bell());
        // SAFETY: the caller's promise; the root is finished or dropped before the core is.
        stepped.root = unsafe { task::Root::spawn_at(future, at) };
        if let Some(root) = &stepped.root {
            root.name("main");
        }
        Ok(stepped)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The number of its ring in the world.
    pub(crate) fn ring(&self) -> Option<usize> {
        self.core.driver.simulated_ring()
    }

    /// Whether its timers end at their very deadlines, and its tasks take no time.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Makes this the core of the thread.
    fn arrive(&self) {
        self.place.enter();
        clock::set_exact(self.exact);
        self.core.install();
    }

    /// One turn of its loop.
    pub(crate) fn step(&mut self) -> Step {
        self.arrive();
        match self.phase {
            Phase::Runs => self.run(),
            Phase::CleansUp { rounds } => self.clean_up(rounds),
            Phase::Drains { since_ns } => self.drain(since_ns),
            Phase::Over => Step::Over,
        }
    }

    /// Something has come for a core that sleeps, or the time is over.
    pub(crate) fn wake(&mut self) {
        self.arrive();
        match self.phase {
            Phase::Runs | Phase::CleansUp { .. } => self.core.sleep(Wait::No),
            Phase::Drains { .. } | Phase::Over => {}
        }
    }

    fn run(&mut self) -> Step {
        let root = self.root.take();
        let finished = || root.as_ref().is_none_or(task::Root::is_finished);
        match self.turn(&finished) {
            Ok(Some(step)) => {
                self.root = root;
                step
            }
            Ok(None) => {
                self.phase = Phase::CleansUp { rounds: 0 };
                if let Some(deadlock) = self.stuck.take() {
                    return Step::Stuck(deadlock);
                }
                Step::Finished(match root.map(task::Root::finish) {
                    Some(Err(error)) => error.into_panic().map_or(Ok(()), Err),
                    Some(Ok(())) | None => Ok(()),
                })
            }
            Err(RunError::Deadlock(deadlock)) => self.abort(root, deadlock),
            Err(RunError::Setup(_) | RunError::Interrupted) => {
                self.root = root;
                Step::GoesOn
            }
        }
    }

    /// It ends at its next turn, or when the cleanup that it leaves has ended; if that cannot run on either, now.
    fn abort(&mut self, root: Option<task::Root<()>>, deadlock: Deadlock) -> Step {
        if let Some(first) = self.stuck.take() {
            self.phase = Phase::CleansUp { rounds: 0 };
            return Step::Stuck(first);
        }
        if let Some(root) = &root {
            root.abort();
        }
        (self.root, self.stuck) = (root, Some(deadlock));
        Step::GoesOn
    }

    /// A turn of the loop; `None` if it is over.
    fn turn(&self, done: &dyn Fn() -> bool) -> Result<Option<Step>, RunError> {
        let core = &**self.core;
        core.running.set(true);
        let _running = Running::of(core);
        core.dispatch();
        if self.idle.take() && !core.tasks.has_ready() {
            return self.park().map(Some);
        }
        match core.turn(done)? {
            Turn::Over => Ok(None),
            Turn::GoesOn => Ok(Some(Step::GoesOn)),
            Turn::Idle if self.is_overtaken() => {
                self.idle.set(true);
                Ok(Some(Step::GoesOn))
            }
            Turn::Idle => self.park().map(Some),
        }
    }

    /// Whether others have a turn between its last look for work and its announcement that it sleeps.
    fn is_overtaken(&self) -> bool {
        let mut state = self.place.world.borrow_mut();
        !state.in_order && state.random.chance(OVERTAKEN)
    }

    fn park(&self) -> Result<Step, RunError> {
        let core = &**self.core;
        let Some(wait) = core.park()? else {
            return Ok(Step::GoesOn);
        };
        core.enter(Wait::No);
        if wait == Wait::No || core.driver.has_completions() || core.driver.wants_enter() {
            core.mailbox.sleeper().awake();
            core.fetch();
            return Ok(Step::GoesOn);
        }
        let until_ns = match wait {
            Wait::Until(ns) => Some(ns),
            Wait::No | Wait::Forever => None,
        };
        Ok(Step::Sleeps { until_ns })
    }

    fn clean_up(&mut self, rounds: u32) -> Step {
        if self.core.tasks.cleanups() == 0 {
            self.core.tasks.abort_unshielded();
        }
        let over = self.core.tasks.cleanups() == 0 || rounds >= CLEANUP_ROUNDS;
        let step = if over { Ok(None) } else { self.turn(&|| self.core.tasks.cleanups() == 0) };
        match step {
            Ok(Some(step)) => step,
            Ok(None) if !over => {
                self.phase = Phase::CleansUp { rounds: rounds + 1 };
                Step::GoesOn
            }
            Ok(None) | Err(_) => {
                self.give_up();
                self.phase = Phase::Drains { since_ns: clock::now_ns() };
                Step::GoesOn
            }
        }
    }

    fn give_up(&self) {
        self.core.tasks.abort_all();
        self.core.operations.give_up_all();
    }

    /// Waits until the kernel has let go of everything: first for what ends by itself, then everything is cancelled.
    fn drain(&mut self, since_ns: u64) -> Step {
        let core = &**self.core;
        core.enter(Wait::No);
        core.operations.dispatch();
        let waited_ns = u128::from(clock::now_ns() - since_ns);
        if !core.operations.is_busy() || waited_ns >= DRAIN.as_nanos() {
            self.phase = Phase::Over;
            return Step::Over;
        }
        if waited_ns >= FINISH.as_nanos() {
            // What the driver may say to that is said again by the next enter.
            drop(core.driver.cancel_all());
        }
        if core.driver.wants_enter() || core.driver.has_completions() {
            return Step::GoesOn;
        }
        Step::Sleeps { until_ns: Some(clock::now_ns() + LOOK_AGAIN_NS) }
    }

    /// It ends before its program has: its futures are dropped, and whatever that asks for does not happen, since its
    /// ring is dead.
    fn break_off(&mut self) {
        self.root = None;
        self.give_up();
        for _ in 0..ROUNDS_TO_BREAK_OFF {
            if !self.core.operations.is_busy() || self.core.driver.enter(Wait::No).is_err() {
                return;
            }
            self.core.operations.dispatch();
        }
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.arrive();
        if !matches!(self.phase, Phase::Over) {
            self.break_off();
        }
        let core = &self.core;
        core.uninstall();
        core.tasks.close();
        core.mailbox.close();
        core.operations.leak_if_busy();
        // SAFETY: called once, here.
        unsafe { ManuallyDrop::drop(&mut self.core) };
    }
}
