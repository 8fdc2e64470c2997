//! The wheel: all timers of a core, armed and cancelled in constant time.
//!
//! Six levels of 256 slots. A slot of level 0 spans one tick (2^16 ns, 66 µs), one of each further level 256 times as
//! much as one below; together they span all of a 64-bit nanosecond clock. A timer sits on the level of the highest
//! digit in which its tick differs from the current one, and moves down as time gets there (G. Varghese, T. Lauck,
//! "Hashed and hierarchical timing wheels", 1987).
//!
//! A slot holds deadlines in a row, so moving and ending many timers walks memory in order; each timer knows its place
//! in the row, and cancelling one fills its gap with the last.
//!
//! Invariants: no occupied slot lies before the current tick; timers end in the order of their deadlines, equal ones
//! in the order of their arming, and none before its deadline.

use std::task::Waker;

use slab::Slab;

const TICK_BITS: u32 = 16;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
const WORDS: usize = SLOTS / 64;

/// Timers that are due within so long of the first one share its wake-up.
const SHARED_NS: u64 = 220_000;
/// How many timers are looked at to find out whether any shares it.
const LOOKED_AT: usize = 32;
/// A slot that has been emptied keeps memory for so many.
const KEPT: usize = 64;

/// A timer that was armed; stale once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) sequence: u64,
}

struct Timer {
    sequence: u64,
    waker: Waker,
    /// Which slot, and where in its row.
    slot: u32,
    place: u32,
}

#[derive(Clone, Copy)]
struct Item {
    deadline_ns: u64,
    index: u32,
}

/// A timer whose time has come.
pub(crate) struct Due {
    deadline_ns: u64,
    sequence: u64,
    pub(crate) waker: Waker,
}

pub(crate) struct Wheel {
    timers: Slab<Timer>,
    slots: Box<[Vec<Item>]>,
    /// One bit for each slot with timers in it.
    occupied: [[u64; WORDS]; LEVELS],
    /// The tick that we are in: all before it have been dealt with.
    tick: u64,
    sequence: u64,
}

impl Wheel {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            timers: Slab::new(),
            slots: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            occupied: [[0; WORDS]; LEVELS],
            tick: now_ns >> TICK_BITS,
            sequence: 0,
        }
    }

    /// Arms a timer. One whose deadline has passed ends with the next [`expire`](Self::expire).
    #[inline]
    pub(crate) fn arm(&mut self, deadline_ns: u64, waker: Waker) -> Key {
        let sequence = self.sequence;
        self.sequence += 1;
        let index = self.timers.vacant_key() as u32;
        let (slot, place) = self.put(Item { deadline_ns, index });
        self.timers.insert(Timer { sequence, waker, slot, place });
        Key { index, sequence }
    }

    /// Takes a timer away, and gives its waker back to be dropped. Nothing if it has ended.
    #[inline]
    pub(crate) fn cancel(&mut self, key: Key) -> Option<Waker> {
        let timer = self.timer(key)?;
        let (slot, place) = (timer.slot as usize, timer.place);
        let row = &mut self.slots[slot];
        row.swap_remove(place as usize);
        if let Some(moved) = row.get(place as usize) {
            self.timers[moved.index as usize].place = place;
        } else if row.is_empty() {
            self.empty(slot);
        }
        Some(self.timers.remove(key.index as usize).waker)
    }

    /// The waker of a timer that has not ended.
    #[inline]
    pub(crate) fn waker(&mut self, key: Key) -> Option<&mut Waker> {
        self.timer(key).map(|timer| &mut timer.waker)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.timers.len()
    }

    /// Moves on to `now_ns` and takes out the timers that are due, in the order of their deadlines.
    pub(crate) fn expire(&mut self, now_ns: u64, due: &mut Vec<Due>) {
        let target = now_ns >> TICK_BITS;
        while let Some((slot, start)) = self.first_occupied() {
            if start > target {
                break;
            }
            self.tick = self.tick.max(start);
            let row = std::mem::take(&mut self.slots[slot]);
            self.empty(slot);
            for item in &row {
                if slot < SLOTS && item.deadline_ns <= now_ns {
                    let timer = self.timers.remove(item.index as usize);
                    due.push(Due { deadline_ns: item.deadline_ns, sequence: timer.sequence, waker: timer.waker });
                } else {
                    let (slot, place) = self.put(*item);
                    let timer = &mut self.timers[item.index as usize];
                    (timer.slot, timer.place) = (slot, place);
                }
            }
            self.keep(slot, row);
            // What is left of this very tick is not due yet.
            if slot < SLOTS && start == target {
                break;
            }
        }
        self.tick = self.tick.max(target);
        let order = |due: &Due| (due.deadline_ns, due.sequence);
        if !due.is_sorted_by_key(order) {
            due.sort_unstable_by_key(order);
        }
    }

    /// When to look again. With `exact`, at the first deadline or before it; else perhaps a little later, together
    /// with those that come soon after it. A timer that is alone gets its own deadline in any case.
    pub(crate) fn next_ns(&self, exact: bool) -> Option<u64> {
        let (slot, start) = self.first_occupied()?;
        let row = &self.slots[slot];
        if slot >= SLOTS && row.len() > LOOKED_AT {
            // To be spread over the level below by then.
            return Some(start << TICK_BITS);
        }
        let first = row.iter().map(|item| item.deadline_ns).min()?;
        if exact || slot >= SLOTS {
            return Some(first);
        }
        let end = first.saturating_add(SHARED_NS);
        // A deadline that has passed lies in the current tick, which may begin after its time is over.
        let slots = (end >> TICK_BITS).saturating_sub(start);
        let rows = self.slots[slot..SLOTS].iter().take(slots as usize + 1);
        let mut last = first;
        for (looked_at, item) in rows.flatten().enumerate() {
            if looked_at > LOOKED_AT {
                return Some(end);
            }
            if item.deadline_ns <= end {
                last = last.max(item.deadline_ns);
            }
        }
        Some(last)
    }

    #[inline]
    fn timer(&mut self, key: Key) -> Option<&mut Timer> {
        self.timers.get_mut(key.index as usize).filter(|timer| timer.sequence == key.sequence)
    }

    /// The first slot with timers in it, and the tick at which it starts. Slots below `SLOTS` are of level 0.
    fn first_occupied(&self) -> Option<(usize, u64)> {
        for (level, words) in self.occupied.iter().enumerate() {
            let Some(word) = words.iter().position(|word| *word != 0) else {
                continue;
            };
            let slot = word * 64 + words[word].trailing_zeros() as usize;
            let shift = SLOT_BITS * level as u32;
            let before = self.tick >> shift >> SLOT_BITS << SLOT_BITS << shift;
            return Some((level * SLOTS + slot, before | (slot as u64) << shift));
        }
        None
    }

    /// Puts a timer where it belongs as seen from the current tick: into which slot, and where in its row.
    #[inline]
    fn put(&mut self, item: Item) -> (u32, u32) {
        let tick = (item.deadline_ns >> TICK_BITS).max(self.tick);
        let differs = tick ^ self.tick;
        let level = (63_u32.saturating_sub(differs.leading_zeros()) / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        self.occupied[level][slot / 64] |= 1 << (slot % 64);
        let slot = level * SLOTS + slot;
        let row = &mut self.slots[slot];
        row.push(item);
        (slot as u32, (row.len() - 1) as u32)
    }

    fn empty(&mut self, slot: usize) {
        let (level, slot) = (slot / SLOTS, slot % SLOTS);
        self.occupied[level][slot / 64] &= !(1 << (slot % 64));
    }

    /// Keeps a row's memory, unless it is much.
    fn keep(&mut self, slot: usize, mut row: Vec<Item>) {
        if self.slots[slot].is_empty() && row.capacity() <= KEPT {
            row.clear();
            self.slots[slot] = row;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TICK: u64 = 1 << TICK_BITS;

    fn expire(wheel: &mut Wheel, now_ns: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.expire(now_ns, &mut due);
        due.into_iter().map(|due| due.deadline_ns).collect()
    }

    #[test]
    fn a_timer_ends_at_its_deadline_and_not_before() {
        for deadline in [0, 1, TICK - 1, TICK, 63 * TICK, 64 * TICK, 4096 * TICK + 5, 1 << 40, u64::MAX] {
            let mut wheel = Wheel::new(0);
            wheel.arm(deadline, Waker::noop().clone());
            if deadline > 0 {
                assert_eq!(expire(&mut wheel, deadline - 1), [], "early for {deadline}");
            }
            assert_eq!(expire(&mut wheel, deadline), [deadline]);
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn a_deadline_that_has_passed_ends_at_once() {
        let mut wheel = Wheel::new(1000 * TICK);
        wheel.arm(3, Waker::noop().clone());
        assert_eq!(expire(&mut wheel, 1000 * TICK), [3]);
    }

    #[test]
    fn equal_deadlines_end_in_the_order_of_arming() {
        let mut wheel = Wheel::new(0);
        let far = 10_000 * TICK;
        let keys: Vec<_> = (0..5).map(|_| wheel.arm(far, Waker::noop().clone())).collect();
        assert_eq!(expire(&mut wheel, far - 10 * TICK), []);
        let late = wheel.arm(far, Waker::noop().clone());
        let mut due = Vec::new();
        wheel.expire(far, &mut due);
        let order: Vec<_> = due.iter().map(|due| due.sequence).collect();
        let armed: Vec<_> = keys.iter().chain([&late]).map(|key| key.sequence).collect();
        assert_eq!(order, armed);
    }

    #[test]
    fn a_cancelled_timer_is_gone_and_its_key_stale() {
        let mut wheel = Wheel::new(0);
        let first = wheel.arm(TICK, Waker::noop().clone());
        assert!(wheel.cancel(first).is_some());
        assert!(wheel.cancel(first).is_none());
        let second = wheel.arm(2 * TICK, Waker::noop().clone());
        assert_eq!(first.index, second.index, "the place is used again");
        assert!(wheel.cancel(first).is_none(), "the old key does not reach the new timer");
        assert_eq!(expire(&mut wheel, 2 * TICK), [2 * TICK]);
        assert_eq!(wheel.next_ns(false), None);
    }

    #[test]
    fn timers_that_lie_close_together_share_a_wake_up_and_a_lone_one_is_exact() {
        let mut wheel = Wheel::new(0);
        for deadline in [5 * TICK + 7, 7 * TICK + 900, 70 * TICK] {
            wheel.arm(deadline, Waker::noop().clone());
        }
        assert_eq!(wheel.next_ns(true), Some(5 * TICK + 7));
        assert_eq!(wheel.next_ns(false), Some(7 * TICK + 900));
        assert_eq!(expire(&mut wheel, 7 * TICK + 900).len(), 2);
        assert_eq!(wheel.next_ns(false), Some(70 * TICK));
        for _ in 0..100 {
            wheel.arm(50 * TICK + 3, Waker::noop().clone());
        }
        assert_eq!(wheel.next_ns(false), Some(50 * TICK + 3 + SHARED_NS));
    }

    /// Every sequence of arm, cancel and wait does what a sorted map does.
    #[test]
    fn behaves_like_a_sorted_map() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..200 {
            let mut now = random(1 << 45);
            let mut wheel = Wheel::new(now);
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            for _ in 0..200 {
                match random(4) {
                    0 | 1 => {
                        let span = 1 << random(44);
                        let deadline = now + random(span);
                        let key = wheel.arm(deadline, Waker::noop().clone());
                        model.insert((deadline, key.sequence), key);
                        keys.push((deadline, key));
                    }
                    2 if !keys.is_empty() => {
                        let (deadline, key) = keys.swap_remove(random(keys.len() as u64) as usize);
                        let there = model.remove(&(deadline, key.sequence)).is_some();
                        assert_eq!(wheel.cancel(key).is_some(), there);
                    }
                    _ => {
                        if let Some(next) = wheel.next_ns(true) {
                            let first = model.keys().next().map(|(deadline, _)| *deadline);
                            assert!(Some(next) <= first, "sleeps past the first deadline");
                        }
                        let span = 1 << random(44);
                        now += random(span);
                        let mut due = Vec::new();
                        wheel.expire(now, &mut due);
                        let due: Vec<_> = due.iter().map(|due| (due.deadline_ns, due.sequence)).collect();
                        let later = model.split_off(&(now + 1, 0));
                        let expected: Vec<_> = model.keys().copied().collect();
                        model = later;
                        assert_eq!(due, expected);
                    }
                }
                assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
