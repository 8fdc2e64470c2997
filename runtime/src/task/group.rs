//! Groups: tasks that belong together, and end together.
//!
//! ```text
//!            body and children run            all have ended
//!   Open -------------------------> Open, body done -------> Ended
//!     | a child or the body fails,                             ^
//!     | panics, or cancel()            all have ended          |
//!     +--> Ending: children aborted, body dropped -------------+
//! ```
//!
//! Invariant: a group's scope is over only when no child runs, none is being cleaned up after, and what was deferred
//! has been done; whoever drops the scope hands that to the scope around it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_sync::{Notice, oneshot};
use pin_project_lite::pin_project;
use slab::Slab;

use super::extra::Watch;
use super::header::Header;
use super::join::JoinHandle;
use super::{JoinError, TaskId, TaskInfo, cancel, local, unhandled};
use crate::scope::{Left, dropping};

/// Tasks that belong together. asyncio's `TaskGroup`, trio's nursery.
///
/// [`scope`](Self::scope) runs a body that spawns tasks into the group, and returns when the body and all of them have
/// ended: nothing outlives it. When one fails, the others are cancelled, and the scope returns [every error](GroupError).
///
/// A group may be cloned and given to its tasks, which spawn more.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::TaskGroup;
/// # use std::io;
/// # async fn check_stock(order: u32) -> io::Result<u32> { Ok(order) }
/// # async fn check_fraud(_: u32) -> io::Result<bool> { Ok(true) }
/// # struct Report { stock: u32, fraud: bool }
/// # let order = 7;
///
/// corering_runtime::run(async move {
///     let report = TaskGroup::scope(async |group| {
///         let stock = group.spawn(check_stock(order));
///         let fraud = group.spawn(check_fraud(order));
///         Ok(Report { stock: stock.await?, fraud: fraud.await? })
///     })
///     .await?;
///     assert!(report.stock == 7 && report.fraud);
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?
/// # .map_err(|error| error.to_string()).unwrap();
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
///
/// When something fails, the rest is cancelled and all that failed is told:
///
/// ```
/// use corering_runtime::task::TaskGroup;
/// use std::io;
///
/// corering_runtime::run(async {
///     let failed = TaskGroup::scope(async |group| {
///         group.spawn(async { Err::<(), _>(io::Error::other("out of stock")) });
///         group.spawn(async { std::future::pending::<io::Result<()>>().await });
///         std::future::pending::<io::Result<()>>().await // cancelled, too
///     });
///     let error = failed.await.unwrap_err();
///     assert_eq!(error.first().unwrap().to_string(), "out of stock");
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[doc(alias = "nursery")]
pub struct TaskGroup<E>(Rc<Shared<E>>);

struct Shared<E> {
    phase: Cell<Phase>,
    /// Each is in here from when it is spawned until it is told to have ended, during which the core holds it.
    children: RefCell<Slab<NonNull<Header>>>,
    failures: RefCell<Vec<Failure<E>>>,
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    deferred: RefCell<Vec<cancel::Running>>,
    /// What the body left when it was dropped.
    left: RefCell<Option<Left>>,
    /// Set when the scope has something to look at.
    changed: Notice,
    opened_at: &'static Location<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Something failed, or the group was cancelled.
    Ending,
    Ended,
}

impl<E: 'static> Watch for Shared<E> {
    fn ended(&self, key: usize) {
        let is_last = {
            let mut children = self.children.borrow_mut();
            children.remove(key);
            children.is_empty()
        };
        if is_last {
            self.changed.tell();
        }
    }
}

impl<E: 'static> Shared<E> {
    fn fail(&self, task: Option<TaskInfo>, error: E) {
        self.failures.borrow_mut().push(Failure { task, error });
        self.end();
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) {
        let mut first = self.panic.borrow_mut();
        if first.is_none() {
            *first = Some(payload);
            drop(first);
        } else {
            drop(first);
            let text = format!("panicked, too: {}", super::join::message_of(&*payload));
            std::mem::forget(payload);
            local::report(self.opened_at, &text);
        }
        self.end();
    }

    /// Whoever would have been given what went wrong has gone.
    fn tell_the_rest(&self) {
        tell(self.failures.take(), self.opened_at);
        let panic = self.panic.take();
        if let Some(payload) = panic {
            let text = format!("panicked in a group that was cancelled: {}", super::join::message_of(&*payload));
            std::mem::forget(payload);
            local::report(self.opened_at, &text);
        }
    }

    /// Begins to end. The scope aborts the children at its next turn: those that are ready now run before that, so
    /// that of several that fail together all are told.
    fn end(&self) {
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Ending);
            self.changed.tell();
        }
    }

    fn abort_children(&self) {
        for (_, child) in &*self.children.borrow() {
            // SAFETY: what is in the list has not ended, so its core holds its reference.
            local::abort(unsafe { child.as_ref() });
        }
    }
}

impl<E: 'static> TaskGroup<E> {
    /// Runs `body` with a group; returns when it and all tasks of the group have ended.
    ///
    /// # Errors
    ///
    /// [`GroupError`], if a task or the body has failed, or the group was [cancelled](Self::cancel) before the body
    /// had ended.
    ///
    /// # Panics
    ///
    /// If a task or the body panics, with the same payload, after all others have ended. What else had failed is told
    /// to [`on_unhandled`](super::on_unhandled).
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the body and the tasks. The [nearest scope](cancel) around it waits until they have ended.
    #[track_caller]
    pub fn scope<T, B>(body: B) -> impl Future<Output = Result<T, GroupError<E>>>
    where
        B: AsyncFnOnce(&TaskGroup<E>) -> Result<T, E>,
    {
        let opened_at = Location::caller();
        async move {
            let group = TaskGroup(Rc::new(Shared {
                phase: Cell::new(Phase::Open),
                children: RefCell::new(Slab::new()),
                failures: RefCell::new(Vec::new()),
                panic: RefCell::new(None),
                deferred: RefCell::new(Vec::new()),
                left: RefCell::new(None),
                changed: Notice::at("its group to end", opened_at),
                opened_at,
            }));
            // Dropped after the body, when this is dropped unfinished.
            let unfinished = Unfinished(&group.0);
            let value = group.run(body).await;
            // If this is dropped meanwhile, the rest of it is done by the scope around.
            group.0.do_what_was_deferred().await;
            group.0.phase.set(Phase::Ended);
            std::mem::forget(unfinished);
            let failures = group.0.failures.take();
            if let Some(payload) = group.0.panic.take() {
                tell(failures, opened_at);
                resume_unwind(payload);
            }
            match value {
                Some(value) if failures.is_empty() => Ok(value),
                _ => Err(GroupError { failures, opened_at }),
            }
        }
    }

    /// The body, then the children. `None` if the body failed, or was dropped.
    async fn run<T, B>(&self, body: B) -> Option<T>
    where
        B: AsyncFnOnce(&TaskGroup<E>) -> Result<T, E>,
    {
        let Self(shared) = self;
        let mut body = pin!(Body { future: Some(body(self)), shared });
        let mut value = None;
        let mut aborted = false;
        poll_fn(|cx| {
            loop {
                if shared.phase.get() == Phase::Ending && !std::mem::replace(&mut aborted, true) {
                    shared.abort_children();
                    body.as_mut().give_up();
                }
                if let Some(running) = body.as_mut().project().future.as_pin_mut() {
                    match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
                        // If it has ended meanwhile, the notice has been told.
                        Ok(Poll::Pending) => {}
                        Ok(Poll::Ready(Ok(output))) => {
                            value = Some(output);
                            body.as_mut().project().future.set(None);
                        }
                        Ok(Poll::Ready(Err(error))) => {
                            body.as_mut().project().future.set(None);
                            shared.fail(None, error);
                        }
                        Err(payload) => {
                            body.as_mut().give_up();
                            shared.panicked(payload);
                        }
                    }
                }
                let all_ended = body.future.is_none() && shared.children.borrow().is_empty();
                if shared.poll_body_left(cx).is_ready() && all_ended {
                    return Poll::Ready(());
                }
                ready!(shared.changed.poll(cx));
            }
        })
        .await;
        value
    }

    /// Starts a task in the group. It is first polled after the caller has given way.
    ///
    /// If it fails, all of the group is cancelled. Awaiting the handle gives what the task gives; dropping it changes
    /// nothing. Once the group is ending or has ended, the future is dropped and the handle says so; see
    /// [`try_spawn`](Self::try_spawn).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
    {
        let at = Location::caller();
        match self.start_task(future, at) {
            Ok(handle) => Child(Ok(handle)),
            Err(refused) => Child(Err(JoinError::refused(local::nobody(at), refused))),
        }
    }

    /// As [`spawn`](Self::spawn), for what cannot fail.
    #[track_caller]
    pub fn spawn_infallible<T, F>(&self, future: F) -> Child<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.spawn(Infallible { future, error: std::marker::PhantomData })
    }

    /// As [`spawn`](Self::spawn).
    ///
    /// # Errors
    ///
    /// [`SpawnError`] once the group is ending or has ended. The future has been dropped unpolled.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn try_spawn<T, F>(&self, future: F) -> Result<Child<T>, SpawnError>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
    {
        Ok(Child(Ok(self.start_task(future, Location::caller())?)))
    }

    fn start_task<T, F>(&self, future: F, at: &'static Location<'static>) -> Result<JoinHandle<Option<T>>, SpawnError>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
    {
        let Self(shared) = self;
        match shared.phase.get() {
            Phase::Open => {}
            Phase::Ending => return Err(SpawnError::ShuttingDown),
            Phase::Ended => return Err(SpawnError::Finished),
        }
        let child = Member { future: Some(future), group: Rc::clone(shared) };
        let Some(task) = local::spawn(child, at) else { super::outside_a_runtime("TaskGroup::spawn") };
        let key = shared.children.borrow_mut().insert(task);
        // SAFETY: it has just been made.
        let header = unsafe { task.as_ref() };
        let watcher: Rc<dyn Watch> = Rc::<Shared<E>>::clone(shared);
        header.with_extra(|extra| extra.watch(watcher, key));
        Ok(JoinHandle::new(task))
    }

    /// Starts a task that says when it is ready, and waits until it does. trio's `nursery.start`.
    ///
    /// `begin` makes the task's future from a [`Started`], whose [`ready`](Started::ready) ends this wait; the task
    /// goes on in the group.
    ///
    /// # Errors
    ///
    /// [`StartError`]: it failed before it was ready (then the group is not cancelled), or ended without having been,
    /// or the group takes no more tasks.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before the task is ready cancels the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_runtime::task::TaskGroup;
    /// use std::io;
    ///
    /// corering_runtime::run(async {
    ///     TaskGroup::scope(async |group| {
    ///         let port = group
    ///             .start(async |started| {
    ///                 // ... binds, and then
    ///                 started.ready(4000);
    ///                 // ... serves
    ///                 io::Result::Ok(())
    ///             })
    ///             .await
    ///             .expect("it was ready");
    ///         assert_eq!(port, 4000);
    ///         Ok(())
    ///     })
    ///     .await
    ///     .unwrap();
    /// })?;
    /// # Ok::<(), corering_runtime::RunError>(())
    /// ```
    #[track_caller]
    pub fn start<V, B>(&self, begin: B) -> impl Future<Output = Result<V, StartError<E>>>
    where
        B: AsyncFnOnce(Started<V>) -> Result<(), E> + 'static,
        V: 'static,
    {
        let at = Location::caller();
        async move {
            let (sender, receiver) = oneshot::channel();
            let was_ready = Rc::new(Cell::new(false));
            let early: Rc<RefCell<Option<E>>> = Rc::default();
            let child = {
                let (was_ready, early) = (Rc::clone(&was_ready), Rc::clone(&early));
                let started = Started { sender, was_ready: Rc::clone(&was_ready) };
                async move {
                    match begin(started).await {
                        Err(error) if !was_ready.get() => {
                            early.replace(Some(error));
                            Ok(())
                        }
                        result => result,
                    }
                }
            };
            let handle = self.start_task(child, at).map_err(StartError::Refused)?;
            let mut starting = Starting(Some(handle));
            let value = receiver.await;
            let handle = starting.0.take();
            match (value, handle) {
                (Ok(value), _) => Ok(value),
                // It dropped its `Started`: once it has ended, it is known why.
                (Err(_), handle) => {
                    if let Some(handle) = handle {
                        drop(handle.await);
                    }
                    Err(early.take().map_or(StartError::NotStarted, StartError::Failed))
                }
            }
        }
    }

    /// Has something done when the group ends, however that is: after all tasks have ended, the latest first.
    ///
    /// A failure is told to [`on_unhandled`](super::on_unhandled).
    pub fn defer<F>(&self, cleanup: F)
    where
        F: Future<Output: cancel::Outcome> + 'static,
    {
        use super::cancel::Outcome;
        self.0.deferred.borrow_mut().push(Box::pin(async move { cleanup.await.failure() }));
    }

    /// Cancels all tasks of the group, and the body if it has not ended.
    ///
    /// The scope waits until all have ended. It returns the body's value if that had ended or ends before it waits
    /// again, and else a [`GroupError`] without failures. Again, or after the end, it does nothing.
    pub fn cancel(&self) {
        self.0.end();
        self.0.abort_children();
    }

    /// How many tasks of the group have not ended.
    pub fn len(&self) -> usize {
        self.0.children.borrow().len()
    }

    /// Whether all tasks of the group have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("tasks", &self.0.children.borrow().len())
            .field("phase", &self.0.phase.get())
            .field("opened_at", &format_args!("{}", self.0.opened_at))
            .finish()
    }
}

impl<E> Shared<E> {
    /// Ready when what the body left has ended.
    fn poll_body_left(&self, cx: &Context<'_>) -> Poll<()> {
        self.left.borrow().as_ref().map_or(Poll::Ready(()), |left| left.poll_ended(cx))
    }

    /// One after the other, the latest first; whatever is not done when this is dropped is there for the next.
    async fn do_what_was_deferred(&self) {
        let mut doing = Doing { what: None, deferred: &self.deferred };
        loop {
            let next = self.deferred.borrow_mut().pop();
            let Some(next) = next else { return };
            doing.what = Some(next);
            if let Some(failure) = (&mut doing).await {
                local::report(self.opened_at, &format!("what was deferred failed: {failure}"));
            }
        }
    }
}

/// Something deferred while it is done; dropped before it has ended, it comes next again.
struct Doing<'a> {
    what: Option<cancel::Running>,
    deferred: &'a RefCell<Vec<cancel::Running>>,
}

impl Future for Doing<'_> {
    type Output = Option<String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let Some(mut what) = self.what.take() else {
            return Poll::Ready(None);
        };
        // If it panics, it is not there any more.
        let polled = what.as_mut().poll(cx);
        if polled.is_pending() {
            self.what = Some(what);
        }
        polled
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        if let Some(what) = self.what.take() {
            self.deferred.borrow_mut().push(what);
        }
    }
}

pin_project! {
    /// The body of a scope, as long as it runs.
    struct Body<'a, F, E> {
        #[pin]
        future: Option<F>,
        shared: &'a Rc<Shared<E>>,
    }

    impl<F, E> PinnedDrop for Body<'_, F, E> {
        fn drop(this: Pin<&mut Self>) {
            this.give_up();
        }
    }
}

impl<F, E> Body<'_, F, E> {
    /// Drops it, if it has not ended; what it leaves is waited for by its group, wherever that is waited for.
    fn give_up(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.future.is_some() {
            let left = dropping(|| this.future.set(None));
            this.shared.left.replace(left);
        }
    }
}

/// A scope that was dropped: its children end, and whoever is around it waits for that.
struct Unfinished<'a, E: 'static>(&'a Rc<Shared<E>>);

impl<E: 'static> Drop for Unfinished<'_, E> {
    fn drop(&mut self) {
        let shared = Rc::clone(self.0);
        shared.end();
        shared.abort_children();
        let no_children = shared.children.borrow().is_empty() && shared.left.borrow().is_none();
        if no_children && shared.deferred.borrow().is_empty() {
            shared.phase.set(Phase::Ended);
            shared.tell_the_rest();
            return;
        }
        let opened_at = shared.opened_at;
        let wait = async move {
            poll_fn(|cx| {
                while !shared.children.borrow().is_empty() {
                    ready!(shared.changed.poll(cx));
                }
                shared.poll_body_left(cx)
            })
            .await;
            shared.do_what_was_deferred().await;
            shared.phase.set(Phase::Ended);
            shared.tell_the_rest();
            None
        };
        cancel::adopt(Box::pin(wait), opened_at);
    }
}

/// Tells the hook what had failed in a group whose scope cannot return it.
fn tell<E: 'static>(failures: Vec<Failure<E>>, at: &'static Location<'static>) {
    for Failure { task, error } in failures {
        let whose = task.map_or_else(|| "the body".to_owned(), |task| task.to_string());
        let text = unhandled::text_of(error).unwrap_or_else(|| "an error of another type".to_owned());
        local::report(at, &format!("had a failure in its group that nobody was told of: {whose}: {text}"));
    }
}

pin_project! {
    /// The future of a child: what goes wrong in it, it tells its group.
    struct Member<F, E>
    where
        E: 'static,
    {
        #[pin]
        future: Option<F>,
        group: Rc<Shared<E>>,
    }
}

impl<T, E: 'static, F: Future<Output = Result<T, E>>> Future for Member<F, E> {
    type Output = Option<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let result = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(payload) => {
                this.group.panicked(payload);
                return Poll::Ready(None);
            }
        };
        match result {
            Ok(value) => Poll::Ready(Some(value)),
            Err(error) => {
                this.group.fail(super::current(), error);
                Poll::Ready(None)
            }
        }
    }
}

pin_project! {
    struct Infallible<F, E> {
        #[pin]
        future: F,
        error: std::marker::PhantomData<E>,
    }
}

impl<F: Future, E> Future for Infallible<F, E> {
    type Output = Result<F::Output, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(Ok)
    }
}

/// Awaits and aborts a task of a group; made by [`TaskGroup::spawn`].
///
/// Awaiting it gives the task's value, or a [`JoinError`]: that it was cancelled, or that it failed (then its group
/// has the error).
pub struct Child<T>(Result<JoinHandle<Option<T>>, JoinError>);

impl<T> Child<T> {
    /// Gives the task a name, for reports.
    pub fn name(self, name: impl fmt::Display) -> Self {
        Self(self.0.map(|handle| handle.name(name)))
    }

    /// The task's number; `None` if the group did not take it.
    pub fn id(&self) -> Option<TaskId> {
        self.0.as_ref().ok().map(JoinHandle::id)
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().map_or(true, JoinHandle::is_finished)
    }

    /// Cancels this task alone: the others of the group go on. As [`JoinHandle::abort`].
    pub fn abort(&self) -> bool {
        self.0.as_ref().is_ok_and(JoinHandle::abort)
    }

    /// As [`JoinHandle::abort_for`].
    pub fn abort_for(&self, reason: impl fmt::Display) -> bool {
        self.0.as_ref().is_ok_and(|handle| handle.abort_for(reason))
    }
}

impl<T> Future for Child<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = match &mut self.0 {
            Ok(handle) => handle,
            Err(refused) => return Poll::Ready(Err(refused.again())),
        };
        Poll::Ready(match ready!(Pin::new(&mut *handle).poll(cx))? {
            Some(value) => Ok(value),
            None => Err(JoinError::failed(handle.info())),
        })
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(handle) => write!(f, "Child({})", handle.info()),
            Err(error) => write!(f, "Child({error})"),
        }
    }
}

/// Says that a task is ready; see [`TaskGroup::start`].
#[derive(Debug)]
#[must_use = "dropped, it says that the task will never be ready"]
pub struct Started<V> {
    sender: oneshot::Sender<V>,
    was_ready: Rc<Cell<bool>>,
}

impl<V> Started<V> {
    /// The task is ready: whoever waits in `start` gets `value`.
    pub fn ready(self, value: V) {
        self.was_ready.set(true);
        // Nobody waits any more if the start was dropped; then the task is being cancelled.
        drop(self.sender.send(value));
    }
}

/// Cancels a task that is not ready yet.
struct Starting<T>(Option<JoinHandle<T>>);

impl<T> Drop for Starting<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

/// Why a group did not take a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// Something in the group failed, or it was cancelled.
    ShuttingDown,
    /// The group's scope is over.
    Finished,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "the group is ending, since something in it failed or it was cancelled",
            Self::Finished => "the group's scope is over",
        })
    }
}

impl std::error::Error for SpawnError {}

/// Why a task that was started was not ready.
#[derive(Debug)]
pub enum StartError<E> {
    /// It failed before.
    Failed(E),
    /// It ended, or dropped its [`Started`], without having been ready.
    NotStarted,
    /// The group did not take it.
    Refused(SpawnError),
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::NotStarted => f.write_str("the task ended without having said that it was ready"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for StartError<E> {}

/// Something that failed in a group.
#[derive(Debug)]
pub struct Failure<E> {
    task: Option<TaskInfo>,
    error: E,
}

impl<E> Failure<E> {
    pub(super) fn new(task: Option<TaskInfo>, error: E) -> Self {
        Self { task, error }
    }

    /// The task that failed; `None` if it was the body.
    pub fn task(&self) -> Option<&TaskInfo> {
        self.task.as_ref()
    }

    /// What it failed with.
    pub fn error(&self) -> &E {
        &self.error
    }

    /// What it failed with.
    pub fn into_error(self) -> E {
        self.error
    }
}

/// All that failed in a group, in the order in which it happened. asyncio's `ExceptionGroup`.
///
/// It prints as a tree, with the task of each error. There are no failures in it if the group was cancelled before its
/// body had ended.
///
/// # Examples
///
/// ```
/// use corering_runtime::task::{TaskGroup, yield_now};
///
/// corering_runtime::run(async {
///     let error = TaskGroup::scope(async |group| {
///         group.spawn(async { Err::<(), _>("no answer".to_owned()) }).name("stock");
///         group.spawn(async { Err::<(), _>("refused".to_owned()) }).name("fraud");
///         yield_now().await;
///         Ok::<(), String>(())
///     })
///     .await
///     .unwrap_err();
///     let tree = error.to_string();
///     assert!(tree.starts_with("2 failures in the group opened at"));
///     assert!(tree.contains("'stock'") && tree.contains("no answer") && tree.contains("refused"));
///     assert_eq!(error.into_first().unwrap(), "no answer");
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
#[doc(alias = "ExceptionGroup")]
pub struct GroupError<E> {
    failures: Vec<Failure<E>>,
    opened_at: &'static Location<'static>,
}

impl<E> GroupError<E> {
    pub(super) fn new(failures: Vec<Failure<E>>, opened_at: &'static Location<'static>) -> Self {
        Self { failures, opened_at }
    }

    /// The first error.
    pub fn first(&self) -> Option<&E> {
        self.failures.first().map(Failure::error)
    }

    /// The first error.
    pub fn into_first(self) -> Option<E> {
        self.failures.into_iter().next().map(Failure::into_error)
    }

    /// All failures.
    pub fn iter(&self) -> std::slice::Iter<'_, Failure<E>> {
        self.failures.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether nothing failed: the group was cancelled.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    /// Whether nothing failed: the group was cancelled before its body had ended.
    pub fn is_cancelled(&self) -> bool {
        self.is_empty()
    }

    /// Those that `is_wanted` says yes to, and the others; each `None` if there are none. asyncio's `except*`.
    pub fn split(self, mut is_wanted: impl FnMut(&E) -> bool) -> (Option<Self>, Option<Self>) {
        let opened_at = self.opened_at;
        let (wanted, others): (Vec<_>, Vec<_>) =
            self.failures.into_iter().partition(|failure| is_wanted(&failure.error));
        let some = |failures: Vec<_>| (!failures.is_empty()).then_some(Self { failures, opened_at });
        (some(wanted), some(others))
    }
}

impl<E> GroupError<GroupError<E>> {
    /// The errors of groups within a group, as those of one.
    pub fn flatten(self) -> GroupError<E> {
        let failures = self.failures.into_iter().flat_map(|failure| failure.error.failures).collect();
        GroupError { failures, opened_at: self.opened_at }
    }
}

impl<E> IntoIterator for GroupError<E> {
    type Item = Failure<E>;
    type IntoIter = std::vec::IntoIter<Failure<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.failures.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a GroupError<E> {
    type Item = &'a Failure<E>;
    type IntoIter = std::slice::Iter<'a, Failure<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<E> GroupError<E> {
    fn tree(&self, f: &mut fmt::Formatter<'_>, text: impl Fn(&E) -> String) -> fmt::Result {
        let at = self.opened_at;
        match self.len() {
            0 => return write!(f, "the group opened at {at} was cancelled"),
            1 => write!(f, "1 failure in the group opened at {at}")?,
            count => write!(f, "{count} failures in the group opened at {at}")?,
        }
        for (number, Failure { task, error }) in self.failures.iter().enumerate() {
            let is_last = number + 1 == self.len();
            let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let whose = task.as_ref().map_or_else(|| "the body".to_owned(), TaskInfo::to_string);
            // What is a tree itself hangs below its branch.
            let error = text(error).replace('\n', &format!("\n{below}"));
            write!(f, "\n{branch}{whose}: {error}")?;
        }
        Ok(())
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree(f, E::to_string)
    }
}

impl<E: fmt::Debug> fmt::Debug for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree(f, |error| format!("{error:?}"))
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for GroupError<E> {}

impl<E: fmt::Display> From<GroupError<E>> for std::io::Error {
    /// With the text of all failures.
    fn from(error: GroupError<E>) -> Self {
        std::io::Error::other(error.to_string())
    }
}
