//! Files in order: chunks that are read ahead, and sinks that write behind, on files that grow, shrink, fail or end
//! early, and dropped at every point.

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::Pin;

use corering::buf::AlignedBuf;
use corering::fs::{self, Chunks, DirectFile, File};

use crate::{Random, clean, folder, found_in, idle, metrics, poll_once, put_into, soon, turn};

const BLOCK: usize = 4096;

/// Bytes of which each eight say where they are.
fn counted(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64).flat_map(u64::to_le_bytes).take(bytes).collect()
}

/// All that comes, which is of the right sizes and in order.
async fn all(mut chunks: Chunks, size: usize, mut offset: u64) -> Vec<u8> {
    let (mut bytes, mut ended) = (Vec::new(), false);
    while let Some(block) = soon(chunks.next()).await {
        let block = block.expect("read");
        assert!(!ended, "only the last one is short");
        assert_eq!(block.offset(), offset);
        assert!(!block.is_empty() && block.len() <= size, "{block:?}");
        ended = block.len() < size;
        offset += block.len() as u64;
        bytes.extend_from_slice(&block);
    }
    assert!(soon(chunks.next()).await.is_none(), "once over, over for good");
    bytes
}

#[test]
fn every_length_comes_whole_and_in_order_at_every_size_and_depth() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        for len in [0, 1, 999, 4096, 4097, 65_536, 200_001] {
            let bytes = counted(len);
            put_into(&path, &bytes);
            let file = File::open(&path).await.expect("there");
            for (size, depth) in [(1000, 1), (4096, 3), (65_536, 0), (65_536, 8), (1 << 20, 2)] {
                let found = all(file.chunks(size, depth), size, 0).await;
                assert!(found == bytes, "{len} bytes by {size}, {depth} at once: {} came", found.len());
            }
            file.close().await.expect("closed");
            let file = DirectFile::open(&path).await.expect("there");
            for (size, depth) in [(1_usize, 4), (4096, 1), (65_536, 3)] {
                let whole = size.next_multiple_of(file.alignment());
                let found = all(file.chunks(size, depth), whole, 0).await;
                assert!(found == bytes, "{len} bytes directly by {size}, {depth} at once: {} came", found.len());
            }
            file.close().await.expect("closed");
        }
    });
}

#[test]
fn a_part_is_read_from_where_to_where_it_was_asked_for() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let bytes = counted(50_000);
        put_into(&path, &bytes);
        let mut file = File::open(&path).await.expect("there");
        for (from, most) in [(0, 0), (0, 10), (7, 20_000), (49_990, 100), (50_000, 5), (70_000, 5), (10, u64::MAX)] {
            let found = all(file.chunks(4096, 3).starting_at(from).at_most(most), 4096, from).await;
            let first = bytes.len().min(from as usize);
            let end = bytes.len().min((from as usize).saturating_add(usize::try_from(most).expect("64 bits")));
            assert!(found == bytes[first..end.max(first)], "{most} from {from}");
            let other_order = all(file.chunks(4096, 3).at_most(most).starting_at(from), 4096, from).await;
            assert!(other_order == found, "{most} from {from}, the other way round");
        }
        file.set_position(49_000);
        assert!(all(file.chunks(4096, 3), 4096, 49_000).await == bytes[49_000..]);
        assert_eq!(file.position(), 49_000, "it stays where it was");
        file.close().await.expect("closed");
        let file = DirectFile::open(&path).await.expect("there");
        let found = all(file.chunks(4096, 3).starting_at(8192).at_most(10_000), 4096, 8192).await;
        assert!(found == bytes[8192..18_192]);
        file.close().await.expect("closed");
    });
}

/// R56.
#[test]
fn a_file_that_is_cut_while_it_is_read_ends_there_without_a_hole() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let mut random = Random::new(56);
        for round in 0..40 {
            let bytes = counted(64 * BLOCK);
            put_into(&path, &bytes);
            let direct = round % 2 == 1;
            let (cached, other) =
                (File::open(&path).await.expect("there"), File::options().write(true).open(&path).await);
            let other = other.expect("there");
            let directly = DirectFile::open(&path).await.expect("there");
            let mut chunks = if direct { directly.chunks(BLOCK, 8) } else { cached.chunks(BLOCK, 8) };
            let (before, cut) = (random.below(64), random.below(64 * BLOCK as u64));
            let mut found = Vec::new();
            for _ in 0..before {
                found.extend_from_slice(&soon(chunks.next()).await.expect("more").expect("read"));
            }
            other.set_len(cut).await.expect("cut");
            while let Some(block) = soon(chunks.next()).await {
                found.extend_from_slice(&block.expect("read"));
            }
            assert!(found.len() as u64 >= (before * BLOCK as u64).max(cut.min(before * BLOCK as u64)));
            // What was read ahead is given as it was; where the cut met a block under way, it may end in zeroes.
            let right = found.iter().zip(&bytes).enumerate().all(|(at, (a, b))| a == b || at as u64 >= cut && *a == 0);
            assert!(right && found.len() <= bytes.len(), "cut to {cut} after {before} blocks");
            drop(chunks);
            directly.close().await.expect("closed");
            cached.close().await.expect("closed");
            other.close().await.expect("closed");
        }
    });
}

#[test]
fn what_is_added_while_it_is_read_is_read_too() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let bytes = counted(10 * BLOCK);
        put_into(&path, &bytes[..100]);
        let file = File::options().read(true).write(true).open(&path).await.expect("there");
        for (size, depth) in [(BLOCK, 1), (1000, 4)] {
            file.set_len(0).await.expect("cut");
            file.write_all_at(bytes[..BLOCK].to_vec(), 0).await.0.expect("room");
            let mut chunks = file.chunks(size, depth);
            let mut found = soon(chunks.next()).await.expect("more").expect("read").to_vec();
            for part in 1..10 {
                let more = bytes[part * BLOCK..][..BLOCK].to_vec();
                file.write_all_at(more, (part * BLOCK) as u64).await.0.expect("room");
                found.extend_from_slice(&soon(chunks.next()).await.expect("more").expect("read"));
            }
            while let Some(block) = soon(chunks.next()).await {
                found.extend_from_slice(&block.expect("read"));
            }
            assert!(found == bytes, "by {size}, {depth} at once");
        }
        file.close().await.expect("closed");
    });
}

#[test]
fn memory_is_bounded_by_the_depth() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, counted(64 * BLOCK));
        let file = DirectFile::open(&path).await.expect("there");
        let mut chunks = file.chunks(BLOCK, 5);
        while let Some(block) = soon(chunks.next()).await {
            drop(block.expect("read"));
            assert!(metrics().operations <= 5, "{:?}", metrics());
        }
        drop(chunks);
        file.close().await.expect("closed");
    });
}

/// R67.
#[test]
fn chunks_may_be_dropped_at_every_point_and_close_the_file_then() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, counted(20 * BLOCK));
        for direct in [false, true] {
            for blocks in 0..6 {
                for polls in 0..3 {
                    let file = File::open(&path).await.expect("there");
                    let directly = DirectFile::open(&path).await.expect("there");
                    let mut chunks = if direct { directly.chunks(BLOCK, 3) } else { file.chunks(BLOCK, 3) };
                    for _ in 0..blocks {
                        soon(chunks.next()).await.expect("more").expect("read");
                    }
                    for _ in 0..polls {
                        // The next block is not lost by that; but this one gives it up.
                        let _ = poll_once(&mut Box::pin(chunks.next())).await;
                    }
                    drop((chunks, file, directly));
                    idle().await;
                    turn().await;
                    assert_eq!(folder.open(), 0, "dropped after {blocks} blocks and {polls} polls");
                }
            }
        }
    });
}

#[test]
fn a_next_that_was_dropped_loses_no_block() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let bytes = counted(40 * BLOCK);
        put_into(&path, &bytes);
        let file = DirectFile::open(&path).await.expect("there");
        let (mut chunks, mut found) = (file.chunks(BLOCK, 3), Vec::new());
        loop {
            // Given up while it waits, as by a timeout; and what is there is taken.
            let mut next = Box::pin(chunks.next());
            let waits = !poll_pending(&mut next, &mut found).await;
            drop(next);
            if !waits && found.len() == bytes.len() {
                break;
            }
            turn().await;
        }
        assert!(soon(chunks.next()).await.is_none());
        assert!(found == bytes);
        drop(chunks);
        file.close().await.expect("closed");
    });
}

type Next<'a> = Pin<Box<dyn Future<Output = Option<std::io::Result<fs::Block>>> + 'a>>;

/// Polls once, and keeps what comes of it.
async fn poll_pending<'a>(
    next: &mut (impl Future<Output = Option<std::io::Result<fs::Block>>> + Unpin + 'a),
    found: &mut Vec<u8>,
) -> bool {
    let mut next: Next<'_> = Box::pin(next);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match next.as_mut().poll(cx) {
            std::task::Poll::Ready(block) => {
                found.extend_from_slice(&block.expect("more").expect("read"));
                true
            }
            std::task::Poll::Pending => false,
        })
    })
    .await
}

#[test]
fn what_cannot_be_read_says_so_once() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = File::create(&path).await.expect("made");
        let mut chunks = file.chunks(BLOCK, 3);
        let error = soon(chunks.next()).await.expect("an error").expect_err("for writing");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert!(soon(chunks.next()).await.is_none());
        drop(chunks);
        file.close().await.expect("closed");
    });
}

// Sinks.

#[test]
fn what_is_written_behind_is_all_there_in_order() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let bytes = counted(300_000);
        for (size, depth) in [(1000, 1), (4096, 3), (65_536, 0), (65_536, 8)] {
            let file = File::create(&path).await.expect("made");
            let mut sink = file.sink(depth).synced();
            for part in bytes.chunks(size) {
                soon(sink.write(part.to_vec())).await.expect("room");
                assert!(metrics().operations <= depth.max(1));
            }
            assert_eq!(soon(sink.finish()).await.expect("written"), 300_000);
            file.close().await.expect("closed");
            assert!(found_in(&path) == bytes, "by {size}, {depth} at once");
        }
        let mut file = File::options().write(true).open(&path).await.expect("there");
        file.set_position(100);
        let mut sink = file.sink(2);
        soon(sink.write("here")).await.expect("room");
        soon(sink.write("")).await.expect("nothing to write");
        soon(sink.write(", and here")).await.expect("room");
        assert_eq!(soon(sink.finish()).await.expect("written"), 14);
        let mut sink = file.sink(2).starting_at(10);
        soon(sink.write([7; 4])).await.expect("room");
        assert_eq!(soon(sink.finish()).await.expect("written"), 4);
        file.close().await.expect("closed");
        let found = found_in(&path);
        assert!(found[100..114] == *b"here, and here" && found[10..14] == [7; 4] && found[114..] == bytes[114..]);
    });
}

#[test]
fn what_is_appended_behind_stays_in_order() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "0");
        let file = File::options().append(true).open(&path).await.expect("there");
        let mut sink = file.sink(8);
        for number in 1..=100 {
            soon(sink.write(format!(" {number}"))).await.expect("room");
        }
        soon(sink.finish()).await.expect("written");
        file.close().await.expect("closed");
        let text: Vec<String> = (0..=100).map(|number| number.to_string()).collect();
        assert_eq!(found_in(&path), text.join(" ").as_bytes());
    });
}

#[test]
fn a_direct_sink_writes_whole_blocks() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = DirectFile::create(&path).await.expect("made");
        let mut sink = file.sink(4);
        for number in 0..32 {
            let mut buffer = AlignedBuf::new(2 * BLOCK);
            buffer.resize(2 * BLOCK, number);
            soon(sink.write(buffer)).await.expect("room");
        }
        assert_eq!(soon(sink.finish()).await.expect("written"), 64 * BLOCK as u64);
        let mut sink = file.sink(4).starting_at(BLOCK as u64);
        let mut wrong = AlignedBuf::new(BLOCK);
        wrong.resize(100, 0);
        soon(sink.write(wrong)).await.expect("room");
        let error = soon(sink.finish()).await.expect_err("not aligned");
        assert!(error.to_string().contains("cannot write at offset 4096: "), "{error}");
        assert!(error.to_string().contains("the length 100 "), "{error}");
        file.close().await.expect("closed");
        let found = found_in(&path);
        assert!(found.len() == 64 * BLOCK && (0..32).all(|number| found[number * 2 * BLOCK + 5] == number as u8));
    });
}

#[test]
fn the_first_error_is_told_by_every_later_call_with_its_offset() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, "");
        let file = File::open(&path).await.expect("there");
        let mut sink = file.sink(3).starting_at(1000);
        let mut told = 0;
        for _ in 0..10 {
            match soon(sink.write("for a file that is open for reading")).await {
                Ok(()) => assert_eq!(told, 0, "nothing is begun after an error"),
                Err(error) => {
                    assert!(error.to_string().contains("at offset 1000: "), "{error}");
                    told += 1;
                }
            }
        }
        assert!(told >= 7 && sink.failed_at() == Some(1000) && sink.written() == 0, "{told}");
        let error = soon(sink.finish()).await.expect_err("for reading");
        assert!(error.to_string().contains("at offset 1000: "), "{error}");
        assert_ne!(error.kind(), ErrorKind::Other);
        file.close().await.expect("closed");
    });
}

/// R121, R122, and R67 of sinks.
#[test]
fn a_sink_that_was_dropped_writes_nothing_over_what_comes_later() {
    clean(async || {
        for writes in 0..6 {
            for polls in 0..3 {
                for shrinks in [false, true] {
                    let folder = folder();
                    let path = folder.join("file");
                    let file = File::create(&path).await.expect("made");
                    drop_in_the_middle(&file, writes, polls).await;
                    if shrinks {
                        soon(file.set_len(0)).await.expect("cut");
                        soon(file.set_len(3 * BLOCK as u64)).await.expect("extended");
                    }
                    let later = vec![5; BLOCK];
                    soon(file.write_all_at(later, 0)).await.0.expect("room");
                    soon(file.sync_data()).await.expect("synced");
                    file.close().await.expect("closed");
                    check(&path, shrinks, &format!("dropped after {writes} writes and {polls} polls"));
                }
            }
        }
    });
}

async fn drop_in_the_middle(file: &File, writes: usize, polls: usize) {
    let mut sink = file.sink(2);
    for _ in 0..writes {
        soon(sink.write(vec![0xff; 2 * BLOCK])).await.expect("room");
    }
    let mut finish = Box::pin(sink.finish());
    for _ in 0..polls {
        if poll_once(&mut finish).await {
            return;
        }
        turn().await;
    }
}

#[track_caller]
fn check(path: &Path, shrinks: bool, when: &str) {
    let found = found_in(path);
    assert!(found[..BLOCK].iter().all(|byte| *byte == 5), "{when}");
    if shrinks {
        assert!(found.len() == 3 * BLOCK && found[BLOCK..].iter().all(|byte| *byte == 0), "{when}, and cut");
    }
}

#[test]
fn a_file_is_copied_by_chunks_and_sink() {
    clean(async || {
        let folder = folder();
        let bytes = counted(1_000_003);
        put_into(folder.join("from"), &bytes);
        let from = File::open(folder.join("from")).await.expect("there");
        let to = File::create(folder.join("to")).await.expect("made");
        let (mut chunks, mut sink) = (from.chunks(65_536, 4), to.sink(4));
        while let Some(block) = soon(chunks.next()).await {
            soon(sink.write(block.expect("read"))).await.expect("room");
        }
        assert_eq!(soon(sink.finish()).await.expect("written"), bytes.len() as u64);
        assert!(found_in(folder.join("to")) == bytes);
    });
}
