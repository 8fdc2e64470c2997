//! Lines, words, bytes and characters of files and trees, as `wc` counts them, and the room they take, as `du` does.
//!
//! What is counted is read as `hash` reads: small files in one trip each, long ones by two reads at a time. Room is a
//! matter of metadata alone, which the walk brings along.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

#[path = "../tool/mod.rs"]
mod tool;

mod contents;
mod disk;
mod folders;
mod sizes;
mod text;

use std::process::ExitCode;

use clap::Parser;

use tool::{EXIT_CODES, Reading};

/// Counts lines, words and bytes of files as wc does, and of all files in folders; or, with --disk, the room that they
/// take as du does.
///
/// Links in folders are not followed unless that is asked for, and what could be waited for in vain (devices, named
/// pipes, sockets) is left out. Characters and words are those of the locale if it says UTF-8, else those of ASCII.
#[derive(Parser)]
#[command(name = "count", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Count lines.
    #[arg(short, long)]
    lines: bool,
    /// Count words.
    #[arg(short, long)]
    words: bool,
    /// Count bytes.
    #[arg(short = 'c', long)]
    bytes: bool,
    /// Count characters.
    #[arg(short = 'm', long)]
    chars: bool,
    /// The width of the longest line.
    #[arg(short = 'L', long)]
    longest: bool,
    /// The room that files and folders take on the disk, in KiB. What has several names is counted once.
    #[arg(short, long, conflicts_with_all = ["lines", "words", "bytes", "chars", "longest"])]
    disk: bool,
    /// With --disk: bytes of the contents, not of the disk.
    #[arg(long, requires = "disk")]
    apparent: bool,
    /// With --disk: count each name of what has several.
    #[arg(long, requires = "disk")]
    count_links: bool,
    /// Sums of folders down to so many levels below what is named, not the single files. (With --disk, 0 unless given.)
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Only the total of all.
    #[arg(short, long)]
    total: bool,
    /// Sizes as 1.5K, 23M, 4.0G.
    #[arg(short = 'H', long)]
    human: bool,
    #[command(flatten)]
    reading: Reading,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.disk { disk::run(arguments) } else { contents::run(arguments) }
}
