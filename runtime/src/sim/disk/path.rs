//! Paths: from bytes to what they name, by the rules of path_resolution(7).

use std::collections::BTreeMap;

use super::node::{Kind, View};
use super::{Disk, Inode, ROOT};
use crate::sim::{Answer, Errno};

/// A path, and how it is followed.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    /// Where it begins, unless it is absolute; at the root, if there is none.
    pub(crate) directory: Option<Inode>,
    pub(crate) path: &'a [u8],
    /// The `RESOLVE_*` of openat2(2).
    pub(crate) resolve: u64,
}

impl<'a> From<&'a [u8]> for At<'a> {
    fn from(path: &'a [u8]) -> Self {
        Self { directory: None, path, resolve: 0 }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for At<'a> {
    fn from(path: &'a [u8; N]) -> Self {
        path[..].into()
    }
}

impl<'a> From<&'a Vec<u8>> for At<'a> {
    fn from(path: &'a Vec<u8>) -> Self {
        path[..].into()
    }
}

/// Where a path leads: to something, or to where it could be made.
pub(super) struct Place {
    /// The directories from the root to the one that has the last name, that one included.
    pub(super) trail: Vec<Inode>,
    pub(super) last: Last,
    pub(super) inode: Option<Inode>,
    /// It ends with a slash, so only a directory will do.
    pub(super) slash: bool,
}

/// The last component of a path.
pub(super) enum Last {
    Name(Vec<u8>),
    Dot,
    DotDot,
    Root,
}

/// What becomes of a symbolic link that is the last component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    /// As `O_CREAT`: a file with a slash behind cannot be.
    FollowWithoutSlash,
    /// As `O_NOFOLLOW`: only with a slash behind.
    FollowWithSlash,
    /// As unlink and rename do it.
    Keep,
}

const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_BENEATH: u64 = 0x08;
const RESOLVE_IN_ROOT: u64 = 0x10;

const NAME_BYTES: usize = 255;
/// With the zero at the end.
const PATH_BYTES: usize = 4096;
const LINKS: u32 = 40;

impl Disk {
    /// What a path names.
    pub(super) fn find<'a>(&self, at: impl Into<At<'a>>, links: Links, view: View) -> Answer<Inode> {
        let place = self.walk(at, links, view)?;
        let inode = place.inode.ok_or(Errno(libc::ENOENT))?;
        if place.slash && !self.node(inode).is_directory() {
            return Err(Errno(libc::ENOTDIR));
        }
        Ok(inode)
    }

    pub(super) fn walk<'a>(&self, at: impl Into<At<'a>>, links: Links, view: View) -> Answer<Place> {
        let At { directory, path, resolve } = at.into();
        let (beneath, in_root) = (resolve & RESOLVE_BENEATH != 0, resolve & RESOLVE_IN_ROOT != 0);
        check(path)?;
        let absolute = path.starts_with(b"/");
        if absolute && beneath {
            return Err(Errno(libc::EXDEV));
        }
        let from = directory.filter(|_| !absolute || in_root);
        let mut trail = from.map_or_else(|| vec![ROOT], |directory| self.trail_to(directory));
        // How much of the trail cannot be left.
        let base = if beneath || in_root { trail.len() } else { 1 };
        let mut left: Vec<&[u8]> = components(path).collect();
        let mut slash = path.ends_with(b"/");
        let mut followed = 0;
        let mut last = if absolute { Last::Root } else { Last::Dot };
        while let Some(name) = left.pop() {
            if name == b"." || name == b".." {
                last = if name == b"." { Last::Dot } else { Last::DotDot };
                if name == b".." && trail.len() > base {
                    trail.pop();
                } else if name == b".." && beneath {
                    return Err(Errno(libc::EXDEV));
                }
                continue;
            }
            if name.len() > NAME_BYTES {
                return Err(Errno(libc::ENAMETOOLONG));
            }
            let is_last = left.is_empty();
            let entry = self.entries(trail[trail.len() - 1], view).get(name);
            let node = entry.map(|entry| &self.node(entry.inode).kind);
            let follows = match links {
                Links::Follow => true,
                Links::FollowWithoutSlash => !is_last || !slash,
                Links::FollowWithSlash => !is_last || slash,
                Links::Keep => !is_last,
            };
            match node {
                Some(Kind::Symlink(target)) if follows => {
                    followed += 1;
                    if followed > LINKS || resolve & RESOLVE_NO_SYMLINKS != 0 {
                        return Err(Errno(libc::ELOOP));
                    }
                    if target.starts_with(b"/") {
                        if beneath {
                            return Err(Errno(libc::EXDEV));
                        }
                        trail.truncate(if in_root { base } else { 1 });
                        last = Last::Root;
                    }
                    slash |= is_last && target.ends_with(b"/");
                    left.extend(components(target));
                }
                Some(Kind::Directory(_)) if !is_last => trail.extend(entry.map(|entry| entry.inode)),
                Some(Kind::File(_) | Kind::Symlink(_) | Kind::Socket) if !is_last => return Err(Errno(libc::ENOTDIR)),
                None if !is_last => return Err(Errno(libc::ENOENT)),
                Some(_) | None => {
                    let inode = entry.map(|entry| entry.inode);
                    return Ok(Place { trail, last: Last::Name(name.to_vec()), inode, slash });
                }
            }
        }
        let inode = trail.last().copied();
        Ok(Place { trail, last, inode, slash })
    }

    /// Where a path leads that is to be made: its directory and its name.
    pub(super) fn place_for_new<'a>(&self, at: impl Into<At<'a>>, kind: New) -> Answer<(Inode, Vec<u8>)> {
        let place = self.walk(at, Links::Keep, View::Seen)?;
        let directory = place.directory();
        match place.last {
            Last::Name(_) if place.inode.is_some() => Err(Errno(libc::EEXIST)),
            Last::Name(_) if place.slash && kind == New::NoDirectory => Err(Errno(libc::ENOENT)),
            Last::Name(_) if self.is_removed(directory) => Err(Errno(libc::ENOENT)),
            Last::Name(name) => Ok((directory, name)),
            Last::Dot | Last::DotDot | Last::Root => Err(Errno(libc::EEXIST)),
        }
    }

    /// The directories from the root to this one. One that was removed stands alone.
    fn trail_to(&self, directory: Inode) -> Vec<Inode> {
        let mut left = vec![vec![ROOT]];
        while let Some(trail) = left.pop() {
            let here = trail[trail.len() - 1];
            if here == directory {
                return trail;
            }
            for entry in self.entries(here, View::Seen).values() {
                if self.node(entry.inode).is_directory() {
                    left.push([&trail[..], &[entry.inode]].concat());
                }
            }
        }
        vec![directory]
    }

    /// Whether a directory has no name any more.
    pub(super) fn is_removed(&self, directory: Inode) -> bool {
        self.node(directory).links == 0
    }

    /// The path without links and dots.
    pub(crate) fn real_path(&self, path: &[u8]) -> Answer<Vec<u8>> {
        let place = self.walk(path, Links::Follow, View::Seen)?;
        let inode = place.inode.ok_or(Errno(libc::ENOENT))?;
        if place.slash && !self.node(inode).is_directory() {
            return Err(Errno(libc::ENOTDIR));
        }
        let mut real = Vec::new();
        for pair in place.trail.windows(2) {
            let within = self.entries(pair[0], View::Seen).iter().find(|(_, entry)| entry.inode == pair[1]);
            let (name, _) = within.ok_or(Errno(libc::ENOENT))?;
            real.extend([b"/", &name[..]].concat());
        }
        if let Last::Name(name) = &place.last {
            real.extend([b"/", &name[..]].concat());
        }
        Ok(if real.is_empty() { b"/".to_vec() } else { real })
    }

    /// The paths of everything, from the root on, with what they name; by their names.
    pub(super) fn all_paths(&self, view: View) -> BTreeMap<Vec<u8>, Inode> {
        let mut found = BTreeMap::new();
        let mut left = vec![(Vec::new(), ROOT)];
        while let Some((path, directory)) = left.pop() {
            for (name, entry) in self.entries(directory, view) {
                let path = [&path[..], b"/", name].concat();
                if self.node(entry.inode).is_directory() {
                    left.push((path.clone(), entry.inode));
                }
                found.insert(path, entry.inode);
            }
        }
        found
    }
}

/// What a new name will stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum New {
    Directory,
    NoDirectory,
}

impl Place {
    /// The directory that has the last name, or, without a name, the one that is meant.
    pub(super) fn directory(&self) -> Inode {
        self.trail.last().copied().unwrap_or(ROOT)
    }
}

/// What is said of a path before anything is looked up.
pub(super) fn check(path: &[u8]) -> Answer<()> {
    match path.len() {
        0 => Err(Errno(libc::ENOENT)),
        PATH_BYTES.. => Err(Errno(libc::ENAMETOOLONG)),
        _ => Ok(()),
    }
}

/// The last one first.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty())
}
