//! The examples, run as programs on real input. They are built by `cargo test`, but not by `cargo test --test examples`.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test binary, which prepares its input by itself")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The program of an example; `None`, with a word about it, if it has not been built since its source changed.
fn example(name: &str) -> Option<Command> {
    let test = std::env::current_exe().expect("this test's own program");
    let program = test.ancestors().nth(2).expect("the build's folder").join("examples").join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).with_extension("rs");
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&program) >= changed(&source) {
        return Some(Command::new(program));
    }
    let reason = format!("{} has not been built since it changed (cargo build --examples)", program.display());
    assert!(std::env::var_os("CORERING_REQUIRE_ALL").is_none(), "{reason}");
    println!("SKIPPED: {reason}");
    None
}

fn hash(arguments: &[&Path], options: &[&str]) -> Option<Output> {
    Some(example("hash")?.args(arguments).args(options).output().expect("hash runs"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// A tree with files of all sizes that make a difference; the files' paths in the order of the output.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (name, bytes) in
        [("a/empty", 0), ("a/one", 1), ("a.txt", 16 * 1024), ("b/c/large", (1 << 20) + 1), ("b/whole", 1 << 20)]
    {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        let content: Vec<u8> = (0..bytes).map(|position: u32| (position % 251) as u8).collect();
        fs::write(&path, content).expect("a new file");
        paths.push(path);
    }
    paths
}

fn reference(path: &Path) -> String {
    blake3::hash(&fs::read(path).expect("a file")).to_hex().to_string()
}

#[test]
fn hash_prints_what_the_blake3_crate_says_in_the_order_of_the_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = tree(folder.path());
    symlink(&files[0], folder.path().join("b/link")).expect("a link");
    symlink(folder.path(), folder.path().join("b/circle")).expect("a link");
    let expected: String = files.iter().map(|path| format!("{}  {}\n", reference(path), path.display())).collect();
    for jobs in ["1", "3", "64"] {
        let Some(output) = hash(&[folder.path()], &["--jobs", jobs]) else { return };
        assert_eq!((text(&output.stdout), text(&output.stderr)), (&expected[..], ""), "with {jobs} jobs");
        assert!(output.status.success());
    }
}

#[test]
fn hash_keeps_the_order_in_which_files_were_named_and_follows_links_that_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = tree(folder.path());
    let link = folder.path().join("link");
    symlink(&files[3], &link).expect("a link");
    let named = [&link, &files[4], &files[0]];
    let Some(output) = hash(&named.map(PathBuf::as_path), &[]) else { return };
    let expected = named.map(|path| format!("{}  {}\n", reference(path), path.display())).concat();
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn hash_reports_what_it_cannot_read_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, missing) = (folder.path().join("here"), folder.path().join("missing"));
    fs::write(&here, "").expect("a new file");
    let Some(output) = hash(&[&missing, &here, Path::new("/dev/null")], &[]) else { return };
    assert_eq!(output.status.code(), Some(1));
    // The digest of nothing, from the BLAKE3 paper's test vectors.
    let nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(text(&output.stdout), format!("{nothing}  {}\n", here.display()));
    let expected = format!(
        "hash: {}: No such file or directory (os error 2)\nhash: /dev/null: neither a file nor a directory\n",
        missing.display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn hash_escapes_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a\"b\\c\nd");
    fs::write(&path, "x").expect("a new file");
    let digest = reference(&path);
    let root = folder.path().display();
    let Some(lines) = hash(&[&path], &[]) else { return };
    assert_eq!(text(&lines.stdout), format!("\\{digest}  {root}/a\"b\\\\c\\nd\n"));
    let Some(json) = hash(&[&path], &["--json"]) else { return };
    assert_eq!(text(&json.stdout), format!("{{\"path\":\"{root}/a\\\"b\\\\c\\u000ad\",\"blake3\":\"{digest}\"}}\n"));
}

#[test]
fn hash_without_a_path_is_an_error_of_usage() {
    let Some(output) = hash(&[], &[]) else { return };
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("<PATHS>"), "{}", text(&output.stderr));
}

#[test]
fn hash_ends_quietly_when_nobody_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    tree(folder.path());
    let Some(mut command) = example("hash") else { return };
    command.arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped());
    let mut child = command.spawn().expect("hash runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("hash ends");
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
}

/// A server that is killed when the test ends, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("the server still runs");
        self.0.wait().expect("the server ends");
    }
}

/// An echo server on a free port, and its address.
fn server() -> Option<(Server, String)> {
    let mut command = example("echo")?;
    let mut server = Server(command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("echo runs"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on ").expect("the address").to_owned();
    Some((server, address))
}

#[test]
fn echo_sends_back_what_it_gets_until_the_end() {
    let Some((_server, address)) = server() else { return };
    let mut client = TcpStream::connect(&address).expect("a connection");
    let message: Vec<u8> = (0..1u32 << 20).map(|position| (position % 253) as u8).collect();
    let writer = {
        let (mut client, message) = (client.try_clone().expect("a second handle"), message.clone());
        std::thread::spawn(move || {
            client.write_all(&message).expect("a server that reads");
            client.shutdown(std::net::Shutdown::Write).expect("an open connection");
        })
    };
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).expect("an echo");
    writer.join().expect("a writer that did not panic");
    assert!(reply == message, "{} of {} bytes came back, or others", reply.len(), message.len());
}

#[test]
fn echo_says_what_is_wrong_with_its_address() {
    let Some((_server, address)) = server() else { return };
    for (address, code, message) in [("nowhere", 2, "'nowhere'"), (&address, 1, "Address already in use")] {
        let Some(mut echo) = example("echo") else { return };
        let output = echo.arg(address).output().expect("echo runs");
        assert_eq!(output.status.code(), Some(code), "{address}");
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
}

#[test]
fn echo_drives_itself() {
    let Some(mut echo) = example("echo") else { return };
    echo.args(["--bench", "--seconds", "0.1", "--connections", "4", "--bytes", "65536"]);
    let output = echo.output().expect("echo runs");
    assert_eq!(text(&output.stderr), "");
    assert!(text(&output.stdout).starts_with("4 connections of 65536 bytes: "), "{}", text(&output.stdout));
    for wrong in ["0", "inf", "-1", "x"] {
        let Some(mut echo) = example("echo") else { return };
        let output = echo.arg("--bench").arg(format!("--seconds={wrong}")).output().expect("echo runs");
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
