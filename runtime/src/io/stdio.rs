//! Standard input, output and error.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::read::no_room;
use super::{AsyncRead, AsyncWrite};
use crate::buf::{IoBuf, IoBufMut};
use crate::driver::file_calls;
use crate::op::standard;
use crate::op::{Descriptor, Op, Write, WriteAll, WriteVectored, read_stream};

/// More than this is not read at once.
const MOST_AT_ONCE: usize = 64 * 1024;

/// The standard input of the process; made by [`stdin`].
#[derive(Clone, Copy, Debug)]
pub struct Stdin(());

/// The standard input of the process, whatever it is: a terminal, a pipe, a file, a socket.
///
/// It is read by the ring, and no thread waits in it: so a process can end while a read is under way. Nothing is set on the
/// descriptor, which other processes share. All handles are the same: what one of them has put back, or was dropped with a read
/// in flight has brought, the next one reads. It has no buffer: use a [`BufReader`](super::BufReader) for lines (and
/// keep that, since what is in it goes with it).
///
/// If it is closed, it is empty.
///
/// # Cancel safety
///
/// A dropped read loses nothing: what arrives nevertheless, also the end that a terminal tells (Ctrl-D), is kept for the next
/// one of this process. A process that this one starts or forks into reads the same input, but not what is kept here: let it
/// begin when no read is under way, and none was dropped since the last one that ended.
///
/// # Kernel
///
/// `IORING_OP_READ`, from the descriptor's own position.
///
/// # Examples
///
/// ```no_run
/// use corering_runtime::io::{self, AsyncBufReadExt, BufReader};
///
/// corering_runtime::run(async {
///     let mut lines = BufReader::new(io::stdin()).lines();
///     while let Some(line) = lines.next_line().await? {
///         io::AsyncWrite::write_all(&mut io::stdout(), format!("{line}!\n")).await.0?;
///     }
///     io::Result::Ok(())
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub fn stdin() -> Stdin {
    Stdin(())
}

impl Stdin {
    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        file_calls::is_terminal(self.as_fd())
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        standard::input().as_fd()
    }
}

impl AsyncRead for Stdin {
    async fn read<B: IoBufMut>(&mut self, mut buffer: B) -> (io::Result<usize>, B) {
        let most = buffer.room().len().min(MOST_AT_ONCE);
        if most == 0 {
            return (Err(no_room()), buffer);
        }
        match read_stream(standard::input(), most).await {
            Ok(bytes) => (Ok(buffer.fill_from(&bytes)), buffer),
            Err(error) if is_closed(&error) => (Ok(0), buffer),
            Err(error) => (Err(error), buffer),
        }
    }

    fn put_back(&mut self, bytes: Vec<u8>) {
        standard::input().put_back(bytes);
    }
}

/// The program was started without it: as the standard library, it goes on all the same.
fn is_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// The standard output of the process; made by [`stdout`].
#[derive(Clone, Copy, Debug)]
pub struct Stdout(());

/// The standard output of the process, whatever it is: a terminal, a pipe, a file, a socket.
///
/// It is written by the ring: whoever does not read it stops nobody else here. Nothing is set on the descriptor, which other
/// processes share. All handles are the same. A write waits for one that was dropped before it, but of two that are under way
/// at once the parts may mix, as those of two processes do: await one before the next. It has no buffer: use a
/// [`BufWriter`](super::BufWriter) or a [`LineWriter`](super::LineWriter) for what is small. What `print!` collects is not
/// collected here, and so may come later.
///
/// If it is closed, what is written to it is gone.
///
/// # Cancel safety
///
/// [`write_all`](AsyncWrite::write_all), dropped in flight, goes out whole, and everything later waits for it; unless the core
/// ends before.
///
/// # Kernel
///
/// `IORING_OP_WRITE`, at the descriptor's own position.
///
/// # Examples
///
/// ```
/// use corering_runtime::io::{self, BufWriter};
///
/// corering_runtime::run(async {
///     let mut out = BufWriter::new(io::stdout());
///     for number in 0..3 {
///         out.write_all(format!("{number}\n").as_bytes()).await?;
///     }
///     out.flush().await
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The standard error of the process; made by [`stderr`].
#[derive(Clone, Copy, Debug)]
pub struct Stderr(());

/// The standard error of the process; otherwise as [`stdout`].
pub fn stderr() -> Stderr {
    Stderr(())
}

macro_rules! writes {
    ($stream:ty, $descriptor:path) => {
        impl $stream {
            /// Whether it is a terminal.
            pub fn is_terminal(&self) -> bool {
                file_calls::is_terminal(self.as_fd())
            }
        }

        impl AsFd for $stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                $descriptor().as_fd()
            }
        }

        impl AsyncWrite for $stream {
            async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
                let all = buffer.as_slice().len();
                let (result, buffer) = Op::new(Write::stream($descriptor(), buffer)).await;
                (unless_closed(result, all), buffer)
            }

            async fn write_all<B: IoBuf>(&mut self, buffer: B) -> (io::Result<()>, B) {
                let (result, buffer) = Op::new(WriteAll::stream($descriptor(), buffer)).await;
                (unless_closed(result, ()), buffer)
            }

            async fn write_vectored<B: IoBuf>(&mut self, buffers: Vec<B>) -> (io::Result<usize>, Vec<B>) {
                let all = buffers.iter().map(|buffer| buffer.as_slice().len()).sum();
                let (result, buffers) = Op::new(WriteVectored::stream($descriptor(), buffers)).await;
                (unless_closed(result, all), buffers)
            }

            async fn settled(&mut self) -> io::Result<()> {
                settle($descriptor()).await
            }

            async fn flush(&mut self) -> io::Result<()> {
                settle($descriptor()).await
            }

            /// It is not closed: others may write to it.
            async fn shutdown(&mut self) -> io::Result<()> {
                settle($descriptor()).await
            }
        }
    };
}

writes!(Stdout, standard::output);
writes!(Stderr, standard::error);

async fn settle(descriptor: &Descriptor) -> io::Result<()> {
    poll_fn(|cx| descriptor.poll_settled(cx)).await;
    Ok(())
}

fn unless_closed<T>(result: io::Result<T>, all: T) -> io::Result<T> {
    match result {
        Err(error) if is_closed(&error) => Ok(all),
        result => result,
    }
}
