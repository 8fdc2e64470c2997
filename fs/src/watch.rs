//! Being told of what happens to files and folders.
//!
//! One descriptor tells of all that is watched. One read of it is under way at a time, and it belongs to the watcher,
//! not to the call that waits for it: so a wait that is dropped loses nothing.

mod tree;

use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::BitOr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use corering_runtime::op::{Op, OpenAt, Read, plain};
use futures_core::Stream;

use self::tree::{Ready, Scan, Watching};

/// Room for what one read brings: some hundred events.
const ROOM: usize = 16 * 1024;
/// Of an event, what stands before the name.
const HEAD: usize = 16;
/// The longest name, with the zero behind it.
const NAME_MAX: usize = 256;

/// Watches a file, or a folder and the names in it, for all that [changes](Events::CHANGES) it.
///
/// # Errors
///
/// As [`Watcher::new`] and [`Watcher::add`].
///
/// # Cancel safety
///
/// May be dropped; nothing is left open.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("corering-watch-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// use corering_fs::Change;
///
/// corering_runtime::run(async {
///     let mut watcher = corering_fs::watch(&folder).await?;
///     corering_fs::write(folder.join("report"), "done").await?;
///     let event = watcher.next().await?;
///     assert_eq!((event.change(), event.path()), (Change::Created, &*folder.join("report")));
///     std::io::Result::Ok(())
/// })??;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn watch(path: impl AsRef<Path>) -> io::Result<Watcher> {
    let mut watcher = Watcher::new()?;
    watcher.add(path, Events::CHANGES).await?;
    Ok(watcher)
}

/// Watches a folder and everything below it, for all that [changes](Events::CHANGES) it.
///
/// # Errors
///
/// As [`Watcher::new`] and [`Watcher::add_tree`].
///
/// # Cancel safety
///
/// May be dropped; nothing is left open.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("corering-watch-tree-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// corering_runtime::run(async {
///     let mut watcher = corering_fs::watch_tree(&folder).await?;
///     corering_fs::create_dir_all(folder.join("new/inner")).await?;
///     corering_fs::write(folder.join("new/inner/report"), "done").await?;
///     while watcher.next().await?.path() != folder.join("new/inner/report") {}
///     std::io::Result::Ok(())
/// })??;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn watch_tree(path: impl AsRef<Path>) -> io::Result<Watcher> {
    let mut watcher = Watcher::new()?;
    watcher.add_tree(path, Events::CHANGES).await?;
    Ok(watcher)
}

/// Tells of what happens to the files and folders that were added to it, in the order in which it happens. A [`Stream`]
/// of events, which does not end.
///
/// Of a folder it tells what happens to the names in it and to what they name, but not further down, unless it was added
/// [with everything below it](Self::add_tree).
///
/// # Kernel
///
/// `inotify(7)`, read by `IORING_OP_READ`. It knows of what is done on this machine: not of what others do to a network file
/// system, nor of what is written through a mapping.
pub struct Watcher {
    watching: Watching,
    /// Looks at folders that have come to be in trees.
    scan: Scan,
    /// What has been found by that, and is told next.
    ready: Ready,
    /// The read that is under way.
    reading: Option<Op<Read<Vec<u8>>>>,
    /// What has been read, and how much of that has been told.
    bytes: Vec<u8>,
    told: usize,
    /// Of what has been read and is told next: what more has happened to the same name.
    rest: u32,
    /// The last read has brought all that had happened by then.
    had_all: bool,
}

/// Something that a [`Watcher`] watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(i32);

impl Watcher {
    /// One that watches nothing yet.
    ///
    /// # Errors
    ///
    /// That there are too many of them, with the setting to raise; else what `inotify_init1(2)` says.
    pub fn new() -> io::Result<Self> {
        let descriptor = plain::watch().map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) => io::Error::new(
                error.kind(),
                "the user has too many watchers, or the process too many descriptors: raise fs.inotify.max_user_instances \
                 (sysctl), or the limit of open files (ulimit -n)",
            ),
            _ => error,
        })?;
        Ok(Self {
            watching: Watching::new(descriptor),
            scan: Scan::new(),
            ready: Ready::new(),
            reading: None,
            bytes: Vec::new(),
            told: 0,
            rest: 0,
            had_all: false,
        })
    }

    /// Watches what is at `path`: a symbolic link is followed. What is watched is what is there now, wherever that is moved
    /// later; watch the folder to be told of what comes to a name.
    ///
    /// What is watched already, under whatever name, keeps its number and its path, and is from now on watched for `events`.
    ///
    /// # Errors
    ///
    /// That too much is watched, with the setting to raise; else what `open(2)` and `inotify_add_watch(2)` say: that it is not
    /// there, or may not be read.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not been added.
    pub async fn add(&mut self, path: impl AsRef<Path>, events: Events) -> io::Result<WatchId> {
        let path = path.as_ref();
        let c_path = crate::c_path(path)?;
        // The ring looks the path up, which may have to wait for a disk. What it has found is then added at once: so
        // nothing is told of a number that has no path yet.
        let found = Op::new(OpenAt::new(c_path.clone(), libc::O_PATH, 0)).await?;
        self.watching.add(&found, c_path, path, events)
    }

    /// Watches a folder and everything below it. A symbolic link at `path` is followed, but none below it.
    ///
    /// [`Event::watch`] is that of the topmost folder for all of them, and [`Event::path`] the path that was given with
    /// what is below. Of the topmost folder itself it tells as [`add`](Self::add) does; of a folder in it, what is told of
    /// any name. A folder that comes to be in the tree, made or moved, is watched from then on. What is in it before it is
    /// watched is told to be [created](Change::Created), after the folder itself: nothing is missed, but of what happens to
    /// it in that while only that it is there. A folder that is moved within the tree takes its new path; one that leaves
    /// it is no longer watched.
    ///
    /// If the topmost folder itself is moved, what is watched stays watched; folders that come to be in it then are each an
    /// error of [`next`](Self::next), since they are not found.
    ///
    /// After an [overflow](Change::Overflow) all folders are looked at: those that have come meanwhile are told, and what
    /// is in them; what has happened in others is not known.
    ///
    /// What is watched already as a part of another tree stays with that. Every folder is a watch of its own, of which a
    /// user may have so many (`fs.inotify.max_user_watches`).
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add), and that it is no folder. Nothing of it is watched then. A folder below that may not be read
    /// is no such error: [`next`](Self::next) says it, and the others are watched.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not been added.
    ///
    /// # Kernel
    ///
    /// `openat2(2)` and `getdents64(2)` on a thread, many folders to a trip; `inotify_add_watch(2)` for each in the core.
    pub async fn add_tree(&mut self, path: impl AsRef<Path>, events: Events) -> io::Result<WatchId> {
        let path = path.as_ref();
        let c_path = crate::c_path(path)?;
        let top = Op::new(OpenAt::new(c_path.clone(), libc::O_RDONLY | libc::O_DIRECTORY, 0)).await?;
        let (root, is_new) = self.watching.add_top(&top, c_path, path, events)?;
        drop(top);
        let mut adding = Adding { watching: &mut self.watching, root: is_new.then_some(root) };
        let (mut scan, mut ready) = (Scan::of_tree(root, path), Ready::new());
        while !scan.is_over() {
            poll_fn(|cx| scan.poll(adding.watching, &mut ready, cx)).await;
            for told in ready.drain(..) {
                match told {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.ready.push_back(Err(error)),
                    told => drop(told?),
                }
            }
        }
        adding.root = None;
        Ok(WatchId(root))
    }

    /// Watches that no more, nor what is below it if it is a tree. What has happened to it before is still told, and then
    /// [`Change::Ended`].
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if it is not watched any more;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is a folder within a tree.
    pub fn remove(&mut self, watch: WatchId) -> io::Result<()> {
        self.watching.remove(watch.0).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => io::Error::new(io::ErrorKind::NotFound, "that is not watched any more"),
            _ => error,
        })
    }

    /// The path of what is watched, as it was given; `None` after it [has ended](Change::Ended).
    pub fn path(&self, watch: WatchId) -> Option<&Path> {
        self.watching.path(watch.0)
    }

    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// What `read(2)` says. Of a tree, that a folder which has come cannot be watched, and which one: since it may not be
    /// read, or since too much is watched, with the setting to raise. The next call goes on.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no event.
    pub async fn next(&mut self) -> io::Result<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Poll::Ready(told);
            }
            // Before anything else is told: what is told later has happened later.
            if !self.scan.is_over() {
                ready!(self.scan.poll(&mut self.watching, &mut self.ready, cx));
                continue;
            }
            self.watching.has_seen_all(&mut self.ready);
            if !self.ready.is_empty() {
                continue;
            }
            if let Some(record) = Record::first(&self.bytes[self.told..]) {
                let mask = if self.rest == 0 { record.mask & KNOWN } else { self.rest };
                // The kernel says one thing at a time, but need not.
                let bit = mask & mask.wrapping_neg();
                self.rest = mask & !bit;
                let event = self.watching.take(&record, bit, &mut self.scan);
                if self.rest == 0 {
                    if record.mask & libc::IN_IGNORED != 0 {
                        self.watching.ended(record.number);
                    }
                    self.told += record.len;
                }
                if let Some(event) = event {
                    return Poll::Ready(Ok(event));
                }
                continue;
            }
            let watching = &mut self.watching;
            let reading = self.reading.get_or_insert_with(|| {
                let mut room = std::mem::take(&mut self.bytes);
                room.clear();
                room.reserve(ROOM);
                self.told = 0;
                watching.reads(self.had_all);
                Op::new(Read::stream(&watching.descriptor, room))
            });
            let (read, bytes) = ready!(Pin::new(reading).poll(cx));
            // There was room for the longest event.
            self.had_all = bytes.capacity() - bytes.len() > HEAD + NAME_MAX;
            (self.reading, self.bytes) = (None, bytes);
            read?;
        }
    }
}

impl Stream for Watcher {
    type Item = io::Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx).map(Some)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.watching.paths()).finish()
    }
}

/// A tree that is being added: unless it is all there, nothing of it stays.
struct Adding<'a> {
    watching: &'a mut Watching,
    root: Option<i32>,
}

impl Drop for Adding<'_> {
    fn drop(&mut self) {
        if let Some(root) = self.root {
            self.watching.forget_tree(root);
        }
    }
}

/// What to be told of. Several are joined by `|`.
///
/// ```
/// use corering_fs::Events;
///
/// let events = Events::CREATED | Events::MOVED;
/// assert!(Events::CHANGES.contains(events));
/// assert!(!events.contains(Events::DELETED));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Events(u32);

impl Events {
    /// A name comes to be in a watched folder, other than by moving.
    pub const CREATED: Self = Self(libc::IN_CREATE);
    /// Contents are written or cut.
    pub const MODIFIED: Self = Self(libc::IN_MODIFY);
    /// Owner, permissions, times, extended attributes, or the number of names.
    pub const ATTRIBUTES: Self = Self(libc::IN_ATTRIB);
    /// A file that was open for writing is closed.
    pub const CLOSED_AFTER_WRITE: Self = Self(libc::IN_CLOSE_WRITE);
    /// A name is moved out of a watched folder, into one, or within.
    pub const MOVED: Self = Self(libc::IN_MOVED_FROM | libc::IN_MOVED_TO);
    /// A name in a watched folder is removed.
    pub const DELETED: Self = Self(libc::IN_DELETE);
    /// What is watched itself is moved.
    pub const SELF_MOVED: Self = Self(libc::IN_MOVE_SELF);
    /// What is watched itself is removed: its last name, and nobody has it open any more.
    pub const SELF_DELETED: Self = Self(libc::IN_DELETE_SELF);
    /// Something is opened.
    pub const OPENED: Self = Self(libc::IN_OPEN);
    /// Something is read.
    pub const READ: Self = Self(libc::IN_ACCESS);
    /// Something that was not open for writing is closed.
    pub const CLOSED_UNWRITTEN: Self = Self(libc::IN_CLOSE_NOWRITE);
    /// All that changes something.
    pub const CHANGES: Self = Self(
        Self::CREATED.0
            | Self::MODIFIED.0
            | Self::ATTRIBUTES.0
            | Self::CLOSED_AFTER_WRITE.0
            | Self::MOVED.0
            | Self::DELETED.0
            | Self::SELF_MOVED.0
            | Self::SELF_DELETED.0,
    );
    /// All of them.
    pub const ALL: Self = Self(Self::CHANGES.0 | Self::OPENED.0 | Self::READ.0 | Self::CLOSED_UNWRITTEN.0);

    /// Whether all of `others` are among them.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = (0..u32::BITS).map(|bit| self.0 & 1 << bit);
        f.debug_set().entries(bits.filter_map(|bit| Change::of(bit, 0))).finish()
    }
}

/// Something that has happened; from [`Watcher::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    watch: Option<WatchId>,
    change: Change,
    path: PathBuf,
    has_name: bool,
    is_dir: bool,
}

impl Event {
    /// What has happened.
    pub fn change(&self) -> Change {
        self.change
    }

    /// What is watched that this is about; `None` for [`Change::Overflow`].
    pub fn watch(&self) -> Option<WatchId> {
        self.watch
    }

    /// What it has happened to: the path that was given to [`Watcher::add`], and within a folder the name behind it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name in the watched folder; `None` if it has happened to what is watched itself.
    pub fn name(&self) -> Option<&OsStr> {
        if self.has_name { self.path.file_name() } else { None }
    }

    /// Whether it has happened to a folder.
    pub fn is_dir(&self) -> bool {
        self.is_dir
    }
}

/// What has happened to a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The name has come to be, other than by moving.
    Created,
    /// Contents were written or cut. Several times in a row are told once.
    Modified,
    /// Owner, permissions, times, extended attributes, or the number of names have changed.
    Attributes,
    /// It was open for writing, and somebody has closed it.
    ClosedAfterWrite,
    /// The name has gone to another. If that is watched, too, [`MovedTo`](Self::MovedTo) comes with the same cookie, mostly
    /// as the next event.
    MovedFrom(Cookie),
    /// The name has come from another. If that is watched, too, [`MovedFrom`](Self::MovedFrom) has come before it.
    MovedTo(Cookie),
    /// The name was removed.
    Deleted,
    /// What is watched itself was moved.
    SelfMoved,
    /// What is watched itself is no more.
    SelfDeleted,
    /// It was opened.
    Opened,
    /// It was read.
    Read,
    /// It was not open for writing, and somebody has closed it.
    ClosedUnwritten,
    /// The file system that it is on is no more.
    Unmounted,
    /// It is not watched any more, and this was the last of it: it was [removed](Watcher::remove), or is no more.
    Ended,
    /// More has happened than the kernel keeps (`fs.inotify.max_queued_events`), and what came next is lost: look at all
    /// that is watched.
    Overflow,
}

/// What the two halves of a move have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cookie(u32);

/// What the kernel may say.
const KNOWN: u32 = Events::ALL.0 | libc::IN_UNMOUNT | libc::IN_IGNORED | libc::IN_Q_OVERFLOW;

impl Change {
    fn of(bit: u32, cookie: u32) -> Option<Self> {
        Some(match bit {
            libc::IN_CREATE => Self::Created,
            libc::IN_MODIFY => Self::Modified,
            libc::IN_ATTRIB => Self::Attributes,
            libc::IN_CLOSE_WRITE => Self::ClosedAfterWrite,
            libc::IN_MOVED_FROM => Self::MovedFrom(Cookie(cookie)),
            libc::IN_MOVED_TO => Self::MovedTo(Cookie(cookie)),
            libc::IN_DELETE => Self::Deleted,
            libc::IN_MOVE_SELF => Self::SelfMoved,
            libc::IN_DELETE_SELF => Self::SelfDeleted,
            libc::IN_OPEN => Self::Opened,
            libc::IN_ACCESS => Self::Read,
            libc::IN_CLOSE_NOWRITE => Self::ClosedUnwritten,
            libc::IN_UNMOUNT => Self::Unmounted,
            libc::IN_IGNORED => Self::Ended,
            libc::IN_Q_OVERFLOW => Self::Overflow,
            _ => return None,
        })
    }
}

/// An event as the kernel writes it: an `inotify_event`, whose name is filled up with zeros.
struct Record<'a> {
    number: i32,
    mask: u32,
    cookie: u32,
    name: &'a [u8],
    /// With everything.
    len: usize,
}

impl<'a> Record<'a> {
    /// The first one in what was read.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let (number, mask, cookie) = (word(0)? as i32, word(4)?, word(8)?);
        let len = HEAD + word(12)? as usize;
        let name = bytes.get(HEAD..len)?.split(|byte| *byte == 0).next()?;
        Some(Self { number, mask, cookie, name, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: i32, mask: u32, name: &[u8]) -> Vec<u8> {
        let len = if name.is_empty() { 0 } else { (name.len() + 1).next_multiple_of(16) };
        let words = [number as u32, mask, 77, len as u32];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend_from_slice(name);
        bytes.resize(HEAD + len, 0);
        bytes
    }

    #[test]
    fn records_are_found_one_behind_the_other() {
        let mut bytes = record(1, libc::IN_CREATE, b"name");
        bytes.extend(record(2, libc::IN_IGNORED, b""));
        let first = Record::first(&bytes).expect("there");
        assert_eq!((first.number, first.mask, first.cookie, first.name), (1, libc::IN_CREATE, 77, &b"name"[..]));
        let second = Record::first(&bytes[first.len..]).expect("there");
        assert_eq!((second.number, second.name), (2, &b""[..]));
        assert!(Record::first(&bytes[first.len + second.len..]).is_none());
    }

    #[test]
    fn bytes_that_are_no_record_give_none_and_do_not_panic() {
        let whole = record(1, libc::IN_CREATE, b"name");
        for len in 0..whole.len() {
            assert!(Record::first(&whole[..len]).is_none(), "{len} of {}", whole.len());
        }
        let mut long = whole;
        long[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Record::first(&long).is_none());
    }

    #[test]
    fn every_event_that_can_be_asked_for_has_a_change() {
        for bit in (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| KNOWN & bit != 0) {
            assert!(Change::of(bit, 1).is_some(), "{bit:#x}");
        }
        assert_eq!(format!("{:?}", Events::CREATED | Events::READ), "{Read, Created}");
    }
}
