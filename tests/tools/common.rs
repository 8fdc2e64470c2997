//! What the modules share: the programs, and how they are run.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes so long.
const LONG: Duration = Duration::from_secs(60);

/// Says that a test cannot be made here. Where nothing may be left out, that is a failure.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CORERING_REQUIRE_ALL").is_none(), "{reason}");
    println!("SKIPPED: {reason}");
}

/// The program of a tool; `None`, with a word about it, if it has not been built since its source changed.
#[track_caller]
pub(crate) fn tool(name: &str) -> Option<Command> {
    let test = std::env::current_exe().expect("this test's own program");
    let program = test.ancestors().nth(2).expect("the build's folder").join("examples").join(name);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let mut sources: Vec<PathBuf> = Vec::new();
    for folder in [examples.join(name), examples.join("tool")] {
        sources.extend(std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a name").path()));
    }
    if sources.iter().all(|source| changed(&program) >= changed(source)) {
        return Some(Command::new(program));
    }
    skip(&format!("{} has not been built since it changed (cargo build --examples)", program.display()));
    None
}

/// A program of the system; `None`, with a word about it, if it is not there.
#[track_caller]
pub(crate) fn other(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file()) {
        Some(program) => Some(Command::new(program)),
        None => {
            skip(&format!("{name} is not installed"));
            None
        }
    }
}

/// A folder of one's own, on a disk.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// Runs a program to its end, which has to come.
#[track_caller]
pub(crate) fn end_of(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    output_of(command.spawn().expect("it runs"))
}

#[track_caller]
pub(crate) fn output_of(mut child: Child) -> Output {
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).expect("read");
            }
            bytes
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break status;
        }
        if began.elapsed() > LONG {
            child.kill().expect("it runs");
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Output { status, stdout: stdout.join().expect("read"), stderr: stderr.join().expect("read") }
}

/// Lets a program be interrupted, as Ctrl-C does.
pub(crate) fn interrupt(child: &Child) {
    // SAFETY: takes no pointers; the child has not been waited for, so the number is its.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
}

/// Waits until something is so, which has to come.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines, sorted: for what is printed in no order.
pub(crate) fn sorted(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = text(bytes).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
