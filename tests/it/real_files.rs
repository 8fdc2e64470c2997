//! Files that only this machine has: devices, named pipes, what the kernel itself tells, and its page cache.

use std::future::{Future as _, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;

use corering::buf::IoBuf as _;
use corering::fs::{self, File};

use crate::guard::Guarded;
use crate::{clean, folder, run, soon, turn};

#[test]
fn a_file_that_is_cut_while_it_is_read_gives_less_and_never_hangs() {
    const LONG: usize = 1 << 20;
    let directory = folder();
    let path = directory.join("file");
    std::fs::write(&path, vec![4; LONG]).expect("written");
    clean(async || {
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("there");
        let cutter = std::thread::spawn(move || {
            for round in 0..400_u64 {
                file.set_len(if round % 2 == 0 { 1000 } else { LONG as u64 }).expect("cut");
            }
        });
        while !cutter.is_finished() {
            let bytes = soon(fs::read(&path)).await.expect("read");
            assert!(bytes.len() <= LONG);
            assert!(bytes.iter().all(|byte| matches!(byte, 4 | 0)));
            let reader = File::open(&path).await.expect("opened");
            let (read, buffer) = soon(reader.read_at(Vec::with_capacity(4096), 500_000)).await;
            assert_eq!(read.expect("read"), buffer.len());
            reader.close().await.expect("closed");
        }
        cutter.join().expect("no panic");
    });
}

#[test]
fn more_than_the_kernel_takes_at_once_is_read_and_written_whole() {
    // A mapping of nothing but zeros, longer than one read or write may be: it takes no memory until it is read into.
    const LONG: usize = (2 << 30) + 12_345;
    clean(async || {
        let sink = File::options().write(true).open("/dev/null").await.expect("there");
        let (written, buffer) = soon(sink.write_all_at(Guarded::new(LONG), 0)).await;
        written.expect("written, in two parts");
        let (written, _) = soon(sink.write_at(buffer, 0)).await;
        assert_eq!(written.expect("written"), 0x7fff_f000, "what goes at once");
        sink.close().await.expect("closed");
    });
}

#[test]
fn a_full_disk_is_an_error_and_the_buffer_comes_back() {
    clean(async || {
        let full = File::options().write(true).open("/dev/full").await.expect("there");
        let (written, buffer) = soon(full.write_all_at(vec![1; 10_000], 0)).await;
        assert_eq!(written.expect_err("full").kind(), ErrorKind::StorageFull);
        assert_eq!(buffer, vec![1; 10_000]);
        full.close().await.expect("closed");
        assert_eq!(fs::write("/dev/full", "x").await.expect_err("full").kind(), ErrorKind::StorageFull);
    });
}

#[test]
fn what_is_no_plain_file_is_read_or_refused_as_read_would() {
    clean(async || {
        for path in ["/proc/self/status", "/proc/self/maps", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let Ok(expected) = std::fs::read(path) else { continue };
            let read = soon(fs::read(path)).await.expect("read");
            assert!(!read.is_empty(), "{path}");
            assert!(read.len().abs_diff(expected.len()) < 4096, "{path}: {} of {}", read.len(), expected.len());
        }
        assert_eq!(soon(fs::read("/dev/null")).await.expect("read"), b"");
        assert_eq!(soon(fs::read("/")).await.expect_err("a directory").kind(), ErrorKind::IsADirectory);
        assert_eq!(fs::read("").await.expect_err("no name").kind(), ErrorKind::NotFound);
        assert_eq!(fs::read("/etc/passwd/x").await.expect_err("no directory").kind(), ErrorKind::NotADirectory);
        assert_eq!(fs::read("a\0b").await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        assert_eq!(File::open("a\0b").await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::metadata("a\0b").await.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        let long = "x".repeat(300);
        assert_eq!(fs::read(&long).await.expect_err("too long").raw_os_error(), Some(libc::ENAMETOOLONG));
        let error = fs::read_to_string("/proc/self/exe").await.expect_err("not text");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().starts_with("/proc/self/exe is not UTF-8"), "{error}");
    });
}

#[test]
fn a_file_that_is_opened_after_its_future_was_dropped_is_closed() {
    let directory = folder();
    let fifo = directory.join("fifo");
    let name = std::ffi::CString::new(fifo.to_str().expect("text")).expect("no zero byte");
    // SAFETY: a valid path.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    clean(async || {
        // An open that waits for a writer, given up before there is one.
        {
            let mut open = pin!(File::open(&fifo));
            assert!(poll_fn(|cx| Poll::Ready(open.as_mut().poll(cx).is_pending())).await);
            turn().await;
        }
        // And opens that end at once, given up before anybody looks.
        for _ in 0..50 {
            let mut open = pin!(File::open("/dev/null"));
            let _ = poll_fn(|cx| Poll::Ready(open.as_mut().poll(cx).is_pending())).await;
            turn().await;
        }
    });
}

#[test]
fn what_is_only_partly_cached_is_read_whole() {
    let directory = folder();
    clean(async || {
        let path = directory.join("file");
        for pages in 1..=4_usize {
            for cut in [0, 1] {
                let bytes: Vec<u8> = (0..pages * 4096 - cut).map(|number| (number / 7) as u8).collect();
                fs::write(&path, bytes.clone()).await.expect("written");
                let file = std::fs::File::open(&path).expect("there");
                file.sync_all().expect("synced");
                for kept in 0..pages {
                    // SAFETY: takes no pointers.
                    unsafe {
                        use std::os::fd::AsRawFd as _;
                        let advice = |from: usize, len: usize, what| {
                            libc::posix_fadvise(file.as_raw_fd(), from as i64, len as i64, what)
                        };
                        assert_eq!(advice(0, 0, libc::POSIX_FADV_RANDOM), 0);
                        assert_eq!(advice(0, 0, libc::POSIX_FADV_DONTNEED), 0);
                    }
                    let mut first = vec![0; kept * 4096];
                    std::os::unix::fs::FileExt::read_exact_at(&file, &mut first, 0).expect("read");
                    assert_eq!(fs::read(&path).await.expect("read"), bytes, "{kept} of {pages} pages were cached");
                }
            }
        }
    });
}

#[test]
fn whole_files_are_whole_whatever_they_are() {
    let directory = folder();
    run(async || {
        let link = directory.join("link");
        std::os::unix::fs::symlink("/proc/kallsyms", &link).unwrap();
        let ours = corering::fs::read(&link).await.unwrap().len();
        assert_eq!(ours, std::fs::read("/proc/kallsyms").unwrap().len());
        let ours = corering::fs::read("/proc/cpuinfo").await.unwrap().len();
        assert!(ours > 100);
    });
}

/// Asked not to wait, the kernel waits for the device all the same (K30): the core would stand still meanwhile.
#[test]
fn reads_that_pass_the_page_cache_never_wait_in_the_core() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        std::fs::write(&path, vec![6; 8192]).expect("written");
        std::fs::File::open(&path).expect("there").sync_all().expect("on the disk");
        let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(&path).await.expect("opened");
        let duplicate = std::os::fd::AsFd::as_fd(&direct).try_clone_to_owned().expect("a descriptor");
        let taken_over = File::from_std(duplicate.into());
        for file in [&direct, &taken_over] {
            let mut read = pin!(file.read_at(Guarded::new(4096), 4096));
            let at_once = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_ready())).await;
            assert!(!at_once, "it was read by a call that waits");
            let (count, buffer) = soon(read).await;
            assert_eq!(count.expect("read"), 4096);
            assert!(buffer.as_slice().iter().all(|byte| *byte == 6));
        }
        taken_over.close().await.expect("closed");
        direct.close().await.expect("closed");
    });
}

/// The close of a direct descriptor says nothing if it succeeds: to wait for a word of it would take 20 ms at each end.
#[test]
fn a_core_with_nothing_but_files_to_close_does_not_wait_at_its_end() {
    const ROUNDS: i64 = 20;
    let waits = || {
        // SAFETY: all-zero bytes are a valid rusage.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is valid to write to.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) }, 0);
        usage.ru_nvcsw
    };
    let directory = folder();
    let path = directory.join("file");
    std::fs::write(&path, "short").expect("written");
    let read = || corering::run(async { fs::read(&path).await.expect("read").len() }).expect("io_uring");
    assert_eq!(read(), 5);
    let before = waits();
    for _ in 0..ROUNDS {
        read();
    }
    // A page that is fetched or a lock that is held may make a thread wait now and then.
    let waited = waits() - before;
    assert!(waited < ROUNDS / 2, "{waited} waits in {ROUNDS} runs");
}
