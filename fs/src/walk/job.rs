//! What a thread does for a walk: reads some folders, and what is in them as far as its share goes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use corering_runtime::op::{Descriptor, Stat, folder};

use super::WalkError;
use crate::listing::{Listing, Wanted};

/// Names that one job looks at before it reads no further folders.
const SHARE: usize = 1024;
/// A folder with more names is read in parts.
const PART: usize = 4096;
/// How many folders a job has open at once, one in the other.
const NESTED: usize = 16;
/// The kernel takes paths below 4096 bytes.
const LONGEST_PATH: usize = 4000;

/// How a walk goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) follow_links: bool,
    pub(super) metadata: bool,
    pub(super) sorted: bool,
    pub(super) same_file_system: bool,
    pub(super) min_depth: usize,
    pub(super) max_depth: usize,
}

/// What all jobs of a walk need.
pub(super) struct Ground {
    pub(super) options: Options,
    root: Descriptor,
    dev: u64,
}

/// A folder that is to be read.
pub(super) struct Folder {
    pub(super) path: Arc<Path>,
    pub(super) depth: usize,
    /// Where in the path it is told how it is reached from the root; its end for the root itself.
    below: usize,
    /// If links are followed, the folders that it is in.
    above: Option<Arc<Above>>,
}

struct Above {
    dev: u64,
    ino: u64,
    path: Arc<Path>,
    above: Option<Arc<Above>>,
}

/// A folder that has been read, or a part of it.
pub(super) struct Node {
    pub(super) depth: usize,
    pub(super) listing: Arc<Listing>,
    /// For each folder among the names, in their order.
    pub(super) children: Vec<Child>,
    /// There are more names.
    pub(super) rest: Option<Rest>,
    pub(super) error: Option<WalkError>,
    /// Names in here, and in the children that have been read.
    pub(super) total: usize,
}

pub(super) enum Child {
    /// It is too far down.
    Left,
    Unread(Folder),
    /// It will be found under that number.
    Asked(u64),
    Read(Box<Node>),
}

/// The names of a folder that have not been read.
pub(super) struct Rest {
    open: Descriptor,
    folder: Folder,
    here: Option<Arc<Above>>,
}

/// How far a job has come, and what it uses for each folder.
#[derive(Default)]
struct Pass {
    looked_at: usize,
    room: Vec<u8>,
}

/// An open folder, and where it is if links are followed.
type Opened = (Descriptor, Option<Arc<Above>>);

/// What a job is to read.
pub(super) enum Task {
    Folder(Folder),
    Rest(Rest),
}

/// What a walk begins with.
pub(super) enum Beginning {
    File(Listing),
    Folder(Listing, Arc<Ground>, Box<Node>),
}

/// Looks at what a walk begins with, and reads it if it is a folder. A path that begins in a folder does not lead out of that.
pub(super) fn begin(from: Option<&Descriptor>, path: &Path, c_path: &CStr, options: Options) -> io::Result<Beginning> {
    let resolve = if from.is_some() { libc::RESOLVE_BENEATH } else { 0 };
    let root = folder::open(from, c_path, folder::How { flags: libc::O_PATH, mode: 0, resolve })?;
    let metadata = Stat::of(&root)?;
    let listing = Listing::of_one(path, metadata);
    if !metadata.is_dir() {
        return Ok(Beginning::File(listing));
    }
    let ground = Ground { options, root, dev: metadata.dev() };
    let root = Folder { path: path.into(), depth: 0, below: path.as_os_str().len(), above: None };
    let node = match options.max_depth {
        0 => Node::empty(&root, None),
        _ => ground.read(Task::Folder(root), None, &mut Pass::default(), NESTED),
    };
    Ok(Beginning::Folder(listing, Arc::new(ground), Box::new(node)))
}

impl Node {
    fn empty(folder: &Folder, error: Option<WalkError>) -> Self {
        let listing = Arc::new(Listing::empty(Arc::clone(&folder.path)));
        Self { depth: folder.depth, listing, children: Vec::new(), rest: None, error, total: 0 }
    }
}

impl Ground {
    /// Reads what it can of the tasks within its share. What it does not get to comes back.
    pub(super) fn read_all(&self, tasks: Vec<(u64, Task)>) -> Vec<(u64, Child)> {
        let mut pass = Pass::default();
        let mut read = |task| match task {
            Task::Folder(folder) if pass.looked_at >= SHARE => Child::Unread(folder),
            Task::Folder(_) | Task::Rest(_) => Child::Read(Box::new(self.read(task, None, &mut pass, 0))),
        };
        tasks.into_iter().map(|(number, task)| (number, read(task))).collect()
    }

    fn read(&self, task: Task, inside: Option<(&Descriptor, &CStr)>, pass: &mut Pass, nested: usize) -> Node {
        let (open, folder, here) = match task {
            Task::Rest(Rest { open, folder, here }) => (open, folder, here),
            Task::Folder(folder) => match self.open(&folder, inside) {
                Ok(Some((open, here))) => (open, folder, here),
                Ok(None) => return Node::empty(&folder, None),
                Err(error) => return Node::empty(&folder, Some(error)),
            },
        };
        let Options { metadata, follow_links, sorted, .. } = self.options;
        let wanted = Wanted { metadata, behind_links: follow_links, sorted };
        let most = if sorted { usize::MAX } else { PART };
        let (listing, more) = match Listing::read(&open, Arc::clone(&folder.path), wanted, most, &mut pass.room) {
            Ok(read) => read,
            Err(error) => return Node::empty(&folder, Some(WalkError::new(&folder, error))),
        };
        pass.looked_at += listing.len();
        let mut node = Node {
            depth: folder.depth,
            total: listing.len(),
            children: Vec::new(),
            rest: None,
            error: None,
            listing: Arc::new(listing),
        };
        for index in 0..node.listing.len() {
            if !node.listing.file_type(index).is_dir() {
                continue;
            }
            let child = self.child(&folder, &node.listing, index, here.as_ref());
            let child = match child {
                Some(child) if pass.looked_at < SHARE && nested < NESTED => {
                    let inside = (&open, node.listing.name(index));
                    let read = self.read(Task::Folder(child), Some(inside), pass, nested + 1);
                    node.total += read.total;
                    Child::Read(Box::new(read))
                }
                Some(child) => Child::Unread(child),
                None => Child::Left,
            };
            node.children.push(child);
        }
        node.rest = more.then_some(Rest { open, folder, here });
        node
    }

    fn child(&self, folder: &Folder, names: &Listing, index: usize, here: Option<&Arc<Above>>) -> Option<Folder> {
        if folder.depth + 1 >= self.options.max_depth {
            return None;
        }
        let path: Arc<Path> = names.path(index).into();
        let below = match folder.depth {
            0 => path.as_os_str().len() - names.name(index).count_bytes(),
            _ => folder.below,
        };
        Some(Folder { path, depth: folder.depth + 1, below, above: here.cloned() })
    }

    /// Opens a folder, unless it is of another file system and these are left alone.
    fn open(&self, folder: &Folder, inside: Option<(&Descriptor, &CStr)>) -> Result<Option<Opened>, WalkError> {
        let open = match inside {
            Some((parent, name)) => self.open_in(parent, name),
            None => self.open_below(&folder.path.as_os_str().as_bytes()[folder.below..]),
        };
        let open = open.map_err(|error| WalkError::new(folder, error))?;
        let Options { follow_links, same_file_system, .. } = self.options;
        if !follow_links && !same_file_system {
            return Ok(Some((open, None)));
        }
        let metadata = Stat::of(&open).map_err(|error| WalkError::new(folder, error))?;
        let (dev, ino) = (metadata.dev(), metadata.ino());
        if same_file_system && dev != self.dev {
            return Ok(None);
        }
        if !follow_links {
            return Ok(Some((open, None)));
        }
        let mut above = folder.above.as_ref();
        while let Some(one) = above {
            if (one.dev, one.ino) == (dev, ino) {
                return Err(WalkError::is_loop(folder, &one.path));
            }
            above = one.above.as_ref();
        }
        let here = Above { dev, ino, path: Arc::clone(&folder.path), above: folder.above.clone() };
        Ok(Some((open, Some(Arc::new(here)))))
    }

    /// Opens a folder in an open one. A link that has taken its place since is not followed.
    fn open_in(&self, parent: &Descriptor, name: &CStr) -> io::Result<Descriptor> {
        let no_follow = if self.options.follow_links { 0 } else { libc::O_NOFOLLOW };
        folder::open(Some(parent), name, folder::How::new(FOLDER | no_follow))
    }

    /// Opens a folder below the root. Links that have taken the place of folders since are not followed.
    fn open_below(&self, below: &[u8]) -> io::Result<Descriptor> {
        let resolve = match self.options.follow_links {
            true => 0,
            false => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
        };
        let mut rest = below;
        let mut from: Option<Descriptor> = None;
        while rest.len() > LONGEST_PATH {
            let Some(end) = rest[..LONGEST_PATH].iter().rposition(|byte| *byte == b'/') else { break };
            let how = folder::How { flags: libc::O_PATH | libc::O_DIRECTORY, resolve, ..folder::How::default() };
            let part = CString::new(&rest[..end])?;
            from = Some(folder::open(Some(from.as_ref().unwrap_or(&self.root)), &part, how)?);
            rest = &rest[end + 1..];
        }
        let path = CString::new(if rest.is_empty() { b"." } else { rest })?;
        let how = folder::How { flags: FOLDER, resolve, ..folder::How::default() };
        folder::open(Some(from.as_ref().unwrap_or(&self.root)), &path, how)
    }
}

const FOLDER: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK;

impl WalkError {
    fn new(folder: &Folder, error: io::Error) -> Self {
        Self::of(&folder.path, folder.depth, error)
    }

    fn is_loop(folder: &Folder, above: &Path) -> Self {
        let text = format!("a link leads back to {}, which it is in", above.display());
        let error = Self::of(&folder.path, folder.depth, io::Error::other(text));
        Self { leads_back_to: Some(above.to_path_buf()), ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "sets its scene with the standard library")]
    fn a_folder_is_opened_in_or_below_another_but_never_through_a_link() {
        let place = std::env::temp_dir().join(format!("corering-walk-{}", std::process::id()));
        std::fs::create_dir_all(place.join("root/folder")).expect("made");
        std::fs::create_dir_all(place.join("outside/inner")).expect("made");
        std::os::unix::fs::symlink("../outside", place.join("root/link")).expect("made");
        let options = Options {
            follow_links: false,
            metadata: false,
            sorted: false,
            same_file_system: false,
            min_depth: 0,
            max_depth: usize::MAX,
        };
        for follow_links in [false, true] {
            let options = Options { follow_links, ..options };
            let root = place.join("root");
            let c_path = crate::c_path(&root).expect("no zero");
            let Ok(Beginning::Folder(_, ground, _)) = begin(None, &root, &c_path, options) else {
                panic!("a folder");
            };
            assert!(ground.open_below(b"folder").is_ok() && ground.open_in(&ground.root, c"folder").is_ok());
            assert_eq!(ground.open_below(b"link").is_ok(), follow_links);
            assert_eq!(ground.open_below(b"link/inner").is_ok(), follow_links);
            assert_eq!(ground.open_in(&ground.root, c"link").is_ok(), follow_links);
            assert_eq!(ground.open_below(b"folder/../../outside").is_ok(), follow_links);
        }
        std::fs::remove_dir_all(&place).expect("removed");
    }
}
