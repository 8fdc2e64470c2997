//! What a power loss leaves.

use super::*;

/// A durable file of so many bytes of 1, open.
fn ones(len: usize) -> (Disk, Inode) {
    let mut disk = Disk::new();
    disk.install(b"/a", &vec![1; len], 0).unwrap();
    let a = file(&mut disk, "/a");
    (disk, a)
}

fn contents_of_a(disk: &mut Disk) -> Vec<u8> {
    seen(disk, "/a").unwrap()
}

#[test]
fn what_was_synced_survives() {
    let make = || {
        let mut disk = Disk::new();
        let a = file(&mut disk, "/a");
        write(&mut disk, a, 0, b"abc");
        disk.sync(a, true).unwrap();
        sync_root(&mut disk);
        disk
    };
    assert_eq!(after_crashes(make, contents_of_a), [b"abc"]);
}

#[test]
fn a_write_without_a_sync_survives_by_sectors() {
    let make = || {
        let (mut disk, a) = ones(2048);
        write(&mut disk, a, 500, &[2; 600]);
        disk
    };
    let mut expected: Vec<Vec<u8>> = (0..8)
        .map(|sectors| {
            let mut bytes = vec![1; 2048];
            let ranges = [500..512, 512..1024, 1024..1100];
            let survives = ranges.into_iter().enumerate().filter(|(index, _)| sectors & (1 << index) != 0);
            survives.for_each(|(_, range)| bytes[range].fill(2));
            bytes
        })
        .collect();
    expected.sort();
    assert_eq!(after_crashes(make, contents_of_a), expected);
}

#[test]
fn writes_survive_as_a_whole_where_they_do_not_tear() {
    let make = || {
        let (mut disk, a) = ones(4096);
        disk.set_storage(Storage::new().torn_writes(false));
        write(&mut disk, a, 0, &[2; 2048]);
        write(&mut disk, a, 2048, &[3; 2048]);
        disk
    };
    let both = |first, second| [vec![first; 2048], vec![second; 2048]].concat();
    assert_eq!(after_crashes(make, contents_of_a), [both(1, 1), both(1, 3), both(2, 1), both(2, 3)]);
}

#[test]
fn in_one_sector_a_write_survives_only_with_those_before() {
    for torn in [false, true] {
        let make = || {
            let (mut disk, a) = ones(3);
            disk.set_storage(Storage::new().torn_writes(torn));
            write(&mut disk, a, 0, &[2]);
            write(&mut disk, a, 2, &[3]);
            disk
        };
        assert_eq!(after_crashes(make, contents_of_a), [[1, 1, 1], [2, 1, 1], [2, 1, 3]]);
    }
}

#[test]
fn a_write_beyond_the_end_takes_the_length_along() {
    let make = || {
        let (mut disk, a) = ones(2);
        write(&mut disk, a, 1024, &[2]);
        disk
    };
    let extended = [vec![1; 2], vec![0; 1022], vec![2]].concat();
    assert_eq!(after_crashes(make, contents_of_a), [vec![1; 2], extended]);
}

#[test]
fn what_comes_after_a_lost_truncation_is_lost() {
    let make = || {
        let (mut disk, a) = ones(3);
        disk.truncate(a, 0, 0).unwrap();
        write(&mut disk, a, 0, &[2]);
        disk
    };
    assert_eq!(after_crashes(make, contents_of_a), [vec![], vec![1, 1, 1], vec![2]]);
}

#[test]
fn of_several_truncations_the_first_ones_survive() {
    let make = || {
        let (mut disk, a) = ones(3);
        disk.truncate(a, 1, 0).unwrap();
        disk.truncate(a, 2, 0).unwrap();
        disk
    };
    assert_eq!(after_crashes(make, contents_of_a), [vec![1], vec![1, 0], vec![1, 1, 1]]);
}

#[test]
fn after_a_failed_sync_the_bytes_do_not_survive() {
    let make = || {
        let (mut disk, a) = ones(3);
        write(&mut disk, a, 0, &[2; 3]);
        disk.fail_sync(a);
        disk.sync(a, false).unwrap();
        disk
    };
    assert_eq!(after_crashes(make, contents_of_a), [[1, 1, 1]]);
}

#[test]
fn a_first_part_of_the_names_survives() {
    let make = || {
        let mut disk = Disk::new();
        for path in ["/c", "/a", "/b"] {
            file(&mut disk, path);
        }
        disk.unlink(b"/c", 0).unwrap();
        disk
    };
    let names = |disk: &mut Disk| -> String {
        disk.files(View::Seen).iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()
    };
    assert_eq!(after_crashes(make, names), ["", "/a/b", "/a/b/c", "/a/c", "/c"]);
}

#[test]
fn a_rename_is_there_as_a_whole_or_not_at_all() {
    let make = || {
        let (mut disk, _) = ones(1);
        disk.install(b"/new", &[2], 0).unwrap();
        disk.rename(b"/new", b"/a", 0, 0).unwrap();
        disk
    };
    let state = |disk: &mut Disk| [seen(disk, "/a").ok(), seen(disk, "/new").ok()];
    assert_eq!(after_crashes(make, state), [[Some(vec![1]), Some(vec![2])], [Some(vec![2]), None]]);
}

#[test]
fn a_rename_without_a_sync_of_the_file_may_leave_it_empty() {
    let make = || {
        let (mut disk, _) = ones(1);
        let new = file(&mut disk, "/new");
        write(&mut disk, new, 0, &[2]);
        disk.rename(b"/new", b"/a", 0, 0).unwrap();
        sync_root(&mut disk);
        disk
    };
    assert_eq!(after_crashes(make, contents_of_a), [vec![], vec![2]]);
}

#[test]
fn an_open_file_without_a_name_is_gone() {
    let (mut disk, a) = ones(10);
    disk.unlink(b"/a", 0).unwrap();
    write(&mut disk, a, 0, &[2]);
    assert_eq!(read(&mut disk, a, 0, 2), [2, 1]);
    sync_root(&mut disk);
    disk.crash(&mut Random::new(0));
    assert_eq!((disk.nodes.len(), disk.used_bytes()), (2, 0), "only the directories");
}

#[test]
fn an_unlink_that_is_lost_brings_the_file_back() {
    let make = || {
        let (mut disk, a) = ones(10);
        disk.unlink(b"/a", 0).unwrap();
        disk.close(a);
        assert_eq!(disk.used_bytes(), 0);
        disk
    };
    let state = |disk: &mut Disk| (seen(disk, "/a").ok(), disk.used_bytes());
    assert_eq!(after_crashes(make, state), [(None, 0), (Some(vec![1; 10]), 4096)]);
}

#[test]
fn nothing_is_open_or_cached_afterwards() {
    let (mut disk, a) = ones(10);
    disk.crash(&mut Random::new(0));
    assert_eq!(disk.node(a).opens, 0);
    assert!(!disk.is_cached(a, 0, 1));
    disk.unlink(b"/a", 0).unwrap();
    sync_root(&mut disk);
    assert_eq!(disk.nodes.len(), 2);
    assert!(file(&mut disk, "/b") > a, "numbers are not used again");
}
