//! What is in files, part by part.

use std::path::Path;

use corering::fs::{self, File};
use corering::io::{self, AsyncRead};
use corering::join;
use corering::sync::Semaphore;

/// What is shorter is read in one trip.
const SMALL: usize = 128 * 1024;
/// Of what is longer, two parts of this size are under way at a time.
const PART: usize = 128 * 1024;
/// How many long files are read at once: more would need memory and gain nothing.
const LONG_AT_ONCE: usize = 8;

/// Reads files.
pub(crate) struct Contents {
    long: Semaphore,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self { long: Semaphore::new(LONG_AT_ONCE) }
    }

    /// Hands over what is in a file, part by part, and says how many bytes that was. Nothing is asked about the file
    /// before: that costs as much as reading it, and a length may be wrong when it has been read (it is 0 for most that is
    /// in /proc).
    pub(crate) async fn file(&self, path: &Path, buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        buffer.clear();
        buffer.reserve_exact(SMALL);
        let read;
        (read, *buffer) = fs::read_into(path, std::mem::take(buffer)).await;
        let count = read?;
        if buffer.len() < buffer.capacity() {
            take(buffer);
            return Ok(count as u64);
        }
        // From the beginning: another file may have its name meanwhile.
        let _turn = self.long.acquire().await.map_err(io::Error::other)?;
        let file = File::open(path).await?;
        self.open(&file, 0, take).await
    }

    /// Hands over what is in a file from `offset` on. The next part is read while the last one is looked at.
    pub(crate) async fn open(&self, file: &File, offset: u64, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        let (read, mut full) = file.read_at(Vec::with_capacity(PART), offset).await;
        let (mut total, mut free) = (read? as u64, Vec::with_capacity(PART));
        while !full.is_empty() {
            free.clear();
            let ((read, next), ()) = join!(file.read_at(free, offset + total), async { take(&full) });
            total += read? as u64;
            free = std::mem::replace(&mut full, next);
        }
        Ok(total)
    }

    /// Hands over what comes by standard input.
    pub(crate) async fn input(&self, buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut total = 0;
        loop {
            buffer.clear();
            buffer.reserve_exact(PART);
            let read;
            (read, *buffer) = io::stdin().read(std::mem::take(buffer)).await;
            match read? {
                0 => return Ok(total),
                count => {
                    take(buffer);
                    total += count as u64;
                }
            }
        }
    }
}
