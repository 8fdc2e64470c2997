//! `Semaphore`.

use std::cell::Cell;
use std::rc::Rc;

use corering::spawn;
use corering::task::yield_now;
use corering_sync::{AcquireError, Permit, Semaphore};

use crate::{ByHand, Trace, block_on, bomb, explodes, run, settle};

#[test]
fn whoever_releases_and_asks_again_is_served_last() {
    run(async || {
        let (semaphore, trace) = (Rc::new(Semaphore::new(1)), Trace::<String>::new());
        let tasks = [1, 2, 3].map(|name| {
            let (semaphore, trace) = (Rc::clone(&semaphore), trace.clone());
            spawn(async move {
                for round in [1, 2] {
                    let _permit = semaphore.acquire().await.expect("open");
                    trace.log(format!("c{name}_{round}"));
                    yield_now().await;
                }
            })
        });
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(trace.take(), ["c1_1", "c2_1", "c3_1", "c1_2", "c2_2", "c3_2"]);
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn as_many_as_are_released_are_woken_and_late_ones_cannot_take_what_is_meant_for_them() {
    for released in 0..=5 {
        let semaphore = Semaphore::new(5);
        let mut out: Vec<_> = (0..5).map(|_| semaphore.try_acquire().expect("free")).collect();
        let mut waits: Vec<_> = (0..3).map(|_| ByHand::waiting(semaphore.acquire())).collect();
        out.truncate(5 - released);
        let woken = waits.iter().take_while(|wait| wait.was_woken()).count();
        assert_eq!(woken, released.min(3));
        assert!(waits[woken..].iter().all(|wait| !wait.was_woken()), "in the order in which they came");
        assert_eq!(semaphore.available(), released - woken);
        let late = ByHand::new(semaphore.acquire()).poll();
        assert_eq!(late.is_ready(), released > 3);
        for wait in &mut waits[..woken] {
            out.push(wait.ready().expect("open"));
        }
        assert!(out.len() <= 5);
        drop((late, out, waits));
        assert_eq!(semaphore.available(), 5);
    }
}

#[test]
fn waiters_that_are_aborted_before_the_release_get_nothing() {
    run(async || {
        let (semaphore, trace) = (Rc::new(Semaphore::new(1)), Trace::new());
        let permit = semaphore.acquire().await.expect("open");
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|name: u32| {
            let (semaphore, trace) = (Rc::clone(&semaphore), trace.clone());
            spawn(async move {
                let _permit = semaphore.acquire().await.expect("open");
                trace.log(name);
                std::future::pending::<()>().await;
            })
        });
        settle().await;
        first.abort();
        second.abort();
        drop(permit);
        settle().await;
        assert_eq!(trace.take(), [3]);
        assert_eq!((semaphore.waiters(), semaphore.available()), (1, 0));
        third.abort();
        settle().await;
        assert_eq!(trace.take(), [4]);
        fourth.abort();
        settle().await;
        assert_eq!(semaphore.available(), 1);
    });
}

/// Or the permit is lost, and the program hangs (asyncio, gh-90155).
#[test]
fn a_waiter_that_is_aborted_after_it_was_woken_passes_its_permit_on() {
    run(async || {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = semaphore.acquire().await.expect("open");
        let [first, second] = [(); 2].map(|()| {
            let semaphore = Rc::clone(&semaphore);
            spawn(async move { drop(semaphore.acquire().await) })
        });
        settle().await;
        drop(permit);
        first.abort();
        second.await.expect("no panic");
        assert!(first.await.expect_err("aborted").is_cancelled());
        assert_eq!((semaphore.waiters(), semaphore.available()), (0, 1));
    });
}

#[test]
fn a_permit_that_is_promised_cannot_be_had_at_once() {
    run(async || {
        let semaphore = Rc::new(Semaphore::new(2));
        let (working, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (semaphore, working, most) = (Rc::clone(&semaphore), Rc::clone(&working), Rc::clone(&most));
                spawn(async move {
                    for _ in 0..10 {
                        let permit = match semaphore.try_acquire() {
                            Ok(permit) if number % 2 == 0 => permit,
                            _ => semaphore.acquire().await.expect("open"),
                        };
                        working.set(working.get() + 1);
                        most.set(most.get().max(working.get()));
                        yield_now().await;
                        working.set(working.get() - 1);
                        drop(permit);
                        assert!(semaphore.waiters() == 0 || semaphore.try_acquire().is_err());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!((most.get(), semaphore.available()), (2, 2));
    });
    let semaphore = Semaphore::new(1);
    let permit = semaphore.try_acquire().expect("free");
    let mut wait = ByHand::waiting(semaphore.acquire());
    drop(permit);
    assert_eq!(semaphore.try_acquire().err(), Some(AcquireError::WouldBlock));
    assert_eq!(semaphore.available(), 0);
    assert!(wait.ready().is_ok());
}

#[test]
fn one_who_asks_for_many_is_not_overtaken_and_no_longer_in_the_way_when_it_gives_up() {
    let semaphore = Semaphore::new(4);
    let mut out = semaphore.try_acquire_many(2).expect("free");
    let many = ByHand::waiting(semaphore.acquire_many(3));
    let mut few = [1, 1, 1].map(|count| ByHand::waiting(semaphore.acquire_many(count)));
    assert_eq!(semaphore.available(), 2);
    assert_eq!(semaphore.try_acquire().err(), Some(AcquireError::WouldBlock), "there are two, but others wait");
    drop(many);
    assert_eq!(few.each_ref().map(|wait| wait.was_woken()), [true, true, false], "as many as fit");
    drop(out.split(1));
    assert!(few[2].was_woken());
    let got = few.each_mut().map(ByHand::ready);
    assert!(got.iter().all(Result::is_ok));
    drop((got, out));
    assert_eq!(semaphore.available(), 4);
}

#[test]
fn many_permits_are_given_all_at_once() {
    let semaphore = Semaphore::new(3);
    let mut out: Vec<_> = (0..3).map(|_| semaphore.try_acquire().expect("free")).collect();
    let mut all = ByHand::waiting(semaphore.acquire_many(3));
    while let Some(permit) = out.pop() {
        assert!(!all.was_woken());
        drop(permit);
    }
    assert_eq!(all.ready().expect("open").count(), 3);
}

#[test]
fn many_that_were_given_and_not_taken_go_to_as_many_as_they_serve() {
    let semaphore = Semaphore::new(3);
    let out = semaphore.try_acquire_many(3).expect("free");
    let many = ByHand::waiting(semaphore.acquire_many(3));
    let mut few = [2, 1, 1].map(|count| ByHand::waiting(semaphore.acquire_many(count)));
    drop(out);
    assert!(many.was_woken() && !few[0].was_woken());
    drop(many);
    assert_eq!(few.each_ref().map(|wait| wait.was_woken()), [true, true, false]);
    drop(few[0].ready());
    drop(few.each_mut()[1..].iter_mut().map(|wait| wait.ready()).collect::<Vec<_>>());
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn below_the_number_that_is_out_nobody_gets_a_permit_and_raising_the_limit_wakes_as_many_as_are_spare() {
    let semaphore = Semaphore::new(5);
    let mut out: Vec<_> = (0..5).map(|_| semaphore.try_acquire().expect("free")).collect();
    let mut waits: Vec<_> = (0..6).map(|_| ByHand::waiting(semaphore.acquire())).collect();
    let woken = |waits: &[ByHand<_>]| waits.iter().filter(|wait| wait.was_woken()).count();
    semaphore.set_limit(2);
    assert_eq!((semaphore.limit(), semaphore.available()), (2, 0));
    out.truncate(2);
    assert_eq!(woken(&waits), 0, "two are out, two is the limit");
    drop(out.pop());
    assert_eq!(woken(&waits), 1);
    semaphore.set_limit(5);
    assert_eq!(woken(&waits), 4, "one is out, one was given, three are spare");
    semaphore.set_limit(5);
    assert_eq!(woken(&waits), 4);
    let mut got: Vec<_> = waits.drain(..4).map(|mut wait| wait.ready().expect("open")).collect();
    semaphore.set_limit(0);
    got.clear();
    drop(out);
    assert_eq!((woken(&waits), semaphore.available()), (0, 0));
    semaphore.set_limit(3);
    assert_eq!((woken(&waits), semaphore.available()), (2, 1));
}

#[test]
fn with_a_limit_of_zero_one_waits_until_it_is_raised() {
    let semaphore = Semaphore::new(0);
    assert_eq!(semaphore.try_acquire().err(), Some(AcquireError::WouldBlock));
    let mut wait = ByHand::waiting(semaphore.acquire());
    semaphore.set_limit(1);
    assert!(wait.ready().is_ok());
}

#[test]
fn no_permits_at_all_can_always_be_had_unless_others_wait() {
    let semaphore = Semaphore::new(1);
    let out = semaphore.try_acquire().expect("free");
    assert_eq!(semaphore.try_acquire_many(0).expect("none is needed").count(), 0);
    let one = ByHand::waiting(semaphore.acquire());
    let mut none = ByHand::waiting(semaphore.acquire_many(0));
    drop(one);
    assert_eq!(none.ready().expect("open").count(), 0);
    drop(out);
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn asking_for_more_than_there_are_fails_at_once() {
    let semaphore = Semaphore::new(2);
    let error = AcquireError::TooMany { wanted: 3, limit: 2 };
    assert_eq!(semaphore.try_acquire_many(3).err(), Some(error));
    assert_eq!(ByHand::new(semaphore.acquire_many(3)).ready().err(), Some(error));
    assert_eq!(
        error.to_string(),
        "3 permits were wanted of a semaphore that has 2: ask for fewer, or raise it with set_limit"
    );
    assert!(semaphore.try_acquire_many(usize::MAX).is_err());
    semaphore.set_limit(3);
    assert!(semaphore.try_acquire_many(3).is_ok());
    semaphore.close();
    assert_eq!(semaphore.try_acquire_many(4).err(), Some(AcquireError::Closed), "closed is told first");
}

#[test]
fn the_largest_number_of_permits_can_be_had_and_given_back() {
    let semaphore = Semaphore::new(usize::MAX);
    let most = semaphore.limit();
    assert!(most > usize::MAX / 8);
    drop(semaphore.try_acquire_many(most).expect("all"));
    semaphore.set_limit(usize::MAX);
    semaphore.set_limit(0);
    semaphore.set_limit(usize::MAX);
    assert_eq!((semaphore.limit(), semaphore.available()), (most, most));
}

#[test]
fn a_closed_semaphore_tells_those_who_wait_and_all_who_come() {
    run(async || {
        let semaphore = Rc::new(Semaphore::new(1));
        let out = semaphore.acquire().await.expect("open");
        let waits = spawn({
            let semaphore = Rc::clone(&semaphore);
            async move { semaphore.acquire().await.map(|permit| permit.count()) }
        });
        settle().await;
        semaphore.close();
        semaphore.close();
        assert_eq!(waits.await.expect("no panic").err(), Some(AcquireError::Closed));
        assert_eq!(semaphore.acquire().await.err(), Some(AcquireError::Closed));
        assert_eq!(semaphore.acquire_owned().await.err(), Some(AcquireError::Closed));
        assert_eq!(semaphore.try_acquire().err(), Some(AcquireError::Closed));
        assert!(semaphore.is_closed());
        drop(out);
        assert_eq!(semaphore.try_acquire().err(), Some(AcquireError::Closed));
        assert_eq!(semaphore.available(), 1);
    });
}

/// What was given before stays given: it may be polled after the semaphore was closed, or be dropped.
#[test]
fn a_permit_that_was_given_before_it_was_closed_stays_given() {
    let semaphore = Semaphore::new(2);
    let out = semaphore.try_acquire_many(2).expect("free");
    let mut first = ByHand::waiting(semaphore.acquire());
    let second = ByHand::waiting(semaphore.acquire());
    drop(out);
    semaphore.close();
    assert!(first.ready().is_ok());
    drop((first, second));
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_permit_that_is_split_goes_back_in_parts() {
    let semaphore = Semaphore::new(5);
    let mut five = semaphore.try_acquire_many(5).expect("free");
    assert!(five.split(6).is_none());
    let two = five.split(2).expect("five");
    assert_eq!((five.count(), two.count()), (3, 2));
    assert_eq!(five.split(0).map(|permit| permit.count()), Some(0));
    drop(two);
    assert_eq!(semaphore.available(), 2);
    drop(five);
    assert_eq!(semaphore.available(), 5);
}

#[test]
fn a_permit_that_is_forgotten_lowers_the_limit() {
    let semaphore = Semaphore::new(5);
    semaphore.try_acquire_many(2).expect("free").forget();
    assert_eq!((semaphore.limit(), semaphore.available()), (3, 3));
    assert_eq!(
        semaphore.try_acquire_many(4).err(),
        Some(AcquireError::TooMany { wanted: 4, limit: 3 }),
        "it is as if they had never been"
    );
    semaphore.set_limit(5);
    assert_eq!(semaphore.available(), 5);
}

/// Five are out where two may be. Three are over the limit; as the five go, nobody is owed anything.
#[test]
fn forgetting_more_permits_than_the_limit_leaves_none_owed() {
    let semaphore = Semaphore::new(5);
    let out = semaphore.try_acquire_many(5).expect("free");
    semaphore.set_limit(2);
    out.forget();
    assert_eq!((semaphore.limit(), semaphore.available()), (0, 0));
    semaphore.set_limit(3);
    assert_eq!((semaphore.limit(), semaphore.available()), (3, 3));
}

#[test]
fn owned_permits_keep_the_semaphore_alive() {
    run(async || {
        let semaphore = Rc::new(Semaphore::new(4));
        let permit = semaphore.acquire_owned().await.expect("open");
        let more = semaphore.acquire_many_owned(2).await.expect("open");
        let last = semaphore.try_acquire_owned().expect("free");
        assert_eq!(semaphore.try_acquire_owned().err(), Some(AcquireError::WouldBlock));
        let mut wait = ByHand::waiting(semaphore.acquire_owned());
        let seen = Rc::downgrade(&semaphore);
        drop(semaphore);
        drop((permit, last));
        assert!(wait.ready().is_ok());
        drop(wait);
        assert!(seen.upgrade().is_some());
        drop(more);
        assert!(seen.upgrade().is_none());
    });
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_their_permits() {
    let semaphore = Semaphore::new(3);
    let out = semaphore.try_acquire_many(3).expect("free");
    let mut waits: Vec<_> = (0..3).map(|_| ByHand::new(semaphore.acquire())).collect();
    assert!(waits[0].poll().is_pending() && waits[1].poll_with(&bomb()).is_pending() && waits[2].poll().is_pending());
    explodes(|| drop(out));
    assert!(waits[0].was_woken() && waits[2].was_woken());
    let got: Vec<_> = waits.iter_mut().map(|wait| wait.ready().expect("open")).collect();
    assert_eq!(got.iter().map(Permit::count).sum::<usize>(), 3);
    drop(got);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn it_can_be_used_on_any_executor() {
    let semaphore = Semaphore::new(2);
    block_on(async {
        let (one, two) = (semaphore.acquire().await, semaphore.acquire().await);
        assert!(one.is_ok() && two.is_ok());
    });
    assert_eq!(semaphore.available(), 2);
}
