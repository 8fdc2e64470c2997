//! A test over many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::{Failure, Outcome, World};
use crate::executor::Builder;

/// A test that is run in a world of each of several seeds: what `#[corering::test(sim)]` makes.
///
/// The seeds are those from 0 on. Two variables of the environment say otherwise: `CORERING_SEEDS=5000` how many, and
/// `CORERING_SEED=17` that it is this one alone.
///
/// # Examples
///
/// ```
/// use corering_runtime::world::{Check, World};
///
/// Check::new(module_path!(), "a_sum", env!("CARGO_PKG_NAME"), false).seeds(3).run(async |world: World| {
///     let sum = world.host("db").run(async { 1 + 1 }).await;
///     assert_eq!(sum, Ok(2));
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Check {
    /// As the tests' harness has it.
    test: String,
    package: &'static str,
    has_feature: bool,
    seeds: u64,
    builder: Builder,
}

/// How many seeds there are unless the test says it.
const SEEDS: u64 = 100;

impl Check {
    /// The test of that name in that module (`module_path!()`) of that package (`env!("CARGO_PKG_NAME")`), over 100
    /// seeds. `has_feature` if the package has a feature `sim` of its own that has to be switched on for it
    /// (`cfg!(feature = "sim")`).
    pub fn new(module: &str, name: &str, package: &'static str, has_feature: bool) -> Self {
        // The first is the crate's name, which the harness leaves out.
        let test = match module.split_once("::") {
            Some((_, modules)) => format!("{modules}::{name}"),
            None => name.to_owned(),
        };
        Self { test, package, has_feature, seeds: SEEDS, builder: Builder::new() }
    }

    /// How many seeds.
    #[must_use]
    pub fn seeds(self, seeds: u64) -> Self {
        Self { seeds, ..self }
    }

    /// How the core of each world's host `main` is.
    #[must_use]
    pub fn builder(self, builder: Builder) -> Self {
        Self { builder, ..self }
    }

    /// Runs `body` as the main program of one world after the other, until one fails.
    ///
    /// # Panics
    ///
    /// As [`World::run`], and if `body` ends with an error. Before, a line is printed that runs that seed again. And if
    /// a variable of the environment holds no number.
    #[track_caller]
    pub fn run<T: Outcome>(&self, body: impl AsyncFn(World) -> T) {
        match number("CORERING_SEED") {
            Some(seed) => self.run_seeds([seed], &body),
            None => self.run_seeds(0..number("CORERING_SEEDS").unwrap_or(self.seeds), &body),
        }
    }

    #[track_caller]
    fn run_seeds<T: Outcome>(&self, seeds: impl IntoIterator<Item = u64>, body: &impl AsyncFn(World) -> T) {
        for seed in seeds {
            let ran = catch_unwind(AssertUnwindSafe(|| self.run_seed(seed, body)));
            if let Err(payload) = ran {
                eprintln!("run it again: {}", self.command(seed));
                resume_unwind(payload);
            }
        }
    }

    #[track_caller]
    fn run_seed<T: Outcome>(&self, seed: u64, body: &impl AsyncFn(World) -> T) {
        World::new(seed).run_on(self.builder.clone(), async |world: World| {
            if let Some(error) = body(world.clone()).await.error() {
                world.fail(Failure::Text(format!("the test ended with an error: {error}")));
            }
        });
    }

    /// What runs that seed again.
    fn command(&self, seed: u64) -> String {
        let features = if self.has_feature { " --features sim" } else { "" };
        format!("CORERING_SEED={seed} cargo test -p {}{features} {} -- --exact", self.package, self.test)
    }
}

/// What a variable of the environment says; `None` if there is none.
#[track_caller]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable}={text} is not a whole number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_run_again_by_the_name_that_the_harness_has() {
        let command = |module, has_feature| Check::new(module, "sums", "bank", has_feature).command(17);
        assert_eq!(command("bank", false), "CORERING_SEED=17 cargo test -p bank sums -- --exact");
        assert_eq!(
            command("bank::books::tests", true),
            "CORERING_SEED=17 cargo test -p bank --features sim books::tests::sums -- --exact"
        );
    }

    #[test]
    fn a_test_runs_in_a_world_of_each_seed() {
        let seen = std::cell::RefCell::new(Vec::new());
        Check::new("bank", "sums", "bank", false).run_seeds(0..3, &async |world: World| {
            seen.borrow_mut().push(world.seed());
            Ok::<(), std::io::Error>(())
        });
        assert_eq!(*seen.borrow(), [0, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "seed 1: the test ended with an error: \"so\"")]
    fn an_error_at_the_end_of_a_test_fails_it() {
        let body = async |world: World| if world.seed() == 1 { Err("so") } else { Ok(()) };
        Check::new("bank", "sums", "bank", false).run_seeds(0..3, &body);
    }
}
