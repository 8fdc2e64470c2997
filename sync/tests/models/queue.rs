//! `Queue`, `LifoQueue` and `PriorityQueue`.

use corering_sync::{Job, LifoQueue, Order, Prioritized, PriorityQueue, Queue, TryGetError, TryPutError};
use proptest::prelude::*;

use crate::{Bench, Id, Line, Model, Next, Step, config, pick, schedules};

type Item = Prioritized<u8, u32>;

#[derive(Clone, Copy, Debug)]
enum Which {
    First,
    Last,
    Least,
}

struct QueueModel {
    which: Which,
    capacity: usize,
    closed: bool,
    /// In the order in which they came.
    items: Vec<Item>,
    unfinished: usize,
    /// True for those who were given room or an item.
    putters: Line<Item, bool>,
    getters: Line<(), bool>,
    joiners: Line<(), ()>,
}

#[derive(Clone, Copy)]
enum OnQueue {
    Put(Item),
    Get,
    Join,
}

/// What the model says and, with a job, what came out.
#[derive(Debug)]
enum Had<J> {
    Put(Result<(), u32>),
    Got(Option<J>),
    Joined,
}

impl QueueModel {
    fn promised<W>(line: &Line<W, bool>) -> usize {
        line.chosen.iter().filter(|(_, _, given)| *given).count()
    }

    fn has_room(&self) -> bool {
        self.items.len() + Self::promised(&self.putters) < self.capacity
    }

    fn has_item(&self) -> bool {
        self.items.len() > Self::promised(&self.getters)
    }

    fn has_ended(&self) -> bool {
        self.closed && self.items.is_empty()
    }

    fn serve(&mut self) {
        while self.has_room() && self.putters.choose(true) {}
        while self.has_item() && self.getters.choose(true) {}
        if self.has_ended() {
            self.getters.choose_all(false);
        }
    }

    fn push(&mut self, item: Item) {
        self.items.push(item);
        self.unfinished += 1;
        self.serve();
    }

    fn take_out(&mut self) -> u32 {
        let last = self.items.len() - 1;
        let least = || (0..=last).min_by_key(|place| (self.items[*place].priority, *place)).expect("one");
        let place = match self.which {
            Which::First => 0,
            Which::Last => last,
            Which::Least => least(),
        };
        self.items.remove(place).item
    }

    fn pop(&mut self) -> u32 {
        let item = self.take_out();
        self.serve();
        item
    }

    fn put(&mut self, item: Item) -> Result<(), TryPutError<u32>> {
        if self.closed {
            return Err(TryPutError::Closed(item.item));
        }
        if !self.has_room() {
            return Err(TryPutError::Full(item.item));
        }
        self.push(item);
        Ok(())
    }

    fn get(&mut self) -> Result<u32, TryGetError> {
        if self.has_item() {
            return Ok(self.pop());
        }
        Err(if self.has_ended() { TryGetError::Closed } else { TryGetError::Empty })
    }

    fn done(&mut self, count: usize) {
        self.unfinished -= count;
        if self.unfinished == 0 {
            self.joiners.choose_all(());
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.putters.choose_all(false);
        self.serve();
    }

    fn close_now(&mut self) -> Vec<u32> {
        // The promises are void.
        self.getters.chosen.iter_mut().for_each(|(_, _, given)| *given = false);
        self.closed = true;
        self.putters.choose_all(false);
        let count = self.items.len();
        let left = (0..count).map(|_| self.take_out()).collect();
        self.serve();
        self.done(count);
        left
    }
}

impl Model for QueueModel {
    type Want = OnQueue;
    type Gets = Had<u32>;

    fn come(&mut self, id: Id, want: &OnQueue) -> Option<Had<u32>> {
        match want {
            OnQueue::Put(item) => match self.put(*item) {
                Ok(()) => return Some(Had::Put(Ok(()))),
                Err(TryPutError::Closed(item)) => return Some(Had::Put(Err(item))),
                Err(TryPutError::Full(_)) => self.putters.join(id, *item),
            },
            OnQueue::Get => match self.get() {
                Ok(item) => return Some(Had::Got(Some(item))),
                Err(TryGetError::Closed) => return Some(Had::Got(None)),
                Err(TryGetError::Empty) => self.getters.join(id, ()),
            },
            OnQueue::Join if self.unfinished == 0 => return Some(Had::Joined),
            OnQueue::Join => self.joiners.join(id, ()),
        }
        None
    }

    fn look(&mut self, id: Id) -> Option<Had<u32>> {
        if let Some((item, given)) = self.putters.take(id) {
            if !given || self.closed {
                return Some(Had::Put(Err(item.item)));
            }
            self.push(item);
            return Some(Had::Put(Ok(())));
        }
        if let Some(((), given)) = self.getters.take(id) {
            return Some(Had::Got(given.then(|| self.pop())));
        }
        self.joiners.take(id).map(|_| Had::Joined)
    }

    fn give_up(&mut self, id: Id) {
        self.putters.take(id);
        self.getters.take(id);
        self.joiners.take(id);
        let _ = self.putters.leave(id) || self.getters.leave(id) || self.joiners.leave(id);
        self.serve();
    }
}

#[derive(Clone, Debug)]
enum OfQueue {
    Put(u8),
    TryPut(u8),
    Get,
    TryGet,
    Done(u8),
    Join,
    Close,
    CloseNow,
}

fn of_queue() -> impl Strategy<Value = Vec<Step<OfQueue>>> {
    schedules(prop_oneof![
        60 => (0..3_u8).prop_map(OfQueue::Put),
        20 => (0..3_u8).prop_map(OfQueue::TryPut),
        50 => Just(OfQueue::Get),
        20 => Just(OfQueue::TryGet),
        30 => any::<u8>().prop_map(OfQueue::Done),
        10 => Just(OfQueue::Join),
        3 => Just(OfQueue::Close),
        2 => Just(OfQueue::CloseNow),
    ])
}

fn is_as_its_model<O: Order<Item>>(queue: &Queue<Item, O>, which: Which, steps: Vec<Step<OfQueue>>) {
    let mut bench = Bench::new(|woken| QueueModel {
        which,
        capacity: queue.capacity().unwrap_or(usize::MAX),
        closed: false,
        items: Vec::new(),
        unfinished: 0,
        putters: Line::new(woken),
        getters: Line::new(woken),
        joiners: Line::new(woken),
    });
    let (mut number, mut jobs) = (0, Vec::new());
    let (mut went_in, mut came_out) = (Vec::new(), Vec::new());
    for step in steps {
        let mut item = |priority| {
            number += 1;
            Prioritized::new(priority, number)
        };
        match bench.next(step) {
            Next::Nothing => {}
            Next::Ended(expected, (had, went)) => {
                compare(expected, &had);
                went_in.extend(went);
                if let Had::Got(Some(job)) = had {
                    came_out.push(job.item);
                    jobs.push(job);
                }
            }
            Next::Do(OfQueue::Put(priority)) => {
                let item = item(priority);
                bench.start(OnQueue::Put(item), put(queue, item));
            }
            Next::Do(OfQueue::TryPut(priority)) => {
                let item = item(priority);
                let got = queue.try_put(item).map_err(|error| match error {
                    TryPutError::Full(item) => TryPutError::Full(item.item),
                    TryPutError::Closed(item) => TryPutError::Closed(item.item),
                });
                went_in.extend(got.is_ok().then_some(item.item));
                assert_eq!(got, bench.model.put(item));
            }
            Next::Do(OfQueue::Get) => {
                bench.start(OnQueue::Get, async move { (Had::Got(queue.get().await.ok()), None) });
            }
            Next::Do(OfQueue::TryGet) => {
                let got = queue.try_get();
                assert_eq!(got.as_ref().map(|job| job.item).map_err(|error| *error), bench.model.get());
                came_out.extend(got.iter().map(|job| job.item));
                jobs.extend(got);
            }
            Next::Do(OfQueue::Done(which)) => {
                if let Some(place) = pick(which, &jobs) {
                    drop(jobs.remove(place));
                    bench.model.done(1);
                }
            }
            Next::Do(OfQueue::Join) => {
                bench.start(OnQueue::Join, async move {
                    queue.join().await;
                    (Had::Joined, None)
                });
            }
            Next::Do(OfQueue::Close) => {
                queue.close();
                bench.model.close();
            }
            Next::Do(OfQueue::CloseNow) => {
                let left: Vec<u32> = queue.close_now().into_iter().map(|item| item.item).collect();
                came_out.extend(&left);
                assert_eq!(left, bench.model.close_now());
            }
        }
        bench.check();
        let model = &bench.model;
        assert_eq!((queue.len(), queue.unfinished()), (model.items.len(), model.unfinished));
        assert_eq!(queue.waiters(), (model.putters.waiting.len(), model.getters.waiting.len()));
        assert_eq!(queue.is_closed(), model.closed);
        assert!(queue.len() <= model.capacity);
    }
    bench.settle(|_, expected, (had, went)| {
        compare(expected, &had);
        went_in.extend(went);
        if let Had::Got(Some(job)) = had {
            came_out.push(job.item);
            jobs.push(job);
        }
    });
    // Who still waits could not be served.
    let (putters, getters) = queue.waiters();
    assert!(putters == 0 || queue.is_full() && !queue.is_closed());
    assert!(getters == 0 || queue.is_empty() && !queue.is_closed());
    assert!(bench.waits.len() == putters + getters || queue.unfinished() > 0);
    assert_eq!(queue.unfinished(), queue.len() + jobs.len());
    // All that went in has come out or is there, once.
    came_out.extend(queue.close_now().into_iter().map(|item| item.item));
    went_in.sort_unstable();
    came_out.sort_unstable();
    assert_eq!(came_out, went_in);
    jobs.clear();
    assert_eq!(queue.unfinished(), 0);
}

type Outcome = (Had<Job<Item>>, Option<u32>);

async fn put<O: Order<Item>>(queue: &Queue<Item, O>, item: Item) -> Outcome {
    match queue.put(item).await {
        Ok(()) => (Had::Put(Ok(())), Some(item.item)),
        Err(closed) => (Had::Put(Err(closed.0.item)), None),
    }
}

fn compare(expected: Had<u32>, had: &Had<Job<Item>>) {
    match (expected, had) {
        (Had::Put(expected), Had::Put(had)) => assert_eq!(*had, expected),
        (Had::Got(expected), Had::Got(had)) => assert_eq!(had.as_ref().map(|job| job.item), expected),
        (Had::Joined, Had::Joined) => {}
        (expected, had) => panic!("{had:?} is not {expected:?}"),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_queue_is_as_its_model(capacity in 1..4_usize, steps in of_queue()) {
        is_as_its_model(&Queue::bounded(capacity), Which::First, steps);
    }

    #[test]
    fn an_unbounded_queue_is_as_its_model(steps in of_queue()) {
        is_as_its_model(&Queue::unbounded(), Which::First, steps);
    }

    #[test]
    fn a_lifo_queue_is_as_its_model(capacity in 1..4_usize, steps in of_queue()) {
        is_as_its_model(&LifoQueue::bounded(capacity), Which::Last, steps);
    }

    #[test]
    fn a_priority_queue_is_as_its_model(capacity in 1..6_usize, steps in of_queue()) {
        is_as_its_model(&PriorityQueue::bounded(capacity), Which::Least, steps);
    }
}
