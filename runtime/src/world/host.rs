//! A host of a world, as tests hold it: its programs, its disk, and what is done to it.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{Failure, Order, Outcome, Program, World};
use crate::executor::Builder;
use crate::sim::disk::View;
use crate::sim::{Call, Errno, HostId, Storage};

/// A machine of a [`World`]: it has an address, a disk, and cores that run programs. A handle: clones are the same host.
///
/// Programs use the ordinary calls: files are on the host's disk, which begins empty but for `/tmp`, and sockets have
/// its address (127.0.0.1 is the host itself).
///
/// # Examples
///
/// ```
/// use corering_runtime::time::sleep;
/// use corering_runtime::world::{Stopped, World};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// World::new(7).run(async |world: World| {
///     let host = world.host("db");
///     let starts = Rc::new(Cell::new(0));
///     let counted = starts.clone();
///     host.start(move || {
///         counted.set(counted.get() + 1);
///         async { sleep(Duration::from_secs(3600)).await }
///     });
///     let once = host.run(async { sleep(Duration::from_secs(60)).await });
///     sleep(Duration::from_secs(1)).await;
///     host.crash();
///     assert_eq!(once.await, Err(Stopped));
///     host.restart();
///     sleep(Duration::from_secs(1)).await;
///     assert_eq!(starts.get(), 2);
/// });
/// ```
#[derive(Clone)]
pub struct Host {
    pub(super) world: World,
    pub(super) id: HostId,
}

impl Host {
    pub(super) fn new(world: World, id: HostId) -> Self {
        Self { world, id }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.world.0.state.borrow().name_of(self.id).to_owned()
    }

    /// Its address, of 10.0.0.0/8: hosts are numbered in the order in which they are made, and `main` is the first.
    pub fn ip(&self) -> IpAddr {
        self.world.0.state.borrow().address_of(self.id)
    }

    /// Its address with a port.
    pub fn addr(&self, port: u16) -> SocketAddr {
        (self.ip(), port).into()
    }

    /// How its cores are from their next start on. Their order of tasks is drawn from the seed in any case, unless
    /// nothing is.
    pub fn builder(&self, builder: Builder) -> &Self {
        self.setup(|setup| setup.builder = builder);
        self
    }

    fn setup(&self, change: impl FnOnce(&mut super::Setup)) {
        if let Some(setup) = self.world.0.hosts.borrow_mut().get_mut(&self.id) {
            change(setup);
        }
    }

    /// Starts `program` on the host, on one core, now and whenever it is [started again](Self::restart). It takes the
    /// place of the one that was started before, which is ended by a crash.
    ///
    /// A program that panics, or ends with an error, fails the run. When it has ended, its core is gone, as a process
    /// is; the host stays up.
    #[track_caller]
    pub fn start<F>(&self, program: impl Fn() -> F + 'static)
    where
        F: Future<Output: Outcome> + 'static,
    {
        self.start_cores(1, move |_| program());
    }

    /// Starts `program` on each of `cores` cores, with the core's number. As [`start`](Self::start) otherwise.
    #[track_caller]
    pub fn start_cores<F>(&self, cores: usize, program: impl Fn(usize) -> F + 'static)
    where
        F: Future<Output: Outcome> + 'static,
    {
        let (world, id) = (self.world.clone(), self.id);
        let program: Rc<dyn Fn(usize) -> Program> = Rc::new(move |core| {
            let (world, future) = (world.clone(), program(core));
            Box::pin(async move {
                if let Some(error) = future.await.error() {
                    let text = format!("the program of host '{}' failed: {error}", world.0.state.borrow().name_of(id));
                    world.fail(Failure::Text(text));
                }
            })
        });
        let at = Location::caller();
        self.setup(|setup| (setup.cores, setup.program, setup.at) = (cores, Some(program), at));
        self.restart();
    }

    /// Runs `future` on a core of its own of this host, once, beside what else runs there. What awaits the result may be
    /// on another host.
    ///
    /// If the host has stopped, it is up for that again; the program that it was [started](Self::start) with is not
    /// begun. If `future` panics, the run fails.
    #[track_caller]
    pub fn run<F: Future + 'static>(&self, future: F) -> Running<F::Output> {
        let seat = Rc::new(RefCell::new(Seat { ended: None, waker: None }));
        let running = Running(Rc::clone(&seat));
        let ending = Ending(seat);
        let program: Program = Box::pin(async move {
            let output = future.await;
            ending.end(Ok(output));
        });
        if !self.is_up() {
            self.world.0.state.borrow_mut().start(self.id);
        }
        self.world.order(Order::Run(self.id, program, Location::caller()));
        running
    }

    /// Loses its power: what was not synced to its disk is gone or torn, as the seed draws it, and its peers hear nothing
    /// more of it. The futures of its programs are dropped at the end of the turn, and nothing that they ask for then
    /// happens.
    ///
    /// [`Storage`] says what a power loss takes; what is kept is [`durable_file`](Self::durable_file).
    pub fn crash(&self) {
        self.world.0.state.borrow_mut().crash(self.id);
        self.world.order(Order::Stop(self.id));
    }

    /// Ends its programs as `kill -9` does: the system goes on, closes their connections, and keeps what was written,
    /// synced or not. The futures are dropped as by a [crash](Self::crash).
    pub fn kill(&self) {
        self.world.0.state.borrow_mut().kill(self.id);
        self.world.order(Order::Stop(self.id));
    }

    /// Starts again what it was [started](Self::start) with, after a [crash](Self::crash) if any program runs. What was
    /// [run](Self::run) once is not begun again.
    pub fn restart(&self) {
        if self.is_running() {
            self.crash();
        }
        self.world.0.state.borrow_mut().start(self.id);
        self.world.order(Order::Start(self.id));
    }

    /// Whether programs may run on it: false from a [crash](Self::crash) or [kill](Self::kill) to its next start.
    pub fn is_up(&self) -> bool {
        self.world.0.state.borrow().is_up(self.id)
    }

    fn is_running(&self) -> bool {
        self.world.0.state.borrow().has_cores(self.id)
    }

    /// Stops its cores for as long as it is not [resumed](Self::resume), as a debugger or a busy machine does: they get no
    /// turn, while time passes. Its system goes on: it takes in what fits into its buffers, and connects.
    pub fn pause(&self) {
        self.world.0.state.borrow_mut().set_paused(self.id, true);
    }

    /// Lets its cores go on after a [pause](Self::pause). Timers that have become due meanwhile are due at once.
    pub fn resume(&self) {
        self.world.0.state.borrow_mut().set_paused(self.id, false);
    }

    /// Has the next such call of any of its programs fail, with the number of an error of the system (`libc::EIO`).
    /// Called again, the one after that.
    ///
    /// Nothing is done then, but what Linux does in spite of an error: a file is closed, and what could not be synced
    /// counts as written. Crashes do not change what shall fail.
    pub fn fail_next(&self, call: Call, errno: i32) {
        self.world.0.state.borrow_mut().fail_next(self.id, call, Errno(errno));
    }

    /// How its disk is, from now on; [`Storage::new`] unless it is set.
    pub fn storage(&self, storage: Storage) -> &Self {
        self.state(|state, id| state.host(id).disk.set_storage(storage));
        self
    }

    /// How many descriptors it may have open; 1,024 unless it is set. With that many, opening another fails with `EMFILE`.
    pub fn most_descriptors(&self, count: usize) -> &Self {
        self.state(|state, id| state.host(id).most_descriptors = count);
        self
    }

    /// How many descriptors are open. One of each core is the runtime's own.
    pub fn descriptors(&self) -> usize {
        self.world.0.state.borrow().descriptors_of(self.id)
    }

    /// Puts a file on its disk, durably, with the folders above it.
    ///
    /// # Errors
    ///
    /// What opening it for writing would say.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        self.state(|state, id| {
            let now_ns = state.now_ns();
            state.host(id).disk.install(path, bytes, now_ns).map_err(io::Error::from)
        })
    }

    /// The contents of a file as its programs see them; `None` if there is no such file.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        self.state(|state, id| state.host(id).disk.contents(path, View::Seen).ok())
    }

    /// The contents of a file as far as they are durable: what was synced, under a name whose directory was. A crash
    /// leaves them, and may leave some of what was written since. `None` if the name is not durable.
    pub fn durable_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        self.state(|state, id| state.host(id).disk.contents(path, View::Durable).ok())
    }

    /// The files of its disk as its programs see them, with their lengths, in the order of their paths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let files = self.state(|state, id| state.host(id).disk.files(View::Seen));
        files.into_iter().map(|(path, len)| (PathBuf::from(OsString::from_vec(path)), len)).collect()
    }

    /// The names in a folder of its disk, in the order of their making.
    ///
    /// # Errors
    ///
    /// If there is no such folder.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        let entries = self.state(|state, id| {
            let (disk, now_ns) = (&mut state.hosts[usize::from(id.0)].disk, state.now_ns);
            let folder = disk.open(path, libc::O_RDONLY | libc::O_DIRECTORY, 0, now_ns)?;
            let entries = disk.read_dir(folder);
            disk.close(folder);
            entries
        });
        Ok(entries?.into_iter().map(|entry| OsString::from_vec(entry.name)).collect())
    }

    /// Where a symbolic link of its disk leads.
    ///
    /// # Errors
    ///
    /// If there is no such link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        let target = self.state(|state, id| state.host(id).disk.readlink(path))?;
        Ok(PathBuf::from(OsString::from_vec(target)))
    }

    /// How many bytes of its disk are used.
    pub fn used_bytes(&self) -> u64 {
        self.state(|state, id| state.host(id).disk.used_bytes())
    }

    /// Flips bits of a byte of a file, as a disk may over the years: those that are 1 in `bits`. Programs see it when they
    /// read the byte from the disk; a page that is written anew hides it.
    ///
    /// # Errors
    ///
    /// If there is no such file (`ENOENT`), or no such byte on the disk (`EINVAL`).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::world::World;
    ///
    /// let host = World::new(1).host("db");
    /// host.write_file("/data", b"abc").unwrap();
    /// host.damage("/data", 1, 0b100_0000).unwrap();
    /// assert_eq!(host.file("/data").unwrap(), b"a\"c");
    /// assert!(host.damage("/data", 3, 1).is_err());
    /// ```
    pub fn damage(&self, path: impl AsRef<Path>, offset: u64, bits: u8) -> io::Result<()> {
        let path = path.as_ref().as_os_str().as_encoded_bytes();
        self.state(|state, id| state.host(id).disk.damage(path, offset, bits).map_err(io::Error::from))
    }

    /// Empties its page cache, but for what is not written back yet: what is read next has to come from the disk.
    pub fn drop_caches(&self) {
        self.state(|state, id| state.host(id).disk.drop_caches());
    }

    pub(super) fn state<R>(&self, look: impl FnOnce(&mut crate::sim::State, HostId) -> R) -> R {
        look(&mut self.world.0.state.borrow_mut(), self.id)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} at {})", self.name(), self.ip())
    }
}

struct Seat<T> {
    ended: Option<Result<T, Stopped>>,
    waker: Option<Waker>,
}

/// The host stopped before its program had ended: it crashed, was killed, or the world ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host stopped before its program had ended")
    }
}

impl std::error::Error for Stopped {}

/// A program that runs on a host; made by [`Host::run`]. Awaited, it gives what the program ended with, once. Dropped,
/// the program goes on.
///
/// # Errors
///
/// [`Stopped`].
#[must_use = "it runs in any case; await it to wait for its end"]
pub struct Running<T>(Rc<RefCell<Seat<T>>>);

impl<T> Future for Running<T> {
    type Output = Result<T, Stopped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(ended) = self.0.borrow_mut().ended.take() {
            return Poll::Ready(ended);
        }
        let waker = cx.waker().clone();
        let before = self.0.borrow_mut().waker.replace(waker);
        drop(before);
        Poll::Pending
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

/// The other end: says that it has stopped if it is dropped before.
struct Ending<T>(Rc<RefCell<Seat<T>>>);

impl<T> Ending<T> {
    fn end(&self, result: Result<T, Stopped>) {
        let mut seat = self.0.borrow_mut();
        if seat.ended.is_some() {
            return;
        }
        seat.ended = Some(result);
        let waker = seat.waker.take();
        drop(seat);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.end(Err(Stopped));
    }
}
