//! What the modules share: the servers, how they are run, and clients.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing here takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Says that a test cannot be made here. Where nothing may be left out, that is a failure.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CORERING_REQUIRE_ALL").is_none(), "{reason}");
    println!("SKIPPED: {reason}");
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

/// The program of a server; `None`, with a word about it, if it has not been built since its source changed.
#[track_caller]
pub(crate) fn program(name: &str) -> Option<Command> {
    let test = std::env::current_exe().expect("this test's own program");
    let program = test.ancestors().nth(2).expect("the build's folder").join("examples").join(name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let mut sources = std::fs::read_dir(sources).expect("a folder").map(|entry| entry.expect("a name").path());
    if sources.all(|source: PathBuf| changed(&program) >= changed(&source)) {
        return Some(Command::new(program));
    }
    let program = program.display();
    skip(&format!("{program} has not been built since it changed (cargo build --examples --all-features)"));
    None
}

/// A server that is killed when the test ends, however that ends.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    output: Option<JoinHandle<String>>,
    errors: Option<JoinHandle<()>>,
    told: Arc<Mutex<String>>,
}

impl Server {
    /// Started with a free port, and with what it says read on.
    #[track_caller]
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let mut command = program(name)?;
        command.arg("127.0.0.1:0").args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let told = Arc::new(Mutex::new(String::new()));
        let errors = {
            let told = Arc::clone(&told);
            std::thread::spawn(move || {
                let mut line = String::new();
                while stderr.read_line(&mut line).expect("read") > 0 {
                    told.lock().expect("no panic").push_str(&std::mem::take(&mut line));
                }
            })
        };
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("{line:?}: {told:?}")).to_owned();
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("read");
            text
        });
        Some(Self { child, address, output: Some(output), errors: Some(errors), told })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A connection on which nothing waits for ever.
    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a server that accepts");
        stream.set_read_timeout(Some(LONG)).expect("can be set");
        stream.set_write_timeout(Some(LONG)).expect("can be set");
        stream
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: takes no pointers; the child has not been waited for, so the number is its.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// How much memory it has in use.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What it has said on standard error so far.
    pub(crate) fn told(&self) -> String {
        self.told.lock().expect("no panic").clone()
    }

    /// Waits for its end, which has to come: how it ended, and what it printed after the first line.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        until("it ends", || self.child.try_wait().expect("its state").is_some());
        let status = self.child.wait().expect("its state");
        self.errors.take().expect("ends once").join().expect("read");
        (status, self.output.take().expect("ends once").join().expect("read"))
    }

    /// Lets it end in good order: it has said nothing but that it does.
    #[track_caller]
    pub(crate) fn end_well(mut self) {
        self.signal(libc::SIGTERM);
        let (status, _) = self.end();
        assert_eq!(status.code(), Some(0), "{}", self.told());
        assert_eq!(self.told().lines().count(), 1, "{}", self.told());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has ended, nobody is killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program to its end, which has to come by itself.
#[track_caller]
pub(crate) fn output_of(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

/// Waits until something is so, which has to come.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All that comes until the other side ends or breaks off.
pub(crate) fn all_of(stream: &mut impl Read) -> Vec<u8> {
    let (mut bytes, mut room) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut room) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let is_over = error.kind() == std::io::ErrorKind::ConnectionReset;
                assert!(is_over, "the server neither answers nor closes: {error}");
                return bytes;
            }
        }
    }
}

/// Closes a connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let (fd, value) = (stream.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `linger` outlives the call, and is as long as is said.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, len) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}
