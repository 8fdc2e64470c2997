//! Named pipes: opened and read as `open(2)` and `read(2)` would.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corering::fs::{self, File};
use corering::time::timeout;

use crate::clean;
use crate::life::turn;

const LONG: Duration = Duration::from_secs(10);

fn pipe_in(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("pipe");
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a path that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

/// Writes in three parts, from a thread; `before` it opens, the reader has been there for some time or not.
fn writer(path: &Path, before: Duration) -> std::thread::JoinHandle<()> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        std::thread::sleep(before);
        let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("a reader comes");
        for _ in 0..3 {
            file.write_all(&[b'x'; 1000]).expect("the reader stays");
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

/// Waits until what was dropped has ended, and was closed.
async fn all_has_ended() {
    let ended = async {
        while corering::metrics().expect("a core").operations > 0 {
            turn().await;
        }
        turn().await;
    };
    timeout(LONG, ended).await.expect("it ends");
}

#[test]
fn a_named_pipe_is_read_until_its_writer_goes_whoever_comes_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = pipe_in(&dir);
    for before in [0, 0, 5, 20] {
        let writer = writer(&path, Duration::from_millis(before));
        let read = clean(async || timeout(LONG, fs::read(&path)).await).expect("in time").expect("read");
        assert_eq!(read.len(), 3000);
        writer.join().expect("written");
    }
}

#[test]
fn a_file_on_a_named_pipe_waits_for_the_other_side() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = pipe_in(&dir);
    clean(async || {
        // A writer that is there, one that comes later, and one of this core.
        for before in [0, 10] {
            let writer = writer(&path, Duration::from_millis(before));
            let mut file = timeout(LONG, File::open(&path)).await.expect("in time").expect("opened");
            let mut bytes = Vec::with_capacity(8192);
            loop {
                let (read, back) = file.read(bytes).await;
                bytes = back;
                if read.expect("read") == 0 {
                    break;
                }
            }
            assert_eq!(bytes.len(), 3000);
            file.close().await.expect("closed");
            writer.join().expect("written");
        }
        let reader = corering::spawn({
            let path = path.clone();
            async move { fs::read(path).await }
        });
        let writer = timeout(LONG, File::options().write(true).open(&path)).await.expect("in time").expect("opened");
        writer.write_all_at("of this core", 0).await.0.expect("written");
        writer.close().await.expect("closed");
        assert_eq!(reader.await.expect("ended").expect("read"), b"of this core");
    });
}

#[test]
fn waiting_for_the_other_side_of_a_named_pipe_can_be_given_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = pipe_in(&dir);
    clean(async || {
        let short = Duration::from_millis(20);
        assert!(timeout(short, fs::read(&path)).await.is_err(), "nobody writes");
        assert!(timeout(short, File::open(&path)).await.is_err(), "nobody writes");
        all_has_ended().await;
        assert!(timeout(short, File::options().write(true).open(&path)).await.is_err(), "nobody reads");
        all_has_ended().await;
        // Nobody is left who has it open: a writer that does not wait says so.
        let nobody = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&path).await;
        assert_eq!(nobody.expect_err("nobody reads").raw_os_error(), Some(libc::ENXIO));
    });
}

#[test]
fn a_buffer_is_filled_from_the_beginning_of_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    clean(async || {
        let path = dir.path().join("file");
        for len in [0, 1, 4095, 4096, 4097, 8192, 10_000, 16_384, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|number| number as u8).collect();
            fs::write(&path, bytes.clone()).await.expect("written");
            for room in [1, 4096, 8192, 16_384, 100_000] {
                let mut buffer = Vec::with_capacity(room + 2);
                buffer.extend_from_slice(b"be");
                let room = buffer.capacity() - 2;
                let (read, buffer) = fs::read_into(&path, buffer).await;
                assert_eq!(read.expect("read"), len.min(room));
                assert_eq!(&buffer[..2], b"be");
                assert_eq!(&buffer[2..], &bytes[..len.min(room)]);
            }
            assert_eq!(fs::read(&path).await.expect("read"), bytes);
        }
        let (read, buffer) = fs::read_into(&path, vec![7]).await;
        assert_eq!(read.expect_err("no room").kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(buffer, [7]);
        let (read, buffer) = fs::read_into(dir.path(), Vec::with_capacity(10)).await;
        assert_eq!(read.expect_err("a directory").raw_os_error(), Some(libc::EISDIR));
        assert_eq!(buffer.capacity(), 10);
    });
}

#[test]
fn what_is_only_partly_cached_is_read_whole() {
    let dir = tempfile::tempdir_in(".").expect("a directory on a disk");
    clean(async || {
        let path = dir.path().join("file");
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
