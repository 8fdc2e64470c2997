//! Files in all their states: short, long, growing, cut, full, in the wrong mode, and no files at all.

use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use corering::buf::{IoBuf as _, IoBufMut as _};
use corering::fs::{self, File};

use crate::guard::Guarded;
use crate::{clean, soon};

/// A directory on a disk, where files have a page cache and direct I/O.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn path_in(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("file")
}

#[test]
fn direct_io_that_is_not_aligned_fails_and_gives_the_buffer_back() {
    let directory = directory();
    let path = path_in(&directory);
    std::fs::write(&path, vec![3; 16384]).expect("written");
    clean(async || {
        let file = File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(&path).await;
        let file = file.expect("a disk that knows direct I/O");
        let (read, buffer) = soon(file.read_at(Guarded::new(8192), 4096)).await;
        assert_eq!(read.expect("aligned"), 8192);
        assert!(buffer.as_slice().iter().all(|byte| *byte == 3));
        let address = buffer.address();
        // The offset, and the length.
        let (read, buffer) = soon(file.read_at(buffer, 7)).await;
        assert_eq!(read.expect_err("not aligned").raw_os_error(), Some(libc::EINVAL));
        assert_eq!(buffer.address(), address);
        let (read, buffer) = soon(file.read_at(buffer.limit(100), 0)).await;
        assert_eq!(read.expect_err("not aligned").raw_os_error(), Some(libc::EINVAL));
        let (written, buffer) = soon(file.write_all_at(buffer.into_inner().slice(1..4097), 0)).await;
        assert_eq!(written.expect_err("not aligned").raw_os_error(), Some(libc::EINVAL));
        assert_eq!(buffer.into_inner().address(), address);
        file.close().await.expect("closed");
    });
}

#[test]
fn a_file_that_is_cut_while_it_is_read_gives_less_and_never_hangs() {
    const LONG: usize = 1 << 20;
    let directory = directory();
    let path = path_in(&directory);
    std::fs::write(&path, vec![4; LONG]).expect("written");
    clean(async || {
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("there");
        let cutter = std::thread::spawn(move || {
            for round in 0..400_u64 {
                file.set_len(if round % 2 == 0 { 1000 } else { LONG as u64 }).expect("cut");
            }
        });
        while !cutter.is_finished() {
            let bytes = soon(fs::read(&path)).await.expect("read");
            assert!(bytes.len() <= LONG);
            assert!(bytes.iter().all(|byte| matches!(byte, 4 | 0)));
            let reader = File::open(&path).await.expect("opened");
            let (read, buffer) = soon(reader.read_at(Vec::with_capacity(4096), 500_000)).await;
            assert_eq!(read.expect("read"), buffer.len());
            reader.close().await.expect("closed");
        }
        cutter.join().expect("no panic");
    });
}

#[test]
fn reads_at_and_beyond_the_end_say_so() {
    let directory = directory();
    let path = path_in(&directory);
    std::fs::write(&path, "hello").expect("written");
    clean(async || {
        let mut file = File::open(&path).await.expect("opened");
        for (offset, expected) in [(0, "hello"), (3, "lo"), (5, ""), (6, ""), (1 << 40, ""), (i64::MAX as u64 - 8, "")]
        {
            let (read, buffer) = soon(file.read_at(Vec::with_capacity(8), offset)).await;
            assert_eq!(read.expect("read"), expected.len(), "at {offset}");
            assert_eq!(buffer, expected.as_bytes(), "at {offset}");
        }
        // Offsets that no file has. (The largest stands for the kernel's own position, which nobody here means.)
        for offset in [u64::MAX - 1, 1 << 63] {
            let (read, buffer) = soon(file.read_at(Vec::with_capacity(8), offset)).await;
            assert_eq!(read.expect_err("no such offset").raw_os_error(), Some(libc::EINVAL), "at {offset}");
            assert!(buffer.is_empty());
        }
        let (read, buffer) = soon(file.read_at(Vec::new(), 0)).await;
        assert_eq!(read.expect_err("no room").kind(), ErrorKind::InvalidInput);
        assert_eq!(buffer.capacity(), 0);
        let (written, _) = soon(file.write_all_at("x", 0)).await;
        assert_eq!(written.expect_err("for reading").raw_os_error(), Some(libc::EBADF));
        file.set_position(2);
        let (read, buffer) = soon(file.read(Vec::with_capacity(8))).await;
        assert_eq!((read.expect("read"), &buffer[..]), (3, &b"llo"[..]));
        assert_eq!(file.position(), 5);
        file.close().await.expect("closed");
    });
}

#[test]
fn nothing_is_written_by_a_write_of_nothing() {
    let directory = directory();
    let path = path_in(&directory);
    clean(async || {
        let file = File::create(&path).await.expect("made");
        soon(file.write_all_at("", 10)).await.0.expect("nothing to write");
        assert_eq!(soon(file.write_at(Vec::new(), 10)).await.0.expect("nothing to write"), 0);
        assert_eq!(file.metadata().await.expect("known").len(), 0);
        file.close().await.expect("closed");
    });
}

#[test]
fn offsets_beyond_four_gigabytes_are_offsets() {
    const FAR: u64 = (5 << 30) + 3;
    let directory = directory();
    let path = path_in(&directory);
    clean(async || {
        let file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
        soon(file.write_all_at("far away", FAR)).await.0.expect("written");
        assert_eq!(file.metadata().await.expect("known").len(), FAR + 8);
        let (read, buffer) = soon(file.read_at(Vec::with_capacity(16), FAR - 4)).await;
        assert_eq!((read.expect("read"), &buffer[..]), (12, &b"\0\0\0\0far away"[..]));
        soon(file.set_len(1 << 33)).await.expect("extended");
        assert_eq!(fs::metadata(&path).await.expect("known").len(), 1 << 33);
        file.close().await.expect("closed");
    });
}

#[test]
fn more_than_the_kernel_takes_at_once_is_read_and_written_whole() {
    // A mapping of nothing but zeros, longer than one read or write may be: it takes no memory until it is read into.
    const LONG: usize = (2 << 30) + 12_345;
    clean(async || {
        let sink = File::options().write(true).open("/dev/null").await.expect("there");
        let (written, buffer) = soon(sink.write_all_at(Guarded::new(LONG), 0)).await;
        written.expect("written, in two parts");
        let (written, _) = soon(sink.write_at(buffer, 0)).await;
        assert_eq!(written.expect("written"), 0x7fff_f000, "what goes at once");
        sink.close().await.expect("closed");
    });
}

#[test]
fn what_is_appended_goes_to_the_end() {
    let directory = directory();
    let path = path_in(&directory);
    std::fs::write(&path, "one ").expect("written");
    clean(async || {
        let mut file = File::options().append(true).open(&path).await.expect("opened");
        soon(file.write_all("two ")).await.0.expect("written");
        let other = std::fs::OpenOptions::new().append(true).mode(0o600).open(&path).expect("there");
        std::io::Write::write_all(&mut &other, b"three ").expect("written");
        soon(file.write_all("four")).await.0.expect("written");
        file.close().await.expect("closed");
        assert_eq!(fs::read_to_string(&path).await.expect("read"), "one two three four");
    });
}

#[test]
fn a_full_disk_is_an_error_and_the_buffer_comes_back() {
    clean(async || {
        let full = File::options().write(true).open("/dev/full").await.expect("there");
        let (written, buffer) = soon(full.write_all_at(vec![1; 10_000], 0)).await;
        assert_eq!(written.expect_err("full").kind(), ErrorKind::StorageFull);
        assert_eq!(buffer, vec![1; 10_000]);
        full.close().await.expect("closed");
        assert_eq!(fs::write("/dev/full", "x").await.expect_err("full").kind(), ErrorKind::StorageFull);
    });
}

#[test]
fn whole_files_of_every_length_are_read_whole() {
    let directory = directory();
    let path = path_in(&directory);
    clean(async || {
        for len in [0, 1, 100, 4095, 4096, 4097, 16383, 16384, 16385, 65536, 200_000, 3 << 20] {
            let bytes: Vec<u8> = (0..len).map(|number| (number % 251) as u8).collect();
            fs::write(&path, bytes.clone()).await.expect("written");
            let read = soon(fs::read(&path)).await.expect("read");
            assert!(read == bytes, "{len} bytes");
            assert!(read.capacity() <= len.max(1) * 2, "{} bytes of memory for {len}", read.capacity());
        }
        // More than there are direct places.
        let path = &path;
        let reads: Vec<_> = (0..600)
            .map(|_| {
                let path = path.clone();
                corering::spawn(async move { fs::read(path).await.map(|bytes| bytes.len()) })
            })
            .collect();
        for read in reads {
            assert_eq!(soon(read).await.expect("no panic").expect("read"), 3 << 20);
        }
    });
}

#[test]
fn what_is_no_plain_file_is_read_or_refused_as_read_would() {
    clean(async || {
        for path in ["/proc/self/status", "/proc/self/maps", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let Ok(expected) = std::fs::read(path) else { continue };
            let read = soon(fs::read(path)).await.expect("read");
            assert!(!read.is_empty(), "{path}");
            assert!(read.len().abs_diff(expected.len()) < 4096, "{path}: {} of {}", read.len(), expected.len());
        }
        assert_eq!(soon(fs::read("/dev/null")).await.expect("read"), b"");
        assert_eq!(soon(fs::read("/")).await.expect_err("a directory").kind(), ErrorKind::IsADirectory);
        assert_eq!(fs::read("").await.expect_err("no name").kind(), ErrorKind::NotFound);
        assert_eq!(fs::read("/etc/passwd/x").await.expect_err("no directory").kind(), ErrorKind::NotADirectory);
        assert_eq!(fs::read("a\0b").await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        assert_eq!(File::open("a\0b").await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::metadata("a\0b").await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        let long = "x".repeat(300);
        assert_eq!(fs::read(&long).await.expect_err("too long").raw_os_error(), Some(libc::ENAMETOOLONG));
        let error = fs::read_to_string("/proc/self/exe").await.expect_err("not text");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().starts_with("/proc/self/exe is not UTF-8"), "{error}");
    });
}

#[test]
fn a_file_that_is_removed_while_it_is_open_stays_as_it_is() {
    let directory = directory();
    let path = path_in(&directory);
    std::fs::write(&path, "still here").expect("written");
    clean(async || {
        let file = File::open(&path).await.expect("opened");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "another").expect("written");
        let (read, buffer) = soon(file.read_at(Vec::with_capacity(32), 0)).await;
        assert_eq!((read.expect("read"), &buffer[..]), (10, &b"still here"[..]));
        file.close().await.expect("closed");
        assert_eq!(fs::read(&path).await.expect("read"), b"another");
    });
}

#[test]
fn reads_and_writes_side_by_side_keep_apart() {
    const BLOCK: usize = 4096;
    let directory = directory();
    let path = path_in(&directory);
    clean(async || {
        let file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
        let file = std::rc::Rc::new(file);
        let tasks: Vec<_> = (0..64_u8)
            .map(|number| {
                let file = file.clone();
                corering::spawn(async move {
                    let offset = u64::from(number) * BLOCK as u64;
                    for round in 0..8_u8 {
                        let byte = number ^ round;
                        file.write_all_at(vec![byte; BLOCK], offset).await.0?;
                        let (read, buffer) = file.read_at(Guarded::new(BLOCK), offset).await;
                        assert_eq!(read?, BLOCK);
                        assert!(buffer.as_slice().iter().all(|found| *found == byte));
                    }
                    std::io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            soon(task).await.expect("no panic").expect("read and written");
        }
        let mut last = [0; 1];
        std::fs::File::open(&path).expect("there").read_exact_at(&mut last, 63 * BLOCK as u64).expect("read");
        assert_eq!(last, [63 ^ 7]);
    });
}
