//! An async runtime for Linux on io_uring: one core, one ring, one thread; sound under cancellation; with the words
//! of asyncio.
//!
//! ```no_run
//! use corering::{io, net::TcpListener};
//!
//! #[corering::main]
//! async fn main() -> io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:7000").await?;
//!     loop {
//!         let (mut stream, peer) = listener.accept().await?; // dropping this future loses no connection
//!         corering::spawn(async move {
//!             while let Some(chunk) = stream.recv().await? { // pooled: an idle connection holds no buffer
//!                 stream.write_all(chunk).await.0?; // owned buffers come back in `.1`
//!             }
//!             io::Result::Ok(())
//!         })
//!         .name(format_args!("echo {peer}"));
//!     }
//! }
//! ```
//!
//! # A tour
//!
//! **Running.** [`run`] makes a core, runs a future on it to its end, and takes the core down again;
//! [`#[corering::main]`](main) and [`#[corering::test]`](test) write that for you, and [`Builder`] says how the core
//! is to be. Where io_uring cannot be had, the [`SetupError`] names the setting to change, and [`probe`] tells what
//! this kernel and container allow.
//!
//! **Tasks.** [`spawn`] starts one; its future need not be `Send`. The [`JoinHandle`] awaits, aborts or names it. A
//! task that panics ends itself alone; what nobody awaits is told to [`task::on_unhandled`].
//!
//! ```
//! corering::run(async {
//!     let slow = corering::spawn(async {
//!         corering::time::sleep(std::time::Duration::from_secs(3600)).await;
//!     });
//!     slow.abort();
//!     assert!(slow.await.unwrap_err().is_cancelled());
//! })?;
//! # Ok::<(), corering::RunError>(())
//! ```
//!
//! **Time.** [`time::sleep`], [`time::interval`] and [`time::timeout`] never end early. Tests can stop the clock:
//!
//! ```
//! # mod tests {
//! #[corering::test(paused_time)]
//! async fn an_hour_takes_no_time() {
//!     corering::time::sleep(std::time::Duration::from_secs(3600)).await;
//! }
//! # }
//! ```
//!
//! **Buffers** belong to the operation while the kernel uses them, and come back with the result, also on error. Any
//! `Vec<u8>`, boxed slice, array, string, and parts of these will do; see [`buf`].
//!
//! ```
//! # let path = std::env::temp_dir().join(format!("corering-tour-{}", std::process::id()));
//! use corering::fs;
//!
//! corering::run(async {
//!     fs::write(&path, "hello, world").await?;
//!     let file = fs::File::open(&path).await?;
//!     let (count, buffer) = file.read_at(Vec::with_capacity(5), 7).await;
//!     assert_eq!((count?, &buffer[..]), (5, &b"world"[..]));
//!     corering::io::Result::Ok(())
//! })??;
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Whole files, trees, atomic and temporary files, locks, direct I/O and what changes are in [`fs`]. Calls that block
//! and that it does not have go beside the core: [`blocking::call`].
//!
//! **Streams.** [`io`] has readers and writers with buffers and the familiar calls, lines among them, copies from one stream
//! to another, and standard input and output.
//!
//! **Structured concurrency.** A [`TaskGroup`] ends when all its tasks have: the first failure cancels the rest, and every
//! error is kept. [`gather`](fn@gather), [`gather_settled`], [`wait`] and the rest of asyncio are in [`task`]; [`select!`], [`join!`]
//! and [`try_join!`] are for a few futures that are named.
//!
//! ```
//! use corering::{TaskGroup, gather_settled, time::{Duration, timeout}};
//! # struct Report { stock: u32, fraud: bool }
//! # async fn check_stock(order: u32) -> std::io::Result<u32> { Ok(order) }
//! # async fn check_fraud(_: u32) -> std::io::Result<bool> { Ok(true) }
//! # async fn fetch(url: &&str) -> Result<usize, std::io::Error> { Ok(url.len()) }
//! # async fn commit() -> u32 { 1 }
//! # let (order, urls) = (7, ["one", "three"]);
//!
//! corering::run(async {
//!     let report = TaskGroup::scope(async |group| {
//!         let stock = group.spawn(check_stock(order));
//!         let fraud = group.spawn(check_fraud(order));
//!         Ok(Report { stock: stock.await?, fraud: fraud.await? })
//!     })
//!     .await?;                                                            // Err(GroupError) prints as a tree
//!     let pages: Vec<Result<usize, _>> = gather_settled(urls.iter().map(fetch)).await;
//!     let value = timeout(Duration::from_secs(2), corering::shield(commit())).await;   // commit finishes anyway
//! #   assert_eq!((report.stock, report.fraud, pages.len(), value), (7, true, 2, Ok(1)));
//!     std::io::Result::Ok(())
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! **Primitives** of one core are in [`sync`]: locks, events, semaphores, barriers, queues, channels. Nothing in them is
//! atomic, and they are first come, first served.
//!
//! **Cancellation** is dropping. Any future may be dropped at any time, and nothing is lost by it: a listener owns its
//! accept and a stream its receive, so [`time::timeout`] around them loses no connection and no byte; a descriptor that
//! arrives too late is closed; a write that was dropped happens whole, and later ones on the same file or socket wait for
//! it; a permit, a lock or an item goes to the next who waits. Cleanup that has to await is given to [`cancel`]: whoever
//! cancels waits for it.
//!
//! **A core that hangs says so.** When nothing can ever run again, [`run`] returns a [`Deadlock`] that names each task and
//! what it waits for. [`Builder::debug`] names tasks that do not give way while they do not; [`task::survey`] shows who
//! waits for what at any time.
//!
//! **Signals**: [`signal::ctrl_c`], [`signal::shutdown`], and any others as a stream.
//!
//! **Random numbers** that are not for secrets come from [`random`].
//!
//! **Operations** are values: [`op`] has all that the runtime uses, lets them be cancelled, limited in time and
//! chained, and takes opcodes of your own.
//!
//! **Simulation**, with the feature `sim`: `#[corering::test(sim)]` runs a test in worlds of hosts, disks and a network
//! that follow from a seed, with crashes and cuts where it wants them. The guide to [simulation] tells how.
//!
//! # Guides
//!
//! [Getting started]; [files]: which call is what in the kernel, direct I/O, what lasts; [streams] and what a drop does in
//! them; [servers]: HTTP, limits, a graceful end; [clients]: HTTP, pools, TLS; [from asyncio], with Python and Rust side by side, and [from tokio]: what
//! is the same, what differs and why.
//!
//! [simulation]: https://github.com/corering/corering/blob/main/docs/simulation.md
//! [Getting started]: https://github.com/corering/corering/blob/main/docs/getting-started.md
//! [files]: https://github.com/corering/corering/blob/main/docs/files.md
//! [streams]: https://github.com/corering/corering/blob/main/docs/io.md
//! [servers]: https://github.com/corering/corering/blob/main/docs/servers.md
//! [clients]: https://github.com/corering/corering/blob/main/docs/clients.md
//! [from asyncio]: https://github.com/corering/corering/blob/main/docs/from-asyncio.md
//! [from tokio]: https://github.com/corering/corering/blob/main/docs/from-tokio.md
//!
//! # Where it runs
//!
//! On Linux 6.1 and newer. What newer kernels add is used where it is there. Everything but wakers stays on the
//! thread of its core; tasks, handles and results need not be `Send`.

#![deny(clippy::unwrap_used, clippy::print_stdout)]

pub use corering_macros::{main, test};
pub use corering_runtime::task::{
    JoinSet, ReturnWhen, TaskGroup, TaskLocal, cancel, gather, gather_settled, shield, wait,
};
pub use corering_runtime::time::{sleep, timeout};
pub use corering_runtime::{
    Builder, CoreId, Deadlock, JoinError, JoinHandle, Metrics, Pass, Probe, RunError, Runtime, SetupError, blocking,
    buf, metrics, op, probe, random, run, signal, spawn, task,
};
pub use corering_runtime::{gather, join, select, try_join};

pub mod fs {
    //! Files and folders, natively asynchronous: by the ring where it can, and by threads beside the core where it
    //! cannot.
    //!
    //! | to | use |
    //! | --- | --- |
    //! | read or write a whole file | [`read`], [`read_to_string`], [`read_into`], [`write()`] |
    //! | replace a file as a whole, and durably | [`write_atomic`], [`AtomicFile`] |
    //! | open a file, and read and write it at positions | [`File`], [`OpenOptions`] |
    //! | read ahead, write behind | [`File::chunks`], [`File::sink`] |
    //! | go past the page cache | [`DirectFile`] |
    //! | list a folder, or all that is below it | [`read_dir`], [`walk()`] |
    //! | copy and remove files and trees | [`copy`], [`copy_tree`], [`CopyOptions`], [`remove_file`], [`remove_dir_all`] |
    //! | make, move and follow names | [`create_dir_all`], [`rename`], [`hard_link`], [`symlink`], [`canonicalize`] |
    //! | use paths that strangers choose | [`Dir`], [`OpenOptions::resolve`] |
    //! | have files for a while | [`tempfile`], [`NamedTempFile`], [`SpooledTempFile`], [`TempDir`] |
    //! | know about a file | [`metadata`], [`symlink_metadata`], [`try_exists`], [`access`] |
    //! | change what is known of it | [`set_permissions`], [`chown`], [`set_times`], [`set_xattr`] |
    //! | keep other programs out | [`File::lock`], [`File::try_lock`] |
    //! | reserve room, punch holes | [`File::allocate`], [`File::punch_hole`], [`File::advise`], [`statvfs`] |
    //! | be told of changes | [`watch()`], [`watch_tree`] |
    //!
    //! The guide to [files](https://github.com/corering/corering/blob/main/docs/files.md) tells which call is what in
    //! the kernel, what a drop does, and how to make changes last.
    //!
    //! # Examples
    //!
    //! ```
    //! # let path = std::env::temp_dir().join(format!("corering-fs-tour-{}", std::process::id()));
    //! use corering::fs;
    //!
    //! corering::run(async {
    //!     fs::create_dir_all(path.join("reports")).await?;
    //!     fs::write_atomic(path.join("reports/today"), "all is well").await?;
    //!     let mut entries = fs::walk(&path).metadata(true);
    //!     let mut bytes = 0;
    //!     while let Some(entry) = entries.next().await {
    //!         let entry = entry?;
    //!         if entry.file_type().is_file() {
    //!             bytes += entry.metadata().await?.len();
    //!         }
    //!     }
    //!     assert_eq!(bytes, 11);
    //!     fs::remove_dir_all(&path).await
    //! })??;
    //! # Ok::<(), std::io::Error>(())
    //! ```

    pub use corering_fs::*;
}

/// Streams of bytes: traits with owned buffers, buffered readers and writers, standard input and output; and the standard
/// library's errors and results.
pub mod io {
    pub use corering_runtime::io::*;
}

/// TCP.
pub mod net {
    pub use corering_net::*;
}

/// Time: instants, sleeps, intervals, timeouts and calls, from one wheel of timers per core.
///
/// A timer is never early. See [`corering_runtime::time`] for what the clock is, and how tests stop it.
pub mod time {
    pub use corering_runtime::task::{Call, call_at, call_later};
    pub use corering_runtime::time::*;
}

/// Whole worlds from a seed: hosts with cores, disks and a network between them, simulated. See
/// [`World`](sim::World), and the [guide](https://github.com/corering/corering/blob/main/docs/simulation.md).
///
/// ```
/// # mod tests {
/// use corering::{fs, io, sim::World};
///
/// #[corering::test(sim, seeds = 1000)]
/// async fn a_file_is_there_after_a_crash(world: World) -> io::Result<()> {
///     let host = world.host("db");
///     host.write_file("/data", b"kept")?;
///     host.crash();
///     assert_eq!(host.run(fs::read("/data")).await.unwrap()?, b"kept");
///     Ok(())
/// }
/// # }
/// ```
///
/// A test takes its world as its argument:
///
/// ```compile_fail
/// #[corering::test(sim)]
/// async fn without_a_world() {}
/// ```
///
/// It ends with nothing or a `Result`:
///
/// ```compile_fail
/// # fn main() {
/// corering::sim::Check::new("tests", "sums", "package", false).run(async |_: corering::sim::World| 5);
/// # }
/// ```
#[cfg(feature = "sim")]
pub mod sim {
    pub use corering_runtime::world::*;
}

/// asyncio's primitives, for the tasks of one core.
///
/// They are not `Send`, allocate nothing to wait, are first come, first served, and lose nothing when a wait is
/// dropped. [`Wait`](sync::Wait) has the rule.
pub mod sync {
    pub use corering_sync::{
        Abandoned, AcquireError, Acquiring, AlreadySet, Awaiting, Barrier, Broken, CancellationToken, Cancelling,
        Closed, Condition, DropGuard, Event, Fifo, Getting, Guard, Job, Jobs, Joining, Lifo, LifoQueue, Lock,
        LockGuard, Locking, Notice, OnceCell, Order, OwnedLockGuard, OwnedPermit, Owning, Passing, Permit, Prioritized,
        Priority, PriorityQueue, Promise, Promised, Putting, Queue, ReadGuard, Reading, Receiver, RecvError, Reserving,
        Room, RwLock, Semaphore, Sender, TryGetError, TryPutError, Wait, Waiting, WouldBlock, WriteGuard, Writing,
        ZeroSize, broadcast, channel, oneshot, promise, unbounded_channel, watch,
    };

    /// Lets something be done a number of times per period: see [`corering_sync::RateLimiter`].
    pub type RateLimiter = corering_sync::RateLimiter<corering_runtime::time::CoreClock>;
}

/// The guides of `docs/`, so that their examples are compiled and run.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../docs/from-asyncio.md")]
    struct FromAsyncio;
    #[doc = include_str!("../docs/from-tokio.md")]
    struct FromTokio;
    #[doc = include_str!("../docs/files.md")]
    struct Files;
    #[doc = include_str!("../docs/io.md")]
    struct Io;
    #[cfg(all(feature = "hyper", feature = "tls"))]
    #[doc = include_str!("../docs/servers.md")]
    struct Servers;
    #[cfg(all(feature = "client", feature = "tls"))]
    #[doc = include_str!("../docs/clients.md")]
    struct Clients;
    #[cfg(feature = "sim")]
    #[doc = include_str!("../docs/simulation.md")]
    struct Simulation;
}
