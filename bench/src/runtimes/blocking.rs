//! Plain calls of the standard library, one after the other.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{BLOCK, Offsets, Until, whole};

pub(crate) fn read_hot(path: &Path, time: Duration) -> io::Result<(u64, Duration)> {
    let file = File::open(path)?;
    let (mut offsets, mut until) = (Offsets::new(0), Until::new(time));
    let (mut buffer, mut done) = (vec![0; BLOCK], 0);
    let start = Instant::now();
    while !until.is_over() {
        whole(file.read_at(&mut buffer, offsets.next())?)?;
        done += 1;
    }
    Ok((done, start.elapsed()))
}

pub(crate) fn small_files(paths: &[PathBuf], time: Duration) -> io::Result<(u64, Duration)> {
    let (mut until, mut done) = (Until::new(time), 0);
    let start = Instant::now();
    while !until.is_over() {
        whole(fs::read(&paths[done % paths.len()])?.len())?;
        done += 1;
    }
    Ok((done as u64, start.elapsed()))
}
