//! TLS: both sides, in whatever pieces, and what is refused.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use corering_net::client::{Error, Session};
use corering_net::tls::{Acceptor, Connector, TlsError, TlsStream};
use corering_net::{TcpListener, TcpStream, UnixStream};
use corering_runtime::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use corering_runtime::task::yield_now;
use corering_runtime::time::sleep;
use corering_runtime::{join, spawn};

use crate::scripted::{Server, clean, until};

const CHAIN: &[u8] = include_bytes!("../pem/localhost.pem");
const KEY: &[u8] = include_bytes!("../pem/localhost.key");
const ROOT: &[u8] = include_bytes!("../pem/root.pem");

fn acceptor() -> Acceptor {
    Acceptor::new(CHAIN, KEY).expect("a certificate")
}

async fn connector() -> Connector {
    Connector::builder().only_roots(ROOT).expect("a root").build().await.expect("a connector")
}

/// Both sides of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    (client, listener.accept().await.expect("a connection").0)
}

/// Both sides of a connection under TLS, or what each says.
async fn secured(
    connector: &Connector,
    host: &str,
    acceptor: &Acceptor,
) -> (std::io::Result<TlsStream>, std::io::Result<TlsStream>) {
    let (client, server) = pair().await;
    join!(connector.connect(host, client), acceptor.accept(server))
}

async fn talking() -> (TlsStream, TlsStream) {
    let (client, server) = secured(&connector().await, "localhost", &acceptor()).await;
    (client.expect("a client"), server.expect("a server"))
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index ^ index >> 8 ^ index >> 16) as u8).collect()
}

#[test]
fn what_one_side_writes_the_other_reads() {
    clean(async {
        let (mut client, mut server) = talking().await;
        let sent = content(3_000_001);
        let written = async {
            let mut at = 0;
            for round in 1.. {
                let end = sent.len().min(at + round * 700);
                client.write_all(sent[at..end].to_vec()).await.0.expect("written");
                at = end;
                if at == sent.len() {
                    break;
                }
            }
            client.shutdown().await.expect("shut down");
            let (read, answer) = client.read_to_end(Vec::new()).await;
            read.expect("an end");
            answer
        };
        let read = async {
            let (read, bytes) = server.read_to_end(Vec::new()).await;
            read.expect("an end");
            server.write_all("thanks").await.0.expect("written");
            server.shutdown().await.expect("shut down");
            bytes
        };
        let (answer, received) = join!(written, read);
        assert!(received == sent, "{} bytes, or others", received.len());
        assert_eq!(answer, b"thanks");
        client.close().await.expect("closed");
        let error = server.write_all("more").await.0.expect_err("it was shut down");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn both_sides_know_what_they_have_agreed_on() {
    clean(async {
        let connector = Connector::builder().only_roots(ROOT).expect("a root").protocols(&["h2", "http/1.1"]);
        let connector = connector.build().await.expect("a connector");
        let acceptor = Acceptor::builder().certificate(CHAIN, KEY).expect("a certificate");
        let acceptor = acceptor.protocols(&["http/1.1"]).build().expect("an acceptor");
        let (client, server) = secured(&connector, "test.localhost", &acceptor).await;
        let (client, server) = (client.expect("a client"), server.expect("a server"));
        assert_eq!((client.protocol(), server.protocol()), (Some(&b"http/1.1"[..]), Some(&b"http/1.1"[..])));
        assert_eq!((server.server_name(), client.server_name()), (Some("test.localhost"), None));
        assert_eq!(client.peer_certificates().map(<[_]>::len), Some(1));
        assert_eq!(client.version(), server.version());
        // Addresses are checked, too.
        let (client, server) = secured(&connector, "127.0.0.1", &acceptor).await;
        assert!(client.is_ok() && server.is_ok());
        let odd = Acceptor::builder().certificate(CHAIN, KEY).expect("a certificate").protocols(&["smtp"]);
        let (client, server) = secured(&connector, "localhost", &odd.build().expect("an acceptor")).await;
        assert!(client.is_err() && server.is_err(), "they have no language in common");
    });
}

#[test]
fn a_certificate_of_another_host_or_of_a_stranger_is_refused_with_the_reason() {
    clean(async {
        let (client, server) = secured(&connector().await, "example.org", &acceptor()).await;
        let error = client.expect_err("another host's");
        let text = error.to_string();
        assert!(text.starts_with("the certificate is not one of example.org: "), "{text}");
        let refused = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()).expect("the reason");
        assert!(refused.is_certificate(), "{:?}", refused.reason());
        let told = server.expect_err("the client has broken off");
        let told = told.get_ref().and_then(|error| error.downcast_ref::<TlsError>()).expect("the reason").clone();
        assert!(told.is_certificate() && told.to_string().starts_with("the other side breaks off: "), "{told}");
        // The host's own certificate is not one of an issuer.
        let stranger = Connector::builder().only_roots(CHAIN).expect("a root").build().await.expect("a connector");
        let (client, _) = secured(&stranger, "localhost", &acceptor()).await;
        let text = client.expect_err("a stranger's").to_string();
        assert!(text.contains("the certificate of localhost was issued by nobody who is trusted here"), "{text}");
        let late = Acceptor::new(include_bytes!("../pem/expired.pem"), KEY).expect("a certificate");
        let (client, _) = secured(&connector().await, "localhost", &late).await;
        let text = client.expect_err("of 2020").to_string();
        assert!(text.starts_with("the certificate of localhost has expired: "), "{text}");
        let (client, _) = pair().await;
        let error = stranger.connect("not a name", client).await.expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn clients_that_nobody_knows_are_refused() {
    clean(async {
        let build = || Acceptor::builder().certificate(CHAIN, KEY).expect("one").client_roots(ROOT).expect("a root");
        let strict = build().build().expect("an acceptor");
        let (client, server) = secured(&connector().await, "localhost", &strict).await;
        let text = server.expect_err("nobody").to_string();
        assert_eq!(text, "the other side has shown no certificate");
        // The client learns it by its first read: it has sent all that it had to.
        let error = client.expect("its side is done").read(Vec::with_capacity(9)).await.0.expect_err("refused");
        assert_eq!(error.to_string(), "localhost wants a certificate of this side");
        let known = Connector::builder().only_roots(ROOT).expect("a root").identity(CHAIN, KEY).expect("one");
        let (client, server) = secured(&known.build().await.expect("a connector"), "localhost", &strict).await;
        assert!(client.is_ok());
        assert_eq!(server.expect("known").peer_certificates().map(<[_]>::len), Some(1));
        let lax = build().allow_unknown_clients().build().expect("an acceptor");
        let (client, server) = secured(&connector().await, "localhost", &lax).await;
        assert!(client.is_ok() && server.expect("let in").peer_certificates().is_none());
    });
}

#[test]
fn an_end_that_nobody_has_announced_is_an_error() {
    clean(async {
        let (mut client, mut server) = talking().await;
        server.write_all("half of").await.0.expect("written");
        drop(server); // without a word
        let (read, bytes) = client.read(Vec::with_capacity(100)).await;
        assert_eq!((read.expect("what came"), &bytes[..]), (7, &b"half of"[..]));
        for _ in 0..2 {
            let error = client.read(Vec::with_capacity(100)).await.0.expect_err("it may have been cut");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert!(error.to_string().contains("without close_notify"), "{error}");
        }
        let (mut client, mut server) = talking().await;
        server.shutdown().await.expect("said");
        for _ in 0..2 {
            assert_eq!(client.read(Vec::with_capacity(9)).await.0.expect("an end"), 0);
        }
        client.write_all("the other way goes on").await.0.expect("written");
        let (read, _) = server.read_exact(Vec::with_capacity(21)).await;
        read.expect("all of it");
    });
}

#[test]
fn handshakes_that_never_end_are_cut_off() {
    clean(async {
        let short = Duration::from_millis(40);
        let acceptor = Acceptor::builder().certificate(CHAIN, KEY).expect("one").handshake_timeout(short);
        let acceptor = acceptor.build().expect("an acceptor");
        let (client, server) = pair().await;
        let error = acceptor.accept(server).await.expect_err("nothing came");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let connector = Connector::builder().only_roots(ROOT).expect("a root").handshake_timeout(short);
        let connector = connector.build().await.expect("a connector");
        let (other, _silent) = pair().await;
        let error = connector.connect("localhost", other).await.expect_err("nothing came");
        assert_eq!(error.to_string(), "no TLS with localhost: the handshake was not over within 40ms");
        drop(client);
        let (client, mut server) = pair().await;
        let (connected, ()) = join!(connector.connect("localhost", client), async {
            server.recv().await.expect("a hello");
            drop(server);
        });
        let error = connected.expect_err("closed").to_string();
        assert!(error.contains("localhost") || error.contains("reset"), "{error}");
    });
}

#[test]
fn who_speaks_no_tls_is_told_so() {
    clean(async {
        let (mut client, server) = pair().await;
        let acceptor = acceptor();
        let (accepted, ()) = join!(acceptor.accept(server), async {
            client.write_all("GET / HTTP/1.1\r\n\r\n").await.0.expect("written");
        });
        let text = accepted.expect_err("no TLS").to_string();
        assert!(text.starts_with("the other side does not speak TLS"), "{text}");
        assert!(Acceptor::new(CHAIN, ROOT).is_err() && Acceptor::new(KEY, KEY).is_err());
        assert!(Acceptor::builder().build().is_err());
        assert!(Connector::builder().only_roots("nothing").is_err());
    });
}

#[test]
fn a_handshake_or_a_read_may_be_dropped_at_any_point() {
    clean(async {
        let (connector, acceptor) = (connector().await, acceptor());
        let (mut polls, mut done) = (0, 0);
        // Until some have come to their end: then there was no point at which none was dropped.
        while done < 3 {
            polls += 1;
            let (client, server) = pair().await;
            let server = spawn({
                let acceptor = acceptor.clone();
                async move { drop(acceptor.accept(server).await) }
            });
            let mut connecting = Box::pin(connector.connect("localhost", client));
            for _ in 0..polls {
                if poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).is_ready())).await {
                    done += 1;
                    break;
                }
                // The other side has its turn, and the kernel.
                sleep(Duration::from_micros(20)).await;
            }
            drop(connecting);
            server.await.expect("it ends");
        }
        let (mut client, mut server) = talking().await;
        let sent = content(200_000);
        let reads = async {
            let mut received = Vec::new();
            for turn in 0_u32.. {
                let polled = {
                    let mut read = pin!(client.read(Vec::with_capacity(1 + turn as usize % 5000)));
                    poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await
                };
                match polled {
                    Poll::Ready((read, _)) if read.as_ref().is_ok_and(|count| *count == 0) => break,
                    Poll::Ready((read, bytes)) => received.extend_from_slice(&bytes[..read.expect("read")]),
                    Poll::Pending => yield_now().await,
                }
            }
            received
        };
        let writes = async {
            for part in sent.chunks(3_333) {
                server.write_all(part.to_vec()).await.0.expect("written");
                yield_now().await;
            }
            server.shutdown().await.expect("said");
        };
        let (received, ()) = join!(reads, writes);
        assert!(received == sent, "{} bytes, or others", received.len());
    });
}

#[test]
fn what_is_put_back_is_read_first() {
    clean(async {
        let (mut client, mut server) = talking().await;
        server.write_all("later").await.0.expect("written");
        client.put_back(b"second ".to_vec());
        client.put_back(b"first ".to_vec());
        let (read, bytes) = client.read_exact(Vec::with_capacity(18)).await;
        read.expect("all of it");
        assert_eq!(bytes, b"first second later");
        drop(server);
        let (one, other) = UnixStream::pair().expect("a pair");
        let (connector, acceptor) = (connector().await, acceptor());
        let (client, server) = join!(connector.connect("localhost", one), acceptor.accept(other));
        drop((client.expect("a client"), server.expect("a server")));
    });
}

#[test]
fn certificates_go_by_name_and_may_be_replaced() {
    clean(async {
        let named = Acceptor::builder().certificate_for("LocalHost", CHAIN, KEY).expect("one").build().expect("one");
        let (client, server) = secured(&connector().await, "localhost", &named).await;
        assert!(client.is_ok() && server.is_ok());
        let (client, server) = secured(&connector().await, "test.localhost", &named).await;
        assert!(client.is_err() && server.is_err(), "it has none for that name");
        let same = named.clone();
        named.replace(&acceptor());
        let (client, server) = secured(&connector().await, "test.localhost", &same).await;
        assert!(client.is_ok() && server.is_ok());
    });
}

#[test]
fn a_session_speaks_https_and_keeps_its_connections() {
    clean(async {
        let acceptor = acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = spawn(async move {
            let (stream, _) = listener.accept().await.expect("one connection");
            let mut stream = acceptor.accept(stream).await.expect("TLS");
            let mut requests = 0;
            loop {
                let (read, request) = stream.read(Vec::with_capacity(4096)).await;
                if read.expect("an end that is said") == 0 {
                    return requests;
                }
                assert!(request.starts_with(b"GET / HTTP/1.1\r\n"));
                requests += 1;
                stream.write_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.0.expect("written");
            }
        });
        let session = Session::builder().tls(connector().await).build().expect("a session");
        for _ in 0..3 {
            let mut response = session.get(format!("https://localhost:{port}/")).send().await.expect("an answer");
            assert_eq!(response.text().await.expect("a body"), "ok");
        }
        session.close().await;
        assert_eq!(server.await.expect("an end"), 3);
        let other = Session::builder().tls(connector().await).build().expect("a session");
        let plain = Server::of(async |visit| visit.end().await).await;
        let error = other.get(format!("https://{}/", plain.address)).timeout(Duration::from_millis(40)).send().await;
        assert!(matches!(error, Err(Error::Timeout { .. })), "{error:?}");
        until(|| plain.seen.open.get() == 0).await;
    });
}

#[test]
fn what_is_not_right_is_an_error_now_and_later() {
    clean(async {
        let (mut client, raw) = {
            let (client, server) = pair().await;
            let (connector, acceptor) = (connector().await, acceptor());
            let (client, server) = join!(connector.connect("localhost", client), acceptor.accept(server));
            (client.expect("a client"), server.expect("a server"))
        };
        // Past TLS, somebody in between writes what is no record.
        let mut between = std::fs::File::from(raw.as_fd().try_clone_to_owned().expect("a descriptor"));
        between.write_all(&[23, 3, 3, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]).expect("written");
        for _ in 0..3 {
            let error = client.read(Vec::with_capacity(9)).await.0.expect_err("it is forged");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        }
    });
}
