//! Cores that a loop of somebody else turns: by poll(2) on the runtime's descriptor, as a window system's would.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::sync::Event;
use corering::task::yield_now;
use corering::time::{Instant, sleep};
use corering::{Builder, JoinHandle, Runtime, spawn};

use crate::faults::nop;
use crate::turn;

fn embedded() -> Runtime {
    Builder::new().embedded(true).build().expect("io_uring")
}

/// Whether the descriptor is readable within `limit`, of which there is none if it is `None`.
fn is_called(runtime: &Runtime, limit: Option<Duration>) -> bool {
    let mut wanted = libc::pollfd { fd: runtime.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, as a loop does that does not want to turn in vain.
    let limit = limit.map_or(-1, |limit| i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    // SAFETY: there is one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut wanted, 1, limit) };
    assert!(ready >= 0, "{}", std::io::Error::last_os_error());
    ready > 0
}

/// The loop around: waits only for the descriptor and the next timer. Whatever is not told by them hangs here.
fn drive(runtime: &Runtime, mut is_over: impl FnMut() -> bool) {
    while !is_over() {
        is_called(runtime, runtime.next_deadline().map(|deadline| deadline - Instant::now()));
        runtime.poll_once(Duration::ZERO);
    }
}

fn result_of<T: 'static>(runtime: &Runtime, task: JoinHandle<T>) -> T {
    drive(runtime, || task.is_finished());
    runtime.block_on(task).expect("no panic")
}

/// Turns it until nothing is to be done, and it says so.
fn settle(runtime: &Runtime) {
    while is_called(runtime, Some(Duration::ZERO)) {
        runtime.poll_once(Duration::ZERO);
    }
}

#[test]
fn an_echo_goes_by_a_loop_that_only_polls_the_descriptor() {
    let runtime = embedded();
    let echoed = spawn(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            std::io::Result::Ok(())
        });
        let mut client = TcpStream::connect(address).await?;
        client.set_nodelay(true)?;
        let mut echoed = 0;
        for round in 0..200_u32 {
            let sent = vec![round as u8; 1 + round as usize * 50];
            client.write_all(sent.clone()).await.0?;
            let mut came = Vec::new();
            while came.len() < sent.len() {
                came.extend_from_slice(&client.recv().await?.expect("open"));
            }
            assert_eq!(came, sent);
            echoed += came.len();
        }
        drop(client);
        server.await.expect("no panic")?;
        std::io::Result::Ok(echoed)
    });
    assert_eq!(result_of(&runtime, echoed).expect("loopback"), 200 + 50 * 199 * 100);
}

#[test]
fn what_comes_from_elsewhere_is_told_by_the_descriptor() {
    let runtime = embedded();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("can be set");
        for round in 0..500_u32 {
            stream.write_all(&round.to_ne_bytes()).expect("it reads");
            let mut echoed = [0; 4];
            stream.read_exact(&mut echoed).expect("an answer");
            assert_eq!(echoed, round.to_ne_bytes());
        }
    });
    let served = spawn(async move {
        let (mut stream, _) = TcpListener::from_std(listener).accept().await?;
        stream.set_nodelay(true)?;
        while let Some(chunk) = stream.recv().await? {
            stream.write_all(chunk).await.0?;
        }
        std::io::Result::Ok(())
    });
    result_of(&runtime, served).expect("loopback");
    client.join().expect("no panic");
}

#[test]
fn what_other_threads_wake_is_told_by_the_descriptor() {
    let runtime = embedded();
    let count = Arc::new(AtomicU64::new(0));
    let place: Arc<std::sync::Mutex<Option<Waker>>> = Arc::default();
    const ROUNDS: u64 = 20_000;
    let waits = spawn({
        let (count, place) = (count.clone(), place.clone());
        async move {
            for round in 1..=ROUNDS {
                poll_fn(|cx| {
                    *place.lock().expect("no panic") = Some(cx.waker().clone());
                    if count.load(Ordering::Acquire) >= round { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        }
    });
    // It wakes a little after there is a waker, by more and more: before the core goes away, while it does, and after.
    let waker = std::thread::spawn(move || {
        let mut given = 0;
        while given < ROUNDS {
            let Some(waker) = place.lock().expect("no panic").take() else {
                std::hint::spin_loop();
                continue;
            };
            for _ in 0..given % 200 {
                std::hint::spin_loop();
            }
            given = count.fetch_add(1, Ordering::Release) + 1;
            waker.wake();
        }
    });
    result_of(&runtime, waits);
    waker.join().expect("no panic");
}

#[test]
fn timers_are_told_by_the_next_deadline() {
    let runtime = embedded();
    assert_eq!(runtime.next_deadline(), None);
    let began = Instant::now();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = [30_u64, 10, 20]
        .map(|ms| {
            let ended = ended.clone();
            spawn(async move {
                sleep(Duration::from_millis(ms)).await;
                ended.borrow_mut().push(ms);
            })
        })
        .into();
    settle(&runtime);
    let first = runtime.next_deadline().expect("three timers");
    assert!(first >= began + Duration::from_millis(10), "not before the first is due");
    assert!(first <= began + Duration::from_secs(5), "{:?}", first - began);
    drive(&runtime, || tasks.iter().all(JoinHandle::is_finished));
    assert_eq!(*ended.borrow(), [10, 20, 30]);
    assert_eq!(runtime.next_deadline(), None);
}

#[test]
fn what_this_thread_does_in_between_is_told_by_the_descriptor() {
    let runtime = embedded();
    let (event, met) = (Rc::new(Event::new()), Rc::new(Cell::new(0)));
    let waiting = spawn({
        let (event, met) = (event.clone(), met.clone());
        async move {
            event.wait().await;
            met.set(met.get() + 1);
        }
    });
    settle(&runtime);
    assert!(!is_called(&runtime, Some(Duration::ZERO)), "nothing is to be done");
    event.set();
    assert!(is_called(&runtime, Some(Duration::ZERO)), "a task was woken");
    settle(&runtime);
    assert!(waiting.is_finished());
    drop(spawn({
        let met = met.clone();
        async move { met.set(met.get() + 1) }
    }));
    assert!(is_called(&runtime, Some(Duration::ZERO)), "a task was spawned");
    settle(&runtime);
    assert_eq!(met.get(), 2);

    // A connection that is dropped here is closed in the next turn, of which there has to be one.
    let (kept, mut peer) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (client, served) = corering::join!(TcpStream::connect(address), listener.accept());
        (client.expect("loopback"), served.expect("loopback").0)
    });
    let ended = spawn(async move { peer.recv().await.map(|chunk| chunk.is_none()) });
    settle(&runtime);
    drop(kept);
    assert!(result_of(&runtime, ended).expect("an orderly end"));
}

#[test]
fn tasks_that_are_always_ready_leave_the_loop_around_its_turns() {
    let runtime = embedded();
    let stop = Rc::new(Cell::new(false));
    let busy = spawn({
        let stop = stop.clone();
        async move {
            while !stop.get() {
                yield_now().await;
            }
        }
    });
    for _ in 0..5 {
        let pass = runtime.poll_once(Duration::from_secs(1000));
        assert!(pass.ran && pass.more && pass.tasks == 1, "{pass:?}");
        assert!(is_called(&runtime, Some(Duration::ZERO)), "there is more to do");
    }
    stop.set(true);
    drive(&runtime, || busy.is_finished());
    settle(&runtime);

    // It becomes busy by something that has come after the descriptor was read.
    stop.set(false);
    let busy = spawn({
        let stop = stop.clone();
        async move {
            drop(nop(false).await);
            while !stop.get() {
                yield_now().await;
            }
        }
    });
    assert!(runtime.poll_once(Duration::ZERO).more);
    assert!(is_called(&runtime, Some(Duration::ZERO)), "there is more to do");
    stop.set(true);
    drive(&runtime, || busy.is_finished());
    settle(&runtime);
    let pass = runtime.poll_once(Duration::ZERO);
    assert!(!pass.ran && !pass.more && pass.tasks == 0, "{pass:?}");
}

#[test]
fn a_pass_may_wait_by_itself() {
    for is_embedded in [false, true] {
        let runtime = Builder::new().embedded(is_embedded).build().expect("io_uring");
        let slept = spawn(sleep(Duration::from_millis(15)));
        assert!(runtime.poll_once(Duration::from_secs(1000)).ran, "what was spawned has begun");
        let mut passes = 0;
        while !slept.is_finished() {
            runtime.poll_once(Duration::from_secs(1000));
            passes += 1;
        }
        assert!(passes < 1000, "it has waited, and not turned in vain: {passes}");
        let began = Instant::now();
        let pass = runtime.poll_once(Duration::from_millis(10));
        assert!(!pass.ran && pass.tasks == 0, "{pass:?}");
        assert!(began.elapsed() >= Duration::from_millis(10), "nothing came, and it has waited");

        let (place, woken) = (Arc::new(std::sync::Mutex::new(None::<Waker>)), Rc::new(Cell::new(false)));
        let waits = spawn({
            let (place, woken) = (place.clone(), woken.clone());
            poll_fn(move |cx| {
                if woken.replace(true) {
                    return Poll::Ready(());
                }
                *place.lock().expect("no panic") = Some(cx.waker().clone());
                Poll::Pending
            })
        });
        while place.lock().expect("no panic").is_none() {
            runtime.poll_once(Duration::ZERO);
        }
        let waker = place.lock().expect("no panic").take().expect("it waits");
        let waking = std::thread::spawn(move || waker.wake());
        while !waits.is_finished() {
            runtime.poll_once(Duration::from_secs(1000));
        }
        waking.join().expect("no panic");
        drop(runtime);
    }
}

#[test]
fn a_paused_clock_jumps_in_passes_that_wait() {
    let runtime = Builder::new().embedded(true).paused_time(true).build().expect("io_uring");
    let began = Instant::now();
    let slept = spawn(sleep(Duration::from_secs(3600)));
    for _ in 0..100 {
        runtime.poll_once(Duration::ZERO);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    while !slept.is_finished() {
        runtime.poll_once(Duration::from_millis(1));
    }
    assert!(began.elapsed() >= Duration::from_secs(3600));
}

#[test]
fn a_runtime_that_is_dropped_between_two_passes_cleans_up() {
    let dropped = Rc::new(Cell::new(0));
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let runtime = embedded();
    for _ in 0..3 {
        let counts = Counts(dropped.clone());
        drop(spawn(async move {
            let _counts = counts;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            drop(listener.accept().await);
        }));
    }
    let counts = Counts(dropped.clone());
    drop(spawn(corering::cancel::finally(pending::<()>(), async move {
        sleep(Duration::from_millis(2)).await;
        drop(counts);
    })));
    settle(&runtime);
    assert_eq!(dropped.get(), 0);
    drop(runtime);
    assert_eq!(dropped.get(), 4, "tasks were dropped, and cleanup was run");
    assert_eq!(corering::run(async { 1 }).expect("the thread is free for another core"), 1);
}

#[test]
fn block_on_and_passes_take_turns() {
    let runtime = embedded();
    let event = Rc::new(Event::new());
    let waiting = spawn({
        let event = event.clone();
        async move { event.wait().await }
    });
    runtime.block_on(turn());
    settle(&runtime);
    // The wake is left by `block_on`, which ends before what it woke has run.
    runtime.block_on(async { event.set() });
    drive(&runtime, || waiting.is_finished());
}

#[test]
fn a_panic_of_a_task_is_its_own() {
    let runtime = embedded();
    let fails = spawn(async { panic!("its own") });
    let goes_on = spawn(async { 7 });
    drive(&runtime, || fails.is_finished() && goes_on.is_finished());
    assert!(runtime.block_on(fails).expect_err("it panicked").is_panic());
    assert_eq!(runtime.block_on(goes_on).expect("no panic"), 7);
}

#[test]
fn a_pass_inside_a_runtime_and_a_descriptor_that_was_not_asked_for_are_clear_panics() {
    let runtime = Builder::new().build().expect("io_uring");
    let text = |panicked: std::thread::Result<()>| {
        let payload = panicked.expect_err("refused");
        payload.downcast_ref::<&str>().map_or_else(String::new, ToString::to_string)
    };
    let asked = text(catch_unwind(AssertUnwindSafe(|| {
        let _ = runtime.as_fd();
    })));
    assert!(asked.contains("Builder::embedded(true)"), "{asked}");
    runtime.block_on(async {
        let nested = text(catch_unwind(AssertUnwindSafe(|| {
            let _ = runtime.poll_once(Duration::ZERO);
        })));
        assert!(nested.contains("already inside a runtime on this thread"), "{nested}");
        turn().await;
    });
}
