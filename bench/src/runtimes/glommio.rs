//! glommio: files through the page cache by `BufferedFile`, past it by `DmaFile`, with buffers of its own.

use std::future::Future;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::path::{Path, PathBuf};

use ::glommio::io::{BufferedFile, DmaFile, OpenOptions};
use ::glommio::net::{TcpListener, UnixListener};
use ::glommio::{LocalExecutorBuilder, Placement, Task};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::files::work::Files;
use crate::files::{Access, Action, Block};
use crate::micro::Runtime;
use crate::network::server::{Listening, announce, buffer_bytes};

pub(crate) struct Local;

impl Runtime for Local {
    type Handle<T: 'static> = Task<T>;

    fn block_on<F: Future + 'static>(future: F) -> F::Output
    where
        F::Output: 'static,
    {
        // This process is on one core already.
        match LocalExecutorBuilder::new(Placement::Unbound).ring_depth(1024).make() {
            Ok(executor) => executor.run(future),
            Err(error) => {
                eprintln!("error: {error}");
                std::process::exit(1)
            }
        }
    }

    fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
        ::glommio::spawn_local(future)
    }
}

pub(crate) enum File {
    Buffered(BufferedFile),
    Direct(DmaFile),
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
        if access.direct {
            return Ok(File::Direct(options.dma_open(path).await?));
        }
        Ok(File::Buffered(options.buffered_open(path).await?))
    }

    async fn read_at(file: &File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        let read = match file {
            File::Buffered(file) => file.read_at(offset, block.len()).await,
            File::Direct(file) => file.read_at_aligned(offset, block.len()).await,
        };
        (read.map(|bytes| bytes.len()).map_err(io::Error::from), block)
    }

    async fn write_at(file: &File, block: Block, offset: u64) -> (io::Result<usize>, Block) {
        // A buffer is given up with each write.
        let written = match file {
            File::Buffered(file) => file.write_at(vec![0; block.len()], offset).await,
            File::Direct(file) => file.write_at(file.alloc_dma_buffer(block.len()), offset).await,
        };
        (written.map_err(io::Error::from), block)
    }

    async fn read_small(path: &Path, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let read = async {
            let file = BufferedFile::open(path).await?;
            let count = file.read_at(0, buffer.capacity()).await?.len();
            file.close().await?;
            Ok(count)
        };
        (read.await, buffer)
    }

    /// It has no call for that.
    async fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
        let file = BufferedFile::open(path).await?;
        let bytes = file.file_size().await?;
        let content = file.read_at(0, bytes as usize).await?.to_vec();
        file.close().await?;
        Ok(content)
    }

    async fn write_small(path: &Path, content: &'static [u8]) -> io::Result<()> {
        let file = BufferedFile::create(path).await?;
        file.write_at(content.to_vec(), 0).await?;
        file.close().await?;
        Ok(())
    }
}

pub(crate) fn echo(listening: Listening, message: usize) -> io::Result<()> {
    let bytes = buffer_bytes(message);
    let Listening::Tcp(listener) = listening else {
        return Err(io::Error::other("its Unix sockets it makes itself"));
    };
    Local::block_on(async move {
        // SAFETY: the listener has just given it up.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            ::glommio::spawn_local(answer(stream, bytes)).detach();
        }
    })
}

/// It takes no Unix socket that is open already.
pub(crate) fn echo_unix(path: PathBuf, message: usize) -> io::Result<()> {
    let bytes = buffer_bytes(message);
    Local::block_on(async move {
        let listener = UnixListener::bind(&path)?;
        announce(path.display());
        loop {
            ::glommio::spawn_local(answer(listener.accept().await?, bytes)).detach();
        }
    })
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; bytes];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
