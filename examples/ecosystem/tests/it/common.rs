//! What the modules share: how cores are run, and how servers are found, started and ended.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use corering::{Builder, io, metrics};

/// Nothing here takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Runs a body on a core of its own, and checks that it leaves nothing behind.
#[track_caller]
pub(crate) fn clean<T>(body: impl AsyncFnOnce() -> io::Result<T>) -> T {
    clean_on(Builder::new(), body)
}

#[track_caller]
pub(crate) fn clean_on<T>(builder: Builder, body: impl AsyncFnOnce() -> io::Result<T>) -> T {
    let output = builder.run(async {
        let output = body().await.expect("no error");
        let began = Instant::now();
        loop {
            let metrics = metrics().expect("on a core");
            assert!(began.elapsed() < LONG, "something is left: {metrics:?}");
            if (metrics.operations, metrics.tasks, metrics.timers, metrics.buffers_held) == (0, 1, 0, 0) {
                assert_eq!(metrics.unknown_completions, 0);
                return output;
            }
            corering::task::yield_now().await;
        }
    });
    output.expect("io_uring")
}

/// Says that a test cannot be made here. Where nothing may be left out, that is a failure.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CORERING_REQUIRE_ALL").is_none(), "{reason}");
    println!("SKIPPED: {reason}");
}

/// A program of the system, also where Debian puts those of a database; `None`, with a word about it, if it is not there.
#[track_caller]
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let mut folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    for version in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        folders.push(version.path().join("bin"));
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// An example of the project's root, or of this package; `None`, with a word about it, if it has not been built.
#[track_caller]
pub(crate) fn example(name: &str) -> Option<Command> {
    let test = std::env::current_exe().expect("this test's own program");
    let program = test.ancestors().nth(2).expect("the build's folder").join("examples").join(name);
    if program.is_file() {
        return Some(Command::new(program));
    }
    skip(&format!("{} has not been built (cargo build --workspace --examples)", program.display()));
    None
}

/// Waits until something is so, which has to come.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program that is killed when the test ends, however that ends.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // If it has ended, nobody is killed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a file says, or nothing as long as it is not there.
pub(crate) fn said(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
