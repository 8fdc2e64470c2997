//! Many seeds: random programs against models that are plainly right.

use std::collections::BTreeSet;

use super::*;

/// A file as its bytes, and all that each byte has been since it was synced.
#[derive(Clone, Default)]
struct Model {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Of each place, what was written there since the sync, or that it was cut off (0).
    since: Vec<Bytes>,
    /// The lengths since the sync, from the shortest to the longest.
    lens: (usize, usize),
}

/// A set of bytes.
#[derive(Clone, Copy, Default)]
struct Bytes([u64; 4]);

impl Bytes {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn contains(self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

impl Model {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.extend(end);
        self.bytes[offset..end].copy_from_slice(bytes);
        for (place, byte) in self.since[offset..end].iter_mut().zip(bytes) {
            place.insert(*byte);
        }
    }

    fn truncate(&mut self, len: usize) {
        for place in self.since.iter_mut().skip(len) {
            place.insert(0);
        }
        self.bytes.truncate(len);
        self.extend(len);
        self.lens.0 = self.lens.0.min(len);
    }

    fn extend(&mut self, len: usize) {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        if self.since.len() < len {
            self.since.resize(len, Bytes([1, 0, 0, 0]));
        }
        self.lens.1 = self.lens.1.max(len);
    }

    fn synced(bytes: Vec<u8>) -> Self {
        let since = vec![Bytes::default(); bytes.len()];
        Self { durable: bytes.clone(), since, lens: (bytes.len(), bytes.len()), bytes }
    }

    fn check_crashed(&self, left: &[u8]) {
        assert!((self.lens.0..=self.lens.1).contains(&left.len()), "{} is not within {:?}", left.len(), self.lens);
        for (at, byte) in left.iter().enumerate() {
            let kept = *byte == self.durable.get(at).copied().unwrap_or(0);
            assert!(kept || self.since[at].contains(*byte), "at {at}: {byte}, it was never there");
        }
    }
}

const FILES: [&str; 2] = ["/a", "/b"];

/// A few steps with two files; the disk and the models go together, or this fails.
fn step(disk: &mut Disk, open: &[Inode], models: &mut [Model], random: &mut Random) {
    let which = random.below(2) as usize;
    let (inode, model) = (open[which], &mut models[which]);
    // Often at the borders of sectors and pages.
    let offset = match random.below(3) {
        0 => random.below(24) * 512,
        _ => random.below(12_000),
    };
    let longest = if random.below(4) == 0 { 6000 } else { 700 };
    let len = random.within(1..=longest) as usize;
    match random.below(16) {
        0..6 => {
            let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            write(disk, inode, offset, &bytes);
            model.write(offset as usize, &bytes);
        }
        6 => {
            let bytes = vec![random.next() as u8; len];
            assert_eq!(disk.append(inode, &bytes, 0), Ok(len));
            model.write(model.bytes.len(), &bytes);
        }
        7 => {
            disk.truncate(inode, offset, 0).unwrap();
            model.truncate(offset as usize);
        }
        8 | 9 => {
            disk.sync(inode, random.below(2) == 0).unwrap();
            *model = Model::synced(std::mem::take(&mut model.bytes));
        }
        10 => disk.drop_caches(),
        11 => {
            let mut room = vec![0; len];
            let cached = disk.read_cached(inode, offset, &mut room).unwrap();
            assert!(!disk.is_cached(inode, offset, len) || cached.is_some());
            let rest = model.bytes.get(offset as usize..).unwrap_or_default();
            room.truncate(cached.unwrap_or(0));
            assert_eq!(room, rest[..room.len()]);
        }
        _ => {
            let rest = model.bytes.get(offset as usize..).unwrap_or_default();
            assert!(read(disk, inode, offset, len) == rest[..rest.len().min(len)]);
        }
    }
}

/// Runs a disk through many steps and power losses; its contents after each of them.
fn run(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut disk = Disk::new();
    disk.set_storage(Storage::new().torn_writes(seed % 2 == 0));
    let mut models = vec![Model::default(); 2];
    let mut history = Vec::new();
    let _ = FILES.map(|path| file(&mut disk, path));
    sync_root(&mut disk);
    for _ in 0..4 {
        let open = FILES.map(|path| file(&mut disk, path));
        for _ in 0..random.below(40) {
            step(&mut disk, &open, &mut models, &mut random);
        }
        for (path, model) in FILES.iter().zip(&models) {
            assert!(seen(&disk, path).unwrap() == model.bytes);
            assert!(disk.contents(path.as_bytes(), View::Durable).unwrap() == model.durable);
        }
        let used = disk.used_bytes();
        disk.drop_caches();
        assert_eq!(used, disk.used_bytes());
        disk.crash(&mut random);
        for (path, model) in FILES.iter().zip(&mut models) {
            let left = seen(&disk, path).unwrap();
            model.check_crashed(&left);
            *model = Model::synced(left.clone());
            history.push(left);
        }
    }
    history
}

#[test]
fn files_are_as_vectors_of_bytes_and_after_a_crash_hold_nothing_that_was_never_there() {
    for seed in 0..200 {
        run(seed);
    }
}

#[test]
fn the_same_seed_loses_the_same() {
    let runs: Vec<_> = (0..10).map(run).collect();
    assert!(runs == (0..10).map(run).collect::<Vec<_>>());
    assert!(runs[0] != runs[1]);
}

#[test]
fn whatever_fails_no_byte_is_read_that_was_never_written_there() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut disk = Disk::new();
        file(&mut disk, "/a");
        sync_root(&mut disk);
        let mut ever = vec![Bytes([1, 0, 0, 0]); 20_000];
        for _ in 0..4 {
            let a = file(&mut disk, "/a");
            for _ in 0..random.below(40) {
                let offset = random.below(15_000);
                match random.below(8) {
                    0..4 => {
                        let bytes: Vec<u8> = (0..random.within(1..=5000)).map(|_| random.next() as u8).collect();
                        write(&mut disk, a, offset, &bytes);
                        ever[offset as usize..].iter_mut().zip(&bytes).for_each(|(place, byte)| place.insert(*byte));
                    }
                    4 => disk.truncate(a, offset, 0).unwrap(),
                    5 => disk.sync(a, true).unwrap(),
                    6 => disk.fail_sync(a),
                    _ => disk.drop_caches(),
                }
                let bytes = read(&mut disk, a, 0, 20_000);
                assert!(bytes.iter().zip(&ever).all(|(byte, place)| place.contains(*byte)), "seed {seed}");
            }
            disk.crash(&mut random);
        }
        disk.unlink(b"/a", 0).unwrap();
        assert_eq!(disk.used_bytes(), 0);
    }
}

/// The tree as text: each path with its kind, its number, and what a link says.
fn tree(disk: &Disk) -> Vec<String> {
    let paths = disk.all_paths(View::Seen);
    let line = |(path, inode): (&Vec<u8>, &Inode)| {
        let stat = disk.stat(*inode);
        format!("{} {} {:o} {}", String::from_utf8_lossy(path), inode.0, stat.mode, stat.links)
    };
    paths.iter().map(line).collect()
}

/// One random change of names, which may fail.
fn change_names(disk: &mut Disk, open: &mut Vec<Inode>, random: &mut Random) {
    let mut path = || {
        let depth = random.within(1..=3);
        (0..depth).map(|_| ["/a", "/b", "/c"][random.below(3) as usize]).collect::<String>().into_bytes()
    };
    let (one, other) = (path(), path());
    match random.below(10) {
        0 | 1 => {
            let _ = disk.mkdir(&one, 0o755, 0);
        }
        2 | 3 => {
            if let Ok(inode) = disk.open(&one, READ_WRITE, 0o644, 0) {
                let _ = disk.write(inode, 0, &[1; 5000], 0);
                open.push(inode);
            }
        }
        4 => drop(disk.unlink(&one, 0)),
        5 => drop(disk.rmdir(&one, 0)),
        6 => drop(disk.link(&one, &other, false, 0)),
        7 => drop(disk.symlink(&other, &one, 0)),
        _ => {
            let flags = [0, 0, libc::RENAME_NOREPLACE, libc::RENAME_EXCHANGE][random.below(4) as usize];
            let _ = disk.rename(&one, &other, flags, 0);
        }
    }
    if random.below(3) == 0 && !open.is_empty() {
        let which = random.below(open.len() as u64) as usize;
        disk.close(open.swap_remove(which));
    }
}

#[test]
fn after_a_crash_the_names_are_as_they_were_at_some_time_since_the_sync() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut disk = Disk::new();
        for _ in 0..3 {
            let mut open = Vec::new();
            let mut history = vec![tree(&disk)];
            for _ in 0..random.below(60) {
                let before = disk.unsynced_names();
                change_names(&mut disk, &mut open, &mut random);
                if disk.unsynced_names() > before {
                    history.push(tree(&disk));
                }
                if random.below(20) == 0 {
                    sync_root(&mut disk);
                }
                // What was synced is not lost: the last state of that is the first that may be left.
                history.drain(..history.len() - 1 - disk.unsynced_names());
                assert_eq!(history.last(), Some(&tree(&disk)));
            }
            let used = disk.used_bytes();
            disk.count_used();
            assert_eq!(used, disk.used_bytes());
            disk.crash(&mut random);
            let left = tree(&disk);
            assert!(history.contains(&left), "seed {seed}: {left:#?}");
        }
        disk.sync_all();
        let names: BTreeSet<_> = disk.all_paths(View::Seen).into_values().chain([ROOT]).collect();
        assert_eq!(disk.nodes.len(), names.len(), "nobody else is kept");
    }
}
