//! Standard input.

use std::io;
use std::os::fd::AsFd;

use corering::fs::File;

/// Where the file's own position is, which whoever started this program may have moved.
const HERE: u64 = u64::MAX;

/// Standard input, read from where it stands.
pub(crate) struct Input(File);

impl Input {
    pub(crate) fn new() -> io::Result<Self> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self(File::from_std(descriptor.into())))
    }

    /// Reads into the room of `buffer`, as much as goes at once; 0 at the end.
    pub(crate) async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.0.read_at(buffer, HERE).await
    }

    /// Reads all of it.
    pub(crate) async fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(64 * 1024);
        loop {
            let read;
            (read, bytes) = self.read(bytes).await;
            if read? == 0 {
                return Ok(bytes);
            }
            if bytes.len() == bytes.capacity() {
                bytes.try_reserve(bytes.len())?;
            }
        }
    }
}
