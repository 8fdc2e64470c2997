//! Nodes: what the names of a file system stand for, and what `stat(2)` says of them.

use std::collections::BTreeMap;

use super::Inode;
use super::contents::Contents;

/// A file, a directory or a symbolic link.
///
/// It stays while a name, an open or the durable state refers to it: a power loss may bring back the last.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) times: Times,
    pub(super) durable_times: Times,
    pub(super) attributes: Attributes,
    pub(super) durable_attributes: Attributes,
    /// Names, as programs see them.
    pub(super) links: u32,
    pub(super) opens: u32,
    /// Durable names, and those that the journal will make durable.
    pub(super) held: u32,
    /// Syncs that failed.
    pub(super) failures: u32,
    /// It has never had a name, and may be given one.
    pub(super) nameable: bool,
}

/// Who may do what with it, and what else is noted of it.
#[derive(Clone, Default)]
pub(super) struct Attributes {
    pub(super) permissions: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(super) enum Kind {
    File(Contents),
    Directory(Directory),
    Symlink(Vec<u8>),
    /// What a socket was bound to. Who listens there, the network knows.
    Socket,
}

#[derive(Default)]
pub(super) struct Directory {
    /// As programs see them.
    pub(super) entries: Entries,
    pub(super) durable: Entries,
}

pub(super) type Entries = BTreeMap<Vec<u8>, Entry>;

/// What a name stands for.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) inode: Inode,
    /// Grows with each name that is made.
    pub(super) order: u64,
}

/// Whose names and bytes: those that programs see, or those that no power loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Seen,
    Durable,
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    born_ns: u64,
    pub(super) accessed_ns: u64,
    pub(super) modified_ns: u64,
    changed_ns: u64,
}

/// What a file is like: the fields of a `statx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) inode: Inode,
    /// Kind and permissions, as in `stx_mode`.
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) size: u64,
    /// Of 512 bytes.
    pub(crate) blocks: u64,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// As if mounted with `noatime`: the time of its creation, or what it was set to.
    pub(crate) accessed_ns: u64,
    pub(crate) modified_ns: u64,
    pub(crate) changed_ns: u64,
    pub(crate) born_ns: u64,
}

impl Node {
    pub(super) fn new(kind: Kind, mode: u32, now_ns: u64) -> Self {
        let times = Times { born_ns: now_ns, accessed_ns: now_ns, modified_ns: now_ns, changed_ns: now_ns };
        let attributes = Attributes { permissions: mode & 0o7777, ..Attributes::default() };
        Self {
            kind,
            times,
            durable_times: times,
            durable_attributes: attributes.clone(),
            attributes,
            links: 0,
            opens: 0,
            held: 0,
            failures: 0,
            nameable: false,
        }
    }

    /// Whether programs can reach it.
    pub(super) fn is_live(&self) -> bool {
        self.links > 0 || self.opens > 0
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        match &self.kind {
            Kind::File(contents) => contents.allocated_bytes(),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket => 0,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(contents) => contents.len(),
            Kind::Directory(_) => 4096,
            Kind::Symlink(target) => target.len() as u64,
            Kind::Socket => 0,
        }
    }

    /// The kind, as in the mode of a file.
    pub(super) fn format(&self) -> u32 {
        match self.kind {
            Kind::File(_) => libc::S_IFREG,
            Kind::Directory(_) => libc::S_IFDIR,
            Kind::Symlink(_) => libc::S_IFLNK,
            Kind::Socket => libc::S_IFSOCK,
        }
    }

    /// `links` without the names in it, which only the file system knows.
    pub(super) fn stat(&self, inode: Inode) -> Stat {
        Stat {
            inode,
            mode: self.format() | self.attributes.permissions,
            user: self.attributes.user,
            group: self.attributes.group,
            links: self.links,
            size: self.size(),
            blocks: self.allocated_bytes() / 512,
            accessed_ns: self.times.accessed_ns,
            modified_ns: self.times.modified_ns,
            changed_ns: self.times.changed_ns,
            born_ns: self.times.born_ns,
        }
    }
}

impl Directory {
    pub(super) fn entries(&self, view: View) -> &Entries {
        match view {
            View::Seen => &self.entries,
            View::Durable => &self.durable,
        }
    }
}

impl Times {
    /// What is in the file is new.
    pub(super) fn modify(&mut self, now_ns: u64) {
        self.modified_ns = now_ns;
        self.changed_ns = now_ns;
    }

    /// What is known of the file is new.
    pub(super) fn change(&mut self, now_ns: u64) {
        self.changed_ns = now_ns;
    }
}
