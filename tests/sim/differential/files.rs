//! Programs over files, as `corering::fs` has them.

use corering::fs::{self, File, Metadata};
use corering::io;

use super::{Run, STEPS, room, shown, told, told_read};

/// How many files are open at most.
const OPEN: usize = 4;

const NAMES: &[&str] =
    &["a", "b", "c", "full", "dir/a", "dir/within", "a", "b", "dir/../full", "./dir/./a", "dir//within"];

/// What is no file, or cannot be.
const STRANGE: &[&str] = &[
    "missing/x",
    "dir",
    "dir/",
    "dir/sub",
    "a/",
    "full/x",
    "full/",
    ".",
    "..",
    "dir/..",
    "new/",
    "dir/sub/",
    "dir/missing/",
    "full/.",
    "",
    "nul",
];

const SIZES: &[usize] = &[0, 1, 2, 7, 20, 100, 511, 4095, 4096, 4097, 8192, 20_000, 70_000];
const OFFSETS: &[u64] = &[0, 0, 0, 1, 5, 19, 20, 21, 4095, 4096, 5000, 8192, 100_000];
/// More than a signed number can say, and more than a file can hold.
const FAR: &[u64] = &[i64::MAX as u64, i64::MAX as u64 - 10, 1 << 63, (1 << 44) - 4096, (1 << 44) + 1, u64::MAX - 1];

#[derive(Default)]
struct Files(Vec<Option<File>>);

pub(super) async fn program(run: &mut Run) {
    let mut files = Files((0..OPEN).map(|_| None).collect());
    for _ in 0..STEPS {
        match run.below(10) {
            0..4 => open(run, &mut files).await,
            4 | 5 => whole(run).await,
            _ => {}
        }
        let at = run.below(OPEN as u64) as usize;
        if let Some(file) = files.0[at].take() {
            files.0[at] = step(run, at, file).await;
        }
    }
    for name in NAMES {
        let read = fs::read(format!("{}/{name}", run.root)).await;
        run.say(format!("at last {name} -> {}", read.as_ref().map_or_else(error_of, |bytes| shown(bytes))));
    }
}

fn error_of(error: &io::Error) -> String {
    told(&io::Result::<()>::Err(io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))))
}

/// A path, and how it is logged.
pub(super) fn path(run: &mut Run) -> (String, String) {
    let name = if run.below(5) == 0 { run.pick(STRANGE) } else { run.pick(NAMES) };
    let (path, said) = match (name, run.below(40)) {
        ("", _) => return (String::new(), "''".to_owned()),
        ("nul", _) => ("a\0b".to_owned(), "a\\0b"),
        (_, 0) => ("n".repeat(256), "(256 bytes)"),
        (_, 1) => ("n".repeat(255), "(255 bytes)"),
        (_, 2) => ("d/".repeat(3000), "(6,000 bytes)"),
        (_, 3) => (format!("full/{}", "n".repeat(300)), "full/(300 bytes)"),
        (_, 4) => (format!("{}/x", "n".repeat(256)), "(256 bytes)/x"),
        (name, _) => (name.to_owned(), name),
    };
    (format!("{}/{path}", run.root), said.to_owned())
}

async fn open(run: &mut Run, files: &mut Files) {
    let (mut options, mut said) = (File::options(), String::new());
    let chosen =
        [run.below(4) > 0, run.below(3) > 0, run.below(5) == 0, run.below(5) == 0, run.flip(), run.below(8) == 0];
    for (on, name) in chosen.into_iter().zip(["read", "write", "append", "truncate", "create", "create_new"]) {
        if on {
            options = match name {
                "read" => options.read(true),
                "write" => options.write(true),
                "append" => options.append(true),
                "truncate" => options.truncate(true),
                "create" => options.create(true),
                _ => options.create_new(true),
            };
            said = format!("{said} {name}");
        }
    }
    let more = run.pick(&[
        ("", 0),
        ("", 0),
        ("", 0),
        (" O_DIRECTORY", libc::O_DIRECTORY),
        (" O_NOFOLLOW", libc::O_NOFOLLOW),
        (" O_NONBLOCK", libc::O_NONBLOCK),
        (" O_SYNC", libc::O_SYNC),
    ]);
    // A mode that no usual umask changes.
    let mode = run.pick(&[0o600, 0o700]);
    let (path, shown) = path(run);
    let opened = options.mode(mode).custom_flags(more.1).open(&path).await;
    let at = run.below(OPEN as u64) as usize;
    run.say(format!("open {shown}{said}{} {mode:o} -> {}", more.0, told(&opened.as_ref().map(|_| at).map_err(copy))));
    if let Ok(file) = opened {
        files.0[at] = Some(file);
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// What needs no open file.
async fn whole(run: &mut Run) {
    let (path, said) = path(run);
    match run.below(5) {
        0 => {
            let read = fs::read(&path).await;
            run.say(format!("read {said} -> {}", told(&read.map(|bytes| shown(&bytes)))));
        }
        1 => {
            let len = run.pick(SIZES);
            let (read, buffer) = fs::read_into(&path, Vec::with_capacity(len)).await;
            run.say(format!("read {said} into {len} -> {} {}", told(&read), shown(&buffer)));
        }
        2 => {
            let len = run.pick(SIZES);
            let bytes = run.bytes(len);
            let written = fs::write(&path, bytes).await;
            run.say(format!("write {said} {len} -> {}", told(&written)));
        }
        3 => {
            let metadata = fs::metadata(&path).await;
            run.say(format!("metadata {said} -> {}", told(&metadata.map(described))));
        }
        _ => {
            let metadata = fs::symlink_metadata(&path).await;
            run.say(format!("symlink_metadata {said} -> {}", told(&metadata.map(described))));
        }
    }
}

/// What is said of a directory's length, and of how many blocks a file takes, is the file system's own.
pub(super) fn described(metadata: Metadata) -> String {
    let kind = if metadata.is_dir() { "dir" } else { "file" };
    if metadata.is_dir() {
        return format!("{kind}, {} names", metadata.nlink());
    }
    let blocks = if metadata.blocks() > 0 { "some" } else { "no" };
    // The owner's bits are those that no usual umask changes.
    let (len, names, mode) = (metadata.len(), metadata.nlink(), metadata.mode() & 0o7700);
    format!("{kind}, {len} bytes, {names} names, {blocks} blocks, mode {mode:o}")
}

/// Something with an open file, which then is open still or not.
async fn step(run: &mut Run, at: usize, mut file: File) -> Option<File> {
    let len = run.pick(SIZES);
    let offset = if run.below(12) == 0 { run.pick(FAR) } else { run.pick(OFFSETS) };
    match run.below(16) {
        0..3 => {
            let (read, buffer) = file.read_at(room(len), offset).await;
            run.say(format!("{at}: read_at {len} {offset} -> {}", told_read(&read, &buffer)));
        }
        3 => {
            let (read, buffer) = file.read(room(len)).await;
            run.say(format!("{at}: read {len} -> {}, position {}", told_read(&read, &buffer), file.position()));
        }
        4 | 5 => {
            let bytes = run.bytes(len);
            let (written, _) = file.write_at(bytes, offset).await;
            run.say(format!("{at}: write_at {len} {offset} -> {}", told(&written)));
        }
        6 => {
            let bytes = run.bytes(len);
            let (written, _) = file.write_all_at(bytes, offset % 200_000).await;
            run.say(format!("{at}: write_all_at {len} {} -> {}", offset % 200_000, told(&written)));
        }
        7 => {
            let bytes = run.bytes(len);
            let (written, _) = file.write_all(bytes).await;
            run.say(format!("{at}: write_all {len} -> {}, position {}", told(&written), file.position()));
        }
        8 => {
            let bytes = run.bytes(len);
            let (written, _) = file.write(bytes).await;
            run.say(format!("{at}: write {len} -> {}, position {}", told(&written), file.position()));
        }
        9 => read_vectored(run, at, &file, offset).await,
        10 => write_vectored(run, at, &file, offset).await,
        11 => {
            let set = file.set_len(offset).await;
            run.say(format!("{at}: set_len {offset} -> {}", told(&set)));
            // A long one is cut again, so that reading all of it stays quick.
            if set.is_ok() && offset > 200_000 {
                run.say(format!("{at}: set_len 10 -> {}", told(&file.set_len(10).await)));
            }
        }
        12 => {
            let (synced, what) =
                if run.flip() { (file.sync_all().await, "all") } else { (file.sync_data().await, "data") };
            run.say(format!("{at}: sync_{what} -> {}", told(&synced)));
        }
        13 => {
            file.set_position(offset % 200_000);
            run.say(format!("{at}: set_position {}", offset % 200_000));
        }
        14 => {
            let metadata = file.metadata().await;
            run.say(format!("{at}: metadata -> {}", told(&metadata.map(described))));
        }
        _ => {
            run.say(format!("{at}: close -> {}", told(&file.close().await)));
            return None;
        }
    }
    Some(file)
}

async fn read_vectored(run: &mut Run, at: usize, file: &File, offset: u64) {
    let lens: Vec<usize> = (0..run.below(4)).map(|_| run.pick(SIZES)).collect();
    let (read, buffers) = file.read_vectored_at(lens.iter().map(|len| room(*len)).collect(), offset).await;
    let bytes = buffers.concat();
    run.say(format!("{at}: read_vectored_at {lens:?} {offset} -> {}", told_read(&read, &bytes)));
}

async fn write_vectored(run: &mut Run, at: usize, file: &File, offset: u64) {
    let lens: Vec<usize> = (0..run.below(4)).map(|_| run.pick(SIZES)).collect();
    let buffers = lens.iter().map(|len| run.bytes(*len)).collect();
    let (written, _) = file.write_vectored_at(buffers, offset).await;
    run.say(format!("{at}: write_vectored_at {lens:?} {offset} -> {}", told(&written)));
}
