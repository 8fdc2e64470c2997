//! Paths and names, with Linux's errors.

use super::*;

fn names(disk: &Disk, directory: Inode) -> Vec<String> {
    let entries = disk.read_dir(directory).unwrap();
    entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect()
}

/// "/d" with a file "f" and a directory "e", and links to all of them in "/".
fn furnished() -> Disk {
    let mut disk = Disk::new();
    disk.mkdir(b"/d", 0o755, 0).unwrap();
    disk.mkdir(b"/d/e", 0o755, 0).unwrap();
    let f = file(&mut disk, "/d/f");
    write(&mut disk, f, 0, b"f");
    disk.close(f);
    for (target, link) in [("d", "/to_d"), ("/d/f", "/to_f"), ("d/e/", "/to_e"), ("nothing", "/dangling")] {
        disk.symlink(target.as_bytes(), link.as_bytes(), 0).unwrap();
    }
    disk.symlink(b"round", b"/round", 0).unwrap();
    disk
}

fn found(disk: &Disk, path: &str) -> Answer<Inode> {
    disk.stat_path(path.as_bytes(), true).map(|stat| stat.inode)
}

#[test]
fn all_ways_to_a_file_lead_to_it() {
    let disk = furnished();
    let f = found(&disk, "/d/f").unwrap();
    for path in ["d/f", "//d///f", "/./d/./f", "/d/e/../f", "/../../d/f", "/to_d/f", "/to_f", "/to_e/../f"] {
        assert_eq!(found(&disk, path), Ok(f), "{path}");
    }
    for path in ["/", "/.", "/..", "///", "."] {
        assert_eq!(found(&disk, path), Ok(ROOT), "{path}");
    }
    assert_eq!(found(&disk, "/to_d/."), found(&disk, "/d/"));
}

#[test]
fn ways_that_lead_nowhere_say_why() {
    let disk = furnished();
    let long = format!("/{}", "x".repeat(256));
    let very_long = "/".repeat(4096);
    for (path, error) in [
        ("", libc::ENOENT),
        ("/x", libc::ENOENT),
        ("/x/y", libc::ENOENT),
        ("/dangling", libc::ENOENT),
        ("/d/f/", libc::ENOTDIR),
        ("/d/f/.", libc::ENOTDIR),
        ("/d/f/x", libc::ENOTDIR),
        ("/to_f/", libc::ENOTDIR),
        ("/round", libc::ELOOP),
        (&long, libc::ENAMETOOLONG),
        (&very_long, libc::ENAMETOOLONG),
    ] {
        assert_eq!(found(&disk, path), failed(error), "{path}");
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let mut disk = Disk::new();
    let a = file(&mut disk, "/0");
    for number in 1..=41 {
        disk.symlink((number - 1).to_string().as_bytes(), format!("/{number}").as_bytes(), 0).unwrap();
    }
    assert_eq!(found(&disk, "/40"), Ok(a));
    assert_eq!(found(&disk, "/41"), failed(libc::ELOOP));
}

#[test]
fn an_open_says_why_it_cannot() {
    let mut disk = furnished();
    let new = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    for (path, flags, error) in [
        ("/x", libc::O_RDWR, libc::ENOENT),
        ("/x/y", READ_WRITE, libc::ENOENT),
        ("/x/", READ_WRITE, libc::EISDIR),
        ("/d", READ_WRITE, libc::EISDIR),
        ("/d", libc::O_WRONLY, libc::EISDIR),
        ("/d", libc::O_RDONLY | libc::O_CREAT, libc::EISDIR),
        ("/d", libc::O_RDONLY | libc::O_TRUNC, libc::EISDIR),
        ("/..", READ_WRITE, libc::EISDIR),
        ("/..", new, libc::EEXIST),
        ("/d/f", new, libc::EEXIST),
        ("/dangling", new, libc::EEXIST),
        ("/d/f", libc::O_RDONLY | libc::O_DIRECTORY, libc::ENOTDIR),
        ("/d/f", READ_WRITE | libc::O_DIRECTORY, libc::EINVAL),
        ("/to_f", libc::O_RDONLY | libc::O_NOFOLLOW, libc::ELOOP),
        ("/to_d", libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_DIRECTORY, libc::ENOTDIR),
        ("/tmp", libc::O_TMPFILE, libc::EINVAL),
    ] {
        assert_eq!(disk.open(path.as_bytes(), flags, 0o644, 0), failed(error), "{path} {flags:o}");
    }
    assert!(disk.open(b"/to_d/", libc::O_RDONLY | libc::O_NOFOLLOW, 0, 0).is_ok());
}

#[test]
fn an_open_creates_through_a_link_and_truncates_what_is_there() {
    let mut disk = furnished();
    let made = file(&mut disk, "/dangling");
    assert_eq!(found(&disk, "/nothing"), Ok(made));
    disk.open(b"/to_f", libc::O_WRONLY | libc::O_TRUNC, 0, 0).unwrap();
    assert_eq!(seen(&disk, "/d/f").unwrap(), b"");
}

#[test]
fn removals_say_why_they_cannot() {
    let mut disk = furnished();
    for (path, error) in [
        ("/d", libc::EISDIR),
        ("/d/", libc::EISDIR),
        ("/d/f/", libc::ENOTDIR),
        ("/to_d/", libc::ENOTDIR),
        ("/x", libc::ENOENT),
        ("/.", libc::EISDIR),
    ] {
        assert_eq!(disk.unlink(path.as_bytes(), 0), failed(error), "{path}");
    }
    for (path, error) in [
        ("/d", libc::ENOTEMPTY),
        ("/d/f", libc::ENOTDIR),
        ("/to_d/", libc::ENOTDIR),
        ("/x", libc::ENOENT),
        ("/d/.", libc::EINVAL),
        ("/d/..", libc::ENOTEMPTY),
        ("/", libc::EBUSY),
    ] {
        assert_eq!(disk.rmdir(path.as_bytes(), 0), failed(error), "{path}");
    }
    disk.rmdir(b"/d/e/", 0).unwrap();
    disk.unlink(b"/to_f", 0).unwrap();
    assert_eq!(seen(&disk, "/d/f").unwrap(), b"f");
}

#[test]
fn a_name_is_made_only_where_there_is_none() {
    let mut disk = furnished();
    for path in ["/d", "/d/f", "/dangling", "/", "/d/."] {
        assert_eq!(disk.mkdir(path.as_bytes(), 0o755, 0), failed(libc::EEXIST), "{path}");
        assert_eq!(disk.symlink(b"x", path.as_bytes(), 0), failed(libc::EEXIST), "{path}");
        assert_eq!(disk.link(b"/d/f", path.as_bytes(), false, 0), failed(libc::EEXIST), "{path}");
    }
    assert_eq!(disk.symlink(b"x", b"/new/", 0), failed(libc::ENOENT));
    assert_eq!(disk.symlink(b"", b"/new", 0), failed(libc::ENOENT));
    assert_eq!(disk.link(b"/d", b"/new", false, 0), failed(libc::EPERM));
    assert_eq!(disk.mkdir(b"/new/", 0o755, 0), Ok(()));
}

#[test]
fn a_second_name_is_as_good_as_the_first() {
    let mut disk = furnished();
    disk.link(b"/to_f", b"/second", true, 0).unwrap();
    disk.link(b"/to_f", b"/link", false, 0).unwrap();
    disk.unlink(b"/d/f", 0).unwrap();
    assert_eq!(seen(&disk, "/second").unwrap(), b"f");
    assert_eq!(disk.readlink(b"/link").unwrap(), b"/d/f");
    assert_eq!(disk.readlink(b"/second"), failed(libc::EINVAL));
}

#[test]
fn a_rename_replaces_keeps_or_exchanges() {
    let mut disk = furnished();
    let (f, d) = (found(&disk, "/d/f"), found(&disk, "/d"));
    let other = file(&mut disk, "/other");
    assert_eq!(disk.rename(b"/d/f", b"/other", libc::RENAME_NOREPLACE, 0), failed(libc::EEXIST));
    disk.rename(b"/d/f", b"/other", libc::RENAME_EXCHANGE, 0).unwrap();
    assert_eq!((found(&disk, "/other"), found(&disk, "/d/f")), (f, Ok(other)));
    disk.rename(b"/d/f", b"/other", 0, 0).unwrap();
    assert_eq!((found(&disk, "/other"), found(&disk, "/d/f")), (Ok(other), failed(libc::ENOENT)));
    disk.rename(b"/d", b"/tmp/moved/", 0, 0).unwrap();
    assert_eq!(found(&disk, "/tmp/moved"), d);
    disk.link(b"/other", b"/same", false, 0).unwrap();
    disk.rename(b"/other", b"/same", 0, 0).unwrap();
    assert_eq!(found(&disk, "/other"), Ok(other), "two names of one file stay");
}

#[test]
fn a_rename_says_why_it_cannot() {
    let mut disk = furnished();
    let exchange = libc::RENAME_EXCHANGE;
    for (old, new, flags, error) in [
        ("/x", "/y", 0, libc::ENOENT),
        ("/d/f", "/d/e", 0, libc::EISDIR),
        ("/d/e", "/d/f", 0, libc::ENOTDIR),
        ("/tmp", "/d", 0, libc::ENOTEMPTY),
        ("/d", "/d/e/x", 0, libc::EINVAL),
        ("/d", "/d/x", 0, libc::EINVAL),
        ("/d/e", "/d", 0, libc::ENOTEMPTY),
        ("/d/e", "/d", exchange, libc::EINVAL),
        ("/d", "/x", exchange, libc::ENOENT),
        ("/d/f/", "/x", 0, libc::ENOTDIR),
        ("/d/f", "/x/", 0, libc::ENOTDIR),
        ("/d/.", "/x", 0, libc::EBUSY),
        ("/d", "/", 0, libc::EBUSY),
        ("/d", "/", libc::RENAME_NOREPLACE, libc::EEXIST),
        ("/d", "/x", exchange | libc::RENAME_NOREPLACE, libc::EINVAL),
        ("/d", "/x", libc::RENAME_WHITEOUT, libc::EINVAL),
    ] {
        assert_eq!(disk.rename(old.as_bytes(), new.as_bytes(), flags, 0), failed(error), "{old} {new}");
    }
    assert_eq!(disk.unsynced_names(), 8, "nothing has changed");
}

#[test]
fn a_directory_lists_its_names_in_the_order_of_their_making() {
    let mut disk = furnished();
    let d = disk.open(b"/d", libc::O_RDONLY, 0, 0).unwrap();
    file(&mut disk, "/d/a");
    assert_eq!(names(&disk, d), ["e", "f", "a"]);
    let formats: Vec<_> = disk.read_dir(d).unwrap().iter().map(|entry| entry.format).collect();
    assert_eq!(formats, [libc::S_IFDIR, libc::S_IFREG, libc::S_IFREG]);
    let a = file(&mut disk, "/d/a");
    assert_eq!(disk.read_dir(a), failed(libc::ENOTDIR));
}

#[test]
fn a_directory_that_was_removed_is_empty_while_it_is_open() {
    let mut disk = furnished();
    let e = disk.open(b"/d/e", libc::O_RDONLY, 0, 0).unwrap();
    disk.rmdir(b"/d/e", 0).unwrap();
    disk.sync_all();
    assert_eq!(disk.stat(e).links, 0);
    assert!(names(&disk, e).is_empty());
    let nodes = disk.nodes.len();
    disk.close(e);
    assert_eq!(disk.nodes.len(), nodes - 1);
}
