//! The files that are measured with: made once, brought into the page cache or out of it before each measurement.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::PAGE;

/// Bytes of the file of the reads that are hot: more than processor caches of cores hold.
pub(crate) const HOT: u64 = 64 << 20;

/// How much there is to measure with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes of the files that are read or written in order, or past the cache.
    pub(crate) large: u64,
    /// Bytes of the tree that is read cold.
    pub(crate) tree: u64,
}

/// A file of that many bytes, which are on the disk.
pub(crate) fn file(directory: &Path, bytes: u64) -> io::Result<PathBuf> {
    let content: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    made(directory.join(format!("file-{bytes}")), bytes, &content)
}

/// A text of about that many bytes: lines of 1 to 120.
pub(crate) fn text(directory: &Path, bytes: u64) -> io::Result<PathBuf> {
    let mut content = Vec::with_capacity(1 << 20);
    for number in (0..).map(|index: usize| index * 7919 % 120) {
        if content.len() + number + 1 > 1 << 20 {
            content.resize(1 << 20, b'\n');
            break;
        }
        content.resize(content.len() + number, b'a' + (number % 26) as u8);
        content.push(b'\n');
    }
    made(directory.join(format!("text-{bytes}")), bytes, &content)
}

/// Repeats `content` up to `bytes`, unless that was done before.
fn made(path: PathBuf, bytes: u64, content: &[u8]) -> io::Result<PathBuf> {
    if !path.exists() {
        let part = path.with_extension("part");
        let file = File::create(&part)?;
        for offset in (0..bytes).step_by(content.len()) {
            let count = content.len().min((bytes - offset) as usize);
            file.write_all_at(&content[..count], offset)?;
        }
        file.sync_all()?;
        fs::rename(part, &path)?;
    }
    Ok(path)
}

/// So many files of [`PAGE`] bytes, cached.
pub(crate) fn small(directory: &Path, count: usize) -> io::Result<Vec<PathBuf>> {
    let root = directory.join("small");
    let paths: Vec<_> = (0..count).map(|number| root.join(number.to_string())).collect();
    if !root.exists() {
        fs::create_dir(&root)?;
        for path in &paths {
            fs::write(path, [b'x'; PAGE])?;
        }
    }
    for path in &paths {
        fs::read(path)?;
    }
    Ok(paths)
}

/// Names in a new folder, which stays until the end.
///
/// ext4 does not give an inode away again for a minute after its file was removed, nor for five if that is not on the
/// disk yet (`recently_deleted` in `fs/ext4/ialloc.c`), and looks through all these for another: files are then made
/// tens of times slower, or twice, as it happens. So nothing is removed meanwhile, ext4 is asked to place each folder
/// anywhere on the disk, and of some the one is taken in which files are made fastest.
pub(crate) fn fresh(directory: &Path, count: usize) -> io::Result<Vec<PathBuf>> {
    const FOLDERS: usize = 8;
    const TRIED: usize = 50;
    let parent = directory.join("fresh");
    if !parent.exists() {
        fs::create_dir(&parent)?;
        spread_folders(&File::open(&parent)?);
    }
    let mut best = None;
    for _ in 0..FOLDERS {
        let folder = tempfile::Builder::new().tempdir_in(&parent)?.keep();
        let start = Instant::now();
        for number in 0..TRIED {
            File::create(folder.join(format!("tried-{number}")))?;
        }
        let took = start.elapsed();
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, folder));
        }
    }
    let (_, folder) = best.ok_or(io::ErrorKind::NotFound)?;
    Ok((0..count).map(|number| folder.join(number.to_string())).collect())
}

/// As `chattr +T`. Other file systems refuse it, and do not need it.
fn spread_folders(folder: &File) {
    const TOP: libc::c_int = 0x0002_0000;
    let mut flags: libc::c_int = 0;
    // SAFETY: `flags` is valid to write to.
    if unsafe { libc::ioctl(folder.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) } == 0 {
        flags |= TOP;
        // SAFETY: `flags` is valid to read.
        unsafe { libc::ioctl(folder.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
    }
}

/// Files of 4 KiB to 4 MiB, with their lengths: as many of each length in all, in bytes.
pub(crate) fn tree(directory: &Path, bytes: u64) -> io::Result<Vec<(PathBuf, u64)>> {
    const LENGTHS: [u64; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
    let root = directory.join(format!("tree-{bytes}"));
    let mut files = Vec::new();
    for length in LENGTHS {
        let count = (bytes / LENGTHS.len() as u64).div_ceil(length);
        // A hundred in a folder.
        files.extend(
            (0..count).map(|number| (root.join(format!("{length}-{}", number / 100)).join(number.to_string()), length)),
        );
    }
    if !root.exists() {
        let content: Vec<u8> = (0..4 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (path, length) in &files {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, &content[..*length as usize])?;
        }
        // Once for all: only what is on the disk goes out of the page cache.
        // SAFETY: takes no pointers.
        if unsafe { libc::syncfs(File::open(&root)?.as_raw_fd()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(files)
}

/// How many entries are below `root`.
pub(crate) fn count(root: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in walkdir::WalkDir::new(root) {
        entry?.metadata()?;
        count += 1;
    }
    Ok(count)
}

/// Brings a file into the page cache, and makes sure that it is there.
pub(crate) fn warm(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let (mut part, mut offset) = (vec![0; 1 << 20], 0);
    loop {
        let count = file.read_at(&mut part, offset)?;
        if count == 0 {
            return check_warm(path);
        }
        offset += count as u64;
    }
}

/// What is measured as hot has to be in the page cache: what lies idle there is taken away soon on some machines.
pub(crate) fn check_warm(path: &Path) -> io::Result<()> {
    let (cached, all) = cached(path)?;
    // The kernel may take away a few at any time, as a host of its own may ask it to.
    if cached * 100 >= all * 99 {
        return Ok(());
    }
    let what = path.display();
    Err(io::Error::other(format!("only {cached} of {all} pages of {what} stay in the page cache: is memory short?")))
}

/// Brings a file out of the page cache, and makes sure that it is gone.
pub(crate) fn evict(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let is_gone = || -> io::Result<bool> {
        // SAFETY: takes no pointers.
        let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        let (cached, all) = cached(path)?;
        // Some may be in use at this moment.
        Ok(cached * 100 <= all)
    };
    if is_gone()? {
        return Ok(());
    }
    // What is not on the disk yet cannot go.
    file.sync_all()?;
    if is_gone()? {
        return Ok(());
    }
    Err(io::Error::other(format!("{} stays in the page cache", path.display())))
}

/// How many pages of a file are in the page cache, and how many it has.
fn cached(path: &Path) -> io::Result<(usize, usize)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len() as usize;
    if bytes == 0 {
        return Ok((0, 0));
    }
    // SAFETY: a new mapping, wherever the kernel likes; it is never read.
    let map =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if map == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut pages = vec![0_u8; bytes.div_ceil(PAGE)];
    // SAFETY: our mapping, in its whole length, and a byte for each of its pages.
    let result = unsafe { libc::mincore(map, bytes, pages.as_mut_ptr()) };
    let error = io::Error::last_os_error();
    // SAFETY: our own mapping, in its whole length; nothing points into it.
    unsafe { libc::munmap(map, bytes) };
    if result != 0 {
        return Err(error);
    }
    Ok((pages.iter().filter(|page| **page & 1 == 1).count(), pages.len()))
}

/// The name of the file system of a directory, and whether it keeps its files on a device.
pub(crate) fn file_system(directory: &Path) -> io::Result<(String, bool)> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid statfs.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and `found` is valid to write to.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match found.f_type {
        libc::TMPFS_MAGIC => ("tmpfs".to_owned(), false),
        libc::EXT4_SUPER_MAGIC => ("ext4".to_owned(), true),
        libc::XFS_SUPER_MAGIC => ("xfs".to_owned(), true),
        libc::BTRFS_SUPER_MAGIC => ("btrfs".to_owned(), true),
        other => (format!("file system {other:#x}"), true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the folder of the package: the one for temporary files may be in memory.
    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory")
    }

    #[test]
    fn a_file_comes_into_the_page_cache_and_goes() {
        let directory = scratch();
        let path = file(directory.path(), 1 << 20).expect("a file");
        warm(&path).expect("warm");
        assert_eq!(cached(&path).expect("mincore"), (256, 256));
        if file_system(directory.path()).expect("statfs").1 {
            evict(&path).expect("gone");
            check_warm(&path).expect_err("not warm any more");
        }
    }

    #[test]
    fn a_tree_has_about_the_bytes_that_it_should() {
        let directory = scratch();
        let files = tree(directory.path(), 1 << 20).expect("a tree");
        let bytes: u64 = files.iter().map(|(path, _)| fs::metadata(path).expect("is there").len()).sum();
        assert_eq!(bytes, files.iter().map(|(_, length)| length).sum::<u64>());
        assert!(bytes >= 1 << 20);
    }

    #[test]
    fn a_text_has_lines() {
        let directory = scratch();
        let path = text(directory.path(), 3 << 20).expect("a text");
        let text = fs::read_to_string(path).expect("it is there");
        assert_eq!(text.len(), 3 << 20);
        let longest = text.lines().map(str::len).max();
        assert!(longest.is_some_and(|longest| longest < 120), "{longest:?}");
    }
}
