//! Cancels: against completions, in a full queue, twice and too late, and around accepts and multishots.

use std::time::Duration;

use corering::Builder;
use corering::buf::IoBuf;
use corering::op::{Descriptor, Op, Receive, SendAll};

use crate::tracked::{Alive, Tracked};
use crate::{clean, clean_on, idle, metrics, narrow, pair, poll_once, soon, turn};

#[test]
fn the_memory_of_a_dropped_operation_lives_until_the_kernel_has_let_go() {
    clean(async || {
        let alive = Alive::default();
        let (socket, mut peer) = pair().await;
        for in_the_kernel in [false, true] {
            let mut receive = Op::new(Receive::new(&socket, alive.buffer()));
            assert!(!poll_once(&mut receive).await);
            if in_the_kernel {
                turn().await;
            }
            drop(receive);
            // Nothing has been fetched from the kernel since.
            let metrics = metrics();
            assert_eq!((alive.count(), metrics.operations, metrics.operations_in_flight), (1, 1, 1));
            idle().await;
            assert_eq!(alive.count(), 0);
        }
        // The socket is as it was.
        peer.write_all(b"x").await.expect("open");
        let (result, buffer) = soon(Op::new(Receive::new(&socket, alive.buffer()))).await;
        assert_eq!((result.expect("received"), buffer.as_slice()[0]), (1, b'x'));
    });
}

#[test]
fn a_descriptor_stays_open_until_the_last_dropped_operation_on_it_has_ended() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        narrow(&socket);
        let mut send = Op::new(SendAll::new(&socket, vec![7; 300_000]));
        assert!(!poll_once(&mut send).await);
        turn().await;
        drop((send, socket));
        let all = soon(peer.read_to_end()).await.expect("closed in the end");
        assert!(all == vec![7; 300_000], "{} bytes of 300,000 before it was closed", all.len());
    });
}

#[test]
fn cancels_that_find_the_queue_full_arrive() {
    const WAITING: usize = 40;
    clean_on(Builder::new().entries(8).cq_entries(8), async || {
        let alive = Alive::default();
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let (socket, peer) = pair().await;
            let mut receive = Op::new(Receive::new(&socket, alive.buffer()));
            assert!(!poll_once(&mut receive).await);
            waiting.push((receive, peer));
        }
        turn().await;
        // In one poll: new operations and cancels in turn, five times as many as there is room for.
        let mut cancels = Vec::new();
        let mut peers = Vec::new();
        for (number, (receive, peer)) in waiting.into_iter().enumerate() {
            let (socket, filler) = pair().await;
            let mut send = Op::new(SendAll::new(&socket, "x"));
            assert!(!poll_once(&mut send).await);
            if number % 2 == 0 {
                drop(receive);
            } else {
                let mut cancel = receive.cancel();
                assert!(!poll_once(&mut cancel).await);
                cancels.push(cancel);
            }
            peers.push((peer, filler));
        }
        for cancel in cancels {
            let (result, _buffer) = soon(cancel).await;
            assert_eq!(result.expect_err("nothing came").raw_os_error(), Some(libc::ECANCELED));
        }
        idle().await;
        assert_eq!(alive.count(), 0);
        for (_peer, mut filler) in peers {
            soon(filler.read_exact(1)).await.expect("what was submitted in between has happened");
        }
    });
}

/// A receive that the kernel has.
async fn begun(socket: &Descriptor, alive: &Alive) -> Op<Receive<Tracked>> {
    let mut receive = Op::new(Receive::new(socket, alive.buffer()));
    assert!(!poll_once(&mut receive).await);
    turn().await;
    receive
}

#[test]
fn cancelling_again_and_too_late_changes_nothing() {
    clean(async || {
        let alive = Alive::default();
        let (socket, mut peer) = pair().await;
        let begin = || begun(&socket, &alive);
        // Everything on the descriptor, twice, and then by itself.
        let receive = begin().await;
        socket.cancel_all();
        socket.cancel_all();
        let (result, buffer) = soon(receive.cancel()).await;
        assert_eq!(result.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
        drop(buffer);

        // The cancel is given up, in each of its windows.
        for turns in 0..3 {
            let mut cancel = begin().await.cancel();
            assert!(!poll_once(&mut cancel).await);
            for _ in 0..turns {
                turn().await;
            }
            drop(cancel);
            idle().await;
        }

        // A deadline that has passed, and is given up; and one that is given up first.
        let mut late = begin().await.deadline(Duration::ZERO);
        assert!(!poll_once(&mut late).await);
        turn().await;
        assert!(!poll_once(&mut late).await || alive.count() == 0);
        drop(late);
        drop(begin().await.deadline(Duration::from_secs(3600)));
        idle().await;
        assert_eq!((alive.count(), metrics().timers), (0, 0));

        // What is done is done.
        let receive = begin().await;
        peer.write_all(b"x").await.expect("open");
        turn().await;
        turn().await;
        socket.cancel_all();
        turn().await;
        let (result, buffer) = soon(receive.cancel()).await;
        assert_eq!((result.expect("it was faster"), buffer.as_slice()[0]), (1, b'x'));
        drop(buffer);

        // And none of it reaches what came later, in the same slot.
        let mut receive = begin().await;
        turn().await;
        assert!(!poll_once(&mut receive).await);
        peer.write_all(b"y").await.expect("open");
        let (result, buffer) = soon(receive).await;
        assert_eq!((result.expect("received"), buffer.as_slice()[0]), (1, b'y'));
    });
}
