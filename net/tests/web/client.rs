//! The client for HTTP, with servers that do as they should, and with servers that do not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering_net::client::{Body, Error, Phase, Session, SessionBuilder, StatusCode};
use corering_runtime::io::Cursor;
use corering_runtime::task::gather;
use corering_runtime::task::yield_now;
use corering_runtime::time::sleep;

use crate::scripted::{Server, answer, clean, path, until};

/// Nothing comes for so long, where nothing will come.
const SHORT: Duration = Duration::from_millis(40);

fn ok(body: &str) -> String {
    answer("200 OK", "", body)
}

/// A server that says what it was asked.
async fn echo() -> Server {
    Server::answering(ok).await
}

fn built(builder: SessionBuilder) -> Session {
    builder.build().expect("a session")
}

#[test]
fn one_connection_is_used_for_one_request_after_another() {
    clean(async {
        let server = echo().await;
        let session = Session::new();
        for number in 0..10 {
            let asked = format!("/{number}");
            let mut response = session.get(server.url(&asked)).send().await.expect("an answer");
            assert_eq!(response.status(), StatusCode::OK);
            let text = response.text().await.expect("a body");
            assert!(text.starts_with(&format!("GET {asked} HTTP/1.1\r\n")), "{text}");
            assert!(text.contains(&format!("host: {}\r\n", server.address)), "{text}");
            assert!(text.contains("user-agent: corering/"), "{text}");
        }
        assert_eq!(server.seen.accepted.get(), 1);
        let status = session.status();
        assert_eq!((status.idle, status.in_use, status.connections, status.made), (1, 0, 1, 1));
        session.close().await;
        assert_eq!(session.status().connections, 0);
        until(|| server.seen.open.get() == 0).await;
        assert!(matches!(session.get(server.url("/")).send().await, Err(Error::Closed)));
    });
}

#[test]
fn what_is_asked_is_what_was_put_together() {
    clean(async {
        let server = echo().await;
        let session = built(Session::builder().base(server.url("/v1/")).header("x-all", "1"));
        let asked = async |request: corering_net::client::RequestBuilder| {
            request.send().await.expect("an answer").text().await.expect("a body")
        };
        let text = asked(session.get("names?a=1").query([("b", "2 3"), ("c", "\u{fc}")]).header("x-all", "2")).await;
        assert!(text.starts_with("GET /v1/names?a=1&b=2+3&c=%C3%BC HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("x-all: 2\r\n") && !text.contains("x-all: 1"), "{text}");
        let text = asked(session.post("/json").json(&[1, 2])).await;
        assert!(text.starts_with("POST /json HTTP/1.1\r\n") && text.ends_with("\r\n\r\n[1,2]"), "{text}");
        assert!(text.contains("content-type: application/json\r\n") && text.contains("x-all: 1\r\n"), "{text}");
        let text = asked(session.put("x").form([("k", "v w")])).await;
        assert!(text.starts_with("PUT /v1/x ") && text.ends_with("\r\n\r\nk=v+w"), "{text}");
        let text = asked(session.patch("x").body("changed").bearer_auth("abc")).await;
        assert!(text.contains("authorization: Bearer abc\r\n") && text.ends_with("\r\n\r\nchanged"), "{text}");
        let text = asked(session.delete("x").body(Body::reader_of(Cursor::new("0123456789"), 4))).await;
        assert!(text.contains("content-length: 4\r\n") && text.ends_with("\r\n\r\n0123"), "{text}");
        let text = asked(session.post("x")).await;
        assert!(text.contains("content-length: 0\r\n"), "{text}");
        let text = asked(session.post("x").body(Body::reader(Cursor::new("chunks")))).await;
        assert!(text.contains("transfer-encoding: chunked\r\n"), "{text}");
        drop(session);
    });
}

#[test]
fn a_head_has_a_length_and_no_body() {
    clean(async {
        let server = Server::answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned()).await;
        let session = Session::new();
        for _ in 0..3 {
            let mut response = session.head(server.url("/")).send().await.expect("an answer");
            assert_eq!(response.header("content-length"), Some("5"));
            assert_eq!(response.chunk().await.expect("an end"), None);
        }
        assert_eq!(server.seen.accepted.get(), 1);
    });
}

#[test]
fn wrong_requests_are_refused_before_anything_is_sent() {
    clean(async {
        let session = Session::new();
        for wrong in ["", "/path", "ftp://h/", "http://", "http://u:p@h/"] {
            let error = session.get(wrong).send().await.expect_err("no URL");
            assert!(matches!(error, Error::Url { .. }), "{error}");
        }
        let error = session.get("http://h/").header("x y", "").send().await.expect_err("no header");
        assert_eq!(error.to_string(), "the request cannot be sent: 'x y' is no name of a header");
        assert!(session.get("http://h/").header("x", "a\nb").send().await.is_err());
        assert!(Session::builder().header("x", "\0").build().is_err());
        assert!(Session::builder().base("nothing").build().is_err());
    });
}

#[test]
fn json_and_statuses_are_errors_that_say_what_is_wrong() {
    clean(async {
        let server = Server::answering(|request| match path(request) {
            "/list" => ok("[\"a\", \"b\"]"),
            "/none" => answer("404 Not Found", "", "nothing"),
            _ => ok("{\"a\": "),
        })
        .await;
        let session = Session::new();
        let list: Vec<String> =
            session.get(server.url("/list")).send().await.expect("it").json().await.expect("a list");
        assert_eq!(list, ["a", "b"]);
        let error = session.get(server.url("/x")).send().await.expect("it").json::<Vec<u8>>().await.expect_err("half");
        let text = error.to_string();
        assert!(text.starts_with(&format!("the answer of {} is not the JSON", server.address)), "{text}");
        let response = session.get(server.url("/none")).send().await.expect("an answer");
        let error = response.error_for_status().expect_err("404");
        assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
        assert_eq!(error.to_string(), format!("{} answers 404 Not Found", server.url("/none")));
    });
}

#[test]
fn redirects_are_followed_as_browsers_do() {
    clean(async {
        let other = echo().await;
        let elsewhere = other.url("/there");
        let server = Server::answering(move |request| {
            let sent_on = |status: &str, to: &str| answer(status, &format!("Location: {to}\r\n"), "moved");
            match path(request) {
                "/301" => sent_on("301 Moved", "/end"),
                "/303" => sent_on("303 See Other", "end?x=1#part"),
                "/307" => sent_on("307 Temporary", "/end"),
                "/away" => sent_on("308 Permanent", &elsewhere),
                "/nowhere" => sent_on("302 Found", "mailto:me@here"),
                "/for-ever" => sent_on("302 Found", "/for-ever"),
                "/silent" => answer("302 Found", "", "no location"),
                _ => ok(request),
            }
        })
        .await;
        let session = Session::new();
        let asked = async |request: corering_net::client::RequestBuilder| {
            request.header("authorization", "secret").send().await
        };
        let text = asked(session.post(server.url("/301")).json(&1)).await.expect("it").text().await.expect("a body");
        assert!(text.starts_with("GET /end ") && text.contains("authorization: secret"), "{text}");
        assert!(!text.contains("content-type") && !text.contains("content-length"), "{text}");
        let text = asked(session.put(server.url("/301")).body("b")).await.expect("it").text().await.expect("a body");
        assert!(text.starts_with("PUT /end ") && text.ends_with("\r\n\r\nb"), "{text}");
        let mut response = asked(session.put(server.url("/303")).body("b")).await.expect("an answer");
        assert_eq!((response.url().to_string(), response.redirects()), (server.url("/end?x=1"), 1));
        assert_eq!(response.join("../up").expect("a link").to_string(), server.url("/up"));
        assert!(response.text().await.expect("a body").starts_with("GET /end?x=1 "));
        let text = asked(session.post(server.url("/307")).body("b")).await.expect("it").text().await.expect("a body");
        assert!(text.starts_with("POST /end ") && text.ends_with("\r\n\r\nb"), "{text}");
        let text = asked(session.post(server.url("/away")).body("b")).await.expect("it").text().await.expect("a body");
        assert!(text.starts_with("POST /there ") && text.ends_with("\r\n\r\nb"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let error = asked(session.get(server.url("/for-ever"))).await.expect_err("a circle");
        assert!(matches!(error, Error::Redirects { limit: 10, .. }), "{error}");
        let error = asked(session.get(server.url("/nowhere"))).await.expect_err("no place");
        assert!(matches!(error, Error::Url { .. }), "{error}");
        assert_eq!(asked(session.get(server.url("/silent"))).await.expect("it").status(), StatusCode::FOUND);
        let read = Body::reader(Cursor::new("once"));
        let error = session.post(server.url("/away")).body(read).send().await.expect_err("it is gone");
        assert!(matches!(error, Error::Request(_)), "{error}");
        let still = built(Session::builder().redirects(0));
        assert_eq!(still.get(server.url("/301")).send().await.expect("it").status(), StatusCode::MOVED_PERMANENTLY);
    });
}

#[test]
fn an_answer_that_is_dropped_midway_never_reaches_another_request() {
    clean(async {
        let server = Server::of(async |visit| {
            while let Some(request) = visit.request().await {
                if path(&request) == "/long" {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nthe beginning").await;
                    visit.end().await;
                    return;
                }
                visit.send(&ok(path(&request))).await;
            }
        })
        .await;
        let session = built(Session::builder().limit(1));
        for round in 0..5 {
            let mut long = session.get(server.url("/long")).send().await.expect("a head");
            if round > 0 {
                assert_eq!(long.chunk().await.expect("some").as_deref(), Some(&b"the beginning"[..]));
            }
            if round > 2 {
                // Given up while it waits for more.
                let mut more = pin!(long.chunk());
                assert!(poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx).is_pending())).await);
            }
            drop(long);
            let mine = format!("/mine/{round}");
            let text = session.get(server.url(&mine)).send().await.expect("it").text().await.expect("a body");
            assert_eq!(text, mine);
        }
        until(|| server.seen.open.get() == 1).await;
        assert_eq!(session.status().connections, 1);
    });
}

#[test]
fn a_request_that_is_dropped_at_any_point_takes_nothing_with_it() {
    clean(async {
        let server = Server::of(async |visit| {
            while let Some(request) = visit.request().await {
                // In pieces, so that there is more to wait for.
                let answer = ok(path(&request));
                for piece in [&answer[..9], &answer[9..20], &answer[20..]] {
                    yield_now().await;
                    if visit.send(piece).await.is_none() {
                        return;
                    }
                }
            }
        })
        .await;
        let session = built(Session::builder().limit_per_host(2));
        let (mut polls, mut ended) = (0, 0);
        // Until some have come to their end: then there was no point at which none was dropped.
        while ended < 3 {
            polls += 1;
            let dropped = format!("/dropped/{polls}");
            {
                let mut request =
                    pin!(async { session.post(server.url(&dropped)).body("something").send().await?.text().await });
                for _ in 0..polls {
                    match poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx))).await {
                        Poll::Ready(text) => {
                            assert_eq!(text.expect("an answer"), dropped);
                            ended += 1;
                            break;
                        }
                        Poll::Pending => sleep(Duration::from_micros(20)).await,
                    }
                }
            }
            let mine = format!("/mine/{polls}");
            let text = session.get(server.url(&mine)).send().await.expect("it").text().await.expect("a body");
            assert_eq!(text, mine);
            let status = session.status();
            assert!(status.in_use == 0 && status.idle <= 2, "{status:?}");
        }
        drop(session);
        until(|| server.seen.open.get() == 0).await;
    });
}

#[test]
fn what_was_closed_while_it_was_idle_is_asked_again_if_it_does_no_harm() {
    clean(async {
        // Each connection answers once, and closes at the next request.
        let server = Server::of(async |visit| {
            let Some(request) = visit.request().await else { return };
            visit.send(&ok(path(&request))).await;
            visit.request().await;
        })
        .await;
        let session = Session::new();
        for number in 0..5 {
            let text = session.get(server.url("/x")).send().await.expect("it").text().await.expect("a body");
            assert_eq!((text.as_str(), server.seen.accepted.get()), ("/x", number + 1));
        }
        // What may not be done twice is not.
        let before = server.seen.requests.borrow().len();
        let error = session.post(server.url("/once")).body("b").send().await.expect_err("it was closed");
        assert!(matches!(error, Error::Send { .. }), "{error}");
        assert_eq!(server.seen.requests.borrow().len(), before + 1);
        // One that says so beforehand is not used again.
        let polite = Server::answering(|request| answer("200 OK", "Connection: close\r\n", path(request))).await;
        for _ in 0..3 {
            let mut response = session.post(polite.url("/y")).body("b").send().await.expect("an answer");
            assert_eq!(response.text().await.expect("a body"), "/y");
        }
        assert_eq!(polite.seen.accepted.get(), 3);
    });
}

#[test]
fn a_server_that_closes_at_once_is_asked_once() {
    clean(async {
        let server = Server::of(async |visit| drop(visit.request().await)).await;
        let session = Session::new();
        let error = session.get(server.url("/")).send().await.expect_err("no answer");
        let text = error.to_string();
        assert!(text.starts_with(&format!("no answer from {}: ", server.address)), "{text}");
        assert_eq!(server.seen.accepted.get(), 1);
    });
}

#[test]
fn hostile_servers_are_told_of_and_the_session_goes_on() {
    clean(async {
        let server = Server::of(async |visit| {
            let Some(request) = visit.request().await else { return };
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            match path(&request) {
                "/short" => drop(visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.").await),
                "/half-head" => drop(visit.send("HTTP/1.1 200 OK\r\nConte").await),
                "/no-http" => drop(visit.send("SSH-2.0-OpenSSH_9\r\n\r\n").await),
                "/two-lengths" => {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello").await;
                    visit.end().await;
                }
                "/bad-chunk" => {
                    visit.send(&format!("{chunked}5\r\nhello\r\nzz\r\n")).await;
                    visit.end().await;
                }
                "/half-chunk" => drop(visit.send(&format!("{chunked}ff\r\nhello")).await),
                "/endless-head" => {
                    visit.send("HTTP/1.1 200 OK\r\n").await;
                    let lines = "x-more: and more\r\n".repeat(1000);
                    while visit.send(&lines).await.is_some() {}
                }
                "/endless-body" => {
                    visit.send(chunked).await;
                    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                    while visit.send(&chunk).await.is_some() {}
                }
                "/too-long" => {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").await;
                    visit.end().await;
                }
                "/silent" => visit.end().await,
                "/silent-body" => {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel").await;
                    visit.end().await;
                }
                "/more" => {
                    visit.send(&format!("{}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", ok("right"))).await;
                    visit.end().await;
                }
                _ => drop(visit.send(&ok("well")).await),
            }
        })
        .await;
        let session = built(Session::builder().limit(2).max_body(1_000_000));
        let whole =
            async |path: &str| session.get(server.url(path)).read_timeout(SHORT * 50).send().await?.text().await;
        for path in ["/half-head", "/no-http", "/two-lengths", "/endless-head"] {
            let error = whole(path).await.expect_err(path);
            assert!(matches!(error, Error::Send { .. }), "{path}: {error}");
        }
        for path in ["/short", "/bad-chunk", "/half-chunk"] {
            let error = whole(path).await.expect_err(path);
            assert!(matches!(error, Error::Read { .. }), "{path}: {error}");
        }
        for path in ["/endless-body", "/too-long"] {
            let error = whole(path).await.expect_err(path);
            assert!(matches!(error, Error::TooLong { limit: 1_000_000, .. }), "{path}: {error}");
        }
        // On a busy machine, it may not get so far in time: then once more.
        for (path, expected) in [("/silent", Phase::Send), ("/silent-body", Phase::Read)] {
            loop {
                let request = session.get(server.url(path)).read_timeout(SHORT);
                let error = async { request.send().await?.text().await }.await.expect_err(path);
                assert!(error.is_timeout() && !error.is_connect(), "{path}: {error}");
                if matches!(error, Error::Timeout { phase, limit: SHORT, .. } if phase == expected) {
                    break;
                }
            }
            loop {
                let request = session.get(server.url(path)).timeout(SHORT);
                let error = async { request.send().await?.text().await }.await.expect_err(path);
                assert!(error.is_timeout(), "{path}: {error}");
                if matches!(error, Error::Timeout { phase, limit: SHORT, .. } if phase == expected) {
                    break;
                }
            }
        }
        // An answer that nobody has asked for is nobody's.
        assert_eq!(whole("/more").await.expect("an answer"), "right");
        assert_eq!(whole("/").await.expect("an answer"), "well");
        assert_eq!(whole("/").await.expect("an answer"), "well");
        session.close().await;
        assert_eq!(session.status().connections, 0);
    });
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    clean(async {
        let server = Server::of(async |visit| {
            visit.request().await;
            visit.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
        })
        .await;
        let session = Session::new();
        for _ in 0..2 {
            let text = session.get(server.url("/")).send().await.expect("it").text().await.expect("a body");
            assert_eq!(text, "to the end");
        }
        assert_eq!(server.seen.accepted.get(), 2);
    });
}

#[test]
fn no_more_requests_are_under_way_than_is_allowed() {
    clean(async {
        let busy = Rc::new(Cell::new((0_usize, 0_usize)));
        let serve = {
            let busy = busy.clone();
            async move |visit: &mut crate::scripted::Visit| {
                while let Some(request) = visit.request().await {
                    let (now, most) = busy.get();
                    busy.set((now + 1, most.max(now + 1)));
                    for _ in 0..20 {
                        yield_now().await;
                    }
                    let (now, most) = busy.get();
                    busy.set((now - 1, most));
                    visit.send(&ok(path(&request))).await;
                }
            }
        };
        let (one, other) = (Server::of(serve.clone()).await, Server::of(serve).await);
        let session = built(Session::builder().limit(5).limit_per_host(3));
        let all = (0..40).map(|number| {
            let server = if number % 4 == 0 { &other } else { &one };
            let (session, asked) = (session.clone(), format!("/{number}"));
            let url = server.url(&asked);
            async move {
                let text = session.get(url).send().await?.text().await?;
                assert_eq!(text, asked);
                Ok::<(), Error>(())
            }
        });
        gather(all).await.expect("answers");
        assert_eq!(one.seen.most.get(), 3);
        assert!(busy.get().1 <= 5 && other.seen.most.get() <= 3, "{busy:?}");
        let tight = built(Session::builder().limit(1).wait_timeout(SHORT));
        let held = tight.get(one.url("/held")).send().await.expect("a head");
        if held.length() != Some(0) {
            let error = tight.get(other.url("/late")).send().await.expect_err("none is free");
            assert!(matches!(error, Error::Timeout { phase: Phase::Wait, .. }), "{error}");
        }
    });
}

#[test]
fn who_cannot_be_reached_is_named_with_the_reason() {
    clean(async {
        let session = built(Session::builder().connect_timeout(Duration::from_secs(10)));
        let listener = corering_net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let closed = listener.local_addr().expect("an address");
        listener.close().await.expect("nobody has it any more");
        let error = session.get(format!("http://{closed}/")).send().await.expect_err("nobody listens");
        assert!(matches!(error, Error::Connect { .. }) && error.is_connect(), "{error}");
        assert!(error.to_string().starts_with(&format!("cannot connect to {closed}: Connection refused")), "{error}");
        let error = session.get("http://nobody.invalid/").send().await.expect_err("no such name");
        assert!(matches!(error, Error::Resolve { .. }) && error.is_connect(), "{error}");
        assert!(error.to_string().starts_with("cannot look up nobody.invalid: "), "{error}");
        let server = Server::of(async |visit| {
            visit.stream.recv().await.expect("a hello");
            visit.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
            visit.end().await;
        })
        .await;
        let wrong =
            corering_net::tls::Connector::builder().only_roots(include_bytes!("../pem/root.pem")).expect("a root");
        let session = built(Session::builder().tls(wrong.build().await.expect("a connector")));
        let error = session.get(format!("https://{}/", server.address)).send().await.expect_err("no TLS");
        assert!(matches!(error, Error::Tls { .. }), "{error}");
        assert!(error.to_string().contains("does not speak TLS"), "{error}");
    });
}

#[test]
fn a_body_goes_out_while_it_is_read_and_the_session_waits_for_it() {
    clean(async {
        let server = echo().await;
        let session = Session::new();
        let bytes = "0123456789abcdef".repeat(50_000);
        let request = session.post(server.url("/")).body(Body::reader_of(Cursor::new(bytes.clone()), 800_000));
        let text = request.send().await.expect("an answer").text().await.expect("a body");
        assert!(text.ends_with(&bytes), "{} bytes", text.len());
        let request = session.post(server.url("/")).body(Body::reader_of(Cursor::new("short"), 10));
        let error = request.send().await.expect_err("it has too few");
        assert!(error.to_string().contains("the reader of the body has ended too soon"), "{error}");
        assert_eq!(session.get(server.url("/")).send().await.expect("an answer").status(), 200);
    });
}
