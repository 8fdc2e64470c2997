//! Copying files and trees, within the kernel as far as it can.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use corering_runtime::blocking;
use corering_runtime::buf::IoBufMut as _;
use corering_runtime::op::plain::{self, FileTime, Subject};
use corering_runtime::op::{Descriptor, Metadata, Op, Read, Stat, folder};
use corering_runtime::task::JoinSet;
use corering_runtime::time::sleep;

use crate::copy_options::OfFile;
use crate::elsewhere::{change_names, with_open, write_out};
use crate::{CopyOptions, Dir, Reflink, walk};

/// What one job copies at most.
const SHARE: u64 = 32 << 20;
/// What is read and written at once where the kernel cannot copy.
const BLOCK: usize = 128 << 10;
/// How long to wait before a leased file is tried again: at first, at most, and in all, where the kernel takes 45 s unless
/// it is told otherwise.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(180);

/// Copies the contents and the permissions of a file, and says how many bytes these were. `to` is made, or cut and
/// overwritten.
///
/// Where the file system can, both then share their contents until one is changed; holes stay holes. If somebody has a lease
/// of either (`fcntl(2)`), it waits until that is given back.
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
    CopyOptions::new().copy(from, to).await
}

pub(crate) async fn file(from: &Path, to: &Path, how: OfFile) -> io::Result<u64> {
    let (from, to) = (crate::c_path(from)?, crate::c_path(to)?);
    copy_as(move || Copying::begin((None, &from), (None, &to), how)).await
}

/// Copies what a job has begun to copy.
async fn copy_as(begin: impl FnOnce() -> io::Result<Copying> + Clone + Send + 'static) -> io::Result<u64> {
    let mut copying = unleased(begin).await?;
    loop {
        match copying.next {
            Next::Over => return Ok(copying.done),
            Next::InKernel => copying = change_names(move || copying.go_on()).await?,
            Next::ByHand => {
                let (to, times) = (copying.to.clone(), copying.times);
                let done = copying.by_hand().await?;
                if let Some(times) = times {
                    change_names(move || times.give(Subject::open(&to))).await?;
                }
                return Ok(done);
            }
        }
    }
}

/// Begins when nobody else has a lease of either file any more, as file servers have them. An open that does not wait has the
/// kernel ask for it back, and fails until it is; after a while (/proc/sys/fs/lease-break-time) the kernel takes it.
async fn unleased(begin: impl FnOnce() -> io::Result<Copying> + Clone + Send + 'static) -> io::Result<Copying> {
    let (mut waited, mut pause) = (Duration::ZERO, SHORTEST_PAUSE);
    loop {
        match change_names(begin.clone()).await {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && waited < LONGEST_LEASE => sleep(pause).await,
            begun => return begun,
        }
        waited += pause;
        pause = (2 * pause).min(LONGEST_PAUSE);
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
    /// Whether the kernel has copied anything at all.
    works: bool,
    /// To be given at the end.
    times: Option<Times>,
    next: Next,
}

/// When a file was last read and changed.
#[derive(Clone, Copy)]
struct Times {
    accessed: FileTime,
    modified: FileTime,
}

impl Times {
    fn of(source: &Metadata) -> Self {
        Self { accessed: FileTime::At(source.accessed()), modified: FileTime::At(source.modified()) }
    }

    fn give(self, to: Subject<'_>) -> io::Result<()> {
        plain::set_times(to, self.accessed, self.modified)
    }
}

enum Next {
    InKernel,
    ByHand,
    Over,
}

impl Copying {
    /// In a folder, the path does not lead out of that, and no link is written through.
    fn begin(from: Place<'_>, to: Place<'_>, options: OfFile) -> io::Result<Self> {
        let resolve = |folder: Option<&Descriptor>| if folder.is_some() { libc::RESOLVE_BENEATH } else { 0 };
        let how = folder::How { flags: libc::O_RDONLY | libc::O_NONBLOCK, mode: 0, resolve: resolve(from.0) };
        let from = folder::open(from.0, from.1, how)?;
        let source = Stat::of(&from)?;
        if !source.is_file() {
            let text = "only regular files are copied: read and write others, or walk folders";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mode = source.mode() & 0o7777;
        let no_follow = if to.0.is_some() { libc::O_NOFOLLOW } else { 0 };
        let only_new = if options.overwrite { 0 } else { libc::O_EXCL };
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_NONBLOCK | no_follow | only_new;
        let to = folder::open(to.0, to.1, folder::How { flags, mode: mode & 0o777, resolve: resolve(to.0) })?;
        let target = Stat::of(&to)?;
        if source.same_file(&target) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file cannot be copied to itself"));
        }
        if target.is_file() {
            if target.len() > 0 {
                folder::set_len(&to, 0)?;
            }
            keep(&source, &target, &to, options)?;
        }
        let len = source.len();
        let has_holes = options.holes && source.blocks() * 512 < len;
        let times = (options.times && target.is_file()).then(|| Times::of(&source));
        let copying = Self { from, to, len, at: 0, done: 0, has_holes, works: false, times, next: Next::InKernel };
        // What says that it is empty may be made as it is read, as in /proc.
        if len == 0 || !target.is_file() {
            return Ok(Self { next: Next::ByHand, ..copying });
        }
        // The kernel shares what it copies where it can, and keeps holes then.
        if options.reflink == Reflink::Never || !options.holes {
            return Ok(Self { next: Next::ByHand, ..copying });
        }
        match plain::clone_file(&copying.from, &copying.to) {
            Ok(()) => Self { done: len, ..copying }.over(),
            Err(error) if options.reflink == Reflink::Always => Err(error),
            Err(_) => copying.go_on(),
        }
    }

    fn over(self) -> io::Result<Self> {
        if let Some(times) = self.times {
            times.give(Subject::open(&self.to))?;
        }
        Ok(Self { next: Next::Over, ..self })
    }

    /// Copies a share within the kernel.
    fn go_on(mut self) -> io::Result<Self> {
        let mut share = SHARE;
        while share > 0 && self.at < self.len {
            let mut end = self.len;
            if self.has_holes {
                let Some((data, hole)) = next_data(&self.from, self.at)? else {
                    break;
                };
                (self.at, end) = (data, hole.min(end));
            }
            let bytes = share.min(end.saturating_sub(self.at));
            let copied = match plain::copy_range(&self.from, self.at, &self.to, self.at, bytes as usize) {
                Ok(0) => {
                    // It has become shorter since; or, from some file systems, nothing can be copied so.
                    self.done = self.at;
                    return if self.works { self.over() } else { Ok(Self { next: Next::ByHand, ..self }) };
                }
                Ok(copied) => copied as u64,
                Err(error) if cannot(&error) => return Ok(Self { next: Next::ByHand, ..self }),
                Err(error) => return Err(error),
            };
            self.at += copied;
            share -= copied;
            self.works = true;
        }
        if share > 0 {
            if self.has_holes {
                // The last one is a hole up to the end.
                folder::set_len(&self.to, self.len)?;
            }
            self.done = self.len;
            return self.over();
        }
        Ok(self)
    }

    /// Copies what is left by reading and writing, but for holes.
    async fn by_hand(mut self) -> io::Result<u64> {
        let mut buffer = Vec::with_capacity(BLOCK);
        loop {
            let mut end = u64::MAX;
            if self.has_holes {
                let (from, at) = (self.from.clone(), self.at);
                match blocking::call(move || next_data(&from, at)).await? {
                    Some((data, hole)) => (self.at, end) = (data, hole),
                    None => {
                        // The last one is a hole up to the end.
                        let to = self.to.clone();
                        change_names(move || folder::set_len(&to, self.len)).await?;
                        return Ok(self.len);
                    }
                }
            }
            while self.at < end {
                buffer.clear();
                let most = usize::try_from(end - self.at).unwrap_or(BLOCK);
                let (read, back) = Op::new(Read::at(&self.from, buffer.limit(most), self.at)).await;
                buffer = back.into_inner();
                let count = read? as u64;
                if count == 0 {
                    return Ok(self.at);
                }
                let (written, back) = write_out(&self.to, buffer, self.at).await;
                written?;
                (buffer, self.at) = (back, self.at + count);
            }
        }
    }
}

/// Gives a copy what it is to have of the original, but for the times. The owner first: a change of that takes bits of
/// the mode away.
fn keep(source: &Metadata, target: &Metadata, to: &Descriptor, options: OfFile) -> io::Result<()> {
    let owner = |metadata: &Metadata| (metadata.uid(), metadata.gid());
    let is_given = options.ownership && owner(source) != owner(target);
    if is_given {
        plain::set_owner(Subject::open(to), Some(source.uid()), Some(source.gid()))?;
    }
    if options.permissions && (is_given || (source.mode() ^ target.mode()) & 0o7777 != 0) {
        plain::set_mode(Subject::open(to), source.mode() & 0o7777)?;
    }
    Ok(())
}

/// Where from `at` on the next bytes are that are no hole, and where the hole behind them is. Blocks.
fn next_data(file: &Descriptor, at: u64) -> io::Result<Option<(u64, u64)>> {
    let Some(data) = plain::seek_data(file, at)? else {
        return Ok(None);
    };
    Ok(Some((data, plain::seek_hole(file, data)?.unwrap_or(u64::MAX))))
}

/// A path, seen from a folder if there is one.
type Place<'a> = (Option<&'a Descriptor>, &'a CStr);

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
    /// Folders that were made, or were there, the outermost one too.
    pub dirs: u64,
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
/// What is there already is overwritten, and what else is in `to` stays. No path leads out of either folder, even if links
/// take the place of folders meanwhile: that is an error.
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
/// As [`walk`](crate::walk()) and [`copy`], several files at a time; folders and links are made by the ring.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("corering-copy-tree-{}", std::process::id()));
/// # std::fs::create_dir_all(folder.join("from/inner"))?;
/// # std::fs::write(folder.join("from/inner/file"), "hello")?;
/// corering_runtime::run(async {
///     let copied = corering_fs::copy_tree(folder.join("from"), folder.join("to")).await?;
///     assert_eq!((copied.files, copied.dirs, copied.bytes), (1, 2, 5));
///     corering_fs::remove_dir_all(&folder).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn copy_tree(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<Copied> {
    CopyOptions::new().copy_tree(from, to).await
}

pub(crate) async fn tree(from: &Path, to: &Path, options: &CopyOptions) -> io::Result<Copied> {
    let metadata = crate::metadata(from).await?;
    if !metadata.is_dir() {
        return Ok(Copied { files: 1, bytes: file(from, to, options.of_file).await?, ..Copied::default() });
    }
    refuse_inside(&metadata, from, to).await?;
    let is_new = match crate::create_dir(to).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        made => made.map(|()| true)?,
    };
    let (source, target) = (Rc::new(Dir::open(from).await?), Rc::new(Dir::open(to).await?));
    let top = Stat::of(target.descriptor())?;
    let copied = Copied { dirs: 1, ..Copied::default() };
    let folders = vec![Folder { below: PathBuf::from("."), source: metadata, is_new }];
    let mut tree = Tree { source, target, top, options, copied, files: JoinSet::new(), folders };
    let mut entries = walk(from).metadata(true).min_depth(1).follow_links(options.follow_links);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let path = entry.path();
        let below = path.strip_prefix(from).map_err(io::Error::other)?.to_path_buf();
        let metadata = entry.metadata().await?;
        tree.copy_one(path, below, &metadata).await?;
    }
    tree.finish().await
}

/// A folder that is copied into itself would never end.
async fn refuse_inside(source: &Metadata, from: &Path, to: &Path) -> io::Result<()> {
    for above in to.ancestors() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        // The real place is what counts, whatever links lead there.
        let real = match crate::canonicalize(above).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            real => real?,
        };
        for path in real.ancestors() {
            if crate::metadata(path).await?.same_file(source) {
                let text = format!("{} cannot be copied into itself, to {}", from.display(), to.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        return Ok(());
    }
    Ok(())
}

struct Tree<'a> {
    source: Rc<Dir>,
    target: Rc<Dir>,
    /// The target itself.
    top: Metadata,
    options: &'a CopyOptions,
    copied: Copied,
    files: JoinSet<io::Result<u64>>,
    folders: Vec<Folder>,
}

/// A folder that cannot have its mode and times before it is full.
struct Folder {
    below: PathBuf,
    source: Metadata,
    is_new: bool,
}

impl Tree<'_> {
    async fn copy_one(&mut self, from: PathBuf, below: PathBuf, metadata: &Metadata) -> io::Result<()> {
        if metadata.is_dir() {
            if metadata.same_file(&self.top) {
                // A link has led here.
                let text = format!("{} is the folder that is copied to", from.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            return self.make_folder(below, metadata).await;
        }
        if metadata.is_symlink() {
            return self.copy_link(&below, metadata).await;
        }
        if !metadata.is_file() {
            self.copied.left_out.push(from);
            return Ok(());
        }
        while self.files.len() >= self.options.at_once {
            self.take_one().await?;
        }
        // What a link leads to may be anywhere.
        let source = if self.options.follow_links { Err(from) } else { Ok(Rc::clone(&self.source)) };
        self.files.spawn(copy_below(source, Rc::clone(&self.target), below, self.options.of_file));
        Ok(())
    }

    async fn copy_link(&mut self, below: &Path, metadata: &Metadata) -> io::Result<()> {
        let options = self.options.of_file;
        let leads_to = self.source.read_link(below).await?;
        match self.target.symlink(&leads_to, below).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && options.overwrite => {
                self.target.remove_file(below).await?;
                self.target.symlink(&leads_to, below).await?;
            }
            made => made?,
        }
        self.copied.links += 1;
        if !options.ownership && !options.times {
            return Ok(());
        }
        let (Some(above), Some(name)) = (below.parent(), below.file_name()) else {
            return Ok(());
        };
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let folder = self.target.open_dir(above).await?;
        let (name, times) = (crate::c_path(name.as_ref())?, Times::of(metadata));
        let (user, group) = (metadata.uid(), metadata.gid());
        with_open(folder.descriptor(), move |folder| {
            let link = || Subject::below(folder, &name, false);
            if options.ownership {
                plain::set_owner(link(), Some(user), Some(group))?;
            }
            if options.times { times.give(link()) } else { Ok(()) }
        })
        .await
    }

    async fn make_folder(&mut self, below: PathBuf, source: &Metadata) -> io::Result<()> {
        let is_new = match self.target.create_dir(&below).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !self.target.symlink_metadata(&below).await?.is_dir() {
                    return Err(error);
                }
                false
            }
            made => made.map(|()| true)?,
        };
        self.copied.dirs += 1;
        self.folders.push(Folder { below, source: *source, is_new });
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
        let options = self.options.of_file;
        for Folder { below, source, is_new } in self.folders.into_iter().rev() {
            let folder = self.target.open_dir(&below).await?;
            with_open(folder.descriptor(), move |folder| {
                let made = Stat::of(folder)?;
                keep(&source, &made, folder, options)?;
                if is_new && !options.permissions && made.mode() & !source.mode() & 0o777 != 0 {
                    // What the umask has left of it.
                    plain::set_mode(Subject::open(folder), made.mode() & source.mode() & 0o777)?;
                }
                if options.times { Times::of(&source).give(Subject::open(folder)) } else { Ok(()) }
            })
            .await?;
        }
        Ok(self.copied)
    }
}

/// Copies a file from one folder, or from a path of its own, to a place in another folder. A link that is there is replaced.
async fn copy_below(
    source: Result<Rc<Dir>, PathBuf>,
    target: Rc<Dir>,
    below: PathBuf,
    options: OfFile,
) -> io::Result<u64> {
    let path = crate::c_path(&below)?;
    let (source, from) = match source {
        Ok(folder) => (Some(folder.descriptor().clone()), path.clone()),
        Err(from) => (None, crate::c_path(&from)?),
    };
    let begin = || {
        let (source, from, target, path) = (source.clone(), from.clone(), target.descriptor().clone(), path.clone());
        move || Copying::begin((source.as_ref(), &from), (Some(&target), &path), options)
    };
    match copy_as(begin()).await {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            target.remove_file(&below).await?;
            copy_as(begin()).await
        }
        copied => copied,
    }
}
