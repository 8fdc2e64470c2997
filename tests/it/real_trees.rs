//! Folders of the real kernel: huge, deep, without end, without permission, and swapped for links meanwhile.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs as std_fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corering::fs::{self, CopyOptions, Dir, WalkError};
use corering::time::{Instant, sleep, timeout};

use crate::{clean, folder, poll_once, soon, turn};

/// What a walk finds, without order.
async fn found(walk: &mut fs::Walk) -> (BTreeSet<PathBuf>, Vec<WalkError>) {
    let (mut paths, mut errors) = (BTreeSet::new(), Vec::new());
    while let Some(entry) = walk.next().await {
        match entry {
            Ok(entry) => assert!(paths.insert(entry.path()), "{entry:?} twice"),
            Err(error) => errors.push(error),
        }
    }
    (paths, errors)
}

/// What find(1) finds.
fn by_find(root: &Path, arguments: &[&str]) -> BTreeSet<PathBuf> {
    let output = Command::new("find").args(arguments).output().expect("find(1), which every system has");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    let paths: BTreeSet<_> = paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
    assert!(paths.contains(root));
    paths
}

#[test]
fn a_walk_finds_what_find_finds_with_the_same_metadata() {
    clean(async || {
        let root = Path::new("/usr/share/doc");
        let expected = by_find(root, &["/usr/share/doc", "-print0"]);
        for metadata in [false, true] {
            let mut walk = fs::walk(root).metadata(metadata);
            let (paths, errors) = found(&mut walk).await;
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(paths, expected);
        }
        let mut walk = fs::walk(root).metadata(true).sorted(true);
        let mut last: Option<(PathBuf, PathBuf)> = None;
        while let Some(entry) = walk.next().await {
            let entry = entry.expect("readable");
            let real = std_fs::symlink_metadata(entry.path()).expect("it is there");
            let known = entry.known_metadata().expect("asked for");
            assert_eq!((known.ino(), known.len(), known.mode()), (real.ino(), real.len(), real.mode()));
            assert_eq!((entry.ino(), entry.file_type().is_dir()), (real.ino(), real.is_dir()));
            if let Some((folder, before)) = &last {
                assert!(folder != entry.parent() || *before < entry.path(), "in order");
            }
            last = Some((entry.parent().to_path_buf(), entry.path()));
        }
    });
}

#[test]
fn a_walk_that_follows_links_finds_what_find_finds_and_names_loops() {
    clean(async || {
        let folder = folder();
        let root = folder.path();
        std_fs::create_dir_all(root.join("a/b/c")).expect("made");
        std_fs::write(root.join("a/b/c/file"), "x").expect("made");
        std_fs::create_dir(root.join("other")).expect("made");
        std_fs::write(root.join("other/else"), "x").expect("made");
        symlink("../../other", root.join("a/b/to-other")).expect("made");
        symlink("nowhere", root.join("dangling")).expect("made");
        let (paths, errors) = found(&mut fs::walk(root).follow_links(true)).await;
        assert!(errors.is_empty(), "{errors:?}");
        let path = root.to_str().expect("text");
        assert_eq!(paths, by_find(root, &["-L", path, "-print0"]));
        assert!(paths.contains(&root.join("a/b/to-other/else")));

        symlink("..", root.join("a/b/up")).expect("made");
        let (paths, errors) = found(&mut fs::walk(root).follow_links(true)).await;
        assert!(paths.contains(&root.join("a/b/up")) && !paths.contains(&root.join("a/b/up/b")));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].leads_back_to(), Some(&*root.join("a")));
        assert_eq!(errors[0].path(), root.join("a/b/up"));
        let (paths, errors) = found(&mut fs::walk(root)).await;
        assert!(errors.is_empty() && !paths.contains(&root.join("a/b/to-other/else")));
    });
}

#[test]
fn folders_with_ten_thousand_names_come_in_parts() {
    clean(async || {
        let folder = folder();
        for number in 0..10_000 {
            std_fs::write(folder.join(format!("file-{number}")), "").expect("made");
        }
        let mut names = fs::read_dir(folder.path()).await.expect("a folder");
        let mut count = 0;
        while let Some(entry) = names.next().await {
            assert!(entry.expect("readable").file_type().is_file());
            count += 1;
        }
        assert_eq!(count, 10_000);
        for sorted in [false, true] {
            let (paths, errors) = found(&mut fs::walk(folder.path()).sorted(sorted)).await;
            assert_eq!((paths.len(), errors.len()), (10_001, 0));
        }
        // Dropped in the middle of anything, nothing is left open.
        for steps in 0..40 {
            let mut walk = fs::walk(folder.path()).metadata(true);
            for _ in 0..steps {
                let mut next = Box::pin(walk.next());
                if !poll_once(&mut next).await {
                    drop(next);
                    turn().await;
                }
            }
        }
        soon(fs::remove_dir_all(folder.join("."))).await.expect_err("no folder is removed by the name of itself");
        let inside = folder.join("inside");
        std_fs::create_dir(&inside).expect("made");
        for number in 0..5000 {
            std_fs::write(inside.join(format!("file-{number}")), "").expect("made");
        }
        soon(fs::remove_dir_all(&inside)).await.expect("removed");
        assert!(!inside.exists());
    });
}

#[test]
fn a_tree_deeper_than_any_path_is_walked_and_removed() {
    clean(async || {
        const DEPTH: usize = 700;
        let folder = folder();
        let root = folder.join("root");
        std_fs::create_dir(&root).expect("made");
        // Names of 20 bytes each: three times as long as a path may be. Made from the inside, by moving what is there down.
        let name = "a-name-of-20-bytes-x";
        for _ in 0..DEPTH {
            let aside = folder.join("aside");
            std_fs::rename(&root, &aside).expect("moved");
            std_fs::create_dir(&root).expect("made");
            std_fs::rename(&aside, root.join(name)).expect("moved");
        }
        let (paths, errors) = found(&mut fs::walk(&root)).await;
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(paths.len(), DEPTH + 1);
        soon(fs::remove_dir_all(&root)).await.expect("removed");
        assert!(!root.exists());
    });
}

#[test]
fn what_is_no_folder_is_said_and_never_waited_for() {
    clean(async || {
        let folder = folder();
        let (file, fifo) = (folder.join("file"), folder.join("fifo"));
        std_fs::write(&file, "x").expect("made");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo(1), which every system has");
        assert!(made.success());
        for path in [&file, &fifo] {
            assert_eq!(soon(fs::read_dir(path)).await.expect_err("no folder").raw_os_error(), Some(libc::ENOTDIR));
            let error = soon(fs::remove_dir_all(path)).await.expect_err("no folder");
            assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
            let (paths, errors) = found(&mut fs::walk(path)).await;
            assert_eq!((paths.len(), errors.len()), (1, 0), "a walk through a file finds the file");
        }
        let missing = folder.join("missing");
        assert_eq!(fs::read_dir(&missing).await.expect_err("nothing").raw_os_error(), Some(libc::ENOENT));
        assert_eq!(fs::remove_dir_all(&missing).await.expect_err("nothing").raw_os_error(), Some(libc::ENOENT));
        let (paths, errors) = found(&mut fs::walk(&missing)).await;
        assert_eq!((paths.len(), errors.len()), (0, 1));
        assert!(errors[0].to_string().contains("missing"), "{}", errors[0]);
        let (paths, errors) = found(&mut fs::walk(folder.path()).metadata(true)).await;
        assert_eq!((paths.len(), errors.len()), (3, 0));
        // A link to a folder: the link goes, the folder stays.
        let (kept, link) = (folder.join("kept"), folder.join("link"));
        std_fs::create_dir(&kept).expect("made");
        symlink(&kept, &link).expect("made");
        soon(fs::remove_dir_all(&link)).await.expect("removed");
        assert!(kept.exists() && link.symlink_metadata().is_err());
    });
}

#[test]
fn processes_that_come_and_go_do_not_end_a_walk_through_proc() {
    clean(async || {
        let stop = Arc::new(AtomicBool::new(false));
        let busy = std::thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    Command::new("true").status().expect("true(1)");
                }
            }
        });
        for _ in 0..3 {
            let mut walk = fs::walk("/proc").metadata(true).max_depth(2).same_file_system(true);
            let mut count = 0;
            while let Some(entry) = soon(walk.next()).await {
                // What has gone meanwhile is left out, or an error of its own.
                count += usize::from(entry.is_ok());
            }
            assert!(count > 100);
        }
        stop.store(true, Ordering::Relaxed);
        busy.join().expect("no panic");
    });
}

#[test]
fn a_folder_that_is_swapped_for_a_link_before_it_is_read_is_an_error() {
    clean(async || {
        let folder = folder();
        let (root, outside) = (folder.join("root"), folder.join("outside"));
        std_fs::create_dir_all(root.join("zz")).expect("made");
        std_fs::create_dir(&outside).expect("made");
        std_fs::write(outside.join("secret"), "kept").expect("made");
        // So many that the folder behind them is not read ahead.
        for number in 0..9000 {
            std_fs::write(root.join(format!("{number}")), "").expect("made");
        }
        let mut walk = fs::walk(&root).sorted(true);
        while let Some(entry) = walk.next().await {
            if entry.expect("readable").file_name() == "zz" {
                break;
            }
        }
        std_fs::rename(root.join("zz"), root.join("aside")).expect("moved");
        symlink(&outside, root.join("zz")).expect("made");
        let (paths, errors) = found(&mut walk).await;
        assert!(paths.is_empty(), "{paths:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].path(), root.join("zz"));
    });
}

#[test]
fn a_copy_to_another_file_system_keeps_holes_and_what_is_between_them() {
    clean(async || {
        const PART: u64 = 8 << 20;
        let folder = folder();
        // In memory: the kernel copies from there to a disk only by hand.
        let source = tempfile::tempdir_in("/dev/shm").expect("a file system in memory");
        for leading in [false, true] {
            let (from, to) = (source.path().join("from"), folder.join("to"));
            let file = std_fs::File::create(&from).expect("made");
            let mut written = Vec::new();
            for number in u64::from(leading)..4 {
                let bytes = vec![number as u8 + 1; 300_000 + number as usize];
                file.write_all_at(&bytes, number * PART).expect("room");
                written.push((number * PART, bytes));
            }
            file.set_len(5 * PART).expect("longer");
            assert_eq!(soon(fs::copy(&from, &to)).await.expect("copied"), 5 * PART);
            let copy = std_fs::File::open(&to).expect("made");
            let metadata = copy.metadata().expect("known");
            assert_eq!(metadata.len(), 5 * PART);
            assert!(metadata.blocks() * 512 < PART, "{} blocks", metadata.blocks());
            for (offset, bytes) in written {
                let mut found = vec![0; bytes.len() + 1];
                copy.read_exact_at(&mut found, offset).expect("as long");
                assert!(found[..bytes.len()] == bytes && found[bytes.len()] == 0, "at {offset}");
            }
        }
    });
}

#[test]
fn a_copy_belongs_to_whom_the_original_belongs_if_it_is_to() {
    let folder = folder();
    let (from, to) = (folder.join("from"), folder.join("to"));
    std_fs::create_dir_all(from.join("folder")).expect("made");
    std_fs::write(from.join("file"), "text").expect("made");
    symlink("file", from.join("link")).expect("made");
    const WHOSE: (u32, u32) = (12_345, 54_321);
    for name in ["folder", "file", "link"] {
        let given = std::os::unix::fs::lchown(from.join(name), Some(WHOSE.0), Some(WHOSE.1));
        if given.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            eprintln!("SKIPPED: only who has CAP_CHOWN can give files to others");
            return;
        }
    }
    // Who changes the owner takes these bits away.
    std_fs::set_permissions(from.join("file"), PermissionsExt::from_mode(0o6755)).expect("set");
    let whose = |name| {
        let metadata = std_fs::symlink_metadata(to.join(name)).expect("copied");
        (metadata.uid(), metadata.gid())
    };
    clean(async || {
        for _ in 0..2 {
            soon(fs::copy_tree(&from, &to)).await.expect("copied");
            let mine = whose("");
            assert!(["folder", "file", "link"].iter().all(|name| whose(name) == mine));
            soon(CopyOptions::new().ownership(true).copy_tree(&from, &to)).await.expect("copied");
            assert!(["folder", "file", "link"].iter().all(|name| whose(name) == WHOSE));
            assert_eq!(std_fs::metadata(to.join("file")).expect("copied").mode() & 0o7777, 0o6755);
            std_fs::remove_dir_all(&to).expect("removed");
        }
    });
}

#[test]
fn no_copy_of_a_tree_leaves_it_by_a_link_that_takes_a_folders_place() {
    clean(async || {
        let folder = folder();
        let (from, to, outside) = (folder.join("from"), folder.join("to"), folder.join("outside"));
        std_fs::create_dir_all(from.join("a")).expect("made");
        std_fs::write(from.join("a/file"), "inside").expect("made");
        std_fs::create_dir_all(&outside).expect("made");
        std_fs::write(outside.join("file"), "kept").expect("made");
        // A link where a folder is to be made, and one where a file is to be written.
        std_fs::create_dir(&to).expect("made");
        symlink(&outside, to.join("a")).expect("made");
        soon(fs::copy_tree(&from, &to)).await.expect_err("a link is no folder");
        assert_eq!(std_fs::read(outside.join("file")).expect("there"), b"kept");
        std_fs::remove_file(to.join("a")).expect("removed");
        std_fs::create_dir(to.join("a")).expect("made");
        symlink(outside.join("file"), to.join("a/file")).expect("made");
        soon(fs::copy_tree(&from, &to)).await.expect("the link is replaced");
        assert_eq!(std_fs::read(outside.join("file")).expect("there"), b"kept");
        assert_eq!(std_fs::read(to.join("a/file")).expect("there"), b"inside");

        for swapped in [from.join("a"), to.join("a")] {
            let attack = Attack::begin(swapped, outside.clone());
            for _ in 0..50 {
                // It may fail, as what it copies is moved about.
                let _ = soon(fs::copy_tree(&from, &to)).await;
                let copied = std_fs::read(to.join("a/file"));
                assert!(copied.is_err() || copied.is_ok_and(|bytes| bytes == b"inside" || bytes == b"kept"));
            }
            drop(attack);
            assert_eq!(std_fs::read(outside.join("file")).expect("there"), b"kept");
            assert_eq!(std_fs::read_dir(&outside).expect("there").count(), 1);
        }
    });
}

/// Something outside of a tree that an attacker leads to, again and again, by a link in the place of a folder of the tree.
struct Attack {
    stop: Arc<AtomicBool>,
    attacker: Option<std::thread::JoinHandle<()>>,
}

impl Attack {
    fn begin(folder: PathBuf, outside: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let attacker = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let aside = folder.with_extension("aside");
                while !stop.load(Ordering::Relaxed) {
                    // Any of these may fail, as the folder is being removed.
                    let _ = std_fs::rename(&folder, &aside);
                    let _ = symlink(&outside, &folder);
                    let _ = std_fs::remove_file(&folder);
                    let _ = std_fs::rename(&aside, &folder);
                }
            }
        });
        Self { stop, attacker: Some(attacker) }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.attacker.take().expect("joined once").join().expect("no panic");
    }
}

#[test]
fn no_walk_and_no_removal_leaves_its_folder_by_a_link_that_takes_a_folders_place() {
    clean(async || {
        let folder = folder();
        let outside = folder.join("outside");
        std_fs::create_dir(&outside).expect("made");
        std_fs::write(outside.join("secret"), "kept").expect("made");
        let root = folder.join("root");
        let make = || {
            std_fs::create_dir_all(root.join("a/b")).expect("made");
            for number in 0..20 {
                std_fs::write(root.join(format!("a/b/{number}")), "x").expect("made");
            }
        };
        make();
        let dir = Dir::open(folder.path()).await.expect("there");
        let attack = Attack::begin(root.join("a"), outside.clone());
        let begun = Instant::now();
        let mut walks = 0;
        while walks < 300 && begun.elapsed() < Duration::from_secs(2) {
            let (paths, _) = found(&mut fs::walk(&root)).await;
            let out = paths.iter().find(|path| path.ends_with("secret"));
            assert_eq!(out, None);
            let mut names = dir.walk(if walks % 2 == 0 { "root" } else { "root/a" });
            while let Some(name) = names.next().await {
                assert!(name.is_err() || name.is_ok_and(|name| name.file_name() != "secret"));
            }
            walks += 1;
        }
        drop(attack);
        for round in 0..100 {
            make();
            let attack = Attack::begin(root.join("a"), outside.clone());
            // It may fail, as what it removes is moved about; what is outside stays in any case.
            let _ = match round % 3 {
                0 => timeout(Duration::from_secs(5), fs::remove_dir_all(&root)).await,
                1 => timeout(Duration::from_secs(5), dir.remove_dir_all("root")).await,
                _ => timeout(Duration::from_secs(5), dir.remove_dir_all("root/a/b")).await,
            };
            drop(attack);
            assert_eq!(std_fs::read(outside.join("secret")).expect("it is there"), b"kept");
            let _ = fs::remove_dir_all(root.with_extension("aside")).await;
            let _ = fs::remove_dir_all(&root).await;
        }
        sleep(Duration::ZERO).await;
    });
}

/// A lease of an open file, which whoever opens it otherwise has the kernel ask for.
fn lease(file: &std_fs::File, kind: i32) -> bool {
    const F_SETSIG: i32 = 10;
    // SAFETY: an open file. Of the signals that tell of the end of the lease, nobody takes notice of this one.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) }, 0);
    // SAFETY: as above.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
}

#[test]
fn a_copy_waits_until_a_lease_of_either_file_is_given_back() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        std_fs::write(&from, "hello").expect("room");
        std_fs::write(&to, "before").expect("room");
        for (path, kind) in [(&from, libc::F_WRLCK), (&to, libc::F_RDLCK)] {
            let writes = kind == libc::F_WRLCK;
            let held = std_fs::File::options().read(true).write(writes).open(path).expect("there");
            // The copy before closes what it has written in the background.
            let leased = async {
                while !lease(&held, kind) {
                    let error = std::io::Error::last_os_error();
                    if error.raw_os_error() != Some(libc::EAGAIN) {
                        println!("SKIPPED: no lease of {}: {error}", path.display());
                        return false;
                    }
                    turn().await;
                }
                true
            };
            if !soon(leased).await {
                continue;
            }
            let mut copies = Box::pin(fs::copy(&from, &to));
            assert!(timeout(Duration::from_millis(20), &mut copies).await.is_err(), "it is leased");
            assert_eq!(std_fs::metadata(&to).expect("there").len(), if writes { 6 } else { 5 }, "nothing is changed");
            assert!(lease(&held, libc::F_UNLCK), "given back");
            assert_eq!(soon(copies).await.expect("copied"), 5);
            assert_eq!(std_fs::read(&to).expect("there"), b"hello");
        }
    });
}
