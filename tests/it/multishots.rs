//! Multishots that are dropped, closed, cancelled or not fetched from while completions queue up.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;

use corering::Builder;
use corering::buf::Chunk;
use corering::op::socket2::{Domain, Type};
use corering::op::{AcceptMulti, Descriptor, Multishot, Op, ReceiveMulti, ReceivePooled};

use crate::{clean, clean_on, drop_elsewhere, idle, messages, poll_once, soon, turn, visit};

async fn next(items: &mut Multishot<ReceiveMulti>) -> std::io::Result<Chunk> {
    soon(poll_fn(|cx| items.poll_next(cx))).await
}

fn number_in(chunk: &Chunk) -> u32 {
    u32::from_le_bytes(chunk[..].try_into().expect("one message"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Dropped,
    DroppedElsewhere,
    Closed,
}

/// A plain listener.
fn listener() -> Descriptor {
    let socket = Descriptor::socket(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(128).expect("listening");
    socket
}

/// Accepts until someone who comes now is accepted; where those who came before are from.
async fn all_who_wait(listener: &Descriptor, address: SocketAddr) -> Vec<SocketAddr> {
    let last = visit(address).await;
    let mut accepts = Multishot::new(AcceptMulti::new(listener));
    let mut came = Vec::new();
    loop {
        let server = soon(poll_fn(|cx| accepts.poll_next(cx))).await.expect("a connection");
        let from = server.peer_addr().expect("an address").as_socket().expect("an address");
        if from == last.local_addr() {
            soon(accepts.close()).await;
            return came;
        }
        came.push(from);
    }
}

#[test]
fn connections_that_a_multishot_had_accepted_are_closed_with_it_and_the_others_stay() {
    clean(async || {
        for (round, end) in [End::Dropped, End::DroppedElsewhere, End::Closed].into_iter().cycle().take(30).enumerate()
        {
            let socket = listener();
            let address = socket.local_addr().expect("an address").as_socket().expect("an address");
            let mut accepts = Multishot::new(AcceptMulti::new(&socket));
            assert!(!poll_once(&mut poll_fn(|cx| accepts.poll_next(cx))).await);
            let mut clients = Vec::new();
            for number in 0..8 {
                clients.push(visit(address).await);
                if number == 3 {
                    // Not accepted yet, accepted and not reported, queued.
                    for _ in 0..round % 4 {
                        turn().await;
                    }
                }
            }
            match end {
                End::Dropped => drop(accepts),
                End::DroppedElsewhere => drop_elsewhere(accepts),
                End::Closed => soon(accepts.close()).await,
            }
            idle().await;
            // Every client is either gone, or waits for whoever accepts next.
            let waiting = all_who_wait(&socket, address).await;
            let mut closed = 0;
            for client in &mut clients {
                if waiting.contains(&client.local_addr()) {
                    continue;
                }
                let ended = soon(client.read(1)).await;
                assert!(
                    ended.as_ref().is_ok_and(Vec::is_empty)
                        || ended.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
                    "{end:?}, {} turns: neither closed nor waiting, but {ended:?}",
                    round % 4
                );
                closed += 1;
            }
            assert_eq!(closed + waiting.len(), clients.len());
        }
    });
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
    // All ten are queued only where the kernel does not end the multishot by itself.
    let _special = crate::quiet_kernel();
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

/// One that the kernel has just ended by itself is not armed again by whoever waits, as if nothing had been cancelled.
#[test]
fn a_multishot_is_cancelled_whether_or_not_the_kernel_has_just_ended_it() {
    clean(async || {
        let (socket, mut peer) = messages().await;
        let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
        let mut expected = 0;
        for round in 1..=50 {
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            turn().await;
            for number in 0..10_u32 {
                peer.write_all(&(10 * (round - 1) + number).to_le_bytes()).await.expect("room");
            }
            turn().await;
            socket.cancel_all();
            let error = loop {
                match next(&mut items).await {
                    Ok(chunk) => assert_eq!(number_in(&chunk), expected),
                    Err(error) => break error,
                }
                expected += 1;
            };
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            // What was not queued lies in the socket, and nothing was cancelled twice.
            while expected < 10 * round {
                assert_eq!(number_in(&next(&mut items).await.expect("received")), expected);
                expected += 1;
            }
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
