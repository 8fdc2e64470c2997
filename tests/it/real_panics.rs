//! Wakers that panic, and a runtime that is forgotten: others go on, and the thread stays usable.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use corering::op::{AcceptMulti, Multishot, Op, Receive, WriteAll};
use corering::task::yield_now;
use corering::time::{Sleep, sleep};
use corering::{Builder, Runtime, spawn};

use crate::guard::Guarded;
use crate::{pipe, poll_once, sockets, soon, turn};

/// A waker that panics whenever it is woken, and counts that.
#[derive(Default)]
struct Explosive(AtomicUsize);

impl Wake for Explosive {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("a waker that panics");
    }
}

/// Has a waker that panics wait for `wait`, among tasks that wait for the like with their own; then `bring` brings it
/// about. The panic may reach the caller of the loop, but the others are woken, and the runtime can be used.
fn others_are_woken<F: Future + Unpin + 'static>(wait: impl Fn() -> F, bring: impl AsyncFn()) {
    const OTHERS: usize = 6;
    let runtime = Builder::new().build().expect("io_uring");
    let explosive = Arc::new(Explosive::default());
    let woken = Rc::new(Cell::new(0));
    let others: RefCell<Vec<_>> = RefCell::default();
    let mut hit = None;
    let start = || {
        let (mut waits, woken) = (wait(), woken.clone());
        others.borrow_mut().push(spawn(async move {
            poll_fn(|cx| Pin::new(&mut waits).poll(cx).map(drop)).await;
            woken.set(woken.get() + 1);
        }));
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            for number in 0..OTHERS {
                if number == OTHERS / 2 {
                    yield_now().await;
                    let mut waits = wait();
                    let waker = Waker::from(explosive.clone());
                    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&waker)).is_pending());
                    hit = Some(waits);
                }
                start();
            }
            yield_now().await;
            bring().await;
            soon(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if woken.get() == OTHERS { Poll::Ready(()) } else { Poll::Pending }
            }))
            .await;
        });
    }));
    if let Err(payload) = result {
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a waker that panics"));
    }
    let began = std::time::Instant::now();
    runtime.block_on(async {
        for other in others.take() {
            soon(other).await.expect("it was woken");
        }
    });
    assert!(began.elapsed().as_secs() < 5, "what came with the panic was handed on late");
    assert_eq!(explosive.0.load(Ordering::SeqCst), 1, "it was woken once");
    assert_eq!(woken.get(), OTHERS);
    drop(hit);
    drop(runtime);
    assert_eq!(corering::run(async { 1 }).expect("the thread is free"), 1);
}

#[test]
fn a_waker_that_panics_for_a_timer_takes_no_wake_from_the_others() {
    let deadline = corering::time::Instant::now() + Duration::from_millis(50);
    others_are_woken::<Sleep>(|| corering::time::sleep_until(deadline), async || {});
}

#[test]
fn a_waker_that_panics_for_an_operation_takes_no_wake_from_the_others() {
    let peers = RefCell::new(Vec::new());
    others_are_woken(
        || {
            let (socket, peer) = sockets();
            peers.borrow_mut().push(peer);
            Op::new(Receive::new(&socket, Vec::with_capacity(8)))
        },
        async || {
            turn().await;
            for peer in &mut *peers.borrow_mut() {
                peer.write_all(b"x").expect("open");
            }
        },
    );
}

#[test]
fn a_waker_that_panics_for_a_task_takes_no_wake_from_the_others() {
    let go = Rc::new(RefCell::new(Vec::<Waker>::new()));
    others_are_woken(
        || {
            let (go, mut waited) = (go.clone(), false);
            spawn(poll_fn(move |cx| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                go.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }))
        },
        async || {
            yield_now().await;
            go.take().into_iter().for_each(Waker::wake);
        },
    );
}

#[test]
fn a_waker_that_panics_behind_a_dropped_write_takes_no_wake_from_the_others() {
    let (mut reader, writer) = pipe();
    let pipe = corering::op::Descriptor::new(writer);
    let blocked = Cell::new(false);
    let draining = RefCell::new(None);
    others_are_woken(
        || {
            if !blocked.replace(true) {
                // Goes out when somebody reads; all the others wait behind it.
                let mut write = Op::new(WriteAll::stream(&pipe, vec![0; 200_000]));
                assert!(Pin::new(&mut write).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            Op::new(WriteAll::stream(&pipe, vec![1]))
        },
        async || {
            turn().await;
            let mut reader = reader.try_clone().expect("a copy");
            draining.replace(Some(std::thread::spawn(move || {
                std::io::Read::read_exact(&mut reader, &mut vec![0; 200_000]).expect("written");
            })));
        },
    );
    draining.take().expect("begun").join().expect("no panic");
    let mut last = [0; 6];
    std::io::Read::read_exact(&mut reader, &mut last).expect("written");
    assert_eq!(last, [1; 6]);
}

#[test]
fn a_waker_that_panics_for_a_multishot_takes_no_wake_from_the_others() {
    let listener = Rc::new(std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let socket = corering::op::Descriptor::new(listener.try_clone().expect("a copy").into());
    let accepts = Rc::new(RefCell::new(Multishot::new(AcceptMulti::new(&socket))));
    let clients = RefCell::new(Vec::new());
    others_are_woken(
        || {
            let accepts = accepts.clone();
            poll_fn(move |cx| accepts.borrow_mut().poll_next(cx))
        },
        async || {
            turn().await;
            for _ in 0..7 {
                let address = listener.local_addr().expect("an address");
                clients.borrow_mut().push(std::net::TcpStream::connect(address).expect("there"));
            }
        },
    );
}

#[test]
fn a_runtime_may_be_forgotten_with_everything_in_flight() {
    let (send, receive) = mpsc::channel();
    let (socket, mut peer) = sockets();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new().build().expect("io_uring");
        let mut in_flight = Op::new(Receive::new(&socket, Guarded::new(4096)));
        runtime.block_on(async {
            assert!(!poll_once(&mut in_flight).await);
            let mut asleep = sleep(Duration::from_secs(3600));
            assert!(!poll_once(&mut asleep).await);
            let waker = Rc::new(RefCell::new(None));
            drop(spawn({
                let waker = waker.clone();
                poll_fn(move |cx| {
                    waker.replace(Some(cx.waker().clone()));
                    Poll::<()>::Pending
                })
            }));
            turn().await;
            send.send((waker.take().expect("polled"), asleep)).expect("somebody listens");
        });
        std::mem::forget::<Runtime>(runtime);
        // Its thread has a core for good.
        assert!(matches!(Builder::new().build(), Err(corering::SetupError::AlreadyRunning)));
        in_flight
    });
    let (waker, asleep) = receive.recv().expect("sent");
    let in_flight = thread.join().expect("no panic");
    // Its things reach nobody any more, and do no harm.
    waker.wake_by_ref();
    drop((waker, asleep, in_flight));
    let _ = peer.write_all(b"late");
    assert_eq!(corering::run(async { 1 }).expect("io_uring"), 1);
}
