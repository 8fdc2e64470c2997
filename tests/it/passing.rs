//! What passes from one socket to another, from a file to a socket, or out of memory, without being copied.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use corering::buf::IoBuf;
use corering::fs;
use corering::io::{self, AsyncReadExt as _};
use corering::net::{self, Shutdown, TcpListener, TcpStream, UnixStream};
use corering::time::{Instant, sleep};

use crate::{Folder, Random, SECOND, clean, folder, narrow, poll_once, put_into, scene, soon, turn};

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
    let (server, _) = soon(listener.accept()).await.expect("a connection");
    listener.close().await.expect("closed");
    (client, server)
}

/// Bytes that are nowhere alike.
fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::new(len as u64);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Sends all, and says that nothing more will come.
async fn send(stream: &mut impl io::AsyncWrite, bytes: Vec<u8>) {
    stream.write_all(bytes).await.0.expect("sent");
    stream.shutdown().await.expect("connected");
}

async fn receive(stream: &mut impl io::AsyncRead) -> Vec<u8> {
    let (count, bytes) = stream.read_to_end(Vec::new()).await;
    assert_eq!(count.expect("received"), bytes.len());
    bytes
}

/// So often a test begins again, at most.
const MOST_ROUNDS: usize = 20_000;

/// Polls it now and then, for so many turns at most.
async fn for_turns<F: Future + Unpin>(future: &mut F, turns: u64) -> bool {
    for _ in 0..turns {
        if poll_once(future).await {
            return true;
        }
        turn().await;
    }
    false
}

#[test]
fn a_proxy_carries_both_ways_and_passes_each_end_on() {
    const LONG: usize = 700_000;
    clean(async || {
        let ((mut client, mut front), (mut back, mut server)) = (connected().await, connected().await);
        let proxy = corering::spawn(async move {
            let sent = net::proxy(&mut front, &mut back).await;
            (sent, front, back)
        });
        let server = corering::spawn(async move {
            // All that comes, to its end, and only then the answer.
            let received = receive(&mut server).await;
            let mut answer = received.clone();
            answer.reverse();
            send(&mut server, answer).await;
            (received, server)
        });
        let bytes = noise(LONG);
        send(&mut client, bytes.clone()).await;
        let mut answer = soon(receive(&mut client)).await;
        answer.reverse();
        assert!(answer == bytes);
        let (received, _server) = soon(server).await.expect("no panic");
        assert!(received == bytes);
        let (sent, _front, _back) = soon(proxy).await.expect("no panic");
        assert_eq!(sent.expect("no error"), (LONG as u64, LONG as u64));
    });
}

#[test]
fn what_is_short_goes_on_at_once_in_both_directions() {
    clean(async || {
        let ((mut client, mut front), (mut back, mut server)) = (connected().await, connected().await);
        let proxy = corering::spawn(async move { net::proxy(&mut front, &mut back).await });
        let mut total = 0;
        for round in 0..50_usize {
            let message = noise(1 + round * 197);
            total += message.len() as u64;
            soon(client.write_all(message.clone())).await.0.expect("sent");
            let received = soon(server.read_exact(room(message.len()))).await;
            received.0.expect("received");
            assert!(*received.1 == message, "there, round {round}");
            soon(server.write_all(message.clone())).await.0.expect("sent");
            let received = soon(client.read_exact(room(message.len()))).await;
            received.0.expect("received");
            assert!(*received.1 == message, "back, round {round}");
        }
        client.close().await.expect("closed");
        server.close().await.expect("closed");
        assert_eq!(soon(proxy).await.expect("no panic").expect("no error"), (total, total));
    });
}

/// Just so much.
fn room(bytes: usize) -> Box<[u8]> {
    vec![0; bytes].into()
}

/// Also when bytes have left the one socket within the kernel and have not come to the other.
#[test]
fn dropped_at_any_moment_nothing_is_lost_doubled_or_out_of_order() {
    const LONG: u64 = 500_000;
    for how in 0..3_u64 {
        clean(async move || {
            let ((mut client, mut front), (mut back, mut server)) = (connected().await, connected().await);
            narrow(&back);
            let bytes = noise(LONG as usize);
            let sender = corering::spawn({
                let bytes = bytes.clone();
                async move {
                    for part in bytes.chunks(100_000) {
                        client.write_all(part.to_vec()).await.0.expect("sent");
                        turn().await;
                    }
                    client.shutdown(Shutdown::Write).await.expect("connected");
                    client
                }
            });
            let receiver = corering::spawn(async move {
                let mut received = Vec::new();
                while let Some(chunk) = server.recv().await.expect("received") {
                    received.extend_from_slice(&chunk);
                    // It is slow: the way there is full.
                    if received.len() % 5 == 0 {
                        turn().await;
                    }
                }
                // Still open: so the other direction does not end.
                (received, server)
            });
            let (mut random, mut sent) = (Random::new(how + 1), 0);
            for _ in 0..MOST_ROUNDS {
                if sent == LONG {
                    break;
                }
                let turns = 1 + random.below(12);
                match how {
                    0 => {
                        let mut proxy = net::proxy(&mut front, &mut back);
                        // The other direction is open, so that this does not end.
                        assert!(!for_turns(&mut proxy, turns).await);
                        sent += proxy.sent().0;
                    }
                    1 => {
                        if for_turns(&mut pin!(io::copy(&mut front, &mut back)), turns).await {
                            break;
                        }
                    }
                    _ => {
                        let ((mut reader, _), (_, mut writer)) = (front.split(), back.split());
                        if for_turns(&mut pin!(io::copy(&mut reader, &mut writer)), turns).await {
                            break;
                        }
                    }
                }
                // And by hand: what was put back comes first.
                let mut read = front.recv();
                let chunk = poll_fn(|cx| match Pin::new(&mut read).poll(cx) {
                    Poll::Ready(chunk) => Poll::Ready(chunk.expect("received")),
                    Poll::Pending => Poll::Ready(None),
                });
                if let Some(chunk) = chunk.await {
                    sent += chunk.len() as u64;
                    back.write_all(chunk).await.0.expect("sent");
                }
            }
            // A proxy may have passed the end on before.
            drop(back);
            let (received, _server) = soon(receiver).await.expect("no panic");
            assert_eq!(received.len() as u64, LONG);
            assert!(received == bytes);
            soon(sender).await.expect("no panic");
        });
    }
}

#[test]
fn what_had_arrived_before_goes_first() {
    clean(async || {
        let ((mut client, mut front), (mut back, mut server)) = (connected().await, connected().await);
        let mut dropped = front.recv();
        assert!(!poll_once(&mut dropped).await);
        turn().await;
        client.write_all("one, ").await.0.expect("sent");
        soon(front.readable()).await.expect("something");
        client.write_all("two").await.0.expect("sent");
        let (count, first) = soon(front.read(Box::from([0_u8; 2]))).await;
        assert_eq!((count.expect("read"), &first[..]), (2, &b"on"[..]));
        client.shutdown(Shutdown::Write).await.expect("connected");
        assert_eq!(soon(io::copy(&mut front, &mut back)).await.expect("copied"), 6);
        drop(back);
        assert_eq!(soon(receive(&mut server)).await, b"e, two");
    });
}

#[test]
fn a_side_that_takes_nothing_holds_the_other_up() {
    clean(async || {
        let ((mut client, mut front), (mut back, mut server)) = (connected().await, connected().await);
        for socket in [&client, &front, &back, &server] {
            socket.set_send_buffer_size(64 << 10).expect("set");
            socket.set_recv_buffer_size(64 << 10).expect("set");
        }
        let proxy = corering::spawn(async move { net::proxy(&mut front, &mut back).await });
        const LONG: usize = 3 << 20;
        let mut write = client.write_all(vec![5; LONG]);
        // Far more than is needed for all of it, if it were taken.
        assert!(!for_turns(&mut write, 300).await, "nobody has taken it");
        let sink = corering::spawn(async move {
            let mut count = 0;
            while let Some(chunk) = server.recv().await.expect("received") {
                assert!(chunk.iter().all(|byte| *byte == 5));
                count += chunk.len();
            }
            count
        });
        soon(write).await.0.expect("sent");
        client.shutdown(Shutdown::Write).await.expect("connected");
        assert_eq!(soon(sink).await.expect("no panic"), LONG);
        client.close().await.expect("closed");
        soon(proxy).await.expect("no panic").expect("no error");
    });
}

#[test]
fn nothing_may_move_for_so_long_and_each_byte_counts() {
    scene(async || {
        let ((mut client, mut front), (mut back, _server)) = (connected().await, connected().await);
        let proxy = corering::spawn(async move {
            let mut proxy = net::proxy(&mut front, &mut back).idle_timeout(SECOND);
            let ended = (&mut proxy).await;
            (ended.map(drop).map_err(|error| error.kind()), proxy.sent(), Instant::now())
        });
        for _ in 0..3 {
            sleep(Duration::from_millis(900)).await;
            client.write_all("x").await.0.expect("sent");
        }
        let last = Instant::now();
        let (ended, sent, at) = proxy.await.expect("no panic");
        assert_eq!((ended, sent), (Err(ErrorKind::TimedOut), (3, 0)));
        let idle = at - last;
        assert!(idle >= SECOND && idle < SECOND + Duration::from_millis(100), "{idle:?}");
    });
}

#[test]
fn a_reset_ends_a_proxy_and_what_was_sent_is_known() {
    clean(async || {
        let (listener_address, listener) = {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            (listener.local_addr().expect("an address"), listener)
        };
        for late in [false, true] {
            let mut peer = crate::visit(listener_address).await;
            let (mut front, _) = soon(listener.accept()).await.expect("a connection");
            let (mut back, mut server) = connected().await;
            peer.write_all(b"hello").await.expect("sent");
            let mut proxy = net::proxy(&mut front, &mut back);
            if late {
                assert!(!for_turns(&mut proxy, 20).await);
                peer.reset();
                let kind = soon(&mut proxy).await.expect_err("reset").kind();
                assert_eq!((kind, proxy.sent()), (ErrorKind::ConnectionReset, (5, 0)));
            } else {
                peer.reset();
                // The reset has overtaken what was before it, or it has not.
                let kind = soon(&mut proxy).await.expect_err("reset").kind();
                assert_eq!(kind, ErrorKind::ConnectionReset);
            }
            let sent = proxy.sent().0;
            drop(proxy);
            drop((front, back));
            assert_eq!(soon(receive(&mut server)).await.len() as u64, sent);
        }
        listener.close().await.expect("closed");
    });
}

#[test]
fn streams_of_both_families_are_joined() {
    clean(async || {
        let ((mut client, mut front), (mut back, mut server)) =
            (connected().await, UnixStream::pair().expect("a pair"));
        let bytes = noise(300_000);
        let proxy = corering::spawn(async move { net::proxy(&mut front, &mut back).await });
        let there = corering::spawn({
            let bytes = bytes.clone();
            async move {
                send(&mut client, bytes).await;
                receive(&mut client).await
            }
        });
        let received = soon(receive(&mut server)).await;
        assert!(received == bytes);
        send(&mut server, received).await;
        assert!(soon(there).await.expect("no panic") == bytes);
        let sent = soon(proxy).await.expect("no panic").expect("no error");
        assert_eq!(sent, (300_000, 300_000));
    });
}

fn file_of(folder: &Folder, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join("file");
    put_into(&path, bytes);
    path
}

#[test]
fn a_part_of_a_file_is_sent_and_it_may_end_before() {
    const LONG: u64 = 700_000;
    clean(async || {
        let folder = folder();
        let bytes = noise(LONG as usize);
        let file = fs::File::open(file_of(&folder, &bytes)).await.expect("there");
        let parts =
            [(0, LONG), (0, 0), (17, 18), (123_456, 600_001), (LONG - 5, LONG + 5), (LONG, LONG + 1), (5, u64::MAX)];
        for (start, end) in parts {
            let (mut ours, mut theirs) = connected().await;
            let reader = corering::spawn(async move { receive(&mut theirs).await });
            let sent = soon(ours.send_file(&file, start..end)).await.expect("sent");
            assert_eq!(sent, end.min(LONG) - start, "{start}..{end}");
            ours.close().await.expect("closed");
            let received = soon(reader).await.expect("no panic");
            assert!(received == bytes[start as usize..end.min(LONG) as usize], "{start}..{end}");
        }
        assert_eq!(file.position(), 0, "it has not moved");
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(soon(ours.send_file(&file, 7..=9)).await.expect("sent"), 3);
        drop(ours);
        let mut theirs = theirs;
        assert_eq!(soon(receive(&mut theirs)).await, &bytes[7..=9]);
        file.close().await.expect("closed");
    });
}

#[test]
fn a_file_whose_sending_is_dropped_goes_on_where_it_was() {
    const LONG: u64 = 600_000;
    for by_copy in [false, true] {
        clean(async move || {
            let folder = folder();
            let bytes = noise(LONG as usize);
            let mut file = fs::File::open(file_of(&folder, &bytes)).await.expect("there");
            let (mut ours, mut theirs) = connected().await;
            narrow(&ours);
            let reader = corering::spawn(async move {
                let mut received = Vec::new();
                while let Some(chunk) = theirs.recv().await.expect("received") {
                    received.extend_from_slice(&chunk);
                    turn().await;
                }
                received
            });
            let (mut random, mut sent) = (Random::new(7), 0);
            while sent < LONG {
                if by_copy {
                    for_turns(&mut pin!(io::copy(&mut file, &mut ours)), 1 + random.below(9)).await;
                    sent = file.position();
                } else {
                    let mut send = ours.send_file(&file, sent..);
                    for_turns(&mut send, 1 + random.below(9)).await;
                    sent += send.sent();
                }
            }
            assert_eq!(sent, LONG);
            drop(ours);
            assert!(soon(reader).await.expect("no panic") == bytes);
            file.close().await.expect("closed");
        });
    }
}

#[test]
fn a_file_that_cannot_be_sent_says_why() {
    clean(async || {
        let folder = folder();
        let path = file_of(&folder, &noise(100_000));
        let file = fs::File::open(&path).await.expect("there");
        let (mut ours, theirs) = connected().await;
        theirs.close().await.expect("closed");
        let mut send = ours.send_file(&file, ..);
        let mut refused = soon(&mut send).await.map_err(|error| error.kind());
        // What went out before the other side had gone for good is answered by a reset.
        for _ in 0..50 {
            if refused.is_ok() {
                turn().await;
                refused = soon(ours.send_file(&file, ..)).await.map_err(|error| error.kind());
            }
        }
        assert!(matches!(refused, Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{refused:?}");
        let only_writes = fs::File::options().write(true).open(&path).await.expect("there");
        let (mut ours, _theirs) = connected().await;
        let error = soon(ours.send_file(&only_writes, ..)).await.expect_err("not opened to be read");
        assert_eq!(error.raw_os_error(), Some(9), "EBADF");
    });
}

/// Bytes that are overwritten as soon as they are given back.
struct Scribbled(Vec<u8>);

impl Drop for Scribbled {
    fn drop(&mut self) {
        self.0.fill(0xee);
    }
}

impl IoBuf for Scribbled {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn what_is_not_copied_arrives_as_it_was_when_it_was_sent() {
    clean(async || {
        for len in [1, 16 * 1024 - 1, 16 * 1024, 300_000, 1_000_000] {
            // The kernel tells for each connection whether it copies: so each has its own.
            let (mut ours, mut theirs) = connected().await;
            narrow(&ours);
            let reader = corering::spawn(async move { receive(&mut theirs).await });
            for _ in 0..2 {
                let (written, buffer) = soon(ours.write_zero_copy(Scribbled(noise(len)))).await;
                written.expect("sent");
                assert!(buffer.0 == noise(len));
            }
            drop(ours);
            let received = soon(reader).await.expect("no panic");
            assert!(received == [noise(len), noise(len)].concat(), "{len} bytes");
        }
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        soon(ours.write_zero_copy(noise(20_000))).await.0.expect("it is copied");
        drop(ours);
        assert!(soon(receive(&mut theirs)).await == noise(20_000));
    });
}

#[test]
fn what_is_not_copied_and_dropped_goes_out_whole_before_what_comes_later() {
    const LONG: usize = 600_000;
    clean(async || {
        for turns in 0..6 {
            let (mut ours, mut theirs) = connected().await;
            narrow(&ours);
            theirs.set_recv_buffer_size(64 << 10).expect("set");
            let mut write = ours.write_zero_copy(Scribbled(noise(LONG)));
            let over = for_turns(&mut write, 1 + turns).await;
            assert!(!over, "nobody has read it");
            drop(write);
            let reader = corering::spawn(async move { receive(&mut theirs).await });
            soon(ours.write_all("behind")).await.0.expect("sent");
            drop(ours);
            let received = soon(reader).await.expect("no panic");
            assert!(received == [&noise(LONG)[..], b"behind"].concat(), "dropped after {turns} turns");
        }
        // One on which all is copied, as the first answer says.
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut write = ours.write_zero_copy(Scribbled(noise(20_000)));
        assert!(!poll_once(&mut write).await);
        drop(write);
        soon(ours.write_all("behind")).await.0.expect("sent");
        drop(ours);
        assert!(soon(receive(&mut theirs)).await == [&noise(20_000)[..], b"behind"].concat());
    });
}

#[test]
fn what_is_not_copied_holds_nobody_up_who_has_dropped_it() {
    clean(async || {
        // A part of it has gone, or all, and nobody has read any of that.
        for len in [8_000_000, 20_000] {
            let (mut ours, mut theirs) = connected().await;
            theirs.set_recv_buffer_size(64 << 10).expect("set");
            let mut write = ours.write_zero_copy(Scribbled(noise(len)));
            for_turns(&mut write, 5).await;
            drop(write);
            soon(ours.close()).await.expect("it waits for nobody");
            let received = soon(receive(&mut theirs)).await;
            assert!(received == noise(len)[..received.len()], "of {len} bytes");
            assert!(received.len() == len || len > 1_000_000);
        }
    });
}

#[test]
fn a_buffer_that_is_not_copied_comes_back_from_who_goes_before_reading() {
    const LONG: usize = 8_000_000;
    clean(async || {
        let (mut ours, theirs) = connected().await;
        theirs.set_recv_buffer_size(64 << 10).expect("set");
        let mut write = ours.write_zero_copy(Scribbled(noise(LONG)));
        assert!(!for_turns(&mut write, 5).await);
        drop(theirs);
        let (written, buffer) = soon(write).await;
        let kind = written.expect_err("nobody is there").kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
        assert!(buffer.0 == noise(LONG));
    });
}
