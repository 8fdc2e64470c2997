//! Telling many that they should stop.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;

use slab::Slab;

use crate::panics::Panics;
use crate::wait::{Source, Wait};
use crate::wait_list::{Turn, WaitList};

/// Tells all who have a clone of it, or of a [child](Self::child_token), that they should stop.
///
/// It says so; they stop where they look. To stop a task from outside, whatever it does, abort it.
///
/// # Examples
///
/// ```
/// use corering::sync::CancellationToken;
///
/// corering::run(async {
///     let shutdown = CancellationToken::new();
///     let connection = shutdown.child_token();
///     let task = corering::spawn(async move {
///         connection.run_until_cancelled(std::future::pending::<()>()).await
///     });
///     shutdown.cancel();
///     assert_eq!(task.await.unwrap(), None);
/// })?;
/// # Ok::<(), corering::RunError>(())
/// ```
#[derive(Clone)]
pub struct CancellationToken(Rc<Node>);

struct Node {
    cancelled: Cell<bool>,
    waiters: WaitList<()>,
    children: RefCell<Slab<Weak<Node>>>,
    /// The parent, and where this one is in its list.
    parent: Option<(Rc<Node>, usize)>,
}

impl CancellationToken {
    /// One that is not cancelled.
    pub fn new() -> Self {
        Self(Rc::new(Node::new(false, None)))
    }

    /// One that is cancelled with this one, but not the other way round.
    pub fn child_token(&self) -> Self {
        let Self(parent) = self;
        if parent.cancelled.get() {
            return Self(Rc::new(Node::new(true, None)));
        }
        Self(Rc::new_cyclic(|child| {
            let place = parent.children.borrow_mut().insert(Weak::clone(child));
            Node::new(false, Some((Rc::clone(parent), place)))
        }))
    }

    /// Cancels it and all its children, and wakes those who wait. Does nothing the second time.
    pub fn cancel(&self) {
        let mut next = vec![Rc::clone(&self.0)];
        let mut all = Vec::new();
        // Marked before anybody is woken, so that all see the same.
        while let Some(node) = next.pop() {
            if !node.cancelled.replace(true) {
                next.extend(node.children.take().into_iter().filter_map(|(_, child)| child.upgrade()));
                all.push(node);
            }
        }
        let mut panics = Panics::none();
        for node in all {
            panics.keep(|| node.waiters.give_all(Turn::Given));
        }
        panics.go_on();
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.get()
    }

    /// Waits until it is cancelled.
    #[track_caller]
    pub fn cancelled(&self) -> Wait<Cancelling<'_>> {
        Wait::new(Cancelling(&self.0), ())
    }

    /// Awaits `future` until it is cancelled: `None` if that came first. The future is dropped then.
    pub async fn run_until_cancelled<F: IntoFuture>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future.into_future());
        let mut cancelled = pin!(self.cancelled());
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            cancelled.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Cancels it when the guard is dropped.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard(Some(self))
    }
}

impl Node {
    fn new(cancelled: bool, parent: Option<(Rc<Node>, usize)>) -> Self {
        let children = RefCell::new(Slab::new());
        Self { cancelled: Cell::new(cancelled), waiters: WaitList::new(), children, parent }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        // A line of ancestors that only this one kept goes one after the other: each within the drop of the one before
        // it, they would need as much stack as the line is long.
        while let Some((parent, place)) = next {
            // Once it is cancelled, the parent has let go of its children.
            parent.children.borrow_mut().try_remove(place);
            next = Rc::into_inner(parent).and_then(|mut last| last.parent.take());
        }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken")
            .field("cancelled", &self.is_cancelled())
            .field("children", &self.0.children.borrow().len())
            .finish_non_exhaustive()
    }
}

/// Cancels a token when it is dropped; made by [`CancellationToken::drop_guard`].
#[derive(Debug)]
#[must_use = "the token is cancelled when the guard is dropped"]
pub struct DropGuard(Option<CancellationToken>);

impl DropGuard {
    /// The token, which is not cancelled then.
    pub fn disarm(mut self) -> CancellationToken {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.0 {
            token.cancel();
        }
    }
}

/// The wait of [`CancellationToken::cancelled`].
pub struct Cancelling<'a>(&'a Node);

impl Source for Cancelling<'_> {
    type Want = ();
    type Output = ();
    const WHAT: &'static str = "CancellationToken::cancelled";

    fn list(&self) -> &WaitList<()> {
        &self.0.waiters
    }

    fn at_once(&self, _: &()) -> Option<Turn> {
        self.0.cancelled.get().then_some(Turn::Given)
    }

    fn take(&self, _: Turn, _: &(), _: *const ()) {}

    fn pass_on(&self, _: &()) {}
}

impl fmt::Debug for Cancelling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelling")
    }
}
