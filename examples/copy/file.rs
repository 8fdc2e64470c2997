//! One file: copied by jobs on a thread beside the core, of which a small one takes a single one.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use corering::fs::Metadata;
use corering::op::plain;
use corering::op::{Descriptor, Stat, folder};

use crate::Reflink;
use crate::attributes::{Kept, c_path};
use crate::hidden::UnderWay;
use crate::partial::Partial;
use crate::steps::Step as Todo;

/// What one job copies at most.
const SHARE: u64 = 16 << 20;
/// What is read and written at once where the kernel cannot copy.
const BLOCK: usize = 128 << 10;

/// How files are copied.
#[derive(Debug)]
pub(crate) struct How {
    pub(crate) kept: Kept,
    pub(crate) follow: bool,
    pub(crate) resume: bool,
    pub(crate) force: bool,
    pub(crate) no_clobber: bool,
    pub(crate) update: bool,
    pub(crate) verify: bool,
    pub(crate) dry_run: bool,
    pub(crate) reflink: Reflink,
    pub(crate) under_way: UnderWay,
    /// The file system has said that it cannot share.
    pub(crate) cannot_share: AtomicBool,
}

/// What comes of a job.
pub(crate) enum Step {
    /// It is to be left as it is.
    Left,
    /// There is more to copy.
    Copying(Box<Copying>),
    /// All is there, but for its name.
    Copied(Box<Copying>),
    Done(u64),
}

/// A copy under way, between two jobs.
pub(crate) struct Copying {
    from: PathBuf,
    to: PathBuf,
    source: Metadata,
    input: Descriptor,
    output: Descriptor,
    partial: Partial,
    /// Permissions of what is replaced, which stay.
    mode: Option<u32>,
    at: u64,
    by_hand: bool,
}

/// Begins to copy files one after the other, up to a share of bytes; and those that it has not come to. Blocks.
pub(crate) fn begin_several(how: &How, files: Vec<Todo>) -> (Vec<(Todo, io::Result<Step>)>, Vec<Todo>) {
    let mut files = files.into_iter();
    let mut begun = Vec::with_capacity(files.len());
    let mut bytes = 0;
    while bytes < SHARE {
        let Some(file) = files.next() else { break };
        let step = begin(how, &file);
        bytes += match &step {
            Ok(Step::Done(bytes)) => *bytes,
            Ok(Step::Copying(_) | Step::Copied(_)) => SHARE,
            Ok(Step::Left) | Err(_) => 0,
        };
        begun.push((file, step));
    }
    (begun, files.collect())
}

fn begin(how: &How, file: &Todo) -> io::Result<Step> {
    let (from, to) = (file.from.clone(), file.to.clone());
    let no_follow = if how.follow { 0 } else { libc::O_NOFOLLOW };
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | no_follow;
    let input = folder::open(None, &c_path(&from)?, folder::How::new(flags))?;
    let source = Stat::of(&input)?;
    if !source.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file any more"));
    }
    let mut mode = None;
    if !file.is_new {
        match look_at_target(how, &source, &to)? {
            Target::None => {}
            Target::Left => return Ok(Step::Left),
            Target::Replaced(replaced) => mode = Some(replaced),
        }
    }
    if how.dry_run {
        return Ok(Step::Done(source.len()));
    }
    let usual = source.mode() & 0o777;
    let (partial, output, at) = if how.resume && source.len() > SHARE {
        Partial::go_on(&to, &source, usual)?
    } else if file.is_new && file.in_hidden {
        let (partial, output) = Partial::make_in_hidden(&to, usual, how.under_way.add())?;
        (partial, output, 0)
    } else {
        let (partial, output) = Partial::make(&to, usual)?;
        (partial, output, 0)
    };
    let by_hand = source.len() == 0;
    let copying = Copying { from, to, source, input, output, partial, mode, at, by_hand };
    if at == 0 && copying.share(how)? {
        return copying.copied(how);
    }
    copying.go_on(how)
}

enum Target {
    None,
    Left,
    /// With these permissions.
    Replaced(u32),
}

fn look_at_target(how: &How, source: &Metadata, to: &Path) -> io::Result<Target> {
    let to = c_path(to)?;
    let target = match folder::stat(None, &to, false) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::None),
        Err(error) => return Err(error),
    };
    let refuse = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if target.is_dir() {
        return refuse("it is a folder there, which no file replaces");
    }
    let leads_to = if target.is_symlink() { folder::stat(None, &to, true).ok() } else { None };
    if leads_to.unwrap_or(target).same_file(source) {
        return refuse("both are the same file");
    }
    let is_older = target.modified() < source.modified();
    let is_same = target.is_file() && target.len() == source.len() && target.modified() == source.modified();
    if how.no_clobber || (how.update && !is_older) || (how.resume && is_same) {
        return Ok(Target::Left);
    }
    if !target.is_file() {
        // A link is replaced, not what it leads to.
        return Ok(Target::None);
    }
    if !how.force {
        plain::access(plain::Subject::path(&to, false), libc::W_OK)?;
    }
    Ok(Target::Replaced(target.mode() & 0o7777))
}

impl Copying {
    /// Copies a share. Blocks.
    pub(crate) fn go_on(mut self, how: &How) -> io::Result<Step> {
        let end = self.at.saturating_add(SHARE);
        while self.at < end {
            let copied = if self.by_hand { self.copy_by_hand()? } else { self.copy_in_kernel(end)? };
            if copied == 0 {
                return self.copied(how);
            }
        }
        Ok(Step::Copying(Box::new(self)))
    }

    /// Lets both share the contents, if that can be. Whether it could.
    fn share(&self, how: &How) -> io::Result<bool> {
        if how.reflink == Reflink::Never || self.source.len() == 0 {
            return Ok(false);
        }
        if how.reflink == Reflink::Auto && how.cannot_share.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match plain::clone_file(&self.input, &self.output) {
            Ok(()) => Ok(true),
            Err(error) if how.reflink == Reflink::Always => Err(error),
            Err(_) => {
                how.cannot_share.store(true, Ordering::Relaxed);
                Ok(false)
            }
        }
    }

    /// Copies from one place to the next, holes left out; 0 at the end.
    fn copy_in_kernel(&mut self, end: u64) -> io::Result<u64> {
        let mut end = end;
        if self.has_holes() {
            let Some(data) = plain::seek_data(&self.input, self.at)? else {
                // The rest is a hole.
                let len = Stat::of(&self.input)?.len();
                folder::set_len(&self.output, len.max(self.at))?;
                return Ok(0);
            };
            let hole = plain::seek_hole(&self.input, data)?.unwrap_or(u64::MAX);
            self.at = data;
            // It may have been changed between the two.
            end = hole.min(end.max(data + BLOCK as u64)).max(data + 1);
        }
        match plain::copy_range(&self.input, self.at, &self.output, self.at, (end - self.at) as usize) {
            Ok(0) if self.at == 0 => {
                // From some file systems nothing can be copied so.
                self.by_hand = true;
                self.copy_by_hand()
            }
            Ok(count) => {
                self.at += count as u64;
                Ok(count as u64)
            }
            Err(error) if error.raw_os_error().is_some_and(|number| CANNOT.contains(&number)) => {
                self.by_hand = true;
                self.copy_by_hand()
            }
            Err(error) => Err(error),
        }
    }

    /// Copies some of it by reading and writing; 0 at the end.
    fn copy_by_hand(&mut self) -> io::Result<u64> {
        let input = File::from(self.input.as_fd().try_clone_to_owned()?);
        let output = File::from(self.output.as_fd().try_clone_to_owned()?);
        let mut buffer = vec![0; BLOCK];
        let count = input.read_at(&mut buffer, self.at)?;
        let block = &buffer[..count];
        if self.has_holes() && block.iter().all(|byte| *byte == 0) {
            output.set_len(self.at + count as u64)?;
        } else {
            output.write_all_at(block, self.at)?;
        }
        self.at += count as u64;
        Ok(count as u64)
    }

    fn has_holes(&self) -> bool {
        self.source.blocks() * 512 < self.source.len()
    }

    /// All contents are there.
    fn copied(self, how: &How) -> io::Result<Step> {
        if how.verify {
            return Ok(Step::Copied(Box::new(self)));
        }
        self.finish(how).map(Step::Done)
    }

    /// Gives it what is kept, and its name. Blocks.
    pub(crate) fn finish(self, how: &How) -> io::Result<u64> {
        // What is shared has not been copied at all.
        let bytes = if self.at == 0 { self.source.len() } else { self.at };
        let Self { from, to, source, output, partial, mode, .. } = self;
        if let Some(mode) = mode.filter(|_| !how.kept.mode) {
            plain::set_mode(plain::Subject::open(&output), mode)?;
        }
        if how.kept.anything() {
            how.kept.give(&c_path(&from)?, &source, &partial.c_path, true)?;
        }
        drop(output);
        partial.rename(&to)?;
        Ok(bytes)
    }

    /// The names under which both can be read.
    pub(crate) fn paths(&self) -> (PathBuf, PathBuf) {
        (self.from.clone(), self.partial.path().to_path_buf())
    }

    pub(crate) fn copied_so_far(&self) -> u64 {
        self.at
    }

    /// What has been copied is wrong.
    pub(crate) fn give_up(self) {
        self.partial.give_up();
    }
}

/// What the kernel says where it cannot copy from the one to the other.
const CANNOT: [i32; 6] = [libc::EXDEV, libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS, libc::EPERM, libc::EBADF];
