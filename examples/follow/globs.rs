//! Names that are given as globs.

use std::path::{Component, Path, PathBuf};

use corering::fs;
use globset::{GlobBuilder, GlobMatcher};

/// A path whose parts may be globs.
pub(crate) struct Globs {
    parts: Vec<Part>,
}

enum Part {
    Plain(PathBuf),
    Glob(GlobMatcher),
}

impl Globs {
    /// `None` if nothing in it is a glob.
    pub(crate) fn new(path: &Path) -> Result<Option<Self>, globset::Error> {
        let is_glob = |part: &str| part.contains(['*', '?', '[', '{']);
        if !path.to_str().is_some_and(is_glob) {
            return Ok(None);
        }
        let parts = path.components().map(|part| match part {
            Component::Normal(name) => match name.to_str().filter(|name| is_glob(name)) {
                Some(glob) => {
                    let glob = GlobBuilder::new(glob).literal_separator(true).build()?;
                    Ok(Part::Glob(glob.compile_matcher()))
                }
                None => Ok(Part::Plain(name.into())),
            },
            Component::RootDir | Component::Prefix(_) | Component::CurDir | Component::ParentDir => {
                Ok(Part::Plain(part.as_os_str().into()))
            }
        });
        let parts: Result<Vec<_>, globset::Error> = parts.collect();
        Ok(Some(Self { parts: parts? }))
    }

    /// Whether a path matches, as [`expand`](Self::expand) would write it.
    pub(crate) fn is_match(&self, path: &Path) -> bool {
        let mut names = path.components();
        let each = self.parts.iter().all(|part| match (part, names.next()) {
            (Part::Plain(plain), Some(name)) => plain.as_os_str() == name.as_os_str(),
            (Part::Glob(glob), Some(name)) => glob.is_match(name.as_os_str()),
            (Part::Plain(_) | Part::Glob(_), None) => false,
        });
        each && names.next().is_none()
    }

    /// The paths that match now, in order, and the folders in which more could come. What cannot be read has none.
    pub(crate) async fn expand(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut paths, mut folders) = (vec![PathBuf::new()], Vec::new());
        for part in &self.parts {
            match part {
                Part::Plain(name) => {
                    for path in &mut paths {
                        path.push(name);
                    }
                }
                Part::Glob(glob) => {
                    let mut found = Vec::new();
                    for folder in paths {
                        let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
                        folders.push(folder.clone());
                        let Ok(mut names) = fs::read_dir(listed).await else { continue };
                        while let Some(Ok(entry)) = names.next().await {
                            if glob.is_match(entry.file_name()) {
                                found.push(folder.join(entry.file_name()));
                            }
                        }
                    }
                    found.sort();
                    paths = found;
                }
            }
        }
        (paths, folders)
    }
}
