//! Much of everything: tasks, timers, completions at once.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::op::{Op, Receive};
use corering::task::yield_now;
use corering::time::{Instant, Sleep, sleep};

use crate::{MANY, clean, metrics, pair, poll_once, scene, soon, turn};

#[test]
fn a_million_tasks_come_and_go_and_their_memory_is_used_again() {
    clean(async || {
        let count = Rc::new(Cell::new(0));
        for _ in 0..MANY / 1000 {
            let handles: Vec<_> = (0..1000)
                .map(|_| {
                    let count = count.clone();
                    corering::spawn(async move {
                        yield_now().await;
                        count.set(count.get() + 1);
                    })
                })
                .collect();
            for handle in handles {
                handle.await.expect("no panic");
            }
        }
        assert_eq!(count.get(), MANY);
        assert_eq!(metrics().tasks, 1);
    });
}

/// By a clock that jumps, so each sleep ends in the very millisecond that it should, or it is wrong.
#[test]
fn a_million_timers_half_of_them_dropped_end_in_time() {
    const TIMERS: usize = MANY;
    scene(async || {
        let start = Instant::now();
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut timers: Vec<Option<(Instant, Sleep)>> = Vec::with_capacity(TIMERS);
        for _ in 0..TIMERS {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let after = Duration::from_nanos(state % 10_000_000_000);
            let mut timer = sleep(after);
            assert!(!poll_once(&mut timer).await);
            timers.push(Some((start + after, timer)));
        }
        assert_eq!(metrics().timers, TIMERS);
        for timer in timers.iter_mut().step_by(2) {
            *timer = None;
        }
        assert_eq!(metrics().timers, TIMERS / 2);
        let mut left: Vec<_> = timers.into_iter().flatten().collect();
        left.sort_by_key(|(due, _)| *due);
        let (mut latest, mut at) = (Duration::ZERO, start);
        for (due, mut timer) in left {
            std::future::poll_fn(|cx| Pin::new(&mut timer).poll(cx)).await;
            let now = Instant::now();
            assert!(now >= due, "early by {:?}", due - now);
            assert!(now >= at, "the clock went back");
            at = now;
            latest = latest.max(now - due);
        }
        assert!(latest < Duration::from_millis(2), "late by {latest:?}");
        assert_eq!(metrics().timers, 0);
    });
}

#[test]
fn a_burst_that_came_meanwhile_is_fetched_in_a_few_calls() {
    const COUNT: usize = 200;
    clean(async || {
        let (mut receives, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..COUNT {
            let (ours, theirs) = pair().await;
            receives.push(corering::spawn(Op::new(Receive::new(&ours, Vec::with_capacity(4)))));
            peers.push(theirs);
        }
        turn().await;
        turn().await;
        // While this core does something else.
        for peer in &mut peers {
            peer.write_all(b"x").await.expect("room");
        }
        let before = metrics().enters;
        for receive in receives {
            let (received, buffer) = soon(receive).await.expect("no panic");
            assert_eq!((received.expect("received"), &buffer[..]), (1, &b"x"[..]));
        }
        let enters = metrics().enters - before;
        assert!(enters <= 1 + COUNT as u64 / 20 + 2, "{enters} calls for {COUNT} completions");
    });
}

#[test]
fn many_connections_come_and_go() {
    const ROUNDS: usize = 20;
    const AT_ONCE: usize = 50;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = corering::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await?;
                drop(corering::spawn(async move {
                    while let Some(chunk) = stream.recv().await? {
                        stream.write_all(chunk).await.0?;
                    }
                    std::io::Result::Ok(())
                }));
            }
            #[expect(unreachable_code, reason = "the type of the block")]
            std::io::Result::Ok(())
        });
        for _ in 0..ROUNDS {
            let clients: Vec<_> = (0..AT_ONCE)
                .map(|number| {
                    corering::spawn(async move {
                        let mut stream = TcpStream::connect(address).await?;
                        stream.write_all(vec![number as u8; 100]).await.0?;
                        let mut received = Vec::with_capacity(100);
                        while received.len() < 100 {
                            let (read, back) = stream.read(received).await;
                            received = back;
                            assert_ne!(read?, 0);
                        }
                        assert!(received.iter().all(|byte| usize::from(*byte) == number));
                        stream.close().await
                    })
                })
                .collect();
            for client in clients {
                soon(client).await.expect("no panic").expect("echoed");
            }
        }
        assert!(!server.is_finished());
        server.abort();
        assert!(server.await.expect_err("aborted").is_cancelled());
    });
}
