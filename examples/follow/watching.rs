//! What the kernel tells of folders and files.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use corering::fs::{self, Change, Event, Events, WatchId, Watcher};
use corering::time::{Instant, sleep_until, timeout_at};
use futures_core::Stream;

use crate::tool::Tool;

/// What has happened.
pub(crate) enum Happened {
    /// To a path in a folder.
    In { path: PathBuf, change: Change },
    /// To the file that a followed link leads to.
    ToFile(PathBuf),
    /// More to names than the kernel has told.
    TooMuch,
    /// More to contents.
    TooMuchWritten,
}

/// What is watched.
pub(crate) struct Watching {
    /// None if the kernel does not tell: then names are looked at often.
    watchers: Option<Watchers>,
}

/// Names and contents are told of by two queues: what is written may be more than the kernel keeps, and nothing is lost
/// with that; but the moves have to be known one by one.
struct Watchers {
    names: Watcher,
    contents: Watcher,
    /// By how they are written in front of names.
    folders: HashMap<PathBuf, WatchId>,
    /// The same, for their contents.
    written: HashMap<PathBuf, WatchId>,
    /// What links lead to, by the links' paths.
    files: HashMap<PathBuf, WatchId>,
}

/// A file that nobody follows and that is everywhere.
const MARK: &str = "/dev/null";

impl Watching {
    pub(crate) fn new(tool: &Tool, on: bool) -> Self {
        let made = || {
            let (names, contents) = (Watcher::new()?, Watcher::new()?);
            let (folders, written, files) = Default::default();
            io::Result::Ok(Watchers { names, contents, folders, written, files })
        };
        let watchers = if on { made().map_err(|error| say_why_not(tool, &error)).ok() } else { None };
        Self { watchers }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.watchers.is_some()
    }

    /// Watches the folder that a name stands in, and what it leads to if that may stand elsewhere. Again and again, since
    /// others may have come to these paths.
    pub(crate) async fn add(&mut self, tool: &Tool, path: &Path) {
        self.add_folder(tool, path.parent().unwrap_or(Path::new("/"))).await;
        let Some(Watchers { contents, files, .. }) = &mut self.watchers else { return };
        if fs::symlink_metadata(path).await.is_ok_and(|metadata| metadata.is_symlink()) {
            let added = contents.add(path, Events::MODIFIED).await;
            keep(contents, files, path, added.ok());
        }
    }

    /// Watches a folder.
    pub(crate) async fn add_folder(&mut self, tool: &Tool, folder: &Path) {
        let Some(Watchers { names, contents, folders, written, .. }) = &mut self.watchers else { return };
        let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let moves = Events::CREATED | Events::MOVED | Events::DELETED;
        let mut refused = None;
        for (watcher, known, events) in [(names, folders, moves), (contents, written, Events::MODIFIED)] {
            match watcher.add(at, events).await {
                Ok(watch) => keep(watcher, known, folder, Some(watch)),
                // Its name stands for no space on a disk, too.
                Err(error) if error.kind() == ErrorKind::StorageFull => refused = Some(error),
                // It may come.
                Err(_) => keep(watcher, known, folder, None),
            }
        }
        if let Some(error) = refused {
            say_why_not(tool, &error);
            self.watchers = None;
        }
    }

    /// Waits until something has happened, and takes all that has. `false` when it is time to look.
    pub(crate) async fn wait(&mut self, until: Instant, mut take: impl FnMut(Happened)) -> bool {
        let Some(watchers) = &mut self.watchers else {
            sleep_until(until).await;
            return false;
        };
        if Instant::now() >= until {
            return false;
        }
        let next = poll_fn(|cx| watchers.poll_next(cx));
        let Ok(happened) = timeout_at(until, next).await else { return false };
        happened.into_iter().for_each(&mut take);
        while let Poll::Ready(happened) = poll_fn(|cx| Poll::Ready(watchers.poll_next(cx))).await {
            happened.into_iter().for_each(&mut take);
        }
        true
    }

    /// Takes all that has happened to names until now: a mark is made, which comes behind it.
    pub(crate) async fn catch_up(&mut self, mut take: impl FnMut(Happened)) {
        let Some(watchers) = &mut self.watchers else { return };
        let Ok(mark) = watchers.names.add(MARK, Events::SELF_MOVED).await else { return };
        if watchers.names.remove(mark).is_err() {
            return;
        }
        while let Ok(event) = watchers.names.next().await {
            let is_mark = event.watch() == Some(mark) && event.change() == Change::Ended;
            watchers.of_names(&event).into_iter().for_each(&mut take);
            // The mark may be among what the kernel has not kept.
            if is_mark || event.change() == Change::Overflow {
                return;
            }
        }
    }
}

impl Watchers {
    /// The next that has happened: to names before contents.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Happened>> {
        if let Poll::Ready(Some(Ok(event))) = Pin::new(&mut self.names).poll_next(cx) {
            return Poll::Ready(self.of_names(&event));
        }
        if let Poll::Ready(Some(Ok(event))) = Pin::new(&mut self.contents).poll_next(cx) {
            return Poll::Ready(self.of_contents(&event));
        }
        Poll::Pending
    }

    fn of_names(&mut self, event: &Event) -> Vec<Happened> {
        let change = event.change();
        if change == Change::Ended {
            self.folders.retain(|_, known| Some(*known) != event.watch());
        }
        if change == Change::Overflow { vec![Happened::TooMuch] } else { in_folders(&self.folders, event) }
    }

    fn of_contents(&mut self, event: &Event) -> Vec<Happened> {
        let change = event.change();
        if change == Change::Overflow {
            return vec![Happened::TooMuchWritten];
        }
        if change == Change::Ended {
            self.written.retain(|_, known| Some(*known) != event.watch());
            self.files.retain(|_, known| Some(*known) != event.watch());
        }
        if event.name().is_some() {
            return in_folders(&self.written, event);
        }
        let files = self.files.iter().filter(|(_, known)| Some(**known) == event.watch());
        files.map(|(path, _)| Happened::ToFile(path.clone())).collect()
    }
}

/// What it has happened to, by the paths that the folder was given.
fn in_folders(folders: &HashMap<PathBuf, WatchId>, event: &Event) -> Vec<Happened> {
    let Some(name) = event.name() else { return Vec::new() };
    let folders = folders.iter().filter(|(_, known)| Some(**known) == event.watch());
    folders.map(|(folder, _)| Happened::In { path: folder.join(name), change: event.change() }).collect()
}

fn say_why_not(tool: &Tool, error: &io::Error) {
    tool.say(format_args!("{error}; looking every so often instead"));
}

/// Notes what a path is watched as now. What it was watched as before is not watched any more, unless by another path.
fn keep(watcher: &mut Watcher, all: &mut HashMap<PathBuf, WatchId>, path: &Path, now: Option<WatchId>) {
    let before = match now {
        Some(now) => all.insert(path.to_path_buf(), now),
        None => all.remove(path),
    };
    if let Some(before) = before.filter(|before| Some(*before) != now) {
        if !all.values().any(|known| *known == before) {
            // It may have ended by itself.
            let _ = watcher.remove(before);
        }
    }
}
