//! Operations that are cancelled before, while and after they happen.

use std::future::poll_fn;
use std::time::Duration;

use corering::buf::IoBuf as _;
use corering::fs::File;
use corering::io;
use corering::net::{TcpListener, TcpStream};
use corering::op::socket2::{Domain, Type};
use corering::op::{AcceptMulti, Descriptor, Multishot, Op, Receive, ReceiveMulti, SendAll};
use corering::sim::{Kernel, World};

use super::{a_moment, below, leaves_nothing, pattern, poll_once, seeds, socket_and_peer, tiny, wild};
use crate::lent::Buffers;

/// What an operation that was cancelled may have come to: its count, or nothing.
#[track_caller]
fn count_or_cancelled(result: io::Result<usize>) -> Option<usize> {
    match result {
        Ok(count) => Some(count),
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}");
            None
        }
    }
}

// R66
#[test]
fn storms_of_cancelled_reads_leave_every_buffer_whole() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild().short_files(0.0)).run_on(tiny(), async |world| {
            let (host, buffers) = (world.host("main"), Buffers::default());
            host.write_file("/file", &pattern(0, 4_000)).unwrap();
            let file = File::open("/file").await.unwrap();
            let (mut done, mut cancelled) = (0, 0);
            for _ in 0..5 {
                host.drop_caches();
                let reads = (0..20).map(|_| {
                    let (at, buffer) = (below(3_900), buffers.empty(100));
                    let (address, mut read) = (buffer.address(), file.read_at(buffer, at));
                    async move {
                        if !poll_once(&mut read).await && below(2) == 0 {
                            a_moment(100).await;
                        }
                        if !read.is_submitted() {
                            return None;
                        }
                        let (result, buffer) = read.cancel().await;
                        assert_eq!(buffer.address(), address, "another buffer came back");
                        let count = count_or_cancelled(result);
                        assert_eq!(buffer.as_slice(), pattern(at as usize, count.unwrap_or(0)));
                        Some(count.is_some())
                    }
                });
                for outcome in corering::gather_settled(reads).await.into_iter().flatten() {
                    if outcome { done += 1 } else { cancelled += 1 }
                }
            }
            assert!(done + cancelled <= 100);
            file.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

// R72, R73
#[test]
fn a_cancel_that_races_with_data_has_one_outcome_and_loses_no_byte() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            const BYTES: usize = 600;
            let (host, buffers) = (world.host("main"), Buffers::default());
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let sending = corering::spawn(async move {
                let mut sent = 0;
                while sent < BYTES {
                    a_moment(60).await;
                    let len = (1 + below(30) as usize).min(BYTES - sent);
                    peer.write_all(pattern(sent, len)).await.0?;
                    sent += len;
                }
                peer.close().await
            });
            let mut received = 0;
            loop {
                let buffer = buffers.empty(40);
                let address = buffer.address();
                let mut receive = Op::new(Receive::new(&socket, buffer));
                let (result, buffer) = match below(3) {
                    0 => receive.await,
                    1 => receive.deadline(Duration::from_micros(below(60))).await,
                    _ => {
                        // It is not fetched if it ends meanwhile: a cancel comes too late then.
                        poll_submit(&mut receive).await;
                        a_moment(60).await;
                        receive.cancel().await
                    }
                };
                assert_eq!(buffer.address(), address, "another buffer came back");
                let result = match result {
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
                    result => count_or_cancelled(result),
                };
                let count = result.unwrap_or(0);
                assert_eq!(buffer.as_slice(), pattern(received, count), "from {received} on");
                received += count;
                if result == Some(0) {
                    break;
                }
            }
            assert_eq!(received, BYTES);
            sending.await.unwrap().unwrap();
            socket.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

/// Submits it, if it does not end at once.
async fn poll_submit<O: corering::op::Operation>(op: &mut Op<O>) {
    assert!(!poll_once(op).await, "a receive never ends in its first poll");
}

// R74
#[test]
fn a_receive_of_all_that_is_cancelled_keeps_the_part_that_has_come() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            let (host, buffers) = (world.host("main"), Buffers::default());
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let mut receive = Op::new(Receive::all(&socket, buffers.empty(100)));
            poll_submit(&mut receive).await;
            let part = 1 + below(99) as usize;
            peer.write_all(pattern(0, part)).await.0.unwrap();
            if below(2) == 0 {
                a_moment(100).await;
            } else {
                corering::sleep(Duration::from_millis(20)).await;
                assert!(!poll_once(&mut receive).await, "it has ended with {part} of 100");
            }
            let (result, buffer) = receive.cancel().await;
            let count = count_or_cancelled(result).unwrap_or(0);
            assert_eq!(buffer.as_slice(), pattern(0, count));
            drop(buffer);
            // The rest is still there.
            peer.close().await.unwrap();
            let (rest, buffer) = Op::new(Receive::all(&socket, buffers.empty(100))).await;
            assert_eq!(rest.unwrap(), part - count);
            assert_eq!(buffer.as_slice(), pattern(count, part - count));
            drop(buffer);
            socket.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

// R75
#[test]
fn a_cancel_that_finds_the_queue_full_arrives_all_the_same() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild().refused(0.6)).run_on(tiny(), async |world| {
            let (host, buffers) = (world.host("main"), Buffers::default());
            let (socket, peer) = socket_and_peer(&host).await.unwrap();
            // Nothing ever comes, so each of them ends only if its cancel arrives.
            let mut receives: Vec<_> = (0..30).map(|_| Op::new(Receive::new(&socket, buffers.empty(10)))).collect();
            for receive in &mut receives {
                poll_submit(receive).await;
            }
            a_moment(50).await;
            let mut cancelled = Vec::new();
            for receive in receives {
                if below(3) == 0 {
                    drop(receive);
                } else {
                    cancelled.push(receive.cancel());
                }
            }
            for result in corering::gather_settled(cancelled).await {
                assert_eq!(count_or_cancelled(result.0), None);
            }
            socket.close().await.unwrap();
            peer.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

// R76
#[test]
fn what_is_cancelled_twice_or_when_it_is_over_ends_once() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            let (host, buffers) = (world.host("main"), Buffers::default());
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            for _ in 0..10 {
                let mut receive = Op::new(Receive::new(&socket, buffers.empty(8)));
                poll_submit(&mut receive).await;
                let sent = if below(2) == 0 { 8 } else { 0 };
                if sent > 0 {
                    peer.write_all([7; 8]).await.0.unwrap();
                }
                a_moment(50).await;
                for _ in 0..below(3) {
                    socket.cancel_all();
                    a_moment(20).await;
                }
                let cancel = receive.cancel();
                if below(2) == 0 {
                    socket.cancel_all();
                }
                let (result, buffer) = cancel.await;
                let mut came = count_or_cancelled(result).unwrap_or(0);
                assert_eq!(buffer.as_slice(), vec![7; came]);
                // What was not received is still there.
                while came < sent {
                    came += Op::new(Receive::new(&socket, buffers.empty(8))).await.0.unwrap();
                }
                assert_eq!(came, sent);
            }
            let mut receive = Op::new(Receive::new(&socket, buffers.empty(8)));
            poll_submit(&mut receive).await;
            let mut cancel = receive.cancel();
            if !poll_once(&mut cancel).await {
                // Asked for once more by its drop.
                socket.cancel_all();
                drop(cancel);
                socket.cancel_all();
            }
            peer.close().await.unwrap();
            socket.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

// R78
#[test]
fn a_multishot_receive_that_is_cancelled_delivers_what_had_come_before_and_goes_on() {
    seeds(1_000, |seed| {
        let kernel = Kernel::new().deferred(0.5).interrupted(0.3).short_transfers(0.5);
        World::new(seed).kernel(kernel).run_on(tiny().buffers(16, 64), async |world| {
            const BYTES: usize = 1_500;
            let host = world.host("main");
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let sending = corering::spawn(async move {
                let mut sent = 0;
                while sent < BYTES {
                    let len = (1 + below(60) as usize).min(BYTES - sent);
                    peer.write_all(pattern(sent, len)).await.0?;
                    sent += len;
                    a_moment(30).await;
                }
                peer.close().await
            });
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 64).expect("a pool"));
            let mut received = 0;
            loop {
                if below(5) == 0 {
                    socket.cancel_all();
                }
                a_moment(40).await;
                match poll_fn(|cx| items.poll_next(cx)).await {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => {
                        assert_eq!(chunk[..], pattern(received, chunk.len()), "from {received} on");
                        received += chunk.len();
                    }
                    Err(error) => {
                        assert!(matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::ENOBUFS)), "{error}");
                    }
                }
            }
            assert_eq!(received, BYTES);
            sending.await.unwrap().unwrap();
            items.close().await;
            socket.close().await.unwrap();
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R78
#[test]
fn what_a_multishot_had_when_it_was_closed_or_dropped_is_given_up_and_the_rest_stays() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny().buffers(32, 64), async |world| {
            const VISITORS: usize = 6;
            let host = world.host("main");
            let listener = Descriptor::socket(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&host.addr(7).into()).unwrap();
            listener.listen(64).unwrap();
            let mut accepts = Multishot::new(AcceptMulti::new(&listener));
            assert!(!poll_once(&mut poll_fn(|cx| accepts.poll_next(cx))).await);
            let mut visitors = Vec::new();
            for _ in 0..VISITORS {
                visitors.push(TcpStream::connect(host.addr(7)).await.unwrap());
                a_moment(20).await;
            }
            let fetched = if below(2) == 0 { poll_fn(|cx| accepts.poll_next(cx)).await.ok() } else { None };
            if below(2) == 0 {
                accepts.close().await;
            } else {
                drop(accepts);
            }
            a_moment(200).await;
            // The others are for whoever accepts next, or closed.
            let mut rest = Multishot::new(AcceptMulti::new(&listener));
            let last = TcpStream::connect(host.addr(7)).await.unwrap();
            let mut waited = 0;
            loop {
                let next = poll_fn(|cx| rest.poll_next(cx)).await.unwrap();
                match next.peer_addr() {
                    Ok(from) if from.as_socket() == Some(last.local_addr().unwrap()) => break,
                    Ok(_) => waited += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(waited + usize::from(fetched.is_some()) <= VISITORS);
            drop(fetched);
            for mut visitor in visitors {
                assert!(matches!(visitor.recv().await, Ok(None) | Err(_)));
            }
            rest.close().await;
            drop(last);
            listener.close().await.unwrap();
            // All buffers of the pool are there, too.
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let mut receives: Vec<_> =
                (0..32).map(|_| Op::new(corering::op::ReceivePooled::new(&socket, 1).expect("a pool"))).collect();
            for receive in &mut receives {
                assert!(!poll_once(receive).await);
            }
            peer.write_all([1; 32 * 64]).await.0.unwrap();
            peer.close().await.unwrap();
            for receive in receives {
                receive.await.expect("a buffer was lost");
            }
            socket.close().await.unwrap();
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R124
#[test]
fn a_send_of_all_that_is_cancelled_has_sent_what_it_says() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run(async |world| {
            let (host, buffers) = (world.host("main"), Buffers::default());
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let len = 200_000 + below(600_000) as usize;
            let mut send = Op::new(SendAll::new(&socket, buffers.of(pattern(0, len))));
            let ended = poll_once(&mut send).await;
            assert!(!ended, "a send never ends in its first poll");
            let reads = below(2) == 0;
            let mut received = 0;
            while reads && received < below(300_000) as usize {
                received += peer.recv().await.unwrap().map_or(0, |chunk| chunk.len());
            }
            a_moment(100).await;
            let (result, buffer) = send.cancel().await;
            let whole = match result {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}");
                    false
                }
            };
            drop(buffer);
            socket.close().await.unwrap();
            while let Some(chunk) = peer.recv().await.unwrap() {
                assert_eq!(chunk[..], pattern(received, chunk.len()), "from {received} on");
                received += chunk.len();
            }
            assert!(received <= len);
            assert!(!whole || received == len, "{received} of {len} arrived, and it said that all were sent");
            peer.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

// R76
#[test]
fn a_listener_whose_operations_are_all_cancelled_can_be_used_again() {
    seeds(500, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            let host = world.host("main");
            let listener = TcpListener::bind(host.addr(7)).await.unwrap();
            for _ in 0..10 {
                let limit = Duration::from_micros(below(100));
                drop(corering::timeout(limit, listener.accept()).await);
                let mut stream = TcpStream::connect(host.addr(7)).await.unwrap();
                let (accepted, from) = listener.accept().await.unwrap();
                assert_eq!(from, stream.local_addr().unwrap());
                drop(accepted);
                assert!(matches!(stream.recv().await, Ok(None) | Err(_)));
            }
            listener.close().await.unwrap();
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}
