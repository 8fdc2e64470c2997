//! The file workloads: what is done, and with which files.
//!
//! ```text
//! make the files (once)  ->  bring them into the page cache, or out of it  ->  check that  ->  measure  ->  check again
//! ```
//!
//! Each runtime does the same: [`work`] has the loops, in terms of what [`work::Files`] asks of a runtime. Only the raw
//! loops, the plain calls and the programs that are run beside are written on their own.

mod block;
pub(crate) mod data;
pub(crate) mod programs;
mod ticker;
pub(crate) mod work;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use self::block::Block;
pub(crate) use self::data::Sizes;
pub(crate) use self::ticker::Ticker;
use crate::machine;
use crate::runtimes::{blocking, corering, raw_files, tokio};
use crate::stats::Measured;

/// Bytes of one random read, and of one small file.
pub(crate) const PAGE: usize = 4096;
/// How many small files are under way at once.
pub(crate) const SMALL_DEPTH: usize = 64;
const SMALL_FILES: usize = 10_000;
/// Bytes that are hashed at once.
pub(crate) const HASH_PART: usize = 256 * 1024;

/// What is done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Reads of [`PAGE`] bytes, anywhere.
    Random { cache: Cache, depth: usize },
    /// One block after the other, from the start again at the end.
    Sequential { action: Action, direct: bool, block: usize, depth: usize },
    /// Open, read, close.
    SmallFiles(How),
    /// Create, write, close.
    SmallWrites,
    /// Walks /usr, and asks what each entry is.
    StatTree,
    /// BLAKE3 of the files of a tree of which nothing is cached.
    Cold,
    /// Line after line.
    Lines,
}

/// How a small file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Into a buffer that is used again, by a read that asks for no more than its length.
    IntoBuffer,
    /// Without knowing how long it is.
    Whole,
}

/// Where random reads find their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    Hot,
    Cold,
    /// Read from the device, whatever is cached.
    Passed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) action: Action,
    pub(crate) direct: bool,
}

impl Access {
    /// For `open(2)`, beside how it is accessed.
    pub(crate) fn flags(self) -> i32 {
        if self.direct { libc::O_DIRECT } else { 0 }
    }

    /// By the standard library.
    pub(crate) fn open(self, path: &Path) -> io::Result<std::fs::File> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::File::options();
        match self.action {
            Action::Read => options.read(true),
            Action::Write => options.write(true),
        };
        options.custom_flags(self.flags()).open(path)
    }
}

/// Blocks of a file, and which of them come next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    pub(crate) access: Access,
    pub(crate) bytes: usize,
    pub(crate) depth: usize,
    pub(crate) order: Order,
    /// How much of the file is used.
    pub(crate) range: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Random,
    Ascending,
}

impl Blocks {
    /// The places that are asked for, without end.
    pub(crate) fn offsets(&self) -> Offsets {
        let state = match self.order {
            Order::Random => 0x9e37_79b9_7f4a_7c15,
            Order::Ascending => 0,
        };
        Offsets { blocks: self.range / self.bytes as u64, bytes: self.bytes as u64, order: self.order, state }
    }
}

/// Where the reads and writes go: the same places for every runtime.
#[derive(Debug)]
pub(crate) struct Offsets {
    blocks: u64,
    bytes: u64,
    order: Order,
    state: u64,
}

impl Offsets {
    pub(crate) fn next(&mut self) -> u64 {
        let block = match self.order {
            Order::Random => {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                // Scaled, not divided: that would take longer than what is measured differs by.
                ((self.state >> 32) * self.blocks) >> 32
            }
            Order::Ascending => {
                let block = if self.state < self.blocks { self.state } else { 0 };
                self.state = block + 1;
                block
            }
        };
        block * self.bytes
    }
}

/// Looks at the clock now and then.
#[derive(Debug)]
pub(crate) struct Until {
    end: Instant,
    every: u32,
    calls_left: u32,
}

impl Until {
    pub(crate) fn new(time: Duration) -> Self {
        Self { end: Instant::now() + time, every: 64, calls_left: 64 }
    }

    /// For blocks of that many bytes: the clock costs little beside a long one.
    pub(crate) fn by(time: Duration, bytes: usize) -> Self {
        let every = if bytes > PAGE { 1 } else { 64 };
        Self { every, calls_left: every, ..Self::new(time) }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.calls_left -= 1;
        if self.calls_left > 0 {
            return false;
        }
        self.calls_left = self.every;
        Instant::now() >= self.end
    }
}

/// A short read or write is an error of the runtime, not a result: all files are long enough.
pub(crate) fn whole(count: usize, expected: usize) -> io::Result<()> {
    if count == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("read or wrote {count} bytes instead of {expected}")))
}

/// Time and processor time of all threads of this process, the kernel's workers for it among them.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { cpu: machine::usage().cpu, start: Instant::now() }
    }

    pub(crate) fn stop(self, operations: u64) -> Done {
        let took = self.start.elapsed();
        Done { operations, took, cpu: Some(machine::usage().cpu - self.cpu), late_us: None }
    }
}

/// What was done, and what it took.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    pub(crate) took: Duration,
    /// Unknown of some programs.
    pub(crate) cpu: Option<Duration>,
    /// By how much a task that wants to run each millisecond was late: 99 of 100 times no more.
    pub(crate) late_us: Option<f64>,
}

/// A file workload, in this process.
pub(crate) fn run(job: Job, runtime: &str, time: Duration, sizes: Sizes, directory: &Path) -> io::Result<Measured> {
    let mut measured = Measured::new();
    let done = match job {
        Job::Random { cache, depth } => {
            let bytes = if cache == Cache::Hot { data::HOT } else { sizes.large };
            let path = data::file(directory, bytes)?;
            match cache {
                Cache::Hot => data::warm(&path)?,
                Cache::Cold => data::evict(&path)?,
                Cache::Passed => {}
            }
            let access = Access { action: Action::Read, direct: cache == Cache::Passed };
            let blocks = Blocks { access, bytes: PAGE, depth, order: Order::Random, range: bytes };
            let done = read_or_write(runtime, &path, blocks, time)?;
            if cache == Cache::Hot {
                data::check_warm(&path)?;
            }
            done
        }
        Job::Sequential { action, direct, block, depth } => {
            let path = data::file(directory, sizes.large)?;
            if direct {
                data::evict(&path)?;
            } else {
                data::warm(&path)?;
            }
            let access = Access { action, direct };
            let blocks = Blocks { access, bytes: block, depth, order: Order::Ascending, range: sizes.large };
            let done = read_or_write(runtime, &path, blocks, time)?;
            if action == Action::Write {
                // Not measured: the next round begins with nothing to be written back.
                std::fs::File::open(&path)?.sync_all()?;
            }
            measured
                .insert("mb_per_s".to_owned(), done.operations as f64 * block as f64 / 1e6 / done.took.as_secs_f64());
            done
        }
        Job::SmallFiles(how) => {
            let paths = data::small(directory, small_count(time))?;
            match runtime {
                "std" => blocking::small_files(how, &paths, time)?,
                "raw" => raw_files::small_files(&paths, time)?,
                _ => work::small_files(runtime, how, paths, time)?,
            }
        }
        Job::SmallWrites => {
            let paths = data::fresh(directory, small_count(time))?;
            match runtime {
                "std" => blocking::small_writes(&paths)?,
                "raw" => raw_files::small_writes(&paths)?,
                _ => work::small_writes(runtime, paths)?,
            }
        }
        Job::StatTree => {
            let root = Path::new(if is_trial(time) { "/usr/share" } else { "/usr" });
            // Once for the caches of names.
            data::count(root)?;
            match runtime {
                "std" => blocking::stat_tree(root)?,
                "tokio" => tokio::stat_tree(root)?,
                _ => corering::stat_tree(root)?,
            }
        }
        Job::Cold => {
            let tree = data::tree(directory, sizes.tree)?;
            for (path, _) in &tree {
                data::evict(path)?;
            }
            let bytes: u64 = tree.iter().map(|(_, bytes)| bytes).sum();
            let done = match runtime {
                "std" => blocking::cold(&tree)?,
                "tokio" => tokio::cold(&tree)?,
                "b3sum" => programs::b3sum(&tree)?,
                "fio" => programs::fio_whole(directory, bytes)?,
                _ => corering::cold(&tree)?,
            };
            if runtime == "fio" {
                // Not files: the megabytes are compared.
                return Ok(Measured::from([(
                    "mb_per_s".to_owned(),
                    done.operations as f64 * 1.048_576 / done.took.as_secs_f64(),
                )]));
            }
            measured.insert("mb_per_s".to_owned(), bytes as f64 / 1e6 / done.took.as_secs_f64());
            done
        }
        Job::Lines => {
            let path = data::text(directory, sizes.large)?;
            data::warm(&path)?;
            match runtime {
                "std" => blocking::lines(&path, time)?,
                "tokio" => tokio::lines(&path, time)?,
                _ => corering::lines(&path, time)?,
            }
        }
    };
    measured.insert("ops_per_s".to_owned(), done.operations as f64 / done.took.as_secs_f64());
    if let Some(cpu) = done.cpu {
        measured.insert("cpu_ns_per_op".to_owned(), cpu.as_nanos() as f64 / done.operations as f64);
    }
    if let Some(late) = done.late_us {
        measured.insert("late_p99_us".to_owned(), late);
    }
    Ok(measured)
}

/// Whether this is only to see that it works.
fn is_trial(time: Duration) -> bool {
    time < Duration::from_millis(50)
}

fn small_count(time: Duration) -> usize {
    if is_trial(time) { SMALL_FILES / 10 } else { SMALL_FILES }
}

fn read_or_write(runtime: &str, path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    match runtime {
        "std" => blocking::blocks(path, blocks, time),
        "raw" => raw_files::blocks(path, blocks, time),
        "raw-nowait" => raw_files::reads_by_calls(path, blocks, time),
        "fio" => programs::fio(path, blocks, time),
        "tokio-fs" => tokio::sequential(path, blocks, time),
        "corering" => match (blocks.order, blocks.access) {
            (Order::Ascending, Access { action: Action::Read, .. }) => corering::read_in_order(path, blocks, time),
            (Order::Ascending, Access { action: Action::Write, direct: false }) => {
                corering::write_in_order(path, blocks, time)
            }
            // Random places; and direct writes, whose buffers come back only so.
            _ => work::blocks(runtime, path, blocks, time),
        },
        _ => work::blocks(runtime, path, blocks, time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Access = Access { action: Action::Read, direct: false };

    #[test]
    fn ascending_blocks_begin_again_at_the_end() {
        let blocks = Blocks { access: READ, bytes: 10, depth: 1, order: Order::Ascending, range: 35 };
        let mut offsets = blocks.offsets();
        let found: Vec<_> = (0..7).map(|_| offsets.next()).collect();
        assert_eq!(found, [0, 10, 20, 0, 10, 20, 0], "three whole blocks fit");
    }

    #[test]
    fn random_blocks_lie_within_the_range() {
        let blocks = Blocks { access: READ, bytes: PAGE, depth: 1, order: Order::Random, range: 1 << 20 };
        let mut offsets = blocks.offsets();
        let mut found: Vec<_> = (0..4096).map(|_| offsets.next()).collect();
        assert!(found.iter().all(|offset| offset % PAGE as u64 == 0 && *offset < 1 << 20));
        found.sort_unstable();
        found.dedup();
        assert!(found.len() > 200, "{} of 256 places", found.len());
    }
}
