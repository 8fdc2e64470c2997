//! Plain calls of the standard library, one after the other.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files::work::CONTENT;
use crate::files::{Action, Block, Blocks, Done, HASH_PART, How, Meter, PAGE, Until, whole};

pub(crate) fn blocks(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let file = blocks.access.open(path)?;
    let (mut offsets, mut until) = (blocks.offsets(), Until::by(time, blocks.bytes));
    let (mut block, mut done) = (Block::new(blocks.bytes, b'x'), 0);
    let meter = Meter::start();
    while !until.is_over() {
        let count = match blocks.access.action {
            Action::Read => file.read_at(&mut block, offsets.next())?,
            Action::Write => file.write_at(&block, offsets.next())?,
        };
        whole(count, blocks.bytes)?;
        done += 1;
    }
    Ok(meter.stop(done))
}

pub(crate) fn small_files(how: How, paths: &[PathBuf], time: Duration) -> io::Result<Done> {
    let (mut until, mut done) = (Until::new(time), 0);
    let mut buffer = vec![0; PAGE];
    let meter = Meter::start();
    while !until.is_over() {
        let path = &paths[done % paths.len()];
        let count = match how {
            How::IntoBuffer => File::open(path)?.read(&mut buffer)?,
            How::Whole => fs::read(path)?.len(),
        };
        whole(count, PAGE)?;
        done += 1;
    }
    Ok(meter.stop(done as u64))
}

pub(crate) fn small_writes(paths: &[PathBuf]) -> io::Result<Done> {
    let meter = Meter::start();
    for path in paths {
        File::create(path)?.write_all(&CONTENT)?;
    }
    Ok(meter.stop(paths.len() as u64))
}

/// By the crate `walkdir`.
pub(crate) fn stat_tree(root: &Path) -> io::Result<Done> {
    let (mut done, mut bytes) = (0, 0);
    let meter = Meter::start();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        bytes += entry?.metadata()?.len();
        done += 1;
    }
    std::hint::black_box(bytes);
    Ok(meter.stop(done))
}

pub(crate) fn cold(tree: &[(PathBuf, u64)]) -> io::Result<Done> {
    let mut part = vec![0; HASH_PART];
    let meter = Meter::start();
    for (path, bytes) in tree {
        let (mut file, mut hasher, mut done) = (File::open(path)?, blake3::Hasher::new(), 0);
        loop {
            let count = file.read(&mut part)?;
            if count == 0 {
                break;
            }
            hasher.update(&part[..count]);
            done += count;
        }
        whole(done, *bytes as usize)?;
        std::hint::black_box(hasher.finalize());
    }
    Ok(meter.stop(tree.len() as u64))
}

pub(crate) fn lines(path: &Path, time: Duration) -> io::Result<Done> {
    let (mut until, mut done) = (Until::new(time), 0);
    let mut line = String::new();
    let meter = Meter::start();
    'over: loop {
        let mut reader = BufReader::new(File::open(path)?);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
            done += 1;
            if until.is_over() {
                break 'over;
            }
        }
    }
    Ok(meter.stop(done))
}
