//! The real filling: cores on the kernel of this machine, its files and its sockets.
//!
//! Every name here is one that another filling has to give as well, with the same meaning, but for `sockets`, `pipe` and
//! the `_once` forms, which only modules for the real kernel use. Bodies are functions, since another filling may run
//! them several times, each run in a world of its own: what a body needs is made inside it, and what it leaves is looked
//! at by the `check` of the same run.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use corering::net::Shutdown;
use corering::op::Descriptor;
use corering::{Builder, RunError};
use socket2::SockRef;

use crate::{metrics, paused, turn};

/// So many, where a test takes very many.
pub(crate) const MANY: usize = 1_000_000;
/// The longest that anything is waited for.
const LONG: Duration = Duration::from_secs(10);

/// Runs a body on a core of its own.
#[track_caller]
pub(crate) fn run<T>(body: impl AsyncFn() -> T) -> T {
    run_on(Builder::new(), body)
}

#[track_caller]
pub(crate) fn run_on<T>(builder: Builder, body: impl AsyncFn() -> T) -> T {
    builder.run(body()).expect("io_uring")
}

/// Runs a body, and looks at what it gave when its core has ended.
#[track_caller]
pub(crate) fn run_then<T>(builder: Builder, body: impl AsyncFn() -> T, check: impl Fn(T)) {
    check(run_on(builder, body));
}

/// Runs a body that may fail to end, and looks at how it went when its core has ended.
#[track_caller]
pub(crate) fn try_run_then<T>(builder: Builder, body: impl AsyncFn() -> T, check: impl Fn(Result<T, RunError>)) {
    check(builder.run(body()));
}

/// Runs a body on a core of its own, and checks that it leaves nothing behind: no task, timer, operation or pooled
/// buffer, and no completion that nobody knew.
#[track_caller]
pub(crate) fn clean<T>(body: impl AsyncFn() -> T) -> T {
    clean_on(Builder::new(), body)
}

#[track_caller]
pub(crate) fn clean_on<T>(builder: Builder, body: impl AsyncFn() -> T) -> T {
    clean_once_on(builder, body)
}

/// Runs a body with a clock that jumps, and checks that it leaves nothing behind.
#[track_caller]
pub(crate) fn scene<T>(body: impl AsyncFn() -> T) -> T {
    clean_on(paused(), body)
}

#[track_caller]
pub(crate) fn clean_once<T>(body: impl AsyncFnOnce() -> T) -> T {
    clean_once_on(Builder::new(), body)
}

#[track_caller]
pub(crate) fn clean_once_on<T>(builder: Builder, body: impl AsyncFnOnce() -> T) -> T {
    let runtime = builder.build().expect("io_uring");
    let output = runtime.block_on(async {
        let output = body().await;
        // What was dropped ends in the background: wait until it has.
        let began = Instant::now();
        loop {
            let metrics = metrics();
            assert!(began.elapsed() < LONG, "something is left: {metrics:?}");
            if (metrics.operations, metrics.tasks, metrics.timers, metrics.buffers_held) == (0, 1, 0, 0) {
                assert_eq!(metrics.unknown_completions, 0);
                return output;
            }
            poll_fn({
                let mut polled = false;
                move |cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
                }
            })
            .await;
        }
    });
    drop(runtime);
    output
}

/// Does what has to take less than so long by the clock of the world, whatever the clock of a core says.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, body: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let output = body();
    assert!(began.elapsed() < limit, "it took {:?}", began.elapsed());
    output
}

/// Does what may be stuck, and notes how far it got: if it does not end, that is told.
pub(crate) fn watched(name: &'static str, body: impl FnOnce(&dyn Fn(String)) + Send + 'static) {
    let now = Arc::new(Mutex::new(String::new()));
    let (ended, end) = mpsc::channel();
    std::thread::spawn({
        let now = now.clone();
        move || {
            let note = |what| *now.lock().unwrap_or_else(PoisonError::into_inner) = what;
            let result = catch_unwind(AssertUnwindSafe(|| body(&note)));
            // If it took too long, nobody waits any more.
            drop(ended.send(result));
        }
    });
    let result = end.recv_timeout(Duration::from_secs(200));
    let now = now.lock().unwrap_or_else(PoisonError::into_inner);
    match result {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("'{name}' failed with {now}"),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("'{name}' does not end with {now}"),
    }
}

/// As long as it lives, ready tasks run in the order in which they were woken: that is what the executor does, but it
/// does not promise it, and another filling has them run in any order.
pub(crate) struct Special(());

pub(crate) fn tasks_in_order() -> Special {
    Special(())
}

/// As long as it lives, the kernel does at once, and whole, what it can: as this one mostly does.
pub(crate) fn quiet_kernel() -> Special {
    Special(())
}

/// How many seeds a test tries, unless CORERING_SEEDS says another number.
pub(crate) fn seeds(usual: u64) -> u64 {
    std::env::var("CORERING_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

/// Drops something on another thread.
pub(crate) fn drop_elsewhere(value: impl Send + 'static) {
    std::thread::spawn(move || drop(value)).join().expect("no panic");
}

/// A directory on a disk, where files have a page cache and direct I/O. It goes with what is in it.
pub(crate) struct Folder(tempfile::TempDir);

pub(crate) fn folder() -> Folder {
    Folder(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"))
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// How many files in it are open.
    pub(crate) fn open(&self) -> usize {
        let open = std::fs::read_dir("/proc/self/fd").expect("there").flatten();
        open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(self.path()))).count()
    }
}

/// What others find in a file now, whatever the core has in flight.
pub(crate) fn found_in(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).expect("there")
}

/// How long others find a file now.
pub(crate) fn length_of(path: impl AsRef<Path>) -> u64 {
    std::fs::metadata(path).expect("there").len()
}

/// Others put bytes into a file, which is made anew.
pub(crate) fn put_into(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    std::fs::write(path, bytes).expect("room");
}

/// Others take the name of a file away.
pub(crate) fn remove(path: impl AsRef<Path>) {
    std::fs::remove_file(path).expect("there");
}

/// The other side of a connection or pipe, which is not of any core: what it does is done at once, and takes part in
/// no turn of the loop. Only where it has to wait for this core it gives way.
pub(crate) struct Peer(File);

/// A socket, and its other side.
pub(crate) async fn pair() -> (Descriptor, Peer) {
    let (ours, theirs) = sockets();
    (ours, Peer::new(theirs))
}

/// A socket that keeps messages apart, and its other side.
pub(crate) async fn messages() -> (Descriptor, Peer) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    let made =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: both are new, and nobody else's.
    let [ours, theirs] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (Descriptor::new(ours), Peer::new(theirs))
}

/// A pipe to read from, and its other side.
pub(crate) async fn pipe_from() -> (Descriptor, Peer) {
    let (reader, writer) = pipe();
    (Descriptor::new(reader.into()), Peer::new(writer))
}

/// A pipe to write to, and its other side.
pub(crate) async fn pipe_to() -> (Descriptor, Peer) {
    let (reader, writer) = pipe();
    (Descriptor::new(writer), Peer::new(reader))
}

/// A socket, and its other side as the standard library has it.
pub(crate) fn sockets() -> (Descriptor, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (Descriptor::new(ours.into()), theirs)
}

/// The ends of a pipe: to read from, and to write to.
pub(crate) fn pipe() -> (File, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both are new, and nobody else's.
    let [reader, writer] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (reader.into(), writer)
}

/// Someone connects to a listener: the connection is there, and perhaps not accepted yet.
pub(crate) async fn visit(address: SocketAddr) -> Peer {
    Peer::new(TcpStream::connect(address).expect("there"))
}

/// So many bytes are much.
pub(crate) const MUCH: usize = 10 << 20;

/// Makes a socket take little at once.
pub(crate) fn narrow(socket: &impl AsFd) {
    SockRef::from(socket).set_send_buffer_size(2048).expect("set");
}

impl Peer {
    fn new(end: impl Into<OwnedFd>) -> Self {
        use std::os::fd::AsRawFd as _;
        let end = end.into();
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
        Self(end.into())
    }

    /// Writes what goes in at once, and says how much.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<usize> {
        self.0.write(bytes.as_ref())
    }

    pub(crate) async fn write_all(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            match self.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => self.give_way(error).await?,
            }
        }
        Ok(())
    }

    /// Reads up to so many bytes: none at the end.
    pub(crate) async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut room = vec![0; most];
        loop {
            match self.0.read(&mut room) {
                Ok(count) => {
                    room.truncate(count);
                    return Ok(room);
                }
                Err(error) => self.give_way(error).await?,
            }
        }
    }

    pub(crate) async fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < count {
            let some = self.read(count - all.len()).await?;
            if some.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            all.extend(some);
        }
        Ok(all)
    }

    pub(crate) async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let some = self.read(65536).await?;
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some);
        }
    }

    /// If an operation would have to wait, lets the loop turn; other errors it gives back.
    async fn give_way(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            ErrorKind::WouldBlock => {
                turn().await;
                Ok(())
            }
            ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        }
    }

    /// Whether the side of the core is closed, or soon is: for when there is no core any more.
    pub(crate) fn is_closed(&mut self) -> bool {
        let began = Instant::now();
        loop {
            match self.0.read(&mut [0; 1]) {
                Ok(count) => return count == 0,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            if began.elapsed() > LONG {
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// What it sends is at its end.
    pub(crate) fn shut_down(&mut self) {
        SockRef::from(&self.0).shutdown(Shutdown::Write).expect("connected");
    }

    /// Closes so that the other side gets a reset, not an end.
    pub(crate) fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("set");
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        let address = SockRef::from(&self.0).local_addr().expect("an address");
        address.as_socket().expect("of a network")
    }
}
