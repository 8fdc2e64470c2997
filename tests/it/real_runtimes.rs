//! Runtimes that are made by hand: used again, nested, one after the other, and ended at a bad moment.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use corering::fs::{AtomicFile, File, NamedTempFile, TempDir};
use corering::op::{Op, Receive};
use corering::sync::promise;
use corering::task::JoinSet;
use corering::time::sleep;
use corering::{Builder, RunError, spawn};

use crate::deadlocks::{is, waits};
use crate::faults::{Dropped, nop};
use crate::{folder, poll_once, sockets, turn};

#[test]
fn a_runtime_inside_a_runtime_is_a_clear_panic_and_the_outer_goes_on() {
    let runtime = Builder::new().build().expect("io_uring");
    let polled = Cell::new(false);
    runtime.block_on(async {
        for nested in [
            std::panic::catch_unwind(AssertUnwindSafe(|| corering::run(async { polled.set(true) }).map(drop))),
            std::panic::catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(async { polled.set(true) });
                Ok(())
            })),
        ] {
            let payload = nested.expect_err("refused");
            let text = payload.downcast_ref::<&str>().expect("a text");
            assert!(text.contains("already inside a runtime on this thread"), "{text}");
        }
        sleep(Duration::from_millis(1)).await;
        let elsewhere = std::thread::spawn(|| corering::run(async { 5 }).expect("io_uring"));
        assert_eq!(elsewhere.join().expect("no panic"), 5);
    });
    assert!(!polled.get());
    assert!(matches!(Builder::new().build(), Err(corering::SetupError::AlreadyRunning)));
}

#[test]
fn one_runtime_after_the_other_lives_on_a_thread() {
    for round in 0..300 {
        assert_eq!(corering::run(async { round }).expect("io_uring"), round);
    }
}

#[test]
fn a_panic_of_main_reaches_the_caller_and_the_runtime_goes_on() {
    let runtime = Builder::new().build().expect("io_uring");
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { panic!("main") })));
    assert_eq!(panicked.expect_err("it panicked").downcast_ref::<&str>(), Some(&"main"));
    assert_eq!(runtime.block_on(async { 7 }), 7);
}

#[test]
fn a_core_is_of_use_after_a_deadlock() {
    let runtime = Builder::new().build().expect("io_uring");
    let (promise, promised) = promise::<u32>();
    let [patient] = runtime.block_on(async {
        let promised = promised.clone();
        [spawn(async move { *promised.wait().await.expect("set") }).name("patient")]
    });
    let Err(RunError::Deadlock(deadlock)) = runtime.try_block_on(pending::<()>()) else {
        panic!("nothing can run");
    };
    let mut hang = waits(&deadlock);
    hang.sort_unstable();
    assert_eq!(hang, [is("main", []), is("patient", ["a promise"])]);
    promise.set(7).expect("once");
    assert_eq!(runtime.block_on(patient).expect("ends"), 7);
}

#[test]
fn a_core_may_end_inside_a_destructor_of_something_of_its_own() {
    let ended = Rc::new(Cell::new(false));
    let runtime = Rc::new(Builder::new().build().expect("io_uring"));
    let (socket, mut peer) = sockets();
    let last = Rc::new(RefCell::new(None));
    let mut receive = {
        let (last, ended) = (last.clone(), ended.clone());
        Op::new(Receive::new(
            &socket,
            Dropped(Vec::with_capacity(8), move || {
                drop(last.take());
                ended.set(true);
            }),
        ))
    };
    runtime.block_on(async {
        assert!(!poll_once(&mut receive).await);
        peer.write_all(b"done").expect("open");
        corering::time::sleep(Duration::from_millis(5)).await;
    });
    last.replace(Some(runtime));
    // Completed and not fetched: dropping it drops the buffer, which holds the last handle of the runtime.
    drop(receive);
    assert!(ended.get());
    assert_eq!(corering::run(async { 1 }).expect("the thread is free for another core"), 1);
}

#[test]
fn operations_are_polled_by_the_loop_only() {
    let runtime = Builder::new().build().expect("io_uring");
    let mut op = nop(false);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        use std::future::Future as _;
        let _ = std::pin::pin!(&mut op).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }));
    let message = polled.expect_err("outside of block_on");
    assert!(message.downcast_ref::<&str>().expect("a text").contains("outside a runtime"));
    drop(runtime);
}

/// What makes them is dropped while the kernel does: by the core as it ends, or right before.
#[test]
fn no_temporary_file_or_folder_is_left_when_the_core_ends_as_it_is_made() {
    let folder = folder();
    for round in 0..120 {
        let ran = corering::run(async {
            let path = folder.path().to_path_buf();
            let mut make: Pin<Box<dyn Future<Output = ()>>> = match round % 3 {
                0 => Box::pin(async move { drop(NamedTempFile::new_in(path).await) }),
                1 => Box::pin(async move { drop(TempDir::new_in(path).await) }),
                _ => Box::pin(async move { drop(AtomicFile::create(path.join("file")).await) }),
            };
            // Of an atomic file the name is looked at before.
            for _ in 0..1 + round % 2 {
                if poll_once(&mut make).await {
                    return;
                }
                if round % 5 > 1 {
                    turn().await;
                }
            }
            if round % 4 < 2 {
                drop(spawn(make));
                corering::task::yield_now().await;
            }
        });
        ran.expect("io_uring");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("there").collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
}

/// The threads that the kernel has made for the operations of this one.
fn kernel_workers() -> usize {
    // SAFETY: it has no preconditions.
    let name = format!("iou-wrk-{}", unsafe { libc::gettid() });
    let threads = std::fs::read_dir("/proc/self/task").expect("there").flatten();
    let names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    names.filter(|found| found.trim_end() == &name[..name.len().min(15)]).count()
}

/// R64.
#[test]
fn the_kernel_makes_no_more_workers_than_it_may() {
    // A thousand at once, each of which has something to bring to the disk.
    let most = |builder: Builder| {
        let ran = builder.entries(1024).run(async {
            let folder = folder();
            let mut syncs = JoinSet::new();
            for number in 0..1000 {
                let path = folder.join(format!("{}", number % 50));
                syncs.spawn(async move {
                    let file = File::options().write(true).create(true).open(path).await?;
                    file.write_all_at(vec![b'x'; 100], number * 100).await.0?;
                    file.sync_all().await?;
                    file.close().await
                });
            }
            let mut most = 0;
            while let Some(synced) = syncs.join_next().await {
                synced.expect("no panic").expect("room");
                most = most.max(kernel_workers());
            }
            most
        });
        ran.expect("io_uring")
    };
    for limit in [1, 3] {
        let found = std::thread::spawn(move || most(Builder::new().kernel_workers(limit, limit))).join();
        let found = found.expect("no panic");
        assert!((1..=2 * limit as usize).contains(&found), "{found} workers, where {limit} of each kind may be");
    }
}
