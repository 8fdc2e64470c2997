//! corering.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use corering::fs::{self, File};

use crate::files::work::Files;
use crate::files::{Access, Action, Block, Done, HASH_PART, Meter, Ticker, whole};
use crate::micro::{Runtime, Timers};

pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    corering::run(async {
        let listener = corering::net::TcpListener::from_std(listener);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            corering::spawn(async move {
                while let Some(chunk) = stream.recv().await? {
                    stream.write_all(chunk).await.0?;
                }
                io::Result::Ok(())
            });
        }
    })?
}

/// Tasks, timers and files.
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

impl Files for Local {
    type File = File;

    async fn open(path: &Path, access: Access) -> io::Result<File> {
        let options = match access.action {
            Action::Read => File::options().read(true),
            Action::Write => File::options().write(true),
        };
        options.custom_flags(access.flags()).open(path).await
    }

    async fn read_at(file: &File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        file.read_at(block, offset).await
    }

    async fn write_at(file: &File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        file.write_at(block, offset).await
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
                    let mut part = Vec::with_capacity(HASH_PART);
                    while let Some((path, bytes)) = tree.get(next.replace(next.get() + 1)) {
                        let file = File::open(path).await?;
                        let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
                        loop {
                            part.clear();
                            let read;
                            (read, part) = file.read_at(part, done).await;
                            if read? == 0 {
                                break;
                            }
                            hasher.update(&part);
                            done += part.len() as u64;
                        }
                        whole(done as usize, *bytes as usize)?;
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
