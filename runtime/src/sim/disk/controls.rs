//! What a world does to a disk from outside, and sees of it: by path, without opens.

use super::node::{Kind, View};
use super::path::Links;
use super::{Disk, Inode};
use crate::sim::{Answer, Errno};

impl Disk {
    /// All names and contents become durable, as by sync(2).
    pub(crate) fn sync_all(&mut self) {
        self.commit_through(|_| true);
        for node in self.nodes.values_mut() {
            node.durable_times = node.times;
            node.durable_attributes = node.attributes.clone();
            if let Kind::File(contents) = &mut node.kind {
                contents.sync();
            }
        }
    }

    /// Clean pages leave the cache, so that reads need the disk.
    pub(crate) fn drop_caches(&mut self) {
        for node in self.nodes.values_mut() {
            if let Kind::File(contents) = &mut node.kind {
                contents.drop_cache();
            }
        }
        self.count_used();
    }

    /// What contents take, without those of files that nobody can reach.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used
    }

    /// The contents of a file, by names and bytes as programs see them, or as they are durable.
    pub(crate) fn contents(&self, path: &[u8], view: View) -> Answer<Vec<u8>> {
        let inode = self.find(path, Links::Follow, view)?;
        match (&self.node(inode).kind, view) {
            (Kind::File(contents), View::Seen) => Ok(contents.to_vec()),
            (Kind::File(contents), View::Durable) => Ok(contents.durable().to_vec()),
            (Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket, _) => Err(Errno(libc::EISDIR)),
        }
    }

    /// Makes a file with these contents, and the directories that it needs; all names become durable.
    pub(crate) fn install(&mut self, path: &[u8], bytes: &[u8], now_ns: u64) -> Answer<()> {
        for end in (1..path.len()).filter(|end| path[*end] == b'/') {
            match self.mkdir(&path[..end], 0o755, now_ns) {
                Ok(()) | Err(Errno(libc::EEXIST)) => (),
                Err(error) => return Err(error),
            }
        }
        let inode = self.open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o644, now_ns)?;
        let written = self.write(inode, 0, bytes, now_ns);
        let synced = self.sync(inode, false);
        self.close(inode);
        self.commit_through(|_| true);
        synced?;
        if written? == bytes.len() { Ok(()) } else { Err(Errno(libc::ENOSPC)) }
    }

    /// Bits of a durable byte rot: those of `bits` turn around. Dirty pages hide it until they are written.
    pub(crate) fn damage(&mut self, path: &[u8], offset: u64, bits: u8) -> Answer<()> {
        let inode = self.find(path, Links::Follow, View::Seen)?;
        let damaged = self.file_mut(inode, libc::EISDIR)?.damage(offset, bits);
        self.count_used();
        if damaged { Ok(()) } else { Err(Errno(libc::EINVAL)) }
    }

    /// The paths of all files with their lengths, in the order of the paths.
    pub(crate) fn files(&self, view: View) -> Vec<(Vec<u8>, u64)> {
        let len = |inode: Inode| match (&self.node(inode).kind, view) {
            (Kind::File(contents), View::Seen) => Some(contents.len()),
            (Kind::File(contents), View::Durable) => Some(contents.durable().len()),
            (Kind::Directory(_) | Kind::Symlink(_) | Kind::Socket, _) => None,
        };
        self.all_paths(view).into_iter().filter_map(|(path, inode)| Some((path, len(inode)?))).collect()
    }

    /// After contents have changed that may belong to nobody.
    pub(super) fn count_used(&mut self) {
        let bytes = |live: bool| -> u64 {
            let nodes = self.nodes.values().filter(|node| node.is_live() == live);
            nodes.map(super::node::Node::allocated_bytes).sum()
        };
        let (used, ghosts) = (bytes(true), bytes(false));
        self.used = used;
        self.journal.set_ghost_bytes(ghosts);
    }
}
