//! A simulated machine: its name and address, its disk, its table of descriptors, and what shall fail on it.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::chime::Chime;
use super::disk::{Disk, Inode};
use super::net::SocketId;
use super::{Answer, Errno, HostId};

/// The first number of simulated descriptors; no real one is as large. Above it stand host and place in its table.
pub(crate) const FIRST_DESCRIPTOR: i32 = 1 << 30;
const HOST_BITS: u32 = 20;

/// A kind of call that can be made to fail: [`Host::fail_next`](crate::world::Host::fail_next).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Bringing a file to the disk. As on Linux, what it could not write then counts as written.
    Sync,
    /// Cutting or extending a file.
    Truncate,
    /// Closing a file or socket. It is closed all the same.
    Close,
    /// Asking for a file's metadata.
    Stat,
    /// Changing names: making, removing, renaming, linking.
    Rename,
    /// Making a socket.
    Socket,
    /// Accepting a connection.
    Accept,
    /// Connecting.
    Connect,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
    /// Entering the kernel, by any core. An error that does not pass (`EBADF`) ends that core.
    Enter,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(super) address: IpAddr,
    pub(super) up: bool,
    pub(crate) paused: bool,
    pub(crate) disk: Disk,
    table: Vec<Option<usize>>,
    /// No place before it is free.
    searched_to: usize,
    pub(crate) most_descriptors: usize,
    failures: BTreeMap<Call, VecDeque<i32>>,
    /// Until when writes of a file are queued up behind each other (K29).
    pub(super) writes_end_ns: BTreeMap<Inode, u64>,
    /// How many cores it has had since it was started.
    pub(super) cores: u16,
}

/// How many descriptors a host may have open, as is common.
const MOST_DESCRIPTORS: usize = 1024;

impl Host {
    pub(super) fn new(name: String, address: IpAddr) -> Self {
        Self {
            name,
            address,
            up: true,
            paused: false,
            disk: Disk::new(),
            table: Vec::new(),
            searched_to: 0,
            most_descriptors: MOST_DESCRIPTORS,
            failures: BTreeMap::new(),
            writes_end_ns: BTreeMap::new(),
            cores: 0,
        }
    }

    pub(crate) fn next_core(&mut self) -> u16 {
        self.cores += 1;
        self.cores - 1
    }

    pub(super) fn has_room(&self) -> bool {
        self.lowest_free() < self.most_descriptors
    }

    fn lowest_free(&self) -> usize {
        let from = self.searched_to.min(self.table.len());
        self.table[from..].iter().position(Option::is_none).map_or(self.table.len(), |free| from + free)
    }

    /// Gives an open file the lowest free place in the table, which is to be below `most`.
    pub(super) fn install(&mut self, open: usize, most: usize) -> Answer<usize> {
        let free = self.lowest_free();
        if free >= most {
            return Err(Errno(libc::EMFILE));
        }
        self.searched_to = free + 1;
        if free == self.table.len() {
            self.table.push(None);
        }
        self.table[free] = Some(open);
        Ok(free)
    }

    pub(super) fn installed(&self, place: usize) -> Answer<usize> {
        self.table.get(place).copied().flatten().ok_or(Errno(libc::EBADF))
    }

    pub(super) fn uninstall(&mut self, place: usize) -> Answer<usize> {
        let open = self.table.get_mut(place).and_then(Option::take).ok_or(Errno(libc::EBADF))?;
        self.searched_to = self.searched_to.min(place);
        Ok(open)
    }

    /// How many descriptors are open.
    pub(super) fn descriptors(&self) -> usize {
        self.table.iter().flatten().count()
    }

    pub(super) fn forget_descriptors(&mut self) {
        self.table.clear();
        self.searched_to = 0;
    }

    pub(super) fn fail_next(&mut self, call: Call, errno: i32) {
        self.failures.entry(call).or_default().push_back(errno);
    }

    pub(super) fn has_failure(&self, call: Call) -> bool {
        self.failures.get(&call).is_some_and(|failures| !failures.is_empty())
    }

    /// The error that the next such call is to end with.
    pub(super) fn take_failure(&mut self, call: Call) -> Option<Errno> {
        if self.failures.is_empty() {
            return None;
        }
        self.failures.get_mut(&call)?.pop_front().map(Errno)
    }
}

/// What is open.
pub(super) struct Open {
    pub(super) host: HostId,
    /// Places in tables that name it, and requests that use it.
    pub(super) references: u32,
    pub(super) file: File,
    /// Requests that wait until it is ready.
    pub(super) waiting: Vec<usize>,
    /// It has the lock of its file; alone, if that is true.
    pub(super) locked: Option<bool>,
}

#[derive(Clone)]
pub(super) enum File {
    Socket(SocketId),
    /// Of failed syncs, so many have been told of.
    Disk {
        inode: Inode,
        flags: i32,
        position: u64,
        failed_syncs: u32,
    },
    Bell {
        chime: Chime,
        seen: u64,
    },
}

/// The number by which a program knows a place in a host's table.
pub(super) fn number(host: HostId, place: usize) -> i32 {
    FIRST_DESCRIPTOR | i32::from(host.0) << HOST_BITS | place as i32
}

/// Whose place a number is; `None` for a descriptor of the real system.
pub(super) fn place(number: i32) -> Option<(HostId, usize)> {
    if number < FIRST_DESCRIPTOR {
        return None;
    }
    let number = number - FIRST_DESCRIPTOR;
    Some((HostId((number >> HOST_BITS) as u16), (number & ((1 << HOST_BITS) - 1)) as usize))
}
