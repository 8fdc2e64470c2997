//! A core on which nothing can ever run again says so, and who waits for what; one on which something might does not.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::sync::{Event, Lock, Queue, oneshot, promise};
use corering::task::{self, TaskGroup, WaitsFor, gather_settled, local_scope, yield_now};
use corering::{Builder, Deadlock, RunError, spawn};

use crate::clean;

/// The report of a program that hangs.
#[track_caller]
fn report<F: Future>(program: F) -> Deadlock {
    match corering::run(program) {
        Err(RunError::Deadlock(deadlock)) => deadlock,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it has ended"),
    }
}

/// What each task waits for, as (name, what).
fn waits(deadlock: &Deadlock) -> Vec<(String, Vec<String>)> {
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

fn is<const N: usize>(name: &str, what: [&str; N]) -> (String, Vec<String>) {
    (name.to_owned(), what.map(str::to_owned).to_vec())
}

#[test]
fn one_sentinel_for_two_consumers_is_reported() {
    // As in the tutorials: the second consumer waits for a sentinel that the first has had.
    let deadlock = report(async {
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
    });
    let (main, consumer) = (&waits(&deadlock)[0], &waits(&deadlock)[1]);
    assert_eq!(main.0, "main");
    assert_eq!(consumer.1, ["Queue::get"]);
    assert_eq!(main.1, [format!("task {}", consumer.0)]);
    let text = deadlock.to_string();
    assert!(
        text.starts_with("deadlock: nothing can ever run again on this core\ntask #1 'main' (spawned at "),
        "{text}"
    );
    let get = "Queue::get, called at tests/it/deadlocks.rs:";
    assert!(text.contains(&format!("\n  waits for {get}")), "{text}");
}

#[test]
fn a_sentinel_that_is_never_done_is_reported() {
    let deadlock = report(async {
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
    });
    assert_eq!(waits(&deadlock), [is("main", ["Queue::join"])]);
}

#[test]
fn tasks_that_wait_for_each_other_are_reported() {
    let deadlock = report(async {
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
    });
    assert_eq!(waits(&deadlock), [is("main", ["task one"]), is("one", ["Lock::lock"]), is("two", ["Lock::lock"])]);
}

#[test]
fn a_lock_that_is_taken_twice_is_reported_as_the_tasks_own() {
    let deadlock = report(async {
        let lock = Lock::new(());
        let _first = lock.lock().await;
        let _second = lock.lock().await;
    });
    assert!(deadlock.to_string().contains("; the task itself held it then"), "{deadlock}");
}

#[test]
fn a_lock_that_was_given_to_a_future_that_nobody_polls_is_reported() {
    let deadlock = report(async {
        let lock = Lock::new(());
        let held = lock.lock().await;
        let mut first = pin!(lock.lock());
        poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
        drop(held);
        // The lock belongs to `first` now, which is never polled again.
        let _second = lock.lock().await;
    });
    assert_eq!(waits(&deadlock), [is("main", ["to poll Lock::lock", "Lock::lock"])]);
}

#[test]
fn what_waits_within_groups_and_gathers_is_reported() {
    let many = report(async {
        let event = Event::new();
        gather_settled((0..20).map(|_| event.wait())).await
    });
    assert_eq!(waits(&many)[0].1.len(), 20, "{many}");

    let scope = report(async {
        let event = Event::new();
        local_scope::<_, (), _>(async |scope| {
            scope.spawn(async {
                event.wait().await;
                Ok(())
            });
            Ok(())
        })
        .await
    });
    assert_eq!(waits(&scope), [is("main", ["Event::wait", "futures of its scope"])]);

    let group = report(async {
        TaskGroup::<()>::scope(async |group| {
            group.spawn(pending::<Result<(), ()>>()).name("stuck");
            Ok(())
        })
        .await
    });
    assert_eq!(waits(&group), [is("main", ["its group to end"]), is("stuck", [])]);
    assert!(group.to_string().contains("waits for nothing that could wake it"), "{group}");
}

#[test]
fn whoever_holds_a_waker_elsewhere_is_waited_for() {
    let woken = corering::run(async {
        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let thread = std::thread::spawn(move || {
            let waker = receiver.recv().expect("sent");
            std::thread::sleep(Duration::from_millis(200));
            waker.wake();
        });
        let mut polled = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            sender.send(cx.waker().clone()).expect("there");
            Poll::Pending
        })
        .await;
        thread.join().expect("ends");
    });
    assert!(woken.is_ok());
}

#[test]
fn once_the_last_waker_elsewhere_is_dropped_it_is_reported() {
    let deadlock = report(async {
        let mut thread = None;
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            thread.get_or_insert_with(|| {
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(100));
                    drop(waker);
                })
            });
            Poll::<()>::Pending
        })
        .await;
    });
    assert_eq!(waits(&deadlock), [is("main", [])]);
}

#[test]
fn a_survey_shows_who_spawned_whom_and_who_waits_for_what_now() {
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
fn a_core_is_of_use_after_a_deadlock() {
    let runtime = Builder::new().build().expect("io_uring");
    let (promise, promised) = promise::<u32>();
    let [waits] = runtime.block_on(async {
        let promised = promised.clone();
        [spawn(async move { *promised.wait().await.expect("set") }).name("patient")]
    });
    let Err(RunError::Deadlock(deadlock)) = runtime.try_block_on(pending::<()>()) else {
        panic!("nothing can run");
    };
    assert_eq!(waits_of(&deadlock, "patient"), ["a promise"]);
    assert_eq!(waits_of(&deadlock, "main"), Vec::<String>::new());
    promise.set(7).expect("once");
    assert_eq!(runtime.block_on(waits).expect("ends"), 7);
}

fn waits_of(deadlock: &Deadlock, name: &str) -> Vec<String> {
    waits(deadlock).into_iter().find(|(task, _)| task == name).expect("in the report").1
}

#[test]
fn cleanup_is_run_after_a_deadlock() {
    let cleaned = Rc::new(Cell::new(false));
    let deadlock = report({
        let cleaned = cleaned.clone();
        async move {
            let cleanup = async move {
                corering::time::sleep(Duration::from_millis(1)).await;
                cleaned.set(true);
            };
            corering::cancel::finally(pending::<()>(), cleanup).await;
        }
    });
    assert_eq!(waits(&deadlock), [is("main", [])]);
    assert!(cleaned.get());
}

#[test]
fn paused_time_does_not_wait_with_the_report() {
    let (_sender, receiver) = oneshot::channel::<()>();
    let began = std::time::Instant::now();
    let error = Builder::new().paused_time(true).run(receiver.into_future()).expect_err("nobody sends");
    assert!(matches!(error, RunError::Deadlock(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}
