//! A file that a followed name leads to, or has led to.

use std::path::PathBuf;
use std::time::Duration;

use corering::fs::{Cookie, File, Metadata};
use corering::io;
use corering::time::Instant;

use crate::told::Told;

/// What is read at once.
const BLOCK: usize = 64 * 1024;
/// So many bytes before the place where reading goes on are remembered, and read again: if they are others now, the file
/// was cut and written anew.
const REMEMBERED: usize = 256;
/// What was not found for so long, though nothing more was told of it, has gone.
const LONG: Duration = Duration::from_secs(2);
/// After so many blocks it is the turn of others.
const BLOCKS_AT_ONCE: usize = 64;

/// Which file it is, on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// One of the files that a name has led to, the later ones behind the earlier.
pub(crate) enum Generation {
    Open(Opened),
    /// The kernel has told that it came to the name, but it has not been opened.
    Unseen(Unseen),
}

/// A file that is known by where it is now, as far as the kernel has told.
pub(crate) struct Unseen {
    /// In the order in which they came to the name.
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// It is on its way to another name.
    pub(crate) moving: Option<Cookie>,
    /// How often it was moved.
    pub(crate) moves: u32,
    /// Since when it has not been found.
    pub(crate) missing: Option<Instant>,
}

impl Unseen {
    /// Notes that it was not found, and says whether it has not been for long.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.missing.get_or_insert_with(Instant::now).elapsed() > LONG
    }
}

/// A file that is being read.
pub(crate) struct Opened {
    file: File,
    pub(crate) identity: Identity,
    place: Place,
    /// The beginning of a line that has not ended yet.
    partial: Vec<u8>,
    /// It was cut: a writer that goes on where it was leaves a hole, whose zeros are not told.
    skips_zeros: bool,
    pub(crate) last_read: Instant,
}

/// How far a file has been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    offset: u64,
    /// The bytes before.
    last: Vec<u8>,
}

/// How reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There is no more now.
    End,
    /// There may be more, but it is the turn of others.
    More,
}

impl Opened {
    pub(crate) fn new(file: File, metadata: &Metadata, place: Place) -> Self {
        Self {
            file,
            identity: Identity::of(metadata),
            place,
            partial: Vec::new(),
            skips_zeros: false,
            last_read: Instant::now(),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Moves to where the last lines begin.
    pub(crate) async fn skip_to_last(&mut self, lines: u64) -> io::Result<()> {
        let mut end = self.file.metadata().await?.len();
        let mut left = lines;
        let (len, mut block) = (end, Vec::with_capacity(BLOCK));
        let mut start = end;
        while end > 0 && left > 0 {
            let from = end.saturating_sub(BLOCK as u64);
            block.clear();
            let read;
            (read, block) = self.file.read_at(block, from).await;
            read?;
            block.truncate((end - from) as usize);
            start = from;
            // The end of the last line of all is not the end of the one before it.
            let searched = if end == len { block.len().saturating_sub(1) } else { block.len() };
            for at in memchr::memrchr_iter(b'\n', &block[..searched]) {
                left -= 1;
                if left == 0 {
                    start = from + at as u64 + 1;
                    break;
                }
            }
            end = from;
        }
        self.move_to(start).await
    }

    /// Moves to where a line begins, counted from 1 on.
    pub(crate) async fn skip_to_line(&mut self, line: u64) -> io::Result<()> {
        let (mut left, mut offset) = (line.saturating_sub(1), 0);
        let mut block = Vec::with_capacity(BLOCK);
        while left > 0 {
            block.clear();
            let read;
            (read, block) = self.file.read_at(block, offset).await;
            if read? == 0 {
                break;
            }
            let mut skipped = block.len();
            for at in memchr::memchr_iter(b'\n', &block) {
                left -= 1;
                if left == 0 {
                    skipped = at + 1;
                    break;
                }
            }
            offset += skipped as u64;
        }
        self.move_to(offset).await
    }

    async fn move_to(&mut self, offset: u64) -> io::Result<()> {
        let remembered = offset.min(REMEMBERED as u64);
        let (read, last) = self.file.read_at(Vec::with_capacity(remembered as usize), offset - remembered).await;
        if remembered > 0 {
            read?;
        }
        // It is shorter now: it will be read from its beginning.
        self.place = if last.len() as u64 == remembered { Place { offset, last } } else { Place::default() };
        Ok(())
    }

    /// Tells what was appended. With `all`, until there is no more.
    pub(crate) async fn read(&mut self, told: &mut Told, all: bool) -> io::Result<Read> {
        let mut blocks = 0;
        loop {
            let known = self.place.last.len();
            let buffer = Vec::with_capacity(BLOCK + REMEMBERED);
            let (read, block) = self.file.read_at(buffer, self.place.offset - known as u64).await;
            read?;
            let Some(mut new) = block.strip_prefix(&self.place.last[..]) else {
                told.was_cut();
                self.end_line(told);
                self.place = Place::default();
                self.skips_zeros = true;
                continue;
            };
            if new.is_empty() {
                return Ok(Read::End);
            }
            self.last_read = Instant::now();
            self.place.offset += new.len() as u64;
            if self.skips_zeros {
                let zeros = new.iter().take_while(|byte| **byte == 0).count();
                new = &new[zeros..];
                self.skips_zeros = new.is_empty();
            }
            told.add(&mut self.partial, new);
            told.settle().await;
            let remembered = block.len().saturating_sub(REMEMBERED);
            self.place.last.clear();
            self.place.last.extend_from_slice(&block[remembered..]);
            blocks += 1;
            if told.is_over() || !all && blocks == BLOCKS_AT_ONCE {
                return Ok(Read::More);
            }
        }
    }

    /// Whether anything stands in it that has not been told.
    pub(crate) async fn has_more(&self) -> bool {
        let (read, _) = self.file.read_at(Vec::with_capacity(1), self.place.offset).await;
        read.is_ok_and(|count| count > 0)
    }

    /// Tells a line that has not ended, since nothing more of it comes.
    pub(crate) fn end_line(&mut self, told: &mut Told) {
        told.end_line(&mut self.partial);
    }
}
