//! Datagrams: none that has arrived is lost with a future, and none is cut in silence.

use std::future::{Future as _, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use corering::Builder;
use corering::net::{Ancillary, Truncated, UdpSocket};

use crate::{clean, clean_on, metrics, poll_once, soon, turn};

/// Two sockets, and where the second is.
async fn two() -> (UdpSocket, UdpSocket, SocketAddr) {
    let here = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let there = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = there.local_addr().expect("an address");
    (here, there, address)
}

fn room() -> Vec<u8> {
    Vec::with_capacity(100)
}

/// What a receive that has ended so says of its datagram: the length it had.
fn length(error: &std::io::Error) -> usize {
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let cut = error.get_ref().and_then(|error| error.downcast_ref::<Truncated>());
    cut.expect("says how long it was").length()
}

#[test]
fn datagrams_come_with_who_sent_them() {
    clean(async || {
        let (here, there, address) = two().await;
        let (sent, buffer) = soon(here.send_to("one", address)).await;
        assert_eq!((sent.expect("sent"), buffer), (3, "one"));
        let (received, buffer) = soon(there.recv_from(room())).await;
        let (count, from) = received.expect("received");
        assert_eq!((&buffer[..count], from), (&b"one"[..], here.local_addr().expect("bound")));
        // Connected, they need no address, and strangers are not heard.
        here.connect(address).await.expect("there");
        there.connect(from).await.expect("there");
        assert_eq!(here.peer_addr().expect("connected"), address);
        let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        soon(stranger.send_to("stranger", address)).await.0.expect("sent");
        for text in ["", "two"] {
            soon(here.send(text)).await.0.expect("sent");
            let (count, buffer) = soon(there.recv(room())).await;
            assert_eq!(&buffer[..count.expect("received")], text.as_bytes());
        }
        for socket in [here, there, stranger] {
            socket.close().await.expect("closed");
        }
    });
}

#[test]
fn a_datagram_that_is_cut_is_an_error_that_says_so() {
    clean(async || {
        let (here, there, address) = two().await;
        for len in [5, 4, 0] {
            soon(here.send_to(vec![len; len.into()], address)).await.0.expect("sent");
        }
        let (received, buffer) = soon(there.recv(vec![].limit_to(4))).await;
        assert_eq!(length(&received.expect_err("cut")), 5);
        assert_eq!(buffer.into_inner(), [5; 4]);
        let (received, buffer) = soon(there.recv_from(vec![].limit_to(4))).await;
        assert_eq!(received.expect("whole").0, 4);
        assert_eq!(buffer.into_inner(), [4; 4]);
        let (received, _) = soon(there.recv(Vec::new())).await;
        assert_eq!(received.expect_err("no room").kind(), ErrorKind::InvalidInput);
        let (received, _) = soon(there.recv(room())).await;
        assert_eq!(received.expect("whole"), 0, "an empty one is there, too");

        soon(here.send_to(vec![7; 9], address)).await.0.expect("sent");
        let (received, _) = soon(there.recv_from(vec![].limit_to(4))).await;
        assert_eq!(length(&received.expect_err("cut")), 9);
        soon(here.send_to(vec![7; 9], address)).await.0.expect("sent");
        let (message, buffers) = soon(there.recv_msg(vec![vec![].limit_to(2), vec![].limit_to(3)], 0)).await;
        let message = message.expect("received");
        assert_eq!((message.count(), message.length(), message.is_cut()), (5, 9, true));
        assert_eq!(message.socket_addr(), Some(here.local_addr().expect("bound")));
        assert_eq!(buffers.into_iter().map(|buffer| buffer.into_inner().len()).collect::<Vec<_>>(), [2, 3]);
    });
}

/// A buffer with exactly so much room.
trait LimitTo: Sized {
    fn limit_to(self, bytes: usize) -> corering::buf::Limit<Self>;
}

impl LimitTo for Vec<u8> {
    fn limit_to(mut self, bytes: usize) -> corering::buf::Limit<Self> {
        self.reserve(bytes);
        corering::buf::IoBufMut::limit(self, bytes)
    }
}

#[test]
fn a_receive_that_is_dropped_leaves_its_datagram_to_the_next() {
    clean(async || {
        let (here, there, address) = two().await;
        let mut next = 0_u32;
        for sent in 0..200_u32 {
            let mut receive = there.recv_from(room());
            if sent % 3 > 0 {
                assert!(!poll_once(&mut receive).await, "nothing is there");
            }
            if sent % 2 == 0 {
                turn().await;
            }
            soon(here.send_to(sent.to_ne_bytes(), address)).await.0.expect("sent");
            if sent % 5 > 1 {
                turn().await;
            }
            drop(receive);
            if sent % 7 == 0 {
                // Another that is given up, of the other kind.
                let mut receive = there.recv(room());
                if !poll_once(&mut receive).await {
                    turn().await;
                    drop(receive);
                } else {
                    next += 1;
                    continue;
                }
            }
            let (received, buffer) = soon(there.recv_from(room())).await;
            let (count, from) = received.expect("received");
            assert_eq!((count, from), (4, here.local_addr().expect("bound")));
            assert_eq!(buffer, next.to_ne_bytes());
            next += 1;
        }
        for socket in [here, there] {
            socket.close().await.expect("closed");
        }
    });
}

#[test]
fn a_receive_that_waits_behind_one_that_is_dropped_gets_what_that_one_brought() {
    clean(async || {
        let (here, there, address) = two().await;
        for round in 0..50_u8 {
            let (mut first, mut second) = (there.recv(room()), there.recv(room()));
            assert!(!poll_once(&mut first).await && !poll_once(&mut second).await);
            turn().await;
            soon(here.send_to([round], address)).await.0.expect("sent");
            if round % 2 == 0 {
                turn().await;
            }
            drop(first);
            let (count, buffer) = soon(second).await;
            assert_eq!(&buffer[..count.expect("received")], [round]);
        }
    });
}

#[test]
fn what_was_looked_at_is_still_there() {
    clean(async || {
        let (here, there, address) = two().await;
        let mut readable = std::pin::pin!(there.readable());
        assert!(!poll_once(&mut readable).await);
        soon(here.send_to("look", address)).await.0.expect("sent");
        soon(readable).await.expect("polled");
        for room in [2, 100] {
            let (received, buffer) = soon(there.peek_from(Vec::with_capacity(100).limit_to(room))).await;
            let (count, from) = received.expect("received");
            assert_eq!((count, from), (room.min(4), here.local_addr().expect("bound")));
            assert_eq!(buffer.into_inner(), b"look"[..count]);
        }
        // Also when a dropped receive has taken it.
        let mut receive = there.recv(room());
        if !poll_once(&mut receive).await {
            turn().await;
        }
        drop(receive);
        soon(here.send_to("next", address)).await.0.expect("sent");
        soon(there.readable()).await.expect("kept, or there");
        let (count, buffer) = soon(there.peek(room())).await;
        let seen = buffer[..count.expect("received")].to_vec();
        let (count, buffer) = soon(there.recv(room())).await;
        assert_eq!(&buffer[..count.expect("received")], seen);
    });
}

#[test]
fn a_stream_of_datagrams_brings_all_and_leaves_the_rest_to_others() {
    clean(async || {
        let (here, there, address) = two().await;
        let mut next = 0_u32;
        let mut sent = 0_u32;
        for round in 0..20 {
            let mut datagrams = there.recv_stream(100);
            for _ in 0..10 {
                soon(here.send_to(sent.to_ne_bytes(), address)).await.0.expect("sent");
                sent += 1;
            }
            for _ in 0..round % 11 {
                let (bytes, from) = soon(datagrams.next()).await.expect("no end").expect("received");
                assert_eq!((&bytes[..], from), (&next.to_ne_bytes()[..], here.local_addr().expect("bound")));
                next += 1;
            }
            drop(datagrams);
            while next < sent - round % 3 {
                let (received, buffer) = soon(there.recv_from(room())).await;
                assert_eq!(received.expect("received").0, 4);
                assert_eq!(buffer, next.to_ne_bytes());
                next += 1;
            }
        }
        let mut datagrams = there.recv_stream(100);
        while next < sent {
            assert_eq!(&soon(datagrams.next()).await.expect("no end").expect("received").0[..], next.to_ne_bytes());
            next += 1;
        }
        drop(datagrams);
        for socket in [here, there] {
            socket.close().await.expect("closed");
        }
    });
}

#[test]
fn a_stream_of_datagrams_tells_of_one_that_was_cut_and_goes_on_without_buffers() {
    clean_on(Builder::new().buffers(4, 256), async || {
        let (here, there, address) = two().await;
        let mut datagrams = there.recv_stream(50);
        soon(here.send_to(vec![1; 400], address)).await.0.expect("sent");
        let error = soon(datagrams.next()).await.expect("no end").expect_err("cut");
        assert_eq!(length(&error), 400);
        let mut kept = Vec::new();
        for number in 0..20_u8 {
            soon(here.send_to(vec![number; 10], address)).await.0.expect("sent");
            kept.push(soon(datagrams.next()).await.expect("no end").expect("received").0);
        }
        for (number, bytes) in (0..).zip(&kept) {
            assert_eq!(bytes[..], [number; 10]);
        }
        drop(datagrams);
        drop(kept);
        assert!(metrics().enters < 10_000, "it spun");
    });
}

/// Beside its bytes, a datagram in a pooled buffer has a head and a name: where these leave little room or none, streams go on
/// with memory of their own, and nothing is cut in silence.
#[test]
fn a_stream_of_datagrams_makes_do_with_the_smallest_buffers() {
    for size in [1, 16, 64, 125, 126, 127, 130, 256] {
        clean_on(Builder::new().buffers(4, size), async || {
            let (here, there, address) = two().await;
            for len in [0, 1, 4, 5, 300] {
                soon(here.send_to(vec![len as u8; len], address)).await.0.expect("sent");
                let mut datagrams = there.recv_stream(4);
                match soon(datagrams.next()).await.expect("no end") {
                    Ok((bytes, from)) => {
                        assert_eq!(bytes[..], vec![len as u8; len]);
                        assert_eq!(from, here.local_addr().expect("bound"));
                    }
                    Err(error) => assert_eq!(length(&error), len, "with buffers of {size} bytes"),
                }
            }
        });
    }
}

/// What lies there is received at once, what does not is waited for, and whichever it is: none is lost, swapped or doubled.
#[test]
fn datagrams_come_in_order_whether_they_wait_or_are_waited_for() {
    clean(async || {
        let (here, there, address) = two().await;
        let (mut sent, mut next) = (0_u32, 0_u32);
        for round in 0..200_u32 {
            let many = [0, 1, 1, 1, 7, 40, 1, 0][round as usize % 8];
            // One waits for the first of them, and is given up now and then: before or after it has come.
            let mut waits = there.recv_from(room());
            let mut taken = poll_fn(|cx| Poll::Ready(Pin::new(&mut waits).poll(cx))).await;
            for _ in 0..many {
                soon(here.send_to(sent.to_ne_bytes(), address)).await.0.expect("sent");
                sent += 1;
            }
            if round % 3 == 0 {
                turn().await;
            }
            if round % 5 > 0 && many > 0 && taken.is_pending() {
                taken = Poll::Ready(soon(waits).await);
            } else {
                drop(waits);
            }
            if let Poll::Ready((received, bytes)) = taken {
                received.expect("received");
                assert_eq!(bytes, next.to_ne_bytes());
                next += 1;
            }
            while next < sent.saturating_sub(round % 4) {
                let (received, bytes) = soon(there.recv_from(room())).await;
                let (count, from) = received.expect("received");
                assert_eq!((count, from), (4, here.local_addr().expect("bound")));
                assert_eq!(bytes, next.to_ne_bytes());
                next += 1;
            }
        }
    });
}

#[test]
fn several_buffers_are_one_datagram() {
    clean(async || {
        let (here, there, address) = two().await;
        let parts = || vec!["several ", "buffers"];
        soon(here.send_msg_to(parts(), Ancillary::new(), address)).await.0.expect("sent");
        here.connect(address).await.expect("there");
        soon(here.send_msg(parts(), Ancillary::new())).await.0.expect("sent");
        for _ in 0..2 {
            let (message, buffers) = soon(there.recv_msg(vec![vec![].limit_to(4), vec![].limit_to(100)], 0)).await;
            let mut message = message.expect("received");
            assert_eq!((message.count(), message.is_cut(), message.is_ancillary_cut()), (15, false, false));
            assert!(message.ancillary().is_empty());
            let bytes: Vec<u8> = buffers.into_iter().flat_map(|buffer| buffer.into_inner()).collect();
            assert_eq!(bytes, b"several buffers");
        }
    });
}

#[test]
fn what_cannot_be_sent_is_said_and_the_buffer_comes_back() {
    clean(async || {
        let (here, _there, address) = two().await;
        let (sent, buffer) = soon(here.send_to(vec![1; 70_000], address)).await;
        assert_eq!(sent.expect_err("too large").raw_os_error(), Some(90), "EMSGSIZE");
        assert_eq!(buffer.len(), 70_000);
        let (sent, buffer) = soon(here.send_to("text", "nonsense")).await;
        assert_eq!((sent.expect_err("no address").kind(), buffer), (ErrorKind::InvalidInput, "text"));
        let (sent, _) = soon(here.send("nowhere")).await;
        assert!(sent.is_err(), "not connected");
        assert!(soon(here.send_to("text", ("localhost", address.port()))).await.0.is_ok(), "by a name");
        here.set_ttl(9).expect("set");
        assert_eq!(here.ttl().expect("set"), 9);
        here.set_broadcast(true).expect("set");
        assert!(here.broadcast().expect("set"));
    });
}
