//! What the modules for both fillings share, made of the library alone.

use std::cell::RefCell;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::Metrics;
use corering::task;
use corering::time::{Instant, sleep, timeout};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A core whose clock jumps when all wait.
pub(crate) fn paused() -> corering::Builder {
    corering::Builder::new().paused_time(true)
}

pub(crate) fn metrics() -> Metrics {
    corering::metrics().expect("a core")
}

/// Tasks that have not ended.
pub(crate) fn alive() -> usize {
    metrics().tasks
}

/// Timers that are armed.
pub(crate) fn timers() -> usize {
    metrics().timers
}

/// What is told of errors that nobody fetches.
pub(crate) fn told() -> Rc<RefCell<Vec<String>>> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let hook = told.clone();
    task::on_unhandled(move |error| hook.borrow_mut().push(error.to_string()));
    told
}

/// Polls once, and gives the future back unfinished.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|cx| Poll::Ready(pin!(&mut *future).poll(cx).is_ready())).await
}

/// Lets all others run until they wait, on a core whose clock jumps only then.
pub(crate) async fn settled() {
    sleep(Duration::from_nanos(1)).await;
}

/// Lets the loop turn, so that the kernel gets what was submitted.
pub(crate) async fn turn() {
    sleep(Duration::from_micros(50)).await;
}

/// Waits until no operation is left, fetched or given up.
pub(crate) async fn idle() {
    let began = Instant::now();
    while metrics().operations > 0 {
        assert!(began.elapsed() < 10 * SECOND, "an operation is left: {:?}", metrics());
        turn().await;
    }
}

/// Awaits what has to come soon: a bug then fails, and does not hang.
#[track_caller]
pub(crate) fn soon<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let limited = timeout(10 * SECOND, future);
    let caller = Location::caller();
    async move {
        match limited.await {
            Ok(output) => output,
            Err(elapsed) => panic!("{caller}: {elapsed}"),
        }
    }
}

/// What has happened, in order.
pub(crate) type Log = Rc<RefCell<Vec<&'static str>>>;

pub(crate) fn log(log: &Log, what: &'static str) {
    log.borrow_mut().push(what);
}

/// Does something when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Numbers that are the same in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
