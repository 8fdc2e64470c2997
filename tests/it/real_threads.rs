//! What goes to other threads and comes from there.

use std::future::{Future as _, poll_fn};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::Builder;
use corering::op::{DirectSlot, Op, OpenDirect, Receive, Receiver};
use corering::time::sleep;

use crate::deadlocks::{is, report, waits};
use crate::{SECOND, clean, poll_once, sockets};

#[test]
fn an_operation_polled_on_another_core_says_so() {
    clean(async || {
        let (socket, _peer) = sockets();
        let mut receive = Op::new(Receive::new(&socket, Vec::with_capacity(8)));
        assert!(!poll_once(&mut receive).await);
        let elsewhere = std::thread::spawn(move || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                corering::run(async { receive.await.0 }).expect("io_uring")
            }))
            .expect_err("it is of another core")
        });
        let payload = elsewhere.join().expect("caught");
        let text = payload.downcast_ref::<String>().expect("a text");
        assert!(text.contains("was polled on core"), "{text}");
    });
}

#[test]
fn chunks_may_outlive_their_core() {
    let chunks = clean_chunks();
    let (first, rest) = chunks.split_first().expect("some");
    assert!(first.is_pooled());
    assert_eq!(&first[..], [0]);
    assert!(rest.iter().enumerate().all(|(number, chunk)| chunk[..] == [number as u8 + 1]));
    // They go on different threads, and the last of them takes the pool along.
    let mut chunks = chunks;
    let half = chunks.split_off(chunks.len() / 2);
    let other = std::thread::spawn(move || {
        for (number, chunk) in half.into_iter().enumerate() {
            assert_eq!(chunk[..], [number as u8 + 10]);
        }
    });
    drop(chunks);
    other.join().expect("no panic");

    fn clean_chunks() -> Vec<corering::buf::Chunk> {
        let runtime = Builder::new().buffers(64, 64).build().expect("io_uring");
        let mut chunks = runtime.block_on(async {
            let (socket, mut peer) = sockets();
            let mut receiver = Receiver::new(socket);
            let mut chunks = Vec::new();
            for number in 0..22 {
                peer.write_all(&[number]).expect("room");
                let chunk = std::future::poll_fn(|cx| receiver.poll_chunk(cx)).await;
                chunks.push(chunk.expect("received").expect("a chunk"));
            }
            chunks
        });
        // Two that were dropped elsewhere, and not collected before the end.
        let dropped = [chunks.pop(), chunks.pop()];
        std::thread::spawn(move || drop(dropped)).join().expect("no panic");
        drop(runtime);
        chunks
    }
}

#[test]
fn a_direct_place_works_on_its_own_core_only() {
    clean(async || {
        let slot = DirectSlot::take().expect("a place");
        let open = Op::new(OpenDirect::new(c"/proc/self/exe".to_owned(), libc::O_RDONLY, &slot));
        let elsewhere = std::thread::spawn(move || corering::run(open).expect("io_uring"));
        let message = elsewhere.join().expect_err("not its place");
        assert!(message.downcast_ref::<String>().expect("a text").contains("was used on core"));
        drop(slot);
    });
}

#[test]
fn a_sleep_may_be_dropped_on_another_thread_and_polled_on_its_own_core_only() {
    clean(async || {
        let mut ours = sleep(3600 * SECOND);
        assert!(!poll_once(&mut ours).await);
        let fresh = sleep(Duration::ZERO);
        let elsewhere = std::thread::spawn(move || {
            corering::run(async {
                fresh.await;
                let polled = poll_fn(|cx| {
                    Poll::Ready(catch_unwind(AssertUnwindSafe(|| Pin::new(&mut ours).poll(cx).is_pending())))
                });
                let refused = polled.await.expect_err("it belongs to another core");
                refused.downcast_ref::<String>().expect("a text").clone()
            })
            .expect("io_uring")
        });
        let text = elsewhere.join().expect("no panic");
        assert!(text.contains("was polled on"), "{text}");
        // `clean` waits until its timer has gone.
    });
}

#[test]
fn whoever_holds_a_waker_elsewhere_is_waited_for() {
    let woken = corering::run(async {
        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let thread = std::thread::spawn(move || {
            let waker = receiver.recv().expect("sent");
            std::thread::sleep(Duration::from_millis(200));
            waker.wake();
        });
        let mut polled = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            sender.send(cx.waker().clone()).expect("there");
            Poll::Pending
        })
        .await;
        thread.join().expect("ends");
    });
    assert!(woken.is_ok());
}

#[test]
fn once_the_last_waker_elsewhere_is_dropped_it_is_reported() {
    report(
        async || {
            let mut thread = None;
            poll_fn(|cx| {
                let waker = cx.waker().clone();
                thread.get_or_insert_with(|| {
                    std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(100));
                        drop(waker);
                    })
                });
                Poll::<()>::Pending
            })
            .await;
        },
        |deadlock| assert_eq!(waits(deadlock), [is("main", [])]),
    );
}
