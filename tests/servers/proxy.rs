//! `examples/proxy` with curl, redis-cli, and sides that misbehave.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::common::{LONG, Server, all_of, other, output_of, program, reset, text, until};

/// A proxy in front of a listener.
fn start(arguments: &[&str]) -> Option<(Server, TcpListener)> {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = upstream.local_addr().expect("bound").to_string();
    let arguments = [&[address.as_str()], arguments].concat();
    Some((Server::start("proxy", &arguments)?, upstream))
}

/// A proxy for CONNECT.
fn connect(arguments: &[&str]) -> Option<Server> {
    Server::start("proxy", &[&["--connect"], arguments].concat())
}

/// Both sides of a connection through it.
fn joined(server: &Server, upstream: &TcpListener) -> (TcpStream, TcpStream) {
    let client = server.connect();
    let (theirs, _) = upstream.accept().expect("a connection");
    theirs.set_read_timeout(Some(LONG)).expect("can be set");
    theirs.set_write_timeout(Some(LONG)).expect("can be set");
    (client, theirs)
}

/// What bytes there are at a place of a long stream.
fn part(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

const PART: usize = 1 << 20;

fn write_long(mut stream: &TcpStream, parts: usize) {
    for round in 0..parts {
        stream.write_all(&part(round * PART, PART)).expect("sent");
    }
    stream.shutdown(Shutdown::Write).expect("connected");
}

fn read_long(mut stream: &TcpStream, parts: usize) {
    let mut room = vec![0; PART];
    for round in 0..parts {
        stream.read_exact(&mut room).expect("received");
        assert!(room == part(round * PART, PART), "part {round}");
    }
    assert_eq!(stream.read(&mut room).expect("the end"), 0);
}

#[test]
fn a_hundred_mebibytes_each_way_arrive_as_they_were_sent() {
    const PARTS: usize = 100;
    let Some((server, upstream)) = start(&[]) else { return };
    let (client, theirs) = joined(&server, &upstream);
    std::thread::scope(|scope| {
        scope.spawn(|| write_long(&client, PARTS));
        scope.spawn(|| read_long(&theirs, PARTS));
        scope.spawn(|| write_long(&theirs, PARTS));
        read_long(&client, PARTS);
    });
    drop((client, theirs));
    server.end_well();
}

#[test]
fn an_end_is_passed_on_and_the_other_way_stays_open() {
    let Some((mut server, upstream)) = start(&[]) else { return };
    let (mut client, mut theirs) = joined(&server, &upstream);
    client.write_all(b"question").expect("sent");
    client.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(text(&all_of(&mut theirs)), "question");
    theirs.write_all(b"the answer").expect("sent");
    drop(theirs);
    assert_eq!(text(&all_of(&mut client)), "the answer");
    server.signal(libc::SIGINT);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{}", server.told());
    let words: Vec<&str> = log.trim().split(' ').collect();
    assert_eq!((words[2], words[3], words[5]), ("8", "10", "ended"), "{log}");
}

#[test]
fn what_is_broken_off_at_any_stage_leaves_nothing_behind() {
    let Some((server, upstream)) = start(&[]) else { return };
    let idle = server.descriptors();
    for round in 0..200 {
        let (mut client, mut theirs) = joined(&server, &upstream);
        match round % 6 {
            // At once; after a word; with much under way that nobody takes, from either side; after one side's end; from the
            // other side.
            0 => reset(client),
            1 => {
                client.write_all(b"hello").expect("sent");
                theirs.read_exact(&mut [0; 5]).expect("received");
                reset(client);
            }
            2 => {
                client.set_nonblocking(true).expect("can be set");
                while client.write(&[7; 65536]).is_ok() {}
                reset(theirs);
                until(
                    "the reset is passed on",
                    || matches!(client.write(&[7; 65536]), Err(error) if error.kind() != ErrorKind::WouldBlock),
                );
                continue;
            }
            5 => {
                client.set_nonblocking(true).expect("can be set");
                let mut quiet = 0;
                while quiet < 5 {
                    quiet += 1;
                    while client.write(&[7; 65536]).is_ok() {
                        quiet = 0;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                reset(client);
                // All that it had taken over, and then the reset.
                until("the reset is passed on", || theirs.read(&mut [0; 65536]).is_err());
                continue;
            }
            3 => {
                client.shutdown(Shutdown::Write).expect("connected");
                assert_eq!(theirs.read(&mut [0; 8]).expect("the end"), 0);
                reset(client);
            }
            _ => {
                theirs.write_all(b"bye").expect("sent");
                reset(theirs);
                assert!(client.read(&mut [0; 8]).is_err() || client.read(&mut [0; 8]).is_err(), "it looks whole");
                continue;
            }
        }
        // What was cut off does not look whole: the reset is passed on.
        match theirs.read(&mut [0; 8]) {
            // The end that came before the reset.
            Ok(0) if round % 6 == 3 => {}
            Ok(count) => panic!("round {round}: {count} bytes"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "round {round}"),
        }
    }
    // It keeps the pipes that it has made, and no more than 16.
    until("all are closed", || server.descriptors() <= idle + 32);
    let kept = server.descriptors();
    let (client, theirs) = joined(&server, &upstream);
    drop((client, theirs));
    until("it goes on", || server.descriptors() <= kept);
    server.end_well();
}

#[test]
fn a_slow_reader_holds_the_writer_up_and_takes_little_memory() {
    let Some((server, upstream)) = start(&[]) else { return };
    let pairs: Vec<_> = (0..20).map(|_| joined(&server, &upstream)).collect();
    for (client, _) in &pairs {
        client.set_nonblocking(true).expect("can be set");
    }
    let mut sent = vec![0; pairs.len()];
    // Until nobody takes any more.
    let mut quiet = 0;
    while quiet < 20 {
        quiet += 1;
        for ((client, _), sent) in pairs.iter().zip(&mut sent) {
            while let Ok(count) = (&mut &*client).write(&[7; 65536]) {
                *sent += count;
                quiet = 0;
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let kib = server.resident_kib();
    assert!(kib < 64 * 1024, "{kib} KiB are resident for 20 connections");
    for ((client, theirs), sent) in pairs.into_iter().zip(sent) {
        client.shutdown(Shutdown::Write).expect("connected");
        let mut theirs = theirs;
        assert_eq!(all_of(&mut theirs).len(), sent);
    }
    server.end_well();
}

#[test]
fn who_is_idle_is_cut_off() {
    let Some((server, upstream)) = start(&["--idle-timeout", "0.2"]) else { return };
    let (mut idle, mut theirs) = joined(&server, &upstream);
    assert_eq!(idle.read(&mut [0]).expect_err("it looks whole").kind(), ErrorKind::ConnectionReset);
    assert_eq!(theirs.read(&mut [0]).expect_err("it looks whole").kind(), ErrorKind::ConnectionReset);
    server.end_well();
}

#[test]
fn connections_above_the_limit_wait() {
    let Some((server, upstream)) = start(&["--max-connections", "1"]) else { return };
    let (first, _) = joined(&server, &upstream);
    let mut second = server.connect();
    second.write_all(b"later").expect("sent");
    upstream.set_nonblocking(true).expect("can be set");
    assert_eq!(upstream.accept().expect_err("it waits").kind(), ErrorKind::WouldBlock);
    drop(first);
    let mut found = None;
    until("its turn", || {
        found = upstream.accept().ok();
        found.is_some()
    });
    let (mut theirs, _) = found.expect("accepted");
    theirs.set_nonblocking(false).expect("can be set");
    theirs.read_exact(&mut [0; 5]).expect("received");
    drop((second, theirs));
    server.end_well();
}

#[test]
fn a_signal_lets_connections_end_and_cuts_off_what_does_not() {
    let Some((mut server, upstream)) = start(&["--drain", "60"]) else { return };
    let (mut client, mut theirs) = joined(&server, &upstream);
    server.signal(libc::SIGINT);
    until("it listens no more", || TcpStream::connect(&server.address).is_err());
    client.write_all(b"still").expect("sent");
    theirs.read_exact(&mut [0; 5]).expect("received");
    drop((client, theirs));
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{}", server.told());
    assert!(log.contains(" 5 0 ") && log.trim().ends_with("ended"), "{log}");

    let Some((mut server, upstream)) = start(&["--drain", "0.1"]) else { return };
    let (mut client, _theirs) = joined(&server, &upstream);
    server.signal(libc::SIGTERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{}", server.told());
    assert!(log.trim().ends_with("given up"), "{log}");
    assert_eq!(client.read(&mut [0]).expect_err("it looks whole").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn redis_is_reached_through_it() {
    let Some(kv) = Server::start("kv", &[]) else { return };
    let Some(server) = Server::start("proxy", &[&kv.address]) else { return };
    let (host, port) = server.address.rsplit_once(':').expect("an address");
    for (words, expected) in [("SET name value", "OK"), ("GET name", "value"), ("INCR count", "1")] {
        let Some(mut cli) = other("redis-cli") else { return };
        let output = output_of(cli.args(["-h", host, "-p", port]).args(words.split(' ')));
        assert_eq!(text(&output.stdout).trim(), expected, "{words}: {}", text(&output.stderr));
    }
    server.end_well();
}

#[test]
fn curl_goes_through_connect_to_where_it_may() {
    let site = tempfile::tempdir().expect("a folder");
    let bytes = part(5, 3_000_000);
    std::fs::write(site.path().join("file"), &bytes).expect("room");
    let root = site.path().to_str().expect("a path of text");
    let Some(http) = Server::start("http", &["--root", root]) else { return };
    let port = http.address.rsplit_once(':').expect("an address").1.to_owned();
    let Some(server) = connect(&["--allow", &format!("127.0.0.1:{port}"), "--allow", "*.example.org"]) else { return };
    let curl = |url: &str| {
        let mut curl = other("curl")?;
        let proxy = format!("http://{}", server.address);
        Some(output_of(curl.args(["--silent", "--show-error", "--fail", "--max-time", "20", "-p", "-x", &proxy, url])))
    };
    let Some(output) = curl(&http.url("/file")) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == bytes);
    let Some(output) = curl("http://127.0.0.1:1/") else { return };
    assert!(!output.status.success(), "it was not allowed");
    assert!(text(&output.stderr).contains("403"), "{}", text(&output.stderr));
    http.end_well();
    server.end_well();
}

/// What it answers to a head, with the connection closed behind.
fn asked(server: &Server, head: &str) -> String {
    let mut client = server.connect();
    client.write_all(head.as_bytes()).expect("sent");
    text(&all_of(&mut client))
}

#[test]
fn who_asks_for_what_it_does_not_do_is_told_why() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let allow = format!("127.0.0.1:{}", closed.port());
    // Nobody answers at an address that is for documents (RFC 5737), if it can be reached at all.
    let arguments = ["--allow", &allow, "--allow", "192.0.2.1", "--connect-timeout", "0.2", "--head-timeout", "0.3"];
    let Some(server) = connect(&arguments) else { return };
    let long = format!("CONNECT a:443 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (head, status) in [
        ("GET http://127.0.0.1/ HTTP/1.1\r\n\r\n", "405"),
        ("CONNECT example.com:443 HTTP/1.1\r\n\r\n", "403"),
        ("CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", "403"),
        ("CONNECT nothing HTTP/1.1\r\n\r\n", "400"),
        ("A\nforged\u{1b}[2J / HTTP/1.1\r\n\r\n", "400"),
        ("CONNECT a b:443 HTTP/1.1\r\n\r\n", "400"),
        ("CONNECT [::g]:443 HTTP/1.1\r\n\r\n", "400"),
        ("CONNECT a:443 HTTP/2\r\n\r\n", "400"),
        ("\0\u{ff}\r\n\r\n", "400"),
        ("CONNECT 127.0.0.1", "408"),
        (&long, "431"),
        (&format!("CONNECT {closed} HTTP/1.1\r\n\r\n"), "502"),
    ] {
        let answer = asked(&server, head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:.50}: {answer}");
        assert_eq!(answer.contains("Allow: CONNECT"), status == "405", "{answer}");
    }
    let answer = asked(&server, "CONNECT 192.0.2.1:443 HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 504 ") || answer.starts_with("HTTP/1.1 502 "), "{answer}");
    server.end_well();
}

#[test]
fn what_comes_right_behind_the_head_belongs_to_the_tunnel() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = upstream.local_addr().expect("bound").to_string();
    let Some(server) = connect(&["--allow", &address]) else { return };
    let mut client = server.connect();
    // In two parts, cut within the end of the head.
    client.write_all(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r").as_bytes()).expect("sent");
    std::thread::sleep(Duration::from_millis(5));
    client.write_all(b"\nearly").expect("sent");
    let (mut theirs, _) = upstream.accept().expect("a connection");
    let mut early = [0; 5];
    theirs.read_exact(&mut early).expect("received");
    assert_eq!(&early, b"early");
    theirs.write_all(b"late").expect("sent");
    drop(theirs);
    let answer = text(&all_of(&mut client));
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nlate");
    drop(client);
    server.end_well();
}

#[test]
fn wrong_usage_is_refused_with_a_word_of_what_would_be_right() {
    for (arguments, word) in [
        (&[][..], "Usage"),
        (&["127.0.0.1:0"], "UPSTREAM"),
        (&["127.0.0.1:0", "a:1", "--connect"], "cannot be used with"),
        (&["127.0.0.1:0", "--connect", "--allow", "*x"], "no host"),
        (&["127.0.0.1:0", "--connect", "--allow", "a:b"], "no port"),
        (&["127.0.0.1:0", "a:1", "--idle-timeout", "0"], "above 0"),
    ] {
        let Some(mut program) = program("proxy") else { return };
        let output = output_of(program.args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }
    let Some(mut program) = program("proxy") else { return };
    let output = output_of(program.args(["256.0.0.1:0", "a:1"]));
    assert_eq!(output.status.code(), Some(1));
}
