//! Copying files and trees, within the kernel as far as it can.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use corering_runtime::op::plain::{self, Subject};
use corering_runtime::op::{Descriptor, Metadata, Op, Read, Stat, WriteAll, folder};
use corering_runtime::task::JoinSet;

use crate::elsewhere::change_names;
use crate::walk;

/// What one job copies at most.
const SHARE: u64 = 32 << 20;
/// What is read and written at once where the kernel cannot copy.
const BLOCK: usize = 128 << 10;
/// Files of a tree that are copied side by side.
const AT_ONCE: usize = 32;

/// Copies the contents and the permissions of a file, and says how many bytes these were. `to` is made, or cut and
/// overwritten.
///
/// Where the file system can, both then share their contents until one is changed; holes stay holes.
///
/// # Errors
///
/// What `open(2)` and the like say. [`InvalidInput`](io::ErrorKind::InvalidInput) if `from` is no regular file, or if both
/// are the same one. `to` may then hold a part.
///
/// # Cancel safety
///
/// Dropped, it stops after the few megabytes that are under way, and `to` holds a part; whatever comes later on names of
/// this core waits for these. For a copy that is there whole or not at all, copy to a name of your own and rename it.
///
/// # Kernel
///
/// `FICLONE`, `copy_file_range(2)`, on a thread beside the core: one trip for a small file. What these cannot do (devices,
/// /proc, from one file system to another) is read and written by the ring.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("corering-copy-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let (from, to) = (folder.join("from"), folder.join("to"));
/// corering_runtime::run(async {
///     corering_fs::write(&from, "hello").await?;
///     assert_eq!(corering_fs::copy(&from, &to).await?, 5);
///     assert_eq!(corering_fs::read(&to).await?, b"hello");
///     std::io::Result::Ok(())
/// })??;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let (from, to) = (crate::c_path(from.as_ref())?, crate::c_path(to.as_ref())?);
    let mut copying = change_names(move || Copying::begin(&from, &to)).await?;
    loop {
        match copying.next {
            Next::Over => return Ok(copying.done),
            Next::InKernel => copying = change_names(move || copying.go_on()).await?,
            Next::ByHand => return copying.by_hand().await,
        }
    }
}

/// A copy under way, between two jobs.
struct Copying {
    from: Descriptor,
    to: Descriptor,
    len: u64,
    /// Where it goes on.
    at: u64,
    /// Bytes that have been copied, with the holes among them.
    done: u64,
    has_holes: bool,
    next: Next,
}

enum Next {
    InKernel,
    ByHand,
    Over,
}

impl Copying {
    fn begin(from: &CString, to: &CString) -> io::Result<Self> {
        let how = folder::How { flags: libc::O_RDONLY | libc::O_NONBLOCK, ..folder::How::default() };
        let from = folder::open(None, from, how)?;
        let source = Stat::of(&from)?;
        if !source.is_file() {
            let text = "only regular files are copied: read and write others, or walk folders";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mode = source.mode() & 0o7777;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NONBLOCK;
        let to = folder::open(None, to, folder::How { flags, mode: mode & 0o777, ..folder::How::default() })?;
        let target = Stat::of(&to)?;
        if source.same_file(&target) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file cannot be copied to itself"));
        }
        if target.is_file() {
            if target.len() > 0 {
                folder::set_len(&to, 0)?;
            }
            if target.mode() & 0o7777 != mode {
                plain::set_mode(Subject::open(&to), mode)?;
            }
        }
        let len = source.len();
        let has_holes = source.blocks() * 512 < len;
        let copying = Self { from, to, len, at: 0, done: 0, has_holes, next: Next::InKernel };
        // What says that it is empty may be made as it is read, as in /proc.
        if len == 0 || !target.is_file() {
            return Ok(Self { next: Next::ByHand, ..copying });
        }
        if plain::clone_file(&copying.from, &copying.to).is_ok() {
            return Ok(Self { done: len, next: Next::Over, ..copying });
        }
        copying.go_on()
    }

    /// Copies a share within the kernel.
    fn go_on(mut self) -> io::Result<Self> {
        let mut share = SHARE;
        while share > 0 && self.at < self.len {
            let mut end = self.len;
            if self.has_holes {
                let Some(data) = plain::seek_data(&self.from, self.at)? else {
                    break;
                };
                self.at = data;
                end = plain::seek_hole(&self.from, data)?.unwrap_or(end).min(end);
            }
            let bytes = share.min(end.saturating_sub(self.at));
            let copied = match plain::copy_range(&self.from, self.at, &self.to, self.at, bytes as usize) {
                Ok(0) => {
                    // It has become shorter since; or, from some file systems, nothing can be copied so.
                    self.next = if self.at == 0 { Next::ByHand } else { Next::Over };
                    self.done = self.at;
                    return Ok(self);
                }
                Ok(copied) => copied as u64,
                Err(error) if cannot(&error) => return Ok(Self { next: Next::ByHand, ..self }),
                Err(error) => return Err(error),
            };
            self.at += copied;
            share -= copied;
        }
        if share > 0 {
            if self.has_holes {
                // The last one is a hole up to the end.
                folder::set_len(&self.to, self.len)?;
            }
            (self.done, self.next) = (self.len, Next::Over);
        }
        Ok(self)
    }

    /// Copies what is left by reading and writing, until a read brings nothing.
    async fn by_hand(self) -> io::Result<u64> {
        let mut at = self.at;
        let mut buffer = Vec::with_capacity(BLOCK);
        loop {
            buffer.clear();
            let (read, back) = Op::new(Read::at(&self.from, buffer, at)).await;
            let count = read?;
            if count == 0 {
                return Ok(at);
            }
            let (written, back) = Op::new(WriteAll::at(&self.to, back, at)).await;
            written?;
            (buffer, at) = (back, at + count as u64);
        }
    }
}

/// Whether the kernel cannot copy from the one to the other.
fn cannot(error: &io::Error) -> bool {
    let numbers = [libc::EXDEV, libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS, libc::EPERM, libc::EBADF, libc::ETXTBSY];
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

/// What [`copy_tree`] has copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Folders that were made, or were there.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of the files, with holes.
    pub bytes: u64,
    /// Named pipes, sockets and devices, which are left out.
    pub left_out: Vec<PathBuf>,
}

/// Copies a folder with everything in it to `to`, which is made if it is not there; a file is copied as [`copy`] does it.
/// Permissions are kept, symbolic links stay links, files with several names become several files.
///
/// What is there already is overwritten, and what else is in `to` stays.
///
/// # Errors
///
/// The first that there is; files under way are then still copied, and all that was copied stays.
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `to` is in `from`.
///
/// # Cancel safety
///
/// Dropped, it stops; what was copied stays.
///
/// # Kernel
///
/// As [`walk`](crate::walk()) for the names and [`copy`] for the files, several at a time: all on threads beside the
/// core, but for folders and links, which are made by the ring.
pub async fn copy_tree(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<Copied> {
    let (from, to) = (from.as_ref(), to.as_ref());
    refuse_inside(from, to).await?;
    let mut tree = Tree { copied: Copied::default(), files: JoinSet::new(), modes: Vec::new() };
    let mut entries = walk(from).metadata(true);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let path = entry.path();
        let below = path.strip_prefix(from).unwrap_or(Path::new(""));
        let target = if below.as_os_str().is_empty() { to.to_path_buf() } else { to.join(below) };
        let metadata = entry.metadata().await?;
        tree.copy_one(path, target, &metadata).await?;
    }
    tree.finish().await
}

/// A folder that is copied into itself would never end.
async fn refuse_inside(from: &Path, to: &Path) -> io::Result<()> {
    let source = crate::metadata(from).await?;
    if !source.is_dir() {
        return Ok(());
    }
    let mut above = Some(to);
    while let Some(path) = above {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match crate::metadata(path).await {
            Ok(metadata) if metadata.same_file(&source) => {
                let text = format!("{} cannot be copied into itself, to {}", from.display(), to.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            // The real place is what counts, whatever links lead there.
            Ok(_) => {
                let path = crate::canonicalize(path).await?;
                for path in path.ancestors() {
                    if crate::metadata(path).await?.same_file(&source) {
                        let text = format!("{} cannot be copied into itself, to {}", from.display(), to.display());
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                    }
                }
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => above = path.parent(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Tree {
    copied: Copied,
    files: JoinSet<io::Result<u64>>,
    /// Of folders that cannot have theirs before they are full.
    modes: Vec<(PathBuf, u32)>,
}

impl Tree {
    async fn copy_one(&mut self, from: PathBuf, to: PathBuf, metadata: &Metadata) -> io::Result<()> {
        if metadata.is_dir() {
            return self.make_folder(to, metadata.mode() & 0o7777).await;
        }
        if metadata.is_symlink() {
            let target = crate::read_link(&from).await?;
            match crate::symlink(&target, &to).await {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    crate::remove_file(&to).await?;
                    crate::symlink(&target, &to).await?;
                }
                made => made?,
            }
            self.copied.links += 1;
            return Ok(());
        }
        if !metadata.is_file() {
            self.copied.left_out.push(from);
            return Ok(());
        }
        while self.files.len() >= AT_ONCE {
            self.take_one().await?;
        }
        self.files.spawn(async move { copy(from, to).await });
        Ok(())
    }

    async fn make_folder(&mut self, path: PathBuf, mode: u32) -> io::Result<()> {
        match crate::create_dir(&path).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !crate::metadata(&path).await?.is_dir() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        self.copied.folders += 1;
        self.modes.push((path, mode));
        Ok(())
    }

    async fn take_one(&mut self) -> io::Result<bool> {
        let Some(ended) = self.files.join_next().await else {
            return Ok(false);
        };
        self.copied.bytes += ended.map_err(io::Error::other)??;
        self.copied.files += 1;
        Ok(true)
    }

    async fn finish(mut self) -> io::Result<Copied> {
        while self.take_one().await? {}
        // Inner folders first: an outer one may allow nothing.
        let modes = self.modes.into_iter().rev();
        for (path, mode) in modes {
            crate::set_permissions(&path, crate::Permissions::from_mode(mode)).await?;
        }
        Ok(self.copied)
    }
}
