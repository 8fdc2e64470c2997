//! Calls that block, beside the core: what has no operation in the kernel's ring, such as reading a folder.
//!
//! ```text
//! core      call --> queue ----------------------------------> result, with the task's wake
//! threads             +--> worker: one job after the other ------+
//!                     +--> watcher: looks whether jobs wait in vain, and then works, too
//! ```
//!
//! Invariant: a job is run once, given up before that, or waited for at the core's end; what it has returned goes to
//! whoever called, or is dropped on the thread that ran it. The closure and its result are `Send`, nothing else crosses.

mod job;
mod pool;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use self::job::{Job, Stage};
use self::pool::Queue;
pub(crate) use self::pool::{Pool, install, is_busy, uninstall};
use crate::driver::{calls, clock};
use crate::time;

/// In a world, a call takes up to that long.
const LONGEST_SIMULATED_NS: u64 = 50_000;

/// Runs `call` on another thread, and gives what it returns: for calls that block, and end soon by themselves.
///
/// Jobs begin in the order in which they were first polled. One thread does most of them one after the other; more come
/// when jobs wait while all threads are held up (up to [`Builder::blocking_threads`](crate::Builder::blocking_threads)),
/// and go again when they have been idle for ten seconds. In a simulated world the core itself runs the closure, a
/// little later.
///
/// # Cancel safety
///
/// Dropped before the job has begun, it never begins. Dropped later, it runs to its end, and what it returns is dropped
/// on its thread.
///
/// # Panics
///
/// As `call` does, with the same payload; and outside a runtime.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let id = corering_runtime::blocking::call(|| std::thread::current().id()).await;
///     assert_ne!(id, std::thread::current().id());
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub async fn call<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    if clock::is_simulated() {
        time::sleep(Duration::from_nanos(calls::random() % LONGEST_SIMULATED_NS)).await;
        return call();
    }
    Call::New(Some(call)).await
}

/// A job that is asked for when it is first polled, and given up when it is dropped.
enum Call<F, T> {
    New(Option<F>),
    Queued(Arc<Job<F, T>>, Queue),
    Over,
}

// The closure is moved out, never pinned.
impl<F, T> Unpin for Call<F, T> {}

impl<T: Send + 'static, F: FnOnce() -> T + Send + 'static> Future for Call<F, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Call::New(call) = &mut *self {
            let Some(call) = call.take() else { unreachable!("taken when it is queued") };
            let job = Arc::new(Job::new(call, cx.waker().clone()));
            let queue = pool::submit(Arc::clone(&job) as _);
            *self = Call::Queued(job, queue);
        }
        let Call::Queued(job, _) = &*self else { panic!("a call was polled after it had given its output") };
        let Some(result) = job.fetch(cx.waker()) else {
            return Poll::Pending;
        };
        *self = Call::Over;
        match result {
            Ok(value) => Poll::Ready(value),
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
}

impl<F, T> Drop for Call<F, T> {
    fn drop(&mut self) {
        if let Call::Queued(job, queue) = self {
            let stage = job.replace(Stage::Gone);
            if let Stage::Waits { .. } = stage {
                queue.forget_one();
            }
            // What was to be run, or has come of it, is dropped here.
            drop(stage);
        }
    }
}
