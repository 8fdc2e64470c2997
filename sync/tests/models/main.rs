//! Every primitive beside a model of it, written as directly as possible, under random schedules.
//!
//! A schedule starts waits, polls and drops them in any order and at any time, and does all else that can be done.
//! After each step both agree on who was woken and in which order, on what a wait gives, and on all that can be
//! seen; at the end nothing is lost.
#![allow(missing_docs, reason = "a test binary has no public API")]

mod cell_token;
mod condition;
mod event_barrier;
mod lent;
mod permits;
mod promise_oneshot;
mod queue;
mod watch_broadcast;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// More cases with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(2000),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..default
    }
}

type Id = usize;

/// Who was woken since the last look, in order.
type Woken = Rc<RefCell<Vec<Id>>>;

/// What a primitive does with those who wait.
trait Model {
    type Want: Clone;
    type Gets;

    /// A new one is polled for the first time: what it gets at once. Otherwise it waits.
    fn come(&mut self, id: Id, want: &Self::Want) -> Option<Self::Gets>;

    /// One that came is polled again: what it gets, if it was chosen.
    fn look(&mut self, id: Id) -> Option<Self::Gets>;

    /// One that came is dropped before it got anything.
    fn give_up(&mut self, id: Id);

    /// One is dropped that was never polled.
    fn not_come(&mut self, _want: Self::Want) {}
}

/// Those who wait for the same thing, and those who were chosen and have not looked yet.
struct Line<W, C> {
    waiting: VecDeque<(Id, W)>,
    chosen: Vec<(Id, W, C)>,
    woken: Woken,
}

impl<W, C: Copy> Line<W, C> {
    fn new(woken: &Woken) -> Self {
        Self { waiting: VecDeque::new(), chosen: Vec::new(), woken: Rc::clone(woken) }
    }

    fn join(&mut self, id: Id, want: W) {
        self.waiting.push_back((id, want));
    }

    fn choose(&mut self, how: C) -> bool {
        let Some((id, want)) = self.waiting.pop_front() else { return false };
        self.woken.borrow_mut().push(id);
        self.chosen.push((id, want, how));
        true
    }

    fn choose_all(&mut self, how: C) {
        while self.choose(how) {}
    }

    fn take(&mut self, id: Id) -> Option<(W, C)> {
        let place = self.chosen.iter().position(|(chosen, ..)| *chosen == id)?;
        let (_, want, how) = self.chosen.remove(place);
        Some((want, how))
    }

    /// Whether it waited here.
    fn leave(&mut self, id: Id) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.waiting.len() < before
    }
}

/// Which wait was woken, and which of the wakers that it was polled with.
type Rings = Arc<Mutex<Vec<(Id, usize)>>>;

struct Bell {
    id: Id,
    number: usize,
    rings: Rings,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.lock().expect("not poisoned").push((self.id, self.number));
    }
}

/// A real wait.
struct Wait<'a, W, T> {
    id: Id,
    want: W,
    came: bool,
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
}

#[derive(Clone, Debug)]
enum Step<D> {
    Poll(u8),
    /// With another waker than before.
    PollAnew(u8),
    Drop(u8),
    Do(D),
}

fn schedules<D: Clone + std::fmt::Debug + 'static>(
    deeds: impl Strategy<Value = D> + 'static,
) -> impl Strategy<Value = Vec<Step<D>>> {
    let step = prop_oneof![
        4 => any::<u8>().prop_map(Step::Poll),
        1 => any::<u8>().prop_map(Step::PollAnew),
        2 => any::<u8>().prop_map(Step::Drop),
        8 => deeds.prop_map(Step::Do),
    ];
    vec(step, 0..50)
}

enum Next<D, G, T> {
    /// A wait has ended: what it should give, and what it gave.
    Ended(G, T),
    Do(D),
    Nothing,
}

/// A primitive's waits, beside its model.
struct Bench<'a, M: Model, T> {
    model: M,
    waits: Vec<Wait<'a, M::Want, T>>,
    woken: Woken,
    rings: Rings,
    /// The number of the waker that each wait was polled with last.
    bells: Vec<usize>,
    any_order: bool,
}

impl<'a, M: Model, T> Bench<'a, M, T> {
    fn new(model: impl FnOnce(&Woken) -> M) -> Self {
        let woken = Woken::default();
        let model = model(&woken);
        Self { model, waits: Vec::new(), woken, rings: Rings::default(), bells: Vec::new(), any_order: false }
    }

    fn start(&mut self, want: M::Want, future: impl Future<Output = T> + 'a) {
        self.waits.push(Wait { id: self.bells.len(), want, came: false, future: Box::pin(future) });
        self.bells.push(0);
    }

    fn next<D>(&mut self, step: Step<D>) -> Next<D, M::Gets, T> {
        let (which, anew) = match step {
            Step::Do(deed) => return Next::Do(deed),
            Step::Drop(which) => {
                if let Some(place) = pick(which, &self.waits) {
                    self.drop(place);
                }
                return Next::Nothing;
            }
            Step::Poll(which) => (which, false),
            Step::PollAnew(which) => (which, true),
        };
        match pick(which, &self.waits).and_then(|place| self.poll(place, anew)) {
            Some((gets, output)) => Next::Ended(gets, output),
            None => Next::Nothing,
        }
    }

    fn poll(&mut self, place: usize, anew: bool) -> Option<(M::Gets, T)> {
        let wait = &mut self.waits[place];
        let number = &mut self.bells[wait.id];
        *number += usize::from(anew);
        let bell = Bell { id: wait.id, number: *number, rings: Arc::clone(&self.rings) };
        let polled = wait.future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(bell))));
        let came = std::mem::replace(&mut wait.came, true);
        let gets = if came { self.model.look(wait.id) } else { self.model.come(wait.id, &wait.want) };
        match (gets, polled) {
            (None, Poll::Pending) => None,
            (Some(gets), Poll::Ready(output)) => {
                drop(self.waits.remove(place));
                Some((gets, output))
            }
            (Some(_), Poll::Pending) => panic!("wait {} still waits", wait.id),
            (None, Poll::Ready(_)) => panic!("wait {} does not wait", wait.id),
        }
    }

    fn drop(&mut self, place: usize) {
        let wait = self.waits.remove(place);
        drop(wait.future);
        if wait.came { self.model.give_up(wait.id) } else { self.model.not_come(wait.want) }
    }

    /// Both have woken the same, in the same order.
    fn check(&self) {
        let mut expected: Vec<_> = self.woken.take().into_iter().map(|id| (id, self.bells[id])).collect();
        let mut rung = std::mem::take(&mut *self.rings.lock().expect("not poisoned"));
        if self.any_order {
            expected.sort_unstable();
            rung.sort_unstable();
        }
        assert_eq!(rung, expected, "who was woken, and by which waker");
    }

    /// Polls all, as an executor does, until nobody gets anything any more.
    fn settle(&mut self, mut ended: impl FnMut(&mut M, M::Gets, T)) {
        let mut place = 0;
        while place < self.waits.len() {
            match self.poll(place, false) {
                Some((gets, output)) => {
                    ended(&mut self.model, gets, output);
                    place = 0;
                }
                None => place += 1,
            }
            self.check();
        }
    }
}

fn pick<T>(which: u8, from: &[T]) -> Option<usize> {
    (!from.is_empty()).then(|| usize::from(which) % from.len())
}
