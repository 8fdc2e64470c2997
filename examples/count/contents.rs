//! What is in files, counted.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use corering::fs::File;
use corering::io;
use serde::Serialize;

use crate::Arguments;
use crate::folders::{Folders, Sum};
use crate::sizes::human;
use crate::text::{Counter, Counts, Wanted as Counted};
use crate::tool::{self, Contents, Place, Places, Reading, Tool, Wanted, What, Work, each, is_input, text};

#[derive(Serialize)]
struct Object<'a> {
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chars: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest: Option<u64>,
}

impl Sum for Counts {
    fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.words += other.words;
        self.chars += other.chars;
        self.bytes += other.bytes;
        self.longest = self.longest.max(other.longest);
    }
}

pub(crate) fn run(mut arguments: Arguments) -> ExitCode {
    let tool = Tool::new("count", &arguments.reading.telling, true);
    let Arguments { lines, words, bytes, chars, longest, .. } = arguments;
    if !(lines || words || bytes || chars || longest) {
        (arguments.lines, arguments.words, arguments.bytes) = (true, true, true);
    }
    let Arguments { lines, words, chars, longest, .. } = arguments;
    let counted = Counted { lines, words, chars, longest, utf8: locale_is_utf8() };
    let only_bytes = !lines && !words && !longest && (!chars || !counted.utf8);
    let rules = arguments.reading.rules();
    // Bytes alone need not be read: the length says it.
    let wanted = Wanted { metadata: only_bytes, ..Wanted::default() };
    let places = match Places::new(&tool, arguments.reading.paths.clone(), &arguments.reading.selection, rules, wanted)
    {
        Ok(places) => places,
        Err(error) => tool::usage("count", error),
    };
    let count = Rc::new(Count {
        tool: Rc::clone(&tool),
        contents: Contents::new(),
        counted,
        only_bytes,
        width: Cell::new(1),
        folders: RefCell::new(Folders::new(arguments.depth.unwrap_or(0))),
        total: RefCell::new(Counts::default()),
        files: Cell::new(0),
        arguments,
    });
    let work = async {
        count.width.set(count.find_width().await);
        each(&tool, &count, places, count.arguments.reading.jobs.count()).await;
    };
    tool.run(work, |_| count.end())
}

struct Count {
    tool: Rc<Tool>,
    arguments: Arguments,
    contents: Contents,
    counted: Counted,
    only_bytes: bool,
    /// Of a column.
    width: Cell<usize>,
    folders: RefCell<Folders<Counts>>,
    total: RefCell<Counts>,
    /// Files that were told.
    files: Cell<u64>,
}

impl Work for Count {
    type Item = Place;
    type Kept = Vec<u8>;
    type Outcome = (Place, Option<io::Result<Counts>>);

    async fn work(&self, buffer: &mut Vec<u8>, place: Place) -> Self::Outcome {
        let counts = match place.what {
            What::File => Some(self.count_file(&place, buffer).await),
            What::Input => {
                let mut counter = Counter::new(self.counted);
                let read = self.contents.input(buffer, |part| counter.add(part)).await;
                Some(read.map(|_| counter.end()))
            }
            What::Special(_) if place.named => Some(Err(io::Error::other("neither a file nor a directory"))),
            What::Special(_) | What::Folder | What::Link => None,
        };
        (place, counts)
    }

    fn done(&self, (place, counts): Self::Outcome) {
        let mut folders = self.folders.borrow_mut();
        folders.leave(place.depth, |path, counts| self.tell_folder(&path, counts));
        match counts {
            Some(Ok(counts)) => {
                self.tool.count(counts.bytes);
                self.total.borrow_mut().add(&counts);
                folders.add(&counts);
                self.files.set(self.files.get() + 1);
                if !self.arguments.total && (place.named || self.arguments.depth.is_none()) {
                    self.print(&place.path, &counts);
                }
            }
            Some(Err(error)) => self.tool.report(&place.path, error),
            None if place.what == What::Folder => folders.enter(place.path, place.depth, Counts::default()),
            None => {}
        }
    }
}

impl Count {
    async fn count_file(&self, place: &Place, buffer: &mut Vec<u8>) -> io::Result<Counts> {
        if let Some(metadata) = place.metadata().filter(|_| self.only_bytes && !tool::is_open_file(&place.path)) {
            if let Some(bytes) = length(&place.path, metadata.len(), metadata.blksize(), &self.contents).await? {
                return Ok(Counts { bytes, chars: bytes, ..Counts::default() });
            }
        }
        let mut counter = Counter::new(self.counted);
        self.contents.file(&place.path, buffer, |part| counter.add(part)).await?;
        Ok(counter.end())
    }

    /// How wide columns are: as wide as wc makes them if it is asked for the same.
    async fn find_width(&self) -> usize {
        let Arguments { lines, words, bytes, chars, longest, reading: Reading { ref paths, .. }, .. } = self.arguments;
        let columns = [lines, words, bytes, chars, longest].into_iter().filter(|column| *column).count();
        if paths.len() == 1 && columns == 1 {
            return 1;
        }
        let paths =
            paths.iter().map(|path| if is_input(path.as_os_str()) { "/dev/stdin".into() } else { path.clone() });
        let (mut least, mut total) = (1, 0);
        for known in tool::look_at(paths.collect()).await {
            match known {
                // Nobody knows how much is below it.
                Ok(metadata) if metadata.is_dir() => return 1,
                Ok(metadata) if metadata.is_file() => total += metadata.len(),
                Ok(_) => least = 7,
                Err(_) => {}
            }
        }
        total.to_string().len().max(least)
    }

    fn tell_folder(&self, path: &Path, counts: &Counts) {
        if !self.arguments.total && self.arguments.depth.is_some() {
            self.print(path, counts);
        }
    }

    fn print(&self, path: &Path, counts: &Counts) {
        let Arguments { lines, words, bytes, chars, longest, reading: Reading { ref telling, .. }, .. } =
            self.arguments;
        let columns = [
            (lines, counts.lines, false),
            (words, counts.words, false),
            (chars, counts.chars, false),
            (bytes, counts.bytes, self.arguments.human),
            (longest, counts.longest, false),
        ];
        if telling.json {
            let [lines, words, chars, bytes, longest] = columns.map(|(is_shown, count, _)| is_shown.then_some(count));
            let object = Object { path: text(path), lines, words, chars, bytes, longest };
            self.tool.print(&serde_json::to_vec(&object).unwrap_or_default());
            self.tool.print(b"\n");
            return;
        }
        let shown = columns.into_iter().filter(|column| column.0).map(|(_, count, is_human)| {
            let count = if is_human { human(count) } else { count.to_string() };
            format!("{count:>width$}", width = self.width.get())
        });
        let mut line = shown.collect::<Vec<_>>().join(" ").into_bytes();
        line.push(b' ');
        line.extend_from_slice(path.as_os_str().as_bytes());
        line.push(telling.end());
        self.tool.print(&line);
    }

    /// Tells what has not been told, and the total if there is more than one.
    fn end(&self) {
        self.folders.borrow_mut().leave(0, |path, counts| self.tell_folder(&path, counts));
        let is_more = match self.arguments.depth {
            Some(_) => self.arguments.reading.paths.len() > 1,
            None => self.files.get() > 1 || self.arguments.reading.paths.len() > 1,
        };
        if self.arguments.total || is_more {
            self.print(Path::new("total"), &self.total.borrow());
        }
    }
}

/// How long a file is. What says that it is empty is read, and of others the end: they may say more than there is, as in
/// /sys, or be longer by now. `None` if it is to be read anyway.
async fn length(path: &Path, len: u64, block: u64, contents: &Contents) -> io::Result<Option<u64>> {
    if len == 0 {
        return Ok(None);
    }
    if len % PAGE != 0 {
        return Ok(Some(len));
    }
    let start = len - len % (block + 1);
    if start == 0 {
        return Ok(None);
    }
    let file = File::open(path).await?;
    Ok(Some(start + contents.open(&file, start, |_| {}).await?))
}

const PAGE: u64 = 4096;

/// Whether the locale says that text is UTF-8.
fn locale_is_utf8() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
