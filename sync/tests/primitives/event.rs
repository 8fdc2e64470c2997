//! `Event`.

use std::rc::Rc;

use corering::spawn;
use corering_sync::Event;

use crate::{ByHand, Trace, block_on, bomb, explodes, run, settle};

#[test]
fn setting_wakes_all_in_the_order_in_which_they_came() {
    run(async || {
        let (event, trace) = (Rc::new(Event::new()), Trace::new());
        let tasks = [1, 2, 3].map(|name: u32| {
            let (event, trace) = (Rc::clone(&event), trace.clone());
            spawn(async move {
                event.wait().await;
                trace.log(name);
            })
        });
        settle().await;
        assert_eq!(event.waiters(), 3);
        event.set();
        event.set();
        assert!(event.is_set() && trace.take().is_empty());
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(trace.take(), [1, 2, 3]);
        event.wait().await;
    });
}

#[test]
fn waiting_for_what_has_happened_takes_no_turn() {
    let event = Event::default();
    event.set();
    let mut wait = ByHand::new(event.wait());
    wait.ready();
    assert_eq!(wait.rings(), 0);
    block_on(event.wait());
}

/// Those who waited when it was set go on, whatever becomes of the flag (asyncio).
#[test]
fn clearing_it_does_not_hold_back_those_who_were_woken() {
    let event = Event::new();
    let mut early = [ByHand::waiting(event.wait()), ByHand::waiting(event.wait())];
    event.set();
    event.clear();
    let mut late = ByHand::waiting(event.wait());
    assert!(!event.is_set());
    for wait in &mut early {
        assert_eq!(wait.rings(), 1);
        wait.ready();
    }
    assert!(late.poll().is_pending() && !late.was_woken());
    event.set();
    late.ready();
}

#[test]
fn a_waiter_that_is_aborted_is_gone() {
    run(async || {
        let (event, trace) = (Rc::new(Event::new()), Trace::new());
        let [first, second] = [1, 2].map(|name: u32| {
            let (event, trace) = (Rc::clone(&event), trace.clone());
            spawn(async move {
                event.wait().await;
                trace.log(name);
            })
        });
        settle().await;
        first.abort();
        settle().await;
        assert_eq!(event.waiters(), 1);
        event.set();
        second.await.expect("no panic");
        assert!(first.await.expect_err("aborted").is_cancelled());
        assert_eq!(trace.take(), [2]);
    });
}

#[test]
fn a_pulse_wakes_those_who_wait_and_nobody_who_comes_later() {
    let event = Event::new();
    event.pulse();
    let mut early = [ByHand::waiting(event.wait()), ByHand::waiting(event.wait())];
    event.pulse();
    assert!(!event.is_set());
    let mut late = ByHand::waiting(event.wait());
    early.iter_mut().for_each(ByHand::ready);
    assert!(late.poll().is_pending());
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_from_being_woken() {
    let event = Event::new();
    let mut waits: Vec<_> = (0..5).map(|_| ByHand::new(event.wait())).collect();
    for (number, wait) in waits.iter_mut().enumerate() {
        let is_pending = if number % 2 == 1 { wait.poll_with(&bomb()) } else { wait.poll() }.is_pending();
        assert!(is_pending);
    }
    explodes(|| event.set());
    for wait in &mut waits {
        wait.ready();
    }
    assert_eq!([0, 2, 4].map(|number: usize| waits[number].rings()), [1, 1, 1]);
    assert_eq!(event.waiters(), 0);
}

#[test]
fn waits_that_are_dropped_in_any_order_leave_the_others_in_order() {
    for dropped in [[0, 1], [1, 3], [2, 0], [3, 2]] {
        let event = Event::new();
        let mut waits: Vec<_> = (0..4).map(|_| Some(ByHand::waiting(event.wait()))).collect();
        for number in dropped {
            waits[number] = None;
        }
        assert_eq!(event.waiters(), 2);
        event.set();
        for wait in waits.iter_mut().flatten() {
            wait.ready();
        }
    }
}
