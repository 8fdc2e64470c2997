//! One file, searched line by line, in blocks that end where lines end.
//!
//! ```text
//! block:  [ lines that may be told before a match | lines that were not searched yet | part of a line ]
//!                                                 ^ from                             ^ end of the block's lines
//! ```

use std::ops::Range;

use crate::pattern::{Pattern, end_of_line};

/// What is wanted of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Lines that do not match.
    pub(crate) invert: bool,
    /// Lines to tell before and after each.
    pub(crate) before: usize,
    pub(crate) after: usize,
    /// No more lines of a file than these.
    pub(crate) most: u64,
    pub(crate) lines: Lines,
    /// The number of each line is told.
    pub(crate) numbers: bool,
}

/// What is wanted of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// They themselves.
    Told,
    /// How many.
    Counted,
    /// Whether there is any.
    Any,
}

/// A line that is to be told.
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// From 1 on, if numbers are wanted.
    pub(crate) number: u64,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// It was searched for; otherwise it stands near one that was.
    pub(crate) is_match: bool,
    /// Lines that are not told stand between the one that was told before and this one.
    pub(crate) after_gap: bool,
}

/// How far the search of one file has come.
pub(crate) struct Scan<'a> {
    pattern: &'a Pattern,
    wanted: Wanted,
    /// Where the block begins in the file.
    base: u64,
    /// Ends of lines before `counted_to`, which is a place in the block.
    ends: u64,
    counted_to: usize,
    /// The end of the last line that was told, in the block; none if none was, or it is gone.
    told_to: Option<usize>,
    told_any: bool,
    after_left: usize,
    pub(crate) matches: u64,
    /// Nothing more is to be found.
    pub(crate) is_over: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(pattern: &'a Pattern, wanted: Wanted) -> Self {
        Self {
            pattern,
            wanted,
            base: 0,
            ends: 0,
            counted_to: 0,
            told_to: None,
            told_any: false,
            after_left: 0,
            matches: 0,
            is_over: wanted.most == 0,
        }
    }

    /// Searches the lines from `from` on.
    pub(crate) fn search(&mut self, block: &[u8], from: usize, tell: &mut impl FnMut(Line<'_>)) {
        let mut at = from;
        // When lines that do not match are wanted: the next that does.
        let mut known: Option<Option<Range<usize>>> = None;
        while at < block.len() && !self.is_over {
            let next = if self.matches == self.wanted.most {
                None
            } else if self.wanted.invert {
                let next_match = match known.take() {
                    Some(Some(line)) if line.start >= at => Some(line),
                    Some(None) => None,
                    Some(Some(_)) | None => self.pattern.next_line(block, at),
                };
                let mut start = at;
                let mut next_match = next_match;
                while next_match.as_ref().is_some_and(|line| line.start == start) {
                    start = end_of_line(block, start);
                    next_match = self.pattern.next_line(block, start);
                }
                known = Some(next_match);
                (start < block.len()).then(|| start..end_of_line(block, start))
            } else {
                self.pattern.next_line(block, at)
            };
            let Some(line) = next else {
                self.tell_after(block, at, block.len(), tell);
                at = block.len();
                continue;
            };
            match self.wanted.lines {
                Lines::Told => {
                    self.tell_after(block, at, line.start, tell);
                    self.tell_before(block, line.start, tell);
                    self.tell(block, line.clone(), true, tell);
                    self.after_left = self.wanted.after;
                }
                Lines::Counted => {}
                Lines::Any => self.is_over = true,
            }
            at = line.end;
            self.matches += 1;
            self.is_over |= self.matches == self.wanted.most && self.after_left == 0;
        }
    }

    /// Tells what stands behind a line that was told, up to the next.
    fn tell_after(&mut self, block: &[u8], mut at: usize, end: usize, tell: &mut impl FnMut(Line<'_>)) {
        while self.after_left > 0 && at < end {
            let line = at..end_of_line(block, at);
            at = line.end;
            self.tell(block, line, false, tell);
            self.after_left -= 1;
        }
        self.is_over |= self.matches == self.wanted.most && self.after_left == 0;
    }

    fn tell_before(&mut self, block: &[u8], end: usize, tell: &mut impl FnMut(Line<'_>)) {
        let mut at = self.lines_before(block, end).max(self.told_to.unwrap_or(0));
        while at < end {
            let line = at..end_of_line(block, at);
            at = line.end;
            self.tell(block, line, false, tell);
        }
    }

    fn tell(&mut self, block: &[u8], line: Range<usize>, is_match: bool, tell: &mut impl FnMut(Line<'_>)) {
        let number = if self.wanted.numbers { self.ends_before(block, line.start) + 1 } else { 0 };
        let after_gap = self.told_any && self.told_to != Some(line.start);
        self.told_to = Some(line.end);
        self.told_any = true;
        let offset = self.base + line.start as u64;
        tell(Line { bytes: &block[line], number, offset, is_match, after_gap });
    }

    /// Where the lines begin that may have to be told before one that begins at `end`.
    fn lines_before(&self, block: &[u8], end: usize) -> usize {
        let mut start = end;
        for _ in 0..self.wanted.before {
            if start == 0 {
                break;
            }
            start = memchr::memrchr(b'\n', &block[..start - 1]).map_or(0, |end| end + 1);
        }
        start
    }

    fn ends_before(&mut self, block: &[u8], to: usize) -> u64 {
        if to > self.counted_to {
            self.ends += bytecount::count(&block[self.counted_to..to], b'\n') as u64;
            self.counted_to = to;
        }
        self.ends
    }

    /// How many bytes at the beginning of the block are of no use any more, when its lines up to `end` were searched.
    /// They are then forgotten, and the block is to begin behind them.
    pub(crate) fn move_on(&mut self, block: &[u8], end: usize) -> usize {
        let gone = match self.wanted.lines {
            Lines::Told => self.lines_before(block, end),
            Lines::Counted | Lines::Any => end,
        };
        if self.wanted.numbers {
            self.ends_before(block, gone);
        }
        self.counted_to = self.counted_to.saturating_sub(gone);
        self.told_to = self.told_to.and_then(|told_to| told_to.checked_sub(gone));
        self.base += gone as u64;
        gone
    }
}
