//! Short transfers (R60): where the kernel gives and takes only a part each time, all arrives all the same, once and in
//! order. Ends of files are those that a read of nothing tells.

use corering::buf::AlignedBuf;
use corering::fs::{self, DirectFile, File};
use corering::io::prelude::*;
use corering::io::{self, BufReader, BufWriter, SeekFrom};
use corering::sim::{Host, Kernel, World};

use crate::cases::{seeds, tiny};

/// Longer than what any of the calls reads or writes at once, and no multiple of anything.
const LEN: usize = 300_001;

/// Runs a scenario on kernels that cut short all that can be cut: what is cached and what is not.
#[track_caller]
fn cut_short(scenario: impl AsyncFn(Host) -> io::Result<()>) {
    seeds(200, |seed| {
        let kernel = Kernel::new().short_files(1.0).not_cached(if seed % 2 == 0 { 0.0 } else { 0.5 });
        let world = World::new(seed).kernel(kernel).most_turns(1_000_000);
        world.run_on(tiny(), async |world| scenario(world.host("main")).await).unwrap();
    });
}

/// Bytes of which each eight say where they are.
fn counted(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64).flat_map(u64::to_le_bytes).take(bytes).collect()
}

/// Lengths around what is read at once, by pages and in full buffers.
fn lengths() -> impl Iterator<Item = usize> {
    [0, 1, 2, 4095, 4096, 4097, 8192, 65_535, 65_536, 65_537, 131_072, LEN].into_iter()
}

#[test]
fn whole_files_are_read_whole() {
    cut_short(async |host| {
        for len in lengths() {
            let bytes = counted(len);
            host.write_file("/file", &bytes)?;
            assert!(fs::read("/file").await? == bytes, "{len} bytes");
            let (read, buffer) = fs::read_into("/file", Vec::with_capacity(LEN)).await;
            assert!(read? == len && buffer == bytes, "{len} bytes into a buffer");
            let (read, buffer) = fs::read_into("/file", Vec::with_capacity(5000)).await;
            assert!(read? == len.min(5000) && buffer == bytes[..len.min(5000)], "the first of {len} bytes");
            host.write_file("/text", "ä".repeat(len / 2).as_bytes())?;
            assert!(fs::read_to_string("/text").await? == "ä".repeat(len / 2), "{} letters", len / 2);
        }
        Ok(())
    });
}

#[test]
fn whole_files_are_written_whole() {
    cut_short(async |host| {
        for len in lengths() {
            let bytes = counted(len);
            fs::write("/file", bytes.clone()).await?;
            assert!(host.file("/file").expect("there") == bytes, "{len} bytes");
            fs::write_atomic("/atomic", bytes.clone()).await?;
            assert!(host.durable_file("/atomic").expect("there") == bytes, "{len} bytes at once");
        }
        Ok(())
    });
}

#[test]
fn a_copy_is_whole() {
    cut_short(async |host| {
        for len in lengths() {
            let bytes = counted(len);
            host.write_file("/from", &bytes)?;
            assert_eq!(fs::copy("/from", "/to").await?, len as u64);
            assert!(host.file("/to").expect("there") == bytes, "{len} bytes");
            let (mut from, mut to) = (File::open("/from").await?, File::create("/by hand").await?);
            assert_eq!(io::copy(&mut from, &mut to).await?, len as u64);
            assert!(host.file("/by hand").expect("there") == bytes, "{len} bytes by hand");
        }
        Ok(())
    });
}

#[test]
fn blocks_are_full_but_for_the_last_and_in_order() {
    cut_short(async |host| {
        for len in lengths() {
            let bytes = counted(len);
            host.write_file("/file", &bytes)?;
            let (cached, direct) = (File::open("/file").await?, DirectFile::open("/file").await?);
            for mut chunks in [cached.chunks(8192, 3), direct.chunks(8192, 3)] {
                let mut found = Vec::new();
                while let Some(block) = chunks.next().await {
                    let block = block?;
                    assert!(block.offset() == found.len() as u64, "{len} bytes: in order");
                    found.extend_from_slice(&block);
                    assert!(block.len() == 8192 || found.len() == len, "{len} bytes: {block:?} is no full block");
                }
                assert!(found == bytes, "{len} bytes: {} came", found.len());
            }
        }
        Ok(())
    });
}

#[test]
fn a_sink_writes_all_in_order() {
    cut_short(async |host| {
        let bytes = counted(LEN);
        let file = File::create("/file").await?;
        let mut sink = file.sink(4).synced();
        for part in bytes.chunks(10_007) {
            sink.write(part.to_vec()).await?;
        }
        assert_eq!(sink.finish().await?, LEN as u64);
        assert!(host.file("/file").expect("there") == bytes);
        let file = DirectFile::create("/direct").await?;
        let mut sink = file.sink(4);
        for part in bytes[..64 * 4096].chunks(3 * 4096) {
            let mut buffer = AlignedBuf::new(part.len());
            buffer.extend_from_slice(part);
            sink.write(buffer).await?;
        }
        assert_eq!(sink.finish().await?, 64 * 4096);
        assert!(host.file("/direct").expect("there") == bytes[..64 * 4096]);
        Ok(())
    });
}

#[test]
fn what_is_asked_for_at_a_place_is_read_and_written_there() {
    cut_short(async |host| {
        let bytes = counted(LEN);
        host.write_file("/file", &bytes)?;
        let mut file = File::options().read(true).write(true).open("/file").await?;
        let (read, buffer) = file.read_exact_at(Vec::with_capacity(100_000), 77).await;
        read?;
        assert!(buffer == bytes[77..100_077]);
        let (read, buffer) = file.read_exact_at(Vec::with_capacity(100), LEN as u64 - 99).await;
        assert_eq!(read.expect_err("too few").kind(), io::ErrorKind::UnexpectedEof);
        assert!(buffer == bytes[LEN - 99..]);
        file.write_all_at(vec![7; 90_000], 1000).await.0?;
        file.seek(SeekFrom::Start(200_000)).await?;
        file.write_all(vec![8; 50_000]).await.0?;
        assert_eq!(file.position(), 250_000);
        let held = host.file("/file").expect("there");
        assert!(held[..1000] == bytes[..1000] && held[1000..91_000] == [7; 90_000]);
        assert!(held[200_000..250_000] == [8; 50_000] && held[250_000..] == bytes[250_000..]);
        // What promises a part says how long it was.
        let (written, _) = file.write_at(vec![9; 1000], 0).await;
        let (written, held) = (written?, host.file("/file").expect("there"));
        assert!(written < 1000 && held[..written] == [9; 1000][..written] && held[written] != 9);
        let buffers: Vec<Vec<u8>> = (0..3).map(|_| Vec::with_capacity(700)).collect();
        let (read, buffers) = file.read_vectored_at(buffers, 1000).await;
        assert!(read? == buffers.iter().map(Vec::len).sum::<usize>() && buffers.concat().iter().all(|byte| *byte == 7));
        Ok(())
    });
}

#[test]
fn direct_blocks_are_written_whole_and_read_in_whole_blocks() {
    cut_short(async |host| {
        let file = DirectFile::create("/file").await?;
        let mut buffer = AlignedBuf::new(64 * 4096);
        buffer.extend_from_slice(&counted(64 * 4096));
        let (written, mut buffer) = file.write_all_at(buffer, 0).await;
        written?;
        assert!(host.file("/file").expect("there") == counted(64 * 4096));
        file.set_len(64 * 4096 - 100).await?;
        buffer.clear();
        let mut offset = 0;
        loop {
            let (read, back) = file.read_at(buffer, offset).await;
            buffer = back;
            offset += match read? {
                0 => break,
                count => count as u64,
            };
            if offset % file.alignment() as u64 != 0 {
                break;
            }
        }
        assert!(buffer[..] == counted(64 * 4096)[..64 * 4096 - 100]);
        Ok(())
    });
}

#[test]
fn buffered_readers_and_writers_move_all_of_it() {
    cut_short(async |host| {
        let lines: Vec<String> = (0..4000).map(|number| format!("{number}: {}", "x".repeat(number % 150))).collect();
        let mut writer = BufWriter::new(File::create("/file").await?);
        for line in &lines {
            writer.write_all(format!("{line}\n").as_bytes()).await?;
        }
        writer.flush().await?;
        assert!(host.file("/file").expect("there") == format!("{}\n", lines.join("\n")).into_bytes());
        let mut reader = BufReader::new(File::open("/file").await?);
        let mut found = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line).await? > 0 {
            found.push(line.strip_suffix('\n').expect("a whole line").to_owned());
            line.clear();
        }
        assert!(found == lines);
        let mut reader = BufReader::new(File::open("/file").await?);
        let mut first = [0; 100_000];
        reader.read_exact(&mut first).await?;
        assert!(first == host.file("/file").expect("there")[..100_000]);
        Ok(())
    });
}
