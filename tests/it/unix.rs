//! Sockets of the Unix family: by paths, abstract names and as pairs.

use std::io::ErrorKind;
use std::path::PathBuf;

use corering::fs;
use corering::net::{
    Ancillary, Shutdown, UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream,
};

use corering::io::{AsyncRead as _, AsyncWrite as _, pipe};

use crate::{Folder, clean, folder, poll_once, soon, turn};

fn path(folder: &Folder) -> PathBuf {
    folder.join("socket")
}

/// An abstract name that nobody else has.
fn name(folder: &Folder) -> String {
    format!("\0{}", folder.path().display())
}

fn room() -> Vec<u8> {
    Vec::with_capacity(1000)
}

#[test]
fn streams_connect_by_path_and_by_name_and_the_path_stays() {
    clean(async || {
        let folder = folder();
        for name in [path(&folder), name(&folder).into()] {
            let listener = UnixListener::bind(&name).expect("free");
            let taken = UnixListener::bind(&name).expect_err("taken");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            assert!(taken.to_string().contains(&*folder.path().to_string_lossy()), "{taken}");
            let mut client = soon(UnixStream::connect(&name)).await.expect("there");
            let (mut server, peer) = soon(listener.accept()).await.expect("a connection");
            assert!(peer.is_unnamed() && server.peer_addr().expect("connected").is_unnamed());
            assert!(server.peer_cred().expect("connected").process.is_some());
            assert_eq!(
                format!("{:?}", client.peer_addr().expect("one")),
                format!("{:?}", listener.local_addr().expect("one"))
            );
            soon(client.write_all("to and")).await.0.expect("sent");
            assert_eq!(&soon(server.recv()).await.expect("received").expect("bytes")[..], b"to and");
            soon(server.write_all("fro")).await.0.expect("sent");
            soon(server.shutdown(Shutdown::Write)).await.expect("connected");
            let (count, buffer) = soon(client.read(room())).await;
            assert_eq!(&buffer[..count.expect("read")], b"fro");
            assert!(soon(client.recv()).await.expect("received").is_none(), "the end");
            listener.close().await.expect("closed");
            let refused = soon(UnixStream::connect(&name)).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        let path = path(&folder);
        assert_eq!(UnixListener::bind(&path).expect_err("it stays").kind(), ErrorKind::AddrInUse);
        fs::remove_file(&path).await.expect("there");
        let missing = soon(UnixStream::connect(&path)).await.expect_err("nothing is there");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        UnixListener::bind(&path).expect("free again").close().await.expect("closed");
    });
}

#[test]
fn connections_wait_for_a_listener_whose_accepts_are_dropped() {
    clean(async || {
        let folder = folder();
        let listener = UnixListener::bind(path(&folder)).expect("free");
        for round in 0..20_u8 {
            let mut accept = listener.accept();
            assert!(!poll_once(&mut accept).await);
            turn().await;
            let mut client = soon(UnixStream::connect(path(&folder))).await.expect("there");
            soon(client.write_all([round])).await.0.expect("sent");
            drop(accept);
            let (mut server, _) = soon(listener.accept()).await.expect("it was kept");
            assert_eq!(&soon(server.recv()).await.expect("received").expect("bytes")[..], [round]);
        }
        listener.close().await.expect("closed");
    });
}

#[test]
fn halves_of_a_pair_work_apart_and_are_put_together_again() {
    clean(async || {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (mut read, mut write) = here.into_split();
        assert!(read.local_addr().expect("one").is_unnamed() && write.peer_addr().expect("one").is_unnamed());
        let (other_read, other_write) = there.into_split();
        soon(write.write_all("hello")).await.0.expect("sent");
        let error = read.reunite(other_write).expect_err("of another stream");
        read = error.0;
        let mut there = other_read.reunite(error.1).expect("of one stream");
        assert_eq!(&soon(there.recv()).await.expect("received").expect("bytes")[..], b"hello");
        soon(there.write_vectored(vec!["an", "swer"])).await.0.expect("sent");
        let mut seen = [0; 2];
        assert_eq!(soon(read.peek(&mut seen)).await.expect("received"), 2);
        assert_eq!(&seen, b"an");
        let mut here = read.reunite(write).expect("of one stream");
        soon(here.readable()).await.expect("bytes");
        soon(here.writable()).await.expect("room");
        let (count, buffer) = soon(here.read(room())).await;
        assert_eq!(&buffer[..count.expect("read")], b"answer", "what was seen is still there");
        drop(there);
        soon(here.readable()).await.expect("the end");
        assert!(soon(here.recv()).await.expect("received").is_none());
        here.close().await.expect("closed");
    });
}

#[test]
fn bytes_that_a_dropped_receive_of_a_message_brought_are_read_by_whoever_comes_next() {
    clean(async || {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        for round in 0..60_u8 {
            let mut receive = Box::pin(there.recv_msg(vec![Vec::with_capacity(2)], 0));
            if round % 3 > 0 {
                assert!(!poll_once(&mut receive).await);
                if round % 3 > 1 {
                    turn().await;
                }
            }
            let sent = soon(here.send_msg(vec!["ab", "cd"], Ancillary::new())).await.0.expect("sent");
            soon(here.write_all(&b"abcd"[sent..])).await.0.expect("sent");
            if round % 2 == 0 {
                turn().await;
            }
            drop(receive);
            let mut all = Vec::new();
            while all.len() < 4 {
                match (round + all.len() as u8) % 4 {
                    0 => all.extend_from_slice(&soon(there.recv()).await.expect("received").expect("bytes")),
                    1 => {
                        let (count, buffer) = soon(there.read(Vec::with_capacity(1))).await;
                        assert_eq!(count.expect("read"), 1);
                        all.extend(buffer);
                    }
                    2 => {
                        let (message, buffers) = soon(there.recv_msg(vec![Vec::with_capacity(3)], 0)).await;
                        let message = message.expect("received");
                        assert!(message.count() > 0 && !message.is_cut());
                        all.extend(buffers.into_iter().flatten());
                    }
                    _ => {
                        let mut seen = [0; 1];
                        assert_eq!(soon(there.peek(&mut seen)).await.expect("received"), 1);
                        all.extend_from_slice(&soon(there.recv()).await.expect("received").expect("bytes"));
                    }
                }
            }
            assert_eq!(all, b"abcd");
        }
        drop(here);
        let (message, _) = soon(there.recv_msg(vec![room()], 0)).await;
        assert_eq!(message.expect("the end").count(), 0);
        there.close().await.expect("closed");
    });
}

#[test]
fn datagrams_say_who_sent_them_and_come_in_order() {
    clean(async || {
        let folder = folder();
        let there = UnixDatagram::bind(path(&folder)).expect("free");
        let named = UnixDatagram::bind(name(&folder)).expect("free");
        let nobody = UnixDatagram::unbound().expect("a socket");
        soon(named.send_to("named", path(&folder))).await.0.expect("sent");
        nobody.connect(path(&folder)).await.expect("there");
        soon(nobody.send("unnamed")).await.0.expect("sent");
        let (from, buffer) = soon(there.recv_from(room())).await;
        let from = from.expect("received");
        assert_eq!((from.count, &buffer[..]), (5, &b"named"[..]));
        assert_eq!(format!("{:?}", from.address), format!("{:?}", named.local_addr().expect("bound")));
        // An answer.
        soon(there.send_to_addr("answer", &from.address)).await.0.expect("sent");
        let (count, buffer) = soon(named.recv(room())).await;
        assert_eq!(&buffer[..count.expect("received")], b"answer");
        let (from, buffer) = soon(there.recv_from(room())).await;
        assert!(from.expect("received").address.is_unnamed());
        assert_eq!(buffer, b"unnamed");
        there.close().await.expect("closed");
        let (sent, _) = soon(nobody.send("too late")).await;
        assert_eq!(sent.expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn whoever_sends_more_datagrams_than_there_is_room_for_waits_and_loses_none() {
    const MANY: u32 = 100;
    clean(async || {
        let folder = folder();
        let there = UnixDatagram::bind(path(&folder)).expect("free");
        let here = UnixDatagram::unbound().expect("a socket");
        let to = path(&folder);
        let sender = corering::spawn(async move {
            for number in 0..MANY {
                assert_eq!(here.send_to(number.to_ne_bytes(), &to).await.0.expect("sent"), 4);
            }
            here
        });
        for number in 0..MANY {
            if number % 9 == 0 {
                turn().await;
                // One that is given up changes nothing.
                let mut receive = there.recv_msg(vec![room()], 0);
                if poll_once(&mut receive).await {
                    panic!("it is with the kernel first");
                }
                drop(receive);
            }
            let (count, buffer) = soon(there.recv(room())).await;
            assert_eq!((count.expect("received"), &buffer[..]), (4, &number.to_ne_bytes()[..]));
        }
        drop(soon(sender).await.expect("no panic"));
    });
}

#[test]
fn a_pair_of_datagram_sockets_carries_both_ways() {
    clean(async || {
        let (here, there) = UnixDatagram::pair().expect("a pair");
        soon(here.send("one")).await.0.expect("sent");
        soon(there.send("two")).await.0.expect("sent");
        for (socket, text) in [(&there, "one"), (&here, "two")] {
            let (count, buffer) = soon(socket.recv(room())).await;
            assert_eq!(&buffer[..count.expect("received")], text.as_bytes());
        }
        for socket in [here, there] {
            socket.close().await.expect("closed");
        }
    });
}

#[test]
fn messages_of_a_connection_stay_apart_until_its_end() {
    clean(async || {
        let folder = folder();
        let listener = UnixSeqpacketListener::bind(path(&folder)).expect("free");
        let client = soon(UnixSeqpacket::connect(path(&folder))).await.expect("there");
        let (server, _) = soon(listener.accept()).await.expect("a connection");
        let wrong = soon(UnixStream::connect(path(&folder))).await.expect_err("no stream");
        assert!(wrong.raw_os_error().is_some() || wrong.to_string().contains("socket"), "{wrong}");
        for text in ["first", "second"] {
            soon(client.send(text)).await.0.expect("sent");
        }
        soon(client.send_msg(vec!["th", "ird"], Ancillary::new())).await.0.expect("sent");
        let mut receive = server.recv_msg(vec![room()], 0);
        assert!(!poll_once(&mut receive).await, "it is with the kernel first");
        turn().await;
        drop(receive);
        client.close().await.expect("closed");
        for text in ["first", "second", "third", "", ""] {
            let (count, buffer) = soon(server.recv(room())).await;
            assert_eq!(&buffer[..count.expect("received")], text.as_bytes());
        }
        let (sent, _) = soon(server.send("too late")).await;
        assert_eq!(sent.expect_err("closed").kind(), ErrorKind::BrokenPipe);
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_pipe_carries_what_dropped_reads_and_writes_leave_in_it() {
    clean(async || {
        let (mut reader, mut writer) = pipe().expect("a pipe");
        for round in 0..60_u8 {
            let mut read = Box::pin(reader.read(Vec::with_capacity(2)));
            if round % 3 > 0 {
                assert!(!poll_once(&mut read).await);
                if round % 3 > 1 {
                    turn().await;
                }
            }
            let mut write = Box::pin(writer.write_all([round; 4]));
            let written = poll_once(&mut write).await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(read);
            drop(write);
            // One that was never begun is done now: the kernel had no chance to.
            let _ = written;
            let mut all = Vec::new();
            while all.len() < 4 {
                soon(reader.readable()).await.expect("something is there");
                let (count, buffer) = soon(reader.read(Vec::with_capacity(3))).await;
                assert!(count.expect("read") > 0);
                all.extend(buffer);
            }
            assert_eq!(all, [round; 4]);
        }
        // A write that cannot end goes with its end.
        let mut write = Box::pin(writer.write_all(vec![1; 1 << 20]));
        assert!(!poll_once(&mut write).await);
        turn().await;
        drop(write);
        drop(writer);
        let mut read = 0;
        loop {
            let (count, _) = soon(reader.read(Vec::with_capacity(100_000))).await;
            match count.expect("read") {
                0 => break,
                count => read += count,
            }
        }
        assert!(read < 1 << 20, "all {read} bytes came");

        let (reader, mut writer) = pipe().expect("a pipe");
        soon(writer.writable()).await.expect("room");
        drop(reader);
        let closed = async {
            loop {
                let (written, _) = writer.write("nobody reads").await;
                if let Err(error) = written {
                    return error;
                }
                turn().await;
            }
        };
        assert_eq!(soon(closed).await.kind(), ErrorKind::BrokenPipe);
        writer.shutdown().await.expect("closed");
        assert_eq!(writer.write("more").await.0.expect_err("shut down").kind(), ErrorKind::BrokenPipe);
    });
}
