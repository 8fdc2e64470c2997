//! A scene with one of everything that operations work on, and what must hold after one of them was given up: that of
//! the real kernel, in a world, which has no named pipes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::op::socket2::{Domain, Type};
use corering::op::{Descriptor, DirectSlot, Op, OpenAt, Receive};
use corering::time::timeout;

use crate::tracked::Alive;
use crate::{Folder, Peer, folder, metrics, narrow, pair, pipe_from, pipe_to, put_into, soon, turn, visit};

/// More than sockets and pipes of a scene take at once.
pub(crate) const LARGE: usize = 200_000;
/// All places for direct descriptors of a core.
const PLACES: usize = 256;

pub(crate) struct Scene {
    pub(crate) alive: Alive,
    /// A socket on which nothing arrives, and which takes little.
    pub(crate) quiet: Descriptor,
    quiet_peer: Peer,
    /// A socket on which something has arrived.
    pub(crate) ready: Descriptor,
    _ready_peer: Peer,
    pub(crate) stream: TcpStream,
    stream_peer: Peer,
    pub(crate) listener: TcpListener,
    /// One that a client waits for already.
    pub(crate) busy: TcpListener,
    visitor: Peer,
    /// One to connect to, and one that lets nobody in any more.
    pub(crate) target: TcpListener,
    pub(crate) full: Full,
    _guest: Peer,
    pub(crate) empty_pipe: Descriptor,
    _writer: Peer,
    pub(crate) full_pipe: Descriptor,
    pipe_reader: Peer,
    pub(crate) directory: Folder,
    pub(crate) file: File,
    pub(crate) descriptor: Descriptor,
    small: Vec<Descriptor>,
}

/// A listener with the smallest queue.
pub(crate) struct Full(Descriptor);

impl Full {
    fn new() -> Self {
        let socket = Descriptor::socket(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        socket.listen(0).expect("listening");
        Self(socket)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr()?.as_socket().expect("of IP"))
    }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let (quiet, quiet_peer) = pair().await;
        narrow(&quiet);
        let (ready, mut ready_peer) = pair().await;
        ready_peer.write_all(b"ready").await.expect("room");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream_peer = visit(listener.local_addr().expect("an address")).await;
        let (stream, _) = soon(listener.accept()).await.expect("a connection");
        narrow(&stream);
        let busy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let visitor = visit(busy.local_addr().expect("an address")).await;

        let target = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let full = Full::new();
        let guest = visit(full.local_addr().expect("an address")).await;

        let (empty_pipe, writer) = pipe_from().await;
        let (full_pipe, pipe_reader) = pipe_to().await;

        let directory = folder();
        put_into(directory.join("small"), vec![1; 100]);
        put_into(directory.join("large"), vec![2; 40_000]);
        put_into(directory.join("pipe"), "");
        let file = File::options().read(true).write(true).open(directory.join("small")).await.expect("there");
        let descriptor = open(directory.join("large"), libc::O_RDWR).await;
        let small = vec![open(directory.join("small"), libc::O_RDONLY).await];
        Self {
            alive: Alive::default(),
            quiet,
            quiet_peer,
            ready,
            _ready_peer: ready_peer,
            stream,
            stream_peer,
            listener,
            busy,
            visitor,
            target,
            full,
            _guest: guest,
            empty_pipe,
            _writer: writer,
            full_pipe,
            pipe_reader,
            directory,
            file,
            descriptor,
            small,
        }
    }

    /// A file of the directory, opened once more.
    pub(crate) fn opened(&mut self, name: &str) -> Descriptor {
        assert_eq!(name, "small");
        self.small.pop().expect("asked for once")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What was given up ends: nothing is in flight, armed, held or open but what the scene itself has, and all of the
    /// scene still works. `whole` says that a write happened as a whole or not at all.
    pub(crate) async fn check(mut self, what: &str, whole: bool) {
        // Cancels reach the kernel, and come back.
        for _ in 0..3 {
            turn().await;
        }
        // What arrives now is for whoever asks now.
        self.quiet_peer.write_all(b"q").await.expect("open");
        let (result, bytes) = soon(Op::new(Receive::new(&self.quiet, Vec::with_capacity(8)))).await;
        assert_eq!((result.expect("received"), &bytes[..]), (1, &b"q"[..]), "{what}");
        self.stream_peer.write_all(b"s").await.expect("open");
        let (result, bytes) = soon(self.stream.read(Vec::with_capacity(8))).await;
        assert_eq!((result.expect("received"), &bytes[..]), (1, &b"s"[..]), "{what}");

        // Nobody who connected is lost.
        let accepted = until_the_last(&self.listener).await;
        assert_eq!(accepted.len(), 1, "{what}");
        let accepted = until_the_last(&self.busy).await;
        let visitor_was_accepted = accepted.len() < 2;

        // Nothing is left: what was connected is closed, and all places for direct descriptors are free.
        let Self { listener, busy, stream, mut visitor, target, .. } = self;
        listener.close().await.expect("closed");
        busy.close().await.expect("closed");
        drop(self.small);
        let mut went_out = [0; 3];
        for looks in 0.. {
            went_out[0] += drain(&mut self.quiet_peer);
            went_out[1] += drain(&mut self.stream_peer);
            went_out[2] += drain(&mut self.pipe_reader);
            let metrics = metrics();
            let open = self.directory.open();
            let left = (metrics.operations, metrics.timers, metrics.tasks, self.alive.count(), open);
            if left == (0, 0, 1, 0, 2) {
                break;
            }
            assert!(looks < 20_000, "{what}: operations, timers, tasks, buffers, files: {left:?}");
            turn().await;
        }
        stream.close().await.expect("closed");
        if visitor_was_accepted {
            assert_closed(&mut visitor, what).await;
        }
        while let Ok(server) = timeout(Duration::from_millis(1), target.accept()).await {
            let (mut server, _) = server.expect("a connection");
            loop {
                match soon(server.recv()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
                        break;
                    }
                }
            }
        }
        target.close().await.expect("closed");
        if whole {
            assert!(went_out.iter().all(|bytes| bytes % LARGE == 0), "{what}: {went_out:?} bytes are a part");
        }
        let places: Vec<_> = std::iter::from_fn(DirectSlot::take).take(PLACES).collect();
        assert_eq!(places.len(), PLACES, "{what}");
    }
}

async fn open(path: PathBuf, flags: i32) -> Descriptor {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no zero byte");
    Op::new(OpenAt::new(path, flags | libc::O_CLOEXEC, 0)).await.expect("there")
}

/// Connects, and accepts until that connection comes. Who came, in order.
async fn until_the_last(listener: &TcpListener) -> Vec<SocketAddr> {
    let last = visit(listener.local_addr().expect("an address")).await;
    let last = last.local_addr();
    let mut came = Vec::new();
    while came.last() != Some(&last) {
        came.push(soon(listener.accept()).await.expect("a connection").1);
    }
    came
}

async fn assert_closed(peer: &mut Peer, what: &str) {
    let ended = soon(peer.read_to_end()).await;
    assert!(
        ended.is_ok() || ended.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
        "{what}: the connection was left open: {ended:?}"
    );
}

/// Reads what lies there, and says how much.
fn drain(from: &mut Peer) -> usize {
    let mut all = 0;
    while let Some(bytes) = from.read_now(65536).ok().filter(|bytes| !bytes.is_empty()) {
        all += bytes.len();
    }
    all
}
