//! The options that all tools have.

use std::path::PathBuf;

use clap::Args;

use super::Rules;

/// How the tools end, as their help tells.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 if all went well, 1 if something failed and the rest was done, 2 for wrong usage, 130 after Ctrl-C.
When nobody reads the output any more, as behind head, it ends quietly, with 0 unless something has failed before.";

/// What is read: of tools that change nothing.
#[derive(Args, Clone, Debug)]
pub(crate) struct Reading {
    /// Files and folders; "-" is standard input.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Leave out what .ignore and .gitignore files say.
    #[arg(long)]
    pub(crate) ignore: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    #[command(flatten)]
    pub(crate) telling: Telling,
}

impl Reading {
    /// What is left out of walks: nothing that is hidden.
    pub(crate) fn rules(&self) -> Rules {
        Rules { ignore_files: self.ignore, ..Rules::NONE }
    }
}

/// How many files at once.
#[derive(Args, Clone, Debug)]
pub(crate) struct Jobs {
    /// How many files are worked on at once.
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) jobs: u16,
}

impl Jobs {
    pub(crate) fn count(&self) -> usize {
        usize::from(self.jobs)
    }
}

/// Which files.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only files that match, or with "!" in front, that do not; may be given several times.
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) glob: Vec<String>,
    /// Follow symbolic links below folders. (Those that are named are always followed.)
    #[arg(long)]
    pub(crate) follow: bool,
    /// Go no further down than so many folders.
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<usize>,
    /// Do not go into other file systems.
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Go through folders in the order of their names: the output then is the same each time.
    #[arg(long)]
    pub(crate) sort: bool,
}

/// How it is told.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Telling {
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// End lines with a zero byte, and print names as they are.
    #[arg(short = '0', long)]
    pub(crate) null: bool,
    /// No progress bar. (There is none either if standard error is no terminal.)
    #[arg(long)]
    pub(crate) no_progress: bool,
}

impl Telling {
    pub(crate) fn progress(&self) -> bool {
        !self.no_progress
    }

    /// What ends a line.
    pub(crate) fn end(&self) -> u8 {
        if self.null && !self.json { 0 } else { b'\n' }
    }
}
