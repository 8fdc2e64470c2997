//! `OnceCell` and `CancellationToken`.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use corering_sync::{CancellationToken, OnceCell};
use proptest::prelude::*;

use crate::{Bench, Id, Line, Model, Next, config, pick, schedules};

/// What the one who makes the value makes, as soon as that is known.
type Gate = Rc<Cell<Option<Result<u32, ()>>>>;

struct OnceModel {
    value: Option<u32>,
    locked: bool,
    /// Who makes the value.
    making: Option<(Id, Gate)>,
    line: Line<Gate, ()>,
}

impl OnceModel {
    fn release(&mut self) {
        self.making = None;
        self.locked = self.line.choose(());
    }

    /// It is its turn.
    fn turn(&mut self, id: Id, gate: &Gate) -> Option<Result<u32, ()>> {
        if let Some(value) = self.value {
            self.release();
            return Some(Ok(value));
        }
        self.making = Some((id, Rc::clone(gate)));
        let made = gate.get()?;
        let outcome = made.map(|made| *self.value.get_or_insert(made));
        self.release();
        Some(outcome)
    }
}

impl Model for OnceModel {
    type Want = Gate;
    type Gets = Result<u32, ()>;

    fn come(&mut self, id: Id, gate: &Gate) -> Option<Self::Gets> {
        if let Some(value) = self.value {
            return Some(Ok(value));
        }
        if !std::mem::replace(&mut self.locked, true) {
            return self.turn(id, gate);
        }
        self.line.join(id, Rc::clone(gate));
        None
    }

    fn look(&mut self, id: Id) -> Option<Self::Gets> {
        if let Some((_, gate)) = self.making.take_if(|(maker, _)| *maker == id) {
            let Some(made) = gate.get() else {
                self.making = Some((id, gate));
                return None;
            };
            let outcome = made.map(|made| *self.value.get_or_insert(made));
            self.release();
            return Some(outcome);
        }
        let (gate, ()) = self.line.take(id)?;
        self.turn(id, &gate)
    }

    fn give_up(&mut self, id: Id) {
        let makes = self.making.as_ref().is_some_and(|(maker, _)| *maker == id);
        if makes || self.line.take(id).is_some() {
            self.release();
        } else {
            self.line.leave(id);
        }
    }
}

#[derive(Clone, Debug)]
enum OfOnce {
    Get,
    Make(u8, Result<u32, ()>),
    Set(u32),
}

struct Node {
    parent: Option<usize>,
    cancelled: bool,
    /// How many tokens there are of it.
    tokens: usize,
}

struct TokenModel {
    nodes: Vec<Node>,
    line: Line<usize, ()>,
}

impl TokenModel {
    fn is_below(&self, node: usize, above: usize) -> bool {
        let mut next = Some(node);
        while let Some(node) = next {
            if node == above {
                return true;
            }
            next = self.nodes[node].parent;
        }
        false
    }

    fn child(&mut self, parent: usize) -> usize {
        let cancelled = self.nodes[parent].cancelled;
        self.nodes.push(Node { parent: (!cancelled).then_some(parent), cancelled, tokens: 1 });
        self.nodes.len() - 1
    }

    fn cancel(&mut self, above: usize) {
        for node in 0..self.nodes.len() {
            self.nodes[node].cancelled |= self.is_below(node, above);
        }
        let waiting = std::mem::take(&mut self.line.waiting);
        let (told, others) = waiting.into_iter().partition(|(_, node)| self.nodes[*node].cancelled);
        self.line.waiting = told;
        self.line.choose_all(());
        self.line.waiting = others;
    }

    fn lives(&self, node: usize) -> bool {
        (0..self.nodes.len()).any(|below| self.nodes[below].tokens > 0 && self.is_below(below, node))
    }

    fn children(&self, node: usize) -> usize {
        if self.nodes[node].cancelled {
            return 0;
        }
        (0..self.nodes.len()).filter(|child| self.nodes[*child].parent == Some(node) && self.lives(*child)).count()
    }
}

impl Model for TokenModel {
    type Want = usize;
    type Gets = ();

    fn come(&mut self, id: Id, node: &usize) -> Option<()> {
        if self.nodes[*node].cancelled {
            self.nodes[*node].tokens -= 1;
            return Some(());
        }
        self.line.join(id, *node);
        None
    }

    fn look(&mut self, id: Id) -> Option<()> {
        let (node, ()) = self.line.take(id)?;
        self.nodes[node].tokens -= 1;
        Some(())
    }

    fn give_up(&mut self, id: Id) {
        let waiting = self.line.waiting.iter().find(|(waiting, _)| *waiting == id).map(|(_, node)| *node);
        let node = waiting.or_else(|| self.line.take(id).map(|(node, ())| node)).expect("it came");
        self.line.leave(id);
        self.nodes[node].tokens -= 1;
    }

    fn not_come(&mut self, node: usize) {
        self.nodes[node].tokens -= 1;
    }
}

#[derive(Clone, Debug)]
enum OfToken {
    Wait(u8),
    Child(u8),
    Clone(u8),
    DropToken(u8),
    Cancel(u8),
    /// By a guard, which takes the token along.
    Guard(u8, bool),
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_once_cell_is_as_its_model(
        steps in schedules(prop_oneof![
            20 => Just(OfOnce::Get),
            4 => (any::<u8>(), any::<u32>()).prop_map(|(which, value)| OfOnce::Make(which, Ok(value))),
            8 => any::<u8>().prop_map(|which| OfOnce::Make(which, Err(()))),
            1 => any::<u32>().prop_map(OfOnce::Set),
        ]),
    ) {
        let cell = OnceCell::new();
        let cell = &cell;
        let mut bench = Bench::new(|woken| OnceModel {
            value: None,
            locked: false,
            making: None,
            line: Line::new(woken),
        });
        for step in steps {
            match bench.next(step) {
                Next::Nothing => {}
                Next::Ended(expected, got) => assert_eq!(got, expected),
                Next::Do(OfOnce::Get) => {
                    let gate = Gate::default();
                    bench.start(Rc::clone(&gate), async move {
                        let made = poll_fn(|_| gate.get().map_or(Poll::Pending, Poll::Ready));
                        cell.get_or_try_init(async || made.await).await.copied()
                    });
                }
                Next::Do(OfOnce::Make(which, made)) => {
                    if let Some(place) = pick(which, &bench.waits) {
                        bench.waits[place].want.set(Some(made));
                    }
                }
                Next::Do(OfOnce::Set(value)) => {
                    assert_eq!(cell.set(value).is_ok(), bench.model.value.is_none());
                    bench.model.value.get_or_insert(value);
                }
            }
            bench.check();
            assert_eq!(cell.get(), bench.model.value.as_ref());
        }
        for wait in &bench.waits {
            wait.want.set(Some(Ok(wait.id as u32)));
        }
        bench.settle(|_, expected, got| assert_eq!(got, expected));
        assert!(bench.waits.is_empty());
    }

    #[test]
    fn a_cancellation_token_is_as_its_model(
        steps in schedules(prop_oneof![
            12 => any::<u8>().prop_map(OfToken::Wait),
            8 => any::<u8>().prop_map(OfToken::Child),
            2 => any::<u8>().prop_map(OfToken::Clone),
            5 => any::<u8>().prop_map(OfToken::DropToken),
            2 => any::<u8>().prop_map(OfToken::Cancel),
            1 => (any::<u8>(), any::<bool>()).prop_map(|(which, disarm)| OfToken::Guard(which, disarm)),
        ]),
    ) {
        let mut tokens = vec![(CancellationToken::new(), 0)];
        let mut bench = Bench::new(|woken| TokenModel {
            nodes: vec![Node { parent: None, cancelled: false, tokens: 1 }],
            line: Line::new(woken),
        });
        // Of a tree, it is left open who is woken first.
        bench.any_order = true;
        for step in steps {
            match bench.next(step) {
                Next::Nothing | Next::Ended((), ()) => {}
                Next::Do(OfToken::Wait(which)) => {
                    if let Some(place) = pick(which, &tokens) {
                        let (token, node) = tokens[place].clone();
                        bench.model.nodes[node].tokens += 1;
                        bench.start(node, async move { token.cancelled().await });
                    }
                }
                Next::Do(OfToken::Child(which)) => {
                    if let Some(place) = pick(which, &tokens) {
                        let (token, node) = &tokens[place];
                        let child = (token.child_token(), bench.model.child(*node));
                        tokens.push(child);
                    }
                }
                Next::Do(OfToken::Clone(which)) => {
                    if let Some(place) = pick(which, &tokens) {
                        let (token, node) = tokens[place].clone();
                        bench.model.nodes[node].tokens += 1;
                        tokens.push((token, node));
                    }
                }
                Next::Do(OfToken::DropToken(which)) => {
                    if let Some(place) = pick(which, &tokens) {
                        let (token, node) = tokens.remove(place);
                        drop(token);
                        bench.model.nodes[node].tokens -= 1;
                    }
                }
                Next::Do(OfToken::Cancel(which)) => {
                    if let Some(place) = pick(which, &tokens) {
                        let (token, node) = &tokens[place];
                        token.cancel();
                        bench.model.cancel(*node);
                    }
                }
                Next::Do(OfToken::Guard(which, disarm)) => {
                    if let Some(place) = pick(which, &tokens) {
                        let (token, node) = tokens.remove(place);
                        let guard = token.drop_guard();
                        if disarm {
                            tokens.insert(place, (guard.disarm(), node));
                        } else {
                            drop(guard);
                            bench.model.cancel(node);
                            bench.model.nodes[node].tokens -= 1;
                        }
                    }
                }
            }
            bench.check();
            for (token, node) in &tokens {
                assert_eq!(token.is_cancelled(), bench.model.nodes[*node].cancelled);
                let shown = format!("{token:?}");
                let children = format!("children: {},", bench.model.children(*node));
                assert!(shown.contains(&children), "{shown}: {children}");
            }
        }
        for (token, node) in &tokens {
            token.cancel();
            bench.model.cancel(*node);
        }
        bench.settle(|_, (), ()| {});
        // What is left has no token that could cancel it.
        assert!(bench.waits.iter().all(|wait| !bench.model.nodes[wait.want].cancelled));
    }
}
