//! Standard input.

use corering::io::{self, AsyncRead};

/// Reads all of it.
pub(crate) async fn read_all() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    loop {
        let read;
        (read, bytes) = io::stdin().read(bytes).await;
        if read? == 0 {
            return Ok(bytes);
        }
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(bytes.len())?;
        }
    }
}
