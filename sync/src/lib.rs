//! The ground floor of [corering](https://docs.rs/corering): asyncio's primitives for the tasks of one core, and what
//! cores use to talk to each other. Programs use the primitives through the facade, as `corering::sync`.
//!
//! Nothing here knows the runtime; [`core::task::Waker`] is all it needs. So every piece can be used on any executor.
//!
//! **The primitives belong to one core.** They are not `Send`: nothing in them is atomic and nothing allocates to
//! wait, which makes them several times faster than their counterparts for many threads. Each is first come, first
//! served, and each wait may be dropped at any moment without anything being lost: what a waiter had been given goes
//! to the next ([`Wait`] has the rule).
//!
//! | | what it is | in asyncio |
//! | --- | --- | --- |
//! | [`Lock`] | one at a time at a value | `Lock` |
//! | [`RwLock`] | many readers, or one writer | |
//! | [`Event`] | something that has happened or not | `Event` |
//! | [`Condition`] | a change of what a lock guards | `Condition` |
//! | [`Semaphore`] | how many at a time | `Semaphore`, `BoundedSemaphore` |
//! | [`RateLimiter`] | how often | |
//! | [`Barrier`] | a point that several pass together | `Barrier` |
//! | [`Queue`], [`LifoQueue`], [`PriorityQueue`] | from producers to consumers; [`channel`] has two ends | `Queue` and so on |
//! | [`promise`] | set once, many wait | `Future` |
//! | [`oneshot`] | one value, one receiver | |
//! | [`watch`] | the latest value | |
//! | [`broadcast`] | every value to everyone | |
//! | [`OnceCell`] | made once, by whoever needs it first | |
//! | [`CancellationToken`] | telling many to stop | |
//!
//! **Between cores**:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`inbox`] | a lock-free list that many threads push to and one thread empties |
//! | [`sleep`] | the protocol between a thread that is about to sleep and those who must wake it |
//!
//! [`parked`] tells who waits on a thread, and for what: for runtimes that report deadlocks.

#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod barrier;
pub mod broadcast;
mod cancellation;
mod condition;
mod error;
mod event;
pub mod inbox;
mod lock;
mod notice;
mod once_cell;
pub mod oneshot;
pub mod panics;
pub mod parked;
mod permits;
mod promise;
mod queue;
mod rate_limiter;
mod rw_lock;
mod semaphore;
pub mod shim;
pub mod sleep;
mod twin;
mod wait;
mod wait_list;
pub mod watch;

pub use self::barrier::{Barrier, Passing};
pub use self::cancellation::{CancellationToken, Cancelling, DropGuard};
pub use self::condition::Condition;
pub use self::error::{
    Abandoned, AcquireError, AlreadySet, Broken, Closed, RecvError, TryGetError, TryPutError, WouldBlock, ZeroSize,
};
pub use self::event::{Event, Waiting};
pub use self::lock::{Guard, Lock, LockGuard, Locking, OwnedLockGuard};
pub use self::notice::Notice;
pub use self::once_cell::OnceCell;
pub use self::promise::{Awaiting, Owning, Promise, Promised, promise};
pub use self::queue::{
    Fifo, Getting, Job, Jobs, Joining, Lifo, LifoQueue, Order, Prioritized, Priority, PriorityQueue, Putting, Queue,
    Receiver, Reserving, Room, Sender, channel, unbounded_channel,
};
pub use self::rate_limiter::{Clock, RateLimiter};
pub use self::rw_lock::{ReadGuard, Reading, RwLock, WriteGuard, Writing};
pub use self::semaphore::{Acquiring, OwnedPermit, Permit, Semaphore};
pub use self::wait::Wait;
