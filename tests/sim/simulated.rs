//! The simulated filling: bodies run on the host `main` of worlds, once in order and then from several seeds.
//!
//! Every name has the meaning that it has in `real`; see there. `CORERING_SEEDS=n` tries n seeds, and `CORERING_SEED=s`
//! only that one.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::thread::LocalKey;
use std::time::Duration;

use corering::op::{Descriptor, SocketOption};
use corering::sim::{Host, Kernel, World, suite};
use corering::{Builder, RunError};

use crate::{metrics, turn};

/// So many, where a test takes very many.
pub(crate) const MANY: usize = 20_000;
/// From how many seeds each body runs.
const SEEDS: u64 = 8;
/// How often it is looked whether what was given up has ended, 50 µs apart.
const LOOKS: u32 = 20_000;

/// No body takes as many turns.
const MOST_TURNS: u64 = 3_000_000;

thread_local! {
    /// The host whose program runs.
    static HERE: RefCell<Option<Host>> = const { RefCell::new(None) };
    static FOLDERS: Cell<u32> = const { Cell::new(0) };
    static TASKS_IN_ORDER: Cell<bool> = const { Cell::new(false) };
    static QUIET_KERNEL: Cell<bool> = const { Cell::new(false) };
}

fn here() -> Host {
    HERE.with_borrow(Option::clone).expect("in a world")
}

/// How worlds are as long as it lives.
pub(crate) struct Special(&'static LocalKey<Cell<bool>>);

fn special(what: &'static LocalKey<Cell<bool>>) -> Special {
    what.set(true);
    Special(what)
}

impl Drop for Special {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

pub(crate) fn tasks_in_order() -> Special {
    special(&TASKS_IN_ORDER)
}

pub(crate) fn quiet_kernel() -> Special {
    special(&QUIET_KERNEL)
}

/// The worlds of a test: none is the one in which nothing is drawn.
fn worlds() -> Vec<Option<u64>> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a whole number"));
    if let Some(seed) = number("CORERING_SEED") {
        return vec![Some(seed)];
    }
    std::iter::once(None).chain((0..number("CORERING_SEEDS").unwrap_or(SEEDS)).map(Some)).collect()
}

/// Runs something in each of them, and says how to see a failure again. What the last gave.
#[track_caller]
fn in_worlds<T>(run: impl Fn(World) -> T) -> T {
    let mut output = None;
    for seed in worlds() {
        let mut world = seed.map_or_else(World::in_order, World::new);
        world = world.most_turns(MOST_TURNS);
        if TASKS_IN_ORDER.get() {
            world = world.tasks_in_order();
        }
        if QUIET_KERNEL.get() {
            world = world.kernel(Kernel::plain());
        }
        HERE.set(Some(world.host("main")));
        FOLDERS.set(0);
        match catch_unwind(AssertUnwindSafe(|| run(world))) {
            Ok(ran) => output = Some(ran),
            Err(payload) => fail(seed, payload),
        }
    }
    output.expect("at least one world")
}

fn fail(seed: Option<u64>, payload: Box<dyn Any + Send>) -> ! {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    let seed = seed.map_or("CORERING_SEEDS=0".to_owned(), |seed| format!("CORERING_SEED={seed}"));
    eprintln!("see it again: {seed} cargo test --features sim --test sim {test} -- --exact --nocapture");
    resume_unwind(payload)
}

#[track_caller]
pub(crate) fn run<T>(body: impl AsyncFn() -> T) -> T {
    run_on(Builder::new(), body)
}

#[track_caller]
pub(crate) fn run_on<T>(builder: Builder, body: impl AsyncFn() -> T) -> T {
    in_worlds(|world| world.run_on(builder.clone(), async |_| body().await))
}

#[track_caller]
pub(crate) fn run_then<T>(builder: Builder, body: impl AsyncFn() -> T, check: impl Fn(T)) {
    in_worlds(|world| check(world.run_on(builder.clone(), async |_| body().await)));
}

#[track_caller]
pub(crate) fn try_run_then<T>(builder: Builder, body: impl AsyncFn() -> T, check: impl Fn(Result<T, RunError>)) {
    in_worlds(|world| check(world.try_run_on(builder.clone(), async |_| body().await)));
}

#[track_caller]
pub(crate) fn clean<T>(body: impl AsyncFn() -> T) -> T {
    clean_on(Builder::new(), body)
}

/// Here it is seen, too, whether a descriptor is open or a request in the kernel that nobody knows of any more.
#[track_caller]
pub(crate) fn clean_on<T>(builder: Builder, body: impl AsyncFn() -> T) -> T {
    run_on(builder, async || {
        let output = body().await;
        let host = here();
        for _ in 0..LOOKS {
            let metrics = metrics();
            let of_core = (metrics.operations, metrics.tasks, metrics.timers, metrics.buffers_held);
            // A core has a bell, and hears it; and it keeps pipes.
            let known = 1 + 2 * metrics.pipes_kept;
            if of_core == (0, 1, 0, 0) && (host.descriptors(), host.requests()) == (known, 1) {
                assert_eq!(metrics.unknown_completions, 0);
                return output;
            }
            turn().await;
        }
        panic!("{} descriptors, {} requests and {:?} are left", host.descriptors(), host.requests(), metrics());
    })
}

#[track_caller]
pub(crate) fn scene<T>(body: impl AsyncFn() -> T) -> T {
    clean_on(crate::paused(), body)
}

/// Nothing in a world takes time by any other clock.
pub(crate) fn within<T>(_limit: Duration, body: impl FnOnce() -> T) -> T {
    body()
}

/// Does what may be stuck, and notes how far it got. A world that does not end says so itself.
pub(crate) fn watched(name: &'static str, body: impl FnOnce(&dyn Fn(String)) + Send + 'static) {
    let now = RefCell::new(String::new());
    let note = |what| now.replace(what);
    let result = catch_unwind(AssertUnwindSafe(|| body(&|what| drop(note(what)))));
    if result.is_err() {
        panic!("'{name}' failed with {}", now.borrow());
    }
}

/// What tries seeds of its own tries few: it does so in each world.
pub(crate) fn seeds(usual: u64) -> u64 {
    usual.min(2)
}

/// Drops something on another core, soon.
pub(crate) fn drop_elsewhere(value: impl Send + 'static) {
    drop(here().run(async move { drop(value) }));
}

/// A directory on the host's disk.
pub(crate) struct Folder(PathBuf);

pub(crate) fn folder() -> Folder {
    FOLDERS.set(FOLDERS.get() + 1);
    let folder = Folder(PathBuf::from(format!("/tmp/{}", FOLDERS.get())));
    put_into(folder.join("made"), "");
    remove(folder.join("made"));
    folder
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// How many files are open: here nobody opens any elsewhere.
    pub(crate) fn open(&self) -> usize {
        here().open_files()
    }
}

pub(crate) fn found_in(path: impl AsRef<Path>) -> Vec<u8> {
    here().file(path).expect("there")
}

pub(crate) fn length_of(path: impl AsRef<Path>) -> u64 {
    found_in(path).len() as u64
}

pub(crate) fn put_into(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    here().write_file(path, bytes.as_ref()).expect("room");
}

pub(crate) fn remove(path: impl AsRef<Path>) {
    here().remove_file(path).expect("there");
}

/// The other side of a connection, on the same host, where what is sent arrives at once.
pub(crate) struct Peer(suite::Peer);

pub(crate) async fn pair() -> (Descriptor, Peer) {
    connected(false)
}

pub(crate) async fn messages() -> (Descriptor, Peer) {
    connected(true)
}

/// Not a pipe, which a world has not, but it takes no more at once than one.
pub(crate) async fn pipe_from() -> (Descriptor, Peer) {
    connected(false)
}

pub(crate) async fn pipe_to() -> (Descriptor, Peer) {
    let (ours, mut theirs) = connected(false);
    here().set_option(&ours, SocketOption::SendBuffer, 16 << 10).expect("set");
    theirs.0.set_buffers(16 << 10).expect("set");
    (ours, theirs)
}

fn connected(keeps_messages: bool) -> (Descriptor, Peer) {
    let (ours, theirs) = here().pair(keeps_messages).expect("a pair");
    (ours, Peer(theirs))
}

pub(crate) async fn visit(address: SocketAddr) -> Peer {
    let peer = here().visit(address).expect("there");
    while !peer.connected().expect("there") {
        turn().await;
    }
    Peer(peer)
}

/// So many bytes are much: each part of them goes through this process alone.
pub(crate) const MUCH: usize = 1 << 20;

pub(crate) fn narrow(socket: &impl AsFd) {
    here().set_option(socket, SocketOption::SendBuffer, 2048).expect("set");
}

impl Peer {
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<usize> {
        self.0.send(bytes.as_ref())
    }

    pub(crate) async fn write_all(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            match self.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => give_way(error).await?,
            }
        }
        Ok(())
    }

    /// Reads what is there, up to so many bytes.
    pub(crate) fn read_now(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut room = vec![0; most];
        let count = self.0.receive(&mut room)?;
        room.truncate(count);
        Ok(room)
    }

    pub(crate) async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        loop {
            match self.read_now(most) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => give_way(error).await?,
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

    pub(crate) fn is_closed(&mut self) -> bool {
        match self.read_now(1) {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn shut_down(&mut self) {
        self.0.shutdown(Shutdown::Write).expect("connected");
    }

    pub(crate) fn reset(self) {
        self.0.reset().expect("set");
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }
}

async fn give_way(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock => {
            turn().await;
            Ok(())
        }
        _ => Err(error),
    }
}
