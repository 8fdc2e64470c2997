//! Names: made, removed, moved, followed.

use std::ffi::OsString;
use std::io;
use std::ops::BitOr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use corering_runtime::op::plain::{self, Subject};
use corering_runtime::op::{Link, MakeDir, Op, Rename, Symlink, Unlink};

use crate::{c_path, elsewhere};

/// The permissions of a new directory, before the umask.
const MODE: u32 = 0o777;

/// Makes a directory.
///
/// # Errors
///
/// What `mkdir(2)` says: [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is anything of that name.
///
/// # Cancel safety
///
/// Dropped in flight, it happens all the same; whatever comes later on names of this core waits for it. So do all
/// functions that change names.
///
/// # Kernel
///
/// `IORING_OP_MKDIRAT`, which a kernel worker does.
///
/// # Examples
///
/// ```
/// # let base = std::env::temp_dir().join(format!("corering-create-dir-{}", std::process::id()));
/// use corering_fs as fs;
///
/// corering_runtime::run(async {
///     fs::create_dir(&base).await?;
///     fs::write(base.join("a"), "one").await?;
///     fs::rename(base.join("a"), base.join("b")).await?;
///     assert!(!fs::try_exists(base.join("a")).await?);
///     fs::remove_file(base.join("b")).await?;
///     fs::remove_dir(&base).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    Op::new(MakeDir::new(c_path(path.as_ref())?, MODE)).await
}

/// Makes a directory and all those above it that are missing. That it is there already is no error.
///
/// # Errors
///
/// What `mkdir(2)` says; those that were made stay.
///
/// # Cancel safety
///
/// As [`create_dir`], for the one that is being made.
///
/// # Kernel
///
/// As [`create_dir`], once for each that is missing, and `IORING_OP_STATX` where one may be there.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    // Upwards until one can be made, then down again.
    let mut missing = vec![path];
    while let Some(last) = missing.last().copied() {
        match create_dir(last).await {
            Ok(()) => {
                missing.pop();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match last.parent() {
                Some(above) if !above.as_os_str().is_empty() => missing.push(above),
                Some(_) | None => return Err(error),
            },
            // Somebody else may have made it meanwhile.
            Err(error) => {
                if !crate::metadata(last).await.is_ok_and(|there| there.is_dir()) {
                    return Err(error);
                }
                missing.pop();
            }
        }
    }
    Ok(())
}

/// Removes the name of a file, or of anything that is no directory. Whoever has it open keeps it.
///
/// # Errors
///
/// What `unlink(2)` says.
///
/// # Cancel safety
///
/// As [`create_dir`]: a file that is made by the same name after this was dropped is there, always.
///
/// # Kernel
///
/// `IORING_OP_UNLINKAT`, which a kernel worker does.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Unlink::file(c_path(path.as_ref())?)).await
}

/// Removes an empty directory.
///
/// # Errors
///
/// What `rmdir(2)` says: [`DirectoryNotEmpty`](io::ErrorKind::DirectoryNotEmpty) if something is in it.
///
/// # Cancel safety
///
/// As [`create_dir`].
///
/// # Kernel
///
/// As [`remove_file`].
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Unlink::directory(c_path(path.as_ref())?)).await
}

/// Gives what is at `from` the name `to`, at once. What had that name before loses it.
///
/// # Errors
///
/// What `rename(2)` says: [`CrossesDevices`](io::ErrorKind::CrossesDevices) between file systems.
///
/// # Cancel safety
///
/// As [`create_dir`].
///
/// # Kernel
///
/// `IORING_OP_RENAMEAT`, which a kernel worker does.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Rename::new(c_path(from.as_ref())?, c_path(to.as_ref())?)).await
}

/// Renames only if nothing has the name `to`.
///
/// # Errors
///
/// As [`rename`]; [`AlreadyExists`](io::ErrorKind::AlreadyExists) if something has that name, `EINVAL` if the file system
/// cannot do it.
///
/// # Cancel safety
///
/// As [`create_dir`].
///
/// # Kernel
///
/// As [`rename`], with `RENAME_NOREPLACE`.
pub async fn rename_no_replace(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Rename::new(c_path(from.as_ref())?, c_path(to.as_ref())?).no_replace()).await
}

/// Gives each of two the name of the other, at once. They need not be of the same kind.
///
/// # Errors
///
/// As [`rename`]; [`NotFound`](io::ErrorKind::NotFound) if one is not there, `EINVAL` if the file system cannot do it.
///
/// # Cancel safety
///
/// As [`create_dir`].
///
/// # Kernel
///
/// As [`rename`], with `RENAME_EXCHANGE`.
pub async fn rename_exchange(one: impl AsRef<Path>, other: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Rename::new(c_path(one.as_ref())?, c_path(other.as_ref())?).exchange()).await
}

/// Gives a file one more name. A symbolic link is not followed.
///
/// # Errors
///
/// What `link(2)` says.
///
/// # Cancel safety
///
/// As [`create_dir`].
///
/// # Kernel
///
/// `IORING_OP_LINKAT`, which a kernel worker does.
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Link::new(c_path(original.as_ref())?, c_path(link.as_ref())?)).await
}

/// Makes a symbolic link at `link`, which leads to `original`. That need not be there.
///
/// # Errors
///
/// What `symlink(2)` says.
///
/// # Cancel safety
///
/// As [`create_dir`].
///
/// # Kernel
///
/// `IORING_OP_SYMLINKAT`, which a kernel worker does.
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    Op::new(Symlink::new(c_path(original.as_ref())?, c_path(link.as_ref())?)).await
}

/// Where a symbolic link leads, as it was made.
///
/// # Errors
///
/// What `readlink(2)` says: `EINVAL` if it is none.
///
/// # Kernel
///
/// `readlinkat(2)` on the blocking pool: there is no opcode.
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let target = elsewhere::look(c_path(path.as_ref())?, |path| plain::read_link(&path)).await?;
    Ok(OsString::from_vec(target).into())
}

/// The absolute path by which something can be reached, without links and dots.
///
/// # Errors
///
/// What `realpath(3)` says: [`NotFound`](io::ErrorKind::NotFound) if it is not there.
///
/// # Kernel
///
/// A call for each part of the path, on the blocking pool.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let real = elsewhere::look(c_path(path.as_ref())?, |path| plain::real_path(&path)).await?;
    Ok(OsString::from_vec(real).into())
}

/// Whether two paths lead to the same file, links followed: by whatever names. See
/// [`Metadata::same_file`](crate::Metadata::same_file).
///
/// # Errors
///
/// As [`metadata`](crate::metadata), of either.
///
/// # Kernel
///
/// Two of `IORING_OP_STATX`, which a kernel worker does.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     assert!(corering_fs::same_file("/", "/usr/..").await?);
///     assert!(!corering_fs::same_file("/", "/usr").await?);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn same_file(one: impl AsRef<Path>, other: impl AsRef<Path>) -> io::Result<bool> {
    let one = crate::metadata(one).await?;
    Ok(one.same_file(&crate::metadata(other).await?))
}

/// Whether a file system is mounted at `path`, or a part of one (`mount --bind`). A symbolic link is none, wherever it leads.
///
/// # Errors
///
/// As [`symlink_metadata`](crate::symlink_metadata).
///
/// # Kernel
///
/// `IORING_OP_STATX`, which a kernel worker does; Linux knows by itself, whatever the devices are called.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     assert!(corering_fs::is_mount_point("/proc").await?);
///     assert!(!corering_fs::is_mount_point("/proc/self").await?);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn is_mount_point(path: impl AsRef<Path>) -> io::Result<bool> {
    Ok(crate::symlink_metadata(path).await?.is_mount_root().unwrap_or(false))
}

/// Whether there is something at `path`, links followed. What cannot be asked, since a directory may not be searched, for
/// example, counts as not there: [`try_exists`] tells.
///
/// # Kernel
///
/// As [`try_exists`].
pub async fn exists(path: impl AsRef<Path>) -> bool {
    crate::metadata(path).await.is_ok()
}

/// Whether there is something at `path`, links followed.
///
/// # Errors
///
/// Why that cannot be told.
///
/// # Kernel
///
/// `IORING_OP_STATX`, which a kernel worker does.
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match crate::metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks whether the program may do that with what is at `path`, by its effective user.
///
/// The answer may be old when it comes: to open a file, open it.
///
/// # Errors
///
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if it may not; else what `faccessat2(2)` says.
///
/// # Kernel
///
/// `faccessat2(2)` on the blocking pool: there is no opcode.
pub async fn access(path: impl AsRef<Path>, access: Access) -> io::Result<()> {
    elsewhere::look(c_path(path.as_ref())?, move |path| plain::access(Subject::path(&path, true), access.0)).await
}

/// What a program may do with a file; combined by `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(i32);

impl Access {
    /// See that it is there.
    pub const EXISTS: Self = Self(libc::F_OK);
    /// Read it, or list it.
    pub const READ: Self = Self(libc::R_OK);
    /// Write to it, or change the names in it.
    pub const WRITE: Self = Self(libc::W_OK);
    /// Run it, or look for names in it.
    pub const EXECUTE: Self = Self(libc::X_OK);
}

impl BitOr for Access {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
