//! Wakers on other threads: cloned, woken and dropped at any time, after the core has gone as well.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

use crate::{clean, clean_once};

#[test]
fn no_wake_from_another_thread_is_lost() {
    const WAKES: usize = 100_000;
    clean(async || {
        let shared = Arc::new((Mutex::new(None::<Waker>), AtomicUsize::new(0)));
        let other = thread::spawn({
            let shared = shared.clone();
            move || {
                for number in 1..=WAKES {
                    shared.1.store(number, Ordering::SeqCst);
                    let waker = shared.0.lock().expect("no panic").take();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            }
        });
        poll_fn(|cx| {
            *shared.0.lock().expect("no panic") = Some(cx.waker().clone());
            if shared.1.load(Ordering::SeqCst) == WAKES { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        other.join().expect("no panic");
        shared.0.lock().expect("no panic").take();
    });
}

#[test]
fn two_cores_hand_a_turn_back_and_forth() {
    const TURNS: usize = 20_000;
    #[derive(Default)]
    struct Turn {
        number: AtomicUsize,
        wakers: [Mutex<Option<Waker>>; 2],
    }
    async fn play(turn: Arc<Turn>, side: usize) {
        loop {
            let number = poll_fn(|cx| {
                *turn.wakers[side].lock().expect("no panic") = Some(cx.waker().clone());
                let number = turn.number.load(Ordering::SeqCst);
                if number % 2 == side || number >= TURNS { Poll::Ready(number) } else { Poll::Pending }
            })
            .await;
            if number < TURNS {
                turn.number.store(number + 1, Ordering::SeqCst);
            }
            let other = turn.wakers[1 - side].lock().expect("no panic").take();
            if let Some(waker) = other {
                waker.wake();
            }
            if number >= TURNS {
                turn.wakers[side].lock().expect("no panic").take();
                return;
            }
        }
    }
    let turn = Arc::new(Turn::default());
    let other = thread::spawn({
        let turn = turn.clone();
        move || clean_once(async || play(turn, 1).await)
    });
    clean_once(async || play(turn, 0).await);
    other.join().expect("no panic");
}

#[test]
fn a_waker_outlives_its_core_on_any_thread() {
    let (send, receive) = mpsc::channel::<Waker>();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let waker = Arc::new(Mutex::new(None::<Waker>));
            let keep = waker.clone();
            (waker, keep)
        })
        .collect();
    corering::run(async {
        corering::spawn(poll_fn(move |cx| {
            send.send(cx.waker().clone()).expect("somebody listens");
            Poll::<()>::Pending
        }));
        corering::task::yield_now().await;
    })
    .expect("io_uring");
    let waker = receive.recv().expect("a waker");
    waker.wake_by_ref();
    for (kept, _) in &others {
        *kept.lock().expect("no panic") = Some(waker.clone());
    }
    let threads: Vec<_> = others
        .into_iter()
        .map(|(_, kept)| {
            thread::spawn(move || {
                let waker = kept.lock().expect("no panic").take().expect("put there");
                for _ in 0..1000 {
                    waker.clone().wake();
                    drop(waker.clone());
                }
            })
        })
        .collect();
    drop(waker);
    for thread in threads {
        thread.join().expect("no panic");
    }
}

#[test]
fn wakes_during_the_end_of_a_core_are_harmless() {
    for _ in 0..50 {
        let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
        let stop = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (wakers, stop) = (wakers.clone(), stop.clone());
                thread::spawn(move || {
                    while stop.load(Ordering::SeqCst) == 0 {
                        let copies: Vec<_> = wakers.lock().expect("no panic").clone();
                        copies.into_iter().for_each(Waker::wake);
                    }
                })
            })
            .collect();
        corering::run(async {
            for _ in 0..8 {
                let wakers = wakers.clone();
                corering::spawn(poll_fn(move |cx| {
                    wakers.lock().expect("no panic").push(cx.waker().clone());
                    Poll::<()>::Pending
                }));
            }
            for _ in 0..20 {
                corering::task::yield_now().await;
            }
        })
        .expect("io_uring");
        stop.store(1, Ordering::SeqCst);
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}

/// Notes the thread on which it is dropped; not `Send`.
struct Drops(Arc<Mutex<Vec<ThreadId>>>, #[expect(dead_code, reason = "makes it not Send")] Rc<()>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.lock().expect("no panic").push(thread::current().id());
    }
}

#[test]
fn a_future_is_dropped_on_its_own_thread_whoever_drops_the_last_waker() {
    let dropped = Arc::new(Mutex::new(Vec::new()));
    clean(async || {
        let (send, receive) = mpsc::channel::<Waker>();
        let drops = Drops(dropped.clone(), Rc::new(()));
        let task = corering::spawn(async move {
            let _drops = drops;
            poll_fn(|cx| {
                send.send(cx.waker().clone()).expect("somebody listens");
                Poll::<()>::Pending
            })
            .await;
        });
        corering::task::yield_now().await;
        let waker = receive.recv().expect("a waker");
        task.abort();
        drop(task);
        thread::spawn(move || drop(waker)).join().expect("no panic");
    });
    assert_eq!(*dropped.lock().expect("no panic"), [thread::current().id()]);
}
