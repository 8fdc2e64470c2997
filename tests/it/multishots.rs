//! Multishots that are dropped, closed, cancelled or not fetched from while completions queue up.

use std::future::poll_fn;

use corering::Builder;
use corering::buf::Chunk;
use corering::op::{Multishot, Op, ReceiveMulti, ReceivePooled};

use crate::{clean, clean_on, drop_elsewhere, idle, messages, poll_once, soon, turn};

async fn next(items: &mut Multishot<ReceiveMulti>) -> std::io::Result<Chunk> {
    soon(poll_fn(|cx| items.poll_next(cx))).await
}

fn number_in(chunk: &Chunk) -> u32 {
    u32::from_le_bytes(chunk[..].try_into().expect("one message"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Dropped,
    DroppedElsewhere,
    Closed,
}

#[test]
fn buffers_that_a_multishot_had_filled_come_home_with_it() {
    const BUFFERS: u32 = 32;
    clean_on(Builder::new().buffers(BUFFERS, 64), async || {
        for (round, end) in [End::Dropped, End::DroppedElsewhere, End::Closed].into_iter().cycle().take(60).enumerate()
        {
            let (socket, mut peer) = messages().await;
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            turn().await;
            for number in 0..10_u32 {
                peer.write_all(&number.to_le_bytes()).await.expect("room");
            }
            for _ in 0..round % 4 {
                turn().await;
            }
            if round % 2 == 0 && round % 4 > 0 {
                assert_eq!(number_in(&next(&mut items).await.expect("received")), 0);
            }
            match end {
                End::Dropped => drop(items),
                End::DroppedElsewhere => drop_elsewhere(items),
                End::Closed => soon(items.close()).await,
            }
            idle().await;
        }
        // All of them are there: each of so many receives finds one, before any is fetched.
        let (socket, mut peer) = messages().await;
        let mut receives: Vec<_> =
            (0..BUFFERS).map(|_| Op::new(ReceivePooled::new(&socket, 1).expect("a pool"))).collect();
        for receive in &mut receives {
            assert!(!poll_once(receive).await);
            peer.write_all(&[1]).await.expect("room");
        }
        for _ in 0..4 {
            turn().await;
        }
        for receive in receives {
            soon(receive).await.expect("a buffer was lost");
        }
    });
}

#[test]
fn what_was_queued_before_a_cancel_is_fetched_before_its_error() {
    clean(async || {
        let (socket, mut peer) = messages().await;
        for _ in 0..20 {
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            turn().await;
            for number in 0..10_u32 {
                peer.write_all(&number.to_le_bytes()).await.expect("room");
            }
            turn().await;
            socket.cancel_all();
            turn().await;
            for number in 0..10 {
                assert_eq!(number_in(&next(&mut items).await.expect("received before")), number);
            }
            let error = next(&mut items).await.expect_err("cancelled");
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            // It is armed again by whoever goes on.
            peer.write_all(&77_u32.to_le_bytes()).await.expect("room");
            assert_eq!(number_in(&next(&mut items).await.expect("received")), 77);
        }
    });
}

#[test]
fn a_multishot_that_nobody_fetches_from_is_stopped_and_goes_on_without_a_gap() {
    clean_on(Builder::new().buffers(2048, 64), async || {
        let (socket, mut peer) = messages().await;
        let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
        let (mut written, mut fetched) = (0_u32, 0_u32);
        for _ in 0..4 {
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            // As many as are taken in by the multishot, and lie in the socket.
            let mut before = u32::MAX;
            while std::mem::replace(&mut before, written) != written {
                while peer.write(written.to_le_bytes()).is_ok() {
                    written += 1;
                }
                for _ in 0..10 {
                    turn().await;
                }
            }
            let taken = written - fetched;
            assert!((256..800).contains(&taken), "{taken} messages were taken in, and nobody fetched them");
            while fetched < written {
                assert_eq!(number_in(&next(&mut items).await.expect("received")), fetched);
                fetched += 1;
            }
        }
        drop(peer);
        assert!(next(&mut items).await.expect("the end").is_empty());
    });
}

#[test]
fn several_tasks_that_wait_for_one_multishot_share_what_comes() {
    clean(async || {
        let (socket, mut peer) = messages().await;
        let items =
            std::rc::Rc::new(std::cell::RefCell::new(Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"))));
        let start = || {
            let items = items.clone();
            corering::spawn(poll_fn(move |cx| items.borrow_mut().poll_next(cx)))
        };
        let (first, second, third) = (start(), start(), start());
        turn().await;
        // The one who waited first is gone: its turn is not lost.
        first.abort();
        for number in [1_u32, 2] {
            peer.write_all(&number.to_le_bytes()).await.expect("room");
        }
        let mut got = [soon(second).await, soon(third).await]
            .map(|chunk| number_in(&chunk.expect("no panic").expect("received")));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}
