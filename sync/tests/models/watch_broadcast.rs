//! Watches and broadcasts.

use std::rc::Rc;

use corering_sync::{RecvError, TryGetError, broadcast, watch};
use proptest::prelude::*;

use crate::lent::{Home, Lent};
use crate::{Bench, Id, Line, Model, Next, config, pick, schedules};

struct WatchModel {
    value: u32,
    version: u64,
    senders: usize,
    /// The version that each receiver has been told of; `None` of those that have gone.
    seen: Vec<Option<u64>>,
    changes: Line<OnWatch, ()>,
    closing: Line<(), ()>,
}

#[derive(Clone, Copy, Debug)]
enum OnWatch {
    Changed(usize),
    /// At least so much.
    Reaches(usize, u32),
    Closed,
}

#[derive(Debug, PartialEq)]
enum WatchHad {
    Changed(bool),
    Reaches(Option<u32>),
    Closed,
}

impl WatchModel {
    fn receivers(&self) -> usize {
        self.seen.iter().flatten().count()
    }

    fn changed(&mut self, receiver: usize) -> Option<bool> {
        let changed = self.seen[receiver].replace(self.version) != Some(self.version);
        (changed || self.senders == 0).then_some(changed)
    }

    fn reaches(&mut self, receiver: usize, least: u32) -> Option<Option<u32>> {
        self.seen[receiver] = Some(self.version);
        if self.value >= least {
            return Some(Some(self.value));
        }
        (self.senders == 0).then_some(None)
    }

    fn send(&mut self, value: u32) {
        self.value = value;
        self.version += 1;
        self.changes.choose_all(());
    }

    fn ask(&mut self, want: OnWatch) -> Option<WatchHad> {
        match want {
            OnWatch::Changed(receiver) => self.changed(receiver).map(WatchHad::Changed),
            OnWatch::Reaches(receiver, least) => self.reaches(receiver, least).map(WatchHad::Reaches),
            OnWatch::Closed => (self.receivers() == 0).then_some(WatchHad::Closed),
        }
    }
}

impl Model for WatchModel {
    type Want = OnWatch;
    type Gets = WatchHad;

    fn come(&mut self, id: Id, want: &OnWatch) -> Option<WatchHad> {
        let had = self.ask(*want);
        if had.is_none() {
            match want {
                OnWatch::Closed => self.closing.join(id, ()),
                OnWatch::Changed(_) | OnWatch::Reaches(..) => self.changes.join(id, *want),
            }
        }
        had
    }

    fn look(&mut self, id: Id) -> Option<WatchHad> {
        if self.closing.take(id).is_some() {
            return Some(WatchHad::Closed);
        }
        let (want, ()) = self.changes.take(id)?;
        self.come(id, &want)
    }

    fn give_up(&mut self, id: Id) {
        self.changes.take(id);
        self.closing.take(id);
        let _ = self.changes.leave(id) || self.closing.leave(id);
    }
}

#[derive(Clone, Debug)]
enum OfWatch {
    Changed(u8),
    Reaches(u8, u32),
    Latest(u8),
    Closed(u8),
    Send(u8, u32),
    Modify(u8),
    Subscribe(u8),
    CloneReceiver(u8),
    DropReceiver(u8),
    CloneSender(u8),
    DropSender(u8),
}

struct BroadcastModel {
    capacity: usize,
    sent: Vec<Rc<u32>>,
    senders: usize,
    /// What each receiver gets next; `None` of those that have gone.
    next: Vec<Option<usize>>,
    line: Line<usize, ()>,
}

impl BroadcastModel {
    fn oldest(&self) -> usize {
        self.sent.len().saturating_sub(self.capacity)
    }

    /// `None` if there is nothing to be told.
    fn recv(&mut self, receiver: usize) -> Option<Result<u32, RecvError>> {
        let next = self.next[receiver].expect("a receiver");
        if next < self.oldest() {
            self.next[receiver] = Some(self.oldest());
            return Some(Err(RecvError::Lagged((self.oldest() - next) as u64)));
        }
        if let Some(value) = self.sent.get(next) {
            self.next[receiver] = Some(next + 1);
            return Some(Ok(**value));
        }
        (self.senders == 0).then_some(Err(RecvError::Closed))
    }

    fn is_kept(&self, number: usize) -> bool {
        number >= self.oldest() && self.next.iter().flatten().any(|next| *next <= number)
    }
}

impl Model for BroadcastModel {
    type Want = usize;
    type Gets = Result<u32, RecvError>;

    fn come(&mut self, id: Id, receiver: &usize) -> Option<Self::Gets> {
        let had = self.recv(*receiver);
        if had.is_none() {
            self.line.join(id, *receiver);
        }
        had
    }

    fn look(&mut self, id: Id) -> Option<Self::Gets> {
        let (receiver, ()) = self.line.take(id)?;
        self.recv(receiver)
    }

    fn give_up(&mut self, id: Id) {
        self.line.take(id);
        self.line.leave(id);
    }
}

#[derive(Clone, Debug)]
enum OfBroadcast {
    Recv(u8),
    TryRecv(u8),
    Send(u8),
    Subscribe(u8),
    DropReceiver(u8),
    CloneSender(u8),
    DropSender(u8),
}

/// One of those that are at home, and which.
fn at_home<T>(which: u8, homes: &[Home<T>]) -> Option<(usize, Lent<T>)> {
    let place = pick(which, homes)?;
    Some((place, homes[place].lend()?))
}

/// Drops one of those that are at home. Says which.
fn gone<T>(which: u8, homes: &[Home<T>]) -> Option<usize> {
    let place = pick(which, homes)?;
    homes[place].take().map(|_| place)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_watch_is_as_its_model(
        steps in schedules(prop_oneof![
            12 => any::<u8>().prop_map(OfWatch::Changed),
            6 => (any::<u8>(), 0..10_u32).prop_map(|(which, least)| OfWatch::Reaches(which, least)),
            3 => any::<u8>().prop_map(OfWatch::Latest),
            6 => any::<u8>().prop_map(OfWatch::Closed),
            6 => (any::<u8>(), 0..10_u32).prop_map(|(which, value)| OfWatch::Send(which, value)),
            3 => any::<u8>().prop_map(OfWatch::Modify),
            2 => any::<u8>().prop_map(OfWatch::Subscribe),
            2 => any::<u8>().prop_map(OfWatch::CloneReceiver),
            3 => any::<u8>().prop_map(OfWatch::DropReceiver),
            2 => any::<u8>().prop_map(OfWatch::CloneSender),
            2 => any::<u8>().prop_map(OfWatch::DropSender),
        ]),
    ) {
        let (sender, receiver) = watch::channel(0);
        let (mut senders, mut receivers) = (vec![Home::new(sender)], vec![Home::new(receiver)]);
        let mut bench = Bench::new(|woken| WatchModel {
            value: 0,
            version: 0,
            senders: 1,
            seen: vec![Some(0)],
            changes: Line::new(woken),
            closing: Line::new(woken),
        });
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => assert_eq!(got, expected),
                Next::Do(OfWatch::Changed(which)) => {
                    if let Some((number, mut receiver)) = at_home(which, &receivers) {
                        bench.start(OnWatch::Changed(number), async move {
                            WatchHad::Changed(receiver.changed().await.is_ok())
                        });
                    }
                }
                Next::Do(OfWatch::Reaches(which, least)) => {
                    if let Some((number, mut receiver)) = at_home(which, &receivers) {
                        bench.start(OnWatch::Reaches(number, least), async move {
                            let value = receiver.wait_for(|value| *value >= least).await;
                            WatchHad::Reaches(value.ok().map(|value| *value))
                        });
                    }
                }
                Next::Do(OfWatch::Latest(which)) => {
                    if let Some((number, mut receiver)) = at_home(which, &receivers) {
                        assert_eq!(*receiver.latest(), bench.model.value);
                        bench.model.seen[number] = Some(bench.model.version);
                    }
                }
                Next::Do(OfWatch::Closed(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        bench.start(OnWatch::Closed, async move {
                            sender.closed().await;
                            WatchHad::Closed
                        });
                    }
                }
                Next::Do(OfWatch::Send(which, value)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        sender.send(value);
                        bench.model.send(value);
                    }
                }
                Next::Do(OfWatch::Modify(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        sender.modify(|value| *value += 1);
                        bench.model.send(bench.model.value + 1);
                    }
                }
                Next::Do(OfWatch::Subscribe(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        receivers.push(Home::new(sender.subscribe()));
                        bench.model.seen.push(Some(bench.model.version));
                    }
                }
                Next::Do(OfWatch::CloneReceiver(which)) => {
                    if let Some((number, receiver)) = at_home(which, &receivers) {
                        receivers.push(Home::new(receiver.clone()));
                        bench.model.seen.push(bench.model.seen[number]);
                    }
                }
                Next::Do(OfWatch::DropReceiver(which)) => {
                    if let Some(number) = gone(which, &receivers) {
                        bench.model.seen[number] = None;
                        if bench.model.receivers() == 0 {
                            bench.model.closing.choose_all(());
                        }
                    }
                }
                Next::Do(OfWatch::CloneSender(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        senders.push(Home::new(sender.clone()));
                        bench.model.senders += 1;
                    }
                }
                Next::Do(OfWatch::DropSender(which)) => {
                    if gone(which, &senders).is_some() {
                        bench.model.senders -= 1;
                        if bench.model.senders == 0 {
                            bench.model.changes.choose_all(());
                        }
                    }
                }
            }
            bench.check();
            for (number, receiver) in receivers.iter().enumerate() {
                if let Some(receiver) = receiver.lend() {
                    assert_eq!(receiver.has_changed(), bench.model.seen[number] != Some(bench.model.version));
                }
            }
            for sender in senders.iter().filter_map(Home::lend) {
                assert_eq!((*sender.latest(), sender.receivers()), (bench.model.value, bench.model.receivers()));
            }
        }
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        // What is left waits for what may still come.
        let WatchModel { senders, .. } = bench.model;
        let receivers = bench.model.receivers();
        let hopeless = |want| if matches!(want, OnWatch::Closed) { receivers == 0 } else { senders == 0 };
        assert!(bench.waits.iter().all(|wait| !hopeless(wait.want)));
    }

    #[test]
    fn a_broadcast_is_as_its_model(
        capacity in 1..4_usize,
        steps in schedules(prop_oneof![
            12 => any::<u8>().prop_map(OfBroadcast::Recv),
            4 => any::<u8>().prop_map(OfBroadcast::TryRecv),
            12 => any::<u8>().prop_map(OfBroadcast::Send),
            3 => any::<u8>().prop_map(OfBroadcast::Subscribe),
            2 => any::<u8>().prop_map(OfBroadcast::DropReceiver),
            1 => any::<u8>().prop_map(OfBroadcast::CloneSender),
            1 => any::<u8>().prop_map(OfBroadcast::DropSender),
        ]),
    ) {
        let (sender, receiver) = broadcast::channel(capacity);
        let (mut senders, mut receivers) = (vec![Home::new(sender)], vec![Home::new(receiver)]);
        let mut bench = Bench::new(|woken| BroadcastModel {
            capacity,
            sent: Vec::new(),
            senders: 1,
            next: vec![Some(0)],
            line: Line::new(woken),
        });
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => assert_eq!(got, expected),
                Next::Do(OfBroadcast::Recv(which)) => {
                    if let Some((number, mut receiver)) = at_home(which, &receivers) {
                        bench.start(number, async move { receiver.recv().await.map(|value: Rc<u32>| *value) });
                    }
                }
                Next::Do(OfBroadcast::TryRecv(which)) => {
                    if let Some((number, mut receiver)) = at_home(which, &receivers) {
                        let expected = loop {
                            match bench.model.recv(number) {
                                Some(Err(RecvError::Lagged(_))) => {}
                                Some(Err(RecvError::Closed)) => break Err(TryGetError::Closed),
                                Some(Ok(value)) => break Ok(value),
                                None => break Err(TryGetError::Empty),
                            }
                        };
                        assert_eq!(receiver.try_recv().map(|value| *value), expected);
                    }
                }
                Next::Do(OfBroadcast::Send(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        let model = &mut bench.model;
                        let value = Rc::new(model.sent.len() as u32);
                        let receivers = model.next.iter().flatten().count();
                        let sent = sender.send(Rc::clone(&value)).map_err(|closed| *closed.0);
                        if receivers == 0 {
                            assert_eq!(sent, Err(*value));
                        } else {
                            assert_eq!(sent, Ok(receivers));
                            model.sent.push(value);
                            model.line.choose_all(());
                        }
                    }
                }
                Next::Do(OfBroadcast::Subscribe(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        receivers.push(Home::new(sender.subscribe()));
                        bench.model.next.push(Some(bench.model.sent.len()));
                    }
                }
                Next::Do(OfBroadcast::DropReceiver(which)) => {
                    if let Some(number) = gone(which, &receivers) {
                        bench.model.next[number] = None;
                    }
                }
                Next::Do(OfBroadcast::CloneSender(which)) => {
                    if let Some((_, sender)) = at_home(which, &senders) {
                        senders.push(Home::new(sender.clone()));
                        bench.model.senders += 1;
                    }
                }
                Next::Do(OfBroadcast::DropSender(which)) => {
                    if gone(which, &senders).is_some() {
                        bench.model.senders -= 1;
                        if bench.model.senders == 0 {
                            bench.model.line.choose_all(());
                        }
                    }
                }
            }
            bench.check();
            for (number, value) in bench.model.sent.iter().enumerate() {
                let kept = Rc::strong_count(value) - 1;
                assert_eq!(kept, usize::from(bench.model.is_kept(number)), "value {number} is kept until all had it");
            }
        }
        senders.clear();
        bench.model.senders = 0;
        bench.model.line.choose_all(());
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        assert!(bench.waits.is_empty());
        receivers.clear();
        assert!(bench.model.sent.iter().all(|value| Rc::strong_count(value) == 1));
    }
}
