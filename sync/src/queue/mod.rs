//! Queues between producers and consumers of one core.
//!
//! Room and items are promised: a producer that waits is given room, a consumer that waits is given an item, at the
//! moment that there is one, and the queue counts what it has promised. The item itself stays in the queue until the
//! consumer takes it, so a consumer that is dropped before that leaves it where it was.

mod ends;
mod job;
mod order;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;

pub use self::ends::{Receiver, Sender, channel, unbounded_channel};
use self::job::Tracker;
pub use self::job::{Job, Joining};
pub use self::order::{Fifo, Lifo, Order, Prioritized, Priority};
use crate::error::{Closed, TryGetError, TryPutError, ZeroSize};
use crate::panics::Panics;
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

/// Items from producers to consumers, first in, first out.
///
/// asyncio's `Queue`. What comes out is a [`Job`]: it derefs to the item, and dropping it is asyncio's `task_done`,
/// so none is forgotten and none is counted twice. [`close`](Self::close) ends a queue without sentinels: consumers
/// get what is left, and then [`Closed`].
///
/// # Examples
///
/// ```
/// use corering::sync::Queue;
/// use std::rc::Rc;
///
/// corering::run(async {
///     let queue = Rc::new(Queue::bounded(100));
///     let workers: Vec<_> = (0..3)
///         .map(|_| {
///             let queue = queue.clone();
///             corering::spawn(async move {
///                 let mut sum = 0;
///                 while let Ok(job) = queue.get().await {
///                     sum += *job;
///                 }
///                 sum
///             })
///         })
///         .collect();
///     for item in 1..=1000 {
///         queue.put(item).await.unwrap(); // waits while the queue is full
///     }
///     queue.close();
///     queue.join().await; // all is done
///     let mut sum = 0;
///     for worker in workers {
///         sum += worker.await.unwrap();
///     }
///     assert_eq!(sum, 500_500);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
pub struct Queue<T, O = Fifo<T>> {
    items: RefCell<O>,
    capacity: usize,
    /// Items that consumers who were chosen have not fetched yet.
    promised_items: Cell<usize>,
    /// Room that producers who were chosen have not used yet.
    promised_room: Cell<usize>,
    state: Cell<State>,
    getters: WaitList<()>,
    putters: WaitList<Cell<Option<T>>>,
    tracker: Rc<Tracker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing goes in, what is there comes out.
    Closed,
}

impl<T> Queue<T> {
    /// With room for `capacity` items; a producer waits while it is full.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0: nothing could ever go in. (asyncio means 'without limit' by it: see
    /// [`unbounded`](Self::unbounded).) See [`try_bounded`](Self::try_bounded).
    #[track_caller]
    pub fn bounded(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }

    /// With room for `capacity` items.
    ///
    /// # Errors
    ///
    /// [`ZeroSize`] if `capacity` is 0.
    pub fn try_bounded(capacity: usize) -> Result<Self, ZeroSize> {
        Self::try_with_capacity(capacity)
    }

    /// Without a limit: nobody waits to put. A producer that is faster than its consumers fills the memory.
    pub fn unbounded() -> Self {
        Self::with_capacity(usize::MAX)
    }
}

impl<T, O: Order<T>> Queue<T, O> {
    #[track_caller]
    fn with_capacity(capacity: usize) -> Self {
        match Self::try_with_capacity(capacity) {
            Ok(queue) => queue,
            Err(error) => panic!("{error}"),
        }
    }

    fn try_with_capacity(capacity: usize) -> Result<Self, ZeroSize> {
        if capacity == 0 {
            return Err(ZeroSize { what: "the capacity of a queue" });
        }
        Ok(Self {
            items: RefCell::new(O::default()),
            capacity,
            promised_items: Cell::new(0),
            promised_room: Cell::new(0),
            state: Cell::new(State::Open),
            getters: WaitList::new(),
            putters: WaitList::new(),
            tracker: Rc::new(Tracker::default()),
        })
    }

    /// Puts an item in, and waits for room first if there is none.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the item, if the queue is closed, or gets closed while this waits.
    ///
    /// # Cancel safety
    ///
    /// A put that is dropped before it is done has not put anything in; the item is dropped with it. To keep the item,
    /// [`reserve`](Self::reserve) room first.
    #[track_caller]
    #[inline]
    pub fn put(&self, item: T) -> Wait<Putting<'_, T, O>> {
        Wait::new(Putting(self), Cell::new(Some(item)))
    }

    /// Puts an item in, if there is room that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`TryPutError`], with the item.
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        if self.is_closed() {
            return Err(TryPutError::Closed(item));
        }
        if !self.has_room() {
            return Err(TryPutError::Full(item));
        }
        self.push(item);
        Ok(())
    }

    /// Waits for room for one item, and keeps it: the [`Room`] takes the item at once, whenever that is.
    ///
    /// For a `put` within `select!` or a timeout, whose item would be dropped with it.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed, or gets closed while this waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::sync::Queue;
    ///
    /// corering::run(async {
    ///     let queue = Queue::bounded(1);
    ///     let room = queue.reserve().await.unwrap();
    ///     assert!(queue.try_put("other").is_err(), "the room is taken");
    ///     room.put("item").unwrap();
    ///     assert_eq!(*queue.get().await.unwrap(), "item");
    /// })?;
    /// # Ok::<(), corering::RunError>(())
    /// ```
    #[track_caller]
    pub fn reserve(&self) -> Wait<Reserving<'_, T, O>> {
        Wait::new(Reserving(self), Cell::new(None))
    }

    /// Takes the next item out, and waits for one first if there is none.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// A get that is dropped before it is done has not taken anything out.
    #[track_caller]
    #[inline]
    pub fn get(&self) -> Wait<Getting<'_, T, O>> {
        Wait::new(Getting(self), ())
    }

    /// Takes the next item out, if there is one that is not promised to others.
    ///
    /// # Errors
    ///
    /// [`TryGetError`] otherwise.
    pub fn try_get(&self) -> Result<Job<T>, TryGetError> {
        if self.unpromised() == 0 {
            return Err(if self.has_ended() { TryGetError::Closed } else { TryGetError::Empty });
        }
        self.pop().ok_or(TryGetError::Empty)
    }

    /// Waits until all that ever went in is done: taken out, and its [`Job`] dropped. Returns at once if nothing is
    /// left to do.
    #[track_caller]
    pub fn join(&self) -> Wait<Joining<'_>> {
        Wait::new(Joining(&self.tracker), ())
    }

    /// Lets nothing more in. Consumers get what is left, then [`Closed`]; producers that wait get their items back.
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.state.set(State::Closed);
        let mut panics = Panics::none();
        panics.keep(|| self.putters.give_all(Turn::Refused));
        panics.keep(|| self.tell_the_end());
        panics.go_on();
    }

    /// Lets nothing more in, and nothing more out: what was left is returned, and [`join`](Self::join) does not wait
    /// for it.
    pub fn close_now(&self) -> Vec<T> {
        let mut items = self.items.take();
        self.promised_items.set(0);
        let mut panics = Panics::none();
        panics.keep(|| self.close());
        panics.keep(|| self.tracker.done(items.count()));
        panics.go_on();
        std::iter::from_fn(|| items.pop()).collect()
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.state.get() == State::Closed
    }

    /// How many items are in it.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.items.borrow().count()
    }

    /// Whether it has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has no room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// How many items there is room for; `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    /// How many items are not done: in it, or taken out with their [`Job`] alive.
    pub fn unfinished(&self) -> usize {
        self.tracker.unfinished()
    }

    /// How many wait to put and to get.
    pub fn waiters(&self) -> (usize, usize) {
        (self.putters.len(), self.getters.len())
    }

    /// The items one after the other, and as a stream, until the queue is closed and empty:
    /// `while let Some(job) = jobs.next().await`.
    ///
    /// # Cancel safety
    ///
    /// As [`get`](Self::get).
    #[track_caller]
    pub fn jobs(&self) -> Jobs<'_, T, O> {
        Jobs { queue: self, get: self.get() }
    }

    /// Items that are not promised.
    #[inline]
    fn unpromised(&self) -> usize {
        // More are promised than there are only for a moment within `close_now`.
        self.len().saturating_sub(self.promised_items.get())
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.len() + self.promised_room.get() < self.capacity
    }

    #[inline]
    fn push(&self, item: T) {
        // First: if the items' order panics, the item is in there all the same.
        self.tracker.came();
        self.items.borrow_mut().push(item);
        self.serve_getters();
    }

    #[inline]
    fn pop(&self) -> Option<Job<T>> {
        let item = self.items.borrow_mut().pop()?;
        // Before anybody is woken: it is done also if a waker panics.
        let job = Job::new(item, &self.tracker);
        self.serve_putters();
        self.tell_the_end();
        Some(job)
    }

    /// Closed and empty. An item that is promised may come back as long as it has not been fetched.
    #[inline]
    fn has_ended(&self) -> bool {
        self.is_closed() && self.is_empty()
    }

    #[inline]
    fn tell_the_end(&self) {
        if self.has_ended() {
            self.getters.give_all(Turn::Refused);
        }
    }

    #[inline]
    fn serve_getters(&self) {
        self.getters.give_while(Turn::Given, |()| {
            let is_there = self.unpromised() > 0;
            if is_there {
                self.promised_items.set(self.promised_items.get() + 1);
            }
            is_there
        });
    }

    #[inline]
    fn serve_putters(&self) {
        self.putters.give_while(Turn::Given, |_| {
            let has_room = self.has_room();
            if has_room {
                self.promised_room.set(self.promised_room.get() + 1);
            }
            has_room
        });
    }
}

impl<T, O: Order<T>> fmt::Debug for Queue<T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("unfinished", &self.unfinished())
            .field("closed", &self.is_closed())
            .field("putters", &self.putters)
            .field("getters", &self.getters)
            .finish()
    }
}

/// The wait of [`Queue::put`].
pub struct Putting<'a, T, O>(&'a Queue<T, O>);

impl<T, O> fmt::Debug for Putting<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Putting")
    }
}

impl<T, O: Order<T>> Source for Putting<'_, T, O> {
    type Want = Cell<Option<T>>;
    type Output = Result<(), Closed<T>>;
    const WHAT: &'static str = "Queue::put";

    fn list(&self) -> &WaitList<Cell<Option<T>>> {
        &self.0.putters
    }

    #[inline]
    fn at_once(&self, _: &Cell<Option<T>>) -> Option<Turn> {
        let Self(queue) = self;
        if queue.is_closed() {
            return Some(Turn::Refused);
        }
        if !queue.has_room() {
            return None;
        }
        queue.promised_room.set(queue.promised_room.get() + 1);
        Some(Turn::Given)
    }

    #[inline]
    fn take(&self, turn: Turn, item: &Cell<Option<T>>, _: *const ()) -> Result<(), Closed<T>> {
        let Self(queue) = self;
        let Some(item) = item.take() else { unreachable!("a wait ends once") };
        if turn == Turn::Given {
            queue.promised_room.set(queue.promised_room.get() - 1);
        }
        // Consumers may have gone since it was closed: the item would be lost in there.
        if queue.is_closed() {
            return Err(Closed(item));
        }
        queue.push(item);
        Ok(())
    }

    fn pass_on(&self, _: &Cell<Option<T>>) {
        let Self(queue) = self;
        queue.promised_room.set(queue.promised_room.get() - 1);
        queue.serve_putters();
    }
}

/// The wait of [`Queue::reserve`].
pub struct Reserving<'a, T, O>(&'a Queue<T, O>);

impl<T, O> fmt::Debug for Reserving<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reserving")
    }
}

impl<'a, T, O: Order<T>> Source for Reserving<'a, T, O> {
    type Want = Cell<Option<T>>;
    type Output = Result<Room<'a, T, O>, Closed>;
    const WHAT: &'static str = "Queue::reserve";

    fn list(&self) -> &WaitList<Cell<Option<T>>> {
        &self.0.putters
    }

    fn at_once(&self, item: &Cell<Option<T>>) -> Option<Turn> {
        Putting(self.0).at_once(item)
    }

    fn take(&self, turn: Turn, _: &Cell<Option<T>>, _: *const ()) -> Self::Output {
        if turn == Turn::Refused {
            return Err(Closed(()));
        }
        let room = Room(self.0);
        if self.0.is_closed() { Err(Closed(())) } else { Ok(room) }
    }

    fn pass_on(&self, item: &Cell<Option<T>>) {
        Putting(self.0).pass_on(item);
    }
}

/// Room for one item in a queue; made by [`Queue::reserve`]. Dropped unused, it goes to the next who waits.
#[must_use = "the room is given back when it is dropped"]
pub struct Room<'a, T, O: Order<T> = Fifo<T>>(&'a Queue<T, O>);

impl<T, O: Order<T>> Room<'_, T, O> {
    /// Puts the item in.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the item, if the queue has been closed since.
    pub fn put(self, item: T) -> Result<(), Closed<T>> {
        let Self(queue) = self;
        std::mem::forget(self);
        Putting(queue).take(Turn::Given, &Cell::new(Some(item)), std::ptr::null())
    }
}

impl<T, O: Order<T>> Drop for Room<'_, T, O> {
    fn drop(&mut self) {
        Putting(self.0).pass_on(&Cell::new(None));
    }
}

impl<T, O: Order<T>> fmt::Debug for Room<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Room").field(self.0).finish()
    }
}

/// The wait of [`Queue::get`].
pub struct Getting<'a, T, O>(&'a Queue<T, O>);

impl<T, O> fmt::Debug for Getting<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Getting")
    }
}

impl<T, O: Order<T>> Source for Getting<'_, T, O> {
    type Want = ();
    type Output = Result<Job<T>, Closed>;
    const WHAT: &'static str = "Queue::get";

    fn list(&self) -> &WaitList<()> {
        &self.0.getters
    }

    #[inline]
    fn at_once(&self, _: &()) -> Option<Turn> {
        let Self(queue) = self;
        if queue.unpromised() > 0 {
            queue.promised_items.set(queue.promised_items.get() + 1);
            return Some(Turn::Given);
        }
        queue.has_ended().then_some(Turn::Refused)
    }

    #[inline]
    fn take(&self, turn: Turn, _: &(), _: *const ()) -> Result<Job<T>, Closed> {
        let Self(queue) = self;
        if turn == Turn::Refused {
            return Err(Closed(()));
        }
        // None is promised any more, and none is there, after `close_now`.
        queue.promised_items.set(queue.promised_items.get().saturating_sub(1));
        queue.pop().ok_or(Closed(()))
    }

    fn pass_on(&self, _: &()) {
        let Self(queue) = self;
        queue.promised_items.set(queue.promised_items.get().saturating_sub(1));
        queue.serve_getters();
    }
}

pin_project! {
    /// The items of a queue as a stream; made by [`Queue::jobs`].
    #[must_use = "a stream does nothing unless it is polled"]
    pub struct Jobs<'a, T, O: Order<T>> {
        queue: &'a Queue<T, O>,
        #[pin]
        get: Wait<Getting<'a, T, O>>,
    }
}

impl<T, O: Order<T>> Jobs<'_, T, O> {
    /// The next item; `None` if the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Dropping it has not taken anything out.
    pub async fn next(&mut self) -> Option<Job<T>> {
        Wait::at(Getting(self.queue), (), self.get.caller()).await.ok()
    }
}

impl<T, O: Order<T>> Stream for Jobs<'_, T, O> {
    type Item = Job<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Job<T>>> {
        let mut this = self.project();
        match this.get.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                let at = this.get.caller();
                this.get.set(Wait::at(Getting(this.queue), (), at));
                Poll::Ready(result.ok())
            }
        }
    }
}

impl<T, O: Order<T>> fmt::Debug for Jobs<'_, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jobs").field(self.queue).finish()
    }
}

macro_rules! other_queue {
    ($(#[$doc:meta])* $name:ident, $order:ident $(, $bound:ident)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<T $(: $bound)?>(Queue<T, $order<T>>);

        impl<T $(: $bound)?> $name<T> {
            /// With room for `capacity` items; a producer waits while it is full.
            ///
            /// # Panics
            ///
            /// If `capacity` is 0. See [`try_bounded`](Self::try_bounded).
            #[track_caller]
            pub fn bounded(capacity: usize) -> Self {
                Self(Queue::with_capacity(capacity))
            }

            /// With room for `capacity` items.
            ///
            /// # Errors
            ///
            /// [`ZeroSize`] if `capacity` is 0.
            pub fn try_bounded(capacity: usize) -> Result<Self, ZeroSize> {
                Queue::try_with_capacity(capacity).map(Self)
            }

            /// Without a limit.
            pub fn unbounded() -> Self {
                Self(Queue::with_capacity(usize::MAX))
            }
        }

        impl<T $(: $bound)?> Deref for $name<T> {
            type Target = Queue<T, $order<T>>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

other_queue! {
    /// A [`Queue`] that gives what came last first. asyncio's `LifoQueue`.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::sync::LifoQueue;
    ///
    /// corering::run(async {
    ///     let stack = LifoQueue::unbounded();
    ///     stack.put("below").await?;
    ///     stack.put("above").await?;
    ///     assert_eq!(*stack.get().await?, "above");
    ///     corering::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    LifoQueue, Lifo
}

other_queue! {
    /// A [`Queue`] that gives the smallest first, and among equals the one that came first. asyncio's
    /// `PriorityQueue`, which leaves the order of equals open.
    ///
    /// Items are compared as a whole; where only a part counts, use [`Prioritized`].
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::sync::{Prioritized, PriorityQueue};
    ///
    /// corering::run(async {
    ///     let queue = PriorityQueue::unbounded();
    ///     for (priority, item) in [(2, "tea"), (1, "water"), (2, "cake")] {
    ///         queue.put(Prioritized::new(priority, item)).await?;
    ///     }
    ///     assert_eq!(queue.get().await?.item, "water");
    ///     assert_eq!(queue.get().await?.item, "tea");
    ///     corering::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PriorityQueue, Priority, Ord
}
