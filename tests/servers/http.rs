//! `examples/http` with curl, wrk, and clients that misbehave.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{LONG, Server, all_of, other, output_of, program, reset, skip, text, until};

const VERSIONS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];

/// What every HTTP/2 client says first, and the empty settings that have to follow.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn start(arguments: &[&str]) -> Option<Server> {
    Server::start("http", arguments)
}

/// curl, for one version of HTTP; none if it was built without that.
fn curl(version: &str) -> Option<Command> {
    let mut curl = other("curl")?;
    let features = text(&output_of(other("curl")?.arg("--version")).stdout);
    if version == "--http2-prior-knowledge" && !features.contains("HTTP2") {
        skip("curl has no HTTP/2");
        return None;
    }
    curl.args(["--silent", "--show-error", "--path-as-is", "--max-time", "60", version]);
    Some(curl)
}

/// The body that curl gets.
#[track_caller]
fn fetched(curl: &mut Command, url: &str) -> String {
    let output = output_of(curl.arg(url));
    assert!(output.status.success(), "{url}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Sends something on a connection of its own, and gives all that comes back.
#[track_caller]
fn answer_to(server: &Server, request: &[u8]) -> String {
    let mut stream = server.connect();
    // What is refused early cannot be sent to its end.
    drop(stream.write_all(request));
    drop(stream.shutdown(Shutdown::Write));
    text(&all_of(&mut stream))
}

#[track_caller]
fn get(server: &Server, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    // On a busy machine, this very client may be the one who takes too long.
    until("an answer comes", || {
        answer = answer_to(server, request.as_bytes());
        !answer.is_empty()
    });
    answer
}

/// A number of `/metrics`.
#[track_caller]
fn counted(server: &Server, name: &str) -> u64 {
    let metrics = get(server, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in: {metrics}")).parse().expect("a number")
}

/// Waits until the server has nothing but what it had before anybody came: then the one who asks is alone.
#[track_caller]
fn is_all_free(server: &Server, descriptors: usize) {
    until("every connection has gone", || counted(server, "http_connections_active") == 1);
    until("every descriptor is closed", || server.descriptors() <= descriptors);
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn path_of(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().expect("text")
}

#[test]
fn curl_is_answered_by_both_versions() {
    let Some(server) = start(&[]) else { return };
    for (version, number) in VERSIONS {
        let Some(mut with_version) = curl(version) else { return };
        let hello = fetched(with_version.args(["-w", "%{http_version} %{http_code}"]), &server.url("/hello/world"));
        assert_eq!(hello, format!("hello, world\n{number} 200"));
        let get = |path: &str| fetched(&mut curl(version).expect("as above"), &server.url(path));
        assert!(get("/").starts_with("/ "));
        let state: serde_json::Value = serde_json::from_str(&get("/json")).expect("JSON");
        assert_eq!((&state["name"], &state["connections"]), (&"corering".into(), &1.into()));
        let lines: String = (1..=20).map(|line| format!("line {line} of 20\n")).collect();
        assert_eq!(get("/stream/20"), lines);
        let head = fetched(curl(version).expect("as above").arg("--head"), &server.url("/hello/world"));
        assert!(head.contains("content-length: 13\r\n") && !head.contains("hello, world"), "{head}");
        let post = fetched(
            curl(version).expect("as above").args(["-H", "content-type: text/x", "-i", "-d", "what was sent"]),
            &server.url("/echo"),
        );
        assert!(post.contains("content-type: text/x\r\n") && post.ends_with("\r\n\r\nwhat was sent"), "{post}");
        for (method, path, code) in [("GET", "/echo", "405"), ("PUT", "/", "405"), ("GET", "/nothing", "404")] {
            let mut curl = curl(version).expect("as above");
            let answer = fetched(curl.args(["-X", method, "-w", "%{http_code}"]), &server.url(path));
            assert!(answer.ends_with(code), "{method} {path}: {answer}");
        }
    }
    server.end_well();
}

#[test]
fn curl_gets_files_and_parts_of_them() {
    let root = folder();
    let bytes: Vec<u8> = (0..1_000_003_u32).map(|position| (position % 251) as u8).collect();
    std::fs::write(root.path().join("data.bin"), &bytes).expect("a file");
    std::fs::write(root.path().join("empty.txt"), "").expect("a file");
    std::fs::create_dir(root.path().join("sub folder")).expect("a folder");
    std::fs::write(root.path().join("sub folder/index.html"), "<h1>index</h1>").expect("a file");
    let Some(server) = start(&["--root", path_of(&root)]) else { return };
    for (version, _) in VERSIONS {
        let ask = |arguments: &[&str], path: &str| {
            let output = output_of(curl(version)?.args(arguments).arg(server.url(path)));
            assert!(output.status.success(), "{path}: {}", text(&output.stderr));
            Some(output.stdout)
        };
        let Some(whole) = ask(&[], "/data.bin") else { return };
        assert!(whole == bytes, "{} bytes, or others", whole.len());
        let part = |range: &str| ask(&["-r", range], "/data.bin").expect("as above");
        assert!(part("0-0") == bytes[..1]);
        assert!(part("70000-500000") == bytes[70_000..=500_000]);
        assert!(part("999999-") == bytes[999_999..]);
        assert!(part("-5") == bytes[bytes.len() - 5..]);
        assert!(part("1000000-9999999") == bytes[1_000_000..]);
        let head =
            |arguments: &[&str], path: &str| text(&ask(&[&["--head"], arguments].concat(), path).expect("as above"));
        let whole = head(&[], "/data.bin");
        let has = |head: &str, expected: &str| assert!(head.contains(expected), "{expected} is not in: {head}");
        has(&whole, "content-length: 1000003\r\n");
        has(&whole, "content-type: application/octet-stream\r\n");
        has(&whole, "accept-ranges: bytes\r\n");
        let modified = whole.lines().find(|line| line.starts_with("last-modified: ")).expect("a date").to_owned();
        let modified = modified.trim_start_matches("last-modified: ").to_owned();
        has(&head(&["-r", "1000003-"], "/data.bin"), "content-range: bytes */1000003\r\n");
        has(&head(&["-r", "3-5"], "/data.bin"), "content-range: bytes 3-5/1000003\r\n");
        // A part of what is not the same any more is not a part of it.
        has(&head(&["-r", "3-5", "-H", &format!("if-range: {modified}")], "/data.bin"), " 206");
        has(&head(&["-r", "3-5", "-H", "if-range: Sat, 01 Jan 2000 00:00:00 GMT"], "/data.bin"), " 200");
        has(&head(&["-H", &format!("if-modified-since: {modified}")], "/data.bin"), " 304");
        has(&head(&["-H", "if-modified-since: Sat, 01 Jan 2000 00:00:00 GMT"], "/data.bin"), " 200");
        has(&head(&["-H", "if-modified-since: yesterday"], "/data.bin"), " 200");
        let not_modified = ask(&["-H", &format!("if-modified-since: {modified}"), "-w", "%{http_code}"], "/data.bin");
        assert_eq!(text(&not_modified.expect("as above")), "304");
        assert_eq!(ask(&[], "/empty.txt").expect("as above"), b"");
        has(&head(&[], "/empty.txt"), "content-length: 0\r\n");
        has(&head(&["-r", "0-"], "/empty.txt"), " 416");
        // Not by `--location`: curl 7.88 cannot use a connection of HTTP/2 again (its pull request 10643).
        assert_eq!(ask(&[], "/sub%20folder/").expect("as above"), b"<h1>index</h1>");
        has(&head(&[], "/sub%20folder"), "location: ./sub%20folder/\r\n");
        has(&head(&[], "/sub%20folder/"), "content-type: text/html; charset=utf-8\r\n");
    }
    server.end_well();
}

#[test]
fn nothing_outside_of_the_folder_can_be_reached() {
    let all = folder();
    let root = all.path().join("root");
    std::fs::create_dir_all(root.join("sub")).expect("a folder");
    std::fs::write(all.path().join("secret"), "secret").expect("a file");
    std::fs::write(root.join("open"), "open").expect("a file");
    std::os::unix::fs::symlink("../secret", root.join("link")).expect("a link");
    std::os::unix::fs::symlink(all.path(), root.join("up")).expect("a link");
    std::os::unix::fs::symlink("open", root.join("inside")).expect("a link");
    std::os::unix::fs::symlink("loop", root.join("loop")).expect("a link");
    let pipe = std::ffi::CString::new(root.join("pipe").into_os_string().into_encoded_bytes()).expect("a path");
    // SAFETY: a path that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    let Some(server) = start(&["--root", root.to_str().expect("text")]) else { return };
    let descriptors = server.descriptors();
    for path in [
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/sub/%2e%2e/..%2fsecret",
        "/link",
        "/up/secret",
        "/up/root/open",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/proc/self/environ",
        "/loop",
        "/pipe",
        "/open/",
        "/open/more",
        &format!("/{}", "x".repeat(300)),
        &format!("/{}", "sub/../".repeat(1000)),
    ] {
        let answer = get(&server, path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    for path in ["/a%00b", "/%", "/%4", "/%zz", "/%+1"] {
        assert!(get(&server, path).starts_with("HTTP/1.1 400 "), "{path}");
    }
    for path in ["/open", "/inside", "/sub/../open", "/%6fpen", "//open"] {
        assert!(get(&server, path).ends_with("\r\n\r\nopen"), "{path}");
    }
    // Nobody is sent to another host.
    assert!(get(&server, "//sub").contains("location: ./sub/\r\n"));
    is_all_free(&server, descriptors);
    server.end_well();
}

#[test]
fn a_body_of_50_mib_comes_back() {
    let folder = folder();
    let (sent, back) = (folder.path().join("sent"), folder.path().join("back"));
    let bytes: Vec<u8> = (0..50_u32 << 20).map(|position| (position.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&sent, &bytes).expect("a file");
    let Some(server) = start(&[]) else { return };
    for (version, _) in VERSIONS {
        let Some(mut curl) = curl(version) else { return };
        curl.arg("--data-binary").arg(format!("@{}", sent.display())).arg("-o").arg(&back);
        fetched(&mut curl, &server.url("/echo"));
        assert!(std::fs::read(&back).expect("a file") == bytes, "with {version}");
        std::fs::remove_file(&back).expect("a file");
    }
    server.end_well();
}

#[test]
fn a_body_is_sent_when_the_server_says_so() {
    let folder = folder();
    let sent = folder.path().join("sent");
    std::fs::write(&sent, vec![7; 2 << 20]).expect("a file");
    for (most, code, uploaded) in [("64", "200", "2097152"), ("1", "413", "0")] {
        let Some(server) = start(&["--max-body", most]) else { return };
        let Some(mut curl) = curl("--http1.1") else { return };
        curl.args(["-H", "Expect: 100-continue", "--expect100-timeout", "60", "-o", "/dev/null"]);
        curl.args(["-w", "%{http_code} %{size_upload}", "--data-binary"]).arg(format!("@{}", sent.display()));
        assert_eq!(fetched(&mut curl, &server.url("/echo")), format!("{code} {uploaded}"));
        server.end_well();
    }
    // Nobody has said beforehand how long it is.
    let Some(server) = start(&["--max-body", "1"]) else { return };
    let mut stream = server.connect();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").expect("open");
    let chunk = [&b"10000\r\n"[..], &[7; 0x10000], b"\r\n"].concat();
    let mut chunks = (0..16).chain([16]).map(|_| stream.write_all(&chunk));
    assert!(chunks.by_ref().take(16).all(|written| written.is_ok()), "1 MiB may be sent");
    // The one that is too much may be refused while it is sent.
    drop(chunks.next());
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(text(&answer), "HTTP/1.1 413");
    drop(stream);
    server.end_well();
}

#[test]
fn wrk_meets_no_error() {
    let Some(_) = other("wrk") else { return };
    let root = folder();
    std::fs::write(root.path().join("page.html"), "x".repeat(20_000)).expect("a file");
    let Some(server) = start(&["--root", path_of(&root)]) else { return };
    let descriptors = server.descriptors();
    for (path, connections) in [("/hello/wrk", "64"), ("/page.html", "16")] {
        let mut wrk = other("wrk").expect("as above");
        let output = output_of(wrk.args(["-t1", "-d1s", "--timeout", "60s", "-c", connections]).arg(server.url(path)));
        let text = text(&output.stdout);
        assert!(output.status.success() && text.contains("Requests/sec:"), "{text}");
        assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    }
    is_all_free(&server, descriptors);
    server.end_well();
}

#[test]
fn what_is_no_http_is_refused_and_the_server_goes_on() {
    let Some(server) = start(&["--max-head", "16"]) else { return };
    let descriptors = server.descriptors();
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|number| format!("h{number}: x\r\n")).collect();
    for (request, status) in [
        ("GARBAGE\r\n\r\n", "400"),
        ("\0\0\0\0\0\0\0\0", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nNo colon\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nBad\0name: x\r\n\r\n", "400"),
        ("GET /\u{1}x HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400"),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", "400"),
        (&format!("GET / HTTP/1.1\r\nHost: x\r\nLong: {long}\r\n\r\n"), "431"),
        (&format!("GET / HTTP/1.1\r\n{many}\r\n"), "431"),
        (&format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "431"),
    ] {
        let answer = answer_to(&server, request.as_bytes());
        // A client that still sends when it is refused may meet the reset before the answer.
        let is_reset = answer.is_empty() && request.len() > 16 << 10;
        assert!(is_reset || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {answer}");
    }
    for request in [
        // Cut off within a head, and within a body: nobody is left to be answered.
        &b"GET / HT"[..],
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nno frame at all",
        &[HTTP_2, b"\xff\xff\xff\x00\0\0\0\0\0"].concat(),
        // Headers that cannot be unpacked.
        &[HTTP_2, b"\0\0\x02\x01\x05\0\0\0\x01\xff\xff"].concat(),
    ] {
        let answer = answer_to(&server, request);
        assert!(!answer.contains(" 200 "), "{request:?}: {answer}");
    }
    assert!(get(&server, "/hello/still").ends_with("hello, still\n"));
    is_all_free(&server, descriptors);
    assert!(counted(&server, "http_connections_malformed_total") >= 10);
    assert_eq!((server.told(), counted(&server, "http_connections_failed_total")), (String::new(), 0));
    server.end_well();
}

/// Sends a byte now and then until the server breaks off.
#[track_caller]
fn is_cut_off(server: &Server, first: &[u8], drop_by_drop: &[u8]) {
    let mut stream = server.connect();
    // It may come too late already.
    drop(stream.write_all(first));
    stream.set_read_timeout(Some(Duration::from_millis(5))).expect("can be set");
    let began = Instant::now();
    let (mut room, mut bytes) = ([0; 1024], drop_by_drop.iter().cycle());
    loop {
        assert!(began.elapsed() < LONG, "it was not cut off: {:?}", text(first));
        if let Some(byte) = bytes.next() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
        match stream.read(&mut room) {
            Ok(0) => return,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            // What it says of itself: HTTP/2 settings, or that it took too long.
            Ok(_) | Err(_) => {}
        }
    }
}

#[test]
fn who_takes_too_long_is_cut_off() {
    let root = folder();
    let large = std::fs::File::create(root.path().join("large")).expect("a file");
    large.set_len(256 << 20).expect("a hole");
    let limits = ["--header-timeout", "0.2", "--idle-timeout", "0.4"];
    let Some(server) = start(&[&limits[..], &["--root", path_of(&root)]].concat()) else { return };
    let descriptors = server.descriptors();
    let get_large = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    std::thread::scope(|scope| {
        // Says nothing; not even which HTTP it speaks; a head that never ends; after an answer; a body that does not come.
        for (first, drop_by_drop) in [
            (&b""[..], &b""[..]),
            (b"PRI * HTTP/2.0\r\n", b""),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX: ", b"x"),
            (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", b""),
            (HTTP_2, b""),
        ] {
            let server = &server;
            scope.spawn(move || is_cut_off(server, first, drop_by_drop));
        }
    });
    // Does not read its answer. Who comes behind is accepted behind.
    let mut stuck = server.connect();
    drop(stuck.write_all(get_large));
    is_all_free(&server, descriptors);
    assert!(all_of(&mut stuck).len() < 256 << 20, "it was cut off");
    // Who takes long is served all the same, as long as something moves.
    assert!(get(&server, "/stream/100").contains("line 100 of 100\n"));
    assert_eq!(server.told(), "");
    assert!(counted(&server, "http_connections_too_slow_total") >= 6);
    server.end_well();
}

#[test]
fn a_connection_may_be_limited_as_a_whole() {
    let Some(server) = start(&["--connection-timeout", "0.3"]) else { return };
    let descriptors = server.descriptors();
    // Something moves all the time.
    is_cut_off(&server, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x");
    is_all_free(&server, descriptors);
    assert!(counted(&server, "http_connections_timed_out_total") >= 1);
    server.end_well();
}

#[test]
fn who_has_said_all_is_answered_all() {
    let Some(server) = start(&[]) else { return };
    // The half of the connection on which the client would send is closed before the answer begins.
    let answer = answer_to(&server, b"GET /stream/20 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.contains("line 20 of 20\n") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    let two = b"GET /hello/one HTTP/1.1\r\nHost: x\r\n\r\nGET /hello/two HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = answer_to(&server, two);
    assert!(answer.contains("hello, one\n") && answer.contains("hello, two\n"), "{answer}");
    let answer = answer_to(&server, b"POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nwhole");
    assert!(answer.ends_with("\r\n\r\nwhole"), "{answer}");
    server.end_well();
}

#[test]
fn resets_at_every_stage_leave_nothing_behind() {
    let root = folder();
    std::fs::write(root.path().join("large"), vec![7; 4 << 20]).expect("a file");
    let Some(server) = start(&["--root", path_of(&root)]) else { return };
    let descriptors = server.descriptors();
    let post = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    let large = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    // Settings, and the request GET / in the shortest form there is.
    let http_2 = [HTTP_2, b"\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x86"].concat();
    // What is sent, and how much of the answer is read.
    let stages: [(&[u8], usize); 10] = [
        (b"", 0),
        (b"GET /hel", 0),
        (post, 0),
        (&[&post[..], &[7; 50_000]].concat(), 0),
        (b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n", 0),
        (b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n", 50),
        (large, 100_000),
        (b"GET /stream/1000 HTTP/1.1\r\nHost: x\r\n\r\n", 150),
        (&HTTP_2[..10], 0),
        (&http_2, 20),
    ];
    for _ in 0..20 {
        let streams: Vec<TcpStream> = stages
            .iter()
            .map(|(request, answer)| {
                let mut stream = server.connect();
                stream.write_all(request).expect("open");
                stream.read_exact(&mut vec![0; *answer]).expect("an answer");
                stream
            })
            .collect();
        streams.into_iter().for_each(reset);
    }
    assert!(get(&server, "/hello/still").ends_with("hello, still\n"));
    is_all_free(&server, descriptors);
    assert_eq!((server.told(), counted(&server, "http_connections_failed_total")), (String::new(), 0));
    let resets = counted(&server, "http_connections_reset_total");
    assert!(resets >= 20, "{resets}: at least those that were told one line after the other");
    server.end_well();
}

#[test]
fn what_was_asked_is_answered_before_the_end() {
    for (version, _) in VERSIONS {
        let Some(mut server) = start(&[]) else { return };
        let Some(mut curl) = curl(version) else { return };
        // Two who have nothing under way: they are not waited for.
        let (mut idle, mut silent) = (server.connect(), server.connect());
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
        idle.read_exact(&mut [0; 20]).expect("an answer");
        let mut curl =
            curl.arg("--no-buffer").arg(server.url("/stream/50")).stdout(Stdio::piped()).spawn().expect("runs");
        let mut lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("read"), "line 1 of 50");
        server.signal(libc::SIGTERM);
        let rest: Vec<String> = lines.map(|line| line.expect("read")).collect();
        let expected: Vec<String> = (2..=50).map(|line| format!("line {line} of 50")).collect();
        assert_eq!(rest, expected, "{version}");
        assert!(curl.wait().expect("its state").success());
        all_of(&mut idle);
        all_of(&mut silent);
        let (status, _) = server.end();
        assert_eq!(status.code(), Some(0), "{}", server.told());
        assert_eq!(server.told(), "http: SIGTERM: answering what was asked, then ending\n");
        TcpStream::connect(&server.address).expect_err("it has ended");
    }
}

/// Ctrl-C while clients ask as fast as they can: each answer that has begun is whole.
#[test]
fn under_load_an_end_cuts_no_answer_short() {
    const CLIENTS: usize = 8;
    let Some(mut server) = start(&[]) else { return };
    std::thread::scope(|scope| {
        let (say, said) = std::sync::mpsc::channel();
        for number in 0..CLIENTS {
            let (stream, say) = (server.connect(), say.clone());
            scope.spawn(move || {
                let body = format!("hello, {number}\n");
                let ask = format!("GET /hello/{number} HTTP/1.1\r\nHost: x\r\n\r\n");
                let mut stream = BufReader::new(stream);
                let mut count = 0;
                while stream.get_mut().write_all(ask.as_bytes()).is_ok() {
                    let mut head = String::new();
                    // Nothing of an answer, or all of it.
                    if !matches!(stream.read_line(&mut head), Ok(1..)) {
                        break;
                    }
                    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                    while !head.ends_with("\r\n\r\n") {
                        assert_ne!(stream.read_line(&mut head).expect("the rest of the head"), 0, "{head}");
                    }
                    let mut rest = vec![0; body.len()];
                    stream.read_exact(&mut rest).expect("the body");
                    assert_eq!(text(&rest), body);
                    count += 1;
                    if count == 50 {
                        say.send(()).expect("it listens");
                    }
                }
                assert!(count >= 50);
            });
        }
        (0..CLIENTS).for_each(|_| said.recv().expect("all are served"));
        server.signal(libc::SIGINT);
    });
    let (status, _) = server.end();
    assert_eq!(status.code(), Some(0), "{}", server.told());
    assert_eq!(server.told().lines().count(), 1, "{}", server.told());
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let Some(mut server) = start(&[]) else { return };
    let mut stream = server.connect();
    stream.write_all(b"GET /stream/100000 HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    stream.read_exact(&mut [0; 100]).expect("an answer");
    server.signal(libc::SIGINT);
    until("it has heard the first", || server.told().contains("SIGINT: answering"));
    stream.read_exact(&mut [0; 100]).expect("it goes on");
    server.signal(libc::SIGINT);
    let (status, _) = server.end();
    assert_eq!(status.signal(), Some(libc::SIGINT));
}

#[test]
fn the_drain_has_an_end() {
    let Some(mut server) = start(&["--drain", "0.2"]) else { return };
    let mut stream = server.connect();
    stream.write_all(b"GET /stream/100000 HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    stream.read_exact(&mut [0; 100]).expect("an answer");
    server.signal(libc::SIGINT);
    let (status, _) = server.end();
    assert_eq!(status.code(), Some(0), "{}", server.told());
    assert!(!text(&all_of(&mut stream)).contains("of 100000\n0\r\n"), "it was cut off");
}

#[test]
fn further_connections_wait_for_their_turn() {
    let Some(server) = start(&["--max-connections", "2"]) else { return };
    let request = b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut both = [server.connect(), server.connect()];
    for stream in &mut both {
        stream.write_all(request).expect("open");
        stream.read_exact(&mut [0; 40]).expect("an answer");
    }
    let mut third = server.connect();
    third.write_all(request).expect("it is in the kernel's queue");
    third.set_read_timeout(Some(Duration::from_millis(50))).expect("can be set");
    third.read(&mut [0; 40]).expect_err("nobody serves it");
    let [first, second] = both;
    drop(first);
    third.set_read_timeout(Some(LONG)).expect("can be set");
    third.read_exact(&mut [0; 40]).expect("an answer");
    drop((second, third));
    server.end_well();
}

#[test]
fn each_request_has_a_line_in_the_log() {
    let Some(mut server) = start(&["--log"]) else { return };
    get(&server, "/hello/x");
    get(&server, "/nothing?with=query");
    // One that nobody waited for.
    let mut stream = server.connect();
    stream.write_all(b"GET /stream/100000 HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    stream.read_exact(&mut [0; 100]).expect("an answer");
    reset(stream);
    until("it has gone", || counted(&server, "http_connections_active") == 1);
    server.signal(libc::SIGTERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{}", server.told());
    let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(lines("GET /hello/x HTTP/1.1 200 9 "), 1, "{log}");
    assert_eq!(lines("GET /nothing HTTP/1.1 404 "), 1, "{log}");
    assert_eq!(lines("GET /stream/100000 HTTP/1.1 200 "), 1, "{log}");
}

#[test]
fn what_is_wrong_with_the_call_is_said() {
    let Some(server) = start(&[]) else { return };
    for (arguments, code, says) in [
        (&["nowhere"][..], 1, "http: nowhere: "),
        (&[server.address.as_str()][..], 1, "Address already in use"),
        (&["127.0.0.1:0", "--root", "/does/not/exist"], 1, "/does/not/exist: No such file"),
        (&["127.0.0.1:0", "--root", "/dev/null"], 1, "/dev/null: Not a directory"),
        (&["--drain", "0"], 2, "above 0"),
        (&["--max-connections", "0"], 2, "--max-connections"),
    ] {
        let Some(mut http) = program("http") else { return };
        let output = output_of(http.args(arguments));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{}", text(&output.stderr));
    }
    server.end_well();
}
