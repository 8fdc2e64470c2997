//! Giving way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets every other ready task run once before this one goes on. asyncio's `sleep(0)`.
///
/// # Cancel safety
///
/// Dropping it does nothing.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::yield_now;
/// use std::{cell::Cell, rc::Rc};
///
/// corering_runtime::run(async {
///     let ran = Rc::new(Cell::new(false));
///     corering_runtime::spawn({
///         let ran = ran.clone();
///         async move { ran.set(true) }
///     });
///     assert!(!ran.get(), "a task begins after the one that spawned it has given way");
///     yield_now().await;
///     assert!(ran.get());
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[inline]
pub fn yield_now() -> YieldNow {
    YieldNow { given_way: false }
}

/// Gives way once; made by [`yield_now`].
#[derive(Debug)]
#[must_use = "yield_now does nothing unless it is awaited"]
pub struct YieldNow {
    given_way: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.given_way {
            return Poll::Ready(());
        }
        self.given_way = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
