//! Limits of time: who says that the time is over, what has ended by then, and how limits are moved.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use corering::sync::{Condition, Event, Lock, Queue};
use corering::task::cancel::finally;
use corering::task::{self, yield_now};
use corering::time::{Instant, advance, sleep, sleep_until, timeout, timeout_at, timeout_scope};
use corering::{TaskGroup, spawn};

use crate::{Log, OnDrop, SECOND, log, poll_once, scene, settled, timers};

#[test]
fn a_timeout_ends_when_what_it_cut_short_has_been_cleaned_up_after() {
    scene(async || {
        let (seen, began, deadline) = (Log::default(), Instant::now(), Rc::new(Cell::new(None)));
        let (inner, limits) = (seen.clone(), Rc::new(RefCell::new(None)));
        let limited = timeout_scope(SECOND, async |limit| {
            deadline.set(limit.deadline());
            limits.replace(Some(limit));
            finally(pending::<()>(), async move {
                sleep(5 * SECOND).await;
                log(&inner, "cleaned up");
            })
            .await;
        });
        assert!(limited.await.is_err());
        assert_eq!((began.elapsed(), seen.take()), (6 * SECOND, vec!["cleaned up"]));
        let limit = limits.take().expect("put there");
        assert!(limit.has_expired());
        assert_eq!((limit.deadline(), limit.deadline()), (deadline.get(), Some(began + SECOND)));
        assert_eq!(timers(), 0);
    });
}

#[test]
fn a_limit_that_was_not_reached_has_not_expired_and_leaves_no_timer() {
    scene(async || {
        for duration in [Some(2 * SECOND), None] {
            let kept = timeout_scope(duration, async |limit| {
                sleep(SECOND).await;
                limit
            });
            let limit = kept.await.expect("in time");
            assert!(!limit.has_expired());
            assert_eq!((limit.deadline().is_some(), timers()), (duration.is_some(), 0));
        }
    });
}

#[test]
fn a_scope_whose_time_is_over_begins_and_is_cut_at_its_first_wait() {
    scene(async || {
        let steps = Rc::new(Cell::new(0));
        let cut = timeout_scope(Duration::ZERO, async |_| {
            steps.set(1);
            yield_now().await;
            yield_now().await;
            steps.set(2);
        });
        assert!(cut.await.is_err());
        assert_eq!(steps.get(), 1);
        assert_eq!(timeout_scope(Duration::ZERO, async |_| 5).await, Ok(5));
        let busy = timeout_scope(SECOND, async |limit| {
            advance(10 * SECOND);
            limit
        });
        assert!(!busy.await.expect("it never waited").has_expired());
    });
}

/// asyncio's `wait_for(coroutine, 0)` never runs the coroutine; here it gets its first poll, so that what is ready is
/// not lost. What runs already is cancelled, and awaited.
#[test]
fn with_no_time_at_all_what_is_ready_is_taken_and_what_runs_is_cancelled() {
    scene(async || {
        let ended = spawn(async { 5 });
        settled().await;
        assert_eq!(timeout(Duration::ZERO, ended).await.expect("it was there").expect("no panic"), 5);
        let queue = Queue::unbounded();
        queue.put(6).await.expect("open");
        assert_eq!(timeout(Duration::ZERO, queue.get()).await.expect("it was there").expect("open").into_inner(), 6);

        let seen = Log::default();
        let running = spawn({
            let seen = seen.clone();
            finally(pending::<()>(), async move {
                sleep(SECOND).await;
                log(&seen, "cleaned up");
            })
        });
        settled().await;
        let began = Instant::now();
        let running = running.abort_on_drop();
        assert!(timeout(Duration::ZERO, running).await.is_err());
        // A task is a scope of its own: to wait for its end, cancel it.
        assert_eq!((began.elapsed(), seen.take()), (Duration::ZERO, vec![]));
        sleep(2 * SECOND).await;
        assert_eq!(seen.take(), ["cleaned up"]);
    });
}

#[test]
fn completion_and_a_cancel_from_outside_in_one_turn_is_a_cancel_and_what_was_awaited_keeps_its_value() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (event, seen) = (Rc::new(Event::new()), Log::default());
        let inner = spawn({
            let event = event.clone();
            async move {
                event.wait().await;
                7
            }
        });
        let shared = Rc::new(RefCell::new(inner));
        let task = spawn({
            let (shared, seen) = (shared.clone(), seen.clone());
            async move {
                let awaited = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *shared.borrow_mut()).poll(cx));
                assert!(timeout(SECOND, awaited).await.is_ok());
                log(&seen, "later code");
            }
        });
        yield_now().await;
        event.set();
        yield_now().await;
        assert!(shared.borrow().is_finished() && task.abort());
        assert!(task.await.expect_err("aborted").is_cancelled());
        assert!(seen.take().is_empty());
        let Ok(inner) = Rc::try_unwrap(shared) else { panic!("someone holds it still") };
        assert_eq!(inner.into_inner().await.expect("it ended"), 7);
    });
}

/// Code that swallows a cancel and returns a value has no counterpart: the future is dropped when the time is over. A
/// value that is there at that moment is returned.
#[test]
fn what_is_cut_short_cannot_return_a_value_but_one_that_is_ready_wins() {
    scene(async || {
        let seen = Log::default();
        let swallows = timeout(SECOND, async {
            let inner = seen.clone();
            let _drop = OnDrop(move || log(&inner, "dropped"));
            pending::<()>().await;
            log(&seen, "never");
            42
        });
        assert!(swallows.await.is_err());
        assert_eq!(seen.take(), ["dropped"]);
        // Both are due at the same time.
        let both = timeout(SECOND, async {
            sleep(SECOND).await;
            42
        });
        assert_eq!(both.await, Ok(42));
    });
}

/// An error in cleanup does not replace the time-out, as it does in asyncio: it is told.
#[test]
fn cleanup_that_fails_after_a_timeout_is_told_and_the_time_is_over() {
    scene(async || {
        let told = Rc::new(RefCell::new(Vec::new()));
        let hook = told.clone();
        task::on_unhandled(move |error| hook.borrow_mut().push(error.to_string()));
        let limited = timeout(SECOND, finally(pending::<()>(), async { Err::<(), _>("wrong") }));
        assert!(limited.await.is_err());
        assert!(matches!(&told.borrow()[..], [one] if one.contains("wrong")), "{told:?}");
    });
}

#[test]
fn an_error_or_a_cancel_before_the_time_is_over_has_nothing_to_do_with_the_limit() {
    scene(async || {
        let kept = Rc::new(RefCell::new(None));
        let failed = timeout_scope(SECOND, async |limit| {
            kept.replace(Some(limit));
            Err::<(), _>("by itself")
        });
        assert_eq!(failed.await, Ok(Err("by itself")));
        assert!(!kept.take().expect("put there").has_expired());

        let task = spawn({
            let kept = kept.clone();
            async move {
                timeout_scope(2 * SECOND, async |limit| {
                    kept.replace(Some(limit));
                    pending::<()>().await;
                })
                .await
            }
        });
        sleep(SECOND).await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
        sleep(5 * SECOND).await;
        assert!(!kept.take().expect("put there").has_expired());
        assert_eq!(timers(), 0);
    });
}

#[test]
fn of_nested_scopes_with_one_deadline_the_outermost_says_so_and_all_have_expired() {
    scene(async || {
        let (kept, deadline) = (Rc::new(RefCell::new(Vec::new())), Instant::now() + SECOND);
        let nested = timeout_scope(SECOND, async |outer| {
            kept.borrow_mut().push(outer);
            let middle = timeout_scope(SECOND, async |middle| {
                kept.borrow_mut().push(middle);
                let inner = timeout_scope(SECOND, async |inner| {
                    kept.borrow_mut().push(inner);
                    sleep_until(deadline + SECOND).await;
                });
                inner.await.expect("inner");
            });
            middle.await.expect("middle");
        });
        assert!(nested.await.is_err());
        assert_eq!(Instant::now(), deadline);
        let expired: Vec<_> = kept.take().iter().map(corering::time::Limit::has_expired).collect();
        assert_eq!(expired, [true, true, true]);
    });
}

#[test]
fn a_loop_that_was_blocked_past_the_outer_deadline_only_is_cut_by_the_outer() {
    scene(async || {
        let nested = timeout(SECOND, async {
            timeout(10 * SECOND, async {
                yield_now().await;
                advance(5 * SECOND);
                pending::<()>().await;
            })
            .await
        });
        assert!(nested.await.is_err(), "the outer one");
    });
}

/// Where asyncio lets the inner handler run first, here the outer one drops it if its time is over, too, and it was no
/// later than the inner one.
#[test]
fn a_loop_that_was_blocked_past_both_deadlines_is_cut_by_the_earlier() {
    scene(async || {
        for (outer, inner, handled) in [(2_u32, 1_u32, true), (1, 2, false), (1, 1, false)] {
            let seen = Log::default();
            let nested = timeout(outer * SECOND, async {
                let inner = timeout(inner * SECOND, async {
                    yield_now().await;
                    advance(5 * SECOND);
                    pending::<()>().await;
                });
                assert!(inner.await.is_err());
                log(&seen, "inner handled");
                yield_now().await;
                log(&seen, "never");
            });
            assert!(nested.await.is_err(), "the outer one cuts the next wait");
            assert_eq!(seen.take().len(), usize::from(handled), "{outer} {inner}");
        }
    });
}

#[test]
fn a_timeout_within_the_cleanup_of_a_timeout_works_by_itself() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let inner = seen.clone();
        let limited = timeout(
            SECOND,
            finally(pending::<()>(), async move {
                assert!(timeout(SECOND, pending::<()>()).await.is_err());
                log(&inner, "its own is over");
                assert!(timeout(SECOND, sleep(SECOND / 2)).await.is_ok());
                log(&inner, "its next one is not");
            }),
        );
        assert!(limited.await.is_err());
        assert_eq!(seen.take(), ["its own is over", "its next one is not"]);
        assert_eq!(began.elapsed(), 2 * SECOND + SECOND / 2);
    });
}

/// Cancels have identity here, not a count: an earlier one neither becomes a time-out nor breaks one (asyncio,
/// gh-134471).
#[test]
fn a_timeout_that_is_entered_with_a_cancel_pending_is_cancelled_and_never_over() {
    scene(async || {
        let (own, seen) = (Rc::new(RefCell::new(None::<corering::JoinHandle<()>>)), Log::default());
        let task = spawn({
            let (own, seen) = (own.clone(), seen.clone());
            async move {
                own.borrow().as_ref().expect("put there").abort();
                let limited = timeout(SECOND, pending::<()>()).await;
                log(&seen, if limited.is_err() { "over" } else { "ended" });
            }
        });
        own.replace(Some(task));
        settled().await;
        advance(2 * SECOND);
        let task = own.take().expect("there");
        assert!(task.await.expect_err("cancelled").is_cancelled());
        assert!(seen.take().is_empty());

        // With an earlier cancel that was handled.
        let part = spawn(pending::<()>());
        part.abort();
        assert!(part.await.is_err());
        assert!(timeout(SECOND, pending::<()>()).await.is_err());
        assert_eq!(timeout(SECOND, async { 5 }).await, Ok(5));
    });
}

#[test]
fn a_limit_is_moved_later_earlier_into_the_past_and_away() {
    scene(async || {
        let began = Instant::now();
        let later = timeout_scope(SECOND, async |limit| {
            limit.reschedule(began + 3 * SECOND).expect("active");
            assert_eq!(limit.deadline(), Some(began + 3 * SECOND));
            pending::<()>().await;
        });
        assert!(later.await.is_err());
        assert_eq!(began.elapsed(), 3 * SECOND);

        let began = Instant::now();
        let earlier = timeout_scope(10 * SECOND, async |limit| {
            sleep(SECOND).await;
            limit.reschedule(began + 2 * SECOND).expect("active");
            pending::<()>().await;
        });
        assert!(earlier.await.is_err());
        assert_eq!(began.elapsed(), 2 * SECOND);

        let past = timeout_scope(10 * SECOND, async |limit| {
            limit.reschedule(Instant::now() - SECOND).expect("active");
            yield_now().await;
            yield_now().await;
            panic!("it is over at the next wait");
        });
        assert!(past.await.is_err());

        let away = timeout_scope(SECOND, async |limit| {
            limit.reschedule(None).expect("active");
            sleep(100 * SECOND).await;
            limit.deadline()
        });
        assert_eq!(away.await, Ok(None));

        let set = timeout_scope(None, async |limit| {
            limit.reschedule(Instant::now() + SECOND).expect("active");
            pending::<()>().await;
        });
        assert!(set.await.is_err());
        assert_eq!(timers(), 0);
    });
}

#[test]
fn a_limit_is_moved_by_another_task() {
    scene(async || {
        for (seconds, expected) in [(20, 20), (2, 2)] {
            let (began, kept) = (Instant::now(), Rc::new(RefCell::new(None)));
            let mover = spawn({
                let kept = kept.clone();
                async move {
                    sleep(SECOND).await;
                    let limit: corering::time::Limit = kept.take().expect("put there");
                    limit.reschedule(began + seconds * SECOND).expect("active");
                }
            });
            let limited = timeout_scope(10 * SECOND, async |limit| {
                kept.replace(Some(limit));
                pending::<()>().await;
            });
            assert!(limited.await.is_err());
            assert_eq!(began.elapsed(), expected * SECOND);
            mover.await.expect("no panic");
        }
    });
}

#[test]
fn a_limit_that_is_over_or_whose_body_has_ended_cannot_be_moved() {
    scene(async || {
        let ended = timeout_scope(SECOND, async |limit| limit).await.expect("in time");
        assert!(ended.reschedule(Instant::now() + SECOND).is_err());
        let kept = Rc::new(RefCell::new(None));
        let seen = Rc::new(Cell::new(None));
        let over = timeout_scope(SECOND, async |limit| {
            kept.replace(Some(limit.clone()));
            let seen = seen.clone();
            finally(pending::<()>(), async move {
                seen.set(Some(limit.reschedule(Instant::now() + 100 * SECOND).is_err()));
            })
            .await;
        });
        assert!(over.await.is_err());
        assert_eq!(seen.get(), Some(true), "not while it is being cleaned up after");
        assert!(kept.take().expect("put there").reschedule(None).is_err());
    });
}

#[test]
fn a_timeout_around_a_group_or_a_gather_cancels_all_of_it() {
    scene(async || {
        let (dropped, told) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let hook = told.clone();
        task::on_unhandled(move |error| hook.borrow_mut().push(error.to_string()));
        let child = || {
            let dropped = dropped.clone();
            let on_drop = OnDrop(move || dropped.set(dropped.get() + 1));
            async move {
                let _on_drop = on_drop;
                pending::<Result<(), &str>>().await
            }
        };
        let scope = TaskGroup::scope(async |group| {
            for _ in 0..3 {
                group.spawn(child());
            }
            group.spawn(finally(child(), async { Err::<(), _>("in its cleanup") }));
            Ok(())
        });
        assert!(timeout(SECOND, scope).await.is_err());
        assert_eq!(dropped.replace(0), 4);
        assert!(matches!(&told.take()[..], [one] if one.contains("in its cleanup")));

        assert!(timeout(SECOND, task::gather((0..3).map(|_| child()))).await.is_err());
        assert_eq!(dropped.replace(0), 3);
        assert!(timeout(SECOND, task::gather_settled((0..20).map(|_| child()))).await.is_err());
        assert_eq!(dropped.replace(0), 20);
        assert!(timeout(SECOND, async { corering::join!(child(), child()) }).await.is_err());
        assert_eq!(dropped.replace(0), 2);
    });
}

/// asyncio's condition takes the lock again when its wait is cancelled; here the guard was moved into the wait, and the
/// lock is free.
#[test]
fn a_wait_for_a_condition_that_is_cut_short_leaves_the_lock_free() {
    scene(async || {
        let shared = Rc::new((Lock::new(0), Condition::new()));
        let (lock, changed) = &*shared;
        for _ in 0..3 {
            let guard = lock.lock().await;
            assert!(timeout(SECOND, changed.wait(guard)).await.is_err());
            assert!(!lock.is_locked() && lock.waiters() == 0 && changed.waiters() == 0);
            *lock.lock().await += 1;
        }
        // Cut while it waits for the lock again.
        let (holder, guard) = (shared.clone(), lock.lock().await);
        let holds = spawn(async move {
            let (lock, changed) = &*holder;
            let _guard = lock.lock().await;
            changed.notify_one();
            sleep(10 * SECOND).await;
        });
        assert!(timeout(SECOND, changed.wait(guard)).await.is_err());
        assert_eq!((lock.is_locked(), lock.waiters()), (true, 0));
        holds.await.expect("no panic");
        assert_eq!(*lock.lock().await, 3);
        assert!(!lock.is_locked());
    });
}

/// Whatever arrives in the moment in which its getter gives up is there for the next (asyncio, gh-92824).
#[test]
fn a_loop_of_gets_that_time_out_loses_no_item_and_doubles_none() {
    const ITEMS: u32 = 10_000;
    scene(async || {
        let queue = Rc::new(Queue::bounded(3));
        let producer = spawn({
            let queue = queue.clone();
            async move {
                for item in 0..ITEMS {
                    // Sooner than the other's limit, at the same time, and later.
                    sleep(Duration::from_millis(1 + u64::from(item % 3))).await;
                    queue.put(item).await.expect("open");
                }
                queue.close();
            }
        });
        let (mut next, mut given_up) = (0, 0);
        loop {
            match timeout(Duration::from_millis(2), queue.get()).await {
                Err(_) => given_up += 1,
                Ok(Err(_)) => break,
                Ok(Ok(job)) => {
                    assert_eq!(*job, next);
                    next += 1;
                }
            }
        }
        assert_eq!(next, ITEMS);
        assert!(given_up > 100, "{given_up}");
        producer.await.expect("no panic");
        assert_eq!((queue.waiters(), queue.unfinished()), ((0, 0), 0));
    });
}

/// As above, when the timer and the item come together and the one who puts goes first or last.
#[test]
fn an_item_that_is_put_in_the_turn_in_which_its_getter_gives_up_is_not_lost() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        for first in [true, false] {
            let queue = Rc::new(Queue::unbounded());
            let deadline = Instant::now() + SECOND;
            let put = || {
                let queue = queue.clone();
                corering::time::call_at(deadline, move || queue.try_put(7).expect("open"))
            };
            let early = first.then(put);
            let mut getter = Box::pin(timeout_at(deadline, queue.get()));
            assert!(!poll_once(&mut getter).await);
            let late = (!first).then(put);
            let got = getter.await.ok().map(|job| job.expect("open").into_inner());
            yield_now().await;
            let left = queue.try_get().ok().map(corering::sync::Job::into_inner);
            assert_eq!((got.or(left), queue.len()), (Some(7), 0));
            assert!(early.or(late).expect("one of them").is_done());
        }
    });
}
