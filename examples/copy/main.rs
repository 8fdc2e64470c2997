//! Copies files and trees, as `cp` does.
//!
//! ```text
//! walk --> Steps: makes folders, in order --> workers: some files per job --> in order: what was done
//!                                             temporary name, contents, times, its own name
//! ```
//!
//! Invariant: under its own name a file is there whole, as it was or as it is to be. What is under way has another name,
//! which goes when the copy fails or is interrupted; with --resume it stays, and the next run goes on there. A folder
//! that is new has another name until all is in it, or no more comes.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

#[path = "../tool/mod.rs"]
mod tool;

mod attributes;
mod file;
mod hidden;
mod partial;
mod steps;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use tool::{EXIT_CODES, Jobs, Selection, Telling};

/// Copies files, and with -r folders, to another name or into a folder.
///
/// Under its own name each file is there whole, as it was or as it is to be, whenever this is interrupted; a new folder is
/// filled under a hidden name and gets its own at the end. Holes stay holes, and where the file system can, copies share their contents with what they are copied from until one is changed.
/// Links are copied as links. Devices, named pipes and sockets are reported and left out.
#[derive(Parser, Clone)]
#[command(name = "copy", version, after_help = EXIT_CODES)]
struct Arguments {
    /// What is to be copied, and where to: a folder that is there, or a new name.
    #[arg(required = true, value_names = ["FROM", "TO"])]
    paths: Vec<PathBuf>,
    /// Copy folders with all that is in them.
    #[arg(short, long, visible_short_alias = 'R')]
    recursive: bool,
    /// Recursive, and keep all that can be kept: --preserve=all.
    #[arg(short, long)]
    archive: bool,
    /// Keep permissions, times and, if allowed, owners.
    #[arg(short = 'p')]
    keep: bool,
    /// What is kept.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., require_equals = true,
          default_missing_value = "mode,times,ownership")]
    preserve: Vec<Preserve>,
    /// Copy what links lead to, not the links.
    #[arg(short = 'L', long)]
    dereference: bool,
    /// Read both back and compare, before a file gets its name.
    #[arg(long)]
    verify: bool,
    /// Leave out what is there with the same length and time, go on with what was interrupted, and keep times.
    #[arg(long)]
    resume: bool,
    /// Only say what would be copied.
    #[arg(long)]
    dry_run: bool,
    /// Replace what is write-protected, too.
    #[arg(short, long)]
    force: bool,
    /// Leave what is there as it is.
    #[arg(short, long, conflicts_with = "force")]
    no_clobber: bool,
    /// Replace only what is older.
    #[arg(short, long)]
    update: bool,
    /// Whether copies share their contents.
    #[arg(long, value_enum, default_value_t = Reflink::Auto, default_missing_value = "always", num_args = 0..=1,
          require_equals = true)]
    reflink: Reflink,
    /// TO is a name, not a folder to copy into.
    #[arg(short = 'T', long)]
    no_target_directory: bool,
    /// Say what is copied.
    #[arg(short, long)]
    verbose: bool,
    /// Leave out what .ignore and .gitignore files say.
    #[arg(long)]
    ignore: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    telling: Telling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preserve {
    Mode,
    Times,
    Ownership,
    Xattr,
    /// Files that have several names keep them.
    Links,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reflink {
    /// Where the file system can.
    Auto,
    Always,
    Never,
}

fn main() -> ExitCode {
    work::run(Arguments::parse())
}
