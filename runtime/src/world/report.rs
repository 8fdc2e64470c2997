//! What is said when a run has failed: why, the last steps, and how to see it again.

use std::fmt::Write;
use std::panic::resume_unwind;

use super::{Failure, World};

/// How many steps are shown.
const SHOWN: usize = 40;

/// Prints the last steps and panics.
#[track_caller]
pub(super) fn raise(world: &World, failure: Failure) -> ! {
    let why = match &failure {
        Failure::Panic { host, .. } => {
            format!("a program of host '{}' panicked", world.0.state.borrow().name_of(*host))
        }
        Failure::Deadlock { host, deadlock } => {
            format!("host '{}': {deadlock}", world.0.state.borrow().name_of(*host))
        }
        Failure::Text(text) => text.clone(),
    };
    eprintln!("{}", summary(world, &why));
    match failure {
        Failure::Panic { payload, .. } => resume_unwind(payload),
        Failure::Deadlock { .. } => panic!("seed {}: {why}", world.seed()),
        Failure::Text(text) => panic!("seed {}: {text}", world.seed()),
    }
}

fn summary(world: &World, why: &str) -> String {
    let state = world.0.state.borrow();
    let mut text = format!("\nthe last steps of the world of seed {}:\n", world.seed());
    for step in state.trace.last(SHOWN) {
        let place = match step.place {
            Some((host, core)) => {
                format!("{}/{core}", state.hosts.get(usize::from(host)).map_or("?", |host| &host.name))
            }
            None => "world".to_owned(),
        };
        let ms = step.at_ns as f64 / 1e6;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{ms:>14.6} ms  {place:<12} {}", step.what);
    }
    let (steps, hash) = (state.trace.steps(), state.trace.hash());
    let _ = write!(text, "seed {}, {} steps, trace {hash:016x}: {why}", world.seed(), steps);
    text
}

/// Nothing can ever happen again.
pub(super) fn standstill(world: &World) -> String {
    let state = world.0.state.borrow();
    let paused: Vec<_> = state.hosts.iter().filter(|host| host.paused).map(|host| format!("'{}'", host.name)).collect();
    let mut text = "nothing can ever happen again: every program waits, and nothing is on its way".to_owned();
    if !paused.is_empty() {
        let _ = write!(text, " (paused: {})", paused.join(", "));
    }
    text
}
