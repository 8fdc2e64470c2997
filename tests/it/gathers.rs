//! Several futures within one task: what a gather gives, when, and what becomes of the others.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use corering::sync::promise;
use corering::task::cancel::finally;
use corering::task::{self, first_ok, gather_settled, staggered, try_join_all, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{gather, join, spawn, try_join};

use crate::{Log, OnDrop, SECOND, alive, log, metrics, poll_once, scene, settled};

type Boxed = Pin<Box<dyn Future<Output = Result<u32, &'static str>>>>;

/// Gives its number after so many seconds.
async fn after(seconds: u32) -> Result<u32, &'static str> {
    sleep(seconds * SECOND).await;
    Ok(seconds)
}

async fn fails_after(seconds: u32, what: &'static str) -> Result<u32, &'static str> {
    sleep(seconds * SECOND).await;
    Err(what)
}

#[test]
fn a_gather_gives_results_in_the_order_in_which_the_futures_came() {
    scene(async || {
        let began = Instant::now();
        assert_eq!(task::gather([3, 1, 2].map(after)).await, Ok(vec![3, 1, 2]));
        assert_eq!(began.elapsed(), 3 * SECOND);
        // More than are polled each time.
        let many: Vec<u32> = (0..50).map(|number| number * 7 % 50).collect();
        assert_eq!(task::gather(many.iter().copied().map(after)).await, Ok(many.clone()));
        assert_eq!(gather_settled(many.iter().copied().map(after)).await.len(), 50);
        assert_eq!(try_join_all(many.iter().copied().map(after)).await, Ok(many));
    });
}

#[test]
fn a_gather_of_nothing_is_ready_at_once() {
    scene(async || {
        let none = || std::iter::empty::<std::future::Ready<Result<(), ()>>>();
        assert!(poll_once(&mut task::gather(none())).await);
        assert!(poll_once(&mut gather_settled(none())).await);
        assert!(poll_once(&mut Box::pin(try_join_all(none()))).await);
        assert_eq!(first_ok(none()).await.expect_err("nothing"), staggered(SECOND, none()).await.expect_err("nothing"));
    });
}

#[test]
fn a_gather_of_what_is_ready_does_not_wait() {
    scene(async || {
        assert!(poll_once(&mut task::gather((0..20).map(|number| ready(Ok::<_, ()>(number))))).await);
        assert!(poll_once(&mut gather_settled((0..20).map(ready))).await);
    });
}

#[test]
fn the_first_error_of_a_gather_is_given_at_once_and_the_others_go_on_untold() {
    scene(async || {
        let told = Rc::new(Cell::new(0));
        task::on_unhandled({
            let told = told.clone();
            move |_| told.set(told.get() + 1)
        });
        for others in [3, 30] {
            let (seen, began) = (Rc::new(Cell::new(0)), Instant::now());
            let work = |number: u32| {
                let seen = seen.clone();
                async move {
                    sleep((1 + number) * SECOND).await;
                    if number == 0 {
                        return Err("the first");
                    }
                    seen.set(seen.get() + 1);
                    if number % 2 == 0 { Err("later") } else { Ok(number) }
                }
            };
            assert_eq!(task::gather((0..=others).map(work)).await, Err("the first"));
            assert_eq!((began.elapsed(), seen.get(), alive()), (SECOND, 0, 2));
            sleep(100 * SECOND).await;
            assert_eq!((seen.get(), alive(), told.get()), (others, 1, 0));
        }
        // So do those that are named one by one.
        let seen = Log::default();
        let slow = {
            let seen = seen.clone();
            async move {
                sleep(2 * SECOND).await;
                log(&seen, "went on");
                Ok::<_, &str>(1)
            }
        };
        assert_eq!(gather!(slow, fails_after(1, "wrong")).await, Err("wrong"));
        sleep(2 * SECOND).await;
        assert_eq!(seen.take(), ["went on"]);
    });
}

/// A future that had been woken, and not polled, when another one failed is polled by whoever takes it over.
#[test]
fn those_that_go_on_after_an_error_have_lost_no_wake() {
    scene(async || {
        for count in [2, 9, 10, 40] {
            let (sender, receiver) = promise::<()>();
            let ended = Rc::new(Cell::new(0));
            let work = |number: usize| {
                let (receiver, ended) = (receiver.clone(), ended.clone());
                async move {
                    receiver.wait().await.expect("set");
                    if number == count / 2 {
                        return Err("in the middle");
                    }
                    ended.set(ended.get() + 1);
                    Ok(())
                }
            };
            let gathered = spawn(task::gather((0..count).map(work)));
            // Polled for the first time, and again for no reason.
            yield_now().await;
            sender.set(()).expect("the first");
            assert_eq!(gathered.await.expect("no panic"), Err("in the middle"));
            sleep(SECOND).await;
            assert_eq!((ended.get(), alive()), (count - 1, 1));
        }
    });
}

#[test]
fn a_failed_try_join_has_dropped_the_others_and_cleaned_up_after_them() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let cleaned = || {
            let seen = seen.clone();
            finally(pending::<Result<u32, &'static str>>(), async move {
                sleep(SECOND).await;
                log(&seen, "cleaned up");
            })
        };
        let futures: Vec<Boxed> = vec![Box::pin(cleaned()), Box::pin(fails_after(1, "wrong")), Box::pin(cleaned())];
        assert_eq!(try_join_all(futures).await, Err("wrong"));
        assert_eq!((seen.take(), began.elapsed()), (vec!["cleaned up"; 2], 2 * SECOND));

        let dropped = Cell::new(0);
        let borrows = async {
            let _drop = OnDrop(|| dropped.set(dropped.get() + 1));
            pending::<Result<u32, &str>>().await
        };
        assert_eq!(try_join!(borrows, fails_after(1, "wrong")), Err("wrong"));
        assert_eq!(dropped.get(), 1);
        assert_eq!(try_join!(after(1), after(2)), Ok((1, 2)));
    });
}

#[test]
fn settled_results_stand_in_their_places_whatever_they_are() {
    scene(async || {
        let victim = spawn(pending::<Result<u32, &str>>());
        victim.abort();
        let tasks = [spawn(after(2)), spawn(fails_after(1, "wrong")), victim, spawn(after(0))];
        let results = gather_settled(tasks).await;
        assert!(
            matches!(&results[..], [Ok(Ok(2)), Ok(Err("wrong")), Err(cancelled), Ok(Ok(0))] if cancelled.is_cancelled())
        );
    });
}

#[test]
fn one_task_that_is_cancelled_is_an_error_of_its_gather_and_touches_no_other() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (victim, other) = (spawn(pending::<()>()), Rc::new(Cell::new(false)));
        let seen = other.clone();
        let works = spawn(async move {
            sleep(2 * SECOND).await;
            seen.set(true);
        });
        victim.abort();
        let error = task::gather([works, victim]).await.expect_err("one was cancelled");
        assert!(error.is_cancelled());
        assert!(!other.get());
        sleep(2 * SECOND).await;
        assert!(other.get(), "it goes on");
    });
}

#[test]
fn a_gather_that_is_cancelled_drops_its_futures_and_detaches_its_tasks() {
    scene(async || {
        let dropped = Rc::new(Cell::new(0));
        let child = || {
            let dropped = dropped.clone();
            let on_drop = OnDrop(move || dropped.set(dropped.get() + 1));
            async move {
                let _on_drop = on_drop;
                sleep(10 * SECOND).await;
                Ok::<_, &str>(())
            }
        };
        let gathered = spawn(task::gather((0..3).map(|_| child())));
        settled().await;
        assert!(gathered.cancel().await.expect_err("cancelled").is_cancelled());
        assert_eq!(dropped.replace(0), 3);
        let gathered = spawn(gather_settled((0..20).map(|_| child())));
        sleep(SECOND).await;
        assert!(gathered.cancel().await.expect_err("cancelled").is_cancelled());
        assert_eq!(dropped.replace(0), 20);

        let gathered = spawn(gather_settled((0..3).map(|_| spawn(child())).collect::<Vec<_>>()));
        sleep(SECOND).await;
        assert!(gathered.cancel().await.is_err());
        assert_eq!((dropped.get(), alive()), (0, 4), "they go on");
        sleep(20 * SECOND).await;
        assert_eq!(dropped.replace(0), 3);

        let aborted: Vec<_> = (0..3).map(|_| spawn(child()).abort_on_drop()).collect();
        let gathered = spawn(gather_settled(aborted));
        sleep(SECOND).await;
        assert!(gathered.cancel().await.is_err());
        settled().await;
        assert_eq!((dropped.get(), alive()), (3, 1), "unless they are aborted when they are dropped");
    });
}

#[test]
fn a_cancel_in_the_turn_in_which_the_last_future_ended_comes_too_late_for_none() {
    // It is about two things in one turn.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (sender, receiver) = promise::<u32>();
        let inner = spawn(async move { receiver.await });
        let gathered = spawn(gather_settled([inner]));
        yield_now().await;
        yield_now().await;
        sender.set(5).expect("the first");
        yield_now().await;
        // The inner one has ended, and the gather has been woken, and has not run: the abort comes first.
        assert!(gathered.abort());
        assert!(gathered.await.expect_err("aborted").is_cancelled());

        // One that runs, and ends in that poll, keeps its results.
        let own = Rc::new(RefCell::new(None::<corering::JoinHandle<Vec<u32>>>));
        let gathered = spawn({
            let own = own.clone();
            async move {
                let results = gather_settled([ready(1), ready(2)]).await;
                assert!(own.borrow().as_ref().expect("put there").abort());
                results
            }
        });
        own.replace(Some(gathered));
        yield_now().await;
        let gathered = own.take().expect("there");
        assert_eq!(gathered.await.expect("it had ended"), [1, 2]);
    });
}

/// asyncio wraps a coroutine that is given twice; here a promise may be awaited by many.
#[test]
fn one_value_may_be_awaited_twice_in_one_gather() {
    scene(async || {
        let (sender, receiver) = promise::<u32>();
        let setter = spawn(async move {
            sleep(SECOND).await;
            sender.set(7).expect("the first");
        });
        let both = gather_settled([receiver.clone(), receiver]).await;
        assert!(matches!(both[..], [Ok(7), Ok(7)]));
        setter.await.expect("no panic");
    });
}

/// Of many futures only those are polled that were woken.
#[test]
fn a_wake_polls_the_future_that_it_is_for() {
    scene(async || {
        let polls = Rc::new(RefCell::new(vec![0; 100]));
        let futures = (0..100_u32).map(|number| {
            let polls = polls.clone();
            let mut sleep = Box::pin(sleep((1 + number) * SECOND));
            poll_fn(move |cx| {
                polls.borrow_mut()[number as usize] += 1;
                sleep.as_mut().poll(cx)
            })
        });
        gather_settled(futures).await;
        let polls = polls.take();
        // Each when it is begun, when it gets a waker of its own, and when it ends; the last few more often.
        assert!(polls[..92].iter().all(|count| *count <= 4), "{polls:?}");
        assert!(polls.iter().sum::<u32>() < 500, "{polls:?}");
    });
}

#[test]
fn join_gives_outputs_of_all_types_when_all_are_there() {
    scene(async || {
        let (began, text) = (Instant::now(), "borrowed".to_owned());
        let (number, word, ()) = join!(after(2), async { text.as_str() }, sleep(SECOND));
        assert_eq!((number, word, began.elapsed()), (Ok(2), "borrowed", 2 * SECOND));
    });
}

#[test]
fn the_first_that_succeeds_wins_and_the_others_have_ended() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let racer = |seconds: u32, result: Result<u32, &'static str>| {
            let seen = seen.clone();
            finally(
                async move {
                    sleep(seconds * SECOND).await;
                    result
                },
                async move {
                    sleep(SECOND).await;
                    log(&seen, "ended");
                },
            )
        };
        let won = first_ok([racer(5, Ok(5)), racer(1, Err("wrong")), racer(3, Ok(3))]).await;
        // Three seconds and its own cleanup; then that of the loser.
        assert_eq!((won, began.elapsed()), (Ok(3), 5 * SECOND));
        assert_eq!(seen.take().len(), 3, "the loser, too");

        let error = first_ok([fails_after(3, "a"), fails_after(1, "b"), fails_after(2, "c")]).await.expect_err("none");
        assert_eq!(error.errors(), ["a", "b", "c"]);
        assert_eq!(error.to_string(), "none of 3 succeeded; a; b; c");
        assert!(first_ok(std::iter::empty::<std::future::Ready<Result<(), ()>>>()).await.expect_err("none").is_empty());
    });
}

#[test]
fn staggered_starts_the_next_after_the_delay_or_a_failure() {
    scene(async || {
        let (starts, began) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
        let racers = [(4, Err("a")), (10, Ok("b")), (1, Err("c")), (10, Ok("d"))];
        let racers = racers.map(|(seconds, result)| {
            let starts = starts.clone();
            async move {
                starts.borrow_mut().push(began.elapsed().as_secs());
                sleep(seconds * SECOND).await;
                result
            }
        });
        assert_eq!(staggered(3 * SECOND, racers).await, Ok("b"));
        // The second when the delay is over; the third because the first has failed; the fourth because the third has.
        assert_eq!(*starts.borrow(), [0, 3, 4, 5]);
        assert_eq!(began.elapsed(), 13 * SECOND);
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn staggered_that_fails_has_all_errors_in_order_and_one_that_wins_starts_no_more() {
    scene(async || {
        let racers = [(5, "a"), (1, "b"), (1, "c")].map(|(seconds, what)| fails_after(seconds, what));
        let error = staggered(SECOND, racers).await.expect_err("none");
        assert_eq!(error.into_errors(), ["a", "b", "c"]);

        let (made, began) = (Cell::new(0), Instant::now());
        let racers = (0..5).map(|_| {
            made.set(made.get() + 1);
            after(1)
        });
        assert_eq!(staggered(10 * SECOND, racers).await, Ok(1));
        assert_eq!((made.get(), began.elapsed()), (1, SECOND));

        // The losers are dropped, and cleaned up after, when it returns.
        let seen = Log::default();
        let loser = {
            let seen = seen.clone();
            finally(pending::<Result<u32, &'static str>>(), async move {
                sleep(SECOND).await;
                log(&seen, "ended");
            })
        };
        let racers: [Boxed; 2] = [Box::pin(loser), Box::pin(after(1))];
        assert_eq!(staggered(SECOND, racers).await, Ok(1));
        assert_eq!(seen.take(), ["ended"]);
    });
}

#[test]
fn a_race_that_is_dropped_drops_its_futures() {
    scene(async || {
        let dropped = Rc::new(Cell::new(0));
        let racer = || {
            let dropped = dropped.clone();
            let on_drop = OnDrop(move || dropped.set(dropped.get() + 1));
            async move {
                let _on_drop = on_drop;
                pending::<Result<(), &str>>().await
            }
        };
        assert!(timeout(SECOND, first_ok((0..3).map(|_| racer()))).await.is_err());
        assert_eq!(dropped.replace(0), 3);
        // Two were started, and the third was not made.
        assert!(timeout(3 * SECOND, staggered(2 * SECOND, (0..3).map(|_| racer()))).await.is_err());
        assert_eq!(dropped.replace(0), 2);
    });
}

#[test]
fn a_gather_that_is_polled_after_its_end_says_so() {
    scene(async || {
        let mut gathered = pin!(task::gather([after(0)]));
        assert_eq!(gathered.as_mut().await, Ok(vec![0]));
        let again = poll_fn(|cx| {
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gathered.as_mut().poll(cx)));
            Poll::Ready(polled.is_err())
        });
        assert!(again.await);
    });
}
