//! Order: what was dropped in flight never lands after what was asked for later, and two writes never mix.

use std::ffi::CString;
use std::future::{Future, poll_fn};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::op::{
    Descriptor, Op, OpenAt, Read, Send, SendAll, Sync, Truncate, Write, WriteAll, WriteVectored, chain,
};
use corering::time::timeout;

use crate::{
    clean, folder, found_in, idle, length_of, narrow, pair, pipe_from, pipe_to, poll_once, put_into, soon, turn,
};

const LENGTH: usize = 65536;

/// Polls a future of whatever kind once, and drops it.
async fn begin_and_drop<F: Future>(future: F) {
    let mut future = pin!(future);
    let _ = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
}

/// A new file.
async fn made(path: &Path) -> Descriptor {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no zero byte");
    Op::new(OpenAt::new(path, libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC, 0o600)).await.expect("room")
}

fn is_all(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().all(|found| *found == byte)
}

type Stale = for<'a> fn(&'a mut File) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
type Later = for<'a> fn(&'a mut File, u8) -> Pin<Box<dyn Future<Output = std::io::Result<()>> + 'a>>;

/// What may be dropped, and would change what comes later.
const STALE: &[(&str, Stale)] = &[
    ("write at", |file| Box::pin(async { drop(file.write_at(vec![0xff; LENGTH], 0).await) })),
    ("write of all at", |file| Box::pin(async { drop(file.write_all_at(vec![0xff; LENGTH], 0).await) })),
    ("write of parts", |file| {
        Box::pin(async { drop(file.write_vectored_at(vec![vec![0xff; LENGTH / 2], vec![0xff; LENGTH / 2]], 0).await) })
    }),
    ("write", |file| Box::pin(async { drop(file.write(vec![0xff; LENGTH]).await) })),
    ("write of all", |file| Box::pin(async { drop(file.write_all(vec![0xff; LENGTH]).await) })),
    ("cut", |file| Box::pin(async { drop(file.set_len(10).await) })),
    ("extension", |file| Box::pin(async { drop(file.set_len(2 * LENGTH as u64).await) })),
    ("timed out write", |file| {
        Box::pin(async { drop(timeout(Duration::ZERO, file.write_all_at(vec![0xff; LENGTH], 0)).await) })
    }),
    ("write with a deadline", |file| {
        Box::pin(async { drop(file.write_all_at(vec![0xff; LENGTH], 0).deadline(Duration::from_secs(3600)).await) })
    }),
    ("cancelled write", |file| Box::pin(async { drop(file.write_all_at(vec![0xff; LENGTH], 0).cancel().await) })),
];

/// What is asked for afterwards, and must hold.
const LATER: &[(&str, Later)] = &[
    ("write of all at", |file, byte| Box::pin(async move { file.write_all_at(vec![byte; LENGTH], 0).await.0 })),
    ("write of all", |file, byte| {
        file.set_position(0);
        Box::pin(async move { file.write_all(vec![byte; LENGTH]).await.0 })
    }),
    ("write of parts", |file, byte| {
        Box::pin(async move {
            let parts = vec![vec![byte; LENGTH / 4], vec![byte; 3 * LENGTH / 4]];
            file.write_vectored_at(parts, 0).await.0.map(|count| assert_eq!(count, LENGTH))
        })
    }),
];

#[test]
fn whatever_is_dropped_never_lands_after_a_later_write_to_the_file() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, vec![0; LENGTH]);
        let mut file = File::options().read(true).write(true).open(&path).await.expect("there");
        for round in 0..3_u8 {
            for (stale_name, stale) in STALE {
                for (number, (later_name, later)) in (0..).zip(LATER) {
                    file.set_position(0);
                    begin_and_drop(stale(&mut file)).await;
                    if round > 0 {
                        turn().await;
                    }
                    let byte = round * 10 + number;
                    soon(later(&mut file, byte)).await.expect("written");
                    file.sync_all().await.expect("synced");
                    let bytes = found_in(&path);
                    assert!(is_all(&bytes[..LENGTH], byte), "{stale_name} landed after a later {later_name}");
                }
            }
        }
        file.close().await.expect("closed");
    });
}

#[test]
fn a_read_a_sync_and_a_length_come_after_what_was_dropped() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = File::options().read(true).write(true).create(true).open(&path).await.expect("there");
        for byte in 1..60_u8 {
            begin_and_drop(file.write_all_at(vec![byte; LENGTH], 0)).await;
            match byte % 4 {
                0 => {
                    let (count, bytes) = soon(file.read_at(Vec::with_capacity(LENGTH), 0)).await;
                    assert_eq!(count.expect("read"), LENGTH);
                    assert!(is_all(&bytes, byte), "the read came first");
                }
                1 => {
                    let (count, parts) = soon(file.read_vectored_at(vec![Vec::with_capacity(LENGTH)], 0)).await;
                    assert_eq!(count.expect("read"), LENGTH);
                    assert!(is_all(&parts[0], byte), "the read of parts came first");
                }
                2 => {
                    soon(file.sync_data()).await.expect("synced");
                    assert!(is_all(&found_in(&path), byte), "the sync came first");
                }
                _ => {
                    assert_eq!(soon(file.metadata()).await.expect("known").len(), LENGTH as u64);
                    begin_and_drop(file.set_len(10)).await;
                    assert_eq!(soon(file.metadata()).await.expect("known").len(), 10);
                    soon(file.set_len(0)).await.expect("cut");
                    assert_eq!(length_of(&path), 0);
                }
            }
        }
        // Closing waits, too.
        begin_and_drop(file.write_all_at(vec![77; LENGTH], 0)).await;
        soon(file.close()).await.expect("closed");
        assert!(is_all(&found_in(&path), 77), "it was closed first");
    });
}

/// The writes of one file are done by one worker of the kernel in turn, and a cut by another: only the barrier keeps
/// it from coming in between.
#[test]
fn a_cut_comes_after_all_writes_that_were_dropped() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let file = File::create(&path).await.expect("room");
        for _ in 0..20 {
            let mut writes: Vec<_> = (0..4).map(|_| file.write_all_at(vec![1; 1 << 20], 0)).collect();
            for write in &mut writes {
                assert!(!poll_once(write).await);
            }
            turn().await;
            drop(writes);
            soon(file.set_len(10)).await.expect("cut");
            idle().await;
            assert_eq!(length_of(&path), 10);
        }
    });
}

/// A write that has not even begun when it is dropped, since it waits in a chain.
#[test]
fn a_write_that_is_dropped_in_a_chain_never_lands_after_a_later_one() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let (reader, _writer) = pipe_from().await;
        let file = made(&path).await;
        for round in 1..100_u8 {
            let waits = Op::new(Read::stream(&reader, Vec::with_capacity(8))).always();
            let mut stale = chain((waits, Op::new(WriteAll::at(&file, vec![0xff; LENGTH], 0))));
            assert!(!poll_once(&mut stale).await);
            if round % 2 == 0 {
                turn().await;
            }
            drop(stale);
            soon(Op::new(WriteAll::at(&file, vec![round; LENGTH], 0))).await.0.expect("written");
            idle().await;
            assert!(is_all(&found_in(&path), round), "the dropped write came later");
        }
    });
}

#[test]
fn what_is_appended_stays_in_order_whatever_is_dropped() {
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        let mut file = File::options().append(true).create(true).open(&path).await.expect("there");
        let mut expected = Vec::new();
        for byte in 0..100_u8 {
            let bytes = vec![byte; 3000 + 10 * usize::from(byte)];
            expected.extend_from_slice(&bytes);
            if byte % 2 == 0 {
                begin_and_drop(file.write_all(bytes)).await;
            } else {
                soon(file.write_all(bytes)).await.0.expect("written");
            }
        }
        soon(file.close()).await.expect("closed");
        assert!(found_in(&path) == expected, "not in order, or not whole");
    });
}

#[test]
fn several_who_wait_behind_what_was_dropped_go_on_in_their_order() {
    // Sends in flight at once keep their order only where none has to wait (K25).
    let _special = (crate::quiet_kernel(), crate::tasks_in_order());
    clean(async || {
        let (pipe, mut reader) = pipe_to().await;
        begin_and_drop(Op::new(WriteAll::stream(&pipe, vec![0; 200_000]))).await;
        turn().await;
        let later: Vec<_> =
            (1..=5_u8).map(|byte| corering::spawn(Op::new(WriteAll::stream(&pipe, vec![byte; 10])))).collect();
        turn().await;
        assert!(later.iter().all(|task| !task.is_finished()), "somebody overtook");
        let all = corering::spawn(async move { reader.read_to_end().await });
        for task in later {
            soon(task).await.expect("no panic").0.expect("written");
        }
        soon(pipe.close()).await.expect("closed");
        let all = soon(all).await.expect("no panic").expect("to the end");
        assert!(is_all(&all[..200_000], 0), "something came in between");
        let expected: Vec<u8> = (1..=5).flat_map(|byte| [byte; 10]).collect();
        assert_eq!(all[200_000..], expected);
    });
}

#[test]
fn one_who_waits_behind_what_was_dropped_may_go_and_the_others_get_their_turn() {
    clean(async || {
        let (pipe, mut reader) = pipe_to().await;
        begin_and_drop(Op::new(WriteAll::stream(&pipe, vec![0; 200_000]))).await;
        turn().await;
        let start = |byte: u8| corering::spawn(Op::new(WriteAll::stream(&pipe, vec![byte; 10])));
        let (first, second) = (start(1), start(2));
        let late = Op::new(WriteAll::stream(&pipe, vec![3; 10])).deadline(Duration::from_millis(1));
        let (result, bytes) = soon(late).await;
        assert_eq!((result.expect_err("late").kind(), bytes.len()), (std::io::ErrorKind::TimedOut, 10));
        first.abort();
        let all = corering::spawn(async move { reader.read_to_end().await });
        soon(second).await.expect("no panic").0.expect("written");
        soon(pipe.close()).await.expect("closed");
        let all = soon(all).await.expect("no panic").expect("to the end");
        assert_eq!(all[200_000..], [2; 10]);
    });
}

type First = for<'a> fn(&'a Descriptor) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What goes out is some of the first message (all of it if all was asked for) and then the second, whichever way
/// each is sent, and however far the first had got.
#[test]
fn what_was_dropped_goes_out_before_the_next_whichever_way_it_is_sent() {
    // A vectored write happens whole only where nothing is cut short.
    let _special = crate::quiet_kernel();
    const FIRST: usize = 100_000;
    let firsts: [(&str, bool, First); 5] = [
        ("all", true, |socket| Box::pin(async { drop(Op::new(SendAll::new(socket, vec![1; FIRST])).await) })),
        ("a part", false, |socket| Box::pin(async { drop(Op::new(Send::new(socket, vec![1; FIRST])).await) })),
        ("parts", false, |socket| {
            Box::pin(async { drop(Op::new(WriteVectored::stream(socket, vec![vec![1; FIRST / 2]; 2])).await) })
        }),
        ("a write", false, |socket| Box::pin(async { drop(Op::new(Write::stream(socket, vec![1; FIRST])).await) })),
        ("a chain", true, |socket| {
            let halves = [vec![1; FIRST / 2], vec![1; FIRST / 2]];
            let [first, second] = halves.map(|half| Op::new(SendAll::new(socket, half)));
            Box::pin(async { drop(chain((first, second)).await) })
        }),
    ];
    clean(async || {
        for (name, whole, first) in firsts {
            for way in 0..3 {
                for turns in 0..3 {
                    let (socket, mut peer) = pair().await;
                    narrow(&socket);
                    begin_and_drop(first(&socket)).await;
                    for _ in 0..turns {
                        turn().await;
                    }
                    let reader = corering::spawn(async move { peer.read_to_end().await });
                    let second = vec![2; 1000];
                    match way {
                        0 => soon(Op::new(SendAll::new(&socket, second))).await.0.expect("sent"),
                        1 => soon(Op::new(WriteAll::stream(&socket, second))).await.0.expect("sent"),
                        _ => {
                            let sent = soon(Op::new(WriteVectored::stream(&socket, vec![second]))).await.0;
                            assert_eq!(sent.expect("sent"), 1000);
                        }
                    }
                    soon(socket.close()).await.expect("closed");
                    let all = soon(reader).await.expect("no panic").expect("to the end");
                    let end = all.len() - 1000;
                    assert!(is_all(&all[..end], 1) && is_all(&all[end..], 2), "{name}, {way}: mixed or swapped");
                    assert!(end == FIRST || !whole && end < FIRST, "{name}, {way}: {end} bytes of the first");
                }
            }
        }
    });
}

#[test]
fn a_stream_that_loses_its_writes_to_timeouts_still_carries_them_whole_and_in_order() {
    const LONG: usize = 50_000;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
        let (mut server, _) = soon(listener.accept()).await.expect("a connection");
        narrow(&client);
        let receiver = corering::spawn(async move {
            let mut all = Vec::new();
            while let Some(chunk) = server.recv().await? {
                all.extend_from_slice(&chunk);
            }
            std::io::Result::Ok(all)
        });
        let mut expected = Vec::new();
        for round in 0..60_u8 {
            let message = vec![round; LONG + usize::from(round)];
            expected.extend_from_slice(&message);
            // Submitted by the time that it is given up, or not yet begun.
            let mut write = client.write_all(message);
            while !poll_once(&mut write).await && !write.is_submitted() {
                turn().await;
            }
        }
        client.write_all("end").await.0.expect("sent");
        expected.extend_from_slice(b"end");
        drop(client);
        let all = soon(receiver).await.expect("no panic").expect("received");
        assert!(all == expected, "{} bytes of {}, or not in order", all.len(), expected.len());
        listener.close().await.expect("closed");
    });
}

#[test]
fn the_end_of_a_stream_comes_after_a_write_that_was_dropped() {
    const LONG: usize = 3_000_000;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        for halves in [false, true] {
            let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
            let (mut server, _) = soon(listener.accept()).await.expect("a connection");
            let mut write = client.write_all(vec![7; LONG]);
            while !poll_once(&mut write).await && !write.is_submitted() {
                turn().await;
            }
            drop(write);
            let end = corering::spawn(async move {
                if halves {
                    let (read, mut write) = client.into_split();
                    write.shutdown().await.expect("connected");
                    return read.reunite(write).expect("of one stream");
                }
                client.shutdown(corering::net::Shutdown::Write).await.expect("connected");
                client
            });
            turn().await;
            let mut received = 0;
            while let Some(chunk) = soon(server.recv()).await.expect("received") {
                received += chunk.len();
            }
            assert_eq!(received, LONG);
            soon(end).await.expect("no panic").close().await.expect("closed");
        }
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_read_that_is_dropped_holds_nothing_up() {
    clean(async || {
        let (pipe, _writer) = pipe_from().await;
        begin_and_drop(Op::new(Read::stream(&pipe, Vec::with_capacity(8)))).await;
        assert!(pipe.has_orphans());
        let settled = poll_fn(|cx| Poll::Ready(pipe.poll_settled(cx).is_ready())).await;
        assert!(settled, "a read changes nothing");
        idle().await;
        assert!(!pipe.has_orphans());

        let folder = folder();
        let path = folder.join("file");
        let file = made(&path).await;
        begin_and_drop(Op::new(Truncate::to(&file, 10))).await;
        let settled = poll_fn(|cx| Poll::Ready(file.poll_settled(cx).is_ready())).await;
        assert!(!settled, "a cut changes something");
        soon(Op::new(Sync::all(&file))).await.expect("synced");
        assert_eq!(length_of(&path), 10);
    });
}
