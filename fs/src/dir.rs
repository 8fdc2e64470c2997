//! The names in one folder.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use corering_runtime::blocking;
use corering_runtime::op::{Descriptor, folder, poll_names_settled};
use futures_core::Stream;

use crate::listing::{DirEntry, Listing, Wanted};

/// So many names are fetched at once, and a few more.
const AT_ONCE: usize = 1024;

/// The names in a folder, in no order, without "." and "..".
///
/// # Errors
///
/// What `open(2)` says, and `ENOTDIR` if it is no folder.
///
/// # Cancel safety
///
/// May be dropped; nothing is left open.
///
/// # Kernel
///
/// `getdents64(2)`, which the ring does not have: on a thread beside the core, many names at a time.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let mut names = corering_fs::read_dir("/etc").await?;
///     while let Some(entry) = names.next().await {
///         let entry = entry?;
///         if entry.file_type().is_dir() {
///             println!("{}", entry.path().display());
///         }
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path: Arc<Path> = path.as_ref().into();
    let c_path = crate::c_path(&path)?;
    poll_fn(poll_names_settled).await;
    let job = move || {
        let how = folder::How::new(libc::O_RDONLY | libc::O_DIRECTORY);
        let open = folder::open(None, &c_path, how)?;
        Part::read(open, path)
    };
    let first = blocking::call(job).await?;
    Ok(ReadDir { part: first, next: 0, coming: None })
}

/// The names in a folder that is open for nobody else.
pub(crate) async fn read_open(open: Descriptor, path: &Path) -> io::Result<ReadDir> {
    let path: Arc<Path> = path.into();
    poll_fn(poll_names_settled).await;
    let first = blocking::call(move || Part::read(open, path)).await?;
    Ok(ReadDir { part: first, next: 0, coming: None })
}

/// The names in a folder; made by [`read_dir`].
///
/// What is made or removed while it is read may be among them or not.
pub struct ReadDir {
    part: Part,
    next: usize,
    coming: Option<Coming>,
}

type Coming = Pin<Box<dyn Future<Output = io::Result<Part>>>>;

/// Some of the names, and the folder if there may be more.
struct Part {
    names: Arc<Listing>,
    open: Option<Descriptor>,
}

impl Part {
    fn read(open: Descriptor, path: Arc<Path>) -> io::Result<Self> {
        let (names, more) = Listing::read(&open, path, Wanted::default(), AT_ONCE, &mut Vec::new())?;
        Ok(Self { names: Arc::new(names), open: more.then_some(open) })
    }
}

impl ReadDir {
    /// The next name; `None` when there are no more.
    ///
    /// # Errors
    ///
    /// What `getdents64(2)` says. Then there are no more names.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no name.
    ///
    /// # Kernel
    ///
    /// As [`read_dir`], when what one trip to a thread has brought is used up.
    pub async fn next(&mut self) -> Option<io::Result<DirEntry>> {
        poll_fn(|cx| self.poll_entry(cx)).await
    }

    /// The folder, as it was given.
    pub fn path(&self) -> PathBuf {
        self.part.names.folder.to_path_buf()
    }

    pub(crate) fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<DirEntry>>> {
        loop {
            if self.next < self.part.names.len() {
                self.next += 1;
                return Poll::Ready(Some(Ok(DirEntry::new(&self.part.names, self.next - 1, 1))));
            }
            if let Some(open) = self.part.open.take() {
                let path = Arc::clone(&self.part.names.folder);
                self.coming = Some(Box::pin(blocking::call(move || Part::read(open, path))));
            }
            let Some(coming) = &mut self.coming else {
                return Poll::Ready(None);
            };
            let part = std::task::ready!(coming.as_mut().poll(cx));
            self.coming = None;
            match part {
                Ok(part) => (self.part, self.next) = (part, 0),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(cx)
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadDir({:?})", self.path())
    }
}
