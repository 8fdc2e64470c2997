//! Standard input and output, whatever these are.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use corering::io::prelude::*;
use corering::io::{BufReader, BufWriter, stderr, stdin, stdout};
use corering::{Builder, spawn};

use crate::{Case, child_of, contains, says, text_of};

/// So much goes through.
const LENGTH: usize = 100_000;

fn bytes() -> Vec<u8> {
    (0..LENGTH as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn system<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Polls that often, and then drops.
async fn polled<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        corering::time::sleep(Duration::from_micros(20)).await;
    }
    None
}

/// Reads as much as the parent sends, by reads of which most are dropped, each with a handle of its own; then sends it
/// back by writes of which most are dropped.
pub(crate) fn send_back() {
    let ran = corering::run(async {
        let mut all = Vec::new();
        for turn in 0.. {
            let mut input = stdin();
            let read = input.read(Vec::with_capacity(1 + turn % 999));
            match polled(1 + turn % 3, read).await {
                None => {}
                Some((Ok(0), _)) => break,
                Some((read, bytes)) => {
                    assert_eq!(read.expect("readable"), bytes.len());
                    all.extend(bytes);
                }
            }
            if all.len() == LENGTH {
                break;
            }
        }
        let mut out = BufWriter::with_capacity(1000, stdout());
        for (turn, part) in all.chunks(700).enumerate() {
            while polled(1, out.write_all(part)).await.map(|taken| taken.expect("writable")).is_none() {}
            let _ = polled(turn % 3, out.flush()).await;
        }
        out.shutdown().await.expect("writable");
    });
    ran.expect("io_uring");
}

fn command(case: &Case) -> Command {
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).stderr(Stdio::piped());
    command
}

/// Waits for a child, which has to end soon and well.
fn ends(mut child: Child) -> Result<String, String> {
    let began = Instant::now();
    while system(child.try_wait())?.is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            system(child.kill())?;
            return Err(format!("it hangs; so far: {:?}", text_of(&system(child.wait_with_output())?)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    text_of(&system(child.wait_with_output())?)
}

/// A terminal that changes no bytes: the side of the one who sits there, and that of the programs.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: there is room for two descriptors; the rest is not wanted.
    assert_eq!(unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) }, 0);
    // SAFETY: all bytes zero is a value; it is filled in next.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: a terminal, and room for its settings.
    assert_eq!(unsafe { libc::tcgetattr(theirs, &raw mut settings) }, 0);
    // SAFETY: as above.
    unsafe { libc::cfmakeraw(&raw mut settings) };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::tcsetattr(theirs, libc::TCSANOW, &raw const settings) }, 0);
    // SAFETY: both are new, and nobody else's.
    let [ours, theirs] = [ours, theirs].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (ours.into(), theirs)
}

/// Sends bytes in pieces to a child, and reads them again from it.
fn go_through(
    case: &Case,
    name: &str,
    input: Stdio,
    output: Stdio,
    send: Option<File>,
    mut receive: File,
) -> Result<(), String> {
    let expected = bytes();
    let child = system(command(case).stdin(input).stdout(output).spawn())?;
    let sender = std::thread::spawn({
        let expected = expected.clone();
        move || {
            if let Some(mut send) = send {
                for part in expected.chunks(1777) {
                    // If the child has gone, it has its reason.
                    drop(send.write_all(part));
                    std::thread::sleep(Duration::from_micros(100));
                }
                return Some(send);
            }
            None
        }
    });
    let receiver = std::thread::spawn(move || {
        let mut received = vec![0; LENGTH];
        let result = receive.read_exact(&mut received);
        result.map(|()| received)
    });
    let text = ends(child);
    let sent = sender.join().expect("no panic");
    text.map_err(|text| format!("{name}: {text}"))?;
    let received = receiver.join().expect("no panic").map_err(|error| format!("{name}: {error}"))?;
    drop(sent);
    if received == expected { Ok(()) } else { Err(format!("{name}: the bytes are different")) }
}

fn pipe() -> (File, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both are new, and nobody else's.
    let [reader, writer] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (reader.into(), writer)
}

pub(crate) fn all_goes_through(case: &Case) -> Result<(), String> {
    let ((child_reads, send), (receive, child_writes)) = (pipe(), pipe());
    go_through(case, "pipes", child_reads.into(), child_writes.into(), Some(send.into()), receive)?;

    let ((send, child_reads), (receive, child_writes)) = (system(UnixStream::pair())?, system(UnixStream::pair())?);
    let (send, receive): (OwnedFd, OwnedFd) = (send.into(), receive.into());
    let (child_reads, child_writes): (OwnedFd, OwnedFd) = (child_reads.into(), child_writes.into());
    go_through(case, "sockets", child_reads.into(), child_writes.into(), Some(send.into()), receive.into())?;

    let ((send, child_reads), (receive, child_writes)) = (terminal(), terminal());
    // What the child has written is there as long as somebody holds its side.
    let held = system(child_writes.try_clone())?;
    go_through(case, "terminals", child_reads.into(), child_writes.into(), Some(send), receive)?;
    drop(held);

    // Files: from the position where the parent has left it, and behind what is there.
    let mut input = system(tempfile::tempfile())?;
    system(input.write_all(b"not this").and_then(|()| input.write_all(&bytes())))?;
    system(input.seek(std::io::SeekFrom::Start(8)))?;
    let name = system(tempfile::NamedTempFile::new())?;
    system(std::fs::write(name.path(), b"before "))?;
    let output = system(File::options().append(true).open(name.path()))?;
    let shared = system(input.try_clone())?;
    let child = system(command(case).stdin(input).stdout(output).spawn())?;
    ends(child).map_err(|text| format!("files: {text}"))?;
    let written = system(std::fs::read(name.path()))?;
    if written != [b"before ", &bytes()[..]].concat() {
        return Err("files: the bytes are different".to_owned());
    }
    match system((&shared).stream_position())? {
        position if position == 8 + LENGTH as u64 => Ok(()),
        position => Err(format!("files: the position that both share is {position}")),
    }
}

/// Reads what never comes, and ends.
pub(crate) fn end_while_reading() {
    let ran = corering::run(async {
        drop(spawn(async { stdin().read([0; 8]).await.0 }));
        assert!(polled(3, stdin().read([0; 8])).await.is_none(), "nothing came");
        // What was dropped may still bring something, which comes before what the next one reads.
        let operations = || corering::metrics().expect("a core").operations;
        let before = operations();
        let (mut input, mut cx) = (stdin(), Context::from_waker(Waker::noop()));
        assert!(pin!(input.read([0; 8])).as_mut().poll(&mut cx).is_pending());
        assert_eq!(operations(), before, "a read began beside one that was dropped");
        let said = format!("terminal: {} {}\n", stdin().is_terminal(), stdout().is_terminal());
        stderr().write_all(said).await.0.expect("writable");
    });
    ran.expect("io_uring");
}

pub(crate) fn ends_while_reading(case: &Case) -> Result<(), String> {
    let (child_reads, held) = pipe();
    let child = system(command(case).stdin(child_reads).stdout(Stdio::null()).spawn())?;
    contains(&ends(child)?, &["terminal: false false"])?;
    drop(held);
    let (held, child_reads) = terminal();
    let output = system(child_reads.try_clone())?;
    let child = system(command(case).stdin(child_reads).stdout(output).spawn())?;
    contains(&ends(child)?, &["terminal: true true"])?;
    drop(held);
    Ok(())
}

/// Writes to what nobody reads, gives that up, and ends.
pub(crate) fn end_while_writing() {
    let ran = corering::run(async {
        assert!(polled(3, stdout().write_all(vec![b'x'; 1 << 20])).await.is_none(), "nobody reads");
        stderr().write_all("ends\n").await.0.expect("writable");
    });
    ran.expect("io_uring");
}

pub(crate) fn ends_while_writing(case: &Case) -> Result<(), String> {
    let (held, child_writes) = pipe();
    let child = system(command(case).stdin(Stdio::null()).stdout(child_writes).spawn())?;
    contains(&ends(child)?, &["ends"])?;
    drop(held);
    Ok(())
}

/// Without standard streams: nothing comes, and what is written is gone.
pub(crate) fn go_on_without() {
    let ran = corering::run(async {
        let (read, _) = stdin().read([0; 8]).await;
        assert_eq!(read.expect("/dev/null"), 0);
        stdout().write_all("to /dev/null").await.0.expect("writable");
        for fd in [0, 1] {
            // SAFETY: nobody else uses it in this process.
            assert_eq!(unsafe { libc::close(fd) }, 0);
        }
        let mut line = String::new();
        assert_eq!(BufReader::new(stdin()).read_line(&mut line).await.expect("closed"), 0);
        assert_eq!(stdout().write("to nobody").await.0.expect("closed"), 9);
        stdout().write_all("to nobody").await.0.expect("closed");
        assert!(!stdin().is_terminal());
        stderr().write_all("went on\n").await.0.expect("writable");
    });
    ran.expect("io_uring");
}

pub(crate) fn goes_on_without(case: &Case) -> Result<(), String> {
    let child = system(command(case).stdin(Stdio::null()).stdout(Stdio::null()).spawn())?;
    contains(&ends(child)?, &["went on"])
}

/// Drops buffered writers with and without bytes.
pub(crate) fn forget_to_flush() {
    for debug in [true, false] {
        let ran = Builder::new().debug(debug).run(async {
            let mut flushed = BufWriter::new(Vec::new());
            flushed.write_all(b"all right").await.expect("memory");
            flushed.flush().await.expect("memory");
            let mut forgotten = BufWriter::new(Vec::new());
            forgotten.write_all(b"12345").await.expect("memory");
        });
        ran.expect("io_uring");
    }
}

pub(crate) fn is_told_once(case: &Case) -> Result<(), String> {
    says(
        case,
        &["a buffered writer, made at tests/process/stdio.rs:", "was dropped with 5 bytes that it has not written"],
    )?;
    let child = system(command(case).stdin(Stdio::null()).stdout(Stdio::null()).spawn())?;
    let text = ends(child)?;
    if text.matches("was dropped with").count() == 1 { Ok(()) } else { Err(format!("told not once: {text}")) }
}
