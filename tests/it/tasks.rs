//! Tasks and time, as asyncio has them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use corering::task::{self, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{Builder, spawn};

use crate::{MANY, clean, metrics, run, run_then, scene};

type Log = Rc<RefCell<Vec<u32>>>;

fn log(log: &Log, number: u32) {
    log.borrow_mut().push(number);
}

#[test]
fn a_task_begins_after_its_spawner_has_given_way_and_tasks_run_in_order() {
    // That order is what is tested.
    let _special = crate::tasks_in_order();
    clean(async || {
        let seen = Log::default();
        for number in 1..=3 {
            let seen = seen.clone();
            spawn(async move { log(&seen, number) });
        }
        assert!(seen.borrow().is_empty());
        yield_now().await;
        assert_eq!(*seen.borrow(), [1, 2, 3]);
    });
}

#[test]
fn giving_way_n_times_lets_another_go_n_steps() {
    // That order is what is tested.
    let _special = crate::tasks_in_order();
    clean(async || {
        let steps = Rc::new(Cell::new(0));
        let other = spawn({
            let steps = steps.clone();
            async move {
                loop {
                    steps.set(steps.get() + 1);
                    yield_now().await;
                }
            }
        });
        for n in 1..=10 {
            yield_now().await;
            assert_eq!(steps.get(), n);
        }
        other.abort();
    });
}

#[test]
fn equal_deadlines_end_in_order_and_none_is_early() {
    // That order is what is tested.
    let _special = crate::tasks_in_order();
    scene(async || {
        let (start, seen) = (Instant::now(), Log::default());
        let tasks: Vec<_> = (0..5)
            .map(|number| {
                let seen = seen.clone();
                spawn(async move {
                    sleep(Duration::from_millis(10)).await;
                    log(&seen, number);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(*seen.borrow(), [0, 1, 2, 3, 4]);
        assert_eq!(start.elapsed(), Duration::from_millis(10));
        assert!(timeout(Duration::from_secs(1), sleep(Duration::MAX)).await.is_err());
    });
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    clean(async || {
        for _ in 0..100 {
            assert!(timeout(Duration::ZERO, sleep(Duration::from_secs(3600))).await.is_err());
        }
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn a_task_that_awaits_itself_panics_by_name() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let handle = Rc::new(RefCell::new(None::<corering::JoinHandle<()>>));
        let inner = handle.clone();
        let task = spawn(async move {
            let own = inner.borrow_mut().take().expect("put there");
            let _ = own.await;
        })
        .name("narcissus");
        *handle.borrow_mut() = Some(task);
        let told = Rc::new(RefCell::new(String::new()));
        task::on_unhandled({
            let told = told.clone();
            move |error| *told.borrow_mut() = error.to_string()
        });
        yield_now().await;
        yield_now().await;
        assert!(told.borrow().contains("'narcissus'") && told.borrow().contains("awaits itself"), "{}", told.borrow());
    });
}

#[test]
fn the_current_task_is_the_one_that_runs_and_all_are_those_that_have_not_ended() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    assert!(task::current().is_none());
    run(async || {
        let name = |task: Option<task::TaskInfo>| task.and_then(|task| task.name().map(str::to_owned));
        let a = spawn(async move {
            yield_now().await;
            name(task::current())
        })
        .name("a");
        let b = spawn(async move { name(task::current()) }).name("b");
        drop(spawn(std::future::pending::<()>()).name("detached"));
        yield_now().await;
        let all: Vec<_> = task::all().into_iter().filter_map(|task| name(Some(task))).collect();
        assert_eq!(all, ["main", "a", "detached"]);
        assert_eq!(a.await.expect("no panic"), Some("a".to_owned()));
        assert_eq!(b.await.expect("no panic"), Some("b".to_owned()));
        // Nobody has its handle any more, and it goes with the core.
    });
}

#[test]
fn errors_that_nobody_fetches_are_told_once_and_others_are_not() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let told = Rc::new(RefCell::new(Vec::new()));
        task::on_unhandled({
            let told = told.clone();
            move |error| told.borrow_mut().push(error.to_string())
        });
        drop(spawn(async { Err::<(), std::io::Error>(std::io::Error::other("lost")) }).name("fails"));
        spawn(async { Err::<u8, &str>("of any type") }).name("detaches").detach();
        drop(spawn(async { panic!("quietly") }).name("panics"));
        let kept = spawn(async { Err::<(), std::io::Error>(std::io::Error::other("fetched")) });
        let aborted = spawn(std::future::pending::<std::io::Result<()>>());
        aborted.abort();
        drop(aborted);
        let never_awaited = spawn(async { Err::<(), String>("kept, then dropped".to_owned()) });
        yield_now().await;
        yield_now().await;
        assert!(kept.await.expect("no panic").is_err());
        drop(never_awaited);
        let told = told.borrow();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].contains("'fails'") && told[0].ends_with("failed: lost"));
        assert!(told[1].contains("'detaches'") && told[1].ends_with("failed: of any type"));
        assert!(told[2].contains("'panics'") && told[2].ends_with("panicked: quietly"));
        assert!(told[3].ends_with("failed: kept, then dropped"));
    });
}

#[test]
fn when_main_ends_what_is_left_is_dropped() {
    struct Says(Rc<Cell<bool>>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let body = async || {
        let dropped = Rc::new(Cell::new(false));
        let says = Says(dropped.clone());
        spawn(async move {
            let _says = says;
            sleep(Duration::from_secs(3600)).await;
        });
        yield_now().await;
        (123, dropped)
    };
    run_then(Builder::new(), body, |(output, dropped)| {
        assert_eq!(output, 123);
        assert!(dropped.get());
    });
}

#[test]
fn a_task_that_is_aborted_before_its_first_poll_never_runs() {
    clean(async || {
        let ran = Rc::new(Cell::new(false));
        let task = spawn({
            let ran = ran.clone();
            async move { ran.set(true) }
        });
        assert!(task.abort());
        assert!(task.await.expect_err("aborted").is_cancelled());
        assert!(!ran.get());
    });
}

#[test]
fn aborting_drops_the_future_at_its_next_turn_and_a_finished_task_stays() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let task = spawn(sleep(Duration::from_secs(3600)));
        yield_now().await;
        assert_eq!(metrics().timers, 1);
        assert!(task.abort());
        assert!(!task.is_finished());
        yield_now().await;
        assert!(task.is_finished());
        assert_eq!(metrics().timers, 0);
        assert!(!task.abort());
        assert!(task.await.expect_err("aborted").is_cancelled());

        let done = spawn(async { 12 });
        yield_now().await;
        assert!(!done.abort());
        assert_eq!(done.await.expect("it had ended"), 12);
    });
}

#[test]
fn a_task_that_aborts_itself_and_returns_keeps_its_value() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let handle = Rc::new(RefCell::new(None::<corering::JoinHandle<u32>>));
        let inner = handle.clone();
        *handle.borrow_mut() = Some(spawn(async move {
            assert!(inner.borrow().as_ref().expect("put there").abort());
            12
        }));
        let other = Rc::new(RefCell::new(None::<corering::JoinHandle<u32>>));
        let inner = other.clone();
        *other.borrow_mut() = Some(spawn(async move {
            assert!(inner.borrow().as_ref().expect("put there").abort());
            yield_now().await;
            unreachable!("the next wait is cut short")
        }));
        yield_now().await;
        yield_now().await;
        let (kept, cut) = (handle.take().expect("there"), other.take().expect("there"));
        assert_eq!(kept.await.expect("it returned"), 12);
        assert!(cut.await.expect_err("aborted").is_cancelled());
    });
}

#[test]
fn cancel_waits_until_destructors_have_run() {
    struct Says(Rc<Cell<bool>>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    clean(async || {
        let dropped = Rc::new(Cell::new(false));
        let says = Says(dropped.clone());
        let task = spawn(async move {
            let _says = says;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
        assert!(dropped.get());
    });
}

#[test]
fn panics_stay_in_their_task_wherever_they_happen() {
    // What is aborted has to have begun.
    let _special = crate::tasks_in_order();
    struct Panics(&'static str);
    impl Drop for Panics {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("{}", self.0);
            }
        }
    }
    clean(async || {
        task::on_unhandled(|_| {});
        let in_poll = spawn(async { panic!("in poll") });
        let error = in_poll.await.expect_err("it panicked");
        assert!(error.is_panic() && error.to_string().contains("in poll"), "{error}");

        let in_drop = spawn(async {
            let _panics = Panics("in drop");
            std::future::pending::<()>().await;
        });
        yield_now().await;
        in_drop.abort();
        assert!(in_drop.await.expect_err("it panicked").to_string().contains("in drop"));

        drop(spawn(async { Panics("in the output") }));
        yield_now().await;
        assert_eq!(spawn(async { 1 }).await.expect("others go on"), 1);
    });
}

#[test]
fn a_timeout_lets_a_result_win_and_cuts_the_first_wait_when_its_time_is_over() {
    scene(async || {
        assert!(timeout(Duration::ZERO, yield_now()).await.is_err());
        assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5));
        assert_eq!(timeout(Duration::from_secs(1), async { 6 }).await, Ok(6));
        let both = timeout(Duration::from_secs(1), sleep(Duration::from_secs(1))).await;
        assert_eq!(both, Ok(()), "both are due: the result wins");
        let nested = timeout(Duration::from_secs(5), timeout(Duration::from_secs(1), sleep(Duration::MAX))).await;
        assert!(matches!(nested, Ok(Err(_))), "the inner one is over");
        let nested = timeout(Duration::from_secs(1), timeout(Duration::from_secs(5), sleep(Duration::MAX))).await;
        assert!(nested.is_err(), "the outer one is over");
    });
}

#[test]
fn an_interval_makes_up_delays_or_skips() {
    use corering::time::{MissedTick, interval};
    for (missed, expected) in [
        (MissedTick::Burst, [0, 1, 2, 3, 4]),
        (MissedTick::Delay, [0, 1, 45, 55, 65]),
        (MissedTick::Skip, [0, 1, 5, 6, 7]),
    ] {
        scene(async || {
            let start = Instant::now();
            let mut ticks = interval(Duration::from_secs(10));
            ticks.set_missed_tick(missed);
            let mut due = vec![ticks.tick().await - start];
            sleep(Duration::from_secs(45)).await;
            for _ in 0..4 {
                due.push(ticks.tick().await - start);
            }
            let unit = if missed == MissedTick::Delay { 1 } else { 10 };
            let mut seen: Vec<_> = due.iter().map(|due| due.as_secs() / unit).collect();
            if missed == MissedTick::Delay {
                // The second tick was due at 10, and fetched at 45.
                seen = vec![0, seen[1] / 10, seen[2] - 10, seen[3] - 10, seen[4] - 10];
            }
            assert_eq!(seen, expected, "{missed:?}");
        });
    }
}

#[test]
fn a_busy_task_that_gives_way_does_not_starve_timers() {
    clean(async || {
        let rang = Rc::new(Cell::new(false));
        let bell = spawn({
            let rang = rang.clone();
            async move {
                sleep(Duration::from_millis(5)).await;
                rang.set(true);
            }
        });
        while !rang.get() {
            yield_now().await;
        }
        bell.await.expect("no panic");
    });
}

#[test]
fn a_hundred_thousand_tasks_all_end() {
    clean(async || {
        let done = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..MANY / 10)
            .map(|_| {
                let done = done.clone();
                spawn(async move {
                    yield_now().await;
                    done.set(done.get() + 1);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(done.get(), MANY / 10);
    });
}

#[test]
fn a_task_that_wakes_itself_while_it_is_polled_runs_once_more() {
    // It counts polls in one turn.
    let _special = crate::tasks_in_order();
    struct Twice(Rc<std::cell::Cell<u32>>);
    impl Future for Twice {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.set(self.0.get() + 1);
            if self.0.get() == 1 {
                cx.waker().wake_by_ref();
                cx.waker().clone().wake();
            }
            Poll::Pending
        }
    }
    clean(async || {
        let polls = Rc::new(std::cell::Cell::new(0));
        let task = corering::spawn(Twice(polls.clone()));
        for _ in 0..5 {
            corering::task::yield_now().await;
        }
        assert_eq!(polls.get(), 2);
        task.abort();
    });
}
