//! Cancels while the kernel takes nothing in: they wait in line, and arrive.

use std::future::{Future as _, poll_fn};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use corering::Builder;
use corering::op::{Descriptor, Op, Receive};
use corering::time::timeout;

/// Cancels twenty receives at a time, in a queue of eight; every second one by dropping it.
pub(crate) fn cancel_often(times: usize) {
    const AT_ONCE: usize = 20;
    let rounds = async {
        for _ in 0..times.div_ceil(AT_ONCE) {
            let (mut cancels, mut peers) = (Vec::new(), Vec::new());
            for number in 0..AT_ONCE {
                let (ours, theirs) = UnixStream::pair().expect("a pair");
                peers.push(theirs);
                let socket = Descriptor::new(std::os::fd::OwnedFd::from(ours));
                let mut receive = Op::new(Receive::new(&socket, Vec::with_capacity(64)));
                let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut receive).poll(cx).is_pending())).await;
                assert!(polled, "nothing was sent");
                if number % 2 == 0 {
                    drop(receive);
                } else {
                    cancels.push(corering::spawn(receive.cancel()));
                }
            }
            for cancel in cancels {
                let (result, buffer) = cancel.await.expect("no panic");
                assert_eq!(result.expect_err("nothing was sent").raw_os_error(), Some(libc::ECANCELED));
                assert_eq!(buffer.capacity(), 64);
            }
            while corering::metrics().expect("a core").operations > 0 {
                corering::time::sleep(Duration::from_micros(50)).await;
            }
        }
    };
    let all = async { timeout(Duration::from_secs(20), rounds).await };
    Builder::new().entries(8).run(all).expect("io_uring").expect("none is lost");
    println!("{times} cancels");
}
