//! The threads of a core that run its jobs.
//!
//! Most jobs are short, and a thread that is woken for one costs as much as the job: so one worker does them in turn,
//! and tells of a few results at once. That must not hold up anything for long: while jobs wait, another thread watches.
//! If in a while none was begun, the workers are held up, and the watcher becomes a worker, too.
//!
//! Invariant: while a job waits, a worker is awake; while results are held back, a watcher is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::job::Run;
use crate::sys::clock::monotonic_ns;
use crate::sys::thread;
use crate::sys::wake::wake_all;

/// How long an idle thread stays.
const STAYS: Duration = Duration::from_secs(10);
/// How often the watcher looks.
const WATCH: Duration = Duration::from_micros(500);
/// So many jobs are given up before the queue is looked through for them.
const GIVEN_UP: usize = 64;
/// So many results are told of at once, or those of so long.
const TOLD_AT_ONCE: usize = 16;
const TOLD_WITHIN_NS: u64 = 50_000;

thread_local! {
    static POOL: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The threads of a core. There are none until the first job.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Idle threads wait for this.
    duty: Condvar,
    /// The watcher waits for this, in vain unless the pool is closed.
    closing: Condvar,
    /// Whoever closes the pool waits for this.
    ended: Condvar,
    most: usize,
    name: String,
    /// Jobs that nobody has been told the end of.
    open: AtomicUsize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<dyn Run>>,
    /// Jobs that were given up since the queue was last looked through; some have left it.
    given_up: usize,
    /// Whose jobs have ended, and who have not been woken. Since when.
    to_wake: Vec<Waker>,
    since_ns: u64,
    threads: usize,
    /// Threads that do jobs, or have been asked to.
    workers: usize,
    /// Threads that have nothing to do, and what some of them have been asked to.
    idle: usize,
    to_work: usize,
    to_watch: usize,
    /// Threads that run a job now.
    running: usize,
    watched: bool,
    /// Jobs that were begun.
    begun: u64,
    closed: bool,
}

/// What a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    Work,
    Watch,
}

/// Makes these the threads that this thread's calls go to.
pub(crate) fn install(pool: &Pool) {
    POOL.set(Some(Arc::clone(&pool.0)));
}

pub(crate) fn uninstall() {
    // It may be called while thread-locals are destroyed, when there is none.
    let _ = POOL.try_with(|pool| pool.take());
}

/// Whether a job of this thread's core has not ended.
pub(crate) fn is_busy(pool: &Pool) -> bool {
    pool.0.open.load(Ordering::Acquire) > 0
}

/// Where a job waits.
pub(super) struct Queue(Arc<Shared>);

impl Queue {
    /// A job that waits in it has been given up. What is left of many of them is thrown away.
    pub(super) fn forget_one(&self) {
        let mut state = self.0.lock();
        state.given_up += 1;
        if state.given_up >= GIVEN_UP && state.given_up >= state.queue.len() / 2 {
            state.given_up = 0;
            let before = state.queue.len();
            let (left, gone) = std::mem::take(&mut state.queue).into_iter().partition(|job| job.waits());
            state.queue = left;
            let count = before - state.queue.len();
            drop(state);
            let gone: VecDeque<_> = gone;
            drop(gone);
            self.0.open.fetch_sub(count, Ordering::Release);
        }
    }
}

/// Queues a job of this thread's core.
pub(super) fn submit(job: Arc<dyn Run>) -> Queue {
    let shared = POOL.with_borrow(Clone::clone);
    let Some(shared) = shared else {
        panic!("a blocking call was awaited outside a runtime: await it inside corering::run or Runtime::block_on")
    };
    shared.submit(job);
    Queue(shared)
}

impl Pool {
    /// Of at most so many threads, with this name.
    pub(crate) fn new(most: usize, name: String) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            duty: Condvar::new(),
            closing: Condvar::new(),
            ended: Condvar::new(),
            most: most.max(1),
            name,
            open: AtomicUsize::new(0),
        }))
    }

    /// Gives up what has not begun, and waits for what has; how many jobs had not ended in time.
    pub(crate) fn close(&self, limit: Duration) -> usize {
        let shared = &*self.0;
        let mut state = shared.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        shared.duty.notify_all();
        shared.closing.notify_all();
        drop(state);
        for job in queue {
            job.give_up();
        }
        let running = |state: &mut State| state.running > 0;
        let waited = shared.ended.wait_timeout_while(shared.lock(), limit, running);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.running
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, job: Arc<dyn Run>) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.queue.push_back(job);
        let nobody = state.workers == 0;
        drop(if nobody { self.ask_for(Duty::Work, state) } else { self.have_watched(state) });
    }

    /// Sees to it that somebody notices if what waits now waits in vain.
    fn have_watched<'a>(self: &'a Arc<Self>, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.watched { state } else { self.ask_for(Duty::Watch, state) }
    }

    /// Gives an idle thread something to do, or a new one.
    fn ask_for<'a>(self: &'a Arc<Self>, duty: Duty, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.idle == 0 && state.threads >= self.most {
            return state;
        }
        match duty {
            Duty::Work => state.workers += 1,
            Duty::Watch => state.watched = true,
        }
        if state.idle == 0 {
            state.threads += 1;
            drop(state);
            return self.start(duty);
        }
        state.idle -= 1;
        match duty {
            Duty::Work => state.to_work += 1,
            Duty::Watch => state.to_watch += 1,
        }
        self.duty.notify_one();
        state
    }

    fn start(self: &Arc<Self>, duty: Duty) -> MutexGuard<'_, State> {
        let shared = Arc::clone(self);
        let started = std::thread::Builder::new().name(self.name.clone()).spawn(move || shared.serve(duty));
        let mut state = self.lock();
        let Err(error) = started else {
            return state;
        };
        state.threads -= 1;
        match duty {
            Duty::Work => {
                drop(state);
                crate::report(format_args!("no thread can be started, so calls that block hold up the core: {error}"));
                state = self.work(self.lock());
                state.workers -= 1;
            }
            Duty::Watch => state.watched = false,
        }
        state
    }

    /// The life of a thread.
    fn serve(self: &Arc<Self>, mut duty: Duty) {
        thread::serve_in_batches();
        let mut state = self.lock();
        loop {
            state = match duty {
                Duty::Work => {
                    let mut state = self.work(state);
                    state.workers -= 1;
                    state
                }
                Duty::Watch => self.watch(state),
            };
            state.idle += 1;
            let idle = |state: &mut State| state.to_work + state.to_watch == 0 && !state.closed;
            let waited = self.duty.wait_timeout_while(state, STAYS, idle);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.to_work > 0 {
                state.to_work -= 1;
                duty = Duty::Work;
            } else if state.to_watch > 0 {
                state.to_watch -= 1;
                duty = Duty::Watch;
            } else {
                state.idle -= 1;
                state.threads -= 1;
                return;
            }
        }
    }

    /// Does what is to do, until nothing is.
    fn work<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        loop {
            let Some(job) = state.queue.pop_front() else {
                if state.to_wake.is_empty() {
                    return state;
                }
                state = self.tell(state);
                continue;
            };
            // At once: whoever closes the pool while the lock is let go below waits for it.
            state.begun += 1;
            state.running += 1;
            if !state.queue.is_empty() || !state.to_wake.is_empty() {
                state = self.have_watched(state);
            }
            if !state.watched && !state.to_wake.is_empty() {
                state = self.tell(state);
            }
            drop(state);
            let waker = job.run();
            drop(job);
            state = self.lock();
            state.running -= 1;
            state = self.ended(waker, state);
        }
    }

    /// A job has ended, and somebody or nobody waits for it.
    fn ended<'a>(&'a self, waker: Option<Waker>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.closed {
            self.ended.notify_all();
        }
        let Some(waker) = waker else {
            self.open.fetch_sub(1, Ordering::Release);
            return state;
        };
        let now_ns = monotonic_ns();
        if state.to_wake.is_empty() {
            state.since_ns = now_ns;
        }
        state.to_wake.push(waker);
        if state.to_wake.len() >= TOLD_AT_ONCE || now_ns - state.since_ns >= TOLD_WITHIN_NS {
            state = self.tell(state);
        }
        state
    }

    /// Wakes those whose jobs have ended.
    fn tell<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let wakers = std::mem::take(&mut state.to_wake);
        drop(state);
        let count = wakers.len();
        // A waker that panics has said so, and must not end the thread.
        drop(catch_unwind(AssertUnwindSafe(|| wake_all(wakers.into_iter()))));
        // Release: pairs with the Acquire in `is_busy`; by then the wakes have been left with the core.
        self.open.fetch_sub(count, Ordering::Release);
        self.lock()
    }

    /// Looks, as long as jobs wait, whether any are begun.
    fn watch<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        loop {
            let begun = state.begun;
            let open = |state: &mut State| !state.closed;
            let waited = self.closing.wait_timeout_while(state, WATCH, open);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !state.to_wake.is_empty() {
                state = self.tell(state);
            }
            if state.queue.is_empty() && state.to_wake.is_empty() {
                state.watched = false;
                return state;
            }
            if state.begun == begun {
                state.watched = false;
                state.workers += 1;
                state = self.work(state);
                state.workers -= 1;
                return state;
            }
        }
    }
}
