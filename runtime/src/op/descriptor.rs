//! Descriptors that stay open as long as an operation uses them, and the barrier behind dropped ones.
//!
//! Every operation holds its descriptor, so the number is not used again under it: the order 'cancel, completion,
//! close' follows by itself. A descriptor that nobody holds any more is closed in the background, by the ring, after
//! all that was submitted before.
//!
//! The orphan barrier: an operation that changes something and whose future was dropped may still happen. Whatever
//! comes later on the same descriptor waits for it, so it never lands after that.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use io_uring::{opcode, types};

use super::context;
use super::read::again_if_interrupted;
use super::stream::Left;
use super::{Completion, OnDrop, Operation, Progress, Submission, check};
use crate::buf::Room;
use crate::driver::{calls, passing_calls};
use crate::sys::wake::wake_all;

/// An open file, socket or pipe, shared by its owner and the operations in flight on it.
#[derive(Clone)]
pub struct Descriptor(Arc<Shared>);

struct Shared {
    fd: RawFd,
    /// Orphans in flight that change something.
    changing: AtomicU32,
    /// All orphans in flight.
    orphans: AtomicU32,
    /// How often everything in flight was cancelled.
    cancels: AtomicU32,
    /// Who waits for either to be none.
    waiting: Mutex<Vec<Waker>>,
    /// What was read of a stream and has not been given to anybody.
    left: Mutex<Option<Box<Left>>>,
    /// How many reads to hand to the kernel's queue before one is tried at once again.
    pub(super) cold: AtomicU32,
    /// Plain calls on it do not wait: it was told so.
    at_once: AtomicBool,
    /// What is sent on it without need to be copied is copied nevertheless.
    copies: AtomicBool,
}

/// After a read that could not be had at once, so many go through the queue.
const COLD: u32 = 32;
/// Reads of this descriptor can never be had at once.
const ALWAYS_COLD: u32 = u32::MAX;
/// Nothing was read yet, and nobody has asked what the descriptor was opened for.
const UNKNOWN: u32 = u32::MAX - 1;

/// What passes the page cache would wait for the device, though it was told not to wait (K30).
fn coldness(passes_the_cache: bool) -> u32 {
    if passes_the_cache { ALWAYS_COLD } else { 0 }
}

impl Descriptor {
    /// Takes over an open descriptor.
    pub fn new(fd: OwnedFd) -> Self {
        // SAFETY: it was the owner's, who has let go of it.
        unsafe { Self::owning(fd.into_raw_fd()) }
    }

    /// Takes over a number that the kernel has given. An `OwnedFd` of it would be closed by close(2) itself, which a
    /// simulation's number must not meet.
    ///
    /// # Safety
    ///
    /// It is open, and nobody else closes it.
    pub(super) unsafe fn owning(fd: RawFd) -> Self {
        Self(Arc::new(Shared {
            fd,
            changing: AtomicU32::new(0),
            orphans: AtomicU32::new(0),
            cancels: AtomicU32::new(0),
            waiting: Mutex::new(Vec::new()),
            left: Mutex::new(None),
            cold: AtomicU32::new(UNKNOWN),
            at_once: AtomicBool::new(false),
            copies: AtomicBool::new(false),
        }))
    }

    /// The same for a file that was opened with these flags of open(2).
    ///
    /// # Safety
    ///
    /// As [`owning`](Self::owning).
    pub(super) unsafe fn opened(fd: RawFd, flags: i32) -> Self {
        // SAFETY: the caller's promise.
        let descriptor = unsafe { Self::owning(fd) };
        descriptor.0.cold.store(coldness(flags & libc::O_DIRECT != 0), Ordering::Relaxed);
        descriptor
    }

    /// Takes over a number that a simulated kernel has given.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(number: RawFd) -> Self {
        assert!(calls::is_simulated(number), "{number} is of the real system");
        // SAFETY: nobody's in the real system, and a simulated kernel only answers that it is not open.
        unsafe { Self::owning(number) }
    }

    /// Whether both are the same open descriptor.
    pub fn is(&self, other: &Descriptor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it has a position, as files of disks have and pipes have not.
    pub fn is_seekable(&self) -> bool {
        calls::position(self.as_fd()).is_some()
    }

    /// The kernel's own position in it, if it has one. Operations with an offset do not move it.
    pub fn position(&self) -> Option<u64> {
        calls::position(self.as_fd())
    }

    /// Whether it was opened for appending: what is written goes to the end (`O_APPEND`).
    pub fn is_append(&self) -> bool {
        calls::is_append(self.as_fd())
    }

    /// Waits until no dropped operation can change anything any more.
    #[inline]
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_none(&self.0.changing, cx)
    }

    #[inline]
    fn poll_none(&self, count: &AtomicU32, cx: &mut Context<'_>) -> Poll<()> {
        // Acquire: pairs with the Release in `Held::drop`.
        if count.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        if count.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Cancels all operations in flight on it, whoever owns them. They end with what they have done, or with the error
    /// `ECANCELED`.
    pub fn cancel_all(&self) {
        self.0.cancels.fetch_add(1, Ordering::Relaxed);
        context::with(|operations| operations.cancel_descriptor(self.0.fd));
    }

    /// Whether an operation was dropped in flight and has not ended.
    pub fn has_orphans(&self) -> bool {
        self.0.orphans.load(Ordering::Acquire) > 0
    }

    /// Closes it: cancels what was dropped and is still in flight, waits for that, then closes, and says how that
    /// went.
    ///
    /// # Errors
    ///
    /// What `close(2)` says, such as a write-back error. [`io::ErrorKind::ResourceBusy`] if somebody else still
    /// holds the descriptor: it is closed when that one lets go.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes in the background.
    pub async fn close(self) -> io::Result<()> {
        self.end_orphans().await;
        let shared = Arc::into_inner(self.0).ok_or_else(in_use)?;
        super::Op::new(Close(shared)).await
    }

    /// Gives it away, once what was dropped and is still in flight has been cancelled or has ended.
    ///
    /// # Errors
    ///
    /// With each of them, it comes back. [`io::ErrorKind::WouldBlock`] if a dropped [`read_stream`](super::read_stream) has
    /// brought something that nobody has read, since that would be lost: read it before.
    /// [`io::ErrorKind::ResourceBusy`] if somebody else still holds it. [`io::ErrorKind::Unsupported`] if it is of a
    /// simulated kernel.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it closes in the background.
    pub async fn into_owned(self) -> Result<OwnedFd, (io::Error, Self)> {
        #[cfg(feature = "sim")]
        if calls::is_simulated(self.0.fd) {
            let text = "what is open in a simulated world stays there: the real system does not know it";
            return Err((io::Error::new(io::ErrorKind::Unsupported, text), self));
        }
        self.end_orphans().await;
        if self.has_left() {
            let text = "a dropped read has taken something of the stream: read that before you give it away";
            return Err((io::Error::new(io::ErrorKind::WouldBlock, text), self));
        }
        let mut shared = Arc::try_unwrap(self.0).map_err(|shared| (in_use(), Self(shared)))?;
        if shared.at_once.load(Ordering::Relaxed) {
            // Whoever else holds it may rely on it: so not before it is known that nobody does.
            let given = Self(Arc::new(shared));
            if let Err(error) = passing_calls::set_at_once(given.as_fd(), false) {
                return Err((error, given));
            }
            given.0.at_once.store(false, Ordering::Relaxed);
            shared = Arc::try_unwrap(given.0).map_err(|shared| (in_use(), Self(shared)))?;
        }
        let fd = std::mem::replace(&mut shared.fd, -1);
        // SAFETY: the last holder's, who has forgotten it; and of the real system.
        Ok(unsafe { calls::owned(fd) })
    }

    /// Whether the kernel copies what it need not, as far as is known.
    pub(super) fn copies(&self) -> bool {
        self.0.copies.load(Ordering::Relaxed)
    }

    /// The kernel has said that it does, or cannot do otherwise.
    pub(super) fn set_copies(&self) {
        self.0.copies.store(true, Ordering::Relaxed);
    }

    /// From now on plain calls on a socket do not wait. Until it is given away: whoever gets it expects that they do.
    pub(super) fn set_at_once(&self) -> io::Result<()> {
        if !self.0.at_once.load(Ordering::Relaxed) {
            passing_calls::set_at_once(self.as_fd(), true)?;
            self.0.at_once.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Cancels what was dropped and is still in flight, and waits for its end.
    async fn end_orphans(&self) {
        if self.has_orphans() {
            self.cancel_all();
        }
        std::future::poll_fn(|cx| self.poll_none(&self.0.orphans, cx)).await;
    }

    /// Closes it by a plain call, which may block: not for the core.
    pub(super) fn close_now(self) -> io::Result<()> {
        let Some(mut shared) = Arc::into_inner(self.0) else {
            return Err(in_use());
        };
        // SAFETY: the last holder's descriptor, which nobody closes again: it is taken from there.
        unsafe { calls::close(std::mem::replace(&mut shared.fd, -1)) }
    }

    /// Whether a read is likely to need no waiting. It is not for a while after one that would have had to wait.
    #[inline]
    pub(super) fn may_read_now(&self) -> bool {
        match self.0.cold.load(Ordering::Relaxed) {
            0 => true,
            ALWAYS_COLD => false,
            UNKNOWN => self.is_warm_at_first(),
            cold => {
                self.0.cold.store(cold - 1, Ordering::Relaxed);
                false
            }
        }
    }

    #[cold]
    fn is_warm_at_first(&self) -> bool {
        let cold = coldness(calls::is_direct(self.as_fd()));
        self.0.cold.store(cold, Ordering::Relaxed);
        cold == 0
    }

    /// Reads into `room` if that needs no waiting: from the page cache, or what lies ready.
    #[inline]
    pub(super) fn read_now(&self, room: &mut Room<'_>, offset: u64) -> Option<i32> {
        let error = match calls::read_now(self.as_fd(), room, offset) {
            Ok(read) => return Some(i32::try_from(read).unwrap_or(i32::MAX)),
            Err(error) => error,
        };
        let cold = match error.raw_os_error() {
            Some(libc::EAGAIN) => COLD,
            _ => ALWAYS_COLD,
        };
        self.0.cold.store(cold, Ordering::Relaxed);
        None
    }

    /// What was read of it, if it is a stream, and has not been given to anybody.
    pub(super) fn left(&self) -> std::sync::MutexGuard<'_, Option<Box<Left>>> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<Descriptor> for Descriptor {
    fn as_ref(&self) -> &Descriptor {
        self
    }
}

impl AsRawFd for Descriptor {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd
    }
}

impl AsFd for Descriptor {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as `self` lives: only the last holder closes it.
        unsafe { BorrowedFd::borrow_raw(self.0.fd) }
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor({})", self.0.fd)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.fd < 0 {
            return;
        }
        if context::with(|operations| operations.close(self.fd)).is_none() {
            // SAFETY: the last holder's descriptor, which nobody closes again.
            let closed = unsafe { calls::close(self.fd) };
            // Nobody is left who could be told.
            drop(closed);
        }
    }
}

/// An operation's hold on its descriptor, which counts as an orphan once the operation is one.
#[derive(Debug)]
pub(super) struct Held {
    descriptor: Descriptor,
    /// The count of the descriptor's cancels when the operation was made.
    cancels: u32,
    changes: bool,
    orphan: bool,
}

impl Held {
    /// For an operation that changes nothing.
    #[inline]
    pub(super) fn to_look(descriptor: &Descriptor) -> Self {
        Self::new(descriptor, false)
    }

    /// For an operation that changes something: later ones wait for it.
    #[inline]
    pub(super) fn to_change(descriptor: &Descriptor) -> Self {
        Self::new(descriptor, true)
    }

    #[inline]
    fn new(descriptor: &Descriptor, changes: bool) -> Self {
        let cancels = descriptor.0.cancels.load(Ordering::Relaxed);
        Self { descriptor: descriptor.clone(), cancels, changes, orphan: false }
    }

    /// For the same operation once more: what was cancelled before does not count.
    #[inline]
    pub(super) fn renew(&mut self) {
        self.cancels = self.descriptor.0.cancels.load(Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn fd(&self) -> types::Fd {
        types::Fd(self.descriptor.0.fd)
    }

    #[inline]
    pub(super) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Whether an operation that ended so goes on: a kernel worker that was interrupted, or that could not wait, is
    /// sent again (K9), unless that is because everything on the descriptor was cancelled.
    #[inline]
    pub(super) fn again_if_interrupted(&self, completion: Completion) -> Progress {
        if self.was_cancelled() { Progress::Done } else { again_if_interrupted(completion) }
    }

    /// Whether everything on the descriptor was cancelled since the operation was made.
    #[inline]
    pub(super) fn was_cancelled(&self) -> bool {
        self.descriptor.0.cancels.load(Ordering::Relaxed) != self.cancels
    }

    /// The same, told once.
    pub(super) fn takes_cancel(&mut self) -> bool {
        let was_cancelled = self.was_cancelled();
        self.renew();
        was_cancelled
    }

    /// From now on it counts as an orphan, until it is dropped.
    pub(super) fn abandon(&mut self) {
        if std::mem::replace(&mut self.orphan, true) {
            return;
        }
        self.descriptor.0.orphans.fetch_add(1, Ordering::Relaxed);
        if self.changes {
            self.descriptor.0.changing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        if !self.orphan {
            return;
        }
        // Release: pairs with the Acquire in `poll_none`.
        let last_change = self.changes && self.descriptor.0.changing.fetch_sub(1, Ordering::Release) == 1;
        let last = self.descriptor.0.orphans.fetch_sub(1, Ordering::Release) == 1;
        if !last_change && !last {
            return;
        }
        let waiting = std::mem::take(&mut *self.descriptor.waiting());
        wake_all(waiting.into_iter());
    }
}

fn in_use() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another handle or operation still uses the descriptor: drop or await it before closing",
    )
}

/// Closes a descriptor that nobody else holds, and says how that went; made by [`Descriptor::close`].
#[derive(Debug)]
pub struct Close(Shared);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fd)
    }
}

// SAFETY: a close points to nothing.
unsafe impl Operation for Close {
    type Output = io::Result<()>;
    const ON_DROP: OnDrop = OnDrop::Finish;

    fn submission(&mut self) -> Submission {
        opcode::Close::new(types::Fd(self.0.fd)).build()
    }

    fn complete(mut self, completion: Completion) -> io::Result<()> {
        // Whatever close says, the number is free (except when the close itself never ran).
        if completion.result != -libc::ECANCELED {
            self.0.fd = -1;
        }
        check(completion.result).map(drop)
    }
}
