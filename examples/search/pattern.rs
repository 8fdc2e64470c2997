//! What is searched for.

use std::ops::Range;

use grep_matcher::{LineMatchKind, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};

/// How patterns are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) fixed: bool,
    pub(crate) ignore_case: bool,
    pub(crate) smart_case: bool,
    pub(crate) words: bool,
    pub(crate) whole_lines: bool,
    /// Zero bytes are text.
    pub(crate) text: bool,
}

/// Patterns, of which one has to be found in a line.
pub(crate) struct Pattern(RegexMatcher);

impl Pattern {
    /// The error says where a pattern is wrong.
    pub(crate) fn new(patterns: &[String], how: Reading) -> Result<Self, grep_regex::Error> {
        let mut builder = RegexMatcherBuilder::new();
        builder
            .multi_line(true)
            .line_terminator(Some(b'\n'))
            .fixed_strings(how.fixed)
            .case_insensitive(how.ignore_case)
            .case_smart(how.smart_case && !how.ignore_case)
            .word(how.words)
            .whole_line(how.whole_lines);
        if !how.text {
            builder.ban_byte(Some(0));
        }
        // Several lines in one argument are several patterns, as grep has it.
        let patterns: Vec<&str> = patterns.iter().flat_map(|pattern| pattern.split('\n')).collect();
        builder.build_many(&patterns).map(Self)
    }

    /// The first line from `at` on, which is the beginning of a line, that it is found in. With the line's end.
    pub(crate) fn next_line(&self, bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
        while at < bytes.len() {
            let found = self.0.find_candidate_line(&bytes[at..]).unwrap_or(None)?;
            let (inside, certain) = match found {
                LineMatchKind::Confirmed(inside) => (inside, true),
                LineMatchKind::Candidate(inside) => (inside, false),
            };
            // What is found behind the last line is in none.
            if at + inside >= bytes.len() && bytes.last() == Some(&b'\n') {
                return None;
            }
            let line = line_around(bytes, at, at + inside);
            if certain || self.is_in(content(&bytes[line.clone()])) {
                return Some(line);
            }
            at = line.end;
        }
        None
    }

    fn is_in(&self, line: &[u8]) -> bool {
        self.0.is_match(line).unwrap_or(false)
    }

    /// Where in a line it is found, one after the other.
    pub(crate) fn each_in(&self, line: &[u8], mut found: impl FnMut(Range<usize>)) {
        let ended = self.0.find_iter(line, |place| {
            found(place.start()..place.end());
            true
        });
        ended.unwrap_or(());
    }
}

/// The line that something is in; nothing before `from` is part of it.
fn line_around(bytes: &[u8], from: usize, at: usize) -> Range<usize> {
    let start = memchr::memrchr(b'\n', &bytes[from..at]).map_or(from, |end| from + end + 1);
    start..end_of_line(bytes, at)
}

/// Where the line ends that `at` is in: behind its end.
pub(crate) fn end_of_line(bytes: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |end| at + end + 1)
}

/// A line without its end.
pub(crate) fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
