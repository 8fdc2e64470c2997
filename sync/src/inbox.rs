//! An inbox: many threads push, one thread takes everything, nobody allocates.
//!
//! The nodes are the caller's own (their link is inside), pushed onto a stack by compare-and-swap (R. K. Treiber,
//! "Systems programming: coping with parallelism", 1986) and taken all at once by a swap, which is free of the ABA
//! problem because no single node is ever popped. Taking turns the stack round, so each sender's nodes come out in
//! the order in which it pushed them.
//!
//! Invariant: a node is in at most one inbox, at most once; whoever pushes hands it over until it is taken.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use crate::shim::atomic::{AtomicPtr, Ordering};

/// A node with a link of its own.
///
/// # Safety
///
/// `link` returns the same link for the same node at every call, and nobody else writes to it.
pub unsafe trait Node: Sized {
    /// The link that an [`Inbox`] uses while the node is in it.
    fn link(&self) -> &AtomicPtr<Self>;
}

/// The inbox has been closed; the node was not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// The list itself.
#[derive(Debug)]
pub struct Inbox<N> {
    head: AtomicPtr<N>,
}

impl<N: Node> Inbox<N> {
    /// An empty inbox.
    pub fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Hands `node` over to the receiver.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the receiver has gone: the caller keeps the node.
    ///
    /// # Safety
    ///
    /// `node` stays valid until it has been taken out of the list that [`take`](Self::take) or
    /// [`close`](Self::close) returns, and is not pushed again before that.
    pub unsafe fn push(&self, node: NonNull<N>) -> Result<(), Closed> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == Self::closed() {
                // Acquire: pairs with the Release in `close`; what the receiver did before closing is visible.
                self.head.load(Ordering::Acquire);
                return Err(Closed);
            }
            // SAFETY: the caller says that the node is valid and ours until it is taken.
            let link = unsafe { node.as_ref() }.link();
            link.store(head, Ordering::Relaxed);
            // Release: pairs with the Acquire in `take` and `close`; the node's contents travel with it.
            match self.head.compare_exchange_weak(head, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    /// Whether nothing is waiting. Exact only for the receiver, and only until somebody pushes.
    pub fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        head.is_null() || head == Self::closed()
    }

    /// Takes all that has been pushed so far, oldest first. For the receiver only.
    pub fn take(&self) -> Batch<N> {
        if self.is_empty() {
            return Batch::new(ptr::null_mut());
        }
        // Acquire: pairs with the Release in `push`.
        Batch::new(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Takes what is left and lets nothing more in. For the receiver only.
    pub fn close(&self) -> Batch<N> {
        // Acquire as in `take`; Release: pairs with the Acquire in a refused `push`.
        Batch::new(self.head.swap(Self::closed(), Ordering::AcqRel))
    }

    /// No node lies at this address: it is not aligned for anything that holds a pointer.
    fn closed() -> *mut N {
        ptr::without_provenance_mut(1)
    }
}

impl<N: Node> Default for Inbox<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// What was taken out of an inbox, oldest first.
#[derive(Debug)]
pub struct Batch<N> {
    next: *mut N,
    nodes: PhantomData<N>,
}

impl<N: Node> Batch<N> {
    /// Turns the stack from `newest` down into a queue.
    fn new(newest: *mut N) -> Self {
        let mut oldest = ptr::null_mut();
        let mut node = if newest == Inbox::closed() { ptr::null_mut() } else { newest };
        while let Some(taken) = NonNull::new(node) {
            // SAFETY: pushed nodes stay valid until they are taken out of this batch.
            let link = unsafe { taken.as_ref() }.link();
            node = link.load(Ordering::Relaxed);
            link.store(oldest, Ordering::Relaxed);
            oldest = taken.as_ptr();
        }
        Self { next: oldest, nodes: PhantomData }
    }
}

impl<N: Node> Iterator for Batch<N> {
    type Item = NonNull<N>;

    fn next(&mut self) -> Option<NonNull<N>> {
        let node = NonNull::new(self.next)?;
        // SAFETY: pushed nodes stay valid until they are taken out, which happens here; the link is read before.
        let link = unsafe { node.as_ref() }.link();
        self.next = link.load(Ordering::Relaxed);
        Some(node)
    }
}
