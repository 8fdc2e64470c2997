//! The handle of a task.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use super::extra::Watch;
use super::group::SpawnError;
use super::header::{COMPLETE, Header};
use super::join_set::{ReturnWhen, wait};
use super::raw::Outcome;
use super::{TaskId, TaskInfo, local, unhandled};

/// Awaits, aborts and names a task; made by [`spawn`](super::spawn).
///
/// Awaiting it gives the task's output, or why there is none. Dropping it detaches the task, which runs on; an error
/// that nobody fetches then is told to [`on_unhandled`](super::on_unhandled).
///
/// # Cancel safety
///
/// Awaiting `&mut handle` may be dropped and begun again; it says nothing to the task.
///
/// # Panics
///
/// When a task awaits its own handle, or when it is polled after it has given its output.
pub struct JoinHandle<T> {
    task: NonNull<Header>,
    taken: bool,
    /// Not `Send`: the output belongs to the core.
    output: PhantomData<*const T>,
}

impl<T> JoinHandle<T> {
    #[inline]
    pub(super) fn new(task: NonNull<Header>) -> Self {
        Self { task, taken: false, output: PhantomData }
    }

    /// Gives the task a name, for reports: `spawn(..).name("echo")`, `.name(format_args!("echo {peer}"))`.
    pub fn name(self, name: impl fmt::Display) -> Self {
        self.header().with_extra(|extra| extra.name = Some(name.to_string().into()));
        self
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// What is known of the task.
    pub fn info(&self) -> TaskInfo {
        self.header().info()
    }

    /// Whether the task has ended: its output waits here, or it panicked or was aborted.
    pub fn is_finished(&self) -> bool {
        self.header().has(COMPLETE)
    }

    /// Drops the task's future at its next turn, which cancels it; returns at once.
    ///
    /// A task that has not run yet never does. One that ends in the turn in which it is aborted keeps its output.
    /// Returns whether there was anything to abort: not if the task has ended, or is being cleaned up after.
    pub fn abort(&self) -> bool {
        let header = self.header();
        local::abort(header)
    }

    /// As [`abort`](Self::abort), for a reason: the [`JoinError`] has it. The first reason stands.
    pub fn abort_for(&self, reason: impl fmt::Display) -> bool {
        local::abort_for(self.header(), reason.to_string().into())
    }

    /// Aborts the task, and waits until its future has been dropped and its [cleanup](super::cancel) is over.
    ///
    /// # Errors
    ///
    /// [`JoinError`] that says it was cancelled, unless the task was faster.
    pub async fn cancel(self) -> Result<T, JoinError> {
        self.abort();
        self.await
    }

    /// Waits until the task has ended, and leaves its output for whoever awaits the handle.
    ///
    /// For a `select!` in a loop, which takes no `&mut handle`. There may be several of these waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping it says nothing to the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::{select, time};
    /// use std::time::Duration;
    ///
    /// corering_runtime::Builder::new().paused_time(true).run(async {
    ///     let task = corering_runtime::spawn(time::sleep(Duration::from_millis(2500)));
    ///     let mut seconds = 0;
    ///     loop {
    ///         select! {
    ///             () = task.ended() => break,
    ///             () = time::sleep(Duration::from_secs(1)) => seconds += 1,
    ///         }
    ///     }
    ///     assert_eq!(seconds, 2);
    ///     task.await.unwrap();
    /// })?;
    /// # Ok::<(), corering_runtime::RunError>(())
    /// ```
    #[track_caller]
    pub fn ended(&self) -> impl Future<Output = ()>
    where
        T: 'static,
    {
        let ended = wait([self], ReturnWhen::AllCompleted);
        async {
            ended.await;
        }
    }

    /// Has somebody told when the task has ended; at once if it has.
    pub(super) fn watch(&self, watcher: &Rc<impl Watch + 'static>, key: usize) {
        if self.is_finished() {
            return watcher.ended(key);
        }
        let watcher: Rc<dyn Watch> = Rc::clone(watcher) as _;
        self.header().with_extra(|extra| extra.watch(watcher, key));
    }

    /// Takes that back.
    pub(super) fn unwatch(&self, watcher: &Rc<impl Watch + 'static>) {
        let watcher: Rc<dyn Watch> = Rc::clone(watcher) as _;
        let taken = self.header().look_at_extra(|extra| extra.unwatch(&watcher));
        drop(taken);
    }

    /// Looks at the output of a task that has ended, and has not been awaited.
    pub(super) fn look_at_output<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        match self.outcome()? {
            Outcome::Output(output) => Some(look(output)),
            Outcome::Panic(_) | Outcome::Cancelled => None,
        }
    }

    /// Whether the task has ended with a panic, and has not been awaited.
    pub(super) fn has_panicked(&self) -> bool {
        matches!(self.outcome(), Some(Outcome::Panic(_)))
    }

    /// How the task has ended, if it has and has not been awaited.
    fn outcome(&self) -> Option<&Outcome<T>> {
        if !self.is_finished() {
            return None;
        }
        // SAFETY: the task has ended, and this is its core's thread.
        let outcome = unsafe { (self.header().vtable.output)(self.task) };
        // SAFETY: T is its output, which only the handle takes out, when it is borrowed mutably.
        unsafe { outcome.cast::<Outcome<T>>().as_ref() }
    }

    /// A handle that aborts the task when it is dropped.
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop(self)
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the handle holds a reference.
        unsafe { self.task.as_ref() }
    }
}

impl<T: 'static, E: fmt::Display + 'static> JoinHandle<Result<T, E>> {
    /// Lets the task run on by itself. If it fails, its error is told to [`on_unhandled`](super::on_unhandled),
    /// whatever its type.
    ///
    /// Dropping the handle does the same, except that it knows only the common types of errors.
    pub fn detach(self) {
        self.header().describe.set(unhandled::describe_result::<T, E>);
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.header();
        if !header.has(COMPLETE) {
            if local::running() == Some(self.task) {
                awaits_itself(&header.info());
            }
            let before = header.joiner.take();
            match before {
                Some(joiner) if joiner.will_wake(cx.waker()) => header.joiner.set(Some(joiner)),
                before => {
                    header.joiner.set(Some(cx.waker().clone()));
                    drop(before);
                }
            }
            return Poll::Pending;
        }
        assert!(!self.taken, "a task's handle was polled after it had given its output");
        let mut outcome: Option<Outcome<T>> = None;
        // SAFETY: the task has ended, the handle is on its core's thread (it is not `Send`), and T is its output.
        unsafe { (header.vtable.take_output)(self.task, (&raw mut outcome).cast()) };
        self.taken = true;
        Poll::Ready(match outcome {
            Some(Outcome::Output(output)) => Ok(output),
            Some(Outcome::Panic(payload)) => Err(JoinError {
                task: self.info(),
                reason: Reason::Panic { message: message_of(&*payload).to_owned(), payload: Mutex::new(payload) },
            }),
            Some(Outcome::Cancelled) | None => {
                let reason = self.header().look_at_extra(|extra| extra.reason.take()).flatten();
                Err(JoinError { task: self.info(), reason: Reason::Cancelled(reason) })
            }
        })
    }
}

#[cold]
fn awaits_itself(task: &TaskInfo) -> ! {
    panic!("{task} awaits itself, and would wait for ever")
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the handle's own reference, and the core's thread.
        unsafe { local::release_joined(self.task) };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({})", self.info())
    }
}

/// A [`JoinHandle`] that aborts its task when it is dropped; made by [`JoinHandle::abort_on_drop`].
#[must_use = "the task is aborted when this is dropped"]
pub struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    /// The handle.
    pub fn handle(&self) -> &JoinHandle<T> {
        &self.0
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> fmt::Debug for AbortOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AbortOnDrop({})", self.0.info())
    }
}

/// The handle of a task as `block_on` uses it: its output is fetched without waiting.
pub(crate) struct Root<T>(ManuallyDrop<JoinHandle<T>>);

impl<T> Root<T> {
    /// Starts a task whose future and output may borrow.
    ///
    /// # Safety
    ///
    /// What comes back is given to [`finish`](Self::finish) or dropped, with the core's loop not running, before
    /// what the future borrows ends.
    #[track_caller]
    pub(crate) unsafe fn spawn<F: Future<Output = T>>(future: F) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { Self::spawn_at(future, std::panic::Location::caller()) }
    }

    /// The same, for somebody else.
    ///
    /// # Safety
    ///
    /// As for [`spawn`](Self::spawn).
    pub(crate) unsafe fn spawn_at<F: Future<Output = T>>(
        future: F,
        at: &'static std::panic::Location<'static>,
    ) -> Option<Self> {
        // SAFETY: the caller's promise; the root's output is never described.
        let task = unsafe { local::spawn_unchecked(future, at, unhandled::nothing) }?;
        Some(Self(ManuallyDrop::new(JoinHandle::new(task))))
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    pub(crate) fn abort(&self) {
        self.0.abort();
    }

    pub(crate) fn name(&self, name: &str) {
        self.0.header().with_extra(|extra| extra.name = Some(name.into()));
    }

    /// The output of a task that has ended.
    pub(crate) fn finish(mut self) -> Result<T, JoinError> {
        let waker = std::task::Waker::noop();
        match Pin::new(&mut *self.0).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(output) => output,
            Poll::Pending => unreachable!("called when the task has ended"),
        }
    }
}

impl<T> Drop for Root<T> {
    fn drop(&mut self) {
        let header = self.0.header();
        if !header.has(COMPLETE) {
            // The loop itself has panicked. The future must not outlive what it borrows.
            // SAFETY: the core's thread; nothing is being polled, since the loop is being unwound.
            unsafe { (header.vtable.cancel)(self.0.task) };
        }
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

/// Why a task has no output: it panicked, or it was aborted (or, in a group, failed or was not taken).
pub struct JoinError {
    task: TaskInfo,
    reason: Reason,
}

enum Reason {
    /// For a reason, if one was given.
    Cancelled(Option<Box<str>>),
    /// With an error that its group has.
    Failed,
    /// Its group did not take it.
    Refused(SpawnError),
    Panic {
        message: String,
        /// In a lock only so that the error can be shared, as boxed errors must be.
        payload: Mutex<Box<dyn Any + Send>>,
    },
}

impl JoinError {
    pub(super) fn failed(task: TaskInfo) -> Self {
        Self { task, reason: Reason::Failed }
    }

    pub(super) fn refused(task: TaskInfo, why: SpawnError) -> Self {
        Self { task, reason: Reason::Refused(why) }
    }

    /// The same once more, of one that says no more than why.
    pub(super) fn again(&self) -> Self {
        let reason = match &self.reason {
            Reason::Refused(why) => Reason::Refused(*why),
            Reason::Failed => Reason::Failed,
            Reason::Cancelled(_) | Reason::Panic { .. } => Reason::Cancelled(None),
        };
        Self { task: self.task.clone(), reason }
    }

    /// Why the task's group did not take it, if that is the reason.
    pub fn spawn_error(&self) -> Option<SpawnError> {
        match &self.reason {
            Reason::Refused(why) => Some(*why),
            Reason::Cancelled(_) | Reason::Failed | Reason::Panic { .. } => None,
        }
    }

    /// Whether it was aborted (or its core ended first).
    pub fn is_cancelled(&self) -> bool {
        matches!(self.reason, Reason::Cancelled(_))
    }

    /// What it was [aborted for](JoinHandle::abort_for), if that was said.
    pub fn cancel_reason(&self) -> Option<&str> {
        match &self.reason {
            Reason::Cancelled(reason) => reason.as_deref(),
            Reason::Failed | Reason::Refused(_) | Reason::Panic { .. } => None,
        }
    }

    /// Whether it panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.reason, Reason::Panic { .. })
    }

    /// What it panicked with, to go on with by [`std::panic::resume_unwind`]; or the error itself.
    ///
    /// # Errors
    ///
    /// The error itself if the task did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.reason {
            Reason::Panic { payload, .. } => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Reason::Cancelled(_) | Reason::Failed | Reason::Refused(_) => Err(self),
        }
    }

    /// The task.
    pub fn task(&self) -> &TaskInfo {
        &self.task
    }
}

/// The text of a panic, if it had one.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a payload that is not text)"
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Cancelled(None) => write!(f, "{} was cancelled", self.task),
            Reason::Cancelled(Some(reason)) => write!(f, "{} was cancelled: {reason}", self.task),
            Reason::Failed => write!(f, "{} failed; its group has the error", self.task),
            Reason::Refused(why) => write!(f, "the task (spawned at {}) was not started: {why}", self.task.spawned_at),
            Reason::Panic { message, .. } => write!(f, "{} panicked: {message}", self.task),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        io::Error::other(error)
    }
}
