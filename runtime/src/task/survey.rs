//! Who waits for what: what a deadlock report is made of.
//!
//! A task can run again only if somebody wakes it, and every waker is counted. Those that hang in waits of this thread
//! (the primitives' and the handles' of tasks) are known one by one. If that is all there are of every task, and the
//! core itself has nothing to do, nobody is left who could wake anything.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;

use corering_sync::parked::{self, Waiting};

use super::header::{CLEANUPS, Header, JOINED};
use super::local::{self, Local};
use super::{TaskInfo, set};

/// A task, and what it waits for.
#[derive(Clone, Debug)]
pub struct TaskWaits {
    task: TaskInfo,
    waits: Vec<WaitsFor>,
}

impl TaskWaits {
    /// The task.
    pub fn task(&self) -> &TaskInfo {
        &self.task
    }

    /// What it waits for, as far as that is known: other tasks, and primitives of this project. Nothing, if nothing is
    /// known: it waits for an operation, a timer or something of another crate, or is ready to run.
    pub fn waits(&self) -> &[WaitsFor] {
        &self.waits
    }
}

impl fmt::Display for TaskWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.task)?;
        for waits in &self.waits {
            write!(f, "\n  {waits}")?;
        }
        Ok(())
    }
}

/// All tasks of this core that have not ended, oldest first, each with what it waits for and, in its
/// [`TaskInfo`], who spawned it. asyncio's `ps` and `pstree`.
///
/// # Examples
///
/// ```
/// use corering_runtime::task;
///
/// corering_runtime::run(async {
///     let event = std::rc::Rc::new(corering_sync::Event::new());
///     let waits = event.clone();
///     let _task = corering_runtime::spawn(async move { waits.wait().await }).name("patient");
///     task::yield_now().await;
///     let all: Vec<_> = task::survey().iter().map(ToString::to_string).collect();
///     assert!(all[1].contains("'patient'") && all[1].contains("waits for Event::wait, called at"));
///     event.set();
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[doc(alias = "pstree")]
pub fn survey() -> Vec<TaskWaits> {
    let parts = set::all().into_iter().flat_map(|set| set.parts.into_iter().map(move |(part, _)| (part, set.task)));
    let parts = parts.collect();
    local::with(|local| local.what_each_waits_for(&local.oldest_first(), &parked::on_this_thread(), &parts))
        .unwrap_or_default()
}

/// What a task waits for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WaitsFor {
    /// Another task to end.
    Task(TaskInfo),
    /// A primitive.
    Primitive {
        /// Which: `Lock::lock`, `Queue::get`.
        what: &'static str,
        /// Where that was called.
        at: &'static Location<'static>,
        /// It has been given that, and does not take it: another part of the task runs instead.
        given: bool,
        /// The task held that itself when it began to wait.
        held_by_itself: bool,
    },
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => write!(f, "waits for {task}"),
            Self::Primitive { what, at, given: true, .. } => {
                write!(f, "was given {what}, called at {at}, and does not poll that wait to take it")
            }
            Self::Primitive { what, at, held_by_itself, .. } => {
                write!(f, "waits for {what}, called at {at}")?;
                if *held_by_itself {
                    write!(f, "; the task itself held it then")?;
                }
                Ok(())
            }
        }
    }
}

impl WaitsFor {
    fn of(waiting: &Waiting) -> Self {
        let &Waiting { what, at, is_chosen, held_by_itself, .. } = waiting;
        Self::Primitive { what, at, given: is_chosen, held_by_itself }
    }
}

/// Calls `look` with what the waker points to that waits for a task's end.
fn look_at_joiner<R>(header: &Header, look: impl FnOnce(*const ()) -> R) -> Option<R> {
    let joiner = header.joiner.take();
    let result = joiner.as_ref().map(|joiner| look(joiner.data()));
    header.joiner.set(joiner);
    result
}

fn address(task: NonNull<Header>) -> *const () {
    task.as_ptr().cast_const().cast()
}

impl Local {
    /// Every task and what it waits for, if nobody is left who could wake any of them. The caller says that the core
    /// itself has nothing to do.
    pub(crate) fn stuck(&self) -> Option<Vec<TaskWaits>> {
        let tasks = self.oldest_first();
        let waiting = parked::on_this_thread();
        let mut known: HashMap<*const (), isize> = HashMap::new();
        for waiting in waiting.iter().filter(|waiting| !waiting.is_chosen) {
            *known.entry(waiting.task).or_default() += 1;
        }
        for task in &tasks {
            // SAFETY: what is in the list has not ended, so the core holds its reference.
            look_at_joiner(unsafe { task.as_ref() }, |joiner| *known.entry(joiner).or_default() += 1);
        }
        // Wakers of parts of a task stand for the task's own.
        let mut parts: HashMap<*const (), *const ()> = HashMap::new();
        for set in set::all() {
            for (part, wakers) in set.parts {
                if known.get(&part).copied().unwrap_or(0) != wakers {
                    return None;
                }
                parts.insert(part, set.task);
            }
            *known.entry(set.task).or_default() += 1;
        }
        for task in &tasks {
            // SAFETY: as above.
            let header = unsafe { task.as_ref() };
            let handles = 1 + isize::from(header.has(JOINED));
            let is_known = header.references() - handles == known.get(&address(*task)).copied().unwrap_or(0);
            if !is_known || header.has(CLEANUPS) {
                return None;
            }
        }
        Some(self.what_each_waits_for(&tasks, &waiting, &parts))
    }

    fn what_each_waits_for(
        &self,
        tasks: &[NonNull<Header>],
        waiting: &[Waiting],
        parts: &HashMap<*const (), *const ()>,
    ) -> Vec<TaskWaits> {
        let mut waits: HashMap<*const (), Vec<WaitsFor>> = HashMap::new();
        let owner = |task: *const ()| parts.get(&task).copied().unwrap_or(task);
        // Latest first: turned round.
        for waiting in waiting.iter().rev() {
            waits.entry(owner(waiting.task)).or_default().push(WaitsFor::of(waiting));
        }
        for task in tasks {
            // SAFETY: what is in the list has not ended, so the core holds its reference.
            let header = unsafe { task.as_ref() };
            if let Some(joiner) = look_at_joiner(header, owner) {
                waits.entry(joiner).or_default().push(WaitsFor::Task(header.info()));
            }
        }
        let stuck = |task: &NonNull<Header>| TaskWaits {
            // SAFETY: as above.
            task: unsafe { task.as_ref() }.info(),
            waits: waits.remove(&address(*task)).unwrap_or_default(),
        };
        tasks.iter().map(stuck).collect()
    }

    /// Tasks that were given something and have run since without taking it, and those that wait for what they have
    /// themselves. For when no task is ready.
    pub(crate) fn suspicious(&self) -> Vec<TaskWaits> {
        let suspicious = |waiting: &Waiting| waiting.is_chosen || waiting.held_by_itself;
        let mut waiting = parked::on_this_thread();
        waiting.retain(suspicious);
        if waiting.is_empty() {
            return Vec::new();
        }
        let mut found = self.what_each_waits_for(&self.oldest_first(), &waiting, &HashMap::new());
        for task in &mut found {
            task.waits.retain(|waits| matches!(waits, WaitsFor::Primitive { .. }));
        }
        found.retain(|task| !task.waits.is_empty());
        found
    }
}
