//! `Condition`.

use std::rc::Rc;

use corering::task::yield_now;
use corering::{JoinHandle, spawn};
use corering_sync::{Condition, Lock};

use crate::{ByHand, Trace, bomb, explodes, run, settle};

type Shared = Rc<(Lock<u32>, Condition)>;

fn shared() -> Shared {
    Rc::new((Lock::new(0), Condition::new()))
}

/// Waits once, and says so when it holds the lock again.
fn waits(shared: &Shared, trace: &Trace<u32>, name: u32) -> JoinHandle<()> {
    let (shared, trace) = (Rc::clone(shared), trace.clone());
    spawn(async move {
        let (lock, changed) = &*shared;
        let _guard = changed.wait(lock.lock().await).await;
        trace.log(name);
        yield_now().await;
    })
}

#[test]
fn those_who_are_notified_go_on_when_the_lock_is_released_and_in_the_order_in_which_they_came() {
    run(async || {
        let (shared, trace) = (shared(), Trace::new());
        let (lock, changed) = &*shared;
        let tasks: Vec<_> = (0..10).map(|name| waits(&shared, &trace, name)).collect();
        settle().await;
        assert_eq!(changed.waiters(), 10);

        let guard = lock.lock().await;
        changed.notify_one();
        settle().await;
        assert!(trace.take().is_empty(), "the lock is held");
        drop(guard);
        settle().await;
        assert_eq!(trace.take(), [0]);

        changed.notify(2);
        changed.notify(0);
        settle().await;
        assert_eq!(trace.take(), [1, 2]);
        changed.notify(2048);
        settle().await;
        settle().await;
        assert_eq!(trace.take(), [3, 4, 5, 6, 7, 8, 9]);
        changed.notify_all();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert!(!lock.is_locked());
    });
}

#[test]
fn notifying_all_wakes_those_who_wait_then() {
    run(async || {
        let (shared, trace) = (shared(), Trace::new());
        let _early = [1, 2, 3].map(|name| waits(&shared, &trace, name));
        settle().await;
        shared.1.notify_all();
        let late = waits(&shared, &trace, 4);
        settle().await;
        assert_eq!(trace.take(), [1, 2, 3]);
        assert!(!late.is_finished());
        late.abort();
    });
}

#[test]
fn a_waiter_that_is_aborted_is_gone_and_the_lock_is_free() {
    run(async || {
        let (shared, trace) = (shared(), Trace::new());
        let [first, second] = [1, 2].map(|name| waits(&shared, &trace, name));
        settle().await;
        first.abort();
        settle().await;
        assert_eq!(shared.1.waiters(), 1);
        assert!(!shared.0.is_locked());
        shared.1.notify_one();
        second.await.expect("no panic");
        assert_eq!(trace.take(), [2]);
        assert!(!shared.0.is_locked());
    });
}

/// Or it is lost, and somebody waits for ever (asyncio, gh-112202).
#[test]
fn a_notification_to_one_that_is_aborted_before_it_runs_goes_to_the_next() {
    run(async || {
        let (shared, trace) = (shared(), Trace::new());
        let [first, second, third] = [1, 2, 3].map(|name| waits(&shared, &trace, name));
        settle().await;
        shared.1.notify_one();
        first.abort();
        second.await.expect("no panic");
        assert!(first.await.expect_err("aborted").is_cancelled());
        settle().await;
        assert_eq!(trace.take(), [2]);
        assert_eq!(shared.1.waiters(), 1, "one notification, one who goes on");
        third.abort();
    });
}

/// Then it has been notified and does not hold the lock: both have to be handed on (asyncio, bpo-32841, gh-111693).
#[test]
fn one_that_is_aborted_while_it_takes_the_lock_again_passes_the_notification_on() {
    run(async || {
        for chosen in [false, true] {
            let (shared, trace) = (shared(), Trace::new());
            let [first, second] = [1, 2].map(|name| waits(&shared, &trace, name));
            settle().await;
            let guard = shared.0.lock().await;
            shared.1.notify_one();
            settle().await;
            assert_eq!((shared.0.waiters(), shared.1.waiters()), (1, 1), "the first waits for the lock");
            if chosen {
                drop(guard);
                first.abort();
            } else {
                first.abort();
                drop(guard);
            }
            assert!(first.await.expect_err("the abort is not lost").is_cancelled());
            second.await.expect("no panic");
            assert_eq!(trace.take(), [2]);
            assert!(!shared.0.is_locked());
        }
    });
}

#[test]
fn a_notification_that_was_used_is_not_passed_on() {
    let (lock, changed) = (Lock::new(()), Condition::new());
    let mut first = ByHand::waiting(changed.wait(lock.try_lock().expect("free")));
    let second = ByHand::waiting(changed.wait(lock.try_lock().expect("free")));
    changed.notify_one();
    let guard = first.ready();
    drop(first);
    drop(guard);
    assert!(!second.was_woken());
    assert_eq!(changed.waiters(), 1);
}

/// Unlike asyncio's, which takes the lock again before it lets go: the guard was moved in.
#[test]
fn a_wait_that_is_dropped_leaves_the_lock_released() {
    let (lock, changed) = (Lock::new(()), Condition::default());
    drop(changed.wait(lock.try_lock().expect("free")));
    assert!(!lock.is_locked(), "never polled");
    let wait = ByHand::waiting(changed.wait(lock.try_lock().expect("free")));
    assert!(!lock.is_locked());
    drop(wait);
    assert!(!lock.is_locked());
}

#[test]
fn a_condition_that_holds_already_needs_no_notification() {
    let (lock, changed) = (Lock::new(1), Condition::new());
    let mut looks = 0;
    let guard = ByHand::new(changed.wait_for(lock.try_lock().expect("free"), |value| {
        looks += 1;
        *value == 1
    }))
    .ready();
    assert_eq!(*guard, 1);
    assert!(lock.is_locked());
    drop(guard);
    assert_eq!(looks, 1);
}

#[test]
fn a_condition_is_looked_at_after_each_notification_until_it_holds() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    let looks = std::cell::Cell::new(0);
    let mut wait = ByHand::waiting(changed.wait_for(lock.try_lock().expect("free"), |value| {
        looks.set(looks.get() + 1);
        *value >= 2
    }));
    for (value, ready) in [(0, false), (1, false), (2, true)] {
        *lock.try_lock().expect("free") = value;
        changed.notify_all();
        assert_eq!(wait.poll().is_ready(), ready);
        assert!(!lock.is_locked());
    }
    assert_eq!(looks.get(), 4);
}

#[test]
fn a_wait_that_is_polled_for_no_reason_goes_on_waiting() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    let mut wait = ByHand::waiting(changed.wait(lock.try_lock().expect("free")));
    for _ in 0..3 {
        assert!(wait.poll().is_pending());
    }
    assert_eq!(changed.waiters(), 1);
    assert!(!lock.is_locked());
}

/// Whoever holds the lock may notify either, however it was taken.
#[test]
fn two_conditions_on_one_lock_do_not_disturb_each_other() {
    let lock = Rc::new(Lock::new(()));
    let (one, other) = (Condition::new(), Condition::new());
    let mut waits_for_one = ByHand::waiting(one.wait(lock.try_lock_owned().expect("free")));
    let mut waits_for_other = ByHand::waiting(other.wait(lock.try_lock().expect("free")));
    let guard = ByHand::new(lock.lock_owned()).ready();
    other.notify_one();
    assert!(waits_for_other.was_woken() && !waits_for_one.was_woken());
    assert!(waits_for_other.poll().is_pending());
    let guard = ByHand::waiting(one.wait(guard));
    drop(waits_for_other.ready());
    one.notify_one();
    assert!(waits_for_one.was_woken() && !guard.was_woken());
    drop(waits_for_one.ready());
    drop(guard);
    assert!(!lock.is_locked());
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_from_being_notified() {
    let (lock, changed) = (Lock::new(()), Condition::new());
    let mut first = ByHand::new(changed.wait(lock.try_lock().expect("free")));
    assert!(first.poll_with(&bomb()).is_pending());
    let mut second = ByHand::waiting(changed.wait(lock.try_lock().expect("free")));
    explodes(|| changed.notify_all());
    assert!(second.was_woken());
    drop(first.ready());
    drop(second.ready());
}

#[test]
fn producers_and_consumers_hand_over_through_a_lock_and_a_condition() {
    run(async || {
        let shared = Rc::new((Lock::new(Vec::new()), Condition::new()));
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                let shared = Rc::clone(&shared);
                spawn(async move {
                    let (items, changed) = &*shared;
                    let mut seen = Vec::new();
                    loop {
                        let mut guard = changed.wait_for(items.lock().await, |items| !items.is_empty()).await;
                        match guard.pop().expect("waited for") {
                            Some(item) => seen.push(item),
                            None => return seen,
                        }
                    }
                })
            })
            .collect();
        for item in (0..100).map(Some).chain([None; 3]) {
            shared.0.lock().await.insert(0, item);
            shared.1.notify_one();
            yield_now().await;
        }
        let mut all: Vec<u32> = Vec::new();
        for consumer in consumers {
            all.extend(consumer.await.expect("no panic"));
        }
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..100));
    });
}
