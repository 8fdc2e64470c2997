//! The simulated disk: the file system of one host, with a page cache in front of what is durable.
//!
//! ```text
//!   programs --> names, pages in the cache --sync--> durable names, durable pages --> programs, after a power loss
//! ```
//!
//! Each call is done at once. How long it takes, and whether it fails, is drawn by whoever calls: [`Storage`] says from
//! what. A sync that fails is [`Disk::fail_sync`]; a read or write that fails is not called at all.
//!
//! Invariants: numbers of files are not used again; whatever the state, only names, opens, the durable names and the
//! journal keep a node; the same calls with the same seeds give the same answers.

mod attributes;
mod contents;
mod controls;
mod journal;
mod log;
mod names;
mod node;
mod pages;
mod path;
mod space;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use contents::Contents;
use journal::Journal;
use node::{Directory, Entries, Kind, Node};
use pages::PAGE;
use path::{Last, Links};

use crate::sim::{Answer, Errno};

#[allow(unused_imports, reason = "for the worlds that have such disks")]
pub(crate) use names::DirectoryEntry;
pub(crate) use node::{Stat, View};
pub(crate) use path::At;
pub use storage::Storage;

/// The file system of one host.
pub(crate) struct Disk {
    storage: Storage,
    nodes: BTreeMap<Inode, Node>,
    journal: Journal,
    /// How many numbers, and names, there have been.
    nodes_made: u32,
    names_made: u64,
    /// What the contents take that programs can reach.
    used: u64,
}

/// A file that is open or has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Inode(pub(crate) u32);

const ROOT: Inode = Inode(1);

/// What counts when only a path is opened.
const OF_A_PATH: i32 = libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY;

/// Of ext4 with pages of 4096.
const LONGEST_FILE: u64 = u32::MAX as u64 * PAGE;

impl Disk {
    /// With "/" and "/tmp".
    pub(crate) fn new() -> Self {
        let mut root = Node::new(Kind::Directory(Directory::default()), 0o755, 0);
        (root.links, root.held) = (1, 1);
        let mut disk = Self {
            storage: Storage::default(),
            nodes: BTreeMap::from([(ROOT, root)]),
            journal: Journal::default(),
            nodes_made: ROOT.0,
            names_made: 0,
            used: 0,
        };
        let tmp = Node::new(Kind::Directory(Directory::default()), 0o1777, 0);
        disk.make(ROOT, b"tmp".to_vec(), tmp, 0);
        disk.sync_all();
        disk
    }

    pub(crate) fn set_storage(&mut self, storage: Storage) {
        self.storage = storage;
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// As open(2), and counts as one open until [`Disk::close`]. There are no permissions: everybody is root.
    pub(crate) fn open<'a>(&mut self, path: impl Into<At<'a>>, flags: i32, mode: u32, now_ns: u64) -> Answer<Inode> {
        let path = path.into();
        if flags & libc::O_PATH != 0 {
            let inode = self.find_to_open(path, flags & OF_A_PATH)?;
            self.node_mut(inode).opens += 1;
            return Ok(inode);
        }
        let inode = if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            self.make_unnamed(path, flags, mode, now_ns)?
        } else if flags & libc::O_CREAT == 0 {
            self.find_to_open(path, flags)?
        } else {
            self.find_or_create(path, flags, mode, now_ns)?
        };
        if flags & libc::O_TRUNC != 0 {
            self.truncate(inode, 0, now_ns)?;
        }
        self.node_mut(inode).opens += 1;
        Ok(inode)
    }

    /// A file without a name, which it may be given later unless `O_EXCL` says that it never has one.
    fn make_unnamed(&mut self, at: At<'_>, flags: i32, mode: u32, now_ns: u64) -> Answer<Inode> {
        if flags & libc::O_ACCMODE == libc::O_RDONLY || flags & libc::O_CREAT != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let links = if flags & libc::O_NOFOLLOW == 0 { Links::Follow } else { Links::FollowWithSlash };
        let directory = self.find(at, links, View::Seen)?;
        if !self.node(directory).is_directory() {
            return Err(Errno(libc::ENOTDIR));
        }
        let mut node = Node::new(Kind::File(Contents::default()), mode, now_ns);
        node.nameable = flags & libc::O_EXCL == 0;
        Ok(self.add(node))
    }

    fn find_to_open(&self, path: At<'_>, flags: i32) -> Answer<Inode> {
        let links = if flags & libc::O_NOFOLLOW == 0 { Links::Follow } else { Links::FollowWithSlash };
        let inode = self.find(path, links, View::Seen)?;
        self.check_open(inode, flags)?;
        Ok(inode)
    }

    fn find_or_create(&mut self, path: At<'_>, flags: i32, mode: u32, now_ns: u64) -> Answer<Inode> {
        // The path is looked at first.
        path::check(path.path)?;
        if flags & libc::O_DIRECTORY != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let exclusive = flags & libc::O_EXCL != 0;
        let keep_links = exclusive || flags & libc::O_NOFOLLOW != 0;
        let place = self.walk(path, if keep_links { Links::Keep } else { Links::FollowWithoutSlash }, View::Seen)?;
        let directory = place.directory();
        match (place.last, place.inode) {
            (Last::Name(_), _) if place.slash => Err(Errno(libc::EISDIR)),
            (Last::Name(_), None) if self.is_removed(directory) => Err(Errno(libc::ENOENT)),
            (Last::Name(name), None) => {
                let node = Node::new(Kind::File(Contents::default()), mode, now_ns);
                Ok(self.make(directory, name, node, now_ns))
            }
            (_, Some(_)) if exclusive => Err(Errno(libc::EEXIST)),
            (_, Some(inode)) => {
                self.check_open(inode, flags)?;
                Ok(inode)
            }
            (Last::Dot | Last::DotDot | Last::Root, None) => Err(Errno(libc::EISDIR)),
        }
    }

    fn check_open(&self, inode: Inode, flags: i32) -> Answer<()> {
        let changes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0 || flags & libc::O_ACCMODE != libc::O_RDONLY;
        match &self.node(inode).kind {
            Kind::Directory(_) if changes => Err(Errno(libc::EISDIR)),
            Kind::File(_) | Kind::Symlink(_) | Kind::Socket if flags & libc::O_DIRECTORY != 0 => {
                Err(Errno(libc::ENOTDIR))
            }
            Kind::Symlink(_) if flags & libc::O_PATH == 0 => Err(Errno(libc::ELOOP)),
            Kind::Socket if flags & libc::O_PATH == 0 => Err(Errno(libc::ENXIO)),
            Kind::Symlink(_) | Kind::File(_) | Kind::Directory(_) | Kind::Socket => Ok(()),
        }
    }

    /// One open less; the last one of a file without a name frees it.
    pub(crate) fn close(&mut self, inode: Inode) {
        self.node_mut(inode).opens -= 1;
        self.let_go(inode);
    }

    /// Brings what it reads into the cache.
    pub(crate) fn read(&mut self, inode: Inode, offset: u64, room: &mut [u8]) -> Answer<usize> {
        if room.is_empty() {
            return Ok(0);
        }
        Ok(self.file_mut(inode, libc::EISDIR)?.read(offset, room))
    }

    /// Only what is in the cache, as preadv2(2) with `RWF_NOWAIT`; `None` if nothing is (`EAGAIN`).
    pub(crate) fn read_cached(&self, inode: Inode, offset: u64, room: &mut [u8]) -> Answer<Option<usize>> {
        match &self.node(inode).kind {
            Kind::File(contents) => Ok(contents.read_cached(offset, room)),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket => Err(Errno(libc::EISDIR)),
        }
    }

    /// Whether a read needs no disk.
    pub(crate) fn is_cached(&self, inode: Inode, offset: u64, len: usize) -> bool {
        match &self.node(inode).kind {
            Kind::File(contents) => contents.is_cached(offset, len),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket => true,
        }
    }

    /// Writes to the cache, as much as there is room for.
    pub(crate) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8], now_ns: u64) -> Answer<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let longest = LONGEST_FILE.saturating_sub(offset);
        if longest == 0 {
            return Err(Errno(libc::EFBIG));
        }
        let bytes = &bytes[..bytes.len().min(usize::try_from(longest).unwrap_or(usize::MAX))];
        let free = self.storage.capacity_bytes().saturating_sub(self.used) / PAGE;
        let written = self.change_file(inode, libc::EISDIR, |contents| contents.write(offset, bytes, free))?;
        if written == 0 {
            return Err(Errno(libc::ENOSPC));
        }
        self.node_mut(inode).times.modify(now_ns);
        Ok(written)
    }

    /// Writes to the end, wherever that is by now.
    pub(crate) fn append(&mut self, inode: Inode, bytes: &[u8], now_ns: u64) -> Answer<usize> {
        self.write(inode, self.len(inode), bytes, now_ns)
    }

    pub(crate) fn truncate(&mut self, inode: Inode, len: u64, now_ns: u64) -> Answer<()> {
        if len > LONGEST_FILE {
            return Err(Errno(libc::EFBIG));
        }
        self.change_file(inode, libc::EINVAL, |contents| contents.set_len(len))?;
        self.node_mut(inode).times.modify(now_ns);
        Ok(())
    }

    /// Of a file, its contents become durable; of a directory, all changes of names up to the last one in it. Its own
    /// name does not, unless [`Storage::sync_keeps_name`] says so.
    pub(crate) fn sync(&mut self, inode: Inode, data_only: bool) -> Answer<()> {
        let node = self.node_mut(inode);
        if !data_only {
            node.durable_times = node.times;
            node.durable_attributes = node.attributes.clone();
        }
        match &mut node.kind {
            Kind::File(contents) => contents.sync(),
            Kind::Directory(_) => self.commit_through(|edit| edit.directory == inode),
            Kind::Symlink(_) | Kind::Socket => (),
        }
        if self.storage.keeps_name_at_sync() {
            self.commit_through(|edit| edit.entry.is_some_and(|entry| entry.inode == inode));
        }
        Ok(())
    }

    /// A sync that fails with `EIO`. As on Linux since 4.13, what was dirty counts as clean from now on: it can be read
    /// while it is in the cache, but no later sync writes it.
    ///
    /// The error is told once to each open description: by its next sync if [`Disk::sync_failures`] has grown since
    /// the description was opened, or was last told.
    pub(crate) fn fail_sync(&mut self, inode: Inode) {
        let node = self.node_mut(inode);
        node.failures += 1;
        if let Kind::File(contents) = &mut node.kind {
            contents.fail_sync();
        }
    }

    pub(crate) fn sync_failures(&self, inode: Inode) -> u32 {
        self.node(inode).failures
    }

    pub(crate) fn len(&self, inode: Inode) -> u64 {
        self.node(inode).size()
    }

    pub(crate) fn is_directory(&self, inode: Inode) -> bool {
        self.node(inode).is_directory()
    }

    pub(crate) fn stat(&self, inode: Inode) -> Stat {
        let node = self.node(inode);
        let mut stat = node.stat(inode);
        if let Kind::Directory(directory) = &node.kind {
            // Its own ".", and the ".." of each one in it.
            let within = directory.entries.values().filter(|entry| self.node(entry.inode).is_directory());
            stat.links += if node.links > 0 { 1 + within.count() as u32 } else { 0 };
        }
        stat
    }

    pub(crate) fn stat_path<'a>(&self, path: impl Into<At<'a>>, follow: bool) -> Answer<Stat> {
        let links = if follow { Links::Follow } else { Links::FollowWithSlash };
        Ok(self.stat(self.find(path, links, View::Seen)?))
    }

    /// What a path names, for a call that takes one.
    pub(crate) fn inode_at<'a>(&self, path: impl Into<At<'a>>, follow: bool) -> Answer<Inode> {
        self.find(path, if follow { Links::Follow } else { Links::FollowWithSlash }, View::Seen)
    }

    fn change_file<T>(&mut self, inode: Inode, otherwise: i32, change: impl FnOnce(&mut Contents) -> T) -> Answer<T> {
        let contents = self.file_mut(inode, otherwise)?;
        let before = contents.allocated_bytes();
        let answer = change(contents);
        let after = contents.allocated_bytes();
        self.used = self.used - before + after;
        Ok(answer)
    }

    /// The contents of a file, or that error.
    fn file_mut(&mut self, inode: Inode, otherwise: i32) -> Answer<&mut Contents> {
        match &mut self.node_mut(inode).kind {
            Kind::File(contents) => Ok(contents),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket => Err(Errno(otherwise)),
        }
    }

    fn add(&mut self, node: Node) -> Inode {
        self.nodes_made += 1;
        let inode = Inode(self.nodes_made);
        self.nodes.insert(inode, node);
        inode
    }

    fn node(&self, inode: Inode) -> &Node {
        self.nodes.get(&inode).expect(THERE)
    }

    fn node_mut(&mut self, inode: Inode) -> &mut Node {
        self.nodes.get_mut(&inode).expect(THERE)
    }

    fn entries(&self, directory: Inode, view: View) -> &Entries {
        match &self.node(directory).kind {
            Kind::Directory(directory) => directory.entries(view),
            Kind::File(_) | Kind::Symlink(_) | Kind::Socket => unreachable!("{directory:?} is a directory"),
        }
    }

    fn directory_mut(&mut self, inode: Inode) -> &mut Directory {
        match &mut self.node_mut(inode).kind {
            Kind::Directory(directory) => directory,
            Kind::File(_) | Kind::Symlink(_) | Kind::Socket => unreachable!("{inode:?} is a directory"),
        }
    }
}

const THERE: &str = "a file that is open or has a name";
