//! `hash`: what sha256sum says, and what it takes back.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::common::{end_of, folder, interrupt, other, output_of, sorted, text, tool, until};
use crate::trees::{add_special, files, lines, plainly, planted};

#[test]
fn every_file_has_the_digest_that_sha256sum_finds() {
    let folder = planted();
    let Some(()) = add_special(&folder.path().join("tree")) else { return };
    let Some(mut hash) = tool("hash") else { return };
    let Some(mut sha256sum) = other("sha256sum") else { return };
    let ours = end_of(hash.args(["-a", "sha256"]).arg(folder.path()));
    let theirs = end_of(sha256sum.args(files(folder.path())));
    assert_eq!((text(&ours.stderr), ours.status.code()), (String::new(), Some(0)));
    assert_eq!(lines(&ours.stdout), lines(&theirs.stdout));
}

#[test]
fn each_takes_back_what_the_other_has_printed() {
    let folder = planted();
    for tag in [&[][..], &["--tag"]] {
        let Some(mut hash) = tool("hash") else { return };
        let Some(mut sha256sum) = other("sha256sum") else { return };
        let ours = end_of(hash.args(["-a", "sha256"]).args(tag).arg(folder.path()));
        fs::write(folder.path().join("ours"), &ours.stdout).expect("written");
        let checked = end_of(plainly(&mut sha256sum).args(["--check", "--strict"]).arg(folder.path().join("ours")));
        assert!(checked.status.success(), "{}", text(&checked.stderr));

        let Some(mut sha256sum) = other("sha256sum") else { return };
        let theirs = end_of(sha256sum.args(tag).args(files(&folder.path().join("tree"))));
        fs::write(folder.path().join("theirs"), &theirs.stdout).expect("written");
        let Some(mut hash) = tool("hash") else { return };
        let checked = end_of(hash.args(["-a", "sha256", "--check", "--strict"]).arg(folder.path().join("theirs")));
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        let (good, all) = (lines(&checked.stdout).len(), files(&folder.path().join("tree")).len());
        assert_eq!(good, all);
        fs::remove_file(folder.path().join("ours")).expect("removed");
        fs::remove_file(folder.path().join("theirs")).expect("removed");
    }
}

#[test]
fn a_check_tells_what_has_changed_what_is_gone_and_what_is_no_digest() {
    let folder = folder();
    for name in ["good", "changed", "gone"] {
        fs::write(folder.path().join(name), name).expect("written");
    }
    let run = |arguments: &[&str]| Some(end_of(tool("hash")?.current_dir(folder.path()).args(arguments)));
    let Some(printed) = run(&["good", "changed", "gone"]) else { return };
    fs::write(folder.path().join("digests"), [&printed.stdout[..], b"nonsense\n"].concat()).expect("written");
    fs::write(folder.path().join("changed"), "otherwise").expect("written");
    fs::remove_file(folder.path().join("gone")).expect("removed");
    let Some(checked) = run(&["--check", "digests"]) else { return };
    assert_eq!(text(&checked.stdout), "good: OK\nchanged: FAILED\ngone: FAILED open or read\n");
    let expected = "hash: gone: No such file or directory (os error 2)\n\
                    hash: WARNING: 1 line is improperly formatted\n\
                    hash: WARNING: 1 listed file could not be read\n\
                    hash: WARNING: 1 computed checksum did NOT match\n";
    assert_eq!((text(&checked.stderr), checked.status.code()), (expected.to_owned(), Some(1)));
    let Some(quiet) = run(&["--check", "--status", "digests"]) else { return };
    assert_eq!((quiet.stdout.len(), quiet.status.code()), (0, Some(1)));
    let Some(nothing) = run(&["--check", "good"]) else { return };
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn standard_input_is_read_from_where_it_stands() {
    let Some(mut hash) = tool("hash") else { return };
    let mut child = hash.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let bytes = vec![7; 1 << 20];
    child.stdin.take().expect("a pipe").write_all(&bytes).expect("written");
    assert_eq!(text(&output_of(child).stdout), format!("{}  -\n", blake3::hash(&bytes)));

    let folder = folder();
    fs::write(folder.path().join("file"), b"skipped, hashed").expect("written");
    let mut file = fs::File::open(folder.path().join("file")).expect("a file");
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(9)).expect("moved");
    let Some(mut hash) = tool("hash") else { return };
    let ended = end_of(hash.arg("-").stdin(file));
    assert_eq!(text(&ended.stdout), format!("{}  -\n", blake3::hash(b"hashed")));
}

#[test]
fn what_says_that_it_is_empty_is_read_all_the_same() {
    let Some(mut hash) = tool("hash") else { return };
    let version = fs::read("/proc/version").expect("there");
    let ended = end_of(hash.args(["/proc/version", "--json"]));
    let expected = format!(
        "{{\"path\":\"/proc/version\",\"algorithm\":\"blake3\",\"digest\":\"{}\",\"bytes\":{}}}\n",
        blake3::hash(&version),
        version.len()
    );
    assert_eq!(text(&ended.stdout), expected);
}

#[test]
fn what_may_not_be_read_is_reported_and_the_rest_goes_on() {
    let folder = planted();
    let secret = folder.path().join("tree/secret");
    fs::write(&secret, "").expect("written");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o0)).expect("set");
    let Some(mut hash) = tool("hash") else { return };
    // SAFETY: takes no pointers, and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        hash.uid(65534);
    }
    let ended = end_of(hash.arg(folder.path().join("tree")));
    let reported = format!("hash: {}: Permission denied (os error 13)\n", secret.display());
    assert_eq!((text(&ended.stderr), ended.status.code()), (reported, Some(1)));
    assert_eq!(lines(&ended.stdout).len(), files(&folder.path().join("tree")).len() - 1);
}

#[test]
fn files_that_grow_and_shrink_meanwhile_are_read_to_some_end() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, vec![1; 1 << 20]).expect("written");
    let Some(mut hash) = tool("hash") else { return };
    let mut child = hash.args(vec![&path; 300]).stdout(Stdio::piped()).spawn().expect("it runs");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
    let mut lengths = [10, 5 << 20, 0, 1 << 20].into_iter().cycle();
    while child.try_wait().expect("its state").is_none() {
        file.set_len(lengths.next().expect("another")).expect("set");
        std::thread::yield_now();
    }
    let ended = output_of(child);
    assert_eq!((lines(&ended.stdout).len(), ended.status.code()), (300, Some(0)));
}

#[test]
fn an_interrupted_run_tells_whole_lines_and_how_far_it_came() {
    let folder = folder();
    fs::write(folder.path().join("first"), "").expect("written");
    let Some(mut hash) = tool("hash") else { return };
    // The second one never ends.
    hash.arg(folder.path().join("first")).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = hash.spawn().expect("it runs");
    let _open = child.stdin.take().expect("a pipe");
    let catches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("there");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
        u64::from_str_radix(caught.trim(), 16).expect("a number") & 1 << (libc::SIGINT - 1) != 0
    };
    until("it listens for Ctrl-C", catches);
    interrupt(&child);
    let ended = output_of(child);
    assert_eq!(ended.status.code(), Some(130));
    assert!(ended.stdout.is_empty() || ended.stdout.ends_with(b"/first\n"));
    assert!(sorted(&ended.stderr)[0].starts_with("hash: interrupted after "), "{}", text(&ended.stderr));
}

#[test]
fn a_disk_that_takes_nothing_is_a_failure() {
    let Some(mut hash) = tool("hash") else { return };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    hash.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).stdout(full).stderr(Stdio::piped());
    let ended = output_of(hash.spawn().expect("it runs"));
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(text(&ended.stderr), "hash: cannot print: No space left on device (os error 28)\n");
}
