//! `select!`: which future wins, what becomes of the others, and what its handlers may do.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;

use corering::net::TcpListener;
use corering::sync::{Event, Lock, Queue, Semaphore, oneshot};
use corering::task::yield_now;
use corering::time::{Instant, sleep, timeout};
use corering::{select, spawn};

use crate::{Log, OnDrop, SECOND, clean, log, metrics, scene, soon, turn, visit};

#[test]
fn the_first_that_is_ready_wins_and_the_others_are_dropped_before_its_handler_runs() {
    scene(async || {
        let (seen, began) = (Log::default(), Instant::now());
        let loses = async {
            let inner = seen.clone();
            let _drop = OnDrop(move || log(&inner, "dropped"));
            pending::<()>().await;
        };
        let won = select! {
            () = loses => 0,
            () = sleep(2 * SECOND) => 2,
            () = sleep(SECOND) => {
                log(&seen, "handler");
                1
            }
        };
        assert_eq!((won, began.elapsed()), (1, SECOND));
        assert_eq!(seen.take(), ["dropped", "handler"]);
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn those_that_are_always_ready_take_turns_and_with_biased_the_first_wins() {
    scene(async || {
        let mut wins = [0; 3];
        for _ in 0..30 {
            select! {
                _ = ready(()) => wins[0] += 1,
                _ = ready(()) => wins[1] += 1,
                _ = ready(()) => wins[2] += 1,
            }
        }
        assert_eq!(wins, [10; 3]);
        for _ in 0..30 {
            select! {
                biased;
                _ = pending::<()>() => unreachable!("never ready"),
                _ = ready(()) => wins[1] += 1,
                _ = ready(()) => wins[2] += 1,
            }
        }
        assert_eq!(wins, [10, 40, 10]);
    });
}

#[test]
fn conditions_and_patterns_take_branches_out_and_else_runs_when_none_is_left() {
    scene(async || {
        let made = Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            ready(1)
        };
        for on in [false, true] {
            let chosen = select! {
                number = make(), if on => number,
                else => 0,
            };
            assert_eq!((chosen, made.get()), (u32::from(on), usize::from(on)));
        }
        // One whose output does not match is out, the other one is waited for.
        let began = Instant::now();
        let chosen = select! {
            Some(number) = async { None::<u32> } => number,
            Ok(number) = async { sleep(SECOND).await; Ok::<u32, ()>(7) } => number,
            else => 0,
        };
        assert_eq!((chosen, began.elapsed()), (7, SECOND));
        let chosen = select! {
            Some(number) = async { None::<u32> } => number,
            Ok(number) = async { Err::<u32, ()>(()) } => number,
            else => 0,
        };
        assert_eq!(chosen, 0);
    });
}

#[test]
fn a_select_with_nothing_left_and_no_else_panics() {
    scene(async || {
        let task = spawn(async {
            select! {
                Some(_) = async { None::<u32> } => {}
            }
        });
        let error = task.await.expect_err("it panicked");
        assert!(error.is_panic() && error.to_string().contains("no future is left"), "{error}");
    });
}

#[test]
fn handlers_return_break_and_give_errors_of_the_function_around() {
    async fn first_word(words: &Queue<&'static str>) -> Result<&'static str, &'static str> {
        let mut empty = 0;
        loop {
            select! {
                word = words.get() => {
                    let word = word.map_err(|_| "closed")?.into_inner();
                    if !word.is_empty() {
                        return Ok(word);
                    }
                    empty += 1;
                }
                _ = sleep(SECOND) => break,
            }
        }
        if empty > 1 { Err("empty words only") } else { Err("too late") }
    }
    scene(async || {
        let words = Queue::unbounded();
        for word in ["", "a", "", ""] {
            words.put(word).await.expect("open");
        }
        assert_eq!(first_word(&words).await, Ok("a"));
        assert_eq!(first_word(&words).await, Err("empty words only"));
        assert_eq!(first_word(&words).await, Err("too late"));
        words.close();
        assert_eq!(first_word(&words).await, Err("closed"));
    });
}

/// What a branch had been given when another one won goes to the next who waits.
#[test]
fn what_a_branch_had_been_given_when_another_won_is_passed_on() {
    scene(async || {
        let shared = Rc::new((Lock::new(()), Semaphore::new(1), Queue::<&str>::unbounded(), Event::new()));
        let (lock, semaphore, queue, event) = &*shared;
        for first in ["event", "others"] {
            let (guard, permit) = (lock.lock().await, semaphore.acquire().await.expect("open"));
            let chooses = |which: &'static str| {
                let shared = shared.clone();
                spawn(async move {
                    let (lock, semaphore, queue, event) = &*shared;
                    let lock = async { drop(lock.lock().await) };
                    let permit = async { drop(semaphore.acquire().await) };
                    let item = async { drop(queue.get().await) };
                    match which {
                        "lock" => select! { biased; _ = event.wait() => 0, _ = lock => 1 },
                        "permit" => select! { biased; _ = event.wait() => 0, _ = permit => 1 },
                        _ => select! { biased; _ = event.wait() => 0, _ = item => 1 },
                    }
                })
            };
            let losers = ["lock", "permit", "item"].map(chooses);
            yield_now().await;
            let later = {
                let shared = shared.clone();
                spawn(async move {
                    let (lock, semaphore, queue, _) = &*shared;
                    drop(lock.lock().await);
                    drop(semaphore.acquire().await);
                    queue.get().await.expect("open").into_inner()
                })
            };
            yield_now().await;
            if first == "event" {
                event.set();
            }
            drop((guard, permit));
            queue.put("item").await.expect("open");
            event.set();
            for loser in losers {
                assert_eq!(loser.await.expect("no panic"), 0);
            }
            assert_eq!(timeout(SECOND, later).await.expect("nothing is lost").expect("no panic"), "item");
            event.clear();
            assert!(!lock.is_locked() && semaphore.available() == 1 && queue.is_empty());
        }
    });
}

#[test]
fn a_loop_of_selects_loses_no_item_of_two_queues() {
    scene(async || {
        let queues = Rc::new([Queue::bounded(2), Queue::bounded(2)]);
        let producers: Vec<_> = [0_usize, 1]
            .into_iter()
            .map(|which| {
                let queues = queues.clone();
                spawn(async move {
                    for item in 0..1000_u32 {
                        queues[which].put(item).await.expect("open");
                        if item % 7 == which as u32 {
                            sleep(Duration::from_millis(u64::from(item % 3))).await;
                        }
                    }
                    queues[which].close();
                })
            })
            .collect();
        let (mut got, mut open) = ([Vec::new(), Vec::new()], [true, true]);
        loop {
            select! {
                item = queues[0].get(), if open[0] => match item {
                    Ok(item) => got[0].push(item.into_inner()),
                    Err(_) => open[0] = false,
                },
                item = queues[1].get(), if open[1] => match item {
                    Ok(item) => got[1].push(item.into_inner()),
                    Err(_) => open[1] = false,
                },
                _ = sleep(Duration::from_millis(1)), if open[0] || open[1] => {}
                else => break,
            }
        }
        let all: Vec<_> = (0..1000).collect();
        assert!(got.iter().all(|items| *items == all));
        for producer in producers {
            producer.await.expect("no panic");
        }
    });
}

#[test]
fn an_accept_in_a_loop_of_selects_loses_no_connection() {
    const CLIENTS: u32 = 50;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let ticks = Rc::new(Cell::new(0));
        let ticked = ticks.clone();
        let clients = spawn(async move {
            for number in 0..CLIENTS {
                // An accept that waited has been dropped before the last of them comes.
                while number + 1 == CLIENTS && ticked.get() == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                let mut stream = visit(address).await;
                stream.write_all(number.to_le_bytes()).await.expect("open");
                if number % 2 == 0 {
                    turn().await;
                }
            }
        });
        let count = Rc::new(Cell::new(0));
        let counter = spawn({
            let count = count.clone();
            async move {
                while count.get() < CLIENTS {
                    sleep(Duration::from_millis(1)).await;
                }
                stop.send(()).expect("it listens");
            }
        });
        let mut stopped = stopped;
        soon(async {
            loop {
                select! {
                    accepted = listener.accept() => {
                        let (mut stream, _) = accepted.expect("a connection");
                        let (result, bytes) = stream.read(Vec::with_capacity(4)).await;
                        result.expect("received");
                        assert_eq!(bytes, count.get().to_le_bytes());
                        count.set(count.get() + 1);
                    }
                    _ = stopped.recv() => break,
                    _ = sleep(Duration::from_micros(20)) => ticks.set(ticks.get() + 1),
                }
            }
        })
        .await;
        clients.await.expect("no panic");
        counter.await.expect("no panic");
        listener.close().await.expect("closed");
    });
}

#[test]
fn branches_may_borrow_the_same_thing_and_handlers_may_change_it() {
    scene(async || {
        let words = RefCell::new(vec!["a", "b"]);
        let mut lengths = Vec::new();
        while !words.borrow().is_empty() {
            select! {
                word = async { words.borrow_mut().pop().expect("one") } => lengths.push(word.len()),
                () = async { drop(words.borrow()); pending().await } => {}
            }
        }
        assert_eq!(lengths, [1, 1]);
    });
}
