//! Random numbers: those that follow from a seed, the same on every machine and in every release, and those that
//! nobody can repeat, from a generator of the thread that the system has seeded. Neither are for secrets.

use std::cell::Cell;
use std::ops::RangeInclusive;

use crate::sys::clock::monotonic_ns;
use crate::sys::current::clear_in_forked_children;

/// A stream of numbers: splitmix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

#[allow(dead_code, reason = "only a simulation draws in all of these ways")]
impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, so that how much one part of the world draws does not change what another gets.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // Multiplying instead of dividing: the bias is below one in 2^64 / end.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (start, end) = (*range.start(), *range.end());
        start + self.below(end.saturating_sub(start).saturating_add(1))
    }

    /// True that often: 0 is never, 1 is always. Draws nothing for these two.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        probability >= 1.0 || ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

thread_local! {
    /// Without a destructor, so that it can be drawn from in those of other thread-locals.
    static OWN: Cell<Option<Random>> = const { Cell::new(None) };
}

/// A number of this thread's own generator, which is seeded by the system when the first is drawn.
#[inline]
pub(crate) fn draw() -> u64 {
    let mut random = OWN.take().unwrap_or_else(seeded);
    let number = random.next();
    OWN.set(Some(random));
    number
}

/// Lets this thread seed its generator anew. For forked children, which would draw what their parent draws.
pub(super) fn forget() {
    OWN.set(None);
}

#[cold]
fn seeded() -> Random {
    clear_in_forked_children();
    let mut seed = 0_u64;
    // Insecure: never waits for the system to gather randomness, as it may have to early after its start.
    // SAFETY: `seed` is 8 bytes to write to.
    let filled = unsafe { libc::getrandom((&raw mut seed).cast(), size_of::<u64>(), libc::GRND_INSECURE) };
    if filled == size_of::<u64>() as isize {
        return Random::new(seed);
    }
    // A filter refuses the call. Time and place differ between threads, and the place between processes, too.
    Random::new(monotonic_ns() ^ ((&raw const seed).addr() as u64).rotate_left(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_draws_numbers_of_its_own() {
        let four = || [draw(), draw(), draw(), draw()];
        let elsewhere = std::thread::spawn(four).join().expect("no panic");
        let mut drawn = [four(), elsewhere].concat();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 8);
    }

    #[test]
    fn a_generator_that_was_forgotten_is_seeded_anew() {
        let mut old = Random::new(7);
        OWN.set(Some(old.clone()));
        assert_eq!(draw(), old.next());
        forget();
        assert_ne!(draw(), old.next());
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(42);
        assert_eq!([random.next(), random.next()], [0xbdd7_3226_2feb_6e95, 0x28ef_e333_b266_f103]);
    }

    #[test]
    fn numbers_stay_within_their_range_and_reach_both_ends() {
        let mut random = Random::new(1);
        let drawn: Vec<_> = (0..1000).map(|_| random.within(3..=7)).collect();
        assert!(drawn.iter().all(|number| (3..=7).contains(number)));
        assert!(drawn.contains(&3) && drawn.contains(&7));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn a_chance_is_as_likely_as_it_says() {
        let mut random = Random::new(2);
        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
        assert!(!random.chance(0.0) && random.chance(1.0));
    }
}
