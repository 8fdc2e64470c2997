//! Clients that come from everywhere, in crowds, and go again: none of those that stay is lost, and what is begun and given
//! up leaves nothing.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use corering::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use corering::op::{Op, Receive};
use corering::time::timeout;

use crate::{clean, pair, poll_once, soon, turn, visit};

/// Accepts until nobody has come for a while.
async fn all_who_wait(listener: &TcpListener) -> Vec<TcpStream> {
    let mut came = Vec::new();
    while let Ok(accepted) = timeout(Duration::from_millis(20), listener.accept()).await {
        came.push(accepted.expect("a connection").0);
    }
    came
}

/// Waits until the other side has ended the connection, in whichever way.
async fn is_ended(stream: &mut TcpStream) {
    loop {
        match soon(stream.recv()).await {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
                return;
            }
        }
    }
}

/// A listener with room for one is besieged: whoever still wants something afterwards is served.
#[test]
fn a_crowd_that_gives_up_keeps_nobody_out() {
    const CROWD: usize = 300;
    clean(async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("one")).expect("a port");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("bound");
        let mut crowd: Vec<_> = (0..CROWD).map(|_| Box::pin(TcpStream::connect(address))).collect();
        let mut arrived = Vec::new();
        for _ in 0..3 {
            for attempt in &mut crowd {
                if let Poll::Ready(connected) = poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx))).await {
                    arrived.push(connected.expect("there"));
                    *attempt = Box::pin(TcpStream::connect(address));
                }
            }
            turn().await;
        }
        assert!(arrived.len() < CROWD, "there is room for few");
        drop(crowd);
        drop(arrived);
        for mut stream in all_who_wait(&listener).await {
            is_ended(&mut stream).await;
        }
        let mut late = soon(TcpStream::connect(address)).await.expect("there is room");
        let (mut server, _) = soon(listener.accept()).await.expect("a connection");
        soon(late.write_all("still")).await.0.expect("sent");
        assert_eq!(&soon(server.recv()).await.expect("received").expect("bytes")[..], b"still");
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_listener_that_is_closed_while_it_accepts_frees_its_port_at_once() {
    clean(async || {
        let mut address: SocketAddr = "127.0.0.1:0".parse().expect("one");
        for round in 0..50 {
            let listener = TcpListener::bind(address).await.expect("free");
            address = listener.local_addr().expect("bound");
            let mut visitor = None;
            {
                let mut accept = listener.accept();
                assert!(!poll_once(&mut accept).await);
                turn().await;
                if round % 2 == 0 {
                    // One whom nobody will take.
                    visitor = Some(visit(address).await);
                }
            }
            listener.close().await.expect("closed");
            let refused = soon(TcpStream::connect(address)).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            if let Some(mut visitor) = visitor {
                let ended = soon(visitor.read_to_end()).await;
                assert!(ended.is_ok_and(|bytes| bytes.is_empty()) || visitor.is_closed(), "told that nobody is there");
            }
        }
    });
}

#[test]
fn addresses_of_both_families_reach_whom_they_name() {
    clean(async || {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            println!("SKIPPED: there is no IPv6 here");
            return;
        };
        let address = listener.local_addr().expect("bound");
        let client = soon(TcpStream::connect(address)).await.expect("there");
        let (_server, peer) = soon(listener.accept()).await.expect("a connection");
        assert!(address.is_ipv6());
        assert_eq!((client.peer_addr().expect("connected"), peer), (address, client.local_addr().expect("bound")));
        listener.close().await.expect("closed");

        // One for both: who comes by IPv4 has a name of IPv6.
        let listener = TcpListener::bind("[::]:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        for to in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"] {
            let to: SocketAddr = format!("{to}:{port}").parse().expect("one");
            let mut client = soon(TcpStream::connect(to)).await.expect("there");
            let (mut server, peer) = soon(listener.accept()).await.expect("a connection");
            assert!(peer.is_ipv6(), "{peer}");
            assert_eq!(peer.ip().to_canonical(), to.ip().to_canonical());
            soon(client.write_all("over")).await.0.expect("sent");
            assert_eq!(&soon(server.recv()).await.expect("received").expect("bytes")[..], b"over");
        }
        listener.close().await.expect("closed");

        // The other way: a listener of IPv4, found by its name of IPv6.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let client = soon(TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}"))).await.expect("there");
        let (_server, peer) = soon(listener.accept()).await.expect("a connection");
        assert!(peer.is_ipv4() && client.peer_addr().expect("connected").is_ipv6());
        listener.close().await.expect("closed");

        let here = UdpSocket::bind("[::]:0").await.expect("a port");
        let there = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let to = format!("[::ffff:127.0.0.1]:{}", there.local_addr().expect("bound").port());
        soon(here.send_to("datagram", to)).await.0.expect("sent");
        let (received, bytes) = soon(there.recv_from(Vec::with_capacity(100))).await;
        let (count, from) = received.expect("received");
        assert_eq!((&bytes[..count], from.is_ipv4()), (&b"datagram"[..], true));
        soon(there.send_to("answer", from)).await.0.expect("sent");
        let (received, _) = soon(here.recv_from(Vec::with_capacity(100))).await;
        assert_eq!(received.expect("received").1.ip().to_canonical(), there.local_addr().expect("bound").ip());
    });
}

/// Two listeners share an address, and one goes: those whom it had not taken are told, and all who come later are served.
#[test]
fn when_one_of_two_that_share_an_address_goes_nobody_waits_in_vain() {
    const CLIENTS: usize = 40;
    clean(async || {
        let stays = TcpListener::bind_shared("127.0.0.1:0").await.expect("a port");
        let address = stays.local_addr().expect("bound");
        let goes = TcpListener::bind_shared(address).await.expect("shared");
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(soon(TcpStream::connect(address)).await.expect("there"));
        }
        // One that it has in its hands, others that it has taken in or not.
        let mut in_its_hands = timeout(Duration::from_millis(50), goes.accept()).await.ok();
        goes.close().await.expect("closed");
        let (mut served, mut ended) = (0, 0);
        let mut at_the_other = all_who_wait(&stays).await;
        at_the_other.extend(in_its_hands.take().map(|accepted| accepted.expect("a connection").0));
        for server in &mut at_the_other {
            soon(server.write_all("hello")).await.0.expect("sent");
        }
        for client in &mut clients {
            match soon(client.recv()).await {
                Ok(Some(bytes)) => {
                    assert_eq!(&bytes[..], b"hello");
                    served += 1;
                }
                Ok(None) => ended += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    ended += 1;
                }
            }
        }
        assert_eq!((served, served + ended), (at_the_other.len(), CLIENTS));
        for _ in 0..CLIENTS {
            let mut client = soon(TcpStream::connect(address)).await.expect("there");
            let (mut server, _) = soon(stays.accept()).await.expect("there is only one now");
            soon(client.write_all("late")).await.0.expect("sent");
            assert_eq!(&soon(server.recv()).await.expect("received").expect("bytes")[..], b"late");
        }
        stays.close().await.expect("closed");
    });
}

/// A receive of all its bytes that is cancelled midway says how many have come, and the rest is still to be read.
#[test]
fn a_receive_of_all_that_is_cancelled_says_how_much_has_come() {
    const WHOLE: usize = 100;
    clean(async || {
        for part in [0, 3, 99] {
            for turns in 0..4 {
                let (socket, mut peer) = pair().await;
                let mut receive = Op::new(Receive::all(&socket, Vec::with_capacity(WHOLE)));
                assert!(!poll_once(&mut receive).await);
                peer.write_all(vec![1; part]).await.expect("sent");
                for _ in 0..turns {
                    turn().await;
                }
                let (received, bytes) = soon(receive.cancel()).await;
                let count = match received {
                    Ok(count) => count,
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                        0
                    }
                };
                assert_eq!(bytes, vec![1; count]);
                peer.write_all(vec![1; WHOLE - part]).await.expect("sent");
                let rest = Op::new(Receive::all(&socket, Vec::with_capacity(WHOLE - count)));
                let (received, bytes) = soon(rest).await;
                assert_eq!((received.expect("received"), bytes), (WHOLE - count, vec![1; WHOLE - count]));
                socket.close().await.expect("closed");
            }
        }
    });
}
