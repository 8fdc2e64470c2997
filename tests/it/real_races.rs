//! Races with other threads: cancels against completions, reads that are given up, completions that overflow.

use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use corering::Builder;
use corering::buf::IoBuf;
use corering::net::{TcpListener, TcpStream};
use corering::op::{Descriptor, Op, Receive};
use corering::time::timeout;

use crate::faults::nop;
use crate::tracked::Alive;
use crate::{Random, clean, clean_on, metrics, poll_once, sockets, soon, turn};

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
        let (socket, peer) = sockets();
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
            assert_eq!(metrics().operations, 0);
        }
        drop(give);
        dropper.join().expect("no panic");
        assert!(completed.iter().chain(&cancelled).all(|count| *count > 0), "{completed:?} against {cancelled:?}");
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

/// Multishots end when completions overflow: they are armed again, and nothing of theirs is lost.
#[test]
fn completions_that_overflow_lose_no_connection_and_no_byte() {
    const CLIENTS: usize = 40;
    const MESSAGES: u32 = 30;
    clean_on(Builder::new().entries(8).cq_entries(16), async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        // Completions that nobody needs, in bursts.
        let noise = corering::spawn(async {
            loop {
                let nops: Vec<_> = (0..100).map(|_| corering::spawn(nop(false))).collect();
                for nop in nops {
                    assert_eq!(nop.await.expect("no panic").expect("done"), 0);
                }
            }
        });
        let clients = std::thread::spawn(move || {
            let mut streams: Vec<_> =
                (0..CLIENTS).map(|_| std::net::TcpStream::connect(address).expect("there")).collect();
            for number in 0..MESSAGES {
                for stream in &mut streams {
                    std::io::Write::write_all(stream, &number.to_le_bytes()).expect("sent");
                }
            }
        });
        let mut servers = Vec::new();
        for _ in 0..CLIENTS {
            let (mut stream, _): (TcpStream, _) = soon(listener.accept()).await.expect("a connection");
            servers.push(corering::spawn(async move {
                let mut bytes = Vec::new();
                while let Some(chunk) = stream.recv().await? {
                    bytes.extend_from_slice(&chunk);
                }
                std::io::Result::Ok(bytes)
            }));
        }
        let expected: Vec<u8> = (0..MESSAGES).flat_map(u32::to_le_bytes).collect();
        for server in servers {
            assert_eq!(soon(server).await.expect("no panic").expect("received"), expected);
        }
        clients.join().expect("no panic");
        noise.abort();
        assert!(noise.await.expect_err("aborted").is_cancelled());
        let metrics = metrics();
        assert!(metrics.overflows > 0, "it never overflowed: {metrics:?}");
        listener.close().await.expect("closed");
    });
}

#[test]
fn tasks_that_end_while_others_drop_their_wakers_are_freed() {
    // Storms of the race that the model checks; what is not freed shows in a run with a leak detector.
    clean(async || {
        let freed = Arc::new(AtomicUsize::new(0));
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (send, receive) = std::sync::mpsc::channel::<std::task::Waker>();
        let dropper = std::thread::spawn(move || receive.into_iter().for_each(drop));
        for _ in 0..2000 {
            let counted = Counted(freed.clone());
            let send = send.clone();
            let mut polled = false;
            let task = corering::spawn(std::future::poll_fn(move |cx| {
                let _ = &counted;
                if std::mem::replace(&mut polled, true) {
                    return std::task::Poll::Ready(());
                }
                send.send(cx.waker().clone()).expect("the other thread listens");
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }));
            task.await.expect("no panic");
        }
        drop(send);
        dropper.join().expect("no panic");
        assert_eq!(freed.load(Ordering::Relaxed), 2000);
    });
}
