//! Whole files, in one go.

use std::ffi::CStr;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use corering_runtime::buf::IoBuf;
use corering_runtime::op::{DirectSlot, Metadata, Op, OpenDirect, Operation, ReadDirect, Stat, folder};

use crate::File;
use crate::elsewhere::{change_names, write_out};

/// How much the first read asks for: shorter files are read by one submission.
const AT_ONCE: usize = 16 * 1024;
/// The page cache gives whole pages of this size, or what is before the end of the file.
const PAGE: usize = 4096;
/// How much is written by one trip to a thread: not much longer than a copy of it takes.
const AT_ONCE_WRITTEN: usize = 64 * 1024;
/// What a file of unknown length is read by, at first and then.
const BLOCK: usize = 4096;
const PART: usize = 64 * 1024;

/// Reads a whole file.
///
/// # Errors
///
/// What `open(2)` and `read(2)` say.
///
/// # Cancel safety
///
/// Dropping it cancels, and closes the file.
///
/// # Kernel
///
/// `IORING_OP_OPENAT` into a direct descriptor and `IORING_OP_READ`, submitted together; the descriptor is closed in the
/// background. Longer files, pipes, terminals and what has no page cache (/proc, tmpfs) are read until a read brings
/// nothing.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let text = corering_fs::read("/etc/hostname").await;
///     # let _ = text;
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    let (begun, mut bytes) = begin(path, Vec::with_capacity(AT_ONCE)).await;
    match begun? {
        Begun::Ended => {
            bytes.shrink_to_fit();
            Ok(bytes)
        }
        Begun::Open(slot) => read_rest(&Source::Direct(slot), bytes).await,
        Begun::Nothing => read_by_descriptor(path).await,
    }
}

/// Reads the beginning of a file into the spare capacity of a buffer, until that is full or the file ends, and says how
/// many bytes these were. Nothing is allocated for them: so one buffer does for many files.
///
/// # Errors
///
/// What `open(2)` and `read(2)` say; [`InvalidInput`](io::ErrorKind::InvalidInput) if the buffer has no spare capacity. The
/// buffer then holds what was read before.
///
/// # Cancel safety
///
/// Dropping it cancels, and closes the file. The buffer goes with it.
///
/// # Kernel
///
/// As [`read`].
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let mut buffer = Vec::with_capacity(64);
///     for path in ["/etc/hostname", "/etc/passwd"] {
///         buffer.clear();
///         let read;
///         (read, buffer) = corering_fs::read_into(path, buffer).await;
///         # if read.is_err() { continue }
///         assert!(read? <= 64);
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn read_into(path: impl AsRef<Path>, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
    let path = path.as_ref();
    let before = buffer.len();
    if before == buffer.capacity() {
        let text = "the buffer has no spare capacity to read into: clear it, or reserve some";
        return (Err(io::Error::new(io::ErrorKind::InvalidInput, text)), buffer);
    }
    let (begun, buffer) = begin(path, buffer).await;
    let source = match begun {
        Ok(Begun::Ended) => return (Ok(buffer.len() - before), buffer),
        Ok(Begun::Open(slot)) => Source::Direct(slot),
        Ok(Begun::Nothing) => match File::open(path).await {
            Ok(file) => Source::File(file),
            Err(error) => return (Err(error), buffer),
        },
        Err(error) => return (Err(error), buffer),
    };
    let offset = (buffer.len() - before) as u64;
    let (filled, buffer) = source.fill(buffer, offset).await;
    (filled.map(|()| buffer.len() - before), buffer)
}

/// Reads a whole file that is text.
///
/// # Errors
///
/// As [`read`]; [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8.
///
/// # Cancel safety
///
/// As [`read`].
///
/// # Kernel
///
/// As [`read`].
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = read(path.as_ref()).await?;
    String::from_utf8(bytes).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is not UTF-8: {}", path.as_ref().display(), error.utf8_error()),
        )
    })
}

/// Writes a whole file: made if it is not there, cut to nothing before if it is.
///
/// # Errors
///
/// What `open(2)`, `write(2)` and `close(2)` say. The file may then hold a part.
///
/// # Cancel safety
///
/// Dropped, it may leave a file that holds a part, or happen all the same; whatever comes later on names of this core waits
/// for it. For all or nothing there is [`write_atomic`](crate::write_atomic).
///
/// # Kernel
///
/// Plain calls on a thread beside the core, one trip for all of them: a kernel worker would have to do each. What is longer
/// than 64 KiB, and named pipes, go by the ring.
pub async fn write(path: impl AsRef<Path>, bytes: impl IoBuf) -> io::Result<()> {
    let path = path.as_ref();
    if bytes.as_slice().len() <= AT_ONCE_WRITTEN {
        let (c_path, copy) = (crate::c_path(path)?, bytes.as_slice().to_vec());
        match change_names(move || write_now(&c_path, &copy)).await {
            // It has no positions, or cannot be opened without waiting.
            Err(error) if needs_to_wait(&error) => {}
            written => return written,
        }
    }
    let file = File::create(path).await?;
    write_out(file.descriptor(), bytes, 0).await.0?;
    file.close().await
}

fn needs_to_wait(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| [libc::ESPIPE, libc::ENXIO, libc::EAGAIN].contains(&number))
}

/// Blocks.
fn write_now(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NONBLOCK;
    let file = folder::open(None, path, folder::How { flags, mode: 0o666, ..folder::How::default() })?;
    folder::write_all(&file, bytes, 0)?;
    folder::close(file)
}

/// What the system knows of the file at `path`, links followed.
///
/// # Errors
///
/// What `statx(2)` says.
///
/// # Kernel
///
/// `IORING_OP_STATX`, which a kernel worker does.
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    Op::new(Stat::new(crate::c_path(path.as_ref())?, true)).await
}

/// What the system knows of what is at `path`, also if that is a link.
///
/// # Errors
///
/// What `statx(2)` says.
///
/// # Kernel
///
/// As [`metadata`].
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    Op::new(Stat::new(crate::c_path(path.as_ref())?, false)).await
}

/// What the first read of a file has told.
enum Begun {
    /// It has no more bytes.
    Ended,
    /// It may have more: to be read from the direct descriptor.
    Open(DirectSlot),
    /// It could not be opened directly.
    Nothing,
}

/// Opens a file directly and reads into the spare capacity, by two operations that go to the kernel together, and that
/// it does one after the other if it has what they need in its caches. What it has to wait for is to be asked again.
async fn begin(path: &Path, buffer: Vec<u8>) -> (io::Result<Begun>, Vec<u8>) {
    let c_path = match crate::c_path(path) {
        Ok(c_path) => c_path,
        Err(error) => return (Err(error), buffer),
    };
    let Some(slot) = DirectSlot::take() else {
        return (Ok(Begun::Nothing), buffer);
    };
    let room = buffer.capacity() - buffer.len();
    let open = Op::new(OpenDirect::new(c_path, libc::O_RDONLY, &slot));
    let read = Op::new(ReadDirect::new(&slot, buffer, 0).cached());
    let (opened, (read, buffer)) = in_order(open, read).await;
    if let Err(error) = opened {
        return (Err(error), buffer);
    }
    let begun = match read {
        Ok(count) if count < room && (count == 0 || count % PAGE != 0) => Ok(Begun::Ended),
        Ok(_) => Ok(Begun::Open(slot)),
        Err(error) => match error.raw_os_error() {
            // Not cached, the open was slower than the read, or there is no page cache. (A named pipe is among these; the
            // next read then waits until a writer has come.)
            Some(libc::EAGAIN | libc::EBADF | libc::EOPNOTSUPP) => Ok(Begun::Open(slot)),
            _ => Err(error),
        },
    };
    (begun, buffer)
}

/// Awaits two operations that are submitted one after the other.
async fn in_order<A: Operation, B: Operation>(mut first: Op<A>, mut second: Op<B>) -> (A::Output, B::Output) {
    fn step<O: Operation>(op: &mut Op<O>, output: &mut Option<O::Output>, cx: &mut Context<'_>) {
        if output.is_none() {
            if let Poll::Ready(done) = Pin::new(op).poll(cx) {
                *output = Some(done);
            }
        }
    }
    let (mut first_output, mut second_output) = (None, None);
    poll_fn(move |cx| {
        step(&mut first, &mut first_output, cx);
        step(&mut second, &mut second_output, cx);
        if first_output.is_none() || second_output.is_none() {
            return Poll::Pending;
        }
        first_output.take().zip(second_output.take()).map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// A file that is read part by part.
enum Source {
    Direct(DirectSlot),
    File(File),
}

impl Source {
    async fn read(&self, buffer: Vec<u8>, offset: u64) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Source::Direct(slot) => Op::new(ReadDirect::new(slot, buffer, offset)).await,
            Source::File(file) => file.read_at(buffer, offset).await,
        }
    }

    /// Reads into the spare capacity, from `offset`, until that is full or a read brings nothing.
    async fn fill(&self, mut buffer: Vec<u8>, mut offset: u64) -> (io::Result<()>, Vec<u8>) {
        while buffer.len() < buffer.capacity() {
            let (read, back) = self.read(buffer, offset).await;
            buffer = back;
            match read {
                Ok(0) => break,
                Ok(count) => offset += count as u64,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }
}

async fn read_by_descriptor(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let expected = usize::try_from(file.metadata().await?.len()).unwrap_or(0);
    // One byte more, so that the end is found without growing; and what says nothing of its length gets some room.
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(expected.saturating_add(1).max(BLOCK))?;
    read_rest(&Source::File(file), bytes).await
}

/// Reads what comes after `bytes`, all of it.
async fn read_rest(source: &Source, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(PART)?;
        }
        let offset = bytes.len() as u64;
        let (filled, back) = source.fill(bytes, offset).await;
        filled?;
        bytes = back;
        if bytes.len() < bytes.capacity() {
            bytes.shrink_to_fit();
            return Ok(bytes);
        }
    }
}
