//! What is in a file: a page cache in front of durable pages.
//!
//! ```text
//!   write --> dirty page + log --sync--> clean page = durable page
//!                |      \--sync fails--> clean page, not durable: gone when the cache lets go of it
//!                power loss: durable pages + what the log lets survive
//! ```
//!
//! Invariants: a page that is not in the cache is as its durable one; the log has what was done since the pages were
//! last written back, whether that worked or not; beyond the length all is zeroes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::log::Log;
use super::pages::{PAGE, Page, Pages, parts, zeroes};
use crate::sys::random::Random;

/// The bytes of a file, as programs see them and as they are durable.
#[derive(Default)]
pub(super) struct Contents {
    durable: Pages,
    /// As programs see it.
    len: u64,
    /// Pages in memory; `None` is a hole.
    cache: BTreeMap<u64, Option<Page>>,
    dirty: BTreeSet<u64>,
    log: Log,
    /// Pages that are no holes, as programs see it.
    allocated: u64,
}

/// The kernel writes back on its own when that much is dirty.
const LOG_BYTES: usize = 16 << 20;

impl Contents {
    /// As many of the bytes as fit while only `free` pages may come to the file.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], mut free: u64) -> usize {
        let mut written = 0;
        for part in parts(offset, bytes.len(), PAGE) {
            let page = self.bring(part.unit);
            if page.is_none() {
                if free == 0 {
                    break;
                }
                free -= 1;
                *page = Some(zeroes());
                self.allocated += 1;
            }
            written = part.of_all.end;
            self.change(part.unit, |page| page[part.within].copy_from_slice(&bytes[part.of_all]));
        }
        if written > 0 {
            self.len = self.len.max(offset + written as u64);
            self.log.write(offset, &bytes[..written]);
            self.limit_log();
        }
        written
    }

    /// Makes holes of what lies in the range, or of its pages only zeroes.
    pub(super) fn zero(&mut self, range: Range<u64>, holes: bool) {
        let mut pages = self.durable.numbers(range.start / PAGE..range.end.div_ceil(PAGE));
        pages.extend(self.cache.range(range.start / PAGE..range.end.div_ceil(PAGE)).map(|(number, _)| *number));
        for number in pages {
            let start = range.start.saturating_sub(number * PAGE).min(PAGE) as usize;
            let end = (range.end - number * PAGE).min(PAGE) as usize;
            if holes && start == 0 && end == PAGE as usize {
                if self.bring(number).take().is_some() {
                    self.allocated -= 1;
                    self.dirty.insert(number);
                }
            } else if self.bring(number).is_some() {
                self.change(number, |page| page[start..end].fill(0));
            }
        }
        self.log.zero(range);
        self.limit_log();
    }

    /// Gives room to what has none in the range. False if `free` pages are not enough: then nothing has changed.
    pub(super) fn allocate(&mut self, range: Range<u64>, free: u64) -> bool {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        if pages.end - pages.start > free + self.allocated {
            return false;
        }
        let holes: Vec<u64> = pages.filter(|number| self.seen(*number).is_none()).collect();
        if holes.len() as u64 > free {
            return false;
        }
        self.allocated += holes.len() as u64;
        let page = zeroes();
        for number in holes {
            self.cache.insert(number, Some(page.clone()));
            self.dirty.insert(number);
        }
        true
    }

    /// Where the next data is, or the next hole; `None` beyond the end, and if no data comes.
    pub(super) fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        if offset >= self.len {
            return None;
        }
        let end = self.len.div_ceil(PAGE);
        let page = (offset / PAGE..end).find(|number| self.seen(*number).is_some() == data);
        match page {
            Some(page) => Some(offset.max(page * PAGE)),
            None => (!data).then_some(self.len),
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len == self.len {
            return;
        }
        if len < self.len {
            self.cut_off(len);
        }
        self.len = len;
        self.log.set_len(len);
        self.limit_log();
    }

    fn cut_off(&mut self, len: u64) {
        // Room may have been given beyond the end.
        let first = len.div_ceil(PAGE);
        let mut gone = self.durable.numbers(first..u64::MAX);
        gone.extend(self.cache.range(first..).map(|(number, _)| *number));
        for number in gone {
            if self.bring(number).take().is_some() {
                self.allocated -= 1;
                self.dirty.insert(number);
            }
        }
        let last = len / PAGE;
        if last < first && self.bring(last).is_some() {
            self.change(last, |page| page[(len % PAGE) as usize..].fill(0));
        }
    }

    pub(super) fn read(&mut self, offset: u64, room: &mut [u8]) -> usize {
        let len = self.readable(offset, room.len());
        for part in parts(offset, len, PAGE) {
            fill(&mut room[part.of_all], self.bring(part.unit).as_ref().map(|page| &page[part.within]));
        }
        len
    }

    /// Only what is in memory, up to the first byte that is not; `None` if that is the first one.
    pub(super) fn read_cached(&self, offset: u64, room: &mut [u8]) -> Option<usize> {
        let len = self.readable(offset, room.len());
        let mut read = 0;
        for part in parts(offset, len, PAGE) {
            if !self.needs_no_disk(part.unit) {
                return (read > 0).then_some(read);
            }
            read = part.of_all.end;
            fill(&mut room[part.of_all], self.seen(part.unit).map(|page| &page[part.within]));
        }
        Some(read)
    }

    /// What is dirty becomes durable.
    pub(super) fn sync(&mut self) {
        // Without a change there is nothing to do, not even for what a failed sync has left.
        if self.log.is_empty() {
            return;
        }
        for number in std::mem::take(&mut self.dirty) {
            self.durable.put(number, self.cache.get(&number).cloned().flatten());
        }
        self.durable.set_len(self.len);
        self.log.clear();
    }

    /// What is dirty counts as written although it is not. Truncations are metadata, and become durable.
    pub(super) fn fail_sync(&mut self) {
        self.log.replay_lengths(&mut self.durable);
        self.dirty.clear();
        self.log.clear();
    }

    pub(super) fn crash(&mut self, torn: bool, random: &mut Random) {
        self.cache.clear();
        self.dirty.clear();
        self.log.replay_some(&mut self.durable, torn, random);
        self.log.clear();
        self.len = self.durable.len();
        self.allocated = self.durable.count();
    }

    /// Clean pages leave the memory.
    pub(super) fn drop_cache(&mut self) {
        self.cache.retain(|number, _| self.dirty.contains(number));
        self.recount();
    }

    /// Turns bits of a durable byte around. False if there is no such byte.
    pub(super) fn damage(&mut self, offset: u64, bits: u8) -> bool {
        let number = offset / PAGE;
        if offset >= self.durable.len() {
            return false;
        }
        let old = self.durable.get(number).map_or(0, |page| page[(offset % PAGE) as usize]);
        self.durable.write(offset, &[old ^ bits]);
        if !self.dirty.contains(&number) {
            self.cache.remove(&number);
        }
        self.recount();
        true
    }

    pub(super) fn is_cached(&self, offset: u64, len: usize) -> bool {
        parts(offset, self.readable(offset, len), PAGE).all(|part| self.needs_no_disk(part.unit))
    }

    /// It is in the cache, or a hole: that is known from the file's map.
    fn needs_no_disk(&self, number: u64) -> bool {
        self.cache.contains_key(&number) || self.durable.get(number).is_none()
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How much of the disk it takes.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated * PAGE
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        for part in parts(0, bytes.len(), PAGE) {
            fill(&mut bytes[part.of_all], self.seen(part.unit).map(|page| &page[part.within]));
        }
        bytes
    }

    pub(super) fn durable(&self) -> &Pages {
        &self.durable
    }

    /// The page in memory, where it is from now on.
    fn bring(&mut self, number: u64) -> &mut Option<Page> {
        self.cache.entry(number).or_insert_with(|| self.durable.get(number).cloned())
    }

    /// Changes a page that is in memory and no hole.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut [u8])) {
        if let Some(Some(page)) = self.cache.get_mut(&number) {
            change(&mut Rc::make_mut(page)[..]);
            self.dirty.insert(number);
        }
    }

    fn recount(&mut self) {
        let there = |page: bool, durable: bool| i64::from(page) - i64::from(durable);
        let cached = self.cache.iter();
        let more: i64 = cached.map(|(number, page)| there(page.is_some(), self.durable.get(*number).is_some())).sum();
        self.allocated = self.durable.count().saturating_add_signed(more);
    }

    fn limit_log(&mut self) {
        if self.log.bytes() > LOG_BYTES {
            self.sync();
        }
    }

    fn seen(&self, number: u64) -> Option<&Page> {
        self.cache.get(&number).map_or_else(|| self.durable.get(number), Option::as_ref)
    }

    /// How many of so many bytes there are to read.
    fn readable(&self, offset: u64, len: usize) -> usize {
        self.len.saturating_sub(offset).min(len as u64) as usize
    }
}

/// Without a source, with the zeroes of a hole.
fn fill(room: &mut [u8], from: Option<&[u8]>) {
    match from {
        Some(bytes) => room.copy_from_slice(bytes),
        None => room.fill(0),
    }
}
