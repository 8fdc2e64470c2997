//! Room, and what is noted of files: counted, kept at a power loss as far as it was synced.

use super::*;

const PAGE: u64 = 4096;

/// A file of three pages that is durable, with its name.
fn made() -> (Disk, Inode) {
    let mut disk = Disk::new();
    let inode = file(&mut disk, "/f");
    write(&mut disk, inode, 0, &[7; 3 * PAGE as usize]);
    disk.set_extended(inode, b"user.a", b"old", 0, 0).unwrap();
    disk.sync(inode, false).unwrap();
    sync_root(&mut disk);
    (disk, inode)
}

fn punch(disk: &mut Disk, inode: Inode) {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    disk.allocate(inode, mode, 100..2 * PAGE, 0).unwrap();
}

#[test]
fn a_hole_is_there_after_a_power_loss_or_is_not_and_always_if_it_was_synced() {
    let after = |synced: bool| {
        let make = || {
            let (mut disk, inode) = made();
            punch(&mut disk, inode);
            if synced {
                disk.sync(inode, true).unwrap();
            }
            disk
        };
        after_crashes(make, |disk| (seen(disk, "/f").unwrap(), disk.used_bytes()))
    };
    let before = vec![7; 3 * PAGE as usize];
    let mut holed = before.clone();
    holed[100..2 * PAGE as usize].fill(0);
    assert_eq!(after(true), [(holed.clone(), 2 * PAGE)]);
    let bytes: Vec<_> = after(false).into_iter().map(|(bytes, _)| bytes).collect();
    assert_eq!(bytes, [holed, before]);
}

#[test]
fn bytes_that_are_written_into_a_hole_come_after_it() {
    let make = || {
        let (mut disk, inode) = made();
        punch(&mut disk, inode);
        write(&mut disk, inode, 0, &[8; 512]);
        disk
    };
    for bytes in after_crashes(make, |disk| seen(disk, "/f").unwrap()) {
        // The old bytes, the hole, or what was written; never the old ones behind the new.
        let holed = bytes[100..512].iter().all(|byte| *byte == 0);
        assert!(bytes[0] == 7 || bytes[..512] == [8; 512], "{:?}", &bytes[..512]);
        assert!(bytes[600] == 7 || bytes[600] == 0);
        assert!(bytes[0] == 8 || holed || bytes[100..512] == [7; 412]);
        assert!(bytes[0] != 8 || bytes[600] == 0, "the write without the hole before it");
    }
}

#[test]
fn room_is_counted_and_runs_out() {
    let mut disk = Disk::new();
    disk.set_storage(Storage::new().capacity(10 * PAGE));
    let inode = file(&mut disk, "/f");
    disk.allocate(inode, 0, 0..4 * PAGE, 0).unwrap();
    assert_eq!((disk.used_bytes(), disk.len(inode)), (4 * PAGE, 4 * PAGE));
    disk.allocate(inode, libc::FALLOC_FL_KEEP_SIZE, 3 * PAGE..8 * PAGE, 0).unwrap();
    assert_eq!((disk.used_bytes(), disk.len(inode)), (8 * PAGE, 4 * PAGE));
    assert_eq!(disk.allocate(inode, 0, 0..11 * PAGE, 0), failed(libc::ENOSPC));
    assert_eq!((disk.used_bytes(), disk.len(inode)), (8 * PAGE, 4 * PAGE));
    assert_eq!(disk.pages(), (10, 2));
    disk.sync(inode, false).unwrap();
    disk.truncate(inode, PAGE, 0).unwrap();
    assert_eq!(disk.used_bytes(), PAGE);
    assert_eq!(disk.allocate(inode, libc::FALLOC_FL_COLLAPSE_RANGE, 0..PAGE, 0), failed(libc::EOPNOTSUPP));
}

#[test]
fn data_and_holes_are_found() {
    let mut disk = Disk::new();
    let inode = file(&mut disk, "/f");
    write(&mut disk, inode, 5 * PAGE, &[1; 10]);
    disk.truncate(inode, 9 * PAGE, 0).unwrap();
    assert_eq!(disk.seek(inode, 0, true), Ok(5 * PAGE));
    assert_eq!(disk.seek(inode, 5 * PAGE + 3, true), Ok(5 * PAGE + 3));
    assert_eq!(disk.seek(inode, 5 * PAGE, false), Ok(6 * PAGE));
    assert_eq!(disk.seek(inode, 7, false), Ok(7));
    assert_eq!(disk.seek(inode, 6 * PAGE, true), failed(libc::ENXIO));
    assert_eq!(disk.seek(inode, 9 * PAGE, false), failed(libc::ENXIO));
}

#[test]
fn what_is_noted_of_a_file_is_durable_once_it_is_synced() {
    let after = |synced: bool| {
        let make = || {
            let (mut disk, inode) = made();
            disk.set_mode(inode, 0o100, 5).unwrap();
            disk.set_owner(inode, Some(3), None, 5);
            disk.set_times(inode, Some(1), Some(2), 5);
            disk.set_extended(inode, b"user.a", b"new", 0, 5).unwrap();
            disk.set_extended(inode, b"user.b", b"more", libc::XATTR_CREATE, 5).unwrap();
            if synced {
                disk.sync(inode, false).unwrap();
            }
            disk
        };
        after_crashes(make, |disk| {
            let inode = disk.inode_at(b"/f", true).unwrap();
            let stat = disk.stat(inode);
            let times = (stat.accessed_ns, stat.modified_ns);
            (stat.mode & 0o777, stat.user, times, disk.extended(inode, b"user.a").unwrap().to_vec())
        })
    };
    assert_eq!(after(false), [(0o644, 0, (0, 0), b"old".to_vec())]);
    assert_eq!(after(true), [(0o100, 3, (1, 2), b"new".to_vec())]);
}

#[test]
fn a_file_without_a_name_is_gone_when_it_is_closed() {
    let mut disk = Disk::new();
    let unnamed = disk.open(b"/tmp", libc::O_RDWR | libc::O_TMPFILE, 0o600, 0).unwrap();
    write(&mut disk, unnamed, 0, b"bytes");
    disk.close(unnamed);
    assert_eq!(disk.used_bytes(), 0);
    let named = disk.open(b"/tmp", libc::O_RDWR | libc::O_TMPFILE, 0o600, 0).unwrap();
    write(&mut disk, named, 0, b"bytes");
    disk.link_open(named, b"/tmp/name", 0).unwrap();
    disk.close(named);
    assert_eq!(seen(&disk, "/tmp/name"), Ok(b"bytes".to_vec()));
    assert_eq!(disk.open(b"/tmp/name", libc::O_RDWR | libc::O_TMPFILE, 0, 0), failed(libc::ENOTDIR));
}
