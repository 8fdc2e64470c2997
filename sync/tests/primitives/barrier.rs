//! `Barrier`.

use std::rc::Rc;

use corering::spawn;
use corering::task::yield_now;
use corering_sync::{Barrier, Broken};

use crate::{ByHand, block_on, bomb, explodes, run, settle};

#[test]
fn all_leave_together_each_with_a_number_of_its_own() {
    run(async || {
        let barrier = Rc::new(Barrier::new(4));
        let start = || {
            let barrier = Rc::clone(&barrier);
            spawn(async move { barrier.wait().await })
        };
        let mut tasks = vec![start(), start(), start()];
        settle().await;
        // One gives up while the others come: its number must not be given twice (asyncio, gh-155233).
        tasks.remove(1).abort();
        settle().await;
        assert_eq!(barrier.waiters(), 2);
        assert!(tasks.iter().all(|task| !task.is_finished()));
        tasks.extend([start(), start()]);
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.push(task.await.expect("no panic").expect("whole"));
        }
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(barrier.waiters(), 0);
    });
}

#[test]
fn one_that_is_dropped_before_the_barrier_opens_has_not_come() {
    let barrier = Barrier::new(3);
    let mut first = ByHand::waiting(barrier.wait());
    drop(ByHand::waiting(barrier.wait()));
    assert_eq!((barrier.waiters(), barrier.is_broken(), barrier.parties()), (1, false, 3));
    let mut third = ByHand::waiting(barrier.wait());
    assert!(!first.was_woken());
    assert_eq!(ByHand::new(barrier.wait()).ready(), Ok(2));
    assert_eq!((third.ready(), first.ready()), (Ok(1), Ok(0)));
}

#[test]
fn one_that_comes_again_while_others_leave_waits_for_the_next_round() {
    let barrier = Barrier::new(2);
    let mut slow = ByHand::waiting(barrier.wait());
    assert_eq!(ByHand::new(barrier.wait()).ready(), Ok(1));
    let mut again = ByHand::waiting(barrier.wait());
    assert_eq!(barrier.waiters(), 1);
    assert_eq!(slow.ready(), Ok(0));
    assert!(again.poll().is_pending());
    let mut slow = ByHand::new(barrier.wait());
    assert_eq!((slow.ready(), again.ready()), (Ok(1), Ok(0)));
}

#[test]
fn a_barrier_for_one_never_holds_anybody_up() {
    let barrier = Barrier::new(1);
    for _ in 0..3 {
        assert_eq!(block_on(barrier.wait()), Ok(0));
    }
}

#[test]
fn everybody_passes_in_every_round() {
    run(async || {
        const PARTIES: usize = 5;
        let barrier = Rc::new(Barrier::new(PARTIES));
        let tasks: Vec<_> = (0..PARTIES)
            .map(|number| {
                let barrier = Rc::clone(&barrier);
                spawn(async move {
                    let mut first = 0;
                    for round in 0..20 {
                        for _ in 0..(number * 7 + round) % 3 {
                            yield_now().await;
                        }
                        first += usize::from(barrier.wait().await == Ok(0));
                    }
                    first
                })
            })
            .collect();
        let mut first = 0;
        for task in tasks {
            first += task.await.expect("no panic");
        }
        assert_eq!(first, 20, "exactly one is the first in each round");
    });
}

#[test]
fn resetting_sends_those_who_wait_away_and_the_barrier_is_as_new() {
    let barrier = Barrier::new(3);
    let mut waits = [ByHand::waiting(barrier.wait()), ByHand::waiting(barrier.wait())];
    barrier.reset();
    assert_eq!((barrier.waiters(), barrier.is_broken()), (0, false));
    let mut next = [ByHand::waiting(barrier.wait()), ByHand::waiting(barrier.wait())];
    assert!(waits.iter().all(ByHand::was_woken));
    assert_eq!(waits.each_mut().map(ByHand::ready), [Err(Broken); 2]);
    assert_eq!(ByHand::new(barrier.wait()).ready(), Ok(2));
    assert_eq!(next.each_mut().map(ByHand::ready), [Ok(0), Ok(1)]);
    barrier.reset();
    assert_eq!(
        Broken.to_string(),
        "the barrier was reset or aborted while this one waited, or has been aborted before"
    );
}

#[test]
fn resetting_and_aborting_do_not_call_back_those_who_may_leave() {
    for abort in [false, true] {
        let barrier = Barrier::new(2);
        let mut slow = ByHand::waiting(barrier.wait());
        assert_eq!(ByHand::new(barrier.wait()).ready(), Ok(1));
        if abort {
            barrier.abort()
        } else {
            barrier.reset()
        }
        assert_eq!(slow.ready(), Ok(0));
    }
}

#[test]
fn one_that_may_leave_and_is_dropped_does_not_disturb_the_next_round() {
    let barrier = Barrier::new(3);
    let mut waits = [ByHand::waiting(barrier.wait()), ByHand::waiting(barrier.wait())];
    assert_eq!(ByHand::new(barrier.wait()).ready(), Ok(2));
    let next = ByHand::waiting(barrier.wait());
    let [first, second] = &mut waits;
    drop(std::mem::replace(first, ByHand::new(async { Ok(9) })));
    assert_eq!(barrier.waiters(), 1);
    assert_eq!(second.ready(), Ok(1));
    drop(next);
    let mut next = [ByHand::waiting(barrier.wait()), ByHand::waiting(barrier.wait())];
    assert_eq!(ByHand::new(barrier.wait()).ready(), Ok(2));
    assert_eq!(next.each_mut().map(ByHand::ready), [Ok(0), Ok(1)]);
}

#[test]
fn an_aborted_barrier_is_broken_until_it_is_reset() {
    run(async || {
        let barrier = Rc::new(Barrier::new(2));
        let waits = spawn({
            let barrier = Rc::clone(&barrier);
            async move { barrier.wait().await }
        });
        settle().await;
        let mut not_yet = ByHand::new(barrier.wait());
        barrier.abort();
        assert!(barrier.is_broken());
        assert_eq!(waits.await.expect("no panic"), Err(Broken));
        assert_eq!(not_yet.ready(), Err(Broken));
        assert_eq!(barrier.wait().await, Err(Broken));
        barrier.reset();
        assert!(!barrier.is_broken());
        let mut first = ByHand::waiting(barrier.wait());
        assert_eq!(barrier.wait().await, Ok(1));
        assert_eq!(first.ready(), Ok(0));
    });
}

#[test]
fn a_waker_that_panics_does_not_hold_up_the_others() {
    let barrier = Barrier::new(4);
    let mut waits: Vec<_> = (0..3).map(|_| ByHand::new(barrier.wait())).collect();
    assert!(waits[0].poll_with(&bomb()).is_pending() && waits[1].poll().is_pending() && waits[2].poll().is_pending());
    explodes(|| ByHand::new(barrier.wait()).poll());
    assert!(waits[1].was_woken() && waits[2].was_woken());
    assert_eq!(waits.iter_mut().map(ByHand::ready).collect::<Vec<_>>(), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn a_barrier_for_nobody_is_refused() {
    let error = Barrier::try_new(0).expect_err("nobody could be the last");
    assert_eq!(error.to_string(), "the parties of a barrier must be at least 1, and is 0");
    assert!(Barrier::try_new(1).is_ok());
    assert!(std::panic::catch_unwind(|| Barrier::new(0)).is_err());
}
