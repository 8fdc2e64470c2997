//! The room that files take, and where in them it is taken.

use std::ops::Range;

use super::pages::PAGE;
use super::{Disk, Inode, Kind, LONGEST_FILE};
use crate::sim::{Answer, Errno};

/// No more than that is given at once to a file that is not written: as if the disk were full then.
const MOST_PAGES: u64 = 1 << 20;

impl Disk {
    /// As fallocate(2), with the modes that give room, keep the length, make holes and zero.
    pub(crate) fn allocate(&mut self, inode: Inode, mode: i32, range: Range<u64>, now_ns: u64) -> Answer<()> {
        const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
        const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
        const ZERO_AND_KEEP: i32 = ZERO | KEEP;
        let (gives, zeroes) = match mode {
            0 | KEEP => (true, false),
            ZERO | ZERO_AND_KEEP => (true, true),
            PUNCH => (false, true),
            _ => return Err(Errno(libc::EOPNOTSUPP)),
        };
        if range.end > LONGEST_FILE {
            return Err(Errno(libc::EFBIG));
        }
        let free = (self.storage.capacity_bytes().saturating_sub(self.used) / PAGE).min(MOST_PAGES);
        let there = self.change_file(inode, libc::ENODEV, |contents| {
            if zeroes {
                contents.zero(range.clone(), !gives);
            }
            if gives && !contents.allocate(range.clone(), free) {
                return false;
            }
            if mode & KEEP == 0 && contents.len() < range.end {
                contents.set_len(range.end);
            }
            true
        })?;
        if !there {
            return Err(Errno(libc::ENOSPC));
        }
        self.node_mut(inode).times.modify(now_ns);
        Ok(())
    }

    /// Where from there the next data is, or the next hole.
    pub(crate) fn seek(&self, inode: Inode, offset: u64, data: bool) -> Answer<u64> {
        match &self.node(inode).kind {
            Kind::File(contents) => contents.seek(offset, data).ok_or(Errno(libc::ENXIO)),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket => Err(Errno(libc::EINVAL)),
        }
    }

    /// All pages that there are room for, and those that are free.
    pub(crate) fn pages(&self) -> (u64, u64) {
        let all = self.storage.capacity_bytes() / PAGE;
        (all, all.saturating_sub(self.used.div_ceil(PAGE)))
    }
}
