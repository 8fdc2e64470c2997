//! One job: from the core to a thread, and what came of it back.
//!
//! ```text
//! Waits --begun--> Runs --ended--> Over --fetched--> Gone
//!   |                |
//!   +----dropped-----+--> Gone
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What a closure has returned, or what it has panicked with.
type Outcome<T> = std::thread::Result<T>;

pub(super) struct Job<F, T>(Mutex<Stage<F, T>>);

pub(super) enum Stage<F, T> {
    Waits { call: F, waker: Waker },
    Runs { waker: Waker },
    Over(Outcome<T>),
    Gone,
}

/// A job as the threads see it.
pub(super) trait Run: Send + Sync {
    /// Runs it, unless it was given up, and says who is to be woken.
    fn run(&self) -> Option<Waker>;

    /// It will never be run.
    fn give_up(&self);

    /// Whether it is still to be run.
    fn waits(&self) -> bool;
}

impl<F, T> Job<F, T> {
    pub(super) fn new(call: F, waker: Waker) -> Self {
        Self(Mutex::new(Stage::Waits { call, waker }))
    }

    /// What has come of it; or `waker` is woken when something has.
    pub(super) fn fetch(&self, new: &Waker) -> Option<Outcome<T>> {
        let mut stage = self.stage();
        match &mut *stage {
            Stage::Waits { waker, .. } | Stage::Runs { waker } => {
                let old = (!waker.will_wake(new)).then(|| std::mem::replace(waker, new.clone()));
                drop(stage);
                drop(old);
                None
            }
            Stage::Over(_) => match std::mem::replace(&mut *stage, Stage::Gone) {
                Stage::Over(outcome) => Some(outcome),
                Stage::Waits { .. } | Stage::Runs { .. } | Stage::Gone => unreachable!("looked at just now"),
            },
            Stage::Gone => panic!("a blocking call was polled after the core that it was begun on had ended"),
        }
    }

    /// Nothing is dropped under the lock: that is the caller's code.
    pub(super) fn replace(&self, stage: Stage<F, T>) -> Stage<F, T> {
        std::mem::replace(&mut *self.stage(), stage)
    }

    fn stage(&self) -> MutexGuard<'_, Stage<F, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Option<F> {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Gone) {
            Stage::Waits { call, waker } => {
                *stage = Stage::Runs { waker };
                Some(call)
            }
            other @ (Stage::Runs { .. } | Stage::Over(_) | Stage::Gone) => {
                *stage = other;
                None
            }
        }
    }

    fn end(&self, outcome: Outcome<T>) -> Option<Waker> {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Gone) {
            Stage::Runs { waker } => {
                *stage = Stage::Over(outcome);
                Some(waker)
            }
            other @ (Stage::Waits { .. } | Stage::Over(_) | Stage::Gone) => {
                drop(stage);
                drop(other);
                // Nobody waits for it. A destructor that panics shall not end the thread.
                drop(catch_unwind(AssertUnwindSafe(|| drop(outcome))));
                None
            }
        }
    }
}

impl<T: Send, F: FnOnce() -> T + Send> Run for Job<F, T> {
    fn run(&self) -> Option<Waker> {
        let call = self.begin()?;
        self.end(catch_unwind(AssertUnwindSafe(call)))
    }

    fn give_up(&self) {
        drop(self.replace(Stage::Gone));
    }

    fn waits(&self) -> bool {
        matches!(&*self.stage(), Stage::Waits { .. })
    }
}
