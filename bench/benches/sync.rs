//! The primitives of one core beside those of other crates: what one use costs when nobody is in the way, and what it
//! costs to wake and to gather many.
//!
//! Everything runs on one thread, each crate's on the runtime that it is made for.
#![allow(
    missing_docs,
    clippy::await_holding_refcell_ref,
    clippy::disallowed_methods,
    reason = "criterion's macros make public items, and it is timed by the standard library's clock; nobody \
              else borrows a receiver"
)]

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};

const MANY: usize = 1000;

/// How long `count` times of `work` take on a core of corering's.
fn ours<W: AsyncFn()>(count: u64, work: W) -> Duration {
    corering::run(timed(count, work)).expect("io_uring")
}

/// And on a thread of tokio's.
fn tokios<W: AsyncFn()>(count: u64, work: W) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, timed(count, work))
}

async fn timed<W: AsyncFn()>(count: u64, work: W) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        work().await;
    }
    start.elapsed()
}

struct Group<'a>(BenchmarkGroup<'a, WallTime>);

impl<'a> Group<'a> {
    fn of(criterion: &'a mut Criterion, name: &str) -> Self {
        let mut group = criterion.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500)).sample_size(20);
        Self(group)
    }

    fn ours<W: AsyncFn()>(&mut self, work: W) {
        self.0.bench_function("corering", |bench| bench.iter_custom(|count| ours(count, &work)));
    }

    fn tokio<W: AsyncFn()>(&mut self, name: &str, work: W) {
        self.0.bench_function(name, |bench| bench.iter_custom(|count| tokios(count, &work)));
    }
}

fn uncontended(criterion: &mut Criterion) {
    let mut group = Group::of(criterion, "lock+unlock");
    let lock = corering::sync::Lock::new(0_u64);
    group.ours(async || *lock.lock().await += 1);
    let lock = tokio::sync::Mutex::new(0_u64);
    group.tokio("tokio", async || *lock.lock().await += 1);
    let lock = async_lock::Mutex::new(0_u64);
    group.tokio("async-lock", async || *lock.lock().await += 1);
    drop(group);

    let mut group = Group::of(criterion, "rwlock-read");
    let lock = corering::sync::RwLock::new(1_u64);
    group.ours(async || {
        black_box(*lock.read().await);
    });
    let lock = tokio::sync::RwLock::new(1_u64);
    group.tokio("tokio", async || {
        black_box(*lock.read().await);
    });
    let lock = async_lock::RwLock::new(1_u64);
    group.tokio("async-lock", async || {
        black_box(*lock.read().await);
    });
    drop(group);

    let mut group = Group::of(criterion, "semaphore");
    let slots = corering::sync::Semaphore::new(10);
    group.ours(async || drop(slots.acquire().await));
    let slots = tokio::sync::Semaphore::new(10);
    group.tokio("tokio", async || drop(slots.acquire().await));
    let slots = async_lock::Semaphore::new(10);
    group.tokio("async-lock", async || drop(slots.acquire().await));
    let slots = local_sync::semaphore::Semaphore::new(10);
    group.tokio("local-sync", async || drop(slots.acquire().await));
    drop(group);

    let mut group = Group::of(criterion, "queue put+get");
    let queue = corering::sync::Queue::bounded(100);
    group.ours(async || {
        let _ = queue.put(1_u64).await;
        black_box(queue.get().await.is_ok());
    });
    let (sender, receiver) = tokio::sync::mpsc::channel(100);
    let receiver = std::cell::RefCell::new(receiver);
    group.tokio("tokio", async || {
        let _ = sender.send(1_u64).await;
        black_box(receiver.borrow_mut().recv().await);
    });
    let (sender, receiver) = async_channel::bounded(100);
    group.tokio("async-channel", async || {
        let _ = sender.send(1_u64).await;
        black_box(receiver.recv().await.is_ok());
    });
    let (sender, receiver) = local_sync::mpsc::bounded::channel(100);
    let receiver = std::cell::RefCell::new(receiver);
    group.tokio("local-sync", async || {
        let _ = sender.send(1_u64).await;
        black_box(receiver.borrow_mut().recv().await);
    });
    drop(group);

    let mut group = Group::of(criterion, "oneshot");
    group.ours(async || {
        let (sender, receiver) = corering::sync::oneshot::channel();
        let _ = sender.send(1_u64);
        black_box(receiver.await.is_ok());
    });
    group.tokio("tokio", async || {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let _ = sender.send(1_u64);
        black_box(receiver.await.is_ok());
    });
    group.tokio("local-sync", async || {
        let (sender, receiver) = local_sync::oneshot::channel();
        let _ = sender.send(1_u64);
        black_box(receiver.await.is_ok());
    });
}

/// Wakes many who wait, and waits until they have run.
fn event(criterion: &mut Criterion) {
    let mut group = Group::of(criterion, "wake 1000");
    group.ours(async || {
        let event = Rc::new(corering::sync::Event::new());
        let tasks: Vec<_> = (0..MANY)
            .map(|_| {
                let event = event.clone();
                corering::spawn(async move { event.wait().await })
            })
            .collect();
        corering::task::yield_now().await;
        event.set();
        for task in tasks {
            let _ = task.await;
        }
    });
    group.tokio("tokio", async || {
        let (notify, waiting) = (Rc::new(tokio::sync::Notify::new()), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..MANY)
            .map(|_| {
                let notify = notify.clone();
                let waiting = waiting.clone();
                tokio::task::spawn_local(async move {
                    waiting.set(waiting.get() + 1);
                    notify.notified().await;
                })
            })
            .collect();
        while waiting.get() < MANY {
            tokio::task::yield_now().await;
        }
        notify.notify_waiters();
        for task in tasks {
            let _ = task.await;
        }
    });
}

/// Gathers many futures that are ready, and runs many tasks that end at once.
fn many(criterion: &mut Criterion) {
    let mut group = Group::of(criterion, "gather 1000 ready");
    let ready = || (0..MANY).map(|number| async move { Ok::<_, ()>(number) });
    group.ours(async || {
        black_box(corering::task::gather(ready()).await.is_ok());
    });
    group.tokio("futures join_all", async || {
        black_box(futures_util::future::join_all(ready()).await.len());
    });
    drop(group);

    let mut group = Group::of(criterion, "group of 1000");
    group.ours(async || {
        let scope = corering::TaskGroup::scope(async |group| {
            for number in 0..MANY {
                group.spawn(async move { Ok::<_, ()>(number) });
            }
            Ok(())
        });
        black_box(scope.await.is_ok());
    });
    group.tokio("tokio JoinSet", async || {
        let mut set = tokio::task::JoinSet::new();
        for number in 0..MANY {
            set.spawn_local(async move { number });
        }
        while let Some(result) = set.join_next().await {
            let _ = black_box(result);
        }
    });
}

/// Waiters of a semaphore of which half go in random order before the others get their turn: the time of each is to be
/// the same, however many there are.
fn waiters(criterion: &mut Criterion) {
    let mut group = Group::of(criterion, "a waiter of many");
    for count in [10_000, 100_000] {
        group.0.bench_function(count.to_string(), |bench| {
            bench.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    spent += half_go(count);
                }
                spent / count
            });
        });
    }
}

fn half_go(count: u32) -> Duration {
    let semaphore = Rc::new(corering::sync::Semaphore::new(1));
    let held = semaphore.try_acquire().expect("free");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let start = Instant::now();
    let mut waits: Vec<_> = (0..count).map(|_| Some(Box::pin(semaphore.acquire_owned()))).collect();
    for wait in waits.iter_mut().flatten() {
        assert!(wait.as_mut().poll(&mut context).is_pending());
    }
    // A walk that meets each once, far from where it was before.
    let (mut at, mut gone) = (0, 0);
    while gone < count / 2 {
        at = (at + 7919) % count;
        gone += u32::from(waits[at as usize].take().is_some());
    }
    drop(held);
    for mut wait in waits.into_iter().flatten() {
        assert!(wait.as_mut().poll(&mut context).is_ready());
    }
    start.elapsed()
}

criterion_group!(benches, uncontended, event, many, waiters);
criterion_main!(benches);
