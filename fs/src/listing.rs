//! What stands in a folder, read in one go on another thread.

use std::ffi::{CStr, OsStr};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corering_runtime::op::{Descriptor, FileType, Metadata, folder, plain};

/// So much of a folder is asked for in one call.
const RECORDS: usize = 32 * 1024;

/// Some of the names in a folder, or all.
pub(crate) struct Listing {
    /// Where they stand.
    pub(crate) folder: Arc<Path>,
    /// One after the other, each with a zero behind it.
    names: Vec<u8>,
    found: Vec<Found>,
    /// Of each, if it was asked for and could be had.
    metadata: Vec<Option<Metadata>>,
    /// Links count as what they lead to.
    behind_links: bool,
}

struct Found {
    start: u32,
    file_type: FileType,
    inode: u64,
}

/// What is to be known of the names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) metadata: bool,
    /// What symbolic links lead to, not the links.
    pub(crate) behind_links: bool,
    pub(crate) sorted: bool,
}

impl Listing {
    /// Of something whose path is all that is known.
    pub(crate) fn of_one(path: &Path, metadata: Metadata) -> Self {
        let mut listing = Self::empty(Path::new("").into());
        let (file_type, inode) = (metadata.file_type(), metadata.ino());
        listing.push(path.as_os_str().as_bytes(), file_type, inode);
        listing.metadata.push(Some(metadata));
        listing
    }

    pub(crate) fn empty(folder: Arc<Path>) -> Self {
        Self { folder, names: Vec::new(), found: Vec::new(), metadata: Vec::new(), behind_links: false }
    }

    /// Reads the next names of an open folder, at least so many if there are, and says whether there may be more. `room` is
    /// for what the kernel tells, and can be used again for the next folder. Blocks.
    pub(crate) fn read(
        open: &Descriptor,
        path: Arc<Path>,
        wanted: Wanted,
        most: usize,
        room: &mut Vec<u8>,
    ) -> io::Result<(Self, bool)> {
        let mut listing = Self { behind_links: wanted.behind_links, ..Self::empty(path) };
        room.resize(RECORDS, 0);
        let more = loop {
            let count = plain::read_entries(open, room)?;
            if count == 0 {
                break false;
            }
            // Names of usual lengths then come without growing.
            let names = count / 32;
            listing.names.reserve(names * 16);
            listing.found.reserve(names);
            listing.metadata.reserve(if wanted.metadata { names } else { 0 });
            for entry in plain::entries(&room[..count]) {
                listing.take_in(open, entry, wanted);
            }
            if listing.found.len() >= most {
                break true;
            }
        };
        if wanted.sorted {
            listing.sort();
        }
        Ok((listing, more))
    }

    fn take_in(&mut self, open: &Descriptor, entry: plain::Entry<'_>, wanted: Wanted) {
        let start = self.names.len();
        self.names.extend_from_slice(entry.c_name.to_bytes_with_nul());
        let is_link = entry.file_type.is_none_or(FileType::is_symlink);
        let follow = wanted.behind_links && is_link;
        let mut metadata = None;
        if wanted.metadata || follow || entry.file_type.is_none() {
            let name = entry.c_name;
            let mut known = folder::stat(Some(open), name, follow);
            if follow && known.is_err() {
                // A link that leads nowhere is a link.
                known = folder::stat(Some(open), name, false);
            }
            match known {
                Ok(known) => metadata = Some(known),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    // Somebody has removed it since.
                    self.names.truncate(start);
                    return;
                }
                Err(_) => {}
            }
        }
        let file_type = metadata.as_ref().map(Metadata::file_type).or(entry.file_type);
        let file_type = file_type.unwrap_or_else(|| FileType::from_mode(0));
        self.found.push(Found { start: start as u32, file_type, inode: entry.ino });
        if wanted.metadata {
            self.metadata.push(metadata);
        }
    }

    fn push(&mut self, name: &[u8], file_type: FileType, inode: u64) {
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.names.push(0);
        self.found.push(Found { start, file_type, inode });
    }

    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.found.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.name(*a as usize).cmp(self.name(*b as usize)));
        let found = std::mem::take(&mut self.found);
        let metadata = std::mem::take(&mut self.metadata);
        let mut found: Vec<_> = found.into_iter().map(Some).collect();
        self.metadata =
            if metadata.is_empty() { metadata } else { order.iter().map(|at| metadata[*at as usize]).collect() };
        self.found = order.iter().filter_map(|at| found[*at as usize].take()).collect();
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn file_type(&self, index: usize) -> FileType {
        self.found[index].file_type
    }

    pub(crate) fn name(&self, index: usize) -> &CStr {
        let start = self.found[index].start as usize;
        CStr::from_bytes_until_nul(&self.names[start..]).unwrap_or_default()
    }

    pub(crate) fn path(&self, index: usize) -> PathBuf {
        self.folder.join(OsStr::from_bytes(self.name(index).to_bytes()))
    }
}

/// A name in a folder, and what is known of what it names; from [`read_dir`](crate::read_dir) and
/// [`walk`](crate::walk()).
#[derive(Clone)]
pub struct DirEntry {
    listing: Arc<Listing>,
    index: u32,
    depth: u32,
}

impl DirEntry {
    pub(crate) fn new(listing: &Arc<Listing>, index: usize, depth: usize) -> Self {
        Self { listing: Arc::clone(listing), index: index as u32, depth: depth as u32 }
    }

    /// The name, without the folder.
    pub fn file_name(&self) -> &OsStr {
        let name = OsStr::from_bytes(self.listing.name(self.index()).to_bytes());
        // What a walk begins with is known by its path.
        if self.listing.folder.as_os_str().is_empty() { Path::new(name).file_name().unwrap_or(name) } else { name }
    }

    /// The path: the folder's, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.listing.path(self.index())
    }

    /// The folder that it stands in, as it was given.
    pub fn parent(&self) -> &Path {
        &self.listing.folder
    }

    /// What it names: of a link that is followed, what that leads to.
    pub fn file_type(&self) -> FileType {
        self.listing.file_type(self.index())
    }

    /// The number of what it names, within the file system; of a link, also of one that is followed, the link's own.
    pub fn ino(&self) -> u64 {
        self.listing.found[self.index()].inode
    }

    /// How many folders a [`walk`](crate::walk()) has gone down to it: none to what it begins with.
    pub fn depth(&self) -> usize {
        self.depth as usize
    }

    /// What the system knows of it, if that was asked for along with the names ([`Walk::metadata`](crate::Walk::metadata)).
    pub fn known_metadata(&self) -> Option<&Metadata> {
        self.listing.metadata.get(self.index())?.as_ref()
    }

    /// What the system knows of it; asked for now unless it [is known](Self::known_metadata). Links are not followed,
    /// unless the walk does.
    ///
    /// # Errors
    ///
    /// What `statx(2)` says.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        if let Some(known) = self.known_metadata() {
            return Ok(*known);
        }
        // A link that leads nowhere is a link.
        if self.listing.behind_links && !self.file_type().is_symlink() {
            return crate::metadata(self.path()).await;
        }
        crate::symlink_metadata(self.path()).await
    }

    fn index(&self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirEntry({:?}, {:?})", self.path(), self.file_type())
    }
}
