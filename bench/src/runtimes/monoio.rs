//! monoio, with the flags of the ring that are fastest on new kernels, which it leaves off by default.

use std::future::Future;
use std::io;
use std::path::Path;

use ::monoio::fs::{File, OpenOptions};
use ::monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use ::monoio::net::{TcpListener, UnixListener};
use ::monoio::task::JoinHandle;
use ::monoio::{IoUringDriver, RuntimeBuilder};

use crate::files::work::Files;
use crate::files::{Access, Action, Block};
use crate::micro::Runtime;
use crate::network::server::{Listening, buffer_bytes};

pub(crate) struct Local;

impl Runtime for Local {
    type Handle<T: 'static> = JoinHandle<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        let mut ring = io_uring_of_monoio::IoUring::builder();
        ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_defer_taskrun();
        match RuntimeBuilder::<IoUringDriver>::new().with_entries(1024).uring_builder(ring).build() {
            Ok(mut runtime) => runtime.block_on(future),
            Err(error) => {
                eprintln!("error: {error}");
                std::process::exit(1)
            }
        }
    }

    fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
        ::monoio::spawn(future)
    }
}

impl Files for Local {
    type File = File;
    type Block = Block;

    fn block(bytes: usize) -> Block {
        Block::new(bytes, b'x')
    }

    async fn open(path: &Path, access: Access) -> io::Result<File> {
        let mut options = OpenOptions::new();
        match access.action {
            Action::Read => options.read(true),
            Action::Write => options.write(true),
        };
        // It has no flags of the system's own.
        if access.direct {
            return File::from_std(access.open(path)?);
        }
        options.open(path).await
    }

    async fn read_at(file: &File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        file.read_at(block, offset).await
    }

    async fn write_at(file: &File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        file.write_at(block, offset).await
    }

    async fn read_small(path: &Path, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let file = match File::open(path).await {
            Ok(file) => file,
            Err(error) => return (Err(error), buffer),
        };
        let (read, buffer) = file.read_at(buffer, 0).await;
        (file.close().await.and(read), buffer)
    }

    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        ::monoio::fs::read(path).await
    }

    async fn write_small(path: &Path, content: &'static [u8]) -> io::Result<()> {
        let file = File::create(path).await?;
        file.write_all_at(content, 0).await.0?;
        file.close().await
    }
}

pub(crate) fn echo(listening: Listening, message: usize) -> io::Result<()> {
    let bytes = buffer_bytes(message);
    Local::block_on(async move {
        match listening {
            Listening::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    ::monoio::spawn(answer(stream, bytes));
                }
            }
            Listening::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                loop {
                    ::monoio::spawn(answer(listener.accept().await?.0, bytes));
                }
            }
        }
    })
}

async fn answer(mut stream: impl AsyncReadRent + AsyncWriteRent, bytes: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(bytes);
    loop {
        let (count, full) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        let (sent, back) = stream.write_all(full).await;
        sent?;
        buffer = back;
    }
}
