//! Calls into the kernel that fail, queues that are too short, bursts, and completions that belong to nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::buf::IoBuf as _;
use corering::fs::{self, File};
use corering::net::TcpListener;
use corering::op::{DirectSlot, Multishot, Op, ReadDirect, Readiness, ReceiveMulti};
use corering::sim::{Call, Host, Kernel, World};
use corering::time::Instant;
use corering::{TaskGroup, io};

use super::{a_moment, below, connect, leaves_nothing, pattern, seeds, socket_and_peer, tiny, wild};
use crate::lent::Buffers;

const PORT: u16 = 7;

/// Sends back what comes, from each of so many who connect.
async fn echo(host: Host, connections: u64) -> io::Result<()> {
    let listener = TcpListener::bind(host.addr(PORT)).await?;
    let mut served = Vec::new();
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().await?;
        served.push(corering::spawn(async move {
            while let Some(chunk) = stream.recv().await? {
                stream.write_all(chunk).await.0?;
            }
            stream.close().await
        }));
    }
    for one in served {
        one.await.expect("no panic")?;
    }
    listener.close().await?;
    leaves_nothing(&host, &Buffers::default()).await;
    Ok(())
}

/// Sends a stream of so many bytes, and checks that the same comes back.
async fn send_and_compare(server: Host, bytes: usize, buffers: Buffers) -> io::Result<()> {
    let (mut read, mut write) = connect(&server, PORT).await.into_split();
    let sending = buffers.clone();
    let sender = corering::spawn(async move {
        let mut sent = 0;
        while sent < bytes {
            let len = (1 + below(700) as usize).min(bytes - sent);
            write.write_all(sending.of(pattern(sent, len))).await.0?;
            sent += len;
        }
        write.shutdown().await
    });
    let mut received = 0;
    loop {
        let (count, buffer) = read.read(buffers.empty(1 + below(600) as usize)).await;
        let count = count?;
        assert_eq!(buffer.as_slice(), pattern(received, count), "from {received} on");
        received += count;
        if count == 0 {
            break;
        }
    }
    assert_eq!(received, bytes);
    sender.await.expect("no panic")
}

/// Two clients and a server, all of whose cores are tiny.
fn echo_in(kernel: Kernel, seed: u64) {
    World::new(seed).kernel(kernel).run_on(tiny(), async |world| {
        let server = world.host("server");
        server.builder(tiny());
        let serving = server.run(echo(server.clone(), 2));
        let buffers = Buffers::default();
        for _ in 0..2 {
            corering::spawn(send_and_compare(server.clone(), 2_000, buffers.clone())).await.unwrap().unwrap();
        }
        serving.await.unwrap().unwrap();
        leaves_nothing(&world.host("main"), &buffers).await;
    });
}

// R14, R18
#[test]
fn calls_that_are_interrupted_lose_nothing() {
    seeds(1_000, |seed| echo_in(Kernel::new().interrupted(0.5), seed));
}

// R15, R16
#[test]
fn calls_that_are_refused_lose_nothing() {
    seeds(1_000, |seed| echo_in(Kernel::new().refused(0.5), seed));
}

// R60, R22
#[test]
fn streams_are_whole_whatever_a_kernel_may_do() {
    seeds(1_000, |seed| echo_in(wild().short_transfers(1.0), seed));
}

// R60
#[test]
fn files_are_whole_however_short_each_write_and_read_is() {
    seeds(1_000, |seed| {
        World::new(seed)
            .kernel(wild().short_files(1.0))
            .run_on(tiny(), async |world| {
                let (host, buffers) = (world.host("main"), Buffers::default());
                let len = 1 + below(3_000) as usize;
                let file = File::options().read(true).write(true).create(true).open("/file").await?;
                file.write_all_at(buffers.of(pattern(0, len)), 0).await.0?;
                assert_eq!(host.file("/file"), Some(pattern(0, len)));
                host.drop_caches();
                let mut got = Vec::new();
                loop {
                    let (count, buffer) = file.read_at(buffers.empty(500), got.len() as u64).await;
                    got.extend_from_slice(buffer.as_slice());
                    if count? == 0 {
                        break;
                    }
                }
                assert_eq!(got, pattern(0, len));
                host.drop_caches();
                assert_eq!(fs::read("/file").await?, pattern(0, len));
                fs::write("/other", pattern(5, len)).await?;
                assert_eq!(host.file("/other"), Some(pattern(5, len)));
                file.close().await?;
                leaves_nothing(&host, &buffers).await;
                io::Result::Ok(())
            })
            .unwrap();
    });
}

// R17
#[test]
fn no_timer_is_early_however_often_the_wait_is_interrupted() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run(async |world| {
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    corering::spawn(async {
                        for _ in 0..5 {
                            let (began, wanted) = (Instant::now(), Duration::from_nanos(below(3_000_000)));
                            match below(2) {
                                0 => corering::sleep(wanted).await,
                                _ => drop(corering::timeout(wanted, std::future::pending::<()>()).await),
                            }
                            let took = began.elapsed();
                            assert!(took >= wanted, "{took:?} instead of {wanted:?}");
                            assert!(took < wanted + Duration::from_millis(5), "{took:?} instead of {wanted:?}");
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            leaves_nothing(&world.host("main"), &Buffers::default()).await;
        });
    });
}

/// Begins so many reads of a file in one poll, each of its own bytes.
async fn many_reads(count: usize) -> io::Result<Buffers> {
    let buffers = Buffers::default();
    let file = File::open("/file").await?;
    let reads = (0..count).map(|at| {
        let read = file.read_at(buffers.empty(10), at as u64 * 10);
        async move {
            let (got, buffer) = read.await;
            assert_eq!(got?, 10, "read {at}");
            assert_eq!(buffer.as_slice(), pattern(at * 10, 10), "read {at}");
            io::Result::Ok(())
        }
    });
    for read in corering::gather_settled(reads).await {
        read?;
    }
    file.close().await?;
    Ok(buffers)
}

// R20, R21
#[test]
fn far_more_operations_than_both_queues_hold_all_end_with_their_own_result() {
    let overflows = RefCell::new(0);
    seeds(300, |seed| {
        World::new(seed).kernel(Kernel::new().not_cached(0.9).refused(0.2)).run_on(tiny(), async |world| {
            let host = world.host("main");
            host.write_file("/file", &pattern(0, 5_000)).unwrap();
            let buffers = many_reads(500).await.unwrap();
            leaves_nothing(&host, &buffers).await;
            *overflows.borrow_mut() += corering::metrics().unwrap().overflows;
        });
    });
    assert!(overflows.into_inner() > 0, "the completion queue was never too short");
}

// R22
#[test]
fn multishots_that_end_by_themselves_or_overflow_go_on_without_loss() {
    seeds(1_000, |seed| {
        let kernel = Kernel::new().multishots_ended(0.5).short_transfers(0.8).interrupted(0.2);
        World::new(seed).kernel(kernel).run_on(tiny().buffers(16, 64), async |world| {
            let host = world.host("main");
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let sender = corering::spawn(async move {
                peer.write_all(pattern(0, 4_000)).await.0?;
                peer.close().await
            });
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 64).expect("a pool"));
            let mut received = 0;
            loop {
                if below(3) == 0 {
                    a_moment(200).await;
                }
                match poll_fn(|cx| items.poll_next(cx)).await {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => {
                        assert_eq!(chunk[..], pattern(received, chunk.len()), "from {received} on");
                        received += chunk.len();
                    }
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS)),
                }
            }
            assert_eq!(received, 4_000);
            sender.await.unwrap().unwrap();
            items.close().await;
            socket.close().await.unwrap();
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R22
#[test]
fn a_crowd_that_connects_at_once_is_accepted_by_tiny_queues() {
    seeds(500, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            const CROWD: usize = 40;
            let host = world.host("main");
            let listener = TcpListener::bind(host.addr(PORT)).await.unwrap();
            let crowd = world.host("crowd");
            let visitors: Vec<_> = (0..CROWD)
                .map(|number| {
                    let address = host.addr(PORT);
                    crowd.run(async move {
                        let mut stream = corering::net::TcpStream::connect(address).await?;
                        stream.write_all(vec![number as u8]).await.0?;
                        // Closed by the other side, once it has read.
                        assert!(stream.recv().await?.is_none());
                        stream.close().await
                    })
                })
                .collect();
            let mut came = Vec::new();
            for _ in 0..CROWD {
                let (mut stream, _) = listener.accept().await.unwrap();
                let chunk = stream.recv().await.unwrap().expect("not the end");
                came.push(usize::from(chunk[0]));
                stream.close().await.unwrap();
            }
            came.sort_unstable();
            assert!(came.into_iter().eq(0..CROWD), "somebody came twice");
            for visitor in visitors {
                visitor.await.unwrap().unwrap();
            }
            listener.close().await.unwrap();
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R23
#[test]
fn one_operation_that_is_wrong_fails_alone_among_many() {
    seeds(300, |seed| {
        World::new(seed).kernel(wild().short_files(0.0)).run_on(tiny(), async |world| {
            let host = world.host("main");
            host.write_file("/file", &pattern(0, 640)).unwrap();
            let wrong = async {
                a_moment(5).await;
                // Nothing is open there.
                let slot = DirectSlot::take().expect("a place");
                Op::new(ReadDirect::new(&slot, vec![0; 8], 0)).await.0
            };
            let (right, wrong) = corering::join!(many_reads(64), wrong);
            assert_eq!(wrong.unwrap_err().raw_os_error(), Some(libc::EBADF));
            leaves_nothing(&host, &right.unwrap()).await;
        });
    });
}

// R25
#[test]
fn a_burst_is_fetched_by_few_calls() {
    const BURST: u64 = 500;
    let world = World::in_order();
    world.run(async |world| {
        let host = world.host("main");
        let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
        let waits: Vec<_> = (0..BURST)
            .map(|_| {
                let ready = Op::new(Readiness::of(&socket, libc::POLLIN));
                corering::spawn(ready)
            })
            .collect();
        corering::sleep(Duration::from_millis(1)).await;
        peer.write_all(vec![1]).await.0.unwrap();
        let before = corering::metrics().unwrap().enters;
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
        let calls = corering::metrics().unwrap().enters - before;
        assert!(calls <= 1 + BURST / 20 + 2, "{calls} calls");
        peer.close().await.unwrap();
        socket.close().await.unwrap();
        leaves_nothing(&host, &Buffers::default()).await;
    });
}

/// What two cores hand to each other.
#[derive(Default)]
struct Exchange {
    turns: u64,
    waiting: [Option<Waker>; 2],
}

/// Waits until it is this core's turn, and hands the next to the other.
async fn exchange(shared: Rc<RefCell<Exchange>>, side: usize, rounds: u64) {
    for round in 0..rounds {
        poll_fn(|cx| {
            let mut shared = shared.borrow_mut();
            if shared.turns == round * 2 + side as u64 {
                return Poll::Ready(());
            }
            shared.waiting[side] = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        if below(4) == 0 {
            a_moment(30).await;
        }
        let mut shared = shared.borrow_mut();
        shared.turns += 1;
        if let Some(waker) = shared.waiting[1 - side].take() {
            waker.wake();
        }
    }
}

// R26
#[test]
fn no_wake_of_another_core_is_lost_whenever_it_falls_asleep() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run(async |world| {
            let shared = Rc::new(RefCell::new(Exchange::default()));
            let other = world.host("main").run(exchange(shared.clone(), 1, 50));
            exchange(shared.clone(), 0, 50).await;
            other.await.unwrap();
            assert_eq!(shared.borrow().turns, 100);
        });
    });
}

// R27
#[test]
fn reads_that_always_end_at_once_keep_no_timer_waiting() {
    seeds(300, |seed| {
        World::new(seed).kernel(Kernel::new().not_cached(0.0)).run(async |world| {
            let host = world.host("main");
            host.write_file("/file", &[7; 100]).unwrap();
            let reader = corering::spawn(async {
                let file = File::open("/file").await?;
                for _ in 0..200_000 {
                    file.read_at(Vec::with_capacity(10), 0).await.0?;
                }
                io::Result::Ok(())
            });
            let (began, wanted) = (Instant::now(), Duration::from_micros(500));
            corering::sleep(wanted).await;
            let took = began.elapsed();
            assert!(!reader.is_finished(), "the reader has not given way at all");
            assert!(took < wanted + Duration::from_micros(100), "{took:?} instead of {wanted:?}");
            reader.abort();
            drop(reader.await);
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R28
#[test]
fn a_kernel_that_refuses_the_ring_for_good_ends_the_core_with_that_error() {
    seeds(200, |seed| {
        let buffers = Buffers::default();
        let world = World::new(seed);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            world.run(async |world| {
                let host = world.host("main");
                let (socket, peer) = socket_and_peer(&host).await.unwrap();
                let receive = corering::op::Receive::all(&socket, buffers.empty(10));
                let waiting = corering::spawn(Op::new(receive));
                a_moment(50).await;
                host.fail_next(Call::Enter, libc::EBADF);
                corering::sleep(Duration::from_secs(1)).await;
                drop((waiting, peer));
            });
        }));
        let payload = ran.expect_err("it went on");
        let message = payload.downcast_ref::<String>().expect("a message");
        assert!(message.contains("the kernel refuses the ring"), "{message}");
        assert!(message.contains("Bad file descriptor"), "{message}");
        buffers.assert_all_back();
    });
}

// R29, R30
#[test]
fn completions_that_belong_to_nothing_or_to_what_is_over_are_passed_over_and_counted() {
    let counted = RefCell::new(0);
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild().short_files(0.0).strangers(0.3)).run_on(tiny(), async |world| {
            let host = world.host("main");
            host.write_file("/file", &pattern(0, 500)).unwrap();
            let (socket, mut peer) = socket_and_peer(&host).await.unwrap();
            let buffers = Buffers::default();
            TaskGroup::scope(async |group| {
                group.spawn(async {
                    drop(many_reads(50).await?);
                    io::Result::Ok(())
                });
                let sent = buffers.of(pattern(0, 900));
                group.spawn(async move { peer.write_all(sent).await.0 });
                let mut received = 0;
                while received < 900 {
                    let receive = Op::new(corering::op::Receive::new(&socket, buffers.empty(50)));
                    let (count, buffer) = receive.await;
                    let count = count?;
                    assert_eq!(buffer.as_slice(), pattern(received, count), "from {received} on");
                    received += count;
                }
                Ok(())
            })
            .await
            .unwrap();
            buffers.assert_all_back();
            *counted.borrow_mut() += corering::metrics().unwrap().unknown_completions;
        });
    });
    assert!(counted.into_inner() > 0, "nothing strange has come");
}
