//! The tasks of this thread's core: its run queue, its list of all tasks, and the inbox by which others wake them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use corering_sync::inbox::{Closed, Inbox};
use slab::Slab;

use super::cells::{CellKind, Cells, KEPT};
use super::header::{
    ABORTED, CLEANUPS, COMPLETE, Describe, EXTRA, Header, JOINED, LINGERS, LOCALS, SCHEDULED, SHIELDED,
};
use super::task_local::Binding;
use super::unhandled::{self, Unhandled};
use super::{TaskId, TaskInfo, raw, waker};
use crate::driver::host::Host;
use crate::driver::mailbox::Mailbox;
use crate::scope;
use crate::sys::current::{self, CoreId};
use crate::sys::random::Random;
use crate::time::unlimited;

thread_local! {
    static CURRENT: Cell<*const Local> = const { Cell::new(ptr::null()) };
    static RUNNING: Cell<Option<NonNull<Header>>> = const { Cell::new(None) };
}

/// The part of a core's tasks that other threads touch.
pub(crate) struct Remote {
    inbox: Inbox<Header>,
    mailbox: Arc<Mailbox>,
}

// SAFETY: the inbox is for all threads, and what of a header other threads touch is atomic.
unsafe impl Sync for Remote {}
// SAFETY: as above.
unsafe impl Send for Remote {}

impl Remote {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Arc<Self> {
        Arc::new(Self { inbox: Inbox::new(), mailbox })
    }

    /// # Safety
    ///
    /// A reference goes along with the task, which is in no inbox.
    pub(super) unsafe fn push(&self, task: NonNull<Header>) -> Result<(), Closed> {
        // SAFETY: the reference keeps the task until it has been taken out.
        unsafe { self.inbox.push(task) }?;
        self.mailbox.wake();
        Ok(())
    }
}

/// One core's tasks.
pub(crate) struct Local {
    core: CoreId,
    remote: Arc<Remote>,
    first: Cell<Option<NonNull<Header>>>,
    last: Cell<Option<NonNull<Header>>>,
    tasks: RefCell<Slab<NonNull<Header>>>,
    next_id: Cell<u64>,
    hook: RefCell<Option<Rc<unhandled::Hook>>>,
    cells: Cells,
    /// How long cleanup may take that a dropped future has left.
    cleanup_limit: Duration,
    /// How many such cleanups have not ended.
    cleanups: Cell<usize>,
    /// No more is taken over: the core is at its very end.
    at_its_end: Cell<bool>,
    /// If ready tasks run in any order: what the next is drawn from.
    shuffled: Option<RefCell<Random>>,
    /// Called if a task becomes ready while the loop does not run.
    host: Option<Arc<Host>>,
}

impl Local {
    pub(crate) fn new(
        core: CoreId,
        remote: Arc<Remote>,
        cleanup_limit: Duration,
        shuffled: Option<u64>,
        host: Option<Arc<Host>>,
    ) -> Self {
        Self {
            core,
            remote,
            first: Cell::new(None),
            last: Cell::new(None),
            tasks: RefCell::new(Slab::new()),
            next_id: Cell::new(1),
            hook: RefCell::new(None),
            cells: Cells::new(KEPT),
            cleanup_limit,
            cleanups: Cell::new(0),
            at_its_end: Cell::new(false),
            shuffled: shuffled.map(|seed| RefCell::new(Random::new(seed))),
            host,
        }
    }

    /// Makes these the tasks of this thread.
    ///
    /// # Safety
    ///
    /// [`uninstall`] is called, on this thread, before `self` moves or ends.
    pub(crate) unsafe fn install(&self) {
        scope::set_task_waits(|| linger().map(|lingering| Box::new(lingering) as Box<dyn std::any::Any>));
        CURRENT.set(ptr::from_ref(self));
    }

    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.first.get().is_some()
    }

    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        !self.remote.inbox.is_empty()
    }

    /// Schedules what other threads have woken.
    pub(crate) fn open_inbox(&self) {
        for task in self.remote.inbox.take() {
            // SAFETY: a reference came along.
            let header = unsafe { task.as_ref() };
            if header.state.received() {
                self.schedule(header);
            }
            // SAFETY: the reference that came along.
            unsafe { Header::release(task) };
        }
    }

    /// What is known of the task that runs next.
    pub(crate) fn next_info(&self) -> Option<TaskInfo> {
        // SAFETY: it is in the queue, so the core holds its reference.
        self.first.get().map(|task| unsafe { task.as_ref() }.info())
    }

    /// Runs the next ready task. False if there is none.
    #[inline]
    pub(crate) fn run_next(&self) -> bool {
        let Some(task) = self.pop() else {
            return false;
        };
        // SAFETY: what is in the run queue has not given up the core's reference.
        let header = unsafe { task.as_ref() };
        header.unset(SCHEDULED);
        if header.has(COMPLETE | LINGERS) {
            if header.has(COMPLETE) {
                // SAFETY: `finish` left the core's reference to the run queue.
                unsafe { Header::release_own(task) };
            }
            return true;
        }
        self.run(task);
        true
    }

    /// Polls a task that has not ended, or drops its future if it was aborted.
    #[inline]
    fn run(&self, task: NonNull<Header>) {
        // SAFETY: the core holds a reference of what has not ended.
        let header = unsafe { task.as_ref() };
        let before = RUNNING.replace(Some(task));
        let ended = if header.has(ABORTED) {
            // SAFETY: the core's thread, and the task is not being polled.
            unsafe { (header.vtable.cancel)(task) };
            true
        } else {
            // SAFETY: the core holds a reference for as long as the task has not ended.
            let waker = unsafe { waker::lend(task) };
            // SAFETY: the core's thread, and the task is not being polled.
            unsafe { (header.vtable.poll)(task, &mut Context::from_waker(&waker)) }
        };
        RUNNING.set(before);
        if ended {
            if header.has(CLEANUPS) {
                header.set(LINGERS);
            } else {
                self.finish(task);
            }
        }
    }

    /// The task has ended: its handle is told, and the core lets go of it.
    #[inline]
    fn finish(&self, task: NonNull<Header>) {
        // SAFETY: the core still holds its reference.
        let header = unsafe { task.as_ref() };
        header.set(COMPLETE);
        self.tasks.borrow_mut().remove(header.place.get());
        if header.has(EXTRA) {
            tell_watchers(header);
        }
        if header.has(JOINED) {
            if let Some(joiner) = header.joiner.take() {
                joiner.wake();
            }
        } else {
            self.drop_output(task);
        }
        if !header.has(SCHEDULED) {
            // SAFETY: the task has ended and is in no queue.
            unsafe { Header::release_own(task) };
        }
    }

    /// Nobody will fetch the output: it is dropped, and an error in it told to the hook.
    #[inline]
    fn drop_output(&self, task: NonNull<Header>) {
        // SAFETY: a reference is held by the caller.
        let header = unsafe { task.as_ref() };
        // SAFETY: the core's thread; the task has ended and its handle is gone.
        if let Some(what) = unsafe { (header.vtable.drop_output)(task) } {
            unhandled::report(self.hook(), &Unhandled::new(header.info(), what));
        }
    }

    fn hook(&self) -> Option<Rc<unhandled::Hook>> {
        self.hook.borrow().clone()
    }

    /// Drops all tasks, in the order of their spawning, and those that these spawn while they are dropped, but for
    /// those that run cleanup.
    pub(crate) fn abort_unshielded(&self) {
        self.abort_all_but(SHIELDED | LINGERS);
    }

    /// Drops all tasks, also those that run cleanup; with them, those end that wait for it.
    pub(crate) fn abort_all(&self) {
        self.at_its_end.set(true);
        self.abort_all_but(LINGERS);
    }

    fn abort_all_but(&self, spared: u16) {
        loop {
            let mut tasks: Vec<_> = self.oldest_first();
            // SAFETY: it is in the list of those that have not ended, so the core holds its reference.
            tasks.retain(|task| !unsafe { task.as_ref() }.has(spared));
            let is_last = tasks.is_empty();
            for task in tasks {
                // SAFETY: it was in the list a moment ago; it may have ended since only if it was run, and nothing
                //         runs here.
                let header = unsafe { task.as_ref() };
                header.set(ABORTED);
                self.schedule(header);
            }
            // Also what has ended and was still in the queue: the queue's reference is the core's own.
            while self.run_next() {}
            if is_last {
                return;
            }
        }
    }

    /// How many cleanups of dropped futures have not ended.
    pub(crate) fn cleanups(&self) -> usize {
        self.cleanups.get()
    }

    /// Lets nothing more in. What was left is given back as by any other thread.
    pub(crate) fn close(&self) {
        for task in self.remote.inbox.close() {
            // SAFETY: a reference came along.
            let then = unsafe { task.as_ref() }.state.refused();
            // SAFETY: nothing is sent.
            unsafe { Header::act(task, then) };
        }
    }

    /// Makes a task, which is not scheduled yet.
    #[inline]
    fn allocate<F: Future>(&self, future: F, at: &'static Location<'static>, describe: Describe) -> NonNull<Header> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let parent = running();
        // SAFETY: the core holds the reference of the task that runs.
        let parent = parent.as_ref().map(|parent| unsafe { parent.as_ref() });
        let parent_id = parent.map_or(TaskId::NONE, |parent| parent.id);
        let task = raw::allocate(future, &self.cells, |vtable| {
            let remote = Arc::as_ptr(&self.remote);
            Header::new(vtable, remote, self.core, TaskId(id), parent_id, at, describe)
        });
        // SAFETY: it has just been made.
        let header = unsafe { task.as_ref() };
        header.place.set(self.tasks.borrow_mut().insert(task));
        if let Some(parent) = parent.filter(|parent| parent.has(LOCALS)) {
            let locals = parent.look_at_extra(|extra| extra.locals.clone()).flatten();
            header.with_extra(|extra| extra.locals = locals);
            header.set(LOCALS);
        }
        task
    }

    #[inline]
    fn schedule(&self, header: &Header) {
        if header.has(SCHEDULED | COMPLETE) {
            return;
        }
        header.set(SCHEDULED);
        header.next.set(None);
        let task = NonNull::from(header);
        match self.last.replace(Some(task)) {
            // SAFETY: it is in the queue, so the core holds its reference.
            Some(last) => unsafe { last.as_ref() }.next.set(Some(task)),
            None => {
                self.first.set(Some(task));
                if let Some(host) = &self.host {
                    host.call();
                }
            }
        }
    }

    #[inline]
    fn pop(&self) -> Option<NonNull<Header>> {
        let task = self.first.get()?;
        // SAFETY: it is in the queue, so the core holds its reference.
        let next = unsafe { task.as_ref() }.next.get();
        self.first.set(next);
        if next.is_none() {
            self.last.set(None);
        }
        Some(task)
    }

    #[inline]
    pub(crate) fn is_shuffled(&self) -> bool {
        self.shuffled.is_some()
    }

    /// Puts one of the ready tasks, drawn at random, before all others.
    #[cold]
    pub(crate) fn shuffle(&self) {
        let (Some(random), Some(first)) = (&self.shuffled, self.first.get()) else {
            return;
        };
        // SAFETY: what is in the queue has not given up the core's reference, here and below.
        let next = |task: NonNull<Header>| unsafe { task.as_ref() }.next.get();
        let ready = std::iter::successors(Some(first), |task| next(*task)).count() as u64;
        let Some(ahead) = random.borrow_mut().below(ready).checked_sub(1) else {
            return;
        };
        let before = (0..ahead).try_fold(first, |task, _| next(task));
        let Some((before, drawn)) = before.and_then(|before| Some((before, next(before)?))) else {
            return;
        };
        // SAFETY: as above.
        unsafe { before.as_ref() }.next.set(next(drawn));
        if self.last.get() == Some(drawn) {
            self.last.set(Some(before));
        }
        // SAFETY: as above.
        unsafe { drawn.as_ref() }.next.set(Some(first));
        self.first.set(Some(drawn));
    }

    pub(super) fn oldest_first(&self) -> Vec<NonNull<Header>> {
        let mut tasks: Vec<_> = self.tasks.borrow().iter().map(|(_, task)| *task).collect();
        // SAFETY: what is in the list has not ended, so the core holds its reference.
        tasks.sort_by_key(|task| unsafe { task.as_ref() }.id);
        tasks
    }
}

/// Leaves this thread without tasks, if these are its.
pub(crate) fn uninstall(local: &Local) {
    if ptr::eq(CURRENT.get(), local) {
        CURRENT.set(ptr::null());
    }
}

#[inline]
pub(super) fn with<R>(use_them: impl FnOnce(&Local) -> R) -> Option<R> {
    let local = CURRENT.get();
    if local.is_null() {
        return None;
    }
    // SAFETY: `install` promises that they stay where they are until `uninstall` clears the pointer.
    let local = unsafe { &*local };
    // In a forked child this thread has no core, though the pointer is still there.
    (local.core == current::core()).then(|| use_them(local))
}

/// Takes back the memory of a task: this thread's core may have it, whosever it was.
///
/// # Safety
///
/// As for [`CellKind::release`].
#[inline]
pub(super) unsafe fn give_back(kind: CellKind, cell: NonNull<u8>) {
    // SAFETY: the caller's promise.
    if with(|local| unsafe { local.cells.put(kind, cell) }).is_none() {
        // SAFETY: the caller's promise.
        unsafe { kind.release(cell) };
    }
}

/// Schedules a task of this thread's core.
#[inline]
pub(super) fn schedule(header: &Header) {
    with(|local| local.schedule(header));
}

/// Makes a task and schedules it. `None` outside a runtime.
#[inline]
pub(super) fn spawn<F>(future: F, at: &'static Location<'static>) -> Option<NonNull<Header>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // SAFETY: nothing is borrowed by the future or its output.
    unsafe { spawn_unchecked(future, at, unhandled::describe::<F::Output>) }
}

/// As [`spawn`], for a future that borrows.
///
/// # Safety
///
/// The future has ended or been dropped before what it borrows ends, and its output likewise; `describe` is for its
/// output.
#[inline]
pub(super) unsafe fn spawn_unchecked<F: Future>(
    future: F,
    at: &'static Location<'static>,
    describe: Describe,
) -> Option<NonNull<Header>> {
    with(|local| {
        let task = local.allocate(future, at, describe);
        // SAFETY: it has just been made.
        local.schedule(unsafe { task.as_ref() });
        task
    })
}

/// Makes a task and runs it until it first waits. `None` outside a runtime.
#[inline]
pub(super) fn spawn_eager<F>(future: F, at: &'static Location<'static>) -> Option<NonNull<Header>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    with(|local| {
        let task = local.allocate(future, at, unhandled::describe::<F::Output>);
        // What it drops and what limits it is its own affair, not of whoever runs it.
        scope::apart(|| unlimited(|| local.run(task)));
        task
    })
}

/// Starts a task that runs cleanup: it has no handle, and outlives the end of the runtime's other tasks.
pub(super) fn spawn_cleanup(
    cleanup: impl Future<Output = Result<(), String>> + 'static,
    at: &'static Location<'static>,
) {
    /// Counted as long as it lives.
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            with(|local| local.cleanups.set(local.cleanups.get() - 1));
        }
    }
    with(|local| local.cleanups.set(local.cleanups.get() + 1));
    let counted = Counted;
    let task = spawn(
        async move {
            let _counted = counted;
            cleanup.await
        },
        at,
    );
    if let Some(task) = task {
        // SAFETY: it has just been made, and its handle's reference is held.
        unsafe { task.as_ref() }.set(SHIELDED);
        // SAFETY: the handle's reference, which nobody else has.
        unsafe { detach(task, "cleanup") };
    }
}

/// Starts a task that nobody awaits, whatever it gives. Without a runtime the future is dropped.
pub(super) fn spawn_detached(future: impl Future<Output = ()> + 'static, name: &str) {
    let at = current().map_or(Location::caller(), |task| task.spawned_at);
    if let Some(task) = spawn(future, at) {
        // SAFETY: the handle's reference, which nobody else has.
        unsafe { detach(task, name) };
    }
}

/// Lets a task that was just made run without a handle.
///
/// # Safety
///
/// The caller holds the handle's reference, which is gone then.
unsafe fn detach(task: NonNull<Header>, name: &str) {
    // SAFETY: the handle's reference.
    unsafe { task.as_ref() }.with_extra(|extra| extra.name = Some(name.into()));
    // SAFETY: as above.
    unsafe { release_joined(task) };
}

/// How long cleanup may take here. `None` where none can be run any more.
pub(super) fn cleanup_limit() -> Option<Duration> {
    with(|local| (!local.at_its_end.get()).then_some(local.cleanup_limit)).flatten()
}

/// A task that does not end before some cleanup has: before this is dropped.
struct Lingering(NonNull<Header>);

/// Has the task that runs wait with its end.
fn linger() -> Option<Lingering> {
    let task = running()?;
    // SAFETY: while a task runs, the core holds its reference.
    let header = unsafe { task.as_ref() };
    header.take_reference();
    header.with_extra(|extra| extra.cleanups += 1);
    header.set(CLEANUPS);
    Some(Lingering(task))
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // SAFETY: the reference that was taken.
        let header = unsafe { self.0.as_ref() };
        let left = header.with_extra(|extra| {
            extra.cleanups -= 1;
            extra.cleanups
        });
        if left == 0 {
            header.unset(CLEANUPS);
            if header.has(LINGERS) {
                header.unset(LINGERS);
                with(|local| local.finish(self.0));
            }
        }
        // SAFETY: the reference that was taken.
        unsafe { Header::release(self.0) };
    }
}

/// As [`abort`], for a reason, of which the joiner is told. The first one stands.
pub(super) fn abort_for(header: &Header, reason: Box<str>) -> bool {
    let aborted = abort(header);
    if aborted {
        header.with_extra(|extra| {
            extra.reason.get_or_insert(reason);
        });
    }
    aborted
}

/// Has a task dropped at its next turn. False if there is nothing to drop any more.
pub(super) fn abort(header: &Header) -> bool {
    if header.has(COMPLETE | LINGERS) || !header.at_home() {
        return false;
    }
    header.set(ABORTED);
    schedule(header);
    true
}

/// Tells those who watch that a task has ended; what belongs to this thread goes.
#[cold]
fn tell_watchers(header: &Header) {
    let (watcher, more, locals) = header
        .with_extra(|extra| (extra.watcher.take(), std::mem::take(&mut extra.more_watchers), extra.locals.take()));
    for (watcher, key) in watcher.into_iter().chain(more) {
        watcher.ended(key);
    }
    drop(locals);
}

/// The task-locals of the task that runs.
pub(super) fn locals() -> Option<Rc<Binding>> {
    let task = running()?;
    // SAFETY: while a task runs, the core holds its reference.
    unsafe { task.as_ref() }.look_at_extra(|extra| extra.locals.clone()).flatten()
}

/// Sets the task-locals of the task that runs. Those before; `None` if no task runs.
pub(super) fn set_locals(locals: Option<Rc<Binding>>) -> Option<Option<Rc<Binding>>> {
    let task = running()?;
    // SAFETY: while a task runs, the core holds its reference.
    let header = unsafe { task.as_ref() };
    if locals.is_some() {
        header.set(LOCALS);
    } else {
        header.unset(LOCALS);
    }
    Some(header.with_extra(|extra| std::mem::replace(&mut extra.locals, locals)))
}

/// What is known of a task that never was.
pub(super) fn nobody(at: &'static Location<'static>) -> TaskInfo {
    TaskInfo { id: TaskId::NONE, parent: None, name: None, spawned_at: at }
}

/// Tells the hook what went wrong in the task that runs.
pub(super) fn report(at: &'static Location<'static>, what: &str) {
    let task = current().unwrap_or_else(|| nobody(at));
    if let Some(hook) = with(Local::hook) {
        unhandled::report(hook, &Unhandled::new(task, what.to_owned()));
    }
}

/// The handle of a task has gone, on the core's thread (or after the core has gone).
///
/// # Safety
///
/// The caller holds the handle's reference, which is gone then.
#[inline]
pub(super) unsafe fn release_joined(task: NonNull<Header>) {
    // SAFETY: the handle's reference.
    let header = unsafe { task.as_ref() };
    header.unset(JOINED);
    let joiner = header.joiner.take();
    drop(joiner);
    if header.has(COMPLETE) {
        // Nothing of the core is borrowed while the output is dropped: it may do anything.
        // SAFETY: the thread of the core (or of the one that was); the task has ended and its handle is going.
        let wrong = unsafe { (header.vtable.drop_output)(task) };
        if let (Some(what), Some(hook)) = (wrong, with(Local::hook)) {
            unhandled::report(hook, &Unhandled::new(header.info(), what));
        }
    }
    if header.has(super::header::SOLE) {
        // SAFETY: the handle's reference was the only one.
        unsafe { Header::free(task) };
    } else {
        // SAFETY: the handle's reference.
        unsafe { Header::release(task) };
    }
}

/// The task that runs on this thread.
pub(super) fn running() -> Option<NonNull<Header>> {
    RUNNING.get()
}

pub(super) fn current() -> Option<TaskInfo> {
    // SAFETY: while a task runs, the core holds its reference.
    running().map(|task| unsafe { task.as_ref() }.info())
}

pub(super) fn all() -> Vec<TaskInfo> {
    with(|local| {
        let tasks = local.oldest_first();
        // SAFETY: what is in the list has not ended, so the core holds its reference.
        tasks.iter().map(|task| unsafe { task.as_ref() }.info()).collect()
    })
    .unwrap_or_default()
}

/// Sets what is told of errors that nobody fetches.
pub(super) fn set_hook(hook: Rc<unhandled::Hook>) {
    let before = with(|local| local.hook.replace(Some(hook)));
    assert!(
        before.is_some(),
        "on_unhandled was called outside a runtime: call it inside corering::run or Runtime::block_on"
    );
}

/// How many tasks of this thread's core have not ended.
pub(crate) fn alive() -> usize {
    with(|local| local.tasks.borrow().len()).unwrap_or(0)
}
