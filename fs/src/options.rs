//! How a file is to be opened.

use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use corering_runtime::op::{Descriptor, Name, Op, OpenAt, Readiness, Resolve, Stat};

use crate::File;

/// How a file is to be opened; made by [`File::options`].
///
/// # Examples
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("corering-options-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("new");
/// # let _ = std::fs::remove_file(&path);
/// use corering_fs::File;
///
/// corering_runtime::run(async {
///     let file = File::options().write(true).create_new(true).mode(0o600).open(&path).await?;
///     assert!(File::options().write(true).create_new(true).open(&path).await.is_err());
///     file.close().await
/// })??;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until open is called"]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    /// Those that have a name here.
    flags: i32,
    custom_flags: i32,
    temporary: bool,
    resolve: Resolve,
    undone_if_dropped: bool,
}

impl OpenOptions {
    /// None set: say at least one of read, write and append.
    pub fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            flags: 0,
            custom_flags: 0,
            temporary: false,
            resolve: Resolve::new(),
            undone_if_dropped: false,
        }
    }

    /// For reading.
    pub fn read(mut self, on: bool) -> Self {
        self.read = on;
        self
    }

    /// For writing.
    pub fn write(mut self, on: bool) -> Self {
        self.write = on;
        self
    }

    /// For writing, always at the end.
    pub fn append(mut self, on: bool) -> Self {
        self.append = on;
        self
    }

    /// Cut to nothing.
    pub fn truncate(mut self, on: bool) -> Self {
        self.truncate = on;
        self
    }

    /// Made if it is not there.
    pub fn create(mut self, on: bool) -> Self {
        self.create = on;
        self
    }

    /// Made, and an error if it is there.
    pub fn create_new(mut self, on: bool) -> Self {
        self.create_new = on;
        self
    }

    /// The permissions of a file that is made, before the umask; 0o666 unless it is set.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// More flags of `open(2)`, beside those that the rest asks for. The access mode is not taken from here.
    pub fn custom_flags(mut self, flags: i32) -> Self {
        self.custom_flags = flags;
        self
    }

    /// Past the page cache (`O_DIRECT`): buffers, offsets and lengths then have to be aligned, mostly to 512 or 4096
    /// bytes.
    pub fn direct(self, on: bool) -> Self {
        self.flag(libc::O_DIRECT, on)
    }

    /// A file without a name in the directory that the path names (`O_TMPFILE`): it is gone when it is closed, unless
    /// [`File::link`] has given it a name.
    pub fn temporary(mut self, on: bool) -> Self {
        self.temporary = on;
        self
    }

    /// Fails with `ELOOP` if the last name of the path is a symbolic link.
    pub fn no_follow(self, on: bool) -> Self {
        self.flag(libc::O_NOFOLLOW, on)
    }

    /// Fails with [`NotADirectory`](io::ErrorKind::NotADirectory) if it is none.
    pub fn directory(self, on: bool) -> Self {
        self.flag(libc::O_DIRECTORY, on)
    }

    /// Each write brings data and metadata to the disk before it ends (`O_SYNC`).
    pub fn sync(self, on: bool) -> Self {
        self.flag(libc::O_SYNC, on)
    }

    /// Each write brings data, and the metadata that reading it back needs, to the disk before it ends (`O_DSYNC`).
    pub fn data_sync(self, on: bool) -> Self {
        self.flag(libc::O_DSYNC, on)
    }

    /// Where the path may not lead: it is then opened as by `openat2(2)`. To keep paths of strangers in a directory, open
    /// that as a [`Dir`](crate::Dir).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_fs::{File, Resolve};
    ///
    /// corering_runtime::run(async {
    ///     // A link of /proc is not followed to what is open.
    ///     let opened = File::options().read(true).resolve(Resolve::NO_MAGIC_LINKS).open("/proc/self/exe").await;
    ///     assert!(opened.is_err());
    /// })?;
    /// # Ok::<(), corering_runtime::RunError>(())
    /// ```
    pub fn resolve(mut self, resolve: Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    /// A file that is made while nobody wants it any more is removed again. For a name that nobody else knows.
    pub(crate) fn undone_if_dropped(mut self) -> Self {
        self.undone_if_dropped = true;
        self
    }

    fn flag(mut self, flag: i32, on: bool) -> Self {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }

    /// Opens `path`.
    ///
    /// # Errors
    ///
    /// What `open(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) if the options contradict each other.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels; a file that was opened all the same is closed again. One that was to be made may have
    /// been.
    ///
    /// # Kernel
    ///
    /// `openat2(2)` with `RESOLVE_CACHED` for what is in the cache of names, `IORING_OP_OPENAT` for the rest; with `create`
    /// or `truncate` a kernel worker does it. A named pipe is waited for as `open(2)` does it: for a writer if it is to be
    /// read, for a reader if it is to be written.
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_from(None, self.resolve, path.as_ref()).await
    }

    /// Opens a path that begins in a directory and does not lead out of it.
    pub(crate) async fn open_below(&self, directory: &Descriptor, path: &Path) -> io::Result<File> {
        let confined = self.resolve.contains(Resolve::IN_ROOT) || self.resolve.contains(Resolve::BENEATH);
        let resolve = if confined { self.resolve } else { self.resolve | Resolve::BENEATH };
        self.open_from(Some(directory), resolve, path).await
    }

    async fn open_from(&self, directory: Option<&Descriptor>, resolve: Resolve, path: &Path) -> io::Result<File> {
        let path = crate::c_path(path)?;
        let flags = self.to_flags()?;
        let open = |in_worker| {
            let name = match directory {
                Some(directory) => Name::below(directory, path.clone()),
                None => Name::new(path.clone()),
            };
            let open = OpenAt::at(name, flags, self.mode).resolve(resolve);
            let open = if self.undone_if_dropped { open.undone_if_dropped() } else { open };
            Op::new(if in_worker { open.in_worker() } else { open })
        };
        let may_wait = flags & libc::O_NONBLOCK == 0;
        let file = match open(false).await {
            Err(error) if may_wait && error.raw_os_error() == Some(libc::ENXIO) => open(true).await?,
            opened => opened?,
        };
        let only_reads = flags & libc::O_ACCMODE == libc::O_RDONLY;
        if may_wait && only_reads && !file.is_seekable() && Stat::of(&file)?.is_fifo() {
            wait_for_writer(&file, open(true)).await?;
        }
        Ok(File::new(file, self.append))
    }

    fn to_flags(&self) -> io::Result<i32> {
        let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let access = match (self.read, self.write || self.append) {
            (true, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
            (false, false) => return invalid("open a file for reading, writing or appending"),
        };
        let changes = self.truncate || self.create || self.create_new;
        if changes && !(self.write || self.append) {
            return invalid("a file is made or cut only if it is opened for writing");
        }
        if self.temporary && !(self.write || self.append) {
            return invalid("a temporary file is opened for writing");
        }
        if self.temporary && changes {
            return invalid("a temporary file has no name: it is neither found nor cut");
        }
        if self.append && self.truncate {
            return invalid("a file cannot be cut and appended to at once");
        }
        let mut flags = access | (self.flags | self.custom_flags) & !libc::O_ACCMODE;
        for (on, flag) in [
            (self.append, libc::O_APPEND),
            (self.temporary, libc::O_TMPFILE),
            (self.truncate && !self.create_new, libc::O_TRUNC),
            (self.create, libc::O_CREAT),
            (self.create_new, libc::O_CREAT | libc::O_EXCL),
        ] {
            if on {
                flags |= flag;
            }
        }
        Ok(flags)
    }
}

/// The ring opens a named pipe without waiting for a writer (K41): so this waits until it can be opened by waiting for
/// one, or until one has come, and perhaps has gone again.
async fn wait_for_writer(pipe: &Descriptor, mut open: Op<OpenAt>) -> io::Result<()> {
    let mut ready = Op::new(Readiness::of(pipe, libc::POLLIN));
    poll_fn(|cx| match Pin::new(&mut open).poll(cx) {
        Poll::Ready(opened) => Poll::Ready(opened.map(drop)),
        Poll::Pending => Pin::new(&mut ready).poll(cx).map_ok(drop),
    })
    .await
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_flags_of_open() {
        let flags = |options: OpenOptions| options.to_flags().expect("possible");
        assert_eq!(flags(OpenOptions::new().read(true)), libc::O_RDONLY);
        assert_eq!(flags(OpenOptions::new().read(true).write(true).create(true)), libc::O_RDWR | libc::O_CREAT);
        assert_eq!(flags(OpenOptions::new().append(true)), libc::O_WRONLY | libc::O_APPEND);
        assert_eq!(flags(OpenOptions::new().write(true).temporary(true)), libc::O_WRONLY | libc::O_TMPFILE);
        let twice = OpenOptions::new().read(true).direct(true).no_follow(true).direct(false);
        assert_eq!(flags(twice), libc::O_RDONLY | libc::O_NOFOLLOW);
    }

    #[test]
    fn options_that_contradict_each_other_are_an_error() {
        for options in [
            OpenOptions::new(),
            OpenOptions::new().read(true).truncate(true),
            OpenOptions::new().read(true).create(true),
            OpenOptions::new().append(true).truncate(true),
            OpenOptions::new().read(true).temporary(true),
            OpenOptions::new().write(true).create(true).temporary(true),
        ] {
            let error = options.to_flags().expect_err("impossible");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
