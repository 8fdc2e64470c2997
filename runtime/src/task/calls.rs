//! Functions that are called later.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::{JoinHandle, local};
use crate::time::{Instant, sleep_until};

/// Calls `function` after `duration`, which counts from this call. asyncio's `call_later`.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// use corering_runtime::{task, time};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let called = Rc::new(Cell::new(0));
///     let count = |called: &Rc<Cell<u32>>| {
///         let called = called.clone();
///         move || called.set(called.get() + 1)
///     };
///     task::call_later(Duration::from_secs(1), count(&called));
///     task::call_later(Duration::from_secs(1), count(&called)).cancel();
///     time::sleep(Duration::from_secs(2)).await;
///     assert_eq!(called.get(), 1);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn call_later(duration: Duration, function: impl FnOnce() + 'static) -> Call {
    call_at(Instant::now() + duration, function)
}

/// Calls `function` at a point in time: never earlier, and in the order of these calls if it is the same one. asyncio's
/// `call_at`.
///
/// # Panics
///
/// Outside a runtime.
#[track_caller]
pub fn call_at(when: Instant, function: impl FnOnce() + 'static) -> Call {
    let call = async move {
        sleep_until(when).await;
        function();
    };
    // Run at once, so that its timer is armed before any later one.
    match local::spawn_eager(call, Location::caller()) {
        Some(task) => Call { task: JoinHandle::new(task), when },
        None => super::outside_a_runtime("call_at"),
    }
}

/// A function that is called later; made by [`call_later`] and [`call_at`]. Dropping it changes nothing.
pub struct Call {
    task: JoinHandle<()>,
    when: Instant,
}

impl Call {
    /// Keeps it from being called. False if it has been.
    pub fn cancel(self) -> bool {
        self.task.abort()
    }

    /// When it is called.
    pub fn when(&self) -> Instant {
        self.when
    }

    /// Whether it has been called.
    pub fn is_done(&self) -> bool {
        self.task.is_finished()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("when", &self.when).field("is_done", &self.is_done()).finish()
    }
}
