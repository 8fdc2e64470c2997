//! What people who come from asyncio rely on: the order in which tasks run, what a cancel reaches and when, and what
//! becomes of errors and of tasks that nobody holds.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::op::{Op, Receive, ReceivePooled};
use corering::sync::{Condition, Lock};
use corering::task::{self, TaskGroup, yield_now};
use corering::time::{advance, sleep, timeout};
use corering::{Builder, JoinHandle, spawn};

use crate::guard::Guarded;
use crate::{Log, OnDrop, clean, clean_on, idle, log, metrics, pair, poll_once, run_then, scene, soon, told, turn};

/// Something that happens once, and all who wait for it.
#[derive(Clone, Default)]
struct Event(Rc<(Cell<bool>, RefCell<Vec<Waker>>)>);

impl Event {
    async fn wait(&self) {
        poll_fn(|cx| {
            if self.0.0.get() {
                return Poll::Ready(());
            }
            self.0.1.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn set(&self) {
        self.0.0.set(true);
        self.0.1.take().into_iter().for_each(Waker::wake);
    }
}

#[test]
fn those_who_are_woken_run_after_those_who_were_ready() {
    // That order is what is tested.
    let _special = crate::tasks_in_order();
    clean(async || {
        let (event, seen) = (Event::default(), Rc::new(RefCell::new(Vec::new())));
        let start = |number: u32| {
            let (event, seen) = (event.clone(), seen.clone());
            spawn(async move {
                if number < 3 {
                    event.wait().await;
                }
                seen.borrow_mut().push(number);
            })
        };
        let (_first, _second) = (start(1), start(2));
        yield_now().await;
        let _third = start(3);
        event.set();
        assert!(seen.borrow().is_empty(), "a wake runs nothing by itself");
        yield_now().await;
        assert_eq!(*seen.borrow(), [3, 1, 2]);
    });
}

#[test]
fn a_task_that_is_woken_often_runs_once() {
    // It counts polls in one turn.
    let _special = crate::tasks_in_order();
    clean(async || {
        let (polls, waker) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Waker>)));
        let task = spawn({
            let (polls, waker) = (polls.clone(), waker.clone());
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                waker.replace(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })
        });
        yield_now().await;
        for round in 2..10 {
            let waker = waker.borrow().clone().expect("polled");
            for _ in 0..100 {
                waker.wake_by_ref();
            }
            yield_now().await;
            yield_now().await;
            assert_eq!(polls.get(), round);
        }
        task.abort();
    });
}

#[test]
fn a_detached_task_that_only_its_waker_knows_is_listed_and_ends() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let (event, ended) = (Event::default(), Rc::new(Cell::new(false)));
        drop(
            spawn({
                let (event, ended) = (event.clone(), ended.clone());
                async move {
                    event.wait().await;
                    ended.set(true);
                }
            })
            .name("hermit"),
        );
        let listed = || task::all().iter().any(|task| task.name() == Some("hermit"));
        for _ in 0..5 {
            sleep(Duration::from_micros(100)).await;
            assert!(listed() && !ended.get());
        }
        event.set();
        assert!(listed());
        yield_now().await;
        assert!(ended.get() && !listed());
    });
}

#[test]
fn the_current_task_is_right_while_it_is_dropped_and_between_polls() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let note = {
            let seen = seen.clone();
            move || seen.borrow_mut().push(task::current().and_then(|task| task.name().map(str::to_owned)))
        };
        let start = |name: &'static str| {
            let note = note.clone();
            spawn(async move {
                note();
                let _last = OnDrop(note);
                pending::<()>().await;
            })
            .name(name)
        };
        let (first, second) = (start("first"), start("second"));
        yield_now().await;
        second.abort();
        first.abort();
        yield_now().await;
        note();
        let expected = ["first", "second", "second", "first", "main"].map(|name| Some(name.to_owned()));
        assert_eq!(*seen.borrow(), expected);
    });
    assert!(task::current().is_none());
}

#[test]
fn an_error_is_told_when_its_task_ends_with_its_name_and_where_it_was_spawned() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let told = Rc::new(RefCell::new(Vec::new()));
        task::on_unhandled({
            let told = told.clone();
            move |error| {
                let task = error.task();
                let at = task.spawned_at();
                told.borrow_mut().push((task.name().map(str::to_owned), at.file().to_owned(), at.line()));
            }
        });
        let (line, failing) = (line!(), spawn(async { panic!("alone") }));
        drop(failing.name("fails"));
        assert!(told.borrow().is_empty(), "it has not run yet");
        yield_now().await;
        assert_eq!(*told.borrow(), [(Some("fails".to_owned()), file!().to_owned(), line)]);
        turn().await;
        assert_eq!(told.borrow().len(), 1, "told once");
    });
}

#[test]
fn an_error_is_told_when_its_handle_goes_unless_it_was_fetched() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let told = Rc::new(Cell::new(0));
        task::on_unhandled({
            let told = told.clone();
            move |_| told.set(told.get() + 1)
        });
        let fail = || spawn(async { Err::<(), _>(std::io::Error::other("wrong")) });
        let (fetched, dropped, aborted) = (fail(), fail(), fail());
        let panics: JoinHandle<()> = spawn(async { panic!("fetched") });
        assert!(aborted.abort(), "before it could fail");
        yield_now().await;
        assert_eq!(told.get(), 0, "the handles are there: it may yet be fetched");
        assert!(!dropped.abort(), "too late");
        assert!(fetched.await.expect("no panic").is_err());
        assert!(panics.await.expect_err("it panicked").is_panic());
        assert!(aborted.await.expect_err("aborted").is_cancelled());
        assert_eq!(told.get(), 0);
        drop(dropped);
        assert_eq!(told.get(), 1);
    });
}

#[test]
fn a_cleanup_that_fails_at_the_end_is_told_and_main_keeps_its_value() {
    let body = async || {
        let (told, seen) = (told(), Log::default());
        let inner = seen.clone();
        let fails = OnDrop(|| panic!("the cleanup fails"));
        let works = OnDrop(move || log(&inner, "cleaned up"));
        drop(spawn(async move {
            let _fails = fails;
            sleep(Duration::from_secs(3600)).await;
        }));
        drop(spawn(async move {
            let _works = works;
            sleep(Duration::from_secs(3600)).await;
        }));
        yield_now().await;
        (123, told, seen)
    };
    run_then(Builder::new(), body, |(output, told, seen)| {
        assert_eq!(output, 123);
        assert_eq!(*seen.borrow(), ["cleaned up"]);
        assert!(matches!(&told.borrow()[..], [one] if one.ends_with("panicked: the cleanup fails")), "{told:?}");
    });
}

#[test]
fn aborting_a_task_that_waits_ends_what_it_waits_for() {
    clean(async || {
        let (socket, peer) = pair().await;
        let waits = spawn(async move { Op::new(Receive::new(&socket, Guarded::new(4096))).await.0 });
        let sleeps = spawn(timeout(Duration::from_secs(3600), pending::<()>()));
        turn().await;
        assert_eq!((metrics().operations, metrics().timers), (1, 1));
        assert!(waits.abort() && sleeps.abort());
        assert!(waits.await.expect_err("aborted").is_cancelled());
        assert!(sleeps.await.expect_err("aborted").is_cancelled());
        assert_eq!(metrics().timers, 0);
        idle().await;
        // The last who held the socket has gone, so it is closed.
        let mut peer = peer;
        turn().await;
        assert!(soon(peer.read(1)).await.expect("closed").is_empty());
    });
}

#[test]
fn abort_returns_before_destructors_run_and_cancel_after_them() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let seen = Log::default();
        let start = || {
            let seen = seen.clone();
            spawn(async move {
                let inner = seen.clone();
                let _outer = OnDrop(move || log(&seen, "outer"));
                async move {
                    let _inner = OnDrop(move || log(&inner, "inner"));
                    pending::<()>().await;
                }
                .await;
            })
        };
        let task = start();
        yield_now().await;
        assert!(task.abort());
        assert!(task.abort(), "still to be done");
        log(&seen, "abort has returned");
        yield_now().await;
        assert!(!task.abort(), "done");
        let task = start();
        yield_now().await;
        assert!(task.cancel().await.expect_err("cancelled").is_cancelled());
        log(&seen, "cancel has returned");
        assert_eq!(*seen.borrow(), ["abort has returned", "inner", "outer", "inner", "outer", "cancel has returned"]);
    });
}

#[test]
fn cancelling_what_has_ended_gives_its_value() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let done = spawn(async { 5 });
        yield_now().await;
        assert_eq!(done.cancel().await.expect("it had ended"), 5);
        let begun = spawn(async { 6 });
        assert!(begun.cancel().await.expect_err("it never ran").is_cancelled());
    });
}

#[test]
fn a_task_that_aborts_itself_is_cut_at_its_next_wait_even_for_what_is_ready() {
    // What is ready has to have run before.
    let _special = crate::tasks_in_order();
    clean(async || {
        let (seen, own) = (Log::default(), Rc::new(RefCell::new(None::<JoinHandle<()>>)));
        let task = spawn({
            let (seen, own) = (seen.clone(), own.clone());
            async move {
                let child = spawn({
                    let seen = seen.clone();
                    async move { log(&seen, "child") }
                });
                assert!(own.borrow().as_ref().expect("put there").abort());
                log(&seen, "goes on");
                child.await.expect("no panic");
                log(&seen, "never");
            }
        });
        own.replace(Some(task));
        for _ in 0..3 {
            yield_now().await;
        }
        let task = own.take().expect("there");
        assert!(task.await.expect_err("aborted").is_cancelled());
        // The child was its own task, and runs on.
        assert_eq!(*seen.borrow(), ["goes on", "child"]);
    });
}

#[test]
fn a_task_that_is_aborted_in_the_turn_in_which_its_wait_ends_is_cancelled() {
    scene(async || {
        for limited in [false, true] {
            let (event, seen) = (Event::default(), Log::default());
            let (inner_event, inner_seen) = (event.clone(), seen.clone());
            let task = spawn(async move {
                let inner = async {
                    inner_event.wait().await;
                    log(&inner_seen, "inner has its value");
                };
                if limited {
                    timeout(Duration::from_secs(1), inner).await.expect("in time");
                } else {
                    inner.await;
                }
                log(&inner_seen, "later code");
            });
            yield_now().await;
            // Completed, due, and aborted, before it runs again.
            event.set();
            advance(Duration::from_secs(2));
            assert!(task.abort());
            assert!(task.await.expect_err("aborted").is_cancelled());
            assert!(seen.borrow().is_empty());
            assert_eq!(metrics().timers, 0);
        }
    });
}

#[test]
fn a_task_that_ended_when_its_waiter_was_aborted_keeps_its_value() {
    clean(async || {
        let seen = Log::default();
        let inner = spawn(async { 7 });
        let handle = Rc::new(RefCell::new(Some(inner)));
        let outer = spawn({
            let (handle, seen) = (handle.clone(), seen.clone());
            poll_fn(move |cx| {
                let mut inner = handle.borrow_mut();
                let polled = std::pin::Pin::new(inner.as_mut().expect("there")).poll(cx);
                if polled.is_ready() {
                    log(&seen, "fetched");
                }
                polled
            })
        });
        outer.abort();
        yield_now().await;
        assert!(outer.await.expect_err("aborted").is_cancelled());
        assert!(seen.borrow().is_empty());
        let inner = handle.take().expect("there");
        assert_eq!(inner.await.expect("it had ended"), 7);
    });
}

#[test]
fn a_pooled_buffer_comes_home_whenever_its_receive_is_given_up() {
    const BUFFERS: usize = 4;
    clean_on(Builder::new().buffers(BUFFERS as u32, 64), async || {
        let (socket, mut peer) = pair().await;
        for round in 0..40 * BUFFERS {
            let mut receive = Op::new(ReceivePooled::new(&socket, 1).expect("a pool"));
            assert!(!poll_once(&mut receive).await);
            if round % 2 == 0 {
                turn().await;
            }
            peer.write_all(&[1]).await.expect("open");
            if round % 4 < 2 {
                turn().await;
            }
            // Completed and not fetched, or not even seen.
            if round % 3 == 0 {
                drop(receive);
            } else if let Ok(chunk) = receive.cancel().await {
                assert!(chunk.is_pooled());
            }
            idle().await;
            assert_eq!(metrics().buffers_held, 0);
        }
        // All of them are there: three are handed out, and then copies, so that the last one stays with the kernel.
        peer.write_all(&[2; 1000]).await.expect("open");
        let mut held = Vec::new();
        for _ in 0..2 * BUFFERS {
            held.push(Op::new(ReceivePooled::new(&socket, 1).expect("a pool")).await.expect("a buffer is free"));
        }
        assert_eq!(held.iter().filter(|chunk| chunk.is_pooled()).count(), BUFFERS - 1);
    });
}

#[test]
fn the_reason_of_an_abort_reaches_whoever_joins() {
    // It looks at what one turn has done.
    let _special = crate::tasks_in_order();
    clean(async || {
        let plain = spawn(pending::<()>());
        assert!(plain.abort_for("no longer needed") && plain.abort_for("the second one does not count"));
        let error = plain.await.expect_err("aborted");
        assert!(error.is_cancelled());
        assert_eq!(error.cancel_reason(), Some("no longer needed"));
        assert!(error.to_string().ends_with(" was cancelled: no longer needed"), "{error}");

        // Also of a task that gets a lock back meanwhile, and of one in a group.
        let shared = Rc::new((Lock::new(()), Condition::new()));
        let waits = spawn({
            let shared = shared.clone();
            async move {
                let _guard = shared.1.wait(shared.0.lock().await).await;
            }
        });
        yield_now().await;
        let held = shared.0.lock().await;
        shared.1.notify_one();
        yield_now().await;
        assert!(waits.abort_for(format_args!("number {}", 7)));
        drop(held);
        assert_eq!(waits.await.expect_err("aborted").cancel_reason(), Some("number 7"));

        TaskGroup::scope(async |group| {
            let child = group.spawn(pending::<Result<(), &str>>());
            assert!(child.abort_for("not this one"));
            assert_eq!(child.await.expect_err("aborted").cancel_reason(), Some("not this one"));
            Ok(())
        })
        .await
        .expect("the others go on");

        let unsaid = spawn(pending::<()>()).cancel().await.expect_err("aborted");
        assert_eq!(unsaid.cancel_reason(), None);
        let ended = spawn(async {});
        yield_now().await;
        assert!(!ended.abort_for("too late"));
    });
}
