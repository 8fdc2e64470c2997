//! Criterion's view of what a core does by itself: for finding out what a change does, not for comparing runtimes.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    reason = "criterion's macros make public items, and it is timed by the standard library's clock"
)]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use corering::op::{Completion, Op, Operation, Submission, io_uring};
use criterion::{Criterion, criterion_group, criterion_main};

struct Nop;

// SAFETY: a no-op points to nothing.
unsafe impl Operation for Nop {
    type Output = i32;

    fn submission(&mut self) -> Submission {
        io_uring::opcode::Nop::new().build()
    }

    fn complete(self, completion: Completion) -> i32 {
        completion.result
    }
}

/// How long `count` times of `work` take, on a core of their own.
fn timed<W: AsyncFn()>(count: u64, work: W) -> Duration {
    let run = corering::run(async {
        let start = Instant::now();
        for _ in 0..count {
            work().await;
        }
        start.elapsed()
    });
    run.expect("io_uring")
}

fn micro(criterion: &mut Criterion) {
    criterion.bench_function("spawn", |bench| {
        bench.iter_custom(|count| {
            timed(count, async || {
                let _ = corering::spawn(async {}).await;
            })
        });
    });
    criterion.bench_function("yield", |bench| {
        bench.iter_custom(|count| timed(count, async || corering::task::yield_now().await));
    });
    criterion.bench_function("timer", |bench| {
        bench.iter_custom(|count| {
            timed(count, async || {
                let mut sleep = pin!(corering::time::sleep(Duration::from_secs(3600)));
                poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await;
            })
        });
    });
    criterion.bench_function("operation", |bench| {
        bench.iter_custom(|count| {
            timed(count, async || {
                Op::new(Nop).await;
            })
        });
    });
}

criterion_group!(benches, micro);
criterion_main!(benches);
