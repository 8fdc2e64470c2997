//! The threads for calls that block: how many there are, when they begin, and that no job waits in vain.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use corering::{Builder, blocking, spawn};

use crate::{clean, clean_on, poll_once, soon, turn};

/// Awaits them side by side.
async fn all<T: 'static>(calls: impl IntoIterator<Item = impl Future<Output = T> + 'static>) -> Vec<T> {
    let tasks: Vec<_> = calls.into_iter().map(spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(soon(task).await.expect("no panic"));
    }
    outputs
}

#[test]
fn calls_that_wait_for_each_other_get_a_thread_each() {
    clean(async || {
        let barrier = Arc::new(Barrier::new(8));
        let calls = (0..8).map(|_| {
            let barrier = barrier.clone();
            blocking::call(move || barrier.wait().is_leader())
        });
        let leaders = all(calls).await;
        assert_eq!(leaders.into_iter().filter(|leads| *leads).count(), 1);
    });
}

#[test]
fn there_are_never_more_threads_than_allowed() {
    clean_on(Builder::new().blocking_threads(2), async || {
        let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let calls = (0..20).map(|_| {
            let (now, most) = (now.clone(), most.clone());
            blocking::call(move || {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(3));
                now.fetch_sub(1, Ordering::Relaxed);
            })
        });
        all(calls).await;
        assert_eq!(most.load(Ordering::Relaxed), 2, "each was held up long enough that a second one came");
    });
}

#[test]
fn a_call_that_is_dropped_before_it_begins_never_begins_and_the_next_one_does() {
    clean_on(Builder::new().blocking_threads(1), async || {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let first = spawn({
            let begun = begun.clone();
            blocking::call(move || {
                begun.store(true, Ordering::Release);
                released.recv().expect("released")
            })
        });
        while !begun.load(Ordering::Acquire) {
            turn().await;
        }
        let mut second = Box::pin(blocking::call({
            let begin = begin.clone();
            move || begin.store(true, Ordering::Relaxed)
        }));
        assert!(!poll_once(&mut second).await);
        drop(second);
        let third = spawn(blocking::call(|| 3));
        turn().await;
        release.send(()).expect("it waits");
        soon(first).await.expect("no panic");
        assert_eq!(soon(third).await.expect("no panic"), 3);
        assert!(!begin.load(Ordering::Relaxed));
    });
}

#[test]
fn calls_that_are_given_up_while_all_threads_are_held_up_leave_nothing_in_the_queue() {
    clean_on(Builder::new().blocking_threads(1), async || {
        let (release, released) = mpsc::channel::<()>();
        let (begun, held) = (Arc::new(AtomicBool::new(false)), Arc::new(()));
        let first = spawn({
            let begun = begun.clone();
            blocking::call(move || {
                begun.store(true, Ordering::Release);
                released.recv().expect("released")
            })
        });
        while !begun.load(Ordering::Acquire) {
            turn().await;
        }
        let last = spawn(blocking::call(|| 7));
        turn().await;
        for _ in 0..10_000 {
            let held = held.clone();
            let mut call = Box::pin(blocking::call(move || drop(held)));
            assert!(!poll_once(&mut call).await);
        }
        assert_eq!(Arc::strong_count(&held), 1);
        release.send(()).expect("it waits");
        soon(first).await.expect("no panic");
        assert_eq!(soon(last).await.expect("no panic"), 7);
        assert_eq!(soon(blocking::call(|| 8)).await, 8);
    });
}

#[test]
#[should_panic(expected = "after the core that it was begun on had ended")]
fn a_call_that_is_polled_after_its_core_has_ended_says_so() {
    let mut call = Box::pin(blocking::call(|| std::thread::sleep(Duration::from_millis(1))));
    let builder = || Builder::new().blocking_threads(1);
    let (release, released) = mpsc::channel::<()>();
    let runtime = builder().build().expect("io_uring");
    runtime.block_on(async {
        let mut first = Box::pin(blocking::call(move || released.recv()));
        poll_once(&mut first).await;
        assert!(!poll_once(&mut call).await);
        // When it ends, it drops its tasks, and waits for the first call. The second one has not begun then: unless that takes
        // long, which is no failure of the core.
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(release);
        });
    });
    drop(runtime);
    builder().run(call).expect("io_uring");
}

#[test]
fn a_result_is_not_held_up_by_the_job_after_it() {
    clean(async || {
        let (release, released) = mpsc::channel::<()>();
        let quick = spawn(blocking::call(|| 1));
        let slow = spawn(blocking::call(move || released.recv().expect("released")));
        let last = spawn(blocking::call(|| 2));
        assert_eq!(soon(quick).await.expect("no panic"), 1);
        assert_eq!(soon(last).await.expect("no panic"), 2);
        release.send(()).expect("it waits");
        soon(slow).await.expect("no panic");
    });
}

#[test]
fn a_core_ends_when_what_has_begun_on_its_threads_has_ended() {
    let ended = Arc::new(AtomicBool::new(false));
    let (begin, begun) = mpsc::channel();
    Builder::new()
        .run(async {
            let mut call = Box::pin(blocking::call({
                let ended = ended.clone();
                move || {
                    begin.send(()).expect("somebody waits");
                    std::thread::sleep(Duration::from_millis(30));
                    ended.store(true, Ordering::Relaxed);
                }
            }));
            poll_once(&mut call).await;
            begun.recv().expect("it begins");
        })
        .expect("io_uring");
    assert!(ended.load(Ordering::Relaxed));
}

#[test]
#[should_panic(expected = "awaited outside a runtime")]
fn a_call_outside_a_runtime_says_so() {
    let mut call = Box::pin(blocking::call(|| ()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::future::Future::poll(call.as_mut(), &mut cx).is_pending());
}
