//! `examples/chat` with tungstenite's own client, and with clients that misbehave.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::common::{Server, all_of, reset, text, until};

fn start(arguments: &[&str]) -> Option<Server> {
    Server::start("chat", arguments)
}

fn url(server: &Server, room: &str, name: &str) -> String {
    format!("ws://{}/chat?room={room}&name={name}", server.address)
}

/// A client in a room, who has been told who is there.
#[track_caller]
fn enter(server: &Server, room: &str, name: &str) -> WebSocket<TcpStream> {
    let (mut client, _) = tungstenite::client(url(server, room, name), server.connect()).expect("an upgrade");
    let here = told(&mut client);
    assert!(here["here"].as_array().expect("names").contains(&json!(name.replace("%20", " "))), "{here}");
    client
}

/// What the client is told next.
#[track_caller]
fn told(client: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match client.read().expect("something is told") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Ping(_) => {}
            other => panic!("{other}"),
        }
    }
}

/// How the server closes the connection: with a reason, and then it is over.
#[track_caller]
fn closed(client: &mut WebSocket<TcpStream>) -> (CloseCode, String) {
    loop {
        match client.read().expect("a goodbye") {
            Message::Close(Some(frame)) => {
                // Answered, so that the server need not wait.
                while client.read().is_ok() {}
                return (frame.code, frame.reason.to_string());
            }
            Message::Close(None) => panic!("without a reason"),
            _ => {}
        }
    }
}

#[track_caller]
fn say(client: &mut WebSocket<TcpStream>, text: &str) {
    client.send(Message::text(text)).expect("it reads");
}

/// The head of an upgrade, as it goes over the connection.
fn upgrade(more: &str) -> String {
    format!(
        "GET /chat?room=lobby&name=raw HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A connection that has been upgraded, to say what a library would not.
#[track_caller]
fn raw(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(upgrade("").as_bytes()).expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = text(&head);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    stream
}

/// The code of the goodbye that comes after all else.
#[track_caller]
fn code(stream: &mut TcpStream) -> u16 {
    let mut rest = &*all_of(stream);
    loop {
        let [first, length, ..] = *rest else { panic!("no goodbye: {rest:?}") };
        assert!(length < 126, "only short frames come here");
        let (frame, after) = rest[2..].split_at(usize::from(length));
        if first == 0x88 {
            assert_eq!(after, b"", "nothing follows");
            return u16::from_be_bytes([frame[0], frame[1]]);
        }
        rest = after;
    }
}

/// A frame as clients send it, with a mask of zeroes.
fn frame(first: u8, length: &[u8], body: &[u8]) -> Vec<u8> {
    [&[first], length, &[0; 4], body].concat()
}

#[test]
fn what_is_said_goes_to_all_in_the_room_and_to_nobody_else() {
    let Some(server) = start(&[]) else { return };
    let mut alice = enter(&server, "tea", "alice");
    let mut bob = enter(&server, "tea", "bob%20b.");
    let mut carol = enter(&server, "coffee", "carol");
    assert_eq!(told(&mut alice), json!({ "joined": "bob b." }));
    say(&mut alice, "héllo \"all\"");
    for client in [&mut alice, &mut bob] {
        assert_eq!(told(client), json!({ "said": { "from": "alice", "text": "héllo \"all\"" } }));
    }
    bob.close(None).expect("open");
    while bob.read().is_ok() {}
    assert_eq!(told(&mut alice), json!({ "left": "bob b." }));
    say(&mut carol, "alone");
    assert_eq!(told(&mut carol), json!({ "said": { "from": "carol", "text": "alone" } }));

    let (mut second, _) = tungstenite::client(url(&server, "tea", "alice"), server.connect()).expect("an upgrade");
    assert_eq!(closed(&mut second), (CloseCode::Policy, "that name is taken".to_owned()));
    reset(carol.into_inner());
    until("carol's name is free", || {
        let (mut carol, _) =
            tungstenite::client(url(&server, "coffee", "carol"), server.connect()).expect("an upgrade");
        carol.read().expect("a word").is_text()
    });
    // Parts of a message are put together, and pings answered in between.
    let mut parts = raw(&server);
    parts.write_all(&frame(0x01, &[0x82], b"in")).expect("it reads");
    parts.write_all(&frame(0x89, &[0x81], b"?")).expect("it reads");
    parts.write_all(&frame(0x80, &[0x86], b" parts")).expect("it reads");
    let mut came = Vec::new();
    while !text(&came).contains(r#"{"said":{"from":"raw","text":"in parts"}}"#) {
        let mut room = [0; 256];
        let count = parts.read(&mut room).expect("more");
        assert!(count > 0, "{}", text(&came));
        came.extend_from_slice(&room[..count]);
    }
    assert!(came.windows(3).any(|window| window == [0x8a, 1, b'?']), "a pong");
    drop(parts);
    alice.close(None).expect("open");
    while alice.read().is_ok() {}
    server.end_well();
}

#[test]
fn the_page_is_served_and_requests_that_are_none_of_ours_are_refused() {
    let Some(server) = start(&[]) else { return };
    let ask = |request: &str| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).expect("it reads");
        text(&all_of(&mut stream))
    };
    let get = |target: &str, more: &str| {
        ask(&format!("GET {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{more}\r\n"))
    };
    let page = get("/", "");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("new WebSocket(url)"), "{page}");
    for (target, status) in [
        ("/nowhere", "404"),
        ("/chat", "400"),
        ("/chat?room=a", "400"),
        ("/chat?room=a&name=", "400"),
        ("/chat?room=a&name=%0A", "400"),
        ("/chat?room=a&name=%", "400"),
        ("/chat?room=a&name=%ff", "400"),
        ("/chat?room=a&name=012345678901234567890123456789012", "400"),
        // All is well but for the upgrade.
        ("/chat?room=a&name=b", "400"),
    ] {
        let answer = get(target, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
    assert!(
        ask("POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .starts_with("HTTP/1.1 405 ")
    );
    assert!(ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));

    // A page of another site is not let in; ours is.
    let mut request = url(&server, "lobby", "visitor").into_client_request().expect("a URL");
    request.headers_mut().insert("Origin", "http://elsewhere.example".parse().expect("a header"));
    match tungstenite::client(request, server.connect()) {
        Err(HandshakeError::Failure(Error::Http(response))) => assert_eq!(response.status(), 403),
        other => panic!("{:?}", other.map(drop).map_err(drop)),
    }
    let mut request = url(&server, "lobby", "visitor").into_client_request().expect("a URL");
    request.headers_mut().insert("Origin", format!("http://{}", server.address).parse().expect("a header"));
    tungstenite::client(request, server.connect()).map(drop).map_err(drop).expect("its own page");
    server.end_well();
}

#[test]
fn two_hundred_clients_hear_each_other() {
    let Some(server) = start(&[]) else { return };
    const CLIENTS: usize = 200;
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| enter(&server, "hall", &format!("client{number}"))).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        say(client, &format!("I am {number}"));
    }
    for client in &mut clients {
        let mut heard = BTreeSet::new();
        while heard.len() < CLIENTS {
            let told = told(client);
            if let Some(said) = told.get("said") {
                let number = said["from"].as_str().expect("a name").trim_start_matches("client").to_owned();
                assert_eq!(said["text"], format!("I am {number}"));
                assert!(heard.insert(number), "once");
            }
        }
    }
    let before = server.descriptors();
    drop(clients);
    until("all have left", || server.descriptors() <= before - CLIENTS);
    server.end_well();
}

#[test]
fn who_says_much_at_once_leaves_the_others_time_to_take_it() {
    const MUCH: usize = 500;
    let Some(server) = start(&["--behind", "64"]) else { return };
    let mut listener = enter(&server, "lobby", "listener");
    let mut talker = raw(&server);
    // All in one write, and far more than anybody may fall behind.
    talker.write_all(&frame(0x81, &[0x81], b"a").repeat(MUCH)).expect("it reads");
    let mut heard = 0;
    while heard < MUCH {
        heard += usize::from(told(&mut listener).get("said").is_some());
    }
    server.end_well();
}

#[test]
fn frames_that_are_malformed_or_too_long_end_their_connection_alone() {
    let Some(mut server) = start(&["--max-message", "1000"]) else { return };
    let mut bystander = enter(&server, "bystanders", "bystander");
    let wrong: [(&str, Vec<u8>, u16); 9] = [
        ("not masked", vec![0x81, 2, b'h', b'i'], 1002),
        ("a reserved bit", frame(0xc1, &[0x82], b"hi"), 1002),
        ("a reserved opcode", frame(0x83, &[0x82], b"hi"), 1002),
        ("a continuation of nothing", frame(0x80, &[0x82], b"hi"), 1002),
        ("a ping in parts", frame(0x09, &[0x82], b"hi"), 1002),
        ("a ping that is too long", frame(0x89, &[0xfe, 0, 126], &[0; 126]), 1002),
        ("no UTF-8", frame(0x81, &[0x82], b"\xff\xfe"), 1007),
        ("bytes", frame(0x82, &[0x82], b"hi"), 1003),
        ("a length beyond all bounds", frame(0x81, &[0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b""), 1009),
    ];
    let mut count = wrong.len();
    for (what, bytes, expected) in wrong {
        let mut stream = raw(&server);
        stream.write_all(&bytes).expect("it reads");
        assert_eq!(code(&mut stream), expected, "{what}");
    }
    // Too long as a whole, though no part of it is.
    let mut stream = raw(&server);
    stream.write_all(&frame(0x01, &[0xfe, 2, 88], &[b'x'; 600])).expect("it reads");
    stream.write_all(&frame(0x80, &[0xfe, 2, 88], &[b'x'; 600])).expect("it reads");
    assert_eq!(code(&mut stream), 1009);
    count += 1;
    // One byte at a time is no fault.
    let mut stream = raw(&server);
    stream.set_nodelay(true).expect("can be set");
    for byte in frame(0x81, &[0x82], b"hi") {
        stream.write_all(&[byte]).expect("it reads");
    }
    // And of what is broken off within a frame, nothing is heard.
    let mut came = Vec::new();
    while !text(&came).contains(r#""text":"hi""#) {
        let mut room = [0; 256];
        let read = stream.read(&mut room).expect("more");
        assert!(read > 0);
        came.extend_from_slice(&room[..read]);
    }
    stream.write_all(&[0x81, 0xff, 0]).expect("it reads");
    reset(stream);

    say(&mut bystander, "still here");
    assert_eq!(told(&mut bystander)["said"]["text"], "still here");
    until("each fault is told", || {
        server.told().lines().filter(|line| line.contains(" is dropped: ")).count() == count
    });
    server.signal(libc::SIGTERM);
    assert_eq!(closed(&mut bystander), (CloseCode::Away, "the server ends".to_owned()));
    let (status, _) = server.end();
    assert!(status.success());
    assert_eq!(server.told().lines().count(), count + 1, "{}", server.told());
}

#[test]
fn clients_that_are_silent_are_asked_and_then_dropped() {
    let Some(server) = start(&["--ping", "0.05", "--goodbye", "0.1"]) else { return };
    // Half open: it has gone, and its side does not say so. It is told why it is dropped, though it does not read.
    let mut silent = raw(&server);
    until("the silent one is dropped", || {
        server.told().contains("raw in lobby is dropped: it has not answered a ping")
    });
    assert_eq!(code(&mut silent), 1008);
    assert_eq!(server.told().lines().count(), 1);
    // Who answers stays: tungstenite's client does when it reads. On a busy machine it may be too late with that.
    until("one who answers stays", || {
        let (mut client, _) =
            tungstenite::client(url(&server, "lobby", "there"), server.connect()).expect("an upgrade");
        let mut pings = 0;
        while let Ok(message @ (Message::Ping(_) | Message::Text(_))) = client.read() {
            pings += u32::from(message.is_ping());
            if pings == 5 {
                return true;
            }
        }
        false
    });
}

/// A client that can fall behind soon: there is not much room on its side. The server's own side has more.
#[track_caller]
fn slow(server: &Server) -> WebSocket<TcpStream> {
    let stream = server.connect();
    let bytes: libc::c_int = 128 * 1024;
    let (fd, value) = (stream.as_raw_fd(), (&raw const bytes).cast());
    // SAFETY: `bytes` outlives the call, and is as long as is said.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, value, 4) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    tungstenite::client(url(server, "hall", "slow"), stream).expect("an upgrade").0
}

#[test]
fn who_reads_again_too_late_is_told_so() {
    let Some(server) = start(&["--behind", "4", "--max-message", "65536", "--write-timeout", "60"]) else { return };
    let mut speaker = enter(&server, "hall", "speaker");
    let mut slow = slow(&server);
    let long = "x".repeat(60_000);
    const SAID: usize = 300;
    for _ in 0..SAID {
        say(&mut speaker, &long);
        while told(&mut speaker).get("said").is_none() {}
    }
    // More than its connection and its queue have room for: some are kept from it, and so it is dropped.
    let mut heard = 0;
    let frame = loop {
        match slow.read().expect("a goodbye") {
            Message::Text(text) => heard += usize::from(text.contains(&long)),
            Message::Close(frame) => break frame.expect("a reason"),
            _ => {}
        }
    };
    assert_eq!((frame.code, &*frame.reason), (CloseCode::Policy, "too many messages behind"));
    assert!(heard < SAID, "{heard}");
    while told(&mut speaker).get("left").is_none() {}
}

#[test]
fn who_does_not_read_is_dropped_and_the_others_do_not_notice() {
    let Some(server) = start(&["--write-timeout", "0.3", "--behind", "64", "--max-message", "65536"]) else { return };
    let mut speaker = enter(&server, "hall", "speaker");
    let mut listener = enter(&server, "hall", "listener");
    let slow = slow(&server);
    let long = "x".repeat(60_000);
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = std::thread::spawn({
        let heard = Arc::clone(&heard);
        move || loop {
            match told(&mut listener)["said"]["text"].as_str() {
                Some("the end") => return,
                Some(_) => {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
    });
    let mut said = 0;
    // Both read what is said, as everybody does who wants to stay, before more is said.
    until("the slow one is dropped", || {
        say(&mut speaker, &long);
        said += 1;
        while told(&mut speaker).get("said").is_none() {}
        until("it is heard", || heard.load(Ordering::Relaxed) == said);
        server.told().contains("slow in hall is dropped: ")
    });
    say(&mut speaker, "the end");
    hears.join().expect("no panic");
    assert_eq!(server.told().lines().count(), 1, "{}", server.told());
    drop(slow);
}

#[test]
fn everybody_is_told_that_the_server_ends() {
    let Some(mut server) = start(&["--goodbye", "0.5"]) else { return };
    let mut clients: Vec<_> = (0..20).map(|number| enter(&server, "hall", &format!("client{number}"))).collect();
    // One who says nothing, one who is in the middle of a request, and one who does not answer the goodbye.
    let (_silent, mut half, _rude) = (server.connect(), server.connect(), raw(&server));
    half.write_all(b"GET / HTTP/1.1\r\nHo").expect("it reads");
    server.signal(libc::SIGTERM);
    for client in &mut clients {
        assert_eq!(closed(client), (CloseCode::Away, "the server ends".to_owned()));
    }
    let (status, _) = server.end();
    assert!(status.success());
    assert_eq!(server.told().lines().count(), 1, "{}", server.told());
}
