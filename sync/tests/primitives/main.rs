//! The primitives, on the real runtime, and polled by hand where the moment counts.
#![allow(missing_docs, reason = "a test binary has no public API")]

mod barrier;
mod by_hand;
mod condition;
mod event;
mod lock;
mod queue;
mod rest;
mod semaphore;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

pub(crate) use by_hand::{Bell, ByHand};

/// Runs a body on a core of its own, where time passes only when nothing else can happen: what hangs is told at once.
#[track_caller]
fn run<T>(body: impl AsyncFnOnce() -> T) -> T {
    let limited = async { corering::time::timeout(Duration::from_secs(1_000_000), body()).await };
    corering::Builder::new().paused_time(true).run(limited).expect("io_uring").expect("it hangs")
}

/// What happened, in order.
#[derive(Default)]
struct Trace<T>(Rc<RefCell<Vec<T>>>);

impl<T> Trace<T> {
    fn new() -> Self {
        Self(Rc::default())
    }

    fn log(&self, what: T) {
        self.0.borrow_mut().push(what);
    }

    /// What happened since the last look.
    fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Clone for Trace<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// Lets everybody who can run do so, several times over.
async fn settle() {
    for _ in 0..10 {
        corering::task::yield_now().await;
    }
}

/// A waker that panics.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        std::panic::panic_any("a waker that panics");
    }
}

fn bomb() -> Waker {
    Waker::from(Arc::new(Bomb))
}

/// Runs what wakes a [`Bomb`]: the panic must go on, and nothing else.
#[track_caller]
fn explodes<R>(body: impl FnOnce() -> R) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(body)) else { panic!("no waker panicked") };
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"a waker that panics"));
}

/// An executor that knows nothing of ours: it polls whenever the thread is unparked.
fn block_on<F: IntoFuture>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future.into_future());
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match std::future::Future::poll(future.as_mut(), &mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park_timeout(Duration::from_secs(10)),
        }
    }
}
