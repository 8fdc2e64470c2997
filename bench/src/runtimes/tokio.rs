//! tokio: a `LocalRuntime` on the core for sockets and tasks, its multi-thread runtime with `tokio::fs` for files.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use ::tokio::task;

use super::{BLOCK, DEPTH, Offsets, Until, whole};
use crate::micro::Runtime;

/// Bytes of the buffer of each connection.
fn buffer_bytes(message: usize) -> usize {
    if message <= 4096 { 4096 } else { 32768 }
}

fn local() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

pub(crate) fn serve(listener: TcpListener, message: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    local()?.block_on(async {
        let listener = ::tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            task::spawn_local(async move {
                let mut buffer = vec![0; buffer_bytes(message)];
                loop {
                    let count = stream.read(&mut buffer).await?;
                    if count == 0 {
                        return io::Result::Ok(());
                    }
                    stream.write_all(&buffer[..count]).await?;
                }
            });
        }
    })
}

pub(crate) fn read_hot(path: &Path, time: Duration) -> io::Result<(u64, Duration)> {
    use std::os::unix::fs::FileExt;
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let file = Arc::new(std::fs::File::open(path)?);
        let start = Instant::now();
        let tasks: Vec<_> = (0..DEPTH)
            .map(|number| {
                let file = file.clone();
                task::spawn(async move {
                    let (mut offsets, mut until) = (Offsets::new(number), Until::new(time));
                    let (mut buffer, mut done) = (vec![0; BLOCK], 0);
                    while !until.is_over() {
                        // tokio::fs has no positioned reads; this is what its own files do for a read.
                        let (file, offset) = (file.clone(), offsets.next());
                        let (read, back) =
                            task::spawn_blocking(move || (file.read_at(&mut buffer, offset), buffer)).await?;
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
    })
}

pub(crate) fn small_files(paths: Vec<PathBuf>, time: Duration) -> io::Result<(u64, Duration)> {
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let files = Arc::new((paths, AtomicUsize::new(0)));
        let start = Instant::now();
        let tasks: Vec<_> = (0..DEPTH)
            .map(|_| {
                let files = files.clone();
                task::spawn(async move {
                    let (paths, next) = &*files;
                    while start.elapsed() < time {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        whole(::tokio::fs::read(&paths[number % paths.len()]).await?.len())?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok((files.1.load(Ordering::Relaxed) as u64, start.elapsed()))
    })
}

/// Tasks and timers.
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

    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        ::tokio::time::sleep(duration)
    }
}
