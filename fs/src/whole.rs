//! Whole files, in one go.

use std::io;
use std::path::Path;

use corering_runtime::op::{CloseDirect, DirectSlot, Metadata, Op, OpenDirect, ProbeDirect, ReadDirect, Stat, chain};

use crate::File;

/// Files that are shorter are read by one submission.
const AT_ONCE: usize = 16 * 1024;
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
/// A file shorter than 16 KiB is opened, read and closed by one submission of linked operations on a direct
/// descriptor. Pipes, terminals and what has no page cache (/proc, tmpfs) are read until a read brings nothing.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let text = corering_fs::read("/etc/hostname").await;
///     # let _ = text;
/// })?;
/// # Ok::<(), corering_runtime::SetupError>(())
/// ```
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    match read_at_once(path).await {
        Some(result) => result,
        None => read_in_parts(path).await,
    }
}

/// Reads a whole file that is text.
///
/// # Errors
///
/// As [`read`]; [`InvalidData`](io::ErrorKind::InvalidData) if it is not UTF-8.
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
/// Dropped, it may leave a file that holds a part.
pub async fn write(path: impl AsRef<Path>, bytes: impl corering_runtime::buf::IoBuf) -> io::Result<()> {
    let file = File::create(path).await?;
    file.write_all_at(bytes, 0).await.0?;
    file.close().await
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
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    Op::new(Stat::new(crate::c_path(path.as_ref())?, false)).await
}

/// Opens, reads and closes in one chain. `None` if that does not tell the whole file: it is too long, or its length
/// cannot be told from one read.
async fn read_at_once(path: &Path) -> Option<io::Result<Vec<u8>>> {
    let c_path = match crate::c_path(path) {
        Ok(path) => path,
        Err(error) => return Some(Err(error)),
    };
    let slot = DirectSlot::take()?;
    let open = OpenDirect::new(c_path, libc::O_RDONLY, &slot);
    let probe = ProbeDirect::new(&slot);
    let whole = ReadDirect::new(&slot, Vec::with_capacity(AT_ONCE), 0);
    let close = CloseDirect::new(slot);
    let (opened, probed, (read, mut bytes), _) =
        chain((Op::new(open), Op::new(probe), Op::new(whole).always(), Op::new(close))).await;
    if let Err(error) = opened {
        return Some(Err(error));
    }
    match (probed, read) {
        (Err(_), _) => None,
        (Ok(()), Ok(count)) if count < AT_ONCE => {
            bytes.shrink_to_fit();
            Some(Ok(bytes))
        }
        (Ok(()), Ok(_)) => None,
        (Ok(()), Err(error)) => Some(Err(error)),
    }
}

async fn read_in_parts(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let expected = usize::try_from(file.metadata().await?.len()).unwrap_or(0);
    // One byte more, so that the end is found without growing; and what says nothing of its length gets some room.
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(expected.saturating_add(1).max(BLOCK))?;
    loop {
        if bytes.spare_capacity_mut().is_empty() {
            bytes.try_reserve(PART)?;
        }
        let offset = bytes.len() as u64;
        let (read, buffer) = file.read_at(bytes, offset).await;
        bytes = buffer;
        if read? == 0 {
            return Ok(bytes);
        }
    }
}
