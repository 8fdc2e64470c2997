//! Bytes by pages: sparse, and shared between the page cache and the durable state until one of them changes.
//!
//! Invariant: beyond the length there are only zeroes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

pub(super) const PAGE: u64 = 4096;
pub(super) const SECTOR: u64 = 512;

pub(super) type Page = Rc<[u8; PAGE as usize]>;

/// The bytes of a file; pages that are not there are zeroes.
#[derive(Default)]
pub(super) struct Pages {
    pages: BTreeMap<u64, Page>,
    len: u64,
}

impl Pages {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for part in parts(offset, bytes.len(), PAGE) {
            let page = self.pages.entry(part.unit).or_insert_with(zeroes);
            Rc::make_mut(page)[part.within].copy_from_slice(&bytes[part.of_all]);
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    /// Puts a page in, or a hole. The length stays.
    pub(super) fn put(&mut self, number: u64, page: Option<Page>) {
        match page {
            Some(page) => self.pages.insert(number, page),
            None => self.pages.remove(&number),
        };
    }

    /// Cuts off what is beyond, or goes on with a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        self.pages.split_off(&len.div_ceil(PAGE));
        if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
            Rc::make_mut(page)[(len % PAGE) as usize..].fill(0);
        }
        self.len = len;
    }

    /// Fills a range with zeroes. The length stays.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        for number in self.numbers(range.start / PAGE..range.end.div_ceil(PAGE)) {
            let start = range.start.saturating_sub(number * PAGE).min(PAGE) as usize;
            let end = (range.end - number * PAGE).min(PAGE) as usize;
            if let Some(page) = self.pages.get_mut(&number) {
                Rc::make_mut(page)[start..end].fill(0);
            }
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<&Page> {
        self.pages.get(&number)
    }

    /// The numbers of the pages that are no holes.
    pub(super) fn numbers(&self, within: Range<u64>) -> Vec<u64> {
        self.pages.range(within).map(|(number, _)| *number).collect()
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        for part in parts(0, bytes.len(), PAGE) {
            if let Some(page) = self.get(part.unit) {
                bytes[part.of_all].copy_from_slice(&page[part.within]);
            }
        }
        bytes
    }
}

/// The part of a range of bytes that lies within one page, or one sector.
pub(super) struct Part {
    pub(super) unit: u64,
    pub(super) within: Range<usize>,
    pub(super) of_all: Range<usize>,
}

pub(super) fn parts(offset: u64, len: usize, unit: u64) -> impl Iterator<Item = Part> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % unit) as usize;
        let taken = (len - done).min(unit as usize - start);
        let part = Part { unit: at / unit, within: start..start + taken, of_all: done..done + taken };
        done += taken;
        Some(part)
    })
}

pub(super) fn zeroes() -> Page {
    Rc::new([0; PAGE as usize])
}
