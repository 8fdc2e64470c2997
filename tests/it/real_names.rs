//! Names and what is noted of files, as only this machine has them: devices, /proc, other users, full disks, limits, and
//! other threads that change names meanwhile.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corering::fs::{self, Access, Dir, File, FileTimes, Permissions};
use corering::op::plain::{self, Lock};
use corering::op::{Descriptor, Op, OpenAt, Read, Stat};

use crate::{clean, folder, poll_once, run, soon};

#[test]
fn devices_pipes_sockets_and_what_proc_has_are_told_apart() {
    clean(async || {
        let folder = folder();
        let null = soon(fs::metadata("/dev/null")).await.expect("there");
        assert!(null.is_char_device() && !null.is_block_device());
        assert_eq!(null.rdev(), libc::makedev(1, 3));
        let pipe = CString::new(folder.join("pipe").as_os_str().as_bytes()).expect("no zero byte");
        // SAFETY: a path that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        assert!(fs::metadata(folder.join("pipe")).await.expect("there").is_fifo());
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).expect("free");
        let socket = fs::metadata(folder.join("socket")).await.expect("there");
        assert!(socket.is_socket() && format!("{:?}", socket.file_type()) == "socket");
        assert!(fs::metadata("/proc").await.expect("there").is_mount_root().unwrap_or(true));
        assert!(!fs::metadata(folder.path()).await.expect("there").is_mount_root().unwrap_or(false));
        let own = std::env::current_exe().expect("known");
        assert_eq!(soon(fs::read_link("/proc/self/exe")).await.expect("a link"), own);
        assert_eq!(soon(fs::canonicalize("/proc/self/exe")).await.expect("there"), own.canonicalize().expect("there"));
        let std = std::fs::metadata(&own).expect("there");
        let metadata = fs::metadata(&own).await.expect("there");
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!((metadata.ino(), metadata.dev(), metadata.len()), (std.ino(), std.dev(), std.len()));
        assert_eq!((metadata.blksize(), metadata.blocks()), (std.blksize(), std.blocks()));
        assert_eq!(metadata.modified(), std.modified().expect("known"));
        // Nothing here can be changed, and nothing hangs.
        for path in ["/proc/self/status", "/sys/kernel"] {
            assert!(soon(fs::remove_file(path)).await.is_err());
            assert!(soon(fs::rename(path, "/proc/x")).await.is_err());
            assert!(soon(fs::set_xattr(path, "user.a", "x")).await.is_err());
        }
        for file in [File::open("/dev/null").await.expect("there"), File::open("/proc/version").await.expect("there")] {
            assert!(!file.is_terminal());
            assert!(soon(file.punch_hole(0, 10)).await.is_err());
            file.close().await.expect("closed");
        }
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/ptmx");
        if let Ok(terminal) = terminal {
            assert!(File::from_std(terminal).is_terminal());
        } else {
            println!("SKIPPED: no terminals here");
        }
    });
}

#[test]
fn names_that_are_not_text_are_names() {
    clean(async || {
        let folder = folder();
        let strange = folder.join(OsStr::from_bytes(b"\xff\xfe new\nline \xc3"));
        let other = folder.join(OsStr::from_bytes(b"\x80"));
        soon(fs::write(&strange, "x")).await.expect("written");
        soon(fs::rename(&strange, &other)).await.expect("there");
        soon(fs::symlink(&other, &strange)).await.expect("free");
        assert_eq!(soon(fs::read_link(&strange)).await.expect("a link"), other);
        assert_eq!(soon(fs::canonicalize(&strange)).await.expect("there"), other.canonicalize().expect("there"));
        let dir = Dir::open(folder.path()).await.expect("there");
        soon(dir.remove_file(OsStr::from_bytes(b"\x80"))).await.expect("there");
        assert!(fs::symlink_metadata(&other).await.is_err());
        let name = OsStr::from_bytes(b"user.\xff");
        soon(fs::set_xattr(folder.path(), name, "x")).await.expect("a disk that has them");
        assert_eq!(fs::list_xattr(folder.path()).await.expect("known"), [name]);
    });
}

#[test]
fn no_open_leaves_the_directory_though_links_are_swapped_under_it() {
    const ROUNDS: usize = 3000;
    let folder = folder();
    for dir in ["root/way", "outside"] {
        std::fs::create_dir_all(folder.join(dir)).expect("room");
    }
    std::fs::write(folder.join("root/way/file"), "inside").expect("room");
    std::fs::write(folder.join("outside/file"), "outside").expect("room");
    std::os::unix::fs::symlink("../outside", folder.join("root/link")).expect("free");
    let over = Arc::new(AtomicBool::new(false));
    let attacker = std::thread::spawn({
        let (over, root) = (over.clone(), folder.join("root"));
        move || {
            let path = |name: &str| CString::new(root.join(name).as_os_str().as_bytes()).expect("no zero byte");
            let (way, link) = (path("way"), path("link"));
            while !over.load(Ordering::Relaxed) {
                let (cwd, exchange) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
                // SAFETY: two paths that end with a zero.
                let result =
                    unsafe { libc::syscall(libc::SYS_renameat2, cwd, way.as_ptr(), cwd, link.as_ptr(), exchange) };
                assert_eq!(result, 0);
            }
        }
    });
    clean(async || {
        let root = Dir::open(folder.join("root")).await.expect("there");
        let (mut opened, mut refused) = (0, 0);
        for round in 0..ROUNDS {
            match soon(root.open_file("way/file")).await {
                Ok(file) => {
                    let (read, bytes) = file.read_at(Vec::with_capacity(10), 0).await;
                    assert_eq!((read.expect("read"), &bytes[..]), (6, &b"inside"[..]));
                    opened += 1;
                }
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
                    refused += 1;
                }
            }
            if round % 8 == 0 {
                // What is made and removed stays within, too.
                if soon(root.create_dir("way/made")).await.is_ok() {
                    drop(soon(root.remove_dir("link/made")).await);
                    drop(soon(root.remove_dir("way/made")).await);
                }
                assert!(!folder.join("outside/made").exists());
            }
        }
        assert_eq!(opened + refused, ROUNDS);
        assert!(opened > 0, "it was always a link");
        root.close().await.expect("closed");
    });
    over.store(true, Ordering::Relaxed);
    attacker.join().expect("no panic");
    assert_eq!(std::fs::read_dir(folder.join("outside")).expect("there").count(), 1);
}

/// Runs a body on a thread that has the rights of nobody. False if that cannot be.
fn as_nobody(body: impl FnOnce() + Send + 'static) -> bool {
    const NOBODY: libc::c_long = 65534;
    let thread = std::thread::spawn(move || {
        // The system's own calls change this thread alone; those of the C library would change all of them.
        for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
            // SAFETY: takes no pointers.
            if unsafe { libc::syscall(call, NOBODY, NOBODY, NOBODY) } != 0 {
                return false;
            }
        }
        body();
        true
    });
    thread.join().expect("no panic")
}

#[test]
fn what_others_own_is_refused_to_those_who_may_not() {
    let folder = folder();
    let path = folder.join("file");
    std::fs::write(&path, "mine").expect("room");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let root = folder.path().to_owned();
    let began = as_nobody(move || {
        // Somewhere above others may not look at all: then it all ends so, too.
        run(async || {
            let path = root.join("file");
            let denied = |result: std::io::Result<()>, what: &str| {
                let error = result.expect_err(what);
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
            };
            denied(File::open(&path).await.map(drop), "open");
            denied(fs::read(&path).await.map(drop), "read");
            denied(fs::access(&path, Access::READ).await, "access");
            denied(fs::remove_file(&path).await, "remove_file");
            denied(fs::rename(&path, root.join("new")).await, "rename");
            denied(fs::create_dir(root.join("new")).await, "create_dir");
            denied(fs::hard_link(&path, root.join("new")).await, "hard_link");
            denied(fs::symlink("x", root.join("new")).await, "symlink");
            denied(fs::set_permissions(&path, Permissions::from_mode(0o666)).await, "set_permissions");
            denied(fs::chown(&path, Some(65534), None).await, "chown");
            denied(fs::set_times(&path, FileTimes::now()).await, "set_times");
            denied(fs::set_xattr(&path, "user.a", "x").await, "set_xattr");
            let unnamed = File::options().write(true).temporary(true);
            denied(unnamed.open(&root).await.map(drop), "a temporary file");
        });
    });
    if !began {
        println!("SKIPPED: only root can take the rights of nobody");
    }
    assert_eq!(std::fs::read(&path).expect("there"), b"mine");
}

/// Runs a body on a thread that sees a small disk at a path. False if that cannot be.
fn on_small_disk(at: &Path, body: impl FnOnce() + Send + 'static) -> bool {
    let at = CString::new(at.as_os_str().as_bytes()).expect("no zero byte");
    let thread = std::thread::spawn(move || {
        // SAFETY: takes no pointers.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return false;
        }
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: two texts that end with a zero; the rest is not looked at.
        let alone =
            unsafe { libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()) };
        let (kind, options) = (c"tmpfs".as_ptr(), c"size=1m".as_ptr());
        // SAFETY: texts that end with a zero.
        if alone != 0 || unsafe { libc::mount(kind, at.as_ptr(), kind, 0, options.cast()) } != 0 {
            return false;
        }
        body();
        true
    });
    thread.join().expect("no panic")
}

#[test]
fn a_full_disk_is_told_and_works_again_when_it_is_not() {
    const MEGABYTE: usize = 1 << 20;
    let folder = folder();
    let root = folder.path().to_owned();
    let began = on_small_disk(folder.path(), move || {
        clean(async || {
            let path = root.join("file");
            let space = soon(fs::statvfs(&root)).await.expect("known");
            assert_eq!((space.total_bytes(), space.available_bytes()), (MEGABYTE as u64, MEGABYTE as u64));
            let file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
            let (written, buffer) = soon(file.write_all_at(vec![1; 2 * MEGABYTE], 0)).await;
            assert_eq!(written.expect_err("full").kind(), ErrorKind::StorageFull);
            assert_eq!(buffer.len(), 2 * MEGABYTE);
            assert_eq!(file.metadata().await.expect("known").len(), MEGABYTE as u64, "what there was room for");
            assert_eq!(fs::statvfs(&root).await.expect("known").available_bytes(), 0);
            let full = soon(file.allocate(0, 3 * MEGABYTE as u64)).await.expect_err("full");
            assert_eq!(full.kind(), ErrorKind::StorageFull);
            let full = soon(fs::write(root.join("other"), "x")).await.expect_err("full");
            assert_eq!(full.kind(), ErrorKind::StorageFull);
            soon(file.punch_hole(0, 8192)).await.expect("less is no matter");
            soon(fs::write(root.join("other"), "x")).await.expect("there is room again");
            file.close().await.expect("closed");
            soon(fs::remove_file(&path)).await.expect("there");
        });
    });
    if !began {
        println!("SKIPPED: no disk can be mounted here");
    }
}

/// What tells a child that it is one.
const CHILD: &str = "CORERING_LIMITED_CHILD";

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_end() {
    const LIMIT: u64 = 100_000;
    if let Some(folder) = std::env::var_os(CHILD) {
        let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
        // SAFETY: what describes a limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
        // SAFETY: SIGXFSZ is not caught, but ignored, as programs with such a limit do it.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        clean(async || {
            let path = Path::new(&folder).join("file");
            let file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
            let (written, _) = soon(file.write_all_at(vec![1; 2 * LIMIT as usize], 0)).await;
            assert_eq!(written.expect_err("too long").kind(), ErrorKind::FileTooLarge);
            assert_eq!(file.metadata().await.expect("known").len(), LIMIT);
            assert_eq!(soon(file.set_len(2 * LIMIT)).await.expect_err("too long").kind(), ErrorKind::FileTooLarge);
            let error = soon(file.allocate(0, 2 * LIMIT)).await.expect_err("too long");
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            file.close().await.expect("closed");
        });
        return;
    }
    let folder = folder();
    let mut child = std::process::Command::new(std::env::current_exe().expect("known"));
    child.args(["--exact", "real_names::a_limit_on_the_size_of_files_is_an_error_and_no_end", "--nocapture"]);
    let output = child.env(CHILD, folder.path()).output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_is_given_away_with_its_position() {
    clean(async || {
        let folder = folder();
        std::fs::write(folder.join("file"), "0123456789").expect("room");
        let mut file = File::open(folder.join("file")).await.expect("there");
        file.set_position(4);
        let mut text = String::new();
        soon(file.into_std()).await.expect("alone").read_to_string(&mut text).expect("read");
        assert_eq!(text, "456789");
        let file = File::open(folder.join("file")).await.expect("there");
        let clone = file.try_clone().expect("another");
        let error = file.into_std().await.expect_err("not alone");
        assert_eq!(error.error.kind(), ErrorKind::ResourceBusy);
        drop(error);
        drop(clone.into_std().await.expect("alone"));
    });
}

#[test]
fn a_file_goes_to_the_standard_library_and_comes_back_as_it_was() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        std::fs::write(&path, "0123456789").expect("room");
        let mut file = File::open(&path).await.expect("there");
        file.set_position(4);
        let mut theirs = soon(file.into_std()).await.expect("alone");
        theirs.read_exact(&mut [0; 2]).expect("read");
        let mut file = File::from(theirs);
        assert_eq!(file.position(), 6);
        assert_eq!(soon(file.read(Vec::with_capacity(9))).await.1, b"6789");
        file.close().await.expect("closed");

        let theirs = std::fs::File::options().append(true).open(&path).expect("there");
        let mut file = File::from(OwnedFd::from(theirs));
        assert_eq!(file.position(), 0);
        soon(file.write_all("ab")).await.0.expect("room");
        file.set_position(1);
        let mut theirs = soon(file.into_std()).await.expect("alone");
        theirs.write_all(b"cd").expect("room");
        let mut file = File::from_std(theirs);
        soon(file.write_all("ef")).await.0.expect("room");
        file.close().await.expect("closed");
        assert_eq!(std::fs::read(&path).expect("there"), b"0123456789abcdef");
    });
}

async fn opened(path: &Path, flags: i32) -> Descriptor {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no zero byte");
    Op::new(OpenAt::new(path, flags, 0)).await.expect("there")
}

/// The flags of open(2) that what is open has.
fn flags_of(descriptor: &Descriptor) -> i32 {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL) }
}

#[test]
fn what_is_in_the_cache_of_names_is_opened_at_once_and_as_it_was_asked_for() {
    clean(async || {
        let folder = folder();
        std::fs::write(folder.join("file"), "content").expect("room");
        let pipe = CString::new(folder.join("pipe").as_os_str().as_bytes()).expect("no zero byte");
        // SAFETY: a path that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        for (path, flags) in [
            (folder.join("file"), libc::O_RDONLY),
            (folder.join("file"), libc::O_RDWR | libc::O_APPEND),
            (folder.join("pipe"), libc::O_RDONLY),
            ("/dev/null".into(), libc::O_WRONLY),
            ("/proc/self/stat".into(), libc::O_RDONLY),
        ] {
            let opened = opened(&path, flags).await;
            assert_eq!(flags_of(&opened) & (flags | libc::O_NONBLOCK), flags, "{path:?}");
            // SAFETY: takes no pointers.
            assert_ne!(unsafe { libc::fcntl(opened.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, 0, "{path:?}");
            let asked = self::opened(&path, flags | libc::O_NONBLOCK).await;
            assert_ne!(flags_of(&asked) & libc::O_NONBLOCK, 0, "{path:?}");
        }
        let file = CString::new(folder.join("file").as_os_str().as_bytes()).expect("no zero byte");
        // Whoever renames something anywhere may keep one from being found there.
        let mut at_once = 0;
        for _ in 0..100 {
            let mut open = std::pin::pin!(Op::new(OpenAt::new(file.clone(), libc::O_RDONLY, 0)));
            at_once += usize::from(poll_once(&mut open).await);
        }
        assert!(at_once > 0);
        let nothing = File::open(folder.join("nothing")).await.expect_err("never made");
        assert_eq!(nothing.kind(), ErrorKind::NotFound);
        // Its directory is in the caches, and so is what it is not.
        let below = File::open(folder.join("file/below")).await.expect_err("a file is no directory");
        assert_eq!(below.kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn what_somebody_has_a_lease_on_is_opened_when_the_lease_is_given_up() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        std::fs::write(&path, "content").expect("room");
        let holder = std::fs::File::options().read(true).write(true).open(&path).expect("there");
        // By a signal that ends nobody it is told of the open.
        const F_SETSIG: i32 = 10;
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::fcntl(holder.as_raw_fd(), F_SETSIG, libc::SIGURG) }, 0);
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }, 0);
        let mut open = std::pin::pin!(File::open(&path));
        assert!(!poll_once(&mut open).await, "it is leased");
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) }, 0);
        let file = soon(open).await.expect("nobody leases it");
        assert_eq!(soon(file.read_at(Vec::with_capacity(20), 0)).await.1, b"content");
    });
}

#[test]
fn entries_holes_ranges_and_watches_are_had_by_plain_calls() {
    const NAMES: usize = 1000;
    clean(async || {
        let folder = folder();
        let expected: BTreeSet<Vec<u8>> = (0..NAMES).map(|number| format!("file {number}").into_bytes()).collect();
        for name in &expected {
            std::fs::write(folder.join(OsStr::from_bytes(name)), "").expect("room");
        }
        let directory = opened(folder.path(), libc::O_DIRECTORY).await;
        for room in [300, 4096, 32_768] {
            let directory = opened(folder.path(), libc::O_DIRECTORY).await;
            let (mut room, mut found) = (vec![0; room], BTreeSet::new());
            loop {
                let count = plain::read_entries(&directory, &mut room).expect("read");
                if count == 0 {
                    break;
                }
                for entry in plain::entries(&room[..count]) {
                    assert!(entry.file_type.is_none_or(|kind| kind.is_file()));
                    assert!(found.insert(entry.name.to_vec()), "told twice");
                }
            }
            assert_eq!(found, expected);
        }
        assert!(plain::read_entries(&directory, &mut [0; 10]).is_err(), "no room for a name");

        let path = folder.join("sparse");
        let file = File::options().read(true).write(true).create(true).open(&path).await.expect("made");
        file.write_all_at(vec![1; 8192], 1 << 20).await.0.expect("written");
        file.set_len(4 << 20).await.expect("extended");
        let file = file.descriptor();
        assert_eq!(plain::seek_data(file, 0).expect("known"), Some(1 << 20));
        assert_eq!(plain::seek_hole(file, 1 << 20).expect("known"), Some((1 << 20) + 8192));
        assert_eq!(plain::seek_hole(file, 0).expect("known"), Some(0));
        assert_eq!(plain::seek_data(file, 2 << 20).expect("known"), None);
        assert_eq!(plain::seek_data(file, 4 << 20).expect("known"), None);

        let other = opened(&path, libc::O_RDWR).await;
        plain::try_lock_range(file, Lock::Exclusive, 100, 50).expect("free");
        plain::try_lock_range(&other, Lock::Shared, 0, 100).expect("beside it");
        let error = plain::try_lock_range(&other, Lock::Shared, 149, 0).expect_err("within it");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        plain::try_lock_range(file, Lock::Nothing, 0, 0).expect("given back");
        plain::try_lock_range(&other, Lock::Exclusive, 149, 0).expect("free");

        let copy = plain::duplicate(file).expect("another");
        let (one, same) = (Stat::of(file).expect("known"), Stat::of(&copy).expect("known"));
        assert!(one.same_file(&same) && !copy.is(file));
        let copied = plain::copy_range(file, 1 << 20, &copy, 0, 4096);
        assert_eq!(copied.expect("within one file"), 4096);
        assert!(plain::clone_file(file, &directory).is_err());

        let watch = plain::watch().expect("one more");
        let root = CString::new(folder.path().as_os_str().as_bytes()).expect("no zero byte");
        let number = plain::add_watch(&watch, &root, libc::IN_CREATE).expect("there");
        std::fs::write(folder.join("seen"), "").expect("room");
        let (read, event) = soon(Op::new(Read::stream(&watch, Vec::with_capacity(4096)))).await;
        assert!(read.expect("told") > 16);
        assert_eq!(event[..4], number.to_ne_bytes());
        assert!(event[16..].starts_with(b"seen\0"));
        plain::remove_watch(&watch, number).expect("there");
        assert!(plain::remove_watch(&watch, number).is_err());
    });
}

#[test]
fn a_file_of_a_borrowed_descriptor_leaves_that_open() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let mut theirs = std::fs::File::options().read(true).write(true).create_new(true).open(&path).expect("made");
        theirs.write_all(b"0123456789").expect("room");
        std::io::Seek::rewind(&mut theirs).expect("a position");
        theirs.read_exact(&mut [0; 4]).expect("read");
        let mut file = File::from_borrowed(&theirs).expect("another number");
        assert_eq!(file.position(), 4);
        assert_eq!(soon(file.read(Vec::with_capacity(3))).await.1, b"456");
        soon(file.write_all("ab")).await.0.expect("room");
        // Dropped in flight: its number is not used again before the write has ended.
        let mut dropped = Box::pin(file.write_all_at("cd", 20));
        crate::poll_once(&mut dropped).await;
        drop(dropped);
        file.close().await.expect("closed");
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).expect("it is open, and where it was");
        assert_eq!(&rest[..6], "456ab9");
        assert_eq!(&rest[16..], "cd");
        let appended = std::fs::File::options().append(true).open(&path).expect("there");
        let mut file = File::from_borrowed(appended.as_fd()).expect("another number");
        soon(file.write_all("ef")).await.0.expect("room");
        file.close().await.expect("closed");
        assert!(std::fs::read(&path).expect("there").ends_with(b"cdef"));
    });
}

#[test]
fn the_same_file_is_told_by_any_name_and_mount_points_are_told_from_folders() {
    clean(async || {
        let folder = folder();
        let path = |name: &str| folder.join(name);
        std::fs::write(path("file"), "one").expect("room");
        std::fs::write(path("copy"), "one").expect("room");
        fs::hard_link(path("file"), path("name")).await.expect("made");
        fs::symlink("name", path("link")).await.expect("made");
        fs::symlink("/proc", path("proc")).await.expect("made");
        for (one, other, same) in [("file", "name", true), ("link", "file", true), ("file", "copy", false)] {
            assert_eq!(soon(fs::same_file(path(one), path(other))).await.expect("there"), same, "{one} and {other}");
        }
        let error = soon(fs::same_file(path("file"), path("none"))).await.expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        for (path, is) in
            [(PathBuf::from("/proc"), true), ("/".into(), true), (path("."), false), (path("proc"), false)]
        {
            assert_eq!(soon(fs::is_mount_point(&path)).await.expect("there"), is, "{path:?}");
        }
        assert_eq!(soon(fs::is_mount_point(path("none"))).await.expect_err("nothing").kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_link_has_attributes_of_its_own() {
    clean(async || {
        let folder = folder();
        let (file, link) = (folder.join("file"), folder.join("link"));
        std::fs::write(&file, "one").expect("room");
        fs::symlink("file", &link).await.expect("made");
        // Links have none that users may set: only root's.
        for (path, set) in [
            (&link, soon(fs::set_link_xattr(&link, "trusted.of-the-link", "1")).await),
            (&file, soon(fs::set_xattr(&link, "trusted.of-the-file", "2")).await),
        ] {
            if let Err(error) = set {
                println!("SKIPPED: no trusted attributes for {}: {error}", path.display());
                return;
            }
        }
        let names = |names: Vec<std::ffi::OsString>| {
            names.into_iter().filter(|name| name.to_string_lossy().starts_with("trusted.")).collect::<Vec<_>>()
        };
        assert_eq!(names(soon(fs::list_link_xattr(&link)).await.expect("there")), ["trusted.of-the-link"]);
        assert_eq!(names(soon(fs::list_xattr(&link)).await.expect("there")), ["trusted.of-the-file"]);
        soon(fs::remove_link_xattr(&link, "trusted.of-the-link")).await.expect("removed");
        assert_eq!(names(soon(fs::list_link_xattr(&link)).await.expect("there")).len(), 0);
        assert_eq!(names(soon(fs::list_link_xattr(&file)).await.expect("there")), ["trusted.of-the-file"]);
    });
}
