//! Files whose file system never answers (R65): a small one in user space, which knows one file and keeps silent when that
//! is read.

use std::ffi::CString;
use std::fs::File as StdFile;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::time::timeout;

use crate::{Case, child_of, contains};

/// Where the file is, in the child's environment.
const FILE: &str = "CORERING_HUNG";

/// The limit of a core is five seconds.
const LONG: Duration = Duration::from_secs(25);

/// Reads what never comes: gives it up by a time-out, by dropping it and by the end of the core.
pub(crate) fn read_what_never_comes() {
    let path = PathBuf::from(std::env::var_os(FILE).expect("a file"));
    let began = corering::run(async {
        let file = File::open(&path).await.expect("it is there");
        let read = timeout(Duration::from_millis(50), file.read_at(Vec::with_capacity(4096), 0)).await;
        println!("timed out: {}", read.is_err());
        // The core goes on, and other files are read.
        assert!(!corering::fs::read("/proc/self/status").await.expect("there").is_empty());
        corering::spawn(async move { file.read_at(Vec::with_capacity(4096), 1 << 20).await.0 });
        corering::time::sleep(Duration::from_millis(10)).await;
        println!("the core goes on");
        Instant::now()
    });
    println!("ended after {} ms", began.expect("io_uring").elapsed().as_millis());
}

/// The core ends within its limit. (The process can only when the file system goes: threads of the kernel wait for it.)
pub(crate) fn ends_all_the_same(case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let Some(silent) = Silent::mount(folder.path()) else {
        // Mounting takes /dev/fuse and root, which not every machine gives.
        println!("SKIPPED: {} needs to mount a file system of its own", case.name);
        return Ok(());
    };
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).env(FILE, folder.path().join("file")).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    // The file system goes when the child's core has ended, or will never.
    let (ended, has_ended) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let _ = has_ended.recv_timeout(LONG);
        drop(silent);
    });
    let mut text = String::new();
    while !text.contains("ended after") {
        let Some(Ok(line)) = lines.next() else { break };
        text.push_str(&line);
        text.push('\n');
    }
    drop(ended);
    watch.join().map_err(|_| "the watch has panicked")?;
    let status = child.wait().map_err(|error| error.to_string())?;
    child.stderr.take().ok_or("no errors")?.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("{status}: {text}"));
    }
    contains(&text, &["timed out: true", "the core goes on", "ended after"])?;
    let took = text.split("ended after ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    match took.map(Duration::from_millis) {
        Some(took) if took * 2 < LONG => Ok(()),
        Some(_) | None => Err(format!("only the end of the file system has ended it: {text}")),
    }
}

/// A mounted file system with one file, which never answers reads. It goes when this is dropped.
struct Silent {
    at: CString,
}

impl Silent {
    fn mount(at: &Path) -> Option<Self> {
        let device = StdFile::options().read(true).write(true).open("/dev/fuse").ok()?;
        let at = CString::new(at.as_os_str().as_bytes()).ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).ok()?;
        // SAFETY: all of these are C strings that outlive the call.
        let mounted = unsafe {
            libc::mount(
                c"silent".as_ptr(),
                at.as_ptr(),
                c"fuse".as_ptr(),
                libc::MS_NOSUID | libc::MS_NODEV,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            return None;
        }
        std::thread::spawn(move || serve(device));
        Some(Self { at })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // SAFETY: a C string that outlives the call. Whoever waits for an answer gets an error then.
        unsafe { libc::umount2(self.at.as_ptr(), libc::MNT_FORCE) };
        // SAFETY: as before. By force alone it stays if a file is open.
        unsafe { libc::umount2(self.at.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Requests of the kernel, as `linux/fuse.h` numbers them.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
/// A flag of the answer to `INIT`.
const ASYNC_READ: u32 = 1;

/// Answers requests until the file system is gone.
fn serve(mut device: StdFile) {
    let mut request = vec![0; 1 << 20];
    while let Ok(len) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight bytes"));
        assert!(len >= 40, "a request has a head");
        let (kind, unique, node) = (word(4), long(8), long(16));
        let answer = match kind {
            FORGET | BATCH_FORGET | READ | INTERRUPT => continue,
            // The version, what is read ahead, and that several reads may wait at once, as most of its kind say: else the
            // kernel waits for each where it was asked, which is on the core.
            INIT => [&[7_u32, 31, 128 << 10, ASYNC_READ].map(u32::to_ne_bytes).concat()[..], &[0; 48]].concat(),
            LOOKUP => [&2_u64.to_ne_bytes()[..], &[0; 32], &attributes(2)].concat(),
            GETATTR => [&[0; 16][..], &attributes(node)].concat(),
            OPEN => vec![0; 16],
            _ => Vec::new(),
        };
        // There is nothing else that it can do.
        let error = if answer.is_empty() { -libc::ENOSYS } else { 0 };
        let head = [(16 + answer.len() as u32).to_ne_bytes(), error.to_ne_bytes()].concat();
        if device.write_all(&[&head, &unique.to_ne_bytes()[..], &answer].concat()).is_err() {
            return;
        }
    }
}

/// Of the folder, which is the first, or the file: its length, kind and number of names.
fn attributes(node: u64) -> Vec<u8> {
    let mode = if node == 1 { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o644 };
    let longs = [node, 1 << 30, 1 << 21, 0, 0, 0].map(u64::to_ne_bytes).concat();
    let words = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat();
    [longs, words].concat()
}
