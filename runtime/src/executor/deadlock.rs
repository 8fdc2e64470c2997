//! The report that nothing can ever run again.

use std::fmt;

use crate::task::TaskWaits;

/// Nothing can ever run again on a core: no task is ready, no timer armed, no operation in flight, and nobody has a
/// waker who could use it. Each task with what it waits for.
///
/// asyncio hangs then. The core is certain of it: a program with wakers on other threads, or in primitives of other
/// crates, is not reported, since they might be used; nor is one that [listens for
/// Ctrl-C](crate::Builder::cancel_on_ctrl_c), which may come.
///
/// # Examples
///
/// ```
/// use corering_sync::Event;
///
/// let deadlock = corering_runtime::run(async { Event::new().wait().await }).unwrap_err();
/// assert!(deadlock.to_string().contains("waits for Event::wait, called at"));
/// ```
#[derive(Clone, Debug)]
pub struct Deadlock {
    tasks: Vec<TaskWaits>,
}

impl Deadlock {
    pub(super) fn new(tasks: Vec<TaskWaits>) -> Self {
        Self { tasks }
    }

    /// All tasks, oldest first. One that waits for nothing has nothing that could ever wake it (as with
    /// [`std::future::pending`]).
    pub fn tasks(&self) -> &[TaskWaits] {
        &self.tasks
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock: nothing can ever run again on this core")?;
        for task in &self.tasks {
            write!(f, "\n{task}")?;
            if task.waits().is_empty() {
                f.write_str("\n  waits for nothing that could wake it")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Deadlock {}
