//! Folders that are watched with everything below them.
//!
//! ```text
//!  a folder has come --> look: opened --> watched --> listed --> told, and folders in it looked at
//!                             (thread)    (core)      (thread)
//! ```
//!
//! Invariant: a folder is listed after it is watched. So whatever comes to be in it is told by the kernel, or found, or
//! both: then the kernel's word for it is left out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use corering_runtime::blocking;
use corering_runtime::op::{Descriptor, Metadata, Stat, folder, plain};

use super::{Change, Event, Events, Record, WatchId};
use crate::listing::{Listing, Wanted};

/// Folders that one job opens, or lists.
const AT_ONCE: usize = 32;
/// What has to be known of a folder, so that nothing below it is missed.
const NEEDED: u32 = libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_FROM | libc::IN_MOVED_TO | libc::IN_MOVE_SELF;

/// What is watched, by its number.
pub(super) struct Watching {
    pub(super) descriptor: Descriptor,
    watched: HashMap<i32, Watched>,
    /// By the number of the folder at their top.
    trees: HashMap<i32, Tree>,
    /// Folders that have gone from where they were, by the cookie: they come to another place of a tree, or have left it.
    moved: HashMap<u32, i32>,
    /// After an overflow, folders that have not been found again yet.
    unseen: HashSet<i32>,
    /// What was listed since the last read began.
    listed: Vec<i32>,
    /// What was listed before.
    listed_before: Vec<i32>,
}

struct Watched {
    path: Arc<Path>,
    member: Option<Member>,
}

/// What a watched folder is in a tree.
struct Member {
    /// The number of the topmost folder. If that is none of a tree any more, nothing is told of this.
    root: i32,
    events: Events,
    /// Names that were found and told: if the kernel says that they have come, they have been told.
    told: HashSet<OsString>,
}

struct Tree {
    top: Arc<Top>,
    events: Events,
    /// The topmost folder is not where it was.
    has_moved: bool,
}

/// The topmost folder of a tree. It is not kept open: the kernel would not say that it is removed.
struct Top {
    path: Box<Path>,
    metadata: Metadata,
}

/// A folder of a tree that is to be watched, and listed.
pub(super) struct Look {
    root: i32,
    path: PathBuf,
    tell: Tell,
    /// The folder that it is in, if it has not been told yet that it has come.
    untold_in: Option<i32>,
}

/// What is told of what is in a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tell {
    Nothing,
    All,
    /// All, if the folder was not watched before.
    IfNew,
}

/// A folder that is watched, and to be listed.
struct Stand {
    look: Look,
    number: i32,
}

type Job<T> = Pin<Box<dyn Future<Output = T>>>;

/// Looks at folders, one batch after the other.
pub(super) struct Scan {
    looks: VecDeque<Look>,
    step: Step,
}

enum Step {
    Idle,
    Opens(Job<Vec<(Look, io::Result<Descriptor>)>>),
    Lists(Job<Vec<(Stand, io::Result<Listing>)>>),
}

/// What came of looking: events, and folders that cannot be watched.
pub(super) type Ready = VecDeque<io::Result<Event>>;

impl Watching {
    pub(super) fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            watched: HashMap::new(),
            trees: HashMap::new(),
            moved: HashMap::new(),
            unseen: HashSet::new(),
            listed: Vec::new(),
            listed_before: Vec::new(),
        }
    }

    /// Watches what is open.
    pub(super) fn add(
        &mut self,
        found: &Descriptor,
        c_path: CString,
        path: &Path,
        events: Events,
    ) -> io::Result<WatchId> {
        // Folders of a tree are watched for more, and it shows only now whether this is one.
        let number = self.add_found(found, &c_path, path, events.0 | libc::IN_MASK_ADD)?;
        match self.watched.get_mut(&number) {
            Some(Watched { member: Some(member), .. }) => {
                member.events = events;
                self.add_found(found, &c_path, path, events.0 | NEEDED)?;
            }
            Some(Watched { member: None, .. }) => drop(self.add_found(found, &c_path, path, events.0)?),
            None => drop(self.watched.insert(number, Watched { path: path.into(), member: None })),
        }
        Ok(WatchId(number))
    }

    fn add_found(&self, found: &Descriptor, c_path: &CString, path: &Path, mask: u32) -> io::Result<i32> {
        let by_number = CString::new(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let added = match plain::add_watch(&self.descriptor, &by_number, mask) {
            // There is no /proc. The path has been looked up just now, so that is in the caches.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                plain::add_watch(&self.descriptor, c_path, mask)
            }
            added => added,
        };
        added.map_err(|error| {
            let (kind, number) = (error.kind(), error.raw_os_error());
            let text = match number {
                Some(libc::ENOSPC) => "the user watches too much; raise fs.inotify.max_user_watches (sysctl)",
                _ => return error,
            };
            io::Error::new(kind, format!("cannot watch {path:?}: {text}"))
        })
    }

    /// Watches the topmost folder of a tree, and says whether it was none before.
    pub(super) fn add_top(
        &mut self,
        top: &Descriptor,
        c_path: CString,
        path: &Path,
        events: Events,
    ) -> io::Result<(i32, bool)> {
        let metadata = Stat::of(top)?;
        let number = self.add_found(top, &c_path, path, events.0 | NEEDED | libc::IN_MASK_ADD)?;
        if let Some(tree) = self.trees.get_mut(&number) {
            tree.events = events;
            return Ok((number, false));
        }
        if let Some(member) = self.member(number) {
            let other = self.trees.get(&member.root).map_or(Path::new(""), |tree| &tree.top.path);
            let text = format!("{path:?} is watched already, with the tree {other:?}");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let top = Arc::new(Top { path: path.into(), metadata });
        self.trees.insert(number, Tree { top, events, has_moved: false });
        Ok((number, true))
    }

    fn member(&self, number: i32) -> Option<&Member> {
        let member = self.watched.get(&number)?.member.as_ref()?;
        self.trees.contains_key(&member.root).then_some(member)
    }

    /// Watches a folder of a tree, and says its number, and whether it was not watched before; nothing if it belongs to
    /// another tree.
    fn add_member(&mut self, look: &Look, found: &Descriptor) -> io::Result<Option<(i32, bool)>> {
        let Some(events) = self.trees.get(&look.root).map(|tree| tree.events) else {
            return Ok(None);
        };
        let c_path = crate::c_path(&look.path)?;
        let number = self.add_found(found, &c_path, &look.path, events.0 | NEEDED | libc::IN_MASK_ADD)?;
        self.unseen.remove(&number);
        let is_new = match self.member(number) {
            Some(member) if member.root != look.root => return Ok(None),
            Some(_) => false,
            None => true,
        };
        // Not for what it was watched for before.
        self.add_found(found, &c_path, &look.path, events.0 | NEEDED)?;
        let watched =
            self.watched.entry(number).or_insert_with(|| Watched { path: Arc::from(&*look.path), member: None });
        // It is here now, wherever it was.
        if *watched.path != *look.path {
            watched.path = Arc::from(&*look.path);
        }
        match &mut watched.member {
            Some(member) if !is_new => member.events = events,
            member => *member = Some(Member { root: look.root, events, told: HashSet::new() }),
        }
        Ok(Some((number, is_new)))
    }

    /// Watches that no more, nor what is below it if it is a tree; it is the last one to go.
    pub(super) fn remove(&mut self, number: i32) -> io::Result<()> {
        if self.member(number).is_some_and(|member| member.root != number) {
            let text = "that is watched with a tree, as long as it is in there";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if self.trees.contains_key(&number) {
            self.remove_where(|other, member| member.root == number && other != number);
        }
        plain::remove_watch(&self.descriptor, number)
    }

    /// Watches a tree no more, and tells nothing of it.
    pub(super) fn forget_tree(&mut self, number: i32) {
        self.trees.remove(&number);
        self.remove_where(|_, member| member.root == number);
        // Of what it was alone when nothing was known of it yet.
        let _ = plain::remove_watch(&self.descriptor, number);
    }

    fn remove_where(&self, which: impl Fn(i32, &Member) -> bool) {
        for (number, watched) in &self.watched {
            if watched.member.as_ref().is_some_and(|member| which(*number, member)) {
                // It may have gone by itself.
                let _ = plain::remove_watch(&self.descriptor, *number);
            }
        }
    }

    pub(super) fn path(&self, number: i32) -> Option<&Path> {
        self.watched.get(&number).map(|watched| &*watched.path)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.watched.values().map(|watched| &*watched.path)
    }

    /// A read begins, and what was read before has all been told. If that was all that had happened by then, it was known
    /// already of what had been listed before.
    pub(super) fn reads(&mut self, had_all: bool) {
        if had_all {
            for number in self.listed_before.drain(..) {
                if let Some(member) = self.watched.get_mut(&number).and_then(|watched| watched.member.as_mut()) {
                    member.told = HashSet::new();
                }
            }
        }
        self.listed_before.append(&mut self.listed);
    }

    /// What is to be told of one thing that the kernel says, if anything is.
    pub(super) fn take(&mut self, record: &Record<'_>, bit: u32, scan: &mut Scan) -> Option<Event> {
        let change = Change::of(bit, record.cookie)?;
        if change == Change::Overflow {
            // Folders may have come and gone.
            let members = self.watched.iter().filter(|(_, watched)| watched.member.is_some());
            self.unseen = members.map(|(number, _)| *number).collect();
            for (root, tree) in &self.trees {
                let path = tree.top.path.to_path_buf();
                scan.looks.push_back(Look { root: *root, path, tell: Tell::IfNew, untold_in: None });
            }
            return Some(Event { watch: None, change, path: PathBuf::new(), has_name: false, is_dir: false });
        }
        let name = OsStr::from_bytes(record.name);
        let watched = self.watched.get_mut(&record.number)?;
        let has_name = !name.is_empty();
        let mut event = Event {
            watch: Some(WatchId(record.number)),
            change,
            is_dir: record.mask & libc::IN_ISDIR != 0,
            path: if has_name { watched.path.join(name) } else { watched.path.to_path_buf() },
            has_name,
        };
        let Some(member) = &mut watched.member else {
            return Some(event);
        };
        let (root, events) = (member.root, member.events);
        if !self.trees.contains_key(&root) {
            return None;
        }
        event.watch = Some(WatchId(root));
        let is_asked = events.0 & bit != 0;
        if !has_name {
            let is_top = root == record.number;
            match change {
                Change::Ended if is_top => {
                    self.trees.remove(&root);
                    self.remove_where(|_, member| member.root == root);
                    return Some(event);
                }
                Change::Unmounted => return Some(event),
                Change::SelfMoved => match self.trees.get_mut(&record.number) {
                    Some(tree) => tree.has_moved = true,
                    None => self.has_moved(record.number),
                },
                Change::Created
                | Change::Modified
                | Change::Attributes
                | Change::ClosedAfterWrite
                | Change::MovedFrom(_)
                | Change::MovedTo(_)
                | Change::Deleted
                | Change::SelfDeleted
                | Change::Opened
                | Change::Read
                | Change::ClosedUnwritten
                | Change::Ended
                | Change::Overflow => {}
            }
            // Of all others the folder that they are in tells.
            return (is_top && is_asked).then_some(event);
        }
        let was_told = bit & NEEDED != 0 && member.told.remove(name);
        let look = |tell| Look { root, path: event.path.clone(), tell, untold_in: None };
        match change {
            Change::Created if was_told => return None,
            Change::Created if event.is_dir => scan.looks.push_back(look(Tell::All)),
            Change::MovedTo(_) if event.is_dir => {
                let known =
                    self.moved.remove(&record.cookie).is_some_and(|number| self.is_at(number, root, &event.path));
                scan.looks.push_back(look(if known { Tell::IfNew } else { Tell::All }));
            }
            Change::MovedFrom(_) if event.is_dir => {
                let is_it = |watched: &Watched| {
                    *watched.path == *event.path && watched.member.as_ref().is_some_and(|member| member.root == root)
                };
                if let Some((number, _)) = self.watched.iter().find(|(_, watched)| is_it(watched)) {
                    self.moved.insert(record.cookie, *number);
                }
            }
            Change::Created
            | Change::Modified
            | Change::Attributes
            | Change::ClosedAfterWrite
            | Change::MovedFrom(_)
            | Change::MovedTo(_)
            | Change::Deleted
            | Change::SelfMoved
            | Change::SelfDeleted
            | Change::Opened
            | Change::Read
            | Change::ClosedUnwritten
            | Change::Unmounted
            | Change::Ended
            | Change::Overflow => {}
        }
        is_asked.then_some(event)
    }

    /// All folders have been looked at: what an overflow has hidden has been found, or has gone.
    pub(super) fn has_seen_all(&mut self, ready: &mut Ready) {
        for number in self.unseen.drain() {
            let has_gone = plain::remove_watch(&self.descriptor, number).is_err();
            if self.trees.contains_key(&number) && !has_gone {
                // The kernel will say that it has ended.
                continue;
            }
            let watched = self.watched.remove(&number);
            if let (Some(_), Some(watched)) = (self.trees.remove(&number), watched) {
                // It has said so already, and that was lost.
                let (watch, path) = (Some(WatchId(number)), watched.path.to_path_buf());
                ready.push_back(Ok(Event { watch, change: Change::Ended, path, has_name: false, is_dir: false }));
            }
        }
    }

    /// A folder could not be looked at, though it may be there: so may be all that is watched below it.
    fn could_not_look(&mut self, look: &Look) {
        let watched = &self.watched;
        self.unseen.retain(|number| {
            let is_below = |watched: &Watched| {
                let is_of_tree = watched.member.as_ref().is_some_and(|member| member.root == look.root);
                is_of_tree && watched.path.starts_with(&look.path)
            };
            !watched.get(number).is_some_and(is_below)
        });
    }

    /// Nothing more comes of that number.
    pub(super) fn ended(&mut self, number: i32) {
        self.watched.remove(&number);
        self.moved.retain(|_, moved| *moved != number);
    }

    /// A folder, and all below it, is from now on at that path, of that tree.
    fn is_at(&mut self, number: i32, root: i32, path: &Path) -> bool {
        let Some((before, from)) = self.place(number) else {
            return false;
        };
        self.moved.retain(|_, moved| *moved != number);
        for watched in self.watched.values_mut() {
            let Some(member) = watched.member.as_mut().filter(|member| member.root == before) else {
                continue;
            };
            if let Ok(below) = watched.path.strip_prefix(&from) {
                let is_it = below.as_os_str().is_empty();
                watched.path = if is_it { path.into() } else { path.join(below).into() };
                member.root = root;
            }
        }
        true
    }

    /// A folder that was moved, and did not come to another place of a tree, has left it, and all below it has.
    fn has_moved(&mut self, number: i32) {
        let moved = self.moved.len();
        self.moved.retain(|_, other| *other != number);
        if self.moved.len() == moved {
            return;
        }
        let Some((root, from)) = self.place(number) else {
            return;
        };
        let mut left = Vec::new();
        for (number, watched) in &mut self.watched {
            if watched.path.starts_with(&from) && watched.member.as_ref().is_some_and(|member| member.root == root) {
                left.push(*number);
            }
        }
        for number in left {
            self.watched.remove(&number);
            let _ = plain::remove_watch(&self.descriptor, number);
        }
    }

    /// The tree that a folder belongs to, and its path.
    fn place(&self, number: i32) -> Option<(i32, Arc<Path>)> {
        let watched = self.watched.get(&number)?;
        Some((watched.member.as_ref()?.root, Arc::clone(&watched.path)))
    }
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { looks: VecDeque::new(), step: Step::Idle }
    }

    /// Watches a tree of which nothing is told.
    pub(super) fn of_tree(root: i32, path: &Path) -> Self {
        let look = Look { root, path: path.into(), tell: Tell::Nothing, untold_in: None };
        Self { looks: VecDeque::from([look]), step: Step::Idle }
    }

    pub(super) fn is_over(&self) -> bool {
        self.looks.is_empty() && matches!(self.step, Step::Idle)
    }

    /// Goes on until something has come of it, or it is over.
    pub(super) fn poll(&mut self, watching: &mut Watching, ready: &mut Ready, cx: &mut Context<'_>) -> Poll<()> {
        while ready.is_empty() && !self.is_over() {
            match &mut self.step {
                Step::Idle => {
                    let looks = self.looks.drain(..self.looks.len().min(AT_ONCE));
                    let asked: Vec<_> = looks
                        .filter_map(|look| Some((Arc::clone(&watching.trees.get(&look.root)?.top), look)))
                        .collect();
                    self.step = Step::Opens(Box::pin(blocking::call(move || open(asked))));
                }
                Step::Opens(job) => {
                    let mut stands = Vec::new();
                    for (look, opened) in ready!(job.as_mut().poll(cx)) {
                        match opened.and_then(|folder| Ok((watching.add_member(&look, &folder)?, folder))) {
                            Ok((Some((number, is_new)), folder)) => {
                                stands.push((Self::stand(watching, ready, look, number, is_new), folder));
                            }
                            Ok((None, _)) => {}
                            Err(error) if has_gone(&error) && !watching.has_tree_moved(look.root) => {}
                            Err(error) => {
                                watching.could_not_look(&look);
                                ready.push_back(Err(named(&look.path, error)));
                            }
                        }
                    }
                    self.step = Step::Lists(Box::pin(blocking::call(move || list(stands))));
                }
                Step::Lists(job) => {
                    let listed = ready!(job.as_mut().poll(cx));
                    self.step = Step::Idle;
                    for (Stand { look, number }, listing) in listed {
                        match listing {
                            Ok(listing) => self.found(watching, ready, look, number, &listing),
                            Err(error) if has_gone(&error) => {}
                            Err(error) => {
                                watching.could_not_look(&look);
                                ready.push_back(Err(named(&look.path, error)));
                            }
                        }
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// What is told of a folder that is watched now, and what will be of what is in it.
    fn stand(watching: &mut Watching, ready: &mut Ready, mut look: Look, number: i32, is_new: bool) -> Stand {
        if look.tell == Tell::IfNew && is_new {
            look.tell = Tell::All;
            if let (Some(above), Some(name)) = (look.untold_in, look.path.file_name()) {
                watching.tell(ready, above, name, true);
            }
        }
        Stand { look, number }
    }

    fn found(&mut self, watching: &mut Watching, ready: &mut Ready, look: Look, number: i32, listing: &Listing) {
        if look.tell == Tell::All {
            // Whatever was told of it before is no more.
            watching.tell_anew(number);
        }
        for index in 0..listing.len() {
            let (name, is_dir) = (OsStr::from_bytes(listing.name(index).to_bytes()), listing.file_type(index).is_dir());
            if look.tell == Tell::All {
                watching.tell(ready, number, name, is_dir);
            }
            if is_dir {
                let untold_in = (look.tell == Tell::IfNew).then_some(number);
                let path = look.path.join(name);
                self.looks.push_back(Look { root: look.root, path, tell: look.tell, untold_in });
            }
        }
    }
}

impl Watching {
    fn has_tree_moved(&self, root: i32) -> bool {
        self.trees.get(&root).is_some_and(|tree| tree.has_moved)
    }

    fn tell_anew(&mut self, number: i32) {
        if let Some(member) = self.watched.get_mut(&number).and_then(|watched| watched.member.as_mut()) {
            member.told.clear();
        }
    }

    /// Tells that a name is there, unless that has been told; when the kernel says so, it will have been.
    fn tell(&mut self, ready: &mut Ready, number: i32, name: &OsStr, is_dir: bool) {
        let Some(Watched { path, member: Some(member) }) = self.watched.get_mut(&number) else {
            return;
        };
        if !member.told.insert(name.to_owned()) {
            return;
        }
        if self.listed.last() != Some(&number) {
            self.listed.push(number);
        }
        if member.events.contains(Events::CREATED) {
            let (watch, path) = (Some(WatchId(member.root)), path.join(name));
            ready.push_back(Ok(Event { watch, change: Change::Created, path, has_name: true, is_dir }));
        }
    }
}

impl Top {
    /// Blocks.
    fn open(&self) -> io::Result<Descriptor> {
        let how = folder::How::new(libc::O_PATH | libc::O_DIRECTORY);
        let opened = folder::open(None, &crate::c_path(&self.path)?, how)?;
        match Stat::of(&opened)?.same_file(&self.metadata) {
            true => Ok(opened),
            false => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    /// Opens what is below it. No link is followed, whatever has taken a folder's place. Blocks.
    fn open_below(&self, opened: &Descriptor, path: &Path) -> io::Result<Descriptor> {
        let below = path.strip_prefix(&self.path).map_err(io::Error::other)?;
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
        let how = folder::How { flags: libc::O_RDONLY | libc::O_DIRECTORY, resolve, ..folder::How::default() };
        folder::open(Some(opened), &crate::c_path(below)?, how)
    }
}

/// Opens folders of trees. Blocks.
fn open(looks: Vec<(Arc<Top>, Look)>) -> Vec<(Look, io::Result<Descriptor>)> {
    // Mostly they are all of the same tree.
    let mut last = None;
    let mut open_one = |top: Arc<Top>, look: &Look| {
        let directory = match last.take_if(|(root, _)| *root == look.root) {
            Some((_, directory)) => directory,
            None => top.open()?,
        };
        let opened = top.open_below(&directory, &look.path);
        last = Some((look.root, directory));
        opened
    };
    let mut all = Vec::with_capacity(looks.len());
    for (top, look) in looks {
        let opened = open_one(top, &look);
        all.push((look, opened));
    }
    all
}

/// Lists folders, and closes them. Blocks.
fn list(stands: Vec<(Stand, Descriptor)>) -> Vec<(Stand, io::Result<Listing>)> {
    let (mut all, mut room) = (Vec::with_capacity(stands.len()), Vec::new());
    for (stand, folder) in stands {
        let path = Arc::from(&*stand.look.path);
        let listing = Listing::read(&folder, path, Wanted::default(), usize::MAX, &mut room);
        all.push((stand, listing.map(|(listing, _)| listing)));
    }
    all
}

/// Whether something is not there any more, or is no folder any more: then there is nothing to be watched.
fn has_gone(error: &io::Error) -> bool {
    let numbers = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP];
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => io::Error::new(error.kind(), format!("cannot watch {path:?}: {error}")),
        // It has a name already.
        None => error,
    }
}
