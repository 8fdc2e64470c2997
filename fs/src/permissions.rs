//! Who owns a file, and who may do what with it.

use std::io;
use std::path::Path;

use corering_runtime::op::Permissions;
use corering_runtime::op::plain::{self, Subject};

use crate::{File, c_path, elsewhere};

/// Sets the permissions of what is at `path`, links followed.
///
/// # Errors
///
/// What `chmod(2)` says.
///
/// # Cancel safety
///
/// Dropped in flight, it may happen; whatever comes later on names of this core waits for it.
///
/// # Kernel
///
/// `fchmodat(2)` on the blocking pool: there is no opcode.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("corering-permissions-{}", std::process::id()));
/// use corering_fs::{self as fs, Permissions};
///
/// corering_runtime::run(async {
///     fs::write(&path, "for me alone").await?;
///     fs::set_permissions(&path, Permissions::from_mode(0o600)).await?;
///     assert_eq!(fs::metadata(&path).await?.permissions().mode(), 0o600);
///     fs::remove_file(&path).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    elsewhere::change(path, move |path| plain::set_mode(Subject::path(&path, true), permissions.mode())).await
}

/// Gives what is at `path` to a user, to a group, or to both; links followed.
///
/// # Errors
///
/// What `chown(2)` says: mostly only root may.
///
/// # Cancel safety
///
/// As [`set_permissions`].
///
/// # Kernel
///
/// `fchownat(2)` on the blocking pool: there is no opcode.
pub async fn chown(path: impl AsRef<Path>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    elsewhere::change(path, move |path| plain::set_owner(Subject::path(&path, true), user, group)).await
}

/// As [`chown`], but of a symbolic link itself.
///
/// # Errors
///
/// What `lchown(2)` says.
///
/// # Cancel safety
///
/// As [`set_permissions`].
pub async fn lchown(path: impl AsRef<Path>, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    elsewhere::change(path, move |path| plain::set_owner(Subject::path(&path, false), user, group)).await
}

impl File {
    /// Sets its permissions.
    ///
    /// # Errors
    ///
    /// What `fchmod(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `fchmod(2)` on the blocking pool: there is no opcode.
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        let mode = permissions.mode();
        elsewhere::with_open(self.descriptor(), move |file| plain::set_mode(Subject::open(file), mode)).await
    }

    /// Gives it to a user, to a group, or to both.
    ///
    /// # Errors
    ///
    /// What `fchown(2)` says: mostly only root may.
    ///
    /// # Cancel safety
    ///
    /// As [`set_permissions`](Self::set_permissions).
    pub async fn chown(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        elsewhere::with_open(self.descriptor(), move |file| plain::set_owner(Subject::open(file), user, group)).await
    }
}
