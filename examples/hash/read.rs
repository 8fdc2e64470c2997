//! The digest of one file.

use std::path::Path;

use corering::fs::{self, File};
use corering::sync::Semaphore;
use corering::{io, join};

use crate::digest::{Algorithm, Digest};
use crate::tool::Input;

/// What is shorter is read in one trip.
const SMALL: usize = 128 * 1024;
/// Of what is longer, two parts of this size are under way at a time.
const PART: usize = 128 * 1024;
/// How many long files are read at once: more would need memory and gain nothing.
const LONG_AT_ONCE: usize = 8;

/// Computes digests of files.
pub(crate) struct Reader {
    long: Semaphore,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { long: Semaphore::new(LONG_AT_ONCE) }
    }

    /// The digest of a file, and how long it is. Nothing is asked about the file before: that costs as much as reading
    /// it, and a length may be wrong when it has been read (it is 0 for most that is in /proc).
    pub(crate) async fn file(
        &self,
        algorithm: Algorithm,
        path: &Path,
        buffer: &mut Vec<u8>,
    ) -> io::Result<(Digest, u64)> {
        buffer.clear();
        buffer.reserve_exact(SMALL);
        let read;
        (read, *buffer) = fs::read_into(path, std::mem::take(buffer)).await;
        let count = read?;
        if buffer.len() < buffer.capacity() {
            return Ok((algorithm.of(buffer), count as u64));
        }
        // From the beginning: another file may have its name meanwhile.
        let _turn = self.long.acquire().await.map_err(io::Error::other)?;
        let file = File::open(path).await?;
        long(algorithm, &file).await
    }

    /// The digest of standard input.
    pub(crate) async fn input(&self, algorithm: Algorithm, buffer: &mut Vec<u8>) -> io::Result<(Digest, u64)> {
        let mut input = Input::new()?;
        let (mut hasher, mut total) = (algorithm.begin(), 0);
        loop {
            buffer.clear();
            buffer.reserve_exact(PART);
            let read;
            (read, *buffer) = input.read(std::mem::take(buffer)).await;
            match read? {
                0 => return Ok((hasher.end(), total)),
                count => {
                    hasher.add(buffer);
                    total += count as u64;
                }
            }
        }
    }
}

/// Reads the next part while the last one is hashed.
async fn long(algorithm: Algorithm, file: &File) -> io::Result<(Digest, u64)> {
    let mut hasher = algorithm.begin();
    let (read, mut full) = file.read_at(Vec::with_capacity(PART), 0).await;
    let (mut offset, mut free) = (read? as u64, Vec::with_capacity(PART));
    while !full.is_empty() {
        free.clear();
        let ((read, next), ()) = join!(file.read_at(free, offset), async { hasher.add(&full) });
        offset += read? as u64;
        free = std::mem::replace(&mut full, next);
    }
    Ok((hasher.end(), offset))
}
