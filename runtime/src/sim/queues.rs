//! The two queues of a simulated ring, what waits behind them, and its tables of buffers and direct descriptors.

use std::collections::{BTreeMap, VecDeque};

use io_uring::squeue::Entry;

use super::HostId;
use super::memory::{self, Area};
use super::submission::Submission;
use crate::ring::Completion;
use crate::sys::random::Random;

pub(super) struct Queues {
    pub(super) host: HostId,
    /// Which core of its host.
    pub(super) core: u16,
    pub(super) submitted: VecDeque<Entry>,
    pub(super) submissions: usize,
    pub(super) completed: VecDeque<Completion>,
    completions: usize,
    /// What found the queue full, in order (K14).
    pub(super) overflowed: VecDeque<Completion>,
    /// Requests that have something to do when the ring is entered next: the kernel's task work.
    pub(super) due: VecDeque<usize>,
    /// The flag says that there is such work though there is none (K2).
    pub(super) flag_lies: bool,
    /// What has been submitted, so that strangers can be like it.
    pub(super) past: Past,
    pub(super) groups: Vec<Option<Group>>,
    /// Places of the table of direct descriptors: which open file lies there.
    pub(super) direct: Vec<Option<usize>>,
    /// The regions of memory that are registered.
    regions: Vec<Option<Area>>,
    /// Its host has crashed: nothing that is asked of it happens.
    pub(super) dead: bool,
}

/// The user data of operations that are over.
#[derive(Default)]
pub(super) struct Past {
    /// The last one of each place; a place is what the upper half names.
    last: BTreeMap<u64, u64>,
    over: Vec<u64>,
}

impl Past {
    /// As many are remembered.
    const MOST: usize = 64;

    /// Takes note of a submission. What was in its place before is certainly over.
    pub(super) fn submitted(&mut self, user_data: u64) {
        // Of what is no operation (closes, cancels) several may be alike.
        if user_data & 0xff != 0 {
            return;
        }
        let before = self.last.insert(user_data >> 32, user_data).filter(|before| *before != user_data);
        if let Some(before) = before {
            self.over.push(before);
            let most = self.over.len().saturating_sub(Self::MOST);
            self.over.drain(..most);
        }
    }

    /// The user data of a completion that nobody can be waiting for.
    pub(super) fn stranger(&self, random: &mut Random) -> u64 {
        if self.over.is_empty() || random.chance(0.5) {
            return random.next() | 0x80;
        }
        self.over[random.below(self.over.len() as u64) as usize]
    }
}

/// A ring of buffers to pick from.
pub(super) struct Group {
    address: u64,
    entries: u16,
    head: u16,
}

impl Queues {
    pub(super) fn new(host: HostId, core: u16, submissions: u32, completions: u32) -> Self {
        Self {
            host,
            core,
            submitted: VecDeque::new(),
            submissions: submissions as usize,
            completed: VecDeque::new(),
            completions: completions as usize,
            overflowed: VecDeque::new(),
            due: VecDeque::new(),
            flag_lies: false,
            past: Past::default(),
            groups: Vec::new(),
            direct: Vec::new(),
            regions: Vec::new(),
            dead: false,
        }
    }

    /// Posts a completion. One that finds the queue full is not lost.
    pub(super) fn post(&mut self, completion: Completion) {
        if self.is_full() {
            self.overflowed.push_back(completion);
        } else {
            self.completed.push_back(completion);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        !self.overflowed.is_empty() || self.completed.len() >= self.completions
    }

    /// Moves what has overflowed to where there is room now.
    pub(super) fn flush(&mut self) {
        while self.completed.len() < self.completions {
            let Some(completion) = self.overflowed.pop_front() else {
                return;
            };
            self.completed.push_back(completion);
        }
    }

    /// Whether the ring's core has anything to fetch.
    pub(super) fn has_news(&self) -> bool {
        !self.completed.is_empty() || !self.overflowed.is_empty() || !self.due.is_empty()
    }

    pub(super) fn register(&mut self, group: u16, address: u64, entries: u16) {
        let at = usize::from(group);
        if self.groups.len() <= at {
            self.groups.resize_with(at + 1, || None);
        }
        self.groups[at] = Some(Group { address, entries, head: 0 });
    }

    pub(super) fn register_region(&mut self, number: u16, region: Area) {
        let at = usize::from(number);
        if self.regions.len() <= at {
            self.regions.resize(at + 1, None);
        }
        self.regions[at] = Some(region);
    }

    /// Whether what a submission says to be of a region lies in it.
    pub(super) fn knows_memory_of(&self, submission: &Submission) -> bool {
        let Some(number) = submission.region else {
            return true;
        };
        let region = self.regions.get(usize::from(number)).copied().flatten();
        submission.areas().iter().all(|area| region.is_some_and(|region| region.contains(*area)))
    }

    pub(super) fn group(&mut self, group: u16) -> Option<&mut Group> {
        self.groups.get_mut(usize::from(group))?.as_mut()
    }
}

impl Group {
    /// The next buffer, which is not taken yet.
    pub(super) fn next(&self) -> Option<(Area, u16)> {
        if self.head == memory::tail(self.address) {
            return None;
        }
        Some(memory::offered(self.address, usize::from(self.head & (self.entries - 1))))
    }

    pub(super) fn take(&mut self) {
        self.head = self.head.wrapping_add(1);
    }
}
