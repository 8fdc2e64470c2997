//! Setting a core up.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::around::Around;
use super::watchdog::Watchdog;
use super::{CHECK_GAP_NS, Core, RunError, Runtime};
use crate::blocking::Pool;
use crate::buf::{self, OwnedPool};
use crate::driver::host::Host;
use crate::driver::mailbox::Mailbox;
use crate::driver::{Driver, Sizes, clock};
use crate::error::SetupError;
use crate::op::context::Operations;
#[cfg(feature = "sim")]
use crate::sim;
use crate::sys::current::{self, CoreId};
use crate::sys::interrupt::Interrupts;
use crate::sys::thread;
use crate::task::{Local, Remote};
use crate::time::timers::Timers;

/// Makes a core and runs `future` on it, to its end. Then drops the tasks that are left, cancels what is in flight,
/// and returns the future's output. asyncio's `run`.
///
/// # Errors
///
/// [`RunError`]: io_uring cannot be had here (it says what to change), or nothing could ever run again before the
/// future has ended (it says which task waits for what).
///
/// # Panics
///
/// If the future panics, with the same payload, and when called from inside a runtime.
///
/// # Examples
///
/// ```
/// let answer = corering_runtime::run(async { 42 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> Result<F::Output, RunError> {
    Builder::new().run(future)
}

/// How a core is to be.
///
/// # Examples
///
/// ```
/// use corering_runtime::Builder;
/// use std::time::Duration;
///
/// let runtime = Builder::new()
///     .entries(512)
///     .buffers(128, 16 * 1024)
///     .spin(Duration::from_micros(20))
///     .thread_name("proxy-0")
///     .build()?;
/// # drop(runtime);
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build or run is called"]
pub struct Builder {
    entries: u32,
    cq_entries: Option<u32>,
    buffers: Vec<(u32, u32)>,
    default_buffers: bool,
    spin: Duration,
    thread_name: Option<String>,
    debug: bool,
    paused_time: bool,
    cleanup_limit: Duration,
    slow_poll: Duration,
    cancel_on_ctrl_c: bool,
    shuffled: Option<u64>,
    blocking_threads: usize,
    kernel_workers: Option<(u32, u32)>,
    embedded: bool,
    around: Around,
}

/// Pooled buffers of a core that was not told otherwise: 1,024 of 4 KiB, and 64 of 64 KiB for what comes in bulk.
const BUFFERS: [(u32, u32); 2] = [(1024, 4096), (64, 64 * 1024)];
/// Threads for calls that block, if as many are held up at once.
const BLOCKING_THREADS: usize = 64;
const MOST_BUFFERS: u32 = 32768;
const LARGEST_BUFFER: u32 = 16 << 20;

impl Builder {
    /// A core with a submission queue of 256, a completion queue of 4,096, and 1,024 pooled buffers of 4 KiB and 64 of
    /// 64 KiB.
    pub fn new() -> Self {
        Self {
            entries: 256,
            cq_entries: None,
            buffers: BUFFERS.to_vec(),
            default_buffers: true,
            spin: Duration::ZERO,
            thread_name: None,
            debug: std::env::var_os("CORERING_DEBUG").is_some_and(|value| value == "1"),
            paused_time: false,
            cleanup_limit: Duration::from_secs(10),
            slow_poll: Duration::from_millis(100),
            cancel_on_ctrl_c: false,
            shuffled: None,
            blocking_threads: BLOCKING_THREADS,
            kernel_workers: None,
            embedded: false,
            around: Around::default(),
        }
    }

    /// The length of the submission queue, rounded up to a power of two, and at least 8. A longer one means fewer calls when much is
    /// submitted in one turn; nothing is refused when it is full.
    pub fn entries(mut self, entries: u32) -> Self {
        self.entries = entries;
        self
    }

    /// The length of the completion queue; 16 times that of the submission queue unless it is set. What does not fit
    /// waits in the kernel.
    pub fn cq_entries(mut self, entries: u32) -> Self {
        self.cq_entries = Some(entries);
        self
    }

    /// Pools `count` buffers (a power of two) of `size` bytes for received data. Called again, it adds buffers of
    /// another size: a stream whose data fills a buffer takes the largest next, until that brings less than the smaller
    /// one would hold. With a count of 0 the core has none, and each receive brings its own memory. They take memory only
    /// from when they are first needed.
    pub fn buffers(mut self, count: u32, size: u32) -> Self {
        if std::mem::take(&mut self.default_buffers) {
            self.buffers.clear();
        }
        if count > 0 {
            self.buffers.push((count, size));
        }
        self
    }

    /// Looks for work that long before it sleeps: lower latency, for a busy core. Off by default.
    pub fn spin(mut self, duration: Duration) -> Self {
        self.spin = duration;
        self
    }

    /// Names the thread; the kernel keeps the first 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(name.into());
        self
    }

    /// Debug mode, which is also switched on by `CORERING_DEBUG=1`. On standard error it names
    ///
    /// - tasks that run for more than 100 ms (or [another limit](Self::slow_poll)) without giving way, while they still
    ///   do: a thread watches;
    /// - tasks that wait for a lock that they hold themselves, or that were given something and do not take it, since
    ///   another part of them runs;
    /// - [buffered writers](crate::io::BufWriter) that are dropped with bytes that they have not written.
    pub fn debug(mut self, on: bool) -> Self {
        self.debug = on;
        self
    }

    /// In debug mode, how long a task may run without giving way before that is told; 100 ms unless it is set.
    /// asyncio's `slow_callback_duration`.
    #[doc(alias = "slow_callback_duration")]
    pub fn slow_poll(mut self, limit: Duration) -> Self {
        self.slow_poll = limit;
        self
    }

    /// Lets the clock stand still, and jump to the next timer when all tasks wait: for tests. See
    /// [`time`](crate::time).
    pub fn paused_time(mut self, on: bool) -> Self {
        self.paused_time = on;
        self
    }

    /// Has the first Ctrl-C (SIGINT) drop the future that is run: its [cleanup](crate::task::cancel) and that of all tasks
    /// is run, and [`run`](Self::run) returns [`RunError::Interrupted`]. The second ends the process at once, as the
    /// first does without this. asyncio's `run` does that.
    ///
    /// One core of a process can listen at a time.
    pub fn cancel_on_ctrl_c(mut self, on: bool) -> Self {
        self.cancel_on_ctrl_c = on;
        self
    }

    /// Makes a core that a loop of somebody else turns: a window system's, another runtime's, your own. The
    /// [`Runtime`] then has a descriptor ([`AsFd`](std::os::fd::AsFd)) that is readable when there is something to do, and
    /// [`poll_once`](Runtime::poll_once) does it.
    ///
    /// It costs a descriptor, and one write of the kernel to it for each burst of completions.
    ///
    /// # Kernel
    ///
    /// `IORING_REGISTER_EVENTFD`.
    pub fn embedded(mut self, on: bool) -> Self {
        self.embedded = on;
        self
    }

    /// Has libraries that call tokio themselves find this runtime of it, in every task of the core: those that spawn, sleep
    /// or open sockets by tokio, such as `reqwest` and `sqlx`. Without one they panic: "there is no reactor running, must be
    /// called from the context of a Tokio 1.x runtime".
    ///
    /// What they spawn runs on the threads of that runtime, and so has to be `Send`; what it gives comes back to the core by
    /// a wake of its thread, some ten microseconds if that sleeps. The core's own tasks and I/O stay as they are. A
    /// runtime with one thread is enough for most:
    ///
    /// ```text
    /// let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    /// corering::Builder::new().tokio_context(tokio.handle().clone()).run(program())?
    /// ```
    ///
    /// It has to turn by itself, as that does, and to live longer than the core. What only uses tokio's traits, channels and
    /// locks (`tokio::io`, `tokio::sync`, tower) needs none. Calls on [other threads](crate::blocking) do not find it.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::Builder;
    ///
    /// let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    /// let handle = tokio.handle().clone();
    /// std::thread::spawn(move || tokio.block_on(std::future::pending::<()>()));
    ///
    /// let there = Builder::new().tokio_context(handle).run(async {
    ///     tokio::spawn(async { std::thread::current().id() }).await.expect("no panic")
    /// })?;
    /// assert_ne!(there, std::thread::current().id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "tokio-context")]
    pub fn tokio_context(mut self, handle: tokio::runtime::Handle) -> Self {
        self.around = Around::of(handle);
        self
    }

    /// How long [cleanup](crate::task::cancel) may take that a dropped future has left; ten seconds unless it is set.
    /// What takes longer is dropped, which is told to [`on_unhandled`](crate::task::on_unhandled).
    pub fn cleanup_limit(mut self, limit: Duration) -> Self {
        self.cleanup_limit = limit;
        self
    }

    /// How many threads the core may have for [calls that block](crate::blocking); 64 unless it is set. There is none until
    /// there is such a call, and rarely more than two: further ones come while these are held up.
    pub fn blocking_threads(mut self, most: usize) -> Self {
        self.blocking_threads = most;
        self
    }

    /// How many threads the kernel may have for this core's operations that it cannot begin without waiting
    /// ("iou-wrk"): `bounded` for those that end by themselves, on files and names, and `unbounded` for those that may wait
    /// for ever, as on a terminal. 0 leaves a limit as it is: unless it is set, four for each processor but no more than the
    /// submission queue is long, and as many as the user may have.
    ///
    /// What finds no thread waits for one. The opening of a named pipe that nobody opens from the other side has a bounded
    /// one as long as that lasts. The limits are the thread's, and so stay for later cores on the same one.
    ///
    /// # Kernel
    ///
    /// `IORING_REGISTER_IOWQ_MAX_WORKERS`; of each NUMA node.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::Builder;
    ///
    /// let answer = Builder::new().kernel_workers(2, 2).run(async { 42 })?;
    /// assert_eq!(answer, 42);
    /// # Ok::<(), corering_runtime::RunError>(())
    /// ```
    pub fn kernel_workers(mut self, bounded: u32, unbounded: u32) -> Self {
        self.kernel_workers = Some((bounded, unbounded));
        self
    }

    /// Runs ready tasks in an order drawn from the seed, for tests that must hold in any order: with the same seed
    /// (and a [paused clock](Self::paused_time), and no operations) it is the same one each time.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.shuffled = Some(seed);
        self
    }

    /// Whether timers end at their very deadlines in a simulation.
    #[cfg(feature = "sim")]
    pub(crate) fn is_exact(&self) -> bool {
        self.paused_time
    }

    /// Makes the core, on this thread.
    ///
    /// # Errors
    ///
    /// [`SetupError`], if io_uring cannot be had here, a size is impossible, or a runtime lives on this thread
    /// already.
    pub fn build(self) -> Result<Runtime, SetupError> {
        if current::has_core() {
            return Err(SetupError::AlreadyRunning);
        }
        let id = CoreId::next();
        let driver = Driver::new(self.sizes())?;
        if self.embedded {
            let registered = Host::new().and_then(|host| driver.register_host(Arc::new(host)));
            registered
                .map_err(|source| SetupError::Other { action: "create an eventfd for the loop around", source })?;
        }
        let mailbox = Mailbox::open(id, driver.host().cloned())
            .map_err(|source| SetupError::Other { action: "create an eventfd", source })?;
        if let Some(name) = &self.thread_name {
            thread::set_name(name);
        }
        if self.paused_time {
            clock::pause();
        }
        let interrupts = self.cancel_on_ctrl_c.then(|| Interrupts::listen(mailbox.bell())).transpose();
        let interrupts = interrupts.map_err(|source| SetupError::Other { action: "listen for Ctrl-C", source })?;
        let core = Core {
            interrupts,
            spin_ns: u64::try_from(self.spin.as_nanos()).unwrap_or(u64::MAX / 2),
            watchdog: self.debug.then(|| Watchdog::start(self.slow_poll)),
            ..self.core(id, driver, mailbox)?
        };
        let core = Box::new(core);
        core.install();
        core.operations.arm_bell(core.mailbox.bell());
        Ok(Runtime { core: ManuallyDrop::new(core), thread: PhantomData })
    }

    /// Makes a core in a simulated world, which has this thread's only while it runs.
    #[cfg(feature = "sim")]
    pub(super) fn build_in(&self, place: &sim::Place) -> Result<Box<Core>, SetupError> {
        if self.cancel_on_ctrl_c {
            let source = std::io::Error::new(std::io::ErrorKind::Unsupported, "a simulated core has no terminal");
            return Err(SetupError::Other { action: "listen for Ctrl-C", source });
        }
        if self.embedded {
            let source =
                std::io::Error::new(std::io::ErrorKind::Unsupported, "a simulated core is turned by its world");
            return Err(SetupError::Other { action: "embed it", source });
        }
        let id = CoreId::next();
        let driver = Driver::simulated(place, self.sizes())?;
        let mailbox = Mailbox::simulated(id, place);
        Ok(Box::new(self.core(id, driver, mailbox)?))
    }

    fn core(&self, id: CoreId, driver: Driver, mailbox: Arc<Mailbox>) -> Result<Core, SetupError> {
        let driver = Rc::new(driver);
        let pools = self.pools(id, &driver)?;
        if let Some((bounded, unbounded)) = self.kernel_workers {
            driver.limit_workers(bounded, unbounded)?;
        }
        Ok(Core {
            interrupts: None,
            operations: Operations::new(id, Rc::clone(&driver), pools),
            timers: Timers::new(id),
            tasks: Local::new(
                id,
                Remote::new(Arc::clone(&mailbox)),
                self.cleanup_limit,
                self.shuffled,
                driver.host().cloned(),
            ),
            driver,
            mailbox,
            blocking: Pool::new(self.blocking_threads, self.blocking_name()),
            spin_ns: 0,
            debug: self.debug,
            watchdog: None,
            check_ns: Cell::new(0),
            check_gap_ns: Cell::new(CHECK_GAP_NS),
            turns: Cell::new(0),
            checked_at: Cell::new(0),
            suspected: RefCell::default(),
            running: Cell::new(false),
            around: self.around.clone(),
            id,
            process: std::process::id(),
        })
    }

    fn blocking_name(&self) -> String {
        format!("{}-blocking", self.thread_name.as_deref().unwrap_or("core"))
    }

    fn sizes(&self) -> Sizes {
        let completions = self.cq_entries.unwrap_or_else(|| self.entries.saturating_mul(16).min(65536));
        Sizes { submissions: self.entries, completions }
    }

    /// Makes the core, runs `future` on it, and drops the core. See [`run`].
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    ///
    /// # Panics
    ///
    /// If the future panics, with the same payload, and when called from inside a runtime.
    #[track_caller]
    pub fn run<F: Future>(self, future: F) -> Result<F::Output, RunError> {
        assert!(
            crate::task::current().is_none(),
            "already inside a runtime on this thread: await the future or spawn it"
        );
        let runtime = self.build()?;
        runtime.try_block_on(future)
    }

    fn pools(&self, core: CoreId, driver: &Driver) -> Result<Vec<OwnedPool>, SetupError> {
        let mut pools = Vec::new();
        for (group, &(count, size)) in (0..).zip(&self.buffers) {
            let possible = count.is_power_of_two() && count <= MOST_BUFFERS && (1..=LARGEST_BUFFER).contains(&size);
            if !possible {
                return Err(SetupError::InvalidBuffers { count, size });
            }
            let pool = buf::Pool::create(core, group, count as u16, size)
                .map_err(|source| SetupError::Other { action: "map memory for pooled buffers", source })?;
            driver.register_pool(&pool)?;
            pools.push(pool);
        }
        Ok(pools)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
