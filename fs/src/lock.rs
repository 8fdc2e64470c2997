//! Locks on files, which programs use to agree on who may change them: `flock(2)`.
//!
//! A lock belongs to what was opened. So two `File`s that were opened each for itself keep each other out, in one program
//! as in several; [clones](File::try_clone) of one share it. Nothing keeps out a program that does not ask.

use std::io;
use std::time::Duration;

use corering_runtime::op::Descriptor;
use corering_runtime::op::plain::{self, Lock};
use corering_runtime::time::sleep;

use crate::{File, elsewhere};

/// How soon a lock that somebody else has is tried again, at first and at last.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(32);

impl File {
    /// Waits until nobody else has a lock, and takes it.
    ///
    /// Whoever waits asks again and again, at first after a millisecond and later after 32: a thread that waited in the
    /// kernel could not be called back. So it may be taken by one who asked later.
    ///
    /// # Errors
    ///
    /// What `flock(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it does not have the lock, or gives it back. If this file had one, that may be gone.
    ///
    /// # Kernel
    ///
    /// `flock(2)` on the blocking pool: there is no opcode, and a file system of the network asks its server.
    ///
    /// # Examples
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("corering-lock-{}", std::process::id()));
    /// use corering_fs::File;
    ///
    /// corering_runtime::run(async {
    ///     let (one, other) = (File::create(&path).await?, File::open(&path).await?);
    ///     one.lock().await?;
    ///     assert!(!other.try_lock_shared()?);
    ///     one.unlock().await?;
    ///     assert!(other.try_lock_shared()?);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn lock(&self) -> io::Result<()> {
        self.wait_for(Lock::Exclusive).await
    }

    /// Waits until nobody else has an exclusive lock, and takes a shared one.
    ///
    /// # Errors
    ///
    /// What `flock(2)` says.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Self::lock).
    pub async fn lock_shared(&self) -> io::Result<()> {
        self.wait_for(Lock::Shared).await
    }

    /// Takes the lock if nobody else has any. False if somebody has; a shared lock that this file had may be gone then.
    ///
    /// # Errors
    ///
    /// What `flock(2)` says.
    ///
    /// # Kernel
    ///
    /// A plain `flock(2)` that does not wait for the lock.
    pub fn try_lock(&self) -> io::Result<bool> {
        taken(plain::try_lock(self.descriptor(), Lock::Exclusive))
    }

    /// Takes a shared lock if nobody else has an exclusive one. False if somebody has.
    ///
    /// # Errors
    ///
    /// What `flock(2)` says.
    pub fn try_lock_shared(&self) -> io::Result<bool> {
        taken(plain::try_lock(self.descriptor(), Lock::Shared))
    }

    /// Gives the lock back, once nothing that was dropped can change the file any more. Closing the file gives it back,
    /// too.
    ///
    /// # Errors
    ///
    /// What `flock(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    pub async fn unlock(&self) -> io::Result<()> {
        elsewhere::with_open(self.descriptor(), |file| plain::try_lock(file, Lock::Nothing)).await
    }

    async fn wait_for(&self, lock: Lock) -> io::Result<()> {
        let mut wait = SOON;
        loop {
            let ask = move |file: &Descriptor| {
                let is_taken = taken(plain::try_lock(file, lock))?;
                Ok(is_taken.then(|| Untold(Some(file.clone()))))
            };
            if let Some(lock) = elsewhere::with_open(self.descriptor(), ask).await? {
                lock.told();
                return Ok(());
            }
            sleep(wait).await;
            wait = (wait * 2).min(LATER);
        }
    }
}

/// A lock that was taken for somebody who may have gone: then it is given back.
struct Untold(Option<Descriptor>);

impl Untold {
    fn told(mut self) {
        self.0 = None;
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            // If it cannot be given back, nobody is there to be told; it goes with the file.
            let _ = plain::try_lock(&file, Lock::Nothing);
        }
    }
}

fn taken(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
