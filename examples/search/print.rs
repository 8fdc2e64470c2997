//! How lines, counts and names are printed.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use crate::pattern::{Pattern, content};
use crate::scan::Line;
use crate::tool::text;

/// How it is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) names: bool,
    pub(crate) numbers: bool,
    /// Only what matches of a line.
    pub(crate) only_matching: bool,
    pub(crate) color: bool,
    /// A zero byte behind names.
    pub(crate) null: bool,
    pub(crate) json: bool,
    pub(crate) invert: bool,
    /// Lines nearby are told: then a line stands between what is not.
    pub(crate) context: bool,
}

const NAME: &[u8] = b"\x1b[35m";
const NUMBER: &[u8] = b"\x1b[32m";
const SIGN: &[u8] = b"\x1b[36m";
const MATCH: &[u8] = b"\x1b[1;31m";
const PLAIN: &[u8] = b"\x1b[0m";

#[derive(Serialize)]
struct LineObject<'a> {
    path: Cow<'a, str>,
    line: u64,
    offset: u64,
    text: Cow<'a, str>,
    matches: Vec<(usize, usize)>,
    context: bool,
}

#[derive(Serialize)]
struct CountObject<'a> {
    path: Cow<'a, str>,
    count: u64,
}

#[derive(Serialize)]
struct NameObject<'a> {
    path: Cow<'a, str>,
}

#[derive(Serialize)]
struct BinaryObject<'a> {
    path: Cow<'a, str>,
    binary_offset: u64,
}

impl Style {
    pub(crate) fn line(self, out: &mut Vec<u8>, path: &Path, pattern: &Pattern, line: &Line<'_>) {
        let bytes = content(line.bytes);
        if self.json {
            let mut matches = Vec::new();
            if line.is_match && !self.invert {
                pattern.each_in(bytes, |found| matches.push((found.start, found.end)));
            }
            let text = String::from_utf8_lossy(bytes);
            let (path, context) = (crate::tool::text(path), !line.is_match);
            return object(out, &LineObject { path, line: line.number, offset: line.offset, text, matches, context });
        }
        if line.after_gap && self.context {
            self.gap(out);
        }
        if self.only_matching {
            if line.is_match && !self.invert {
                pattern.each_in(bytes, |found| {
                    if !found.is_empty() {
                        self.head(out, path, line);
                        self.colored(out, MATCH, &bytes[found]);
                        out.push(b'\n');
                    }
                });
            }
            return;
        }
        self.head(out, path, line);
        let mut at = 0;
        if self.color && line.is_match && !self.invert {
            pattern.each_in(bytes, |found| {
                if !found.is_empty() {
                    out.extend_from_slice(&bytes[at..found.start]);
                    self.colored(out, MATCH, &bytes[found.clone()]);
                    at = found.end;
                }
            });
        }
        out.extend_from_slice(&bytes[at..]);
        out.push(b'\n');
    }

    /// What stands before a line.
    fn head(self, out: &mut Vec<u8>, path: &Path, line: &Line<'_>) {
        let sign: &[u8] = if line.is_match { b":" } else { b"-" };
        if self.names {
            self.colored(out, NAME, path.as_os_str().as_bytes());
            if self.null {
                out.push(0);
            } else {
                self.colored(out, SIGN, sign);
            }
        }
        if self.numbers {
            let digits = digits_of(line.number);
            self.colored(out, NUMBER, digits.get());
            self.colored(out, SIGN, sign);
        }
    }

    pub(crate) fn gap(self, out: &mut Vec<u8>) {
        self.colored(out, SIGN, b"--");
        out.push(b'\n');
    }

    pub(crate) fn count(self, out: &mut Vec<u8>, path: &Path, count: u64) {
        if self.json {
            return object(out, &CountObject { path: text(path), count });
        }
        if self.names {
            self.colored(out, NAME, path.as_os_str().as_bytes());
            if self.null {
                out.push(0);
            } else {
                self.colored(out, SIGN, b":");
            }
        }
        out.extend_from_slice(digits_of(count).get());
        out.push(b'\n');
    }

    pub(crate) fn name(self, out: &mut Vec<u8>, path: &Path) {
        if self.json {
            return object(out, &NameObject { path: text(path) });
        }
        self.colored(out, NAME, path.as_os_str().as_bytes());
        out.push(if self.null { 0 } else { b'\n' });
    }

    /// That a file is binary: `what` says what that meant.
    pub(crate) fn binary(self, out: &mut Vec<u8>, path: &Path, what: &str, offset: u64) {
        if self.json {
            return object(out, &BinaryObject { path: text(path), binary_offset: offset });
        }
        if self.names {
            out.extend_from_slice(path.as_os_str().as_bytes());
            out.extend_from_slice(b": ");
        }
        out.extend_from_slice(format!("{what} (found \"\\0\" byte around offset {offset})\n").as_bytes());
    }

    fn colored(self, out: &mut Vec<u8>, color: &[u8], bytes: &[u8]) {
        if self.color {
            out.extend_from_slice(color);
            out.extend_from_slice(bytes);
            out.extend_from_slice(PLAIN);
        } else {
            out.extend_from_slice(bytes);
        }
    }
}

fn object(out: &mut Vec<u8>, object: &impl Serialize) {
    // What is written to memory and has only texts for keys does not fail.
    if serde_json::to_writer(&mut *out, object).is_ok() {
        out.push(b'\n');
    }
}

/// A number in digits.
struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    fn get(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

fn digits_of(mut number: u64) -> Digits {
    let mut digits = Digits { bytes: [0; 20], start: 20 };
    loop {
        digits.start -= 1;
        digits.bytes[digits.start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return digits;
        }
    }
}
