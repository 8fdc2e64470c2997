//! corering: tasks, timers and files.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use corering::buf::AlignedBuf;
use corering::fs::{self, DirectFile, File};
use corering::io::{AsyncBufReadExt, BufReader};

use crate::files::work::Files;
use crate::files::{Access, Action, Block, Blocks, Done, HASH_PART, Meter, Ticker, Until, whole};
use crate::micro::{Runtime, Timers};

pub(crate) struct Local;

impl Runtime for Local {
    type Handle<T: 'static> = corering::JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        let output = Rc::new(Cell::new(None));
        let run = corering::run(async { output.set(Some(future.await)) });
        match (run, output.take()) {
            (Ok(()), Some(output)) => output,
            (Err(error), _) => {
                eprintln!("error: {error}");
                std::process::exit(1)
            }
            (Ok(()), None) => unreachable!("the future has ended"),
        }
    }

    fn spawn<F: Future + 'static>(future: F) -> corering::JoinHandle<F::Output> {
        corering::spawn(future)
    }
}

impl Timers for Local {
    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        corering::time::sleep(duration)
    }
}

/// A file, or one that passes the page cache.
pub(crate) enum Opened {
    Cached(File),
    Direct(DirectFile),
}

impl Files for Local {
    type File = Opened;
    type Block = AlignedBuf;

    fn block(bytes: usize) -> AlignedBuf {
        let mut block = AlignedBuf::new(bytes);
        block.resize(bytes, b'x');
        block
    }

    async fn open(path: &Path, access: Access) -> io::Result<Opened> {
        let options = match access.action {
            Action::Read => File::options().read(true),
            Action::Write => File::options().write(true),
        };
        if access.direct {
            return Ok(Opened::Direct(options.open_direct(path).await?));
        }
        Ok(Opened::Cached(options.open(path).await?))
    }

    async fn read_at(file: &Opened, mut block: AlignedBuf, offset: u64) -> (io::Result<usize>, AlignedBuf) {
        block.clear();
        match file {
            Opened::Cached(file) => file.read_at(block, offset).await,
            Opened::Direct(file) => file.read_at(block, offset).await,
        }
    }

    async fn write_at(file: &Opened, block: AlignedBuf, offset: u64) -> (io::Result<usize>, AlignedBuf) {
        match file {
            Opened::Cached(file) => file.write_at(block, offset).await,
            Opened::Direct(file) => {
                let (written, block) = file.write_all_at(block, offset).await;
                (written.map(|()| block.len()), block)
            }
        }
    }

    async fn read_small(path: &Path, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        fs::read_into(path, buffer).await
    }

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path).await
    }

    async fn write_small(path: &Path, content: &'static [u8]) -> io::Result<()> {
        fs::write(path, content).await
    }
}

/// One block after the other, read ahead.
pub(crate) fn read_in_order(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let path = path.to_owned();
    Local::block_on(async move {
        let file = Local::open(&path, blocks.access).await?;
        let (mut until, mut done) = (Until::by(time, blocks.bytes), 0);
        let meter = Meter::start();
        loop {
            let mut chunks = match &file {
                Opened::Cached(file) => file.chunks(blocks.bytes, blocks.depth),
                Opened::Direct(file) => file.chunks(blocks.bytes, blocks.depth),
            };
            while let Some(block) = chunks.next().await {
                whole(block?.len(), blocks.bytes)?;
                done += 1;
                if until.is_over() {
                    return Ok(meter.stop(done));
                }
            }
        }
    })
}

/// One block after the other, written behind.
pub(crate) fn write_in_order(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let path = path.to_owned();
    corering::run(async move {
        let file = File::options().write(true).open(&path).await?;
        // From the start of a page, as all others write: what is not is copied more slowly.
        let content: &'static [u8] = Box::leak(Box::new(Block::new(blocks.bytes, b'x')));
        let (mut until, mut done, mut over) = (Until::by(time, blocks.bytes), 0, false);
        let meter = Meter::start();
        while !over {
            let mut sink = file.sink(blocks.depth);
            for _ in 0..blocks.range / blocks.bytes as u64 {
                sink.write(content).await?;
                done += 1;
                over = until.is_over();
                if over {
                    break;
                }
            }
            sink.finish().await?;
        }
        Ok(meter.stop(done))
    })?
}

pub(crate) fn lines(path: &Path, time: Duration) -> io::Result<Done> {
    let path = path.to_owned();
    Local::block_on(async move {
        let (mut until, mut done) = (Until::new(time), 0);
        let mut line = String::new();
        let meter = Meter::start();
        loop {
            let mut reader = BufReader::new(File::open(&path).await?);
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

pub(crate) fn stat_tree(root: &Path) -> io::Result<Done> {
    let root = root.to_owned();
    Local::block_on(async move {
        let ticker = Ticker::<Local>::start();
        let (mut done, mut bytes) = (0, 0);
        let meter = Meter::start();
        let mut entries = fs::walk(root).metadata(true).min_depth(1);
        while let Some(entry) = entries.next().await {
            bytes += entry?.metadata().await?.len();
            done += 1;
        }
        std::hint::black_box(bytes);
        Ok(ticker.stop(meter.stop(done)).await)
    })
}

/// Several files at once.
pub(crate) fn cold(tree: &[(PathBuf, u64)]) -> io::Result<Done> {
    const AT_ONCE: usize = 16;
    let files = Rc::new((tree.to_vec(), Cell::new(0)));
    corering::run(async {
        let meter = Meter::start();
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let files = files.clone();
                corering::spawn(async move {
                    let (tree, next) = &*files;
                    while let Some((path, bytes)) = tree.get(next.replace(next.get() + 1)) {
                        let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
                        let mut chunks = File::open(path).await?.chunks(HASH_PART, 2);
                        while let Some(block) = chunks.next().await {
                            let block = block?;
                            hasher.update(&block);
                            done += block.len();
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
    })?
}
