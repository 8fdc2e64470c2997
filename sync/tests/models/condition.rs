//! `Condition`.

use corering_sync::{Condition, Lock};
use proptest::prelude::*;

use crate::{Bench, Id, Line, Model, Next, config, schedules};

/// Those who wait for the lock are in `lock`, also those who have been notified; `true` of these.
struct ConditionModel {
    locked: bool,
    lock: Line<bool, ()>,
    notified: Line<(), ()>,
}

#[derive(Clone, Copy, PartialEq)]
enum For {
    Lock,
    Notification,
}

impl ConditionModel {
    fn try_lock(&mut self) -> bool {
        !std::mem::replace(&mut self.locked, true)
    }

    fn release(&mut self) {
        self.locked = self.lock.choose(());
    }

    fn notify(&mut self, count: usize) {
        for _ in 0..count {
            self.notified.choose(());
        }
    }

    fn wants_lock(&mut self, id: Id, was_notified: bool) -> Option<()> {
        if self.try_lock() {
            return Some(());
        }
        self.lock.join(id, was_notified);
        None
    }
}

impl Model for ConditionModel {
    type Want = For;
    type Gets = ();

    fn come(&mut self, id: Id, want: &For) -> Option<()> {
        match want {
            For::Lock => self.wants_lock(id, false),
            For::Notification => {
                self.release();
                self.notified.join(id, ());
                None
            }
        }
    }

    fn look(&mut self, id: Id) -> Option<()> {
        if self.notified.take(id).is_some() {
            return self.wants_lock(id, true);
        }
        self.lock.take(id).map(|_| ())
    }

    fn give_up(&mut self, id: Id) {
        let relocking = self.lock.waiting.iter().any(|(waiting, was_notified)| *waiting == id && *was_notified);
        if let Some((was_notified, ())) = self.lock.take(id) {
            self.release();
            self.notify(usize::from(was_notified));
        } else if self.lock.leave(id) {
            self.notify(usize::from(relocking));
        } else if self.notified.take(id).is_some() {
            self.notify(1);
        } else {
            self.notified.leave(id);
        }
    }

    fn not_come(&mut self, want: For) {
        if want == For::Notification {
            self.release();
        }
    }
}

#[derive(Clone, Debug)]
enum OfCondition {
    Lock,
    Try,
    Release,
    Wait,
    Notify(usize),
    NotifyAll,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_condition_is_as_its_model(
        steps in schedules(prop_oneof![
            4 => Just(OfCondition::Lock),
            2 => Just(OfCondition::Try),
            3 => Just(OfCondition::Release),
            6 => Just(OfCondition::Wait),
            2 => (0..4_usize).prop_map(OfCondition::Notify),
            1 => Just(OfCondition::NotifyAll),
        ]),
    ) {
        let (lock, condition) = (Lock::new(()), Condition::new());
        let mut bench = Bench::new(|woken| ConditionModel {
            locked: false,
            lock: Line::new(woken),
            notified: Line::new(woken),
        });
        let mut held = None;
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended((), guard) => assert!(held.replace(guard).is_none()),
                Next::Do(OfCondition::Lock) => bench.start(For::Lock, lock.lock()),
                Next::Do(OfCondition::Try) => {
                    let guard = lock.try_lock();
                    assert_eq!(guard.is_ok(), bench.model.try_lock());
                    held = held.or(guard.ok());
                }
                Next::Do(OfCondition::Release) => {
                    if held.take().is_some() {
                        bench.model.release();
                    }
                }
                Next::Do(OfCondition::Wait) => {
                    if let Some(guard) = held.take() {
                        bench.start(For::Notification, condition.wait(guard));
                    }
                }
                Next::Do(OfCondition::Notify(count)) => {
                    condition.notify(count);
                    bench.model.notify(count);
                }
                Next::Do(OfCondition::NotifyAll) => {
                    condition.notify_all();
                    bench.model.notify(1000);
                }
            }
            bench.check();
            assert_eq!((lock.is_locked(), lock.waiters()), (bench.model.locked, bench.model.lock.waiting.len()));
            assert_eq!(condition.waiters(), bench.model.notified.waiting.len());
        }
        if held.take().is_some() {
            bench.model.release();
        }
        let free = |model: &mut ConditionModel, (), guard| {
            drop(guard);
            model.release();
        };
        bench.settle(free);
        condition.notify_all();
        bench.model.notify(1000);
        bench.settle(free);
        assert!(bench.waits.is_empty() && !lock.is_locked());
    }
}
