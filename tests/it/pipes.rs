//! Named pipes: opened and read as `open(2)` and `read(2)` would.

use std::future::{Future as _, poll_fn};
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use corering::fs::{self, File};
use corering::io::AsyncReadExt as _;
use corering::time::timeout;

use crate::{Folder, clean, folder, metrics, turn};

const LONG: Duration = Duration::from_secs(10);

fn pipe_in(dir: &Folder) -> PathBuf {
    let path = dir.join("pipe");
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
        while metrics().operations > 0 {
            turn().await;
        }
        turn().await;
    };
    timeout(LONG, ended).await.expect("it ends");
}

#[test]
fn a_named_pipe_is_read_until_its_writer_goes_whoever_comes_first() {
    let dir = folder();
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
    let dir = folder();
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
    let dir = folder();
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
fn whatever_reads_of_a_named_pipe_are_dropped_no_byte_is_lost() {
    clean(async || {
        let dir = folder();
        let path = pipe_in(&dir);
        // For both, so that it does not wait for a reader.
        let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("there");
        let mut reader = File::open(&path).await.expect("somebody writes");
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for round in 0..300_u32 {
            let part: Vec<u8> = (0..round % 7).map(|number| (round * 7 + number) as u8).collect();
            {
                let mut read = pin!(reader.read_exact(Vec::with_capacity(1 + round as usize % 11)));
                for _ in 0..1 + round % 3 {
                    if let Poll::Ready((read, bytes)) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                        read.expect("readable");
                        received.extend(bytes);
                        break;
                    }
                    turn().await;
                }
                // It arrives while the read that is dropped is under way.
                writer.write_all(&part).expect("room");
                sent.extend(part);
            }
            if round % 50 == 49 {
                let (read, bytes) = reader.read_exact(Vec::with_capacity(sent.len() - received.len())).await;
                read.expect("readable");
                received.extend(bytes);
                assert_eq!(received, sent);
            }
        }
        drop(writer);
        let (read, nothing) = reader.read_to_end(Vec::new()).await;
        assert_eq!((read.expect("the end"), nothing.len()), (0, 0));
        reader.close().await.expect("closed");
    });
}

fn pipe_of_two() -> (File, std::fs::File) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both are new, and nobody else's.
    let [reader, writer] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (File::from(reader), writer.into())
}

/// How many bytes can be read of a pipe.
fn lies_in(pipe: &std::fs::File) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: an open pipe, and room for the number.
    assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }, 0);
    usize::try_from(bytes).expect("not negative")
}

/// Notices that something has ended, though it is not polled again.
#[derive(Default)]
struct Noticed(AtomicBool);

impl Wake for Noticed {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A read brings something, and is dropped before anybody has fetched that.
async fn take_and_drop(reader: &mut File, writer: &mut impl std::io::Write, bytes: &[u8]) {
    let mut read = pin!(reader.read(Vec::with_capacity(64)));
    let noticed = Arc::new(Noticed::default());
    let polled = read.as_mut().poll(&mut Context::from_waker(&Waker::from(noticed.clone())));
    assert!(polled.is_pending(), "nothing to read");
    writer.write_all(bytes).expect("room");
    let ended = async {
        while !noticed.0.load(Ordering::Relaxed) {
            turn().await;
        }
    };
    timeout(LONG, ended).await.expect("a read is under way");
}

#[test]
fn a_pipe_is_not_given_away_before_what_a_dropped_read_has_taken_was_read() {
    clean(async || {
        let (mut reader, mut writer) = pipe_of_two();
        take_and_drop(&mut reader, &mut writer, b"taken").await;
        let error = reader.into_std().await.expect_err("five bytes were taken");
        assert_eq!(error.error.kind(), ErrorKind::WouldBlock);
        let mut reader = error.file;
        let (read, bytes) = reader.read(Vec::with_capacity(2)).await;
        assert_eq!((read.expect("left"), &bytes[..]), (2, &b"ta"[..]));
        let mut reader = reader.into_std().await.expect_err("three bytes are left").file;
        assert_eq!(reader.read(Vec::with_capacity(64)).await.1, b"ken");
        assert_eq!(reader.position(), 5);
        let mut reader = reader.into_std().await.expect("nothing is left");
        writer.write_all(b"more").expect("room");
        let mut more = [0; 4];
        std::io::Read::read_exact(&mut reader, &mut more).expect("readable");
        assert_eq!(&more, b"more");
    });
}

#[test]
fn whenever_a_pipe_is_given_away_no_byte_is_lost() {
    clean(async || {
        let (mut reader, mut writer) = pipe_of_two();
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for round in 0..200_u32 {
            let part: Vec<u8> = (0..1 + round % 7).map(|number| (round * 7 + number) as u8).collect();
            {
                let mut read = pin!(reader.read(Vec::with_capacity(1 + round as usize % 11)));
                let polled = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
                writer.write_all(&part).expect("room");
                match polled {
                    Poll::Ready((_, bytes)) => received.extend(bytes),
                    Poll::Pending => {
                        for _ in 0..round % 4 {
                            turn().await;
                        }
                    }
                }
            }
            sent.extend(part);
            let mut given = loop {
                match reader.into_std().await {
                    Ok(given) => break given,
                    Err(error) => reader = error.file,
                }
                received.extend(reader.read(Vec::with_capacity(3)).await.1);
            };
            let mut rest = vec![0; sent.len() - received.len()];
            assert_eq!(lies_in(&given), rest.len(), "round {round}");
            std::io::Read::read_exact(&mut given, &mut rest).expect("readable");
            received.extend(rest);
            assert_eq!(received, sent);
            reader = File::from_std(given);
        }
    });
}

#[test]
fn what_a_dropped_handle_of_a_pipe_has_taken_another_one_reads() {
    clean(async || {
        let (mut reader, mut writer) = pipe_of_two();
        let mut other = reader.try_clone().expect("another");
        take_and_drop(&mut reader, &mut writer, b"taken").await;
        drop(reader);
        let read = timeout(LONG, other.read(Vec::with_capacity(64))).await.expect("it is there");
        assert_eq!(read.1, b"taken");
        other.close().await.expect("alone");
    });
}

#[test]
fn what_a_dropped_read_of_a_pipe_has_taken_is_given_to_one_that_waits_beside_it() {
    clean(async || {
        let (mut first, mut writer) = pipe_of_two();
        let mut second = first.try_clone().expect("another");
        for _ in 0..20 {
            let mut waits = {
                let mut takes = pin!(first.read(Vec::with_capacity(64)));
                assert!(poll_fn(|cx| Poll::Ready(takes.as_mut().poll(cx).is_pending())).await, "nothing to read");
                let mut waits = Box::pin(second.read(Vec::with_capacity(64)));
                assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await, "nothing to read");
                writer.write_all(b"taken").expect("room");
                while lies_in(&writer) > 0 {
                    turn().await;
                }
                waits
            };
            // Whichever of them has taken it.
            let (read, bytes) = timeout(LONG, &mut waits).await.expect("it is there");
            assert_eq!((read.expect("readable"), &bytes[..]), (5, &b"taken"[..]));
        }
        drop(first);
        second.close().await.expect("alone");
    });
}

/// A terminal, in lines: the side of the one who sits there, and that of the programs.
fn terminal() -> (std::fs::File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: there is room for two descriptors; the rest is not wanted.
    assert_eq!(unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) }, 0);
    // SAFETY: both are new, and nobody else's.
    let [ours, theirs] = [ours, theirs].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (ours.into(), theirs)
}

#[test]
fn the_end_that_a_terminal_has_told_a_dropped_read_the_next_one_is_told() {
    clean(async || {
        let (mut ours, theirs) = terminal();
        let mut file = File::from(theirs);
        for _ in 0..20 {
            // Ctrl-D.
            take_and_drop(&mut file, &mut ours, &[4]).await;
            let (read, nothing) = timeout(LONG, file.read(Vec::with_capacity(64))).await.expect("it has ended");
            assert_eq!((read.expect("the end"), nothing.len()), (0, 0));
        }
        ours.write_all(b"a line\n").expect("room");
        let (read, line) = timeout(LONG, file.read(Vec::with_capacity(64))).await.expect("it is there");
        assert_eq!((read.expect("readable"), &line[..]), (7, &b"a line\n"[..]));
        file.close().await.expect("closed");
    });
}
