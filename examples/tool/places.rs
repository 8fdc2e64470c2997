//! What a tool is to work on: what was named, and what stands below the folders among it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::fs::{self, DirEntry, FileType, Metadata, Walk};
use corering::op::folder;
use corering::{blocking, io};
use ignore::overrides::Override;

use super::ignored::Ignored;
use super::{Selection, Tool, is_input};

/// So many names are looked at in one trip to a thread.
const LOOKED_AT_ONCE: usize = 512;

/// Something to work on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) what: What,
    /// It stands on the command line.
    pub(crate) named: bool,
    /// How many folders below what was named.
    pub(crate) depth: usize,
    /// Of what was named.
    looked_at: Option<Box<Metadata>>,
    /// Of what stands below.
    entry: Option<DirEntry>,
}

/// What stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Standard input.
    Input,
    File,
    Folder,
    /// A symbolic link that is not followed.
    Link,
    /// A device, a named pipe or a socket, which could be waited for in vain.
    Special(FileType),
}

/// What is to be known of the places.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// Their metadata: asked for along with the names, but not for nothing.
    pub(crate) metadata: bool,
    /// Links that are named are places of their own, and not followed.
    pub(crate) named_links: bool,
    /// No paths of what stands below folders but of folders, and of what nothing is known of: to put together many paths
    /// that nobody looks at takes its time.
    pub(crate) only_folders_named: bool,
}

/// What is left out of walks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What `.ignore` and `.gitignore` files say.
    pub(crate) ignore_files: bool,
    /// Hidden files are among what is given.
    pub(crate) hidden: bool,
}

impl Rules {
    /// All that is there.
    pub(crate) const NONE: Self = Self { ignore_files: false, hidden: true };

    fn leave_out_something(self) -> bool {
        self.ignore_files || !self.hidden
    }
}

/// What the arguments lead to, one after the other. What cannot be had is reported, and the rest goes on.
pub(crate) struct Places {
    tool: Rc<Tool>,
    selection: Selection,
    wanted: Wanted,
    rules: Rules,
    globs: Rc<Override>,
    named: std::vec::IntoIter<PathBuf>,
    looked_at: VecDeque<(PathBuf, io::Result<Option<Metadata>>)>,
    walk: Option<(Walk, Option<Ignored>)>,
}

impl Places {
    /// An error if one of the globs is none.
    pub(crate) fn new(
        tool: &Rc<Tool>,
        named: Vec<PathBuf>,
        selection: &Selection,
        rules: Rules,
        wanted: Wanted,
    ) -> Result<Self, ignore::Error> {
        Ok(Self {
            tool: Rc::clone(tool),
            globs: Ignored::globs(&selection.glob)?,
            selection: selection.clone(),
            wanted,
            rules,
            named: named.into_iter(),
            looked_at: VecDeque::new(),
            walk: None,
        })
    }

    /// The next place: folders before what stands in them.
    pub(crate) async fn next(&mut self) -> Option<Place> {
        loop {
            if self.walk.is_some() {
                match self.next_below().await {
                    Some(place) => return Some(place),
                    None => self.walk = None,
                }
            }
            if self.looked_at.is_empty() {
                self.look_at_more().await;
            }
            let (path, known) = self.looked_at.pop_front()?;
            match known {
                Ok(None) => return Some(Place::named(path, What::Input, None)),
                Ok(Some(metadata)) if metadata.is_dir() => self.begin_walk(&path).await,
                Ok(Some(metadata)) if metadata.is_symlink() => {
                    return Some(Place::named(path, What::Link, Some(metadata)));
                }
                Ok(Some(metadata)) => {
                    let is_readable = metadata.is_file() || is_open_file(&path);
                    let what = if is_readable { What::File } else { What::Special(metadata.file_type()) };
                    return Some(Place::named(path, what, Some(metadata)));
                }
                Err(error) => self.tool.report(&path, error),
            }
        }
    }

    /// Does not go down into the folder that was given last.
    pub(crate) fn skip_folder(&mut self) {
        if let Some((walk, _)) = &mut self.walk {
            walk.skip_dir();
        }
    }

    /// Looks at what was named next, at many in one go.
    async fn look_at_more(&mut self) {
        let paths: Vec<_> = self.named.by_ref().take(LOOKED_AT_ONCE).collect();
        if paths.is_empty() {
            return;
        }
        let follow = !self.wanted.named_links;
        let look = move || {
            let known = paths.into_iter().map(|path| {
                let known = if is_input(path.as_os_str()) { Ok(None) } else { metadata(&path, follow).map(Some) };
                (path, known)
            });
            known.collect()
        };
        self.looked_at = blocking::call(look).await;
    }

    async fn begin_walk(&mut self, path: &Path) {
        let walk = fs::walk(path)
            .follow_links(self.selection.follow)
            .metadata(self.wanted.metadata)
            .sorted(self.selection.sort)
            .same_file_system(self.selection.one_file_system);
        let walk = match self.selection.max_depth {
            Some(depth) => walk.max_depth(depth),
            None => walk,
        };
        let ignored = if self.rules.leave_out_something() || !self.globs.is_empty() {
            Some(Ignored::below(Rc::clone(&self.tool), self.rules, Rc::clone(&self.globs), path).await)
        } else {
            None
        };
        self.walk = Some((walk, ignored));
    }

    /// The next place of the walk.
    async fn next_below(&mut self) -> Option<Place> {
        let (walk, ignored) = self.walk.as_mut()?;
        loop {
            let entry = match walk.next().await? {
                Ok(entry) => entry,
                Err(error) => {
                    self.tool.report(error.path(), error.io_error());
                    continue;
                }
            };
            let file_type = entry.file_type();
            let is_folder = file_type.is_dir();
            let is_known = entry.known_metadata().is_some();
            let is_nameless = self.wanted.only_folders_named && ignored.is_none() && is_known;
            let path = if is_nameless && !is_folder { PathBuf::new() } else { entry.path() };
            if let Some(ignored) = ignored {
                if ignored.leaves_out(&path, entry.depth(), is_folder) {
                    if is_folder {
                        walk.skip_dir();
                    }
                    continue;
                }
                if is_folder {
                    ignored.enter(&path, entry.depth()).await;
                }
            }
            let what = if file_type.is_file() {
                What::File
            } else if is_folder {
                What::Folder
            } else if file_type.is_symlink() {
                What::Link
            } else {
                What::Special(file_type)
            };
            let depth = entry.depth();
            return Some(Place { path, what, named: depth == 0, depth, looked_at: None, entry: Some(entry) });
        }
    }
}

impl Place {
    fn named(path: PathBuf, what: What, metadata: Option<Metadata>) -> Self {
        Self { path, what, named: true, depth: 0, looked_at: metadata.map(Box::new), entry: None }
    }

    /// If that was wanted, and could be had.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.looked_at.as_deref().or_else(|| self.entry.as_ref()?.known_metadata())
    }
}

/// What names lead to, all in one trip to a thread.
pub(crate) async fn look_at(paths: Vec<PathBuf>) -> Vec<io::Result<Metadata>> {
    blocking::call(move || paths.iter().map(|path| metadata(path, true)).collect()).await
}

/// What a name leads to. Blocks.
fn metadata(path: &Path, follow: bool) -> io::Result<Metadata> {
    folder::stat(None, &CString::new(path.as_os_str().as_bytes())?, follow)
}

/// Whether it names a file that this program has open, such as a pipe that the shell made: to be read, whatever it is.
pub(crate) fn is_open_file(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")
}
