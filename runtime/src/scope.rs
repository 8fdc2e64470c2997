//! Who waits for the cleanup that a dropped future leaves behind.
//!
//! Whoever cancels something and must not go on before it is cleaned up drops it within [`dropping`]. Cleanup that is
//! left meanwhile is counted, and waited for with [`Left::poll_ended`]. This layer only counts; it is run by
//! `task::cancel`, which also knows the task that is the scope where there is no nearer one.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::thread::LocalKey;

thread_local! {
    /// Those who are dropping something, innermost last, each with what was left so far.
    static DROPPING: RefCell<Vec<Option<Left>>> = const { RefCell::new(Vec::new()) };
    /// What has not ended. There are few at a time.
    static WAITED_FOR: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Looks at one of these. They may be gone when a core ends within the destructors of its thread; then nobody waits.
fn with<T: 'static, R: Default>(which: &'static LocalKey<RefCell<T>>, look: impl FnOnce(&mut T) -> R) -> R {
    which.try_with(|value| look(&mut value.borrow_mut())).unwrap_or_default()
}

struct Entry {
    number: u64,
    left: usize,
    waker: Option<Waker>,
}

/// Cleanup that was left, to be waited for on the thread where it was. A number, so that futures that hold it may be
/// sent before they are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left(u64);

impl Left {
    /// Ready when all of it has ended.
    pub(crate) fn poll_ended(self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let before = with(&WAITED_FOR, |entries| {
            let entry = entries.iter_mut().find(|entry| entry.number == self.0)?;
            Some(entry.waker.replace(waker))
        });
        // The waker of before is dropped with nothing borrowed.
        if before.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// One cleanup; it has ended when this is dropped.
pub(crate) struct Cleanup(Left);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let waker = with(&WAITED_FOR, |entries| {
            let at = entries.iter().position(|entry| entry.number == self.0.0)?;
            entries[at].left -= 1;
            if entries[at].left > 0 {
                return None;
            }
            entries.swap_remove(at).waker
        });
        if let Some(waker) = waker {
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
            with(&DROPPING, Vec::pop).flatten()
        }
    }
    impl Drop for Level {
        fn drop(&mut self) {
            self.take();
        }
    }
    with(&DROPPING, |dropping| dropping.push(None));
    let level = Level;
    drop_it();
    let left = level.take();
    std::mem::forget(level);
    left
}

/// One more cleanup, for whoever is dropping something right now. `None` if nobody is.
pub(crate) fn leave_cleanup() -> Option<Cleanup> {
    let left = with(&DROPPING, |dropping| {
        let nearest = dropping.last_mut()?;
        Some(*nearest.get_or_insert_with(|| Left(NEXT.replace(NEXT.get() + 1))))
    })?;
    with(&WAITED_FOR, |entries| match entries.iter_mut().find(|entry| entry.number == left.0) {
        Some(entry) => entry.left += 1,
        None => entries.push(Entry { number: left.0, left: 1, waker: None }),
    });
    Some(Cleanup(left))
}

/// Runs what has nothing to do with those who are dropping something further up.
pub(crate) fn apart<R>(run: impl FnOnce() -> R) -> R {
    struct Back(Vec<Option<Left>>);
    impl Drop for Back {
        fn drop(&mut self) {
            let before = std::mem::take(&mut self.0);
            with(&DROPPING, |dropping| *dropping = before);
        }
    }
    let _back = Back(with(&DROPPING, std::mem::take));
    run()
}
