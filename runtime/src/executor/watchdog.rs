//! The watchdog of debug mode: a thread that sees when a task does not give way, while it does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::sys::clock::monotonic_ns;
use crate::task::TaskInfo;

/// Watches one core, until it is dropped.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    limit: Duration,
    /// When the poll began that runs now; 0 if none does.
    began_ns: AtomicU64,
    state: Mutex<State>,
    stop: Condvar,
}

#[derive(Default)]
struct State {
    task: Option<TaskInfo>,
    /// The poll of this beginning has been told of.
    told_ns: u64,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit_ns(&self) -> u64 {
        u64::try_from(self.limit.as_nanos()).unwrap_or(u64::MAX)
    }

    fn watch(&self) {
        // Twice as often as it takes to see each at most half a limit late.
        let pause = (self.limit / 4).max(Duration::from_millis(1));
        let mut state = self.lock();
        while !state.stopped {
            (state, _) = self.stop.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
            let began = self.began_ns.load(Ordering::Acquire);
            let ran = monotonic_ns().saturating_sub(began);
            if began == 0 || began == state.told_ns || ran < self.limit_ns() {
                continue;
            }
            state.told_ns = began;
            if let Some(task) = &state.task {
                crate::report(format_args!(
                    "{task} has been running for {:?} without giving way, and still is: everything else on its core waits",
                    Duration::from_nanos(ran)
                ));
            }
        }
    }
}

impl Watchdog {
    /// None if no thread can be had: then slow polls are told when they are over.
    pub(super) fn start(limit: Duration) -> Self {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { limit, began_ns: AtomicU64::new(0), state, stop: Condvar::new() });
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new().name("corering-watch".to_owned()).spawn(move || watched.watch()).ok();
        Self { shared, thread }
    }

    /// Runs one poll of a task under watch.
    pub(super) fn watch<R>(&self, task: Option<TaskInfo>, poll: impl FnOnce() -> R) -> R {
        let began = monotonic_ns();
        self.shared.lock().task = task;
        self.shared.began_ns.store(began, Ordering::Release);
        let result = poll();
        self.shared.began_ns.store(0, Ordering::Release);
        let ran = monotonic_ns() - began;
        if ran >= self.shared.limit_ns() {
            let state = self.shared.lock();
            if let Some(task) = state.task.as_ref().filter(|_| state.told_ns != began) {
                crate::report(format_args!(
                    "{task} ran for {:?} without giving way: everything else on its core waited",
                    Duration::from_nanos(ran)
                ));
            }
        }
        result
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // It only prints; if that has panicked, there is nothing to add.
            drop(thread.join());
        }
    }
}
