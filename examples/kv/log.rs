//! The append-only file: every change, as the command that makes it, in order.
//!
//! ```text
//! connections --append--> waiting --one write (and one sync) at a time--> the file
//!      ^                                                                    |
//!      +--------------------- written up to there --------------------------+
//! ```
//!
//! Changes that come while one write is under way go out together with the next: so many clients share a sync.
//!
//! Invariant: with `always`, nothing is answered before all changes that the answer may show are on the disk. After a failed write or
//! sync nothing is acknowledged any more: what the file then holds, only a start can tell.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::time::Duration;

use corering::fs::{self, File};
use corering::sync::{Condition, Event, Lock};
use corering::time::{Instant, sleep, timeout_at};

use crate::protocol::{Limits, Parser, Replies};
use crate::store::Store;

const SECOND: Duration = Duration::from_secs(1);
/// Bytes that may wait to be written, if they are not waited for anyway.
const MOST_WAITING: u64 = 64 << 20;

/// When what was appended is brought to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fsync {
    /// Before it is answered.
    Always,
    /// Once a second.
    Everysec,
    /// When the kernel likes.
    No,
}

pub(crate) struct Log {
    fsync: Fsync,
    file: File,
    /// Where the file ends.
    end: Cell<u64>,
    waiting: RefCell<Vec<u8>>,
    /// Bytes ever appended, and of these written (with `always`: synced).
    appended: Cell<u64>,
    written: Cell<u64>,
    there_is_more: Event,
    lock: Lock<()>,
    progress: Condition,
    failure: RefCell<Option<String>>,
    ending: Cell<bool>,
}

impl Log {
    /// Reads the file at `path` into `store`, and opens it for what is to come. A command that was cut by a crash is taken out,
    /// and kept beside the file. If most of the file is history, it is written anew.
    pub(crate) async fn open(path: &Path, fsync: Fsync, store: &mut Store) -> io::Result<Self> {
        let file = File::options().write(true).create(true).open(path).await?;
        alone_with(&file).await?;
        let bytes = fs::read(path).await?;
        store.stop_clock();
        let mut end = replay(&bytes, store)?;
        // What has ended since is said to the log, too, before anything that comes to these keys: else they would be there
        // again, with their old ends, at the next start.
        store.remove_ended(usize::MAX);
        if end < bytes.len() {
            let mut beside = path.as_os_str().to_owned();
            beside.push(format!(".cut-at-{end}"));
            fs::write(&beside, bytes[end..].to_vec()).await?;
            eprintln!("kv: the log ends within a command: its last {} bytes are in {beside:?} now", bytes.len() - end);
        }
        let snapshot = store.snapshot();
        let file = if bytes.len() > 64 << 10 && bytes.len() > 2 * snapshot.len() {
            end = snapshot.len();
            fs::write_atomic(path, snapshot).await?;
            let anew = File::options().write(true).open(path).await?;
            alone_with(&anew).await?;
            anew
        } else {
            file.set_len(end as u64).await?;
            file
        };
        file.sync_all().await?;
        // The name itself has to survive, too.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).await?.sync_all().await?;
        Ok(Self {
            fsync,
            file,
            end: Cell::new(end as u64),
            waiting: RefCell::default(),
            appended: Cell::new(0),
            written: Cell::new(0),
            there_is_more: Event::new(),
            lock: Lock::new(()),
            progress: Condition::new(),
            failure: RefCell::default(),
            ending: Cell::new(false),
        })
    }

    /// Appends what `change` adds, and says up to where that goes.
    pub(crate) fn append(&self, bytes: &[u8]) -> u64 {
        self.waiting.borrow_mut().extend_from_slice(bytes);
        self.appended.set(self.appended.get() + bytes.len() as u64);
        self.there_is_more.set();
        self.appended.get()
    }

    /// Bytes that were ever appended.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.get()
    }

    /// Waits until it may be answered what was seen of the store when so much had been appended: with `always` that is
    /// written; else what waits to be written has an end, too.
    pub(crate) async fn may_answer(&self, up_to: u64) -> io::Result<()> {
        let waits = || match self.fsync {
            Fsync::Always => self.written.get() < up_to,
            Fsync::Everysec | Fsync::No => self.appended.get() - self.written.get() > MOST_WAITING,
        };
        if waits() {
            let mut guard = self.lock.lock().await;
            while waits() && self.failure.borrow().is_none() {
                guard = self.progress.wait(guard).await;
            }
        }
        match &*self.failure.borrow() {
            Some(text) if self.written.get() < up_to => {
                Err(io::Error::other(format!("the log cannot be written: {text}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Writes what is appended, until [`end`](Self::end) and all is written.
    pub(crate) async fn write_on(&self) -> io::Result<()> {
        let result = self.write_until_the_end().await;
        if let Err(error) = &result {
            *self.failure.borrow_mut() = Some(error.to_string());
            self.progress.notify_all();
        }
        result
    }

    async fn write_until_the_end(&self) -> io::Result<()> {
        // With `everysec`: when what was written has to be on the disk.
        let mut sync_at: Option<Instant> = None;
        loop {
            if sync_at.is_some_and(|at| at <= Instant::now()) {
                self.file.sync_data().await?;
                sync_at = None;
            }
            self.there_is_more.clear();
            let bytes = self.waiting.take();
            if bytes.is_empty() {
                if self.ending.get() {
                    return self.file.sync_data().await;
                }
                match sync_at {
                    Some(at) => drop(timeout_at(at, self.there_is_more.wait()).await),
                    None => self.there_is_more.wait().await,
                }
                continue;
            }
            let count = bytes.len() as u64;
            self.file.write_all_at(bytes, self.end.get()).await.0?;
            match self.fsync {
                Fsync::Always => self.file.sync_data().await?,
                Fsync::Everysec => drop(sync_at.get_or_insert(Instant::now() + SECOND)),
                Fsync::No => {}
            }
            self.end.set(self.end.get() + count);
            self.written.set(self.written.get() + count);
            self.progress.notify_all();
        }
    }

    /// Nothing will be appended any more.
    pub(crate) fn end(&self) {
        self.ending.set(true);
        self.there_is_more.set();
    }
}

/// Locks the file. A server that was killed holds it until the kernel has ended what it had begun, which takes a moment.
async fn alone_with(file: &File) -> io::Result<()> {
    let until = Instant::now() + 3 * SECOND;
    while !file.try_lock()? {
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another server uses it"));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Does what the log says, and how many bytes of it are whole commands.
fn replay(bytes: &[u8], store: &mut Store) -> io::Result<usize> {
    // What was once taken is taken again, whatever is allowed today.
    let limits = Limits { string: usize::MAX / 4, strings: usize::MAX, command: usize::MAX / 2, line: 64 };
    let (mut at, mut parser) = (0, Parser::default());
    while let Some(first) = bytes.get(at) {
        let parsed = match first {
            b'*' => parser.parse(&bytes[at..], limits).map_err(|error| error.to_string()),
            // What a file system leaves where it had made room, and a crash came before the bytes.
            0 if bytes[at..].iter().all(|byte| *byte == 0) => Ok(None),
            other => Err(format!("a command begins with '*', and not with '{}'", other.escape_ascii())),
        };
        match parsed {
            Ok(Some(len)) => {
                let found: Vec<&[u8]> = parser.words.iter().map(|word| &bytes[at..][word.clone()]).collect();
                store.execute(&found, &mut Replies(Vec::new()), &mut Vec::new());
                at += len;
            }
            Ok(None) => break,
            Err(error) => {
                let text =
                    format!("the log is damaged at byte {at}: {error}; cut it there, and what comes later is lost");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
    Ok(at)
}
