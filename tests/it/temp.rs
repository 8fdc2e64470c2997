//! Temporary files and folders: private, gone when they are dropped, and kept when that is wanted.

use std::io::ErrorKind;
use std::path::Path;

use corering::fs::{self, NamedTempFile, SpooledTempFile, TempDir};
use corering::io::{AsyncRead, AsyncReadExt, BufWriter, SeekFrom};

use crate::{clean, folder, found_in, idle, poll_once, put_into, soon, turn};

/// The names in a folder.
async fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(folder).await.expect("there");
    while let Some(entry) = soon(entries.next()).await {
        names.push(entry.expect("read").file_name().to_string_lossy().into_owned());
    }
    names
}

/// Waits until a folder is empty.
async fn emptied(folder: &Path, what: &str) {
    let begun = corering::time::Instant::now();
    while !names(folder).await.is_empty() {
        assert!(begun.elapsed().as_secs() < 10, "{what}: {:?}", names(folder).await);
        turn().await;
    }
}

#[test]
fn a_temporary_file_has_no_name_and_goes_when_it_is_closed() {
    clean(async || {
        let folder = folder();
        let file = soon(fs::tempfile_in(folder.path())).await.expect("made");
        assert!(names(folder.path()).await.is_empty());
        soon(file.write_all_at("hello", 3)).await.0.expect("room");
        let (read, bytes) = soon(file.read_at(Vec::with_capacity(20), 0)).await;
        assert_eq!((read.expect("read"), &bytes[..]), (8, &b"\0\0\0hello"[..]));
        assert_eq!(file.metadata().await.expect("known").mode() & 0o777, 0o600);
        file.close().await.expect("closed");
        assert_eq!(folder.open(), 0);
        assert_eq!(soon(fs::tempfile_in(folder.join("none"))).await.expect_err("none").kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_named_file_is_removed_unless_it_is_kept() {
    clean(async || {
        let folder = folder();
        let dropped = NamedTempFile::new_in(folder.path()).await.expect("made");
        let closed = NamedTempFile::new_in(folder.path()).await.expect("made");
        let kept = NamedTempFile::new_in(folder.path()).await.expect("made");
        assert!(dropped.path() != closed.path() && names(folder.path()).await.len() == 3);
        assert_eq!(kept.file().metadata().await.expect("known").mode() & 0o777, 0o600);
        drop(dropped);
        soon(closed.close()).await.expect("removed");
        let (file, path) = kept.keep();
        file.close().await.expect("closed");
        assert_eq!(names(folder.path()).await, [path.file_name().expect("a name").to_string_lossy()]);
    });
}

#[test]
fn a_named_file_that_persists_has_its_other_name_alone() {
    clean(async || {
        let folder = folder();
        let (one, two) = (folder.join("one"), folder.join("two"));
        put_into(&one, "before");
        let mut file = NamedTempFile::new_in(folder.path()).await.expect("made");
        soon(file.file_mut().write_all("after")).await.0.expect("room");
        let error = soon(file.persist_no_replace(&one)).await.expect_err("taken");
        assert_eq!(error.error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(found_in(&one), b"before");
        let file = soon(error.file.persist(&one)).await.expect("replaced");
        file.close().await.expect("closed");
        assert_eq!(found_in(&one), b"after");
        let file = NamedTempFile::new_in(folder.path()).await.expect("made");
        let file = soon(file.persist_no_replace(&two)).await.expect("free");
        file.close().await.expect("closed");
        let mut found = names(folder.path()).await;
        found.sort();
        assert_eq!(found, ["one", "two"]);
    });
}

/// R123.
#[test]
fn a_name_that_is_used_again_at_once_is_not_removed() {
    clean(async || {
        let folder = folder();
        for _ in 0..50 {
            let file = NamedTempFile::new_in(folder.path()).await.expect("made");
            let path = file.path().to_path_buf();
            drop(file);
            fs::write(&path, "mine").await.expect("room");
            idle().await;
            assert_eq!(found_in(&path), b"mine");
            crate::remove(&path);
            let temporary = TempDir::new_in(folder.path()).await.expect("made");
            let path = temporary.path().to_path_buf();
            fs::write(path.join("file"), "theirs").await.expect("room");
            drop(temporary);
            fs::write(&path, "mine").await.expect("the folder has gone");
            assert_eq!(found_in(&path), b"mine");
            crate::remove(&path);
        }
    });
}

#[test]
fn a_folder_goes_with_all_that_is_in_it_unless_it_is_kept() {
    clean(async || {
        let outer = folder();
        for how in 0..2 {
            let temporary = TempDir::new_in(outer.path()).await.expect("made");
            let inner = TempDir::new_in(temporary.path()).await.expect("made").keep();
            assert_eq!(fs::metadata(&inner).await.expect("there").mode() & 0o777, 0o700);
            for number in 0..20 {
                fs::write(inner.join(number.to_string()), "within").await.expect("room");
            }
            match how {
                0 => drop(temporary),
                _ => soon(temporary.close()).await.expect("removed"),
            }
            emptied(outer.path(), "a folder").await;
        }
        let kept = TempDir::new_in(outer.path()).await.expect("made").keep();
        turn().await;
        assert!(fs::metadata(&kept).await.expect("there").is_dir());
    });
}

/// R67.
#[test]
fn making_them_may_be_dropped_at_every_point() {
    clean(async || {
        let folder = folder();
        for polls in 0..12 {
            for last_turn in [false, true] {
                for what in 0..3 {
                    let mut make: std::pin::Pin<Box<dyn Future<Output = ()>>> = match what {
                        0 => Box::pin(async { drop(NamedTempFile::new_in(folder.path()).await) }),
                        1 => Box::pin(async { drop(TempDir::new_in(folder.path()).await) }),
                        _ => Box::pin(async { drop(fs::tempfile_in(folder.path()).await) }),
                    };
                    for poll in 1..=polls {
                        if poll_once(&mut make).await {
                            break;
                        }
                        if poll < polls || last_turn {
                            turn().await;
                        }
                    }
                    drop(make);
                    emptied(folder.path(), &format!("{what} after {polls} polls")).await;
                }
            }
        }
        idle().await;
        turn().await;
        assert_eq!(folder.open(), 0);
    });
}

#[test]
fn what_is_spooled_is_in_memory_and_then_in_a_file() {
    clean(async || {
        let mut spool = SpooledTempFile::new(100);
        assert!(spool.is_empty());
        let mut expected = Vec::new();
        for number in 0..50_u8 {
            soon(spool.write_all(vec![number; 7])).await.0.expect("room");
            expected.extend([number; 7]);
            assert_eq!(spool.is_rolled(), expected.len() > 100);
            assert_eq!(spool.len(), expected.len() as u64);
            let (read, bytes) = soon(spool.read_at(Vec::with_capacity(1000), 5)).await;
            assert_eq!((read.expect("read"), &bytes[..]), (expected.len() - 5, &expected[5..]));
            // A write that was given up does not count, whatever it has done.
            let mut write = Box::pin(spool.write_all(vec![0xff; 20]));
            if number % 5 == 4 && expected.len() > 100 {
                poll_once(&mut write).await;
            }
            drop(write);
            if expected.len() > 100 {
                assert_eq!(soon(spool.read_at(Vec::with_capacity(9), expected.len() as u64)).await.0.expect("end"), 0);
            }
        }
        assert_eq!(spool.position(), expected.len() as u64);
        let file = soon(spool.into_file()).await.expect("in one");
        assert_eq!(file.position(), expected.len() as u64);
        let (read, bytes) = soon(file.read_at(Vec::with_capacity(1000), 0)).await;
        assert_eq!((read.expect("read"), bytes), (expected.len(), expected));
        file.close().await.expect("closed");
    });
}

#[test]
fn what_is_spooled_is_read_and_written_where_its_position_is() {
    clean(async || {
        let folder = folder();
        for most in [0, 7, 12, 1000] {
            let mut spool = SpooledTempFile::new_in(most, folder.path());
            let (written, buffer) = soon(spool.write_all(String::from("0123456789"))).await;
            written.expect("room");
            assert_eq!(buffer, "0123456789", "the buffer comes back");
            assert_eq!(spool.is_rolled(), most < 10);
            // Given up behind the end: that is not seen, also not when more is written farther on.
            if spool.is_rolled() {
                let mut write = Box::pin(spool.write_all(vec![0xff; 20]));
                poll_once(&mut write).await;
            }
            assert_eq!(spool.seek(SeekFrom::End(-3)).await.expect("there"), 7);
            soon(spool.write_all("abc")).await.0.expect("room");
            assert_eq!(spool.seek(SeekFrom::Current(2)).await.expect("beyond the end"), 12);
            assert_eq!(spool.len(), 10);
            let mut writer = BufWriter::new(spool);
            soon(writer.write_all(b"xy")).await.expect("room");
            soon(writer.flush()).await.expect("room");
            let mut spool = writer.into_inner().await.expect("written");
            assert_eq!((spool.len(), spool.is_rolled()), (14, most < 14));
            assert_eq!(spool.seek(SeekFrom::Start(5)).await.expect("there"), 5);
            let error = spool.seek(SeekFrom::Current(-6)).await.expect_err("before the start");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(soon(spool.read(Vec::new())).await.0.expect_err("no room").kind(), ErrorKind::InvalidInput);
            let (result, bytes) = soon(spool.read_to_end(Vec::new())).await;
            assert_eq!((result.expect("read"), &bytes[..]), (9, &b"56abc\0\0xy"[..]), "{most} in memory");
            assert!(names(folder.path()).await.is_empty(), "the file has no name");
        }
        let mut nowhere = SpooledTempFile::new_in(1, folder.join("none"));
        let (written, buffer) = soon(nowhere.write_all("ab")).await;
        assert_eq!((written.expect_err("no folder").kind(), buffer), (ErrorKind::NotFound, "ab"));
        assert!(nowhere.is_empty() && nowhere.position() == 0);
    });
}

#[test]
fn names_begin_and_end_as_they_were_asked_to() {
    clean(async || {
        let folder = folder();
        let long = "x".repeat(300);
        for (prefix, suffix) in [("", ""), ("report-", ".log"), (&*long, ".d")] {
            let file = NamedTempFile::builder().prefix(prefix).suffix(suffix).dir(folder.path()).create().await;
            let within = TempDir::builder().prefix(prefix).suffix(suffix).dir(folder.path()).create().await;
            let (file, within) = (file.expect("made"), within.expect("made"));
            let found = names(folder.path()).await;
            assert_eq!(found.len(), 2);
            for name in found {
                assert!(name.starts_with(&prefix[..prefix.len().min(200)]) && name.ends_with(suffix), "{name}");
                assert!(name.len() >= prefix.len().min(200) + 16 + suffix.len(), "{name}");
            }
            soon(file.close()).await.expect("removed");
            soon(within.close()).await.expect("removed");
        }
        for (prefix, suffix) in [("../x", ""), ("", "/x")] {
            let file = NamedTempFile::builder().prefix(prefix).suffix(suffix).dir(folder.path()).create().await;
            assert_eq!(file.expect_err("leads out").kind(), ErrorKind::InvalidInput);
            let within = TempDir::builder().prefix(prefix).suffix(suffix).dir(folder.path()).create().await;
            assert_eq!(within.expect_err("leads out").kind(), ErrorKind::InvalidInput);
        }
        assert!(names(folder.path()).await.is_empty());
    });
}
