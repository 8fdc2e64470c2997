//! What belongs to a task: its task-locals; tasks that run at once; and functions that are called later.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use corering::sync::{Event, Prioritized, PriorityQueue};
use corering::task::{self, defer, spawn_eager, yield_now};
use corering::time::{Instant, call_at, call_later, sleep, timeout};
use corering::{TaskLocal, spawn};

use crate::{Log, OnDrop, SECOND, log, metrics, paused, poll_once, run_then, scene, settled};

static NUMBER: TaskLocal<u32> = TaskLocal::new();
static NAME: TaskLocal<String> = TaskLocal::new();
static TOKEN: TaskLocal<Rc<()>> = TaskLocal::new();

#[test]
fn an_eager_task_runs_before_spawn_returns_until_it_first_waits() {
    scene(async || {
        let seen = Log::default();
        let begin = |waits: bool| {
            let seen = seen.clone();
            spawn_eager(async move {
                log(&seen, "begun");
                if waits {
                    yield_now().await;
                    log(&seen, "went on");
                }
                5
            })
        };
        let ended = begin(false);
        assert!(ended.is_finished());
        let waits = begin(true);
        assert!(!waits.is_finished());
        log(&seen, "spawned");
        assert_eq!(ended.await.expect("no panic") + waits.await.expect("no panic"), 10);
        assert_eq!(seen.take(), ["begun", "begun", "spawned", "went on"]);
    });
}

#[test]
fn an_eager_task_is_a_task_of_its_own_from_its_first_line() {
    scene(async || {
        let outer = task::current().expect("main").id();
        let task = spawn_eager(async move {
            let own = task::current().expect("itself");
            assert_eq!(own.parent(), Some(outer));
            assert_ne!(own.id(), outer);
            own.id()
        });
        assert_eq!(task::current().expect("main").id(), outer, "as before");
        assert_eq!(task.id(), task.await.expect("no panic"));

        let panics: corering::JoinHandle<()> = spawn_eager(async { panic!("at once") });
        assert!(panics.is_finished());
        assert!(panics.await.expect_err("it panicked").is_panic());
        assert_eq!(task::current().expect("main").id(), outer);
        assert_eq!(metrics().tasks, 1);
    });
}

#[test]
fn an_eager_task_has_limits_of_its_own() {
    scene(async || {
        // The limit of whoever spawns it is none of the task's.
        let limited = timeout(Duration::ZERO, async {
            let task = spawn_eager(timeout(Duration::ZERO, pending::<()>()));
            (task.is_finished(), task.await)
        });
        let mut limited = pin!(limited);
        let (at_once, outcome) = limited.as_mut().await.expect("it never waited");
        assert!(at_once && outcome.expect("no panic").is_err());
    });
}

#[test]
fn what_is_deferred_runs_after_those_that_are_ready_in_the_order_of_the_calls() {
    // Calls are tasks: they run in the order in which they were woken.
    let _special = crate::tasks_in_order();
    scene(async || {
        let seen = Log::default();
        let note = |what: &'static str| {
            let seen = seen.clone();
            move || log(&seen, what)
        };
        let task = spawn({
            let note = note("task");
            async move { note() }
        });
        let first = defer(note("first"));
        let kept = defer(note("never"));
        drop(defer(note("second")));
        assert!(kept.abort() && seen.borrow().is_empty());
        yield_now().await;
        assert_eq!(seen.take(), ["task", "first", "second"]);
        assert_eq!(defer(|| 7).await.expect("no panic"), 7);
        first.await.expect("no panic");
        task.await.expect("no panic");
    });
}

#[test]
fn calls_are_made_when_they_are_due_in_the_order_in_which_they_were_set() {
    // Calls are tasks: those that are due together run in the order in which they were woken.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (seen, began) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
        let note = |number: u32| {
            let seen = seen.clone();
            move || seen.borrow_mut().push((number, began.elapsed()))
        };
        let late = call_later(2 * SECOND, note(1));
        for number in 2..5 {
            drop(call_at(began + SECOND, note(number)));
        }
        drop(call_at(began - SECOND, note(5)));
        let cancelled = call_later(SECOND, note(6));
        assert_eq!((late.when(), late.is_done(), metrics().timers), (began + 2 * SECOND, false, 6));
        assert!(cancelled.cancel());
        sleep(3 * SECOND).await;
        let expected = [(5, 0), (2, 1), (3, 1), (4, 1), (1, 2)].map(|(number, seconds)| (number, seconds * SECOND));
        assert_eq!(seen.take(), expected);
        assert!(late.is_done());
        assert!(!late.cancel(), "too late");
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn a_call_that_panics_is_told_and_the_next_is_made() {
    scene(async || {
        let (told, called) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let hook = told.clone();
        task::on_unhandled(move |_| hook.set(hook.get() + 1));
        drop(call_later(SECOND, || panic!("when it is called")));
        let seen = called.clone();
        drop(call_later(SECOND, move || seen.set(true)));
        sleep(2 * SECOND).await;
        assert_eq!((told.get(), called.get()), (1, true));
    });
}

#[test]
fn calls_that_are_left_at_the_end_are_not_made() {
    let body = async || {
        let (called, dropped) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (calls, drops) = (called.clone(), dropped.clone());
        let on_drop = OnDrop(move || drops.set(drops.get() + 1));
        drop(call_later(SECOND, move || {
            let _moved = &on_drop;
            calls.set(calls.get() + 1);
        }));
        (called, dropped)
    };
    run_then(paused(), body, |(called, dropped)| assert_eq!((called.get(), dropped.get()), (0, 1)));
}

#[test]
fn each_task_has_values_of_its_own_that_begin_as_those_of_its_spawner() {
    assert_eq!(NUMBER.get(), None);
    scene(async || {
        NUMBER.set(1);
        let child = spawn(async {
            assert_eq!(NUMBER.get(), Some(1));
            NUMBER.set(2);
            let grandchild = spawn(async { NUMBER.get() });
            NUMBER.set(3);
            yield_now().await;
            (grandchild.await.expect("no panic"), NUMBER.get())
        });
        NUMBER.set(4);
        let later = spawn(async { NUMBER.get() });
        assert_eq!(child.await.expect("no panic"), (Some(2), Some(3)));
        assert_eq!((later.await.expect("no panic"), NUMBER.get()), (Some(4), Some(4)));
        assert_eq!(NUMBER.with(|number| number + 1), Some(5));
        assert!(NAME.get().is_none());
    });
    assert_eq!(NUMBER.get(), None, "they belong to the task, not to the thread");
}

#[test]
fn a_scope_gives_a_value_to_a_future_and_what_it_spawns_and_takes_it_away_again() {
    scene(async || {
        let both = || (NUMBER.get(), NAME.get());
        let inner = NAME.scope("inner".to_owned(), async {
            yield_now().await;
            let seen = both();
            let child = spawn(async move { both() });
            NUMBER.set(8);
            (seen, child.await.expect("no panic"), both())
        });
        let scope = NUMBER.scope(7, async {
            assert_eq!(both(), (Some(7), None));
            inner.await
        });
        let mut scope = pin!(scope);
        assert!(!poll_once(&mut scope).await);
        assert_eq!(both(), (None, None), "between its polls it is not there");
        let name = || Some("inner".to_owned());
        assert_eq!(scope.await, ((Some(7), name()), (Some(7), name()), (Some(8), name())));
        assert_eq!(both(), (None, None));
        // Two scopes side by side in one task.
        let two = corering::join!(
            NUMBER.scope(1, async {
                yield_now().await;
                NUMBER.get()
            }),
            NUMBER.scope(2, async {
                yield_now().await;
                NUMBER.get()
            })
        );
        assert_eq!(two, (Some(1), Some(2)));
    });
}

#[test]
fn a_scope_ends_when_its_future_panics_or_is_dropped() {
    scene(async || {
        let panicking: TaskResult = spawn(async {
            let mut scope = Box::pin(NUMBER.scope(1, async { panic!("inside") }));
            let caught = std::future::poll_fn(|cx| {
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scope.as_mut().poll(cx)));
                std::task::Poll::Ready(polled.is_err())
            });
            assert!(caught.await);
            NUMBER.get()
        });
        assert_eq!(panicking.await.expect("caught"), None);
        let token = Rc::new(());
        {
            let mut scope = Box::pin(TOKEN.scope(token.clone(), pending::<()>()));
            assert!(!poll_once(&mut scope).await);
            assert!(TOKEN.get().is_none());
        }
        assert_eq!(Rc::strong_count(&token), 1);
    });
}

type TaskResult = corering::JoinHandle<Option<u32>>;

#[test]
fn values_are_dropped_with_the_last_task_that_has_them() {
    scene(async || {
        let (token, event) = (Rc::new(()), Rc::new(Event::new()));
        let task = spawn({
            let (token, event) = (token.clone(), event.clone());
            async move {
                TOKEN.set(token);
                drop(spawn(async move { event.wait().await }));
            }
        });
        task.await.expect("no panic");
        assert_eq!(Rc::strong_count(&token), 2, "its child has it");
        event.set();
        settled().await;
        assert_eq!(Rc::strong_count(&token), 1);
        for _ in 0..100_000 {
            TOKEN.set(token.clone());
        }
        assert_eq!(Rc::strong_count(&token), 2, "one that is set again replaces the one before");
    });
}

#[test]
fn many_values_are_dropped_one_after_the_other() {
    scene(async || {
        spawn(async {
            for number in 0..200_000 {
                NUMBER.set(number);
                NAME.set(String::new());
            }
            assert_eq!(NUMBER.get(), Some(199_999));
        })
        .await
        .expect("no panic");
    });
}

#[test]
fn deferred_functions_and_calls_have_the_values_of_whoever_set_them() {
    scene(async || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        NUMBER.set(1);
        let note = || {
            let seen = seen.clone();
            move || seen.borrow_mut().push(NUMBER.get())
        };
        drop(defer(note()));
        drop(call_later(SECOND, note()));
        let group = corering::TaskGroup::scope(async |group| {
            let note = note();
            group.spawn_infallible(async move { note() });
            Ok::<_, &str>(())
        });
        group.await.expect("no failure");
        NUMBER.set(2);
        sleep(2 * SECOND).await;
        assert_eq!(seen.take(), [Some(1); 3]);
    });
}

#[test]
fn a_task_local_that_is_set_outside_a_runtime_says_so() {
    let refused = std::panic::catch_unwind(|| NUMBER.set(1)).expect_err("no task");
    assert!(refused.downcast_ref::<&str>().expect("a text").contains("outside a runtime"));
}

/// asyncio's `PriorityQueue` compares what it is given; here equal priorities come in the order in which they were put.
#[test]
fn of_equal_priority_the_first_that_was_put_comes_first() {
    scene(async || {
        let queue = PriorityQueue::unbounded();
        for number in 0..100_u32 {
            queue.put(Prioritized::new(number % 3, number)).await.expect("open");
        }
        let mut all = Vec::new();
        while let Ok(job) = queue.try_get() {
            all.push(job.into_inner().item);
        }
        let expected: Vec<_> = (0..3).flat_map(|rest| (0..100).filter(move |number| number % 3 == rest)).collect();
        assert_eq!(all, expected);
    });
}

/// Nobody takes in between what was given to one who waits (asyncio's `get_nowait` does).
#[test]
fn who_tries_in_between_gets_nothing_that_was_given_to_one_who_waits() {
    scene(async || {
        let (queue, semaphore) = (corering::sync::Queue::unbounded(), corering::sync::Semaphore::new(1));
        let permit = semaphore.try_acquire().expect("free");
        let mut gets = Box::pin(queue.get());
        let mut acquires = Box::pin(semaphore.acquire());
        assert!(!poll_once(&mut gets).await && !poll_once(&mut acquires).await);
        queue.try_put(1).expect("room");
        drop(permit);
        assert!(queue.try_get().is_err() && semaphore.try_acquire().is_err());
        assert_eq!(gets.await.expect("open").into_inner(), 1);
        drop(acquires.await.expect("open"));
        assert_eq!(semaphore.available(), 1);
    });
}
