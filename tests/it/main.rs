//! The suite of the whole project, through the facade only.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::waker_clone_wake,
    reason = "a test binary has no public API, sets its scenes with the standard library, and wakes in every way"
)]

mod asyncio;
mod cancel;
mod cleanups;
mod deadlocks;
mod drops;
mod faults;
mod files;
mod gates;
mod gathers;
mod groups;
mod guard;
mod life;
mod limits;
mod load;
mod locals;
mod multishots;
mod net;
mod order;
mod panics;
mod pipes;
mod scenarios;
mod scene;
mod selects;
mod smoke;
mod streams;
mod tasks;
mod time;
mod timeouts;
mod tracked;
mod waits;
mod wakers;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Runs a body on a core of its own, and checks that it leaves nothing behind: no task, timer, operation or pooled
/// buffer, and no completion that nobody knew.
#[track_caller]
fn clean<T>(body: impl AsyncFnOnce() -> T) -> T {
    clean_on(corering::Builder::new(), body)
}

#[track_caller]
fn clean_on<T>(builder: corering::Builder, body: impl AsyncFnOnce() -> T) -> T {
    let runtime = builder.build().expect("io_uring");
    let output = runtime.block_on(async {
        let output = body().await;
        // What was dropped ends in the background: wait until it has.
        let began = std::time::Instant::now();
        loop {
            let metrics = corering::metrics().expect("a core");
            assert!(began.elapsed().as_secs() < 10, "something is left: {metrics:?}");
            if (metrics.operations, metrics.tasks, metrics.timers, metrics.buffers_held) == (0, 1, 0, 0) {
                assert_eq!(metrics.unknown_completions, 0);
                return output;
            }
            std::future::poll_fn({
                let mut polled = false;
                move |cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut polled, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                }
            })
            .await;
        }
    });
    drop(runtime);
    output
}

/// A core whose clock jumps when all wait.
fn paused() -> corering::Builder {
    corering::Builder::new().paused_time(true)
}

const SECOND: Duration = Duration::from_secs(1);

/// Runs a body with a clock that jumps, and checks that it leaves nothing behind.
#[track_caller]
fn scene<T>(body: impl AsyncFnOnce() -> T) -> T {
    clean_on(paused(), body)
}

/// Tasks that have not ended.
fn alive() -> usize {
    corering::metrics().expect("a core").tasks
}

/// Timers that are armed.
fn timers() -> usize {
    corering::metrics().expect("a core").timers
}

/// What is told of errors that nobody fetches.
fn told() -> Rc<RefCell<Vec<String>>> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let hook = told.clone();
    corering::task::on_unhandled(move |error| hook.borrow_mut().push(error.to_string()));
    told
}

/// Waits until no operation is left, fetched or given up.
async fn idle() {
    let began = std::time::Instant::now();
    while corering::metrics().expect("a core").operations > 0 {
        assert!(began.elapsed().as_secs() < 10, "an operation is left: {:?}", corering::metrics());
        life::turn().await;
    }
}

/// Awaits what has to come soon: a bug then fails, and does not hang.
#[track_caller]
fn soon<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let limited = corering::time::timeout(std::time::Duration::from_secs(10), future);
    let caller = std::panic::Location::caller();
    async move {
        match limited.await {
            Ok(output) => output,
            Err(elapsed) => panic!("{caller}: {elapsed}"),
        }
    }
}
