//! Being told of what happens to files: nothing is lost, and nothing is told of what is not watched.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use corering::fs::{self, Change, Event, Events, Watcher};
use corering::time::timeout;

use crate::{clean, folder, metrics, poll_once, soon, turn};

async fn next(watcher: &mut Watcher) -> Event {
    soon(watcher.next()).await.expect("read")
}

/// Events until there is one that says `last`.
async fn until(watcher: &mut Watcher, last: Change) -> Vec<(Change, String)> {
    let mut all = Vec::new();
    loop {
        let event = next(watcher).await;
        all.push((event.change(), event.name().map_or(String::new(), |name| name.to_string_lossy().into_owned())));
        if event.change() == last {
            return all;
        }
    }
}

#[test]
fn what_happens_in_a_folder_is_told_in_order_with_its_name() {
    let directory = folder();
    let path = directory.join("file");
    clean(async || {
        let mut watcher = fs::watch(directory.path()).await.expect("watched");
        std::fs::write(&path, "text").expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        std::fs::create_dir(directory.join("folder")).expect("made");
        std::fs::remove_file(&path).expect("removed");
        let mut told = Vec::new();
        for _ in 0..6 {
            let event = next(&mut watcher).await;
            assert_eq!(event.path(), directory.join(event.name().expect("a name")));
            told.push((event.change(), event.name().expect("a name").to_owned(), event.is_dir()));
        }
        let file = |change| (change, OsStr::new("file").to_owned(), false);
        let expected = [
            file(Change::Created),
            file(Change::Modified),
            file(Change::ClosedAfterWrite),
            file(Change::Attributes),
            (Change::Created, OsStr::new("folder").to_owned(), true),
            file(Change::Deleted),
        ];
        assert_eq!(told, expected);
    });
}

#[test]
fn the_halves_of_a_move_have_the_same_cookie_and_others_have_another() {
    let directory = folder();
    clean(async || {
        for name in ["one", "two"] {
            std::fs::write(directory.join(name), "x").expect("written");
        }
        let mut watcher = Watcher::new().expect("made");
        watcher.add(directory.path(), Events::MOVED).await.expect("watched");
        for name in ["one", "two"] {
            std::fs::rename(directory.join(name), directory.join(name.to_uppercase())).expect("moved");
        }
        let mut cookies = Vec::new();
        for name in ["one", "two"] {
            let (from, to) = (next(&mut watcher).await, next(&mut watcher).await);
            assert_eq!((from.path(), to.path()), (&*directory.join(name), &*directory.join(name.to_uppercase())));
            match (from.change(), to.change()) {
                (Change::MovedFrom(one), Change::MovedTo(other)) if one == other => cookies.push(one),
                other => panic!("{other:?}"),
            }
        }
        assert_ne!(cookies[0], cookies[1]);
    });
}

#[test]
fn a_wait_that_is_dropped_loses_no_event() {
    const MANY: usize = 2000;
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        watcher.add(directory.path(), Events::CREATED).await.expect("watched");
        let writer = std::thread::spawn({
            let directory = directory.path().to_path_buf();
            move || {
                for number in 0..MANY {
                    std::fs::write(directory.join(number.to_string()), "").expect("made");
                }
            }
        });
        let mut seen = 0;
        let mut dropped = 0;
        while seen < MANY {
            // Given up at every moment: before it is submitted, in flight, and when its result has come but not been seen.
            let event = match poll_fn(|cx| Poll::Ready(pin!(watcher.next()).poll(cx))).await {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    dropped += 1;
                    turn().await;
                    match timeout(Duration::from_micros(50), watcher.next()).await {
                        Ok(event) => event,
                        Err(_) => continue,
                    }
                }
            };
            assert_eq!(event.expect("read").name(), Some(OsStr::new(&seen.to_string())));
            seen += 1;
        }
        writer.join().expect("no panic");
        assert!(dropped > 0);
        assert!(timeout(Duration::from_millis(1), watcher.next()).await.is_err(), "no more");
    });
}

#[test]
fn what_is_removed_ends_after_what_has_happened_before() {
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        let watch = watcher.add(directory.path(), Events::CREATED).await.expect("watched");
        std::fs::write(directory.join("before"), "").expect("made");
        watcher.remove(watch).expect("removed");
        std::fs::write(directory.join("after"), "").expect("made");
        let told = until(&mut watcher, Change::Ended).await;
        assert_eq!(told, [(Change::Created, "before".to_owned()), (Change::Ended, String::new())]);
        assert_eq!(watcher.path(watch), None);
        assert_eq!(watcher.remove(watch).expect_err("gone").kind(), ErrorKind::NotFound);
        assert!(timeout(Duration::from_millis(1), watcher.next()).await.is_err(), "nothing is watched");
        // It can be watched again, and has another number then.
        let again = watcher.add(directory.path(), Events::CREATED).await.expect("watched");
        assert_ne!(again, watch);
        std::fs::write(directory.join("again"), "").expect("made");
        assert_eq!(next(&mut watcher).await.watch(), Some(again));
    });
}

#[test]
fn a_file_that_is_watched_is_told_of_until_it_is_no_more() {
    let directory = folder();
    let path = directory.join("file");
    clean(async || {
        std::fs::write(&path, "text").expect("written");
        let events = Events::MODIFIED | Events::SELF_MOVED | Events::SELF_DELETED;
        let mut watcher = Watcher::new().expect("made");
        let watch = watcher.add(&path, events).await.expect("watched");
        std::os::unix::fs::symlink(&path, directory.join("link")).expect("made");
        assert_eq!(watcher.add(directory.join("link"), events).await.expect("the same"), watch);
        let append = || std::fs::OpenOptions::new().append(true).open(&path).expect("there");
        append().write_all(b"more").expect("written");
        std::fs::rename(&path, directory.join("other")).expect("moved");
        std::fs::remove_file(directory.join("other")).expect("removed");
        let told: Vec<_> = until(&mut watcher, Change::Ended).await.into_iter().map(|(change, _)| change).collect();
        assert_eq!(told, [Change::Modified, Change::SelfMoved, Change::SelfDeleted, Change::Ended]);
    });
}

#[test]
fn an_add_that_is_dropped_adds_nothing_and_leaves_nothing_open() {
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        // No cache of names leads through a link of /proc, so the ring has to be asked.
        let opened = std::fs::File::open(directory.path()).expect("there");
        let by_proc = format!("/proc/self/fd/{}", opened.as_raw_fd());
        for round in 0..50 {
            {
                let mut adding = pin!(watcher.add(&by_proc, Events::CREATED));
                assert!(!poll_once(&mut adding).await);
            }
            if round % 2 == 0 {
                turn().await;
            }
        }
        std::fs::write(directory.join("unseen"), "").expect("made");
        let watch = watcher.add(directory.path(), Events::CREATED).await.expect("watched");
        std::fs::write(directory.join("seen"), "").expect("made");
        let event = next(&mut watcher).await;
        assert_eq!((event.watch(), event.name()), (Some(watch), Some(OsStr::new("seen"))));
    });
    assert_eq!(directory.open(), 0);
}

#[test]
fn a_watcher_may_be_dropped_while_it_waits() {
    let directory = folder();
    clean(async || {
        for round in 0..20 {
            let mut watcher = fs::watch(directory.path()).await.expect("watched");
            {
                let mut waiting = pin!(watcher.next());
                assert!(!poll_once(&mut waiting).await);
            }
            if round % 2 == 0 {
                turn().await;
            }
            assert!(metrics().operations > 0);
        }
    });
}

#[test]
fn more_than_the_kernel_keeps_is_told_as_an_overflow() {
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a setting");
    let most: usize = most.trim().parse().expect("a number");
    if most > 100_000 {
        eprintln!("SKIPPED: fs.inotify.max_queued_events is {most}");
        return;
    }
    let directory = folder();
    let path = directory.join("file");
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        let watch = watcher.add(directory.path(), Events::CREATED | Events::DELETED).await.expect("watched");
        for _ in 0..most / 2 + 10 {
            std::fs::write(&path, "").expect("made");
            std::fs::remove_file(&path).expect("removed");
        }
        let mut count = 0;
        let overflow = loop {
            let event = next(&mut watcher).await;
            if event.change() == Change::Overflow {
                break event;
            }
            count += 1;
        };
        assert_eq!((overflow.watch(), overflow.name(), count), (None, None, most));
        // What is watched stays watched.
        std::fs::write(&path, "").expect("made");
        let event = next(&mut watcher).await;
        assert_eq!((event.watch(), event.change()), (Some(watch), Change::Created));
    });
}

#[test]
fn what_cannot_be_watched_says_why() {
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        let missing = watcher.add(directory.join("missing"), Events::CHANGES).await;
        assert_eq!(missing.expect_err("missing").kind(), ErrorKind::NotFound);
        assert_eq!(watcher.add("a\0b", Events::CHANGES).await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
    });
}

/// How many watchers watch that.
fn watchers_of(path: impl AsRef<Path>) -> usize {
    let ino = format!(" ino:{:x} ", std::fs::metadata(path).expect("there").ino());
    let mut count = 0;
    for info in std::fs::read_dir("/proc/self/fdinfo").expect("there").flatten() {
        // Another test may have closed it since.
        let lines = std::fs::read_to_string(info.path()).unwrap_or_default();
        count += lines.lines().filter(|line| line.starts_with("inotify") && line.contains(&ino)).count();
    }
    count
}

/// Everything up to that: what happens to `last`, which is made in the topmost folder.
async fn told_until(watcher: &mut Watcher, top: &Path, last: &str) -> Vec<(Change, PathBuf)> {
    std::fs::write(top.join(last), "").expect("made");
    let mut told = Vec::new();
    loop {
        let event = next(watcher).await;
        let path = event.path().strip_prefix(top).expect("below").to_path_buf();
        if path == Path::new(last) {
            return told;
        }
        told.push((event.change(), path));
    }
}

fn created(paths: &[&str]) -> Vec<(Change, PathBuf)> {
    paths.iter().map(|path| (Change::Created, PathBuf::from(path))).collect()
}

const CREATED: Events = Events::CREATED;

#[test]
fn what_happens_anywhere_in_a_tree_is_told_with_its_path() {
    let directory = folder();
    let top = directory.join("top");
    std::fs::create_dir_all(top.join("a/b")).expect("made");
    std::fs::create_dir_all(directory.join("outside")).expect("made");
    std::os::unix::fs::symlink(directory.join("outside"), top.join("link")).expect("made");
    clean(async || {
        let mut watcher = fs::watch_tree(&top).await.expect("watched");
        std::fs::write(top.join("a/b/file"), "text").expect("written");
        std::fs::write(directory.join("outside/file"), "text").expect("written");
        std::fs::remove_file(top.join("a/b/file")).expect("removed");
        let mut told = Vec::new();
        for _ in 0..4 {
            let event = next(&mut watcher).await;
            assert_eq!((event.path(), event.name()), (&*top.join("a/b/file"), Some(OsStr::new("file"))));
            assert_eq!(watcher.path(event.watch().expect("the tree")), Some(&*top));
            told.push(event.change());
        }
        assert_eq!(told, [Change::Created, Change::Modified, Change::ClosedAfterWrite, Change::Deleted]);
        // A folder tells of itself by the one that it is in, and the topmost one as any that is watched.
        std::fs::set_permissions(top.join("a"), PermissionsExt::from_mode(0o700)).expect("set");
        std::fs::set_permissions(&top, PermissionsExt::from_mode(0o700)).expect("set");
        let inner = next(&mut watcher).await;
        assert_eq!((inner.change(), inner.path(), inner.is_dir()), (Change::Attributes, &*top.join("a"), true));
        let itself = next(&mut watcher).await;
        assert_eq!((itself.change(), itself.path(), itself.name()), (Change::Attributes, &*top, None));
        assert!(timeout(Duration::from_millis(1), watcher.next()).await.is_err(), "no more");
        std::fs::remove_dir_all(&top).expect("removed");
        let told = until(&mut watcher, Change::Ended).await;
        let removed = |name: &str| told.iter().filter(|event| **event == (Change::Deleted, name.to_owned())).count();
        assert_eq!((removed("a"), removed("b"), removed("link")), (1, 1, 1), "{told:?}");
        assert!(told.contains(&(Change::SelfDeleted, String::new())), "{told:?}");
        std::fs::create_dir_all(top.join("a/b")).expect("made");
    });
}

#[test]
fn what_was_in_a_new_folder_before_it_was_watched_is_told_once() {
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        watcher.add_tree(directory.path(), CREATED).await.expect("watched");
        // All of it is there before the first event is read.
        std::fs::create_dir_all(directory.join("a/b/c")).expect("made");
        for file in ["a/one", "a/b/two", "a/b/c/three"] {
            std::fs::write(directory.join(file), "text").expect("written");
        }
        let mut told = told_until(&mut watcher, directory.path(), "last").await;
        told.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(told, created(&["a", "a/b", "a/b/c", "a/b/c/three", "a/b/two", "a/one"]));
        // And what comes to be later, also under the same names.
        std::fs::remove_dir_all(directory.join("a/b")).expect("removed");
        std::fs::create_dir_all(directory.join("a/b/c")).expect("made");
        std::fs::write(directory.join("a/b/two"), "text").expect("written");
        let mut told = told_until(&mut watcher, directory.path(), "again").await;
        told.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(told, created(&["a/b", "a/b/c", "a/b/two"]));
        std::fs::remove_file(directory.join("a/b/two")).expect("removed");
        std::fs::write(directory.join("a/b/two"), "text").expect("written");
        assert_eq!(told_until(&mut watcher, directory.path(), "end").await, created(&["a/b/two"]));
        std::fs::remove_dir_all(directory.join("a")).expect("removed");
        for file in ["last", "again", "end"] {
            std::fs::remove_file(directory.join(file)).expect("removed");
        }
    });
}

#[test]
fn trees_that_are_made_while_they_are_watched_are_told_whole_and_once_whatever_is_dropped() {
    const TREES: usize = 40;
    const DEPTH: usize = 8;
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        watcher.add_tree(directory.path(), CREATED).await.expect("watched");
        let round = directory.path().to_path_buf();
        let writer = std::thread::spawn(move || {
            let mut made = BTreeSet::new();
            for tree in 0..TREES {
                let mut path = round.join(format!("tree {tree}"));
                for depth in 0..DEPTH {
                    std::fs::create_dir(&path).expect("made");
                    made.insert(path.clone());
                    for file in ["one", "two"] {
                        std::fs::write(path.join(file), "").expect("made");
                        made.insert(path.join(file));
                    }
                    path.push(depth.to_string());
                }
            }
            made
        });
        let mut told = BTreeSet::new();
        while told.len() < TREES * DEPTH * 3 {
            let event = match poll_fn(|cx| Poll::Ready(pin!(watcher.next()).poll(cx))).await {
                Poll::Ready(event) => event,
                Poll::Pending => match timeout(Duration::from_micros(50), watcher.next()).await {
                    Ok(event) => event,
                    Err(_) => continue,
                },
            };
            let event = event.expect("read");
            assert!(event.change() == Change::Created && told.insert(event.path().to_path_buf()), "{event:?}");
        }
        assert_eq!(writer.join().expect("no panic"), told);
        assert!(timeout(Duration::from_millis(1), watcher.next()).await.is_err(), "no more");
        for tree in 0..TREES {
            std::fs::remove_dir_all(directory.join(format!("tree {tree}"))).expect("removed");
        }
    });
}

#[test]
fn a_folder_that_is_moved_is_told_of_where_it_is_now_and_not_when_it_has_left() {
    let directory = folder();
    let (top, outside) = (directory.join("top"), directory.join("outside"));
    clean(async || {
        std::fs::create_dir_all(top.join("a/inner")).expect("made");
        std::fs::create_dir_all(top.join("b")).expect("made");
        std::fs::create_dir_all(outside.join("new/inner")).expect("made");
        std::fs::write(outside.join("new/inner/file"), "").expect("made");
        let mut watcher = Watcher::new().expect("made");
        watcher.add_tree(&top, CREATED).await.expect("watched");
        // Within: under another name, in another folder.
        std::fs::rename(top.join("a"), top.join("b/c")).expect("moved");
        std::fs::write(top.join("b/c/inner/file"), "").expect("made");
        assert_eq!(told_until(&mut watcher, &top, "1").await, created(&["b/c/inner/file"]));
        assert_eq!(watchers_of(top.join("b/c/inner")), 1);
        // Into the tree, with what is in it.
        std::fs::rename(outside.join("new"), top.join("new")).expect("moved");
        std::fs::write(top.join("new/inner/other"), "").expect("made");
        let mut told = told_until(&mut watcher, &top, "2").await;
        told.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(told, created(&["new/inner", "new/inner/file", "new/inner/other"]));
        // Out of it.
        std::fs::rename(top.join("b/c"), outside.join("c")).expect("moved");
        std::fs::write(outside.join("c/inner/unseen"), "").expect("made");
        assert_eq!(told_until(&mut watcher, &top, "3").await, []);
        assert_eq!((watchers_of(outside.join("c")), watchers_of(outside.join("c/inner"))), (0, 0));
        std::fs::write(outside.join("c/inner/unseen, too"), "").expect("made");
        // And back.
        std::fs::rename(outside.join("c"), top.join("c")).expect("moved");
        let mut told = told_until(&mut watcher, &top, "4").await;
        told.sort_by(|one, other| one.1.cmp(&other.1));
        let expected = ["c/inner", "c/inner/file", "c/inner/unseen", "c/inner/unseen, too"];
        assert_eq!(told, created(&expected));
        for folder in [&top, &outside] {
            std::fs::remove_dir_all(folder).expect("removed");
        }
    });
}

#[test]
fn a_folder_that_is_moved_to_another_tree_belongs_to_that() {
    let directory = folder();
    let (one, other) = (directory.join("one"), directory.join("other"));
    clean(async || {
        std::fs::create_dir_all(one.join("a/inner")).expect("made");
        std::fs::create_dir_all(&other).expect("made");
        let mut watcher = Watcher::new().expect("made");
        let first = watcher.add_tree(&one, CREATED).await.expect("watched");
        let second = watcher.add_tree(&other, CREATED).await.expect("watched");
        std::fs::rename(one.join("a"), other.join("b")).expect("moved");
        std::fs::write(other.join("b/inner/file"), "").expect("made");
        let event = next(&mut watcher).await;
        assert_eq!((event.watch(), event.path()), (Some(second), &*other.join("b/inner/file")));
        watcher.remove(first).expect("removed");
        assert_eq!((next(&mut watcher).await.change(), watchers_of(other.join("b/inner"))), (Change::Ended, 1));
        for folder in [&one, &other] {
            std::fs::remove_dir_all(folder).expect("removed");
        }
    });
}

#[test]
fn folders_of_a_tree_that_was_moved_itself_are_not_missed_in_silence() {
    let directory = folder();
    let (top, other) = (directory.join("top"), directory.join("other"));
    clean(async || {
        std::fs::create_dir_all(top.join("a")).expect("made");
        let mut watcher = Watcher::new().expect("made");
        watcher.add_tree(&top, CREATED | Events::SELF_MOVED).await.expect("watched");
        std::fs::rename(&top, &other).expect("moved");
        // Somebody else's has the path now.
        std::fs::create_dir_all(top.join("a/new")).expect("made");
        std::fs::create_dir(other.join("a/new")).expect("made");
        assert_eq!(next(&mut watcher).await.change(), Change::SelfMoved);
        assert_eq!(next(&mut watcher).await.path(), top.join("a/new"));
        let error = soon(watcher.next()).await.expect_err("it cannot be found");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("top/a/new"), "{error}");
        assert_eq!(watchers_of(top.join("a/new")), 0);
        std::fs::write(other.join("a/file"), "").expect("made");
        assert_eq!(next(&mut watcher).await.path(), top.join("a/file"));
        for folder in [&top, &other] {
            std::fs::remove_dir_all(folder).expect("removed");
        }
    });
}

#[test]
fn a_folder_that_took_the_name_of_one_that_was_moved_is_told_with_what_is_in_it() {
    let directory = folder();
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        watcher.add_tree(directory.path(), CREATED).await.expect("watched");
        // When the first event is read, another folder has the name already.
        for (name, file) in [("a", "one"), ("b", "two")] {
            std::fs::create_dir(directory.join("same")).expect("made");
            std::fs::write(directory.join("same").join(file), "").expect("made");
            std::fs::rename(directory.join("same"), directory.join(name)).expect("moved");
        }
        std::fs::create_dir(directory.join("same")).expect("made");
        std::fs::write(directory.join("same/three"), "").expect("made");
        let told = told_until(&mut watcher, directory.path(), "1").await;
        for path in ["a/one", "b/two", "same/three"] {
            assert!(told.contains(&(Change::Created, path.into())), "{path} in {told:?}");
        }
        // Whoever hears that a folder is new takes it for empty, until he hears what is in it.
        let last = |path: &str| told.iter().rposition(|(_, told)| told == Path::new(path));
        assert!(last("same") < last("same/three"), "{told:?}");
        for name in ["a", "b", "same"] {
            std::fs::write(directory.join(name).join("later"), "").expect("made");
        }
        let told = told_until(&mut watcher, directory.path(), "2").await;
        assert_eq!(told, created(&["a/later", "b/later", "same/later"]));
        for name in ["a", "b", "same"] {
            std::fs::remove_dir_all(directory.join(name)).expect("removed");
        }
        for name in ["1", "2"] {
            std::fs::remove_file(directory.join(name)).expect("removed");
        }
    });
}

#[test]
fn after_an_overflow_folders_that_have_come_are_told_and_those_that_have_gone_are_not() {
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a setting");
    let most: usize = most.trim().parse().expect("a number");
    if most > 100_000 {
        eprintln!("SKIPPED: fs.inotify.max_queued_events is {most}");
        return;
    }
    let directory = folder();
    let (top, outside) = (directory.join("top"), directory.join("outside"));
    clean(async || {
        std::fs::create_dir_all(top.join("stays/inner")).expect("made");
        std::fs::create_dir_all(top.join("leaves/inner")).expect("made");
        let mut watcher = Watcher::new().expect("made");
        watcher.add_tree(&top, CREATED).await.expect("watched");
        let path = top.join("file");
        for _ in 0..most / 2 + 10 {
            std::fs::write(&path, "").expect("made");
            std::fs::remove_file(&path).expect("removed");
        }
        std::fs::create_dir_all(top.join("stays/new/inner")).expect("made");
        std::fs::write(top.join("stays/new/inner/file"), "").expect("made");
        std::fs::rename(top.join("leaves"), &outside).expect("moved");
        while next(&mut watcher).await.change() != Change::Overflow {}
        let mut told = told_until(&mut watcher, &top, "last").await;
        told.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(told, created(&["stays/new", "stays/new/inner", "stays/new/inner/file"]));
        assert_eq!((watchers_of(outside.join("inner")), watchers_of(top.join("stays/inner"))), (0, 1));
        std::fs::write(top.join("stays/new/inner/later"), "").expect("made");
        assert_eq!(told_until(&mut watcher, &top, "end").await, created(&["stays/new/inner/later"]));
        for folder in [&top, &outside] {
            std::fs::remove_dir_all(folder).expect("removed");
        }
    });
}

#[test]
fn a_tree_that_was_removed_in_an_overflow_is_told_to_have_ended() {
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a setting");
    let most: usize = most.trim().parse().expect("a number");
    if most > 100_000 {
        eprintln!("SKIPPED: fs.inotify.max_queued_events is {most}");
        return;
    }
    let directory = folder();
    clean(async || {
        let top = directory.join("top");
        std::fs::create_dir_all(top.join("inner")).expect("made");
        let mut watcher = Watcher::new().expect("made");
        let tree = watcher.add_tree(&top, CREATED).await.expect("watched");
        let path = top.join("file");
        for _ in 0..most / 2 + 10 {
            std::fs::write(&path, "").expect("made");
            std::fs::remove_file(&path).expect("removed");
        }
        std::fs::remove_dir_all(&top).expect("removed");
        loop {
            let event = next(&mut watcher).await;
            if event.change() == Change::Ended {
                assert_eq!((event.watch(), event.path()), (Some(tree), &*top));
                break;
            }
        }
        assert_eq!(watcher.path(tree), None);
    });
}

#[test]
fn a_tree_is_watched_whole_or_not_at_all_when_its_adding_is_dropped() {
    let directory = folder();
    let inner = directory.join("a/b/c/d");
    std::fs::create_dir_all(&inner).expect("made");
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        let mut polls = 0;
        loop {
            let mut left = polls;
            let added = {
                let mut adding = pin!(watcher.add_tree(directory.path(), CREATED));
                let added = poll_fn(|cx| {
                    let added = adding.as_mut().poll(cx);
                    if added.is_pending() && left == 0 {
                        return Poll::Ready(None);
                    }
                    left -= usize::from(added.is_pending());
                    added.map(Some)
                });
                soon(added).await
            };
            if let Some(tree) = added {
                assert_eq!(watcher.path(tree.expect("watched")), Some(directory.path()));
                break;
            }
            assert_eq!((watchers_of(directory.path()), watchers_of(&inner)), (0, 0), "after {polls} polls");
            std::fs::write(directory.join("unseen"), "").expect("made");
            std::fs::remove_file(directory.join("unseen")).expect("removed");
            polls += 1;
        }
        assert_eq!((watchers_of(directory.path()), watchers_of(&inner)), (1, 1));
        std::fs::write(inner.join("seen"), "").expect("made");
        assert_eq!(next(&mut watcher).await.path(), inner.join("seen"));
        std::fs::remove_file(inner.join("seen")).expect("removed");
    });
}

#[test]
fn a_tree_that_is_removed_ends_once_and_last() {
    let directory = folder();
    let (top, other) = (directory.join("top"), directory.join("top/a/other"));
    clean(async || {
        std::fs::create_dir_all(top.join("a/b")).expect("made");
        std::fs::create_dir_all(&other).expect("made");
        let mut watcher = Watcher::new().expect("made");
        // A tree in a tree has its own number.
        let inner = watcher.add_tree(&other, CREATED | Events::DELETED).await.expect("watched");
        let tree = watcher.add_tree(&top, CREATED).await.expect("watched");
        assert_eq!(watcher.add_tree(&top, CREATED).await.expect("the same"), tree);
        let error = watcher.add_tree(top.join("a"), CREATED).await.expect_err("a part of it");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let part = watcher.add(top.join("a/b"), CREATED).await.expect("watched already");
        assert_eq!(watcher.remove(part).expect_err("a part of it").kind(), ErrorKind::InvalidInput);
        for file in ["a/b/before", "a/other/before"] {
            std::fs::write(top.join(file), "").expect("made");
        }
        watcher.remove(tree).expect("removed");
        assert_eq!((watchers_of(top.join("a/b")), watchers_of(&other)), (0, 1));
        std::fs::write(top.join("a/b/after"), "").expect("made");
        let mut told = Vec::new();
        while told.len() < 3 {
            let event = next(&mut watcher).await;
            told.push((event.watch().expect("a tree"), event.change()));
        }
        assert_eq!(told, [(tree, Change::Created), (inner, Change::Created), (tree, Change::Ended)]);
        assert_eq!(watcher.remove(tree).expect_err("gone").kind(), ErrorKind::NotFound);
        std::fs::remove_file(other.join("before")).expect("removed");
        let event = next(&mut watcher).await;
        assert_eq!(
            (event.watch(), event.change(), event.path()),
            (Some(inner), Change::Deleted, &*other.join("before"))
        );
        std::fs::remove_dir_all(&top).expect("removed");
    });
}

/// In a namespace where a user may watch four things.
#[test]
fn too_many_folders_are_an_error_that_names_the_setting() {
    const INSIDE: &str = "CORERING_TEST_FOUR_WATCHES";
    if std::env::var_os(INSIDE).is_none() {
        let script = "echo 4 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
        let itself = std::env::current_exe().expect("this");
        let test = "real_watch::too_many_folders_are_an_error_that_names_the_setting";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]).arg(itself);
        let output = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output();
        match output {
            Ok(output) if output.status.success() => {
                assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            }
            Ok(output) if output.status.code() == Some(101) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            failed => eprintln!("SKIPPED: namespaces of users cannot be made here: {failed:?}"),
        }
        return;
    }
    let directory = folder();
    let names_the_setting = |error: corering::io::Error| {
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().contains("fs.inotify.max_user_watches"), "{error}");
        error.to_string()
    };
    clean(async || {
        let (large, small) = (directory.join("large"), directory.join("small"));
        std::fs::create_dir_all(large.join("1/2/3/4/5")).expect("made");
        std::fs::create_dir_all(&small).expect("made");
        let mut watcher = Watcher::new().expect("made");
        names_the_setting(watcher.add_tree(&large, CREATED).await.expect_err("six"));
        assert_eq!(watchers_of(&large), 0);
        watcher.add_tree(&small, CREATED).await.expect("one");
        for name in ["a", "b", "c", "d"] {
            std::fs::create_dir(small.join(name)).expect("made");
            assert_eq!(next(&mut watcher).await.path(), small.join(name));
        }
        let error = names_the_setting(soon(watcher.next()).await.expect_err("the fifth"));
        assert!(error.contains("small/d"), "{error}");
        // The others are watched.
        std::fs::write(small.join("c/file"), "").expect("made");
        assert_eq!(next(&mut watcher).await.path(), small.join("c/file"));
        for folder in [&large, &small] {
            std::fs::remove_dir_all(folder).expect("removed");
        }
    });
}

#[test]
fn what_is_no_folder_is_no_tree() {
    let directory = folder();
    let path = directory.join("file");
    std::fs::write(&path, "").expect("made");
    clean(async || {
        let mut watcher = Watcher::new().expect("made");
        let error = watcher.add_tree(&path, CREATED).await.expect_err("a file");
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        let error = watcher.add_tree(directory.join("missing"), CREATED).await.expect_err("nothing");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}
