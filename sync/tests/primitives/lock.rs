//! `Lock` and `RwLock`, and what all waits have in common.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use corering::task::yield_now;
use corering::{JoinHandle, spawn};
use corering_sync::{Lock, RwLock, WouldBlock, parked};

use crate::{Bell, ByHand, Trace, block_on, bomb, explodes, run, settle};

/// Takes the lock, says so, and holds it for a turn.
fn locks(lock: &Rc<Lock<()>>, trace: &Trace<u32>, name: u32) -> JoinHandle<()> {
    let (lock, trace) = (Rc::clone(lock), trace.clone());
    spawn(async move {
        let _guard = lock.lock().await;
        trace.log(name);
        yield_now().await;
    })
}

#[test]
fn one_who_comes_between_the_release_and_the_next_ones_turn_is_served_last() {
    run(async || {
        let (lock, trace) = (Rc::new(Lock::new(())), Trace::new());
        let guard = lock.lock().await;
        let _early = [locks(&lock, &trace, 1), locks(&lock, &trace, 2)];
        settle().await;
        drop(guard);
        let late = locks(&lock, &trace, 3);
        late.await.expect("no panic");
        assert_eq!(trace.take(), [1, 2, 3]);
    });
}

/// Also if it asks in the very moment of the release (asyncio, where an unlocked lock could be had by anybody).
#[test]
fn a_released_lock_belongs_to_the_first_who_waits_from_that_moment() {
    let lock = Lock::new(());
    let guard = ByHand::new(lock.lock()).ready();
    let mut first = ByHand::waiting(lock.lock());
    let mut second = ByHand::waiting(lock.lock());
    drop(guard);
    assert!(lock.is_locked());
    assert_eq!(lock.try_lock().err(), Some(WouldBlock));
    assert!(first.was_woken() && !second.was_woken());
    let mut late = ByHand::waiting(lock.lock());
    assert!(second.poll().is_pending(), "polled too early");
    drop(first.ready());
    drop(second.ready());
    drop(late.ready());
    assert!(!lock.is_locked() && lock.try_lock().is_ok());
    assert_eq!((first.rings(), second.rings(), late.rings()), (1, 1, 1));
}

#[test]
fn a_waiter_that_is_aborted_before_its_turn_is_as_if_it_had_never_come() {
    run(async || {
        let (lock, trace) = (Rc::new(Lock::new(())), Trace::new());
        let guard = lock.lock().await;
        let tasks = [1, 2, 3].map(|name| locks(&lock, &trace, name));
        settle().await;
        tasks[1].abort();
        settle().await;
        assert_eq!(lock.waiters(), 2);
        drop(guard);
        for task in tasks {
            let _ = task.await;
        }
        assert_eq!(trace.take(), [1, 3]);
        assert!(!lock.is_locked());
    });
}

/// Or the lock is lost (asyncio, bpo-27585, bpo-32734).
#[test]
fn a_waiter_that_is_aborted_after_it_was_chosen_passes_its_turn_on() {
    for abort_first in [false, true] {
        run(async || {
            let (lock, trace) = (Rc::new(Lock::new(())), Trace::new());
            let guard = lock.lock().await;
            let [first, second, third] = [1, 2, 3].map(|name| locks(&lock, &trace, name));
            settle().await;
            if abort_first {
                first.abort();
                drop(guard);
            } else {
                drop(guard);
                first.abort();
            }
            assert!(first.await.expect_err("aborted").is_cancelled());
            assert!(lock.is_locked(), "the second has it");
            assert_eq!(lock.waiters(), 1, "the third has not");
            second.await.expect("no panic");
            third.await.expect("no panic");
            assert_eq!(trace.take(), [2, 3], "abort first: {abort_first}");
            assert!(!lock.is_locked());
        });
    }
}

#[test]
fn the_last_waiter_that_is_dropped_after_it_was_chosen_leaves_the_lock_free() {
    let lock = Lock::new(());
    let guard = ByHand::new(lock.lock()).ready();
    let waiter = ByHand::waiting(lock.lock());
    drop(guard);
    drop(waiter);
    assert!(!lock.is_locked());
    assert!(lock.try_lock().is_ok());
}

#[test]
fn a_turn_is_passed_on_along_a_row_of_chosen_waiters_that_are_all_dropped() {
    let lock = Lock::new(());
    let guard = ByHand::new(lock.lock()).ready();
    let mut waiters: Vec<_> = (0..10).map(|_| ByHand::waiting(lock.lock())).collect();
    drop(guard);
    while waiters.len() > 1 {
        assert!(waiters[0].was_woken() && !waiters[1].was_woken());
        drop(waiters.remove(0));
    }
    drop(waiters[0].ready());
    assert!(!lock.is_locked());
}

#[test]
fn a_panic_or_an_abort_of_the_holder_releases_the_lock_and_poisons_nothing() {
    run(async || {
        let lock = Rc::new(Lock::new(1));
        let panics = spawn({
            let lock = Rc::clone(&lock);
            async move {
                *lock.lock().await = 2;
                let _guard = lock.lock().await;
                panic!("while it holds the lock");
            }
        });
        assert!(panics.await.expect_err("a panic").is_panic());
        assert_eq!(*lock.lock().await, 2);
        let sleeps = spawn({
            let lock = Rc::clone(&lock);
            async move {
                let mut guard = lock.lock_owned().await;
                *guard = 3;
                std::future::pending::<()>().await;
            }
        });
        settle().await;
        assert!(lock.is_locked());
        sleeps.abort();
        assert_eq!(*lock.lock().await, 3);
    });
}

#[test]
fn everybody_counts_to_a_thousand_without_losing_one() {
    run(async || {
        let lock = Rc::new(Lock::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let lock = Rc::clone(&lock);
                spawn(async move {
                    for _ in 0..100 {
                        let mut guard = lock.lock().await;
                        let seen = *guard;
                        yield_now().await;
                        *guard = seen + 1;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(*lock.lock().await, 1000);
    });
}

#[test]
fn owned_waits_and_guards_keep_the_lock_alive() {
    let lock = Rc::new(Lock::new(String::from("kept")));
    let guard = lock.try_lock_owned().expect("free");
    let mut waiter = ByHand::waiting(lock.lock_owned());
    let seen = Rc::downgrade(&lock);
    drop(lock);
    assert_eq!(*guard, "kept");
    drop(guard);
    assert!(waiter.was_woken());
    let guard = waiter.ready();
    drop(waiter);
    assert_eq!(*guard, "kept");
    drop(guard);
    assert!(seen.upgrade().is_none(), "nobody holds it any more");
}

/// A future that is forgotten is never dropped: it stays in the queue, and stays alive.
#[test]
fn a_forgotten_wait_does_no_harm_to_what_is_touched_later() {
    let lock = Rc::new(Lock::new(()));
    let guard = lock.try_lock_owned().expect("free");
    std::mem::forget(ByHand::waiting(lock.lock_owned()));
    let behind = ByHand::waiting(lock.lock_owned());
    assert_eq!(lock.waiters(), 2);
    drop(guard);
    assert!(lock.is_locked(), "the forgotten one has it for ever");
    assert!(!behind.was_woken());
    drop(behind);
    assert_eq!(lock.waiters(), 0);
    drop(lock);
}

#[test]
fn a_lock_may_be_dropped_and_moved_while_a_forgotten_wait_lies_in_its_queue() {
    let lock = Box::new(Lock::new(7));
    let guard = lock.try_lock().expect("free");
    std::mem::forget(ByHand::waiting(lock.lock()));
    drop(guard);
    let moved = *lock;
    assert!(moved.is_locked());
    assert_eq!(moved.into_inner(), 7);
}

#[test]
fn a_wait_wakes_only_whoever_polled_it_last() {
    let lock = Lock::new(());
    let guard = lock.try_lock().expect("free");
    let mut waiter = ByHand::new(lock.lock());
    let bells: [Arc<Bell>; 3] = Default::default();
    for bell in [&bells[0], &bells[1], &bells[1], &bells[2], &bells[1]] {
        assert!(waiter.poll_with(&Waker::from(Arc::clone(bell))).is_pending());
    }
    assert_eq!(lock.waiters(), 1);
    assert_eq!(Arc::strong_count(&bells[0]), 1, "the old waker is kept");
    drop(guard);
    assert_eq!(bells.each_ref().map(|bell| bell.rings()), [0, 1, 0]);
    drop(waiter);
    assert_eq!(bells.each_ref().map(Arc::strong_count), [1; 3], "a waker is kept");
}

#[test]
fn dropping_a_wait_lets_its_waker_go() {
    let lock = Lock::new(());
    let _guard = lock.try_lock().expect("free");
    let bell = Arc::new(Bell::default());
    let mut waiter = ByHand::new(lock.lock());
    assert!(waiter.poll_with(&Waker::from(Arc::clone(&bell))).is_pending());
    assert_eq!(Arc::strong_count(&bell), 2);
    drop(waiter);
    assert_eq!(Arc::strong_count(&bell), 1);
}

#[test]
#[should_panic(expected = "Lock::lock was polled after it had given its result")]
fn a_wait_that_is_polled_after_its_end_says_so() {
    let lock = Lock::new(());
    let mut wait = ByHand::new(lock.lock());
    drop(wait.ready());
    let _ = wait.poll();
}

#[test]
fn waits_are_polled_on_any_executor() {
    let lock = Rc::new(Lock::new(1));
    assert_eq!(block_on(async { *lock.lock().await }), 1);
    // Two halves of one future, of which one waits for the other.
    let guard = lock.try_lock_owned().expect("free");
    let mut release = Some(guard);
    let mut waiter = ByHand::new(lock.lock());
    let seen = block_on(std::future::poll_fn(move |cx| {
        let polled = waiter.poll_with(cx.waker()).map(|guard| *guard);
        drop(release.take());
        polled
    }));
    assert_eq!(seen, 1);
}

#[test]
fn a_waker_that_panics_is_told_to_whoever_releases_and_the_lock_is_not_lost() {
    let lock = Lock::new(());
    let guard = lock.try_lock().expect("free");
    let mut first = ByHand::new(lock.lock());
    assert!(first.poll_with(&bomb()).is_pending());
    let mut second = ByHand::waiting(lock.lock());
    explodes(|| drop(guard));
    drop(first.ready());
    drop(second.ready());
    assert!(!lock.is_locked());
}

#[test]
fn a_wait_says_who_waits_and_where_until_it_has_had_its_turn() {
    assert!(parked::on_this_thread().is_empty());
    let lock = Lock::new(());
    let guard = lock.try_lock().expect("free");
    let line = line!() + 1;
    let mut waiter = ByHand::waiting(lock.lock());
    let told = |chosen: bool| {
        let all = parked::on_this_thread();
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!((one.what, one.at.file(), one.at.line()), ("Lock::lock", file!(), line));
        assert_eq!((one.is_chosen, one.held_by_itself), (chosen, false));
    };
    told(false);
    let other = ByHand::waiting(lock.lock());
    assert_eq!(parked::on_this_thread().len(), 2);
    drop(other);
    told(false);
    drop(guard);
    told(true);
    let guard = waiter.ready();
    assert!(parked::on_this_thread().is_empty());
    drop(guard);
}

/// A waker may point to nothing, as that of a lock that was taken without one does.
#[test]
fn a_wait_for_a_lock_says_whether_its_own_task_holds_it() {
    let told = || parked::on_this_thread().iter().map(|one| one.held_by_itself).collect::<Vec<_>>();
    let lock = Lock::new(());
    let (mine, other) = (Waker::from(Arc::new(Bell::default())), Waker::from(Arc::new(Bell::default())));
    let Poll::Ready(guard) = ByHand::new(lock.lock()).poll_with(&mine) else { panic!("free") };
    let mut wait = ByHand::new(lock.lock());
    assert!(wait.poll_with(&mine).is_pending());
    assert_eq!(told(), [true]);
    drop(wait);
    let mut wait = ByHand::new(lock.lock());
    assert!(wait.poll_with(&other).is_pending());
    assert_eq!(told(), [false]);
    drop((wait, guard));
    let _guard = lock.try_lock().expect("free");
    let mut wait = ByHand::new(lock.lock());
    assert!(wait.poll_with(Waker::noop()).is_pending());
    assert_eq!(told(), [false], "nobody knows who holds it");
}

#[test]
fn a_lock_shows_what_it_guards_only_when_nobody_holds_it() {
    let mut lock = Lock::new(5);
    assert_eq!(format!("{lock:?}"), "Lock { value: 5, waiters: 0 }");
    let guard = lock.try_lock().expect("free");
    assert_eq!(format!("{guard:?} {lock:?}"), "5 Lock { value: <locked>, waiters: 0 }");
    drop(guard);
    *lock.get_mut() += 1;
    assert_eq!(*Lock::<i32>::default().try_lock().expect("free"), 0);
    let whole: Rc<Lock<[i32]>> = Rc::new(Lock::new([1, 2]));
    whole.try_lock().expect("free")[1] = 3;
    assert_eq!(*block_on(whole.lock_owned()), [1, 3]);
    assert_eq!(lock.into_inner(), 6);
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    let lock = RwLock::new(1);
    let readers = [lock.try_read().expect("free"), lock.try_read().expect("read only")];
    assert_eq!(lock.try_write().err(), Some(WouldBlock));
    assert_eq!(*readers[0] + *readers[1], 2);
    drop(readers);
    let mut writer = lock.try_write().expect("free");
    *writer = 2;
    assert_eq!(lock.try_read().err(), Some(WouldBlock));
    assert_eq!(lock.try_write().err(), Some(WouldBlock));
    drop(writer);
    assert_eq!(*lock.try_read().expect("free"), 2);
}

#[test]
fn readers_that_come_after_a_waiting_writer_wait_for_it() {
    let lock = RwLock::new(());
    let reading = lock.try_read().expect("free");
    let mut writer = ByHand::waiting(lock.write());
    let mut readers = [ByHand::waiting(lock.read()), ByHand::waiting(lock.read())];
    let mut second_writer = ByHand::waiting(lock.write());
    let mut last = ByHand::waiting(lock.read());
    assert_eq!(lock.try_read().err(), Some(WouldBlock), "others wait");
    assert_eq!(lock.waiters(), 5);
    drop(reading);
    let writing = writer.ready();
    assert!(!readers[0].was_woken() && !readers[1].was_woken());
    drop(writing);
    let reading = [readers[0].ready(), readers[1].ready()];
    assert!(!second_writer.was_woken() && !last.was_woken());
    drop(reading);
    drop(second_writer.ready());
    drop(last.ready());
    assert!(lock.try_write().is_ok());
}

#[test]
fn readers_behind_a_writer_that_gives_up_come_in_at_once() {
    let lock = RwLock::new(());
    let reading = lock.try_read().expect("free");
    let writer = ByHand::waiting(lock.write());
    let mut readers = [ByHand::waiting(lock.read()), ByHand::waiting(lock.read())];
    drop(writer);
    assert!(readers.iter().all(ByHand::was_woken));
    let more = readers.each_mut().map(ByHand::ready);
    assert!(lock.try_write().is_err());
    drop((reading, more));
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_writer_that_is_dropped_after_it_was_chosen_passes_all_it_had_on() {
    let lock = RwLock::new(());
    let reading = lock.try_read().expect("free");
    let writer = ByHand::waiting(lock.write());
    let mut readers = [ByHand::waiting(lock.read()), ByHand::waiting(lock.read())];
    drop(reading);
    assert!(writer.was_woken() && !readers[0].was_woken());
    drop(writer);
    drop(readers.each_mut().map(ByHand::ready));
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_reader_that_is_dropped_after_it_was_chosen_does_not_keep_writers_out() {
    let lock = RwLock::new(());
    let writing = lock.try_write().expect("free");
    let reader = ByHand::waiting(lock.read());
    let mut writer = ByHand::waiting(lock.write());
    drop(writing);
    assert!(reader.was_woken() && !writer.was_woken());
    drop(reader);
    drop(writer.ready());
}

#[test]
fn a_writer_that_goes_on_as_reader_lets_readers_in_and_no_writer() {
    let lock = RwLock::new(1);
    let mut writing = lock.try_write().expect("free");
    let mut reader = ByHand::waiting(lock.read());
    let mut writer = ByHand::waiting(lock.write());
    let mut behind = ByHand::waiting(lock.read());
    *writing = 2;
    let reading = writing.downgrade();
    assert_eq!((*reading, *reader.ready()), (2, 2));
    assert!(!writer.was_woken() && !behind.was_woken());
    drop(reading);
    *writer.ready() = 3;
    assert_eq!(*behind.ready(), 3);
    assert!(lock.try_write().is_ok(), "all is back");
}

#[test]
fn a_waker_that_panics_while_a_writer_becomes_a_reader_leaves_the_lock_usable() {
    let lock = RwLock::new(());
    let writing = lock.try_write().expect("free");
    let mut first = ByHand::new(lock.read());
    assert!(first.poll_with(&bomb()).is_pending());
    let mut second = ByHand::waiting(lock.read());
    explodes(|| drop(writing.downgrade()));
    drop(first.ready());
    drop(second.ready());
    assert!(lock.try_write().is_ok(), "a permit is lost");
}

#[test]
fn owned_guards_of_readers_and_writers_keep_the_lock_alive() {
    run(async || {
        let lock = Rc::new(RwLock::new(Rc::new(Cell::new(0))));
        let value = Rc::clone(&*lock.read().await);
        let writing = lock.write_owned().await;
        let task = spawn({
            let lock = Rc::clone(&lock);
            async move {
                let reading = lock.read_owned().await;
                drop(lock);
                reading.set(reading.get() + 1);
            }
        });
        drop(lock);
        settle().await;
        assert_eq!(value.get(), 0);
        writing.set(10);
        drop(writing);
        task.await.expect("no panic");
        assert_eq!((value.get(), Rc::strong_count(&value)), (11, 1));
    });
}

#[test]
fn a_reader_writer_lock_shows_what_it_guards_only_when_nobody_writes() {
    let mut lock = RwLock::new(5);
    let reading = lock.try_read().expect("free");
    assert_eq!(format!("{lock:?} {reading:?}"), "RwLock { value: 5, waiters: 0 } 5");
    drop(reading);
    let writing = lock.try_write().expect("free");
    assert_eq!(format!("{lock:?} {writing:?}"), "RwLock { value: <locked>, waiters: 0 } 5");
    drop(writing);
    *lock.get_mut() += 1;
    assert_eq!(lock.into_inner(), 6);
}
