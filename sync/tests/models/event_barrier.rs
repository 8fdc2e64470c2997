//! `Event` and `Barrier`.

use corering_sync::{Barrier, Broken, Event};
use proptest::prelude::*;

use crate::{Bench, Id, Line, Model, Next, config, schedules};

struct EventModel {
    set: bool,
    line: Line<(), ()>,
}

impl Model for EventModel {
    type Want = ();
    type Gets = ();

    fn come(&mut self, id: Id, (): &()) -> Option<()> {
        if !self.set {
            self.line.join(id, ());
        }
        self.set.then_some(())
    }

    fn look(&mut self, id: Id) -> Option<()> {
        self.line.take(id).map(|_| ())
    }

    fn give_up(&mut self, id: Id) {
        self.line.take(id);
        self.line.leave(id);
    }
}

#[derive(Clone, Debug)]
enum OfEvent {
    Wait,
    Set,
    Clear,
    Pulse,
}

struct BarrierModel {
    parties: usize,
    broken: bool,
    line: Line<(), Result<usize, Broken>>,
}

impl BarrierModel {
    fn send_away(&mut self, broken: bool) {
        self.broken = broken;
        self.line.choose_all(Err(Broken));
    }
}

impl Model for BarrierModel {
    type Want = ();
    type Gets = Result<usize, Broken>;

    fn come(&mut self, id: Id, (): &()) -> Option<Self::Gets> {
        if self.broken {
            return Some(Err(Broken));
        }
        if self.line.waiting.len() + 1 < self.parties {
            self.line.join(id, ());
            return None;
        }
        for number in 0..self.parties - 1 {
            self.line.choose(Ok(number));
        }
        Some(Ok(self.parties - 1))
    }

    fn look(&mut self, id: Id) -> Option<Self::Gets> {
        self.line.take(id).map(|((), passed)| passed)
    }

    fn give_up(&mut self, id: Id) {
        self.line.take(id);
        self.line.leave(id);
    }
}

#[derive(Clone, Debug)]
enum OfBarrier {
    Wait,
    Reset,
    Abort,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_event_is_as_its_model(
        steps in schedules(prop_oneof![
            5 => Just(OfEvent::Wait),
            1 => Just(OfEvent::Set),
            2 => Just(OfEvent::Clear),
            1 => Just(OfEvent::Pulse),
        ]),
    ) {
        let event = Event::new();
        let mut bench = Bench::new(|woken| EventModel { set: false, line: Line::new(woken) });
        for step in steps {
            match bench.next(step) {
                Next::Nothing | Next::Ended((), ()) => {}
                Next::Do(OfEvent::Wait) => bench.start((), event.wait()),
                Next::Do(OfEvent::Set) => {
                    event.set();
                    bench.model.set = true;
                    bench.model.line.choose_all(());
                }
                Next::Do(OfEvent::Clear) => {
                    event.clear();
                    bench.model.set = false;
                }
                Next::Do(OfEvent::Pulse) => {
                    event.pulse();
                    bench.model.line.choose_all(());
                }
            }
            bench.check();
            assert_eq!((event.is_set(), event.waiters()), (bench.model.set, bench.model.line.waiting.len()));
        }
        event.set();
        bench.model.set = true;
        bench.model.line.choose_all(());
        bench.settle(|_, (), ()| {});
        assert!(bench.waits.is_empty());
    }

    #[test]
    fn a_barrier_is_as_its_model(
        parties in 1..5_usize,
        steps in schedules(prop_oneof![
            20 => Just(OfBarrier::Wait),
            2 => Just(OfBarrier::Reset),
            1 => Just(OfBarrier::Abort),
        ]),
    ) {
        let barrier = Barrier::new(parties);
        let mut bench = Bench::new(|woken| BarrierModel { parties, broken: false, line: Line::new(woken) });
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => assert_eq!(got, expected),
                Next::Do(OfBarrier::Wait) => bench.start((), barrier.wait()),
                Next::Do(OfBarrier::Reset) => {
                    barrier.reset();
                    bench.model.send_away(false);
                }
                Next::Do(OfBarrier::Abort) => {
                    barrier.abort();
                    bench.model.send_away(true);
                }
            }
            bench.check();
            assert_eq!(barrier.waiters(), bench.model.line.waiting.len());
            assert_eq!(barrier.is_broken(), bench.model.broken);
        }
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        assert!(bench.waits.len() < parties);
        barrier.reset();
        bench.model.send_away(false);
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        assert!(bench.waits.is_empty());
    }
}
