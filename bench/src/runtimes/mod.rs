//! The runtimes, one file each, written the way their own documentation recommends.

pub(crate) mod blocking;
pub(crate) mod corering;
pub(crate) mod raw;
pub(crate) mod tokio;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::stats::Measured;

/// Bytes of one read, and of one small file.
pub(crate) const BLOCK: usize = 4096;
/// How many reads or files are under way at once.
pub(crate) const DEPTH: usize = 64;
const LARGE: u64 = 64 << 20;
const SMALL_FILES: usize = 10_000;

/// A file workload, in this process.
pub(crate) fn files(workload: &str, runtime: &str, time: Duration, directory: &Path) -> io::Result<Measured> {
    let (done, took) = if workload == "read-hot" {
        let path = large_file(directory)?;
        match runtime {
            "corering" => corering::read_hot(&path, time)?,
            "tokio" => tokio::read_hot(&path, time)?,
            "raw" => raw::read_hot(&path, time)?,
            _ => blocking::read_hot(&path, time)?,
        }
    } else {
        let paths = small_files(directory)?;
        match runtime {
            "corering" => corering::small_files(paths, time)?,
            "tokio" => tokio::small_files(paths, time)?,
            "raw" => raw::small_files(&paths, time)?,
            _ => blocking::small_files(&paths, time)?,
        }
    };
    let per_second = done as f64 / took.as_secs_f64();
    Ok(Measured::from([("ops_per_s".to_owned(), per_second)]))
}

/// A file to read parts of, made once, and read anew by each process so that the page cache has it.
fn large_file(directory: &Path) -> io::Result<PathBuf> {
    let path = directory.join("large");
    if !path.exists() {
        let block: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
        let part = directory.join("large.part");
        let file = File::create(&part)?;
        for offset in (0..LARGE).step_by(block.len()) {
            file.write_all_at(&block, offset)?;
        }
        file.sync_all()?;
        fs::rename(part, &path)?;
    }
    fs::read(&path)?;
    Ok(path)
}

fn small_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let root = directory.join("small");
    let paths: Vec<_> = (0..SMALL_FILES).map(|number| root.join(number.to_string())).collect();
    if !root.exists() {
        fs::create_dir(&root)?;
        for path in &paths {
            fs::write(path, [b'x'; BLOCK])?;
        }
    }
    for path in &paths {
        fs::read(path)?;
    }
    Ok(paths)
}

/// Where the reads go: the same places for every runtime.
pub(crate) struct Offsets(u64);

impl Offsets {
    pub(crate) fn new(seed: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1) << 20)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % (LARGE / BLOCK as u64) * BLOCK as u64
    }
}

/// Looks at the clock now and then.
pub(crate) struct Until {
    end: Instant,
    calls: u32,
}

impl Until {
    pub(crate) fn new(time: Duration) -> Self {
        Self { end: Instant::now() + time, calls: 0 }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.calls += 1;
        self.calls % 64 == 0 && Instant::now() >= self.end
    }
}

/// A short read of a file that is long enough is an error of the runtime, not a result.
pub(crate) fn whole(count: usize) -> io::Result<()> {
    if count == BLOCK { Ok(()) } else { Err(io::Error::other(format!("read {count} bytes instead of {BLOCK}"))) }
}
