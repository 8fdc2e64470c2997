//! Reads, writes, lengths, room and the cache.

use super::*;

#[test]
fn what_is_written_is_read_back_across_pages() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    let bytes: Vec<u8> = (0..10_000_u32).map(|number| number as u8 ^ (number >> 8) as u8).collect();
    write(&mut disk, a, 3000, &bytes);
    assert_eq!(disk.len(a), 13_000);
    assert_eq!(read(&mut disk, a, 3000, 20_000), bytes);
    assert_eq!(read(&mut disk, a, 2999, 2), [0, bytes[0]]);
    assert_eq!(read(&mut disk, a, 13_000, 5), []);
    assert_eq!(read(&mut disk, a, u64::MAX, 5), []);
}

#[test]
fn holes_are_zeroes_and_take_no_room() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    write(&mut disk, a, 1 << 40, b"x");
    assert_eq!(read(&mut disk, a, 5000, 3), [0; 3]);
    assert_eq!(disk.used_bytes(), 4096);
    assert_eq!((disk.stat(a).size, disk.stat(a).blocks), ((1 << 40) + 1, 8));
}

#[test]
fn bytes_that_were_cut_off_do_not_come_back() {
    for synced in [false, true] {
        let mut disk = Disk::new();
        let a = file(&mut disk, "/a");
        write(&mut disk, a, 0, &[7; 10_000]);
        if synced {
            disk.sync(a, false).unwrap();
            disk.drop_caches();
        }
        disk.truncate(a, 5000, 0).unwrap();
        disk.truncate(a, 10_000, 0).unwrap();
        let expected = [vec![7; 5000], vec![0; 5000]].concat();
        assert_eq!(read(&mut disk, a, 0, 20_000), expected);
        assert_eq!(disk.used_bytes(), 8192);
        disk.sync(a, false).unwrap();
        disk.drop_caches();
        assert_eq!(read(&mut disk, a, 0, 20_000), expected);
        assert_eq!(disk.used_bytes(), 8192);
    }
}

#[test]
fn appends_go_to_the_end() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    write(&mut disk, a, 0, b"one");
    assert_eq!(disk.append(a, b"two", 0), Ok(3));
    assert_eq!(seen(&disk, "/a").unwrap(), b"onetwo");
}

#[test]
fn a_full_disk_takes_a_part_and_then_nothing() {
    let mut disk = Disk::new();
    disk.set_storage(Storage::new().capacity(3 * 4096));
    let a = file(&mut disk, "/a");
    let b = file(&mut disk, "/b");
    write(&mut disk, a, 0, &[1; 4096]);
    assert_eq!(disk.write(b, 100, &[2; 20_000], 0), Ok(8192 - 100));
    assert_eq!(disk.write(b, 8192, b"x", 0), failed(libc::ENOSPC));
    assert_eq!(disk.write(b, 8000, &[3; 300], 0), Ok(192));
    assert_eq!(disk.len(b), 8192);
    disk.truncate(a, 0, 0).unwrap();
    assert_eq!(disk.write(b, 8192, b"x", 0), Ok(1));
    disk.unlink(b"/b", 0).unwrap();
    assert_eq!(disk.used_bytes(), 3 * 4096, "it is open");
    disk.close(b);
    assert_eq!(disk.used_bytes(), 0);
    write(&mut disk, a, 0, &[1; 3 * 4096]);
}

#[test]
fn a_file_is_not_longer_than_a_file_can_be() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    assert_eq!(disk.write(a, LONGEST_FILE - 2, b"abc", 0), Ok(2));
    assert_eq!(disk.write(a, LONGEST_FILE, b"c", 0), failed(libc::EFBIG));
    assert_eq!(disk.write(a, LONGEST_FILE, b"", 0), Ok(0));
    assert_eq!(disk.truncate(a, LONGEST_FILE + 1, 0), failed(libc::EFBIG));
}

#[test]
fn a_read_without_waiting_ends_at_the_first_page_that_is_not_in_memory() {
    let mut disk = Disk::new();
    disk.install(b"/a", &[5; 10_000], 0).unwrap();
    disk.drop_caches();
    let a = file(&mut disk, "/a");
    let mut room = [0; 10_000];
    assert_eq!(disk.read_cached(a, 0, &mut room), Ok(None));
    assert!(!disk.is_cached(a, 0, 1));
    read(&mut disk, a, 4096, 1);
    assert!(disk.is_cached(a, 4096, 4096) && !disk.is_cached(a, 4096, 4097));
    assert_eq!(disk.read_cached(a, 5000, &mut room), Ok(Some(3192)));
    assert_eq!(room[3191..3193], [5, 0]);
    assert_eq!(disk.read_cached(a, 10_000, &mut room), Ok(Some(0)), "the end of the file needs no disk");
}

#[test]
fn dirty_pages_stay_in_memory() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    write(&mut disk, a, 0, b"x");
    disk.drop_caches();
    assert!(disk.is_cached(a, 0, 1));
    disk.sync(a, true).unwrap();
    disk.drop_caches();
    assert!(!disk.is_cached(a, 0, 1));
    assert_eq!(read(&mut disk, a, 0, 9), b"x");
}

#[test]
fn directories_have_no_bytes() {
    let mut disk = Disk::new();
    let tmp = disk.open(b"/tmp", libc::O_RDONLY, 0, 0).unwrap();
    assert_eq!(disk.read(tmp, 0, &mut [0]), failed(libc::EISDIR));
    assert_eq!(disk.read_cached(tmp, 0, &mut [0]), failed(libc::EISDIR));
    assert_eq!(disk.truncate(tmp, 0, 0), failed(libc::EINVAL));
}

#[test]
fn a_damaged_byte_is_read_and_survives() {
    let mut disk = Disk::new();
    disk.install(b"/a", &[1; 5000], 0).unwrap();
    disk.damage(b"/a", 4500, 0x80).unwrap();
    assert_eq!(disk.damage(b"/a", 5000, 1), failed(libc::EINVAL));
    let mut expected = vec![1; 5000];
    expected[4500] = 0x81;
    assert_eq!(seen(&disk, "/a").unwrap(), expected);
    disk.crash(&mut Random::new(1));
    assert_eq!(seen(&disk, "/a").unwrap(), expected);
}

#[test]
fn what_a_file_is_like_follows_what_is_done_to_it() {
    let mut disk = Disk::new();
    let a = disk.open(b"/a", READ_WRITE, 0o640, 10).unwrap();
    disk.write(a, 0, b"x", 20).unwrap();
    disk.link(b"/a", b"/b", false, 30).unwrap();
    let stat = disk.stat_path(b"/b", true).unwrap();
    assert_eq!((stat.inode, stat.mode, stat.links, stat.size), (a, libc::S_IFREG | 0o640, 2, 1));
    assert_eq!((stat.born_ns, stat.accessed_ns, stat.modified_ns, stat.changed_ns), (10, 10, 20, 30));
    disk.mkdir(b"/d", 0o755, 40).unwrap();
    disk.mkdir(b"/d/e", 0o755, 50).unwrap();
    let stat = disk.stat_path(b"/d", true).unwrap();
    assert_eq!((stat.mode, stat.links, stat.modified_ns), (libc::S_IFDIR | 0o755, 3, 50));
}
