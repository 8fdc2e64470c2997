//! Who waits for the cleanup that a dropped future leaves behind.
//!
//! Whoever cancels something and must not go on before it is cleaned up drops it within [`dropping`]. Cleanup that is
//! left meanwhile is counted, and waited for with [`Left::poll_ended`]. This layer only counts; it is run by
//! `task::cancel`. Where there is no nearer scope, it is the task that runs; how that waits, this layer is told.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::LocalKey;

thread_local! {
    /// Those who are dropping something, innermost last, each with the number of what was left so far.
    static DROPPING: RefCell<Vec<Option<u64>>> = const { RefCell::new(Vec::new()) };
    /// What has not ended. There are few at a time.
    static WAITED_FOR: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    /// Has the task that runs wait until what this returns is dropped.
    static TASK_WAITS: Cell<Option<TaskWaits>> = const { Cell::new(None) };
}

/// The same number for no two, on whatever thread: what holds one may be sent.
static NEXT: AtomicU64 = AtomicU64::new(0);

type Waiting = Box<dyn Any>;
type TaskWaits = fn() -> Option<Waiting>;

struct Entry {
    number: u64,
    left: usize,
    waker: Option<Waker>,
    /// Of the scope around, if whoever waited has gone.
    outer: Option<Nearest>,
}

/// Whoever waits until this is dropped: the nearest scope.
pub(crate) enum Nearest {
    Dropping { _cleanup: Cleanup },
    Task { _waiting: Waiting },
}

/// Looks at one of these. They may be gone when a core ends within the destructors of its thread; then nobody waits.
fn with<T: 'static, R: Default>(which: &'static LocalKey<RefCell<T>>, look: impl FnOnce(&mut T) -> R) -> R {
    which.try_with(|value| look(&mut value.borrow_mut())).unwrap_or_default()
}

/// Says how the task that runs is made to wait.
pub(crate) fn set_task_waits(waits: TaskWaits) {
    // Without it nobody waits, as above.
    let _ = TASK_WAITS.try_with(|place| place.set(Some(waits)));
}

/// Cleanup that was left, to be waited for on the thread where it was. A number, so that futures that hold it may be
/// sent before they are polled.
///
/// Dropped before all of it has ended, it has the scope around wait for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left(u64);

impl Left {
    /// Ready when all of it has ended.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let before = self.with_entry(|entry| entry.waker.replace(waker));
        // The waker of before is dropped with nothing borrowed.
        if before.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// `None` if it has ended.
    fn with_entry<R>(&self, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        with(&WAITED_FOR, |entries| entries.iter_mut().find(|entry| entry.number == self.0).map(change))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let Some(waker) = self.with_entry(|entry| entry.waker.take()) else {
            return;
        };
        drop(waker);
        let outer = nearest();
        self.with_entry(|entry| entry.outer = outer);
    }
}

/// One cleanup, by the number of what it belongs to; it has ended when this is dropped.
pub(crate) struct Cleanup(u64);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let ended = with(&WAITED_FOR, |entries| {
            let at = entries.iter().position(|entry| entry.number == self.0)?;
            entries[at].left -= 1;
            (entries[at].left == 0).then(|| entries.swap_remove(at))
        });
        if let Some(waker) = ended.and_then(|entry| entry.waker) {
            waker.wake();
        }
    }
}

/// Drops something; returns what has to be waited for before that is over.
pub(crate) fn dropping(drop_it: impl FnOnce()) -> Option<Left> {
    /// Takes the level away again if the destructor panics.
    struct Level;
    impl Level {
        fn take(&self) -> Option<Left> {
            with(&DROPPING, Vec::pop).flatten().map(Left)
        }
    }
    impl Drop for Level {
        fn drop(&mut self) {
            drop(self.take());
        }
    }
    with(&DROPPING, |dropping| dropping.push(None));
    let level = Level;
    drop_it();
    let left = level.take();
    std::mem::forget(level);
    left
}

/// Has the nearest scope wait: whoever is dropping something right now, else the task that runs. `None` if there is
/// neither.
pub(crate) fn nearest() -> Option<Nearest> {
    if let Some(cleanup) = leave_cleanup() {
        return Some(Nearest::Dropping { _cleanup: cleanup });
    }
    let task_waits = TASK_WAITS.try_with(Cell::get).ok().flatten()?;
    task_waits().map(|waiting| Nearest::Task { _waiting: waiting })
}

/// One more cleanup, for whoever is dropping something right now. `None` if nobody is.
fn leave_cleanup() -> Option<Cleanup> {
    let number = with(&DROPPING, |dropping| {
        let nearest = dropping.last_mut()?;
        Some(*nearest.get_or_insert_with(|| NEXT.fetch_add(1, Ordering::Relaxed)))
    })?;
    with(&WAITED_FOR, |entries| match entries.iter_mut().find(|entry| entry.number == number) {
        Some(entry) => entry.left += 1,
        None => entries.push(Entry { number, left: 1, waker: None, outer: None }),
    });
    Some(Cleanup(number))
}

/// Runs what has nothing to do with those who are dropping something further up.
pub(crate) fn apart<R>(run: impl FnOnce() -> R) -> R {
    struct Back(Vec<Option<u64>>);
    impl Drop for Back {
        fn drop(&mut self) {
            let before = std::mem::take(&mut self.0);
            with(&DROPPING, |dropping| *dropping = before);
        }
    }
    let _back = Back(with(&DROPPING, std::mem::take));
    run()
}
