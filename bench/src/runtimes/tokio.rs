//! tokio: a `LocalRuntime` on the core; files by its threads for what blocks.

use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader};
use ::tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use ::tokio::task;

use crate::files::work::Files;
use crate::files::{Access, Action, Block, Blocks, Done, HASH_PART, Meter, Ticker, Until, whole};
use crate::micro::{Runtime, Timers};

pub(super) fn local() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Tasks, timers and files.
pub(crate) struct Local;

impl Runtime for Local {
    type Handle<T: 'static> = task::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        match local() {
            Ok(runtime) => runtime.block_on(future),
            Err(error) => {
                eprintln!("error: {error}");
                std::process::exit(1)
            }
        }
    }

    fn spawn<F: Future + 'static>(future: F) -> task::JoinHandle<F::Output> {
        task::spawn_local(future)
    }
}

impl Timers for Local {
    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        ::tokio::time::sleep(duration)
    }
}

/// Reads and writes at a place, which `tokio::fs` does not have, are what its own files do: calls on its threads.
impl Files for Local {
    type File = Arc<std::fs::File>;
    type Block = Block;

    fn block(bytes: usize) -> Block {
        Block::new(bytes, b'x')
    }

    async fn open(path: &Path, access: Access) -> io::Result<Self::File> {
        Ok(Arc::new(access.open(path)?))
    }

    async fn read_at(file: &Self::File, mut block: Block, offset: u64) -> (io::Result<usize>, Block) {
        let file = file.clone();
        called(task::spawn_blocking(move || (file.read_at(&mut block, offset), block)).await)
    }

    async fn write_at(file: &Self::File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        let file = file.clone();
        called(task::spawn_blocking(move || (file.write_at(&block, offset), block)).await)
    }

    async fn read_small(path: &Path, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        // One trip to its threads; it makes a vector of its own.
        (::tokio::fs::read(path).await.map(|bytes| bytes.len()), buffer)
    }

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        ::tokio::fs::read(path).await
    }

    async fn write_small(path: &Path, content: &'static [u8]) -> io::Result<()> {
        // One trip, with a copy of its own.
        ::tokio::fs::write(path, content).await
    }
}

/// A call does not panic.
fn called<T>(result: Result<T, task::JoinError>) -> T {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// One block after the other by a `tokio::fs::File`, which has one operation under way.
pub(crate) fn sequential(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let path = path.to_owned();
    local()?.block_on(async move {
        let mut file = ::tokio::fs::File::from_std(blocks.access.open(&path)?);
        file.set_max_buf_size(blocks.bytes);
        let (mut offsets, mut until) = (blocks.offsets(), Until::by(time, blocks.bytes));
        let (mut block, mut done, mut position) = (Block::new(blocks.bytes, b'x'), 0, 0);
        let meter = Meter::start();
        while !until.is_over() {
            let offset = offsets.next();
            if offset != position {
                file.seek(io::SeekFrom::Start(offset)).await?;
            }
            match blocks.access.action {
                Action::Read => whole(file.read_exact(&mut block).await?, blocks.bytes)?,
                Action::Write => file.write_all(&block).await?,
            }
            position = offset + blocks.bytes as u64;
            done += 1;
        }
        file.flush().await?;
        Ok(meter.stop(done))
    })
}

/// `tokio::fs::read_dir`, folder after folder.
pub(crate) fn stat_tree(root: &Path) -> io::Result<Done> {
    let root = root.to_owned();
    Local::block_on(async move {
        let ticker = Ticker::<Local>::start();
        let (mut folders, mut done, mut bytes) = (vec![root], 0, 0);
        let meter = Meter::start();
        while let Some(folder) = folders.pop() {
            let mut entries = ::tokio::fs::read_dir(folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                let metadata = entry.metadata().await?;
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                bytes += metadata.len();
                done += 1;
            }
        }
        std::hint::black_box(bytes);
        Ok(ticker.stop(meter.stop(done)).await)
    })
}

/// Several files at once, each read by a `tokio::fs::File`.
pub(crate) fn cold(tree: &[(PathBuf, u64)]) -> io::Result<Done> {
    const AT_ONCE: usize = 16;
    let files = Rc::new((tree.to_vec(), std::cell::Cell::new(0)));
    local()?.block_on(async move {
        let meter = Meter::start();
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let files = files.clone();
                task::spawn_local(async move {
                    let (tree, next) = &*files;
                    let mut part = vec![0; HASH_PART];
                    while let Some((path, bytes)) = tree.get(next.replace(next.get() + 1)) {
                        let mut file = ::tokio::fs::File::open(path).await?;
                        let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
                        loop {
                            let count = file.read(&mut part).await?;
                            if count == 0 {
                                break;
                            }
                            hasher.update(&part[..count]);
                            done += count;
                        }
                        whole(done, *bytes as usize)?;
                        std::hint::black_box(hasher.finalize());
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(meter.stop(files.0.len() as u64))
    })
}

pub(crate) fn lines(path: &Path, time: Duration) -> io::Result<Done> {
    local()?.block_on(async {
        let (mut until, mut done) = (Until::new(time), 0);
        let mut line = String::new();
        let meter = Meter::start();
        loop {
            let mut reader = BufReader::new(::tokio::fs::File::open(path).await?);
            loop {
                line.clear();
                if reader.read_line(&mut line).await? == 0 {
                    break;
                }
                done += 1;
                if until.is_over() {
                    return Ok(meter.stop(done));
                }
            }
        }
    })
}
