//! `Lock`, `RwLock` and `Semaphore`.

use corering_sync::{AcquireError, Lock, Permit, ReadGuard, RwLock, Semaphore, WriteGuard};
use proptest::prelude::*;

use crate::{Bench, Id, Line, Model, Next, Woken, config, pick, schedules};

/// Lock, reader-writer lock and semaphore.
struct Permits {
    limit: isize,
    out: isize,
    closed: bool,
    line: Line<isize, Result<(), AcquireError>>,
}

impl Permits {
    fn new(limit: isize, woken: &Woken) -> Self {
        Self { limit, out: 0, closed: false, line: Line::new(woken) }
    }

    fn free(&self) -> isize {
        self.limit - self.out
    }

    fn try_take(&mut self, want: isize) -> Result<(), AcquireError> {
        if self.closed {
            return Err(AcquireError::Closed);
        }
        if want > self.limit && want > 1 {
            return Err(AcquireError::TooMany { wanted: want as usize, limit: self.limit as usize });
        }
        if self.free() < want || !self.line.waiting.is_empty() {
            return Err(AcquireError::WouldBlock);
        }
        self.out += want;
        Ok(())
    }

    fn give_back(&mut self, count: isize) {
        self.out -= count;
        self.serve();
    }

    fn serve(&mut self) {
        while let Some((_, want)) = self.line.waiting.front().filter(|(_, want)| self.free() >= *want) {
            self.out += want;
            self.line.choose(Ok(()));
        }
    }

    fn set_limit(&mut self, limit: isize) {
        self.limit = limit;
        self.serve();
    }

    fn close(&mut self) {
        self.closed = true;
        self.line.choose_all(Err(AcquireError::Closed));
    }
}

impl Model for Permits {
    type Want = isize;
    type Gets = Result<isize, AcquireError>;

    fn come(&mut self, id: Id, want: &isize) -> Option<Self::Gets> {
        match self.try_take(*want) {
            Err(AcquireError::WouldBlock) => {
                self.line.join(id, *want);
                None
            }
            outcome => Some(outcome.map(|()| *want)),
        }
    }

    fn look(&mut self, id: Id) -> Option<Self::Gets> {
        self.line.take(id).map(|(want, given)| given.map(|()| want))
    }

    fn give_up(&mut self, id: Id) {
        match self.line.take(id) {
            Some((want, Ok(()))) => self.give_back(want),
            Some((_, Err(_))) => {}
            None => {
                self.line.leave(id);
                self.serve();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum OfLock {
    Lock,
    Try,
    Release,
}

#[derive(Clone, Debug)]
enum OfRwLock {
    Read,
    Write,
    TryRead,
    TryWrite,
    Release(u8),
    Downgrade(u8),
}

#[derive(Clone, Debug)]
enum OfSemaphore {
    Acquire(usize),
    Try(usize),
    Release(u8),
    Split(u8, usize),
    Forget(u8),
    Limit(usize),
    Close,
}

const READERS: isize = 1000;

enum RwGuard<'a> {
    Read(ReadGuard<&'a RwLock<u32>>),
    Write(WriteGuard<&'a RwLock<u32>>),
}

impl RwGuard<'_> {
    fn look(&self) -> u32 {
        match self {
            Self::Read(guard) => **guard,
            Self::Write(guard) => **guard,
        }
    }

    fn permits(&self) -> isize {
        match self {
            Self::Read(_) => 1,
            Self::Write(_) => READERS,
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_lock_is_as_its_model(
        steps in schedules(prop_oneof![3 => Just(OfLock::Lock), 1 => Just(OfLock::Try), 3 => Just(OfLock::Release)]),
    ) {
        let lock = Lock::new(0);
        let mut bench = Bench::new(|woken| Permits::new(1, woken));
        let mut held = None;
        let mut times = 0;
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(_, guard) => assert!(held.replace(guard).is_none()),
                Next::Do(OfLock::Lock) => bench.start(1, lock.lock()),
                Next::Do(OfLock::Try) => {
                    let guard = lock.try_lock();
                    assert_eq!(guard.is_ok(), bench.model.try_take(1).is_ok());
                    held = held.or(guard.ok());
                }
                Next::Do(OfLock::Release) => {
                    if let Some(mut guard) = held.take() {
                        *guard += 1;
                        times += 1;
                        drop(guard);
                        bench.model.give_back(1);
                    }
                }
            }
            bench.check();
            assert_eq!(lock.is_locked(), bench.model.out == 1);
            assert_eq!(lock.waiters(), bench.model.line.waiting.len());
        }
        if held.take().is_some() {
            bench.model.give_back(1);
        }
        bench.settle(|model, _, guard| {
            drop(guard);
            model.give_back(1);
        });
        assert!(bench.waits.is_empty() && !lock.is_locked());
        assert_eq!(*lock.try_lock().expect("free"), times);
    }

    #[test]
    fn a_reader_writer_lock_is_as_its_model(
        steps in schedules(prop_oneof![
            3 => Just(OfRwLock::Read),
            2 => Just(OfRwLock::Write),
            1 => Just(OfRwLock::TryRead),
            1 => Just(OfRwLock::TryWrite),
            3 => any::<u8>().prop_map(OfRwLock::Release),
            1 => any::<u8>().prop_map(OfRwLock::Downgrade),
        ]),
    ) {
        let lock = RwLock::new(0);
        let mut bench = Bench::new(|woken| Permits::new(READERS, woken));
        let mut held: Vec<RwGuard<'_>> = Vec::new();
        let mut writes = 0;
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(_, guard) => held.push(guard),
                Next::Do(OfRwLock::Read) => bench.start(1, async { RwGuard::Read(lock.read().await) }),
                Next::Do(OfRwLock::Write) => bench.start(READERS, async { RwGuard::Write(lock.write().await) }),
                Next::Do(OfRwLock::TryRead) => {
                    let guard = lock.try_read();
                    assert_eq!(guard.is_ok(), bench.model.try_take(1).is_ok());
                    held.extend(guard.map(RwGuard::Read));
                }
                Next::Do(OfRwLock::TryWrite) => {
                    let guard = lock.try_write();
                    assert_eq!(guard.is_ok(), bench.model.try_take(READERS).is_ok());
                    held.extend(guard.map(RwGuard::Write));
                }
                Next::Do(OfRwLock::Release(which)) => {
                    if let Some(place) = pick(which, &held) {
                        let mut guard = held.remove(place);
                        let permits = guard.permits();
                        if let RwGuard::Write(guard) = &mut guard {
                            **guard += 1;
                            writes += 1;
                        }
                        drop(guard);
                        bench.model.give_back(permits);
                    }
                }
                Next::Do(OfRwLock::Downgrade(which)) => {
                    if let Some(place) = pick(which, &held) {
                        match held.remove(place) {
                            RwGuard::Write(guard) => {
                                held.push(RwGuard::Read(guard.downgrade()));
                                bench.model.give_back(READERS - 1);
                            }
                            reading @ RwGuard::Read(_) => held.push(reading),
                        }
                    }
                }
            }
            bench.check();
            assert_eq!(lock.waiters(), bench.model.line.waiting.len());
            let writers = held.iter().filter(|guard| matches!(guard, RwGuard::Write(_))).count();
            assert!(writers == 0 || held.len() == 1, "a writer is alone");
            assert!(held.iter().all(|guard| guard.look() == writes));
        }
        while let Some(guard) = held.pop() {
            let permits = guard.permits();
            drop(guard);
            bench.model.give_back(permits);
        }
        bench.settle(|model, permits, guard| {
            drop(guard);
            model.give_back(permits.expect("never closed"));
        });
        assert!(bench.waits.is_empty() && lock.try_write().is_ok());
    }

    #[test]
    fn a_semaphore_is_as_its_model(
        limit in 0..5_usize,
        steps in schedules(prop_oneof![
            40 => (0..5_usize).prop_map(OfSemaphore::Acquire),
            10 => (0..5_usize).prop_map(OfSemaphore::Try),
            30 => any::<u8>().prop_map(OfSemaphore::Release),
            5 => (any::<u8>(), 0..4_usize).prop_map(|(which, count)| OfSemaphore::Split(which, count)),
            5 => any::<u8>().prop_map(OfSemaphore::Forget),
            10 => (0..7_usize).prop_map(OfSemaphore::Limit),
            1 => Just(OfSemaphore::Close),
        ]),
    ) {
        let semaphore = Semaphore::new(limit);
        let mut bench: Bench<'_, _, Result<Permit<&Semaphore>, _>> =
            Bench::new(|woken| Permits::new(limit as isize, woken));
        let mut held: Vec<Permit<&Semaphore>> = Vec::new();
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => {
                    assert_eq!(got.as_ref().map(|permit| permit.count() as isize), expected.as_ref().copied());
                    held.extend(got);
                }
                Next::Do(OfSemaphore::Acquire(count)) => {
                    bench.start(count as isize, semaphore.acquire_many(count));
                }
                Next::Do(OfSemaphore::Try(count)) => {
                    let got = semaphore.try_acquire_many(count);
                    assert_eq!(got.as_ref().map(|_| ()).map_err(|error| *error), bench.model.try_take(count as isize));
                    held.extend(got);
                }
                Next::Do(OfSemaphore::Release(which)) => {
                    if let Some(place) = pick(which, &held) {
                        let permit = held.remove(place);
                        let count = permit.count();
                        drop(permit);
                        bench.model.give_back(count as isize);
                    }
                }
                Next::Do(OfSemaphore::Split(which, count)) => {
                    if let Some(place) = pick(which, &held) {
                        let before = held[place].count();
                        let split = held[place].split(count);
                        assert_eq!(split.is_some(), count <= before);
                        assert_eq!(held[place].count() + split.as_ref().map_or(0, Permit::count), before);
                        held.extend(split);
                    }
                }
                Next::Do(OfSemaphore::Forget(which)) => {
                    if let Some(place) = pick(which, &held) {
                        let permit = held.remove(place);
                        let count = permit.count() as isize;
                        permit.forget();
                        bench.model.limit = (bench.model.limit - count).max(0);
                        bench.model.give_back(count);
                    }
                }
                Next::Do(OfSemaphore::Limit(limit)) => {
                    semaphore.set_limit(limit);
                    bench.model.set_limit(limit as isize);
                }
                Next::Do(OfSemaphore::Close) => {
                    semaphore.close();
                    bench.model.close();
                }
            }
            bench.check();
            assert_eq!(semaphore.limit() as isize, bench.model.limit);
            assert_eq!(semaphore.available() as isize, bench.model.free().max(0));
            assert_eq!(semaphore.waiters(), bench.model.line.waiting.len());
            assert_eq!(semaphore.is_closed(), bench.model.closed);
        }
        semaphore.set_limit(100);
        bench.model.set_limit(100);
        let all = held.iter().map(Permit::count).sum::<usize>();
        held.clear();
        bench.model.give_back(all as isize);
        bench.settle(|model, expected, got| {
            assert_eq!(got.as_ref().map(|permit| permit.count() as isize), expected.as_ref().copied());
            drop(got);
            model.give_back(expected.unwrap_or(0));
        });
        assert!(bench.waits.is_empty());
        assert_eq!(semaphore.available(), 100);
    }
}
