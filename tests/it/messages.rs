//! Sockets of messages, whose every operation is given up at every point: no message is lost, sent twice, or out of turn.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use corering::io;
use corering::net::{Ancillary, UdpSocket, UnixDatagram, UnixSeqpacket};

use crate::{clean, soon, turn};

/// The most that one future is polled.
const POLLS: usize = 5;
const HOUR: Duration = Duration::from_secs(3600);

/// Polls a future so often, with a turn of the loop between any two, and perhaps one after the last; then drops it. What it
/// gave, if it has ended.
async fn given_up<F: Future>(future: F, polls: usize, last_turn: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    for poll in 1..=polls {
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        if poll < polls || last_turn {
            turn().await;
        }
    }
    None
}

async fn udp() -> (UdpSocket, UdpSocket) {
    let here = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let there = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    here.connect(there.local_addr().expect("bound")).await.expect("there");
    there.connect(here.local_addr().expect("bound")).await.expect("there");
    (here, there)
}

async fn datagrams() -> (UnixDatagram, UnixDatagram) {
    UnixDatagram::pair().expect("a pair")
}

async fn packets() -> (UnixSeqpacket, UnixSeqpacket) {
    UnixSeqpacket::pair().expect("a pair")
}

fn room() -> Vec<u8> {
    Vec::with_capacity(100)
}

/// What a receive that has ended took.
fn taken<T>((received, bytes): (io::Result<T>, Vec<u8>)) -> Vec<Vec<u8>> {
    received.expect("received");
    vec![bytes]
}

/// What one that was cancelled, or late, took.
fn taken_or_none<T>((received, bytes): (io::Result<T>, Vec<u8>)) -> Vec<Vec<u8>> {
    match received {
        Ok(_) => vec![bytes],
        Err(error) => {
            let is_given_up = error.raw_os_error() == Some(libc::ECANCELED) || error.kind() == io::ErrorKind::TimedOut;
            assert!(is_given_up && bytes.is_empty(), "{error}");
            Vec::new()
        }
    }
}

/// Two messages are sent, one of them perhaps before the receive begins: whoever does not get them from the receive that
/// is given up gets them from the next, in their order.
macro_rules! receives {
    ($test:ident, $pair:ident: $($name:literal, $there:ident => $future:expr;)+) => {
        #[test]
        fn $test() {
            clean(async || {
                $(for polls in 0..=POLLS {
                    for ways in 0..4 {
                        let (sent_before, last_turn) = (ways & 1 > 0, ways & 2 > 0);
                        let what = format!("{}, polls: {polls}, sent before: {sent_before}, turn: {last_turn}", $name);
                        let (here, there) = $pair().await;
                        if sent_before {
                            soon(here.send("first")).await.0.expect("sent");
                        }
                        let $there = &there;
                        let given = given_up(async { $future }, polls, last_turn).await;
                        if !sent_before {
                            soon(here.send("first")).await.0.expect("sent");
                        }
                        soon(here.send("second")).await.0.expect("sent");
                        let mut received: Vec<Vec<u8>> = given.unwrap_or_default();
                        while received.len() < 2 {
                            received.append(&mut taken(soon(there.recv(room())).await));
                        }
                        assert_eq!(received, [&b"first"[..], b"second"], "{what}");
                        for socket in [here, there] {
                            socket.close().await.expect("closed");
                        }
                    }
                })+
            });
        }
    };
}

receives! { receives_of_udp_may_be_given_up_anywhere, udp:
    "recv", s => taken(s.recv(room()).await);
    "recv_from", s => taken(s.recv_from(room()).await);
    "recv_msg", s => {
        let (received, mut buffers) = s.recv_msg(vec![room(), room()], 0).await;
        taken((received, buffers.swap_remove(0)))
    };
    "cancel of a recv", s => taken_or_none(s.recv(room()).cancel().await);
    "recv with a deadline", s => taken_or_none(s.recv(room()).deadline(HOUR).await);
    "recv_from that is late", s => taken_or_none(s.recv_from(room()).deadline(Duration::ZERO).await);
    "peek", s => {
        s.peek(room()).await.0.expect("there");
        Vec::new()
    };
    "peek_from", s => {
        s.peek_from(room()).await.0.expect("there");
        Vec::new()
    };
    "readable", s => {
        s.readable().await.expect("polled");
        Vec::new()
    };
    "peek, then recv", s => {
        let seen = s.peek(room()).await.1;
        let taken = taken(s.recv(room()).await);
        assert_eq!(taken, [seen]);
        taken
    };
    "a stream of datagrams", s => {
        let (bytes, _) = s.recv_stream(100).next().await.expect("no end").expect("received");
        vec![bytes.to_vec()]
    };
}

receives! { receives_of_unix_datagrams_may_be_given_up_anywhere, datagrams:
    "recv", s => taken(s.recv(room()).await);
    "recv_from", s => taken(s.recv_from(room()).await);
    "recv_msg", s => {
        let (received, mut buffers) = s.recv_msg(vec![room()], 1).await;
        taken((received, buffers.remove(0)))
    };
    "cancel of a recv_from", s => taken_or_none(s.recv_from(room()).cancel().await);
    "recv that is late", s => taken_or_none(s.recv(room()).deadline(Duration::ZERO).await);
    "peek_from", s => {
        s.peek_from(room()).await.0.expect("there");
        Vec::new()
    };
    "readable", s => {
        s.readable().await.expect("polled");
        Vec::new()
    };
}

receives! { receives_of_packets_may_be_given_up_anywhere, packets:
    "recv", s => taken(s.recv(room()).await);
    "recv_msg", s => {
        let (received, mut buffers) = s.recv_msg(vec![room()], 1).await;
        taken((received, buffers.remove(0)))
    };
    "cancel of a recv", s => taken_or_none(s.recv(room()).cancel().await);
    "recv that is late", s => taken_or_none(s.recv(room()).deadline(Duration::ZERO).await);
    "peek", s => {
        s.peek(room()).await.0.expect("there");
        Vec::new()
    };
    "readable", s => {
        s.readable().await.expect("polled");
        Vec::new()
    };
}

/// A send that is given up goes out once, before what is sent later, or not at all; and if it was begun, then it goes out.
macro_rules! sends {
    ($test:ident, $pair:ident: $($name:literal, $here:ident, $there:ident => $future:expr;)+) => {
        #[test]
        fn $test() {
            clean(async || {
                $(for polls in 0..=POLLS {
                    for last_turn in [false, true] {
                        let what = format!("{}, polls: {polls}, turn: {last_turn}", $name);
                        let (here, there) = $pair().await;
                        {
                            let ($here, $there) = (&here, &there);
                            let _ = $there;
                            given_up(async { $future }, polls, last_turn).await;
                        }
                        soon(here.send("last")).await.0.expect("sent");
                        let mut received = Vec::new();
                        while received.last().is_none_or(|last| last != b"last") {
                            received.append(&mut taken(soon(there.recv(room())).await));
                        }
                        let expected: &[&[u8]] = if polls > 0 { &[b"first", b"last"] } else { &[b"last"] };
                        assert_eq!(received, expected, "{what}");
                        for socket in [here, there] {
                            socket.close().await.expect("closed");
                        }
                    }
                })+
            });
        }
    };
}

sends! { sends_of_udp_may_be_given_up_anywhere, udp:
    "send", s, _t => s.send("first").await.0.expect("sent");
    "send_msg", s, _t => s.send_msg(vec!["fi", "rst"], Ancillary::new()).await.0.expect("sent");
    "send_to", s, t => s.send_to("first", t.local_addr().expect("bound")).await.0.expect("sent");
    "send_msg_to", s, t => {
        let to = t.local_addr().expect("bound");
        s.send_msg_to(vec!["first"], Ancillary::new(), to).await.0.expect("sent")
    };
}

sends! { sends_of_unix_datagrams_may_be_given_up_anywhere, datagrams:
    "send", s, _t => s.send("first").await.0.expect("sent");
    "send_msg", s, _t => s.send_msg(vec!["fi", "rst"], Ancillary::new()).await.0.expect("sent");
}

sends! { sends_of_packets_may_be_given_up_anywhere, packets:
    "send", s, _t => s.send("first").await.0.expect("sent");
    "send_msg", s, _t => s.send_msg(vec!["fi", "rst"], Ancillary::new()).await.0.expect("sent");
}
