//! Futures that are dropped at every point: before, while and after the kernel works on them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use corering::buf::IoBuf as _;
use corering::fs::{self, File};
use corering::net::{TcpListener, TcpStream};
use corering::op::socket2::{Domain, Type};
use corering::op::{
    AcceptMulti, CloseDirect, Connect, Descriptor, DirectSlot, Multishot, Op, OpenAt, OpenDirect, Read, ReadDirect,
    ReadVectored, Readiness, Receive, ReceiveMulti, ReceivePooled, Receiver, Send, SendAll, Stat, Sync, Truncate,
    Write, WriteAll, WriteVectored, chain,
};
use corering::sim::{Kernel, World};
use corering::{io, timeout};

use super::{
    a_moment, below, connect, leaves_nothing, pattern, poll_and_drop, poll_once, seeds, socket_and_peer, tiny, wild,
};
use crate::lent::Buffers;

const PORT: u16 = 7;
/// More than a socket takes at once.
const LARGE: usize = 300_000;

/// One of everything that operations work on.
struct Scene {
    buffers: Buffers,
    /// A socket on which nothing arrives.
    quiet: Descriptor,
    quiet_peer: TcpStream,
    /// A socket on which something has arrived.
    ready: Descriptor,
    _ready_peer: TcpStream,
    stream: TcpStream,
    stream_peer: TcpStream,
    /// A listener for which somebody waits.
    busy: TcpListener,
    visitor: TcpStream,
    /// Who lets everybody in.
    target: TcpListener,
    file: File,
    descriptor: Descriptor,
}

impl Scene {
    async fn new(world: &World) -> io::Result<Self> {
        let host = world.host("main");
        host.write_file("/small", &[1; 100])?;
        host.write_file("/large", &[2; 40_000])?;
        let (quiet, quiet_peer) = socket_and_peer(&host).await?;
        let (ready, mut ready_peer) = socket_and_peer(&host).await?;
        ready_peer.write_all(vec![1; 5]).await.0?;
        let (busy, target) = (TcpListener::bind(host.addr(0)).await?, TcpListener::bind(host.addr(0)).await?);
        let stream_peer = TcpStream::connect(busy.local_addr()?).await?;
        let (stream, _) = busy.accept().await?;
        let visitor = TcpStream::connect(busy.local_addr()?).await?;
        let descriptor = Op::new(OpenAt::new(name("/large"), libc::O_RDWR, 0)).await?;
        let file = File::options().read(true).write(true).open("/small").await?;
        let (buffers, _ready_peer) = (Buffers::default(), ready_peer);
        let scene = Self {
            buffers,
            quiet,
            quiet_peer,
            ready,
            _ready_peer,
            stream,
            stream_peer,
            busy,
            visitor,
            target,
            file,
            descriptor,
        };
        Ok(scene)
    }

    /// All of it still works, and nothing else is left.
    async fn check(mut self, world: &World, what: &str) -> io::Result<()> {
        a_moment(100).await;
        // What arrives now is for whoever asks now.
        self.quiet_peer.write_all(vec![b'q']).await.0?;
        let (count, bytes) = Op::new(Receive::new(&self.quiet, Vec::with_capacity(8))).await;
        assert_eq!((count?, &bytes[..]), (1, &b"q"[..]), "{what}");
        self.stream_peer.write_all(vec![b's']).await.0?;
        let (count, bytes) = self.stream.read(Vec::with_capacity(8)).await;
        assert_eq!((count?, &bytes[..]), (1, &b"s"[..]), "{what}");
        // The visitor has been served, or waits still; or is served now.
        let last = TcpStream::connect(self.busy.local_addr()?).await?;
        while self.busy.accept().await?.1 != last.local_addr()? {}
        let ended = timeout(Duration::from_secs(5), self.visitor.recv()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{what}: a connection was left open"));
        assert!(matches!(ended, Ok(None) | Err(_)), "{what}: {ended:?}");
        let buffers = self.buffers.clone();
        drop((self, last));
        leaves_nothing(&world.host("main"), &buffers).await;
        let places: Vec<_> = std::iter::from_fn(DirectSlot::take).take(256).collect();
        assert_eq!(places.len(), 256, "{what}: places for direct descriptors");
        Ok(())
    }
}

/// Takes whatever a future gives, which ends with it.
fn finish<T>(_output: T) {}

fn name(path: &str) -> CString {
    CString::new(path).expect("no zero byte")
}

type Begin = for<'a> fn(&'a mut Scene) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! cases {
    ($($name:literal, $scene:ident => $future:expr;)+) => {
        &[$(($name, |$scene| Box::pin(async move { finish($future.await) }))),+]
    };
}

/// Drops each future after 0, 1, .. polls, in one world after the other.
fn drop_everywhere(cases: &[(&str, Begin)]) {
    seeds(40, |seed| {
        for (what, begin) in cases {
            for polls in 0..5 {
                let world = World::new(seed).kernel(if seed % 2 == 0 { Kernel::new() } else { wild() });
                let what = format!("{what}, dropped after {polls} polls");
                world
                    .run(async |world| {
                        let mut scene = Scene::new(&world).await?;
                        poll_and_drop(begin(&mut scene), polls).await;
                        scene.check(&world, &what).await
                    })
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    });
}

// R67
#[test]
fn operations_on_sockets_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "receive", s => Op::new(Receive::new(&s.quiet, s.buffers.empty(64)));
        "receive of what is there", s => Op::new(Receive::new(&s.ready, s.buffers.empty(64)));
        "receive of all", s => Op::new(Receive::all(&s.ready, s.buffers.empty(64)));
        "pooled receive", s => Op::new(ReceivePooled::new(&s.quiet, 1).expect("a pool"));
        "pooled receive of what is there", s => Op::new(ReceivePooled::new(&s.ready, 1).expect("a pool"));
        "cancel of a receive", s => Op::new(Receive::new(&s.quiet, s.buffers.empty(64))).cancel();
        "receive that is late", s => Op::new(Receive::new(&s.quiet, s.buffers.empty(64))).deadline(Duration::ZERO);
        "multishot receive", s => {
            let mut items = Multishot::new(ReceiveMulti::new(&s.ready, 1).expect("a pool"));
            async move {
                drop(poll_fn(|cx| items.poll_next(cx)).await);
                items.close().await;
            }
        };
        "receiver, then its stop", s => {
            let mut receiver = Receiver::new(s.quiet.clone());
            async move {
                let received = timeout(Duration::ZERO, poll_fn(|cx| receiver.poll_chunk(cx))).await;
                receiver.stop().await;
                received
            }
        };
        "readiness", s => Op::new(Readiness::of(&s.quiet, libc::POLLIN));
        "readiness of what is ready", s => Op::new(Readiness::of(&s.ready, libc::POLLIN));
        "send", s => Op::new(Send::new(&s.quiet, s.buffers.of([1; 9])));
        "send of all", s => Op::new(SendAll::new(&s.quiet, s.buffers.of([1; LARGE])));
        "send of parts", s => Op::new(WriteVectored::stream(&s.quiet, vec![s.buffers.of([1; 9]), s.buffers.of([1; 5])]));
        "cancel of a send", s => Op::new(SendAll::new(&s.quiet, s.buffers.of([1; LARGE]))).cancel();
        "chain of sends", s => {
            let message = || s.buffers.of([1; 200]);
            let (first, second) = (SendAll::new(&s.quiet, message()), SendAll::new(&s.quiet, message()));
            chain((Op::new(first), Op::new(second)))
        };
    });
}

// R67, R68
#[test]
fn calls_of_streams_and_listeners_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "accept", s => s.target.accept();
        "accept of one who waits", s => s.busy.accept();
        "connect", s => TcpStream::connect(s.target.local_addr().expect("an address"));
        "connect to nobody", _s => TcpStream::connect("10.0.0.1:9");
        "recv", s => s.stream.recv();
        "read", s => s.stream.read(s.buffers.empty(64));
        "read that is late", s => s.stream.read(s.buffers.empty(64)).deadline(Duration::from_micros(30));
        "write", s => s.stream.write(s.buffers.of([1; 9]));
        "write of all", s => s.stream.write_all(s.buffers.of([1; LARGE]));
        "write of parts", s => s.stream.write_vectored(vec![s.buffers.of([1; 9]), s.buffers.of([1; 5])]);
        "connect, write, close", s => async {
            let mut stream = TcpStream::connect(s.target.local_addr()?).await?;
            drop(timeout(Duration::ZERO, stream.recv()).await);
            stream.write_all(s.buffers.of([1; 9])).await.0?;
            stream.close().await
        };
    });
}

// R67, R69
#[test]
fn operations_on_files_may_be_dropped_anywhere() {
    drop_everywhere(cases! {
        "open", _s => File::open("/small");
        "open of nothing", _s => File::open("/nothing");
        "create", _s => File::create("/new");
        "open in a worker", _s => Op::new(OpenAt::new(name("/small"), libc::O_RDONLY, 0).in_worker());
        "read of a whole file", _s => fs::read("/large");
        "write of a whole file", _s => fs::write("/new", vec![1; 9_000]);
        "metadata", _s => Op::new(Stat::new(name("/small"), true));
        "read", s => s.file.read(s.buffers.empty(64));
        "read at", s => Op::new(Read::at(&s.descriptor, s.buffers.empty(64), 10));
        "read of parts", s => Op::new(ReadVectored::at(&s.descriptor, vec![s.buffers.empty(9), s.buffers.empty(9)], 0));
        "write", s => s.file.write(s.buffers.of([1; 9]));
        "write at", s => Op::new(Write::at(&s.descriptor, s.buffers.of([1; 9]), 10));
        "write of all", s => Op::new(WriteAll::at(&s.descriptor, s.buffers.of([1; 9]), 10));
        "sync", s => Op::new(Sync::all(&s.descriptor));
        "cut", s => Op::new(Truncate::to(&s.descriptor, 5));
        "close", s => {
            let descriptor = s.descriptor.clone();
            async move {
                drop(timeout(Duration::ZERO, Op::new(Sync::data(&descriptor))).await);
                descriptor.close().await
            }
        };
        "sync, then a receive that waits", s => {
            let receive = Op::new(Receive::new(&s.quiet, s.buffers.empty(64)));
            chain((Op::new(Sync::all(&s.descriptor)), receive))
        };
        "write, then sync", s => {
            let (write, sync) = (WriteAll::at(&s.descriptor, s.buffers.of([1; 9]), 0), Sync::all(&s.descriptor));
            chain((Op::new(write), Op::new(sync)))
        };
        "open, read and close in a direct place", s => {
            let slot = DirectSlot::take().expect("a place");
            let open = Op::new(OpenDirect::new(name("/large"), libc::O_RDONLY, &slot));
            let probe = Op::new(ReadDirect::new(&slot, s.buffers.empty(64), 0).cached()).always();
            let read = Op::new(ReadDirect::new(&slot, s.buffers.empty(64), 0)).always();
            chain((open, probe, read, Op::new(CloseDirect::new(slot))))
        };
        "open of nothing in a direct place", _s => {
            let slot = DirectSlot::take().expect("a place");
            let open = Op::new(OpenDirect::new(name("/nothing"), libc::O_RDONLY, &slot));
            chain((open, Op::new(CloseDirect::new(slot))))
        };
    });
}

// R68, R77
#[test]
fn whoever_connects_is_served_once_however_often_the_accept_is_given_up() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            const VISITORS: u64 = 12;
            let (host, guests) = (world.host("main"), world.host("guests"));
            let listener = TcpListener::bind(host.addr(PORT)).await.unwrap();
            let visitors: Vec<_> = (0..VISITORS)
                .map(|number| {
                    let host = host.clone();
                    guests.run(async move {
                        a_moment(2_000).await;
                        let mut stream = connect(&host, PORT).await;
                        stream.write_all(number.to_le_bytes()).await.0?;
                        stream.recv().await.map(|answer| answer.map(|answer| answer[0]))
                    })
                })
                .collect();
            let served = Rc::new(RefCell::new(BTreeMap::new()));
            let mut serving = Vec::new();
            while serving.len() < VISITORS as usize {
                // Each of these futures is dropped queued, in the kernel, or with its connection in its hands.
                let limit = Duration::from_micros(below(300));
                let Ok(accepted) = timeout(limit, listener.accept()).await else { continue };
                let (mut stream, served) = (accepted.unwrap().0, served.clone());
                serving.push(corering::spawn(async move {
                    let (count, number) = stream.read(Vec::with_capacity(8)).await;
                    let mut number = number;
                    let mut got = count?;
                    while got < 8 {
                        let (count, rest) = stream.read(number).await;
                        (got, number) = (got + count?, rest);
                    }
                    let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
                    *served.borrow_mut().entry(number).or_insert(0) += 1;
                    stream.write_all(vec![number as u8]).await.0
                }));
            }
            for (number, visitor) in visitors.into_iter().enumerate() {
                assert_eq!(visitor.await.unwrap().unwrap(), Some(number as u8));
            }
            for serving in serving {
                serving.await.unwrap().unwrap();
            }
            assert!(served.take().into_iter().eq((0..VISITORS).map(|number| (number, 1))));
            listener.close().await.unwrap();
            leaves_nothing(&host, &Buffers::default()).await;
            // Their cores end by themselves.
            while guests.descriptors() > 0 {
                a_moment(100).await;
            }
        });
    });
}

// R68
#[test]
fn connections_that_a_dropped_listener_had_taken_are_closed() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run(async |world| {
            let (host, guests) = (world.host("main"), world.host("guests"));
            let listener = TcpListener::bind(host.addr(PORT)).await.unwrap();
            let address = host.addr(PORT);
            let visitors: Vec<_> = (0..10)
                .map(|_| {
                    guests.run(async move {
                        a_moment(100).await;
                        let Ok(mut stream) = TcpStream::connect(address).await else { return };
                        let ended = stream.recv().await;
                        assert!(matches!(ended, Ok(None) | Err(_)), "{ended:?}");
                    })
                })
                .collect();
            let accepted = timeout(Duration::from_micros(below(400)), listener.accept()).await;
            a_moment(300).await;
            drop((accepted, listener));
            for visitor in visitors {
                // Whoever is forgotten waits for ever: then nothing can ever happen again.
                visitor.await.unwrap();
            }
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R69
#[test]
fn what_is_opened_after_its_future_was_dropped_is_closed() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            let host = world.host("main");
            host.write_file("/file", &[1; 10]).unwrap();
            for _ in 0..10 {
                let mut opens: Vec<_> = (0..10)
                    .map(|_| {
                        let open = OpenAt::new(name("/file"), libc::O_RDONLY, 0);
                        Op::new(if below(2) == 0 { open.in_worker() } else { open })
                    })
                    .collect();
                for open in &mut opens {
                    poll_once(open).await;
                }
                a_moment(120).await;
                let mut sockets = Vec::new();
                for _ in 0..below(4) {
                    sockets.push(Descriptor::socket(Domain::IPV4, Type::STREAM, None).unwrap());
                }
            }
            leaves_nothing(&host, &Buffers::default()).await;
        });
    });
}

// R70
#[test]
fn no_byte_is_lost_by_receives_that_are_dropped_while_data_comes() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            const BYTES: usize = 4_000;
            let (host, sender) = (world.host("main"), world.host("sender"));
            let listener = TcpListener::bind(host.addr(PORT)).await.unwrap();
            let sending = {
                let host = host.clone();
                sender.run(async move {
                    let (mut stream, mut sent) = (connect(&host, PORT).await, 0);
                    while sent < BYTES {
                        let len = (1 + below(500) as usize).min(BYTES - sent);
                        stream.write_all(pattern(sent, len)).await.0?;
                        sent += len;
                        a_moment(100).await;
                    }
                    stream.close().await
                })
            };
            let (mut stream, _) = listener.accept().await.unwrap();
            let (buffers, mut received) = (Buffers::default(), 0);
            loop {
                let limit = Duration::from_micros(below(100));
                let got = match below(3) {
                    0 => timeout(limit, stream.recv())
                        .await
                        .ok()
                        .map(|chunk| chunk.map(|chunk| chunk.map(|chunk| chunk.to_vec()).unwrap_or_default())),
                    1 => timeout(limit, stream.read(buffers.empty(1 + below(99) as usize)))
                        .await
                        .ok()
                        .map(|(count, buffer)| count.map(|_| buffer.as_slice().to_vec())),
                    _ => {
                        let (count, buffer) = stream.read(buffers.empty(1 + below(99) as usize)).deadline(limit).await;
                        match count {
                            Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
                            count => Some(count.map(|_| buffer.as_slice().to_vec())),
                        }
                    }
                };
                let Some(bytes) = got else { continue };
                let bytes = bytes.unwrap();
                assert_eq!(bytes, pattern(received, bytes.len()), "from {received} on");
                received += bytes.len();
                if bytes.is_empty() {
                    break;
                }
            }
            assert_eq!(received, BYTES);
            sending.await.unwrap().unwrap();
            stream.close().await.unwrap();
            listener.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

/// Reads until the end.
async fn all_of(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.recv().await? {
        all.extend_from_slice(&chunk);
        a_moment(30).await;
    }
    Ok(all)
}

// R71, R124
#[test]
fn a_write_that_was_dropped_goes_out_whole_before_the_next_or_not_at_all() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            let (host, reader) = (world.host("main"), world.host("reader"));
            let listener = TcpListener::bind(host.addr(PORT)).await.unwrap();
            let reading = {
                let host = host.clone();
                reader.run(async move { all_of(connect(&host, PORT).await).await })
            };
            let (mut stream, _) = listener.accept().await.unwrap();
            let (buffers, mut expected) = (Buffers::default(), Vec::new());
            for number in 0..20_u8 {
                let message = vec![number; 1 + below(2_000) as usize];
                let mut write = stream.write_all(buffers.of(message.clone()));
                let mut ended = false;
                for _ in 0..below(3) {
                    ended = poll_once(&mut write).await;
                    if ended {
                        break;
                    }
                    if below(2) == 0 {
                        a_moment(60).await;
                    }
                }
                if ended || write.is_submitted() {
                    expected.extend_from_slice(&message);
                }
            }
            stream.shutdown(corering::net::Shutdown::Write).await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), expected);
            drop((stream, listener));
            leaves_nothing(&host, &buffers).await;
        });
    });
}

// R121, R122
#[test]
fn what_is_dropped_on_a_file_never_lands_after_what_comes_later() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run_on(tiny(), async |world| {
            let (host, buffers) = (world.host("main"), Buffers::default());
            host.write_file("/file", &[]).unwrap();
            let file = Op::new(OpenAt::new(name("/file"), libc::O_RDWR, 0)).await.unwrap();
            let mut expected = Vec::new();
            for number in 1..20_u8 {
                let (at, len) = (below(300), 1 + below(300) as usize);
                let cuts = below(4) == 0;
                let mut write = Op::new(WriteAll::at(&file, buffers.of(vec![number; len]), at));
                let mut cut = Op::new(Truncate::to(&file, at));
                for _ in 0..below(4) {
                    if if cuts { poll_once(&mut cut).await } else { poll_once(&mut write).await } {
                        break;
                    }
                    a_moment(60).await;
                }
                // What is over, or has been submitted, happens; in this order.
                let untouched = if cuts { is_idle(&cut) } else { is_idle(&write) };
                if !untouched {
                    let end = if cuts { at as usize } else { at as usize + len };
                    if cuts || expected.len() < end {
                        expected.resize(end, 0);
                    }
                    if !cuts {
                        expected[at as usize..end].fill(number);
                    }
                }
            }
            Op::new(Sync::all(&file)).await.unwrap();
            assert_eq!(host.durable_file("/file"), Some(expected.clone()));
            assert_eq!(host.file("/file"), Some(expected));
            file.close().await.unwrap();
            leaves_nothing(&host, &buffers).await;
        });
    });
}

/// Whether the kernel has never got it.
fn is_idle<O: corering::op::Operation>(op: &Op<O>) -> bool {
    format!("{op:?}").contains("not submitted")
}

// R67
#[test]
fn connects_that_are_dropped_leave_no_connection_on_either_side() {
    seeds(1_000, |seed| {
        World::new(seed).kernel(wild()).run(async |world| {
            let (host, server) = (world.host("main"), world.host("server"));
            let listening = server.clone();
            server.start(move || {
                let address = listening.addr(PORT);
                async move {
                    let listener = TcpListener::bind(address).await?;
                    loop {
                        let (mut stream, _) = listener.accept().await?;
                        corering::spawn(async move { while let Ok(Some(_)) = stream.recv().await {} });
                    }
                    #[allow(unreachable_code, reason = "it serves for ever; this says what its errors are")]
                    io::Result::Ok(())
                }
            });
            drop(connect(&server, PORT).await);
            for _ in 0..10 {
                let socket = Descriptor::socket(Domain::IPV4, Type::STREAM, None).unwrap();
                let connecting = Connect::new(&socket, server.addr(PORT).into());
                poll_and_drop(Op::new(connecting), below(5)).await;
                // One whose accept is dropped, likewise.
                let listener = TcpListener::bind(host.addr(0)).await.unwrap();
                let plain = Descriptor::socket(Domain::IPV4, Type::STREAM, None).unwrap();
                let mut accepts = Multishot::new(AcceptMulti::new(&plain));
                poll_once(&mut poll_fn(|cx| accepts.poll_next(cx))).await;
                drop(listener);
            }
            leaves_nothing(&host, &Buffers::default()).await;
            for _ in 0..200 {
                if server.descriptors() == 2 {
                    break;
                }
                corering::sleep(Duration::from_millis(100)).await;
            }
            // Its bell, and the listener.
            assert_eq!(server.descriptors(), 2);
        });
    });
}
