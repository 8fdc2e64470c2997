//! What is noted of a file beside its contents: who may do what, times, extended attributes.

use super::{Disk, Inode, Kind};
use crate::sim::{Answer, Errno};

/// The limits of the kernel.
const NAME_BYTES: usize = 255;
const VALUE_BYTES: usize = 65_536;

impl Disk {
    pub(crate) fn set_mode(&mut self, inode: Inode, mode: u32, now_ns: u64) -> Answer<()> {
        let node = self.node_mut(inode);
        if matches!(node.kind, Kind::Symlink(_)) {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        node.attributes.permissions = mode & 0o7777;
        node.times.change(now_ns);
        Ok(())
    }

    pub(crate) fn set_owner(&mut self, inode: Inode, user: Option<u32>, group: Option<u32>, now_ns: u64) {
        let node = self.node_mut(inode);
        let attributes = &mut node.attributes;
        attributes.user = user.unwrap_or(attributes.user);
        attributes.group = group.unwrap_or(attributes.group);
        // Who gets a program must not get the rights of who had it.
        if matches!(node.kind, Kind::File(_)) {
            attributes.permissions &= !0o4000;
            if attributes.permissions & 0o010 != 0 {
                attributes.permissions &= !0o2000;
            }
        }
        node.times.change(now_ns);
    }

    /// Sets the times that are given.
    pub(crate) fn set_times(&mut self, inode: Inode, accessed_ns: Option<u64>, modified_ns: Option<u64>, now_ns: u64) {
        let times = &mut self.node_mut(inode).times;
        times.accessed_ns = accessed_ns.unwrap_or(times.accessed_ns);
        times.modified_ns = modified_ns.unwrap_or(times.modified_ns);
        times.change(now_ns);
    }

    pub(crate) fn extended(&self, inode: Inode, name: &[u8]) -> Answer<&[u8]> {
        check_name(name)?;
        let value = self.node(inode).attributes.extended.get(name);
        value.map(Vec::as_slice).ok_or(Errno(libc::ENODATA))
    }

    pub(crate) fn set_extended(
        &mut self,
        inode: Inode,
        name: &[u8],
        value: &[u8],
        flags: i32,
        now_ns: u64,
    ) -> Answer<()> {
        if flags & !(libc::XATTR_CREATE | libc::XATTR_REPLACE) != 0 {
            return Err(Errno(libc::EINVAL));
        }
        if value.len() > VALUE_BYTES {
            return Err(Errno(libc::E2BIG));
        }
        check_name(name)?;
        let node = self.node_mut(inode);
        if name.starts_with(b"user.") && matches!(node.kind, Kind::Symlink(_)) {
            return Err(Errno(libc::EPERM));
        }
        match node.attributes.extended.contains_key(name) {
            true if flags & libc::XATTR_CREATE != 0 => return Err(Errno(libc::EEXIST)),
            false if flags & libc::XATTR_REPLACE != 0 => return Err(Errno(libc::ENODATA)),
            true | false => {}
        }
        node.attributes.extended.insert(name.to_vec(), value.to_vec());
        node.times.change(now_ns);
        Ok(())
    }

    pub(crate) fn remove_extended(&mut self, inode: Inode, name: &[u8], now_ns: u64) -> Answer<()> {
        check_name(name)?;
        let node = self.node_mut(inode);
        if name.starts_with(b"user.") && matches!(node.kind, Kind::Symlink(_)) {
            return Err(Errno(libc::EPERM));
        }
        node.attributes.extended.remove(name).ok_or(Errno(libc::ENODATA))?;
        node.times.change(now_ns);
        Ok(())
    }

    /// The names, each with a zero behind.
    pub(crate) fn extended_names(&self, inode: Inode) -> Vec<u8> {
        self.node(inode).attributes.extended.keys().flat_map(|name| [name, &b"\0"[..]].concat()).collect()
    }
}

fn check_name(name: &[u8]) -> Answer<()> {
    if name.is_empty() || name.len() > NAME_BYTES {
        return Err(Errno(libc::ERANGE));
    }
    let within = [&b"user."[..], b"trusted.", b"security."].into_iter().find_map(|space| name.strip_prefix(space));
    match within {
        None => Err(Errno(libc::EOPNOTSUPP)),
        Some(b"") => Err(Errno(libc::EINVAL)),
        Some(_) => Ok(()),
    }
}
