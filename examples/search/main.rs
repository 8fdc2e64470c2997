//! Searches files and trees for lines that match, as `grep` and `rg` do.
//!
//! Small files are read in one trip each, into a buffer that the worker keeps; longer ones in blocks that are cut where
//! lines end. What is found is printed in the order of the files. A file that finds very much waits for its turn and then
//! prints as it goes: so memory is bounded, whatever is found.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

#[path = "../tool/mod.rs"]
mod tool;

mod pattern;
mod print;
mod read;
mod scan;

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::{ArgAction, Parser, ValueEnum};
use corering::sync::Event;

use pattern::{Pattern, Reading};
use print::Style;
use read::{Binary, Found, Kept, Reader};
use scan::{Lines, Wanted};
use tool::{FAILED, Items, Jobs, Place, Places, Rules, Selection, Telling, Tool, What, Work, each};

/// Searches files for lines that match a pattern, and prints them.
///
/// Folders are searched with all that is in them, but for hidden files, binary files, and what .gitignore and .ignore
/// files leave out. Without a path, it searches what is piped into it, or the folder that it stands in.
///
/// Exit codes are those of grep: 0 if something was found, 1 if nothing was, 2 if something could not be searched or the
/// call is wrong, 130 after Ctrl-C. When nobody reads the output any more, as behind head, it ends quietly.
#[derive(Parser)]
#[command(name = "search", version, disable_help_flag = true)]
struct Arguments {
    /// A regular expression (unless -e is given: then all of these are paths), then files and folders; "-" is standard
    /// input.
    #[arg(value_name = "PATTERN] [PATH")]
    names: Vec<OsString>,
    /// A pattern; may be given several times.
    #[arg(short = 'e', long = "regexp", value_name = "PATTERN", allow_hyphen_values = true)]
    patterns: Vec<String>,
    /// Patterns are plain text.
    #[arg(short = 'F', long)]
    fixed_strings: bool,
    /// Upper and lower case are the same.
    #[arg(short, long)]
    ignore_case: bool,
    /// Likewise, if a pattern has no upper case letter.
    #[arg(short = 'S', long)]
    smart_case: bool,
    /// Only whole words.
    #[arg(short, long)]
    word_regexp: bool,
    /// Only whole lines.
    #[arg(long)]
    line_regexp: bool,
    /// Lines that do not match.
    #[arg(short = 'v', long)]
    invert_match: bool,
    /// Print how many lines of each file.
    #[arg(short, long, conflicts_with_all = ["files_with_matches", "files_without_match"])]
    count: bool,
    /// Print the names of files with such lines.
    #[arg(short = 'l', long, conflicts_with = "files_without_match")]
    files_with_matches: bool,
    /// Print the names of files without.
    #[arg(short = 'L', long)]
    files_without_match: bool,
    /// Print nothing, and end when one is found.
    #[arg(short, long)]
    quiet: bool,
    /// Print only what matches of a line.
    #[arg(short, long)]
    only_matching: bool,
    /// Print the number of each line.
    #[arg(short = 'n', long, overrides_with = "no_line_number")]
    line_number: bool,
    /// Print no numbers.
    #[arg(short = 'N', long, overrides_with = "line_number")]
    no_line_number: bool,
    /// Print the name of the file with each line. It is by default if there can be several.
    #[arg(short = 'H', long, overrides_with = "no_filename")]
    with_filename: bool,
    /// Print no names.
    #[arg(short = 'h', long, overrides_with = "with_filename")]
    no_filename: bool,
    /// No more than so many lines of each file.
    #[arg(short, long, value_name = "N")]
    max_count: Option<u64>,
    /// Also print so many lines behind each.
    #[arg(short = 'A', long, value_name = "N")]
    after_context: Option<usize>,
    /// Also print so many lines before each.
    #[arg(short = 'B', long, value_name = "N")]
    before_context: Option<usize>,
    /// Both.
    #[arg(short = 'C', long, value_name = "N")]
    context: Option<usize>,
    /// When to use colors: auto is on a terminal.
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Search binary files as if they were text.
    #[arg(short = 'a', long)]
    text: bool,
    /// Search hidden files, too.
    #[arg(short = '.', long)]
    hidden: bool,
    /// Do not look at .gitignore and .ignore files.
    #[arg(long)]
    no_ignore: bool,
    /// Put a zero byte behind names.
    #[arg(short = '0', long, visible_short_alias = 'Z')]
    null: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// No progress bar. (There is none either if standard error is no terminal, or lines are printed on one.)
    #[arg(long)]
    no_progress: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    jobs: Jobs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.patterns.is_empty() {
        if arguments.names.is_empty() {
            tool::usage("search", "what to search for is missing");
        }
        match arguments.names.remove(0).into_string() {
            Ok(pattern) => arguments.patterns.push(pattern),
            Err(pattern) => tool::usage("search", format_args!("the pattern {pattern:?} is not UTF-8")),
        }
    }
    let reading = Reading {
        fixed: arguments.fixed_strings,
        ignore_case: arguments.ignore_case,
        smart_case: arguments.smart_case,
        words: arguments.word_regexp,
        whole_lines: arguments.line_regexp,
        text: arguments.text,
    };
    let pattern = match Pattern::new(&arguments.patterns, reading) {
        Ok(pattern) => pattern,
        Err(error) => tool::usage("search", error),
    };
    let here = arguments.names.is_empty();
    if here {
        arguments.names.push(if is_piped_into() { "-" } else { "./" }.into());
    }
    let paths: Vec<PathBuf> = std::mem::take(&mut arguments.names).into_iter().map(PathBuf::from).collect();
    let several = paths.len() > 1 || paths.iter().any(|path| path.is_dir());
    let telling = Telling { json: arguments.json, null: arguments.null, no_progress: arguments.no_progress };
    let tool = Tool::new("search", &telling, arguments.shown() != Shown::Nothing);
    let wanted = arguments.wanted();
    let color = match arguments.color {
        Color::Auto => io::stdout().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    let searches = Rc::new(Searches {
        tool: Rc::clone(&tool),
        reader: Reader::new(pattern, wanted),
        shown: arguments.shown(),
        style: Style {
            names: !arguments.no_filename && (arguments.with_filename || several),
            numbers: arguments.line_number && !arguments.no_line_number,
            only_matching: arguments.only_matching,
            color: color && !arguments.json,
            null: arguments.null,
            json: arguments.json,
            invert: arguments.invert_match,
            context: wanted.before + wanted.after > 0,
        },
        text: arguments.text,
        below_here: here,
        found: Cell::new(false),
        printed: Cell::new(false),
        next: Cell::new(0),
        turn: Event::new(),
    });
    let rules = Rules { ignore_files: !arguments.no_ignore, hidden: arguments.hidden };
    let places = match Places::new(&tool, paths, &arguments.selection, rules, tool::Wanted::default()) {
        Ok(places) => places,
        Err(error) => tool::usage("search", error),
    };
    let numbered = Numbered { places, searches: Rc::clone(&searches), next: 0 };
    let jobs = arguments.jobs.count();
    let ended = tool.run(async { each(&tool, &searches, numbered, jobs).await }, |_| {});
    // grep's codes: what the tools call a failure is 2 here, since 1 says that nothing was found.
    let found = searches.found.get();
    if ended == ExitCode::SUCCESS {
        ExitCode::from(u8::from(!found))
    } else if ended == ExitCode::from(FAILED) {
        ExitCode::from(if found && searches.shown == Shown::Nothing { 0 } else { 2 })
    } else {
        ended
    }
}

/// Whether standard input is a pipe or a file, which is then meant.
fn is_piped_into() -> bool {
    let kind = std::fs::metadata("/proc/self/fd/0").map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_file() || kind.is_fifo() || kind.is_socket())
}

impl Arguments {
    fn shown(&self) -> Shown {
        if self.quiet {
            Shown::Nothing
        } else if self.files_with_matches {
            Shown::NamesWith
        } else if self.files_without_match {
            Shown::NamesWithout
        } else if self.count {
            Shown::Counts
        } else {
            Shown::Lines
        }
    }

    fn wanted(&self) -> Wanted {
        let lines = match self.shown() {
            Shown::Nothing | Shown::NamesWith | Shown::NamesWithout => Lines::Any,
            Shown::Counts => Lines::Counted,
            Shown::Lines => Lines::Told,
        };
        let (before, after) = (self.before_context.or(self.context), self.after_context.or(self.context));
        let told = |lines: Option<usize>| if self.only_matching { 0 } else { lines.unwrap_or(0) };
        Wanted {
            invert: self.invert_match,
            before: told(before),
            after: told(after),
            most: self.max_count.unwrap_or(u64::MAX),
            lines,
            numbers: self.json || self.line_number && !self.no_line_number,
        }
    }
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Lines,
    Counts,
    NamesWith,
    NamesWithout,
    Nothing,
}

/// Searches of all places.
struct Searches {
    tool: Rc<Tool>,
    reader: Reader,
    shown: Shown,
    style: Style,
    text: bool,
    /// No path was given: then those below are told without "./".
    below_here: bool,
    /// Any line was.
    found: Cell<bool>,
    /// Any line was printed.
    printed: Cell<bool>,
    /// The first place that is not done.
    next: Cell<u64>,
    /// Set when that changes.
    turn: Event,
}

/// The places with their numbers, until nothing more is to be found.
struct Numbered {
    places: Places,
    searches: Rc<Searches>,
    next: u64,
}

impl Items for Numbered {
    type Item = (u64, Place);

    async fn next(&mut self) -> Option<(u64, Place)> {
        if self.searches.shown == Shown::Nothing && self.searches.found.get() {
            return None;
        }
        let place = self.places.next().await?;
        self.next += 1;
        Some((self.next - 1, place))
    }
}

/// What came of a place.
struct Outcome {
    place: Place,
    found: Option<io::Result<Found>>,
    /// Some of what is to be printed has been.
    begun: bool,
}

impl Work for Searches {
    type Item = (u64, Place);
    type Kept = Kept;
    type Outcome = Outcome;

    async fn work(&self, kept: &mut Kept, (number, place): (u64, Place)) -> Outcome {
        let path = self.shown_path(&place.path);
        let binary = match () {
            () if self.text => Binary::Text,
            () if place.named => Binary::Told,
            () => Binary::Skipped,
        };
        let mut begun = false;
        let flush = async |out: &mut Vec<u8>| {
            while self.next.get() != number {
                self.turn.clear();
                self.turn.wait().await;
            }
            self.print(out, std::mem::replace(&mut begun, true));
            out.clear();
            self.tool.settle().await;
            !self.tool.is_over()
        };
        let found = match place.what {
            What::File => Some(self.reader.file(&place.path, path, binary, self.style, kept, flush).await),
            What::Input => {
                Some(self.reader.input(Path::new("(standard input)"), binary, self.style, kept, flush).await)
            }
            What::Special(_) if place.path == Path::new("/dev/null") => Some(Ok(Found::default())),
            What::Special(_) if place.named => Some(Err(io::Error::other("neither a file nor a directory"))),
            What::Special(_) | What::Folder | What::Link => None,
        };
        Outcome { place, found, begun }
    }

    fn done(&self, Outcome { place, found, begun }: Outcome) {
        match found {
            Some(Ok(found)) => self.tell(&place, found, begun),
            Some(Err(error)) => self.tool.report(&place.path, error),
            None => {}
        }
        self.next.set(self.next.get() + 1);
        self.turn.set();
    }
}

impl Searches {
    fn shown_path<'a>(&self, path: &'a Path) -> &'a Path {
        if self.below_here { path.strip_prefix("./").unwrap_or(path) } else { path }
    }

    fn tell(&self, place: &Place, mut found: Found, begun: bool) {
        self.tool.count(found.bytes);
        let path = match place.what {
            What::Input => Path::new("(standard input)"),
            What::File | What::Folder | What::Link | What::Special(_) => self.shown_path(&place.path),
        };
        let any = found.matches > 0;
        match self.shown {
            Shown::Lines => {}
            Shown::Counts | Shown::NamesWithout if found.is_skipped => return,
            Shown::Counts => self.style.count(&mut found.out, path, found.matches),
            Shown::NamesWith if any => self.style.name(&mut found.out, path),
            Shown::NamesWithout if !any => self.style.name(&mut found.out, path),
            Shown::NamesWith | Shown::NamesWithout | Shown::Nothing => {}
        }
        // With -L, a name that is printed is what was searched for.
        self.found.set(self.found.get() | if self.shown == Shown::NamesWithout { !any } else { any });
        self.print(&found.out, begun);
    }

    /// Prints what was found in a file; `begun` says that some of it has been printed already.
    fn print(&self, out: &[u8], begun: bool) {
        if out.is_empty() {
            return;
        }
        if self.style.context && !self.style.json && self.printed.get() && !begun {
            let mut gap = Vec::new();
            self.style.gap(&mut gap);
            self.tool.print(&gap);
        }
        self.tool.print(out);
        self.printed.set(true);
    }
}
