//! Promises, oneshots, watches, broadcasts, once cells, cancellation tokens and rate limiters.

use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corering::sync::RateLimiter;
use corering::task::yield_now;
use corering::time::{Instant, sleep};
use corering::{JoinHandle, spawn};
use corering_sync::{
    Abandoned, AcquireError, AlreadySet, Broken, CancellationToken, Closed, OnceCell, RecvError, TryGetError,
    WouldBlock, broadcast, oneshot, promise, watch,
};

use crate::{Bell, ByHand, Trace, block_on, bomb, explodes, run, settle};

#[test]
fn one_set_wakes_all_who_wait_for_a_promise_in_order_and_a_second_returns_its_value() {
    run(async || {
        let (promise, promised) = promise();
        let trace = Trace::new();
        let tasks = [1, 2, 3].map(|name: u32| {
            let (promised, trace) = (promised.clone(), trace.clone());
            spawn(async move { trace.log((name, *promised.wait().await.expect("set"))) })
        });
        settle().await;
        assert_eq!((promise.waiters(), promise.is_settled(), promised.get()), (3, false, None));
        assert_eq!(promise.set("one"), Ok(()));
        assert_eq!(promise.set("two"), Err(AlreadySet("two")));
        assert!(!promise.cancel(), "it has its value");
        assert!(promise.is_settled() && promised.is_settled());
        assert_eq!(promised.get(), Some(Ok(&"one")));
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(trace.take(), [(1, "one"), (2, "one"), (3, "one")]);
        drop(promise);
        assert_eq!(promised.await, Ok("one"), "late, and by itself");
    });
}

#[test]
fn a_promise_may_be_set_when_nobody_waits_any_more() {
    let (promise, promised) = promise();
    drop(ByHand::waiting(promised.wait()));
    drop(promised);
    assert_eq!(promise.waiters(), 0);
    assert_eq!(promise.set(1), Ok(()));
    assert_eq!(promise.set(2), Err(AlreadySet(2)));
}

#[test]
fn a_promise_that_is_cancelled_or_dropped_is_told_to_all_who_wait() {
    let cancel = |promise: &corering_sync::Promise<u32>| {
        assert!(promise.cancel());
        assert!(!promise.cancel());
        assert_eq!(promise.set(1), Err(AlreadySet(1)));
    };
    for dropped in [false, true] {
        let (promise, promised) = promise::<u32>();
        let (mut borrows, mut owns) = (ByHand::waiting(promised.wait()), ByHand::waiting(promised.clone()));
        if dropped {
            drop(promise)
        } else {
            cancel(&promise)
        }
        assert_eq!(borrows.ready(), Err(Abandoned));
        assert_eq!(owns.ready(), Err(Abandoned));
        assert_eq!(promised.get(), Some(Err(Abandoned)));
    }
}

#[test]
fn waits_for_a_promise_may_be_dropped_also_after_it_was_set() {
    let (promise, promised) = promise();
    let (before, after) = (ByHand::waiting(&promised), ByHand::waiting(&promised));
    drop(before);
    assert_eq!(promise.set(String::from("kept")), Ok(()));
    drop(after);
    assert_eq!(block_on(&promised), Ok(&String::from("kept")));
}

#[test]
fn an_owned_wait_for_a_promise_keeps_it_alive() {
    let (promise, promised) = promise();
    let mut wait = ByHand::waiting(promised);
    assert_eq!(promise.set(7), Ok(()));
    drop(promise);
    assert_eq!(wait.ready(), Ok(7));
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_a_promise() {
    let (promise, promised) = promise();
    let mut waits = [ByHand::new(&promised), ByHand::waiting(&promised)];
    assert!(waits[0].poll_with(&bomb()).is_pending());
    explodes(|| promise.set(1));
    assert_eq!(promised.get(), Some(Ok(&1)));
    let mut again = ByHand::new(&promised);
    assert_eq!(again.ready(), Ok(&1));
    assert_eq!(waits.each_mut().map(ByHand::ready), [Ok(&1); 2]);
}

#[test]
fn one_value_goes_to_one_receiver() {
    run(async || {
        let (sender, receiver) = oneshot::channel();
        let task = spawn(receiver.into_future());
        settle().await;
        assert!(!sender.is_closed());
        assert_eq!(sender.send(1), Ok(()));
        assert_eq!(task.await.expect("no panic"), Ok(1));
    });
}

#[test]
fn a_receiver_may_look_give_up_and_wait_again_without_losing_the_value() {
    let (sender, mut receiver) = oneshot::channel();
    assert_eq!(receiver.try_recv(), Ok(None));
    drop(ByHand::waiting(receiver.recv()));
    let chosen = ByHand::waiting(receiver.recv());
    assert_eq!(sender.send(1), Ok(()));
    assert!(chosen.was_woken());
    drop(chosen);
    assert_eq!(receiver.try_recv(), Ok(Some(1)));
    assert_eq!(receiver.try_recv(), Err(Abandoned));
    assert_eq!(block_on(receiver.recv()), Err(Abandoned));
    assert_eq!(block_on(receiver), Err(Abandoned));
}

#[test]
fn a_sender_that_goes_without_sending_is_told_to_the_receiver() {
    let (sender, mut receiver) = oneshot::channel::<u32>();
    let mut wait = ByHand::waiting(receiver.recv());
    drop(sender);
    assert_eq!(wait.ready(), Err(Abandoned));
    drop(wait);
    assert_eq!(receiver.try_recv(), Err(Abandoned));
}

#[test]
fn a_receiver_that_goes_is_told_to_the_sender_which_keeps_its_value() {
    let (mut sender, receiver) = oneshot::channel();
    drop(ByHand::waiting(sender.closed()));
    let mut closed = ByHand::waiting(sender.closed());
    drop(receiver);
    closed.ready();
    drop(closed);
    ByHand::new(sender.closed()).ready();
    assert!(sender.is_closed());
    assert_eq!(sender.send(1), Err(1));
}

#[test]
fn a_value_that_nobody_fetches_is_dropped_with_the_receiver() {
    let value = Rc::new(());
    let (sender, receiver) = oneshot::channel();
    assert!(sender.send(Rc::clone(&value)).is_ok());
    assert_eq!(Rc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
    let (sender, receiver) = oneshot::channel();
    let wait = ByHand::waiting(receiver);
    assert!(sender.send(Rc::clone(&value)).is_ok());
    drop(wait);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_follower_sees_the_latest_value_and_is_told_once() {
    run(async || {
        let (sender, mut receiver) = watch::channel(0);
        assert!(!receiver.has_changed());
        let mut early = receiver.clone();
        sender.send(1);
        sender.send(2);
        assert!(receiver.has_changed());
        assert_eq!(receiver.changed().await, Ok(()));
        assert!(!receiver.has_changed());
        assert_eq!((*receiver.latest(), *sender.latest()), (2, 2));
        assert!(ByHand::new(receiver.changed()).poll().is_pending());
        assert!(early.has_changed(), "each for itself");
        assert!(!early.clone().latest().eq(&0.into()) && early.has_changed());
        assert_eq!(*early.latest(), 2);
        assert!(!early.has_changed(), "looking counts as being told");
        assert!(!sender.subscribe().has_changed(), "a new one has seen the value of now");
        sender.modify(|value| *value += 40);
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!(*receiver.latest(), 42);
    });
}

#[test]
fn a_change_wakes_all_who_follow_in_order() {
    run(async || {
        let (sender, receiver) = watch::channel(0);
        let trace = Trace::new();
        let tasks = [1, 2, 3].map(|name: u32| {
            let (mut receiver, trace) = (receiver.clone(), trace.clone());
            spawn(async move {
                while receiver.changed().await.is_ok() {
                    trace.log((name, *receiver.latest()));
                }
            })
        });
        settle().await;
        sender.send(1);
        settle().await;
        assert_eq!(trace.take(), [(1, 1), (2, 1), (3, 1)]);
        sender.send(2);
        sender.send(3);
        settle().await;
        assert_eq!(trace.take(), [(1, 3), (2, 3), (3, 3)]);
        sender.send(4);
        drop(sender);
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(trace.take(), [(1, 4), (2, 4), (3, 4)], "the last value is told before the end");
    });
}

#[test]
fn a_wait_for_a_change_that_is_dropped_after_it_was_woken_does_not_lose_the_change() {
    let (sender, mut receiver) = watch::channel(0);
    let woken = ByHand::waiting(receiver.changed());
    sender.send(1);
    drop(woken);
    assert!(receiver.has_changed());
    assert_eq!(block_on(receiver.changed()), Ok(()));
}

#[test]
fn a_follower_is_told_when_the_last_sender_has_gone() {
    let (sender, mut receiver) = watch::channel(0);
    let second = sender.clone();
    let mut wait = ByHand::waiting(receiver.changed());
    drop(sender);
    assert!(wait.poll().is_pending());
    drop(second);
    assert_eq!(wait.ready(), Err(Closed(())));
    drop(wait);
    assert_eq!(block_on(receiver.changed()), Err(Closed(())));
    assert_eq!(*receiver.latest(), 0);
}

#[test]
fn a_follower_waits_for_a_value_that_suits_it() {
    run(async || {
        let (sender, mut receiver) = watch::channel(5);
        assert_eq!(receiver.wait_for(|value| *value == 5).await.as_deref(), Ok(&5), "looks at once");
        let mut other = receiver.clone();
        let task = spawn(async move { other.wait_for(|value| *value > 7).await.map(|value| *value) });
        for value in 6..=8 {
            settle().await;
            assert!(!task.is_finished());
            sender.send(value);
        }
        assert_eq!(task.await.expect("no panic"), Ok(8));
        drop(sender);
        assert_eq!(receiver.wait_for(|value| *value == 8).await.as_deref(), Ok(&8), "the last counts");
        assert_eq!(receiver.wait_for(|value| *value == 9).await, Err(Closed(())));
    });
}

#[test]
fn a_value_that_was_replaced_lives_as_long_as_somebody_looks_at_it() {
    let (old, new) = (Rc::new(1), Rc::new(2));
    let (sender, mut receiver) = watch::channel(Rc::clone(&old));
    let looks = receiver.latest();
    sender.send(Rc::clone(&new));
    assert_eq!((**looks, **receiver.latest()), (1, 2));
    assert_eq!(Rc::strong_count(&old), 2);
    drop(looks);
    assert_eq!(Rc::strong_count(&old), 1);
    let mut wait = ByHand::new(receiver.wait_for(|value| **value == 9));
    assert!(wait.poll().is_pending());
    sender.send(Rc::new(3));
    assert_eq!(Rc::strong_count(&new), 1, "who waits looks at nothing");
}

#[test]
fn a_sender_is_told_when_nobody_follows() {
    let (sender, receiver) = watch::channel(0);
    let second = sender.subscribe();
    assert_eq!(sender.receivers(), 2);
    let mut closed = ByHand::waiting(sender.closed());
    drop(receiver);
    assert!(closed.poll().is_pending());
    drop(second);
    closed.ready();
    block_on(sender.closed());
    sender.send(1);
    let mut late = sender.subscribe();
    assert_eq!(*late.latest(), 1, "values are kept although nobody follows");
}

/// A change that panics has not happened.
#[test]
fn a_change_that_panics_leaves_the_value_as_it_was() {
    let (sender, mut receiver) = watch::channel(String::from("whole"));
    explodes(|| {
        sender.modify(|value| {
            value.clear();
            std::panic::panic_any("a waker that panics");
        });
    });
    assert!(!receiver.has_changed());
    assert_eq!(*receiver.latest(), "whole");
}

#[test]
fn a_change_may_look_at_the_value_before() {
    let (sender, _receiver) = watch::channel(20);
    sender.modify(|value| *value += 2 + *sender.latest());
    assert_eq!(*sender.latest(), 42);
}

#[test]
fn everybody_receives_every_value_that_is_sent_after_they_came() {
    run(async || {
        let (sender, mut first) = broadcast::channel(8);
        assert_eq!(sender.send(1), Ok(1));
        let mut second = sender.subscribe();
        assert_eq!(sender.receivers(), 2);
        assert_eq!(sender.send(2), Ok(2));
        assert_eq!((first.recv().await, first.recv().await), (Ok(1), Ok(2)));
        assert_eq!(second.recv().await, Ok(2));
        assert_eq!((first.try_recv(), second.try_recv()), (Err(TryGetError::Empty), Err(TryGetError::Empty)));
        let tasks = [first, second].map(|mut receiver| spawn(async move { receiver.recv().await }));
        settle().await;
        assert_eq!(sender.send(3), Ok(2));
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), Ok(3));
        }
        assert_eq!(sender.send(4), Err(Closed(4)), "both have gone");
    });
}

#[test]
fn a_slow_receiver_is_told_how_many_it_missed_and_goes_on_with_the_oldest() {
    let (sender, mut slow) = broadcast::channel(2);
    let mut fast = sender.subscribe();
    for value in 0..5 {
        assert_eq!(sender.send(value), Ok(2));
        assert_eq!(fast.try_recv(), Ok(value));
    }
    assert_eq!(block_on(slow.recv()), Err(RecvError::Lagged(3)));
    assert_eq!((block_on(slow.recv()), block_on(slow.recv())), (Ok(3), Ok(4)));
    assert_eq!(slow.try_recv(), Err(TryGetError::Empty));
    for value in 5..9 {
        assert_eq!(sender.send(value), Ok(2));
    }
    assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(7), Ok(8)), "passes over what was missed");
}

#[test]
fn one_that_was_woken_and_is_too_slow_then_is_told_so() {
    let (sender, mut receiver) = broadcast::channel(1);
    let mut wait = ByHand::waiting(receiver.recv());
    assert_eq!(sender.send(1), Ok(1));
    assert_eq!(sender.send(2), Ok(1));
    assert_eq!(wait.ready(), Err(RecvError::Lagged(1)));
    drop(wait);
    let chosen = ByHand::new(receiver.recv());
    drop(chosen);
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn receivers_get_what_is_left_when_the_senders_have_gone() {
    let (sender, mut receiver) = broadcast::channel(2);
    let second = sender.clone();
    assert_eq!(second.send(1), Ok(1));
    drop(sender);
    assert_eq!(receiver.try_recv(), Ok(1));
    let mut wait = ByHand::waiting(receiver.recv());
    drop(second);
    assert_eq!(wait.ready(), Err(RecvError::Closed));
    drop(wait);
    assert_eq!(receiver.try_recv(), Err(TryGetError::Closed));
    assert_eq!(
        [RecvError::Closed.to_string(), RecvError::Lagged(3).to_string()],
        ["all senders have gone, and nothing is left", "the receiver was too slow: 3 values were dropped"]
    );
}

#[test]
fn a_value_is_kept_only_until_all_have_had_it() {
    let value = Rc::new(());
    let (sender, mut first) = broadcast::channel(4);
    let second = sender.subscribe();
    for _ in 0..3 {
        assert!(sender.send(Rc::clone(&value)).is_ok());
    }
    drop(first.try_recv());
    assert_eq!(Rc::strong_count(&value), 4, "the second has had none");
    drop(second);
    assert_eq!(Rc::strong_count(&value), 3, "it will have none");
    drop(first.try_recv());
    assert_eq!(Rc::strong_count(&value), 2);
    for _ in 0..9 {
        assert!(sender.send(Rc::clone(&value)).is_ok());
    }
    assert_eq!(Rc::strong_count(&value), 5, "four are kept");
    drop(first);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_waker_that_panics_does_not_keep_others_from_a_value() {
    let (sender, mut first) = broadcast::channel(2);
    let mut second = sender.subscribe();
    let mut waits = [ByHand::new(first.recv()), ByHand::waiting(second.recv())];
    assert!(waits[0].poll_with(&bomb()).is_pending());
    explodes(|| sender.send(1));
    assert!(waits[1].was_woken());
    assert_eq!(waits.each_mut().map(ByHand::ready), [Ok(1); 2]);
}

#[test]
fn a_broadcast_without_room_is_refused() {
    assert!(std::panic::catch_unwind(|| drop(broadcast::channel::<()>(0))).is_err());
}

#[test]
fn a_value_is_made_once_and_everybody_waits_for_it() {
    run(async || {
        let (cell, made) = (Rc::new(OnceCell::new()), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..5)
            .map(|name| {
                let (cell, made) = (Rc::clone(&cell), Rc::clone(&made));
                spawn(async move {
                    *cell
                        .get_or_init(async || {
                            made.set(made.get() + 1);
                            sleep(Duration::from_secs(1)).await;
                            name
                        })
                        .await
                })
            })
            .collect();
        settle().await;
        assert_eq!(cell.get(), None);
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), 0);
        }
        assert_eq!((made.get(), cell.get()), (1, Some(&0)));
        assert_eq!(Rc::into_inner(cell).expect("alone").into_inner(), Some(0));
    });
}

#[test]
fn when_the_one_who_makes_the_value_is_aborted_fails_or_panics_the_next_one_makes_it() {
    run(async || {
        let cell = Rc::new(OnceCell::new());
        let aborted = spawn({
            let cell = Rc::clone(&cell);
            async move { *cell.get_or_init(async || std::future::pending().await).await }
        });
        settle().await;
        let fails = spawn({
            let cell = Rc::clone(&cell);
            async move { cell.get_or_try_init(async || Err("no")).await.copied() }
        });
        let panics = spawn({
            let cell = Rc::clone(&cell);
            async move { *cell.get_or_init(async || panic!("while it is made")).await }
        });
        let makes = spawn({
            let cell = Rc::clone(&cell);
            async move {
                cell.get_or_try_init(async || {
                    yield_now().await;
                    Ok::<_, &str>(4)
                })
                .await
                .copied()
            }
        });
        settle().await;
        assert!(!fails.is_finished() && !makes.is_finished());
        aborted.abort();
        assert_eq!(fails.await.expect("no panic"), Err("no"));
        assert!(panics.await.expect_err("a panic").is_panic());
        assert_eq!(makes.await.expect("no panic"), Ok(4));
        assert_eq!(cell.get_or_try_init(async || Err::<_, ()>(())).await, Ok(&4));
    });
}

#[test]
fn a_value_is_set_at_most_once() {
    let cell = OnceCell::default();
    let mut making = ByHand::waiting(cell.get_or_init(async || {
        yield_now().await;
        1
    }));
    assert_eq!(cell.set(2), Ok(()));
    assert_eq!(cell.set(3), Err(AlreadySet(3)));
    assert_eq!(making.ready(), &2, "the first stays");
    assert_eq!(block_on(cell.get_or_init(async || 4)), &2);
}

#[test]
fn a_token_tells_all_who_wait_and_all_its_children() {
    run(async || {
        let token = CancellationToken::new();
        let (child, sibling) = (token.child_token(), token.child_token());
        let grandchild = child.child_token();
        let trace = Trace::new();
        let waits = |token: &CancellationToken, name: &'static str| -> JoinHandle<()> {
            let (token, trace) = (token.clone(), trace.clone());
            spawn(async move {
                token.cancelled().await;
                trace.log(name);
            })
        };
        let mut tasks = vec![waits(&token, "token"), waits(&sibling, "sibling"), waits(&grandchild, "grandchild")];
        settle().await;
        child.cancel();
        settle().await;
        assert_eq!(trace.take(), ["grandchild"]);
        assert!(child.is_cancelled() && grandchild.is_cancelled());
        assert!(!token.is_cancelled() && !sibling.is_cancelled());
        tasks.push(waits(&token, "another"));
        settle().await;
        token.clone().cancel();
        token.cancel();
        settle().await;
        let mut told = trace.take();
        told.sort_unstable();
        assert_eq!(told, ["another", "sibling", "token"]);
        token.cancelled().await;
        assert!(token.child_token().is_cancelled());
    });
}

#[test]
fn all_are_marked_before_anybody_is_woken() {
    struct Looks(std::sync::Mutex<Vec<bool>>, std::thread::ThreadId);
    thread_local! {
        static TOKENS: RefCell<Vec<CancellationToken>> = const { RefCell::new(Vec::new()) };
    }
    impl std::task::Wake for Looks {
        fn wake(self: Arc<Self>) {
            assert_eq!(std::thread::current().id(), self.1);
            let mut seen = self.0.lock().expect("not poisoned");
            TOKENS.with_borrow(|tokens| seen.extend(tokens.iter().map(CancellationToken::is_cancelled)));
        }
    }
    let token = CancellationToken::default();
    let child = token.child_token();
    TOKENS.set(vec![token.clone(), child.clone(), child.child_token()]);
    let looks = Arc::new(Looks(std::sync::Mutex::default(), std::thread::current().id()));
    let mut waits = [ByHand::new(token.cancelled()), ByHand::new(child.cancelled())];
    for wait in &mut waits {
        assert!(wait.poll_with(&Arc::clone(&looks).into()).is_pending());
    }
    token.cancel();
    assert_eq!(*looks.0.lock().expect("not poisoned"), [true; 6]);
    TOKENS.take();
}

#[test]
fn children_of_a_child_that_is_gone_are_still_told() {
    let token = CancellationToken::new();
    let child = token.child_token();
    let grandchild = child.child_token();
    drop(child);
    let mut wait = ByHand::waiting(grandchild.cancelled());
    token.cancel();
    wait.ready();
}

/// How many children it tells.
fn children(token: &CancellationToken) -> usize {
    let shown = format!("{token:?}");
    let (_, count) = shown.split_once("children: ").expect("it shows them");
    count.split(|c: char| !c.is_ascii_digit()).next().expect("a number").parse().expect("a number")
}

/// The list of a token that lives long, and has a child for every connection, must not grow.
#[test]
fn a_child_that_is_dropped_leaves_nothing_behind() {
    let token = CancellationToken::new();
    let kept = token.child_token();
    for _ in 0..1000 {
        let child = token.child_token();
        drop(child.child_token());
    }
    assert_eq!(children(&token), 1);
    drop(kept.clone());
    assert_eq!(children(&token), 1);
    drop(kept);
    assert_eq!(children(&token), 0);
}

#[test]
fn a_long_line_of_children_is_cancelled_and_dropped_without_running_out_of_stack() {
    for cancelled in [false, true] {
        let token = CancellationToken::new();
        let mut last = token.child_token();
        for _ in 0..200_000 {
            last = last.child_token();
        }
        if cancelled {
            token.cancel();
            assert!(last.is_cancelled());
        }
        drop(last);
        assert_eq!(children(&token), 0);
    }
}

#[test]
fn a_future_is_dropped_when_the_token_is_cancelled_first() {
    run(async || {
        let token = CancellationToken::new();
        assert_eq!(token.run_until_cancelled(async { 1 }).await, Some(1));
        let held = Rc::new(());
        let task = spawn({
            let (token, held) = (token.clone(), Rc::clone(&held));
            async move {
                token
                    .run_until_cancelled(async move {
                        let _held = held;
                        std::future::pending::<()>().await;
                    })
                    .await
            }
        });
        settle().await;
        assert_eq!(Rc::strong_count(&held), 2);
        token.cancel();
        assert_eq!(task.await.expect("no panic"), None);
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(token.run_until_cancelled(async { 2 }).await, Some(2), "what is ready comes first");
        assert_eq!(token.run_until_cancelled(std::future::pending::<()>()).await, None);
    });
}

#[test]
fn a_guard_cancels_its_token_unless_it_is_disarmed() {
    let token = CancellationToken::new();
    let same = token.clone().drop_guard().disarm();
    assert!(!token.is_cancelled());
    drop(same.drop_guard());
    assert!(token.is_cancelled());
}

#[test]
fn a_waker_that_panics_does_not_keep_other_tokens_from_being_told() {
    let token = CancellationToken::new();
    let children = [token.child_token(), token.child_token(), token.child_token()];
    let mut bombs: Vec<_> = children.iter().chain([&token]).map(|token| ByHand::new(token.cancelled())).collect();
    for wait in &mut bombs {
        assert!(wait.poll_with(&bomb()).is_pending());
    }
    let waits: Vec<_> = children.iter().chain([&token]).map(|token| ByHand::waiting(token.cancelled())).collect();
    explodes(|| token.cancel());
    assert!(waits.iter().all(ByHand::was_woken));
}

#[test]
fn waits_wake_whoever_polled_them_last_whatever_they_wait_for() {
    fn check<T, R>(mut wait: ByHand<'_, T>, happen: impl FnOnce() -> R) {
        let bells: [Arc<Bell>; 2] = Default::default();
        for bell in &bells {
            assert!(wait.poll_with(&Arc::clone(bell).into()).is_pending());
        }
        happen();
        assert_eq!(bells.each_ref().map(|bell| bell.rings()), [0, 1]);
        wait.ready();
    }
    let (promise, promised) = promise();
    check(ByHand::new(&promised), || promise.set(1));
    let (sender, receiver) = oneshot::channel();
    check(ByHand::new(receiver), || sender.send(1));
    let (sender, mut receiver) = watch::channel(0);
    check(ByHand::new(receiver.changed()), || sender.send(1));
    check(ByHand::new(sender.closed()), || drop(receiver));
    let (sender, mut receiver) = broadcast::channel(1);
    check(ByHand::new(receiver.recv()), || sender.send(1));
    let token = CancellationToken::new();
    check(ByHand::new(token.cancelled()), || token.cancel());
    let queue = corering_sync::Queue::bounded(1);
    check(ByHand::new(queue.get()), || queue.try_put(1));
    let full = corering_sync::Queue::bounded(1);
    assert_eq!(full.try_put(1), Ok(()));
    check(ByHand::new(full.put(2)), || full.try_get());
    check(ByHand::new(full.join()), || full.close_now());
}

#[test]
fn errors_say_what_is_wrong_also_as_io_errors() {
    assert_eq!(
        [
            WouldBlock.to_string(),
            AlreadySet(1).to_string(),
            Abandoned.to_string(),
            AcquireError::Closed.to_string(),
            AcquireError::WouldBlock.to_string()
        ],
        [
            "it cannot be had at once: somebody has it, or waits for it",
            "it has its outcome already",
            "nobody will set the value any more: it was cancelled, or its promise was dropped",
            "the semaphore is closed",
            "too few permits are free, or others wait for them",
        ]
    );
    let kinds = [
        Error::from(WouldBlock).kind(),
        Error::from(Abandoned).kind(),
        Error::from(Broken).kind(),
        Error::from(RecvError::Closed).kind(),
        Error::from(TryGetError::Empty).kind(),
        Error::from(AcquireError::Closed).kind(),
        Error::from(corering_sync::Barrier::try_new(0).expect_err("zero")).kind(),
    ];
    let other = ErrorKind::Other;
    assert_eq!(
        kinds,
        [ErrorKind::WouldBlock, ErrorKind::BrokenPipe, other, other, other, other, ErrorKind::InvalidInput]
    );
}

/// The moments, in milliseconds, at which each of so many is let through.
async fn moments(limiter: &Rc<RateLimiter>, count: usize) -> Vec<u128> {
    let (trace, start) = (Trace::new(), Instant::now());
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (limiter, trace) = (Rc::clone(limiter), trace.clone());
            spawn(async move {
                limiter.acquire().await;
                trace.log(start.elapsed().as_millis());
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    trace.take()
}

#[test]
fn a_rate_is_kept_exactly() {
    run(async || {
        let limiter = Rc::new(RateLimiter::new(10, Duration::from_secs(1)));
        assert_eq!(moments(&limiter, 5).await, [0, 100, 200, 300, 400]);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(moments(&limiter, 3).await, [50, 150, 250], "the last was at 400, now is 450");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(moments(&limiter, 3).await, [0, 100, 200], "time that was not used is not saved");
        let start = Instant::now();
        for _ in 0..=10_000 {
            limiter.acquire().await;
        }
        assert_eq!(start.elapsed(), Duration::from_millis(1_000_100), "the last was just before the first");
    });
}

/// A third of a second is no whole number of nanoseconds: rounded down, a fourth would come within the second.
#[test]
fn a_rate_that_does_not_divide_its_period_is_not_exceeded() {
    run(async || {
        let limiter = RateLimiter::new(3, Duration::from_secs(1));
        let start = Instant::now();
        for _ in 0..=3 {
            limiter.acquire().await;
        }
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        for _ in 3..30_000 {
            limiter.acquire().await;
        }
        let late = start.elapsed().checked_sub(Duration::from_secs(10_000)).expect("not before");
        assert!(late < Duration::from_millis(1), "{late:?}");
        limiter.set_rate(7, Duration::from_nanos(1));
        limiter.acquire().await;
        assert_eq!(limiter.try_acquire(), Err(WouldBlock), "no rate is without limit but that of no time");
    });
}

#[test]
fn a_burst_is_let_through_at_once_and_paid_for_afterwards() {
    run(async || {
        let limiter = Rc::new(RateLimiter::new(10, Duration::from_secs(1)).burst(3));
        assert_eq!(moments(&limiter, 6).await, [0, 0, 0, 100, 200, 300]);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(moments(&limiter, 4).await, [0, 0, 100, 200], "two were saved");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(moments(&limiter, 4).await, [0, 0, 0, 100], "never more than the burst");
    });
}

#[test]
fn one_that_is_aborted_while_it_is_the_first_has_used_nothing() {
    run(async || {
        let limiter = Rc::new(RateLimiter::new(10, Duration::from_secs(1)));
        limiter.acquire().await;
        let (trace, start) = (Trace::new(), Instant::now());
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|name: u32| {
            let (limiter, trace) = (Rc::clone(&limiter), trace.clone());
            spawn(async move {
                limiter.acquire().await;
                trace.log((name, start.elapsed().as_millis()));
            })
        });
        settle().await;
        assert_eq!(limiter.waiters(), 3);
        assert_eq!(limiter.try_acquire(), Err(WouldBlock));
        sleep(Duration::from_millis(50)).await;
        first.abort();
        third.abort();
        second.await.expect("no panic");
        fourth.await.expect("no panic");
        assert_eq!(trace.take(), [(2, 100), (4, 200)]);
        assert!(third.await.expect_err("aborted").is_cancelled());
        assert_eq!(limiter.waiters(), 0);
    });
}

#[test]
fn it_is_done_at_once_only_if_it_may_be_now_and_nobody_waits() {
    run(async || {
        let limiter = Rc::new(RateLimiter::new(1, Duration::from_secs(1)).burst(2));
        assert_eq!([limiter.try_acquire(), limiter.try_acquire()], [Ok(()), Ok(())]);
        assert_eq!(limiter.try_acquire(), Err(WouldBlock));
        sleep(Duration::from_millis(999)).await;
        assert_eq!(limiter.try_acquire(), Err(WouldBlock));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(limiter.try_acquire(), Ok(()));
    });
}

#[test]
fn a_rate_that_is_changed_counts_for_those_who_wait() {
    run(async || {
        let limiter = Rc::new(RateLimiter::new(1, Duration::from_secs(1)));
        let changes = spawn({
            let limiter = Rc::clone(&limiter);
            async move {
                sleep(Duration::from_millis(500)).await;
                limiter.set_rate(10, Duration::from_secs(1));
            }
        });
        assert_eq!(moments(&limiter, 4).await, [0, 1000, 1100, 1200]);
        changes.await.expect("no panic");
        limiter.set_rate(0, Duration::from_secs(5));
        assert_eq!(moments(&limiter, 2).await, [100, 5100], "a count of zero counts as one");
    });
}

#[test]
fn a_rate_of_nothing_is_refused() {
    let error = RateLimiter::try_new(0, Duration::from_secs(1)).expect_err("never");
    assert_eq!(error.to_string(), "the count of a rate must be at least 1, and is 0");
    assert!(std::panic::catch_unwind(|| RateLimiter::new(0, Duration::from_secs(1))).is_err());
    run(async || {
        let limiter = RateLimiter::new(1, Duration::MAX).burst(0);
        assert_eq!(limiter.try_acquire(), Ok(()));
        assert_eq!(limiter.try_acquire(), Err(WouldBlock));
        let limiter = RateLimiter::new(u32::MAX, Duration::ZERO);
        assert_eq!([limiter.try_acquire(); 3], [Ok(()); 3]);
    });
}
