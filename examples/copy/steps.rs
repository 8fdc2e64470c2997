//! What is to be done, in order: folders are made before what stands in them is given out.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::blocking;
use corering::fs::{self, Metadata};

use crate::attributes::Kept;
use crate::tool::{Items, Place, Places, Tool, What};

/// Something to be done.
pub(crate) struct Step {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) what: What,
    /// The folder is new: nothing in it can have the name.
    pub(crate) is_new: bool,
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
}

impl Items for Steps {
    type Item = Step;

    async fn next(&mut self) -> Option<Step> {
        loop {
            let place = self.places.next().await?;
            if place.depth == 0 {
                self.root = (place.path.clone(), self.target_of(&place.path));
                if !self.may_begin(&place).await {
                    self.places.skip_folder();
                    continue;
                }
            }
            let below = place.path.strip_prefix(&self.root.0).unwrap_or(Path::new(""));
            let to = if below.as_os_str().is_empty() { self.root.1.clone() } else { self.root.1.join(below) };
            let is_new = to.parent().is_some_and(|folder| self.new.contains(folder));
            match place.what {
                What::Folder => {
                    if let Err(error) = self.enter(&place, &to, is_new).await {
                        self.tool.report(&to, error);
                        self.places.skip_folder();
                        continue;
                    }
                }
                What::File => {
                    if let Some(first) = self.first_name(&place, &to) {
                        self.later.borrow_mut().links.push((first, to));
                        continue;
                    }
                }
                What::Link | What::Special(_) | What::Input => {}
            }
            return Some(Step { from: place.path, to, what: place.what, is_new });
        }
    }
}

impl Steps {
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

    /// Makes a folder, which its owner may write to until it is full.
    async fn enter(&mut self, place: &Place, to: &Path, is_new: bool) -> io::Result<()> {
        let metadata = match place.metadata {
            Some(metadata) => metadata,
            None => fs::metadata(&place.path).await?,
        };
        if self.dry_run {
            return Ok(());
        }
        let (path, mode) = (to.to_path_buf(), metadata.mode() & 0o777);
        let is_made = blocking::call(move || make_folder(&path, mode | 0o700, is_new)).await?;
        if is_made {
            self.new.insert(to.to_path_buf());
        }
        if self.kept.anything() || (is_made && mode & 0o700 != 0o700) {
            self.later.borrow_mut().folders.push((place.path.clone(), to.to_path_buf(), metadata, is_made));
        }
        Ok(())
    }

    /// The name that a file has been copied to before, if it has several.
    fn first_name(&mut self, place: &Place, to: &Path) -> Option<PathBuf> {
        let metadata = place.metadata.filter(|metadata| self.kept.links && metadata.nlink() > 1)?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = self.firsts.get(&identity) {
            return Some(first.clone());
        }
        self.firsts.insert(identity, to.to_path_buf());
        None
    }
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
