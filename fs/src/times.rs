//! When a file was last read and changed: to be set.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use corering_runtime::op::plain::{self, FileTime, Subject};

use crate::{File, c_path, elsewhere};

/// The times that a file is to have. Those that are not set stay as they are.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-times-{}", std::process::id()));
/// use corering_fs::{self as fs, FileTimes};
/// use std::time::{Duration, SystemTime};
///
/// corering_runtime::run(async {
///     fs::write(&path, "old").await?;
///     let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
///     fs::set_times(&path, FileTimes::new().set_modified(long_ago)).await?;
///     assert_eq!(fs::metadata(&path).await?.modified(), long_ago);
///     fs::remove_file(&path).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "times do nothing until they are set"]
pub struct FileTimes {
    accessed: FileTime,
    modified: FileTime,
}

impl FileTimes {
    /// None set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Both as of now, as `touch` does it.
    pub fn now() -> Self {
        Self { accessed: FileTime::Now, modified: FileTime::Now }
    }

    /// When it was last read.
    pub fn set_accessed(self, time: SystemTime) -> Self {
        Self { accessed: FileTime::At(time), ..self }
    }

    /// When its contents were last changed.
    pub fn set_modified(self, time: SystemTime) -> Self {
        Self { modified: FileTime::At(time), ..self }
    }
}

/// Sets the times of what is at `path`, links followed.
///
/// # Errors
///
/// What `utimensat(2)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) for a time that no number says.
///
/// # Cancel safety
///
/// Dropped in flight, it may happen; whatever comes later on names of this core waits for it.
///
/// # Kernel
///
/// `utimensat(2)` on the blocking pool: there is no opcode.
pub async fn set_times(path: impl AsRef<Path>, times: FileTimes) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    let FileTimes { accessed, modified } = times;
    elsewhere::change(path, move |path| plain::set_times(Subject::path(&path, true), accessed, modified)).await
}

/// As [`set_times`], but of a symbolic link itself.
///
/// # Errors
///
/// As [`set_times`].
///
/// # Cancel safety
///
/// As [`set_times`].
pub async fn set_link_times(path: impl AsRef<Path>, times: FileTimes) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    let FileTimes { accessed, modified } = times;
    elsewhere::change(path, move |path| plain::set_times(Subject::path(&path, false), accessed, modified)).await
}

impl File {
    /// Sets its times.
    ///
    /// # Errors
    ///
    /// What `futimens(3)` says; [`InvalidInput`](io::ErrorKind::InvalidInput) for a time that no number says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `utimensat(2)` on the blocking pool: there is no opcode.
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        let FileTimes { accessed, modified } = times;
        elsewhere::with_open(self.descriptor(), move |file| plain::set_times(Subject::open(file), accessed, modified))
            .await
    }
}
