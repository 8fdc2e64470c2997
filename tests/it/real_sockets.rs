//! Sockets of this machine: descriptors and credentials that go along with bytes, segments, settings, and what other
//! libraries have opened.

use std::fs::File;
use std::future::Future as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use corering::net::{
    Ancillary, Keepalive, TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixSeqpacket,
    UnixStream,
};

use crate::{clean, pipe, poll_once, soon, turn};

/// The reading end of a pipe, which ends when all descriptors of the other one are closed; and that.
fn witness() -> (File, OwnedFd) {
    pipe()
}

/// Whether all descriptors of the other end are closed: with one left, a read would have to wait.
fn is_over(reader: &mut File) -> bool {
    use std::os::fd::AsRawFd as _;
    let mut poll = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives as long as the call.
    assert!(unsafe { libc::poll(&raw mut poll, 1, 0) } >= 0);
    poll.revents & libc::POLLHUP != 0
}

/// Waits until all are closed.
async fn over(mut readers: Vec<File>) {
    let all = async {
        while !readers.iter_mut().all(is_over) {
            turn().await;
        }
    };
    soon(all).await;
}

/// Witnesses, and their descriptors to be sent along.
fn along(count: usize) -> (Vec<File>, Ancillary) {
    let (readers, descriptors): (Vec<_>, Vec<_>) = (0..count).map(|_| witness()).unzip();
    (readers, descriptors.into_iter().fold(Ancillary::new(), Ancillary::descriptor))
}

fn room() -> Vec<Vec<u8>> {
    vec![Vec::with_capacity(100)]
}

#[test]
fn descriptors_go_along_with_messages_and_work_at_the_other_side() {
    clean(async || {
        let (here, there) = UnixSeqpacket::pair().expect("a pair");
        let (mut reader, writer) = witness();
        let (sent, buffers, mut along) =
            soon(here.send_msg(vec!["take", "it"], Ancillary::new().descriptor(writer))).await;
        assert_eq!((sent.expect("sent"), buffers), (6, vec!["take", "it"]));
        assert_eq!(along.take_descriptors().len(), 1, "ours comes back");
        let (message, buffers) = soon(there.recv_msg(room(), 3)).await;
        let mut message = message.expect("received");
        assert_eq!((message.count(), message.is_ancillary_cut()), (6, false));
        assert_eq!(buffers[0], b"takeit");
        let theirs = message.ancillary().take_descriptors().pop().expect("came along");
        assert!(!is_over(&mut reader));
        File::from(theirs).write_all(b"works").expect("open");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "works");
    });
}

#[test]
fn descriptors_that_nobody_takes_are_closed() {
    clean(async || {
        let mut all = Vec::new();
        for round in 0..6 {
            let (here, there) = UnixSeqpacket::pair().expect("a pair");
            let (mut witnesses, along) = along(2);
            drop(soon(here.send_msg(vec!["bytes"], along)).await);
            match round {
                // The message is dropped with them.
                0 => drop(soon(there.recv_msg(room(), 5)).await.0.expect("received")),
                // There is no room for both, or for any.
                1 => {
                    let mut message = soon(there.recv_msg(room(), 1)).await.0.expect("received");
                    assert!(message.is_ancillary_cut());
                    assert_eq!(message.ancillary().take_descriptors().len(), 1);
                }
                2 => {
                    let mut message = soon(there.recv_msg(room(), 0)).await.0.expect("received");
                    assert!(message.is_ancillary_cut() && message.ancillary().take_descriptors().is_empty());
                }
                // Nobody asks for them.
                3 => drop(soon(there.recv(Vec::with_capacity(100))).await.0.expect("received")),
                // The bytes have no room: the message is cut, and they come along.
                4 => {
                    let mut message = soon(there.recv_msg(vec![Vec::with_capacity(1)], 2)).await.0.expect("received");
                    assert!(message.is_cut());
                    assert_eq!(message.ancillary().take_descriptors().len(), 2);
                }
                // Nobody receives.
                _ => {}
            }
            all.append(&mut witnesses);
            for socket in [here, there] {
                socket.close().await.expect("closed");
            }
        }
        over(all).await;
    });
}

/// Receives are dropped at every stage: with a message there or not, in the kernel or not, done and not fetched.
#[test]
fn descriptors_of_a_receive_that_is_dropped_are_the_next_ones_or_closed_with_the_socket() {
    clean(async || {
        let mut all = Vec::new();
        for round in 0..48_u32 {
            let (here, there) = UnixDatagram::pair().expect("a pair");
            let (mut witnesses, along) = along(1);
            let mut along = Some(along);
            if round & 1 > 0 {
                drop(soon(here.send_msg(vec!["bytes"], along.take().expect("once"))).await);
            }
            let mut receive = there.recv_msg(room(), 1);
            if round & 2 > 0 && poll_once(&mut receive).await {
                unreachable!("it is with the kernel first");
            }
            if round & 4 > 0 {
                turn().await;
            }
            if let Some(along) = along {
                drop(soon(here.send_msg(vec!["bytes"], along)).await);
            }
            if round & 8 > 0 {
                turn().await;
            }
            drop(receive);
            if round < 32 {
                let (message, buffers) = soon(there.recv_msg(room(), 1)).await;
                let mut message = message.expect("received");
                assert_eq!(buffers[0], b"bytes");
                assert_eq!(message.ancillary().take_descriptors().len(), 1, "round {round}");
            }
            all.append(&mut witnesses);
        }
        over(all).await;
    });
}

#[test]
fn descriptors_come_along_with_the_bytes_of_a_stream_whatever_was_dropped_before() {
    clean(async || {
        let mut all = Vec::new();
        for round in 0..24_u32 {
            let (mut here, mut there) = UnixStream::pair().expect("a pair");
            // A receive that is armed, and dropped: the next one of a message ends it.
            if round & 3 == 3 {
                assert!(!poll_once(&mut there.recv()).await);
                turn().await;
            }
            // And one of a message.
            {
                let mut receive = pin!(there.recv_msg(room(), 2));
                if round & 2 > 0 {
                    let mut polls = 0;
                    std::future::poll_fn(|cx| {
                        assert!(receive.as_mut().poll(cx).is_pending());
                        polls += 1;
                        if polls < 3 && round & 4 > 0 {
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        Poll::Ready(())
                    })
                    .await;
                    turn().await;
                }
                if round & 8 > 0 {
                    turn().await;
                }
            }
            let (mut witnesses, along) = along(2);
            drop(soon(here.send_msg(vec!["bytes"], along)).await);
            let (message, buffers) = soon(there.recv_msg(room(), 2)).await;
            let mut message = message.expect("received");
            assert_eq!(buffers[0], b"bytes");
            assert_eq!(message.ancillary().take_descriptors().len(), 2, "round {round}");
            all.append(&mut witnesses);
        }
        over(all).await;
    });
}

#[test]
fn messages_say_who_sent_them_if_they_are_asked_to() {
    clean(async || {
        let (here, there) = UnixDatagram::pair().expect("a pair");
        there.set_passcred(true).expect("set");
        soon(here.send("who")).await.0.expect("sent");
        let (message, _) = soon(there.recv_msg(room(), 0)).await;
        let sender = message.expect("received").ancillary().sent_by().expect("asked for");
        assert_eq!(sender.process, Some(std::process::id() as i32));
        assert_eq!(Some(sender), here.peer_cred().ok(), "who made the pair");
        soon(here.send_msg(vec!["me"], Ancillary::new().credentials(sender))).await.0.expect("true");
    });
}

#[test]
fn one_send_is_many_datagrams_and_one_receive_may_be() {
    clean(async || {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await);
        let (here, there) = (here.expect("a port"), there.expect("a port"));
        let address = there.local_addr().expect("bound");
        let bytes: Vec<u8> = (0..250).collect();
        let segments = || Ancillary::new().segment_bytes(100);
        soon(here.send_msg_to(vec![bytes.clone()], segments(), address)).await.0.expect("sent");
        for part in bytes.chunks(100) {
            let (count, buffer) = soon(there.recv(Vec::with_capacity(200))).await;
            assert_eq!(&buffer[..count.expect("received")], part);
        }
        there.set_gro(true).expect("set");
        soon(here.send_msg_to(vec![bytes.clone()], segments(), address)).await.0.expect("sent");
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            let (message, buffers) = soon(there.recv_msg(vec![Vec::with_capacity(1000)], 0)).await;
            let mut message = message.expect("received");
            if message.count() > 100 {
                assert_eq!(message.ancillary().segments(), Some(100));
            }
            received.extend(buffers.into_iter().flatten());
        }
        assert_eq!(received, bytes);
    });
}

#[test]
fn sockets_are_set_as_they_are_told() {
    clean(async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("set");
        socket.set_reuseport(true).expect("set");
        assert!(socket.reuseaddr().expect("set") && socket.reuseport().expect("set"));
        let keepalive = Keepalive::new().idle(Duration::from_secs(7)).interval(Duration::from_secs(3)).count(2);
        socket.set_keepalive(Some(keepalive)).expect("set");
        socket.set_fastopen(16).expect("set");
        socket.bind("127.0.0.1:0".parse().expect("one")).expect("a port");
        let listener = socket.listen(3).expect("listening");
        let other = TcpSocket::new_v4().expect("a socket");
        other.set_reuseport(true).expect("set");
        other.bind(listener.local_addr().expect("bound")).expect("shared");
        drop(other);

        let client = TcpSocket::new_v4().expect("a socket");
        client.set_recv_buffer_size(100_000).expect("set");
        assert_eq!(client.recv_buffer_size().expect("set"), 200_000, "the kernel doubles it");
        client.set_user_timeout(Some(Duration::from_secs(5))).expect("set");
        assert_eq!(client.device().expect("none"), None);
        let client = soon(client.connect(listener.local_addr().expect("bound"))).await.expect("there");
        assert_eq!(client.user_timeout().expect("set"), Some(Duration::from_secs(5)));
        let congestion = client.congestion().expect("a name");
        assert!(!congestion.is_empty() && !congestion.contains('\0'), "{congestion:?}");
        client.set_congestion(&congestion).expect("the same");
        client.set_quickack(true).expect("set");
        client.set_linger(Some(Duration::from_secs(2))).expect("set");
        assert_eq!(client.linger().expect("set"), Some(Duration::from_secs(2)));
        client.set_ttl(33).expect("set");
        assert_eq!(client.ttl().expect("set"), 33);
        let (server, _) = soon(listener.accept()).await.expect("a connection");
        assert!(server.keepalive().expect("from its listener"));

        let only = TcpSocket::new_v6().expect("a socket");
        only.set_only_v6(true).expect("set");
        only.set_ttl(9).expect("set");
        assert_eq!(only.ttl().expect("set"), 9);
        let error = only.bind("127.0.0.1:0".parse().expect("one")).expect_err("of the other family");
        assert!(error.to_string().starts_with("cannot bind to 127.0.0.1:0"), "{error}");
    });
}

#[test]
fn what_a_connection_had_received_is_given_with_it() {
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("one")).await.expect("there");
        let (mut server, _) = soon(listener.accept()).await.expect("a connection");
        // A receive that is armed has taken some; a dropped receive of a part has left some.
        assert!(!poll_once(&mut server.recv()).await);
        turn().await;
        soon(client.write_all("taken, ")).await.0.expect("sent");
        turn().await;
        soon(client.write_all("and left")).await.0.expect("sent");
        soon(server.readable()).await.expect("something is there");
        let (mut server, mut bytes) = soon(server.into_std()).await.expect("alone");
        assert!(bytes.starts_with(b"taken"), "{bytes:?}");
        client.close().await.expect("closed");
        server.read_to_end(&mut bytes).expect("blocks until the end");
        assert_eq!(bytes, b"taken, and left");

        // Connections that were accepted and not taken come with the listener.
        let address = listener.local_addr().expect("one");
        assert!(!poll_once(&mut listener.accept()).await);
        turn().await;
        let mut clients = Vec::new();
        for number in 0..3_u8 {
            let mut client = TcpStream::connect(address).await.expect("there");
            soon(client.write_all([number])).await.0.expect("sent");
            clients.push(client);
        }
        for _ in 0..20 {
            turn().await;
        }
        let (listener, accepted) = soon(listener.into_std()).await.expect("alone");
        assert!(!accepted.is_empty(), "the accept is armed, and takes what comes");
        let mut numbers = Vec::new();
        for mut server in accepted {
            numbers.extend_from_slice(&soon(server.recv()).await.expect("received").expect("bytes"));
        }
        while numbers.len() < 3 {
            let (mut server, _) = listener.accept().expect("the others wait");
            let mut number = [0];
            server.read_exact(&mut number).expect("sent");
            numbers.extend(number);
        }
        assert_eq!(numbers, [0, 1, 2]);
        // And back.
        let listener = TcpListener::from_std(listener);
        let _client = TcpStream::connect(address).await.expect("there");
        drop(soon(listener.accept()).await.expect("a connection"));
        listener.close().await.expect("closed");
    });
}

#[test]
fn sockets_that_were_opened_otherwise_are_taken_over_blocking_or_not() {
    clean(async || {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("set");
        let mut ours = UnixStream::from_std(ours);
        let mut receive = ours.recv();
        assert!(!poll_once(&mut receive).await);
        turn().await;
        theirs.write_all(b"later").expect("sent");
        assert_eq!(&soon(receive).await.expect("waited").expect("bytes")[..], b"later");
        drop(ours);

        let socket = std::os::unix::net::UnixDatagram::pair().expect("a pair");
        socket.0.set_nonblocking(true).expect("set");
        let ours = UnixDatagram::from_std(socket.0);
        let mut receive = ours.recv(Vec::with_capacity(10));
        assert!(!poll_once(&mut receive).await);
        turn().await;
        socket.1.send(b"taken").expect("sent");
        turn().await;
        drop(receive);
        // What the dropped receive has taken comes with the socket.
        let (ours, mut messages) = soon(ours.into_std()).await.expect("alone");
        if messages.is_empty() {
            let mut bytes = vec![0; 10];
            let count = ours.recv(&mut bytes).expect("left there");
            bytes.truncate(count);
            assert_eq!(bytes, b"taken");
        } else {
            let (bytes, message) = messages.remove(0);
            assert_eq!((&bytes[..], message.count()), (&b"taken"[..], 5));
        }
        let folder = crate::folder();
        let listener = std::os::unix::net::UnixListener::bind(folder.join("socket")).expect("free");
        listener.set_nonblocking(true).expect("set");
        let listener = UnixListener::from_std(listener);
        let mut accept = listener.accept();
        assert!(!poll_once(&mut accept).await);
        turn().await;
        let _client = std::os::unix::net::UnixStream::connect(folder.join("socket")).expect("there");
        drop(soon(accept).await.expect("waited"));
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_socket_that_is_in_use_is_not_given_away() {
    clean(async || {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let receive = socket.recv(Vec::with_capacity(10));
        let error = soon(socket.into_std()).await.expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        drop(receive);
    });
}
