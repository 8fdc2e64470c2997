//! One wait: the future of all primitives, and the rule of what happens when it is dropped.
//!
//! *The cancel rule.* What a waiter was given belongs to it from that moment; nobody can take it in between. A waiter
//! that is dropped before its turn leaves the list, as if it had never come. One that is dropped after it was given
//! its turn and before it took it passes on what it was given. So nothing is lost, whenever a wait is dropped.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::wait_list::{Place, Turn, WaitList, Waiter};

/// What a primitive does with those who wait in one of its lists. Only this crate implements it.
pub trait Source {
    /// What a waiter asks for, or is told.
    type Want;
    /// What a wait gives.
    type Output;
    /// What is waited for, for reports.
    const WHAT: &'static str;

    /// The list.
    fn list(&self) -> &WaitList<Self::Want>;

    /// A new one comes: takes what it wants, if it need not wait.
    fn at_once(&self, want: &Self::Want) -> Option<Turn>;

    /// The end of a wait. `task` is what the waker points to.
    fn take(&self, turn: Turn, want: &Self::Want, task: *const ()) -> Self::Output;

    /// One who was given its turn went without taking it: what it was given goes to others.
    fn pass_on(&self, want: &Self::Want);

    /// One who waited has left the list.
    fn left(&self) {}

    /// Whether `task` has what it is about to wait for itself.
    fn is_held_by(&self, task: *const ()) -> bool {
        let _ = task;
        false
    }
}

/// A wait for a primitive: first come, first served.
///
/// # Cancel safety
///
/// Dropping it gives up the place in the queue; what it was given already goes to the next. Nothing is lost.
///
/// # Panics
///
/// When it is polled after it has given its result.
#[must_use = "a wait does nothing unless it is awaited"]
pub struct Wait<S: Source> {
    source: S,
    waiter: Waiter<S::Want>,
}

impl<S: Source> Wait<S> {
    #[track_caller]
    #[inline]
    pub(crate) fn new(source: S, want: S::Want) -> Self {
        Self::at(source, want, Location::caller())
    }

    #[inline]
    pub(crate) fn at(source: S, want: S::Want, at: &'static Location<'static>) -> Self {
        Self { source, waiter: Waiter::new(want, at) }
    }

    /// Where it was called.
    pub(crate) fn caller(&self) -> &'static Location<'static> {
        self.waiter.caller()
    }
}

impl<S: Source> Future for Wait<S> {
    type Output = S::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Output> {
        let Self { source, waiter } = self.as_ref().get_ref();
        if waiter.place() == Place::Outside {
            if let Some(turn) = source.at_once(&waiter.want) {
                waiter.end();
                return Poll::Ready(source.take(turn, &waiter.want, cx.waker().data()));
            }
        }
        self.as_ref().poll_in_line(cx)
    }
}

impl<S: Source> Wait<S> {
    /// What few have to do.
    #[cold]
    fn poll_in_line(self: Pin<&Self>, cx: &mut Context<'_>) -> Poll<S::Output> {
        let Self { source, waiter } = self.get_ref();
        let task = cx.waker().data();
        let turn = match waiter.place() {
            Place::Outside => {
                // Cloning may run anybody's code, also some that gives back what is wanted: it is asked for again.
                let waker = cx.waker().clone();
                let Some(turn) = source.at_once(&waiter.want) else {
                    let held_by_itself = source.is_held_by(task);
                    // SAFETY: outside, as the match says. It lies in `self`, which is pinned, so it stays where it is
                    //         until `drop` runs, which removes it if it waits and ends its turn if it was chosen.
                    unsafe { source.list().join(waiter, waker, S::WHAT, held_by_itself) };
                    return Poll::Pending;
                };
                waiter.end();
                turn
            }
            Place::Waiting => {
                // SAFETY: it waits, as the match says.
                unsafe { waiter.renew(cx.waker()) };
                return Poll::Pending;
            }
            Place::Chosen(turn) => {
                // SAFETY: it is chosen, as the match says.
                unsafe { waiter.take_turn() };
                turn
            }
            Place::Ended => panic!("{} was polled after it had given its result", S::WHAT),
        };
        Poll::Ready(source.take(turn, &waiter.want, task))
    }

    /// It is dropped while it is in line, or chosen.
    #[cold]
    fn leave(&mut self) {
        let Self { source, waiter } = self;
        match waiter.place() {
            Place::Waiting => {
                // SAFETY: it waits, as the match says, and in this list: a wait has one source.
                let waker = unsafe { source.list().remove(waiter) };
                source.left();
                drop(waker);
            }
            Place::Chosen(turn) => {
                // SAFETY: it is chosen, as the match says.
                unsafe { waiter.take_turn() };
                if turn == Turn::Given {
                    source.pass_on(&waiter.want);
                }
            }
            Place::Outside | Place::Ended => {}
        }
    }
}

impl<S: Source> Drop for Wait<S> {
    #[inline]
    fn drop(&mut self) {
        match self.waiter.place() {
            Place::Outside | Place::Ended => {}
            Place::Waiting | Place::Chosen(_) => self.leave(),
        }
    }
}

impl<S: Source> std::fmt::Debug for Wait<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wait({}, {:?})", S::WHAT, self.waiter.place())
    }
}
