//! Sleeps, intervals and time-outs, mostly by a clock that stands still until everybody waits.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::task::yield_now;
use corering::time::{Instant, advance, interval, interval_at, sleep, sleep_until, timeout, timeout_at};
use corering::{Builder, spawn};

use crate::{SECOND, clean_on, paused, poll_once, scene, timers};

#[test]
fn a_sleep_that_is_dropped_takes_its_timer_away_and_wakes_nobody() {
    scene(async || {
        let polls = Rc::new(Cell::new(0));
        let task = spawn({
            let polls = polls.clone();
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                let mut dropped = sleep(SECOND);
                assert!(Pin::new(&mut dropped).poll(cx).is_pending());
                assert_eq!(timers(), 1);
                Poll::<()>::Pending
            })
        });
        yield_now().await;
        assert_eq!(timers(), 0);
        sleep(10 * SECOND).await;
        assert_eq!(polls.get(), 1, "woken for a sleep that was dropped");
        task.abort();
    });
}

#[test]
fn a_sleep_of_no_time_lets_the_others_run_once() {
    // That order is what is tested.
    let _special = crate::tasks_in_order();
    for builder in [Builder::new(), paused()] {
        clean_on(builder, async || {
            let ran = Rc::new(Cell::new(false));
            for late in [Duration::ZERO, SECOND] {
                ran.set(false);
                spawn({
                    let ran = ran.clone();
                    async move { ran.set(true) }
                });
                let before = Instant::now();
                sleep_until(Instant::now() - late).await;
                assert!(ran.get(), "what was ready before has not run");
                assert!(before.elapsed() < SECOND);
            }
        });
    }
}

#[test]
fn sleeps_end_at_their_deadline_and_in_its_order_whenever_they_were_made() {
    scene(async || {
        let (began, ended) = (Instant::now(), Rc::new(RefCell::new(Vec::new())));
        for seconds in [5_u32, 1, 4, 2, 3, 2] {
            let ended = ended.clone();
            spawn(async move {
                sleep(seconds * SECOND).await;
                ended.borrow_mut().push((seconds, began.elapsed()));
            });
        }
        sleep(6 * SECOND).await;
        let expected: Vec<_> = [1_u32, 2, 2, 3, 4, 5].map(|seconds| (seconds, seconds * SECOND)).into();
        assert_eq!(*ended.borrow(), expected);
    });
}

#[test]
fn advancing_ends_what_is_due_and_nothing_else() {
    // Who sleeps has to begin before the clock is moved, which takes no turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        let ended = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [1_u32, 2, 3]
            .into_iter()
            .map(|seconds| {
                let ended = ended.clone();
                spawn(async move {
                    sleep(seconds * SECOND).await;
                    ended.borrow_mut().push(seconds);
                })
            })
            .collect();
        yield_now().await;
        advance(2 * SECOND);
        // A turn of the loop, which takes no time.
        sleep(Duration::ZERO).await;
        yield_now().await;
        assert_eq!(*ended.borrow(), [1, 2]);
        assert!(!tasks[2].is_finished());
        tasks[2].abort();
    });
}

#[test]
fn a_sleep_can_be_set_anew_before_while_and_after_it_is_awaited() {
    scene(async || {
        let began = Instant::now();
        let mut sleep = sleep(100 * SECOND);
        sleep.reset(began + 50 * SECOND);
        assert_eq!(sleep.deadline(), began + 50 * SECOND);
        assert!(!poll_once(&mut sleep).await);
        sleep.reset(began + SECOND);
        assert_eq!(timers(), 0, "the old timer is gone");
        assert!(!sleep.is_elapsed());
        (&mut sleep).await;
        assert!(sleep.is_elapsed());
        assert_eq!(began.elapsed(), SECOND);
        // Polled again it has still ended.
        (&mut sleep).await;
        sleep.reset(began + 3 * SECOND);
        assert!(!sleep.is_elapsed());
        (&mut sleep).await;
        assert_eq!(began.elapsed(), 3 * SECOND);
    });
}

#[test]
fn a_sleep_wakes_the_task_that_polled_it_last() {
    scene(async || {
        let mut sleep = sleep(SECOND);
        assert!(!poll_once(&mut sleep).await);
        let heir = spawn(async move {
            sleep.await;
            Instant::now()
        });
        let began = Instant::now();
        assert_eq!(heir.await.expect("no panic") - began, SECOND);
    });
}

/// Says when it is dropped.
struct Says(Rc<Cell<Option<Instant>>>);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.set(Some(Instant::now()));
    }
}

#[test]
fn a_timeout_that_expires_has_dropped_what_it_ran_before_it_says_so() {
    scene(async || {
        let (began, dropped) = (Instant::now(), Rc::new(Cell::new(None)));
        let says = Says(dropped.clone());
        let mut limited = Box::pin(timeout(SECOND, async move {
            let _says = says;
            sleep(10 * SECOND).await;
        }));
        let deadline = limited.deadline();
        assert_eq!(deadline, began + SECOND);
        assert!((&mut limited).await.is_err());
        assert_eq!(dropped.get(), Some(deadline));
        assert_eq!((Instant::now(), limited.deadline(), timers()), (deadline, deadline, 0));
    });
}

#[test]
fn a_timeout_that_does_not_expire_leaves_no_timer() {
    scene(async || {
        let began = Instant::now();
        for limit in [2 * SECOND, Duration::MAX] {
            let mut limited = Box::pin(timeout(limit, async {
                sleep(SECOND).await;
                7
            }));
            assert_eq!((&mut limited).await, Ok(7));
            drop(limited);
            assert_eq!(timers(), 0);
        }
        assert_eq!(timeout_at(Instant::now() + SECOND, async { 8 }).await, Ok(8));
        assert_eq!((began.elapsed(), timers()), (2 * SECOND, 0));
        // One that fails by itself is not one that took too long.
        assert_eq!(timeout(SECOND, async { Err::<(), _>("by itself") }).await, Ok(Err("by itself")));
    });
}

#[test]
fn a_deadline_that_has_passed_cuts_the_first_wait_and_not_what_never_waits() {
    scene(async || {
        let steps = Rc::new(Cell::new(0));
        for past in [Instant::now(), Instant::now() - SECOND] {
            steps.set(0);
            let limited = timeout_at(past, async {
                steps.set(1);
                yield_now().await;
                steps.set(2);
            });
            assert!(limited.await.is_err());
            assert_eq!(steps.get(), 1, "it began, and its first wait was cut short");
        }
        // It takes longer than it may, and never gives way.
        let slow = timeout(SECOND, async {
            advance(10 * SECOND);
            5
        });
        assert_eq!(slow.await, Ok(5));
        // Dropped before it was polled, it runs nothing.
        drop(timeout(SECOND, async { steps.set(3) }));
        assert_eq!(steps.get(), 1);
    });
}

#[test]
fn a_result_wins_over_a_deadline_that_is_due_in_the_same_turn() {
    scene(async || {
        // The value was set, and then the time was over, before anybody looked.
        let value = Rc::new(Cell::new(None));
        let mut limited = Box::pin(timeout(SECOND, {
            let value = value.clone();
            poll_fn(move |_| value.get().map_or(Poll::Pending, Poll::Ready))
        }));
        assert!(!poll_once(&mut limited).await);
        value.set(Some(9));
        advance(2 * SECOND);
        sleep(Duration::ZERO).await;
        assert_eq!(timers(), 0, "its timer has ended");
        assert_eq!(limited.await, Ok(9));

        let mut late = Box::pin(timeout(SECOND, pending::<()>()));
        assert!(!poll_once(&mut late).await);
        advance(2 * SECOND);
        assert!(late.await.is_err());
    });
}

#[test]
fn nested_timeouts_say_which_of_them_is_over() {
    scene(async || {
        let nested = |outer: u32, inner: u32| timeout(outer * SECOND, timeout(inner * SECOND, pending::<()>()));
        let began = Instant::now();
        assert!(nested(1, 2).await.is_err(), "the outer one");
        assert_eq!(began.elapsed(), SECOND);
        assert!(matches!(nested(2, 1).await, Ok(Err(_))), "the inner one");
        assert_eq!(began.elapsed(), 2 * SECOND);
        assert!(nested(1, 1).await.is_err(), "both: the outer one says so");
        assert_eq!(timers(), 0);
    });
}

#[test]
fn a_tick_that_was_waited_for_in_vain_is_not_lost() {
    scene(async || {
        let start = Instant::now();
        let mut ticks = interval(10 * SECOND);
        assert_eq!(ticks.tick().await, start);
        for _ in 0..3 {
            assert!(timeout(3 * SECOND, ticks.tick()).await.is_err());
        }
        assert_eq!(ticks.tick().await, start + 10 * SECOND);
        assert_eq!(start.elapsed(), 10 * SECOND);
        {
            // Due, and dropped without being looked at.
            let mut tick = pin!(ticks.tick());
            assert!(poll_fn(|cx| Poll::Ready(tick.as_mut().poll(cx).is_pending())).await);
            advance(10 * SECOND);
        }
        assert_eq!(ticks.tick().await, start + 20 * SECOND);
        assert_eq!(start.elapsed(), 20 * SECOND);
        drop(ticks);
        assert_eq!(timers(), 0);
    });
}

#[test]
fn an_interval_begins_when_it_is_told_to_and_can_begin_anew() {
    scene(async || {
        let start = Instant::now();
        let mut ticks = interval_at(start + 5 * SECOND, 10 * SECOND);
        assert_eq!(ticks.period(), 10 * SECOND);
        assert_eq!(ticks.tick().await, start + 5 * SECOND);
        assert_eq!(ticks.tick().await, start + 15 * SECOND);
        sleep(3 * SECOND).await;
        ticks.reset();
        assert_eq!(ticks.tick().await, start + 28 * SECOND);
        assert_eq!(start.elapsed(), 28 * SECOND);
        let refused = catch_unwind(|| interval(Duration::ZERO)).expect_err("no time between two ticks");
        assert!(refused.downcast_ref::<&str>().expect("a text").contains("must not be zero"));
    });
}
