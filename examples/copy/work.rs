//! The whole run: what is copied where, and what is told of it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use corering::blocking;
use corering::fs;
use serde::Serialize;

use crate::Arguments;
use crate::attributes::{self, Kept, c_path};
use crate::file::{self, Copying, How};
use crate::hidden::{Hidden, UnderWay};
use crate::partial::beside;
use crate::steps::{Destination, Later, Step, Steps};
use crate::tool::{self, Contents, Places, Rules, Tool, Wanted, What, Work, each, text};

#[derive(Serialize)]
struct Object<'a> {
    from: Cow<'a, str>,
    to: Cow<'a, str>,
    done: &'a str,
    bytes: u64,
}

pub(crate) fn run(mut arguments: Arguments) -> ExitCode {
    let Some(destination) = arguments.paths.pop().filter(|_| !arguments.paths.is_empty()) else {
        tool::usage("copy", "it needs to know what to copy, and where to")
    };
    arguments.selection.follow |= arguments.dereference;
    let tells = arguments.verbose || arguments.telling.json || arguments.dry_run;
    let tool = Tool::new("copy", &arguments.telling, tells);
    let is_folder = !arguments.no_target_directory && destination.is_dir();
    if !is_folder && arguments.paths.len() > 1 {
        let text = format!("{} is no folder, and that is needed to copy several things", destination.display());
        tool::usage("copy", text);
    }
    let kept = Kept::of(&arguments);
    let rules = Rules { ignore_files: arguments.ignore, hidden: true };
    let recursive = arguments.recursive || arguments.archive;
    let follow = arguments.selection.follow;
    // As cp: what is named is followed unless folders are copied.
    let wanted =
        Wanted { metadata: kept.links || kept.anything(), named_links: recursive && !follow, ..Wanted::default() };
    let places = match Places::new(&tool, arguments.paths.clone(), &arguments.selection, rules, wanted) {
        Ok(places) => places,
        Err(error) => tool::usage("copy", error),
    };
    let later = Rc::new(RefCell::new(Later::default()));
    let hidden = Rc::new(Hidden::default());
    let steps = Steps {
        tool: Rc::clone(&tool),
        places,
        destination: Destination { path: destination, is_folder },
        recursive,
        dry_run: arguments.dry_run,
        resume: arguments.resume,
        hidden: Rc::clone(&hidden),
        kept,
        later: Rc::clone(&later),
        root: (PathBuf::new(), PathBuf::new()),
        new: HashSet::new(),
        firsts: HashMap::new(),
        named: HashSet::new(),
        refused: Vec::new(),
    };
    let how = Arc::new(How {
        kept,
        follow: follow || !recursive,
        resume: arguments.resume,
        force: arguments.force,
        no_clobber: arguments.no_clobber,
        update: arguments.update,
        verify: arguments.verify,
        dry_run: arguments.dry_run,
        reflink: arguments.reflink,
        under_way: UnderWay::default(),
        cannot_share: AtomicBool::new(false),
    });
    let under_way = how.under_way.clone();
    let jobs = arguments.jobs.count();
    let copies = Rc::new(Copies {
        tool: Rc::clone(&tool),
        how,
        contents: Contents::new(),
        hidden: Rc::clone(&hidden),
        tells,
        arguments,
        bytes: Cell::new(0),
        files: Cell::new(0),
    });
    let work = async {
        each(&tool, &copies, steps, jobs).await;
        copies.finish(&later).await;
    };
    tool.run(work, |tool| hidden.show_all(tool, &under_way))
}

struct Copies {
    tool: Rc<Tool>,
    arguments: Arguments,
    how: Arc<How>,
    contents: Contents,
    hidden: Rc<Hidden>,
    tells: bool,
    bytes: Cell<u64>,
    files: Cell<u64>,
}

/// What was done.
pub(crate) enum Done {
    Copied(u64),
    Made,
    Left,
}

/// What came of a step.
type Outcome = (PathBuf, PathBuf, io::Result<Done>);

impl Work for Copies {
    type Item = Vec<Step>;
    type Kept = ();
    type Outcome = Vec<Outcome>;

    async fn work(&self, _: &mut (), steps: Vec<Step>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(steps.len());
        let mut steps = VecDeque::from(steps);
        while let Some(Step { from, to, what, .. }) = steps.front() {
            let (from, to) = (from.clone(), to.clone());
            let done = match what {
                What::File => {
                    self.copy_files(&mut steps, &mut outcomes).await;
                    continue;
                }
                What::Folder => Ok(Done::Made),
                What::Link => self.copy_link(from.clone(), to.clone()).await,
                What::Special(file_type) => {
                    Err(io::Error::other(format!("it is no file but a special one ({file_type:?}), and left out")))
                }
                What::Input => Err(io::Error::other("standard input is not copied")),
            };
            outcomes.push((from, to, done));
            steps.pop_front();
        }
        outcomes
    }

    fn done(&self, outcomes: Vec<Outcome>) {
        outcomes.into_iter().for_each(|outcome| self.take_in(outcome));
    }
}

impl Copies {
    fn take_in(&self, (from, to, done): Outcome) {
        let (word, bytes) = match done {
            Ok(Done::Copied(bytes)) => {
                self.tool.count(0);
                self.files.set(self.files.get() + 1);
                self.bytes.set(self.bytes.get() + bytes);
                ("copied", bytes)
            }
            Ok(Done::Made) => ("made", 0),
            Ok(Done::Left) => ("left", 0),
            Err(error) => {
                self.tool.report(&from, error);
                return;
            }
        };
        if self.tells {
            self.tell(&from, &self.hidden.shown(&to), word, bytes);
        }
    }

    /// Copies the files that come first, small ones many in one trip to a thread.
    async fn copy_files(&self, steps: &mut VecDeque<Step>, outcomes: &mut Vec<Outcome>) {
        let files = steps.iter().take_while(|step| step.what == What::File).count();
        let how = Arc::clone(&self.how);
        let files: Vec<_> = steps.drain(..files).collect();
        let (begun, rest) = blocking::call(move || file::begin_several(&how, files)).await;
        for step in rest.into_iter().rev() {
            steps.push_front(step);
        }
        for (Step { from, to, .. }, step) in begun {
            let done = match step {
                Ok(step) => self.go_on(step).await,
                Err(error) => Err(error),
            };
            outcomes.push((from, to, done));
        }
    }

    async fn go_on(&self, mut step: file::Step) -> io::Result<Done> {
        let mut told = 0;
        loop {
            step = match step {
                file::Step::Left => return Ok(Done::Left),
                file::Step::Done(bytes) => {
                    self.tool.progress().count(bytes.saturating_sub(told));
                    return Ok(Done::Copied(bytes));
                }
                file::Step::Copying(copying) => {
                    self.tool.progress().count(copying.copied_so_far() - told);
                    told = copying.copied_so_far();
                    let how = Arc::clone(&self.how);
                    blocking::call(move || copying.go_on(&how)).await?
                }
                file::Step::Copied(copying) => self.verify(*copying).await.map(file::Step::Done)?,
            };
        }
    }

    /// Compares what was copied with what it was copied from, and gives it its name if both are the same.
    async fn verify(&self, copying: Copying) -> io::Result<u64> {
        let (from, to) = copying.paths();
        let mut digests = [blake3::Hasher::new(), blake3::Hasher::new()];
        let mut buffer = Vec::new();
        for (path, digest) in [from, to].iter().zip(&mut digests) {
            self.contents
                .file(path, &mut buffer, |part| {
                    digest.update(part);
                })
                .await?;
        }
        if digests[0].finalize() != digests[1].finalize() {
            blocking::call(move || copying.give_up()).await;
            return Err(io::Error::other("the copy is not the same: it may have been changed meanwhile"));
        }
        let how = Arc::clone(&self.how);
        blocking::call(move || copying.finish(&how)).await
    }

    async fn copy_link(&self, from: PathBuf, to: PathBuf) -> io::Result<Done> {
        let leads_to = fs::read_link(&from).await?;
        let there = fs::symlink_metadata(&to).await.ok();
        if there.is_some_and(|there| there.is_dir()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a folder there, which no link replaces"));
        }
        if let Some(there) = there {
            let known = fs::symlink_metadata(&from).await?;
            let is_older = there.modified() < known.modified();
            let is_same = there.is_symlink() && fs::read_link(&to).await? == leads_to;
            let Arguments { no_clobber, update, resume, .. } = self.arguments;
            if no_clobber || (update && !is_older) || (resume && is_same) {
                return Ok(Done::Left);
            }
            if there.same_file(&known) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "both are the same link"));
            }
        }
        if self.arguments.dry_run {
            return Ok(Done::Copied(0));
        }
        match fs::symlink(&leads_to, &to).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let partial = beside(&to, &format!(".{}.copying", std::process::id()));
                fs::symlink(&leads_to, &partial).await?;
                fs::rename(&partial, &to).await?;
            }
            made => made?,
        }
        let kept = self.how.kept;
        if kept.anything() {
            let known = fs::symlink_metadata(&from).await?;
            let (from, to) = (c_path(&from)?, c_path(&to)?);
            blocking::call(move || kept.give(&from, &known, &to, false)).await?;
        }
        Ok(Done::Copied(0))
    }

    /// What comes when all files are there: second names, and what folders have, the inner ones first.
    async fn finish(&self, later: &Rc<RefCell<Later>>) {
        let Later { folders, links } = later.take();
        for (first, to) in links {
            if self.arguments.dry_run {
                self.take_in((first, to, Ok(Done::Copied(0))));
                continue;
            }
            let made = match fs::hard_link(&first, &to).await {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !self.arguments.no_clobber => {
                    let partial = beside(&to, &format!(".{}.copying", std::process::id()));
                    match fs::hard_link(&first, &partial).await {
                        // Two names of one file: the rename leaves both as they are.
                        Ok(()) => {
                            let renamed = fs::rename(&partial, &to).await;
                            let _ = fs::remove_file(&partial).await;
                            renamed
                        }
                        Err(error) => Err(error),
                    }
                }
                made => made,
            };
            self.take_in((first, to, made.map(|()| Done::Copied(0))));
        }
        let kept = self.how.kept;
        for (from, path, metadata, is_made) in folders.into_iter().rev() {
            let to = path.clone();
            let given = blocking::call(move || {
                let to = c_path(&to)?;
                if is_made && !kept.mode {
                    // As it would have been made, but for what its owner needed until now.
                    let made = corering::op::folder::stat(None, &to, true)?.mode() & 0o7777;
                    let mode = made & (metadata.mode() | !0o700);
                    corering::op::plain::set_mode(corering::op::plain::Subject::path(&to, true), mode)?;
                }
                kept.give(&c_path(&from)?, &metadata, &to, true)
            });
            attributes::report(&self.tool, &self.hidden.shown(&path), given.await);
        }
    }

    fn tell(&self, from: &Path, to: &Path, done: &str, bytes: u64) {
        let telling = &self.arguments.telling;
        if telling.json {
            let object = Object { from: text(from), to: text(to), done, bytes };
            self.tool.print(&serde_json::to_vec(&object).unwrap_or_default());
            self.tool.print(b"\n");
            return;
        }
        let (from, to) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
        self.tool.print(&[done.as_bytes(), b" ", from, b" -> ", to, &[telling.end()]].concat());
    }
}
