//! Promises and oneshots.

use corering_sync::{Abandoned, oneshot, promise};
use proptest::prelude::*;

use crate::lent::Home;
use crate::{Bench, Id, Line, Model, Next, config, schedules};

struct PromiseModel {
    outcome: Option<Result<u32, Abandoned>>,
    line: Line<(), ()>,
}

impl PromiseModel {
    fn settle(&mut self, outcome: Result<u32, Abandoned>) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        self.outcome = Some(outcome);
        self.line.choose_all(());
        true
    }
}

impl Model for PromiseModel {
    type Want = ();
    type Gets = Result<u32, Abandoned>;

    fn come(&mut self, id: Id, (): &()) -> Option<Self::Gets> {
        if self.outcome.is_none() {
            self.line.join(id, ());
        }
        self.outcome
    }

    fn look(&mut self, id: Id) -> Option<Self::Gets> {
        self.line.take(id)?;
        self.outcome
    }

    fn give_up(&mut self, id: Id) {
        self.line.take(id);
        self.line.leave(id);
    }
}

#[derive(Clone, Debug)]
enum OfPromise {
    Wait,
    Own,
    Set(u32),
    Cancel,
    DropPromise,
}

struct OneshotModel {
    value: Option<u32>,
    sender_gone: bool,
    receiver_gone: bool,
    receiving: Line<(), ()>,
    closing: Line<(), ()>,
}

#[derive(Clone, Copy, PartialEq)]
enum OnOneshot {
    Recv,
    /// With the receiver itself, which goes with the wait.
    RecvAndGo,
    Closed,
}

#[derive(Debug, PartialEq)]
enum OneshotHad {
    Value(Result<u32, Abandoned>),
    Closed,
}

impl OneshotModel {
    fn sender_goes(&mut self) {
        self.sender_gone = true;
        self.receiving.choose_all(());
    }

    fn receiver_goes(&mut self) {
        self.receiver_gone = true;
        self.closing.choose_all(());
    }

    fn value(&mut self) -> OneshotHad {
        OneshotHad::Value(self.value.take().ok_or(Abandoned))
    }
}

/// Those who go with their receiver are told apart by their number.
struct WithReceiver<M> {
    model: M,
    goes: Vec<Id>,
}

impl Model for WithReceiver<OneshotModel> {
    type Want = OnOneshot;
    type Gets = OneshotHad;

    fn come(&mut self, id: Id, want: &OnOneshot) -> Option<OneshotHad> {
        let Self { model, goes } = self;
        match want {
            OnOneshot::Closed if model.receiver_gone => return Some(OneshotHad::Closed),
            OnOneshot::Closed => model.closing.join(id, ()),
            OnOneshot::Recv | OnOneshot::RecvAndGo if model.sender_gone => {
                let value = model.value();
                if *want == OnOneshot::RecvAndGo {
                    model.receiver_goes();
                }
                return Some(value);
            }
            OnOneshot::Recv => model.receiving.join(id, ()),
            OnOneshot::RecvAndGo => {
                goes.push(id);
                model.receiving.join(id, ());
            }
        }
        None
    }

    fn look(&mut self, id: Id) -> Option<OneshotHad> {
        if self.model.closing.take(id).is_some() {
            return Some(OneshotHad::Closed);
        }
        self.model.receiving.take(id)?;
        let value = self.model.value();
        if self.goes.contains(&id) {
            self.model.receiver_goes();
        }
        Some(value)
    }

    fn give_up(&mut self, id: Id) {
        for line in [&mut self.model.receiving, &mut self.model.closing] {
            line.take(id);
            line.leave(id);
        }
        if self.goes.contains(&id) {
            self.model.receiver_goes();
        }
    }

    fn not_come(&mut self, want: OnOneshot) {
        if want == OnOneshot::RecvAndGo {
            self.model.receiver_goes();
        }
    }
}

#[derive(Clone, Debug)]
enum OfOneshot {
    Recv,
    RecvAndGo,
    TryRecv,
    Closed,
    Send(u32),
    DropSender,
    DropReceiver,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_promise_is_as_its_model(
        steps in schedules(prop_oneof![
            10 => Just(OfPromise::Wait),
            10 => Just(OfPromise::Own),
            1 => any::<u32>().prop_map(OfPromise::Set),
            1 => Just(OfPromise::Cancel),
            1 => Just(OfPromise::DropPromise),
        ]),
    ) {
        let (promise, promised) = promise();
        let mut promise = Some(promise);
        let mut bench = Bench::new(|woken| PromiseModel { outcome: None, line: Line::new(woken) });
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => assert_eq!(got, expected),
                Next::Do(OfPromise::Wait) => bench.start((), async { promised.wait().await.copied() }),
                Next::Do(OfPromise::Own) => bench.start((), promised.clone().into_future()),
                Next::Do(OfPromise::Set(value)) => {
                    if let Some(promise) = &promise {
                        assert_eq!(promise.set(value).is_ok(), bench.model.settle(Ok(value)));
                    }
                }
                Next::Do(OfPromise::Cancel) => {
                    if let Some(promise) = &promise {
                        assert_eq!(promise.cancel(), bench.model.settle(Err(Abandoned)));
                    }
                }
                Next::Do(OfPromise::DropPromise) => {
                    if promise.take().is_some() {
                        bench.model.settle(Err(Abandoned));
                    }
                }
            }
            bench.check();
            assert_eq!(promised.get().map(Result::<&u32, _>::copied), bench.model.outcome);
            if let Some(promise) = &promise {
                assert_eq!(promise.waiters(), bench.model.line.waiting.len());
                assert_eq!(promise.is_settled(), bench.model.outcome.is_some());
            }
        }
        drop(promise);
        bench.model.settle(Err(Abandoned));
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        assert!(bench.waits.is_empty());
    }

    #[test]
    fn a_oneshot_is_as_its_model(
        steps in schedules(prop_oneof![
            8 => Just(OfOneshot::Recv),
            1 => Just(OfOneshot::RecvAndGo),
            4 => Just(OfOneshot::TryRecv),
            6 => Just(OfOneshot::Closed),
            2 => any::<u32>().prop_map(OfOneshot::Send),
            1 => Just(OfOneshot::DropSender),
            1 => Just(OfOneshot::DropReceiver),
        ]),
    ) {
        let (sender, receiver) = oneshot::channel();
        let (sender, receiver) = (Home::new(sender), Home::new(receiver));
        let mut bench = Bench::new(|woken| WithReceiver {
            model: OneshotModel {
                value: None,
                sender_gone: false,
                receiver_gone: false,
                receiving: Line::new(woken),
                closing: Line::new(woken),
            },
            goes: Vec::new(),
        });
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => assert_eq!(got, expected),
                Next::Do(OfOneshot::Recv) => {
                    if let Some(mut receiver) = receiver.lend() {
                        bench.start(OnOneshot::Recv, async move { OneshotHad::Value(receiver.recv().await) });
                    }
                }
                Next::Do(OfOneshot::RecvAndGo) => {
                    if let Some(receiver) = receiver.take() {
                        bench.start(OnOneshot::RecvAndGo, async move { OneshotHad::Value(receiver.await) });
                    }
                }
                Next::Do(OfOneshot::TryRecv) => {
                    if let Some(mut receiver) = receiver.lend() {
                        let model = &mut bench.model.model;
                        let expected = match model.value.take() {
                            None if model.sender_gone => Err(Abandoned),
                            value => Ok(value),
                        };
                        assert_eq!(receiver.try_recv(), expected);
                    }
                }
                Next::Do(OfOneshot::Closed) => {
                    if let Some(mut sender) = sender.lend() {
                        bench.start(OnOneshot::Closed, async move {
                            sender.closed().await;
                            OneshotHad::Closed
                        });
                    }
                }
                Next::Do(OfOneshot::Send(value)) => {
                    if let Some(sender) = sender.take() {
                        let model = &mut bench.model.model;
                        assert_eq!(sender.send(value).is_ok(), !model.receiver_gone);
                        model.value = Some(value);
                        model.sender_goes();
                    }
                }
                Next::Do(OfOneshot::DropSender) => {
                    if sender.take().is_some() {
                        bench.model.model.sender_goes();
                    }
                }
                Next::Do(OfOneshot::DropReceiver) => {
                    if receiver.take().is_some() {
                        bench.model.model.receiver_goes();
                    }
                }
            }
            bench.check();
            if let Some(sender) = sender.lend() {
                assert_eq!(sender.is_closed(), bench.model.model.receiver_gone);
            }
        }
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        if sender.take().is_some() {
            bench.model.model.sender_goes();
        }
        if receiver.take().is_some() {
            bench.model.model.receiver_goes();
        }
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        // What is left waits for an end that another wait holds.
        let model = &bench.model.model;
        let hopeless = |want| if want == OnOneshot::Closed { model.receiver_gone } else { model.sender_gone };
        assert!(bench.waits.iter().all(|wait| !hopeless(wait.want)));
    }
}
