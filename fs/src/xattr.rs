//! Extended attributes: what is noted of a file beside its contents, by names such as `user.origin`.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use corering_runtime::op::plain::{self, Subject};
use corering_runtime::op::{GetXattr, Op, Operation, SetXattr};

use crate::{File, c_path, elsewhere};

/// How long a value may be that is read at the first try, and how long any may be.
const USUAL: usize = 256;
const LONGEST: usize = 65_536;

fn c_name(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| {
        let text = format!("{name:?} is not the name of an attribute: it has a zero byte in it");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// That there is none is no error.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        result => result.map(Some),
    }
}

/// Reads a value, with more room if it needs that.
async fn read<O>(operation: impl Fn(usize) -> O) -> io::Result<Option<Vec<u8>>>
where
    O: Operation<Output = io::Result<Vec<u8>>>,
{
    match Op::new(operation(USUAL)).await {
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => if_there(Op::new(operation(LONGEST)).await),
        read => if_there(read),
    }
}

fn names_of(bytes: Vec<u8>) -> Vec<OsString> {
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| OsString::from_vec(name.to_vec())).collect()
}

/// The value of an extended attribute of what is at `path`, links followed; `None` if it has none of that name.
///
/// # Errors
///
/// What `getxattr(2)` says: `EOPNOTSUPP` if the file system knows no such attributes.
///
/// # Kernel
///
/// `IORING_OP_GETXATTR`, which a kernel worker does.
///
/// # Examples
///
/// ```
/// # let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("xattr-{}", std::process::id()));
/// use corering_fs as fs;
///
/// corering_runtime::run(async {
///     fs::write(&path, "downloaded").await?;
///     match fs::set_xattr(&path, "user.origin", "example.org").await {
///         Ok(()) => assert_eq!(fs::get_xattr(&path, "user.origin").await?.as_deref(), Some(&b"example.org"[..])),
///         Err(error) => println!("this file system has none: {error}"),
///     }
///     fs::remove_file(&path).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn get_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (c_path(path.as_ref())?, c_name(name.as_ref())?);
    read(|most| GetXattr::new(path.clone(), name.clone(), most)).await
}

/// Sets an extended attribute of what is at `path`, links followed.
///
/// # Errors
///
/// What `setxattr(2)` says: `EOPNOTSUPP` if the file system knows no such attributes, `ENOSPC` if there is no room.
///
/// # Cancel safety
///
/// Dropped in flight, it happens all the same; whatever comes later on names of this core waits for it.
///
/// # Kernel
///
/// `IORING_OP_SETXATTR`, which a kernel worker does.
pub async fn set_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>, value: impl Into<Vec<u8>>) -> io::Result<()> {
    Op::new(SetXattr::new(c_path(path.as_ref())?, c_name(name.as_ref())?, value.into())).await
}

/// The names of the extended attributes of what is at `path`, links followed.
///
/// # Errors
///
/// What `listxattr(2)` says.
///
/// # Kernel
///
/// `listxattr(2)` on the blocking pool: there is no opcode.
pub async fn list_xattr(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    let path = c_path(path.as_ref())?;
    elsewhere::look(path, |path| plain::list_xattr(Subject::path(&path, true))).await.map(names_of)
}

/// Takes an extended attribute away from what is at `path`, links followed.
///
/// # Errors
///
/// What `removexattr(2)` says: `ENODATA` if it has none of that name.
///
/// # Cancel safety
///
/// Dropped in flight, it may happen; whatever comes later on names of this core waits for it.
///
/// # Kernel
///
/// `removexattr(2)` on the blocking pool: there is no opcode.
pub async fn remove_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<()> {
    let (path, name) = (c_path(path.as_ref())?, c_name(name.as_ref())?);
    elsewhere::change(path, move |path| plain::remove_xattr(Subject::path(&path, true), &name)).await
}

/// As [`get_xattr`], but of a symbolic link itself.
///
/// # Errors
///
/// What `lgetxattr(2)` says.
///
/// # Kernel
///
/// `lgetxattr(2)` on the blocking pool: the opcode follows links.
pub async fn get_link_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (c_path(path.as_ref())?, c_name(name.as_ref())?);
    if_there(elsewhere::look(path, move |path| plain::get_link_xattr(&path, &name)).await)
}

/// As [`list_xattr`], but of a symbolic link itself.
///
/// # Errors
///
/// What `llistxattr(2)` says.
///
/// # Kernel
///
/// `llistxattr(2)` on the blocking pool: there is no opcode.
pub async fn list_link_xattr(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    let path = c_path(path.as_ref())?;
    elsewhere::look(path, |path| plain::list_xattr(Subject::path(&path, false))).await.map(names_of)
}

/// As [`remove_xattr`], but of a symbolic link itself.
///
/// # Errors
///
/// What `lremovexattr(2)` says: `ENODATA` if it has none of that name.
///
/// # Cancel safety
///
/// As [`remove_xattr`].
///
/// # Kernel
///
/// `lremovexattr(2)` on the blocking pool: there is no opcode.
pub async fn remove_link_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<()> {
    let (path, name) = (c_path(path.as_ref())?, c_name(name.as_ref())?);
    elsewhere::change(path, move |path| plain::remove_xattr(Subject::path(&path, false), &name)).await
}

/// As [`set_xattr`], but of a symbolic link itself.
///
/// # Errors
///
/// What `lsetxattr(2)` says: `EPERM` for names that begin with `user.`, which links cannot have.
///
/// # Cancel safety
///
/// As [`remove_xattr`].
pub async fn set_link_xattr(
    path: impl AsRef<Path>,
    name: impl AsRef<OsStr>,
    value: impl Into<Vec<u8>>,
) -> io::Result<()> {
    let (path, name, value) = (c_path(path.as_ref())?, c_name(name.as_ref())?, value.into());
    elsewhere::change(path, move |path| plain::set_link_xattr(&path, &name, &value)).await
}

impl File {
    /// The value of an extended attribute; `None` if it has none of that name.
    ///
    /// # Errors
    ///
    /// What `fgetxattr(2)` says.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FGETXATTR`, which a kernel worker does.
    pub async fn get_xattr(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
        let name = c_name(name.as_ref())?;
        read(|most| GetXattr::of(self.descriptor(), name.clone(), most)).await
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    ///
    /// What `fsetxattr(2)` says.
    ///
    /// # Cancel safety
    ///
    /// Dropped in flight, it happens all the same; everything later on this file waits for it.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_FSETXATTR`, which a kernel worker does.
    pub async fn set_xattr(&self, name: impl AsRef<OsStr>, value: impl Into<Vec<u8>>) -> io::Result<()> {
        Op::new(SetXattr::of(self.descriptor(), c_name(name.as_ref())?, value.into())).await
    }

    /// The names of its extended attributes.
    ///
    /// # Errors
    ///
    /// What `flistxattr(2)` says.
    pub async fn list_xattr(&self) -> io::Result<Vec<OsString>> {
        elsewhere::with_open(self.descriptor(), |file| plain::list_xattr(Subject::open(file))).await.map(names_of)
    }

    /// Takes an extended attribute away.
    ///
    /// # Errors
    ///
    /// What `fremovexattr(2)` says: `ENODATA` if it has none of that name.
    ///
    /// # Cancel safety
    ///
    /// As [`set_xattr`](Self::set_xattr).
    pub async fn remove_xattr(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = c_name(name.as_ref())?;
        elsewhere::with_open(self.descriptor(), move |file| plain::remove_xattr(Subject::open(file), &name)).await
    }
}
