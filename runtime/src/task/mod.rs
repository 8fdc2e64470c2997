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

mod calls;
pub mod cancel;
mod cells;
mod extra;
mod gather;
mod group;
mod header;
mod join;
mod join_set;
pub(crate) mod local;
mod local_scope;
mod raw;
mod select;
mod set;
mod shield;
mod state;
mod survey;
mod task_local;
mod unhandled;
mod waker;
mod yield_now;

use std::fmt;
use std::future::Future;
use std::panic::Location;

pub use self::calls::{Call, call_at, call_later};
pub use self::gather::{
    BufferUnordered, Gather, GatherSettled, NoneSucceeded, buffer_unordered, first_ok, gather, gather_settled,
    staggered, try_join_all,
};
pub use self::group::{Child, Failure, GroupError, SpawnError, StartError, Started, TaskGroup};
pub(crate) use self::join::Root;
pub use self::join::{AbortOnDrop, JoinError, JoinHandle};
pub use self::join_set::{AsCompleted, JoinSet, Joined, ReturnWhen, as_completed, wait, wait_timeout};
pub(crate) use self::local::{Local, Remote};
pub use self::local_scope::{LocalChild, LocalScope, LocalValue, local_scope};
#[doc(hidden)]
pub use self::select::{__turn, reexport};
pub use self::shield::{Shield, shield};
pub use self::survey::{TaskWaits, WaitsFor, survey};
pub use self::task_local::{Scope, TaskLocal};
pub use self::unhandled::{Unhandled, on_unhandled};
pub use self::yield_now::yield_now;

/// The number of a task, unique on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    /// No task's.
    const NONE: Self = Self(0);
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What is known of a task.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    id: TaskId,
    parent: Option<TaskId>,
    name: Option<String>,
    spawned_at: &'static Location<'static>,
}

impl TaskInfo {
    /// Its number.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The task that spawned it; `None` for the first.
    pub fn parent(&self) -> Option<TaskId> {
        self.parent
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
        None => outside_a_runtime("spawn"),
    }
}

/// As [`spawn`], but runs the task until it first waits before this returns. asyncio's eager tasks.
///
/// One that never waits has ended then.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let task = corering_runtime::task::spawn_eager(async { 6 * 7 });
///     assert!(task.is_finished());
///     assert_eq!(task.await.unwrap(), 42);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn spawn_eager<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match local::spawn_eager(future, Location::caller()) {
        Some(header) => JoinHandle::new(header),
        None => outside_a_runtime("spawn_eager"),
    }
}

/// Calls `function` when the tasks that are ready now have run. asyncio's `call_soon`.
///
/// The handle gives what it returns, or keeps it from being called.
///
/// # Panics
///
/// Outside a runtime.
#[doc(alias = "call_soon")]
#[track_caller]
pub fn defer<T: 'static>(function: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    spawn(async move { function() })
}

#[cold]
#[track_caller]
fn outside_a_runtime(what: &str) -> ! {
    panic!("{what} was called outside a runtime: call it inside corering::run or Runtime::block_on")
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
