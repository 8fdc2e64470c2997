//! The orders in which queues give their items.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Where a queue keeps its items, and which comes next. Only this crate implements it.
pub trait Order<T>: Default {
    /// Takes an item in.
    #[doc(hidden)]
    fn push(&mut self, item: T);
    /// Gives the next.
    #[doc(hidden)]
    fn pop(&mut self) -> Option<T>;
    /// How many there are.
    #[doc(hidden)]
    fn count(&self) -> usize;
}

/// First in, first out.
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Order<T> for Fifo<T> {
    #[inline]
    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    #[inline]
    fn count(&self) -> usize {
        self.0.len()
    }
}

/// Last in, first out.
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Order<T> for Lifo<T> {
    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The smallest first; among equals, first in, first out.
#[derive(Debug)]
pub struct Priority<T> {
    items: BinaryHeap<Ranked<T>>,
    came: u64,
}

#[derive(Debug)]
struct Ranked<T> {
    item: T,
    came: u64,
}

impl<T: Ord> Default for Priority<T> {
    fn default() -> Self {
        Self { items: BinaryHeap::new(), came: 0 }
    }
}

impl<T: Ord> Order<T> for Priority<T> {
    fn push(&mut self, item: T) {
        self.items.push(Ranked { item, came: self.came });
        self.came += 1;
    }

    fn pop(&mut self) -> Option<T> {
        self.items.pop().map(|ranked| ranked.item)
    }

    fn count(&self) -> usize {
        self.items.len()
    }
}

/// An item with a priority that alone decides its place: the item need not be comparable.
///
/// In a [`PriorityQueue`](crate::PriorityQueue), the smallest comes first, and of equals the one that came first.
#[derive(Clone, Copy, Debug)]
pub struct Prioritized<P, T> {
    /// The smallest comes first.
    pub priority: P,
    /// What it is about.
    pub item: T,
}

impl<P, T> Prioritized<P, T> {
    /// `item`, with `priority`.
    pub fn new(priority: P, item: T) -> Self {
        Self { priority, item }
    }
}

impl<P: Ord, T> Ord for Prioritized<P, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.priority.cmp(&other.priority)
    }
}

impl<P: Ord, T> PartialOrd for Prioritized<P, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Ord, T> PartialEq for Prioritized<P, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<P: Ord, T> Eq for Prioritized<P, T> {}

/// The heap gives its greatest first: that is the smallest item, and of equals the one that came first.
impl<T: Ord> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.item.cmp(&self.item).then(other.came.cmp(&self.came))
    }
}

impl<T: Ord> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Ranked<T> {}
