//! Calls that block, as their callers see them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use corering::{blocking, spawn};

use crate::{clean, idle, poll_once, soon, turn};

#[test]
fn a_call_gives_what_it_returns_while_others_run() {
    clean(async || {
        let turns = Rc::new(Cell::new(0));
        let other = spawn({
            let turns = turns.clone();
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    turn().await;
                }
            }
        });
        turn().await;
        for number in 0..100_u64 {
            assert_eq!(soon(blocking::call(move || number * number)).await, number * number);
        }
        assert!(turns.get() > 0);
        other.cancel().await.expect_err("cancelled");
    });
}

#[test]
fn calls_side_by_side_each_get_their_own() {
    clean(async || {
        let tasks: Vec<_> = (0..1000_u64)
            .map(|number| spawn(async move { (number, blocking::call(move || number + 1).await) }))
            .collect();
        for task in tasks {
            let (number, next) = soon(task).await.expect("no panic");
            assert_eq!(next, number + 1);
        }
    });
}

#[test]
fn a_call_that_panics_panics_where_it_is_awaited() {
    clean(async || {
        let task = spawn(async { blocking::call(|| -> u32 { std::panic::panic_any("no") }).await });
        let error = soon(task).await.expect_err("it panicked");
        assert_eq!(error.into_panic().expect("a panic").downcast_ref::<&str>(), Some(&"no"));
        assert_eq!(soon(blocking::call(|| 1)).await, 1);
    });
}

#[test]
fn what_a_call_returns_is_dropped_once_wherever_its_wait_is_dropped() {
    /// Counts how often it is dropped.
    struct Counted(Arc<AtomicU32>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    clean(async || {
        let (made, dropped) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        for turns in 0..200 {
            let (owned, made, counter) = (Counted(dropped.clone()), made.clone(), dropped.clone());
            let mut call = Box::pin(blocking::call(move || {
                made.fetch_add(1, Ordering::Relaxed);
                drop(owned);
                Counted(counter)
            }));
            for _ in 0..turns % 4 {
                if poll_once(&mut call).await {
                    break;
                }
                turn().await;
            }
        }
        idle().await;
        // One was owned by the closure, and one was made by each that ran.
        while dropped.load(Ordering::Relaxed) < 200 + made.load(Ordering::Relaxed) {
            turn().await;
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 200 + made.load(Ordering::Relaxed));
    });
}
