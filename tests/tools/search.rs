//! `search`: what grep and rg find, it finds.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::{end_of, folder, interrupt, other, output_of, sorted, text, tool, until};

/// A tree with one of everything that is hard to search.
fn tree(root: &Path) {
    let lines = |count: usize| -> String {
        (0..count)
            .map(|number| format!("line {number} of {}\n", if number % 7 == 0 { "needle" } else { "hay" }))
            .collect()
    };
    fs::create_dir_all(root.join("deep/er")).expect("made");
    let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).expect("written");
    write("empty", b"");
    write("newline", b"\n");
    write("plain", b"a needle\nhay\nNeedle in hay\nneedles\n");
    write("no final newline", b"hay\nneedle at the end");
    write("crlf", b"one needle\r\ntwo\r\nneedle\r\n");
    write("deep/er/latin1", b"caf\xe9 needle\n\xff\xfe\nneedle \xc3\n");
    write("deep/many", lines(100_000).as_bytes());
    write("deep/exact page", &[b"needle\n".repeat(585), b"x\n".to_vec()].concat()[..4096]);
    for size in [65_535, 65_536, 65_537, 131_072, 262_144, 262_145] {
        let mut bytes = lines(20_000).into_bytes();
        bytes.truncate(size);
        write(&format!("deep/size {size}"), &bytes);
    }
    // Lines that are longer than what is read at once.
    let mut long = vec![b'x'; 1_000_000];
    long.extend_from_slice(b" needle ");
    long.extend(vec![b'y'; 700_000]);
    long.extend_from_slice(b"\nhay\nneedle\n");
    write("long", &long);
    let name = OsStr::from_bytes(b"new\nline \xff");
    fs::write(root.join(name), "a needle\n").expect("written");
    symlink(root.join("plain"), root.join("link")).expect("made");
    symlink(root, root.join("deep/circle")).expect("made");
}

fn binaries(root: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).expect("written");
    write("zero first", b"\0needle\n");
    write("zero later", b"needle one\nneedle two\0\nneedle three\n");
    let mut late = b"hay\n".repeat(100_000);
    late.extend_from_slice(b"needle\nhay\0hay\nneedle\n");
    write("zero late", &late);
}

fn search(root: &Path, arguments: &[&str]) -> Option<Output> {
    Some(end_of(tool("search")?.current_dir(root).args(arguments).stdin(Stdio::null())))
}

fn grep(root: &Path, arguments: &[&str]) -> Option<Output> {
    Some(end_of(other("grep")?.env("LC_ALL", "C").current_dir(root).args(arguments).stdin(Stdio::null())))
}

#[test]
fn the_lines_are_those_of_grep() {
    let folder = folder();
    let root = folder.path();
    tree(root);
    binaries(root);
    for options in [
        &["needle"][..],
        &["-n", "needle"],
        &["-c", "needle"],
        &["-v", "-n", "needle"],
        &["-v", "-c", "needle"],
        &["-i", "NEEDLE"],
        &["-w", "-n", "needle"],
        &["-F", "-n", "needle"],
        &["-e", "needle at", "-e", "two"],
        &["-n", "^needle$"],
        &["-n", "line [0-9]*00 "],
        &["-c", ""],
        &["-c", "^$"],
        &["-m", "3", "-n", "needle"],
        &["-m", "2", "-c", "hay"],
        &["-o", "-n", "needle.?"],
        &["-h", "needle"],
        &["-l", "needle"],
        &["-L", "needle"],
        &["-l", "-v", "needle"],
        &["-c", "nothing of the kind"],
    ] {
        let ours = [options, &["-a", "--no-ignore", "--hidden", "."]].concat();
        let kind = if options[0] == "-F" { &[][..] } else { &["-E"] };
        let theirs = [&["-r", "-a"], kind, options, &["."]].concat();
        let (Some(ours), Some(theirs)) = (search(root, &ours), grep(root, &theirs)) else { return };
        assert_eq!(text(&ours.stderr), "", "{options:?}");
        assert!(sorted(&ours.stdout) == sorted(&theirs.stdout), "{options:?}: other lines than grep");
        // -L is about names that are printed in ours, and was about lines in grep before 3.5.
        if options[0] != "-L" {
            assert_eq!(ours.status.code(), theirs.status.code(), "{options:?}");
        }
    }
}

#[test]
fn context_is_that_of_grep_to_the_byte() {
    let folder = folder();
    let root = folder.path();
    tree(root);
    let files = ["deep/many", "deep/size 65537", "plain", "long", "deep/size 262145", "crlf", "empty"];
    for options in [
        &["-A1", "-n", "needle"][..],
        &["-B2", "-n", "needle"],
        &["-C3", "-n", "needle"],
        &["-C3", "needle"],
        &["-A2", "-B1", "-n", "0 of needle"],
        &["-C1", "-m2", "-n", "needle"],
        &["-A3", "-m1", "-v", "-n", "needle"],
        &["-B50", "-n", "line 1.*99 of needle"],
        &["-C2", "-v", "-n", "hay"],
    ] {
        for jobs in ["1", "64"] {
            let ours = [options, &["-a", "-j", jobs], &files].concat();
            let theirs = [&["-a", "-E"], options, &files].concat();
            let (Some(ours), Some(theirs)) = (search(root, &ours), grep(root, &theirs)) else { return };
            assert!(ours.stdout == theirs.stdout, "{options:?} with {jobs} jobs: other lines than grep");
        }
    }
}

#[test]
fn what_is_ignored_hidden_or_binary_is_what_rg_leaves_out() {
    let folder = folder();
    let root = folder.path();
    tree(root);
    binaries(root);
    let write = |name: &str, text: &str| {
        fs::create_dir_all(root.join(name).parent().expect("a folder")).expect("made");
        fs::write(root.join(name), text).expect("written");
    };
    for name in
        ["a.log", "b.log", "keep.log", "target/x", "src/target/y", "src/a.tmp", ".hidden/z", "src/.dot", "src/c"]
    {
        write(name, "a needle\n");
    }
    write(".gitignore", "*.log\n!keep.log\n/target\n");
    write("src/.ignore", "*.tmp\n");
    fs::create_dir(root.join(".git")).expect("made");
    for options in [
        &["needle"][..],
        &["--hidden", "needle"],
        &["--no-ignore", "needle"],
        &["--no-ignore", "--hidden", "-l", "needle"],
        &["-g", "*.log", "needle"],
        &["-g", "!src", "-l", "needle"],
        &["-S", "Needle"],
        &["-S", "needle", "-n"],
        &["-L", "needle"],
        &["-l", "needle", "src", "target"],
    ] {
        let ours = [options, &[]].concat();
        let theirs = [&["--no-heading", "--no-config", "--no-require-git", "--no-ignore-global"], options].concat();
        let theirs: Vec<_> =
            theirs.iter().map(|word| if *word == "-L" { "--files-without-match" } else { word }).collect();
        let Some(mut rg) = other("rg") else { return };
        let theirs = end_of(rg.current_dir(root).args(theirs).stdin(Stdio::null()));
        let Some(ours) = search(root, &ours) else { return };
        let (ours_sorted, theirs_sorted) = (sorted(&ours.stdout), sorted(&theirs.stdout));
        // The first line that differs, of many.
        let other = ours_sorted.iter().zip(&theirs_sorted).find(|(ours, theirs)| ours != theirs);
        assert_eq!((other, ours_sorted.len()), (None, theirs_sorted.len()), "{options:?}");
        assert_eq!(ours.status.code(), theirs.status.code(), "{options:?}");
    }
}

#[test]
fn a_zero_byte_ends_the_search_of_a_file_that_is_not_named() {
    let folder = folder();
    let root = folder.path();
    let mut late = b"needle\n".to_vec();
    late.extend(b"hay\n".repeat(100_000));
    late.extend_from_slice(b"needle\nhay\0hay\nneedle\n");
    fs::write(root.join("late"), &late).expect("written");
    fs::write(root.join("soon"), "needle\n\0").expect("written");
    let warning = "WARNING: stopped searching binary file after match (found \"\\0\" byte around offset 400017)";
    for (options, expected) in [
        (&["needle"][..], format!("late:needle\nlate: {warning}\n")),
        (&["-l", "needle"], "late\n".to_owned()),
        (&["-c", "needle"], String::new()),
        (&["-L", "nothing"], String::new()),
        (&["-a", "-c", "needle", "--sort"], "late:3\nsoon:1\n".to_owned()),
    ] {
        let Some(output) = search(root, options) else { return };
        assert_eq!(text(&output.stdout), expected, "{options:?}");
    }
}

#[test]
fn a_binary_file_that_is_named_is_told_and_not_printed() {
    let folder = folder();
    binaries(folder.path());
    let Some(output) = search(folder.path(), &["needle", "zero first", "zero late"]) else { return };
    let late = "zero late: binary file matches (found \"\\0\" byte around offset 400010)\n";
    let expected = format!("zero first: binary file matches (found \"\\0\" byte around offset 0)\n{late}");
    // The first needle of "zero late" stands in a block without a zero byte or in one with it.
    let printed = text(&output.stdout).replace("zero late:needle\n", "");
    assert_eq!((printed, output.status.code()), (expected, Some(0)));
}

#[test]
fn the_output_is_the_same_with_any_number_of_jobs_and_sorted_if_asked() {
    let folder = folder();
    let root = folder.path();
    tree(root);
    let mut before = None;
    for jobs in ["1", "2", "64"] {
        let Some(output) = search(root, &["-n", "needle", "--sort", "-j", jobs]) else { return };
        assert!(before.get_or_insert_with(|| output.stdout.clone()) == &output.stdout, "{jobs} jobs");
    }
}

#[test]
fn much_that_is_found_in_many_files_is_printed_in_order() {
    let folder = folder();
    let root = folder.path();
    // Each prints more than is kept until it is a file's turn.
    let mut expected = Vec::new();
    for number in 0..12 {
        let name = format!("file {number:02}");
        let lines: String = (0..40_000).map(|line| format!("{number} {line} x\n")).collect();
        expected.extend(lines.lines().flat_map(|line| format!("{name}:{line}\n").into_bytes()));
        fs::write(root.join(name), lines).expect("written");
    }
    let Some(output) = search(root, &["--sort", "x"]) else { return };
    assert!(output.stdout == expected, "{} of {} bytes, or in another order", output.stdout.len(), expected.len());
}

#[test]
fn standard_input_is_searched_and_lines_that_come_in_pieces_are_whole() {
    let Some(mut command) = tool("search") else { return };
    let mut child = command.args(["-n", "needle"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        for part in ["hay\nnee", "dle\nhay ne", "edle hay\n", "nothing"] {
            input.write_all(part.as_bytes()).expect("written");
            std::thread::yield_now();
        }
    });
    let output = output_of(child);
    writer.join().expect("no panic");
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("2:needle\n3:hay needle hay\n", Some(0)));
}

#[test]
fn the_exit_code_says_what_came_of_it() {
    let folder = folder();
    let root = folder.path();
    fs::write(root.join("file"), "a needle\n").expect("written");
    for (arguments, code) in [
        (&["needle", "file"][..], 0),
        (&["nothing", "file"], 1),
        (&["needle", "file", "missing"], 2),
        (&["nothing", "missing"], 2),
        (&["-q", "nothing", "file"], 1),
        (&["a(b", "file"], 2),
        (&["a\\nb", "file"], 2),
        (&["-g", "a[", "x", "."], 2),
        (&["--unknown", "x"], 2),
        (&[], 2),
        (&["-L", "nothing", "file"], 0),
        (&["-L", "needle", "file"], 1),
        (&["-q", "needle", "file"], 0),
    ] {
        let Some(output) = search(root, arguments) else { return };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(output.stderr.is_empty(), code != 2, "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_searched_and_pipes_are_never_waited_for() {
    let folder = folder();
    let root = folder.path();
    fs::write(root.join("file"), "a needle\n").expect("written");
    let fifo = root.join("fifo");
    let name = std::ffi::CString::new(fifo.as_os_str().as_bytes()).expect("no zero");
    // SAFETY: a path that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    symlink("nowhere", root.join("dangling")).expect("made");
    let Some(output) = search(root, &["needle", "."]) else { return };
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("./file:a needle\n", ""));
    let Some(output) = search(root, &["needle", "fifo", "dangling", "/dev/null", "file"]) else { return };
    assert_eq!(text(&output.stdout), "file:a needle\n");
    let errors =
        "search: fifo: neither a file nor a directory\nsearch: dangling: No such file or directory (os error 2)\n";
    assert_eq!(sorted(&output.stderr), sorted(errors.as_bytes()));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn names_end_with_a_zero_if_asked_and_json_and_colors_are_what_they_are() {
    let folder = folder();
    let root = folder.path();
    fs::write(root.join("a\nb"), "x\na needle, needle\n").expect("written");
    let Some(output) = search(root, &["-l", "-0", "needle"]) else { return };
    assert_eq!(text(&output.stdout), "a\nb\0");
    let Some(output) = search(root, &["--json", "needle"]) else { return };
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an object");
    let expected = serde_json::json!({
        "path": "a\nb", "line": 2, "offset": 2, "text": "a needle, needle", "matches": [[2, 8], [10, 16]], "context": false
    });
    assert_eq!(object, expected);
    let Some(output) = search(root, &["--color", "always", "-h", "needle"]) else { return };
    let colored = "a \u{1b}[1;31mneedle\u{1b}[0m, \u{1b}[1;31mneedle\u{1b}[0m\n";
    assert_eq!(text(&output.stdout), colored);
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    let folder = folder();
    tree(folder.path());
    let Some(mut command) = tool("search") else { return };
    let command = command.args(["", "."]).current_dir(folder.path()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    let output = output_of(child);
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
}

#[test]
fn it_can_be_interrupted_while_it_waits_for_input() {
    let Some(mut command) = tool("search") else { return };
    let command = command.args(["needle", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"a needle\n").expect("written");
    // It has read that when the pipe is empty.
    until("the input was read", || {
        let mut left = 0;
        // SAFETY: the pipe is open, and there is room for a number.
        assert_eq!(unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&input), libc::FIONREAD, &mut left) }, 0);
        left == 0
    });
    interrupt(&child);
    let output = output_of(child);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
}
