//! The wheel: all timers of a core, armed and cancelled in constant time.
//!
//! Eight levels of 64 slots. A slot of level 0 spans one tick (2^17 ns, 131 µs), one of each further level 64 times
//! as much as one below; together they span all of a 64-bit nanosecond clock. A timer sits on the level of the
//! highest bit in which its tick differs from the current one, and moves down as time gets there (G. Varghese,
//! T. Lauck, "Hashed and hierarchical timing wheels", 1987).
//!
//! Invariants: no occupied slot lies before the current tick; within a slot timers are in the order of their arming;
//! timers end in the order of their deadlines, equal ones in the order of their arming, and none before its deadline.

use std::task::Waker;

use slab::Slab;

const TICK_BITS: u32 = 17;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
const NONE: u32 = u32::MAX;

/// How many timers of a slot are looked at to sleep exactly as long as needed; with more, sleeping to the edge of
/// the slot is as good.
const LOOKED_AT: usize = 32;

/// A timer that was armed; stale once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) sequence: u64,
}

struct Timer {
    deadline_ns: u64,
    sequence: u64,
    waker: Waker,
    previous: u32,
    next: u32,
    slot: u16,
}

#[derive(Clone, Copy)]
struct Slot {
    first: u32,
    last: u32,
}

pub(crate) struct Wheel {
    timers: Slab<Timer>,
    slots: Box<[Slot; LEVELS * SLOTS]>,
    /// One bit for each slot with timers in it.
    occupied: [u64; LEVELS],
    /// The tick that we are in: all before it have been dealt with.
    tick: u64,
    sequence: u64,
}

impl Wheel {
    pub(crate) fn new(now_ns: u64) -> Self {
        let empty = Slot {
            first: NONE,
            last: NONE,
        };
        Self {
            timers: Slab::new(),
            slots: Box::new([empty; LEVELS * SLOTS]),
            occupied: [0; LEVELS],
            tick: now_ns >> TICK_BITS,
            sequence: 0,
        }
    }

    /// Arms a timer. One whose deadline has passed ends with the next [`expire`](Self::expire).
    #[inline]
    pub(crate) fn arm(&mut self, deadline_ns: u64, waker: Waker) -> Key {
        let sequence = self.sequence;
        self.sequence += 1;
        let index = self.timers.insert(Timer {
            deadline_ns,
            sequence,
            waker,
            previous: NONE,
            next: NONE,
            slot: 0,
        }) as u32;
        self.put(index);
        Key { index, sequence }
    }

    /// Takes a timer away, and gives its waker back to be dropped. Nothing if it has ended.
    #[inline]
    pub(crate) fn cancel(&mut self, key: Key) -> Option<Waker> {
        self.timer(key)?;
        self.unlink(key.index);
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
    pub(crate) fn expire(&mut self, now_ns: u64, due: &mut Vec<(u64, u64, Waker)>) {
        let target = now_ns >> TICK_BITS;
        while let Some((level, slot, start)) = self.first_occupied() {
            if start > target {
                break;
            }
            self.tick = self.tick.max(start);
            let mut index = self.slots[level * SLOTS + slot].first;
            if level > 0 {
                self.clear(level, slot);
                while index != NONE {
                    let next = self.timers[index as usize].next;
                    self.put(index);
                    index = next;
                }
                continue;
            }
            while index != NONE {
                let timer = &self.timers[index as usize];
                let next = timer.next;
                if timer.deadline_ns <= now_ns {
                    self.unlink(index);
                    let timer = self.timers.remove(index as usize);
                    due.push((timer.deadline_ns, timer.sequence, timer.waker));
                }
                index = next;
            }
            if start == target {
                break;
            }
        }
        self.tick = self.tick.max(target);
        if !due.is_sorted_by_key(|(deadline, sequence, _)| (*deadline, *sequence)) {
            due.sort_by_key(|(deadline, sequence, _)| (*deadline, *sequence));
        }
    }

    /// When to look again: not after the end of the first timer's tick, and not before anything can be due.
    ///
    /// With `exact`, the deadline of the first timer itself, or a time before it.
    pub(crate) fn next_ns(&self, exact: bool) -> Option<u64> {
        let (level, slot, start) = self.first_occupied()?;
        let mut index = self.slots[level * SLOTS + slot].first;
        let (mut least, mut most) = (u64::MAX, 0);
        let mut seen = 0;
        while index != NONE && (exact || seen < LOOKED_AT) {
            let timer = &self.timers[index as usize];
            least = least.min(timer.deadline_ns);
            most = most.max(timer.deadline_ns);
            index = timer.next;
            seen += 1;
        }
        let all_seen = index == NONE;
        Some(match (level, all_seen) {
            (0, true) if !exact => most,
            (0, false) => ((start + 1) << TICK_BITS).wrapping_sub(1),
            (_, true) => least,
            (_, false) => start << TICK_BITS,
        })
    }

    fn timer(&mut self, key: Key) -> Option<&mut Timer> {
        self.timers
            .get_mut(key.index as usize)
            .filter(|timer| timer.sequence == key.sequence)
    }

    /// The first slot with timers in it, and the tick at which it starts.
    fn first_occupied(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let shift = SLOT_BITS * level as u32;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let before = self.tick >> shift >> SLOT_BITS << SLOT_BITS << shift;
        Some((level, slot, before | (slot as u64) << shift))
    }

    /// Puts a timer into the slot where it belongs as seen from the current tick.
    #[inline]
    fn put(&mut self, index: u32) {
        let timer = &self.timers[index as usize];
        let tick = (timer.deadline_ns >> TICK_BITS).max(self.tick);
        let differs = tick ^ self.tick;
        let level = (63_u32.saturating_sub(differs.leading_zeros()) / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let place = level * SLOTS + slot;
        let last = self.slots[place].last;
        let timer = &mut self.timers[index as usize];
        timer.slot = place as u16;
        timer.previous = last;
        timer.next = NONE;
        if last == NONE {
            self.slots[place].first = index;
            self.occupied[level] |= 1 << slot;
        } else {
            self.timers[last as usize].next = index;
        }
        self.slots[place].last = index;
    }

    #[inline]
    fn unlink(&mut self, index: u32) {
        let Timer {
            previous,
            next,
            slot,
            ..
        } = self.timers[index as usize];
        let place = usize::from(slot);
        if previous == NONE {
            self.slots[place].first = next;
        } else {
            self.timers[previous as usize].next = next;
        }
        if next == NONE {
            self.slots[place].last = previous;
        } else {
            self.timers[next as usize].previous = previous;
        }
        if self.slots[place].first == NONE {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }

    fn clear(&mut self, level: usize, slot: usize) {
        self.slots[level * SLOTS + slot] = Slot {
            first: NONE,
            last: NONE,
        };
        self.occupied[level] &= !(1 << slot);
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
        due.into_iter().map(|(deadline, _, _)| deadline).collect()
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
        let order: Vec<_> = due.iter().map(|(_, sequence, _)| *sequence).collect();
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
    fn the_next_look_is_never_after_the_first_timers_tick() {
        let mut wheel = Wheel::new(0);
        for deadline in [5 * TICK + 7, 5 * TICK + 900, 70 * TICK] {
            wheel.arm(deadline, Waker::noop().clone());
        }
        assert_eq!(wheel.next_ns(true), Some(5 * TICK + 7));
        assert_eq!(wheel.next_ns(false), Some(5 * TICK + 900));
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
                        let due: Vec<_> = due.iter().map(|(d, s, _)| (*d, *s)).collect();
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
