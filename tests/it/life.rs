//! The life of operations: what becomes of them, of their buffers and of their results when futures are dropped,
//! forgotten, cancelled or too slow.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use corering::buf::IoBuf;
use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::op::{Op, Receive, SendAll};
use corering::time::timeout;

use crate::guard::Guarded;
use crate::{clean, drop_elsewhere, folder, narrow, pair, poll_once, run, soon, turn, visit};

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
    let (server, _) = listener.accept().await.expect("a connection");
    (client, server)
}

#[test]
fn a_receive_that_is_dropped_in_flight_keeps_its_memory_until_the_kernel_lets_go() {
    clean(async || {
        for _ in 0..200 {
            let (socket, mut peer) = pair().await;
            let mut receive = Op::new(Receive::new(&socket, Guarded::new(4096)));
            assert!(!poll_once(&mut receive).await);
            turn().await;
            drop(receive);
            peer.write_all(b"late").await.expect("the socket is open");
        }
    });
}

#[test]
fn an_operation_that_is_dropped_before_its_first_poll_never_was() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        drop(Op::new(SendAll::new(&socket, "never")));
        Op::new(SendAll::new(&socket, "sent")).await.0.expect("sent");
        assert_eq!(soon(peer.read_exact(4)).await.expect("four bytes"), b"sent");
    });
}

#[test]
fn cancelling_gives_the_same_buffer_back() {
    clean(async || {
        let (socket, _peer) = pair().await;
        let buffer = Guarded::new(4096);
        let address = buffer.address();
        let mut receive = Op::new(Receive::new(&socket, buffer));
        assert!(!poll_once(&mut receive).await);
        let (result, buffer) = receive.cancel().await;
        assert_eq!(result.expect_err("nothing came").raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buffer.address(), address);

        let (result, buffer) = Op::new(Receive::new(&socket, buffer)).cancel().await;
        assert_eq!(result.expect_err("never submitted").raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buffer.address(), address);
    });
}

#[test]
fn what_a_cancelled_receive_already_had_counts() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        let mut receive = Op::new(Receive::all(&socket, Vec::with_capacity(100)));
        assert!(!poll_once(&mut receive).await);
        peer.write_all(b"abc").await.expect("the socket is open");
        for _ in 0..3 {
            turn().await;
        }
        let (result, buffer) = receive.cancel().await;
        assert_eq!((result.expect("a part"), &buffer[..]), (3, &b"abc"[..]));
    });
}

#[test]
fn cancelling_what_is_done_gives_its_result() {
    // What came is received whole only where nothing is cut short.
    let _special = crate::quiet_kernel();
    clean(async || {
        let (socket, mut peer) = pair().await;
        peer.write_all(b"abc").await.expect("the socket is open");
        let mut receive = Op::new(Receive::new(&socket, Vec::with_capacity(8)));
        assert!(!poll_once(&mut receive).await);
        for _ in 0..3 {
            turn().await;
        }
        let (result, buffer) = receive.cancel().await;
        assert_eq!((result.expect("all"), &buffer[..]), (3, &b"abc"[..]));
    });
}

#[test]
fn a_deadline_gives_the_buffer_back_and_a_result_wins_over_it() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        let receive = Op::new(Receive::new(&socket, Vec::with_capacity(8)));
        let (result, buffer) = receive.deadline(Duration::from_millis(1)).await;
        assert_eq!(result.expect_err("nothing came").kind(), ErrorKind::TimedOut);
        assert_eq!(buffer.capacity(), 8);

        peer.write_all(b"a").await.expect("the socket is open");
        let receive = Op::new(Receive::new(&socket, buffer));
        let (result, buffer) = receive.deadline(Duration::from_secs(3600)).await;
        assert_eq!((result.expect("in time"), &buffer[..]), (1, &b"a"[..]));
    });
}

#[test]
fn futures_handles_and_chunks_may_be_forgotten() {
    run(async || {
        let (socket, mut peer) = pair().await;
        let mut receive = Op::new(Receive::new(&socket, Guarded::new(4096)));
        assert!(!poll_once(&mut receive).await);
        std::mem::forget(receive);
        peer.write_all(b"late").await.expect("the socket is open");
        std::mem::forget(corering::spawn(async { 1 }));
        let (mut client, mut server) = connected().await;
        client.write_all("kept").await.0.expect("sent");
        std::mem::forget(server.recv().await.expect("received"));
        std::mem::forget(server);
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection_in_any_window() {
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (mut clients, mut accepted) = (Vec::new(), Vec::new());
        for turns in 0..40 {
            // In turn: never polled, in flight, completed and not fetched.
            let mut accept = listener.accept();
            if turns % 4 > 0 {
                while let Poll::Ready(earlier) = poll_fn(|cx| Poll::Ready(pin!(&mut accept).poll(cx))).await {
                    accepted.push(earlier.expect("accepted").1.port());
                    accept = listener.accept();
                }
            }
            clients.push(visit(address).await);
            for _ in 0..turns % 4 {
                turn().await;
            }
            drop(accept);
        }
        let mut ports: Vec<_> = clients.iter().map(|client| client.local_addr().port()).collect();
        while accepted.len() < ports.len() {
            let next = timeout(Duration::from_secs(10), listener.accept()).await;
            accepted.push(next.expect("none is lost").expect("accepted").1.port());
        }
        accepted.sort_unstable();
        ports.sort_unstable();
        assert_eq!(accepted, ports);
        listener.close().await.expect("closed");
    });
}

#[test]
fn connections_that_nobody_took_are_closed_with_the_listener() {
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut accept = listener.accept();
        assert!(!poll_once(&mut accept).await);
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(visit(address).await);
        }
        for _ in 0..4 {
            turn().await;
        }
        listener.close().await.expect("closed");
        for client in &mut clients {
            let ended = soon(client.read(1)).await;
            assert!(
                ended.as_ref().is_ok_and(Vec::is_empty)
                    || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            );
        }
    });
}

#[test]
fn a_listener_frees_its_port_when_it_is_closed() {
    // An address of its own: no other test listens there, or connects from there.
    const HOST: &str = "127.1.2.3";
    clean(async || {
        let mut port = 0;
        for _ in 0..100 {
            let listener = TcpListener::bind((HOST, port)).await.expect("the port is free");
            port = listener.local_addr().expect("an address").port();
            let mut accept = listener.accept();
            assert!(!poll_once(&mut accept).await);
            drop(accept);
            listener.close().await.expect("closed");
            let refused = TcpStream::connect((HOST, port)).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn reads_that_time_out_lose_no_byte() {
    clean(async || {
        let (mut client, mut server) = connected().await;
        let sender = corering::spawn(async move {
            for number in 0..1000_u32 {
                client.write_all(number.to_le_bytes()).await.0.expect("sent");
                if number % 7 == 0 {
                    corering::time::sleep(Duration::from_micros(50)).await;
                }
            }
        });
        let mut all = Vec::new();
        while all.len() < 4000 {
            match all.len() % 3 {
                0 => {
                    if let Ok(chunk) = timeout(Duration::from_micros(30), server.recv()).await {
                        all.extend_from_slice(&chunk.expect("received").expect("not the end"));
                    }
                }
                1 => {
                    if let Ok((count, bytes)) =
                        timeout(Duration::from_micros(30), server.read(Vec::with_capacity(5))).await
                    {
                        count.expect("received");
                        all.extend_from_slice(&bytes);
                    }
                }
                _ => {
                    let mut read = server.read(Vec::with_capacity(3));
                    let _ = poll_once(&mut read).await;
                    drop(read);
                    let (count, bytes) = server.read(Vec::with_capacity(2)).await;
                    count.expect("received");
                    all.extend_from_slice(&bytes);
                }
            }
        }
        sender.await.expect("no panic");
        let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(all, expected);
    });
}

#[test]
fn a_send_that_is_dropped_goes_out_whole_before_the_next() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        narrow(&socket);
        let reader = corering::spawn(async move { peer.read_to_end().await.expect("to the end") });
        for letter in [b'a', b'b', b'c'] {
            let mut send = Op::new(SendAll::new(&socket, vec![letter; 300_000]));
            while !send.is_submitted() {
                assert!(!poll_once(&mut send).await, "more than the socket takes at once");
                turn().await;
            }
            drop(send);
        }
        Op::new(SendAll::new(&socket, vec![b'd'; 1000])).await.0.expect("sent");
        socket.close().await.expect("closed");
        let all = reader.await.expect("no panic");
        let mut expected = Vec::new();
        for (letter, count) in [(b'a', 300_000), (b'b', 300_000), (b'c', 300_000), (b'd', 1000)] {
            expected.extend(std::iter::repeat_n(letter, count));
        }
        assert!(all == expected, "{} bytes, not in order and whole", all.len());
    });
}

#[test]
fn a_stream_closes_although_a_dropped_write_cannot_end() {
    clean(async || {
        let (mut client, server) = connected().await;
        let mut write = client.write_all(vec![0; 64 << 20]);
        assert!(!poll_once(&mut write).await);
        turn().await;
        drop(write);
        client.close().await.expect("closed");
        drop(server);
    });
}

#[test]
fn a_write_that_is_dropped_never_lands_after_a_later_one() {
    clean(async || {
        let folder = folder();
        let options = File::options().read(true).write(true).create(true);
        let file = options.open(folder.join("file")).await.expect("a file");
        for round in 0..200_u8 {
            let mut stale = file.write_all_at(vec![0xff; 65536], 0);
            assert!(!poll_once(&mut stale).await);
            if round % 2 == 0 {
                turn().await;
            }
            drop(stale);
            file.write_all_at(vec![round; 65536], 0).await.0.expect("written");
            let (count, bytes) = file.read_at(Vec::with_capacity(65536), 0).await;
            assert_eq!(count.expect("read"), 65536);
            assert!(bytes.iter().all(|byte| *byte == round), "the dropped write came later");
        }
        file.close().await.expect("closed");
    });
}

#[test]
fn a_truncate_that_is_dropped_never_lands_after_a_later_write() {
    clean(async || {
        let folder = folder();
        let file = File::create(folder.join("file")).await.expect("a file");
        for _ in 0..100 {
            file.write_all_at(vec![1; 4096], 0).await.0.expect("written");
            {
                let mut shrink = pin!(file.set_len(10));
                let _ = poll_fn(|cx| Poll::Ready(shrink.as_mut().poll(cx).is_ready())).await;
            }
            file.write_all_at(vec![2; 4096], 0).await.0.expect("written");
            assert_eq!(file.metadata().await.expect("known").len(), 4096);
        }
    });
}

#[test]
fn an_operation_dropped_on_another_thread_is_cancelled_at_home() {
    clean(async || {
        let (socket, _peer) = pair().await;
        let mut receive = Op::new(Receive::new(&socket, Guarded::new(4096)));
        assert!(!poll_once(&mut receive).await);
        drop_elsewhere(receive);
    });
}

#[test]
fn handles_and_operations_may_be_sent() {
    fn sendable<T: Send>(_: &T) {}
    clean(async || {
        let (mut client, server) = connected().await;
        sendable(&client);
        sendable(&client.recv());
        sendable(&client.read(Vec::with_capacity(1)));
        sendable(&client.write_all(vec![1]));
        sendable(&corering::time::sleep(Duration::ZERO));
        sendable(&server);
        let folder = folder();
        let path = folder.join("file");
        let file = File::create(&path).await.expect("a file");
        sendable(&file);
        sendable(&file.read_at(Vec::with_capacity(1), 0));
        sendable(&corering::fs::read(&path));
    });
}

#[test]
fn a_slice_is_what_is_written() {
    clean(async || {
        let (mut client, mut server) = connected().await;
        let (sent, back) = client.write_all(String::from("corering").slice(4..)).await;
        sent.expect("sent");
        assert_eq!(back.into_inner(), "corering");
        assert_eq!(&server.recv().await.expect("received").expect("not the end")[..], b"ring");
    });
}
