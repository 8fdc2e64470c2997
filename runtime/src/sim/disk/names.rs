//! Changes of names: make, remove, rename, link. The order of the checks is Linux's (fs/namei.c), since a program may
//! depend on which of two errors it gets.

use super::journal::Edit;
use super::node::{Directory, Entry, Kind, Node, View};
use super::path::{At, Last, Links, New, Place};
use super::{Disk, Inode};
use crate::sim::{Answer, Errno};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: Inode,
    /// The kind as in the mode of a file, such as `S_IFREG`.
    pub(crate) format: u32,
    /// Grows with each name that is made.
    pub(crate) order: u64,
}

impl Disk {
    pub(crate) fn mkdir<'a>(&mut self, path: impl Into<At<'a>>, mode: u32, now_ns: u64) -> Answer<()> {
        let (directory, name) = self.place_for_new(path, New::Directory)?;
        let node = Node::new(Kind::Directory(Directory::default()), mode, now_ns);
        self.make(directory, name, node, now_ns);
        Ok(())
    }

    pub(crate) fn symlink<'a>(&mut self, target: &[u8], path: impl Into<At<'a>>, now_ns: u64) -> Answer<()> {
        if target.is_empty() {
            return Err(Errno(libc::ENOENT));
        }
        if target.len() >= 4096 {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        let (directory, name) = self.place_for_new(path, New::NoDirectory)?;
        self.make(directory, name, Node::new(Kind::Symlink(target.to_vec()), 0o777, now_ns), now_ns);
        Ok(())
    }

    /// A name for a socket.
    pub(crate) fn make_socket<'a>(&mut self, path: impl Into<At<'a>>, now_ns: u64) -> Answer<Inode> {
        let (directory, name) = self.place_for_new(path, New::NoDirectory).map_err(|error| match error.0 {
            libc::EEXIST => Errno(libc::EADDRINUSE),
            _ => error,
        })?;
        Ok(self.make(directory, name, Node::new(Kind::Socket, 0o755, now_ns), now_ns))
    }

    /// Another name of the same file. Of a symbolic link itself, unless `follow`.
    pub(crate) fn link<'a, 'b>(
        &mut self,
        path: impl Into<At<'a>>,
        new_path: impl Into<At<'b>>,
        follow: bool,
        now_ns: u64,
    ) -> Answer<()> {
        let links = if follow { Links::Follow } else { Links::FollowWithSlash };
        let inode = self.find(path, links, View::Seen)?;
        self.link_open(inode, new_path, now_ns)
    }

    /// A name for what is open. What has lost all its names gets none any more.
    pub(crate) fn link_open<'a>(&mut self, inode: Inode, new_path: impl Into<At<'a>>, now_ns: u64) -> Answer<()> {
        let (directory, name) = self.place_for_new(new_path, New::NoDirectory)?;
        if self.node(inode).is_directory() {
            return Err(Errno(libc::EPERM));
        }
        let node = self.node_mut(inode);
        if node.links == 0 && !std::mem::take(&mut node.nameable) {
            return Err(Errno(libc::ENOENT));
        }
        let entry = Some(self.entry(inode));
        self.change_names(vec![Edit { directory, name, entry }], now_ns);
        Ok(())
    }

    pub(crate) fn unlink<'a>(&mut self, path: impl Into<At<'a>>, now_ns: u64) -> Answer<()> {
        let place = self.walk(path, Links::Keep, View::Seen)?;
        let directory = place.directory();
        let Last::Name(name) = place.last else {
            return Err(Errno(libc::EISDIR));
        };
        let inode = place.inode.ok_or(Errno(libc::ENOENT))?;
        if self.node(inode).is_directory() {
            return Err(Errno(libc::EISDIR));
        }
        if place.slash {
            return Err(Errno(libc::ENOTDIR));
        }
        self.change_names(vec![Edit { directory, name, entry: None }], now_ns);
        Ok(())
    }

    pub(crate) fn rmdir<'a>(&mut self, path: impl Into<At<'a>>, now_ns: u64) -> Answer<()> {
        let place = self.walk(path, Links::Keep, View::Seen)?;
        let directory = place.directory();
        let name = match place.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno(libc::EINVAL)),
            Last::DotDot => return Err(Errno(libc::ENOTEMPTY)),
            Last::Root => return Err(Errno(libc::EBUSY)),
        };
        self.check_empty(place.inode.ok_or(Errno(libc::ENOENT))?)?;
        self.change_names(vec![Edit { directory, name, entry: None }], now_ns);
        Ok(())
    }

    /// As renameat2(2), with its flags.
    pub(crate) fn rename<'a, 'b>(
        &mut self,
        path: impl Into<At<'a>>,
        new_path: impl Into<At<'b>>,
        flags: u32,
        now_ns: u64,
    ) -> Answer<()> {
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let keep = flags & libc::RENAME_NOREPLACE != 0;
        if flags & !(libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE) != 0 || (exchange && keep) {
            return Err(Errno(libc::EINVAL));
        }
        let old = self.walk(path, Links::Keep, View::Seen)?;
        let new = self.walk(new_path, Links::Keep, View::Seen)?;
        let (directory, new_directory) = (old.directory(), new.directory());
        let Last::Name(name) = &old.last else {
            return Err(Errno(libc::EBUSY));
        };
        let Last::Name(new_name) = &new.last else {
            return Err(Errno(if keep { libc::EEXIST } else { libc::EBUSY }));
        };
        let inode = old.inode.ok_or(Errno(libc::ENOENT))?;
        if keep && new.inode.is_some() {
            return Err(Errno(libc::EEXIST));
        }
        if new.inode.is_none() && self.is_removed(new_directory) {
            return Err(Errno(libc::ENOENT));
        }
        self.check_rename(inode, &old, &new, exchange)?;
        let entry = match new.inode {
            Some(other) if other == inode => return Ok(()),
            Some(other) if exchange => Some(self.entry(other)),
            Some(_) | None => None,
        };
        let here = Edit { directory, name: name.clone(), entry };
        let there = Edit { directory: new_directory, name: new_name.clone(), entry: Some(self.entry(inode)) };
        self.change_names(vec![here, there], now_ns);
        Ok(())
    }

    fn check_rename(&self, inode: Inode, old: &Place, new: &Place, exchange: bool) -> Answer<()> {
        let is_directory = self.node(inode).is_directory();
        let replaced = new.inode.map(|inode| self.node(inode).is_directory());
        if exchange && replaced.is_none() {
            return Err(Errno(libc::ENOENT));
        }
        if exchange && replaced == Some(false) && new.slash {
            return Err(Errno(libc::ENOTDIR));
        }
        if !is_directory && (old.slash || (new.slash && !exchange)) {
            return Err(Errno(libc::ENOTDIR));
        }
        if new.trail.contains(&inode) {
            return Err(Errno(libc::EINVAL));
        }
        if new.inode.is_some_and(|inode| old.trail.contains(&inode)) {
            return Err(Errno(if exchange { libc::EINVAL } else { libc::ENOTEMPTY }));
        }
        match (is_directory, replaced, new.inode) {
            (_, _, Some(other)) if exchange || other == inode => Ok(()),
            (true, Some(_), Some(other)) => self.check_empty(other),
            (false, Some(true), _) => Err(Errno(libc::EISDIR)),
            (true | false, _, _) => Ok(()),
        }
    }

    pub(crate) fn readlink<'a>(&self, path: impl Into<At<'a>>) -> Answer<Vec<u8>> {
        let inode = self.find(path, Links::FollowWithSlash, View::Seen)?;
        self.target(inode)
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self, inode: Inode) -> Answer<Vec<u8>> {
        match &self.node(inode).kind {
            Kind::Symlink(target) => Ok(target.clone()),
            Kind::File(_) | Kind::Directory(_) | Kind::Socket => Err(Errno(libc::EINVAL)),
        }
    }

    /// The names in an open directory, without "." and "..", in the order in which they were made.
    pub(crate) fn read_dir(&self, inode: Inode) -> Answer<Vec<DirectoryEntry>> {
        self.read_dir_after(inode, 0)
    }

    /// Those that were made after the one of that order.
    pub(crate) fn read_dir_after(&self, inode: Inode, order: u64) -> Answer<Vec<DirectoryEntry>> {
        let Kind::Directory(directory) = &self.node(inode).kind else {
            return Err(Errno(libc::ENOTDIR));
        };
        let mut entries: Vec<_> = directory.entries.iter().filter(|(_, entry)| entry.order > order).collect();
        entries.sort_by_key(|(_, entry)| entry.order);
        let found = |(name, entry): (&Vec<u8>, &Entry)| DirectoryEntry {
            name: name.clone(),
            inode: entry.inode,
            format: self.node(entry.inode).format(),
            order: entry.order,
        };
        Ok(entries.into_iter().map(found).collect())
    }

    /// A new node with a name. The name must be free.
    pub(super) fn make(&mut self, directory: Inode, name: Vec<u8>, node: Node, now_ns: u64) -> Inode {
        let inode = self.add(node);
        let entry = Some(self.entry(inode));
        self.change_names(vec![Edit { directory, name, entry }], now_ns);
        inode
    }

    fn check_empty(&self, inode: Inode) -> Answer<()> {
        match &self.node(inode).kind {
            Kind::Directory(directory) if directory.entries.is_empty() => Ok(()),
            Kind::Directory(_) => Err(Errno(libc::ENOTEMPTY)),
            Kind::File(_) | Kind::Symlink(_) | Kind::Socket => Err(Errno(libc::ENOTDIR)),
        }
    }

    fn entry(&mut self, inode: Inode) -> Entry {
        self.names_made += 1;
        Entry { inode, order: self.names_made }
    }
}
