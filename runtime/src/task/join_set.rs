//! Several tasks, and which of them ends first.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corering_sync::Notice;
use futures_core::Stream;
use slab::Slab;

use super::extra::Watch;
use super::{JoinError, JoinHandle, TaskId};
use crate::time::{Elapsed, Sleep, sleep};

/// The number of a task that has ended, and what it gave.
pub type Joined<T> = (TaskId, Result<T, JoinError>);

/// Tasks that are awaited in the order in which they end.
///
/// Dropping it aborts those that have not ended; see [`detach_all`](Self::detach_all).
///
/// # Examples
///
/// ```
/// use corering_runtime::task::JoinSet;
/// use corering_runtime::time::{self, Duration};
///
/// corering_runtime::Builder::new().paused_time(true).run(async {
///     let mut set = JoinSet::new();
///     for seconds in [3, 1, 2] {
///         set.spawn(async move {
///             time::sleep(Duration::from_secs(seconds)).await;
///             seconds
///         });
///     }
///     let mut ended = Vec::new();
///     while let Some(result) = set.join_next().await {
///         ended.push(result.unwrap());
///     }
///     assert_eq!(ended, [1, 2, 3]);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub struct JoinSet<T> {
    tasks: Slab<JoinHandle<T>>,
    ended: Rc<Ended>,
}

/// Keys of tasks that have ended and were not given out.
struct Ended {
    keys: RefCell<VecDeque<usize>>,
    notice: Notice,
}

impl Watch for Ended {
    fn ended(&self, key: usize) {
        self.keys.borrow_mut().push_back(key);
        self.notice.tell();
    }
}

impl<T: 'static> JoinSet<T> {
    /// With no tasks.
    #[track_caller]
    pub fn new() -> Self {
        Self::waiting_for("the next task of a JoinSet", Location::caller())
    }

    fn waiting_for(what: &'static str, at: &'static Location<'static>) -> Self {
        let ended = Ended { keys: RefCell::new(VecDeque::new()), notice: Notice::at(what, at) };
        Self { tasks: Slab::new(), ended: Rc::new(ended) }
    }

    /// Starts a task and takes it in; its number.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) -> TaskId {
        self.insert(super::spawn(future))
    }

    /// Takes in a task that runs; its number.
    pub fn insert(&mut self, task: JoinHandle<T>) -> TaskId {
        let id = task.id();
        let entry = self.tasks.vacant_entry();
        task.watch(&self.ended, entry.key());
        entry.insert(task);
        id
    }

    /// Waits for the next that ends: its output. `None` if there are no more.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the tasks, and what they gave, for the next call.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.join_next_with_id().await.map(|(_, result)| result)
    }

    /// As [`join_next`](Self::join_next), with the task's number.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn join_next_with_id(&mut self) -> Option<Joined<T>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Polls for the next that ends. Ready with `None` if there are no more.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Joined<T>>> {
        loop {
            if let Some(ended) = self.next_ended() {
                return Poll::Ready(Some(ended));
            }
            if self.tasks.is_empty() {
                return Poll::Ready(None);
            }
            ready!(self.ended.notice.poll(cx));
        }
    }

    fn next_ended(&mut self) -> Option<Joined<T>> {
        let key = self.ended.keys.borrow_mut().pop_front()?;
        Some(self.take(key))
    }

    /// What the next that has ended gave, if one has.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.next_ended().map(|(_, result)| result)
    }

    fn take(&mut self, key: usize) -> Joined<T> {
        let mut task = self.tasks.remove(key);
        let waker = std::task::Waker::noop();
        match Pin::new(&mut task).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(result) => (task.id(), result),
            Poll::Pending => unreachable!("the task has told that it has ended"),
        }
    }

    /// Aborts all tasks, and waits until they have ended; what they gave is dropped.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Aborts all tasks. They are still to be awaited.
    pub fn abort_all(&self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }

    /// Lets all tasks run on by themselves.
    pub fn detach_all(&mut self) {
        for (_, task) in std::mem::take(&mut self.tasks) {
            task.unwatch(&self.ended);
        }
        self.ended.keys.borrow_mut().clear();
    }

    /// How many there are, ended and not.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> FromIterator<JoinHandle<T>> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = JoinHandle<T>>>(tasks: I) -> Self {
        let mut set = Self::new();
        set.extend(tasks);
        set
    }
}

impl<T: 'static> Extend<JoinHandle<T>> for JoinSet<T> {
    fn extend<I: IntoIterator<Item = JoinHandle<T>>>(&mut self, tasks: I) {
        for task in tasks {
            self.insert(task);
        }
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("tasks", &self.tasks.len()).finish()
    }
}

/// The outputs of tasks in the order in which they end, each with its task's number: a stream.
///
/// asyncio's `as_completed`. Dropping it aborts the tasks that have not ended (asyncio leaves them);
/// [`detach_all`](AsCompleted::detach_all) lets them run on.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::{self, as_completed};
///
/// corering_runtime::run(async {
///     let tasks = [3, 1, 2].map(|turns| {
///         corering_runtime::spawn(async move {
///             for _ in 0..turns {
///                 task::yield_now().await;
///             }
///             turns
///         })
///     });
///     let mut ended = as_completed(tasks);
///     let mut order = Vec::new();
///     while let Some((_id, result)) = ended.next().await {
///         order.push(result.unwrap());
///     }
///     assert_eq!(order, [1, 2, 3]);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn as_completed<T: 'static>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> AsCompleted<T> {
    let mut set = JoinSet::waiting_for("the next task that ends", Location::caller());
    set.extend(tasks);
    AsCompleted { tasks: set, limit: None }
}

/// The outputs of tasks as they end; made by [`as_completed`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct AsCompleted<T> {
    tasks: JoinSet<T>,
    limit: Option<Sleep>,
}

impl<T: 'static> AsCompleted<T> {
    /// Waits for `duration` at most, all in all, from now on.
    pub fn timeout(mut self, duration: Duration) -> Self {
        self.limit = Some(sleep(duration));
        self
    }

    /// The next that ends; `None` if there are no more.
    ///
    /// # Errors
    ///
    /// [`Elapsed`], this time and each time from then on, if the [time](Self::timeout) is over and none is ready. The
    /// tasks go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn next_in_time(&mut self) -> Result<Option<Joined<T>>, Elapsed> {
        poll_fn(|cx| self.poll_next_in_time(cx)).await
    }

    /// The next that ends; `None` if there are no more, or the [time](Self::timeout) is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn next(&mut self) -> Option<Joined<T>> {
        self.next_in_time().await.unwrap_or(None)
    }

    fn poll_next_in_time(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Joined<T>>, Elapsed>> {
        if let Poll::Ready(next) = self.tasks.poll_join_next(cx) {
            if self.tasks.is_empty() {
                // No timer for nothing.
                self.limit = None;
            }
            return Poll::Ready(Ok(next));
        }
        match &mut self.limit {
            Some(limit) => Pin::new(limit).poll(cx).map(|()| Err(Elapsed::new())),
            None => Poll::Pending,
        }
    }

    /// Lets those that have not ended run on by themselves.
    pub fn detach_all(mut self) {
        self.tasks.detach_all();
    }

    /// How many are still to come.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no more are to come.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl<T: 'static> Stream for AsCompleted<T> {
    type Item = Joined<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_in_time(cx).map(|next| next.unwrap_or(None))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("tasks", &self.tasks.tasks.len()).field("limit", &self.limit).finish()
    }
}

/// When [`wait`] returns.
pub enum ReturnWhen<T> {
    /// When the first has ended.
    FirstCompleted,
    /// When all have ended.
    AllCompleted,
    /// When the first has ended with an output like that, or panicked; or all have ended. A task that was cancelled
    /// does not count. See [`first_error`](Self::first_error).
    FirstWhere(fn(&T) -> bool),
}

impl<T, E> ReturnWhen<Result<T, E>> {
    /// When the first has failed or panicked, or all have ended. asyncio's `FIRST_EXCEPTION`.
    #[doc(alias = "FIRST_EXCEPTION")]
    pub fn first_error() -> Self {
        Self::FirstWhere(Result::is_err)
    }
}

impl<T> Clone for ReturnWhen<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReturnWhen<T> {}

impl<T> fmt::Debug for ReturnWhen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstCompleted => "FirstCompleted",
            Self::AllCompleted => "AllCompleted",
            Self::FirstWhere(_) => "FirstWhere",
        })
    }
}

/// Waits for tasks; gives those that have ended, and those that have not, each in the order in which they came.
///
/// asyncio's `wait`. Nothing is cancelled, and no error is raised: await the handles that have ended, which takes no
/// time. Handles may be given by value or by reference. With no tasks it returns at once. To limit the time, see
/// [`wait_timeout`].
///
/// # Cancel safety
///
/// Dropping it leaves the tasks running. (Handles that were given by value are dropped with it, which detaches them.)
///
/// # Examples
///
/// ```
/// use corering_runtime::task::{ReturnWhen, wait, yield_now};
///
/// corering_runtime::run(async {
///     let slow = corering_runtime::spawn(async { yield_now().await; yield_now().await; "slow" });
///     let quick = corering_runtime::spawn(async { "quick" });
///     let (done, pending) = wait([slow, quick], ReturnWhen::FirstCompleted).await;
///     assert_eq!((done.len(), pending.len()), (1, 1));
///     for task in done {
///         assert_eq!(task.await.unwrap(), "quick");
///     }
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[track_caller]
pub fn wait<T, H>(tasks: impl IntoIterator<Item = H>, when: ReturnWhen<T>) -> impl Future<Output = (Vec<H>, Vec<H>)>
where
    T: 'static,
    H: Borrow<JoinHandle<T>>,
{
    Waiting::new(tasks.into_iter().collect(), when, None, Location::caller())
}

/// As [`wait`], for `duration` at most, which counts from this call: it is no error if the time is over.
#[track_caller]
pub fn wait_timeout<T, H>(
    tasks: impl IntoIterator<Item = H>,
    when: ReturnWhen<T>,
    duration: Duration,
) -> impl Future<Output = (Vec<H>, Vec<H>)>
where
    T: 'static,
    H: Borrow<JoinHandle<T>>,
{
    Waiting::new(tasks.into_iter().collect(), when, Some(sleep(duration)), Location::caller())
}

/// The future of [`wait`].
struct Waiting<T: 'static, H: Borrow<JoinHandle<T>>> {
    tasks: Vec<H>,
    when: ReturnWhen<T>,
    limit: Option<Sleep>,
    ended: Rc<Ended>,
    is_watching: bool,
}

impl<T, H: Borrow<JoinHandle<T>>> Waiting<T, H> {
    fn new(tasks: Vec<H>, when: ReturnWhen<T>, limit: Option<Sleep>, at: &'static Location<'static>) -> Self {
        let ended = Ended { keys: RefCell::new(VecDeque::new()), notice: Notice::at("tasks to end", at) };
        Self { tasks, when, limit, ended: Rc::new(ended), is_watching: false }
    }

    fn is_over(&self) -> bool {
        let mut tasks = self.tasks.iter().map(Borrow::borrow);
        let all = || self.tasks.iter().all(|task| task.borrow().is_finished());
        match self.when {
            ReturnWhen::FirstCompleted => self.tasks.is_empty() || tasks.any(JoinHandle::is_finished),
            ReturnWhen::AllCompleted => all(),
            ReturnWhen::FirstWhere(is_it) => {
                tasks.any(|task| task.has_panicked() || task.look_at_output(is_it) == Some(true)) || all()
            }
        }
    }
}

impl<T, H: Borrow<JoinHandle<T>>> Unpin for Waiting<T, H> {}

impl<T, H: Borrow<JoinHandle<T>>> Future for Waiting<T, H> {
    type Output = (Vec<H>, Vec<H>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.is_watching {
            this.is_watching = true;
            for (key, task) in this.tasks.iter().enumerate() {
                task.borrow().watch(&this.ended, key);
            }
        }
        let time_is_over = this.limit.as_mut().is_some_and(|limit| Pin::new(limit).poll(cx).is_ready());
        // Whatever was told is looked at now.
        while this.ended.notice.poll(cx).is_ready() {}
        if !time_is_over && !this.is_over() {
            return Poll::Pending;
        }
        this.unwatch();
        let (done, pending) = std::mem::take(&mut this.tasks).into_iter().partition(|task| task.borrow().is_finished());
        this.limit = None;
        Poll::Ready((done, pending))
    }
}

impl<T, H: Borrow<JoinHandle<T>>> Waiting<T, H> {
    fn unwatch(&self) {
        self.ended.notice.forget();
        for task in &self.tasks {
            task.borrow().unwatch(&self.ended);
        }
    }
}

impl<T, H: Borrow<JoinHandle<T>>> Drop for Waiting<T, H> {
    fn drop(&mut self) {
        if self.is_watching {
            self.unwatch();
        }
    }
}
