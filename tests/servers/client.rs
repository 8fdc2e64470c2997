//! The client for HTTP with servers that we did not write: nginx, and hyper's in `examples/http`.

use std::rc::Rc;
use std::time::Duration;

use corering::net::client::{Body, Error, Session, SessionBuilder, StatusCode, Version};
use corering::net::tls::Connector;
use corering::task::gather;

use crate::common::{Nginx, Server, pem};

const SSL: &str = "ssl_certificate localhost.pem; ssl_certificate_key localhost.key;";

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|position| (position % 251) as u8).collect()
}

/// Runs on a core, and checks that the session leaves nothing open.
#[track_caller]
fn run(builder: SessionBuilder, body: impl AsyncFnOnce(&Session)) {
    corering::run(async {
        let session = builder.build().expect("a session");
        let limited = corering::time::timeout(crate::common::LONG, async {
            body(&session).await;
            session.close().await;
        });
        limited.await.expect("in time");
        assert_eq!(session.status().connections, 0);
    })
    .expect("a core");
}

async fn secure() -> SessionBuilder {
    let connector = Connector::builder().only_roots(pem::ROOT).expect("a root");
    Session::builder().tls(connector.build().await.expect("a connector"))
}

#[track_caller]
fn run_secure(body: impl AsyncFnOnce(&Session)) {
    let builder = corering::run(secure()).expect("a core");
    run(builder, body);
}

#[test]
fn nginx_serves_files_and_closes_connections_when_it_likes() {
    let large = Rc::new(bytes(1_000_003));
    let server = "keepalive_requests 5; location /echo { return 200 \"$request_method $args\"; }";
    let Some(nginx) = Nginx::start("", server, &[("large", &large[..]), ("empty", b"")]) else { return };
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", nginx.port);
    run(Session::builder().limit(8), async |session| {
        for number in 0..40 {
            let asked = session.get(url("/echo")).query([("n", number.to_string())]);
            let text = asked.send().await.expect("an answer").text().await.expect("a body");
            assert_eq!(text, format!("GET n={number}"));
        }
        assert!(session.status().made >= 8, "each takes five requests: {:?}", session.status());
        gather((0..60).map(|number| {
            let asked = session.get(url(if number % 3 == 0 { "/large" } else { "/echo?x" }));
            let large = large.clone();
            async move {
                let got = asked.send().await?.bytes().await?;
                assert!(if number % 3 == 0 { got == **large } else { &got[..] == b"GET x" }, "{number}");
                Ok::<(), Error>(())
            }
        }))
        .await
        .expect("answers");
        let mut head = session.head(url("/large")).send().await.expect("an answer");
        assert_eq!(head.header("content-length"), Some("1000003"));
        assert!(head.bytes().await.expect("none").is_empty());
        let part = session.get(url("/large")).header("range", "bytes=10-19").send().await.expect("an answer");
        assert_eq!((part.status(), part.length()), (StatusCode::PARTIAL_CONTENT, Some(10)));
        assert_eq!(session.get(url("/none")).send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
        assert_eq!(session.get(url("/empty")).send().await.expect("an answer").text().await.expect("none"), "");
    });
}

#[test]
fn a_body_that_is_refused_on_its_way_is_answered_or_fails_and_the_session_goes_on() {
    let server = "client_max_body_size 10k; location / { return 200 \"well\"; }";
    let Some(nginx) = Nginx::start("", server, &[]) else { return };
    let url = format!("http://127.0.0.1:{}/", nginx.port);
    run(Session::builder().limit(2), async |session| {
        for _ in 0..5 {
            // nginx answers at once and closes: which of the two is seen first is a race that nobody decides.
            match session.put(&url).body(bytes(3_000_000)).send().await {
                Ok(answer) => assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE),
                Err(error) => assert!(matches!(error, Error::Send { .. }), "{error}"),
            }
            assert_eq!(session.get(&url).send().await.expect("an answer").text().await.expect("a body"), "well");
        }
    });
}

#[test]
fn with_tls_many_requests_go_by_one_connection_of_http_2() {
    let large = Rc::new(bytes(300_000));
    let server = format!("{SSL} location /echo {{ return 200 \"$server_protocol $args\"; }}");
    let files: [(&str, &[u8]); 3] = [("localhost.pem", pem::CHAIN), ("localhost.key", pem::KEY), ("large", &large[..])];
    let Some(nginx) = Nginx::start("ssl http2", &server, &files) else { return };
    let url = |path: &str| format!("https://localhost:{}{path}", nginx.port);
    run_secure(async |session| {
        gather((0..50).map(|number| {
            let asked =
                session.get(url(&if number % 5 == 0 { "/large".to_owned() } else { format!("/echo?{number}") }));
            let large = large.clone();
            async move {
                let mut answer = asked.send().await?;
                assert_eq!(answer.version(), Version::HTTP_2);
                if number == 25 {
                    // Dropped in the middle: the others go on.
                    assert!(answer.chunk().await?.is_some());
                    return Ok(());
                }
                let got = answer.bytes().await?;
                let expected = format!("HTTP/2.0 {number}");
                assert!(if number % 5 == 0 { got == **large } else { got == expected.as_bytes() }, "{number}");
                Ok::<(), Error>(())
            }
        }))
        .await
        .expect("answers");
        assert_eq!(session.status().connections, 1);
        // Given up at some points: nothing of it reaches the others.
        for micros in (0..1000).step_by(100) {
            let asked = session.get(url("/large")).send();
            drop(corering::time::timeout(Duration::from_micros(micros), async { asked.await?.bytes().await }).await);
        }
        let text = session.post(url("/echo?p")).body("b").send().await.expect("it").text().await.expect("a body");
        assert_eq!((text.as_str(), session.status().connections), ("HTTP/2.0 p", 1));
    });
}

#[test]
fn without_http_2_it_is_http_1_under_tls() {
    let server = format!("{SSL} keepalive_requests 7; location / {{ return 200 \"$server_protocol\"; }}");
    let files: [(&str, &[u8]); 2] = [("localhost.pem", pem::CHAIN), ("localhost.key", pem::KEY)];
    let Some(nginx) = Nginx::start("ssl", &server, &files) else { return };
    let url = format!("https://localhost:{}/", nginx.port);
    run_secure(async |session| {
        gather((0..30).map(|_| {
            let asked = session.get(&url);
            async move {
                let mut answer = asked.send().await?;
                assert_eq!((answer.version(), answer.text().await?.as_str()), (Version::HTTP_11, "HTTP/1.1"));
                Ok::<(), Error>(())
            }
        }))
        .await
        .expect("answers");
    });
}

#[test]
fn our_own_server_answers_our_own_client() {
    let Some(server) = Server::start("http", &[]) else { return };
    run(Session::builder().base(server.url("/")), async |session| {
        let state: serde_json::Value = session.get("json").send().await.expect("it").json().await.expect("JSON");
        assert_eq!(state["name"], "corering");
        let mut lines = session.get("stream/20").send().await.expect("an answer");
        let mut text = Vec::new();
        while let Some(chunk) = lines.chunk().await.expect("more") {
            text.extend_from_slice(&chunk);
        }
        assert!(text.ends_with(b"line 20 of 20\n"));
        let sent = bytes(2_000_000);
        let body = Body::reader(corering::io::Cursor::new(sent.clone()));
        let echoed = session.post("echo").body(body).send().await.expect("it").bytes().await.expect("a body");
        assert!(echoed == sent);
        assert_eq!(session.status().made, 1);
    });
    server.end_well();
}
