//! Waiting for tasks: `wait`, `as_completed`, join sets, and streams of futures of which some run at a time.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use corering::sync::promise;
use corering::task::{self, JoinSet, ReturnWhen, as_completed, buffer_unordered, wait, wait_timeout, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{JoinHandle, spawn};

use crate::{OnDrop, SECOND, alive, poll_once, scene, settled, timers};

fn after(seconds: u32) -> JoinHandle<u32> {
    spawn(async move {
        sleep(seconds * SECOND).await;
        seconds
    })
}

#[test]
fn waiting_for_the_first_gives_all_that_have_ended_and_leaves_the_others_alone() {
    // Two end in one turn, before the one who waits for the first runs.
    let _special = crate::tasks_in_order();
    scene(async || {
        let began = Instant::now();
        let tasks = [after(3), after(1), after(1), after(2)];
        let ids = tasks.each_ref().map(JoinHandle::id);
        let (done, pending) = wait(tasks, ReturnWhen::FirstCompleted).await;
        assert_eq!(began.elapsed(), SECOND);
        // Both that are due then have ended when the waiting task runs.
        assert_eq!(done.iter().map(JoinHandle::id).collect::<Vec<_>>(), [ids[1], ids[2]]);
        assert_eq!(pending.iter().map(JoinHandle::id).collect::<Vec<_>>(), [ids[0], ids[3]]);
        for task in done {
            assert_eq!(task.await.expect("no panic"), 1);
        }
        let (done, pending) = wait(pending, ReturnWhen::AllCompleted).await;
        assert_eq!((done.len(), pending.len(), began.elapsed()), (2, 0, 3 * SECOND));
        // Of those that have ended, and of none: at once.
        let mut again = Box::pin(wait(&done, ReturnWhen::FirstCompleted));
        assert!(poll_once(&mut again).await);
        drop(again);
        let mut none = Box::pin(wait(Vec::<JoinHandle<u32>>::new(), ReturnWhen::FirstCompleted));
        assert!(poll_once(&mut none).await);
    });
}

#[test]
fn waiting_for_the_first_error_counts_failures_and_panics_and_no_cancel() {
    type Outcome = Result<u32, &'static str>;
    scene(async || {
        let ok = |seconds: u32| {
            spawn(async move {
                sleep(seconds * SECOND).await;
                Outcome::Ok(seconds)
            })
        };
        let fails = |seconds: u32| {
            spawn(async move {
                sleep(seconds * SECOND).await;
                Outcome::Err("wrong")
            })
        };
        let cancelled = || {
            let task = spawn(pending::<Outcome>());
            task.abort();
            task
        };
        let began = Instant::now();
        let (done, pending) = wait([ok(3), ok(1), cancelled(), fails(2)], ReturnWhen::first_error()).await;
        assert_eq!((done.len(), pending.len(), began.elapsed()), (3, 1, 2 * SECOND));
        drop((done, pending));

        let began = Instant::now();
        let (done, pending) = wait([ok(3), ok(1), cancelled()], ReturnWhen::first_error()).await;
        assert_eq!((done.len(), pending.len(), began.elapsed()), (3, 0, 3 * SECOND), "no error: all");

        let panics: JoinHandle<Outcome> = spawn(async { panic!("wrong") });
        let (done, pending) = wait([ok(3), panics], ReturnWhen::first_error()).await;
        assert_eq!((done.len(), pending.len()), (1, 1));
        for task in done {
            assert!(task.await.expect_err("it panicked").is_panic());
        }

        // One that had failed before.
        let failed = fails(0);
        sleep(SECOND).await;
        let mut known = Box::pin(wait([pending.into_iter().next().expect("one"), failed], ReturnWhen::first_error()));
        assert!(poll_once(&mut known).await);
        sleep(5 * SECOND).await;
    });
}

#[test]
fn a_wait_whose_time_is_over_is_no_error_and_loses_nothing() {
    scene(async || {
        for limit in [Duration::ZERO, SECOND, 2 * SECOND] {
            let began = Instant::now();
            let (done, pending) = wait_timeout([after(1), after(3)], ReturnWhen::AllCompleted, limit).await;
            assert_eq!((done.len() + pending.len(), began.elapsed()), (2, limit));
            // What ends in the very moment may be in either.
            assert!(done.len() == usize::from(limit > SECOND) || limit == SECOND);
            assert!(timers() <= pending.len());
            for task in done.into_iter().chain(pending) {
                task.await.expect("untouched");
            }
        }
        // Sooner than the limit: the timer goes.
        let (done, _) = wait_timeout([after(1)], ReturnWhen::AllCompleted, 100 * SECOND).await;
        assert_eq!((done.len(), timers()), (1, 0));
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_the_tasks_and_nothing_with_them() {
    scene(async || {
        let tasks = [after(5), after(6)];
        for _ in 0..1000 {
            assert!(!poll_once(&mut Box::pin(wait(&tasks, ReturnWhen::AllCompleted))).await);
        }
        assert!(timeout(SECOND, wait(&tasks, ReturnWhen::FirstCompleted)).await.is_err());
        // Two wait for the same tasks; one of them goes.
        let mut stays = Box::pin(wait(&tasks, ReturnWhen::FirstCompleted));
        let mut goes = Box::pin(wait(&tasks, ReturnWhen::FirstCompleted));
        assert!(!poll_once(&mut stays).await && !poll_once(&mut goes).await);
        drop(goes);
        let (done, pending) = stays.await;
        assert_eq!((done.len(), pending.len(), alive()), (1, 1, 2));
        for task in tasks {
            task.await.expect("untouched");
        }
    });
}

#[test]
fn tasks_are_given_in_the_order_in_which_they_end_each_once_with_its_number() {
    scene(async || {
        let tasks = [after(3), after(1), after(2)];
        let mut ids: Vec<_> = tasks.iter().map(JoinHandle::id).collect();
        let mut ended = as_completed(tasks);
        let (first, result) = ended.next().await.expect("three");
        assert_eq!((first, result.expect("no panic"), ended.len()), (ids[1], 1, 2));
        // Another time: what ends meanwhile waits there.
        sleep(5 * SECOND).await;
        let mut rest = Vec::new();
        while let Some((id, result)) = ended.next().await {
            rest.push((id, result.expect("no panic")));
        }
        assert_eq!(rest, [(ids[2], 2), (ids[0], 3)]);
        assert!(ended.next().await.is_none() && ended.is_empty());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3);
    });
}

#[test]
fn as_completed_says_that_its_time_is_over_again_and_again_and_leaves_the_tasks() {
    scene(async || {
        let mut ended = as_completed([after(1), after(3), after(5)]).timeout(2 * SECOND);
        assert!(matches!(ended.next_in_time().await, Ok(Some((_, Ok(1))))));
        for _ in 0..3 {
            assert!(ended.next_in_time().await.is_err());
        }
        assert!(ended.next().await.is_none());
        // What has ended is given even then.
        sleep(2 * SECOND).await;
        assert!(matches!(ended.next_in_time().await, Ok(Some((_, Ok(3))))));
        assert!(ended.next_in_time().await.is_err());
        assert_eq!(alive(), 2);
        ended.detach_all();
        assert_eq!(alive(), 2);
        sleep(5 * SECOND).await;
        assert_eq!(alive(), 1);

        let mut all = as_completed([after(1)]).timeout(100 * SECOND);
        assert!(all.next().await.is_some());
        assert_eq!(timers(), 0, "nothing is left to wait for");
    });
}

/// asyncio leaves them running.
#[test]
fn a_join_set_or_as_completed_that_is_dropped_aborts_what_is_left() {
    scene(async || {
        let dropped = Rc::new(Cell::new(0));
        let child = || {
            let dropped = dropped.clone();
            let on_drop = OnDrop(move || dropped.set(dropped.get() + 1));
            spawn(async move {
                let _on_drop = on_drop;
                pending::<()>().await;
            })
        };
        let (mut set, ended) = (JoinSet::new(), as_completed([child(), child()]));
        set.insert(child());
        settled().await;
        drop((set, ended));
        settled().await;
        assert_eq!((dropped.get(), alive()), (3, 1));

        let mut set: JoinSet<u32> = [after(1), after(2)].into_iter().collect();
        set.detach_all();
        assert!(set.is_empty() && set.join_next().await.is_none());
        drop(set);
        assert_eq!(alive(), 3);
        sleep(3 * SECOND).await;
        assert_eq!(alive(), 1);
    });
}

#[test]
fn a_join_set_gives_each_task_once_and_grows_while_it_is_emptied() {
    scene(async || {
        let mut set = JoinSet::new();
        let (mut given, mut spawned) = (Vec::new(), 5_u32);
        for number in 0..5 {
            set.spawn(async move {
                sleep(number * SECOND).await;
                number
            });
        }
        assert!(set.try_join_next().is_none());
        while let Some(result) = set.join_next().await {
            given.push(result.expect("no panic"));
            if spawned < 20 {
                let number = spawned;
                spawned += 1;
                set.spawn(async move { number });
            }
        }
        given.sort_unstable();
        assert_eq!(given, (0..20).collect::<Vec<_>>());
        assert!(set.try_join_next().is_none() && set.is_empty());
    });
}

#[test]
fn a_join_set_tells_of_panics_and_cancels_and_can_be_shut_down() {
    scene(async || {
        let mut set = JoinSet::new();
        let first = set.spawn(async { panic!("one of them") });
        set.spawn(pending::<()>());
        let (id, result) = set.join_next_with_id().await.expect("two");
        assert!(id == first && result.expect_err("it panicked").is_panic());
        set.abort_all();
        assert!(set.join_next().await.expect("one").expect_err("aborted").is_cancelled());

        let seen = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let seen = seen.clone();
            set.spawn(corering::cancel::finally(pending::<()>(), async move {
                sleep(SECOND).await;
                seen.set(seen.get() + 1);
            }));
        }
        settled().await;
        set.shutdown().await;
        assert_eq!((seen.get(), set.len(), alive()), (3, 0, 1));
    });
}

#[test]
fn a_wait_for_the_next_of_a_join_set_that_is_dropped_loses_nothing() {
    scene(async || {
        let mut set: JoinSet<u32> = (1..=20).map(after).collect();
        let mut given = Vec::new();
        while !set.is_empty() {
            match timeout(SECOND * 3 / 4, set.join_next()).await {
                Ok(Some(result)) => given.push(result.expect("no panic")),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        assert_eq!(given, (1..=20).collect::<Vec<_>>());
    });
}

#[test]
fn so_many_futures_run_at_a_time_and_the_next_is_made_when_there_is_room() {
    scene(async || {
        let (running, most, made) = (Cell::new(0_u32), Cell::new(0), Cell::new(0));
        let futures = (0..30_u64).map(|number| {
            made.set(made.get() + 1);
            let (running, most) = (&running, &most);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                sleep(Duration::from_millis(number * 37 % 100)).await;
                running.set(running.get() - 1);
                number
            }
        });
        let mut outputs = buffer_unordered(4, futures);
        assert_eq!(made.get(), 0);
        let mut all = vec![outputs.next().await.expect("thirty")];
        assert!(made.get() <= 5);
        // A wait that is given up loses nothing.
        while let Ok(next) = timeout(Duration::from_millis(500), outputs.next()).await {
            match next {
                Some(number) => all.push(number),
                None => break,
            }
            if let Ok(Some(number)) = timeout(Duration::from_millis(5), outputs.next()).await {
                all.push(number);
            }
        }
        assert_ne!(all, (0..30).collect::<Vec<_>>(), "as they end");
        all.sort_unstable();
        assert_eq!((all, most.get()), ((0..30).collect(), 4));
        assert!(outputs.next().await.is_none());
    });
}

#[test]
fn a_stream_of_futures_that_is_dropped_drops_those_that_run() {
    scene(async || {
        let (dropped, made) = (Cell::new(0), Cell::new(0));
        let futures = (0..10).map(|number| {
            made.set(made.get() + 1);
            let on_drop = OnDrop(|| dropped.set(dropped.get() + 1));
            async move {
                let _on_drop = on_drop;
                if number > 0 {
                    pending::<()>().await;
                }
            }
        });
        let mut outputs = buffer_unordered(3, futures);
        outputs.next().await.expect("the first");
        drop(outputs);
        assert_eq!((made.get(), dropped.get()), (3, 3));
    });
}

/// Of two who wait for one task by its handle only the last is woken, but by `wait` any number.
#[test]
fn any_number_wait_for_the_same_tasks() {
    scene(async || {
        let tasks = Rc::new([after(1), after(2)]);
        let ended = Rc::new(RefCell::new(Vec::new()));
        let waiting: Vec<_> = (0..10_usize)
            .map(|number| {
                let (tasks, ended) = (tasks.clone(), ended.clone());
                spawn(async move {
                    let when = if number % 2 == 0 { ReturnWhen::FirstCompleted } else { ReturnWhen::AllCompleted };
                    let (done, _) = wait(&*tasks, when).await;
                    ended.borrow_mut().push(done.len());
                })
            })
            .collect();
        sleep(3 * SECOND).await;
        assert_eq!(ended.take(), [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
        task::gather(waiting).await.expect("no panic");
    });
}

/// A task that has ended is not lost when its end and the end of a wait for it fall together.
#[test]
fn a_task_that_ends_in_the_turn_in_which_its_wait_is_dropped_is_there_for_the_next() {
    scene(async || {
        let (sender, receiver) = promise::<u32>();
        let task = spawn(receiver.into_future());
        let mut set: JoinSet<_> = [task].into_iter().collect();
        yield_now().await;
        {
            let mut next = Box::pin(set.join_next());
            assert!(!poll_once(&mut next).await);
            sender.set(5).expect("the first");
            yield_now().await;
        }
        assert_eq!(set.join_next().await.expect("one").expect("no panic"), Ok(5));
        let mut none = Box::pin(set.join_next());
        assert!(poll_once(&mut none).await);
        drop(none);
        assert!(poll_fn(|cx| set.poll_join_next(cx)).await.is_none(), "it was given already");
    });
}
