//! Programs over names, over what is noted of files, and over the room that they take.

use corering::fs::{self, Access, Dir, File, Permissions, Resolve};
use corering::io;
use corering::op::plain;

use super::files::described;
use super::{Run, STEPS, room, shown, told};

const NAMES: &[&str] = &[
    "a",
    "b",
    "full",
    "dir",
    "dir/a",
    "dir/within",
    "dir/sub",
    "dir/sub/deep",
    "link",
    "dir/link",
    "a/b",
    "dir/link/x",
    "link/within",
    "dir/sub/new",
    "dir/../b",
    "./a",
];

const STRANGE: &[&str] = &[
    "",
    ".",
    "..",
    "dir/..",
    "dir/.",
    "a/",
    "dir/",
    "link/",
    "../root/a",
    "../root/dir/within",
    "missing/x",
    "full/x",
];

/// Where links lead.
const TARGETS: &[&str] =
    &["dir", "full", "a", "../full", "missing", "..", "link", ".", "sub", "dir/sub", "../root/dir"];

const ATTRIBUTES: &[&str] = &["user.a", "user.b", "user.c", "user.", "strange.a", "plain"];

/// A path below the folder, or one that may leave it, and how it is logged.
fn name(run: &mut Run) -> &'static str {
    if run.below(8) == 0 { run.pick(STRANGE) } else { run.pick(NAMES) }
}

fn path(run: &mut Run) -> (String, &'static str) {
    let name = name(run);
    (format!("{}/{name}", run.root), name)
}

/// Steps among the names of one folder.
pub(super) async fn program(run: &mut Run) {
    let mut dir = None;
    for _ in 0..STEPS * 2 {
        if dir.is_none() || run.below(10) == 0 {
            dir = open_dir(run).await;
        }
        match &dir {
            Some(dir) if run.below(3) == 0 => below(run, dir).await,
            Some(_) | None => step(run).await,
        }
    }
    for name in NAMES {
        let path = format!("{}/{name}", run.root);
        let known = fs::symlink_metadata(&path).await.map(described);
        run.say(format!("at last {name} -> {}, {}", told(&known), told(&fs::read_link(&path).await)));
    }
}

async fn open_dir(run: &mut Run) -> Option<Dir> {
    let said = run.pick(&[".", "dir", "dir/sub", "link", "full"]);
    let opened = Dir::open(format!("{}/{said}", run.root)).await;
    run.say(format!("open dir {said} -> {}", told(&opened.as_ref().map(drop).map_err(number))));
    opened.ok()
}

fn number(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

async fn step(run: &mut Run) {
    let (first, said) = path(run);
    let (second, other) = path(run);
    let line = match run.below(14) {
        0 => format!("create_dir {said} -> {}", told(&fs::create_dir(&first).await)),
        1 => format!("remove_file {said} -> {}", told(&fs::remove_file(&first).await)),
        2 => format!("remove_dir {said} -> {}", told(&fs::remove_dir(&first).await)),
        3 | 4 => format!("rename {said} {other} -> {}", told(&fs::rename(&first, &second).await)),
        5 => format!("rename_exchange {said} {other} -> {}", told(&fs::rename_exchange(&first, &second).await)),
        6 => format!("rename_no_replace {said} {other} -> {}", told(&fs::rename_no_replace(&first, &second).await)),
        7 => format!("hard_link {said} {other} -> {}", told(&fs::hard_link(&first, &second).await)),
        8 | 9 => {
            let target = run.pick(TARGETS);
            format!("symlink {target} {said} -> {}", told(&fs::symlink(target, &first).await))
        }
        10 => {
            // The folder above has a name of its own.
            let real = fs::canonicalize(&first).await;
            let above = std::path::Path::new(&run.root).parent().map(std::path::Path::to_owned).unwrap_or_default();
            let real = real.map(|path| path.strip_prefix(&above).map(std::path::Path::to_owned).unwrap_or_default());
            format!("canonicalize {said} -> {}", told(&real))
        }
        11 => format!("write {said} -> {}", told(&fs::write(&first, "text").await)),
        12 => {
            let access = run.pick(&[Access::EXISTS, Access::READ, Access::WRITE | Access::READ, Access::EXECUTE]);
            format!("access {access:?} {said} -> {}", told(&fs::access(&first, access).await))
        }
        _ => {
            let temporary = File::options().write(true).temporary(true).custom_flags(run.pick(&[0, 0, libc::O_EXCL]));
            let file = temporary.mode(0o600).open(&first).await;
            let linked = match &file {
                Ok(file) => told(&file.link(&second).await),
                Err(error) => format!("not opened: {}", told::<()>(&Err(number(error)))),
            };
            format!("temporary {said}, link {other} -> {linked}")
        }
    };
    run.say(line);
}

async fn below(run: &mut Run, dir: &Dir) {
    let (first, second) = (name(run), name(run));
    let line = match run.below(11) {
        0 => format!("create_dir {first} -> {}", told(&dir.create_dir(first).await)),
        1 => format!("remove_file {first} -> {}", told(&dir.remove_file(first).await)),
        2 => format!("remove_dir {first} -> {}", told(&dir.remove_dir(first).await)),
        3 => format!("rename {first} {second} -> {}", told(&dir.rename(first, dir, second).await)),
        4 => {
            let target = run.pick(TARGETS);
            format!("symlink {target} {first} -> {}", told(&dir.symlink(target, first).await))
        }
        5 => format!("metadata {first} -> {}", told(&dir.metadata(first).await.map(described))),
        6 => format!("symlink_metadata {first} -> {}", told(&dir.symlink_metadata(first).await.map(described))),
        7 => format!("read_link {first} -> {}", told(&dir.read_link(first).await)),
        8 => format!("create_file {first} -> {}", told(&dir.create_file(first).await.map(drop))),
        _ => {
            let resolve = run.pick(&[
                Resolve::BENEATH,
                Resolve::IN_ROOT,
                Resolve::NO_SYMLINKS,
                Resolve::NO_SYMLINKS | Resolve::IN_ROOT,
                Resolve::NO_MAGIC_LINKS,
            ]);
            let creates = run.below(4) == 0;
            let first = if run.below(6) == 0 { "/full" } else { first };
            let options = File::options().read(true).write(creates).create(creates).resolve(resolve).mode(0o600);
            let opened = dir.open_with(options, first).await;
            format!("open {first} {resolve:?} {creates} -> {}", told(&opened.map(drop)))
        }
    };
    run.say(format!("below: {line}"));
}

/// Steps with two open files and what is noted of them.
pub(super) async fn noted(run: &mut Run) {
    let options = File::options().read(true).write(true).create(true).mode(0o600);
    let mut files = Vec::new();
    for name in ["full", "new", "full"] {
        let opened = options.open(format!("{}/{name}", run.root)).await;
        run.say(format!("open {name} -> {}", told(&opened.as_ref().map(drop).map_err(number))));
        files.extend(opened.ok());
    }
    for _ in 0..STEPS {
        let at = run.below(files.len() as u64) as usize;
        let other = run.below(files.len() as u64) as usize;
        let line = match run.below(5) {
            0 => attribute(run, &files[at]).await,
            1 => space(run, &files[at]).await,
            2 => lock(run, &files[at]).await,
            3 => copied(run, &files[at], &files[other]),
            _ => by_path(run).await,
        };
        run.say(format!("{at}: {line}"));
        let known = files[at].metadata().await.map(|metadata| (metadata.len(), metadata.permissions()));
        run.say(format!("{at}: {}", told(&known)));
    }
    for file in files {
        let len = file.metadata().await.map_or(0, |metadata| metadata.len().min(300_000)) as usize;
        // A read may end at any page that is not cached.
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let (read, buffer) = file.read_at(room(len), bytes.len() as u64).await;
            match read {
                Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
                Ok(0) | Err(_) => break,
            }
        }
        run.say(format!("at last {}", shown(&bytes)));
    }
}

async fn attribute(run: &mut Run, file: &File) -> String {
    let name = run.pick(ATTRIBUTES);
    match run.below(4) {
        0 | 1 => {
            let len = run.pick(&[0, 1, 20, 300]);
            let value = run.bytes(len);
            format!("set_xattr {name} {} -> {}", shown(&value), told(&file.set_xattr(name, value).await))
        }
        2 => format!("get_xattr {name} -> {}", told(&file.get_xattr(name).await.map(|value| value.map(|v| shown(&v))))),
        _ => {
            let removed = file.remove_xattr(name).await;
            let names = file.list_xattr().await.map(|mut names| {
                names.sort();
                names
            });
            format!("remove_xattr {name} -> {}, left {}", told(&removed), told(&names))
        }
    }
}

async fn space(run: &mut Run, file: &File) -> String {
    let offset = run.pick(&[0, 1, 100, 4096, 8192, 10_000, 1 << 63]);
    let bytes = run.pick(&[0, 1, 50, 4096, 8192, 20_000]);
    match run.below(6) {
        0 => format!("allocate {offset} {bytes} -> {}", told(&file.allocate(offset, bytes).await)),
        1 => format!("allocate_keep_len {offset} {bytes} -> {}", told(&file.allocate_keep_len(offset, bytes).await)),
        2 => format!("punch_hole {offset} {bytes} -> {}", told(&file.punch_hole(offset, bytes).await)),
        3 => format!("zero_range {offset} {bytes} -> {}", told(&file.zero_range(offset, bytes).await)),
        4 => format!("sync_range {offset} {bytes} -> {}", told(&file.sync_range(offset, bytes).await)),
        _ => {
            let text = run.bytes(50);
            format!("write at {} -> {}", offset % 8192, told(&file.write_all_at(text, offset % 8192).await.0))
        }
    }
}

async fn lock(run: &mut Run, file: &File) -> String {
    match run.below(3) {
        0 => format!("try_lock -> {}", told(&file.try_lock())),
        1 => format!("try_lock_shared -> {}", told(&file.try_lock_shared())),
        _ => format!("unlock -> {}", told(&file.unlock().await)),
    }
}

fn copied(run: &mut Run, from: &File, to: &File) -> String {
    let (offset, to_offset, bytes) =
        (run.pick(&[0, 3, 25, 5000]), run.pick(&[0, 10, 4096, 30_000]), run.pick(&[0, 1, 10, 5000]));
    let copied = plain::copy_range(from.descriptor(), offset, to.descriptor(), to_offset, bytes);
    format!("copy {bytes} from {offset} to {to_offset} -> {}", told(&copied))
}

async fn by_path(run: &mut Run) -> String {
    let (path, said) = path(run);
    match run.below(3) {
        0 => {
            let mode = run.pick(&[0o600, 0o700, 0o1700, 0o7777, 0o640]);
            format!(
                "set_permissions {said} {mode:o} -> {}",
                told(&fs::set_permissions(path, Permissions::from_mode(mode)).await)
            )
        }
        1 => format!("set_xattr {said} -> {}", told(&fs::set_xattr(path, "user.p", "path").await)),
        _ => format!("get_xattr {said} -> {}", told(&fs::get_xattr(path, "user.p").await)),
    }
}
