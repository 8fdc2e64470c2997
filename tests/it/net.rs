//! Connections that come, refuse, break and end.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use corering::Builder;
use corering::net::{Shutdown, TcpListener, TcpStream};
use corering::time::sleep;

use crate::{Peer, clean, clean_on, metrics, poll_once, soon, turn, visit};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A connection of the library, and its other side.
async fn visited() -> (TcpStream, Peer) {
    let (listener, address) = listener().await;
    let theirs = visit(address).await;
    let (ours, _) = soon(listener.accept()).await.expect("a connection");
    listener.close().await.expect("closed");
    (ours, theirs)
}

#[test]
fn connections_that_are_reset_before_they_are_accepted_end_nothing() {
    clean(async || {
        let (listener, address) = listener().await;
        for round in 0..20 {
            if round % 2 == 0 {
                // The accept is armed, or not yet.
                assert!(!poll_once(&mut listener.accept()).await);
                turn().await;
            }
            for _ in 0..50 {
                visit(address).await.reset();
            }
            let mut good = visit(address).await;
            good.write_all(&[round]).await.expect("sent");
            let port = good.local_addr().port();
            loop {
                let (mut stream, peer) = soon(listener.accept()).await.expect("the listener goes on");
                if peer.port() == port {
                    assert_eq!(&soon(stream.recv()).await.expect("received").expect("a chunk")[..], [round]);
                    break;
                }
                let _reset = soon(stream.recv()).await;
            }
        }
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_reset_is_an_error_of_the_read_and_of_the_write_and_never_a_signal() {
    clean(async || {
        let (mut ours, theirs) = visited().await;
        let mut receive = ours.recv();
        assert!(!poll_once(&mut receive).await);
        theirs.reset();
        assert_eq!(soon(receive).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);

        let (mut ours, theirs) = visited().await;
        // A write that has to wait for room when the reset comes.
        let mut write = ours.write_all(vec![1; 30_000_000]);
        while !poll_once(&mut write).await && !write.is_submitted() {
            turn().await;
        }
        turn().await;
        theirs.reset();
        let (written, buffer) = soon(write).await;
        let kind = written.expect_err("reset").kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
        assert_eq!(buffer.len(), 30_000_000);
        for _ in 0..2 {
            let (written, buffer) = soon(ours.write_all("more")).await;
            assert_eq!(written.expect_err("reset").kind(), ErrorKind::BrokenPipe);
            assert_eq!(buffer, "more");
        }
    });
}

#[test]
fn a_connection_that_is_closed_on_one_side_still_carries_the_other() {
    const LONG: usize = 1 << 20;
    clean(async || {
        // They end first; we still send.
        let (mut ours, mut theirs) = visited().await;
        theirs.shut_down();
        assert!(soon(ours.recv()).await.expect("received").is_none());
        assert!(soon(ours.recv()).await.expect("received").is_none(), "the end stays");
        let reader = corering::spawn(async move { theirs.read_to_end().await });
        soon(ours.write_all(vec![5; LONG])).await.0.expect("sent");
        ours.close().await.expect("closed");
        assert_eq!(soon(reader).await.expect("no panic").expect("read"), vec![5; LONG]);

        // We end first; they still send.
        let (mut ours, mut theirs) = visited().await;
        ours.shutdown(Shutdown::Write).await.expect("connected");
        assert!(soon(theirs.read(1)).await.expect("the end").is_empty());
        let writer = corering::spawn(async move { theirs.write_all(vec![6; LONG]).await });
        let mut received = 0;
        while let Some(chunk) = soon(ours.recv()).await.expect("received") {
            assert!(chunk.iter().all(|byte| *byte == 6));
            received += chunk.len();
        }
        assert_eq!(received, LONG);
        soon(writer).await.expect("no panic").expect("sent");
        let (written, _) = soon(ours.write_all("too late")).await;
        assert_eq!(written.expect_err("ended").kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn the_other_half_may_read_while_one_ends() {
    clean(async || {
        let (ours, mut theirs) = visited().await;
        let (mut read, mut write) = ours.into_split();
        let reader = corering::spawn(async move {
            let end = read.recv().await;
            (end.map(|chunk| chunk.is_none()), read)
        });
        turn().await;
        soon(write.write_all("last words")).await.0.expect("sent");
        write.shutdown().await.expect("connected");
        assert_eq!(soon(theirs.read_to_end()).await.expect("the end comes"), b"last words");
        assert!(!reader.is_finished(), "the other direction is open");
        drop(theirs);
        let (ended, read) = soon(reader).await.expect("no panic");
        assert!(ended.expect("received"));
        read.reunite(write).expect("of one stream").close().await.expect("closed");

        // A half that is dropped tells the other side; the read that is left ends with the connection.
        let (ours, mut theirs) = visited().await;
        let (mut read, write) = ours.into_split();
        let mut receive = read.recv();
        assert!(!poll_once(&mut receive).await);
        drop(write);
        assert!(soon(theirs.read(1)).await.expect("the end").is_empty());
        drop(theirs);
        assert!(soon(receive).await.expect("received").is_none());
    });
}

#[test]
fn connecting_to_nobody_is_refused_by_name() {
    clean(async || {
        let (listener, address) = listener().await;
        listener.close().await.expect("closed");
        let error = soon(TcpStream::connect(address)).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        for address in ["255.255.255.255:9", "127.0.0.1:0"] {
            let error = soon(TcpStream::connect(address)).await.expect_err("nobody can");
            assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
        }
        let error = TcpStream::connect("nonsense").await.expect_err("no address");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_listener_that_is_dropped_refuses_and_frees_its_port() {
    clean(async || {
        for _ in 0..50 {
            let (listener, address) = listener().await;
            assert!(!poll_once(&mut listener.accept()).await);
            turn().await;
            drop(listener);
            // It is closed in the background.
            let again = async {
                loop {
                    match TcpListener::bind(address).await {
                        Ok(again) => return again,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let again = soon(again).await;
            again.close().await.expect("closed");
            let refused = soon(TcpStream::connect(address)).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn a_core_whose_buffers_are_all_kept_serves_on() {
    const CONNECTIONS: usize = 256;
    clean_on(Builder::new().buffers(4, 256), async || {
        let (listener, address) = listener().await;
        let flood = corering::spawn(async move {
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(visit(address).await);
            }
            for round in 0..8_u8 {
                for client in &mut clients {
                    client.write_all([round; 300]).await.expect("sent");
                }
            }
        });
        let mut servers = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = soon(listener.accept()).await.expect("a connection");
            servers.push(corering::spawn(async move {
                let (mut bytes, mut kept) = (Vec::new(), Vec::new());
                while let Some(chunk) = stream.recv().await? {
                    bytes.extend_from_slice(&chunk);
                    kept.push(chunk);
                }
                io::Result::Ok(bytes)
            }));
        }
        let expected: Vec<u8> = (0..8).flat_map(|round| [round; 300]).collect();
        for server in servers {
            assert!(soon(server).await.expect("no panic").expect("received") == expected);
        }
        flood.await.expect("no panic");
        let metrics = metrics();
        assert!(metrics.enters < 40_000, "it spun: {metrics:?}");
        listener.close().await.expect("closed");
    });
}

#[test]
fn of_several_addresses_the_first_that_answers_is_connected_to() {
    clean(async || {
        let (listener, address) = listener().await;
        // Nobody listens there by IPv6, or at the other one.
        let nobody: SocketAddr = format!("[::1]:{}", address.port()).parse().expect("an address");
        let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let refused = other.local_addr().expect("an address");
        other.close().await.expect("closed");
        for addresses in [vec![nobody, address], vec![address, nobody], vec![refused, nobody, address]] {
            let client = soon(TcpStream::connect(addresses)).await.expect("one answers");
            assert_eq!(client.peer_addr().expect("connected"), address);
            drop(soon(listener.accept()).await.expect("a connection"));
        }
        let client = soon(TcpStream::connect(("localhost", address.port()))).await.expect("by name");
        drop(client);
        let limit = Duration::from_secs(5);
        let client = soon(TcpStream::connect_timeout([nobody, address], limit)).await.expect("in time");
        drop(client);
        listener.close().await.expect("closed");
        let error = soon(TcpStream::connect([nobody, refused])).await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        for address in [nobody, refused] {
            assert!(error.to_string().contains(&format!("{address}: ")), "{error}");
        }
        let error = soon(TcpStream::connect(Vec::new())).await.expect_err("no address");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn what_is_peeked_at_or_waited_for_is_still_read() {
    clean(async || {
        let (mut ours, mut theirs) = visited().await;
        {
            let mut readable = std::pin::pin!(ours.readable());
            assert!(!poll_once(&mut readable).await);
        }
        theirs.write_all("twice").await.expect("sent");
        soon(ours.readable()).await.expect("bytes");
        let mut room = [0; 3];
        for _ in 0..2 {
            assert_eq!(soon(ours.peek(&mut room)).await.expect("received"), 3);
            assert_eq!(&room, b"twi");
        }
        let (count, buffer) = soon(ours.read(Vec::with_capacity(10))).await;
        assert_eq!(&buffer[..count.expect("read")], b"twice");
        theirs.reset();
        let seen = soon(ours.peek(&mut room)).await.expect_err("reset");
        soon(ours.readable()).await.expect("the error can be read");
        let read = soon(ours.recv()).await.expect_err("reset");
        assert_eq!((seen.kind(), read.kind()), (ErrorKind::ConnectionReset, ErrorKind::ConnectionReset));
    });
}
