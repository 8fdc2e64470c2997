//! Wakers and destructors that panic, and runtimes that are forgotten: others go on, and the thread stays usable.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::op::{DirectSlot, Multishot, Op, Receive, ReceiveMulti, chain};
use corering::spawn;
use corering::task::yield_now;
use corering::time::{sleep, timeout};

use crate::guard::Guarded;
use crate::{clean, pair, poll_once, run, turn};

/// A future whose output panics when it is dropped, a future that panics when it is dropped after it has panicked, and
/// a waker of it that is dropped last.
#[test]
fn destructors_that_panic_end_their_own_task_only() {
    // All have run by the time at which one of them has ended.
    let _special = crate::tasks_in_order();
    struct Bomb(Rc<Cell<u32>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            if !std::thread::panicking() {
                panic!("a destructor that panics");
            }
        }
    }
    clean(async || {
        let told = Rc::new(Cell::new(0));
        corering::task::on_unhandled({
            let told = told.clone();
            move |_| told.set(told.get() + 1)
        });
        let dropped = Rc::new(Cell::new(0));
        let (polled, ended, aborted) = (Bomb(dropped.clone()), Bomb(dropped.clone()), Bomb(dropped.clone()));
        let in_poll = spawn(async move {
            let _polled = polled;
            yield_now().await;
            panic!("in poll");
        });
        drop(spawn(async move {
            yield_now().await;
            ended
        }));
        let in_abort = spawn(async move {
            let _aborted = aborted;
            pending::<()>().await;
        });
        let goes_on = spawn(async {
            for _ in 0..10 {
                yield_now().await;
            }
            5
        });
        yield_now().await;
        in_abort.abort();
        let told_text = in_poll.await.expect_err("it panicked").to_string();
        assert!(told_text.ends_with("in poll"), "{told_text}");
        assert!(in_abort.await.expect_err("it panicked").is_panic());
        assert_eq!(goes_on.await.expect("untouched"), 5);
        assert_eq!((dropped.get(), told.get()), (3, 1));
    });
}

#[test]
fn whatever_the_library_hands_out_may_be_forgotten() {
    run(async || {
        async fn begun<F: Future + Unpin>(mut future: F) {
            assert!(!poll_once(&mut future).await);
            std::mem::forget(future);
        }
        let (socket, mut peer) = pair().await;
        begun(Op::new(Receive::new(&socket, Guarded::new(4096)))).await;
        let mut received = Op::new(Receive::new(&socket, Guarded::new(4096)));
        assert!(!poll_once(&mut received).await);
        begun(received.cancel()).await;
        begun(Op::new(Receive::new(&socket, Guarded::new(4096))).deadline(Duration::from_millis(1))).await;
        let [first, second] = [0, 1].map(|_| Op::new(Receive::new(&socket, Guarded::new(4096))));
        begun(chain((first, second))).await;
        begun(sleep(Duration::from_millis(1))).await;
        begun(Box::pin(timeout(Duration::from_millis(1), pending::<()>()))).await;
        begun(spawn(pending::<()>())).await;
        std::mem::forget(DirectSlot::take().expect("a place"));
        let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
        assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
        std::mem::forget(items);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
        begun(Box::pin(listener.accept())).await;
        std::mem::forget((listener, client));
        for _ in 0..20 {
            peer.write_all(b"late").await.expect("open");
            turn().await;
        }
        sleep(Duration::from_millis(2)).await;
    });
    assert_eq!(run(async || 1), 1, "the thread is free");
}
