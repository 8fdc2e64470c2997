//! Pools: who gets what, and that nothing is lost of what is dropped.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::net::{Pool, PoolBuilder, PoolError, TcpListener, TcpStream};
use corering::sync::Event;
use corering::time::sleep;

use crate::{Random, SECOND, alive, clean, log, poll_once, run_then, scene, settled, soon, timers, turn};

/// Something of which is known how many there are.
struct Thing {
    number: u32,
    alive: Rc<Cell<u32>>,
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

#[derive(Clone, Default)]
struct Maker {
    made: Rc<Cell<u32>>,
    alive: Rc<Cell<u32>>,
}

impl Maker {
    fn make(&self) -> Thing {
        self.made.set(self.made.get() + 1);
        self.alive.set(self.alive.get() + 1);
        Thing { number: self.made.get(), alive: self.alive.clone() }
    }

    /// A pool of what is made at once.
    fn builder(&self) -> PoolBuilder<Thing, &'static str> {
        let maker = self.clone();
        Pool::builder(move || {
            let maker = maker.clone();
            async move { Ok(maker.make()) }
        })
    }
}

#[test]
fn the_one_that_was_used_last_is_lent_first() {
    clean(async || {
        let maker = Maker::default();
        let pool = maker.builder().build();
        let (first, second) = (pool.acquire().await.expect("one"), pool.acquire().await.expect("one"));
        assert_eq!((first.number, second.number), (1, 2));
        drop(second);
        drop(first);
        let again = pool.acquire().await.expect("one");
        assert_eq!(again.number, 1);
        let status = pool.status();
        assert_eq!((status.idle, status.in_use, status.size(), status.made, status.max_size), (1, 1, 2, 2, 10));
    });
}

#[test]
fn who_comes_first_gets_the_first_that_comes_back() {
    clean(async || {
        let maker = Maker::default();
        let pool = maker.builder().max_size(1).build();
        let only = pool.acquire().await.expect("one");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in ["first", "second", "third"] {
            let (pool, seen) = (pool.clone(), seen.clone());
            tasks.push(corering::spawn(async move {
                let lent = pool.acquire().await.expect("one");
                log(&seen, name);
                turn().await;
                drop(lent);
            }));
            turn().await;
        }
        assert_eq!(pool.status().waiting, 3);
        drop(only);
        for task in tasks {
            soon(task).await.expect("ended");
        }
        assert_eq!(*seen.borrow(), ["first", "second", "third"]);
        assert_eq!((maker.made.get(), pool.status().idle), (1, 1));
    });
}

#[test]
fn dropped_while_it_waits_makes_or_checks_an_acquire_leaves_nothing() {
    clean(async || {
        let maker = Maker::default();
        let gate = Rc::new(Event::new());
        let pool = {
            let (maker, gate) = (maker.clone(), gate.clone());
            let checked = gate.clone();
            let made = move || {
                let (thing, gate) = (maker.make(), gate.clone());
                async move {
                    gate.wait().await;
                    Ok::<_, io::Error>(thing)
                }
            };
            Pool::builder(made)
                .check(async move |_: &mut Thing| {
                    checked.wait().await;
                    true
                })
                .max_size(1)
                .build()
        };
        let nothing = |what: &str| {
            let status = pool.status();
            assert_eq!((status.size(), status.waiting, maker.alive.get()), (0, 0, 0), "{what}");
        };
        {
            let mut making = pin!(pool.acquire());
            assert!(!poll_once(&mut making).await);
            assert_eq!((pool.status().in_use, maker.alive.get()), (1, 1));
            let mut waiting = pin!(pool.acquire());
            assert!(!poll_once(&mut waiting).await);
            assert_eq!(pool.status().waiting, 1);
        }
        nothing("waiting and making");
        gate.set();
        drop(soon(pool.acquire()).await.expect("one"));
        gate.clear();
        {
            let mut checking = pin!(pool.acquire());
            assert!(!poll_once(&mut checking).await);
            assert_eq!((pool.status().in_use, maker.alive.get()), (1, 1));
        }
        nothing("checking");
        {
            // Given the place, and dropped before it has looked.
            gate.set();
            let lent = soon(pool.acquire()).await.expect("one");
            let (mut chosen, mut next) = (pin!(pool.acquire()), pin!(pool.acquire()));
            assert!(!poll_once(&mut chosen).await && !poll_once(&mut next).await);
            lent.discard();
            poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
            chosen.set(pool.acquire());
            soon(next).await.expect("its turn").discard();
        }
        nothing("chosen");
    });
}

#[test]
fn what_cannot_be_made_costs_its_place_nobody() {
    clean(async || {
        let works = Rc::new(Cell::new(false));
        let pool = {
            let works = works.clone();
            Pool::builder(move || {
                let works = works.get();
                async move { if works { Ok(7) } else { Err("not now") } }
            })
            .max_size(1)
            .build()
        };
        for _ in 0..3 {
            assert_eq!(pool.acquire().await.expect_err("it cannot be made"), PoolError::Make("not now"));
        }
        let other = corering::spawn({
            let pool = pool.clone();
            async move { pool.acquire().await.map(|lent| *lent) }
        });
        works.set(true);
        assert_eq!(soon(other).await.expect("ended"), Ok(7));
        assert_eq!((pool.status().made, pool.status().idle), (1, 1));
    });
}

#[test]
fn idle_ones_go_when_their_time_is_over_and_nobody_asks() {
    scene(async || {
        let maker = Maker::default();
        let pool = maker.builder().idle_time(10 * SECOND).build();
        let (first, second) = (pool.acquire().await.expect("one"), pool.acquire().await.expect("one"));
        drop(first);
        sleep(4 * SECOND).await;
        drop(second);
        sleep(5 * SECOND).await;
        assert_eq!(maker.alive.get(), 2);
        sleep(SECOND + Duration::from_millis(1)).await;
        assert_eq!((maker.alive.get(), pool.status().expired), (1, 1));
        sleep(4 * SECOND).await;
        assert_eq!((maker.alive.get(), pool.status().expired), (0, 2));
        settled().await;
        assert_eq!(timers(), 0, "nothing is waited for where nothing is idle");
        // And again.
        drop(pool.acquire().await.expect("one"));
        sleep(11 * SECOND).await;
        assert_eq!(maker.alive.get(), 0);
    });
}

#[test]
fn an_old_one_goes_though_it_is_used() {
    scene(async || {
        let maker = Maker::default();
        let pool = maker.builder().idle_time(100 * SECOND).lifetime(10 * SECOND).build();
        for _ in 0..3 {
            let lent = pool.acquire().await.expect("one");
            assert_eq!((lent.number, lent.age() < 10 * SECOND), (1, true));
            sleep(3 * SECOND).await;
        }
        let lent = pool.acquire().await.expect("one");
        assert_eq!(lent.number, 1, "it is 9 s old");
        sleep(2 * SECOND).await;
        drop(lent);
        assert_eq!((maker.alive.get(), pool.status().expired), (0, 1));
        // One that is idle: told by its age, though the idle time is not over.
        drop(pool.acquire().await.expect("one"));
        sleep(11 * SECOND).await;
        assert_eq!((maker.alive.get(), pool.status().expired), (0, 2));
    });
}

#[test]
fn one_that_does_not_pass_is_dropped_and_the_next_taken() {
    clean(async || {
        let maker = Maker::default();
        let bad = Rc::new(RefCell::new(vec![3, 2]));
        let pool = {
            let bad = bad.clone();
            maker.builder().check(async move |thing: &mut Thing| !bad.borrow().contains(&thing.number)).build()
        };
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(pool.acquire().await.expect("one"));
        }
        drop(all);
        assert_eq!(pool.acquire().await.expect("one").number, 1);
        assert_eq!((pool.status().refused, maker.alive.get()), (2, 1));
        bad.borrow_mut().push(1);
        assert_eq!(pool.acquire().await.expect("one").number, 4, "made anew");
    });
}

#[test]
fn what_is_discarded_or_taken_out_makes_room() {
    clean(async || {
        let maker = Maker::default();
        let pool = maker.builder().max_size(1).build();
        pool.acquire().await.expect("one").discard();
        assert_eq!(maker.alive.get(), 0);
        let taken = pool.acquire().await.expect("one").into_value();
        let other = soon(pool.acquire()).await.expect("one");
        assert_eq!((taken.number, other.number, maker.alive.get()), (2, 3, 2));
        drop(other);
        pool.retain(|thing| thing.number != 3);
        assert_eq!((pool.status().idle, maker.alive.get()), (0, 1));
    });
}

#[test]
fn a_pool_that_is_closed_waits_for_what_is_lent() {
    clean(async || {
        let maker = Maker::default();
        let pool = maker.builder().max_size(2).build();
        let (first, second) = (pool.acquire().await.expect("one"), pool.acquire().await.expect("one"));
        let mut waiting = pin!(pool.acquire());
        assert!(!poll_once(&mut waiting).await);
        drop(first);
        assert_eq!(maker.alive.get(), 2);
        {
            let mut closing = pin!(pool.close());
            assert!(!poll_once(&mut closing).await);
            assert!(pool.is_closed());
        }
        assert_eq!(soon(waiting).await.err(), Some(PoolError::Closed), "though the place was its own");
        assert_eq!(maker.made.get(), 2);
        assert_eq!(pool.acquire().await.err(), Some(PoolError::Closed));
        let mut closing = pin!(pool.close());
        assert!(!poll_once(&mut closing).await, "one is lent");
        drop(second);
        soon(closing).await;
        assert_eq!((maker.alive.get(), pool.status().size()), (0, 0));
    });
}

#[test]
fn what_outlives_its_core_goes_quietly() {
    run_then(
        corering::Builder::new(),
        async || {
            let maker = Maker::default();
            let pool = maker.builder().build();
            let lent = pool.acquire().await.expect("one");
            drop(pool.acquire().await.expect("another"));
            (maker, pool, lent)
        },
        |(maker, pool, lent)| {
            drop(lent);
            assert_eq!((pool.status().idle, maker.alive.get()), (2, 2));
            drop(pool);
            assert_eq!(maker.alive.get(), 0);
        },
    );
}

#[test]
fn a_pool_that_goes_takes_its_connections_along() {
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let pool = Pool::new(move || TcpStream::connect(address));
        let (mut first, second) = (pool.acquire().await.expect("one"), pool.acquire().await.expect("one"));
        let (mut server, _) = listener.accept().await.expect("the first");
        let (mut other, _) = listener.accept().await.expect("the second");
        first.write_all("hello").await.0.expect("sent");
        assert_eq!(server.recv().await.expect("read").as_deref(), Some(&b"hello"[..]));
        drop((first, second));
        drop(pool);
        assert!(soon(server.recv()).await.expect("an end").is_none());
        assert!(soon(other.recv()).await.expect("an end").is_none());
        turn().await;
        assert_eq!(alive(), 1);
    });
}

#[test]
fn whatever_is_dropped_there_are_never_too_many_and_no_place_is_lost() {
    for seed in 1..=20 {
        clean(async || {
            let maker = Maker::default();
            let most = 3;
            let pool = {
                let (maker, random) = (maker.clone(), Rc::new(RefCell::new(Random::new(seed + 100))));
                let checks = random.clone();
                Pool::builder(move || {
                    let (maker, chance) = (maker.clone(), random.borrow_mut().below(4));
                    async move {
                        for _ in 0..chance {
                            corering::task::yield_now().await;
                        }
                        if chance == 0 { Err("not now") } else { Ok(maker.make()) }
                    }
                })
                .check(async move |_: &mut Thing| {
                    corering::task::yield_now().await;
                    checks.borrow_mut().below(5) > 0
                })
                .max_size(most)
                .build()
            };
            let random = Rc::new(RefCell::new(Random::new(seed)));
            let mut tasks = Vec::new();
            for _ in 0..12 {
                let (pool, random, maker) = (pool.clone(), random.clone(), maker.clone());
                tasks.push(corering::spawn(async move {
                    for _ in 0..20 {
                        let below = |limit| random.borrow_mut().below(limit);
                        let polls = below(8);
                        let mut acquire = pin!(pool.acquire());
                        let mut lent = None;
                        for _ in 0..polls {
                            match poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx))).await {
                                Poll::Ready(given) => {
                                    lent = given.ok();
                                    break;
                                }
                                Poll::Pending => corering::task::yield_now().await,
                            }
                        }
                        assert!(maker.alive.get() as usize <= most && pool.status().size() <= most);
                        if let Some(lent) = lent {
                            corering::task::yield_now().await;
                            if below(4) == 0 {
                                lent.discard();
                            }
                        }
                    }
                }));
            }
            for task in tasks {
                soon(task).await.expect("ended");
            }
            let status = pool.status();
            assert_eq!((status.in_use, status.waiting), (0, 0), "{seed}");
            assert_eq!(status.idle, maker.alive.get() as usize, "{seed}");
            pool.close().await;
            assert_eq!(maker.alive.get(), 0);
        });
    }
}
