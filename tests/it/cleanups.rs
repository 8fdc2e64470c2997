//! What happens when something is cancelled: cleanup that is awaited, work that is shielded, and what of asyncio's ways
//! to catch a cancel there is here.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::sync::{Condition, Lock, Promised, promise};
use corering::task::cancel::{self, finally};
use corering::task::{self, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{TaskGroup, shield, spawn};

use crate::{Log, OnDrop, SECOND, alive, clean_on, log, paused, poll_once, run_then, scene, settled, told, within};

/// Something that takes a second to be said.
async fn slowly(seen: Log, what: &'static str) {
    sleep(SECOND).await;
    log(&seen, what);
}

async fn panics(text: &'static str) {
    std::panic::panic_any(text);
}

#[test]
fn cleanup_is_run_once_on_every_path() {
    scene(async || {
        let (told, seen) = (told(), Log::default());
        let cleanup = || slowly(seen.clone(), "cleaned up");
        assert_eq!(finally(async { 5 }, cleanup()).await, 5);
        assert_eq!(seen.take(), ["cleaned up"]);

        assert!(timeout(SECOND, finally(pending::<()>(), cleanup())).await.is_err());
        assert_eq!(seen.take(), ["cleaned up"]);

        let panics: corering::JoinHandle<()> = spawn(finally(async { panic!("at work") }, cleanup()));
        assert!(panics.await.expect_err("it panicked").is_panic());
        assert_eq!(seen.take(), ["cleaned up"]);

        let aborted = spawn(finally(pending::<()>(), cleanup()));
        settled().await;
        aborted.abort();
        assert!(aborted.await.expect_err("cancelled").is_cancelled());
        assert_eq!(seen.take(), ["cleaned up"]);

        // Never polled, it has not begun, and there is nothing to clean up.
        drop(finally(pending::<()>(), cleanup()));
        let aborted = spawn(finally(pending::<()>(), cleanup()));
        assert!(aborted.cancel().await.is_err());
        sleep(2 * SECOND).await;
        assert!(seen.take().is_empty() && told.take().is_empty());
    });
}

#[test]
fn a_cancel_says_that_it_is_over_when_the_cleanup_is_and_abort_says_nothing() {
    // It looks at the very moment at which things end.
    let _special = crate::tasks_in_order();
    scene(async || {
        let seen = Log::default();
        let begin = || {
            let seen = seen.clone();
            let task = spawn(finally(pending::<()>(), slowly(seen, "cleaned up")));
            let began = Instant::now();
            (task, began)
        };
        let (task, _) = begin();
        yield_now().await;
        assert!(task.abort());
        yield_now().await;
        assert!(!task.is_finished() && !task.abort(), "its future has gone, its cleanup has not ended");
        assert!(task::all().iter().any(|one| one.name() == Some("cleanup")));
        assert!(seen.borrow().is_empty());
        assert!(task.await.is_err());
        assert_eq!(seen.take(), ["cleaned up"]);

        let (task, began) = begin();
        yield_now().await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
        assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], SECOND));
    });
}

/// asyncio's nested `try: .. finally: ..`: a cancel unwinds them from the innermost outwards.
#[test]
fn nested_cleanups_begin_with_the_innermost() {
    scene(async || {
        let (seen, sum) = (Log::default(), Rc::new(Cell::new(0)));
        let add = |what: &'static str, number: u32| {
            let (seen, sum) = (seen.clone(), sum.clone());
            async move {
                log(&seen, what);
                sum.set(sum.get() + number);
            }
        };
        let task = spawn(finally(finally(pending::<()>(), add("inner", 1)), add("outer", 100)));
        settled().await;
        assert!(task.cancel().await.is_err());
        assert_eq!((seen.take(), sum.get()), (vec!["inner", "outer"], 101));
    });
}

/// A transaction is rolled back before its connection is closed.
#[test]
fn an_outer_cleanup_begins_when_the_inner_one_has_ended() {
    type Outcome = Result<(), &'static str>;
    type Begin = fn(Log) -> Pin<Box<dyn Future<Output = ()>>>;
    async fn steps(seen: Log, begins: &'static str, ends: &'static str) {
        log(&seen, begins);
        sleep(SECOND).await;
        log(&seen, ends);
    }
    fn inner(seen: &Log) -> impl Future<Output = Outcome> + use<> {
        finally(pending(), steps(seen.clone(), "inner begins", "inner ends"))
    }
    fn outer(seen: &Log) -> impl Future<Output = ()> + use<> {
        steps(seen.clone(), "outer begins", "outer ends")
    }
    fn with(seen: &Log, begins: &'static str, ends: &'static str) -> impl AsyncFnOnce(()) -> Outcome + use<> {
        let seen = seen.clone();
        async move |()| {
            steps(seen, begins, ends).await;
            Ok(())
        }
    }
    let cases: [(&str, Begin); 6] = [
        ("finally", |seen| Box::pin(async move { assert!(finally(inner(&seen), outer(&seen)).await.is_ok()) })),
        ("with", |seen| {
            Box::pin(async move {
                let had = || async { Ok(()) };
                let release = with(&seen, "inner begins", "inner ends");
                let used = async |_: &mut ()| {
                    cancel::with(had(), async |_: &mut ()| pending::<Outcome>().await, release).await
                };
                assert!(cancel::with(had(), used, with(&seen, "outer begins", "outer ends")).await.is_ok());
            })
        }),
        ("around a timeout", |seen| {
            Box::pin(async move { assert!(finally(timeout(100 * SECOND, inner(&seen)), outer(&seen)).await.is_ok()) })
        }),
        ("around a timeout that is over", |seen| {
            Box::pin(async move { assert!(finally(timeout(SECOND / 4, inner(&seen)), outer(&seen)).await.is_err()) })
        }),
        ("around a group", |seen| {
            Box::pin(async move {
                let child = inner(&seen);
                let scope = TaskGroup::scope(async move |group| {
                    group.spawn(child);
                    Ok(())
                });
                assert!(finally(scope, outer(&seen)).await.is_ok());
            })
        }),
        ("around what panics", |seen| {
            Box::pin(async move {
                let panics = async {
                    sleep(SECOND / 4).await;
                    panics("at work").await;
                    Outcome::Ok(())
                };
                let inner = finally(panics, steps(seen.clone(), "inner begins", "inner ends"));
                assert!(finally(inner, outer(&seen)).await.is_ok());
            })
        }),
    ];
    scene(async || {
        for (what, begin) in cases {
            let (seen, began) = (Log::default(), Instant::now());
            let task = spawn(begin(seen.clone()));
            sleep(SECOND / 2).await;
            assert!(task.cancel().await.is_err());
            assert_eq!(seen.take(), ["inner begins", "inner ends", "outer begins", "outer ends"], "{what}");
            assert!(began.elapsed() <= SECOND * 5 / 2, "{what}");
        }
    });
}

/// Each has the limit of time for itself.
#[test]
fn an_outer_cleanup_is_run_although_the_inner_one_took_too_long() {
    clean_on(paused().cleanup_limit(3 * SECOND), async || {
        let (told, seen, began) = (told(), Log::default(), Instant::now());
        let work = finally(finally(pending::<()>(), pending::<()>()), slowly(seen.clone(), "outer"));
        assert!(timeout(SECOND, work).await.is_err());
        assert_eq!((seen.take(), began.elapsed()), (vec!["outer"], 5 * SECOND));
        assert_eq!(told.borrow().len(), 1, "{told:?}");
    });
}

/// A second cancel interrupts asyncio's cleanup; here cleanup is shielded, and has a limit of time instead.
#[test]
fn a_second_cancel_does_not_interrupt_cleanup() {
    scene(async || {
        let seen = Log::default();
        let task = spawn(finally(pending::<()>(), slowly(seen.clone(), "cleaned up")));
        settled().await;
        assert!(task.abort());
        sleep(SECOND / 2).await;
        assert!(!task.abort());
        assert!(timeout(SECOND / 10, task.cancel()).await.is_err(), "nor does it end sooner");
        sleep(SECOND).await;
        assert_eq!(seen.take(), ["cleaned up"]);
    });
}

#[test]
fn cleanup_that_runs_because_the_work_is_done_goes_on_when_the_task_is_cancelled() {
    scene(async || {
        let seen = Log::default();
        let task = spawn(finally(ready(()), slowly(seen.clone(), "cleaned up")));
        sleep(SECOND / 2).await;
        assert!(seen.borrow().is_empty());
        let began = Instant::now();
        assert!(task.cancel().await.expect_err("it had nothing to give yet").is_cancelled());
        assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], SECOND / 2));
    });
}

#[test]
fn cleanup_that_takes_too_long_is_dropped_and_told() {
    clean_on(paused().cleanup_limit(3 * SECOND), async || {
        let (told, began) = (told(), Instant::now());
        assert!(timeout(SECOND, finally(pending::<()>(), pending::<()>())).await.is_err());
        assert_eq!(began.elapsed(), 4 * SECOND);
        assert!(matches!(&told.borrow()[..], [one] if one.contains("did not end within 3s")), "{told:?}");
    });
}

#[test]
fn cleanup_that_fails_or_panics_is_told_and_hides_no_result() {
    scene(async || {
        let told = told();
        assert_eq!(finally(async { 5 }, async { Err::<(), _>("not closed") }).await, 5);
        assert!(matches!(&told.take()[..], [one] if one.contains("not closed")));
        let (seen, began) = (Log::default(), Instant::now());
        let two = finally(finally(pending::<()>(), panics("in cleanup")), slowly(seen.clone(), "cleaned up"));
        assert!(timeout(SECOND, two).await.is_err());
        assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], 2 * SECOND));
        assert!(matches!(&told.take()[..], [one] if one.contains("in cleanup")));
    });
}

#[test]
fn cleanup_that_panics_when_the_work_is_done_panics_once() {
    scene(async || {
        let told = told();
        let task = spawn(finally(ready(()), panics("in cleanup")));
        let payload = task.await.expect_err("it panicked").into_panic().expect("a panic");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in cleanup"));
        sleep(SECOND).await;
        assert!(told.borrow().is_empty(), "{told:?}");
    });
}

#[test]
fn cleanup_may_leave_cleanup() {
    // It looks at the very moment at which things end.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let inner = slowly(seen.clone(), "cleaned up after the cleanup");
        let outer = async move { assert!(timeout(SECOND, finally(pending::<()>(), inner)).await.is_err()) };
        let task = spawn(finally(pending::<()>(), outer));
        yield_now().await;
        assert!(task.cancel().await.is_err());
        assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up after the cleanup"], 2 * SECOND));
    });
}

#[test]
fn at_the_end_of_the_runtime_cleanup_is_run_to_its_end() {
    let body = async || {
        let seen = Log::default();
        let inner = seen.clone();
        drop(spawn(finally(pending::<()>(), slowly(seen.clone(), "of a task"))));
        drop(spawn(async move {
            let scope = TaskGroup::scope(async |group| {
                group.spawn(finally(pending::<Result<(), &str>>(), slowly(inner.clone(), "of a group")));
                pending::<Result<(), &str>>().await
            });
            let _ = scope.await;
        }));
        settled().await;
        settled().await;
        (123, seen)
    };
    // The clock jumps.
    within(SECOND, || {
        run_then(paused(), body, |(output, seen)| {
            assert_eq!(output, 123);
            let mut seen = seen.take();
            seen.sort_unstable();
            assert_eq!(seen, ["of a group", "of a task"]);
        });
    });
}

#[test]
fn cleanup_that_fails_at_the_end_of_the_runtime_is_told_and_main_keeps_its_value() {
    let body = async || {
        let told = told();
        drop(spawn(finally(pending::<()>(), async {
            sleep(SECOND).await;
            Err::<(), _>("not closed")
        })));
        settled().await;
        (123, told)
    };
    run_then(paused(), body, |(output, told)| {
        assert_eq!(output, 123);
        assert!(matches!(&told.borrow()[..], [one] if one.contains("not closed")), "{told:?}");
    });
}

#[test]
fn a_resource_is_released_on_every_path_and_not_if_it_was_never_had() {
    type Used = Result<u32, &'static str>;
    scene(async || {
        let (told, seen) = (told(), Log::default());
        let release = |outcome: Result<(), &'static str>| {
            let seen = seen.clone();
            async move |_: u32| {
                slowly(seen, "released").await;
                outcome
            }
        };
        let had = || async { Ok(5) };
        let used = cancel::with(had(), async |number| Used::Ok(*number + 1), release(Ok(())));
        assert_eq!(used.await, Ok(6));
        assert_eq!(seen.take(), ["released"]);

        let failed = cancel::with(had(), async |_| Used::Err("used wrongly"), release(Ok(())));
        assert_eq!(failed.await, Err("used wrongly"));
        assert_eq!(seen.take(), ["released"]);

        // Which of two errors is given, and that the other one is told.
        let unreleased = cancel::with(had(), async |_| Used::Ok(1), release(Err("not released")));
        assert_eq!(unreleased.await, Err("not released"));
        assert!(told.take().is_empty());
        let both = cancel::with(had(), async |_| Used::Err("used wrongly"), release(Err("not released")));
        assert_eq!(both.await, Err("used wrongly"));
        assert!(matches!(&told.take()[..], [one] if one.contains("not released")));
        assert_eq!(seen.take(), ["released", "released"]);

        // Cut while it is used, and while it is released.
        for seconds in [1, 100] {
            let cut = cancel::with(
                had(),
                async |_| {
                    sleep(Duration::from_millis(99_500)).await;
                    Used::Ok(1)
                },
                release(Ok(())),
            );
            assert!(timeout(seconds * SECOND, cut).await.is_err());
            assert_eq!(seen.take(), ["released"]);
        }

        // Never had.
        let never = cancel::with(async { Err("no luck") }, async |_| Used::Ok(1), release(Ok(())));
        assert_eq!(never.await, Err("no luck"));
        let waits = cancel::with(pending::<Used>(), async |_| Used::Ok(1), release(Ok(())));
        assert!(timeout(SECOND, waits).await.is_err());
        sleep(2 * SECOND).await;
        assert!(seen.take().is_empty());
    });
}

/// What stands in for asyncio's `try: await x except CancelledError: return 42`: a task cannot catch its own cancel, but
/// whoever runs something can cancel that and go on.
#[test]
fn a_task_cannot_catch_its_own_cancel_but_can_go_on_after_it_cancelled_something() {
    scene(async || {
        let seen = Log::default();
        let task = spawn({
            let seen = seen.clone();
            async move {
                let _drop = OnDrop(move || log(&seen, "dropped"));
                pending::<()>().await;
                42
            }
        });
        settled().await;
        assert!(task.cancel().await.expect_err("it cannot turn it into a value").is_cancelled());
        assert_eq!(seen.take(), ["dropped"]);

        // The part that may be cancelled is a task, a timeout or a token's; what comes after goes on.
        let token = corering::sync::CancellationToken::new();
        let whole = spawn({
            let (token, seen) = (token.clone(), seen.clone());
            async move {
                let part = spawn(finally(pending::<()>(), slowly(seen, "cleaned up"))).abort_on_drop();
                let was_cancelled = token.run_until_cancelled(part).await.is_none();
                sleep(2 * SECOND).await;
                if was_cancelled { 42 } else { 0 }
            }
        });
        settled().await;
        token.cancel();
        assert_eq!(whole.await.expect("not cancelled itself"), 42);
        assert_eq!((alive(), seen.take()), (1, vec!["cleaned up"]));
    });
}

/// What stands in for catching one cancel and being interrupted by the next: each of them ends one part.
#[test]
fn each_part_that_is_cancelled_ends_by_itself_and_the_task_waits_again() {
    scene(async || {
        let (count, began) = (Rc::new(Cell::new(0)), Instant::now());
        let task = spawn({
            let count = count.clone();
            async move {
                loop {
                    assert!(timeout(SECOND, pending::<()>()).await.is_err());
                    count.set(count.get() + 1);
                }
            }
        });
        sleep(SECOND * 7 / 2).await;
        let cancelled: Result<(), _> = task.cancel().await;
        assert!(cancelled.expect_err("by the abort").is_cancelled());
        assert_eq!((count.get(), began.elapsed()), (3, SECOND * 7 / 2));
    });
}

/// asyncio's `uncancel` takes a cancel back; here an abort stands, and what ends in the very same turn has its value.
#[test]
fn an_abort_cannot_be_taken_back() {
    // The abort comes between two polls of a task that is ready.
    let _special = crate::tasks_in_order();
    scene(async || {
        let polls = Rc::new(Cell::new(0));
        let task = spawn({
            let polls = polls.clone();
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                cx.waker().wake_by_ref();
                if polls.get() < 3 { Poll::Pending } else { Poll::Ready(7) }
            })
        });
        yield_now().await;
        assert!(task.abort());
        assert!(task.await.expect_err("cancelled").is_cancelled());
        assert_eq!(polls.get(), 1, "never polled again");
    });
}

/// asyncio's cancel carries a message; here who is cancelled says who it was, and a token can be given with a reason of
/// one's own. It comes through a condition's wait for its lock as through anything else.
#[test]
fn whoever_was_cancelled_is_named_also_in_the_wait_for_a_lock() {
    scene(async || {
        let shared = Rc::new((Lock::new(0), Condition::new()));
        let task = spawn({
            let shared = shared.clone();
            async move {
                let (lock, changed) = &*shared;
                let guard = lock.lock().await;
                drop(changed.wait(guard).await);
            }
        })
        .name("waits for a change");
        settled().await;
        let (lock, changed) = &*shared;
        {
            let _guard = lock.lock().await;
            changed.notify_one();
            settled().await;
            assert_eq!(lock.waiters(), 1, "it waits for the lock again");
            let error = task.cancel().await.expect_err("cancelled");
            assert!(error.is_cancelled());
            assert_eq!(error.task().name(), Some("waits for a change"));
            assert!(error.to_string().contains("'waits for a change'"), "{error}");
        }
        assert!(!lock.is_locked() && lock.waiters() == 0 && changed.waiters() == 0);
    });
}

/// Awaiting a task that was cancelled does not look as if one had been cancelled oneself.
#[test]
fn the_cancel_of_an_awaited_task_is_a_value_for_whoever_awaits_it() {
    scene(async || {
        // The cancel of whoever awaits a task is none of the task.
        let seen = Log::default();
        let inner = spawn(slowly(seen.clone(), "went on"));
        let outer = spawn(async move { inner.await.is_ok() });
        yield_now().await;
        outer.abort();
        assert!(outer.await.expect_err("cancelled").is_cancelled());
        sleep(2 * SECOND).await;
        assert_eq!(seen.take(), ["went on"]);

        let inner = Rc::new(RefCell::new(Some(spawn(pending::<()>()))));
        let handle = inner.clone();
        let outer = spawn(async move {
            let awaited = poll_fn(move |cx| {
                let mut handle = handle.borrow_mut();
                std::pin::Pin::new(handle.as_mut().expect("there")).poll(cx)
            });
            let error = awaited.await.expect_err("cancelled");
            sleep(SECOND).await;
            error.is_cancelled()
        });
        yield_now().await;
        assert!(inner.borrow().as_ref().expect("there").abort());
        assert!(outer.await.expect("not cancelled itself"));
    });
}

#[test]
fn shielded_work_goes_on_when_its_wait_is_cancelled_and_its_error_is_told() {
    // The cancel comes in the turn in which the work begins.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (told, seen, began) = (told(), Log::default(), Instant::now());
        assert!(timeout(SECOND, shield(async { sleep(2 * SECOND).await })).await.is_err());
        assert_eq!(began.elapsed(), SECOND, "the wait ends at once");

        let task = spawn({
            let seen = seen.clone();
            async move {
                shield(async move {
                    slowly(seen, "finished").await;
                    Err::<(), _>("wrong, later".to_owned())
                })
                .await
            }
        });
        yield_now().await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
        assert_eq!(began.elapsed(), SECOND);
        assert!(told.borrow().is_empty());
        sleep(2 * SECOND).await;
        assert_eq!(seen.take(), ["finished"]);
        assert!(matches!(&told.borrow()[..], [one] if one.contains("wrong, later")), "{told:?}");
    });
}

#[test]
fn shielded_work_that_is_awaited_gives_its_value_and_its_panic() {
    scene(async || {
        let mut done = shield(async { 5 });
        settled().await;
        assert!(poll_once(&mut done).await, "it had ended");
        assert_eq!(shield(async { 6 }).await, 6);
        let panics: corering::JoinHandle<()> = spawn(async { shield(async { panic!("inside") }).await });
        let payload = panics.await.expect_err("it panicked").into_panic().expect("a panic");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"inside"));
        // It begins when it is made, not when it is awaited.
        let seen = Log::default();
        let shielded = shield(slowly(seen.clone(), "began by itself"));
        sleep(2 * SECOND).await;
        assert_eq!(seen.take(), ["began by itself"]);
        shielded.await;
    });
}

#[test]
fn cleanup_inside_shielded_work_is_not_waited_for_by_those_who_are_cancelled() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let work = finally(sleep(2 * SECOND), slowly(seen.clone(), "cleaned up"));
        assert!(timeout(SECOND, shield(work)).await.is_err());
        assert_eq!(began.elapsed(), SECOND);
        sleep(3 * SECOND).await;
        assert_eq!(seen.take(), ["cleaned up"]);
    });
}

/// A thousand waits that were given up leave nothing with what they waited for (asyncio, gh-79306).
#[test]
fn waits_that_were_given_up_leave_nothing_with_what_they_waited_for() {
    scene(async || {
        let (sender, receiver) = promise::<u32>();
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let receiver: Promised<u32> = receiver.clone();
                spawn(async move { receiver.await })
            })
            .collect();
        settled().await;
        assert_eq!(sender.waiters(), 1000);
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            assert!(task.await.is_err());
        }
        assert_eq!(sender.waiters(), 0);

        let shielded = Rc::new(RefCell::new(shield(receiver.into_future())));
        settled().await;
        for _ in 0..1000 {
            let shielded = shielded.clone();
            let wait = poll_fn(move |cx| std::pin::Pin::new(&mut *shielded.borrow_mut()).poll(cx));
            assert!(timeout(Duration::ZERO, wait).await.is_err());
        }
        assert_eq!(sender.waiters(), 1);
        sender.set(5).expect("the first");
        let Ok(shielded) = Rc::try_unwrap(shielded) else { panic!("someone holds it still") };
        assert_eq!(shielded.into_inner().await.expect("set"), 5);
    });
}

/// The nearest scope waits: of two timeouts the one that drops the work, not the other.
#[test]
fn cleanup_is_waited_for_by_the_scope_that_cancels() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let both = timeout(10 * SECOND, async {
            let inner = timeout(SECOND, finally(pending::<()>(), slowly(seen.clone(), "cleaned up"))).await;
            assert!(inner.is_err());
            assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], 2 * SECOND));
            sleep(SECOND).await;
        });
        assert!(both.await.is_ok());
        assert_eq!(began.elapsed(), 3 * SECOND);
    });
}

#[test]
fn what_a_task_drops_while_it_goes_on_is_cleaned_up_after_before_the_task_ends() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let task = spawn({
            let seen = seen.clone();
            async move {
                let mut work = Box::pin(finally(pending::<()>(), slowly(seen.clone(), "cleaned up")));
                assert!(!poll_once(&mut work).await);
                drop(work);
                log(&seen, "goes on");
                5
            }
        });
        assert_eq!(task.await.expect("no panic"), 5);
        assert_eq!((seen.take(), began.elapsed()), (vec!["goes on", "cleaned up"], SECOND));
    });
}

/// Whoever waits for cleanup, and is cancelled meanwhile, leaves that wait to the scope around.
#[test]
fn cleanup_is_still_waited_for_when_whoever_waits_for_it_is_cancelled() {
    type Outcome = Result<(), &'static str>;
    type Begin = fn(Log) -> Pin<Box<dyn Future<Output = ()>>>;
    fn work(seen: &Log) -> impl Future<Output = Outcome> + use<> {
        finally(pending(), slowly(seen.clone(), "cleaned up"))
    }
    async fn fails() -> Outcome {
        yield_now().await;
        Err("wrong")
    }
    async fn wins() -> Outcome {
        yield_now().await;
        Ok(())
    }
    fn boxed(future: impl Future<Output = Outcome> + 'static) -> Pin<Box<dyn Future<Output = Outcome>>> {
        Box::pin(future)
    }
    let cases: [(&str, Begin); 7] = [
        ("timeout", |seen| Box::pin(async move { assert!(timeout(Duration::ZERO, work(&seen)).await.is_err()) })),
        ("timeout_scope", |seen| {
            Box::pin(async move {
                assert!(corering::time::timeout_scope(Duration::ZERO, async |_| work(&seen).await).await.is_err())
            })
        }),
        ("group", |seen| {
            Box::pin(async move {
                let scope = TaskGroup::scope(async |group| {
                    group.spawn(fails());
                    work(&seen).await
                });
                drop(scope.await);
            })
        }),
        ("try_join_all", |seen| {
            Box::pin(async move { drop(task::try_join_all([boxed(work(&seen)), boxed(fails())]).await) })
        }),
        ("first_ok", |seen| Box::pin(async move { drop(task::first_ok([boxed(work(&seen)), boxed(wins())]).await) })),
        ("staggered", |seen| {
            Box::pin(async move { drop(task::staggered(Duration::ZERO, [boxed(work(&seen)), boxed(wins())]).await) })
        }),
        ("local_scope", |seen| {
            Box::pin(async move {
                let scope = task::local_scope(async |scope| {
                    drop(scope.spawn(work(&seen)));
                    fails().await
                });
                drop(scope.await);
            })
        }),
    ];
    scene(async || {
        for (what, begin) in cases {
            // By the end of a task, a timeout, and a group.
            let (seen, began) = (Log::default(), Instant::now());
            let task = spawn(begin(seen.clone()));
            sleep(SECOND / 2).await;
            assert!(!task.is_finished() && seen.borrow().is_empty(), "{what}");
            assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
            assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], SECOND), "{what} in a task");

            let began = Instant::now();
            assert!(timeout(SECOND / 2, begin(seen.clone())).await.is_err());
            assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], SECOND), "{what} in a timeout");

            let began = Instant::now();
            let inner = seen.clone();
            let scope = TaskGroup::scope(async |group| {
                group.spawn_infallible(begin(inner));
                sleep(SECOND / 2).await;
                Outcome::Err("body")
            });
            assert!(scope.await.is_err());
            assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"], SECOND), "{what} in a group");
        }
    });
}
