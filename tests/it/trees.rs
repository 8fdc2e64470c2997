//! Folders and what is in them: listed, walked through, copied, removed.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use corering::fs::{self, CopyOptions, Dir, DirWalk, File, FileTimes, Permissions, Reflink};

use crate::{alive, clean, folder, found_in, poll_once, put_into, soon, turn};

/// A small tree: two folders in one another, three files, a link.
async fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b")).await.expect("made");
    fs::create_dir(root.join("empty")).await.expect("made");
    put_into(root.join("one"), "1");
    put_into(root.join("a/two"), "22");
    put_into(root.join("a/b/three"), "333");
    fs::symlink("../one", root.join("a/link")).await.expect("made");
}

const ALL: [&str; 8] = ["", "a", "a/b", "a/b/three", "a/link", "a/two", "empty", "one"];

async fn walked(mut walk: fs::Walk, root: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    while let Some(entry) = soon(walk.next()).await {
        let path = entry.expect("readable").path();
        paths.push(path.strip_prefix(root).expect("below the root").to_path_buf());
    }
    paths
}

#[test]
fn the_names_in_a_folder_are_its_files_folders_and_links() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        let mut names = soon(fs::read_dir(root.join("a"))).await.expect("a folder");
        let mut found = Vec::new();
        while let Some(entry) = soon(names.next()).await {
            let entry = entry.expect("readable");
            assert_eq!(entry.parent(), root.join("a"));
            assert_eq!(entry.path(), root.join("a").join(entry.file_name()));
            let metadata = entry.metadata().await.expect("known");
            assert_eq!((entry.ino(), entry.file_type()), (metadata.ino(), metadata.file_type()));
            found.push((entry.file_name().to_str().expect("text").to_owned(), entry.file_type().is_dir()));
        }
        found.sort();
        assert_eq!(found, [("b".to_owned(), true), ("link".to_owned(), false), ("two".to_owned(), false)]);
        assert!(soon(names.next()).await.is_none(), "the end stays the end");
        let mut names = soon(fs::read_dir(root.join("empty"))).await.expect("a folder");
        assert!(soon(names.next()).await.is_none());
        soon(fs::remove_dir_all(&root)).await.expect("removed");
    });
}

#[test]
fn a_walk_goes_through_everything_once_folders_before_what_is_in_them() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        for metadata in [false, true] {
            let paths = walked(fs::walk(&root).metadata(metadata).sorted(true), &root).await;
            assert_eq!(paths, ALL.map(PathBuf::from));
            let mut unsorted = walked(fs::walk(&root).metadata(metadata), &root).await;
            for path in &unsorted {
                let at = |path: &Path| unsorted.iter().position(|found| found == path);
                assert!(path.parent().is_none_or(|parent| at(parent) < at(path)), "{path:?} after its folder");
            }
            unsorted.sort();
            assert_eq!(unsorted, ALL.map(PathBuf::from));
        }
        let mut walk = fs::walk(&root).metadata(true);
        let mut bytes = 0;
        while let Some(entry) = soon(walk.next()).await {
            let entry = entry.expect("readable");
            let known = *entry.known_metadata().expect("asked for");
            assert_eq!(known.file_type(), entry.file_type());
            bytes += if known.is_file() { known.len() } else { 0 };
        }
        assert_eq!(bytes, 6);
    });
}

#[test]
fn a_walk_leaves_out_what_it_is_told_to() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        let sorted = || fs::walk(&root).sorted(true);
        let depths = |most: usize| ALL.iter().filter(move |path| Path::new(path).components().count() <= most);
        for most in 0..4 {
            let expected: Vec<_> = depths(most).map(PathBuf::from).collect();
            assert_eq!(walked(sorted().max_depth(most), &root).await, expected, "at most {most} down");
            let expected: Vec<_> = ALL.iter().filter(|path| !depths(most).any(|left| left == *path)).collect();
            let expected: Vec<_> = expected.into_iter().map(PathBuf::from).collect();
            assert_eq!(walked(sorted().min_depth(most + 1), &root).await, expected, "more than {most} down");
        }
        let kept = walked(sorted().filter(|entry| entry.file_name() != "b"), &root).await;
        assert_eq!(kept, ["", "a", "a/link", "a/two", "empty", "one"].map(PathBuf::from));

        let mut walk = sorted();
        let mut paths = Vec::new();
        while let Some(entry) = soon(walk.next()).await {
            let entry = entry.expect("readable");
            if entry.file_name() == "a" {
                walk.skip_dir();
            }
            paths.push(entry.depth());
        }
        assert_eq!(paths, [0, 1, 1, 1], "the root, a, empty, one");
    });
}

#[test]
fn a_walk_follows_links_if_it_is_told_to_and_names_those_that_lead_back() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        fs::symlink("../a", root.join("empty/to-a")).await.expect("made");
        fs::symlink("nowhere", root.join("dangling")).await.expect("made");
        let mut walk = fs::walk(&root).follow_links(true);
        while let Some(entry) = soon(walk.next()).await {
            let entry = entry.expect("readable");
            let metadata = soon(entry.metadata()).await.expect("known");
            assert_eq!(metadata.file_type(), entry.file_type(), "{entry:?}");
            assert_eq!(entry.file_type().is_symlink(), entry.file_name() == "dangling", "{entry:?}");
        }
        let paths = walked(fs::walk(&root).sorted(true).follow_links(true), &root).await;
        assert!(paths.contains(&PathBuf::from("empty/to-a/b/three")), "{paths:?}");
        assert!(paths.contains(&PathBuf::from("dangling")), "{paths:?}");
        fs::symlink("..", root.join("a/up")).await.expect("made");
        let mut walk = fs::walk(&root).follow_links(true);
        let mut loops = Vec::new();
        while let Some(entry) = soon(walk.next()).await {
            if let Err(error) = entry {
                loops.push((error.path().to_path_buf(), error.leads_back_to().expect("a loop").to_path_buf()));
            }
        }
        loops.sort();
        let through = root.join("empty/to-a/up");
        assert_eq!(loops, [(root.join("a/up"), root.clone()), (through, root.clone())]);
    });
}

#[test]
fn a_walk_may_be_dropped_anywhere_and_a_next_that_was_dropped_loses_nothing() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        for steps in 0..20 {
            let mut walk = fs::walk(&root).sorted(true).metadata(true);
            let mut found = Vec::new();
            for _ in 0..steps {
                let mut next = Box::pin(async { walk.next().await.map(|entry| entry.expect("readable").path()) });
                if !poll_once(&mut next).await {
                    drop(next);
                    turn().await;
                    continue;
                }
                // It was ready: so it is asked anew, from its beginning.
                drop(next);
                found.clear();
                walk = fs::walk(&root).sorted(true).metadata(true);
            }
            while let Some(entry) = soon(walk.next()).await {
                found.push(entry.expect("readable").path());
            }
            assert_eq!(found.len(), ALL.len(), "after {steps} steps");
        }
    });
}

#[test]
fn a_tree_that_is_removed_is_gone_and_what_links_in_it_lead_to_stays() {
    clean(async || {
        let folder = folder();
        let (root, kept) = (folder.join("root"), folder.join("kept"));
        make_tree(&root).await;
        fs::create_dir(&kept).await.expect("made");
        put_into(kept.join("file"), "kept");
        fs::symlink(&kept, root.join("a/b/to-kept")).await.expect("made");
        soon(fs::remove_dir_all(&root)).await.expect("removed");
        assert!(!fs::exists(&root).await);
        assert_eq!(found_in(kept.join("file")), b"kept");
        let error = soon(fs::remove_dir_all(&root)).await.expect_err("gone");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        fs::symlink(&kept, &root).await.expect("made");
        soon(fs::remove_dir_all(&root)).await.expect("the link is removed");
        assert_eq!(found_in(kept.join("file")), b"kept");
        let error = soon(fs::remove_dir_all(kept.join("file"))).await.expect_err("a file");
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
    });
}

#[test]
fn a_removal_that_is_dropped_never_removes_what_is_made_after_it() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        for round in 0..20 {
            make_tree(&root).await;
            let mut removal = Box::pin(fs::remove_dir_all(&root));
            if !poll_once(&mut removal).await && round % 2 == 1 {
                turn().await;
            }
            drop(removal);
            // Waits for what is under way; some of the tree may be left.
            fs::create_dir_all(root.join("a/b")).await.expect("made");
            fs::write(root.join("a/b/new"), "new").await.expect("written");
            turn().await;
            assert_eq!(found_in(root.join("a/b/new")), b"new", "in round {round}");
            soon(fs::remove_dir_all(&root)).await.expect("removed");
        }
    });
}

#[test]
fn a_copy_has_the_contents_and_the_permissions_and_replaces_what_was_there() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        for length in [0_usize, 1, 4095, 4096, 300_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            put_into(&from, &bytes);
            fs::set_permissions(&from, Permissions::from_mode(0o640)).await.expect("set");
            assert_eq!(soon(fs::copy(&from, &to)).await.expect("copied"), length as u64);
            assert_eq!(found_in(&to), bytes);
            assert_eq!(fs::metadata(&to).await.expect("known").mode() & 0o777, 0o640);
        }
        // A shorter one leaves nothing of the longer.
        put_into(&from, "short");
        assert_eq!(soon(fs::copy(&from, &to)).await.expect("copied"), 5);
        assert_eq!(found_in(&to), b"short");
    });
}

#[test]
fn a_copy_keeps_holes() {
    clean(async || {
        const HOLE: u64 = 64 << 20;
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let file = File::create(&from).await.expect("made");
        file.write_all_at("begin", 0).await.0.expect("written");
        file.write_all_at("middle", HOLE).await.0.expect("written");
        file.set_len(2 * HOLE).await.expect("extended");
        file.close().await.expect("closed");
        assert_eq!(soon(fs::copy(&from, &to)).await.expect("copied"), 2 * HOLE);
        let metadata = fs::metadata(&to).await.expect("known");
        assert_eq!(metadata.len(), 2 * HOLE);
        assert!(metadata.blocks() * 512 < HOLE / 8, "{} blocks", metadata.blocks());
        let file = File::open(&to).await.expect("opened");
        for (offset, expected) in [(0, "begin"), (HOLE, "middle"), (HOLE + 6, "\0\0\0\0\0")] {
            let (read, bytes) = file.read_at(Vec::with_capacity(expected.len()), offset).await;
            assert_eq!((read.expect("read"), &*bytes), (expected.len(), expected.as_bytes()));
        }
        file.close().await.expect("closed");
    });
}

#[test]
fn nothing_is_copied_onto_itself_and_only_files_are_copied() {
    clean(async || {
        let folder = folder();
        let (file, link, other) = (folder.join("file"), folder.join("link"), folder.join("other"));
        put_into(&file, "kept");
        fs::symlink(&file, &link).await.expect("made");
        fs::hard_link(&file, &other).await.expect("made");
        for same in [&file, &link, &other] {
            let error = soon(fs::copy(&file, same)).await.expect_err("the same");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(found_in(&file), b"kept");
        }
        let error = soon(fs::copy(folder.path(), folder.join("copy"))).await.expect_err("a folder");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!fs::exists(folder.join("copy")).await);
        let error = soon(fs::copy(folder.join("missing"), &file)).await.expect_err("nothing");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(found_in(&file), b"kept");
    });
}

#[test]
fn a_tree_is_copied_with_its_links_and_permissions_and_never_into_itself() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        make_tree(&from).await;
        fs::set_permissions(from.join("a"), Permissions::from_mode(0o555)).await.expect("set");
        for _ in 0..2 {
            // Once more, over what is there.
            let copied = soon(fs::copy_tree(&from, &to)).await.expect("copied");
            assert_eq!((copied.files, copied.dirs, copied.links, copied.bytes), (3, 4, 1, 6));
            assert!(copied.left_out.is_empty());
            assert_eq!(walked(fs::walk(&to).sorted(true), &to).await, ALL.map(PathBuf::from));
            assert_eq!(found_in(to.join("a/b/three")), b"333");
            assert_eq!(fs::read_link(to.join("a/link")).await.expect("a link"), Path::new("../one"));
            assert_eq!(fs::metadata(to.join("a")).await.expect("known").mode() & 0o777, 0o555);
            fs::set_permissions(to.join("a"), Permissions::from_mode(0o755)).await.expect("set");
        }
        for inside in ["", "a/b", "a/new", "empty/new/newer"] {
            let error = soon(fs::copy_tree(&from, from.join(inside))).await.expect_err("inside");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{inside}: {error}");
        }
        assert_eq!(walked(fs::walk(&from).sorted(true), &from).await, ALL.map(PathBuf::from));
        fs::set_permissions(from.join("a"), Permissions::from_mode(0o755)).await.expect("set");
    });
}

/// Long ago, and not in whole seconds.
fn long_ago(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000 + seconds, 500)
}

#[test]
fn what_is_there_is_not_overwritten_if_it_is_not_to_be() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let options = CopyOptions::new().overwrite(false);
        make_tree(&from).await;
        soon(options.copy_tree(&from, &to)).await.expect("nothing is there");
        assert_eq!(walked(fs::walk(&to).sorted(true), &to).await, ALL.map(PathBuf::from));
        put_into(to.join("one"), "kept");
        let error = soon(options.copy(from.join("one"), to.join("one"))).await.expect_err("there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        // Folders are no hindrance, but files and links are.
        for there in ["one", "a/link"] {
            let alone = folder.join("alone");
            fs::create_dir_all(alone.join("a")).await.expect("made");
            match there {
                "one" => put_into(alone.join(there), "kept"),
                _ => fs::symlink("kept", alone.join(there)).await.expect("made"),
            }
            let error = soon(options.copy_tree(&from, &alone)).await.expect_err("there");
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            match there {
                "one" => assert_eq!(found_in(alone.join(there)), b"kept"),
                _ => assert_eq!(fs::read_link(alone.join(there)).await.expect("there"), Path::new("kept")),
            }
            fs::remove_file(alone.join(there)).await.expect("removed");
            soon(fs::remove_dir_all(&alone)).await.expect("removed");
        }
        assert_eq!(found_in(to.join("one")), b"kept");
    });
}

#[test]
fn a_copy_keeps_the_times_if_it_is_to() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        make_tree(&from).await;
        let times = |at| FileTimes::new().set_accessed(long_ago(at)).set_modified(long_ago(at + 1));
        // Inner ones first: what is made in a folder changes it.
        for (at, name) in (0..).map(|at| 10 * at).zip(ALL.iter().rev()) {
            fs::set_link_times(from.join(name), times(at)).await.expect("set");
        }
        for options in [CopyOptions::new().times(true), CopyOptions::new().times(true).holes(false)] {
            soon(options.copy_tree(&from, &to)).await.expect("copied");
            for (at, name) in (0..).map(|at| 10 * at).zip(ALL.iter().rev()) {
                let copy = fs::symlink_metadata(to.join(name)).await.expect("copied");
                assert_eq!((copy.accessed(), copy.modified()), (long_ago(at), long_ago(at + 1)), "of {name:?}");
                // What was just listed or read has been accessed since.
                fs::set_link_times(from.join(name), times(at)).await.expect("set");
            }
            soon(fs::remove_dir_all(&to)).await.expect("removed");
        }
        soon(fs::copy(from.join("one"), folder.join("one"))).await.expect("copied");
        assert_ne!(fs::metadata(folder.join("one")).await.expect("there").modified(), long_ago(1));
    });
}

#[test]
fn without_the_permissions_a_copy_has_no_more_than_what_is_made_gets() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        make_tree(&from).await;
        let mode = async |path: PathBuf| fs::metadata(path).await.expect("there").mode() & 0o7777;
        let usual = mode(from.join("a")).await;
        fs::set_permissions(from.join("one"), Permissions::from_mode(0o4777)).await.expect("set");
        fs::set_permissions(from.join("a/two"), Permissions::from_mode(0o600)).await.expect("set");
        fs::set_permissions(from.join("a"), Permissions::from_mode(0o2777)).await.expect("set");
        fs::set_permissions(from.join("empty"), Permissions::from_mode(0o700)).await.expect("set");
        let options = CopyOptions::new().permissions(false);
        soon(options.copy_tree(&from, &to)).await.expect("copied");
        for (name, expected) in [("one", usual), ("a/two", 0o600), ("a", usual), ("empty", 0o700)] {
            assert_eq!(mode(to.join(name)).await, expected, "{name}");
        }
        // What is there keeps its own.
        for name in ["one", "a"] {
            fs::set_permissions(to.join(name), Permissions::from_mode(0o705)).await.expect("set");
        }
        soon(options.copy_tree(&from, &to)).await.expect("copied");
        for name in ["one", "a"] {
            assert_eq!(mode(to.join(name)).await, 0o705, "{name}");
        }
        soon(fs::copy_tree(&from, &to)).await.expect("copied");
        for (name, expected) in [("one", 0o4777), ("a/two", 0o600), ("a", 0o2777), ("empty", 0o700)] {
            assert_eq!(mode(to.join(name)).await, expected, "{name}");
        }
    });
}

#[test]
fn links_are_copied_as_what_they_lead_to_if_they_are_to_be_followed() {
    clean(async || {
        let folder = folder();
        let (from, to, outside) = (folder.join("from"), folder.join("to"), folder.join("outside"));
        make_tree(&from).await;
        make_tree(&outside).await;
        fs::symlink(&outside, from.join("out")).await.expect("made");
        fs::symlink("a/two", from.join("in")).await.expect("made");
        let options = CopyOptions::new().follow_links(true);
        let copied = soon(options.copy_tree(&from, &to)).await.expect("copied");
        assert_eq!((copied.files, copied.dirs, copied.links), (9, 8, 0));
        for path in walked(fs::walk(&to), &to).await {
            assert!(!fs::symlink_metadata(to.join(&path)).await.expect("there").is_symlink(), "{path:?}");
        }
        assert_eq!(found_in(to.join("out/a/b/three")), b"333");
        assert_eq!(found_in(to.join("out/a/link")), b"1");
        assert_eq!(found_in(to.join("in")), b"22");
        // Otherwise there would be no end.
        for target in [to.clone(), to.join("new"), folder.path().to_path_buf()] {
            fs::remove_file(from.join("out")).await.expect("removed");
            fs::symlink(&target, from.join("out")).await.expect("made");
            fs::create_dir_all(to.join("new")).await.expect("made");
            let copied = soon(options.copy_tree(&from, to.join("new"))).await;
            let error = copied.expect_err("it would be copied into itself");
            let reason = ["is the folder that is copied to", "leads back to"];
            assert!(reason.iter().any(|reason| error.to_string().contains(reason)), "{error}");
        }
    });
}

#[test]
fn a_copy_writes_zeros_for_holes_if_it_is_to() {
    clean(async || {
        const HOLE: u64 = 2 << 20;
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let file = File::create(&from).await.expect("made");
        file.write_all_at("middle", HOLE).await.0.expect("written");
        file.set_len(2 * HOLE).await.expect("extended");
        file.close().await.expect("closed");
        for (options, sparse) in [
            (CopyOptions::new().reflink(Reflink::Never), true),
            (CopyOptions::new().holes(false), false),
            (CopyOptions::new().holes(false).reflink(Reflink::Never), false),
        ] {
            assert_eq!(soon(options.copy(&from, &to)).await.expect("copied"), 2 * HOLE);
            let metadata = fs::metadata(&to).await.expect("known");
            assert_eq!(metadata.len(), 2 * HOLE);
            assert_eq!(metadata.blocks() * 512 < HOLE, sparse, "{} blocks", metadata.blocks());
            assert_eq!(found_in(&to), found_in(&from));
        }
        let options = CopyOptions::new().reflink(Reflink::Always);
        match soon(options.copy(&from, &to)).await {
            Ok(bytes) => assert_eq!((bytes, found_in(&to)), (2 * HOLE, found_in(&from))),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
        let error = soon(options.holes(false).copy(&from, &to)).await.expect_err("both cannot be");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn no_more_files_are_copied_side_by_side_than_was_asked_for() {
    clean(async || {
        let folder = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir(&from).await.expect("made");
        for number in 0..100 {
            put_into(from.join(number.to_string()), "x");
        }
        let before = alive();
        for (most, asked) in [(1, 0), (1, 1), (3, 3)] {
            let options = CopyOptions::new().concurrency(asked);
            let mut copying = pin!(options.copy_tree(&from, &to));
            let mut side_by_side = 0;
            let copied = soon(poll_fn(|cx| {
                let polled = copying.as_mut().poll(cx);
                side_by_side = side_by_side.max(alive() - before);
                polled
            }))
            .await;
            assert_eq!(copied.expect("copied").files, 100);
            assert_eq!(side_by_side, most);
        }
    });
}

async fn walked_below(mut walk: DirWalk) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    while let Some(name) = soon(walk.next()).await {
        let name = name.expect("readable");
        assert_eq!(name.known_metadata().map(|known| known.file_type()), Some(name.file_type()));
        found.push((name.path(), name.depth()));
    }
    found
}

#[test]
fn a_walk_of_an_open_directory_goes_through_what_is_in_it_and_never_out() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        fs::create_dir_all(folder.join("outside/inner")).await.expect("made");
        fs::symlink("../outside", root.join("out")).await.expect("made");
        fs::symlink("a", root.join("within")).await.expect("made");
        let dir = Dir::open(&root).await.expect("there");
        // Wherever it is moved.
        fs::rename(&root, folder.join("moved")).await.expect("moved");
        let walk = |path: &str| dir.walk(path).metadata(true).sorted(true);

        let all =
            walked_below(walk(".").filter(|name| name.file_name() != "out" && name.file_name() != "within")).await;
        let expected: Vec<_> = ALL.iter().map(|path| Path::new(".").join(path)).collect();
        assert_eq!(all.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>(), expected);
        assert_eq!(all.iter().map(|(_, depth)| *depth).collect::<Vec<_>>(), [0, 1, 2, 3, 2, 2, 1, 1]);
        for (path, _) in &all {
            assert!(dir.symlink_metadata(path).await.is_ok(), "{path:?} is a path from the directory");
        }
        let some = walked_below(walk("a").min_depth(1).max_depth(1).same_file_system(true)).await;
        assert_eq!(
            some.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            ["a/b", "a/link", "a/two"].map(Path::new).to_vec().iter().collect::<Vec<_>>()
        );
        assert_eq!(walked_below(walk("within/b")).await.len(), 2, "a link that stays within");
        assert_eq!(walked_below(walk("one")).await, [(PathBuf::from("one"), 0)]);
        let mut skips = walk(".");
        let mut found = 0;
        while let Some(name) = soon(skips.next()).await {
            if name.expect("readable").file_name() == "a" {
                skips.skip_dir();
            }
            found += 1;
        }
        assert_eq!(found, 6);

        for path in ["..", "../outside", "/", "out", "out/inner", "a/../../outside"] {
            let error = soon(dir.walk(path).next()).await.expect("an error").expect_err("it leads out");
            assert_eq!(error.io_error().kind(), ErrorKind::CrossesDevices, "{path}");
            assert_eq!(error.path(), Path::new(path));
        }
        let error = soon(dir.walk("none").next()).await.expect("an error").expect_err("nothing is there");
        assert_eq!(error.io_error().kind(), ErrorKind::NotFound);
        dir.close().await.expect("nobody else has it");
    });
}

#[test]
fn a_tree_in_an_open_directory_is_removed_and_nothing_outside() {
    clean(async || {
        let folder = folder();
        let root = folder.join("root");
        make_tree(&root).await;
        fs::create_dir_all(folder.join("outside/inner")).await.expect("made");
        fs::symlink("../outside", root.join("out")).await.expect("made");
        fs::symlink("../../outside", root.join("a/b/out")).await.expect("made");
        let dir = Dir::open(&root).await.expect("there");
        for (path, kind) in [
            ("..", ErrorKind::CrossesDevices),
            ("../outside", ErrorKind::CrossesDevices),
            ("out/inner", ErrorKind::CrossesDevices),
            ("a/../../outside", ErrorKind::CrossesDevices),
            (".", ErrorKind::InvalidInput),
            ("none", ErrorKind::NotFound),
            ("none/at/all", ErrorKind::NotFound),
            ("one", ErrorKind::NotADirectory),
        ] {
            assert_eq!(soon(dir.remove_dir_all(path)).await.expect_err("refused").kind(), kind, "{path}");
        }
        soon(dir.remove_dir_all("a/b/")).await.expect("removed");
        assert!(!fs::exists(root.join("a/b")).await && fs::exists(root.join("a/two")).await);
        for path in ["a", "out/", "empty"] {
            soon(dir.remove_dir_all(path)).await.expect("removed");
        }
        assert!(fs::exists(folder.join("outside/inner")).await, "a link was removed, not what it led to");
        let mut left = soon(dir.read_dir(".")).await.expect("there");
        assert_eq!(soon(left.next()).await.expect("one").expect("readable").file_name(), "one");
        assert!(soon(left.next()).await.is_none());
        drop(left);
        dir.close().await.expect("nobody else has it");
    });
}
