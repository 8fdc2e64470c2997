//! The life of operations against a model: programs drawn from a seed, that do everything with operations that can be
//! done, and know what may come out.
//!
//! ```text
//!   actor (one per file, socket, listener): draws an operation and a way to go about it --> Fate
//!        |                                                                                   |
//!        +-- the model of what it works on: what must, may and cannot have happened <--------+
//! ```
//!
//! Invariant: an actor alone changes what it works on, so its model is exact; actors run at the same time.

mod connections;
mod files;
mod streams;
mod ways;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use corering::Builder;
use corering::sim::{Host, Kernel, World};

use crate::cases::{a_moment, below, seeds, wild};
use crate::lent::Buffers;

/// What actors share.
#[derive(Clone)]
struct Stage {
    host: Host,
    buffers: Buffers,
    /// Futures may be forgotten: what they have comes back when the core ends.
    may_forget: bool,
}

impl Stage {
    fn new(host: Host) -> Self {
        Self { host, buffers: Buffers::default(), may_forget: below(3) == 0 }
    }
}

type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// Some actors.
fn cast(stage: &Stage) -> Vec<Actor> {
    let mut actors: Vec<Actor> = Vec::new();
    for number in 0..1 + below(4) {
        let stage = stage.clone();
        actors.push(match below(6) {
            0 => Box::pin(files::change_and_read(stage, number)),
            1 => Box::pin(files::open_and_ask(stage, number)),
            2 => Box::pin(streams::send(stage)),
            3 => Box::pin(streams::receive(stage)),
            4 => Box::pin(streams::receive_what_is_owned(stage)),
            _ => Box::pin(connections::accept(stage)),
        });
    }
    actors
}

fn builder() -> Builder {
    let [entries, completions] = [[8, 16], [8, 64], [64, 64], [256, 4096]][below(4) as usize];
    let count = [0, 2, 4, 64][below(4) as usize];
    Builder::new().entries(entries).cq_entries(completions).buffers(count, 128)
}

/// Runs actors to their end. Then nothing may be left.
async fn to_the_end(stage: Stage) {
    let actors: Vec<_> = cast(&stage).into_iter().map(corering::spawn).collect();
    for actor in actors {
        actor.await.expect("an actor's model is wrong, or the runtime is");
    }
    for _ in 0..2_000 {
        let metrics = corering::metrics().expect("a core");
        let counts = (metrics.timers, metrics.tasks, metrics.unknown_completions);
        let kept = metrics.operations as u64 + stage.buffers.alive() + stage.host.descriptors() as u64 - 1;
        if counts == (0, 1, 0) && metrics.buffers_held == 0 && (kept == 0 || stage.may_forget) {
            return;
        }
        corering::sleep(Duration::from_millis(1)).await;
    }
    let (metrics, alive) = (corering::metrics(), stage.buffers.alive());
    panic!("left: {metrics:?}, {alive} buffers, {} descriptors", stage.host.descriptors());
}

/// Runs actors, and ends the core at any moment.
async fn to_any_moment(stage: Stage) {
    for actor in cast(&stage) {
        drop(corering::spawn(actor));
    }
    a_moment(4_000).await;
}

#[test]
fn whatever_is_done_with_operations_nothing_is_lost_doubled_or_touched_too_late() {
    seeds(20_000, |seed| {
        let world = World::new(seed).kernel(if seed % 4 == 0 { Kernel::new() } else { wild() });
        let (began, buffers) = world.run(async |world| {
            let (host, other) = (world.host("stage"), world.host("other"));
            host.builder(builder());
            let mut played = Vec::new();
            for host in [host, other].into_iter().take(1 + below(2) as usize) {
                let stage = Stage::new(host);
                let (playing, ends) = (stage.clone(), below(3) > 0);
                let running = stage
                    .host
                    .run(async move { if ends { to_the_end(playing).await } else { to_any_moment(playing).await } });
                played.push((stage, running));
            }
            for (_, running) in &mut played {
                running.await.expect("not stopped");
            }
            let began = world.now();
            for (stage, _) in &played {
                while stage.host.descriptors() > 0 {
                    a_moment(100).await;
                }
            }
            (began, played.into_iter().map(|(stage, _)| stage.buffers).collect::<Vec<_>>())
        });
        let took = world.now() - began;
        assert!(took < Duration::from_secs(2), "a core took {took:?} to end");
        for buffers in buffers {
            buffers.assert_all_back();
        }
    });
}
