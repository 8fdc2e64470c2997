//! Names and what is noted of files: changed as asked, in order with what was dropped, and never outside a directory that
//! is not to be left.

use std::ffi::OsString;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::task::Poll;

use corering::fs::{self, Access, Advice, Dir, File, FileTimes, Permissions, Resolve};
use corering::io;
use corering::op::{Op, OpenAt, Unlink, poll_names_settled};

use crate::{clean, folder, found_in, poll_once, put_into, soon, turn};

/// Polls a future so often, with a turn of the loop after each poll, and drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
            return;
        }
        turn().await;
    }
    let _ = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.expect_err("refused").raw_os_error().expect("an error of the system")
}

async fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).await.is_ok()
}

#[test]
fn names_are_made_moved_and_removed() {
    clean(async || {
        let folder = folder();
        let (a, b, dir) = (folder.join("a"), folder.join("b"), folder.join("dir"));
        put_into(&a, "one");
        put_into(&b, "two");
        soon(fs::rename_exchange(&a, &b)).await.expect("both there");
        assert_eq!((found_in(&a), found_in(&b)), (b"two".to_vec(), b"one".to_vec()));
        let error = soon(fs::rename_no_replace(&a, &b)).await.expect_err("there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        soon(fs::rename(&a, &b)).await.expect("there");
        assert!(!fs::try_exists(&a).await.expect("known"));
        assert_eq!(found_in(&b), b"two");
        soon(fs::rename_no_replace(&b, &a)).await.expect("free");

        soon(fs::hard_link(&a, &b)).await.expect("free");
        let (one, other) = (fs::metadata(&a).await.expect("there"), fs::metadata(&b).await.expect("there"));
        assert!(one.same_file(&other));
        assert_eq!(one.nlink(), 2);
        soon(fs::create_dir(&dir)).await.expect("free");
        assert_eq!(soon(fs::create_dir(&dir)).await.expect_err("there").kind(), ErrorKind::AlreadyExists);
        soon(fs::rename_exchange(&dir, &b)).await.expect("both there");
        assert!(fs::metadata(&b).await.expect("there").is_dir());
        assert_eq!(errno(soon(fs::remove_file(&b)).await), libc::EISDIR);
        assert_eq!(errno(soon(fs::remove_dir(&dir)).await), libc::ENOTDIR);
        put_into(b.join("within"), "");
        assert_eq!(errno(soon(fs::remove_dir(&b)).await), libc::ENOTEMPTY);
        soon(fs::remove_file(b.join("within"))).await.expect("there");
        soon(fs::remove_dir(&b)).await.expect("empty");
        for path in [&a, &dir] {
            soon(fs::remove_file(path)).await.expect("there");
            assert_eq!(soon(fs::remove_file(path)).await.expect_err("gone").kind(), ErrorKind::NotFound);
            assert!(!fs::exists(path).await);
        }
    });
}

#[test]
fn symbolic_links_lead_where_they_were_made_to() {
    clean(async || {
        let folder = folder();
        let (file, link, loose) = (folder.join("file"), folder.join("link"), folder.join("loose"));
        put_into(&file, "here");
        soon(fs::symlink("file", &link)).await.expect("free");
        soon(fs::symlink("nowhere", &loose)).await.expect("free");
        assert_eq!(soon(fs::read_link(&link)).await.expect("a link"), PathBuf::from("file"));
        assert_eq!(errno(soon(fs::read_link(&file)).await), libc::EINVAL);
        assert_eq!(soon(fs::canonicalize(&link)).await.expect("there"), fs::canonicalize(&file).await.expect("there"));
        assert_eq!(soon(fs::canonicalize(&loose)).await.expect_err("nothing").kind(), ErrorKind::NotFound);
        assert!(fs::exists(&link).await && !fs::exists(&loose).await);
        assert!(fs::symlink_metadata(&loose).await.expect("there").file_type().is_symlink());
        assert_eq!(fs::read(&link).await.expect("read"), b"here");
        let no_follow = File::options().read(true).no_follow(true);
        assert_eq!(errno(soon(no_follow.open(&link)).await), libc::ELOOP);
        let no_links = File::options().read(true).resolve(Resolve::NO_SYMLINKS);
        assert_eq!(errno(soon(no_links.open(&link)).await), libc::ELOOP);
        drop(no_follow.open(&file).await.expect("a file"));
        assert_eq!(errno(soon(File::options().read(true).directory(true).open(&file)).await), libc::ENOTDIR);
        soon(fs::remove_file(&link)).await.expect("there");
        assert_eq!(found_in(&file), b"here");
    });
}

#[test]
fn a_directory_is_made_with_all_above_it() {
    clean(async || {
        let folder = folder();
        let deep = folder.join("a/b/c/d");
        soon(fs::create_dir_all(&deep)).await.expect("room");
        soon(fs::create_dir_all(&deep)).await.expect("there already");
        soon(fs::create_dir_all(folder.join("a/b/x/../y"))).await.expect("room");
        assert!(fs::metadata(folder.join("a/b/y")).await.expect("there").is_dir());
        put_into(folder.join("file"), "");
        for path in ["file", "file/below"] {
            let error = soon(fs::create_dir_all(folder.join(path))).await.expect_err("a file is in the way");
            assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory), "{path}: {error}");
        }
        soon(fs::create_dir_all("")).await.expect("where we are");
        // Several at once find what the others have made.
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let path = folder.join(format!("many/of/them/{}", number % 3));
                corering::spawn(async move { fs::create_dir_all(path).await })
            })
            .collect();
        for task in tasks {
            soon(task).await.expect("no panic").expect("room");
        }
    });
}

#[test]
fn errors_of_names_are_those_of_the_system() {
    clean(async || {
        let folder = folder();
        let nothing = folder.join("nothing");
        for found in [
            fs::remove_file(&nothing).await,
            fs::remove_dir(&nothing).await,
            fs::rename(&nothing, folder.join("x")).await,
            fs::hard_link(&nothing, folder.join("x")).await,
            fs::create_dir(nothing.join("x")).await,
            fs::symlink("x", nothing.join("x")).await,
            fs::set_permissions(&nothing, Permissions::from_mode(0o600)).await,
            fs::set_times(&nothing, FileTimes::now()).await,
            fs::chown(&nothing, Some(0), None).await,
            fs::access(&nothing, Access::EXISTS).await,
            fs::set_xattr(&nothing, "user.x", "x").await,
            fs::remove_xattr(&nothing, "user.x").await,
            fs::read_link(&nothing).await.map(drop),
            fs::list_xattr(&nothing).await.map(drop),
            fs::get_xattr(&nothing, "user.x").await.map(drop),
            fs::statvfs(&nothing).await.map(drop),
            Dir::open(&nothing).await.map(drop),
        ] {
            assert_eq!(errno(found), libc::ENOENT);
        }
        for path in ["a\0b", "\0"] {
            let error = fs::remove_file(path).await.expect_err("no path");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("zero byte"), "{error}");
        }
    });
}

/// A file is removed by a future that is dropped, and made anew by the same name.
async fn remake(path: &Path, polls: usize, how: usize) {
    match how {
        0 => drop_after(polls, fs::remove_file(path)).await,
        1 => drop_after(polls, fs::rename(path, path.with_extension("moved"))).await,
        2 => drop_after(polls, async { fs::remove_file(path).await.and(fs::remove_file(path).await) }).await,
        _ => drop_after(polls, corering::timeout(std::time::Duration::ZERO, fs::remove_file(path))).await,
    }
}

#[test]
fn a_file_that_is_made_after_its_dropped_unlink_is_there() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        for round in 0..8_usize {
            for how in 0..4 {
                for polls in 0..3 {
                    put_into(&path, "old");
                    remake(&path, polls, how).await;
                    let new = format!("new {round} {how} {polls}");
                    match round % 3 {
                        0 => soon(fs::write(&path, new.clone())).await.expect("written"),
                        1 => {
                            let options = File::options().write(true).create(true).truncate(true);
                            let file = soon(options.open(&path)).await.expect("made");
                            file.write_all_at(new.clone(), 0).await.0.expect("written");
                            file.close().await.expect("closed");
                        }
                        _ => {
                            put_into(folder.join("other"), &new);
                            soon(fs::rename(folder.join("other"), &path)).await.expect("there");
                        }
                    }
                    for _ in 0..3 {
                        turn().await;
                    }
                    assert_eq!(found_in(&path), new.as_bytes(), "way {how}, {polls} polls");
                    assert_eq!(fs::read(&path).await.expect("there"), new.as_bytes(), "way {how}, {polls} polls");
                }
            }
        }
    });
}

type Change = for<'a> fn(&'a Path) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Changes of names, each with whether the name `x` is there afterwards. Before, it is so or not as they need it.
const CHANGES: &[(&str, bool, Change)] = &[
    ("removal", false, |x| Box::pin(async move { drop(fs::remove_file(x).await) })),
    ("creation", true, |x| Box::pin(async move { drop(File::options().write(true).create_new(true).open(x).await) })),
    ("confined creation", true, |x| {
        let options = File::options().write(true).create_new(true).resolve(Resolve::NO_SYMLINKS);
        Box::pin(async move { drop(options.open(x).await) })
    }),
    ("link", true, |x| Box::pin(async move { drop(fs::hard_link(x.with_file_name("base"), x).await) })),
    ("symbolic link", true, |x| Box::pin(async move { drop(fs::symlink("base", x).await) })),
    ("move away", false, |x| Box::pin(async move { drop(fs::rename(x, x.with_file_name("y")).await) })),
    ("move here", true, |x| Box::pin(async move { drop(fs::rename(x.with_file_name("z"), x).await) })),
];

#[test]
fn what_looks_at_names_after_a_dropped_change_sees_what_stays() {
    clean(async || {
        let folder = folder();
        let (x, y, z) = (folder.join("x"), folder.join("y"), folder.join("z"));
        put_into(folder.join("base"), "base");
        for round in 0..6 {
            for (name, there, change) in CHANGES {
                for polls in 0..2 {
                    for path in [&x, &y] {
                        drop(fs::remove_file(path).await);
                    }
                    put_into(&z, "z");
                    if !there {
                        put_into(&x, "x");
                    }
                    drop_after(polls, change(&x)).await;
                    let seen = match round % 3 {
                        0 => soon(fs::symlink_metadata(&x)).await.is_ok(),
                        1 => soon(fs::read(&x)).await.is_ok(),
                        _ => soon(fs::access(&x, Access::READ)).await.is_ok(),
                    };
                    for _ in 0..3 {
                        turn().await;
                    }
                    // A dropped open is cancelled, and may not have happened at all; but not later.
                    assert_eq!(is_there(&x).await, seen, "{name}, {polls} polls");
                    assert!(seen == *there || name.contains("creation"), "{name}, {polls} polls");
                }
            }
        }
    });
}

#[test]
fn a_dropped_change_is_waited_for_by_whatever_asks_for_names() {
    clean(async || {
        let folder = folder();
        let x = folder.join("x");
        put_into(folder.join("base"), "base");
        for (name, there, change) in CHANGES {
            drop(fs::remove_file(&x).await);
            put_into(folder.join("z"), "z");
            if !there {
                put_into(&x, "x");
            }
            // The kernel has it, and this core has not been told of its end: it has had no turn.
            let mut change = change(&x);
            assert!(!poll_once(&mut change).await, "{name}");
            assert!(poll_once(&mut poll_fn(poll_names_settled)).await, "{name} holds up others though it is awaited");
            drop(change);
            assert!(!poll_once(&mut poll_fn(poll_names_settled)).await, "{name}");
            soon(poll_fn(poll_names_settled)).await;
        }
    });
}

#[test]
fn what_is_dropped_in_a_directory_that_is_open_is_waited_for_too() {
    clean(async || {
        let folder = folder();
        let dir = soon(Dir::open(folder.path())).await.expect("there");
        for polls in 0..3 {
            put_into(folder.join("file"), "old");
            drop_after(polls, dir.remove_file("file")).await;
            let file = soon(dir.create_file("file")).await.expect("made");
            file.write_all_at("new", 0).await.0.expect("written");
            file.close().await.expect("closed");
            turn().await;
            assert_eq!(found_in(folder.join("file")), b"new");
            drop_after(polls, dir.create_dir("dir")).await;
            // Either not begun, or done.
            match soon(dir.remove_dir("dir")).await {
                Ok(()) => {}
                Err(error) => assert_eq!((error.kind(), polls), (ErrorKind::NotFound, 0)),
            }
            assert!(!is_there(&folder.join("dir")).await);
        }
        soon(dir.sync_all()).await.expect("synced");
        soon(dir.close()).await.expect("closed");
    });
}

#[test]
fn an_operation_that_waits_for_a_dropped_one_may_be_dropped_itself() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        for _ in 0..20 {
            put_into(&path, "x");
            drop_after(0, fs::remove_file(&path)).await;
            drop_after(0, fs::rename(&path, folder.join("y"))).await;
            drop_after(0, fs::create_dir(&path)).await;
            let c_path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero byte");
            drop(soon(Op::new(OpenAt::new(c_path.clone(), libc::O_RDONLY, 0)).cancel()).await);
            drop(soon(Op::new(Unlink::file(c_path)).deadline(std::time::Duration::from_secs(3600))).await);
            assert!(!is_there(&path).await);
        }
    });
}

#[test]
fn paths_of_an_open_directory_do_not_lead_out_of_it() {
    clean(async || {
        let folder = folder();
        put_into(folder.join("secret"), "secret");
        fs::create_dir_all(folder.join("root/within")).await.expect("room");
        put_into(folder.join("root/within/file"), "within");
        let absolute = folder.join("secret");
        for (target, link) in
            [(absolute.as_path(), "absolute"), (Path::new("../secret"), "up"), (Path::new("within/file"), "inside")]
        {
            fs::symlink(target, folder.join("root").join(link)).await.expect("free");
        }
        fs::symlink("..", folder.join("root/parent")).await.expect("free");
        let root = soon(Dir::open(folder.join("root"))).await.expect("there");
        let outside = absolute.to_str().expect("text");
        for path in ["../secret", "up", "absolute", "within/../../secret", "parent/secret", "..", outside, "/"] {
            assert_eq!(errno(soon(root.open_file(path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.metadata(path)).await), libc::EXDEV, "{path}");
        }
        for path in ["parent/new", "../new", "within/../../new", "..", "/new"] {
            assert_eq!(errno(soon(root.create_file(path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.create_dir(path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.symlink("x", path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.rename("within/file", &root, path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.remove_dir(path)).await), libc::EXDEV, "{path}");
        }
        for path in ["parent/secret", "../secret"] {
            assert_eq!(errno(soon(root.remove_file(path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.rename(path, &root, "taken")).await), libc::EXDEV, "{path}");
        }
        assert_eq!(found_in(&absolute), b"secret");
        for path in ["within/file", "inside", "within/../inside", "./within/./file"] {
            let file = soon(root.open_file(path)).await.expect(path);
            let (read, bytes) = file.read_at(Vec::with_capacity(10), 0).await;
            assert_eq!((read.expect("read"), &bytes[..]), (6, &b"within"[..]), "{path}");
        }
        assert_eq!(root.read_link("up").await.expect("a link"), PathBuf::from("../secret"));
        assert!(root.symlink_metadata("up").await.expect("there").is_symlink());
        assert_eq!(errno(root.read_link("within/file").await), libc::ENOENT);
        // The directory as the root.
        let jail = File::options().read(true).resolve(Resolve::IN_ROOT);
        drop(soon(root.open_with(jail.clone(), "/within/file")).await.expect("below"));
        drop(soon(root.open_with(jail.clone(), "../../within/file")).await.expect("below"));
        assert_eq!(errno(soon(root.open_with(jail, "absolute")).await), libc::ENOENT);
        // One within the other, and its names.
        let within = soon(root.open_dir("within")).await.expect("there");
        assert_eq!(errno(soon(root.open_dir("up/..")).await), libc::EXDEV);
        soon(within.rename("file", &root, "file")).await.expect("there");
        soon(root.create_dir("within/a/")).await.expect("free");
        soon(root.remove_dir("within/a")).await.expect("empty");
        soon(root.remove_file("file")).await.expect("there");
        assert!(!is_there(&folder.join("root/file")).await);
    });
}

#[test]
fn names_in_an_open_directory_are_listed_linked_moved_and_permitted() {
    clean(async || {
        let folder = folder();
        put_into(folder.join("secret"), "secret");
        let before = fs::metadata(folder.join("secret")).await.expect("there").permissions();
        fs::create_dir_all(folder.join("root")).await.expect("room");
        let root = soon(Dir::open(folder.join("root"))).await.expect("there");
        soon(root.create_dir_all("a/b/c")).await.expect("free");
        soon(root.create_dir_all("a/b/c/")).await.expect("there already");
        fs::symlink("../secret", folder.join("root/up")).await.expect("free");
        fs::symlink("..", folder.join("root/parent")).await.expect("free");
        put_into(folder.join("root/a/file"), "within");
        for path in ["../new/newer", "parent/new/newer", "/new", ".."] {
            assert_eq!(errno(soon(root.create_dir_all(path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.hard_link("a/file", &root, path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.rename_no_replace("a/file", &root, path)).await), libc::EXDEV, "{path}");
            assert_eq!(errno(soon(root.try_exists(path)).await), libc::EXDEV, "{path}");
        }
        assert_eq!(errno(soon(root.hard_link("parent/secret", &root, "taken")).await), libc::EXDEV);
        let all = Permissions::from_mode(0o777);
        assert_eq!(errno(soon(root.set_permissions("parent/secret", all)).await), libc::EXDEV);
        assert_eq!(errno(soon(root.set_permissions("up", all)).await), libc::EOPNOTSUPP);
        assert_eq!(errno(soon(root.set_permissions("parent/", all)).await), libc::EOPNOTSUPP);
        for path in ["parent", "../root", "/"] {
            assert_eq!(errno(soon(root.read_dir(path)).await), libc::EXDEV, "{path}");
        }

        let mut found = Vec::new();
        let mut names = soon(root.read_dir(".")).await.expect("there");
        while let Some(name) = soon(names.next()).await {
            let name = name.expect("read");
            found.push((name.file_name().to_owned(), name.file_type().is_dir()));
        }
        found.sort();
        assert_eq!(found, [("a".into(), true), ("parent".into(), false), ("up".into(), false)]);

        let within = soon(root.open_dir("a")).await.expect("there");
        soon(within.hard_link("file", &root, "linked")).await.expect("free");
        assert!(soon(root.try_exists("linked")).await.expect("known"));
        let taken = soon(root.rename_no_replace("linked", &within, "file")).await;
        assert_eq!(errno(taken), libc::EEXIST);
        soon(root.rename_no_replace("linked", &within, "other")).await.expect("free");
        assert!(!soon(root.try_exists("linked")).await.expect("known"));
        soon(within.set_permissions("other", Permissions::from_mode(0o640))).await.expect("ours");
        soon(root.set_permissions("a/b/", Permissions::from_mode(0o700))).await.expect("ours");
        assert_eq!(root.metadata("a/file").await.expect("there").permissions().mode(), 0o640);
        assert_eq!(root.metadata("a/b").await.expect("there").permissions().mode(), 0o700);
        drop_after(0, within.set_permissions("other", Permissions::from_mode(0o600))).await;
        soon(within.close()).await.expect("nobody else has it");
        assert_eq!(fs::metadata(folder.join("secret")).await.expect("there").permissions(), before);
        soon(root.close()).await.expect("nobody else has it");
    });
}

#[test]
fn a_file_without_a_name_is_given_one() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let unnamed = File::options().read(true).write(true).temporary(true);
        let file = soon(unnamed.open(folder.path())).await.expect("a disk that has such files");
        assert_eq!(file.metadata().await.expect("known").nlink(), 0);
        file.write_all_at("whole", 0).await.0.expect("written");
        soon(file.link(&path)).await.expect("free");
        assert_eq!(found_in(&path), b"whole");
        assert_eq!(errno(soon(file.link(&path)).await), libc::EEXIST);
        soon(file.link(folder.join("again"))).await.expect("free");
        fs::remove_file(&path).await.expect("there");
        fs::remove_file(folder.join("again")).await.expect("there");
        assert_eq!(errno(soon(file.link(&path)).await), libc::ENOENT);
        file.close().await.expect("closed");
        // One that never gets a name, and one that is not asked for a name.
        let never = soon(unnamed.clone().custom_flags(libc::O_EXCL).open(folder.path())).await.expect("opened");
        assert_eq!(errno(soon(never.link(&path)).await), libc::ENOENT);
        drop(soon(unnamed.open(folder.path())).await.expect("opened"));
        assert_eq!(errno(soon(unnamed.open(folder.join("nothing"))).await), libc::ENOENT);
        assert!(!is_there(&path).await);
    });
}

#[test]
fn permissions_owners_and_times_are_as_they_were_set() {
    clean(async || {
        let folder = folder();
        let (path, link) = (folder.join("file"), folder.join("link"));
        put_into(&path, "");
        put_into(folder.join("old"), "");
        fs::symlink("file", &link).await.expect("free");
        soon(fs::set_permissions(&link, Permissions::from_mode(0o640))).await.expect("ours");
        let file = File::options().write(true).open(&path).await.expect("there");
        let mode = |metadata: fs::Metadata| metadata.permissions().mode();
        assert_eq!(mode(fs::metadata(&path).await.expect("there")), 0o640);
        soon(file.set_permissions(Permissions::from_mode(0o400))).await.expect("ours");
        assert_eq!(mode(file.metadata().await.expect("there")), 0o400);
        assert!(fs::metadata(&path).await.expect("there").permissions().readonly());

        let old = fs::metadata(folder.join("old")).await.expect("there").modified();
        let earlier = old - std::time::Duration::from_nanos(987_654_321);
        let before = fs::metadata(&path).await.expect("there").accessed();
        soon(fs::set_times(&link, FileTimes::new().set_modified(earlier))).await.expect("ours");
        let metadata = fs::metadata(&path).await.expect("there");
        assert_eq!((metadata.accessed(), metadata.modified()), (before, earlier));
        soon(file.set_times(FileTimes::new().set_accessed(earlier).set_modified(old))).await.expect("ours");
        let metadata = file.metadata().await.expect("there");
        assert_eq!((metadata.accessed(), metadata.modified()), (earlier, old));
        assert!(metadata.changed() >= old);
        soon(fs::set_link_times(&link, FileTimes::new().set_modified(earlier))).await.expect("ours");
        assert_eq!(fs::symlink_metadata(&link).await.expect("there").modified(), earlier);
        assert_eq!(fs::metadata(&link).await.expect("there").modified(), old);
        soon(fs::set_times(&path, FileTimes::now())).await.expect("ours");
        assert!(fs::metadata(&path).await.expect("there").modified() >= old);

        // To whom it belongs already, which everybody may.
        let (user, group) = (metadata.uid(), metadata.gid());
        soon(fs::chown(&path, Some(user), None)).await.expect("ours");
        soon(fs::lchown(&link, None, Some(group))).await.expect("ours");
        soon(file.chown(Some(user), Some(group))).await.expect("ours");
        soon(fs::access(&path, Access::READ)).await.expect("ours");
        assert_eq!(errno(soon(fs::access(&path, Access::EXECUTE | Access::READ)).await), libc::EACCES);
        file.close().await.expect("closed");
    });
}

#[test]
fn attributes_are_found_as_they_were_set() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "");
        let file = File::open(&path).await.expect("there");
        assert_eq!(soon(fs::get_xattr(&path, "user.a")).await.expect("known"), None);
        assert_eq!(soon(file.get_xattr("user.a")).await.expect("known"), None);
        soon(fs::set_xattr(&path, "user.a", "one")).await.expect("a disk that has them");
        soon(file.set_xattr("user.b", vec![7; 1500])).await.expect("room");
        soon(file.set_xattr("user.empty", "")).await.expect("room");
        assert_eq!(file.get_xattr("user.a").await.expect("known").as_deref(), Some(&b"one"[..]));
        assert_eq!(fs::get_xattr(&path, "user.b").await.expect("known"), Some(vec![7; 1500]));
        assert_eq!(fs::get_xattr(&path, "user.empty").await.expect("known"), Some(Vec::new()));
        let mut names = soon(fs::list_xattr(&path)).await.expect("known");
        names.sort();
        assert_eq!(names, ["user.a", "user.b", "user.empty"].map(OsString::from));
        soon(fs::remove_xattr(&path, "user.a")).await.expect("there");
        assert_eq!(errno(soon(fs::remove_xattr(&path, "user.a")).await), libc::ENODATA);
        soon(file.remove_xattr("user.b")).await.expect("there");
        assert_eq!(file.list_xattr().await.expect("known"), [OsString::from("user.empty")]);
        assert_eq!(errno(soon(fs::set_xattr(&path, "strange.a", "one")).await), libc::EOPNOTSUPP);
        assert_eq!(fs::get_xattr(&path, "user.\0").await.expect_err("no name").kind(), ErrorKind::InvalidInput);
        let link = folder.join("link");
        fs::symlink("file", &link).await.expect("free");
        assert_eq!(fs::get_xattr(&link, "user.empty").await.expect("known"), Some(Vec::new()));
        assert_eq!(soon(fs::get_link_xattr(&link, "user.empty")).await.expect("known"), None);
        assert_eq!(errno(soon(fs::set_link_xattr(&link, "user.x", "x")).await), libc::EPERM);
        file.close().await.expect("closed");
    });
}

#[test]
fn room_is_had_and_given_back() {
    const PAGE: u64 = 4096;
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
        soon(file.allocate(0, 10 * PAGE)).await.expect("room");
        let metadata = file.metadata().await.expect("known");
        assert_eq!((metadata.len(), metadata.blocks() * 512), (10 * PAGE, 10 * PAGE));
        soon(file.allocate_keep_len(10 * PAGE, 10 * PAGE)).await.expect("room");
        let metadata = file.metadata().await.expect("known");
        assert_eq!((metadata.len(), metadata.blocks() * 512), (10 * PAGE, 20 * PAGE));
        file.write_all_at(vec![1; 10 * PAGE as usize], 0).await.0.expect("written");
        soon(file.punch_hole(PAGE + 100, 3 * PAGE)).await.expect("done");
        soon(file.zero_range(8 * PAGE, 4 * PAGE)).await.expect("done");
        let metadata = file.metadata().await.expect("known");
        assert_eq!(metadata.len(), 12 * PAGE);
        let mut expected = vec![1; 12 * PAGE as usize];
        expected[PAGE as usize + 100..4 * PAGE as usize + 100].fill(0);
        expected[8 * PAGE as usize..].fill(0);
        assert!(found_in(&path) == expected);
        soon(file.set_len(0)).await.expect("cut");
        assert_eq!(file.metadata().await.expect("known").blocks(), 0);
        assert_eq!(errno(soon(file.allocate(0, 0)).await), libc::EINVAL);
        assert_eq!(errno(soon(file.allocate(u64::MAX, 1)).await), libc::EINVAL);
        for advice in [Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed, Advice::Normal] {
            soon(file.advise(advice, 0, 0)).await.expect("known");
            soon(file.advise(advice, 1 << 33, 5 << 30)).await.expect("known");
        }
        file.write_all_at(vec![1; 100], 0).await.0.expect("written");
        soon(file.sync_range(0, 0)).await.expect("begun");
        soon(file.sync_range_wait(0, 3 << 30)).await.expect("written");
        let reader = File::open(&path).await.expect("there");
        assert_eq!(errno(soon(reader.punch_hole(0, 10)).await), libc::EBADF);
        reader.close().await.expect("closed");
        file.close().await.expect("closed");
        let space = soon(fs::statvfs(&path)).await.expect("known");
        assert!(space.free_bytes() <= space.total_bytes() && space.block_size() > 0);
    });
}

type OnFile = for<'a> fn(&'a File) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What changes the contents of an open file, or what is noted of it, to something else than what comes later.
const STALE: &[(&str, OnFile)] = &[
    ("hole", |file| Box::pin(async { drop(file.punch_hole(0, 8192).await) })),
    ("zeroes", |file| Box::pin(async { drop(file.zero_range(0, 16_384).await) })),
    ("room", |file| Box::pin(async { drop(file.allocate(0, 100_000).await) })),
    ("permissions", |file| Box::pin(async { drop(file.set_permissions(Permissions::from_mode(0o400)).await) })),
    ("times", |file| Box::pin(async { drop(file.set_times(FileTimes::now()).await) })),
    ("attribute", |file| Box::pin(async { drop(file.set_xattr("user.a", "stale").await) })),
    ("removal of an attribute", |file| Box::pin(async { drop(file.remove_xattr("user.a").await) })),
    ("sync of a range", |file| Box::pin(async { drop(file.sync_range_wait(0, 0).await) })),
    ("owner", |file| Box::pin(async { drop(file.chown(None, None).await) })),
];

#[test]
fn what_is_dropped_on_a_file_never_lands_after_what_is_asked_for_later() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(folder.join("old"), "");
        let old = fs::metadata(folder.join("old")).await.expect("there").modified();
        for (name, stale) in STALE {
            for polls in 0..3 {
                put_into(&path, vec![0; 8192]);
                let file = File::options().read(true).write(true).open(&path).await.expect("there");
                drop_after(polls, stale(&file)).await;
                if name.contains("attribute") {
                    soon(file.set_xattr("user.a", "later")).await.expect("room");
                    let value = soon(file.get_xattr("user.a")).await.expect("known");
                    assert_eq!(value.as_deref(), Some(&b"later"[..]), "{name}, {polls} polls");
                }
                soon(file.set_len(8192)).await.expect("cut");
                soon(file.write_all_at(vec![7; 8192], 0)).await.0.expect("written");
                soon(file.set_permissions(Permissions::from_mode(0o604))).await.expect("ours");
                soon(file.set_xattr("user.a", "later")).await.expect("room");
                soon(file.set_times(FileTimes::new().set_modified(old))).await.expect("ours");
                turn().await;
                assert!(found_in(&path) == vec![7; 8192], "{name}, {polls} polls");
                let metadata = file.metadata().await.expect("known");
                assert_eq!((metadata.permissions().mode(), metadata.modified()), (0o604, old), "{name}, {polls} polls");
                let value = file.get_xattr("user.a").await.expect("known");
                assert_eq!(value.as_deref(), Some(&b"later"[..]), "{name}, {polls} polls");
                // Dropped once more, and closed: nobody else holds it then.
                drop_after(polls, stale(&file)).await;
                soon(file.close()).await.unwrap_or_else(|error| panic!("{name}, {polls} polls: {error}"));
                fs::remove_file(&path).await.expect("there");
            }
        }
    });
}

#[test]
fn what_is_dropped_on_a_path_never_lands_after_what_is_asked_for_later() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "");
        for polls in [0, 1, 2, 0, 1, 2] {
            drop_after(polls, fs::set_permissions(&path, Permissions::from_mode(0o400))).await;
            soon(fs::set_permissions(&path, Permissions::from_mode(0o604))).await.expect("ours");
            drop_after(polls, fs::set_xattr(&path, "user.a", "stale")).await;
            soon(fs::set_xattr(&path, "user.a", "later")).await.expect("room");
            drop_after(polls, fs::remove_xattr(&path, "user.a")).await;
            soon(fs::set_xattr(&path, "user.a", "latest")).await.expect("room");
            turn().await;
            assert_eq!(fs::metadata(&path).await.expect("there").permissions().mode(), 0o604);
            let value = fs::get_xattr(&path, "user.a").await.expect("known");
            assert_eq!(value.as_deref(), Some(&b"latest"[..]));
        }
    });
}

#[test]
fn a_wait_for_a_lock_that_is_dropped_at_any_point_leaves_none_and_the_file_can_be_closed() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let other = File::create(&path).await.expect("made");
        for turns in 0..8 {
            let one = File::open(&path).await.expect("there");
            let mut lock = Box::pin(one.lock());
            let mut is_taken = poll_once(&mut lock).await;
            for _ in 0..turns {
                if !is_taken {
                    turn().await;
                    is_taken = poll_once(&mut lock).await;
                }
            }
            drop(lock);
            if is_taken {
                one.unlock().await.expect("had");
            }
            // It waits for what was dropped.
            one.metadata().await.expect("known");
            assert!(other.try_lock().expect("known"), "after {turns} turns");
            other.unlock().await.expect("had");
            drop_after(turns, one.lock_shared()).await;
            soon(one.close()).await.expect("nobody else has it");
            assert!(other.try_lock().expect("known"), "after {turns} turns");
            drop_after(turns, other.unlock()).await;
        }
        other.close().await.expect("closed");
    });
}

#[test]
fn a_lock_keeps_others_out_until_it_is_given_back() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "");
        let (one, other) = (File::open(&path).await.expect("there"), File::open(&path).await.expect("there"));
        assert!(one.try_lock_shared().expect("known") && other.try_lock_shared().expect("known"));
        assert!(!one.try_lock().expect("known"));
        other.unlock().await.expect("had");
        soon(one.lock()).await.expect("free");
        assert!(!other.try_lock_shared().expect("known"));
        // A clone shares it.
        let clone = one.try_clone().expect("another");
        assert!(clone.try_lock().expect("known"));
        // Who waits and is dropped does not have it.
        drop_after(2, other.lock()).await;
        one.unlock().await.expect("had");
        turn().await;
        assert!(one.try_lock().expect("nobody has it"));
        let waits = corering::spawn(async move {
            other.lock().await?;
            other.close().await
        });
        turn().await;
        assert!(!waits.is_finished());
        drop(clone);
        one.close().await.expect("closed");
        soon(waits).await.expect("no panic").expect("its turn");
    });
}

#[test]
fn a_clone_is_the_same_file_with_a_position_of_its_own() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "0123456789");
        let mut file = File::options().read(true).write(true).open(&path).await.expect("there");
        file.set_position(3);
        let mut clone = file.try_clone().expect("another");
        clone.set_position(clone.position() + 2);
        let (read, bytes) = clone.read(Vec::with_capacity(2)).await;
        assert_eq!((read.expect("read"), &bytes[..], file.position()), (2, &b"56"[..], 3));
        drop_after(0, file.write_all_at("stale", 0)).await;
        soon(clone.write_all_at("later", 0)).await.0.expect("written");
        turn().await;
        assert_eq!(found_in(&path), b"later56789");
        assert_eq!(file.close().await.expect_err("the clone is there").kind(), ErrorKind::ResourceBusy);
        clone.close().await.expect("closed");
    });
}

#[test]
fn what_is_open_stays_though_its_name_goes_or_is_taken() {
    clean(async || {
        let folder = folder();
        let (path, other) = (folder.join("file"), folder.join("other"));
        put_into(&path, "first");
        put_into(&other, "second");
        let file = File::open(&path).await.expect("there");
        soon(fs::rename(&other, &path)).await.expect("there");
        let over = File::open(&path).await.expect("there");
        soon(fs::remove_file(&path)).await.expect("there");
        for (file, expected) in [(file, &b"first"[..]), (over, b"second")] {
            let (read, bytes) = soon(file.read_at(Vec::with_capacity(10), 0)).await;
            assert_eq!((read.expect("read"), &bytes[..]), (expected.len(), expected));
            assert_eq!(file.metadata().await.expect("known").nlink(), 0);
            file.close().await.expect("closed");
        }
        // A directory that was removed takes no names.
        soon(fs::create_dir(folder.join("gone"))).await.expect("free");
        let gone = soon(Dir::open(folder.join("gone"))).await.expect("there");
        soon(fs::remove_dir(folder.join("gone"))).await.expect("empty");
        assert_eq!(errno(soon(gone.create_file("x")).await), libc::ENOENT);
        assert_eq!(errno(soon(gone.create_dir("x")).await), libc::ENOENT);
    });
}

#[test]
fn writes_of_a_file_that_was_opened_for_it_are_synced() {
    clean(async || {
        let folder = folder();
        for options in [File::options().sync(true), File::options().data_sync(true)] {
            let path = folder.join("file");
            let file = soon(options.write(true).create(true).open(&path)).await.expect("made");
            soon(file.write_all_at("kept", 0)).await.0.expect("written");
            file.close().await.expect("closed");
            assert_eq!(found_in(&path), b"kept");
        }
    });
}
