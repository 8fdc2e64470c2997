//! Programs as users write them, with time-outs around everything, on small cores and kernels that take every liberty.
//!
//! Each is about what its user relies on: that messages are whole, that nothing is left open, that whoever waits gets
//! his turn. None knows of any particular fault.
//!
//! Invariant: what a scenario does depends on its seed alone.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::buf::Chunk;
use corering::fs::{self, File};
use corering::net::{TcpListener, TcpStream};
use corering::op::{
    Completion, Descriptor, Op, OpenAt, Operation, Receive, Submission, Sync, WriteAll, chain, io_uring,
};
use corering::sim::{Host, World};
use corering::sync::Semaphore;
use corering::time::Instant;
use corering::{JoinHandle, TaskGroup, io, sleep, spawn, timeout};

use crate::cases::{below, connect, seeds, socket_and_peer, tiny, wild};

const PORT: u16 = 7;

/// Runs a scenario from so many seeds, where everything is small and nothing certain.
#[track_caller]
fn hunt(most: u64, scenario: impl AsyncFn(World) -> io::Result<()>) {
    seeds(most, |seed| {
        let world = World::new(seed).kernel(wild()).most_turns(1_000_000);
        world.run_on(tiny(), async |world| scenario(world).await).unwrap();
    });
}

/// A moment, of up to so many microseconds.
fn moment(most_us: u64) -> Duration {
    Duration::from_micros(below(most_us + 1))
}

/// Two ends of a connection within a host.
async fn pair(host: &Host) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(host.addr(0)).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    listener.close().await?;
    Ok((client, server))
}

/// Waits until only so many descriptors of the host are open; the core's bell is one.
async fn only_open(host: &Host, descriptors: usize) {
    for _ in 0..1_000 {
        if host.descriptors() <= descriptors {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("{} descriptors are open, and not {descriptors}", host.descriptors());
}

/// The `number`th message: how long it is, its number, and as many bytes that tell of both.
fn message(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = (len as u32).to_le_bytes().to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend((0..len).map(|at| byte_of(number, at)));
    bytes
}

fn byte_of(number: u32, at: usize) -> u8 {
    (number.wrapping_mul(31).wrapping_add(at as u32).wrapping_mul(0x9e37_79b1) >> 13) as u8
}

/// Takes whole messages off the front of what has arrived. Their numbers rise.
fn take_messages(arrived: &mut VecDeque<u8>, last: &mut u32) {
    loop {
        let word = |at: usize| (at..at + 4).map(|at| arrived.get(at).copied()).collect::<Option<Vec<_>>>();
        let (Some(len), Some(number)) = (word(0), word(4)) else { return };
        let number = u32::from_le_bytes([number[0], number[1], number[2], number[3]]);
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        assert!(len <= 4_000, "this is no length: {len}");
        if arrived.len() < 8 + len {
            return;
        }
        let body: Vec<u8> = arrived.drain(..8 + len).skip(8).collect();
        assert!(number > *last, "message {number} after {last}");
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == byte_of(number, at)), "message {number} is mixed up");
        *last = number;
    }
}

/// A chat: each message is given up if it takes too long, and the next one follows.
#[test]
fn messages_arrive_whole_and_in_order_though_many_are_given_up() {
    hunt(500, async |world| {
        let host = world.host("reader");
        let address = host.addr(PORT);
        let reader = host.run(async move {
            let listener = TcpListener::bind(address).await?;
            let (mut stream, _) = listener.accept().await?;
            let (mut arrived, mut last) = (VecDeque::new(), 0);
            loop {
                sleep(moment(300)).await;
                let Ok(chunk) = timeout(moment(200), stream.recv()).await else { continue };
                let Some(chunk) = chunk? else { break };
                arrived.extend(&chunk[..]);
                take_messages(&mut arrived, &mut last);
            }
            assert_eq!(arrived.len(), 0, "the stream ends within a message");
            assert_eq!(last, u32::MAX, "the last message has not arrived");
            io::Result::Ok(())
        });
        let mut stream = connect(&host, PORT).await;
        for number in 1..20 {
            let len = below(4_000) as usize;
            let (began, limit) = (Instant::now(), moment(100));
            if timeout(limit, stream.write_all(message(number, len))).await.is_err() {
                assert!(began.elapsed() >= limit, "the time was not over");
            }
        }
        stream.write_all(message(u32::MAX, 10)).await.0?;
        stream.shutdown(Shutdown::Write).await?;
        reader.await.expect("it was not stopped")
    });
}

/// A worker pool: jobs wait for a permit, some for too long, and whoever is done may make others needless.
#[test]
fn every_permit_comes_back_though_waiters_give_up() {
    hunt(1_000, async |_| {
        let pool = Rc::new(Semaphore::new(2));
        let jobs: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        for _ in 0..10 {
            let (pool, all) = (Rc::clone(&pool), Rc::clone(&jobs));
            let job = spawn(async move {
                for _ in 0..3 {
                    if let Ok(permit) = timeout(moment(300), pool.acquire()).await {
                        sleep(moment(100)).await;
                        drop(permit);
                        if below(2) == 0 {
                            all.borrow()[below(10) as usize].abort();
                        }
                    }
                }
            });
            jobs.borrow_mut().push(job);
        }
        while !jobs.borrow().iter().all(JoinHandle::is_finished) {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(pool.available(), 2);
        Ok(())
    });
}

/// A page of a file is written again and again; who is too slow is given up.
#[test]
fn what_was_written_last_is_what_a_file_holds() {
    const PAGES: u64 = 3;
    hunt(500, async |world| {
        let host = world.host("main");
        let file = File::create("/pages").await?;
        let mut last = [0; PAGES as usize];
        for version in 1..20 {
            let page = below(PAGES);
            let mut write = file.write_all_at(vec![version; 600], page * 600);
            let written = timeout(moment(150), &mut write).await;
            if written.is_ok() || write.is_submitted() {
                last[page as usize] = version;
            }
            if let Ok((written, _)) = written {
                written?;
            }
        }
        file.sync_all().await?;
        let held = host.file("/pages").expect("it is there");
        for (page, version) in last.into_iter().enumerate().filter(|(_, version)| *version > 0) {
            assert_eq!(held[page * 600..][..600], [version; 600], "page {page}");
        }
        Ok(())
    });
}

/// A log: the head and the body of a record go out with the sync by one submission, and many come at once.
#[test]
fn a_record_that_was_acknowledged_is_durable() {
    const LEN: usize = 100;
    const HEAD: usize = 10;
    hunt(500, async |world| {
        let host = world.host("main");
        host.write_file("/log", &[])?;
        let log = Op::new(OpenAt::new(c"/log".to_owned(), libc::O_RDWR, 0)).await?;
        let records = (1..11_u8).map(|number| {
            let (log, host) = (&log, &host);
            let start = usize::from(number - 1) * LEN;
            async move {
                loop {
                    let head = Op::new(WriteAll::at(log, vec![number; HEAD], start as u64));
                    let body = Op::new(WriteAll::at(log, vec![number; LEN - HEAD], (start + HEAD) as u64));
                    let ((head, _), (body, _), synced) = chain((head, body, Op::new(Sync::all(log)))).await;
                    // A write in parts breaks the chain.
                    if head.is_ok() && body.is_ok() && synced.is_ok() {
                        break;
                    }
                }
                let durable = host.durable_file("/log").unwrap_or_default();
                let record = durable.get(start..start + LEN);
                assert_eq!(record, Some(&[number; LEN][..]), "record {number} was acknowledged");
            }
        });
        corering::gather_settled(records).await;
        Ok(())
    });
}

/// Counts who is alive.
struct Guest(Rc<Cell<u32>>);

impl Guest {
    fn new(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Several are asked, the first to answer wins, and the others are sent home.
#[test]
fn nobody_is_left_when_a_group_has_ended() {
    hunt(500, async |world| {
        let host = world.host("main");
        let guests = Rc::new(Cell::new(0));
        for _ in 0..5 {
            let ended: Result<(), _> = TaskGroup::scope(async |group| {
                for name in 0..4 {
                    let guest = Guest::new(&guests);
                    group.spawn(async move {
                        let _guest = guest;
                        sleep(moment(100)).await;
                        fs::write(format!("/{name}"), vec![name; 500]).await?;
                        Err::<(), _>(io::Error::other("the first"))
                    });
                }
                Ok(())
            })
            .await;
            assert!(ended.is_err());
            assert_eq!(guests.get(), 0, "guests are left");
        }
        only_open(&host, 1).await;
        Ok(())
    });
}

/// A folder is read by many at once, each of whom may lose patience.
#[test]
fn files_are_read_whole_and_none_is_left_open() {
    hunt(500, async |world| {
        let host = world.host("main");
        for name in 0..8_u8 {
            host.write_file(format!("/{name}"), &vec![name; 300 * usize::from(name)])?;
        }
        let readers: Vec<_> = (0..24_u8)
            .map(|number| {
                spawn(async move {
                    let name = number % 8;
                    let path = format!("/{name}");
                    sleep(moment(50)).await;
                    if below(2) == 0 {
                        if let Ok(file) =
                            timeout(moment(100), File::options().read(true).write(true).create(true).open(&path)).await
                        {
                            drop(timeout(moment(100), file?.read_at(Vec::with_capacity(100), 0)).await);
                        }
                    }
                    assert_eq!(fs::read(path).await?, vec![name; 300 * usize::from(name)]);
                    io::Result::Ok(())
                })
            })
            .collect();
        for reader in readers {
            reader.await.expect("no panic")?;
        }
        only_open(&host, 1).await;
        Ok(())
    });
}

/// A server that goes up and down while a crowd comes.
#[test]
fn a_server_that_goes_leaves_no_connection_open() {
    hunt(300, async |world| {
        let host = world.host("main");
        let crowd = world.host("crowd");
        for _ in 0..3 {
            let listener = TcpListener::bind(host.addr(PORT)).await?;
            let visitors: Vec<_> = (0..6)
                .map(|_| {
                    let address = host.addr(PORT);
                    crowd.run(async move {
                        sleep(moment(300)).await;
                        if let Ok(Ok(mut stream)) =
                            timeout(Duration::from_millis(20), TcpStream::connect(address)).await
                        {
                            drop(timeout(Duration::from_millis(20), stream.recv()).await);
                        }
                    })
                })
                .collect();
            while let Ok(accepted) = timeout(moment(1_000), listener.accept()).await {
                drop(accepted?);
                sleep(moment(300)).await;
            }
            drop(listener);
            for visitor in visitors {
                visitor.await.expect("it was not stopped");
            }
            only_open(&host, 1).await;
        }
        Ok(())
    });
}

/// Everybody of a crowd is heard.
#[test]
fn everybody_who_connects_is_served() {
    hunt(300, async |world| {
        let host = world.host("main");
        let listener = TcpListener::bind(host.addr(PORT)).await?;
        let crowd = world.host("crowd");
        let visitors: Vec<_> = (0..20_u8)
            .map(|number| {
                let address = host.addr(PORT);
                crowd.run(async move {
                    sleep(moment(500)).await;
                    let mut stream = TcpStream::connect(address).await?;
                    stream.write_all(vec![number]).await.0?;
                    assert_eq!(stream.recv().await?.as_deref(), Some(&[number][..]));
                    io::Result::Ok(())
                })
            })
            .collect();
        for _ in 0..20 {
            let (mut stream, _) = listener.accept().await?;
            spawn(async move {
                let chunk = stream.recv().await?.expect("not the end");
                stream.write_all(chunk).await.0
            });
        }
        for visitor in visitors {
            visitor.await.expect("it was not stopped")?;
        }
        Ok(())
    });
}

/// Connections come, say something, and are hung up on. Whoever comes last finds the core's buffers all there.
#[test]
fn buffers_come_back_from_connections_that_were_hung_up() {
    hunt(300, async |world| {
        let host = world.host("main");
        for _ in 0..6 {
            let (mut client, mut server) = pair(&host).await?;
            drop(timeout(moment(20), server.recv()).await);
            drop(timeout(moment(100), client.write_all(vec![1; 10])).await);
            sleep(moment(30)).await;
        }
        let (mut client, mut server) = pair(&host).await?;
        client.write_all(vec![1; 10]).await.0?;
        let chunk: Chunk = server.recv().await?.expect("not the end");
        assert!(chunk.is_pooled(), "no buffer is left");
        Ok(())
    });
}

/// Those who lose patience give their memory up, and others use what is free then.
#[test]
fn nobody_writes_into_the_memory_of_others() {
    hunt(500, async |world| {
        let host = world.host("main");
        let (socket, mut peer) = socket_and_peer(&host).await?;
        let sender = spawn(async move {
            for _ in 0..40 {
                sleep(moment(40)).await;
                peer.write_all(vec![0xee; 50]).await.0?;
            }
            io::Result::Ok(())
        });
        for _ in 0..20 {
            drop(timeout(moment(60), Op::new(Receive::new(&socket, Vec::with_capacity(200)))).await);
            let mine: Vec<_> = (0..4).map(|_| vec![7_u8; 200]).collect();
            sleep(moment(60)).await;
            assert!(mine.iter().flatten().all(|byte| *byte == 7), "somebody else has written here");
        }
        sender.abort();
        Ok(())
    });
}

/// Every receive has a deadline. What came before it counts.
#[test]
fn a_deadline_loses_no_byte_that_has_arrived() {
    hunt(500, async |world| {
        let host = world.host("main");
        let (socket, mut peer) = socket_and_peer(&host).await?;
        let sender = spawn(async move {
            for start in (0..2_000).step_by(100) {
                sleep(moment(60)).await;
                peer.write_all((start..start + 100).map(|at| byte_of(0, at)).collect::<Vec<_>>()).await.0?;
            }
            peer.shutdown(Shutdown::Write).await
        });
        let mut got = Vec::new();
        loop {
            let receive = Op::new(Receive::new(&socket, Vec::with_capacity(64)));
            match receive.deadline(moment(60)).await {
                (Ok(0), _) => break,
                (Ok(_), bytes) => got.extend(bytes),
                (Err(error), _) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        assert!(got.iter().copied().eq((0..2_000).map(|at| byte_of(0, at))), "{} bytes have come", got.len());
        sender.await.expect("no panic")
    });
}

/// Many wait for those who say nothing.
#[test]
fn whoever_waits_with_a_deadline_goes_on_after_it() {
    hunt(300, async |world| {
        let host = world.host("main");
        let mut silent = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let (socket, peer) = socket_and_peer(&host).await?;
            silent.push(peer);
            waiting.push(socket);
        }
        let waits: Vec<_> = waiting
            .into_iter()
            .map(|socket| {
                spawn(async move {
                    let (began, limit) = (Instant::now(), Duration::from_micros(100));
                    let receive = Op::new(Receive::new(&socket, Vec::with_capacity(64)));
                    assert_eq!(receive.deadline(limit).await.0.unwrap_err().kind(), io::ErrorKind::TimedOut);
                    assert!(began.elapsed() >= limit, "the time was not over");
                    assert!(began.elapsed() < Duration::from_millis(20), "it was long over");
                })
            })
            .collect();
        for wait in waits {
            wait.await.expect("no panic");
        }
        drop(silent);
        only_open(&host, 1).await;
        Ok(())
    });
}

/// An operation of a user's own.
struct SendZeroCopy(Descriptor, Vec<u8>);

// SAFETY: the bytes are on the heap, and not changed.
unsafe impl Operation for SendZeroCopy {
    type Output = io::Result<u32>;

    fn submission(&mut self) -> Submission {
        use std::os::fd::AsRawFd as _;
        let socket = io_uring::types::Fd(self.0.as_raw_fd());
        io_uring::opcode::SendZc::new(socket, self.1.as_ptr(), self.1.len() as u32).build()
    }

    fn complete(self, completion: Completion) -> io::Result<u32> {
        completion.to_result()
    }
}

/// What a send says to have sent is what arrives.
#[test]
fn a_zero_copy_send_says_how_much_it_has_sent() {
    hunt(300, async |world| {
        let host = world.host("main");
        let (socket, mut peer) = socket_and_peer(&host).await?;
        let mut sent = 0;
        for _ in 0..5 {
            sent += Op::new(SendZeroCopy(socket.clone(), vec![5; 500])).await?;
        }
        socket.close().await?;
        let mut arrived = 0;
        while let Some(chunk) = peer.recv().await? {
            arrived += chunk.len() as u32;
        }
        assert_eq!(arrived, sent);
        Ok(())
    });
}

/// A receive that is begun in one task, and awaited in another.
#[test]
fn whoever_awaits_last_is_woken() {
    hunt(300, async |world| {
        let host = world.host("main");
        let (socket, mut peer) = socket_and_peer(&host).await?;
        for number in 0..5_u8 {
            let mut receive = Op::new(Receive::new(&socket, Vec::with_capacity(1)));
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut receive).poll(cx).is_pending())).await;
            assert!(polled, "nothing had been sent");
            let waits = spawn(receive);
            sleep(moment(50)).await;
            peer.write_all(vec![number]).await.0?;
            let (count, bytes) = waits.await.expect("no panic");
            assert_eq!((count?, bytes), (1, vec![number]));
        }
        Ok(())
    });
}

/// What one core leaves for another.
#[derive(Default)]
struct Counter {
    jobs: VecDeque<u32>,
    closed: bool,
    waiting: Option<Waker>,
}

/// Jobs go from one core of a host to another.
#[test]
fn no_job_stays_on_the_counter_between_two_cores() {
    hunt(500, async |world| {
        let counter = Rc::new(RefCell::new(Counter::default()));
        let there = Rc::clone(&counter);
        let worker = world.host("main").run(async move {
            let mut done = Vec::new();
            loop {
                let next = poll_fn(|cx| {
                    let mut counter = there.borrow_mut();
                    counter.waiting = Some(cx.waker().clone());
                    match counter.jobs.pop_front() {
                        None if !counter.closed => Poll::Pending,
                        job => Poll::Ready(job),
                    }
                });
                match next.await {
                    Some(job) => done.push(job),
                    None => return done,
                }
            }
        });
        let leave = |change: &dyn Fn(&mut Counter)| {
            let mut counter = counter.borrow_mut();
            change(&mut counter);
            let waiting = counter.waiting.take();
            drop(counter);
            waiting.map(Waker::wake)
        };
        for job in 0..50 {
            leave(&|counter| counter.jobs.push_back(job));
            sleep(moment(40)).await;
            assert!(counter.borrow().jobs.len() < 20, "nobody does them");
        }
        leave(&|counter| counter.closed = true);
        assert_eq!(worker.await.expect("it was not stopped"), (0..50).collect::<Vec<_>>());
        Ok(())
    });
}
