//! Direct I/O: aligned buffers, registered or not, files with and without a place in the ring's table, and what becomes
//! of them when operations are dropped.

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::Pin;

use corering::buf::{AlignedBuf, IoBufMut as _};
use corering::fs::{self, DirectFile, File};

use crate::{Random, clean, drop_elsewhere, folder, found_in, idle, poll_once, seeds, soon, turn};

const BLOCK: usize = 4096;

fn full_of(byte: u8, bytes: usize) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(bytes);
    buffer.resize(bytes, byte);
    buffer
}

fn is_all(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().all(|found| *found == byte)
}

/// A file of so many blocks, each full of its own number.
async fn numbered(path: &Path, blocks: usize) -> DirectFile {
    let bytes: Vec<u8> = (0..blocks).flat_map(|number| [number as u8; BLOCK]).collect();
    fs::write(path, bytes).await.expect("written");
    let options = DirectFile::options().read(true).write(true);
    options.open_direct(path).await.expect("a disk that knows direct I/O")
}

#[test]
fn what_is_written_directly_is_read_directly_and_otherwise() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = DirectFile::create(&path).await.expect("made");
        assert!(file.is_registered());
        assert!(file.alignment().is_power_of_two() && file.alignment() <= BLOCK);
        assert!(file.memory_alignment() <= BLOCK);
        let (written, buffer) = soon(file.write_all_at(full_of(7, 3 * BLOCK), BLOCK as u64)).await;
        written.expect("room");
        assert_eq!(buffer.len(), 3 * BLOCK, "the buffer comes back as it was");
        file.sync_data().await.expect("synced");
        let (read, buffer) = soon(file.read_at(AlignedBuf::new(2 * BLOCK), 0)).await;
        assert_eq!(read.expect("aligned"), 2 * BLOCK);
        assert!(is_all(&buffer[..BLOCK], 0) && is_all(&buffer[BLOCK..], 7));
        file.set_len(5000).await.expect("cut");
        assert_eq!(file.metadata().await.expect("known").len(), 5000);
        file.close().await.expect("closed");
        let bytes = found_in(&path);
        assert!(bytes.len() == 5000 && is_all(&bytes[BLOCK..], 7));
        assert_eq!(folder.open(), 0);
    });
}

#[test]
fn memory_of_any_origin_does() {
    clean(async || {
        let folder = folder();
        let file = numbered(&folder.join("file"), 64).await;
        // Small and large pieces of the pool, one with memory of its own, and several operations at once on each.
        for blocks in [1, 2, 33, 64] {
            let (mut pooled, mut own) =
                (AlignedBuf::new(blocks * BLOCK), AlignedBuf::with_alignment(blocks * BLOCK, 1 << 16));
            assert!(pooled.is_pooled() && !own.is_pooled());
            for _ in 0..2 {
                let (read, back) = soon(file.read_at(pooled, 0)).await;
                assert_eq!(read.expect("read"), blocks * BLOCK);
                pooled = back;
                let (read, back) = soon(file.read_at(own, 0)).await;
                assert_eq!(read.expect("read"), own_len(&back, blocks));
                own = back;
                assert!(pooled[..] == own[..blocks * BLOCK]);
                assert!((0..blocks).all(|block| is_all(&pooled[block * BLOCK..][..BLOCK], block as u8)));
                pooled.clear();
                own.clear();
            }
        }
        file.close().await.expect("closed");
    });
}

/// What a buffer that is larger than was asked for can have read of 64 blocks.
fn own_len(buffer: &AlignedBuf, blocks: usize) -> usize {
    assert!(buffer.capacity() >= blocks * BLOCK);
    buffer.capacity().min(64 * BLOCK)
}

/// R55.
#[test]
fn what_is_not_aligned_is_named_and_the_buffer_comes_back() {
    clean(async || {
        let folder = folder();
        let file = numbered(&folder.join("file"), 4).await;
        let multiple = file.alignment().to_string();
        let mut buffer = full_of(1, 100);
        for wrong in ["the buffer holds 100", "the offset 7 "] {
            let (read, back) = soon(file.read_at(buffer, if wrong.contains("offset") { 7 } else { 0 })).await;
            let error = read.expect_err("not aligned");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(wrong) && error.to_string().contains(&multiple), "{error}");
            buffer = back;
            assert_eq!(buffer.len(), if wrong.contains("offset") { 0 } else { 100 });
            buffer.clear();
        }
        buffer.resize(100, 5);
        let (written, mut buffer) = soon(file.write_all_at(buffer, 0)).await;
        let error = written.expect_err("not aligned");
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("the length 100 "), "{error}");
        assert!(is_all(&buffer, 5) && buffer.len() == 100);
        buffer.resize(BLOCK, 6);
        let (written, buffer) = soon(file.write_all_at(buffer, 100)).await;
        assert!(written.expect_err("not aligned").to_string().contains("the offset 100 "));
        // What it is not about is told as it is.
        let (read, _) = soon(file.read_at(buffer, 0)).await;
        assert_eq!(read.expect_err("no room").kind(), ErrorKind::InvalidInput);
        let (read, _) = soon(file.read_at(AlignedBuf::new(BLOCK), 1 << 63)).await;
        assert_eq!(read.expect_err("no such offset").raw_os_error(), Some(libc::EINVAL));
        file.close().await.expect("closed");
        assert!(is_all(&found_in(folder.join("file"))[..BLOCK], 0), "nothing was written");
    });
}

/// R57.
#[test]
fn the_end_of_a_file_is_a_short_read_and_then_none() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        fs::write(&path, vec![9; BLOCK + 100]).await.expect("written");
        let file = DirectFile::open(&path).await.expect("opened");
        let (read, mut buffer) = soon(file.read_at(AlignedBuf::new(4 * BLOCK), 0)).await;
        assert_eq!((read.expect("read"), buffer.len()), (BLOCK + 100, BLOCK + 100));
        assert!(is_all(&buffer, 9));
        for offset in [2 * BLOCK as u64, 1 << 40] {
            buffer.clear();
            let read;
            (read, buffer) = soon(file.read_at(buffer, offset)).await;
            assert_eq!((read.expect("read"), buffer.len()), (0, 0), "at {offset}");
        }
        let (written, _) = soon(file.write_all_at(full_of(1, BLOCK), 0)).await;
        assert_eq!(written.expect_err("for reading").raw_os_error(), Some(libc::EBADF));
        file.close().await.expect("closed");
    });
}

/// R61.
#[test]
fn blocks_beyond_four_gigabytes_are_where_they_were_put() {
    const FAR: u64 = 5 << 30;
    clean(async || {
        let folder = folder();
        let file = DirectFile::create(folder.join("file")).await.expect("made");
        soon(file.write_all_at(full_of(3, BLOCK), FAR)).await.0.expect("room");
        assert_eq!(file.metadata().await.expect("known").len(), FAR + BLOCK as u64);
        let (read, buffer) = soon(file.read_at(AlignedBuf::new(4 * BLOCK), FAR - BLOCK as u64)).await;
        assert_eq!(read.expect("read"), 2 * BLOCK);
        assert!(is_all(&buffer[..BLOCK], 0) && is_all(&buffer[BLOCK..], 3));
        file.close().await.expect("closed");
    });
}

/// R56.
#[test]
fn a_file_that_is_cut_while_it_is_read_ends_sooner() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = numbered(&path, 64).await;
        let other = File::options().write(true).open(&path).await.expect("there");
        let mut reads: Vec<_> =
            (0..16).map(|part| Box::pin(file.read_at(AlignedBuf::new(4 * BLOCK), part * 4 * BLOCK as u64))).collect();
        for read in &mut reads {
            assert!(!poll_once(read).await, "direct I/O is never done at once");
        }
        other.set_len(100).await.expect("cut");
        for (part, read) in reads.into_iter().enumerate() {
            let (read, buffer) = soon(read).await;
            assert_eq!(read.expect("read"), buffer.len());
            let right = (0..buffer.len() / BLOCK).all(|block| {
                let found = &buffer[block * BLOCK..][..BLOCK];
                is_all(found, (part * 4 + block) as u8) || is_all(&found[100..], 0)
            });
            assert!(right, "part {part}");
        }
        other.close().await.expect("closed");
        file.close().await.expect("closed");
    });
}

#[test]
fn more_files_than_places_are_open_at_once_and_places_are_used_again() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        numbered(&path, 4).await.close().await.expect("closed");
        for _ in 0..3 {
            let mut files = Vec::new();
            for _ in 0..300 {
                files.push(DirectFile::open(&path).await.expect("opened"));
            }
            assert_eq!(files.iter().filter(|file| file.is_registered()).count(), 256);
            for (number, file) in files.iter().enumerate() {
                let offset = (number % 4 * BLOCK) as u64;
                let (read, buffer) = soon(file.read_at(AlignedBuf::new(BLOCK), offset)).await;
                assert!(read.expect("read") == BLOCK && is_all(&buffer, (number % 4) as u8));
            }
            // Some are closed, the others dropped, some of them on another thread.
            for (number, file) in files.into_iter().enumerate() {
                match number % 3 {
                    0 => file.close().await.expect("closed"),
                    1 => drop(file),
                    _ => drop_elsewhere(file),
                }
            }
            // What was dropped elsewhere is known here a turn later.
            turn().await;
            turn().await;
        }
    });
}

#[test]
fn a_place_is_not_used_again_under_an_operation_that_was_dropped() {
    clean(async || {
        let folder = folder();
        let (one, two) = (folder.join("one"), folder.join("two"));
        numbered(&one, 1).await.close().await.expect("closed");
        numbered(&two, 1).await.close().await.expect("closed");
        for _ in 0..300 {
            let options = DirectFile::options().read(true).write(true);
            let first = options.open_direct(&one).await.expect("there");
            let mut write = first.write_all_at(full_of(1, BLOCK), 0);
            poll_once(&mut write).await;
            drop((write, first));
            let second = options.open_direct(&two).await.expect("there");
            let (read, buffer) = soon(second.read_at(AlignedBuf::new(BLOCK), 0)).await;
            assert!(read.expect("read") == BLOCK && is_all(&buffer, 0), "the other file was written");
            second.close().await.expect("closed");
        }
        idle().await;
        assert!(is_all(&found_in(&one), 1));
        assert!(is_all(&found_in(&two), 0));
    });
}

/// R66.
#[test]
fn reads_that_were_dropped_write_to_nobodys_buffer() {
    clean(async || {
        let folder = folder();
        let file = numbered(&folder.join("file"), 64).await;
        let mut random = Random::new(66);
        for round in 0..seeds(200) {
            let mut held = Vec::new();
            for _ in 0..16 {
                let mut read = file.read_at(AlignedBuf::new(BLOCK), random.below(64) * BLOCK as u64);
                poll_once(&mut read).await;
                if random.below(2) == 0 {
                    turn().await;
                }
                drop(read);
                // Made of the same pool, and not of what the kernel still writes to.
                held.push(full_of(0xee, BLOCK));
            }
            idle().await;
            assert!(held.iter().all(|buffer| is_all(buffer, 0xee)), "round {round}");
        }
        file.close().await.expect("closed");
    });
}

type Stale = for<'a> fn(&'a DirectFile) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// R67, R121, R122.
#[test]
fn what_was_dropped_never_lands_after_what_came_later() {
    let stale: [(&str, Stale); 3] = [
        ("write", |file| Box::pin(async { drop(file.write_all_at(full_of(0xff, 16 * BLOCK), 0).await) })),
        ("cut", |file| Box::pin(async { drop(file.set_len(10).await) })),
        ("cancelled write", |file| {
            Box::pin(async { drop(file.write_all_at(full_of(0xff, 16 * BLOCK), 0).cancel().await) })
        }),
    ];
    clean(async || {
        for (name, begin) in stale {
            for polls in 0..4 {
                for last_turn in [false, true] {
                    let folder = folder();
                    let path = folder.join("file");
                    let file = numbered(&path, 16).await;
                    let mut future = begin(&file);
                    for poll in 1..=polls {
                        if poll_once(&mut future).await {
                            break;
                        }
                        if poll < polls || last_turn {
                            turn().await;
                        }
                    }
                    drop(future);
                    soon(file.write_all_at(full_of(5, 16 * BLOCK), 0)).await.0.expect("room");
                    let (read, buffer) = soon(file.read_at(AlignedBuf::new(16 * BLOCK), 0)).await;
                    assert_eq!(read.expect("read"), 16 * BLOCK);
                    assert!(is_all(&buffer, 5), "{name} dropped after {polls} polls (a turn: {last_turn})");
                    file.close().await.expect("closed");
                    assert!(is_all(&found_in(&path), 5));
                }
            }
        }
    });
}

#[test]
fn opening_may_be_dropped_at_every_point() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        numbered(&path, 1).await.close().await.expect("closed");
        for polls in 0..8 {
            let mut open = Box::pin(DirectFile::open(&path));
            for _ in 0..polls {
                if poll_once(&mut open).await {
                    break;
                }
                turn().await;
            }
            drop(open);
            idle().await;
            turn().await;
            assert_eq!(folder.open(), 0, "dropped after {polls} polls");
        }
    });
}

#[test]
fn a_deadline_and_a_cancel_give_the_buffer_back() {
    clean(async || {
        let folder = folder();
        let file = numbered(&folder.join("file"), 4).await;
        for _ in 0..20 {
            let (read, buffer) = soon(file.read_at(AlignedBuf::new(BLOCK), 0).cancel()).await;
            assert_eq!(buffer.capacity(), BLOCK);
            assert!(read.is_err() || is_all(&buffer, 0));
            let (written, buffer) = soon(file.write_all_at(full_of(0, BLOCK), 0).cancel()).await;
            assert!(is_all(&buffer, 0) && buffer.len() == BLOCK);
            drop(written);
        }
        file.close().await.expect("closed");
    });
}

#[test]
fn buffers_are_limited_as_any_others() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        fs::write(&path, vec![4; 3 * BLOCK]).await.expect("written");
        let file = File::open(&path).await.expect("opened");
        let (read, buffer) = soon(file.read_at(AlignedBuf::new(2 * BLOCK).limit(100), 0)).await;
        assert_eq!(read.expect("read"), 100);
        let (read, buffer) = soon(file.read_at(buffer.into_inner(), 100)).await;
        assert_eq!((read.expect("read"), buffer.len()), (2 * BLOCK - 100, 2 * BLOCK));
        assert!(is_all(&buffer, 4));
        file.close().await.expect("closed");
    });
}
