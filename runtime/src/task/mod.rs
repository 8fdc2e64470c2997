//! Tasks: futures that a core runs side by side.
//!
//! A task is one allocation: its header, and its future or, later, its output. The core that spawned it polls it,
//! drops it and hands its output over; only its waker goes elsewhere.
//!
//! | file | what it is |
//! | --- | --- |
//! | `state` | the one word of a task that other threads touch, and every transition of it |
//! | `header` | the untyped part of a task, its counts and its life |
//! | `raw` | the typed part: future, output, and how they are polled and dropped |
//! | `waker` | the waker: free of atomics on its core, correct anywhere |
//! | `local` | the core's run queue and the list of its tasks |
//! | `join` | the handle by which a task is awaited, aborted and named |

mod cells;
mod header;
mod join;
pub(crate) mod local;
mod raw;
mod state;
mod unhandled;
mod waker;
mod yield_now;

use std::fmt;
use std::future::Future;
use std::panic::Location;

pub(crate) use self::join::Root;
pub use self::join::{JoinError, JoinHandle};
pub(crate) use self::local::{Local, Remote};
pub use self::unhandled::{Unhandled, on_unhandled};
pub use self::yield_now::yield_now;

/// The number of a task, unique on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What is known of a task.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    id: TaskId,
    name: Option<String>,
    spawned_at: &'static Location<'static>,
}

impl TaskInfo {
    /// Its number.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task {} '{name}' (spawned at {})", self.id, self.spawned_at),
            None => write!(f, "task {} (spawned at {})", self.id, self.spawned_at),
        }
    }
}

/// Starts a task on this core. It runs whether its handle is awaited or not; dropping the handle detaches it.
///
/// The future need not be `Send`. It is first polled after the caller has given way (asyncio's `create_task`), and
/// one that panics ends itself alone.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let task = corering_runtime::spawn(async { 6 * 7 }).name("answer");
///     assert_eq!(task.await.unwrap(), 42);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let spawned_at = Location::caller();
    match local::spawn(future, spawned_at) {
        Some(header) => JoinHandle::new(header),
        None => panic!("spawn was called outside a runtime: call it inside corering::run or Runtime::block_on"),
    }
}

/// The task that is running, if one is.
///
/// asyncio's `current_task`. The future of [`run`](crate::run) is a task, too.
pub fn current() -> Option<TaskInfo> {
    local::current()
}

/// All tasks of this core that have not ended, oldest first: awaited, detached or forgotten.
///
/// asyncio's `all_tasks`.
///
/// # Examples
///
/// ```
/// use corering_runtime::task;
///
/// corering_runtime::run(async {
///     corering_runtime::spawn(std::future::pending::<()>()).name("waits for ever");
///     let names: Vec<_> = task::all().iter().map(|task| task.name().map(str::to_owned)).collect();
///     assert!(names.contains(&Some("waits for ever".to_owned())));
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub fn all() -> Vec<TaskInfo> {
    local::all()
}
