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
//! Invariant: with `always`, nothing is answered before the change, and all before it, is on the disk. After a failed write or
//! sync nothing is acknowledged any more: what the file then holds, only a start can tell.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::time::Duration;

use corering::fs::{self, File};
use corering::sync::{Condition, Event, Lock};
use corering::time::timeout;

use crate::protocol::{Limits, Replies, parse};
use crate::store::Store;

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
    /// Reads the file at `path` into `store`, and opens it for what is to come. Of a command that was cut by a crash nothing is
    /// kept. If most of the file is history, it is written anew.
    pub(crate) async fn open(path: &Path, fsync: Fsync, store: &mut Store) -> io::Result<Self> {
        let bytes = match fs::read(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut end = replay(&bytes, store)?;
        store.remove_ended(usize::MAX);
        let snapshot = store.snapshot();
        if bytes.len() > 64 << 10 && bytes.len() > 2 * snapshot.len() {
            end = snapshot.len();
            fs::write_atomic(path, snapshot).await?;
        }
        let file = File::options().write(true).create(true).open(path).await?;
        file.set_len(end as u64).await?;
        file.sync_all().await?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // The name itself has to survive, too.
            File::open(folder).await?.sync_all().await?;
        }
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

    /// Waits until it may be answered what was appended up to there.
    pub(crate) async fn may_answer(&self, up_to: u64) -> io::Result<()> {
        if self.fsync == Fsync::Always && self.written.get() < up_to {
            let mut guard = self.lock.lock().await;
            while self.written.get() < up_to && self.failure.borrow().is_none() {
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
        let mut unsynced = false;
        loop {
            self.there_is_more.clear();
            let bytes = self.waiting.take();
            if bytes.is_empty() {
                if self.ending.get() {
                    return self.file.sync_data().await;
                }
                let waits = self.there_is_more.wait();
                if unsynced && timeout(Duration::from_secs(1), waits).await.is_err() {
                    self.file.sync_data().await?;
                    unsynced = false;
                } else if !unsynced {
                    self.there_is_more.wait().await;
                }
                continue;
            }
            let count = bytes.len() as u64;
            self.file.write_all_at(bytes, self.end.get()).await.0?;
            match self.fsync {
                Fsync::Always => self.file.sync_data().await?,
                Fsync::Everysec => unsynced = true,
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

/// Does what the log says, and how many bytes of it are whole commands.
fn replay(bytes: &[u8], store: &mut Store) -> io::Result<usize> {
    // What was once taken is taken again, whatever is allowed today.
    let limits = Limits { string: usize::MAX / 2, strings: usize::MAX, line: 64 };
    let (mut at, mut words) = (0, Vec::new());
    while let Some(first) = bytes.get(at) {
        let parsed = match first {
            b'*' => parse(&bytes[at..], &mut words, limits).map_err(|error| error.to_string()),
            other => Err(format!("a command begins with '*', and not with '{}'", other.escape_ascii())),
        };
        match parsed {
            Ok(Some(len)) => {
                let found: Vec<&[u8]> = words.iter().map(|word| &bytes[at..][word.clone()]).collect();
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
