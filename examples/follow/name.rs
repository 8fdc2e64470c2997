//! A name that is followed, through all the files that it leads to.
//!
//! ```text
//! closed <-- retired (still read for a while) <-- the first generation, which is read <-- later ones, by their age
//! ```
//!
//! A later generation is read when something stands in it: whoever writes there has written the last of the one before,
//! so that is read to its end first.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corering::fs::{self, Change, File};
use corering::io;

use crate::generation::{Generation, Identity, Opened, Place, Read, Unseen};
use crate::told::Told;
use crate::{From, tool::Tool};

/// What was moved away is read on for so long, as long as nothing comes.
const GRACE: Duration = Duration::from_secs(5);
/// So many files are remembered that are read no more.
const REMEMBERED: usize = 64;
/// So many that were moved away are read on.
const RETIRED: usize = 4;

pub(crate) struct Name {
    pub(crate) path: PathBuf,
    generations: VecDeque<Generation>,
    retired: VecDeque<Opened>,
    closed: VecDeque<(Identity, Place)>,
    /// Where to begin in the first file.
    from: Option<From>,
    /// How many files have come.
    count: u64,
    missing: bool,
    /// What it leads to is followed by another name.
    others: Option<Identity>,
    /// The file that was read last has another name now, or none.
    moved_away: bool,
    /// Something may have happened to it.
    pub(crate) is_due: bool,
}

impl Name {
    pub(crate) fn new(path: PathBuf, from: Option<From>) -> Self {
        Self {
            path,
            generations: VecDeque::new(),
            retired: VecDeque::new(),
            closed: VecDeque::new(),
            from,
            count: 0,
            missing: false,
            others: None,
            moved_away: false,
            is_due: true,
        }
    }

    /// Whether it has led to that file.
    pub(crate) fn knows(&self, identity: Identity) -> bool {
        self.opened().any(|opened| opened.identity == identity)
            || self.closed.iter().any(|(closed, _)| *closed == identity)
    }

    fn opened(&self) -> impl Iterator<Item = &Opened> {
        let open = self.generations.iter().filter_map(|generation| match generation {
            Generation::Open(opened) => Some(opened),
            Generation::Unseen(_) => None,
        });
        open.chain(&self.retired)
    }

    /// Whether files that were moved away are still read.
    pub(crate) fn reads_others(&self) -> bool {
        self.moved_away || self.generations.len() > 1 || !self.retired.is_empty()
    }

    /// Whether a file has to be opened.
    pub(crate) fn has_unseen(&self) -> bool {
        self.generations.iter().any(|generation| matches!(generation, Generation::Unseen(_)))
    }

    /// Something has happened to a path in its folder.
    pub(crate) fn happened(&mut self, tool: &Tool, path: &Path, change: Change) {
        let came = match change {
            Change::MovedFrom(cookie) => {
                for unseen in self.unseen().filter(|unseen| unseen.path == path) {
                    unseen.moving = Some(cookie);
                    unseen.moves += 1;
                }
                false
            }
            Change::MovedTo(cookie) => {
                self.lose(tool, path);
                let mut known = false;
                for unseen in self.unseen().filter(|unseen| unseen.moving == Some(cookie)) {
                    (unseen.path, unseen.moving) = (path.to_path_buf(), None);
                    known = true;
                }
                !known
            }
            Change::Deleted => {
                self.lose(tool, path);
                false
            }
            Change::Created => true,
            Change::Modified
            | Change::Attributes
            | Change::ClosedAfterWrite
            | Change::SelfMoved
            | Change::SelfDeleted
            | Change::Opened
            | Change::Read
            | Change::ClosedUnwritten
            | Change::Unmounted
            | Change::Ended
            | Change::Overflow => false,
        };
        if path == self.path {
            if came {
                self.came();
            } else if matches!(change, Change::MovedFrom(_) | Change::Deleted) {
                self.moved_away = true;
            }
        }
    }

    /// Another file has come to the name.
    fn came(&mut self) {
        let unseen = Unseen { number: self.count, path: self.path.clone(), moving: None, moves: 0, missing: None };
        self.count += 1;
        self.generations.push_back(Generation::Unseen(unseen));
        self.moved_away = false;
        self.is_due = true;
    }

    fn unseen(&mut self) -> impl Iterator<Item = &mut Unseen> {
        self.generations.iter_mut().filter_map(|generation| match generation {
            Generation::Unseen(unseen) => Some(unseen),
            Generation::Open(_) => None,
        })
    }

    /// What stood at a path is no more.
    fn lose(&mut self, tool: &Tool, path: &Path) {
        self.generations.retain(|generation| match generation {
            Generation::Unseen(unseen) if unseen.path == path && unseen.moving.is_none() => {
                tool.report(path, "a file was removed before it could be read");
                false
            }
            Generation::Unseen(_) | Generation::Open(_) => true,
        });
    }

    /// Opens what has not been. The answers hold if nothing is moved meanwhile: they are to be given to
    /// [`take_in`](Self::take_in) when it is known what has been.
    pub(crate) async fn open_unseen(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for generation in &self.generations {
            if let Generation::Unseen(unseen) = generation {
                let (number, moves) = (unseen.number, unseen.moves);
                answers.push(Answer { number, moves, opened: open(&unseen.path).await });
            }
        }
        answers
    }

    /// Takes in what was opened. `None` for what others have.
    /// `is_watched` says that the kernel will tell where a file has gone.
    pub(crate) async fn take_in(
        &mut self,
        tool: &Tool,
        answers: Vec<Answer>,
        is_watched: bool,
        others: &dyn Fn(Identity) -> bool,
    ) {
        for Answer { number, moves, opened } in answers {
            // It may have been lost meanwhile.
            let Some(at) = self.generations.iter().position(|generation| match generation {
                Generation::Unseen(unseen) => unseen.number == number,
                Generation::Open(_) => false,
            }) else {
                continue;
            };
            let Generation::Unseen(unseen) = &mut self.generations[at] else { continue };
            if unseen.moves != moves || unseen.moving.is_some() {
                if unseen.moving.is_some() && unseen.is_gone() {
                    tool.report(&unseen.path, "a file was moved out of its folder before it could be read");
                    self.generations.remove(at);
                }
                continue;
            }
            match opened {
                Ok((file, metadata)) => {
                    let identity = Identity::of(&metadata);
                    let is_open = self.generations.iter().any(|generation| match generation {
                        Generation::Open(opened) => opened.identity == identity,
                        Generation::Unseen(_) => false,
                    });
                    if is_open || others(identity) {
                        self.others = Some(identity).filter(|_| !is_open);
                        self.generations.remove(at);
                        continue;
                    }
                    if let Some(was) = self.retired.iter().position(|opened| opened.identity == identity) {
                        if let Some(opened) = self.retired.remove(was) {
                            self.generations[at] = Generation::Open(opened);
                        }
                        continue;
                    }
                    let was = self.closed.iter().position(|(closed, _)| *closed == identity);
                    let place = was.and_then(|was| self.closed.remove(was)).map(|(_, place)| place);
                    let is_known = place.is_some();
                    let mut opened = Opened::new(file, &metadata, place.unwrap_or_default());
                    match self.from.take() {
                        Some(from) if !is_known => {
                            let moved = match from {
                                From::Last(lines) => opened.skip_to_last(lines).await,
                                From::Line(line) => opened.skip_to_line(line).await,
                            };
                            if let Err(error) = moved {
                                tool.report(&self.path, error);
                            }
                        }
                        Some(_) | None => {}
                    }
                    if self.missing {
                        self.missing = false;
                        tool.say_of(&self.path, "it is there now");
                    }
                    self.generations[at] = Generation::Open(opened);
                }
                // That a file is moved is seen a little earlier than it is told: it is to be looked for where it will be.
                Err(error) if is_watched && error.kind() == io::ErrorKind::NotFound && !unseen.is_gone() => {}
                Err(error) => {
                    let path = unseen.path.clone();
                    self.generations.remove(at);
                    if path != self.path {
                        tool.report(&path, "a file was not found again before it could be read");
                    } else if error.kind() != io::ErrorKind::NotFound {
                        self.is_missing(tool, &error);
                    }
                }
            }
        }
    }

    fn is_missing(&mut self, tool: &Tool, error: &io::Error) {
        // What comes later is read from its beginning.
        self.from = None;
        if !std::mem::replace(&mut self.missing, true) {
            tool.say_of(&self.path, error);
        }
    }

    /// Looks where the name leads to now.
    pub(crate) async fn look(&mut self, tool: &Tool) {
        match fs::metadata(&self.path).await {
            Ok(metadata) => {
                let identity = Identity::of(&metadata);
                let last = self.generations.back();
                let is_last = matches!(last, Some(Generation::Open(opened)) if opened.identity == identity);
                if !is_last && self.others != Some(identity) {
                    self.came();
                }
            }
            Err(error) => {
                self.is_missing(tool, &error);
                // What had the name before is not held for ever.
                if let [Generation::Open(opened)] = self.generations.make_contiguous() {
                    if opened.last_read.elapsed() > GRACE {
                        if let Some(Generation::Open(opened)) = self.generations.pop_front() {
                            self.retired.push_back(opened);
                        }
                    }
                }
            }
        }
    }

    /// Tells what was appended to what it leads to, and to what was moved away.
    pub(crate) async fn read(&mut self, told: &mut Told) -> io::Result<()> {
        told.of(&self.path);
        let mut more = false;
        for opened in &mut self.retired {
            more |= opened.read(told, false).await? == Read::More;
        }
        loop {
            let mut is_last = true;
            for later in self.generations.iter().skip(1) {
                if let Generation::Open(later) = later {
                    if later.has_more().await {
                        is_last = false;
                    }
                }
            }
            let Some(Generation::Open(first)) = self.generations.front_mut() else {
                break;
            };
            if is_last {
                more |= first.read(told, false).await? == Read::More;
                break;
            }
            first.read(told, true).await?;
            if told.is_over() {
                break;
            }
            if let Some(Generation::Open(mut first)) = self.generations.pop_front() {
                first.end_line(told);
                self.retired.push_back(first);
            }
        }
        self.close_old(told);
        self.is_due = more;
        Ok(())
    }

    /// Lets go of what has been quiet for long.
    fn close_old(&mut self, told: &mut Told) {
        while self.retired.len() > RETIRED
            || self.retired.front().is_some_and(|oldest| oldest.last_read.elapsed() > GRACE)
        {
            let Some(mut oldest) = self.retired.pop_front() else { return };
            oldest.end_line(told);
            self.closed.push_back((oldest.identity, oldest.place().clone()));
            if self.closed.len() > REMEMBERED {
                self.closed.pop_front();
            }
        }
    }

    /// Tells the lines that have not ended.
    pub(crate) fn end(&mut self, told: &mut Told) {
        told.of(&self.path);
        let open = self.generations.iter_mut().filter_map(|generation| match generation {
            Generation::Open(opened) => Some(opened),
            Generation::Unseen(_) => None,
        });
        for opened in self.retired.iter_mut().chain(open) {
            opened.end_line(told);
        }
    }
}

/// What came of opening one of the files.
pub(crate) struct Answer {
    number: u64,
    moves: u32,
    opened: io::Result<(File, fs::Metadata)>,
}

async fn open(path: &Path) -> io::Result<(File, fs::Metadata)> {
    // What is no file could be waited for in vain.
    if !fs::metadata(path).await?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let file = File::open(path).await?;
    let metadata = file.metadata().await?;
    Ok((file, metadata))
}
