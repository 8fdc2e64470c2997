//! Cancels: against completions, in a full queue, twice and too late, and around accepts and multishots.

use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use corering::Builder;
use corering::buf::IoBuf;
use corering::net::TcpListener;
use corering::op::{Descriptor, Op, Receive, SendAll};
use corering::time::timeout;

use crate::life::{pair, poll_once, turn};
use crate::tracked::{Alive, Tracked};
use crate::{clean, clean_on, idle, soon};

/// Numbers that are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// What lies in the socket now.
fn lies_in(socket: &Descriptor) -> Vec<u8> {
    let mut room = [std::mem::MaybeUninit::<u8>::uninit(); 16];
    match socket2::SockRef::from(&socket.as_fd()).recv_with_flags(&mut room, libc::MSG_DONTWAIT) {
        // SAFETY: the kernel has written so many bytes.
        Ok(count) => room[..count].iter().map(|byte| unsafe { byte.assume_init() }).collect(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_memory_of_a_dropped_operation_lives_until_the_kernel_has_let_go() {
    clean(async || {
        let alive = Alive::default();
        let (socket, mut peer) = pair();
        for in_the_kernel in [false, true] {
            let mut receive = Op::new(Receive::new(&socket, alive.buffer()));
            assert!(!poll_once(&mut receive).await);
            if in_the_kernel {
                turn().await;
            }
            drop(receive);
            // Nothing has been fetched from the kernel since.
            let metrics = corering::metrics().expect("a core");
            assert_eq!((alive.count(), metrics.operations, metrics.operations_in_flight), (1, 1, 1));
            idle().await;
            assert_eq!(alive.count(), 0);
        }
        // The socket is as it was.
        peer.write_all(b"x").expect("open");
        let (result, buffer) = soon(Op::new(Receive::new(&socket, alive.buffer()))).await;
        assert_eq!((result.expect("received"), buffer.as_slice()[0]), (1, b'x'));
    });
}

#[test]
fn a_descriptor_stays_open_until_the_last_dropped_operation_on_it_has_ended() {
    clean(async || {
        let (socket, mut peer) = pair();
        socket2::SockRef::from(&socket.as_fd()).set_send_buffer_size(2048).expect("set");
        let mut send = Op::new(SendAll::new(&socket, vec![7; 300_000]));
        assert!(!poll_once(&mut send).await);
        turn().await;
        drop((send, socket));
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            peer.read_to_end(&mut all).map(|_| all)
        });
        soon(async {
            while !reader.is_finished() {
                turn().await;
            }
        })
        .await;
        let all = reader.join().expect("no panic").expect("closed in the end");
        assert!(all == vec![7; 300_000], "{} bytes of 300,000 before it was closed", all.len());
    });
}

/// The other thread writes each number that it is told, at once, and says so.
fn writer(mut peer: UnixStream) -> (mpsc::Sender<u8>, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel::<u8>();
    let (say, said) = mpsc::channel();
    std::thread::spawn(move || {
        for byte in told {
            if peer.write_all(&[byte]).is_err() || say.send(()).is_err() {
                return;
            }
        }
    });
    (tell, said)
}

/// Cancels around the moment of completion, as often as fits: the wait before the cancel is made longer after each
/// that was too early and shorter after each that was too late.
#[test]
fn a_cancel_that_races_with_a_completion_has_one_outcome_and_gives_the_buffer_back_once() {
    clean(async || {
        let alive = Alive::default();
        let (socket, peer) = pair();
        let (tell, said) = writer(peer);
        let (give, given) = mpsc::channel();
        let dropper = std::thread::spawn(move || given.into_iter().for_each(drop::<Op<Receive<_>>>));
        let (mut random, mut wait_ns) = (Random::new(1), [20_000_u64; 4]);
        let (mut completed, mut cancelled) = ([0; 4], [0; 4]);
        let began = Instant::now();
        for round in 0.. {
            if began.elapsed() > Duration::from_millis(1500) {
                break;
            }
            let (byte, way) = (round as u8, round % 4);
            let buffer = alive.buffer();
            let address = buffer.address();
            let mut receive = Op::new(Receive::new(&socket, buffer));
            assert!(!poll_once(&mut receive).await);
            if random.below(4) > 0 {
                turn().await;
            }
            tell.send(byte).expect("it listens");
            let wait = Duration::from_nanos(wait_ns[way] + random.below(4000));
            let output = match way {
                0 => {
                    spin(wait);
                    Some(soon(receive.cancel()).await)
                }
                1 => Some(soon(receive.deadline(wait)).await),
                2 => {
                    spin(wait);
                    drop(receive);
                    None
                }
                _ => {
                    spin(wait);
                    give.send(receive).expect("it listens");
                    None
                }
            };
            said.recv().expect("it writes");
            let mut got = Vec::new();
            if let Some((result, buffer)) = output {
                assert_eq!((buffer.address(), alive.count()), (address, 1), "another buffer than was given");
                match result {
                    Ok(count) => got.extend_from_slice(&buffer.as_slice()[..count]),
                    Err(error) if way == 0 => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
            } else {
                // Dropped on another thread, it is given up in a turn after that.
                let given_up = Instant::now();
                while alive.count() > 0 {
                    assert!(given_up.elapsed().as_secs() < 10, "the buffer was never dropped");
                    turn().await;
                }
            }
            let by_receive = !got.is_empty();
            got.extend(lies_in(&socket));
            if way < 2 {
                assert_eq!(got, [byte], "the byte came once, in the buffer or from the socket");
            } else {
                // What a plain receive got after it was dropped goes with its buffer.
                assert!(got.is_empty() || got == [byte], "{got:?}");
            }
            if by_receive || got.is_empty() {
                completed[way] += 1;
                wait_ns[way] = wait_ns[way].saturating_sub(1500);
            } else {
                cancelled[way] += 1;
                wait_ns[way] = (wait_ns[way] + 1500).min(5_000_000);
            }
            assert_eq!(alive.count(), 0);
            assert_eq!(corering::metrics().expect("a core").operations, 0);
        }
        drop(give);
        dropper.join().expect("no panic");
        assert!(completed.iter().chain(&cancelled).all(|count| *count > 0), "{completed:?} against {cancelled:?}");
    });
}

#[test]
fn cancels_that_find_the_queue_full_arrive() {
    const WAITING: usize = 40;
    clean_on(Builder::new().entries(8).cq_entries(8), async || {
        let alive = Alive::default();
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let (socket, peer) = pair();
            let mut receive = Op::new(Receive::new(&socket, alive.buffer()));
            assert!(!poll_once(&mut receive).await);
            waiting.push((receive, peer));
        }
        turn().await;
        // In one poll: new operations and cancels in turn, five times as many as there is room for.
        let mut cancels = Vec::new();
        let mut peers = Vec::new();
        for (number, (receive, peer)) in waiting.into_iter().enumerate() {
            let (socket, filler) = pair();
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
            let mut got = [0; 1];
            filler.read_exact(&mut got).expect("what was submitted in between has happened");
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
        let (socket, mut peer) = pair();
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
        assert_eq!((alive.count(), corering::metrics().expect("a core").timers), (0, 0));

        // What is done is done.
        let receive = begin().await;
        peer.write_all(b"x").expect("open");
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
        peer.write_all(b"y").expect("open");
        let (result, buffer) = soon(receive).await;
        assert_eq!((result.expect("received"), buffer.as_slice()[0]), (1, b'y'));
    });
}

/// Clients come while the server gives its accept up again and again: each of them is served.
#[test]
fn a_loop_of_accepts_that_time_out_serves_every_client() {
    const CLIENTS: usize = 3;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (served, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let (served, gone, stop) = (served.clone(), gone.clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut random = Random::new(seed as u64 + 7);
                    let mut visit = || -> std::io::Result<()> {
                        let mut stream = std::net::TcpStream::connect(address)?;
                        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                        let number = random.below(u64::MAX).to_le_bytes();
                        stream.write_all(&number)?;
                        let mut back = Vec::new();
                        stream.read_to_end(&mut back)?;
                        assert_eq!(back, number, "the connection was lost");
                        Ok(())
                    };
                    let mut result = Ok(());
                    while result.is_ok() && !stop.load(Ordering::SeqCst) && served.load(Ordering::SeqCst) < 4000 {
                        result = visit();
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    gone.fetch_add(1, Ordering::SeqCst);
                    result.expect("served");
                })
            })
            .collect();
        let (mut random, began) = (Random::new(3), Instant::now());
        let (mut accepted, mut given_up) = (0, 0);
        while gone.load(Ordering::SeqCst) < CLIENTS {
            stop.store(began.elapsed() > Duration::from_millis(1500), Ordering::SeqCst);
            let limit = Duration::from_micros(random.below(100));
            match timeout(limit, listener.accept()).await {
                Err(_) => given_up += 1,
                Ok(next) => {
                    accepted += 1;
                    let (mut stream, _) = next.expect("accepted");
                    corering::spawn(async move {
                        let (count, bytes) = stream.read(Vec::with_capacity(8)).await;
                        assert_eq!(count?, 8);
                        stream.write_all(bytes).await.0?;
                        stream.close().await
                    });
                }
            }
        }
        for client in clients {
            client.join().expect("each was served");
        }
        assert_eq!(accepted, served.load(Ordering::SeqCst));
        assert!(accepted > 0 && given_up > 0, "{accepted} accepted, {given_up} given up");
        listener.close().await.expect("closed");
    });
}

/// However reads are given up, and wherever the core takes its memory from: every byte comes once, in order.
#[test]
fn reads_that_are_given_up_lose_no_byte_whatever_memory_they_use() {
    const NUMBERS: u32 = 3000;
    for builder in [Builder::new().buffers(0, 0), Builder::new().buffers(2, 64), Builder::new()] {
        clean_on(builder, async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let mut client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("there");
            let (server, _) = soon(listener.accept()).await.expect("a connection");
            let (mut reader, _writer) = server.into_split();
            let sender = std::thread::spawn(move || {
                let mut random = Random::new(5);
                for number in 0..NUMBERS {
                    client.write_all(&number.to_le_bytes()).expect("open");
                    spin(Duration::from_micros(random.below(60)));
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
            sender.join().expect("no panic");
            let expected: Vec<u8> = (0..NUMBERS).flat_map(u32::to_le_bytes).collect();
            assert!(all == expected, "{} bytes of {}, or not in order", all.len(), expected.len());
            assert!(given_up > 100);
            listener.close().await.expect("closed");
        });
    }
}
