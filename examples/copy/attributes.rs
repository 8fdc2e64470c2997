//! What is kept of a file besides its contents.

use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;

use corering::fs::Metadata;
use corering::op::plain::{self, FileTime, Subject};

use crate::tool::Tool;
use crate::{Arguments, Preserve};

/// What is to be kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) mode: bool,
    pub(crate) times: bool,
    pub(crate) owner: bool,
    pub(crate) xattr: bool,
    pub(crate) links: bool,
}

impl Kept {
    pub(crate) fn of(arguments: &Arguments) -> Self {
        let all = arguments.archive || arguments.preserve.contains(&Preserve::All);
        let is_kept = |what, usual: bool| all || (usual && arguments.keep) || arguments.preserve.contains(&what);
        Self {
            mode: is_kept(Preserve::Mode, true),
            // What is resumed later is known by its time.
            times: is_kept(Preserve::Times, true) || arguments.resume,
            owner: is_kept(Preserve::Ownership, true),
            xattr: is_kept(Preserve::Xattr, false),
            links: is_kept(Preserve::Links, false),
        }
    }

    pub(crate) fn anything(self) -> bool {
        self.mode || self.times || self.owner || self.xattr
    }

    /// Gives what is kept of `from` to `to`. Blocks.
    pub(crate) fn give(self, from: &CStr, source: &Metadata, to: &CStr, follow: bool) -> io::Result<()> {
        let target = Subject::path(to, follow);
        if self.xattr {
            give_xattrs(from, to, follow)?;
        }
        // The owner first: to give a file away takes special permissions off it.
        if self.owner {
            match plain::set_owner(target, Some(source.uid()), Some(source.gid())) {
                // Only root may give files away; the group may be given by its members.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let _ = plain::set_owner(target, None, Some(source.gid()));
                }
                given => given?,
            }
        }
        if self.mode && !source.is_symlink() {
            plain::set_mode(target, source.mode() & 0o7777)?;
        }
        if self.times {
            plain::set_times(target, FileTime::At(source.accessed()), FileTime::At(source.modified()))?;
        }
        Ok(())
    }
}

fn give_xattrs(from: &CStr, to: &CStr, follow: bool) -> io::Result<()> {
    let names = match plain::list_xattr(Subject::path(from, follow)) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let given = plain::get_link_xattr(from, name).and_then(|value| plain::set_link_xattr(to, name, &value));
        match given {
            // Some of these only the system sets, or only on some file systems.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EPERM | libc::ENODATA)) => {}
            given => given?,
        }
    }
    Ok(())
}

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Reports whatever could not be given.
pub(crate) fn report(tool: &Tool, path: &Path, given: io::Result<()>) {
    if let Err(error) = given {
        tool.report(path, format_args!("cannot keep all that is known of it: {error}"));
    }
}
