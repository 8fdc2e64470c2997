//! Operations that change names: remove, rename, make directories and links.
//!
//! Always done by a kernel worker (K13). One whose future is dropped is not cancelled; whatever comes later on names of
//! the same core waits for it, so it never lands after that: a file that is made after its unlink was dropped is there.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::{Context, Poll, Waker};

use io_uring::{opcode, types};

use super::changes::{Changing, poll_names_settled};
use super::descriptor::{Descriptor, Held};
use super::read::again_if_interrupted;
use super::{Completion, OnDrop, Operation, Progress, Submission, begin, check, is_running};
use crate::driver::folder_calls;

/// A path as the kernel takes it: from the current directory, or from one that is open.
#[derive(Debug)]
pub struct Name {
    directory: Option<Held>,
    path: CString,
}

impl Name {
    /// A path that, unless it is absolute, is from the current directory.
    #[inline]
    pub fn new(path: CString) -> Self {
        Self { directory: None, path }
    }

    /// A path that, unless it is absolute, is from an open directory.
    pub fn below(directory: &Descriptor, path: CString) -> Self {
        Self { directory: Some(Held::to_look(directory)), path }
    }

    /// The directory, as a submission names it.
    #[inline]
    pub(super) fn fd(&self) -> types::Fd {
        self.directory.as_ref().map_or(types::Fd(libc::AT_FDCWD), Held::fd)
    }

    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(|held| held.descriptor().as_fd())
    }

    pub(super) fn path(&self) -> &CStr {
        &self.path
    }

    /// Where its bytes are: on the heap, so that they stay there when the name moves.
    #[inline]
    pub(super) fn bytes(&self) -> *const libc::c_char {
        self.path.as_ptr()
    }

    pub(super) fn abandon(&mut self) {
        if let Some(directory) = &mut self.directory {
            directory.abandon();
        }
    }
}

impl From<CString> for Name {
    #[inline]
    fn from(path: CString) -> Self {
        Self::new(path)
    }
}

macro_rules! changes_names {
    ($operation:ident: $($name:ident),+ $(; undone by $undo:ident)?) => {
        // SAFETY: the paths are on the heap, owned by the names, and not changed.
        unsafe impl Operation for $operation {
            type Output = io::Result<()>;
            const ON_DROP: OnDrop = OnDrop::Finish;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
                poll_names_settled(cx)
            }

            fn submission(&mut self) -> Submission {
                self.entry()
            }

            fn progress(&mut self, completion: Completion) -> Progress {
                again_if_interrupted(completion)
            }

            fn complete(self, completion: Completion) -> io::Result<()> {
                check(completion.result).map(drop)
            }

            fn abandoned(&mut self) {
                self.changing.abandon();
                $(self.$name.abandon();)+
            }

            $(fn orphaned(self, completion: Completion) {
                self.$undo(completion);
            })?
        }
    };
}

/// What was made under a name, or may have been, for a future that was dropped meanwhile, and that nobody wants.
#[derive(Debug)]
pub(super) enum Unwanted {
    File,
    Directory,
}

impl Unwanted {
    /// Removes it, unless the operation says that it is somebody else's. Whatever comes later on names of this core waits for
    /// it.
    pub(super) fn remove(self, name: Name, completion: Completion) {
        if completion.result == -libc::EEXIST {
            return;
        }
        let nothing_before = poll_names_settled(&mut Context::from_waker(Waker::noop())).is_ready();
        if nothing_before && is_running() {
            let unlink = match self {
                Self::File => Unlink::file(name),
                Self::Directory => Unlink::directory(name),
            };
            if begin(unlink).is_ok() {
                return;
            }
            unreachable!("the core runs, and nothing holds it up");
        }
        // The core ends; or something else comes first, which does not matter, since nobody else knows the name. If it cannot
        // be removed, nobody is there to be told.
        let _ = folder_calls::remove(name.directory(), name.path(), matches!(self, Self::Directory));
    }
}

/// Removes a name; output `io::Result<()>`. What was open by it stays as it is.
#[derive(Debug)]
pub struct Unlink {
    name: Name,
    flags: i32,
    changing: Changing,
}

impl Unlink {
    /// The name of anything but a directory.
    pub fn file(name: impl Into<Name>) -> Self {
        Self { name: name.into(), flags: 0, changing: Changing::default() }
    }

    /// The name of a directory, which is to be empty.
    pub fn directory(name: impl Into<Name>) -> Self {
        Self { flags: libc::AT_REMOVEDIR, ..Self::file(name) }
    }

    fn entry(&self) -> Submission {
        opcode::UnlinkAt::new(self.name.fd(), self.name.bytes()).flags(self.flags).build()
    }
}

changes_names!(Unlink: name);

/// Gives what has one name another; output `io::Result<()>`. At once: there is no moment in which the new name, if it
/// was there before, names nothing.
#[derive(Debug)]
pub struct Rename {
    from: Name,
    to: Name,
    flags: u32,
    changing: Changing,
}

impl Rename {
    /// What has the name `to` loses it.
    pub fn new(from: impl Into<Name>, to: impl Into<Name>) -> Self {
        Self { from: from.into(), to: to.into(), flags: 0, changing: Changing::default() }
    }

    /// If something has the name `to`, it fails with `EEXIST`.
    pub fn no_replace(self) -> Self {
        Self { flags: libc::RENAME_NOREPLACE, ..self }
    }

    /// Each gets the name of the other, of whatever kind they are.
    pub fn exchange(self) -> Self {
        Self { flags: libc::RENAME_EXCHANGE, ..self }
    }

    fn entry(&self) -> Submission {
        opcode::RenameAt::new(self.from.fd(), self.from.bytes(), self.to.fd(), self.to.bytes())
            .flags(self.flags)
            .build()
    }
}

changes_names!(Rename: from, to);

/// Makes a directory; output `io::Result<()>`.
#[derive(Debug)]
pub struct MakeDir {
    name: Name,
    mode: u32,
    undone_if_dropped: bool,
    changing: Changing,
}

impl MakeDir {
    /// With that mode, before the umask.
    pub fn new(name: impl Into<Name>, mode: u32) -> Self {
        Self { name: name.into(), mode, undone_if_dropped: false, changing: Changing::default() }
    }

    /// If its future is dropped, the directory is removed again, also when the core ends. For a name that nobody else
    /// knows.
    pub fn undone_if_dropped(self) -> Self {
        Self { undone_if_dropped: true, ..self }
    }

    fn undo(self, completion: Completion) {
        let Self { name, undone_if_dropped, changing, .. } = self;
        drop(changing);
        if undone_if_dropped {
            Unwanted::Directory.remove(name, completion);
        }
    }

    fn entry(&self) -> Submission {
        opcode::MkDirAt::new(self.name.fd(), self.name.bytes()).mode(self.mode).build()
    }
}

changes_names!(MakeDir: name; undone by undo);

/// Makes a symbolic link; output `io::Result<()>`.
#[derive(Debug)]
pub struct Symlink {
    target: CString,
    name: Name,
    changing: Changing,
}

impl Symlink {
    /// A link `name` to `target`, which need not be there.
    pub fn new(target: CString, name: impl Into<Name>) -> Self {
        Self { target, name: name.into(), changing: Changing::default() }
    }

    fn entry(&self) -> Submission {
        opcode::SymlinkAt::new(self.name.fd(), self.target.as_ptr(), self.name.bytes()).build()
    }
}

changes_names!(Symlink: name);

/// Gives a file one more name; output `io::Result<()>`.
#[derive(Debug)]
pub struct Link {
    from: Name,
    to: Name,
    flags: i32,
    changing: Changing,
}

impl Link {
    /// What has the name `from`, a symbolic link itself as well, has the name `to`, too.
    pub fn new(from: impl Into<Name>, to: impl Into<Name>) -> Self {
        Self { from: from.into(), to: to.into(), flags: 0, changing: Changing::default() }
    }

    /// If `from` is a symbolic link, what it leads to.
    pub fn follow(self) -> Self {
        Self { flags: libc::AT_SYMLINK_FOLLOW, ..self }
    }

    /// Gives a name to an open file that may have none, since it was opened with `O_TMPFILE`. Needs /proc.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it had names and has lost them, or if it was opened with `O_TMPFILE` and `O_EXCL`.
    pub fn of_open(file: &Descriptor, to: impl Into<Name>) -> Self {
        let from = format!("/proc/self/fd/{}\0", file.as_raw_fd());
        let from = CString::from_vec_with_nul(from.into_bytes()).unwrap_or_default();
        // The path is absolute, so it does not begin at the file; the name holds it open.
        Self::new(Name::below(file, from), to).follow()
    }

    fn entry(&self) -> Submission {
        opcode::LinkAt::new(self.from.fd(), self.from.bytes(), self.to.fd(), self.to.bytes()).flags(self.flags).build()
    }
}

changes_names!(Link: from, to);
