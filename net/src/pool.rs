//! A pool of things that are costly to make: connections, above all.
//!
//! ```text
//!  acquire --slot--> an idle one, if it is young enough and passes the check --+
//!             |                                                                +--> guard --drop--> idle, slot free
//!             +----> none is left: made anew ----------------------------------+      |
//!                                                                                     +-- discard --> gone, slot free
//! ```
//!
//! Invariant: who has one, makes one or checks one holds a slot, and one is made only where none is idle. So there are
//! never more than slots; and whatever is dropped in between gives its slot to the next who waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use corering_runtime::spawn;
use corering_runtime::task::AbortOnDrop;
use corering_runtime::time::{Instant, sleep_until};
use corering_sync::{Event, Notice, OwnedPermit, Semaphore};

/// So many there are, unless told otherwise.
const MAX_SIZE: usize = 10;
/// So long one stays that nobody uses, unless told otherwise.
const IDLE_TIME: Duration = Duration::from_secs(300);

type Making<T, E> = Pin<Box<dyn Future<Output = Result<T, E>>>>;
type Checking<T> = Pin<Box<dyn Future<Output = Option<T>>>>;

/// A number of things that are made when they are needed, lent one by one, and kept for the next: connections to a
/// database, for one. It belongs to its core, and what is in it need not be `Send`. Clones are the same pool.
///
/// First come, first served. Of the idle ones, the one that was used last is lent first, so that those that are too
/// many get old and go.
///
/// # Cancel safety
///
/// Any future of the pool may be dropped at any time: the slot goes to the next who waits, and what was being made or
/// checked is dropped.
///
/// # Examples
///
/// ```
/// use corering_net::{Pool, TcpListener, TcpStream};
/// use corering_runtime::time::Duration;
///
/// corering_runtime::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let pool = Pool::builder(move || TcpStream::connect(address))
///         .max_size(2)
///         .idle_time(Duration::from_secs(60))
///         .build();
///
///     let mut first = pool.acquire().await?;
///     first.write_all("hello").await.0?;
///     drop(first); // goes back
///     let second = pool.acquire().await?; // the same connection
///     assert_eq!((pool.status().size(), pool.status().made), (1, 1));
///     second.discard(); // is broken: it does not go back
///     assert_eq!(pool.status().size(), 0);
///     pool.close().await;
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "ConnectionPool")]
pub struct Pool<T: 'static, E: 'static = io::Error>(Rc<Shared<T, E>>);

struct Shared<T, E> {
    make: Box<dyn Fn() -> Making<T, E>>,
    check: Option<Box<dyn Fn(T) -> Checking<T>>>,
    idle_time: Duration,
    lifetime: Option<Duration>,
    slots: Rc<Semaphore>,
    /// The one that was used last is last.
    idle: RefCell<VecDeque<Idle<T>>>,
    /// Slots that are taken.
    out: Cell<usize>,
    made: Cell<u64>,
    expired: Cell<u64>,
    refused: Cell<u64>,
    /// Of a closed pool: that no slot is taken any more.
    drained: Event,
    /// Drops what has been idle for too long.
    sweep: RefCell<Option<AbortOnDrop<()>>>,
    /// When that happens next.
    due: Cell<Option<Instant>>,
    /// Tells it that it has to happen earlier.
    earlier: Rc<Notice>,
}

struct Item<T> {
    value: T,
    made: Instant,
}

struct Idle<T> {
    item: Item<T>,
    since: Instant,
}

impl<T: 'static, E: 'static> Pool<T, E> {
    /// Of what `make` makes, 10 at most, each kept for 5 minutes if nobody uses it.
    pub fn new<F>(make: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + 'static,
    {
        Self::builder(make).build()
    }

    /// Of what `make` makes, with settings.
    pub fn builder<F>(make: impl Fn() -> F + 'static) -> PoolBuilder<T, E>
    where
        F: Future<Output = Result<T, E>> + 'static,
    {
        PoolBuilder {
            make: Box::new(move || Box::pin(make())),
            check: None,
            max_size: MAX_SIZE,
            idle_time: IDLE_TIME,
            lifetime: None,
        }
    }

    /// One of them, as soon as there is one: an idle one, or one that is made now.
    ///
    /// # Errors
    ///
    /// [`PoolError::Make`] with what the making said; who comes next tries for itself. [`PoolError::Closed`] once the
    /// pool is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it gives its place to the next who waits; what was being made or checked is dropped.
    pub async fn acquire(&self) -> Result<Pooled<T, E>, PoolError<E>> {
        let slot = self.reserve().await?;
        self.fill(slot).await
    }

    /// A slot, without anything in it yet.
    pub(crate) async fn reserve(&self) -> Result<Slot<T, E>, PoolError<E>> {
        let permit = self.0.slots.acquire_owned().await.map_err(|_| PoolError::Closed)?;
        self.0.out.set(self.0.out.get() + 1);
        Ok(Slot { pool: self.0.clone(), _permit: permit })
    }

    /// Something for a slot.
    pub(crate) async fn fill(&self, slot: Slot<T, E>) -> Result<Pooled<T, E>, PoolError<E>> {
        let pool = &self.0;
        if pool.slots.is_closed() {
            return Err(PoolError::Closed);
        }
        pool.keep_swept();
        while let Some(Item { value, made }) = pool.next_idle() {
            let passed = match &pool.check {
                Some(check) => check(value).await,
                None => Some(value),
            };
            match passed {
                Some(_) if pool.slots.is_closed() => return Err(PoolError::Closed),
                Some(value) => return Ok(Pooled { item: Some(Item { value, made }), slot }),
                None => pool.refused.set(pool.refused.get() + 1),
            }
        }
        let value = (pool.make)().await.map_err(PoolError::Make)?;
        pool.made.set(pool.made.get() + 1);
        if pool.slots.is_closed() {
            return Err(PoolError::Closed);
        }
        Ok(Pooled { item: Some(Item { value, made: Instant::now() }), slot })
    }

    /// Drops the idle ones that `keep` does not want.
    pub fn retain(&self, mut keep: impl FnMut(&T) -> bool) {
        let idle = std::mem::take(&mut *self.0.idle.borrow_mut());
        // Not while it is borrowed: what is dropped may use the pool.
        let kept: VecDeque<_> = idle.into_iter().filter(|idle| keep(&idle.item.value)).collect();
        let mut idle = self.0.idle.borrow_mut();
        let since = std::mem::replace(&mut *idle, kept);
        idle.extend(since);
    }

    /// Lends no more, and drops the idle ones.
    pub(crate) fn stop(&self) {
        self.0.slots.close();
        // Dropped with nothing borrowed: what that does may look at the pool.
        let idle = self.0.idle.take();
        drop(idle);
    }

    /// Lends no more, drops the idle ones, and waits until those that are lent have come back and are dropped, too: who
    /// holds one and waits here waits for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the pool is closed all the same; another call waits on.
    pub async fn close(&self) {
        self.stop();
        if self.0.out.get() > 0 {
            self.0.drained.wait().await;
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.0.slots.is_closed()
    }

    /// What is in it now, and what has been.
    pub fn status(&self) -> PoolStatus {
        let Shared { slots, idle, out, made, expired, refused, .. } = &*self.0;
        PoolStatus {
            max_size: slots.limit(),
            idle: idle.borrow().len(),
            in_use: out.get(),
            waiting: slots.waiters(),
            made: made.get(),
            expired: expired.get(),
            refused: refused.get(),
        }
    }
}

impl<T, E> Clone for Pool<T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, E> fmt::Debug for Pool<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { slots, idle, out, .. } = &*self.0;
        f.debug_struct("Pool")
            .field("max_size", &slots.limit())
            .field("idle", &idle.borrow().len())
            .field("in_use", &out.get())
            .finish_non_exhaustive()
    }
}

impl<T: 'static, E: 'static> Shared<T, E> {
    /// When it has to go, if it is idle since then.
    fn end_of(&self, made: Instant, since: Instant) -> Instant {
        let idle = since + self.idle_time;
        self.lifetime.map_or(idle, |lifetime| idle.min(made + lifetime))
    }

    fn next_idle(&self) -> Option<Item<T>> {
        let now = Instant::now();
        loop {
            let Idle { item, since } = self.idle.borrow_mut().pop_back()?;
            if self.end_of(item.made, since) > now {
                return Some(item);
            }
            self.expired.set(self.expired.get() + 1);
        }
    }

    fn take_back(&self, item: Item<T>) {
        let since = Instant::now();
        let due = self.end_of(item.made, since);
        if self.slots.is_closed() {
            return;
        }
        if due <= since {
            self.expired.set(self.expired.get() + 1);
            return;
        }
        self.idle.borrow_mut().push_back(Idle { item, since });
        if self.due.get().is_none_or(|next| due < next) {
            self.due.set(Some(due));
            self.earlier.tell();
        }
    }

    /// Sees to it that what is idle for too long goes. Only a future may begin that: a guard may be dropped anywhere.
    fn keep_swept(self: &Rc<Self>) {
        let mut sweep = self.sweep.borrow_mut();
        if sweep.as_ref().is_some_and(|task| !task.handle().is_finished()) {
            return;
        }
        let (pool, earlier) = (Rc::downgrade(self), self.earlier.clone());
        let task = spawn(async move {
            while let Some(next) = Weak::upgrade(&pool).map(|pool| pool.sweep()) {
                let mut end = next.map(sleep_until);
                poll_fn(|cx| match (earlier.poll(cx), &mut end) {
                    (Poll::Pending, Some(end)) => Pin::new(end).poll(cx),
                    (told, _) => told,
                })
                .await;
            }
        })
        .name("what is idle in a pool");
        *sweep = Some(task.abort_on_drop());
    }

    /// Drops what has been there for too long. When the next has to go; none if nothing is idle.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut *self.idle.borrow_mut())
            .into_iter()
            .partition(|idle| self.end_of(idle.item.made, idle.since) <= now);
        let next = kept.iter().map(|idle| self.end_of(idle.item.made, idle.since)).min();
        *self.idle.borrow_mut() = kept;
        self.expired.set(self.expired.get() + gone.len() as u64);
        self.due.set(next);
        drop(gone);
        // What was dropped may have brought others back, which have told.
        next
    }
}

/// How a [`Pool`] is to be; made by [`Pool::builder`].
pub struct PoolBuilder<T: 'static, E: 'static = io::Error> {
    make: Box<dyn Fn() -> Making<T, E>>,
    check: Option<Box<dyn Fn(T) -> Checking<T>>>,
    max_size: usize,
    idle_time: Duration,
    lifetime: Option<Duration>,
}

impl<T: 'static, E: 'static> PoolBuilder<T, E> {
    /// How many there are at most: 10, if not told.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    #[must_use]
    pub fn max_size(mut self, most: usize) -> Self {
        assert!(most > 0, "a pool of 0 lends nothing: give at least 1");
        self.max_size = most;
        self
    }

    /// How long one stays that nobody uses: 5 minutes, if not told.
    #[must_use]
    pub fn idle_time(mut self, time: Duration) -> Self {
        self.idle_time = time;
        self
    }

    /// How long one stays at all: for ever, if not told. One that is lent is dropped when it comes back.
    #[must_use]
    pub fn lifetime(mut self, time: Duration) -> Self {
        self.lifetime = Some(time);
        self
    }

    /// Looks at each that was idle before it is lent again. If `check` says no, it is dropped, and the next is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_net::{Pool, TcpListener, TcpStream};
    ///
    /// corering_runtime::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let address = listener.local_addr()?;
    ///     let pool = Pool::builder(move || TcpStream::connect(address))
    ///         .check(async |stream: &mut TcpStream| stream.take_error().is_ok_and(|error| error.is_none()))
    ///         .build();
    ///     drop(pool.acquire().await?);
    ///     drop(pool.acquire().await?);
    ///     assert_eq!(pool.status().made, 1);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn check(mut self, check: impl AsyncFn(&mut T) -> bool + 'static) -> Self {
        let check = Rc::new(check);
        self.check = Some(Box::new(move |mut value| {
            let check = check.clone();
            Box::pin(async move { check(&mut value).await.then_some(value) })
        }));
        self
    }

    /// The pool. Nothing is made before it is needed.
    pub fn build(self) -> Pool<T, E> {
        let Self { make, check, max_size, idle_time, lifetime } = self;
        Pool(Rc::new(Shared {
            make,
            check,
            idle_time,
            lifetime,
            slots: Rc::new(Semaphore::new(max_size)),
            idle: RefCell::default(),
            out: Cell::new(0),
            made: Cell::new(0),
            expired: Cell::new(0),
            refused: Cell::new(0),
            drained: Event::new(),
            sweep: RefCell::new(None),
            due: Cell::new(None),
            earlier: Rc::new(Notice::new("something to be idle in a pool")),
        }))
    }
}

impl<T, E> fmt::Debug for PoolBuilder<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("max_size", &self.max_size)
            .field("idle_time", &self.idle_time)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// What is in a [`Pool`], and has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// How many there may be.
    pub max_size: usize,
    /// How many nobody uses.
    pub idle: usize,
    /// How many are lent, being made, or being checked.
    pub in_use: usize,
    /// How many wait for one.
    pub waiting: usize,
    /// How many have been made, ever.
    pub made: u64,
    /// How many were dropped since they were old, or idle for too long.
    pub expired: u64,
    /// How many did not pass the check.
    pub refused: u64,
}

impl PoolStatus {
    /// How many there are, with those that are being made.
    pub fn size(&self) -> usize {
        self.idle + self.in_use
    }
}

/// A place in a pool. When it goes, the next who waits has it.
pub(crate) struct Slot<T: 'static, E: 'static> {
    pool: Rc<Shared<T, E>>,
    _permit: OwnedPermit,
}

impl<T, E> Drop for Slot<T, E> {
    fn drop(&mut self) {
        let out = self.pool.out.get() - 1;
        self.pool.out.set(out);
        if out == 0 && self.pool.slots.is_closed() {
            self.pool.drained.set();
        }
    }
}

/// One that a [`Pool`] has lent: dropped, it goes back.
#[must_use = "it goes back when it is dropped"]
pub struct Pooled<T: 'static, E: 'static = io::Error> {
    /// None once it has been taken out.
    item: Option<Item<T>>,
    slot: Slot<T, E>,
}

impl<T: 'static, E: 'static> Pooled<T, E> {
    /// Drops it instead of giving it back: it is broken, or in the middle of something.
    pub fn discard(self) {
        drop(self.into_value());
    }

    /// Takes it out of the pool for good, which may make another in its place.
    pub fn into_value(mut self) -> T {
        let Some(item) = self.item.take() else { unreachable!("it is taken once, with the guard") };
        item.value
    }

    /// How long ago it was made.
    pub fn age(&self) -> Duration {
        self.item.as_ref().map_or(Duration::ZERO, |item| item.made.elapsed())
    }
}

impl<T, E> Deref for Pooled<T, E> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => &item.value,
            None => unreachable!("it is taken only with the guard"),
        }
    }
}

impl<T, E> DerefMut for Pooled<T, E> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.item {
            Some(item) => &mut item.value,
            None => unreachable!("it is taken only with the guard"),
        }
    }
}

impl<T, E> Drop for Pooled<T, E> {
    fn drop(&mut self) {
        // Before the slot is free: who gets that finds it.
        if let Some(item) = self.item.take() {
            self.slot.pool.take_back(item);
        }
    }
}

impl<T: fmt::Debug, E> fmt::Debug for Pooled<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}

/// Nothing was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError<E = io::Error> {
    /// The pool is closed.
    Closed,
    /// It could not be made.
    Make(E),
}

impl<E: fmt::Display> fmt::Display for PoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool is closed"),
            Self::Make(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Make(error) => error.source(),
        }
    }
}

impl From<PoolError<io::Error>> for io::Error {
    fn from(error: PoolError<io::Error>) -> Self {
        match error {
            PoolError::Closed => io::Error::new(io::ErrorKind::NotConnected, "the pool is closed"),
            PoolError::Make(error) => error,
        }
    }
}
