//! Files that are replaced as a whole: written, given up, dropped at every point, and failing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use corering::fs::{self, AtomicFile, File};
use corering::io::{AsyncSeek, AsyncWrite, BufWriter, SeekFrom};

use crate::{clean, folder, found_in, idle, poll_once, put_into, soon, turn};

/// The names in a folder.
async fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(folder).await.expect("there");
    while let Some(entry) = soon(entries.next()).await {
        names.push(entry.expect("read").file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names
}

#[test]
fn a_file_is_made_and_replaced_as_a_whole() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        for bytes in [vec![1; 10], vec![2; 100_000], Vec::new(), vec![3; 5]] {
            soon(fs::write_atomic(&path, bytes.clone())).await.expect("room");
            assert!(found_in(&path) == bytes);
            assert_eq!(names(folder.path()).await, ["file"]);
        }
        turn().await;
        assert_eq!(folder.open(), 0);
    });
}

#[test]
fn nothing_is_seen_before_it_is_complete() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "old");
        let mut file = AtomicFile::create(&path).await.expect("made");
        for part in ["new, ", "and ", "longer"] {
            soon(file.write_all(part)).await.0.expect("room");
            assert_eq!(found_in(&path), b"old");
        }
        let temporary = file.temporary_path().to_path_buf();
        assert!(
            AtomicFile::is_leftover(&temporary, Some("file".as_ref())) && AtomicFile::is_leftover(&temporary, None)
        );
        assert!(!AtomicFile::is_leftover(&temporary, Some("other".as_ref())));
        // Whoever has the old one open keeps it.
        let old = File::open(&path).await.expect("there");
        soon(file.commit()).await.expect("committed");
        assert_eq!(found_in(&path), b"new, and longer");
        assert_eq!(soon(old.read_at(Vec::with_capacity(9), 0)).await.1, b"old");
        assert_eq!(names(folder.path()).await, ["file"]);
        old.close().await.expect("closed");
    });
}

#[test]
fn what_is_left_over_is_known_also_of_long_names_and_of_such_that_are_no_text() {
    clean(async || {
        let folder = folder();
        for len in [1, 198, 199, 200, 255] {
            for byte in [b'x', 0xff] {
                let name = vec![byte; len];
                let name = OsStr::from_bytes(&name);
                let file = AtomicFile::create(folder.join(name)).await.expect("made");
                assert!(AtomicFile::is_leftover(file.temporary_path(), Some(name)), "{len} bytes");
                assert!(AtomicFile::is_leftover(file.temporary_path(), None), "{len} bytes");
                assert!(!AtomicFile::is_leftover(file.temporary_path(), Some("other".as_ref())), "{len} bytes");
                soon(file.discard()).await.expect("removed");
            }
        }
        let of_another = ".file.old.0123456789abcdef.tmp";
        assert!(AtomicFile::is_leftover(of_another, Some("file.old".as_ref())));
        assert!(!AtomicFile::is_leftover(of_another, Some("file".as_ref())));
    });
}

#[test]
fn what_is_given_up_leaves_the_old_file_and_nothing_else() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "old");
        for discarded in [false, true] {
            let mut file = AtomicFile::create(&path).await.expect("made");
            soon(file.write_all("new")).await.0.expect("room");
            assert_eq!(names(folder.path()).await.len(), 2);
            if discarded {
                soon(file.discard()).await.expect("removed");
            } else {
                drop(file);
            }
            assert_eq!(names(folder.path()).await, ["file"], "the listing waits for the removal");
            assert_eq!(found_in(&path), b"old");
        }
    });
}

/// R67.
#[test]
fn dropped_at_every_point_it_is_the_old_or_the_new_and_nothing_is_left() {
    clean(async || {
        let (mut old, mut new) = (0, 0);
        for polls in 0..40 {
            for last_turn in [false, true] {
                let folder = folder();
                let path = folder.join("file");
                put_into(&path, "old");
                let mut write = Box::pin(fs::write_atomic(&path, vec![b'n'; 10_000]));
                for poll in 1..=polls {
                    if poll_once(&mut write).await {
                        break;
                    }
                    if poll < polls || last_turn {
                        turn().await;
                    }
                }
                drop(write);
                idle().await;
                let begun = corering::time::Instant::now();
                while names(folder.path()).await != ["file"] {
                    assert!(begun.elapsed().as_secs() < 10, "after {polls} polls: {:?}", names(folder.path()).await);
                    turn().await;
                }
                match &found_in(&path)[..] {
                    b"old" => old += 1,
                    found => {
                        assert!(found == [b'n'; 10_000], "dropped after {polls} polls: {} bytes", found.len());
                        new += 1;
                    }
                }
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
    });
}

#[test]
fn permissions_are_those_of_the_file_that_is_replaced() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let made = File::options().write(true).create(true).mode(0o640).open(&path).await.expect("made");
        let mode = made.metadata().await.expect("known").mode();
        made.close().await.expect("closed");
        soon(fs::write_atomic(&path, "new")).await.expect("room");
        assert_eq!(fs::metadata(&path).await.expect("there").mode(), mode);
    });
}

#[test]
fn what_cannot_be_replaced_says_so_and_leaves_nothing() {
    clean(async || {
        let folder = folder();
        for path in ["/", "..", "a/.."] {
            let error = soon(fs::write_atomic(path, "")).await.expect_err("no file");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{path}");
        }
        let error = soon(fs::write_atomic(folder.join("none/file"), "")).await.expect_err("no folder");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        let error = soon(fs::write_atomic(folder.path(), "in the place of a folder")).await.expect_err("a folder");
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
        assert!(names(folder.path()).await.is_empty());
        let long = "x".repeat(255);
        soon(fs::write_atomic(folder.join(&long), "as long as can be")).await.expect("a name");
        assert_eq!(names(folder.path()).await, [long]);
    });
}

#[test]
fn it_is_written_through_a_buffer_and_where_its_position_is() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "old");
        let mut writer = BufWriter::new(AtomicFile::create(&path).await.expect("made"));
        for _ in 0..20_000 {
            soon(writer.write_all(b"line\n")).await.expect("room");
        }
        assert_eq!(found_in(&path), b"old");
        let mut file = writer.into_inner().await.expect("written");
        assert_eq!(file.seek(SeekFrom::End(0)).await.expect("there"), 100_000);
        file.file_mut().set_position(0);
        soon(file.write_all("LINE")).await.0.expect("room");
        soon(file.commit()).await.expect("committed");
        assert_eq!(found_in(&path), ["LINE\n".as_bytes(), &b"line\n".repeat(19_999)].concat());
    });
}

#[test]
fn a_write_through_a_buffer_that_fails_forbids_the_commit() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "old");
        let mut file = AtomicFile::create(&path).await.expect("made");
        file.file_mut().set_position(i64::MAX as u64);
        let (written, buffer) = soon(AsyncWrite::write(&mut file, "new")).await;
        assert!(written.is_err() && buffer == "new");
        file.file_mut().set_position(0);
        soon(AsyncWrite::write_all(&mut file, "new")).await.0.expect("room");
        soon(file.commit()).await.expect_err("a part is missing");
        assert_eq!(found_in(&path), b"old");
        assert_eq!(names(folder.path()).await, ["file"]);
    });
}

#[test]
fn a_write_that_was_dropped_forbids_the_commit() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "old");
        let mut file = AtomicFile::create(&path).await.expect("made");
        let mut write = Box::pin(file.write_all(vec![7; 300_000]));
        assert!(!poll_once(&mut write).await, "a file system hands such a write to a worker");
        drop(write);
        soon(file.write_all("more")).await.0.expect("room");
        let error = soon(file.commit()).await.expect_err("nobody knows what is there");
        assert!(error.to_string().contains("dropped"), "{error}");
        idle().await;
        assert_eq!(found_in(&path), b"old");
    });
}
