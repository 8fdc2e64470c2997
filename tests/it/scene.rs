//! A scene with one of everything that operations work on, and what must hold after one of them was given up.

use std::ffi::CString;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::op::{Descriptor, DirectSlot, Op, Receive};

use crate::tracked::Alive;
use crate::{Folder, folder, pipe, put_into, sockets, soon, turn};

/// More than sockets and pipes of a scene take at once.
pub(crate) const LARGE: usize = 200_000;
/// All places for direct descriptors of a core.
const PLACES: usize = 256;

pub(crate) struct Scene {
    pub(crate) alive: Alive,
    /// A socket on which nothing arrives, and which takes little.
    pub(crate) quiet: Descriptor,
    quiet_peer: UnixStream,
    /// A socket on which something has arrived.
    pub(crate) ready: Descriptor,
    _ready_peer: UnixStream,
    pub(crate) stream: TcpStream,
    stream_peer: StdStream,
    pub(crate) listener: TcpListener,
    /// One that a client waits for already.
    pub(crate) busy: TcpListener,
    visitor: StdStream,
    /// One to connect to, and one that lets nobody in any more.
    pub(crate) target: StdListener,
    pub(crate) full: StdListener,
    _guest: StdStream,
    pub(crate) empty_pipe: Descriptor,
    _writer: OwnedFd,
    pub(crate) full_pipe: Descriptor,
    pipe_reader: std::fs::File,
    pub(crate) directory: Folder,
    pub(crate) file: File,
    pub(crate) descriptor: Descriptor,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let (quiet, quiet_peer) = sockets();
        socket2::SockRef::from(&quiet.as_fd()).set_send_buffer_size(2048).expect("set");
        quiet_peer.set_nonblocking(true).expect("set");
        let (ready, mut ready_peer) = sockets();
        ready_peer.write_all(b"ready").expect("room");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream_peer = StdStream::connect(listener.local_addr().expect("an address")).expect("there");
        stream_peer.set_nonblocking(true).expect("set");
        let (stream, _) = soon(listener.accept()).await.expect("a connection");
        socket2::SockRef::from(&stream).set_send_buffer_size(2048).expect("set");
        let busy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let visitor = StdStream::connect(busy.local_addr().expect("an address")).expect("there");

        let target = StdListener::bind("127.0.0.1:0").expect("a port");
        target.set_nonblocking(true).expect("set");
        let full = StdListener::bind("127.0.0.1:0").expect("a port");
        socket2::SockRef::from(&full).listen(0).expect("set");
        let guest = StdStream::connect(full.local_addr().expect("an address")).expect("the last one");

        let (empty, writer) = pipe();
        let (pipe_reader, full_pipe) = pipe();
        nonblocking(&pipe_reader);

        let directory = folder();
        put_into(directory.join("small"), vec![1; 100]);
        put_into(directory.join("large"), vec![2; 40_000]);
        let name = CString::new(directory.join("pipe").as_os_str().as_bytes()).expect("no zero byte");
        // SAFETY: a valid path.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let file = File::options().read(true).write(true).open(directory.join("small")).await.expect("there");
        let options = || std::fs::OpenOptions::new().read(true).write(true).to_owned();
        let descriptor = options().open(directory.join("large")).expect("there");
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
            empty_pipe: Descriptor::new(OwnedFd::from(empty)),
            _writer: writer,
            full_pipe: Descriptor::new(full_pipe),
            pipe_reader,
            directory,
            file,
            descriptor: Descriptor::new(OwnedFd::from(descriptor)),
        }
    }

    /// A file of the directory, opened once more.
    pub(crate) fn opened(&self, name: &str) -> Descriptor {
        Descriptor::new(std::fs::File::open(self.path(name)).expect("there").into())
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
        self.quiet_peer.write_all(b"q").expect("open");
        let (result, bytes) = soon(Op::new(Receive::new(&self.quiet, Vec::with_capacity(8)))).await;
        assert_eq!((result.expect("received"), &bytes[..]), (1, &b"q"[..]), "{what}");
        self.stream_peer.write_all(b"s").expect("open");
        let (result, bytes) = soon(self.stream.read(Vec::with_capacity(8))).await;
        assert_eq!((result.expect("received"), &bytes[..]), (1, &b"s"[..]), "{what}");

        // Nobody who connected is lost.
        let accepted = until_the_last(&self.listener).await;
        assert_eq!(accepted.len(), 1, "{what}");
        let accepted = until_the_last(&self.busy).await;
        let visitor_was_accepted = accepted.len() < 2;

        // Nothing is left: what was connected is closed, and all places for direct descriptors are free.
        let Self { listener, busy, stream, .. } = self;
        listener.close().await.expect("closed");
        busy.close().await.expect("closed");
        let began = Instant::now();
        let mut went_out = [0; 3];
        loop {
            went_out[0] += drain(&mut self.quiet_peer);
            went_out[1] += drain(&mut self.stream_peer);
            went_out[2] += drain(&mut self.pipe_reader);
            let metrics = corering::metrics().expect("a core");
            let open = self.directory.open();
            let left = (metrics.operations, metrics.timers, metrics.tasks, self.alive.count(), open);
            if left == (0, 0, 1, 0, 2) {
                break;
            }
            assert!(began.elapsed().as_secs() < 10, "{what}: operations, timers, tasks, buffers, files: {left:?}");
            turn().await;
        }
        stream.close().await.expect("closed");
        if visitor_was_accepted {
            assert_closed(&mut self.visitor, what);
        }
        while let Ok((mut server, _)) = self.target.accept() {
            server.set_nonblocking(false).expect("set");
            assert_closed(&mut server, what);
        }
        if whole {
            assert!(went_out.iter().all(|bytes| bytes % LARGE == 0), "{what}: {went_out:?} bytes are a part");
        }
        let places: Vec<_> = std::iter::from_fn(DirectSlot::take).take(PLACES).collect();
        assert_eq!(places.len(), PLACES, "{what}");
    }
}

/// Connects, and accepts until that connection comes. Who came, in order.
async fn until_the_last(listener: &TcpListener) -> Vec<SocketAddr> {
    let last = StdStream::connect(listener.local_addr().expect("an address")).expect("there");
    let last = last.local_addr().expect("an address");
    let mut came = Vec::new();
    while came.last() != Some(&last) {
        came.push(soon(listener.accept()).await.expect("a connection").1);
    }
    came
}

fn assert_closed(stream: &mut StdStream, what: &str) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(
        ended.is_ok() || ended.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
        "{what}: the connection was left open: {ended:?}"
    );
}

fn nonblocking(pipe: &impl AsFd) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::fcntl(pipe.as_fd().as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
}

/// Reads what lies there, and says how much.
fn drain(from: &mut impl std::io::Read) -> usize {
    let (mut room, mut all) = (vec![0; 65536], 0);
    while let Ok(count @ 1..) = from.read(&mut room) {
        all += count;
    }
    all
}
