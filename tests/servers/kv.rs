//! `examples/kv` with redis-cli, redis-benchmark, and clients that misbehave; and killed at any moment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{Server, all_of, other, output_of, program, reset, text, until};

fn start(arguments: &[&str]) -> Option<Server> {
    Server::start("kv", arguments)
}

/// redis-cli, or another program of Redis, for a server.
fn redis(name: &str, server: &Server) -> Option<Command> {
    let (host, port) = server.address.rsplit_once(':').expect("an address");
    let mut command = other(name)?;
    command.args(["-h", host, "-p", port]);
    Some(command)
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// One line of a reply.
fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("read");
    line.trim_end().to_owned()
}

#[track_caller]
fn ask(stream: &mut BufReader<TcpStream>, words: &[&str]) -> String {
    stream.get_mut().write_all(&command(words)).expect("sent");
    let reply = line(stream);
    if reply.starts_with('$') && reply != "$-1" { line(stream) } else { reply }
}

#[test]
fn redis_cli_finds_what_it_knows() {
    let Some(server) = start(&[]) else { return };
    for (words, expected) in [
        ("PING", "PONG"),
        ("SET name value", "OK"),
        ("GET name", "value"),
        ("GET nothing", ""),
        ("INCR count", "1"),
        ("INCR count", "2"),
        ("INCR name", "ERR value is not an integer or out of range"),
        ("EXPIRE name 100", "1"),
        ("TTL name", "100"),
        ("SET short 1 PX 1", "OK"),
        ("DEL name nothing", "1"),
        ("EXISTS name", "0"),
        ("NONSENSE", "ERR unknown command 'NONSENSE'"),
    ] {
        let Some(mut cli) = redis("redis-cli", &server) else { return };
        let output = output_of(cli.args(words.split(' ')));
        assert_eq!(text(&output.stdout).trim(), expected, "{words}: {}", text(&output.stderr));
    }
    let mut client = BufReader::new(server.connect());
    until("a key ends", || ask(&mut client, &["EXISTS", "short"]) == ":0");
    assert_eq!(ask(&mut client, &["DBSIZE"]), ":1");
}

#[test]
fn redis_benchmark_runs_without_an_error() {
    let Some(server) = start(&[]) else { return };
    for pipelined in ["1", "16"] {
        let Some(mut benchmark) = redis("redis-benchmark", &server) else { return };
        let output = output_of(
            benchmark
                .args(["-c", "50", "-n", "20000", "-P", pipelined, "-r", "100", "--csv"])
                .args(["-t", "get,set,incr"]),
        );
        let said = text(&output.stdout);
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        for what in ["\"GET\"", "\"SET\"", "\"INCR\""] {
            assert!(said.contains(what), "{said}");
        }
    }
}

#[test]
fn commands_are_answered_in_order_wherever_they_are_cut() {
    let Some(server) = start(&[]) else { return };
    let stream = server.connect();
    stream.set_nodelay(true).expect("a socket");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let (mut sent, mut expected) = (Vec::new(), String::new());
    for number in 0..2000 {
        // As a client sends it, as a person types it, and long ones.
        match number % 4 {
            0 => sent.extend(command(&["INCR", "count"])),
            1 => sent.extend(b"INCR count\r\n"),
            2 => sent.extend(command(&["ECHO", &"x".repeat(number)])),
            _ => sent.extend(b"\r\n"),
        }
        match number % 4 {
            0 => expected.push_str(&format!(":{}\r\n", number / 4 * 2 + 1)),
            1 => expected.push_str(&format!(":{}\r\n", number / 4 * 2 + 2)),
            2 => expected.push_str(&format!("${number}\r\n{}\r\n", "x".repeat(number))),
            _ => {}
        }
    }
    let writer = std::thread::spawn(move || {
        let (mut stream, mut rest, mut step) = (stream, &sent[..], 1);
        while !rest.is_empty() {
            step = step * 7 % 10_007;
            let (part, left) = rest.split_at(rest.len().min(step));
            stream.write_all(part).expect("sent");
            rest = left;
        }
        stream.shutdown(Shutdown::Write).expect("connected");
    });
    let mut all = String::new();
    reader.read_to_string(&mut all).expect("read");
    writer.join().expect("sent");
    assert!(all == expected, "{} bytes instead of {}", all.len(), expected.len());
}

#[test]
fn who_misbehaves_ends_alone_and_leaves_nothing() {
    let Some(server) = start(&["--max-string", "1"]) else { return };
    let mut good = BufReader::new(server.connect());
    assert_eq!(ask(&mut good, &["SET", "a", "1"]), "+OK");
    let before = server.descriptors();
    let mut told = Vec::new();
    for wrong in [
        &b"*1\r\n+x\r\n"[..],
        b"*65537\r\n",
        b"*-2\r\n",
        b"*x\r\n",
        b"*1\r\n$1\r\nxyz\r\n",
        b"*2\r\n$3\r\nGET\r\n$99999999\r\n",
        b"*99999999999999999999999999\r\n",
        &[b'x'; 100_000],
        b"GET / HTTP/1.1\r\n*\r\n",
    ] {
        let mut stream = server.connect();
        told.push(format!("connection from {}'", stream.local_addr().expect("connected")));
        // What is refused early cannot be sent to its end.
        drop(stream.write_all(wrong));
        drop(stream.shutdown(Shutdown::Write));
        let said = text(&all_of(&mut stream));
        assert!(said.contains("ERR"), "{}: {said}", wrong[..wrong.len().min(30)].escape_ascii());
        assert_eq!(ask(&mut good, &["GET", "a"]), "1");
    }
    // Half a command, and no more of it; and broken off at every byte.
    let whole = command(&["SET", "a", "2"]);
    let waiting: Vec<_> = (0..whole.len())
        .map(|cut| {
            let mut stream = server.connect();
            stream.write_all(&whole[..cut]).expect("sent");
            let mut broken = server.connect();
            broken.write_all(&whole[..cut]).expect("sent");
            reset(broken);
            stream
        })
        .collect();
    assert_eq!(ask(&mut good, &["GET", "a"]), "1");
    drop(waiting);
    until("all is freed", || server.descriptors() == before);
    // A line for each who spoke nonsense, and none for those who have just gone.
    until("all is told", || server.told().lines().count() == told.len());
    for who in told {
        assert_eq!(server.told().matches(&who).count(), 1, "{who}: {}", server.told());
    }
    assert_eq!(ask(&mut good, &["GET", "a"]), "1");
}

#[test]
fn who_is_silent_or_takes_no_replies_is_cut_off_and_told_once() {
    let Some(server) = start(&["--timeout", "0.3"]) else { return };
    let mut setting = BufReader::new(server.connect());
    assert_eq!(ask(&mut setting, &["SET", "large", &"x".repeat(1 << 20)]), "+OK");
    // With that connection; of each kind that follows there are two.
    let before = server.descriptors();
    drop(setting);
    let gets = command(&["GET", "large"]).repeat(100);
    let half = &command(&["SET", "a", "1"])[..20];
    let slow: Vec<TcpStream> = [&b""[..], b"P", half, &gets]
        .repeat(2)
        .iter()
        .map(|first| {
            let mut stream = server.connect();
            stream.write_all(first).expect("sent");
            stream
        })
        .collect();
    until("they are cut off", || {
        slow.iter().all(|stream| {
            let who = format!("connection from {}'", stream.local_addr().expect("connected"));
            server.told().contains(&who)
        })
    });
    for mut stream in slow {
        let who = format!("connection from {}'", stream.local_addr().expect("connected"));
        assert_eq!(server.told().matches(&who).count(), 1, "{}", server.told());
        assert!(all_of(&mut stream).len() < 100 << 20);
    }
    until("all is freed", || server.descriptors() <= before);
    // On a busy machine, this very client may be one who takes too long.
    until("others are served", || {
        let mut stream = server.connect();
        drop(stream.write_all(b"PING\r\n"));
        drop(stream.shutdown(Shutdown::Write));
        text(&all_of(&mut stream)) == "+PONG\r\n"
    });
}

#[test]
fn resets_at_every_stage_leave_nothing_behind() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("log");
    let Some(server) = start(&["--log", path.to_str().expect("text"), "--fsync", "always"]) else { return };
    let mut good = BufReader::new(server.connect());
    assert_eq!(ask(&mut good, &["SET", "large", &"x".repeat(1 << 20)]), "+OK");
    let before = server.descriptors();
    let upload = command(&["SET", "upload", &"y".repeat(1 << 20)]);
    let (get, incr) = (command(&["GET", "large"]), command(&["INCR", "count"]));
    // What is sent, and how much of the answer is read.
    let stages: [(&[u8], usize); 9] = [
        (b"", 0),
        (b"*2\r\n$3\r\nGE", 0),
        (b"PING\r\n", 0),
        (b"PING\r\n", 3),
        (&upload[..600_000], 0),
        (&upload, 0),
        (&get, 100_000),
        // So many replies that they cannot all go out.
        (&get.repeat(30), 0),
        // Each of these waits for the disk.
        (&incr.repeat(100), 4),
    ];
    for _ in 0..10 {
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
        assert_eq!(ask(&mut good, &["PING"]), "+PONG");
    }
    until("all is freed", || server.descriptors() == before);
    assert_eq!(server.told(), "");
    let count: u64 = ask(&mut good, &["GET", "count"]).parse().expect("a number");
    assert!((10..=1000).contains(&count), "whole commands were done, or not at all: {count}");
}

/// Ctrl-C while clients change things as fast as they can: what was answered is in the log, whenever that goes to the disk,
/// and nothing is told but replies that are whole.
#[test]
fn what_was_answered_before_ctrl_c_is_in_the_log() {
    const CLIENTS: usize = 8;
    for fsync in ["always", "everysec", "no"] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path().join("log");
        let arguments = ["--log", path.to_str().expect("text"), "--fsync", fsync];
        let Some(mut server) = start(&arguments) else { return };
        let answered: Vec<u64> = std::thread::scope(|scope| {
            let (say, said) = std::sync::mpsc::channel();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (mut client, say) = (BufReader::new(server.connect()), say.clone());
                    scope.spawn(move || {
                        let ask = command(&["INCR", &format!("key{number}")]);
                        let mut count = 0;
                        while client.get_mut().write_all(&ask).is_ok() {
                            let mut reply = String::new();
                            match client.read_line(&mut reply) {
                                Ok(1..) => assert_eq!(reply, format!(":{}\r\n", count + 1), "a reply is whole"),
                                Ok(0) | Err(_) => break,
                            }
                            count += 1;
                            if count == 50 {
                                say.send(()).expect("it listens");
                            }
                        }
                        count
                    })
                })
                .collect();
            (0..CLIENTS).for_each(|_| said.recv().expect("all are served"));
            server.signal(libc::SIGINT);
            clients.into_iter().map(|client| client.join().expect("no panic")).collect()
        });
        let (status, _) = server.end();
        assert_eq!((status.code(), server.told()), (Some(0), String::new()), "{fsync}");
        let Some(server) = start(&arguments) else { return };
        let mut client = BufReader::new(server.connect());
        for (number, count) in answered.into_iter().enumerate() {
            let found: u64 = ask(&mut client, &["GET", &format!("key{number}")]).parse().expect("a number");
            assert!(found == count || found == count + 1, "{fsync}: {found} in the log, and {count} answered");
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("log");
    let arguments = ["--log", path.to_str().expect("text"), "--fsync", "always"];
    let mut acknowledged = [0_u64; 8];
    for round in 0..20_u64 {
        let Some(server) = start(&arguments) else { return };
        {
            let mut client = BufReader::new(server.connect());
            for (number, count) in acknowledged.iter_mut().enumerate() {
                let reply = ask(&mut client, &["GET", &format!("key{number}")]);
                let found: u64 = if reply == "$-1" { 0 } else { reply.parse().expect("a number") };
                // One more may have been written and not acknowledged.
                assert!(found == *count || found == *count + 1, "{found} and not {count} in round {round}");
                *count = found;
            }
        }
        std::thread::scope(|scope| {
            for (number, count) in acknowledged.iter_mut().enumerate() {
                let mut client = BufReader::new(server.connect());
                scope.spawn(move || {
                    let key = format!("key{number}");
                    loop {
                        if client.get_mut().write_all(&command(&["INCR", &key])).is_err() {
                            return;
                        }
                        let mut reply = String::new();
                        if client.read_line(&mut reply).is_err() || !reply.ends_with("\r\n") {
                            return;
                        }
                        *count += 1;
                        assert_eq!(reply.trim_end(), format!(":{count}"));
                    }
                });
            }
            std::thread::sleep(Duration::from_micros(1000 + round * 3701 % 40_000));
            server.signal(libc::SIGKILL);
        });
    }
    assert!(acknowledged.iter().all(|count| *count > 0), "{acknowledged:?}");
}

fn told_by(arguments: &[&str]) -> Option<String> {
    let output = output_of(program("kv")?.arg("127.0.0.1:0").args(arguments));
    assert_eq!(output.status.code(), Some(1));
    Some(text(&output.stderr))
}

#[test]
fn a_log_that_was_cut_is_kept_up_to_there_and_one_that_is_damaged_is_refused() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("log");
    let arguments = ["--log", path.to_str().expect("text")];
    let mut log = [command(&["SET", "a", "1"]), command(&["SET", "b", "2"])].concat();
    let whole = log.len();
    log.extend_from_slice(&command(&["SET", "c", "3"])[..20]);
    std::fs::write(&path, &log).expect("room");
    {
        let Some(mut server) = start(&arguments) else { return };
        let mut client = BufReader::new(server.connect());
        assert_eq!(ask(&mut client, &["DBSIZE"]), ":2");
        assert_eq!(ask(&mut client, &["SET", "d", "4"]), "+OK");
        drop(client);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().0.code(), Some(0), "{}", server.told());
    }
    let beside =
        std::fs::read(folder.path().join(format!("log.cut-at-{whole}"))).expect("what was cut is kept beside it");
    assert_eq!(beside, log[whole..]);
    let kept = std::fs::read(&path).expect("there");
    assert_eq!(kept, [&log[..whole], &command(&["SET", "d", "4"])].concat());
    std::fs::write(&path, [&log[..whole], b"nonsense\r\n", &log[..whole]].concat()).expect("room");
    if let Some(said) = told_by(&arguments) {
        // A line is a command that a person types, but none of a log.
        assert!(said.contains(&format!("damaged at byte {whole}")) && said.contains("log"), "{said}");
    }
}

#[test]
fn what_ends_while_no_server_runs_has_ended_and_nothing_else() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("log");
    let arguments = ["--log", path.to_str().expect("text"), "--fsync", "always"];
    let past = [
        &["SET", "longer", "v"][..],
        &["PEXPIREAT", "longer", "1000"],
        &["PEXPIREAT", "longer", "9000000000000"],
        &["SET", "kept", "v"],
        &["PEXPIREAT", "kept", "1000"],
        &["PERSIST", "kept"],
        &["SET", "ended", "5"],
        &["PEXPIREAT", "ended", "1000"],
        &["INCR", "ended"],
    ];
    std::fs::write(&path, past.map(command).concat()).expect("room");
    {
        let Some(server) = start(&arguments) else { return };
        let mut client = BufReader::new(server.connect());
        assert_eq!(ask(&mut client, &["SET", "anew", "5", "PX", "1"]), "+OK");
        until("it ends", || ask(&mut client, &["EXISTS", "anew"]) == ":0");
        assert_eq!(ask(&mut client, &["INCR", "anew"]), ":1");
        server.signal(libc::SIGKILL);
    }
    let Some(server) = start(&arguments) else { return };
    let mut client = BufReader::new(server.connect());
    assert_eq!(ask(&mut client, &["GET", "longer"]), "v");
    assert_eq!(ask(&mut client, &["GET", "kept"]), "v");
    assert_eq!(ask(&mut client, &["GET", "ended"]), "$-1");
    assert_eq!(ask(&mut client, &["GET", "anew"]), "1");
    // One that had ended while nobody looked begins anew, and is no less safe for it.
    assert_eq!(ask(&mut client, &["INCR", "ended"]), ":1");
    server.signal(libc::SIGKILL);
    let Some(server) = start(&arguments) else { return };
    let mut client = BufReader::new(server.connect());
    assert_eq!(ask(&mut client, &["GET", "ended"]), "1");
    assert_eq!(ask(&mut client, &["TTL", "ended"]), ":-1");
    // One server to a log.
    if let Some(said) = told_by(&arguments) {
        assert!(said.contains("another server uses it"), "{said}");
    }
}

#[test]
fn what_has_been_changed_often_is_written_anew_at_the_start() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("log");
    let arguments = ["--log", path.to_str().expect("text"), "--fsync", "no"];
    let bytes = |path: &Path| std::fs::metadata(path).expect("there").len();
    for round in 0..2 {
        let Some(mut server) = start(&arguments) else { return };
        let mut client = BufReader::new(server.connect());
        if round == 0 {
            let many: Vec<u8> = (0..10_000).flat_map(|_| command(&["INCR", "count"])).collect();
            client.get_mut().write_all(&many).expect("sent");
            (0..10_000).for_each(|_| drop(line(&mut client)));
            assert_eq!(ask(&mut client, &["SET", "short", "1", "EX", "1000"]), "+OK");
        } else {
            assert!(bytes(&path) < 1000, "{} bytes", bytes(&path));
        }
        assert_eq!(ask(&mut client, &["GET", "count"]), "10000");
        assert!(["1000", "999", "998"].contains(&&ask(&mut client, &["TTL", "short"])[1..]));
        drop(client);
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().0.code(), Some(0), "{}", server.told());
        assert!(round == 1 || bytes(&path) > 100_000);
    }
}
