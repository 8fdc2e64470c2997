//! How lines are told, and whose they are.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::time::Instant;
use serde::Serialize;

use crate::tool::{Tool, text};

/// How lines say which file they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    None,
    /// A line above them, whenever it is another file.
    Headers,
    /// In front of each, with this behind.
    Prefixes(&'static [u8]),
    Json,
}

/// A line of which so much has come is told in parts.
const LONG: usize = 1024 * 1024;

#[derive(Serialize)]
struct LineObject<'a> {
    path: Cow<'a, str>,
    text: Cow<'a, str>,
}

/// What has been told.
pub(crate) struct Told {
    tool: Rc<Tool>,
    names: Names,
    /// Whose lines come now, and whose came last.
    now: PathBuf,
    last: Option<PathBuf>,
    pub(crate) last_told: Instant,
}

impl Told {
    pub(crate) fn new(tool: Rc<Tool>, names: Names) -> Self {
        Self { tool, names, now: PathBuf::new(), last: None, last_told: Instant::now() }
    }

    /// What comes now is of that file.
    pub(crate) fn of(&mut self, path: &Path) -> &mut Self {
        if self.now != path {
            self.now = path.to_path_buf();
        }
        self
    }

    /// Tells the lines in `new`. What is no whole line stays in `partial`, unless only one file is followed.
    pub(crate) fn add(&mut self, partial: &mut Vec<u8>, new: &[u8]) {
        self.last_told = Instant::now();
        if self.names == Names::None {
            return self.tool.print(new);
        }
        let Some(end) = memchr::memrchr(b'\n', new) else {
            partial.extend_from_slice(new);
            if partial.len() >= LONG {
                self.end_line(partial);
            }
            return;
        };
        let (lines, rest) = new.split_at(end + 1);
        partial.extend_from_slice(lines);
        self.lines(partial);
        partial.clear();
        partial.extend_from_slice(rest);
    }

    pub(crate) fn end_line(&mut self, partial: &mut Vec<u8>) {
        if !partial.is_empty() {
            partial.push(b'\n');
            self.lines(partial);
            partial.clear();
        }
    }

    fn lines(&mut self, lines: &[u8]) {
        match self.names {
            Names::None => self.tool.print(lines),
            Names::Headers => {
                if self.last.as_ref() != Some(&self.now) {
                    let gap: &[u8] = if self.last.is_some() { b"\n" } else { b"" };
                    self.tool.print(&[gap, b"==> ", self.now.as_os_str().as_bytes(), b" <==\n"].concat());
                    self.last = Some(self.now.clone());
                }
                self.tool.print(lines);
            }
            Names::Prefixes(behind) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    self.tool.print(self.now.as_os_str().as_bytes());
                    self.tool.print(behind);
                    self.tool.print(line);
                }
            }
            Names::Json => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
                    let object = LineObject { path: text(&self.now), text: line };
                    self.tool.print(&serde_json::to_vec(&object).unwrap_or_default());
                    self.tool.print(b"\n");
                }
            }
        }
    }

    pub(crate) fn was_cut(&self) {
        self.tool.say_of(&self.now, "it was cut, and is read from its beginning");
    }

    pub(crate) async fn settle(&self) {
        self.tool.settle().await;
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_over(&self) -> bool {
        self.tool.is_over()
    }
}
