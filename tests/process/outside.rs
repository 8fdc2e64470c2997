//! What others do to the process.

use std::os::fd::RawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corering::op::io_uring::{IoUring, opcode, types};

use crate::{Case, child_of, contains, echo, text_of};

/// How long the child works, and is stopped within.
const WORK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);

/// Round trips and sleeps side by side, until the time is over.
pub(crate) fn round_trips_for_a_while() {
    corering::run(async {
        let began = Instant::now();
        let sleeper = corering::spawn(async move {
            let mut longest = Duration::ZERO;
            while began.elapsed() < WORK {
                let start = Instant::now();
                corering::time::sleep(Duration::from_millis(1)).await;
                assert!(start.elapsed() >= Duration::from_millis(1), "early");
                longest = longest.max(start.elapsed());
            }
            longest
        });
        println!("working");
        while began.elapsed() < WORK {
            echo(50).await.expect("no error");
        }
        println!("stopped for {} ms, and nothing was lost", sleeper.await.expect("no panic").as_millis());
    })
    .expect("io_uring");
}

/// Stops the child in the middle of its work, and lets it go on.
pub(crate) fn stop_for_a_while(case: &Case) -> Result<(), String> {
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| error.to_string())?;
    let id = libc::pid_t::try_from(child.id()).map_err(|error| error.to_string())?;
    std::thread::sleep(WORK / 4);
    for signal in [libc::SIGSTOP, libc::SIGCONT] {
        // SAFETY: takes no pointers; the child has not been waited for, so the number is its own.
        if unsafe { libc::kill(id, signal) } != 0 {
            return Err(format!("cannot signal: {}", std::io::Error::last_os_error()));
        }
        if signal == libc::SIGSTOP {
            std::thread::sleep(PAUSE);
        }
    }
    let text = text_of(&child.wait_with_output().map_err(|error| error.to_string())?)?;
    contains(&text, &["working", "nothing was lost"])?;
    let stopped: u128 =
        text.split("stopped for ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
    if stopped < PAUSE.as_millis() * 9 / 10 { Err(format!("it was never stopped: {text}")) } else { Ok(()) }
}

/// The only ring of the process.
fn ring_of_the_core() -> RawFd {
    let is_ring = |fd: &RawFd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        link.is_ok_and(|link| link.to_string_lossy().contains("io_uring"))
    };
    (3..100).find(is_ring).expect("a core")
}

/// Posts completions into the core's ring that belong to no operation of it: of a kind that is not known, and of a
/// place that is free.
pub(crate) fn receive_what_nobody_asked_for() {
    corering::run(async {
        echo(3).await.expect("no error");
        let target = ring_of_the_core();
        let mut other = IoUring::new(8).expect("io_uring");
        for data in [0xdead, 0x7f00_0000_1234_5600, u64::MAX, 0] {
            let message = opcode::MsgRingData::new(types::Fd(target), 77, data, None).build();
            // SAFETY: a message points to nothing.
            unsafe { other.submission().push(&message) }.expect("room");
        }
        other.submit_and_wait(4).expect("sent");
        assert!(other.completion().all(|completion| completion.result() == 0), "the messages arrived");
        drop(other);
        let before = corering::metrics().expect("a core").unknown_completions;
        echo(3).await.expect("no error");
        let after = corering::metrics().expect("a core").unknown_completions;
        assert_eq!((before, after), (0, 4));
        println!("counted, and went on");
    })
    .expect("io_uring");
}
