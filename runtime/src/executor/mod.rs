//! The executor: one core's loop, and what it consists of.
//!
//! ```text
//!      +--> run ready tasks (a bounded batch, FIFO) --> open the inbox --> expire timers --+
//!      |                                                                                   |
//!      +-- dispatch completions <-- one enter: submit all, wait only if nothing is ready <-+
//! ```
//!
//! Each layer below has a thread-local of its own; this file installs them together and takes them away together.

mod around;
mod builder;
mod deadlock;
mod embedded;
mod metrics;
mod run_error;
#[cfg(feature = "sim")]
pub(crate) mod stepped;
mod watchdog;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use self::around::Around;
pub use self::builder::{Builder, run};
pub use self::deadlock::Deadlock;
pub use self::embedded::Pass;
pub use self::metrics::{Metrics, metrics};
pub use self::run_error::RunError;
use self::watchdog::Watchdog;
use crate::blocking;
use crate::driver::mailbox::{Letter, Mailbox};
use crate::driver::{Driver, Wait, clock};
use crate::op::context::{self as operations, Operations};
use crate::sys::current::{self, CoreId};
use crate::sys::interrupt::Interrupts;
use crate::task::{self, Local, WaitsFor};
use crate::time::timers::{self, Timers};

/// How many tasks run before completions are looked at again.
const BATCH: u32 = 128;
/// How long they run at most, looked at every [`CLOCK_EVERY`] tasks.
const BATCH_NS: u64 = 500_000;
const CLOCK_EVERY: u32 = 16;
/// How many calls in a row fetch what a burst left with the kernel, before its tasks run (K1, K2).
const FETCHES: u32 = 8;
/// If only others could wake a task, it is looked after this time whether there are any, and then more and more rarely.
const CHECK_GAP_NS: u64 = 50_000_000;
const LONGEST_CHECK_GAP_NS: u64 = 60_000_000_000;
/// With a paused clock, how long operations in flight may take before time jumps.
const PAUSED_GRACE_NS: u64 = 2_000_000;
/// At the end, how often cleanup may leave tasks that leave cleanup.
const CLEANUP_ROUNDS: u32 = 16;
/// At the end, how long operations that end by themselves are waited for before they are cancelled, too.
const FINISH: Duration = Duration::from_millis(250);
/// At the end, how long cancelled operations are waited for before what they own is leaked.
const DRAIN: Duration = Duration::from_secs(5);

/// A core on this thread: ring, tasks, timers and buffers. Made by [`Builder::build`]; most programs use
/// [`run`] or `#[corering::main]` instead.
///
/// There is at most one on a thread, and it stays there. Dropping it drops all tasks, cancels what is in flight and
/// waits until the kernel has let go; what does not end within five seconds is leaked, never freed.
///
/// # Examples
///
/// ```
/// use corering_runtime::Builder;
///
/// let runtime = Builder::new().entries(64).build()?;
/// assert_eq!(runtime.block_on(async { 1 + 1 }), 2);
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub struct Runtime {
    /// Boxed, since this thread knows where its parts are.
    core: ManuallyDrop<Box<Core>>,
    /// Not `Send`: everything in it belongs to this thread.
    thread: PhantomData<*const ()>,
}

/// What a core consists of.
struct Core {
    /// First, so that the ring is closed before what it may use is given up (`Operations` does likewise).
    driver: Rc<Driver>,
    operations: Operations,
    timers: Timers,
    tasks: Local,
    mailbox: Arc<Mailbox>,
    blocking: blocking::Pool,
    spin_ns: u64,
    /// If Ctrl-C is listened for.
    interrupts: Option<Interrupts>,
    debug: bool,
    /// In debug mode, but on real time only.
    watchdog: Option<Watchdog>,
    /// When it is looked whether anything can run again, if nothing is ready then, and how long not after that.
    check_ns: Cell<u64>,
    check_gap_ns: Cell<u64>,
    /// Turns of the loop, and how many there had been then.
    turns: Cell<u64>,
    checked_at: Cell<u64>,
    /// Where something suspicious was told of.
    suspected: RefCell<HashSet<*const Location<'static>>>,
    running: Cell<bool>,
    /// Entered while tasks run or are dropped.
    around: Around,
    id: CoreId,
    process: u32,
}

impl Runtime {
    /// Runs `future` to its end, and all spawned tasks beside it as long as that takes.
    ///
    /// Tasks that are left go on when it is called again, and are dropped with the runtime.
    ///
    /// # Panics
    ///
    /// If the future panics, with the same payload; when called from inside a runtime; if nothing could ever run again
    /// before the future has ended, with the report, and if Ctrl-C was pressed and is listened for (see
    /// [`try_block_on`](Self::try_block_on)); and if the kernel refuses the ring from now on (an error that no operation can be given).
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self.try_block_on(future) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`block_on`](Self::block_on).
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`], if nothing could ever run again before the future has ended, and
    /// [`RunError::Interrupted`], if [Ctrl-C was pressed](Builder::cancel_on_ctrl_c). The future has been dropped then,
    /// and its cleanup is over; the other tasks are left.
    ///
    /// # Panics
    ///
    /// As [`block_on`](Self::block_on) otherwise.
    #[track_caller]
    pub fn try_block_on<F: Future>(&self, future: F) -> Result<F::Output, RunError> {
        let core = &**self.core;
        assert!(!core.running.replace(true), "already inside a runtime on this thread: await the future or spawn it");
        let _around = core.around.enter();
        let _running = Running::of(core);
        // SAFETY: finished or dropped below, before `future`, which this frame owns, ends.
        let Some(root) = (unsafe { task::Root::spawn(future) }) else {
            panic!("the runtime was made by the parent of this process: make one of its own after the fork")
        };
        root.name("main");
        let mut stopped = core.turn_until(&|| root.is_finished());
        if let Err(error) = stopped {
            root.abort();
            // It ends at its next turn, or when the cleanup that it leaves has ended, which has a limit. Whatever may
            // stop the loop has done so.
            drop(core.turn_until(&|| root.is_finished()));
            if !root.is_finished() {
                return Err(error);
            }
            stopped = Err(error);
        }
        match root.finish() {
            Ok(output) => Ok(output),
            Err(error) => match (error.into_panic(), stopped) {
                (Ok(payload), _) => std::panic::resume_unwind(payload),
                (Err(_), Err(stopped)) => Err(stopped),
                (Err(error), Ok(())) => panic!("{error}: the main task was aborted"),
            },
        }
    }
}

thread_local! {
    /// Whether the core of this thread is in debug mode.
    static DEBUGGING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the core of this thread is to tell what is suspicious.
pub(crate) fn is_debugging() -> bool {
    DEBUGGING.get()
}

impl Core {
    /// Makes this the core of this thread.
    fn install(&self) {
        current::set(self.id);
        DEBUGGING.set(self.debug);
        // SAFETY: boxed, so it stays where it is, and `uninstall` is called before it ends.
        unsafe { self.operations.install() };
        // SAFETY: as above.
        unsafe { self.timers.install() };
        // SAFETY: as above.
        unsafe { self.tasks.install() };
        blocking::install(&self.blocking);
    }

    /// From here on this thread is like any other to what is left of the core.
    fn uninstall(&self) {
        current::clear(self.id);
        blocking::uninstall();
        DEBUGGING.set(false);
        task::local::uninstall(&self.tasks);
        operations::uninstall(&self.operations);
        timers::uninstall(&self.timers);
    }

    /// In a forked child the ring is its parent's, and its memory is not there.
    fn is_inherited(&self) -> bool {
        std::process::id() != self.process
    }

    /// The loop: until `done`, or nothing can ever run again.
    fn turn_until(&self, done: &dyn Fn() -> bool) -> Result<(), RunError> {
        // If a waker panicked when the loop ran last, what came with its completion is still to be handed on.
        self.dispatch();
        loop {
            match self.turn(done)? {
                Turn::Over => return Ok(()),
                Turn::GoesOn => {}
                Turn::Idle => {
                    if let Some(wait) = self.park()? {
                        self.sleep(wait);
                    }
                }
            }
        }
    }

    /// One turn of the loop, up to where it would sleep.
    #[inline]
    fn turn(&self, done: &dyn Fn() -> bool) -> Result<Turn, RunError> {
        self.turns.set(self.turns.get() + 1);
        if self.interrupts.as_ref().is_some_and(Interrupts::take) {
            return Err(RunError::Interrupted);
        }
        Ok(self.go_round(done))
    }

    /// The same, whatever was pressed.
    #[inline]
    fn go_round(&self, done: &dyn Fn() -> bool) -> Turn {
        self.operations.begin_turn();
        if self.run_batch(done) {
            return Turn::Over;
        }
        if self.mailbox.has_letters() {
            self.open_letters();
        }
        if self.tasks.has_mail() {
            self.tasks.open_inbox();
        }
        if !self.timers.is_empty() {
            self.timers.expire();
        }
        if self.driver.has_completions() {
            self.dispatch();
        }
        if !self.tasks.has_ready() {
            return Turn::Idle;
        }
        if self.driver.wants_enter() {
            // All that has come since, so that who came first is first served (K1).
            self.enter(Wait::No);
            self.fetch();
        }
        Turn::GoesOn
    }

    /// Runs ready tasks, up to a limit of number and time. True when the loop is over.
    #[inline]
    fn run_batch(&self, done: &dyn Fn() -> bool) -> bool {
        let mut began = None;
        let mut most = BATCH;
        if self.tasks.is_shuffled() {
            // One at a time, so that it may be any of those that are woken meanwhile, by whatever.
            self.tasks.shuffle();
            most = 1;
        }
        for ran in 1..=most {
            if !self.operations.begin_share() {
                return false;
            }
            let ran_one = match &self.watchdog {
                Some(watchdog) => watchdog.watch(self.tasks.next_info(), || self.tasks.run_next()),
                None => self.tasks.run_next(),
            };
            if !ran_one {
                return done();
            }
            if done() {
                return true;
            }
            if ran % CLOCK_EVERY == 0 {
                let now = clock::steady_ns();
                if now - *began.get_or_insert(now) > BATCH_NS {
                    return false;
                }
            }
        }
        false
    }

    /// Nothing is ready: announces that it sleeps until something is, or the next timer is due. `None` if the loop
    /// goes on instead.
    fn park(&self) -> Result<Option<Wait>, RunError> {
        if self.debug {
            self.tell_what_is_suspicious();
        }
        if clock::is_paused() {
            return self.park_paused();
        }
        if self.spin_ns > 0 && self.spin() {
            return Ok(None);
        }
        self.mailbox.sleeper().announce();
        let wait = if self.tasks.has_mail() || self.mailbox.has_letters() {
            Wait::No
        } else {
            match self.timers.next_ns() {
                Some(next) => Wait::Until(next),
                None if self.is_waited_upon() => Wait::Forever,
                None => self.wait_for_others()?,
            }
        };
        Ok(Some(wait))
    }

    /// Waits in the kernel, and gets what has come.
    #[inline]
    fn sleep(&self, wait: Wait) {
        self.enter(wait);
        self.mailbox.sleeper().awake();
        self.fetch();
    }

    /// Whether something may end, or be pressed, that wakes a task: an operation, a call on another thread, Ctrl-C.
    fn is_waited_upon(&self) -> bool {
        self.is_working() || self.interrupts.is_some()
    }

    /// Whether something goes on outside the tasks that ends by itself.
    fn is_working(&self) -> bool {
        self.operations.in_flight() > 0 || blocking::is_busy(&self.blocking)
    }

    /// Only somebody else could wake a task: looks now and then whether there is anybody.
    #[cold]
    fn wait_for_others(&self) -> Result<Wait, RunError> {
        let now = clock::steady_ns();
        let for_certain = clock::is_paused() || clock::is_simulated();
        if for_certain || now >= self.check_ns.get() {
            if let Some(tasks) = self.tasks.stuck() {
                self.mailbox.sleeper().awake();
                return Err(Deadlock::new(tasks).into());
            }
            // The longer there is nothing to do, the more rarely. (The wait itself ends with a turn.)
            let has_run = self.turns.get() > self.checked_at.replace(self.turns.get()) + 1;
            let gap = if has_run { CHECK_GAP_NS } else { self.check_gap_ns.get() };
            self.check_gap_ns.set((gap * 2).min(LONGEST_CHECK_GAP_NS));
            self.check_ns.set(now + gap);
        }
        // A world knows by itself when nothing can happen any more.
        Ok(if clock::is_simulated() { Wait::Forever } else { Wait::Until(self.check_ns.get()) })
    }

    /// In debug mode: tasks that may wait for themselves.
    fn tell_what_is_suspicious(&self) {
        for stuck in self.tasks.suspicious() {
            for waits in stuck.waits() {
                let WaitsFor::Primitive { at, .. } = waits else {
                    continue;
                };
                if self.suspected.borrow_mut().insert(ptr::from_ref(*at)) {
                    crate::report(format_args!("{} may wait for itself, for ever: it {waits}", stuck.task()));
                }
            }
        }
    }

    /// Looks for work for a while before sleeping. True if there is some.
    fn spin(&self) -> bool {
        let start = clock::steady_ns();
        let until = match self.timers.next_ns() {
            Some(deadline) => deadline.min(start + self.spin_ns),
            None => start + self.spin_ns,
        };
        loop {
            if self.driver.wants_enter() {
                self.enter(Wait::No);
            }
            if self.driver.has_completions() {
                self.fetch();
                return true;
            }
            if self.tasks.has_mail() || self.mailbox.has_letters() || clock::steady_ns() >= until {
                return clock::steady_ns() < until;
            }
            std::hint::spin_loop();
        }
    }

    /// With a paused clock, nothing but operations takes time: they get a moment, then time jumps to the next timer.
    fn park_paused(&self) -> Result<Option<Wait>, RunError> {
        self.mailbox.sleeper().announce();
        let wait = match self.timers.next_ns() {
            _ if self.tasks.has_mail() || self.mailbox.has_letters() => Wait::No,
            None if self.is_waited_upon() => Wait::Forever,
            None => self.wait_for_others()?,
            Some(_) if !self.is_working() => Wait::No,
            Some(_) => Wait::Until(clock::steady_ns() + PAUSED_GRACE_NS),
        };
        self.enter(wait);
        self.mailbox.sleeper().awake();
        let came = self.driver.has_completions();
        self.fetch();
        if !came && !self.tasks.has_ready() && !self.tasks.has_mail() {
            if let Some(next) = self.timers.next_ns() {
                clock::advance_to(next);
            }
        }
        Ok(None)
    }

    /// Gets all of a burst, then hands it out.
    fn fetch(&self) {
        let mut ready = 0;
        for _ in 0..FETCHES {
            // The kernel's flag may stay set with nothing behind it (K2): a call that brought nothing is the last.
            let before = std::mem::replace(&mut ready, self.driver.ready());
            if ready == before || !self.driver.wants_enter() {
                break;
            }
            self.enter(Wait::No);
        }
        self.dispatch();
    }

    fn dispatch(&self) {
        if self.operations.dispatch() {
            self.operations.arm_bell(self.mailbox.bell());
        }
    }

    fn enter(&self, wait: Wait) {
        if let Err(error) = self.driver.enter(wait) {
            // Whatever the kernel still holds must not be freed by the unwinding: `drop` drains, or leaks.
            panic!("the kernel refuses the ring, so nothing more can be done on it: {error}");
        }
    }

    fn open_letters(&self) {
        for letter in self.mailbox.take_letters() {
            match letter {
                Letter::Timer { index, sequence } => self.timers.cancel(timers::key(index, sequence)),
                Letter::Operation { .. } | Letter::Direct { .. } => self.operations.receive(letter),
            }
        }
    }

    /// Drops all tasks, and runs the cleanup that they leave.
    fn clean_up(&self) {
        self.running.set(true);
        let _running = Running::of(self);
        for _ in 0..CLEANUP_ROUNDS {
            self.tasks.abort_unshielded();
            if self.tasks.cleanups() == 0 {
                return;
            }
            if self.turn_until(&|| self.tasks.cleanups() == 0).is_err() {
                return;
            }
        }
    }

    /// Waits until the threads have done what they have begun.
    fn close_pool(&self) {
        let left = self.blocking.close(DRAIN);
        if left > 0 {
            crate::report(format_args!("{left} calls that block did not end within {DRAIN:?}; their threads are left"));
        }
    }

    /// Waits until the kernel has let go of everything.
    fn drain(&self) {
        let began = clock::steady_ns();
        let within = |limit: Duration| {
            let now = clock::steady_ns();
            let end = began + limit.as_nanos() as u64;
            (now < end).then_some(end.min(now + 20_000_000))
        };
        // What is only to be submitted (closes of direct descriptors, which say nothing if they succeed) is not waited for.
        let wait = |limit: Duration| match within(limit) {
            Some(until) if self.operations.awaits_completions() => self.driver.enter(Wait::Until(until)).is_ok(),
            Some(_) => self.driver.enter(Wait::No).is_ok(),
            None => false,
        };
        self.operations.give_up_all();
        while self.operations.is_busy() && wait(FINISH) {
            self.operations.dispatch();
        }
        while self.operations.is_busy() && self.driver.cancel_all().is_ok() && wait(DRAIN) {
            self.operations.dispatch();
        }
        let left = self.operations.in_flight();
        if left > 0 {
            crate::report(format_args!("{left} operations did not end within {DRAIN:?}; what they use is leaked"));
        }
    }
}

/// How a turn of the loop has ended.
enum Turn {
    /// What the loop was run for is done.
    Over,
    GoesOn,
    /// Nothing is ready: it parks.
    Idle,
}

/// The loop runs as long as this lives, and however it ends.
struct Running<'a> {
    core: &'a Core,
    /// Nothing is left to do for now, and the core is away already: nobody has to be called.
    at_rest: Cell<bool>,
}

impl<'a> Running<'a> {
    fn of(core: &'a Core) -> Self {
        core.operations.set_running(true);
        if let Some(host) = core.driver.host() {
            host.come_back();
        }
        Self { core, at_rest: Cell::new(false) }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.core.operations.set_running(false);
        self.core.running.set(false);
        if let Some(host) = self.core.driver.host() {
            if !self.at_rest.get() {
                host.leave();
                host.call();
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let around = self.core.around.clone();
        let _around = around.enter();
        let ending = Ending(&mut self.core);
        if !ending.0.is_inherited() {
            ending.0.clean_up();
            ending.0.tasks.abort_all();
            ending.0.close_pool();
            ending.0.drain();
        }
    }
}

/// The last step of a core's end, which is taken whatever happens before it.
struct Ending<'a>(&'a mut ManuallyDrop<Box<Core>>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let core = &self.0;
        core.uninstall();
        if core.is_inherited() {
            // All of it belongs to the parent, of whose memory this is a copy with holes.
            return;
        }
        core.tasks.close();
        core.mailbox.close();
        clock::resume();
        core.operations.leak_if_busy();
        // SAFETY: called once, when the runtime is dropped.
        unsafe { ManuallyDrop::drop(self.0) };
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("tasks", &task::local::alive())
            .field("operations", &self.core.operations.in_flight())
            .finish_non_exhaustive()
    }
}
