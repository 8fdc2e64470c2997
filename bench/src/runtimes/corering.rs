//! corering.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use corering::fs::{self, File};

use super::{BLOCK, DEPTH, Offsets, Until, whole};
use crate::micro::Runtime;

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

pub(crate) fn read_hot(path: &Path, time: Duration) -> io::Result<(u64, Duration)> {
    corering::run(async {
        let file = Rc::new(File::open(path).await?);
        let start = Instant::now();
        let tasks: Vec<_> = (0..DEPTH)
            .map(|number| {
                let file = file.clone();
                corering::spawn(async move {
                    let (mut offsets, mut until) = (Offsets::new(number), Until::new(time));
                    let (mut buffer, mut done) = (Vec::with_capacity(BLOCK), 0);
                    while !until.is_over() {
                        buffer.clear();
                        let (read, back) = file.read_at(buffer, offsets.next()).await;
                        whole(read?)?;
                        buffer = back;
                        done += 1;
                    }
                    io::Result::Ok(done)
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await??;
        }
        Ok((done, start.elapsed()))
    })?
}

pub(crate) fn small_files(paths: Vec<PathBuf>, time: Duration) -> io::Result<(u64, Duration)> {
    corering::run(async {
        let files = Rc::new((paths, Cell::new(0), RefCell::new(Until::new(time))));
        let start = Instant::now();
        let tasks: Vec<_> = (0..DEPTH)
            .map(|_| {
                let files = files.clone();
                corering::spawn(async move {
                    let (paths, next, until) = &*files;
                    let mut buffer = Vec::with_capacity(BLOCK);
                    while !until.borrow_mut().is_over() {
                        let number = next.replace(next.get() + 1);
                        buffer.clear();
                        let read;
                        (read, buffer) = fs::read_into(&paths[number % paths.len()], buffer).await;
                        whole(read?)?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok((files.1.get() as u64, start.elapsed()))
    })?
}

/// Tasks and timers.
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

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        corering::time::sleep(duration)
    }
}
