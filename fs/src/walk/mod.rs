//! Everything below a folder.
//!
//! ```text
//! job: reads folders, nested ones too, up to 1024 names --> nodes
//! walk: gives the names of the topmost node, goes down where they are folders; what has not been read is asked for
//!       with what comes next, 32 folders at a time
//! ```
//!
//! Invariant: names come in depth-first order, whatever order the jobs end in; no more is read ahead than a bound.

mod below;
mod job;

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use corering_runtime::blocking;
use corering_runtime::op::{Descriptor, poll_names_settled};
use futures_core::Stream;

pub use self::below::DirWalk;
use self::job::{Beginning, Child, Ground, Node, Options, Task};
use crate::DirEntry;
use crate::listing::Listing;

/// Folders that one job is asked to read.
const ASKED_AT_ONCE: usize = 32;
/// Jobs under way at once.
const JOBS: usize = 4;
/// Names that lie ready before nothing more is read ahead.
const AHEAD: usize = 8 * 1024;
/// Names that are given in a row before other tasks have a turn.
const IN_A_ROW: u32 = 256;

/// Walks through `path` and everything below it: first the folder itself, then what is in it, depth first.
///
/// Names come in no order within a folder, unless they are to be [`sorted`](Walk::sorted). Links are not followed unless
/// they [are to be](Walk::follow_links): then no path leaves the folder, even if links take the place of folders
/// meanwhile. What cannot be read is an error of its own, and the walk goes on.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let mut bytes = 0;
///     let mut entries = corering_fs::walk("/etc").metadata(true);
///     while let Some(entry) = entries.next().await {
///         match entry {
///             Ok(entry) => bytes += entry.metadata().await?.len(),
///             Err(error) => eprintln!("{error}"),
///         }
///     }
///     assert!(bytes > 0);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn walk(path: impl AsRef<Path>) -> Walk {
    Walk::new(None, path.as_ref())
}

/// A way through a folder and everything below it; made by [`walk`]. A [`Stream`] of entries.
///
/// # Kernel
///
/// `openat2(2)`, `getdents64(2)` and `statx(2)`, on threads beside the core, for many folders at a time: the ring cannot
/// list names, and would send a kernel worker for each of the others.
#[must_use = "a walk does nothing unless next is awaited"]
pub struct Walk {
    /// Where the path begins, and what it does not lead out of.
    from: Option<Descriptor>,
    root: PathBuf,
    options: Options,
    filter: Option<Filter>,
    state: State,
    in_a_row: u32,
}

type Filter = Box<dyn FnMut(&DirEntry) -> bool>;

enum State {
    New,
    Begins(Pin<Box<dyn Future<Output = io::Result<Beginning>>>>),
    Goes(Box<Way>),
    Over,
}

/// A walk that has begun.
struct Way {
    /// What it begins with, until it has been given.
    first: Option<Arc<Listing>>,
    /// None if that is no folder.
    ground: Option<Arc<Ground>>,
    /// The folders that it is in, each within the one before.
    levels: Vec<Level>,
    /// Where it goes down next, and whether that is the folder that was given last.
    down: Option<Child>,
    is_last: bool,
    jobs: Vec<Job>,
    /// What was asked for, and has come if it has.
    asked: HashMap<u64, Option<Child>>,
    number: u64,
    /// Names that have been read and not given.
    ahead: usize,
}

type Job = Pin<Box<dyn Future<Output = Vec<(u64, Child)>>>>;

struct Level {
    node: Node,
    next: usize,
    next_child: usize,
}

impl Walk {
    fn new(from: Option<Descriptor>, path: &Path) -> Self {
        Self {
            from,
            root: path.to_path_buf(),
            options: Options {
                follow_links: false,
                metadata: false,
                sorted: false,
                same_file_system: false,
                min_depth: 0,
                max_depth: usize::MAX,
            },
            filter: None,
            state: State::New,
            in_a_row: 0,
        }
    }

    /// Follows symbolic links: they count as what they lead to. One that leads to a folder above it is an error. Not
    /// unless it is set.
    pub fn follow_links(mut self, on: bool) -> Self {
        self.options.follow_links = on;
        self
    }

    /// Asks for the metadata along with the names, which is much cheaper than for each of them later.
    pub fn metadata(mut self, on: bool) -> Self {
        self.options.metadata = on;
        self
    }

    /// Gives the names of each folder in the order of their bytes. Large folders are then read whole before their first
    /// name comes.
    pub fn sorted(mut self, on: bool) -> Self {
        self.options.sorted = on;
        self
    }

    /// Does not go down into folders of other file systems than the first one's.
    pub fn same_file_system(mut self, on: bool) -> Self {
        self.options.same_file_system = on;
        self
    }

    /// Leaves out what is fewer folders down: 1 leaves out the folder that the walk begins with.
    pub fn min_depth(mut self, depth: usize) -> Self {
        self.options.min_depth = depth;
        self
    }

    /// Goes no further down: 1 gives the folder and what stands in it.
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.options.max_depth = depth;
        self
    }

    /// Leaves out what `keep` says no to, and of a folder all that is in it, too.
    pub fn filter(mut self, keep: impl FnMut(&DirEntry) -> bool + 'static) -> Self {
        self.filter = Some(Box::new(keep));
        self
    }

    /// The next entry; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// [`WalkError`] for what cannot be read. The walk goes on with the next call.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no entry.
    ///
    /// # Kernel
    ///
    /// As [`Walk`] says: a folder or several for each trip to a thread, read ahead. Most names are given without any.
    pub async fn next(&mut self) -> Option<Result<DirEntry, WalkError>> {
        poll_fn(|cx| self.poll_entry(cx)).await
    }

    /// Does not go down into the folder that was given last.
    pub fn skip_dir(&mut self) {
        if let State::Goes(way) = &mut self.state {
            way.skip();
        }
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<DirEntry, WalkError>>> {
        loop {
            match &mut self.state {
                State::New => match crate::c_path(&self.root) {
                    Ok(c_path) => {
                        let (from, path, options) = (self.from.take(), self.root.clone(), self.options);
                        self.state = State::Begins(Box::pin(async move {
                            poll_fn(poll_names_settled).await;
                            blocking::call(move || job::begin(from.as_ref(), &path, &c_path, options)).await
                        }));
                    }
                    Err(error) => return self.fail(error),
                },
                State::Begins(beginning) => match ready!(beginning.as_mut().poll(cx)) {
                    Ok(beginning) => self.state = State::Goes(Box::new(Way::new(beginning))),
                    Err(error) => return self.fail(error),
                },
                State::Goes(way) => {
                    if self.in_a_row >= IN_A_ROW {
                        self.in_a_row = 0;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let Some(found) = ready!(way.poll_next(cx)) else {
                        self.state = State::Over;
                        return Poll::Ready(None);
                    };
                    self.in_a_row += 1;
                    let entry = match found {
                        Ok(entry) => entry,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if entry.depth() < self.options.min_depth {
                        continue;
                    }
                    if self.filter.as_mut().is_some_and(|keep| !keep(&entry)) {
                        way.skip();
                        continue;
                    }
                    return Poll::Ready(Some(Ok(entry)));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<Result<DirEntry, WalkError>>> {
        self.state = State::Over;
        Poll::Ready(Some(Err(WalkError::of(&self.root, 0, error))))
    }
}

impl Way {
    fn new(beginning: Beginning) -> Self {
        let (first, ground, down) = match beginning {
            Beginning::File(listing) => (listing, None, None),
            Beginning::Folder(listing, ground, node) => (listing, Some(ground), Some(node)),
        };
        let ahead = down.as_ref().map_or(0, |node| node.total);
        Self {
            first: Some(Arc::new(first)),
            ground,
            levels: Vec::new(),
            down: down.map(Child::Read),
            is_last: true,
            jobs: Vec::new(),
            asked: HashMap::new(),
            number: 0,
            ahead,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<DirEntry, WalkError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(DirEntry::new(&first, 0, 0))));
        }
        loop {
            if let Some(child) = self.down.take() {
                if let Some(error) = ready!(self.poll_down(child, cx)) {
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let Some(level) = self.levels.last_mut() else {
                return Poll::Ready(None);
            };
            if level.next == level.node.listing.len() {
                if let Some(rest) = level.node.rest.take() {
                    let number = self.ask(vec![Task::Rest(rest)]);
                    self.levels.pop();
                    (self.down, self.is_last) = (Some(Child::Asked(number)), false);
                } else {
                    self.levels.pop();
                }
                continue;
            }
            let (index, depth) = (level.next, level.node.depth + 1);
            level.next += 1;
            self.ahead = self.ahead.saturating_sub(1);
            if level.node.listing.file_type(index).is_dir() {
                let child = std::mem::replace(&mut level.node.children[level.next_child], Child::Left);
                (self.down, self.is_last) = (Some(child), true);
                level.next_child += 1;
            }
            return Poll::Ready(Some(Ok(DirEntry::new(&level.node.listing, index, depth))));
        }
    }

    /// Goes down into a folder when it has been read. The error of reading it, if there is one.
    fn poll_down(&mut self, child: Child, cx: &mut Context<'_>) -> Poll<Option<WalkError>> {
        let mut child = child;
        loop {
            child = match child {
                Child::Left => return Poll::Ready(None),
                Child::Read(mut node) => {
                    let error = node.error.take();
                    self.levels.push(Level { node: *node, next: 0, next_child: 0 });
                    self.read_ahead();
                    return Poll::Ready(error);
                }
                Child::Unread(folder) => {
                    let mut tasks = vec![Task::Folder(folder)];
                    let number = self.number;
                    self.collect(&mut tasks);
                    self.ask(tasks);
                    Child::Asked(number)
                }
                Child::Asked(number) => match self.asked.get_mut(&number).map(Option::take) {
                    Some(Some(come)) => {
                        self.asked.remove(&number);
                        come
                    }
                    Some(None) if self.poll_jobs(cx) => Child::Asked(number),
                    Some(None) => {
                        self.down = Some(Child::Asked(number));
                        return Poll::Pending;
                    }
                    None => unreachable!("what was asked for is there until it is taken"),
                },
            };
        }
    }

    /// Takes in what jobs have brought. Whether any has.
    fn poll_jobs(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        let mut at = 0;
        while let Some(job) = self.jobs.get_mut(at) {
            let Poll::Ready(come) = job.as_mut().poll(cx) else {
                at += 1;
                continue;
            };
            drop(self.jobs.swap_remove(at));
            any = true;
            for (number, child) in come {
                // What was skipped meanwhile is not asked for any more.
                if let Some(place) = self.asked.get_mut(&number) {
                    self.ahead += child.total();
                    *place = Some(child);
                }
            }
        }
        any
    }

    /// Reads ahead, if there is little ready and somebody to do it.
    fn read_ahead(&mut self) {
        if self.jobs.len() < JOBS && self.ahead < AHEAD {
            let mut tasks = Vec::new();
            self.collect(&mut tasks);
            if !tasks.is_empty() {
                self.ask(tasks);
            }
        }
    }

    /// Begins a job, and gives the number of its first task. The others have those that follow.
    fn ask(&mut self, tasks: Vec<Task>) -> u64 {
        let Some(ground) = self.ground.clone() else { unreachable!("only folders are read") };
        let first = self.number;
        let tasks: Vec<_> = (first..).zip(tasks).collect();
        self.number += tasks.len() as u64;
        for (number, _) in &tasks {
            self.asked.insert(*number, None);
        }
        self.jobs.push(Box::pin(async move {
            poll_fn(poll_names_settled).await;
            blocking::call(move || ground.read_all(tasks)).await
        }));
        first
    }

    /// Adds the folders that come next and that nobody has been asked for. They will be asked for under the numbers that
    /// come next.
    fn collect(&mut self, tasks: &mut Vec<Task>) {
        for level in self.levels.iter_mut().rev() {
            let from = level.next_child;
            collect_from(&mut level.node.children[from..], tasks, self.number);
            if tasks.len() >= ASKED_AT_ONCE {
                return;
            }
        }
    }

    fn skip(&mut self) {
        // It may have asked for more names of the folder that it is in.
        match self.down.take_if(|_| self.is_last) {
            Some(child @ (Child::Read(_) | Child::Asked(_))) => self.forget(child),
            Some(Child::Unread(_) | Child::Left) | None => {}
        }
    }

    fn forget(&mut self, child: Child) {
        match child {
            Child::Asked(number) => {
                if let Some(Some(come)) = self.asked.remove(&number) {
                    self.forget(come);
                }
            }
            Child::Read(node) => {
                self.ahead = self.ahead.saturating_sub(node.listing.len());
                for child in node.children {
                    self.forget(child);
                }
            }
            Child::Left | Child::Unread(_) => {}
        }
    }
}

fn collect_from(children: &mut [Child], tasks: &mut Vec<Task>, number: u64) {
    for child in children {
        if tasks.len() >= ASKED_AT_ONCE {
            return;
        }
        match child {
            Child::Read(node) => collect_from(&mut node.children, tasks, number),
            Child::Unread(_) => {
                let asked = Child::Asked(number + tasks.len() as u64);
                if let Child::Unread(folder) = std::mem::replace(child, asked) {
                    tasks.push(Task::Folder(folder));
                }
            }
            Child::Left | Child::Asked(_) => {}
        }
    }
}

impl Child {
    fn total(&self) -> usize {
        match self {
            Child::Read(node) => node.total,
            Child::Left | Child::Unread(_) | Child::Asked(_) => 0,
        }
    }
}

impl Stream for Walk {
    type Item = Result<DirEntry, WalkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(cx)
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Walk({:?})", self.root)
    }
}

/// Something that a [`walk`] could not read: a folder, or what it begins with.
#[derive(Debug)]
pub struct WalkError {
    path: PathBuf,
    depth: usize,
    error: io::Error,
    leads_back_to: Option<PathBuf>,
}

impl WalkError {
    fn of(path: &Path, depth: usize, error: io::Error) -> Self {
        Self { path: path.to_path_buf(), depth, error, leads_back_to: None }
    }

    /// What could not be read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many folders down that is.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Why: what the system said, or that a link [leads back](Self::leads_back_to).
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }

    /// If it is a link that was followed to a folder that it is in: that folder.
    pub fn leads_back_to(&self) -> Option<&Path> {
        self.leads_back_to.as_deref()
    }
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), self.error)
    }
}

impl Error for WalkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<WalkError> for io::Error {
    fn from(error: WalkError) -> Self {
        Self::new(error.error.kind(), error)
    }
}
