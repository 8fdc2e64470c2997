//! The list of those who wait, first come first served, under all primitives.
//!
//! A waiter lies in the future that waits, so waiting allocates nothing, and joining, leaving and being chosen are a
//! few writes each, wherever in the list the waiter stands.
//!
//! ```text
//!            join                 give                       taken
//!  Outside ---------> Waiting ------------> Given/Refused ----------> Ended
//!                        +--- dropped: taken out of the list
//! ```
//!
//! Invariant: the list holds exactly the waiters that are `Waiting`. They lie in pinned futures, which take them out
//! when they are dropped; so all in the list are alive. Nothing of the list is borrowed, and all of it is in order,
//! when a waker is called.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::task::Waker;

use crate::panics::Panics;
use crate::parked::Parked;

type Link<W> = Option<NonNull<Waiter<W>>>;

/// How a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// What was waited for belongs to the waiter now.
    Given,
    /// There is nothing to wait for any more.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Outside,
    Waiting,
    Chosen(Turn),
    Ended,
}

/// One who waits, or has not begun to.
pub(crate) struct Waiter<W> {
    place: Cell<Place>,
    at: &'static Location<'static>,
    /// What it asks for, or is told.
    pub(crate) want: W,
    /// Written when it joins, since most never have to: it is there while the place is `Waiting` or `Chosen`.
    hooks: UnsafeCell<MaybeUninit<Hooks<W>>>,
    _pinned: PhantomPinned,
}

/// By what a waiter hangs in the lists.
struct Hooks<W> {
    next: Cell<Link<W>>,
    previous: Cell<Link<W>>,
    parked: Parked,
}

impl<W> Waiter<W> {
    #[inline]
    pub(crate) fn new(want: W, at: &'static Location<'static>) -> Self {
        let hooks = UnsafeCell::new(MaybeUninit::uninit());
        Self { place: Cell::new(Place::Outside), at, want, hooks, _pinned: PhantomPinned }
    }

    #[inline]
    pub(crate) fn caller(&self) -> &'static Location<'static> {
        self.at
    }

    #[inline]
    pub(crate) fn place(&self) -> Place {
        self.place.get()
    }

    /// It got what it wanted without waiting.
    #[inline]
    pub(crate) fn end(&self) {
        self.place.set(Place::Ended);
    }

    /// It takes the turn that it was given.
    ///
    /// # Safety
    ///
    /// It is `Chosen`.
    pub(crate) unsafe fn take_turn(&self) {
        // SAFETY: it is chosen, the caller says.
        let hooks = unsafe { self.hooks() };
        self.place.set(Place::Ended);
        // SAFETY: it was hung up when it joined, and a waiter that is chosen has not left.
        unsafe { hooks.parked.leave() };
    }

    /// Has it wake this waker from now on.
    ///
    /// # Safety
    ///
    /// It is `Waiting`.
    pub(crate) unsafe fn renew(&self, waker: &Waker) {
        // SAFETY: it waits, the caller says.
        let old = unsafe { self.hooks() }.parked.renew(waker);
        drop(old);
    }

    /// # Safety
    ///
    /// It is alive as long as the reference is used, and in a list.
    unsafe fn hooks_of<'a>(this: NonNull<Self>) -> &'a Hooks<W>
    where
        W: 'a,
    {
        // SAFETY: it is alive, the caller says.
        let this = unsafe { this.as_ref() };
        // SAFETY: in a list, it waits.
        unsafe { this.hooks() }
    }

    /// # Safety
    ///
    /// It is `Waiting` or `Chosen`.
    unsafe fn hooks(&self) -> &Hooks<W> {
        let hooks = self.hooks.get();
        // SAFETY: nobody has a mutable reference: they are written once, in `join`, before the place says that they
        //         are there.
        let hooks = unsafe { &*hooks };
        // SAFETY: the caller says that it has joined.
        unsafe { hooks.assume_init_ref() }
    }
}

/// Those who wait for the same thing.
pub struct WaitList<W> {
    first: Cell<Link<W>>,
    last: Cell<Link<W>>,
    len: Cell<usize>,
}

impl<W> WaitList<W> {
    pub(crate) const fn new() -> Self {
        Self { first: Cell::new(None), last: Cell::new(None), len: Cell::new(0) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// Puts a waiter at the end.
    ///
    /// # Safety
    ///
    /// It is `Outside`, does not move from now on, and before its memory is used for anything else it is taken out
    /// with [`remove`](Self::remove) if it is `Waiting`, and has taken its turn if it is `Chosen`.
    #[cold]
    pub(crate) unsafe fn join(&self, waiter: &Waiter<W>, waker: Waker, what: &'static str, held_by_itself: bool) {
        let this = NonNull::from(waiter);
        let before = self.last.replace(Some(this));
        let (next, previous) = (Cell::new(None), Cell::new(before));
        let hooks = Hooks { next, previous, parked: Parked::new(what, waiter.at) };
        let place = waiter.hooks.get().cast::<Hooks<W>>();
        // SAFETY: the place is the waiter's own, and as long as it is outside nobody has a reference to it. What is
        //         overwritten is nothing, and what is written is dropped by parts: links need not be, and the waker
        //         is taken out when the waiter is chosen or removed.
        unsafe { place.write(hooks) };
        match before {
            // SAFETY: all in the list are alive.
            Some(before) => unsafe { Waiter::hooks_of(before) }.next.set(Some(this)),
            None => self.first.set(Some(this)),
        }
        self.len.set(self.len.get() + 1);
        waiter.place.set(Place::Waiting);
        // SAFETY: it has just been put in.
        let parked = &unsafe { waiter.hooks() }.parked;
        // SAFETY: the caller promises of the waiter what is asked of its part, and that part has not been hung up
        //         before: the waiter was outside. It leaves in `take_turn` and `remove`.
        unsafe { parked.enter(waker, held_by_itself) };
    }

    /// Takes a waiter out that goes without its turn. Its waker is returned, to be dropped when all is in order.
    ///
    /// # Safety
    ///
    /// It is `Waiting` in this list.
    pub(crate) unsafe fn remove(&self, waiter: &Waiter<W>) -> Option<Waker> {
        // SAFETY: it waits, the caller says.
        let hooks = unsafe { waiter.hooks() };
        self.unlink(hooks);
        waiter.place.set(Place::Ended);
        // SAFETY: it was hung up when it joined, and has not left since.
        unsafe { hooks.parked.leave() };
        hooks.parked.take_waker()
    }

    fn unlink(&self, hooks: &Hooks<W>) {
        let (previous, next) = (hooks.previous.get(), hooks.next.get());
        match previous {
            // SAFETY: all in the list are alive.
            Some(previous) => unsafe { Waiter::hooks_of(previous) }.next.set(next),
            None => self.first.set(next),
        }
        match next {
            // SAFETY: as above.
            Some(next) => unsafe { Waiter::hooks_of(next) }.previous.set(previous),
            None => self.last.set(previous),
        }
        self.len.set(self.len.get() - 1);
    }

    /// Gives its turn to one after the other, from the first, as long as `fits` says so of the next.
    ///
    /// If a waker panics, the others are still woken; then the panic goes on.
    #[inline]
    pub(crate) fn give_while(&self, turn: Turn, fits: impl FnMut(&W) -> bool) {
        if !self.is_empty() {
            self.give_while_there_are(turn, fits);
        }
    }

    #[cold]
    fn give_while_there_are(&self, turn: Turn, mut fits: impl FnMut(&W) -> bool) {
        let mut panics = Panics::none();
        while panics.keep(|| while self.give_next(turn, &mut fits) {}).is_none() {}
        panics.go_on();
    }

    fn give_next(&self, turn: Turn, fits: &mut impl FnMut(&W) -> bool) -> bool {
        let Some(first) = self.first.get() else {
            return false;
        };
        // SAFETY: all in the list are alive. The waiter is not touched after its waker was called.
        let waiter = unsafe { first.as_ref() };
        if !fits(&waiter.want) {
            return false;
        }
        // SAFETY: all in the list wait.
        let hooks = unsafe { waiter.hooks() };
        self.unlink(hooks);
        waiter.place.set(Place::Chosen(turn));
        if let Some(waker) = hooks.parked.take_waker() {
            waker.wake();
        }
        true
    }

    /// Gives its turn to the first `count`, or to as many as there are.
    #[inline]
    pub(crate) fn give_some(&self, turn: Turn, mut count: usize) {
        self.give_while(turn, |_| {
            let more = count > 0;
            count = count.saturating_sub(1);
            more
        });
    }

    /// Gives its turn to all who wait now.
    #[inline]
    pub(crate) fn give_all(&self, turn: Turn) {
        self.give_some(turn, self.len());
    }
}

impl<W> fmt::Debug for WaitList<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.len())
    }
}
