//! Files, read and searched.

use std::path::Path;

use corering::fs::{self, File};
use corering::io;
use corering::io::AsyncRead as _;
use corering::sync::Semaphore;

use crate::pattern::Pattern;
use crate::print::Style;
use crate::scan::{Lines, Scan, Wanted};

/// What is shorter is read in one trip.
const SMALL: usize = 64 * 1024;
/// What is longer is read in such blocks.
const BLOCK: usize = 256 * 1024;
/// How many long files are read at once.
const LONG_AT_ONCE: usize = 4;
/// A longer line is an error: it has to be in memory as a whole.
const LONGEST_LINE: usize = 64 * 1024 * 1024;
/// What is found is printed when it is so much, once it is the file's turn.
const MUCH: usize = 256 * 1024;

/// What is done with files that have zero bytes in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    /// They are text.
    Text,
    /// That something is found is told, not the line.
    Told,
    /// The search ends before the block that has the first one.
    Skipped,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) matches: u64,
    pub(crate) bytes: u64,
    /// What is to be printed, and has not been.
    pub(crate) out: Vec<u8>,
    /// It is binary, and no count is to be told.
    pub(crate) is_skipped: bool,
}

/// What a worker keeps.
#[derive(Default)]
pub(crate) struct Kept {
    block: Vec<u8>,
    out: Vec<u8>,
}

/// Searches files.
pub(crate) struct Reader {
    pattern: Pattern,
    wanted: Wanted,
    long: Semaphore,
}

impl Reader {
    pub(crate) fn new(pattern: Pattern, wanted: Wanted) -> Self {
        Self { pattern, wanted, long: Semaphore::new(LONG_AT_ONCE) }
    }

    /// Searches a file. `flush` prints a part of what was found, when there is much, and says whether somebody reads it.
    pub(crate) async fn file(
        &self,
        path: &Path,
        shown: &Path,
        binary: Binary,
        style: Style,
        kept: &mut Kept,
        flush: impl AsyncFnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<Found> {
        kept.block.clear();
        kept.block.reserve_exact(SMALL);
        let read;
        (read, kept.block) = fs::read_into(path, std::mem::take(&mut kept.block)).await;
        read?;
        let mut search = Search::new(self, shown, binary, style, kept);
        if search.block.len() < search.block.capacity() {
            search.take_in(true)?;
            return Ok(search.end());
        }
        // From the beginning: another file may have its name meanwhile.
        let _turn = self.long.acquire().await.map_err(io::Error::other)?;
        search.block.clear();
        let file = File::open(path).await?;
        let mut offset = 0;
        let next = async |block| {
            let (read, block) = file.read_at(block, offset).await;
            offset += read.as_ref().map_or(0, |count| *count as u64);
            (read, block)
        };
        search.go(next, flush).await
    }

    /// Searches standard input.
    pub(crate) async fn input(
        &self,
        shown: &Path,
        binary: Binary,
        style: Style,
        kept: &mut Kept,
        flush: impl AsyncFnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<Found> {
        let mut input = corering::io::stdin();
        kept.block.clear();
        Search::new(self, shown, binary, style, kept).go(async |block| input.read(block).await, flush).await
    }
}

/// The search of one file.
struct Search<'a> {
    scan: Scan<'a>,
    reader: &'a Reader,
    shown: &'a Path,
    binary: Binary,
    style: Style,
    block: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
    /// So many bytes at the beginning of the block have been searched.
    searched: usize,
    /// So many have been looked through for zero bytes.
    looked: usize,
    bytes: u64,
    /// Where in the file the first zero byte is.
    zero: Option<u64>,
}

impl<'a> Search<'a> {
    fn new(reader: &'a Reader, shown: &'a Path, binary: Binary, style: Style, kept: &'a mut Kept) -> Self {
        kept.out.clear();
        Self {
            scan: Scan::new(&reader.pattern, reader.wanted),
            reader,
            shown,
            binary,
            style,
            block: &mut kept.block,
            out: &mut kept.out,
            searched: 0,
            looked: 0,
            bytes: 0,
            zero: None,
        }
    }

    /// Searches block after block.
    async fn go(
        mut self,
        mut next: impl AsyncFnMut(Vec<u8>) -> (io::Result<usize>, Vec<u8>),
        mut flush: impl AsyncFnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<Found> {
        loop {
            // Room for a block, or, if a line is longer than that, for twice as much of it.
            let room = BLOCK.max(self.block.len());
            self.block.try_reserve(room)?;
            let read;
            (read, *self.block) = next(std::mem::take(self.block)).await;
            let count = read?;
            self.take_in(count == 0)?;
            if self.out.len() >= MUCH && !flush(self.out).await {
                break;
            }
            if count == 0 || self.scan.is_over {
                break;
            }
        }
        let found = self.end();
        Ok(found)
    }

    /// Searches what was read. At the end of the file, what is left is a line, too.
    fn take_in(&mut self, is_end: bool) -> io::Result<()> {
        self.bytes += (self.block.len() - self.looked) as u64;
        let mut is_end = is_end;
        if self.binary != Binary::Text && self.zero.is_none() {
            if let Some(at) = memchr::memchr(0, &self.block[self.looked..]) {
                let at = self.looked + at;
                self.zero = Some(self.bytes - (self.block.len() - at) as u64);
                if self.binary == Binary::Skipped {
                    // As if the file had ended before what was just read.
                    self.block.truncate(self.searched);
                    is_end = true;
                }
            }
        }
        self.looked = self.block.len();
        let end = if is_end {
            self.block.len()
        } else {
            memchr::memrchr(b'\n', &self.block[self.searched..]).map_or(self.searched, |end| self.searched + end + 1)
        };
        self.search(end);
        if is_end || self.scan.is_over {
            self.scan.is_over = true;
            return Ok(());
        }
        let gone = self.scan.move_on(&self.block[..end], end);
        self.block.drain(..gone);
        (self.searched, self.looked) = (end - gone, self.looked - gone);
        if self.block.len() - self.searched > LONGEST_LINE {
            return Err(io::Error::other("a line is longer than 64 MiB"));
        }
        Ok(())
    }

    fn search(&mut self, end: usize) {
        let block = &self.block[..end];
        let (pattern, style, shown) = (&self.reader.pattern, self.style, self.shown);
        // Lines of what is binary are not told, only that there are any.
        let zero = self.zero.filter(|_| self.binary == Binary::Told && self.reader.wanted.lines == Lines::Told);
        let Some(zero) = zero else {
            let out = &mut *self.out;
            self.scan.search(block, self.searched, &mut |line| style.line(out, shown, pattern, &line));
            return;
        };
        let before = self.scan.matches;
        self.scan.search(block, self.searched, &mut |_| {});
        if self.scan.matches > before {
            style.binary(self.out, shown, "binary file matches", zero);
            self.scan.is_over = true;
        }
    }

    fn end(self) -> Found {
        let is_skipped = self.binary == Binary::Skipped && self.zero.is_some();
        if let Some(zero) = self.zero.filter(|_| is_skipped && self.scan.matches > 0) {
            if self.reader.wanted.lines == Lines::Told {
                let what = "WARNING: stopped searching binary file after match";
                self.style.binary(self.out, self.shown, what, zero);
            }
        }
        if self.block.capacity() > SMALL {
            *self.block = Vec::new();
        }
        let matches = if is_skipped && self.reader.wanted.lines == Lines::Counted { 0 } else { self.scan.matches };
        Found { matches, bytes: self.bytes, out: std::mem::take(self.out), is_skipped }
    }
}
