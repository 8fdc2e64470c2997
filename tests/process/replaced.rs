//! Files that are replaced as a whole by a process that is killed at any moment.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use corering::fs::{self, AtomicFile};

use crate::{Case, child_of};

/// Where the child writes, in its environment.
const FOLDER: &str = "CORERING_REPLACED";
const KILLS: u32 = 200;

/// A version: its number, and as many bytes that tell of it as follow from that.
fn version(number: u32) -> Vec<u8> {
    let len = (number.wrapping_mul(0x9e37_79b1) >> 15) as usize % 100_000;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(
        (0..len).map(|at| (number.wrapping_mul(31).wrapping_add(at as u32).wrapping_mul(0x85eb_ca6b) >> 11) as u8),
    );
    bytes
}

fn number_in(bytes: &[u8]) -> Option<u32> {
    let number = u32::from_le_bytes(*bytes.first_chunk()?);
    (bytes == version(number)).then_some(number)
}

/// Writes one version after the other, and says each time that it has, until it is killed.
pub(crate) fn write_for_ever() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    let path = folder.join("file");
    let mut number = std::fs::read(&path).ok().and_then(|bytes| number_in(&bytes)).unwrap_or(0);
    corering::run(async {
        loop {
            number += 1;
            fs::write_atomic(&path, version(number)).await.expect("room");
            println!("{number}");
            std::io::stdout().flush().expect("somebody listens");
        }
    })
    .expect("io_uring");
}

/// Kills the child again and again, and looks at what is there.
pub(crate) fn kill_often(case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    let mut told = 0;
    for kill in 0..KILLS {
        told = kill_once(case, folder.path(), told).map_err(|reason| format!("kill {kill}: {reason}"))?;
    }
    Ok(())
}

/// Lets the child write a few versions, and kills it at a moment of the next. The last version that is certain.
fn kill_once(case: &Case, folder: &Path, before: u32) -> Result<u32, String> {
    let text = |error: std::io::Error| error.to_string();
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(text)?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let mut told = before;
    for _ in 0..=corering::random() % 3 {
        let line = lines.next().ok_or("it has ended by itself")?.map_err(text)?;
        told = line.parse().map_err(|_| format!("this is no number: {line}"))?;
    }
    std::thread::sleep(Duration::from_micros(corering::random() % 3_000));
    child.kill().map_err(text)?;
    child.wait().map_err(text)?;
    // What it had still said before it was killed.
    let told = lines.map_while(|line| line.ok()?.parse().ok()).last().unwrap_or(told);
    let found = std::fs::read(folder.join("file")).map_err(text)?;
    let number = number_in(&found).ok_or_else(|| format!("a mixture of {} bytes after version {told}", found.len()))?;
    if number < told {
        return Err(format!("version {told} was written, and {number} is there"));
    }
    for entry in std::fs::read_dir(folder).map_err(text)? {
        let path = entry.map_err(text)?.path();
        if AtomicFile::is_leftover(&path, Some("file".as_ref())) {
            std::fs::remove_file(path).map_err(text)?;
        } else if !path.ends_with("file") {
            return Err(format!("{} is left", path.display()));
        }
    }
    Ok(number)
}
