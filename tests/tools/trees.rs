//! A tree with one of everything that is hard to read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{end_of, folder, other};

/// A name that is no text.
pub(crate) fn strange() -> &'static OsStr {
    OsStr::from_bytes(b"not \xff text")
}

/// Regular files, folders and links.
pub(crate) fn tree(root: &Path) {
    fs::create_dir_all(root.join("deep/er/empty")).expect("made");
    let write = |name: &OsStr, bytes: &[u8]| fs::write(root.join(name), bytes).expect("written");
    let bytes = |count: u32| -> Vec<u8> { (0..count).map(|at| (at % 1009 * (at % 127) % 251) as u8).collect() };
    write(OsStr::new("empty"), b"");
    write(OsStr::new("text"), "some words\nand a línea\n\n\ttabs  and\x0bmore\x0c\n".as_bytes());
    write(OsStr::new("no end"), b"a line without an end");
    write(strange(), b"strange");
    write(OsStr::new("new\nline and \\ backslash\r"), b"escaped");
    write(OsStr::new("-n"), b"looks like an option");
    write(OsStr::from_bytes(&[b'x'; 255]), b"the longest name");
    for size in [1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 300_000] {
        write(OsStr::new(&format!("deep/size {size}")), &bytes(size));
    }
    let sparse = fs::File::create(root.join("deep/er/sparse")).expect("made");
    sparse.write_all_at(b"in the middle", 3 << 20).expect("written");
    sparse.set_len(20 << 20).expect("made longer");
    fs::hard_link(root.join("text"), root.join("deep/same as text")).expect("a second name");
    symlink("../text", root.join("deep/link")).expect("a link");
    symlink("nowhere", root.join("dangling")).expect("a link");
    symlink(".", root.join("deep/er/circle")).expect("a link");
}

/// What a tool must not wait for.
pub(crate) fn add_special(root: &Path) -> Option<()> {
    let made = end_of(other("mkfifo")?.arg(root.join("deep/pipe")));
    assert!(made.status.success());
    drop(UnixListener::bind(root.join("s")).expect("a socket"));
    Some(())
}

/// The paths of all regular files, in the order of their bytes.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    fn add(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("a name");
            let file_type = entry.file_type().expect("a type");
            if file_type.is_dir() {
                add(&entry.path(), files);
            } else if file_type.is_file() {
                files.push(entry.path());
            }
        }
    }
    let mut all = Vec::new();
    add(root, &mut all);
    all.sort();
    all
}

/// Lines, sorted by their bytes.
pub(crate) fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// Runs a command in the plain locale.
pub(crate) fn plainly(command: &mut Command) -> &mut Command {
    command.env("LC_ALL", "C")
}

/// A folder with the tree in it.
pub(crate) fn planted() -> tempfile::TempDir {
    let folder = folder();
    fs::create_dir(folder.path().join("tree")).expect("made");
    tree(&folder.path().join("tree"));
    folder
}
