//! A wait that is polled from within other futures.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::task::{Context, Poll};

use crate::parked::Parked;

/// Something that one task is told of, and looks for by polling: for futures and streams that are put together by
/// hand, and wait for one thing as long as they live.
///
/// What is told while nobody waits is found by the next poll. The task that waits is known to
/// [`parked`](crate::parked).
///
/// # Examples
///
/// ```
/// use corering::sync::Notice;
/// use std::future::poll_fn;
/// use std::rc::Rc;
///
/// corering::run(async {
///     let notice = Rc::new(Notice::new("an answer"));
///     corering::spawn({
///         let notice = notice.clone();
///         async move { notice.tell() }
///     });
///     poll_fn(|cx| notice.poll(cx)).await;
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
pub struct Notice(Box<Inner>);

struct Inner {
    told: Cell<bool>,
    waits: Cell<bool>,
    parked: Parked,
}

impl Notice {
    /// One that nobody has told. `what` is what is waited for, for reports.
    #[track_caller]
    pub fn new(what: &'static str) -> Self {
        Self::at(what, Location::caller())
    }

    /// As [`new`](Self::new), for a wait that was asked for there.
    pub fn at(what: &'static str, at: &'static Location<'static>) -> Self {
        Self(Box::new(Inner { told: Cell::new(false), waits: Cell::new(false), parked: Parked::new(what, at) }))
    }

    /// Ready, once, if it was told since it was last ready; else the task is woken when it is.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &*self.0;
        if inner.told.replace(false) {
            inner.wait_no_more();
            return Poll::Ready(());
        }
        if inner.waits.get() {
            drop(inner.parked.renew(cx.waker()));
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        inner.waits.set(true);
        // SAFETY: it is in no list, since nobody waits by it. It lies in a box of its own, where it stays until `drop`
        //         takes it out, as `waits` says from now on.
        unsafe { inner.parked.enter(waker, false) };
        Poll::Pending
    }

    /// Tells it, and wakes the task that waits.
    pub fn tell(&self) {
        self.0.told.set(true);
        if self.0.waits.get() {
            if let Some(waker) = self.0.parked.take_waker() {
                waker.wake();
            }
        }
    }

    /// Nobody waits any more.
    pub fn forget(&self) {
        self.0.wait_no_more();
    }
}

impl Inner {
    fn wait_no_more(&self) {
        if self.waits.replace(false) {
            // SAFETY: it was hung up when `waits` was set, and not taken out since.
            unsafe { self.parked.leave() };
            drop(self.parked.take_waker());
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.0.wait_no_more();
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("told", &self.0.told.get()).field("waits", &self.0.waits.get()).finish()
    }
}
