//! Syncs that work, and syncs that do not.

use super::*;

fn durable(disk: &Disk, path: &str) -> Answer<Vec<u8>> {
    disk.contents(path.as_bytes(), View::Durable)
}

#[test]
fn syncing_a_file_makes_its_bytes_durable_but_not_its_name() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    write(&mut disk, a, 0, b"abc");
    disk.sync(a, true).unwrap();
    assert_eq!(durable(&disk, "/a"), failed(libc::ENOENT));
    sync_root(&mut disk);
    assert_eq!(durable(&disk, "/a").unwrap(), b"abc");
    write(&mut disk, a, 1, b"x");
    assert_eq!(durable(&disk, "/a").unwrap(), b"abc");
    assert_eq!(seen(&disk, "/a").unwrap(), b"axc");
}

#[test]
fn syncing_a_file_keeps_its_name_where_the_storage_says_so() {
    let mut disk = Disk::new();
    disk.set_storage(Storage::new().sync_keeps_name(true));
    let a = file(&mut disk, "/a");
    disk.rename(b"/a", b"/b", 0, 0).unwrap();
    file(&mut disk, "/c");
    disk.sync(a, true).unwrap();
    assert_eq!(disk.files(View::Durable), [(b"/b".to_vec(), 0)]);
}

#[test]
fn syncing_a_directory_keeps_what_came_before_in_others() {
    let mut disk = Disk::new();
    disk.mkdir(b"/d", 0o755, 0).unwrap();
    let d = disk.open(b"/d", libc::O_RDONLY, 0, 0).unwrap();
    file(&mut disk, "/tmp/before");
    file(&mut disk, "/d/within");
    file(&mut disk, "/tmp/after");
    disk.sync(d, false).unwrap();
    assert_eq!(disk.unsynced_names(), 1);
    let paths: Vec<_> = disk.files(View::Durable).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [&b"/d/within"[..], b"/tmp/before"]);
}

#[test]
fn after_a_failed_sync_the_bytes_are_read_until_the_cache_lets_go_of_them() {
    let mut disk = Disk::new();
    disk.install(b"/a", b"old", 0).unwrap();
    let a = file(&mut disk, "/a");
    write(&mut disk, a, 0, b"new");
    assert_eq!(disk.sync_failures(a), 0);
    disk.fail_sync(a);
    assert_eq!(disk.sync_failures(a), 1);
    assert_eq!(disk.sync(a, false), Ok(()), "the second one says that all is well");
    assert_eq!(durable(&disk, "/a").unwrap(), b"old");
    assert_eq!(read(&mut disk, a, 0, 9), b"new");
    disk.drop_caches();
    assert_eq!(read(&mut disk, a, 0, 9), b"old");
}

#[test]
fn after_a_failed_sync_what_is_written_again_becomes_durable() {
    let mut disk = Disk::new();
    disk.install(b"/a", b"", 0).unwrap();
    let a = file(&mut disk, "/a");
    write(&mut disk, a, 0, &[1; 8192]);
    disk.fail_sync(a);
    write(&mut disk, a, 8000, &[2; 300]);
    disk.sync(a, false).unwrap();
    let expected = [vec![0; 4096], vec![1; 3904], vec![2; 300]].concat();
    assert_eq!(durable(&disk, "/a").unwrap(), expected);
    disk.drop_caches();
    assert_eq!(seen(&disk, "/a").unwrap(), expected);
    assert_eq!(disk.used_bytes(), 8192);
}

#[test]
fn a_failed_sync_keeps_truncations() {
    let mut disk = Disk::new();
    disk.install(b"/a", &[1; 5000], 0).unwrap();
    let a = file(&mut disk, "/a");
    disk.truncate(a, 10, 0).unwrap();
    disk.truncate(a, 4, 0).unwrap();
    disk.fail_sync(a);
    disk.drop_caches();
    disk.truncate(a, 8, 0).unwrap();
    assert_eq!(durable(&disk, "/a").unwrap(), [1; 4]);
    assert_eq!(read(&mut disk, a, 0, 9), [1, 1, 1, 1, 0, 0, 0, 0]);
}

#[test]
fn a_failed_sync_of_a_directory_keeps_nothing_and_a_later_one_does() {
    let mut disk = Disk::new();
    file(&mut disk, "/a");
    disk.fail_sync(ROOT);
    assert_eq!(disk.files(View::Durable), []);
    sync_root(&mut disk);
    assert_eq!(disk.files(View::Durable), [(b"/a".to_vec(), 0)]);
}

#[test]
fn the_kernel_writes_back_on_its_own_when_much_is_dirty() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/a");
    sync_root(&mut disk);
    for number in 0..17 {
        write(&mut disk, a, number << 20, &[1; 1 << 20]);
    }
    assert!(disk.files(View::Durable)[0].1 >= 16 << 20);
    for number in 0..5000 {
        let path = format!("/tmp/{number}");
        let inode = file(&mut disk, &path);
        disk.close(inode);
        disk.unlink(path.as_bytes(), 0).unwrap();
    }
    assert!(disk.unsynced_names() <= 4096 && disk.nodes.len() < 3000);
}
