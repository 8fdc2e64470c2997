//! Being told of what happens to files: nothing is lost, and nothing is told of what is not watched.

use std::ffi::OsStr;
use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::pin::pin;
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
