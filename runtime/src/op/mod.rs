//! Operations: everything that is asked of the kernel is a value of its own type, and a future that owns nothing.
//!
//! ```text
//!              first poll                    final completion          poll
//!   Op(value) ------------> slot InFlight -------------------> Done --------> Output
//!                            |  dropped: cancelled (or left to end)   | dropped
//!                            v                                        v
//!                         Orphaned --final completion--> given up: descriptors closed, buffers back, bytes kept
//! ```
//!
//! On first poll the value moves into a slot of the core, where nothing moves or drops it before the kernel has said
//! its last word. The future keeps the slot's number and generation; it may be forgotten, dropped, or sent to another
//! thread and dropped there. Polling it on another core than the one it was first polled on panics.
//!
//! # An operation of one's own
//!
//! Implement [`Operation`] with an entry of [`io_uring::opcode`] and await [`Op::new`] of it:
//!
//! ```
//! use corering_runtime::op::{Completion, Op, Operation, Submission, io_uring};
//! use std::io;
//!
//! struct Nop;
//!
//! // SAFETY: a no-op points to nothing.
//! unsafe impl Operation for Nop {
//!     type Output = io::Result<u32>;
//!
//!     fn submission(&mut self) -> Submission {
//!         io_uring::opcode::Nop::new().build()
//!     }
//!
//!     fn complete(self, completion: Completion) -> io::Result<u32> {
//!         completion.to_result()
//!     }
//! }
//!
//! let done = corering_runtime::run(async { Op::new(Nop).await })?;
//! assert_eq!(done?, 0);
//! # Ok::<(), std::io::Error>(())
//! ```

mod accept;
mod ancillary;
mod arrivals;
mod chain;
mod changes;
mod connect;
pub(crate) mod context;
mod datagram;
mod descriptor;
mod direct;
mod ended;
mod file;
mod fixed;
pub mod folder;
mod forward;
mod handing;
mod message;
mod metadata;
mod multishot;
mod names;
mod open;
mod passing;
pub mod plain;
mod read;
mod readiness;
mod receive;
mod repeat;
mod send;
mod send_file;
mod slot;
mod socket;
mod space;
pub(crate) mod standard;
mod stream;
mod write;
mod xattr;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

/// The crate whose [`opcode`](io_uring::opcode)s make submissions.
pub use ::io_uring;
/// The crate whose types say what a socket is, and where.
pub use ::socket2;

pub use self::accept::AcceptMulti;
pub use self::ancillary::{Ancillary, Credentials};
pub use self::arrivals::Arrivals;
pub use self::chain::{Chain, Links, chain};
pub use self::changes::{Elsewhere, Here, change_elsewhere, change_names_elsewhere, poll_names_settled};
pub use self::connect::Connect;
pub use self::datagram::{Datagram, FromMessage, How, Message, One, ReceiveMessage, ReceiveMessages, Rooms, Truncated};
pub use self::descriptor::{Close, Descriptor};
pub use self::direct::{CloseDirect, DirectSlot, OpenDirect, PutDirect, ReadDirect};
pub use self::ended::{Cancel, Deadline};
pub use self::file::{Sync, Truncate};
pub use self::fixed::{FixedFile, ReadFixed, WriteFixed};
pub use self::forward::Forward;
pub use self::message::{SendMessage, SendTo, SendVectored};
pub use self::metadata::{Alignment, FileType, Metadata, Permissions, Stat};
pub use self::multishot::{Multishot, MultishotOperation};
pub use self::names::{Link, MakeDir, Name, Rename, Symlink, Unlink};
pub use self::open::{OpenAt, Resolve};
pub use self::read::{Read, ReadVectored};
pub use self::readiness::Readiness;
pub use self::receive::{Receive, ReceiveMulti, ReceivePooled, Receiver};
pub use self::send::{Send, SendAll, SendZeroCopy};
pub use self::send_file::SendFile;
pub use self::space::{Advise, Fallocate, SyncRange};
pub use self::stream::read_stream;
pub use self::write::{Write, WriteAll, WriteVectored};
pub use self::xattr::{GetXattr, SetXattr};

use self::context::Operations;
use self::slot::{Contents, Key, State, Vtable};
use crate::driver::Link as Linked;
pub use crate::driver::calls::SocketOption;
pub use crate::driver::socket_calls::Group;
pub use crate::ring::Completion;
use crate::sys::current::{self, CoreId};

/// What goes to the kernel; made by the builders of [`io_uring::opcode`].
pub type Submission = ::io_uring::squeue::Entry;

/// What becomes of an operation whose future is dropped while the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrop {
    /// It is cancelled: it might otherwise wait for ever.
    Cancel,
    /// It is left to end: it does so by itself, and it changes something that should happen whole or not at all.
    Finish,
}

/// What an operation does after a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is over.
    Done,
    /// It goes on: [`Operation::submission`] is asked again.
    Again,
}

/// Something to ask the kernel for.
///
/// # Safety
///
/// Everything that [`submission`](Self::submission) points to is inside `self`, or owned by it and at an address that
/// does not change while `self` is neither moved nor borrowed mutably; and `self` neither reads what the kernel may
/// write nor writes what the kernel may read until [`complete`](Self::complete), [`orphaned`](Self::orphaned) or
/// [`progress`](Self::progress) is called.
pub unsafe trait Operation: 'static {
    /// What awaiting it gives.
    type Output;

    /// What becomes of it when its future is dropped in flight.
    const ON_DROP: OnDrop = OnDrop::Cancel;

    /// Whether it may be submitted now. What must not overtake something else says `Pending` and wakes later.
    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Whether [`try_now`](Self::try_now) is worth a try.
    #[inline]
    fn may_end_now(&mut self) -> bool {
        false
    }

    /// Ends it without the kernel's queue, if a call that cannot block gives a result at once. The result is one of
    /// a system call: negative for an error. A task that has had many of them gives way to the others first.
    #[inline]
    fn try_now(&mut self) -> Option<i32> {
        None
    }

    /// Describes it to the kernel. `self` is at its final address.
    fn submission(&mut self) -> Submission;

    /// Its result has come, which [`progress`](Self::progress) gets as well, but the kernel goes on to use its memory until
    /// another completion. So it does for sends that are not copied.
    #[inline]
    fn has_result(&mut self, _completion: Completion) {}

    /// Looks at the completion of a part: is there more to do? Also asked of one whose future was dropped, if it is
    /// left to finish.
    #[inline]
    fn progress(&mut self, _completion: Completion) -> Progress {
        Progress::Done
    }

    /// Makes the output of the final completion.
    fn complete(self, completion: Completion) -> Self::Output
    where
        Self: Sized;

    /// Its future was dropped while the kernel has it: it will end as an orphan.
    #[inline]
    fn abandoned(&mut self) {}

    /// It ended after its future had been dropped, in either window: completed later, or completed and not fetched.
    ///
    /// What came of it must not be lost or leaked. The default drops the output, which closes a descriptor and
    /// returns a pooled buffer.
    #[inline]
    fn orphaned(self, completion: Completion)
    where
        Self: Sized,
    {
        drop(self.complete(completion));
    }
}

/// Asks for one more call that ends at once, such as [`Descriptor::send_now`]: a task that has made many in this turn gives way
/// to the others first, as it does with operations that end so.
pub fn poll_share(cx: &mut Context<'_>) -> Poll<()> {
    if context::with(Operations::take_share) == Some(false) {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// The future of an [`Operation`]. It submits when it is first polled.
///
/// # Cancel safety
///
/// May be dropped or forgotten at any time; what it owns stays alive until the kernel has let go, and no result is
/// lost (what that means for each operation is said there). [`cancel`](Self::cancel) and
/// [`deadline`](Self::deadline) end it early and still give the output, with the buffer. Dropped on another thread, it
/// counts as dropped when its core next looks, in its next turn.
///
/// # Panics
///
/// When polled outside a runtime, on another core than first, or after it has given its output.
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Op<O: Operation> {
    state: OpState<O>,
    /// How the chain that this is part of goes on after it.
    link: Linked,
}

enum OpState<O> {
    Idle(O),
    Submitted { core: CoreId, key: Key },
    Over,
}

// The operation is moved out of an idle future, never pinned in it.
impl<O: Operation> Unpin for Op<O> {}

/// The tables of the operation types.
struct Untyped<O>(std::marker::PhantomData<O>);

impl<O: Operation> Untyped<O> {
    const VTABLE: Vtable = Vtable {
        queue: None,
        dispose: dispose::<O>,
        resume: match O::ON_DROP {
            OnDrop::Finish => Some(resume::<O>),
            OnDrop::Cancel => None,
        },
        abandoned: abandoned::<O>,
        has_result: has_result::<O>,
        cancel_on_drop: matches!(O::ON_DROP, OnDrop::Cancel),
    };
    /// One address for each type.
    const TABLE: &'static Vtable = &Self::VTABLE;
}

/// # Safety
///
/// An `O` that the kernel has let go of lies in `contents`, and nobody will look at it again.
unsafe fn dispose<O: Operation>(contents: Contents, completion: Completion) {
    // SAFETY: the caller's promise.
    let operation = unsafe { contents.take::<O>() };
    operation.orphaned(completion);
}

/// # Safety
///
/// An `O` that the kernel has let go of lies in `contents`, and nobody else here looks at it now.
unsafe fn resume<O: Operation>(contents: Contents, completion: Completion) -> Option<Submission> {
    // SAFETY: the caller's promise.
    let place = unsafe { contents.get::<O>() };
    // SAFETY: the caller's promise.
    let operation = unsafe { &mut *place.as_ptr() };
    (operation.progress(completion) == Progress::Again).then(|| operation.submission())
}

/// # Safety
///
/// An `O` lies in `contents`, and nobody else here looks at it now.
unsafe fn abandoned<O: Operation>(contents: Contents) {
    // SAFETY: the caller's promise.
    let place = unsafe { contents.get::<O>() };
    // SAFETY: `abandoned` touches nothing that the kernel uses: that is the trait's contract.
    unsafe { &mut *place.as_ptr() }.abandoned();
}

/// # Safety
///
/// As for [`abandoned`].
unsafe fn has_result<O: Operation>(contents: Contents, completion: Completion) {
    // SAFETY: the caller's promise.
    let place = unsafe { contents.get::<O>() };
    // SAFETY: `has_result` touches nothing that the kernel uses: that is the trait's contract.
    unsafe { &mut *place.as_ptr() }.has_result(completion);
}

impl<O: Operation> Op<O> {
    /// The future of `operation`. Nothing is submitted before it is polled.
    #[inline]
    pub fn new(operation: O) -> Self {
        Self { state: OpState::Idle(operation), link: Linked::IfDone }
    }

    /// In a [`chain`], lets the next operation run even if this one fails or does less than was asked.
    pub fn always(mut self) -> Self {
        self.link = Linked::Always;
        self
    }

    /// Whether it has been submitted and not yet given its output.
    pub fn is_submitted(&self) -> bool {
        matches!(self.state, OpState::Submitted { .. })
    }

    /// Polls. `cancelled_as` is there if the kernel was asked to cancel it: then it does not go on after a part, and
    /// a cancellation is called that (a negated error number).
    #[inline]
    pub(super) fn poll_as(&mut self, cx: &mut Context<'_>, cancelled_as: Option<i32>) -> Poll<O::Output> {
        let polled = context::with(|operations| {
            if !operations.is_running() {
                return None;
            }
            Some(match self.state {
                OpState::Idle(_) => self.poll_idle(operations, cx),
                OpState::Submitted { core, key } => {
                    if core != operations.core {
                        on_another_core(core, operations.core);
                    }
                    let polled = poll_submitted::<O>(operations, key, cx, cancelled_as);
                    if polled.is_ready() {
                        self.state = OpState::Over;
                    }
                    polled
                }
                OpState::Over => panic!("an operation was polled after it had given its output"),
            })
        });
        match polled.flatten() {
            Some(polled) => polled,
            None => self.outside_a_runtime(),
        }
    }

    #[inline]
    fn poll_idle(&mut self, operations: &Operations, cx: &mut Context<'_>) -> Poll<O::Output> {
        let OpState::Idle(operation) = &mut self.state else { unreachable!("called for idle operations only") };
        if operation.poll_ready(cx).is_pending() {
            return Poll::Pending;
        }
        if operation.may_end_now() {
            if !operations.take_share() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(result) = operation.try_now() {
                return Poll::Ready(self.end_unsubmitted(result));
            }
        }
        let waker = cx.waker().clone();
        let key = self.place(operations, |entry, key| {
            // SAFETY: `place` made the entry of an operation that lies in the slot.
            unsafe { context::submit(operations, key, entry) }
        });
        context::begin_to_wait(operations, key, waker);
        Poll::Pending
    }

    /// Moves the operation into a slot and makes its submission there.
    #[inline]
    fn place(&mut self, operations: &Operations, submit: impl FnOnce(Submission, Key)) -> Key {
        let OpState::Idle(operation) = std::mem::replace(&mut self.state, OpState::Over) else {
            unreachable!("called for idle operations only")
        };
        let reserved = Reserved::<O>::new(operations, operation);
        let (key, place) = (reserved.key, reserved.place);
        // SAFETY: the operation has just been placed there, and nobody else has a reference to it.
        let entry = unsafe { &mut *place.as_ptr() }.submission();
        std::mem::forget(reserved);
        self.state = OpState::Submitted { core: operations.core, key };
        submit(entry, key);
        key
    }

    /// Gives the output of an operation that the kernel never got.
    fn end_unsubmitted(&mut self, result: i32) -> O::Output {
        match std::mem::replace(&mut self.state, OpState::Over) {
            OpState::Idle(operation) => operation.complete(Completion::made_up(result)),
            OpState::Submitted { .. } | OpState::Over => {
                unreachable!("called for idle operations only")
            }
        }
    }

    pub(super) fn ask_to_cancel(&self) {
        if let OpState::Submitted { core, key } = self.state {
            context::with(|operations| {
                if operations.core == core {
                    operations.cancel(key);
                }
            });
        }
    }

    #[cold]
    fn outside_a_runtime(&self) -> ! {
        match self.state {
            OpState::Submitted { core, .. } if core != current::core() => on_another_core(core, current::core()),
            OpState::Submitted { .. } | OpState::Idle(_) | OpState::Over => {
                panic!("an operation was awaited outside a runtime: await it inside corering::run or Runtime::block_on")
            }
        }
    }
}

#[cold]
fn on_another_core(home: CoreId, here: CoreId) -> ! {
    panic!("an operation of {home} was polled on {here}: await it where it was first awaited")
}

#[inline]
fn poll_submitted<O: Operation>(
    operations: &Operations,
    key: Key,
    cx: &mut Context<'_>,
    cancelled_as: Option<i32>,
) -> Poll<O::Output> {
    let (contents, completion) = ready!(poll_end::<O>(operations, key, cx, cancelled_as));
    // SAFETY: the operation is done; the slot is freed right after, so nobody looks at it again.
    let operation = unsafe { contents.take::<O>() };
    operations.slots.borrow_mut().free(key.index);
    Poll::Ready(operation.complete(completion))
}

/// Waits until the operation in this slot has nothing more to do. It stays there.
#[inline]
fn poll_end<O: Operation>(
    operations: &Operations,
    key: Key,
    cx: &mut Context<'_>,
    cancelled_as: Option<i32>,
) -> Poll<(Contents, Completion)> {
    loop {
        let mut slots = operations.slots.borrow_mut();
        let Some((header, contents)) = slots.get(key) else {
            unreachable!("a slot is freed only when its future has gone or has got its output")
        };
        if header.state != State::Done {
            drop(slots);
            context::wait(operations, key, cx.waker());
            return Poll::Pending;
        }
        let mut completion = Completion { user_data: 0, result: header.result, flags: header.flags };
        drop(slots);
        // SAFETY: this future placed an O here and has not taken it.
        let mut operation = unsafe { contents.get::<O>() };
        // SAFETY: the operation is done, so the kernel has let go, and only this future looks at it.
        let progress = unsafe { operation.as_mut() }.progress(completion);
        if let Some(cancelled_as) = cancelled_as {
            if progress == Progress::Again || completion.result == -libc::ECANCELED {
                completion.result = cancelled_as;
                return Poll::Ready((contents, completion));
            }
        }
        match progress {
            Progress::Done => return Poll::Ready((contents, completion)),
            Progress::Again => submit_again::<O>(operations, key),
        }
    }
}

/// Submits the operation in this slot, which the kernel has let go of. If making its submission panics, nothing
/// changes.
#[inline]
fn submit_again<O: Operation>(operations: &Operations, key: Key) {
    let Some((_, contents)) = operations.slots.borrow_mut().get(key) else {
        unreachable!("a slot is freed only when its future has gone or has got its output")
    };
    // SAFETY: the future placed an O here and has not taken it.
    let mut operation = unsafe { contents.get::<O>() };
    // SAFETY: the kernel has let go of it, and only its future looks at it.
    let entry = unsafe { operation.as_mut() }.submission();
    operations.slots.borrow_mut().begin_again(key.index);
    // SAFETY: the entry was made by the operation in this slot.
    unsafe { context::submit(operations, key, entry) };
}

/// A slot with an operation that has not been submitted; if making its submission panics, both are given up.
struct Reserved<'a, O: Operation> {
    operations: &'a Operations,
    key: Key,
    contents: Contents,
    place: NonNull<O>,
}

impl<'a, O: Operation> Reserved<'a, O> {
    #[inline]
    fn new(operations: &'a Operations, operation: O) -> Self {
        let (key, contents) = operations.slots.borrow_mut().reserve(Untyped::<O>::TABLE);
        // SAFETY: the slot has just been reserved.
        let place = unsafe { contents.place(operation) };
        Self { operations, key, contents, place }
    }
}

impl<O: Operation> Drop for Reserved<'_, O> {
    #[cold]
    fn drop(&mut self) {
        // SAFETY: the operation was placed here, never submitted, and nobody looks at it again.
        let operation = unsafe { self.contents.take::<O>() };
        let mut slots = self.operations.slots.borrow_mut();
        slots.in_flight -= 1;
        slots.free(self.key.index);
        drop(slots);
        drop(operation);
    }
}

impl<O: Operation> Future for Op<O> {
    type Output = O::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        self.poll_as(cx, None)
    }
}

impl<O: Operation> Drop for Op<O> {
    #[inline]
    fn drop(&mut self) {
        if let OpState::Submitted { core, key } = self.state {
            context::abandon(core, key);
        }
    }
}

impl<O: Operation> fmt::Debug for Op<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            OpState::Idle(_) => "Op(not submitted)",
            OpState::Submitted { .. } => "Op(submitted)",
            OpState::Over => "Op(over)",
        })
    }
}

/// Whether operations can be awaited here: this thread's core runs.
pub fn is_running() -> bool {
    context::with(|operations| operations.is_running()).unwrap_or(false)
}

/// Begins an operation that nobody awaits, as if its future were dropped right after it was first polled: one that is
/// left to finish happens, and what comes later waits for it. For destructors.
///
/// # Errors
///
/// The operation's future, if it could not begin: no core runs here, or something dropped before has to end first.
pub fn begin<O: Operation>(operation: O) -> Result<(), Op<O>> {
    let mut op = Op::new(operation);
    if is_running() {
        // Its output is nobody's.
        drop(op.poll_as(&mut Context::from_waker(std::task::Waker::noop()), None));
    }
    match op.state {
        OpState::Idle(_) => Err(op),
        OpState::Submitted { .. } | OpState::Over => Ok(()),
    }
}

/// The error of a system call's result, if it is one.
#[inline]
fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}
