//! A core on which nothing can ever run again says so, and who waits for what; one on which something might does not.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::sync::{Event, Lock, Queue, oneshot};
use corering::task::cancel::finally;
use corering::task::{self, TaskGroup, WaitsFor, gather_settled, local_scope, yield_now};
use corering::time::sleep;
use corering::{Builder, Deadlock, RunError, spawn};

use crate::{SECOND, clean, paused, try_run_then, within};

/// Looks at the report of a program that hangs.
#[track_caller]
pub(crate) fn report<T>(program: impl AsyncFn() -> T, check: impl Fn(&Deadlock)) {
    report_on(Builder::new(), program, check);
}

#[track_caller]
fn report_on<T>(builder: Builder, program: impl AsyncFn() -> T, check: impl Fn(&Deadlock)) {
    try_run_then(builder, program, |outcome| match outcome {
        Err(RunError::Deadlock(deadlock)) => check(&deadlock),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it has ended"),
    });
}

/// What each task waits for, as (name, what).
pub(crate) fn waits(deadlock: &Deadlock) -> Vec<(String, Vec<String>)> {
    let what = |waits: &WaitsFor| match waits {
        WaitsFor::Task(task) => format!("task {}", task.name().unwrap_or("?")),
        WaitsFor::Primitive { what, given: false, .. } => (*what).to_owned(),
        WaitsFor::Primitive { what, .. } => format!("to poll {what}"),
        _ => "something new".to_owned(),
    };
    let task = |task: &corering::task::TaskWaits| {
        (task.task().name().unwrap_or("?").to_owned(), task.waits().iter().map(what).collect())
    };
    deadlock.tasks().iter().map(task).collect()
}

pub(crate) fn is<const N: usize>(name: &str, what: [&str; N]) -> (String, Vec<String>) {
    (name.to_owned(), what.map(str::to_owned).to_vec())
}

#[test]
fn one_sentinel_for_two_consumers_is_reported() {
    // As in the tutorials: the second consumer waits for a sentinel that the first has had.
    report(
        async || {
            let queue = Rc::new(Queue::unbounded());
            let consumer = |queue: Rc<Queue<Option<u32>>>| async move {
                while let Some(_item) = *queue.get().await.expect("open") {
                    yield_now().await;
                }
            };
            let consumers = [1, 2].map(|number| spawn(consumer(queue.clone())).name(format_args!("consumer {number}")));
            for item in 0..5 {
                queue.put(Some(item)).await.expect("open");
            }
            queue.put(None).await.expect("open");
            for consumer in consumers {
                consumer.await.expect("ends");
            }
        },
        |deadlock| {
            let (main, consumer) = (&waits(deadlock)[0], &waits(deadlock)[1]);
            assert_eq!(main.0, "main");
            assert_eq!(consumer.1, ["Queue::get"]);
            assert_eq!(main.1, [format!("task {}", consumer.0)]);
            let text = deadlock.to_string();
            assert!(
                text.starts_with("deadlock: nothing can ever run again on this core\ntask #1 'main' (spawned at "),
                "{text}"
            );
            assert!(text.contains(&format!("\n  waits for Queue::get, called at {}:", file!())), "{text}");
        },
    );
}

#[test]
fn a_sentinel_that_is_never_done_is_reported() {
    report(
        async || {
            let (queue, kept) = (Rc::new(Queue::unbounded()), Rc::new(Cell::new(None)));
            let consumer = {
                let (queue, kept) = (queue.clone(), kept.clone());
                async move {
                    loop {
                        let job = queue.get().await.expect("open");
                        if Option::<u32>::is_none(&job) {
                            // The tutorial leaves its loop without `task_done`.
                            kept.set(Some(job));
                            break;
                        }
                    }
                }
            };
            spawn(consumer).name("consumer");
            for item in [Some(1), Some(2), None] {
                queue.put(item).await.expect("open");
            }
            queue.join().await;
        },
        |deadlock| {
            assert_eq!(waits(deadlock), [is("main", ["Queue::join"])]);
        },
    );
}

#[test]
fn tasks_that_wait_for_each_other_are_reported() {
    // In another order one of them has both locks, and nobody waits for ever.
    let _special = crate::tasks_in_order();
    report(
        async || {
            let locks = Rc::new([Lock::new(()), Lock::new(())]);
            let take = |first: usize, second: usize| {
                let locks = locks.clone();
                async move {
                    let _first = locks[first].lock().await;
                    yield_now().await;
                    let _second = locks[second].lock().await;
                }
            };
            let one = spawn(take(0, 1)).name("one");
            spawn(take(1, 0)).name("two");
            one.await.expect("ends");
        },
        |deadlock| {
            assert_eq!(
                waits(deadlock),
                [is("main", ["task one"]), is("one", ["Lock::lock"]), is("two", ["Lock::lock"])]
            );
        },
    );
}

#[test]
fn a_lock_that_is_taken_twice_is_reported_as_the_tasks_own() {
    report(
        async || {
            let lock = Lock::new(());
            let _first = lock.lock().await;
            let _second = lock.lock().await;
        },
        |deadlock| {
            assert!(deadlock.to_string().contains("; the task itself held it then"), "{deadlock}");
        },
    );
}

#[test]
fn a_lock_that_was_given_to_a_future_that_nobody_polls_is_reported() {
    report(
        async || {
            let lock = Lock::new(());
            let held = lock.lock().await;
            let mut first = pin!(lock.lock());
            poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
            drop(held);
            // The lock belongs to `first` now, which is never polled again.
            let _second = lock.lock().await;
        },
        |deadlock| {
            assert_eq!(waits(deadlock), [is("main", ["to poll Lock::lock", "Lock::lock"])]);
        },
    );
}

#[test]
fn what_waits_within_groups_and_gathers_is_reported() {
    report(
        async || {
            let event = Event::new();
            gather_settled((0..20).map(|_| event.wait())).await
        },
        |many| {
            assert_eq!(waits(many)[0].1.len(), 20, "{many}");
        },
    );

    report(
        async || {
            let event = Event::new();
            local_scope::<_, (), _>(async |scope| {
                scope.spawn(async {
                    event.wait().await;
                    Ok(())
                });
                Ok(())
            })
            .await
        },
        |scope| {
            assert_eq!(waits(scope), [is("main", ["Event::wait", "futures of its scope"])]);
        },
    );

    report(
        async || {
            TaskGroup::<()>::scope(async |group| {
                group.spawn(pending::<Result<(), ()>>()).name("stuck");
                Ok(())
            })
            .await
        },
        |group| {
            assert_eq!(waits(group), [is("main", ["its group to end"]), is("stuck", [])]);
            assert!(group.to_string().contains("waits for nothing that could wake it"), "{group}");
        },
    );
}

#[test]
fn a_survey_shows_who_spawned_whom_and_who_waits_for_what_now() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let event = Rc::new(Event::new());
        let patient = {
            let event = event.clone();
            spawn(async move {
                let child = spawn(async move { event.wait().await }).name("child");
                child.await.expect("ends");
            })
            .name("parent")
        };
        yield_now().await;
        yield_now().await;
        let survey = || {
            let tasks = task::survey();
            let of = |name: &str| tasks.iter().find(|waits| waits.task().name() == Some(name)).cloned();
            (of("parent"), of("child"))
        };
        let (Some(parent), Some(child)) = survey() else { panic!("both are there") };
        assert_eq!(child.task().parent(), Some(parent.task().id()));
        assert_eq!(parent.task().parent(), task::current().map(|main| main.id()));
        assert!(matches!(parent.waits(), [WaitsFor::Task(waited)] if waited.id() == child.task().id()));
        assert!(matches!(child.waits(), [WaitsFor::Primitive { what: "Event::wait", given: false, .. }]));

        // Who was cancelled waits for nothing any more.
        patient.cancel().await.expect_err("it was cancelled");
        let (parent, child) = survey();
        assert!(parent.is_none());
        assert!(matches!(child.expect("it was detached").waits(), [WaitsFor::Primitive { .. }]));
        assert_eq!(event.waiters(), 1);
        event.set();
        yield_now().await;
        assert!(survey().1.is_none());
    });
}

#[test]
fn cleanup_is_run_after_a_deadlock() {
    let cleaned = Rc::new(Cell::new(0));
    let program = async || {
        let cleaned = cleaned.clone();
        let cleanup = async move {
            sleep(Duration::from_millis(1)).await;
            cleaned.set(cleaned.get() + 1);
        };
        finally(pending::<()>(), cleanup).await;
    };
    report(program, |deadlock| {
        assert_eq!(waits(deadlock), [is("main", [])]);
        assert_eq!(cleaned.take(), 1);
    });
}

#[test]
fn paused_time_does_not_wait_with_the_report() {
    let program = async || {
        let (_sender, receiver) = oneshot::channel::<()>();
        receiver.await
    };
    within(5 * SECOND, || report_on(paused(), program, |deadlock| assert_eq!(waits(deadlock).len(), 1)));
}
