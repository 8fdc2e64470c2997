//! What was done to a file since it was synced, and what of that a power loss leaves.
//!
//! A sector on the disk holds what the page cache held for it at some time: of the writes to one sector, each survives
//! only with all before it, but which time that was is drawn for each sector on its own. Truncations are kept in order
//! in the journal of a file system, so what comes after a lost one is lost, too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::pages::{Pages, SECTOR, parts};
use crate::sys::random::Random;

/// Changes of one file, oldest first.
#[derive(Default)]
pub(super) struct Log {
    changes: Vec<Change>,
    bytes: usize,
}

enum Change {
    Write(Write),
    SetLen(u64),
    /// A hole, or zeroes. As truncations, in order.
    Zero(Range<u64>),
}

struct Write {
    offset: u64,
    bytes: Box<[u8]>,
}

impl Log {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes += bytes.len() + size_of::<Change>();
        self.changes.push(Change::Write(Write { offset, bytes: bytes.into() }));
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.bytes += size_of::<Change>();
        self.changes.push(Change::SetLen(len));
    }

    pub(super) fn zero(&mut self, range: Range<u64>) {
        self.bytes += size_of::<Change>();
        self.changes.push(Change::Zero(range));
    }

    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Does what is metadata alone.
    pub(super) fn replay_lengths(&self, durable: &mut Pages) {
        for change in &self.changes {
            match change {
                Change::SetLen(len) => durable.set_len(*len),
                Change::Zero(range) => durable.zero(range.clone()),
                Change::Write(_) => {}
            }
        }
    }

    /// The power is lost: does what the seed lets survive.
    pub(super) fn replay_some(&self, durable: &mut Pages, torn: bool, random: &mut Random) {
        // Nothing and everything are the likeliest in life, and unlikely to be drawn from many.
        let end = match random.below(4) {
            0 => return,
            1 => return replay(&self.changes, durable, |_, _| true),
            _ => random.within(0..=self.changes.len() as u64) as usize,
        };
        let possible = &self.changes[..end];
        if torn {
            let mut left = sectors_that_survive(possible, random);
            replay(possible, durable, |_, sector| {
                let left = left.entry(sector).or_insert(0);
                let survives = *left > 0;
                *left = left.saturating_sub(1);
                survives
            });
        } else {
            let survive = writes_that_survive(possible, random);
            replay(possible, durable, |index, _| survive[index]);
        }
    }
}

/// Does the changes; of the writes, the sectors that survive.
fn replay(changes: &[Change], durable: &mut Pages, mut survives: impl FnMut(usize, u64) -> bool) {
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::SetLen(len) => durable.set_len(*len),
            Change::Zero(range) => durable.zero(range.clone()),
            Change::Write(write) => {
                for part in parts(write.offset, write.bytes.len(), SECTOR) {
                    if survives(index, part.unit) {
                        durable.write(write.offset + part.of_all.start as u64, &write.bytes[part.of_all]);
                    }
                }
            }
        }
    }
}

/// How many of the writes to each sector survive: the first so many.
fn sectors_that_survive(changes: &[Change], random: &mut Random) -> BTreeMap<u64, u64> {
    let mut count = BTreeMap::new();
    for change in changes {
        if let Change::Write(write) = change {
            for part in parts(write.offset, write.bytes.len(), SECTOR) {
                *count.entry(part.unit).or_insert(0) += 1;
            }
        }
    }
    for times in count.values_mut() {
        *times = random.within(0..=*times);
    }
    count
}

/// Which writes survive: with each one, all before it that share a sector with it.
fn writes_that_survive(changes: &[Change], random: &mut Random) -> Vec<bool> {
    let mut survive = vec![false; changes.len()];
    let mut sectors = BTreeSet::new();
    for (index, change) in changes.iter().enumerate().rev() {
        if let Change::Write(write) = change {
            let own = || parts(write.offset, write.bytes.len(), SECTOR).map(|part| part.unit);
            survive[index] = own().any(|sector| sectors.contains(&sector)) || random.below(2) == 0;
            if survive[index] {
                sectors.extend(own());
            }
        }
    }
    survive
}
