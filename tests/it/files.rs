//! Files in all their states: short, long, growing, cut, full, in the wrong mode, and no files at all.

use std::io::ErrorKind;

use corering::buf::{IoBuf as _, IoBufMut as _};
use corering::fs::{self, File};

use crate::guard::Guarded;
use crate::{clean, folder, found_in, remove, soon};

#[test]
fn direct_io_that_is_not_aligned_fails_and_gives_the_buffer_back() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        fs::write(&path, vec![3; 16384]).await.expect("written");
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
fn reads_at_and_beyond_the_end_say_so() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        fs::write(&path, "hello").await.expect("written");
        let mut file = File::open(&path).await.expect("opened");
        for (offset, expected) in [(0, "hello"), (3, "lo"), (5, ""), (6, ""), (1 << 40, ""), (i64::MAX as u64 - 8, "")]
        {
            let (read, buffer) = soon(file.read_at(Vec::with_capacity(8), offset)).await;
            assert_eq!(read.expect("read"), expected.len(), "at {offset}");
            assert_eq!(buffer, expected.as_bytes(), "at {offset}");
        }
        // Offsets that no file has. (The largest stands for the kernel's own position, where nobody here means to read.)
        for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
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
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = File::create(&path).await.expect("made");
        soon(file.write_all_at("", 10)).await.0.expect("nothing to write");
        assert_eq!(soon(file.write_at(Vec::new(), 10)).await.0.expect("nothing to write"), 0);
        let (written, _) = soon(file.write_all_at("x", u64::MAX)).await;
        assert_eq!(written.expect_err("no such offset").raw_os_error(), Some(libc::EINVAL));
        assert_eq!(file.metadata().await.expect("known").len(), 0);
        file.close().await.expect("closed");
    });
}

#[test]
fn offsets_beyond_four_gigabytes_are_offsets() {
    const FAR: u64 = (5 << 30) + 3;
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
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
fn what_is_appended_goes_to_the_end() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        fs::write(&path, "one ").await.expect("written");
        let mut file = File::options().append(true).open(&path).await.expect("opened");
        soon(file.write_all("two ")).await.0.expect("written");
        let mut other = File::options().append(true).open(&path).await.expect("there");
        other.write_all("three ").await.0.expect("written");
        soon(file.write_all("four")).await.0.expect("written");
        file.close().await.expect("closed");
        assert_eq!(fs::read_to_string(&path).await.expect("read"), "one two three four");
    });
}

#[test]
fn whole_files_of_every_length_are_read_whole() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
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
fn a_file_that_is_removed_while_it_is_open_stays_as_it_is() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        fs::write(&path, "still here").await.expect("written");
        let file = File::open(&path).await.expect("opened");
        remove(&path);
        fs::write(&path, "another").await.expect("written");
        let (read, buffer) = soon(file.read_at(Vec::with_capacity(32), 0)).await;
        assert_eq!((read.expect("read"), &buffer[..]), (10, &b"still here"[..]));
        file.close().await.expect("closed");
        assert_eq!(fs::read(&path).await.expect("read"), b"another");
    });
}

#[test]
fn reads_and_writes_side_by_side_keep_apart() {
    const BLOCK: usize = 4096;
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
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
        assert_eq!(found_in(&path)[63 * BLOCK..][..1], [63 ^ 7]);
    });
}

#[test]
fn a_buffer_is_filled_from_the_beginning_of_a_file() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        for len in [0, 1, 4095, 4096, 4097, 8192, 10_000, 16_384, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|number| number as u8).collect();
            fs::write(&path, bytes.clone()).await.expect("written");
            for room in [1, 4096, 8192, 16_384, 100_000] {
                let mut buffer = Vec::with_capacity(room + 2);
                buffer.extend_from_slice(b"be");
                let room = buffer.capacity() - 2;
                let (read, buffer) = fs::read_into(&path, buffer).await;
                assert_eq!(read.expect("read"), len.min(room));
                assert_eq!(&buffer[..2], b"be");
                assert_eq!(&buffer[2..], &bytes[..len.min(room)]);
            }
            assert_eq!(fs::read(&path).await.expect("read"), bytes);
        }
        let (read, buffer) = fs::read_into(&path, vec![7]).await;
        assert_eq!(read.expect_err("no room").kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(buffer, [7]);
        let (read, buffer) = fs::read_into(folder.path(), Vec::with_capacity(10)).await;
        assert_eq!(read.expect_err("a directory").raw_os_error(), Some(libc::EISDIR));
        assert_eq!(buffer.capacity(), 10);
    });
}
