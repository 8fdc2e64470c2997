//! Digests of files and trees, as `b3sum` and `sha256sum` print and check them.
//!
//! Small files are read in one trip each, into a buffer that the worker keeps; what does not fit is read on by two reads
//! at a time.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

#[path = "../tool/mod.rs"]
mod tool;

mod check;
mod digest;
mod lines;

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::io;

use digest::{Algorithm, Digest};
use tool::{Contents, EXIT_CODES, Place, Places, Reading, Telling, Tool, Wanted, What, Work, each};

/// Prints the BLAKE3 or SHA-256 digest of each file, as b3sum and sha256sum do, or checks digests that were printed.
///
/// Folders are walked; links in them are not followed unless that is asked for, and what could be waited for in vain
/// (devices, named pipes, sockets) is left out.
#[derive(Parser)]
#[command(name = "hash", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Which digest.
    #[arg(short, long, value_enum, default_value_t = Algorithm::Blake3)]
    algorithm: Algorithm,
    /// Read digests from the files, or standard input, and check them.
    #[arg(short, long, conflicts_with_all = ["json", "tag"])]
    check: bool,
    /// With --check: print nothing for each file that is as it was.
    #[arg(short, long, requires = "check")]
    quiet: bool,
    /// With --check: print nothing, the exit code tells.
    #[arg(long, requires = "check")]
    status: bool,
    /// With --check: files that are not there are no failure.
    #[arg(long, requires = "check")]
    ignore_missing: bool,
    /// With --check: lines that are none of a digest are a failure.
    #[arg(long, requires = "check")]
    strict: bool,
    /// Print "SHA256 (path) = digest".
    #[arg(long)]
    tag: bool,
    #[command(flatten)]
    reading: Reading,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Reading { paths, selection, jobs, telling, .. } = &arguments.reading;
    let tool = Tool::new("hash", telling, true);
    let hashes = Rc::new(Hashes {
        tool: Rc::clone(&tool),
        contents: Contents::new(),
        algorithm: arguments.algorithm,
        tag: arguments.tag,
        telling: telling.clone(),
    });
    let places = Places::new(&tool, paths.clone(), selection, arguments.reading.rules(), Wanted::default());
    let places = match places {
        Ok(places) => places,
        Err(error) => tool::usage("hash", error),
    };
    let work = async {
        if arguments.check {
            check::check(&tool, &arguments).await;
        } else {
            each(&tool, &hashes, places, jobs.count()).await;
        }
    };
    tool.run(work, |_| {})
}

/// Digests of all places.
struct Hashes {
    tool: Rc<Tool>,
    contents: Contents,
    algorithm: Algorithm,
    tag: bool,
    telling: Telling,
}

impl Work for Hashes {
    type Item = Place;
    type Kept = Vec<u8>;
    type Outcome = (Place, Option<io::Result<(Digest, u64)>>);

    async fn work(&self, buffer: &mut Vec<u8>, place: Place) -> Self::Outcome {
        let digest = match place.what {
            What::File => Some(digest_of(&self.contents, self.algorithm, &place.path, buffer).await),
            What::Input => Some(digest_of_input(&self.contents, self.algorithm, buffer).await),
            What::Special(_) if place.named => Some(Err(io::Error::other("neither a file nor a directory"))),
            What::Special(_) | What::Folder | What::Link => None,
        };
        (place, digest)
    }

    fn done(&self, (place, digest): Self::Outcome) {
        match digest {
            Some(Ok((digest, bytes))) => {
                self.tool.count(bytes);
                self.tool.print(&lines::line(&self.telling, self.tag, self.algorithm, &place.path, &digest, bytes));
            }
            Some(Err(error)) => self.tool.report(&place.path, error),
            None => {}
        }
    }
}

/// The digest of a file, and how many bytes it has.
async fn digest_of(
    contents: &Contents,
    algorithm: Algorithm,
    path: &Path,
    buffer: &mut Vec<u8>,
) -> io::Result<(Digest, u64)> {
    let mut hasher = algorithm.begin();
    let bytes = contents.file(path, buffer, |part| hasher.add(part)).await?;
    Ok((hasher.end(), bytes))
}

async fn digest_of_input(contents: &Contents, algorithm: Algorithm, buffer: &mut Vec<u8>) -> io::Result<(Digest, u64)> {
    let mut hasher = algorithm.begin();
    let bytes = contents.input(buffer, |part| hasher.add(part)).await?;
    Ok((hasher.end(), bytes))
}
