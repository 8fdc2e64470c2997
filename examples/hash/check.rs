//! Digests that were printed, compared with what the files have now.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::{fs, io};

use crate::digest::Digest;
use crate::lines::Claim;
use crate::tool::{Contents, Items, Telling, Tool, Work, each, escaped, is_input, read_all};
use crate::{Arguments, digest_of};

/// Checks what the files say.
pub(crate) async fn check(tool: &Rc<Tool>, arguments: &Arguments) {
    let checks = Rc::new(Checks {
        tool: Rc::clone(tool),
        contents: Contents::new(),
        telling: arguments.reading.telling.clone(),
        quiet: arguments.quiet || arguments.status,
        silent: arguments.status,
        ignore_missing: arguments.ignore_missing,
        counts: Counts::default(),
    });
    for path in &arguments.reading.paths {
        let text = if is_input(path.as_os_str()) { read_all().await } else { fs::read(path).await };
        match text {
            Ok(text) => check_file(tool, &checks, arguments, path, text).await,
            Err(error) => tool.report(path, error),
        }
        if tool.is_over() {
            return;
        }
    }
}

async fn check_file(tool: &Rc<Tool>, checks: &Rc<Checks>, arguments: &Arguments, path: &Path, text: Vec<u8>) {
    checks.counts.clear();
    let claims = Claims {
        checks: Rc::clone(checks),
        text,
        next: 0,
        number: 0,
        path: path.to_path_buf(),
        algorithm: arguments.algorithm,
        tells: arguments.strict || arguments.status,
    };
    each(tool, checks, claims, arguments.reading.jobs.count()).await;
    let counts = &checks.counts;
    if counts.good.get() + counts.bad.get() + counts.unread.get() + counts.missing.get() == 0 {
        tool.report(path, "no line in it is one of a digest");
    } else if counts.malformed.get() > 0 && arguments.strict {
        tool.fail();
    }
    if arguments.ignore_missing && counts.good.get() + counts.bad.get() == 0 && counts.missing.get() > 0 {
        tool.report(path, "none of its files is there");
    }
    if arguments.status {
        return;
    }
    let warn = |count: u64, one: &str, many: &str| match count {
        0 => {}
        1 => tool.say(format_args!("WARNING: 1 {one}")),
        more => tool.say(format_args!("WARNING: {more} {many}")),
    };
    warn(counts.malformed.get(), "line is improperly formatted", "lines are improperly formatted");
    warn(counts.unread.get(), "listed file could not be read", "listed files could not be read");
    warn(counts.bad.get(), "computed checksum did NOT match", "computed checksums did NOT match");
}

struct Checks {
    tool: Rc<Tool>,
    contents: Contents,
    telling: Telling,
    quiet: bool,
    silent: bool,
    ignore_missing: bool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    good: Cell<u64>,
    bad: Cell<u64>,
    unread: Cell<u64>,
    missing: Cell<u64>,
    malformed: Cell<u64>,
}

impl Counts {
    fn clear(&self) {
        for count in [&self.good, &self.bad, &self.unread, &self.missing, &self.malformed] {
            count.set(0);
        }
    }
}

fn add_one(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

/// The claims of one file.
struct Claims {
    checks: Rc<Checks>,
    text: Vec<u8>,
    next: usize,
    number: u64,
    path: PathBuf,
    algorithm: crate::Algorithm,
    /// Each line that is none is told.
    tells: bool,
}

impl Items for Claims {
    type Item = Claim;

    async fn next(&mut self) -> Option<Claim> {
        let end = self.checks.telling.end();
        while self.next < self.text.len() {
            let rest = &self.text[self.next..];
            let length = memchr::memchr(end, rest).unwrap_or(rest.len());
            let line = &rest[..length];
            self.next += length + 1;
            self.number += 1;
            match Claim::parse(line, self.algorithm, end == b'\n') {
                Some(claim) => return Some(claim),
                None if line.is_empty() || line.starts_with(b"#") => {}
                None => {
                    add_one(&self.checks.counts.malformed);
                    if self.tells && !self.checks.silent {
                        let what = format_args!("{}: this is no line of a digest", self.number);
                        self.checks.tool.say_of(&self.path, what);
                    }
                }
            }
        }
        None
    }
}

enum Verdict {
    Good,
    Bad,
    Unread(io::Error),
}

impl Work for Checks {
    type Item = Claim;
    type Kept = Vec<u8>;
    type Outcome = (PathBuf, Verdict);

    async fn work(&self, buffer: &mut Vec<u8>, claim: Claim) -> (PathBuf, Verdict) {
        let verdict = match digest_of(&self.contents, claim.algorithm, &claim.path, buffer).await {
            Ok((digest, bytes)) => {
                self.tool.count(bytes);
                Verdict::of(digest, claim.digest)
            }
            Err(error) => Verdict::Unread(error),
        };
        (claim.path, verdict)
    }

    fn done(&self, (path, verdict): (PathBuf, Verdict)) {
        let (count, word) = match verdict {
            Verdict::Good => (&self.counts.good, "OK"),
            Verdict::Bad => (&self.counts.bad, "FAILED"),
            Verdict::Unread(error) if self.ignore_missing && error.kind() == io::ErrorKind::NotFound => {
                add_one(&self.counts.missing);
                return;
            }
            Verdict::Unread(error) => {
                self.tool.report(&path, error);
                (&self.counts.unread, "FAILED open or read")
            }
        };
        add_one(count);
        if word != "OK" {
            self.tool.fail();
        }
        if self.silent || self.quiet && word == "OK" {
            return;
        }
        let (name, is_escaped) = escaped(&path);
        let mark: &[u8] = if is_escaped { b"\\" } else { b"" };
        self.tool.print(&[mark, &name, b": ", word.as_bytes(), &[self.telling.end()]].concat());
    }
}

impl Verdict {
    fn of(found: Digest, claimed: Digest) -> Self {
        if found == claimed { Verdict::Good } else { Verdict::Bad }
    }
}
