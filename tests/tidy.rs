//! Keeps the house: where unsafe code may stand, who may know whom, and that what is referred to exists.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test of the files themselves")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders that may hold unsafe code.
const UNSAFE: &[&str] = &[
    "bench/",
    "examples/ecosystem/src/within_tokio.rs",
    "runtime/src/buf/",
    "runtime/src/driver/",
    "runtime/src/executor/builder.rs",
    "runtime/src/executor/mod.rs",
    "runtime/src/executor/stepped.rs",
    "runtime/src/io/kept.rs",
    "runtime/src/op/",
    "runtime/src/ring/",
    "runtime/src/sim/memory.rs",
    "runtime/src/sim/ring.rs",
    "runtime/src/sys/",
    "runtime/src/task/",
    "runtime/src/time/timers.rs",
    "runtime/src/world/run.rs",
    "sync/src/inbox.rs",
    "sync/src/lock.rs",
    "sync/src/notice.rs",
    "sync/src/parked.rs",
    "sync/src/queue/job.rs",
    "sync/src/rw_lock.rs",
    "sync/src/twin.rs",
    "sync/src/wait.rs",
    "sync/src/wait_list.rs",
    "sync/tests/loom.rs",
    "tests/",
];

/// Modules of the runtime, lowest first: each may use only what stands before it.
const LAYERS: &[&str] = &[
    "error", "sys", "ring", "buf", "sim", "driver", "scope", "time", "op", "task", "blocking", "executor", "world",
    "io", "signal",
];

/// The sources of the libraries.
const LIBRARIES: &[&str] = &["src/", "runtime/src/", "net/src/", "fs/src/", "sync/src/"];

/// Where they may call the system. All else asks `driver::calls`, which a simulated kernel can answer, too.
const CALLS: &[&str] = &[
    "runtime/src/driver/calls.rs",
    "runtime/src/driver/file_calls.rs",
    "runtime/src/driver/folder_calls.rs",
    "runtime/src/driver/passing_calls.rs",
    "runtime/src/driver/socket_calls.rs",
    "runtime/src/ring/",
    "runtime/src/sys/",
];

/// What is not asked of the kernel, though it stands in libc.
const COMPUTED: &[&str] = &["makedev"];

/// What a module of tests/it that is for both fillings does without, as it begins, and how it may go on nevertheless.
const REAL: &[(&str, &[&str])] = &[
    ("std::fs", &[]),
    ("std::net", &["::SocketAddr"]),
    ("std::os::unix::net", &[]),
    ("std::thread", &["::panicking"]),
    ("std::process", &[]),
    ("std::env", &[]),
    ("env!", &[]),
    ("std::time::Instant", &[]),
    ("std::time::SystemTime", &[]),
    ("tempfile::", &[]),
    ("use socket2", &[]),
    ("SockRef", &[]),
    ("corering::run(", &[]),
    ("Builder::new().build", &[]),
    ("Builder::new().run", &[]),
    (".block_on(", &[]),
    ("\"/dev/", &[]),
    ("\"/proc/", &[]),
];

/// These may call the C library: for memory alone.
const MEMORY: &[&str] = &["tests/it/guard.rs"];

const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];

fn files(extension: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the project").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, extension, &mut found);
    found.sort();
    let relative = |path: &Path| path.strip_prefix(root).expect("below the root").display().to_string();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).expect("text"))).collect()
}

/// Lines of code, with their numbers: comments are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn none(wrong: &[String], what_to_do: &str) {
    assert!(wrong.is_empty(), "{what_to_do}:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_only_where_it_is_listed() {
    let mut wrong = Vec::new();
    for (path, text) in files("rs") {
        if path == "tests/tidy.rs" || UNSAFE.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for (number, line) in code(&text) {
            let begins = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern"];
            if begins.iter().any(|begin| line.contains(begin)) {
                wrong.push(format!("{path}:{number}"));
            }
        }
    }
    none(&wrong, "move the unsafe code to a file of the list in tests/tidy.rs, or argue for a new one");
    for library in ["net/src/lib.rs", "fs/src/lib.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(library)).expect("text");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{library} forbids unsafe code");
    }
}

/// The ways round the seam in a line of code.
fn bypasses(line: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = |word: &str| line.match_indices(word).any(|(at, _)| !line[..at].ends_with(is_name));
    let words = ["SockRef", "Socket::new", "from_raw_fd", "use libc", "asm!"];
    let words = words.iter().filter(|word| named(word)).map(|word| word.to_string());
    let calls = line.split("libc::").skip(1).filter_map(|rest| {
        let name = rest.split(|c| !is_name(c)).next()?;
        let is_call = rest[name.len()..].starts_with('(') && !COMPUTED.contains(&name);
        is_call.then(|| format!("libc::{name}"))
    });
    words.chain(calls).collect()
}

#[test]
fn only_the_seam_calls_the_system() {
    assert_eq!(bypasses("let n = unsafe { libc::read(fd, p, 1) };"), ["libc::read"]);
    assert_eq!(bypasses("SockRef::from(&Socket::new(a, b, c)?)"), ["SockRef", "Socket::new"]);
    assert!(bypasses("libc::makedev(1, libc::EIO) | UdpSocket::new(descriptor)").is_empty());
    let mut wrong = Vec::new();
    for (path, text) in files("rs") {
        let begins = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        if begins(LIBRARIES) && !begins(CALLS) {
            for (number, line) in code(&text) {
                wrong.extend(bypasses(line).iter().map(|word| format!("{path}:{number}: {word}")));
            }
        }
    }
    none(&wrong, "let driver::calls ask for it, so that a simulated kernel can answer");
}

#[test]
fn modules_use_only_what_stands_to_their_left() {
    let mut wrong = Vec::new();
    for (path, text) in files("rs") {
        let Some(module) = path.strip_prefix("runtime/src/") else {
            continue;
        };
        let module = module.split(['/', '.']).next().expect("a name");
        let Some(own) = LAYERS.iter().position(|layer| *layer == module) else {
            assert_eq!(module, "lib", "{path} is in no layer of tests/tidy.rs");
            continue;
        };
        for (number, line) in code(&text) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().expect("a name");
                if used.is_empty() {
                    wrong.push(format!(
                        "{path}:{number}: several modules in one `use crate::{{..}}`: give each its own"
                    ));
                } else if LAYERS.iter().position(|layer| *layer == used).is_some_and(|layer| layer > own) {
                    wrong.push(format!("{path}:{number}: {module} uses {used}"));
                }
            }
        }
    }
    none(&wrong, "a layer knows only those below it: let the one above connect them");
}

#[test]
fn every_file_says_what_it_is_and_is_finished() {
    let mut wrong = Vec::new();
    for (path, text) in files("rs") {
        if !text.starts_with("//! ") {
            wrong.push(format!("{path}:1: begins without a //! head"));
        }
        if path == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in code(&text) {
            for word in UNFINISHED {
                if line.contains(word) {
                    wrong.push(format!("{path}:{number}: {word}"));
                }
            }
        }
    }
    none(&wrong, "say what the file is, and finish it");
}

/// The paths of the modules of tests/it that are for both fillings, as its main.rs lists them.
fn for_both_fillings() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let main = fs::read_to_string(root.join("tests/it/main.rs")).expect("text");
    let (_, rest) = main.split_once("\n// For both fillings.\n").expect("a list");
    let modules = rest.lines().map_while(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    modules.map(|module| format!("tests/it/{module}.rs")).collect()
}

/// Whether a line holds what only the real kernel has.
fn is_real(line: &str) -> bool {
    REAL.iter().any(|(begin, allowed)| {
        line.match_indices(begin).any(|(at, _)| !allowed.iter().any(|rest| line[at + begin.len()..].starts_with(rest)))
    })
}

/// Whether a line calls the C library: its constants begin with a capital letter.
fn calls_c(line: &str) -> bool {
    line.split("libc::").skip(1).any(|rest| rest.starts_with(char::is_lowercase))
}

#[test]
fn what_is_for_both_fillings_needs_nothing_real() {
    let modules = for_both_fillings();
    assert!(modules.len() > 20, "{modules:?}");
    let mut wrong = Vec::new();
    for (path, text) in files("rs").into_iter().filter(|(path, _)| modules.contains(path)) {
        for (number, line) in code(&text) {
            if is_real(line) || calls_c(line) && !MEMORY.contains(&path.as_str()) {
                wrong.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    none(&wrong, "use what tests/it/real.rs gives, or move the test to a module for the real kernel alone");
}

#[test]
fn facts_of_the_kernel_that_are_cited_are_written_down() {
    let kernel = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kernel.md")).expect("text");
    let mut wrong = Vec::new();
    for (path, text) in files("rs").into_iter().chain(files("md")) {
        for (number, line) in text.lines().enumerate() {
            for cited in line.split(['(', ',', ')']).map(str::trim) {
                let digits = cited.strip_prefix('K').filter(|digits| digits.parse::<u32>().is_ok());
                if digits.is_some() && !kernel.contains(&format!("## {cited} ")) {
                    wrong.push(format!("{path}:{}: {cited}", number + 1));
                }
            }
        }
    }
    none(&wrong, "add the fact to docs/kernel.md, with its version and source");
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for (path, text) in files("md") {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().expect("a part");
            let here = root.join(&path);
            if !target.is_empty() && !target.contains("://") && !here.parent().expect("a folder").join(target).exists()
            {
                wrong.push(format!("{path}: {link}"));
            }
        }
    }
    none(&wrong, "mend the link, or write what it leads to");
}

#[test]
fn nothing_refers_to_one_machine() {
    let folders = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for (path, text) in ["rs", "md", "toml"].into_iter().flat_map(files) {
        for (number, line) in text.lines().enumerate() {
            // A path begins there; within an address of the web it goes on.
            let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".-_".contains(c));
            if folders.iter().any(|folder| line.match_indices(folder.as_str()).any(|(at, _)| begins(at))) {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none(&wrong, "others do not have that folder: name the file from the root of the project, or not at all");
}
