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
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    // One file, or a folder and what the tools share.
    let mut sources = vec![examples.join(name).with_extension("rs")];
    for folder in [examples.join(name), examples.join("tool")] {
        sources.extend(fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("a name").path()));
    }
    if sources.iter().all(|source| changed(&program) >= changed(source)) {
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
        let Some(output) = hash(&[folder.path()], &["--sort", "--jobs", jobs]) else { return };
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
    assert_eq!(
        text(&json.stdout),
        format!(
            "{{\"path\":\"{root}/a\\\"b\\\\c\\nd\",\"algorithm\":\"blake3\",\"digest\":\"{digest}\",\"bytes\":1}}\n"
        )
    );
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

/// What an example prints, and how it ends; `None` if it has not been built.
fn run(name: &str, arguments: &[&str]) -> Option<Output> {
    Some(example(name)?.args(arguments).output().expect("the example runs"))
}

/// The lines of a text that begin like that.
fn count_lines(text: &str, begin: &str) -> usize {
    text.lines().filter(|line| line.starts_with(begin)).count()
}

#[test]
fn crawl_finds_every_page_and_keeps_what_failed() {
    // The first nine pages: 3 fails once, 5 always, and there is one dead link.
    let Some(output) = run("crawl", &["--pages", "9", "--deadline", "30", "--rate", "1000"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert_eq!((count_lines(printed, "  ok "), count_lines(printed, "  failed ")), (8, 2), "{printed}");
    assert!(printed.contains("/3        3 links, 2 attempts\n"), "{printed}");
    let (_, summary) = printed.split_once("10 pages in ").expect("a summary");
    let (_, summary) = summary.split_once(" s: ").expect("the time");
    assert!(summary.starts_with("8 fetched, 2 failed, 3 retries\n"), "{summary}");
    assert!(summary.contains("  /5: http://127.0.0.1:") && summary.contains(" answers 500 Internal"), "{summary}");
    assert!(summary.contains("/missing answers 404 Not Found\n"), "{summary}");
}

#[test]
fn crawl_does_not_wait_for_a_page_that_never_comes() {
    let Some(output) = run("crawl", &["--pages", "10", "--attempts", "1", "--deadline", "1"]) else { return };
    let printed = text(&output.stdout);
    assert!(
        printed.contains("  /9: 127.0.0.1:") && printed.contains(" took too long: no answer came within 1s\n"),
        "{printed}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn crawl_keeps_to_its_rate_and_its_slots() {
    let Some(output) = run("crawl", &["--pages", "3", "--rate", "20", "--at-once", "1"]) else { return };
    let (_, summary) = text(&output.stdout).split_once("4 pages in ").expect("a summary");
    let (seconds, _) = summary.split_once(" s: 3 fetched, 1 failed").expect("the counts");
    // The first at once, three more 50 ms apart.
    assert!(seconds.parse::<f64>().expect("a number") >= 0.15, "{summary}");
}

#[test]
fn crawl_refuses_what_makes_no_sense() {
    for wrong in ["--pages=0", "--rate=0", "--at-once=0", "--attempts=0", "--deadline=0", "--deadline=soon", "URL"] {
        let Some(output) = run("crawl", &[wrong]) else { return };
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""), "{wrong}");
    }
}

#[test]
fn crawl_stays_on_the_host_that_it_is_given() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let site = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().expect("a visitor");
            let mut lines = BufReader::new(&stream).lines();
            asked.push(lines.next().expect("a request").expect("text"));
            while !lines.next().expect("a head").expect("text").is_empty() {}
            let body = "<a href='deep/page'>a</a> <a href=\"http://127.0.0.2:1/\">b</a> <a href=\"mailto:x@y\">c</a>";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            (&stream).write_all(answer.as_bytes()).expect("sent");
        }
        asked
    });
    // The second page links to a third, which is one too many.
    let Some(output) = run("crawl", &[&format!("http://{address}/at/start?x"), "--pages", "2"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    let asked = site.join().expect("no panic");
    assert_eq!(asked, ["GET /at/start?x HTTP/1.1", "GET /at/deep/page HTTP/1.1"], "{printed}");
    assert!(printed.contains("2 pages in "), "{printed}");
}

#[test]
fn crawl_ends_at_ctrl_c_with_what_it_has() {
    // At one page a second, and with pages that never come, it would take long.
    let Some(mut crawl) = example("crawl") else { return };
    let mut child = crawl.args(["--rate", "1"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut printed = String::new();
    while !printed.contains("  ok ") {
        assert!(output.read_line(&mut printed).expect("text") > 0, "{printed}");
    }
    // SAFETY: takes no pointers; the child has not been waited for, so the number is its.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    output.read_to_string(&mut printed).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(printed.contains(" fetched, 0 failed, 0 retries\n") && printed.contains("interrupted: "), "{printed}");
}

#[test]
fn crawl_fails_if_nothing_can_be_fetched() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("http://{}/", closed.expect("a port that nobody has"));
    let Some(output) = run("crawl", &[&url, "--attempts", "1"]) else { return };
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("  /: cannot connect to 127.0.0.1:"), "{}", text(&output.stdout));
}

#[test]
fn api_client_loses_no_order_and_has_none_carried_out_twice() {
    let Some(output) = run("api-client", &["--orders", "300", "--attempts", "20"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert!(printed.contains("\n300 accepted, 0 not, ") && !printed.contains(" 0 retries"), "{printed}");
    assert!(printed.contains("\nthe server has 300 orders, and was asked "), "{printed}");
    // An attempt that comes too late helps nobody: what was forgotten is not answered.
    let Some(output) = run("api-client", &["--orders", "60", "--attempts", "1", "--deadline", "0.2"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains(" answers 503 Service Unavailable\n"), "{printed}");
    let Some(output) = run("api-client", &["not a url"]) else { return };
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn pipeline_counts_the_files_of_a_tree() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("a/b")).expect("a folder");
    for (name, content) in
        [("one.txt", "1\n2\n3\n"), ("a/two.txt", "no end of line"), ("a/b/none", "\n"), ("a/e.rs", "")]
    {
        fs::write(folder.path().join(name), content).expect("a new file");
    }
    symlink(folder.path(), folder.path().join("a/circle")).expect("a link");
    let expected = "kind            files      lines        bytes\n\
                    (none)              1          1            1\n\
                    .rs                 1          0            0\n\
                    .txt                2          3           20\n\
                    all                 4          4           21\n";
    let path = folder.path().to_str().expect("text");
    for options in [["--workers=1", "--room=1"], ["--workers=3", "--room=2"], ["--workers=512", "--room=64"]] {
        let Some(output) = run("pipeline", &[path, options[0], options[1]]) else { return };
        assert_eq!((text(&output.stdout), text(&output.stderr)), (expected, ""), "{options:?}");
        assert!(output.status.success());
    }
    let Some(output) = run("pipeline", &[path, "--workers=1", "--room=1", "--first=2"]) else { return };
    let printed = text(&output.stdout);
    assert!(printed.contains("all                 2 ") && printed.contains("stopped as asked; "), "{printed}");
}

#[test]
fn pipeline_reports_what_it_cannot_read_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("here"), "\n").expect("a new file");
    let closed = folder.path().join("closed");
    fs::write(&closed, "").expect("a new file");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("an own file");
    let Some(output) = run("pipeline", &[folder.path().to_str().expect("text")]) else { return };
    let printed = text(&output.stdout);
    // Nothing is closed to an administrator.
    if fs::read(&closed).is_err() {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("closed: Permission denied"), "{}", text(&output.stderr));
        assert!(printed.contains("all                 1 "), "{printed}");
    }
    let Some(output) = run("pipeline", &["/nowhere/at all"]) else { return };
    let expected = "pipeline: cannot list /nowhere/at all: No such file or directory (os error 2)\n";
    assert_eq!((text(&output.stderr), output.status.code()), (expected, Some(1)));
    for wrong in ["--workers=0", "--room=0", "--first=0", "--tutorial=1"] {
        let Some(output) = run("pipeline", &[wrong]) else { return };
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn pipeline_runs_the_program_of_the_tutorials_to_its_end() {
    let Some(output) = run("pipeline", &["--tutorial"]) else { return };
    assert_eq!(text(&output.stdout), "30 items put and taken, their sum is 165, all are done\n");
    assert!(output.status.success());
}

#[test]
fn timeouts_tells_what_it_asserts() {
    let Some(output) = run("timeouts", &[]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert_eq!(printed.lines().filter(|line| !line.starts_with(' ')).count(), 8, "{printed}");
    // The clock of tests is exact.
    assert!(printed.contains("   1.00 s  the timeout has waited for the cleanup\n"), "{printed}");
}

#[test]
fn timeouts_shows_the_steps_that_are_named_also_in_real_time() {
    let Some(output) = run("timeouts", &["shield", "nested", "--real-time"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert_eq!(printed.lines().filter(|line| !line.starts_with(' ')).count(), 2, "{printed}");
    let Some(output) = run("timeouts", &["yesterday"]) else { return };
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'yesterday'"), "{}", text(&output.stderr));
}

#[test]
fn research_makes_the_best_of_what_answers() {
    let Some(output) = run("research", &["how", "deep", "--deadline", "2"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert!(printed.contains("  oracle    failed: the time was over before the result was there\n"), "{printed}");
    assert!(printed.contains("  60 finds from 5 of 6 sources\n"), "{printed}");
    assert!(printed.contains("both or none\n  19 finds\n"), "{printed}");
    assert_eq!(count_lines(printed, "  5 finds from mirror-b after "), 2, "{printed}");
}

#[test]
fn research_says_who_is_down_and_goes_on() {
    let down = ["--deadline", "2", "--down", "library", "--down", "mirror-b", "--down", "oracle"];
    let Some(output) = run("research", &down) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert!(printed.contains("  48 finds from 3 of 6 sources\n"), "{printed}");
    let (_, failed) = printed.split_once("both or none\n  failed: library: http://127.0.0.1:").expect("a failure");
    assert!(failed.lines().next().is_some_and(|line| line.ends_with(" answers 503 Service Unavailable")), "{failed}");
    assert_eq!(count_lines(printed, "  5 finds from mirror-a after "), 2, "{printed}");
    let all = ["--down", "mirror-a", "--down", "mirror-b", "--deadline", "1"];
    let Some(output) = run("research", &all) else { return };
    assert_eq!(count_lines(text(&output.stdout), "  failed: none of 2 succeeded; "), 2, "{}", text(&output.stdout));
    for wrong in [["--down", "nobody"], ["--deadline", "-1"], ["--deadline", "inf"]] {
        let Some(output) = run("research", &wrong) else { return };
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn examples_end_quietly_when_nobody_reads() {
    for name in ["crawl", "pipeline", "timeouts", "research"] {
        let Some(mut command) = example(name) else { return };
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if name == "pipeline" {
            command.arg("--tutorial");
        }
        let mut child = command.spawn().expect("the example runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the example ends");
        assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{name}");
    }
}

/// The store in simulated worlds; `None` if it has not been built.
#[cfg(feature = "sim")]
fn sim_wal(arguments: &[&str]) -> Option<Output> {
    run("sim_wal", arguments)
}

#[cfg(feature = "sim")]
#[test]
fn sim_wal_keeps_its_promises_over_crashes() {
    let Some(output) = sim_wal(&["--seeds", "30"]) else { return };
    let printed = text(&output.stdout);
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
    assert!(printed.starts_with("30 seeds, "), "{printed}");
    assert!(printed.contains(" crashes, 2700 acknowledged writes, none lost: "), "{printed}");
}

#[cfg(feature = "sim")]
#[test]
fn sim_wal_finds_each_planted_mistake_and_finds_it_again() {
    for mistake in ["--forget-sync", "--forget-directory"] {
        let Some(output) = sim_wal(&["--seeds", "30", mistake]) else { return };
        let (printed, told) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(told.contains("the last steps of the world of seed "), "{told}");
        assert!(told.contains(" was acknowledged and is lost"), "{told}");
        let (_, again) = printed.trim_end().split_once("to see it again: sim_wal ").expect("how to see it again");
        let Some(second) = sim_wal(&again.split(' ').collect::<Vec<_>>()) else { return };
        assert_eq!((text(&second.stdout), second.status.code()), (printed, Some(1)));
        // The same steps, to the last one. The line that names the thread has the process's number.
        let steps =
            |text: &str| text.lines().filter(|line| line.contains(" ms  ")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(steps(text(&second.stderr)), steps(told));
        assert!(steps(told).len() >= 20, "{told}");
    }
}

#[cfg(feature = "sim")]
#[test]
fn sim_wal_does_the_same_in_each_run_of_a_seed() {
    let hash = |arguments: &[&str]| {
        let output = sim_wal(arguments)?;
        assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
        Some(text(&output.stdout).to_owned())
    };
    let Some(first) = hash(&["--seed", "17", "--hash"]) else { return };
    assert_eq!(first.trim_end().len(), 16, "{first}");
    assert_eq!(hash(&["--seed", "17", "--hash"]), Some(first.clone()));
    assert_ne!(hash(&["--seed", "18", "--hash"]), Some(first));
}

#[cfg(feature = "sim")]
#[test]
fn sim_wal_runs_on_the_real_kernel_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    for before in [0, 90] {
        let Some(output) = sim_wal(&["--real", path]) else { return };
        let printed = text(&output.stdout);
        assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)), "{printed}");
        assert!(printed.starts_with(&format!("90 writes acknowledged, {before} found before, in ")), "{printed}");
    }
    for wrong in [&["--real", path, "--seed", "1"][..], &["--seeds", "0"], &["--seed", "-1"]] {
        let Some(output) = sim_wal(wrong) else { return };
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
