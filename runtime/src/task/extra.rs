//! What only some tasks have: kept apart, so that the others are small.
//!
//! All of it but the texts belongs to the thread of the core, and goes when the task ends. Texts may be dropped wherever
//! the task's memory is.

use std::rc::Rc;

use super::task_local::Binding;

/// Is told when a task has ended.
pub(super) trait Watch {
    /// The task that was watched under this key has ended: its output is there, its cleanup is over. For a note and a
    /// wake; nothing else happens in here.
    fn ended(&self, key: usize);
}

#[derive(Default)]
pub(super) struct Extra {
    pub(super) name: Option<Box<str>>,
    /// Why it was aborted, if that was said.
    pub(super) reason: Option<Box<str>>,
    /// Most that are watched are watched by one.
    pub(super) watcher: Option<(Rc<dyn Watch>, usize)>,
    pub(super) more_watchers: Vec<(Rc<dyn Watch>, usize)>,
    pub(super) locals: Option<Rc<Binding>>,
    /// Cleanup that was left by what this task dropped, and has not ended.
    pub(super) cleanups: usize,
}

impl Extra {
    pub(super) fn watch(&mut self, watcher: Rc<dyn Watch>, key: usize) {
        match &self.watcher {
            None => self.watcher = Some((watcher, key)),
            Some(_) => self.more_watchers.push((watcher, key)),
        }
    }

    /// Takes a watcher away.
    pub(super) fn unwatch(&mut self, watcher: &Rc<dyn Watch>) -> Option<(Rc<dyn Watch>, usize)> {
        let is_it = |(other, _): &(Rc<dyn Watch>, usize)| Rc::ptr_eq(other, watcher);
        if self.watcher.as_ref().is_some_and(is_it) {
            return std::mem::replace(&mut self.watcher, self.more_watchers.pop());
        }
        let at = self.more_watchers.iter().position(is_it)?;
        Some(self.more_watchers.swap_remove(at))
    }
}
