//! Workloads that need no kernel: tasks and timers. The same code for every runtime.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::machine;
use crate::stats::Measured;

/// What all workloads use of a runtime: one thread, tasks that need not be `Send`.
pub(crate) trait Runtime: 'static {
    type Handle<T: 'static>: Future + 'static;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static;
    fn spawn<F: Future + 'static>(future: F) -> Self::Handle<F::Output>;
}

/// A runtime with timers.
pub(crate) trait Timers: Runtime {
    fn sleep(duration: Duration) -> impl Future<Output = ()>;
}

pub(crate) fn run<R: Timers>(workload: &str, time: Duration) -> Measured {
    match workload {
        "spawn" => per_op::<R, _>(time, 1000, async |count| {
            for _ in 0..count {
                black_box(R::spawn(async {}).await);
            }
        }),
        "spawn-batch" => per_op::<R, _>(time, 1000, async |count| {
            let handles: Vec<_> = (0..count).map(|_| R::spawn(async {})).collect();
            for handle in handles {
                black_box(handle.await);
            }
        }),
        "yield" => per_op::<R, _>(time, 1000, async |count| {
            for _ in 0..count {
                give_way().await;
            }
        }),
        "pingpong" => per_op::<R, _>(time, 1000, pingpong::<R>),
        "timer-arm" => per_op::<R, _>(time, 1000, async |count| {
            for _ in 0..count {
                let mut sleep = pin!(R::sleep(Duration::from_secs(3600)));
                poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await.is_pending();
            }
        }),
        _ => sleepers::<R>(),
    }
}

/// Repeats `work`, in a task, until the time is over: how long each of its operations takes.
fn per_op<R, W>(time: Duration, count: u32, work: W) -> Measured
where
    R: Runtime,
    W: AsyncFn(u32) + 'static,
{
    let ns = R::block_on(async move {
        let result = Rc::new(Cell::new(0.0));
        let task = R::spawn({
            let result = result.clone();
            async move {
                work(count).await;
                let (start, mut done) = (Instant::now(), 0);
                while start.elapsed() < time {
                    work(count).await;
                    done += count;
                }
                result.set(start.elapsed().as_nanos() as f64 / f64::from(done));
            }
        });
        task.await;
        result.get()
    });
    Measured::from([("ns_per_op".to_owned(), ns)])
}

/// Gives way once, by the plain means that every runtime has. (tokio's own `yield_now` also looks at its driver, and
/// takes several times as long.)
async fn give_way() {
    let mut given_way = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given_way, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Wakes one waiter, without anything of any runtime.
#[derive(Default)]
struct Signal {
    given: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    fn give(&self) {
        self.given.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            if self.given.replace(false) {
                return Poll::Ready(());
            }
            self.waiter.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

async fn pingpong<R: Runtime>(count: u32) {
    let (ping, pong) = (Rc::new(Signal::default()), Rc::new(Signal::default()));
    let other = R::spawn({
        let (ping, pong) = (ping.clone(), pong.clone());
        async move {
            for _ in 0..count {
                ping.wait().await;
                pong.give();
            }
        }
    });
    for _ in 0..count {
        ping.give();
        pong.wait().await;
    }
    other.await;
}

/// 100,000 tasks that sleep up to a second, always the same durations.
fn sleepers<R: Timers>() -> Measured {
    const TASKS: usize = 100_000;
    let before = machine::usage().cpu;
    let mut late_ns = R::block_on(async {
        let late = Rc::new(RefCell::new(Vec::with_capacity(TASKS)));
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let handles: Vec<_> = (0..TASKS)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let duration = Duration::from_nanos(seed % 1_000_000_000);
                let late = late.clone();
                R::spawn(async move {
                    let due = Instant::now() + duration;
                    R::sleep(duration).await;
                    let now = Instant::now();
                    let early = due.saturating_duration_since(now).as_nanos() as i64;
                    let by = now.saturating_duration_since(due).as_nanos() as i64 - early;
                    late.borrow_mut().push(by);
                })
            })
            .collect();
        for handle in handles {
            handle.await;
        }
        late.take()
    });
    let cpu = machine::usage().cpu - before;
    late_ns.sort_unstable();
    let at = |share: f64| late_ns[((late_ns.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    Measured::from([
        ("cpu_s".to_owned(), cpu.as_secs_f64()),
        ("least_us".to_owned(), at(0.0)),
        ("p50_us".to_owned(), at(0.5)),
        ("p99_us".to_owned(), at(0.99)),
    ])
}
