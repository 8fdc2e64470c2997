//! What is left out: by globs, because it is hidden, and by the rules in `.ignore` and `.gitignore` files.
//!
//! The rules are those of ripgrep: what stands deeper decides, `.ignore` before `.gitignore`, and `.gitignore` counts
//! only in a repository.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::{fs, join};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::overrides::{Override, OverrideBuilder};

use super::{Rules, Tool};

/// What is left out of one walk.
pub(crate) struct Ignored {
    tool: Rc<Tool>,
    rules: Rules,
    globs: Rc<Override>,
    everywhere: Option<Rc<Gitignore>>,
    /// The folders above the walk's first, the nearest last. Their rules are about absolute paths.
    above: Vec<Level>,
    /// What the walk begins with, as it was given, and its absolute path.
    root: (PathBuf, PathBuf),
    /// The folders of the walk that it is in, the deepest last.
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    depth: usize,
    plain: Option<Gitignore>,
    git: Option<Gitignore>,
    exclude: Option<Gitignore>,
    is_repository: bool,
}

impl Ignored {
    /// Globs as they were given on the command line; an error tells which of them is none.
    pub(crate) fn globs(globs: &[String]) -> Result<Rc<Override>, ignore::Error> {
        let mut builder = OverrideBuilder::new(".");
        for glob in globs {
            builder.add(glob)?;
        }
        builder.build().map(Rc::new)
    }

    /// For a walk through `root`.
    pub(crate) async fn below(tool: Rc<Tool>, rules: Rules, globs: Rc<Override>, root: &Path) -> Self {
        let mut ignored = Self {
            tool,
            rules,
            globs,
            everywhere: None,
            above: Vec::new(),
            root: (root.to_path_buf(), PathBuf::new()),
            levels: Vec::new(),
        };
        if rules.ignore_files {
            let path = root.to_path_buf();
            #[allow(clippy::disallowed_methods, reason = "on a thread where it may block")]
            let absolute = corering::blocking::call(move || std::fs::canonicalize(path)).await;
            if let Ok(absolute) = absolute {
                for folder in absolute.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
                    let level = ignored.read(folder, 0).await;
                    ignored.above.push(level);
                }
                ignored.root.1 = absolute;
            }
            let (everywhere, error) = Gitignore::global();
            if let Some(error) = error {
                ignored.tool.say(error);
            }
            ignored.everywhere = Some(Rc::new(everywhere)).filter(|rules| !rules.is_empty());
        }
        ignored
    }

    /// Whether something in the walk, so many folders down, is left out.
    pub(crate) fn leaves_out(&mut self, path: &Path, depth: usize, is_folder: bool) -> bool {
        if depth == 0 {
            return false;
        }
        match self.globs.matched(path, is_folder) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => {}
        }
        while self.levels.last().is_some_and(|level| level.depth >= depth) {
            self.levels.pop();
        }
        if self.rules.ignore_files {
            if let Some(left_out) = self.verdict(path, is_folder) {
                return left_out;
            }
        }
        !self.rules.hidden && is_hidden(path)
    }

    /// Goes down into a folder of the walk, and reads its rules.
    pub(crate) async fn enter(&mut self, folder: &Path, depth: usize) {
        if self.rules.ignore_files {
            let level = self.read(folder, depth).await;
            self.levels.push(level);
        }
    }

    /// What the rules say; `None` if nothing.
    fn verdict(&self, path: &Path, is_folder: bool) -> Option<bool> {
        let absolute = path.strip_prefix(&self.root.0).map(|below| self.root.1.join(below));
        let absolute = absolute.as_deref().unwrap_or(path);
        let levels = || {
            let here = self.levels.iter().rev().map(|level| (level, path));
            here.chain(self.above.iter().rev().map(|level| (level, absolute)))
        };
        let plain = levels().find_map(|(level, path)| said(level.plain.as_ref(), path, is_folder));
        if plain.is_some() || !levels().any(|(level, _)| level.is_repository) {
            return plain;
        }
        // What is above the repository's own folder is no matter of its.
        let mut within = Vec::new();
        for (level, path) in levels() {
            within.push((level, path));
            if level.is_repository {
                break;
            }
        }
        let git = within.iter().find_map(|(level, path)| said(level.git.as_ref(), path, is_folder));
        let exclude = || within.iter().find_map(|(level, path)| said(level.exclude.as_ref(), path, is_folder));
        git.or_else(exclude).or_else(|| said(self.everywhere.as_deref(), absolute, is_folder))
    }

    async fn read(&self, folder: &Path, depth: usize) -> Level {
        let (plain, git, repository) = join!(
            self.rules_in(folder, ".ignore"),
            self.rules_in(folder, ".gitignore"),
            // That it is a folder is an error, too: it is there.
            fs::read(folder.join(".git")),
        );
        let is_repository = !repository.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        });
        let exclude = if is_repository { self.rules_in(folder, ".git/info/exclude").await } else { None };
        Level { depth, plain, git, exclude, is_repository }
    }

    async fn rules_in(&self, folder: &Path, name: &str) -> Option<Gitignore> {
        let path = folder.join(name);
        let text = fs::read(&path).await.ok()?;
        let mut builder = GitignoreBuilder::new(folder);
        for line in String::from_utf8_lossy(&text).lines() {
            if let Err(error) = builder.add_line(Some(path.clone()), line) {
                self.tool.say_of(&path, error);
            }
        }
        match builder.build() {
            Ok(rules) => Some(rules).filter(|rules| !rules.is_empty()),
            Err(error) => {
                self.tool.say_of(&path, error);
                None
            }
        }
    }
}

fn said(rules: Option<&Gitignore>, path: &Path, is_folder: bool) -> Option<bool> {
    match rules?.matched(path, is_folder) {
        Match::Ignore(_) => Some(true),
        Match::Whitelist(_) => Some(false),
        Match::None => None,
    }
}

fn is_hidden(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}
