//! Futures that are polled within one task, each when it was woken.
//!
//! What is ready at once is polled with the task's own waker, and so is all of a small set each time: nothing is
//! allocated for that. What still waits in a larger set gets a waker of its own, which notes who was woken.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

/// Up to so many are polled each time, whoever of them was woken.
const FEW: usize = 8;

/// A fixed number of futures, and what they have given.
pub(super) struct Fixed<F: Future> {
    places: Pin<Box<[Place<F>]>>,
    running: usize,
    polled_before: bool,
    wakers: Option<Wakers>,
}

enum Place<F: Future> {
    Running(F),
    Done(F::Output),
    Taken,
}

impl<F: Future> Fixed<F> {
    pub(super) fn new(futures: impl IntoIterator<Item: IntoFuture<IntoFuture = F, Output = F::Output>>) -> Self {
        let places: Box<[_]> = futures.into_iter().map(|future| Place::Running(future.into_future())).collect();
        Self { running: places.len(), places: Box::into_pin(places), polled_before: false, wakers: None }
    }

    /// How many have not ended.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Ready when all have ended, or one with an output that decides: then the others are left as they are.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, decides: impl Fn(&F::Output) -> bool) -> Poll<()> {
        let mut decided = false;
        self.poll(cx, |output| {
            decided |= decides(output);
            !decided
        });
        if decided || self.running == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Polls those that may be ready. `ended` is told of each that has ended, and says whether to go on.
    fn poll(&mut self, cx: &mut Context<'_>, mut ended: impl FnMut(&F::Output) -> bool) {
        if self.running <= FEW || !std::mem::replace(&mut self.polled_before, true) {
            // Whoever had a waker of its own gets this one now.
            self.wakers = None;
            for index in 0..self.len() {
                if !self.poll_one(index, cx, &mut ended) {
                    return;
                }
            }
            return;
        }
        let mut woken = match &self.wakers {
            Some(wakers) => wakers.woken(cx),
            None => {
                let mut wakers = Wakers::new();
                wakers.woken(cx);
                (0..self.len()).for_each(|index| wakers.add(index));
                self.wakers = Some(wakers);
                (0..self.len()).collect()
            }
        };
        let Some(wakers) = self.wakers.take() else { unreachable!("made above") };
        for (at, &index) in woken.iter().enumerate() {
            let waker = wakers.begin(index);
            if !self.poll_one(index, &mut Context::from_waker(&waker), &mut ended) {
                // The others are looked at if there is another poll.
                wakers.relist(&woken[at + 1..]);
                break;
            }
        }
        woken.clear();
        self.wakers = Some(wakers);
    }

    fn poll_one(&mut self, index: usize, cx: &mut Context<'_>, ended: &mut impl FnMut(&F::Output) -> bool) -> bool {
        let mut place = self.place(index);
        // SAFETY: the future is not moved out of its place: it is polled there through this pin, or dropped by `set`.
        let running = match unsafe { place.as_mut().get_unchecked_mut() } {
            Place::Running(future) => future,
            Place::Done(_) | Place::Taken => return true,
        };
        // SAFETY: it lies in a pinned place.
        let running = unsafe { Pin::new_unchecked(running) };
        let Poll::Ready(output) = running.poll(cx) else {
            return true;
        };
        place.as_mut().set(Place::Taken);
        let go_on = ended(&output);
        place.set(Place::Done(output));
        self.running -= 1;
        go_on
    }

    fn place(&mut self, index: usize) -> Pin<&mut Place<F>> {
        // SAFETY: a place of pinned ones is pinned, since nothing moves it within them.
        unsafe { self.places.as_mut().map_unchecked_mut(|places| &mut places[index]) }
    }

    /// Takes out what all have given, in order; those that have not ended are passed over.
    pub(super) fn take(&mut self) -> Vec<F::Output> {
        let count = self.len();
        let take_one = |index| {
            let mut place = self.place(index);
            // SAFETY: an output is not pinned, and a future stays where it is.
            let place = unsafe { place.as_mut().get_unchecked_mut() };
            if !matches!(place, Place::Done(_)) {
                return None;
            }
            match std::mem::replace(place, Place::Taken) {
                Place::Done(output) => Some(output),
                Place::Running(_) | Place::Taken => None,
            }
        };
        (0..count).filter_map(take_one).collect()
    }

    /// Drops those that have not ended.
    pub(super) fn clear(&mut self) {
        for index in 0..self.len() {
            self.place(index).set(Place::Taken);
        }
        self.running = 0;
    }
}

/// Futures that come and go.
pub(super) struct Pool<F> {
    futures: Slab<Pin<Box<F>>>,
    wakers: Wakers,
}

impl<F: Future> Pool<F> {
    pub(super) fn new() -> Self {
        Self { futures: Slab::new(), wakers: Wakers::new() }
    }

    pub(super) fn push(&mut self, future: F) -> usize {
        let key = self.futures.insert(Box::pin(future));
        self.wakers.add(key);
        self.wakers.relist(&[key]);
        key
    }

    pub(super) fn len(&self) -> usize {
        self.futures.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.futures.clear();
    }

    /// The next that has ended. Pending also if there are none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(usize, F::Output)> {
        let woken = self.wakers.woken(cx);
        for (at, &key) in woken.iter().enumerate() {
            let Some(future) = self.futures.get_mut(key) else {
                continue;
            };
            let waker = self.wakers.begin(key);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                drop(self.futures.remove(key));
                self.wakers.relist(&woken[at + 1..]);
                return Poll::Ready((key, output));
            }
        }
        Poll::Pending
    }
}

/// A waker for each of several futures of one task.
struct Wakers {
    shared: Arc<Shared>,
    each: Vec<Option<Arc<Child>>>,
}

struct Shared(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    /// Who was woken, in this order, each once.
    list: Vec<usize>,
    task: Option<Waker>,
    /// How many have wakers: kept here for the survey alone.
    each: Vec<Weak<Child>>,
}

thread_local! {
    /// The sets whose futures wait on this thread.
    static SETS: RefCell<Vec<Weak<Shared>>> = const { RefCell::new(Vec::new()) };
}

/// A set of futures that wait within a task.
pub(super) struct Surveyed {
    /// What the waker of the task points to.
    pub(super) task: *const (),
    /// What the waker of each future points to, and how many of them there are.
    pub(super) parts: Vec<(*const (), isize)>,
}

/// All sets whose futures wait on this thread.
pub(super) fn all() -> Vec<Surveyed> {
    let alive = |sets: &RefCell<Vec<Weak<Shared>>>| sets.borrow().iter().filter_map(Weak::upgrade).collect();
    let sets: Vec<_> = SETS.try_with(alive).unwrap_or_default();
    let survey = |set: &Arc<Shared>| {
        let woken = set.lock();
        let task = woken.task.as_ref()?.data();
        let part = |child: &Weak<Child>| {
            let child = child.upgrade()?;
            // One is the set's own, one is in hand.
            Some((Arc::as_ptr(&child).cast(), Arc::strong_count(&child) as isize - 2))
        };
        Some(Surveyed { task, parts: woken.each.iter().filter_map(part).collect() })
    };
    sets.iter().filter_map(survey).collect()
}

struct Child {
    index: usize,
    is_listed: AtomicBool,
    shared: Arc<Shared>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wakers {
    fn new() -> Self {
        Self { shared: Arc::new(Shared(Mutex::default())), each: Vec::new() }
    }

    fn add(&mut self, index: usize) {
        if self.each.len() <= index {
            self.each.resize_with(index + 1, || None);
        }
        if self.each[index].is_none() {
            let shared = Arc::clone(&self.shared);
            let child = Arc::new(Child { index, is_listed: AtomicBool::new(false), shared });
            self.shared.lock().each.push(Arc::downgrade(&child));
            self.each[index] = Some(child);
        }
    }

    /// Who was woken since; the task is woken with the next.
    fn woken(&self, cx: &mut Context<'_>) -> Vec<usize> {
        let mut woken = self.shared.lock();
        if woken.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            return std::mem::take(&mut woken.list);
        }
        let is_first = woken.task.is_none();
        drop(woken);
        if is_first {
            // They are gone if the thread ends; then nobody asks.
            let _ = SETS.try_with(|sets| {
                let mut sets = sets.borrow_mut();
                // Those that have gone are swept out each time that there is no room: a few writes for each, on average.
                if sets.len() == sets.capacity() {
                    sets.retain(|set| set.strong_count() > 0);
                }
                sets.push(Arc::downgrade(&self.shared));
            });
        }
        // Wakers are cloned and dropped with nothing locked.
        let waker = cx.waker().clone();
        let mut woken = self.shared.lock();
        let before = woken.task.replace(waker);
        let list = std::mem::take(&mut woken.list);
        drop(woken);
        drop(before);
        list
    }

    /// One of them is polled: from now on it can be woken again.
    fn begin(&self, index: usize) -> Waker {
        match self.each.get(index) {
            Some(Some(child)) => {
                // Release and Acquire: pairs with the swap in `wake`; what was done before that is seen by the poll.
                child.is_listed.swap(false, Ordering::AcqRel);
                Waker::from(Arc::clone(child))
            }
            _ => unreachable!("whoever is woken was added"),
        }
    }

    /// Notes some who are to be polled the next time that anybody is.
    fn relist(&self, indices: &[usize]) {
        if indices.is_empty() {
            return;
        }
        for &index in indices {
            if let Some(Some(child)) = self.each.get(index) {
                child.is_listed.store(true, Ordering::Release);
            }
        }
        self.shared.lock().list.extend_from_slice(indices);
    }
}

impl Wake for Child {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut woken = self.shared.lock();
        woken.list.push(self.index);
        let task = woken.task.clone();
        drop(woken);
        if let Some(task) = task {
            task.wake();
        }
    }
}
