//! A test over many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::World;

/// Runs a test in a world of each of the seeds from 0 to `seeds`, or only that which `CORERING_SEED` names.
///
/// What `#[corering::test(sim, seeds = ..)]` calls; it names the test.
///
/// # Panics
///
/// As [`World::run`]. Before, a line that runs that seed again is printed.
#[track_caller]
pub fn check<T>(test: &str, seeds: u64, body: impl AsyncFn(World) -> T) {
    let only = std::env::var("CORERING_SEED").ok().map(|text| match text.parse::<u64>() {
        Ok(seed) => seed,
        Err(_) => panic!("CORERING_SEED={text} is not a seed: give a whole number"),
    });
    let seeds = only.map_or(0..seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let world = World::new(seed);
        let ran = catch_unwind(AssertUnwindSafe(|| world.run(&body)));
        if let Err(payload) = ran {
            eprintln!("see it again: CORERING_SEED={seed} cargo test --features sim {test} -- --exact --nocapture");
            resume_unwind(payload);
        }
    }
}
