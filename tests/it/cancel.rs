//! Cancels: against completions, in a full queue, twice and too late, and around accepts and multishots.

use std::future::{Future as _, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use corering::buf::IoBuf;
use corering::net::{TcpListener, TcpStream};
use corering::op::{Descriptor, Op, Receive, SendAll};
use corering::sync::oneshot;
use corering::time::{Instant, sleep, sleep_until, timeout};
use corering::{Builder, JoinHandle, spawn};

use crate::tracked::{Alive, Tracked};
use crate::{Random, clean, clean_on, drop_elsewhere, idle, metrics, narrow, pair, poll_once, soon, turn, visit};

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

/// A byte comes at any time around the moment in which its receive is given up, or in the very turn in which that is
/// asked for. The wait before is made longer after each byte that was too late and shorter after each that was not, so
/// that both come about as often.
#[test]
fn a_byte_that_arrives_while_its_receive_is_given_up_comes_once_or_goes_with_its_buffer() {
    const ROUNDS: usize = 400;
    const END: u8 = 0xff;
    clean(async || {
        let alive = Alive::default();
        let (socket, mut peer) = pair().await;
        let (mut random, mut wait_us) = (Random::new(1), [100_u64; 4]);
        let (mut completed, mut cancelled) = ([0; 4], [0; 4]);
        for round in 0..ROUNDS {
            let (byte, way) = (round as u8 % END, round % 4);
            let buffer = alive.buffer();
            let address = buffer.address();
            let mut receive = Op::new(Receive::new(&socket, buffer));
            assert!(!poll_once(&mut receive).await);
            let at = Instant::now() + Duration::from_micros(wait_us[way] + random.below(100));
            let in_that_turn = random.below(3) == 0;
            let until = if in_that_turn { at } else { Instant::now() + Duration::from_micros(random.below(200)) };
            let (go, gone) = oneshot::channel();
            let writer = spawn(async move {
                if in_that_turn && way != 1 {
                    gone.await.expect("told");
                } else {
                    sleep_until(until).await;
                }
                peer.write_all([byte]).await.expect("open");
                peer
            });
            if way != 1 {
                sleep_until(at).await;
            }
            // The writer runs when this task waits next, and nothing is handed to the kernel in between.
            let _told = go.send(());
            let output = match way {
                0 => Some(soon(receive.cancel()).await),
                1 => Some(soon(receive.deadline_at(at)).await),
                2 => {
                    drop(receive);
                    None
                }
                _ => {
                    drop_elsewhere(receive);
                    None
                }
            };
            let mut got = Vec::new();
            if let Some((result, buffer)) = output {
                assert_eq!((buffer.address(), alive.count()), (address, 1), "another buffer than was given");
                match result {
                    Ok(count) => got.extend_from_slice(&buffer.as_slice()[..count]),
                    Err(error) if way == 0 => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
            }
            let by_receive = !got.is_empty();
            peer = soon(writer).await.expect("no panic");
            idle().await;
            assert_eq!(alive.count(), 0);
            peer.write_all([END]).await.expect("open");
            while got.last() != Some(&END) {
                let (result, bytes) = soon(Op::new(Receive::new(&socket, Vec::with_capacity(8)))).await;
                assert_ne!(result.expect("received"), 0);
                got.extend(bytes);
            }
            if way < 2 {
                assert_eq!(got, [byte, END], "the byte came once, in the buffer or from the socket");
            } else {
                // What a plain receive got after it was dropped goes with its buffer.
                assert!(got == [END] || got == [byte, END], "{got:?}");
            }
            if by_receive || got == [END] {
                completed[way] += 1;
                wait_us[way] = wait_us[way].saturating_sub(20);
            } else {
                cancelled[way] += 1;
                wait_us[way] += 20;
            }
        }
        assert!(completed.iter().chain(&cancelled).all(|count| *count > 0), "{completed:?} against {cancelled:?}");
    });
}

#[test]
fn accepts_that_are_given_up_again_and_again_serve_every_client() {
    const CLIENTS: u64 = 3;
    const VISITS: u64 = 100;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let clients = (0..CLIENTS).map(|seed| {
            spawn(async move {
                let mut random = Random::new(seed + 7);
                for _ in 0..VISITS {
                    let mut stream = soon(TcpStream::connect(address)).await.expect("there");
                    let number = random.below(u64::MAX).to_le_bytes();
                    stream.write_all(number).await.0.expect("sent");
                    let mut back = Vec::new();
                    while let Some(chunk) = soon(stream.recv()).await.expect("served") {
                        back.extend_from_slice(&chunk);
                    }
                    assert_eq!(back, number, "the connection was lost");
                    sleep(Duration::from_micros(random.below(50))).await;
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let (mut random, mut accepted, mut given_up) = (Random::new(3), 0, 0);
        while !clients.iter().all(JoinHandle::is_finished) {
            let limit = Duration::from_micros(random.below(100));
            let Ok(next) = timeout(limit, listener.accept()).await else {
                given_up += 1;
                continue;
            };
            accepted += 1;
            let (mut stream, _) = next.expect("accepted");
            drop(spawn(async move {
                let mut number = Vec::with_capacity(8);
                while number.len() < 8 {
                    let read;
                    (read, number) = stream.read(number).await;
                    assert_ne!(read?, 0);
                }
                stream.write_all(number).await.0?;
                stream.close().await
            }));
        }
        for client in clients {
            client.await.expect("each was served");
        }
        assert_eq!(accepted, CLIENTS * VISITS);
        assert!(given_up > 0);
        listener.close().await.expect("closed");
    });
}

/// However reads are given up, and wherever the core takes its memory from: every byte comes once, in order.
#[test]
fn reads_that_are_given_up_lose_no_byte_wherever_it_lies() {
    const NUMBERS: u32 = 1000;
    for builder in [Builder::new().buffers(0, 0), Builder::new().buffers(2, 64), Builder::new()] {
        clean_on(builder, async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let mut client = visit(listener.local_addr().expect("an address")).await;
            let (server, _) = soon(listener.accept()).await.expect("a connection");
            let (mut reader, _writer) = server.into_split();
            let sender = spawn(async move {
                let mut random = Random::new(5);
                for number in 0..NUMBERS {
                    client.write_all(number.to_le_bytes()).await.expect("open");
                    if random.below(2) == 0 {
                        sleep(Duration::from_micros(random.below(60))).await;
                    }
                }
            });
            let (mut random, mut all, mut given_up) = (Random::new(6), Vec::new(), 0);
            loop {
                let limit = Duration::from_micros(random.below(50));
                let got = match random.below(4) {
                    0 => {
                        let mut read = reader.read(Vec::with_capacity(7));
                        match poll_fn(|cx| Poll::Ready(Pin::new(&mut read).poll(cx))).await {
                            Poll::Ready((_, bytes)) => Some(bytes),
                            Poll::Pending => None,
                        }
                    }
                    1 => match timeout(limit, reader.recv()).await {
                        Ok(chunk) => Some(chunk.expect("received").map_or(Vec::new(), |chunk| chunk.to_vec())),
                        Err(_) => None,
                    },
                    2 => match reader.read(Vec::with_capacity(5)).deadline(limit).await {
                        (Ok(_), bytes) => Some(bytes),
                        (Err(error), bytes) => {
                            assert_eq!((error.kind(), bytes.len()), (ErrorKind::TimedOut, 0));
                            None
                        }
                    },
                    _ => {
                        let (count, bytes) = soon(reader.read(Vec::with_capacity(3))).await;
                        assert_eq!(count.expect("received"), bytes.len());
                        Some(bytes)
                    }
                };
                match got {
                    None => given_up += 1,
                    Some(bytes) if bytes.is_empty() => break,
                    Some(bytes) => all.extend_from_slice(&bytes),
                }
            }
            sender.await.expect("no panic");
            let expected: Vec<u8> = (0..NUMBERS).flat_map(u32::to_le_bytes).collect();
            assert!(all == expected, "{} bytes of {}, or not in order", all.len(), expected.len());
            assert!(given_up > 30, "{given_up}");
            listener.close().await.expect("closed");
        });
    }
}
