//! Programs that check themselves and work whatever is cancelled in them: see `gates`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use corering::cancel::{self, finally};
use corering::fs::{self, File};
use corering::net::{TcpListener, TcpStream};
use corering::sync::{
    Barrier, CancellationToken, Condition, Event, Lock, OnceCell, PriorityQueue, Queue, RateLimiter, RecvError, RwLock,
    Semaphore, broadcast, channel, oneshot, promise, watch,
};
use corering::task::{
    self, JoinSet, as_completed, buffer_unordered, first_ok, gather_settled, local_scope, staggered, try_join_all,
    yield_now,
};
use corering::time::{interval, sleep, timeout};
use corering::{TaskGroup, select, shield, spawn};

use crate::gates::{Scenario, Stage};
use crate::{OnDrop, folder};

const MS: Duration = Duration::from_millis(1);

macro_rules! scenarios {
    ($($clock:ident $name:ident,)*) => {
        pub(crate) const SCENARIOS: &[Scenario] = &[$(
            Scenario { name: stringify!($name), begin: |stage| Box::pin($name(stage)), is_real: scenarios!($clock) },
        )*];
    };
    (paused) => { false };
    (real) => { true };
}

scenarios! {
    paused writers_of_one_lock,
    paused locks_in_a_fixed_order,
    paused readers_and_writers,
    paused a_semaphore_of_two,
    paused a_semaphore_of_many_sizes_that_is_resized,
    paused a_semaphore_that_is_closed,
    paused an_event_that_opens_and_shuts,
    paused a_buffer_of_a_lock_and_a_condition,
    paused rounds_of_a_barrier,
    paused workers_of_a_queue,
    paused gets_that_time_out,
    paused priorities,
    paused channels_that_close_with_their_last_end,
    paused a_pipeline_of_channels,
    paused a_promise_for_many,
    paused requests_and_replies,
    paused the_latest_value,
    paused every_value_for_everyone,
    paused made_once,
    paused so_many_per_second,
    paused tokens_that_stop_workers,
    paused a_group_that_sums,
    paused a_group_in_which_one_fails,
    paused groups_within_groups,
    paused a_group_that_starts_servers,
    paused resources_that_are_released,
    paused what_is_inside_is_cleaned_up_first,
    paused nested_limits,
    paused shielded_commits,
    paused a_gather_of_parts,
    paused a_gather_whose_rest_goes_on,
    paused races,
    paused a_join_set_that_is_shut_down,
    paused tasks_as_they_complete,
    paused so_many_at_a_time,
    paused a_loop_of_selects,
    paused a_scope_that_borrows,
    paused ticks_beside_work,
    real files_side_by_side,
    real one_file_that_is_written_in_turn,
    real an_echo_server,
    real a_stream_in_two_halves,
}

/// How many are somewhere at a time.
#[derive(Clone, Default)]
struct Inside(Rc<(Cell<usize>, Cell<usize>)>);

impl Inside {
    /// One more, until what is returned is dropped.
    fn enter(&self) -> OnDrop<impl FnMut() + use<>> {
        let (now, most) = &*self.0;
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        let inside = self.clone();
        OnDrop(move || inside.0.0.set(inside.0.0.get() - 1))
    }

    fn now(&self) -> usize {
        self.0.0.get()
    }

    fn most(&self) -> usize {
        self.0.1.get()
    }
}

/// Counts.
#[derive(Clone, Default)]
struct Count(Rc<Cell<usize>>);

impl Count {
    fn add(&self) {
        self.0.set(self.0.get() + 1);
    }

    fn get(&self) -> usize {
        self.0.get()
    }
}

/// Awaits all; how many were not aborted.
async fn all<T>(tasks: impl IntoIterator<Item: Future<Output = Option<T>>>) -> usize {
    gather_settled(tasks).await.iter().flatten().count()
}

async fn writers_of_one_lock(stage: Stage) {
    let (lock, inside, done) = (Rc::new(Lock::new(0)), Inside::default(), Count::default());
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let (lock, inside, done) = (lock.clone(), inside.clone(), done.clone());
            stage.spawn(async move {
                for _ in 0..3 {
                    let mut value = lock.lock().await;
                    let _inside = inside.enter();
                    let before = *value;
                    if number % 2 == 0 {
                        yield_now().await
                    } else {
                        sleep(MS).await
                    }
                    *value = before + 1;
                    done.add();
                }
            })
        })
        .collect();
    stage.at_end({
        let (lock, inside, done) = (lock.clone(), inside.clone(), done.clone());
        move || {
            assert_eq!((lock.is_locked(), lock.waiters(), inside.now()), (false, 0, 0));
            assert!(inside.most() <= 1);
            assert_eq!(*lock.try_lock().expect("free"), done.get());
        }
    });
    all(tasks).await;
    assert!(done.get() == 12 || !stage.is_calm());
    assert!(done.get() >= 9, "the others have not lost anything");
}

async fn locks_in_a_fixed_order(stage: Stage) {
    let (forks, meals) = (Rc::new([(); 5].map(|()| Lock::new(0))), Count::default());
    let tasks: Vec<_> = (0..5_usize)
        .map(|seat| {
            let (forks, meals) = (forks.clone(), meals.clone());
            stage.spawn(async move {
                let (first, second) = (seat.min((seat + 1) % 5), seat.max((seat + 1) % 5));
                for _ in 0..2 {
                    let mut left = forks[first].lock().await;
                    yield_now().await;
                    let mut right = timeout(1000 * MS, forks[second].lock()).await.expect("someone eats at last");
                    sleep(MS).await;
                    *left += 1;
                    *right += 1;
                    meals.add();
                }
            })
        })
        .collect();
    stage.at_end({
        let (forks, meals) = (forks.clone(), meals.clone());
        move || {
            let used: usize = forks.iter().map(|fork| *fork.try_lock().expect("free")).sum();
            assert_eq!(used, 2 * meals.get());
        }
    });
    all(tasks).await;
    assert!(meals.get() >= 8);
}

async fn readers_and_writers(stage: Stage) {
    let (lock, reading, writing) = (Rc::new(RwLock::new(0)), Inside::default(), Inside::default());
    let readers = (0..4).map(|_| {
        let (lock, reading, writing) = (lock.clone(), reading.clone(), writing.clone());
        stage.spawn(async move {
            for _ in 0..2 {
                let value = lock.read().await;
                let _inside = reading.enter();
                assert_eq!(writing.now(), 0);
                let before = *value;
                yield_now().await;
                assert_eq!((*value, writing.now()), (before, 0));
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writers = (0..2).map(|_| {
        let (lock, reading, writing) = (lock.clone(), reading.clone(), writing.clone());
        stage.spawn(async move {
            let mut value = lock.write().await;
            let inside = writing.enter();
            *value += 1;
            sleep(MS).await;
            assert_eq!((reading.now(), writing.now()), (0, 1));
            drop(inside);
            let value = value.downgrade();
            yield_now().await;
            assert!(*value > 0);
        })
    });
    let writers: Vec<_> = writers.collect();
    stage.at_end({
        let lock = lock.clone();
        move || {
            assert_eq!(lock.waiters(), 0);
            drop(lock.try_write().expect("free"));
        }
    });
    all(readers).await;
    all(writers).await;
}

async fn a_semaphore_of_two(stage: Stage) {
    let (semaphore, inside, done) = (Rc::new(Semaphore::new(2)), Inside::default(), Count::default());
    let tasks: Vec<_> = (0..5)
        .map(|number| {
            let (semaphore, inside, done) = (semaphore.clone(), inside.clone(), done.clone());
            stage.spawn(async move {
                for _ in 0..2 {
                    let _permit = semaphore.acquire().await.expect("open");
                    let _inside = inside.enter();
                    if number % 2 == 0 {
                        yield_now().await
                    } else {
                        sleep(MS).await
                    }
                    done.add();
                }
            })
        })
        .collect();
    stage.at_end({
        let semaphore = semaphore.clone();
        move || {
            assert_eq!((semaphore.available(), semaphore.waiters()), (2, 0));
            assert!(inside.most() <= 2 && inside.now() == 0);
        }
    });
    all(tasks).await;
    assert!(done.get() >= 8);
}

async fn a_semaphore_of_many_sizes_that_is_resized(stage: Stage) {
    let (semaphore, held) = (Rc::new(Semaphore::new(3)), Count::default());
    let mut tasks: Vec<_> = [1, 3, 2, 1, 2]
        .into_iter()
        .map(|count| {
            let (semaphore, held) = (semaphore.clone(), held.clone());
            stage.spawn(async move {
                let mut permit = semaphore.acquire_many_owned(count).await.expect("open");
                held.0.set(held.get() + count);
                let (inner, given) = (held.clone(), Rc::new(Cell::new(count)));
                let left = given.clone();
                let _back = OnDrop(move || inner.0.set(inner.get() - left.get()));
                assert!(held.get() <= 4);
                sleep(MS).await;
                if let Some(part) = permit.split(1) {
                    given.set(count - 1);
                    held.0.set(held.get() - 1);
                    drop(part);
                    yield_now().await;
                }
            })
        })
        .collect();
    tasks.push({
        let semaphore = semaphore.clone();
        stage.spawn(async move {
            for limit in [4, 3] {
                yield_now().await;
                semaphore.set_limit(limit);
            }
            semaphore.set_limit(3);
        })
    });
    stage.at_end({
        let semaphore = semaphore.clone();
        move || {
            assert_eq!((semaphore.available(), semaphore.waiters(), held.get()), (semaphore.limit(), 0, 0));
        }
    });
    all(tasks).await;
}

async fn a_semaphore_that_is_closed(stage: Stage) {
    let semaphore = Rc::new(Semaphore::new(1));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let semaphore = semaphore.clone();
            stage.spawn(async move {
                let mut had = 0;
                while let Ok(_permit) = semaphore.acquire().await {
                    had += 1;
                    sleep(MS).await;
                }
                had
            })
        })
        .collect();
    sleep(10 * MS).await;
    semaphore.close();
    let closed = semaphore.clone();
    stage.at_end(move || assert_eq!((closed.available(), closed.waiters()), (1, 0)));
    all(tasks).await;
}

async fn an_event_that_opens_and_shuts(stage: Stage) {
    let (event, passed) = (Rc::new(Event::new()), Count::default());
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (event, passed) = (event.clone(), passed.clone());
            stage.spawn(async move {
                event.wait().await;
                passed.add();
            })
        })
        .collect();
    let opener = {
        let event = event.clone();
        stage.spawn(async move {
            for _ in 0..3 {
                sleep(MS).await;
                event.set();
                event.clear();
            }
        })
    };
    let waiters = event.clone();
    stage.at_end(move || assert_eq!(waiters.waiters(), 0));
    opener.await;
    event.set();
    all(tasks).await;
    assert!(passed.get() >= 2);
}

async fn a_buffer_of_a_lock_and_a_condition(stage: Stage) {
    #[derive(Default)]
    struct Buffer {
        items: VecDeque<u32>,
        is_closed: bool,
    }
    let shared = Rc::new((Lock::new(Buffer::default()), Condition::new(), Condition::new()));
    let producers = (0..2_u32).map(|which| {
        let shared = shared.clone();
        stage.spawn(async move {
            let (lock, is_filled, has_room) = &*shared;
            for item in 0..4 {
                let guard = lock.lock().await;
                let mut buffer = has_room.wait_for(guard, |buffer| buffer.items.len() < 2).await;
                buffer.items.push_back(which * 100 + item);
                is_filled.notify_one();
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    let got = Rc::new(RefCell::new(Vec::new()));
    let consumers = (0..2).map(|_| {
        let (shared, got) = (shared.clone(), got.clone());
        stage.spawn(async move {
            let (lock, is_filled, has_room) = &*shared;
            loop {
                let guard = lock.lock().await;
                let wanted = |buffer: &mut Buffer| buffer.is_closed || !buffer.items.is_empty();
                let mut buffer = is_filled.wait_for(guard, wanted).await;
                let Some(item) = buffer.items.pop_front() else {
                    return;
                };
                got.borrow_mut().push(item);
                has_room.notify_one();
                drop(buffer);
                sleep(MS).await;
            }
        })
    });
    let consumers: Vec<_> = consumers.collect();
    stage.at_end({
        let shared = shared.clone();
        move || {
            let (lock, is_filled, has_room) = &*shared;
            assert!(!lock.is_locked() && lock.waiters() == 0);
            assert_eq!((is_filled.waiters(), has_room.waiters()), (0, 0));
        }
    });
    all(producers).await;
    let (lock, is_filled, _) = &*shared;
    lock.lock().await.is_closed = true;
    is_filled.notify_all();
    all(consumers).await;
    // Whatever was put was got, by each producer in order.
    let got = got.take();
    for which in 0..2 {
        let of_one: Vec<_> = got.iter().copied().filter(|item| item / 100 == which).collect();
        let expected: Vec<_> = (0..of_one.len() as u32).map(|item| which * 100 + item).collect();
        let mut sorted = of_one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
    }
    assert!(got.len() == 8 || !stage.is_calm());
    assert!(lock.lock().await.items.is_empty());
}

async fn rounds_of_a_barrier(stage: Stage) {
    const ROUNDS: usize = 3;
    let (barrier, rounds) = (Rc::new(Barrier::new(3)), Rc::new(RefCell::new([[false; 3]; ROUNDS])));
    let parties = (0..3).map(|number| {
        let (inner, rounds) = (barrier.clone(), rounds.clone());
        let party = stage.spawn(async move {
            for round in 0..ROUNDS {
                if number == round {
                    sleep(MS).await;
                }
                let Ok(index) = inner.wait().await else {
                    return;
                };
                let place = &mut rounds.borrow_mut()[round][index];
                assert!(!std::mem::replace(place, true), "each place is given once");
            }
        });
        let barrier = barrier.clone();
        async move {
            let outcome = party.await;
            if outcome.is_none() {
                // It will not come any more: the others need not wait.
                barrier.abort();
            }
            outcome
        }
    });
    let parties: Vec<_> = parties.collect();
    let waiters = barrier.clone();
    stage.at_end(move || assert_eq!(waiters.waiters(), 0));
    all(parties).await;
    assert!(!stage.is_calm() || *rounds.borrow() == [[true; 3]; ROUNDS]);
}

async fn workers_of_a_queue(stage: Stage) {
    let (queue, done) = (Rc::new(Queue::bounded(2)), Rc::new(RefCell::new(Vec::new())));
    let producers = (0..2_u32).map(|which| {
        let queue = queue.clone();
        stage.spawn(async move {
            for item in 0..4 {
                if queue.put(which * 100 + item).await.is_err() {
                    return;
                }
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    let workers = (0..3).map(|_| {
        let (queue, done) = (queue.clone(), done.clone());
        stage.spawn(async move {
            while let Ok(job) = queue.get().await {
                done.borrow_mut().push(*job);
                sleep(MS).await;
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    stage.at_end({
        let queue = queue.clone();
        move || assert_eq!((queue.waiters(), queue.unfinished()), ((0, 0), queue.len()))
    });
    all(producers).await;
    queue.join().await;
    queue.close();
    all(workers).await;
    let mut done = done.take();
    let all = done.len();
    done.sort_unstable();
    done.dedup();
    assert_eq!((done.len(), queue.len()), (all, 0), "each item once");
    assert!(all == 8 || !stage.is_calm());
}

async fn gets_that_time_out(stage: Stage) {
    let queue = Rc::new(Queue::bounded(2));
    let (put, got) = (Count::default(), Rc::new(RefCell::new(Vec::new())));
    let producer = {
        let (queue, put) = (queue.clone(), put.clone());
        stage.spawn(async move {
            for item in 0..10 {
                sleep(MS).await;
                if timeout(MS, queue.put(item)).await.is_ok() {
                    put.add();
                }
            }
        })
    };
    let consumer = {
        let (queue, got) = (queue.clone(), got.clone());
        stage.spawn(async move {
            loop {
                match timeout(MS, queue.get()).await {
                    Ok(Ok(job)) => got.borrow_mut().push(job.into_inner()),
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
            }
        })
    };
    stage.at_end({
        let (queue, put, got) = (queue.clone(), put.clone(), got.clone());
        move || {
            assert_eq!(queue.waiters(), (0, 0));
            let got = got.borrow();
            assert!(got.is_sorted());
            // One may have been put, or got, by a task that was aborted before it could count it.
            assert!((got.len() + queue.len()).abs_diff(put.get()) <= 1, "{got:?} {queue:?}");
        }
    });
    producer.await;
    queue.close();
    consumer.await;
    assert!(!stage.is_calm() || got.borrow().len() == put.get());
}

async fn priorities(stage: Stage) {
    let queue = Rc::new(PriorityQueue::unbounded());
    let producers = (0..3_u32).map(|which| {
        let queue = queue.clone();
        stage.spawn(async move {
            for item in [7, 3, 5] {
                queue.put(item * 10 + which).await.expect("open");
                yield_now().await;
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    all(producers).await;
    queue.close();
    let consumer = {
        let queue = queue.clone();
        stage.spawn(async move {
            let mut before = 0;
            while let Ok(job) = queue.get().await {
                assert!(*job >= before, "the smallest comes first");
                before = *job;
                drop(job);
                yield_now().await;
            }
        })
    };
    let kept = queue.clone();
    stage.at_end(move || assert_eq!((kept.waiters(), kept.unfinished()), ((0, 0), kept.len())));
    consumer.await;
}

async fn channels_that_close_with_their_last_end(stage: Stage) {
    let (sender, receiver) = channel(2);
    let senders = [sender.clone(), sender].into_iter().enumerate().map(|(which, sender)| {
        stage.spawn(async move {
            for item in 0..5 {
                if sender.put((which, item)).await.is_err() {
                    return false;
                }
            }
            true
        })
    });
    let senders: Vec<_> = senders.collect();
    let consumer = stage.spawn(async move {
        let mut next = [0; 2];
        while let Ok(job) = receiver.get().await {
            let (which, item) = job.into_inner();
            assert_eq!(item, next[which], "in the order of each sender");
            next[which] += 1;
            yield_now().await;
        }
        next
    });
    let sent = gather_settled(senders).await;
    let got = consumer.await;
    match got {
        Some(got) => {
            for (sent, got) in sent.iter().zip(got) {
                assert!(got == 5 || *sent != Some(true), "what was sent was received");
            }
        }
        None => assert!(!stage.is_calm()),
    }
}

async fn a_pipeline_of_channels(stage: Stage) {
    let (first, numbers) = channel(1);
    let (second, squares) = channel(1);
    let source = stage.spawn(async move {
        for number in 0..6_u64 {
            if first.put(number).await.is_err() {
                return;
            }
        }
    });
    let squarer = stage.spawn(async move {
        while let Ok(number) = numbers.get().await {
            sleep(MS).await;
            if second.put(*number * *number).await.is_err() {
                return;
            }
        }
    });
    let sink = stage.spawn(async move {
        let mut sum = 0;
        while let Ok(square) = squares.get().await {
            sum += *square;
        }
        sum
    });
    source.await;
    squarer.await;
    let sum = sink.await;
    assert!(sum == Some(55) || !stage.is_calm());
}

async fn a_promise_for_many(stage: Stage) {
    let (promise, promised) = promise();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let promised = promised.clone();
            stage.spawn(async move { promised.wait().await.copied().ok() })
        })
        .collect();
    let setter = stage.spawn(async move {
        sleep(MS).await;
        promise.set(7).expect("once");
        assert!(promise.set(8).is_err() && !promise.cancel());
    });
    let was_set = setter.await.is_some();
    let values = gather_settled(tasks).await;
    // All who were not aborted have the same: the value, or that there will be none.
    assert!(values.into_iter().flatten().all(|value| value == was_set.then_some(7)));
}

async fn requests_and_replies(stage: Stage) {
    let (requests, inbox) = channel::<(u32, oneshot::Sender<u32>)>(2);
    let server = stage.spawn(async move {
        while let Ok(job) = inbox.get().await {
            let (number, reply) = job.into_inner();
            sleep(MS).await;
            // The client may have gone.
            let _ = reply.send(number + 1);
        }
    });
    let clients = (0..3).map(|number| {
        let requests = requests.clone();
        stage.spawn(async move {
            let (reply, answer) = oneshot::channel();
            if requests.put((number, reply)).await.is_err() {
                return None;
            }
            answer.await.ok()
        })
    });
    let clients: Vec<_> = clients.collect();
    drop(requests);
    let answers = gather_settled(clients).await;
    for (number, answer) in (0..).zip(answers) {
        match answer.flatten() {
            Some(answer) => assert_eq!(answer, number + 1),
            None => assert!(!stage.is_calm()),
        }
    }
    server.await;
}

async fn the_latest_value(stage: Stage) {
    let (sender, receiver) = watch::channel(0);
    let readers = (0..3).map(|_| {
        let mut receiver = receiver.clone();
        stage.spawn(async move {
            let mut before = 0;
            while receiver.changed().await.is_ok() {
                let now = *receiver.latest();
                assert!(now > before, "never an old one again");
                before = now;
                yield_now().await;
            }
            *receiver.latest()
        })
    });
    let readers: Vec<_> = readers.collect();
    drop(receiver);
    let writer = stage.spawn(async move {
        for value in 1..5 {
            sender.send(value);
            if value % 2 == 0 { sleep(MS).await } else { yield_now().await }
        }
    });
    let wrote = writer.await.is_some();
    let last = gather_settled(readers).await;
    assert!(!wrote || last.into_iter().flatten().all(|value| value == 4), "nobody misses the last one");
}

async fn every_value_for_everyone(stage: Stage) {
    let (sender, receiver) = broadcast::channel(4);
    let readers = [sender.subscribe(), receiver].into_iter().map(|mut receiver| {
        stage.spawn(async move {
            let mut got: Vec<u32> = Vec::new();
            loop {
                match receiver.recv().await {
                    Ok(value) => got.push(value),
                    Err(RecvError::Lagged(_)) => unreachable!("they are as fast as the sender"),
                    Err(RecvError::Closed) => return got,
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let writer = stage.spawn(async move {
        for value in 0..6 {
            if sender.send(value).is_err() {
                return;
            }
            sleep(MS).await;
        }
    });
    writer.await;
    for got in gather_settled(readers).await.into_iter().flatten() {
        assert!(got.iter().copied().eq(0..got.len() as u32));
        assert!(got.len() == 6 || !stage.is_calm());
    }
}

async fn made_once(stage: Stage) {
    let (cell, made) = (Rc::new(OnceCell::new()), Count::default());
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let (cell, made) = (cell.clone(), made.clone());
            stage.spawn(async move {
                *cell
                    .get_or_init(async move || {
                        sleep(MS).await;
                        made.add();
                        number
                    })
                    .await
            })
        })
        .collect();
    let values: Vec<_> = gather_settled(tasks).await.into_iter().flatten().collect();
    // Whoever made it may have been aborted; then the next did.
    assert!(values.iter().all(|value| Some(value) == cell.get()));
    assert_eq!(made.get(), 1);
}

async fn so_many_per_second(stage: Stage) {
    let limiter = Rc::new(RateLimiter::new(2, 100 * MS));
    let (began, times) = (corering::time::Instant::now(), Rc::new(RefCell::new(Vec::new())));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (limiter, times) = (limiter.clone(), times.clone());
            stage.spawn(async move {
                for _ in 0..2 {
                    limiter.acquire().await;
                    times.borrow_mut().push(began.elapsed());
                }
            })
        })
        .collect();
    all(tasks).await;
    let times = times.take();
    assert!(times.len() >= 4, "nobody waits for one who went");
    assert!(times.windows(4).all(|some| some[3] - some[0] >= 50 * MS), "{times:?}");
    assert_eq!(limiter.waiters(), 0);
}

async fn tokens_that_stop_workers(stage: Stage) {
    let token = CancellationToken::new();
    let (stopped, inner) = (Count::default(), token.child_token());
    let workers = (0..3).map(|number| {
        let token = if number == 0 { token.clone() } else { inner.child_token() };
        let stopped = stopped.clone();
        stage.spawn(async move {
            let mut ticks = 0;
            let work = async {
                loop {
                    sleep(MS).await;
                    ticks += 1;
                }
            };
            let worked: Option<()> = token.run_until_cancelled(work).await;
            assert!(worked.is_none());
            stopped.add();
            ticks
        })
    });
    let workers: Vec<_> = workers.collect();
    let stopper = {
        let guard = token.clone().drop_guard();
        stage.spawn(async move {
            sleep(3 * MS).await;
            inner.cancel();
            sleep(3 * MS).await;
            drop(guard);
        })
    };
    // However it ends, its guard has cancelled all.
    stopper.await;
    all(workers).await;
    assert!(stopped.get() >= 2);
}

async fn a_group_that_sums(stage: Stage) {
    let inside = Inside::default();
    let left = inside.clone();
    stage.at_end(move || assert_eq!(left.now(), 0));
    let sum = TaskGroup::scope(async |group| {
        let kids: Vec<_> = (1..=4)
            .map(|number| {
                let entered = inside.enter();
                stage.child(group, async move {
                    let _entered = entered;
                    if number % 2 == 0 {
                        sleep(number * MS).await
                    } else {
                        yield_now().await
                    }
                    Ok::<_, &str>(number)
                })
            })
            .collect();
        Ok(gather_settled(kids).await.into_iter().flatten().sum::<u32>())
    });
    let sum = sum.await.expect("an abort is no failure");
    assert_eq!(inside.now(), 0);
    assert!(sum == 10 || (!stage.is_calm() && sum >= 6));
}

async fn a_group_in_which_one_fails(stage: Stage) {
    let (open, cleaned) = (Inside::default(), Count::default());
    let left = open.clone();
    stage.at_end(move || assert_eq!(left.now(), 0));
    let outcome = TaskGroup::scope(async |group| {
        for _ in 0..2 {
            let (entered, cleaned) = (open.enter(), cleaned.clone());
            stage.child(
                group,
                finally(pending::<Result<(), &str>>(), async move {
                    sleep(MS).await;
                    cleaned.add();
                    drop(entered);
                }),
            );
        }
        stage.child(group, async {
            sleep(2 * MS).await;
            Err::<(), _>("wrong")
        });
        sleep(5 * MS).await;
        // Reached only if the one that fails did not.
        group.cancel();
        Ok(())
    });
    match outcome.await {
        Ok(()) => assert!(!stage.is_calm()),
        Err(error) => assert_eq!((error.len(), error.first()), (1, Some(&"wrong"))),
    }
    assert_eq!(open.now(), 0, "all have ended");
    assert!(cleaned.get() == 2 || !stage.is_calm());
}

async fn groups_within_groups(stage: Stage) {
    let inside = Inside::default();
    let left = inside.clone();
    stage.at_end(move || assert_eq!(left.now(), 0));
    let outer = TaskGroup::scope(async |outer| {
        for number in 0..2 {
            let (inner_stage, inside) = (stage.clone(), inside.clone());
            stage.child(outer, async move {
                let inner = TaskGroup::scope(async |inner| {
                    for _ in 0..2 {
                        let entered = inside.enter();
                        inner_stage.child(inner, async move {
                            let _entered = entered;
                            sleep(5 * MS).await;
                            Ok(())
                        });
                    }
                    inner_stage.child(inner, async move {
                        sleep(MS).await;
                        if number == 1 { Err("deep") } else { Ok(()) }
                    });
                    sleep(2 * MS).await;
                    Ok(())
                });
                inner.await
            });
        }
        Ok(())
    });
    let outcome = timeout(1000 * MS, outer).await.expect("it ends");
    match outcome {
        Ok(()) => assert!(!stage.is_calm()),
        Err(error) => assert_eq!(error.flatten().first(), Some(&"deep")),
    }
    assert_eq!(inside.now(), 0);
}

async fn a_group_that_starts_servers(stage: Stage) {
    let stop = Rc::new(Event::new());
    let outcome = TaskGroup::scope(async |group| {
        let mut ready = 0;
        for number in 0..3_u32 {
            let (stage, stop) = (stage.clone(), stop.clone());
            let server = group.start(async move |started| {
                let part = stage.part(async move {
                    sleep(MS).await;
                    started.ready(number);
                    stop.wait().await;
                });
                part.await;
                Ok::<_, &str>(())
            });
            match server.await {
                Ok(value) => {
                    assert_eq!(value, number);
                    ready += 1;
                }
                Err(error) => assert!(matches!(error, task::StartError::NotStarted)),
            }
        }
        stop.set();
        Ok(ready)
    });
    let ready = outcome.await.expect("no failure");
    assert!(ready == 3 || (!stage.is_calm() && ready >= 2));
    assert_eq!(stop.waiters(), 0);
}

async fn resources_that_are_released(stage: Stage) {
    let open = Inside::default();
    let left = open.clone();
    stage.at_end(move || assert_eq!(left.now(), 0));
    let tasks: Vec<_> = (0..3)
        .map(|number| {
            let open = open.clone();
            let acquire = async move {
                sleep(MS).await;
                Ok(open.enter())
            };
            let use_it = async move |_: &mut _| {
                sleep(number * MS).await;
                if number == 1 { Err("used wrongly") } else { Ok(number) }
            };
            let release = async |held| {
                sleep(MS).await;
                drop(held);
                Ok(())
            };
            stage.spawn(timeout(3 * MS, cancel::with(acquire, use_it, release)))
        })
        .collect();
    let outcomes = gather_settled(tasks).await;
    assert_eq!(open.now(), 0, "released before anybody is told");
    if stage.is_calm() {
        assert!(matches!(outcomes[..], [Some(Ok(Ok(0))), Some(Ok(Err(_))), Some(_)]), "{outcomes:?}");
    }
}

async fn what_is_inside_is_cleaned_up_first(stage: Stage) {
    let (connections, transactions) = (Inside::default(), Inside::default());
    let left = (connections.clone(), transactions.clone());
    stage.at_end(move || assert_eq!((left.0.now(), left.1.now()), (0, 0)));
    let tasks: Vec<_> = (0..4_u32)
        .map(|number| {
            let (connections, inside, inner) = (connections.clone(), Inside::default(), stage.clone());
            let (of_the_group, of_the_connection, transactions) =
                (inside.clone(), inside.clone(), transactions.clone());
            let connect = async move {
                sleep(MS).await;
                Ok(connections.enter())
            };
            let work = async move |_: &mut _| {
                let scope = TaskGroup::scope(async move |group| {
                    group.defer(async move {
                        assert_eq!(of_the_group.now(), 0, "all transactions have ended");
                        sleep(MS).await;
                        assert_eq!(of_the_group.now(), 0);
                    });
                    for part in 0..2 {
                        let begin = (inside.clone(), transactions.clone());
                        let begin = async move { Ok((begin.0.enter(), begin.1.enter())) };
                        let use_it = async move |_: &mut _| {
                            sleep((number + part) * MS).await;
                            if number + part == 3 { Err("wrong") } else { Ok(()) }
                        };
                        let end = async |held| {
                            sleep(MS).await;
                            drop(held);
                            Ok(())
                        };
                        inner.child(group, cancel::with(begin, use_it, end));
                    }
                    finally(sleep(2 * MS), sleep(MS)).await;
                    Ok(())
                });
                scope.await.map_err(|_| "wrong")
            };
            let disconnect = async move |held| {
                assert_eq!(of_the_connection.now(), 0, "all transactions have ended");
                sleep(MS).await;
                drop(held);
                Ok(())
            };
            let whole = timeout((3 + number) * MS, cancel::with(connect, work, disconnect));
            stage.spawn(whole)
        })
        .collect();
    all(tasks).await;
    assert_eq!((connections.now(), transactions.now()), (0, 0));
}

async fn nested_limits(stage: Stage) {
    let cleaned = Count::default();
    let tasks: Vec<_> = [(3, 5), (5, 3), (4, 4)]
        .into_iter()
        .map(|(outer, inner)| {
            let cleaned = cleaned.clone();
            stage.spawn(async move {
                let work = finally(pending::<()>(), async move {
                    sleep(MS).await;
                    cleaned.add();
                });
                match timeout(outer * MS, timeout(inner * MS, work)).await {
                    Err(_) => "outer",
                    Ok(Err(_)) => "inner",
                    Ok(Ok(())) => unreachable!("it never ends"),
                }
            })
        })
        .collect();
    let outcomes = gather_settled(tasks).await;
    for (outcome, expected) in outcomes.iter().flatten().zip(["outer", "inner", "outer"]) {
        assert!(!stage.is_calm() || *outcome == expected);
    }
    assert!(cleaned.get() >= 2);
}

async fn shielded_commits(stage: Stage) {
    let (begun, done, lock) = (Count::default(), Count::default(), Rc::new(Lock::new(0)));
    let tasks: Vec<_> = (1..4)
        .map(|limit| {
            let (begun, done, lock) = (begun.clone(), done.clone(), lock.clone());
            stage.spawn(async move {
                let commit = shield(async move {
                    begun.add();
                    let mut value = lock.lock().await;
                    sleep(2 * MS).await;
                    *value += 1;
                    done.add();
                });
                timeout(limit * MS, commit).await.is_ok()
            })
        })
        .collect();
    stage.at_end(move || {
        assert_eq!(begun.get(), done.get(), "what has begun is done");
        assert_eq!(*lock.try_lock().expect("free"), done.get());
    });
    all(tasks).await;
}

async fn a_gather_of_parts(stage: Stage) {
    let lock = Rc::new(Lock::new(Vec::new()));
    let gathered = {
        let (inner, lock) = (stage.clone(), lock.clone());
        stage.spawn(async move {
            let parts = (0..12_u32).map(|number| {
                let lock = lock.clone();
                inner.part(async move {
                    if number % 3 == 0 {
                        sleep(MS).await;
                    }
                    let mut seen = lock.lock().await;
                    yield_now().await;
                    seen.push(number);
                    number
                })
            });
            gather_settled(parts).await
        })
    };
    let numbers = gathered.await;
    assert!(!lock.is_locked() && lock.waiters() == 0);
    let seen = lock.lock().await.clone();
    match numbers {
        Some(numbers) => {
            assert_eq!(numbers.iter().flatten().count(), seen.len());
            assert!(numbers.iter().flatten().is_sorted() && seen.len() >= 11);
        }
        None => assert!(!stage.is_calm()),
    }
}

async fn a_gather_whose_rest_goes_on(stage: Stage) {
    let (semaphore, done) = (Rc::new(Semaphore::new(2)), Count::default());
    let gathered = {
        let (inner, semaphore, done) = (stage.clone(), semaphore.clone(), done.clone());
        stage.spawn(async move {
            let parts = (0..10_u32).map(|number| {
                let (semaphore, done) = (semaphore.clone(), done.clone());
                let part = inner.part(async move {
                    let _permit = semaphore.acquire().await.expect("open");
                    sleep(MS).await;
                    done.add();
                    if number == 3 { Err("wrong") } else { Ok(number) }
                });
                async move { part.await.unwrap_or(Ok(number)) }
            });
            task::gather(parts).await
        })
    };
    let kept = (semaphore.clone(), done.clone(), stage.is_calm());
    stage.at_end(move || {
        let (semaphore, done, is_calm) = &kept;
        assert_eq!((semaphore.available(), semaphore.waiters()), (2, 0));
        assert!(done.get() == 10 || !is_calm, "the others have ended");
    });
    let outcome = gathered.await;
    assert!(matches!(outcome, Some(Err("wrong"))) || !stage.is_calm());
}

async fn races(stage: Stage) {
    let open = Inside::default();
    let left = open.clone();
    stage.at_end(move || assert_eq!(left.now(), 0));
    let racer = {
        let (stage, open) = (stage.clone(), open.clone());
        move |delay: u32, result: Result<u32, &'static str>| {
            let entered = open.enter();
            let part = stage.part(finally(
                async move {
                    sleep(delay * MS).await;
                    result
                },
                async move {
                    sleep(MS).await;
                    drop(entered);
                },
            ));
            async move { part.await.unwrap_or(Err("struck")) }
        }
    };
    let tasks = [
        stage.spawn({
            let racer = racer.clone();
            async move { first_ok([racer(3, Ok(1)), racer(1, Err("a")), racer(2, Ok(2))]).await.ok() }
        }),
        stage.spawn({
            let racer = racer.clone();
            async move { staggered(MS, [(5, Err("b")), (5, Ok(3)), (5, Ok(4))].map(|(d, r)| racer(d, r))).await.ok() }
        }),
        stage.spawn(async move { try_join_all([racer(4, Ok(5)), racer(1, Err("c"))]).await.err().map(|_| 6) }),
    ];
    let won = gather_settled(tasks).await;
    assert!(won == [Some(Some(2)), Some(Some(3)), Some(Some(6))] || !stage.is_calm(), "{won:?}");
}

async fn a_join_set_that_is_shut_down(stage: Stage) {
    let (inside, lock) = (Inside::default(), Rc::new(Lock::new(())));
    let left = (inside.clone(), lock.clone());
    stage.at_end(move || assert!(left.0.now() == 0 && !left.1.is_locked() && left.1.waiters() == 0));
    let mut set = JoinSet::new();
    for number in 0..5 {
        let (entered, lock) = (inside.enter(), lock.clone());
        set.spawn(stage.part(async move {
            let _entered = entered;
            let _guard = lock.lock().await;
            sleep(number * MS).await;
        }));
    }
    for _ in 0..2 {
        set.join_next().await.expect("five").expect("no panic");
    }
    set.shutdown().await;
    assert_eq!((inside.now(), set.len()), (0, 0));
}

async fn tasks_as_they_complete(stage: Stage) {
    let parts = [3, 1, 4, 2].map(|delay| {
        spawn(stage.part(async move {
            sleep(delay * MS).await;
            delay
        }))
    });
    let mut ended = as_completed(parts).timeout(1000 * MS);
    let (mut before, mut struck) = (0, 0);
    while let Some((_, result)) = ended.next_in_time().await.expect("in time") {
        match result.expect("no panic") {
            Some(delay) => {
                assert!(delay > before);
                before = delay;
            }
            None => struck += 1,
        }
    }
    assert!(ended.is_empty() && struck <= usize::from(!stage.is_calm()));
}

async fn so_many_at_a_time(stage: Stage) {
    let (inside, semaphore) = (Inside::default(), Rc::new(Semaphore::new(2)));
    let kept = semaphore.clone();
    stage.at_end(move || assert_eq!((kept.available(), kept.waiters()), (2, 0)));
    let parts = (0..9_u32).map(|number| {
        let (inside, semaphore) = (inside.clone(), semaphore.clone());
        stage.part(async move {
            let _inside = inside.enter();
            let _permit = semaphore.acquire().await.expect("open");
            sleep(number % 3 * MS).await;
            number
        })
    });
    let (mut outputs, mut got) = (buffer_unordered(3, parts), Vec::new());
    loop {
        match timeout(MS / 2, outputs.next()).await {
            Ok(Some(output)) => got.extend(output),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    drop(outputs);
    got.sort_unstable();
    got.dedup();
    assert!(got.len() == 9 || (!stage.is_calm() && got.len() >= 8));
    assert!(inside.most() <= 3 && inside.now() == 0);
}

async fn a_loop_of_selects(stage: Stage) {
    let (first, ones) = channel(1);
    let (second, twos) = channel(1);
    let producers = [(first, 1), (second, 2)].map(|(sender, step)| {
        stage.spawn(async move {
            for item in 0..4 {
                sleep(step * MS).await;
                if sender.put(item).await.is_err() {
                    return;
                }
            }
        })
    });
    let consumer = {
        let inner = stage.clone();
        stage.spawn(async move {
            let (mut got, mut open, mut ticks) = ([0; 2], [true; 2], 0);
            while open != [false; 2] {
                select! {
                    job = inner.part(ones.get()), if open[0] => match job {
                        Some(Ok(job)) => {
                            assert_eq!(job.into_inner(), got[0]);
                            got[0] += 1;
                        }
                        Some(Err(_)) => open[0] = false,
                        None => {}
                    },
                    job = twos.get(), if open[1] => match job {
                        Ok(job) => {
                            assert_eq!(job.into_inner(), got[1]);
                            got[1] += 1;
                        }
                        Err(_) => open[1] = false,
                    },
                    _ = sleep(MS) => ticks += 1,
                }
            }
            (got, ticks)
        })
    };
    all(producers).await;
    match consumer.await {
        Some((got, _)) => assert!(got == [4, 4] || !stage.is_calm()),
        None => assert!(!stage.is_calm()),
    }
}

async fn a_scope_that_borrows(stage: Stage) {
    let words = ["a", "bc", "def"].map(str::to_owned);
    let (letters, lock) = (Cell::new(0), Lock::new(()));
    let outcome = local_scope(async |scope| {
        for word in &words {
            let part = stage.part(async {
                let _guard = lock.lock().await;
                sleep(MS).await;
                letters.set(letters.get() + word.len());
            });
            drop(scope.spawn(async move {
                part.await;
                Ok::<_, &str>(())
            }));
        }
        yield_now().await;
        Ok(())
    });
    outcome.await.expect("no failure");
    assert!(!lock.is_locked());
    assert!(letters.get() == 6 || (!stage.is_calm() && letters.get() >= 3));
}

async fn ticks_beside_work(stage: Stage) {
    let queue = Rc::new(Queue::unbounded());
    let ticker = {
        let queue = queue.clone();
        stage.spawn(async move {
            let mut ticks = interval(2 * MS);
            for _ in 0..4 {
                // A tick that was given up comes again.
                while timeout(MS, ticks.tick()).await.is_err() {}
                queue.put(corering::time::Instant::now()).await.expect("open");
            }
        })
    };
    let worker = {
        let queue = queue.clone();
        stage.spawn(async move {
            let mut times = Vec::new();
            while let Ok(job) = queue.get().await {
                times.push(job.into_inner());
            }
            times
        })
    };
    ticker.await;
    queue.close();
    if let Some(times) = worker.await {
        assert!(times.windows(2).all(|two| two[1] - two[0] == 2 * MS), "{times:?}");
        assert!(times.len() == 4 || !stage.is_calm());
    }
}

async fn files_side_by_side(stage: Stage) {
    let directory = Rc::new(folder());
    let tasks: Vec<_> = (1..4_u8)
        .map(|number| {
            let directory = directory.clone();
            stage.spawn(async move {
                let path = directory.join(number.to_string());
                fs::write(&path, vec![number; 5000]).await.expect("written");
                let file = File::options().read(true).write(true).open(&path).await.expect("there");
                file.write_all_at(vec![number + 100; 10], 5000).await.0.expect("written");
                let (count, bytes) = file.read_at(Vec::with_capacity(6000), 0).await;
                assert_eq!(count.expect("read"), 5010);
                assert!(bytes[..5000] == vec![number; 5000] && bytes[5000..] == [number + 100; 10]);
                file.close().await.expect("closed");
            })
        })
        .collect();
    let opened = directory.clone();
    stage.comes_true(move || opened.open() == 0);
    assert!(all(tasks).await >= 2);
}

async fn one_file_that_is_written_in_turn(stage: Stage) {
    let directory = folder();
    let path = directory.join("ledger");
    fs::write(&path, vec![0; 64]).await.expect("written");
    let file = Rc::new(Lock::new(File::options().read(true).write(true).open(&path).await.expect("there")));
    let tasks: Vec<_> = (1..4_u8)
        .map(|number| {
            let file = file.clone();
            stage.spawn(async move {
                for _ in 0..2 {
                    let file = file.lock().await;
                    // What an aborted one had begun lands before this, or not at all.
                    file.write_all_at(vec![number; 64], 0).await.0.expect("written");
                    let (count, bytes) = file.read_at(Vec::with_capacity(64), 0).await;
                    assert_eq!(count.expect("read"), 64);
                    assert!(bytes.iter().all(|byte| *byte == number), "{bytes:?}");
                }
            })
        })
        .collect();
    all(tasks).await;
    let Ok(file) = Rc::try_unwrap(file) else { panic!("someone holds it still") };
    file.into_inner().close().await.expect("closed");
    let bytes = fs::read(&path).await.expect("read");
    assert!(bytes.len() == 64 && bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}");
}

async fn an_echo_server(stage: Stage) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let server = {
        let (inner, stop) = (stage.clone(), stop.clone());
        stage.spawn(async move {
            let served = TaskGroup::scope(async |group| {
                loop {
                    let accepted = select! {
                        accepted = listener.accept() => accepted,
                        _ = stop.cancelled() => break,
                    };
                    let (mut stream, _) = accepted.expect("a connection");
                    inner.child(group, async move {
                        while let Some(chunk) = stream.recv().await? {
                            stream.write_all(chunk).await.0?;
                        }
                        Ok::<_, std::io::Error>(())
                    });
                }
                Ok(())
            });
            // A client that was aborted may have reset its connection.
            drop(served.await);
        })
    };
    let clients = (0..2_u8).map(|number| {
        stage.spawn(async move {
            // The server may be gone, or go.
            let Ok(mut stream) = TcpStream::connect(address).await else { return false };
            for round in 0..2 {
                let sent = vec![number * 10 + round; 300];
                if stream.write_all(sent.clone()).await.0.is_err() {
                    return false;
                }
                let mut back = Vec::new();
                while back.len() < sent.len() {
                    match stream.read(Vec::with_capacity(300)).await {
                        (Ok(1..), bytes) => back.extend(bytes),
                        _ => return false,
                    }
                }
                assert_eq!(back, sent);
            }
            true
        })
    });
    let clients: Vec<_> = clients.collect();
    let served = {
        let inner = stage.clone();
        // Whoever waits for a connection that nobody accepts any more is let go.
        let all = async move { gather_settled(clients).await.iter().all(|client| *client == Some(true)) };
        let outcome = timeout(2000 * MS, all).await;
        assert!(outcome.is_ok() || !inner.is_calm());
        outcome == Ok(true)
    };
    assert!(served || !stage.is_calm());
    stop.cancel();
    server.await;
}

async fn a_stream_in_two_halves(stage: Stage) {
    const BYTES: usize = 50_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
    let (server, _) = listener.accept().await.expect("a connection");
    let (mut reader, mut writer) = server.into_split();
    let (mut far_reader, mut far_writer) = client.into_split();
    let send = async |writer: &mut corering::net::OwnedWriteHalf| {
        for part in 0..5_u8 {
            if writer.write_all(vec![part; BYTES / 5]).await.0.is_err() {
                return false;
            }
        }
        writer.shutdown().await.is_ok()
    };
    let (first, second) =
        (stage.spawn(async move { send(&mut writer).await }), stage.spawn(async move { send(&mut far_writer).await }));
    let third = stage.spawn(async move {
        let mut all = Vec::new();
        while let Ok(Some(chunk)) = far_reader.recv().await {
            all.extend_from_slice(&chunk);
        }
        all
    });
    let fourth = stage.spawn(async move {
        let mut all = Vec::new();
        loop {
            match reader.read(Vec::with_capacity(7000)).await {
                (Ok(1..), bytes) => all.extend(bytes),
                _ => return all,
            }
        }
    });
    let (sent, far_sent, far_got, got) = corering::join!(first, second, third, fourth);
    for (sent, got) in [(sent, far_got), (far_sent, got)] {
        let Some(got) = got else { continue };
        assert!(got.iter().is_sorted() && got.len() <= BYTES);
        assert!(got.len() == BYTES || !stage.is_calm(), "{sent:?}: {} bytes", got.len());
    }
    listener.close().await.expect("closed");
}
