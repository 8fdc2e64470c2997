//! What is to be done, in order: folders are made before what stands in them is given out.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::blocking;
use corering::fs::Metadata;
use corering::op::folder;

use crate::attributes::{Kept, c_path};
use crate::hidden::Hidden;
use crate::tool::{Items, Place, Places, Tool, What};

/// Something to be done.
pub(crate) struct Step {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) what: What,
    /// The folder is new: nothing in it can have the name.
    pub(crate) is_new: bool,
    /// The folder has a hidden name until all is in it.
    pub(crate) in_hidden: bool,
}

/// Folders and names that are finished when all files are there.
#[derive(Default)]
pub(crate) struct Later {
    /// With what is to be given to them.
    pub(crate) folders: Vec<(PathBuf, PathBuf, Metadata, bool)>,
    /// Second names, each of what has the first.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
}

/// Where it all goes.
pub(crate) struct Destination {
    pub(crate) path: PathBuf,
    /// It is there, and what is copied goes into it.
    pub(crate) is_folder: bool,
}

pub(crate) struct Steps {
    pub(crate) tool: Rc<Tool>,
    pub(crate) places: Places,
    pub(crate) destination: Destination,
    pub(crate) recursive: bool,
    pub(crate) dry_run: bool,
    pub(crate) resume: bool,
    pub(crate) hidden: Rc<Hidden>,
    pub(crate) kept: Kept,
    pub(crate) later: Rc<RefCell<Later>>,
    /// What is being copied, and where to.
    pub(crate) root: (PathBuf, PathBuf),
    /// New folders.
    pub(crate) new: HashSet<PathBuf>,
    /// Where files with several names have the first, by device and number.
    pub(crate) firsts: HashMap<(u64, u64), PathBuf>,
    /// What has been copied by name.
    pub(crate) named: HashSet<PathBuf>,
    /// Folders that could not be made.
    pub(crate) refused: Vec<PathBuf>,
}

/// So much is done by one worker at a time: a trip to a thread costs as much as a small file.
const AT_ONCE: usize = 32;

impl Items for Steps {
    type Item = Vec<Step>;

    /// What comes next, as much as one worker does at a time. Folders among it have been made.
    async fn next(&mut self) -> Option<Vec<Step>> {
        loop {
            let mut found = Vec::new();
            while found.len() < AT_ONCE {
                match self.places.next().await {
                    Some(place) => found.extend(self.target(place).await),
                    None if found.is_empty() => return None,
                    None => break,
                }
            }
            self.make_folders(&found).await;
            let steps: Vec<_> = found.into_iter().filter_map(|(place, to)| self.step(place, to)).collect();
            if !steps.is_empty() {
                return Some(steps);
            }
        }
    }
}

impl Steps {
    /// Where it goes, if it may.
    async fn target(&mut self, place: Place) -> Option<(Place, PathBuf)> {
        if place.depth == 0 {
            self.root = (place.path.clone(), self.target_of(&place.path));
            if !self.may_begin(&place).await {
                self.places.skip_folder();
                return None;
            }
            // What is resumed is to be found there by the next run.
            if place.what == What::Folder && !self.dry_run && !self.resume {
                if let Some(hidden) = self.hidden.name(&self.root.1) {
                    self.root.1 = hidden;
                }
            }
        }
        let below = place.path.strip_prefix(&self.root.0).unwrap_or(Path::new(""));
        let to = if below.as_os_str().is_empty() { self.root.1.clone() } else { self.root.1.join(below) };
        if self.is_refused(&to) {
            self.places.skip_folder();
            return None;
        }
        Some((place, to))
    }

    /// What is to be done there, if anything: folders have been made, and second names come later.
    fn step(&mut self, place: Place, to: PathBuf) -> Option<Step> {
        if self.is_refused(&to) {
            return None;
        }
        if place.what == What::File {
            if let Some(first) = self.first_name(&place, &to) {
                self.later.borrow_mut().links.push((first, to));
                return None;
            }
        }
        let is_new = to.parent().is_some_and(|folder| self.new.contains(folder));
        let in_hidden = self.hidden.holds(&to);
        Some(Step { from: place.path, to, what: place.what, is_new, in_hidden })
    }

    /// Whether it is, or is in, a folder that could not be made.
    fn is_refused(&self, to: &Path) -> bool {
        self.refused.iter().any(|refused| to.starts_with(refused))
    }

    fn target_of(&self, path: &Path) -> PathBuf {
        match path.file_name() {
            Some(name) if self.destination.is_folder => self.destination.path.join(name),
            Some(_) | None => self.destination.path.clone(),
        }
    }

    /// Whether what was named may be copied.
    async fn may_begin(&mut self, place: &Place) -> bool {
        let (from, to) = self.root.clone();
        if !self.named.insert(to.clone()) && place.what != What::Folder {
            self.tool.report(&from, format_args!("{} was copied just now, and is not overwritten", to.display()));
            return false;
        }
        if place.what != What::Folder {
            return true;
        }
        if !self.recursive {
            self.tool.report(&from, "it is a folder, which is copied only with -r");
            return false;
        }
        match blocking::call(move || is_inside(&from, &to)).await {
            Ok(false) => return true,
            Ok(true) => {
                let into = self.root.1.display();
                self.tool.report(&self.root.0, format_args!("a folder cannot be copied into itself, to {into}"));
            }
            Err(error) => self.tool.report(&self.root.0, error),
        }
        false
    }

    /// Makes the folders, which their owner may write to until they are full. All of them in one trip to a thread.
    async fn make_folders(&mut self, found: &[(Place, PathBuf)]) {
        let folders = found.iter().filter(|(place, _)| place.what == What::Folder);
        let folders = folders.map(|(place, to)| {
            let is_in_new = to.parent().is_some_and(|folder| self.new.contains(folder));
            NewFolder { from: place.path.clone(), to: to.clone(), metadata: place.metadata().copied(), is_in_new }
        });
        let folders: Vec<_> = if self.dry_run { Vec::new() } else { folders.collect() };
        if folders.is_empty() {
            return;
        }
        for (NewFolder { from, to, .. }, made) in blocking::call(move || make_all(folders)).await {
            let (metadata, is_made) = match made {
                Ok(made) => made,
                Err(error) => {
                    self.tool.report(&self.hidden.shown(&to), error);
                    self.refused.push(to);
                    continue;
                }
            };
            if is_made {
                self.new.insert(to.clone());
            } else {
                // Another that was named has made it, or somebody else: there may be anything in it.
                self.new.remove(&to);
            }
            if self.kept.anything() || (is_made && metadata.mode() & 0o700 != 0o700) {
                self.later.borrow_mut().folders.push((from, to, metadata, is_made));
            }
        }
    }

    /// The name that a file has been copied to before, if it has several.
    fn first_name(&mut self, place: &Place, to: &Path) -> Option<PathBuf> {
        let metadata = place.metadata().filter(|metadata| self.kept.links && metadata.nlink() > 1)?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = self.firsts.get(&identity) {
            return Some(first.clone());
        }
        self.firsts.insert(identity, to.to_path_buf());
        None
    }
}

/// A folder that is to be made.
struct NewFolder {
    from: PathBuf,
    to: PathBuf,
    metadata: Option<Metadata>,
    /// Nothing can have its name, unless it was made since.
    is_in_new: bool,
}

/// Makes folders, of which those in others that cannot be made are left out. What they are copies of, and whether they
/// are new. Blocks.
fn make_all(folders: Vec<NewFolder>) -> Vec<(NewFolder, io::Result<(Metadata, bool)>)> {
    let mut done: Vec<(NewFolder, io::Result<(Metadata, bool)>)> = Vec::with_capacity(folders.len());
    for folder in folders {
        let is_in = |other: &NewFolder| folder.to.starts_with(&other.to);
        if done.iter().any(|(other, made)| made.is_err() && is_in(other)) {
            continue;
        }
        let known = folder.metadata.map_or_else(|| folder::stat(None, &c_path(&folder.from)?, true), Ok);
        let made = known.and_then(|metadata| {
            let is_made = make_folder(&folder.to, metadata.mode() & 0o777 | 0o700, folder.is_in_new)?;
            Ok((metadata, is_made))
        });
        done.push((folder, made));
    }
    done
}

/// Makes a folder unless it is there, and says whether it has. Blocks.
fn make_folder(path: &Path, mode: u32, is_new: bool) -> io::Result<bool> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_new => {
            if std::fs::metadata(path)?.is_dir() {
                Ok(false)
            } else {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no folder there"))
            }
        }
        Err(error) => Err(error),
    }
}

/// Whether `to` is `from`, or would be in it. Blocks.
fn is_inside(from: &Path, to: &Path) -> io::Result<bool> {
    let from = std::fs::canonicalize(from)?;
    for above in to.ancestors() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match std::fs::canonicalize(above) {
            Ok(above) => return Ok(above.starts_with(&from)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
