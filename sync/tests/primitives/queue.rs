//! `Queue`, `LifoQueue`, `PriorityQueue` and channels.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use corering::spawn;
use corering::task::yield_now;
use corering_sync::{
    Closed, Job, LifoQueue, Prioritized, PriorityQueue, Queue, TryGetError, TryPutError, channel, unbounded_channel,
};
use futures_core::Stream;

use crate::{ByHand, Trace, block_on, bomb, explodes, run, settle};

/// All that can be had at once.
fn drain<T, O: corering_sync::Order<T>>(queue: &Queue<T, O>) -> Vec<T> {
    std::iter::from_fn(|| queue.try_get().ok().map(Job::into_inner)).collect()
}

#[test]
fn a_put_into_a_full_queue_waits_until_something_is_taken_out() {
    run(async || {
        let (queue, trace) = (Rc::new(Queue::bounded(2)), Trace::new());
        let producer = spawn({
            let (queue, trace) = (Rc::clone(&queue), trace.clone());
            async move {
                for item in 1..=4 {
                    queue.put(item).await.expect("open");
                    trace.log(item);
                }
            }
        });
        settle().await;
        assert_eq!(trace.take(), [1, 2]);
        assert!(queue.is_full());
        assert_eq!((queue.len(), queue.capacity(), queue.waiters()), (2, Some(2), (1, 0)));
        assert_eq!(queue.try_put(9), Err(TryPutError::Full(9)));
        assert_eq!(*queue.get().await.expect("open"), 1);
        assert_eq!(queue.try_put(9), Err(TryPutError::Full(9)), "the room is promised");
        settle().await;
        assert_eq!(trace.take(), [3]);
        assert_eq!(drain(&queue), [2, 3]);
        producer.await.expect("no panic");
        assert_eq!(drain(&queue), [4]);
        assert!(queue.is_empty() && !queue.is_full());
    });
}

#[test]
fn an_unbounded_queue_is_never_full() {
    let queue = Queue::unbounded();
    for item in 0..10_000 {
        queue.try_put(item).expect("room");
    }
    assert!(!queue.is_full());
    assert_eq!((queue.capacity(), queue.len()), (None, 10_000));
    assert_eq!(drain(&queue), Vec::from_iter(0..10_000));
}

#[test]
fn each_queue_has_its_order() {
    let (first, last, least) = (Queue::unbounded(), LifoQueue::unbounded(), PriorityQueue::unbounded());
    for item in [3, 1, 2] {
        first.try_put(item).expect("room");
        last.try_put(item).expect("room");
        least.try_put(item).expect("room");
    }
    assert_eq!((drain(&first), drain(&last), drain(&least)), (vec![3, 1, 2], vec![2, 1, 3], vec![1, 2, 3]));
}

/// asyncio leaves it open.
#[test]
fn of_equal_priority_the_one_that_came_first_comes_first() {
    let queue = PriorityQueue::unbounded();
    for number in 0..100 {
        queue.try_put(Prioritized::new(number % 3, number)).expect("room");
    }
    let order: Vec<i32> = drain(&queue).into_iter().map(|prioritized| prioritized.item).collect();
    let expected: Vec<i32> = (0..3).flat_map(|rest| (0..100).filter(move |number| number % 3 == rest)).collect();
    assert_eq!(order, expected);
}

#[test]
fn the_other_queues_wait_and_close_as_well() {
    run(async || {
        let queue = Rc::new(LifoQueue::bounded(1));
        let producer = spawn({
            let queue = Rc::clone(&queue);
            async move {
                for item in 0..3 {
                    queue.put(item).await.expect("open");
                }
                queue.close();
            }
        });
        for item in 0..3 {
            assert_eq!(*queue.get().await.expect("open"), item);
        }
        assert!(queue.get().await.is_err());
        producer.await.expect("no panic");

        let queue = PriorityQueue::bounded(2);
        queue.put(2).await.expect("open");
        queue.put(1).await.expect("open");
        assert_eq!(queue.try_put(0), Err(TryPutError::Full(0)));
        assert_eq!(queue.close_now(), [1, 2]);
    });
}

/// What it was woken for stays in the queue, for the next.
#[test]
fn a_getter_that_is_aborted_after_it_was_woken_takes_nothing_out() {
    run(async || {
        let (queue, trace) = (Rc::new(Queue::<u32>::unbounded()), Trace::new());
        let get = |name: &'static str| {
            let (queue, trace) = (Rc::clone(&queue), trace.clone());
            spawn(async move { trace.log((name, queue.get().await.expect("open").into_inner())) })
        };
        let alone = get("alone");
        settle().await;
        queue.put(1).await.expect("open");
        alone.abort();
        settle().await;
        assert_eq!((queue.len(), queue.waiters()), (1, (0, 0)));
        assert_eq!(drain(&queue), [1]);

        let [first, second, third] = [get("first"), get("second"), get("third")];
        settle().await;
        queue.put(2).await.expect("open");
        queue.put(3).await.expect("open");
        first.abort();
        second.await.expect("no panic");
        third.await.expect("no panic");
        assert_eq!(trace.take(), [("second", 2), ("third", 3)], "the order is kept");
    });
}

#[test]
fn a_putter_that_is_aborted_after_it_was_woken_leaves_its_room_to_the_next() {
    run(async || {
        let queue = Rc::new(Queue::bounded(1));
        queue.put(0).await.expect("open");
        let put = |item: u32| {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.put(item).await })
        };
        let [first, second, third] = [put(1), put(2), put(3)];
        settle().await;
        assert_eq!(drain(&queue), [0]);
        first.abort();
        second.await.expect("no panic").expect("open");
        assert_eq!(queue.waiters(), (1, 0));
        assert_eq!(drain(&queue), [2]);
        third.await.expect("no panic").expect("open");
        assert_eq!(drain(&queue), [3], "nothing is put in twice");
        assert_eq!(queue.unfinished(), 0);
    });
}

#[test]
fn the_last_putter_that_is_dropped_after_it_was_woken_leaves_room() {
    let queue = Queue::bounded(1);
    queue.try_put(1).expect("room");
    let putter = ByHand::waiting(queue.put(2));
    assert_eq!(drain(&queue), [1]);
    assert!(putter.was_woken());
    assert_eq!(queue.try_put(3), Err(TryPutError::Full(3)));
    drop(putter);
    assert_eq!(queue.try_put(3), Ok(()));
}

#[test]
fn an_item_that_is_promised_cannot_be_had_at_once() {
    let queue = Queue::unbounded();
    let mut getter = ByHand::waiting(queue.get());
    queue.try_put(1).expect("room");
    assert!(getter.was_woken());
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.try_get().err(), Some(TryGetError::Empty));
    let mut late = ByHand::waiting(queue.get());
    queue.try_put(2).expect("room");
    assert_eq!(*late.ready().expect("open"), 1, "items go to getters in the order in which these are polled");
    assert_eq!(*getter.ready().expect("open"), 2);
}

#[test]
fn joining_waits_until_every_job_is_dropped() {
    run(async || {
        let queue = Rc::new(Queue::unbounded());
        queue.join().await;
        let joins = || {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.join().await })
        };
        for item in 0..4 {
            queue.put(item).await.expect("open");
        }
        let both = [joins(), joins()];
        let mut jobs: Vec<_> = (0..4).map(|_| queue.try_get().expect("four")).collect();
        assert_eq!((queue.len(), queue.unfinished()), (0, 4));
        // A worker that panics and one that is aborted are done with their jobs, too.
        let (one, other) = (jobs.remove(0), jobs.remove(0));
        let panics = spawn(async move {
            let _job = one;
            panic!("in a worker");
        });
        let hangs = spawn(async move {
            let _job = other;
            std::future::pending::<()>().await;
        });
        assert!(panics.await.expect_err("a panic").is_panic());
        settle().await;
        assert_eq!(queue.unfinished(), 3);
        hangs.abort();
        settle().await;
        jobs.pop().expect("two").done();
        settle().await;
        assert!(both.iter().all(|task| !task.is_finished()));
        assert_eq!(jobs.pop().expect("one").into_inner(), 2);
        for task in both {
            task.await.expect("no panic");
        }
        queue.join().await;
    });
}

#[test]
fn an_item_that_panics_when_it_is_dropped_is_done_nevertheless() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::panic_any("a waker that panics");
        }
    }
    let queue = Queue::unbounded();
    assert!(queue.try_put(Panics).is_ok());
    let job = queue.try_get().expect("one");
    explodes(|| drop(job));
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn a_job_is_the_item() {
    let queue = Queue::unbounded();
    queue.try_put(String::from("a")).expect("room");
    let mut job = queue.try_get().expect("one");
    job.push('b');
    assert_eq!((&**job, format!("{job:?}").as_str()), ("ab", "Job(\"ab\")"));
    drop(queue);
    assert_eq!(job.into_inner(), "ab");
}

#[test]
fn closing_returns_what_was_to_go_in_and_lets_out_what_is_there() {
    run(async || {
        let queue = Rc::new(Queue::bounded(2));
        queue.put(1).await.expect("open");
        queue.put(2).await.expect("open");
        let putter = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.put(3).await }
        });
        settle().await;
        queue.close();
        queue.close();
        assert!(queue.is_closed());
        assert_eq!(putter.await.expect("no panic"), Err(Closed(3)));
        assert_eq!(queue.put(4).await, Err(Closed(4)));
        assert_eq!(queue.try_put(5), Err(TryPutError::Closed(5)));
        assert_eq!(*queue.get().await.expect("left"), 1);
        assert_eq!(*queue.try_get().expect("left"), 2);
        assert_eq!(queue.get().await.err(), Some(Closed(())));
        assert_eq!(queue.try_get().err(), Some(TryGetError::Closed));
        queue.join().await;
    });
}

#[test]
fn closing_an_empty_queue_tells_those_who_wait() {
    run(async || {
        let queue = Rc::new(Queue::<u32>::unbounded());
        let getters = [(); 3].map(|()| {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.get().await.map(Job::into_inner) })
        });
        settle().await;
        queue.close();
        for getter in getters {
            assert_eq!(getter.await.expect("no panic"), Err(Closed(())));
        }
    });
}

/// It was given room, but the consumers may have gone since: nobody would ever look.
#[test]
fn a_putter_that_was_given_room_before_the_queue_was_closed_gets_its_item_back() {
    let queue = Queue::bounded(1);
    queue.try_put(1).expect("room");
    let mut putter = ByHand::waiting(queue.put(2));
    assert_eq!(drain(&queue), [1]);
    queue.close();
    assert_eq!(putter.ready(), Err(Closed(2)));
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn a_getter_that_was_promised_an_item_before_the_queue_was_closed_gets_it() {
    let queue = Queue::unbounded();
    let mut getter = ByHand::waiting(queue.get());
    queue.try_put(1).expect("room");
    queue.close();
    assert_eq!(*getter.ready().expect("promised"), 1);
}

/// As long as something is left that may come back, the queue has not ended: or it would stay in there for ever, and
/// `join` would wait for it.
#[test]
fn an_item_that_was_promised_to_one_that_gives_up_is_got_by_another_although_the_queue_is_closed() {
    let queue = Queue::unbounded();
    let promised = ByHand::waiting(queue.get());
    let mut early = ByHand::waiting(queue.get());
    queue.try_put(1).expect("room");
    queue.close();
    let mut late = ByHand::new(queue.get());
    assert!(early.poll().is_pending() && late.poll().is_pending(), "one item is left");
    assert_eq!(queue.try_get().err(), Some(TryGetError::Empty));
    drop(promised);
    assert_eq!(early.ready().expect("left").into_inner(), 1);
    assert!(late.was_woken());
    assert_eq!(late.ready().err(), Some(Closed(())));
    assert_eq!(queue.try_get().err(), Some(TryGetError::Closed));
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn those_who_wait_for_a_promised_item_of_a_closed_queue_are_told_when_it_is_gone() {
    for now in [false, true] {
        let queue = Queue::unbounded();
        let mut promised = ByHand::waiting(queue.get());
        queue.try_put(1).expect("room");
        queue.close();
        let mut late = ByHand::waiting(queue.get());
        if now {
            assert_eq!(queue.close_now(), [1]);
            assert_eq!(promised.ready().err(), Some(Closed(())));
        } else {
            assert_eq!(promised.ready().expect("promised").into_inner(), 1);
        }
        assert!(late.was_woken());
        assert_eq!(late.ready().err(), Some(Closed(())));
    }
}

#[test]
fn closing_at_once_returns_what_was_left_and_joining_waits_only_for_what_is_out() {
    run(async || {
        let queue = Rc::new(Queue::bounded(3));
        for item in 0..3 {
            queue.put(item).await.expect("open");
        }
        let job = queue.get().await.expect("open");
        queue.put(3).await.expect("open");
        let putter = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.put(4).await }
        });
        let joins = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.join().await }
        });
        settle().await;
        assert_eq!(queue.close_now(), [1, 2, 3]);
        assert_eq!(putter.await.expect("no panic"), Err(Closed(4)));
        assert!(queue.is_empty() && queue.close_now().is_empty());
        assert_eq!(queue.unfinished(), 1);
        settle().await;
        assert!(!joins.is_finished());
        drop(job);
        joins.await.expect("no panic");
    });
}

#[test]
fn a_getter_that_was_promised_what_closing_at_once_took_away_is_told_so() {
    let queue = Queue::unbounded();
    let mut getters = [ByHand::waiting(queue.get()), ByHand::waiting(queue.get()), ByHand::waiting(queue.get())];
    queue.try_put(1).expect("room");
    queue.try_put(2).expect("room");
    assert_eq!(queue.close_now(), [1, 2]);
    let [first, second, third] = &mut getters;
    drop(std::mem::replace(first, ByHand::new(queue.get())));
    assert_eq!(second.ready().err(), Some(Closed(())));
    assert_eq!(third.ready().err(), Some(Closed(())));
    assert_eq!(first.ready().err(), Some(Closed(())));
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn a_put_that_is_dropped_drops_its_item_and_nothing_else() {
    let item = Rc::new(());
    let queue = Queue::bounded(1);
    queue.try_put(Rc::clone(&item)).expect("room");
    let putter = ByHand::waiting(queue.put(Rc::clone(&item)));
    assert_eq!(Rc::strong_count(&item), 3);
    drop(putter);
    assert_eq!(Rc::strong_count(&item), 2);
    drop(queue);
    assert_eq!(Rc::strong_count(&item), 1);
}

#[test]
fn a_queue_without_room_is_refused() {
    let text = "the capacity of a queue must be at least 1, and is 0";
    assert_eq!(Queue::<()>::try_bounded(0).expect_err("no room").to_string(), text);
    assert_eq!(LifoQueue::<()>::try_bounded(0).expect_err("no room").to_string(), text);
    assert_eq!(PriorityQueue::<()>::try_bounded(0).expect_err("no room").to_string(), text);
    let panics = |make: fn()| std::panic::catch_unwind(make).is_err();
    assert!(panics(|| drop(Queue::<()>::bounded(0))));
    assert!(panics(|| drop(LifoQueue::<()>::bounded(0))));
    assert!(panics(|| drop(PriorityQueue::<()>::bounded(0))));
    assert!(panics(|| drop(channel::<()>(0))));
    assert!(Queue::<()>::try_bounded(1).is_ok());
}

#[test]
fn the_errors_of_a_queue_return_the_item_and_say_what_is_wrong() {
    assert_eq!(TryPutError::Full(1).into_inner() + TryPutError::Closed(2).into_inner(), 3);
    let texts = [
        TryPutError::Full(()).to_string(),
        TryPutError::Closed(()).to_string(),
        TryGetError::Empty.to_string(),
        TryGetError::Closed.to_string(),
        Closed(()).to_string(),
    ];
    assert_eq!(
        texts,
        [
            "the queue is full, or its room is promised to those who wait",
            "the queue is closed",
            "nothing is there, or it is promised to those who wait",
            "nothing is there, and it is closed",
            "it is closed",
        ]
    );
    use std::io::{Error, ErrorKind};
    assert_eq!(Error::from(TryPutError::Full(Rc::new(()))).kind(), ErrorKind::WouldBlock);
    assert_eq!(Error::from(TryPutError::Closed(Rc::new(()))).kind(), ErrorKind::BrokenPipe);
    assert_eq!(Error::from(Closed(Rc::new(()))).kind(), ErrorKind::BrokenPipe);
}

#[test]
fn items_come_as_a_stream_until_the_queue_is_closed_and_empty() {
    run(async || {
        let queue = Rc::new(Queue::bounded(1));
        spawn({
            let queue = Rc::clone(&queue);
            async move {
                for item in 0..5 {
                    queue.put(item).await.expect("open");
                    yield_now().await;
                }
                queue.close();
            }
        });
        let mut jobs = pin!(queue.jobs());
        let mut items = Vec::new();
        while let Some(job) = poll_fn(|cx| jobs.as_mut().poll_next(cx)).await {
            items.push(*job);
        }
        assert_eq!(items, [0, 1, 2, 3, 4]);
        assert!(poll_fn(|cx| jobs.as_mut().poll_next(cx)).await.is_none(), "and stays at its end");
    });
}

#[test]
fn a_waker_that_panics_does_not_keep_the_other_side_from_being_told_of_the_end() {
    for now in [false, true] {
        let queue = Queue::bounded(1);
        queue.try_put(0).expect("room");
        let mut putters = [ByHand::new(queue.put(1)), ByHand::new(queue.put(2))];
        assert!(putters[0].poll_with(&bomb()).is_pending() && putters[1].poll().is_pending());
        let mut joiner = ByHand::waiting(queue.join());
        explodes(|| if now { drop(queue.close_now()) } else { queue.close() });
        assert!(queue.is_closed() && putters[1].was_woken());
        if now {
            assert_eq!(queue.unfinished(), 0);
            joiner.ready();
        }

        let queue = Queue::<u32>::bounded(1);
        let mut getters = [ByHand::new(queue.get()), ByHand::new(queue.get())];
        assert!(getters[0].poll_with(&bomb()).is_pending() && getters[1].poll().is_pending());
        explodes(|| if now { drop(queue.close_now()) } else { queue.close() });
        assert!(getters[1].was_woken());
    }
}

/// Then putters and getters wait at the same time: the item is promised to the first getter.
#[test]
fn a_putter_whose_waker_panics_does_not_keep_getters_from_being_told_of_the_end() {
    let queue = Queue::bounded(1);
    let promised = ByHand::waiting(queue.get());
    let mut getter = ByHand::waiting(queue.get());
    queue.try_put(0).expect("room");
    let mut putter = ByHand::new(queue.put(1));
    assert!(putter.poll_with(&bomb()).is_pending());
    explodes(|| drop(queue.close_now()));
    assert!(getter.was_woken());
    assert_eq!(getter.ready().err(), Some(Closed(())));
    drop(promised);
    assert_eq!(putter.ready(), Err(Closed(1)));
    assert_eq!(queue.unfinished(), 0);
}

/// The item is lost with the panic, as any local value would be; but it is done.
#[test]
fn a_putter_whose_waker_panics_does_not_leave_a_job_that_is_never_done() {
    let queue = Queue::bounded(1);
    queue.try_put(0).expect("room");
    let mut putters = [ByHand::new(queue.put(1)), ByHand::waiting(queue.put(2))];
    drop(std::mem::replace(&mut putters[1], ByHand::new(queue.put(2))));
    assert!(putters[0].poll_with(&bomb()).is_pending() && putters[1].poll().is_pending());
    explodes(|| drop(queue.try_get()));
    assert_eq!(queue.unfinished(), 0);
    assert_eq!(putters[0].ready(), Ok(()));
    assert_eq!(drain(&queue), [1]);
    assert_eq!(putters[1].ready(), Ok(()));
}

#[test]
fn the_end_of_the_last_sender_closes_a_channel() {
    run(async || {
        let (sender, receiver) = channel(2);
        let producers: Vec<_> = (0..3)
            .map(|number| {
                let sender = sender.clone();
                spawn(async move {
                    for item in 0..10 {
                        sender.put(number * 10 + item).await.expect("a receiver");
                    }
                })
            })
            .collect();
        drop(sender);
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                spawn(async move {
                    let mut items = Vec::new();
                    while let Ok(job) = receiver.get().await {
                        yield_now().await;
                        items.push(job.into_inner());
                    }
                    items
                })
            })
            .collect();
        receiver.queue().join().await;
        let mut all = Vec::new();
        for consumer in consumers {
            all.extend(consumer.await.expect("no panic"));
        }
        all.sort_unstable();
        assert_eq!(all, Vec::from_iter(0..30));
        for producer in producers {
            producer.await.expect("no panic");
        }
    });
}

#[test]
fn the_end_of_the_last_receiver_returns_what_is_sent_and_drops_what_was_left() {
    let item = Rc::new(Cell::new(0));
    let (sender, receiver) = unbounded_channel();
    sender.try_put(Rc::clone(&item)).expect("a receiver");
    let second = receiver.clone();
    drop(receiver);
    sender.try_put(Rc::clone(&item)).expect("a receiver");
    drop(second.try_get().expect("two"));
    assert_eq!(Rc::strong_count(&item), 2);
    drop(second);
    assert_eq!(Rc::strong_count(&item), 1);
    assert_eq!(sender.try_put(Rc::clone(&item)).map_err(TryPutError::into_inner), Err(Rc::clone(&item)));
    assert_eq!(block_on(sender.put(Rc::clone(&item))).map_err(|closed| closed.0), Err(Rc::clone(&item)));
    assert_eq!(sender.queue().unfinished(), 0);
}

#[test]
fn senders_and_receivers_that_wait_are_told_of_the_other_ends_end() {
    let (sender, receiver) = channel(1);
    sender.try_put(1).expect("room");
    let mut putter = ByHand::waiting(sender.put(2));
    drop(receiver);
    assert_eq!(putter.ready(), Err(Closed(2)));

    let (sender, receiver) = channel::<u32>(1);
    let other = sender.clone();
    let mut getter = ByHand::waiting(receiver.get());
    drop(sender);
    assert!(getter.poll().is_pending());
    drop(other);
    assert_eq!(getter.ready().err(), Some(Closed(())));
}

#[test]
fn producers_and_consumers_finish_without_a_sentinel() {
    run(async || {
        let queue = Rc::new(Queue::bounded(3));
        let done = Rc::new(Cell::new(0));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (queue, done) = (Rc::clone(&queue), Rc::clone(&done));
                spawn(async move {
                    while let Ok(job) = queue.get().await {
                        corering::time::sleep(std::time::Duration::from_millis(*job)).await;
                        done.set(done.get() + 1);
                    }
                })
            })
            .collect();
        for item in 0..20 {
            queue.put(item).await.expect("open");
        }
        queue.close();
        queue.join().await;
        assert_eq!(done.get(), 20);
        for worker in workers {
            worker.await.expect("no panic");
        }
    });
}

#[test]
fn a_forgotten_put_and_a_forgotten_get_do_no_harm() {
    let queue = Rc::new(Queue::bounded(1));
    queue.try_put(1).expect("room");
    std::mem::forget(ByHand::waiting({
        let queue = Rc::clone(&queue);
        async move { queue.put(2).await }
    }));
    assert_eq!(drain(&queue), [1]);
    assert_eq!(queue.try_put(3), Err(TryPutError::Full(3)), "its room is never used");
    queue.close();
    assert_eq!(queue.try_get().err(), Some(TryGetError::Closed));
}

#[test]
fn reserved_room_is_nobody_elses_until_it_is_used_or_dropped() {
    let queue = Queue::bounded(2);
    let first = block_on(queue.reserve()).expect("open");
    let second = block_on(queue.reserve()).expect("open");
    assert_eq!(queue.try_put(9), Err(TryPutError::Full(9)));
    let mut waits = ByHand::waiting(queue.put(3));
    let mut last = ByHand::waiting(queue.reserve());

    // Dropped, it goes to whoever has waited longest.
    drop(first);
    assert!(waits.was_woken() && !last.was_woken());
    assert_eq!(waits.ready(), Ok(()));
    second.put(2).expect("open");
    assert_eq!(drain(&queue), [3, 2]);
    assert!(last.was_woken());
    let third = last.ready().expect("open");
    queue.try_put(4).expect("room");
    assert_eq!(queue.try_put(5), Err(TryPutError::Full(5)));
    third.put(5).expect("open");
    assert_eq!(drain(&queue), [4, 5]);
}

#[test]
fn a_reservation_that_is_dropped_after_it_was_given_passes_the_room_on() {
    let queue = Queue::bounded(1);
    queue.try_put(1).expect("room");
    let given = ByHand::waiting(queue.reserve());
    let mut next = ByHand::waiting(queue.put(2));
    assert_eq!(drain(&queue), [1]);
    assert!(given.was_woken() && !next.was_woken());
    drop(given);
    assert!(next.was_woken());
    assert_eq!(next.ready(), Ok(()));
}

#[test]
fn what_is_put_into_reserved_room_after_the_end_comes_back() {
    let queue = Queue::bounded(2);
    let room = block_on(queue.reserve()).expect("open");
    queue.try_put(0).expect("room");
    let mut waits = ByHand::waiting(queue.reserve());
    queue.close();
    assert_eq!(room.put(1), Err(Closed(1)));
    assert!(matches!(waits.ready(), Err(Closed(()))));
    assert!(block_on(queue.reserve()).is_err());
    assert_eq!(drain(&queue), [0]);
    assert_eq!(queue.try_get().unwrap_err(), TryGetError::Closed);
}

#[test]
fn jobs_come_one_after_the_other_until_the_end() {
    let queue = Queue::unbounded();
    (0..3).for_each(|item| queue.try_put(item).expect("room"));
    queue.close();
    let items = block_on(async {
        let (mut jobs, mut items) = (queue.jobs(), Vec::new());
        while let Some(job) = jobs.next().await {
            items.push(job.into_inner());
        }
        items
    });
    assert_eq!(items, [0, 1, 2]);
}
