//! The room that files take.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use corering::fs::Metadata;
use serde::Serialize;

use crate::Arguments;
use crate::folders::{Folders, Sum};
use crate::sizes::human;
use crate::tool::{self, Place, Places, Tool, Wanted, What, text};

#[derive(Serialize)]
struct Object<'a> {
    path: Cow<'a, str>,
    disk: u64,
    apparent: u64,
    files: u64,
}

#[derive(Clone, Copy, Default)]
struct Room {
    disk: u64,
    apparent: u64,
    files: u64,
}

impl Sum for Room {
    fn add(&mut self, other: &Self) {
        self.disk += other.disk;
        self.apparent += other.apparent;
        self.files += other.files;
    }
}

impl Room {
    fn of(metadata: &Metadata) -> Self {
        // A folder's own length says nothing of what is in it.
        let has_contents = metadata.is_file() || metadata.is_symlink();
        Self {
            disk: metadata.blocks() * 512,
            apparent: if has_contents { metadata.len() } else { 0 },
            files: u64::from(!metadata.is_dir()),
        }
    }
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let tool = Tool::new("count", &arguments.reading.telling, true);
    let rules = arguments.reading.rules();
    // As du: a link that is named takes its own room.
    let wanted = Wanted { metadata: true, named_links: !arguments.reading.selection.follow, only_folders_named: true };
    let places = match Places::new(&tool, arguments.reading.paths.clone(), &arguments.reading.selection, rules, wanted)
    {
        Ok(places) => places,
        Err(error) => tool::usage("count", error),
    };
    let disk = Disk {
        tool: Rc::clone(&tool),
        folders: RefCell::new(Folders::new(arguments.depth.unwrap_or(0))),
        seen: RefCell::new(HashSet::new()),
        total: RefCell::new(Room::default()),
        arguments,
    };
    tool.run(disk.count(places), |_| disk.end())
}

struct Disk {
    tool: Rc<Tool>,
    arguments: Arguments,
    folders: RefCell<Folders<Room>>,
    /// What has several names and was counted under one of them, or was named.
    seen: RefCell<HashSet<(u64, u64)>>,
    total: RefCell<Room>,
}

impl Disk {
    async fn count(&self, mut places: Places) {
        while let Some(place) = places.next().await {
            if self.tool.is_over() {
                return;
            }
            if self.take_in(place) == Seen::Before {
                places.skip_folder();
            }
            self.tool.settle().await;
        }
    }

    fn take_in(&self, place: Place) -> Seen {
        let mut folders = self.folders.borrow_mut();
        folders.leave(place.depth, |path, room| self.tell(&path, room));
        let Some(metadata) = place.metadata() else {
            if place.what == What::Input {
                self.tool.report(&place.path, "standard input takes no room");
            } else {
                self.tool.report(&place.path, "nothing is known of it");
            }
            return Seen::Now;
        };
        // Folders have one name each, but may be named again.
        let is_told =
            metadata.nlink() > 1 && !metadata.is_dir() || place.named || self.arguments.reading.paths.len() > 1;
        if is_told && !self.arguments.count_links && !self.seen.borrow_mut().insert((metadata.dev(), metadata.ino())) {
            return Seen::Before;
        }
        let room = Room::of(metadata);
        self.total.borrow_mut().add(&room);
        self.tool.count(room.disk);
        if place.what == What::Folder {
            folders.enter(place.path, place.depth, room);
        } else if place.named {
            self.tell(&place.path, &room);
        } else {
            folders.add(&room);
        }
        Seen::Now
    }

    fn tell(&self, path: &Path, room: &Room) {
        if !self.arguments.total {
            self.print(path, room);
        }
    }

    fn print(&self, path: &Path, room: &Room) {
        let telling = &self.arguments.reading.telling;
        if telling.json {
            let object = Object { path: text(path), disk: room.disk, apparent: room.apparent, files: room.files };
            self.tool.print(&serde_json::to_vec(&object).unwrap_or_default());
            self.tool.print(b"\n");
            return;
        }
        let bytes = if self.arguments.apparent { room.apparent } else { room.disk };
        let number = match (self.arguments.human, self.arguments.apparent) {
            (true, _) => human(bytes),
            (false, true) => bytes.to_string(),
            (false, false) => bytes.div_ceil(1024).to_string(),
        };
        self.tool.print(&[number.as_bytes(), b"\t", path.as_os_str().as_bytes(), &[telling.end()]].concat());
    }

    /// Tells what has not been told: of an interrupted count, what there is.
    fn end(&self) {
        self.folders.borrow_mut().leave(0, |path, room| self.tell(&path, room));
        if self.arguments.total {
            self.print(Path::new("total"), &self.total.borrow());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Seen {
    Now,
    Before,
}
