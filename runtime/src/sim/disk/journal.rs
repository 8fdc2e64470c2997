//! The journal: changes of names that are not durable yet, in order.
//!
//! ```text
//!   create, unlink, rename .. --> seen names + journal --sync of a directory--> durable names
//!                                        power loss: a first part of the journal
//! ```
//!
//! Invariant: the durable names with all of the journal are the names that programs see. So every first part of it is
//! a state in which the names have been, and a change of several names is there as a whole or not at all.

use std::collections::{BTreeMap, VecDeque};

use super::node::{Entry, Kind, View};
use super::{Disk, Inode, ROOT};
use crate::sys::random::Random;

/// Changes, oldest first; each is of one or two names at once.
#[derive(Default)]
pub(super) struct Journal {
    changes: VecDeque<Vec<Edit>>,
    /// What the contents take that only durable names, or the journal, still refer to.
    ghost_bytes: u64,
}

/// A name stands for something else from now on, or for nothing.
pub(super) struct Edit {
    pub(super) directory: Inode,
    pub(super) name: Vec<u8>,
    pub(super) entry: Option<Entry>,
}

/// A file system commits on its own when the journal is that long, or when so much waits to be freed.
const CHANGES: usize = 4096;
const GHOST_BYTES: u64 = 64 << 20;

impl Journal {
    pub(super) fn set_ghost_bytes(&mut self, bytes: u64) {
        self.ghost_bytes = bytes;
    }
}

impl Disk {
    /// Changes names for programs, at once.
    pub(super) fn change_names(&mut self, edits: Vec<Edit>, now_ns: u64) {
        for entry in edits.iter().filter_map(|edit| edit.entry) {
            let node = self.node_mut(entry.inode);
            node.links += 1;
            node.held += 1;
            node.times.change(now_ns);
        }
        let mut replaced = Vec::new();
        for edit in &edits {
            let old = match edit.entry {
                Some(entry) => self.directory_mut(edit.directory).entries.insert(edit.name.clone(), entry),
                None => self.directory_mut(edit.directory).entries.remove(&edit.name),
            };
            self.node_mut(edit.directory).times.modify(now_ns);
            replaced.extend(old);
        }
        self.journal.changes.push_back(edits);
        for entry in replaced {
            let node = self.node_mut(entry.inode);
            node.links -= 1;
            node.times.change(now_ns);
            self.let_go(entry.inode);
        }
        if self.journal.changes.len() > CHANGES {
            self.commit(self.journal.changes.len());
        }
    }

    /// A name or an open of it has gone: if that was the last, programs get its room back.
    pub(super) fn let_go(&mut self, inode: Inode) {
        let node = self.node(inode);
        if node.is_live() {
            return;
        }
        let bytes = node.allocated_bytes();
        self.used -= bytes;
        self.journal.ghost_bytes += bytes;
        self.forget(inode);
        if self.journal.ghost_bytes > GHOST_BYTES {
            self.commit(self.journal.changes.len());
        }
    }

    /// Frees it if nothing refers to it, not even the durable state.
    fn forget(&mut self, inode: Inode) {
        let node = self.node(inode);
        if !node.is_live() && node.held == 0 {
            self.journal.ghost_bytes -= node.allocated_bytes();
            self.nodes.remove(&inode);
        }
    }

    /// All changes up to the last one of that kind become durable.
    pub(super) fn commit_through(&mut self, of_kind: impl Fn(&Edit) -> bool) {
        let last = self.journal.changes.iter().rposition(|edits| edits.iter().any(&of_kind));
        self.commit(last.map_or(0, |last| last + 1));
    }

    /// The first so many changes become durable.
    pub(super) fn commit(&mut self, count: usize) {
        let edits: Vec<Edit> = self.journal.changes.drain(..count).flatten().collect();
        for edit in edits {
            let durable = &mut self.directory_mut(edit.directory).durable;
            let old = match edit.entry {
                Some(entry) => durable.insert(edit.name, entry),
                None => durable.remove(&edit.name),
            };
            if let Some(entry) = old {
                self.node_mut(entry.inode).held -= 1;
                self.forget(entry.inode);
            }
        }
    }

    /// How many changes a power loss may take.
    #[cfg(test)]
    pub(crate) fn unsynced_names(&self) -> usize {
        self.journal.changes.len()
    }

    /// The power is lost: all that is left is what was durable, and what the seed lets survive of the rest. Whatever
    /// was open is not any more.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        self.commit(random.within(0..=self.journal.changes.len() as u64) as usize);
        self.journal = Journal::default();
        let names = self.count_durable_names();
        self.nodes.retain(|inode, _| names.contains_key(inode));
        let torn = self.storage.tears_writes();
        for (inode, node) in &mut self.nodes {
            let links = names[inode];
            (node.links, node.held, node.opens, node.failures) = (links, links, 0, 0);
            node.times = node.durable_times;
            node.attributes = node.durable_attributes.clone();
            match &mut node.kind {
                Kind::File(contents) => contents.crash(torn, random),
                Kind::Directory(directory) => directory.entries.clone_from(&directory.durable),
                Kind::Symlink(_) | Kind::Socket => (),
            }
        }
        self.count_used();
    }

    fn count_durable_names(&self) -> BTreeMap<Inode, u32> {
        let mut names = BTreeMap::from([(ROOT, 1)]);
        let mut left = vec![ROOT];
        while let Some(directory) = left.pop() {
            for entry in self.entries(directory, View::Durable).values() {
                let count = names.entry(entry.inode).or_insert(0);
                *count += 1;
                if *count == 1 && self.node(entry.inode).is_directory() {
                    left.push(entry.inode);
                }
            }
        }
        names
    }
}
