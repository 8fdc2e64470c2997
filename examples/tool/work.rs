//! Many files at once, and what comes of them in order.
//!
//! Workers take item after item. What they bring is handed over in the order of the items, whoever was faster: so the
//! output begins before the last file has been found, and is the same however fast they are. A worker that is far ahead
//! of the slowest waits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use corering::sync::{Event, Lock};

use super::{Place, Places, Tool};

/// So many outcomes wait for an earlier one.
const EARLY: usize = 1024;

/// Where work comes from.
pub(crate) trait Items: 'static {
    type Item;

    fn next(&mut self) -> impl Future<Output = Option<Self::Item>>;
}

impl Items for Places {
    type Item = Place;

    async fn next(&mut self) -> Option<Place> {
        Places::next(self).await
    }
}

/// What is done with each item.
pub(crate) trait Work: 'static {
    type Item;
    /// What a worker keeps from one item to the next, such as a buffer.
    type Kept: Default;
    type Outcome;

    /// Done by several workers at once.
    fn work(&self, kept: &mut Self::Kept, item: Self::Item) -> impl Future<Output = Self::Outcome>;

    /// Takes what came of it, in the order of the items.
    fn done(&self, outcome: Self::Outcome);
}

struct Shared<I, W: Work> {
    tool: Rc<Tool>,
    work: Rc<W>,
    source: Lock<Source<I>>,
    next: Cell<u64>,
    early: RefCell<BTreeMap<u64, W::Outcome>>,
    /// Set while there is room for early outcomes.
    room: Event,
}

struct Source<I> {
    items: I,
    number: u64,
}

/// Does the work for each item, for up to so many at once. Ends early if nobody reads what is printed.
pub(crate) async fn each<I, W>(tool: &Rc<Tool>, work: &Rc<W>, items: I, jobs: usize)
where
    I: Items,
    W: Work<Item = I::Item>,
{
    let shared = Rc::new(Shared {
        tool: Rc::clone(tool),
        work: Rc::clone(work),
        source: Lock::new(Source { items, number: 0 }),
        next: Cell::new(0),
        early: RefCell::new(BTreeMap::new()),
        room: Event::new(),
    });
    shared.room.set();
    let workers: Vec<_> = (0..jobs).map(|_| corering::spawn(go_on(Rc::clone(&shared))).abort_on_drop()).collect();
    for worker in workers {
        if let Err(error) = worker.await {
            tool.fail();
            tool.say(error);
        }
    }
}

async fn go_on<I, W>(shared: Rc<Shared<I, W>>)
where
    I: Items,
    W: Work<Item = I::Item>,
{
    let mut kept = W::Kept::default();
    loop {
        shared.room.wait().await;
        let mut source = shared.source.lock().await;
        if shared.tool.is_over() {
            return;
        }
        let Some(item) = source.items.next().await else {
            return;
        };
        let number = source.number;
        source.number += 1;
        drop(source);
        let outcome = shared.work.work(&mut kept, item).await;
        shared.add(number, outcome);
        shared.tool.settle().await;
    }
}

impl<I, W: Work> Shared<I, W> {
    fn add(&self, number: u64, outcome: W::Outcome) {
        if number != self.next.get() {
            let mut early = self.early.borrow_mut();
            early.insert(number, outcome);
            if early.len() >= EARLY {
                self.room.clear();
            }
            return;
        }
        let mut next = Some(outcome);
        while let Some(outcome) = next {
            self.work.done(outcome);
            self.next.set(self.next.get() + 1);
            next = self.early.borrow_mut().remove(&self.next.get());
        }
        self.room.set();
    }
}
