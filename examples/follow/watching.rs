//! What the kernel tells of folders and files.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

use corering::fs::{self, Change, Event, Events, WatchId, Watcher};
use corering::time::{Instant, sleep_until, timeout_at};

use crate::tool::Tool;

/// What has happened.
pub(crate) enum Happened {
    /// To a path in a folder.
    In { path: PathBuf, change: Change },
    /// To the file that a followed link leads to.
    ToFile(PathBuf),
    /// More than the kernel has told.
    TooMuch,
}

/// What is watched.
pub(crate) struct Watching {
    /// None if the kernel does not tell: then names are looked at often.
    watcher: Option<Watcher>,
    /// By how they are written in front of names.
    folders: HashMap<PathBuf, WatchId>,
    /// What links lead to, by the links' paths.
    files: HashMap<PathBuf, WatchId>,
}

/// A file that nobody follows and that is everywhere.
const MARK: &str = "/dev/null";

impl Watching {
    pub(crate) fn new(tool: &Tool, on: bool) -> Self {
        let watcher = if on {
            Watcher::new().map_err(|error| tool.say(format_args!("{error}; looking every so often instead"))).ok()
        } else {
            None
        };
        Self { watcher, folders: HashMap::new(), files: HashMap::new() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches the folder that a name stands in, and what it leads to if that may stand elsewhere. Again and again, since
    /// others may have come to these paths.
    pub(crate) async fn add(&mut self, tool: &Tool, path: &Path) {
        self.add_folder(tool, path.parent().unwrap_or(Path::new("/"))).await;
        let Some(watcher) = &mut self.watcher else { return };
        if fs::symlink_metadata(path).await.is_ok_and(|metadata| metadata.is_symlink()) {
            let added = watcher.add(path, Events::MODIFIED).await;
            keep(watcher, &mut self.files, path, added.ok());
        }
    }

    /// Watches a folder.
    pub(crate) async fn add_folder(&mut self, tool: &Tool, folder: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let events = Events::CREATED | Events::MOVED | Events::DELETED | Events::MODIFIED;
        let at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match watcher.add(at, events).await {
            Ok(watch) => keep(watcher, &mut self.folders, folder, Some(watch)),
            // Its name stands for no space on a disk, too.
            Err(error) if error.kind() == ErrorKind::StorageFull => self.give_up(tool, &error),
            // It may come.
            Err(_) => keep(watcher, &mut self.folders, folder, None),
        }
    }

    fn give_up(&mut self, tool: &Tool, error: &io::Error) {
        tool.say(format_args!("{error}; looking every so often instead"));
        self.watcher = None;
    }

    /// Waits until something has happened, and takes all that has. `false` when it is time to look.
    pub(crate) async fn wait(&mut self, until: Instant, mut take: impl FnMut(Happened)) -> bool {
        let Some(watcher) = &mut self.watcher else {
            sleep_until(until).await;
            return false;
        };
        if Instant::now() >= until {
            return false;
        }
        let Ok(Ok(event)) = timeout_at(until, watcher.next()).await else { return false };
        self.tell(&event, &mut take);
        while let Some(watcher) = &mut self.watcher {
            match poll_fn(|cx| Poll::Ready(pin!(watcher.next()).poll(cx))).await {
                Poll::Ready(Ok(event)) => self.tell(&event, &mut take),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        true
    }

    /// Takes all that has happened until now: a mark is made, which comes behind it.
    pub(crate) async fn catch_up(&mut self, mut take: impl FnMut(Happened)) {
        let Some(watcher) = &mut self.watcher else { return };
        let Ok(mark) = watcher.add(MARK, Events::SELF_MOVED).await else { return };
        if watcher.remove(mark).is_err() {
            return;
        }
        while let Some(watcher) = &mut self.watcher {
            let Ok(event) = watcher.next().await else { return };
            // The mark may be among what the kernel has not kept.
            if event.change() == Change::Overflow || event.watch() == Some(mark) && event.change() == Change::Ended {
                self.tell(&event, &mut take);
                return;
            }
            self.tell(&event, &mut take);
        }
    }

    fn tell(&mut self, event: &Event, take: &mut impl FnMut(Happened)) {
        let change = event.change();
        let Some(watch) = event.watch() else {
            if change == Change::Overflow {
                take(Happened::TooMuch);
            }
            return;
        };
        if change == Change::Ended {
            self.folders.retain(|_, known| *known != watch);
            self.files.retain(|_, known| *known != watch);
            return;
        }
        match event.name() {
            Some(name) => {
                for (folder, _) in self.folders.iter().filter(|(_, known)| **known == watch) {
                    take(Happened::In { path: folder.join(name), change });
                }
            }
            None => {
                for (path, _) in self.files.iter().filter(|(_, known)| **known == watch) {
                    take(Happened::ToFile(path.clone()));
                }
            }
        }
    }
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
