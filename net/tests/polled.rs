//! Connections as libraries poll them: nothing is lost, whoever gives up a read or a write, and in whatever pieces.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test binary, whose other side are threads")]

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use corering_net::{PollStream, TcpListener};
use corering_runtime::time::{sleep, timeout};

const LONG: Duration = Duration::from_secs(20);

/// Runs on a core, and says if operations or tasks are left.
fn run<T>(future: impl Future<Output = T>) -> T {
    corering_runtime::run(async {
        let output = timeout(LONG, future).await.expect("in time");
        while corering_runtime::metrics().expect("a core").operations > 0 {
            sleep(Duration::from_micros(50)).await;
        }
        output
    })
    .expect("a core")
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index ^ index >> 8 ^ index >> 16) as u8).collect()
}

async fn connected<T: Send + 'static>(
    other: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
) -> (PollStream, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let other = std::thread::spawn(move || other(std::net::TcpStream::connect(address).expect("it listens")));
    let (stream, _) = listener.accept().await.expect("a connection");
    (PollStream::new(stream), other)
}

/// How a library reads and writes.
trait Way {
    fn poll_read(stream: &mut PollStream, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(stream: &mut PollStream, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    fn poll_flush(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_shutdown(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

struct Futures;
struct Tokio;
struct Hyper;

impl Way for Futures {
    fn poll_read(stream: &mut PollStream, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        futures_io::AsyncRead::poll_read(Pin::new(stream), cx, room)
    }

    fn poll_write(stream: &mut PollStream, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match parts {
            [part] => futures_io::AsyncWrite::poll_write(Pin::new(stream), cx, part),
            parts => futures_io::AsyncWrite::poll_write_vectored(Pin::new(stream), cx, parts),
        }
    }

    fn poll_flush(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_flush(Pin::new(stream), cx)
    }

    fn poll_shutdown(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(Pin::new(stream), cx)
    }
}

impl Way for Tokio {
    fn poll_read(stream: &mut PollStream, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = tokio::io::ReadBuf::new(room);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(stream), cx, &mut room);
        read.map_ok(|()| room.filled().len())
    }

    fn poll_write(stream: &mut PollStream, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match parts {
            [part] => tokio::io::AsyncWrite::poll_write(Pin::new(stream), cx, part),
            parts => tokio::io::AsyncWrite::poll_write_vectored(Pin::new(stream), cx, parts),
        }
    }

    fn poll_flush(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(stream), cx)
    }

    fn poll_shutdown(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(stream), cx)
    }
}

impl Way for Hyper {
    fn poll_read(stream: &mut PollStream, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = hyper::rt::ReadBuf::new(room);
        let read = hyper::rt::Read::poll_read(Pin::new(stream), cx, room.unfilled());
        read.map_ok(|()| room.filled().len())
    }

    fn poll_write(stream: &mut PollStream, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match parts {
            [part] => hyper::rt::Write::poll_write(Pin::new(stream), cx, part),
            parts => hyper::rt::Write::poll_write_vectored(Pin::new(stream), cx, parts),
        }
    }

    fn poll_flush(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(Pin::new(stream), cx)
    }

    fn poll_shutdown(stream: &mut PollStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(Pin::new(stream), cx)
    }
}

/// The bytes that come back are those that were sent, in pieces drawn from the seed, while reads and writes are given up
/// at random.
async fn there_and_back<W: Way>(seed: u64, behind: Option<usize>) {
    const BYTES: usize = 1_000_000;
    let (stream, echo) = connected(|mut stream| {
        let (mut part, mut count) = (vec![0; 50_000], 0);
        loop {
            let read = stream.read(&mut part).expect("readable");
            if read == 0 {
                stream.shutdown(Shutdown::Write).expect("connected");
                return count;
            }
            count += read;
            stream.write_all(&part[..read]).expect("writable");
        }
    })
    .await;
    let mut stream = match behind {
        Some(bytes) => stream.write_behind(bytes),
        None => stream,
    };
    let (sent, mut random) = (content(BYTES), Random(seed));
    let (mut received, mut done, mut is_shut) = (Vec::new(), 0, false);
    let mut room = vec![0; 100_000];
    loop {
        // One poll of each, of which any may be the last for some time.
        let step = poll_fn(|cx| {
            let mut progress = false;
            if done < BYTES && random.below(3) > 0 {
                let middle = BYTES.min(done + random.below(40_000));
                let end = BYTES.min(middle + 1 + random.below(90_000));
                let parts = [IoSlice::new(&sent[done..middle]), IoSlice::new(&sent[middle..end])];
                let parts = if middle == done { &parts[1..] } else { &parts[..] };
                if let Poll::Ready(count) = W::poll_write(&mut stream, cx, parts) {
                    done += count.expect("writable");
                    progress = true;
                }
            }
            if done == BYTES && !is_shut && W::poll_shutdown(&mut stream, cx).is_ready() {
                (is_shut, progress) = (true, true);
            }
            if random.below(4) == 0 {
                // Whether it is done does not matter: it moves on.
                let _ = W::poll_flush(&mut stream, cx);
            }
            if random.below(3) > 0 {
                let most = 1 + random.below(room.len());
                if let Poll::Ready(count) = W::poll_read(&mut stream, cx, &mut room[..most]) {
                    return Poll::Ready(Some(count.expect("readable")));
                }
            }
            if progress { Poll::Ready(None) } else { Poll::Pending }
        });
        match timeout(Duration::from_millis(1), step).await {
            Ok(Some(0)) => break,
            Ok(Some(count)) => received.extend_from_slice(&room[..count]),
            Ok(None) | Err(_) => {}
        }
    }
    assert_eq!(echo.join().expect("ended"), BYTES);
    assert!(received == sent, "{} bytes came back, and not those that were sent", received.len());
    let mut stream = stream.into_inner().await.expect("all was flushed");
    assert!(stream.recv().await.expect("readable").is_none(), "the end of the stream stays");
}

#[test]
fn what_is_sent_comes_back_in_whatever_pieces_and_whoever_gives_up() {
    for seed in 1..4 {
        for behind in [None, Some(1000), Some(100_000)] {
            run(there_and_back::<Futures>(seed, behind));
            run(there_and_back::<Tokio>(seed + 10, behind));
            run(there_and_back::<Hyper>(seed + 20, behind));
        }
    }
}

#[test]
fn what_has_arrived_stays_with_the_connection_when_it_is_given_back() {
    run(async {
        let (mut stream, other) = connected(|mut stream| stream.write_all(b"hello, world").expect("writable")).await;
        let mut room = [0; 5];
        let count = poll_fn(|cx| Tokio::poll_read(&mut stream, cx, &mut room)).await.expect("readable");
        assert_eq!(&room[..count], &b"hello"[..count]);
        other.join().expect("ended");
        let mut stream = stream.into_inner().await.expect("nothing is behind");
        let mut rest = Vec::new();
        while let Some(chunk) = stream.recv().await.expect("readable") {
            rest.extend_from_slice(&chunk);
        }
        assert_eq!(rest, b"hello, world"[count..]);
    });
}

#[test]
fn a_write_waits_for_room_and_goes_on_when_there_is_some() {
    run(async {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (mut stream, other) = connected(move |mut stream| {
            wait.recv().expect("told");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("readable");
            all
        })
        .await;
        let (sent, mut done) = (content(20_000_000), 0);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(count) = Futures::poll_write(&mut stream, &mut cx, &[IoSlice::new(&sent[done..])]) {
            done += count.expect("writable");
        }
        assert!(done < sent.len(), "nobody reads: the socket is full");
        go.send(()).expect("it waits");
        while done < sent.len() {
            let write = poll_fn(|cx| Futures::poll_write(&mut stream, cx, &[IoSlice::new(&sent[done..])]));
            done += write.await.expect("writable");
        }
        poll_fn(|cx| Futures::poll_shutdown(&mut stream, cx)).await.expect("connected");
        // Not in this thread: the other one may still be reading.
        while !other.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(other.join().expect("ended") == sent);
    });
}

#[test]
fn what_is_written_behind_is_bounded_and_its_errors_are_told_later() {
    run(async {
        let (stream, other) = connected(|stream| {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
            stream
        })
        .await;
        let mut stream = stream.write_behind(10_000);
        let part = content(1 << 20);
        let mut cx = Context::from_waker(Waker::noop());
        let taken = Futures::poll_write(&mut stream, &mut cx, &[IoSlice::new(&part)]);
        assert!(matches!(taken, Poll::Ready(Ok(10_000))), "{taken:?}");
        let peer = other.join().expect("ended");
        // Resets.
        drop(peer);
        let error = loop {
            match poll_fn(|cx| Futures::poll_write(&mut stream, cx, &[IoSlice::new(&part)])).await {
                Ok(count) => assert!((1..=10_000).contains(&count), "{count}"),
                Err(error) => break error,
            }
        };
        assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}");
        // Told once; then whatever comes of the next.
        let flushed = poll_fn(|cx| Futures::poll_flush(&mut stream, cx)).await;
        assert!(flushed.is_ok(), "{flushed:?}");
    });
}

#[test]
fn a_dropped_write_of_the_connection_is_waited_for() {
    run(async {
        let (stream, other) = connected(|stream| stream).await;
        let mut ours = stream.into_inner().await.expect("nothing is behind");
        let mut theirs = other.join().expect("ended");
        let first = content(8_000_000);
        {
            let mut write = pin!(ours.write_all(first.clone()));
            // Begun, and too long for the socket.
            assert!(poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending())).await);
            sleep(Duration::from_millis(1)).await;
        }
        let mut ours = PollStream::new(ours);
        // There is room now, but the core has not looked.
        let mut begin = vec![0; 3_000_000];
        theirs.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        let mut count = 0;
        while count < begin.len() {
            match theirs.read(&mut begin[count..]) {
                Ok(read) => count += read,
                Err(_) => break,
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        let overtakes = Futures::poll_write(&mut ours, &mut cx, &[IoSlice::new(b"second")]);
        assert!(overtakes.is_pending(), "{overtakes:?}");
        theirs.set_read_timeout(None).expect("a socket");
        let reader = std::thread::spawn(move || {
            let mut all = begin;
            all.truncate(count);
            theirs.read_to_end(&mut all).expect("readable");
            all
        });
        let count = poll_fn(|cx| Futures::poll_write(&mut ours, cx, &[IoSlice::new(b"second")])).await;
        assert_eq!(count.expect("writable"), 6);
        poll_fn(|cx| Futures::poll_shutdown(&mut ours, cx)).await.expect("connected");
        while !reader.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        let all = reader.join().expect("ended");
        assert!(all.starts_with(&first) && all.ends_with(b"second") && all.len() == first.len() + 6);
    });
}

#[test]
fn what_is_behind_goes_out_before_the_connection_is_given_back() {
    run(async {
        let (stream, other) = connected(|mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("readable");
            all
        })
        .await;
        let mut stream = stream.write_behind(100);
        let mut cx = Context::from_waker(Waker::noop());
        for part in [b"one ", b"two "] {
            let taken = Futures::poll_write(&mut stream, &mut cx, &[IoSlice::new(part)]);
            assert!(matches!(taken, Poll::Ready(Ok(4))), "{taken:?}");
        }
        let mut stream = stream.into_inner().await.expect("all is out");
        stream.write_all("three").await.0.expect("writable");
        stream.close().await.expect("closed");
        while !other.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(other.join().expect("ended"), b"one two three");
    });
}

#[test]
fn timers_for_hyper_follow_the_clock_of_the_core() {
    use hyper::rt::Timer as _;
    corering_runtime::Builder::new()
        .paused_time(true)
        .run(async {
            let timer = corering_net::CoreTimer::new();
            let begun = timer.now();
            timer.sleep(Duration::from_secs(3600)).await;
            assert_eq!(timer.now() - begun, Duration::from_secs(3600));
            let mut sleep = timer.sleep_until(begun + Duration::from_secs(7200));
            timer.reset(&mut sleep, begun + Duration::from_secs(3700));
            sleep.await;
            assert_eq!(timer.now() - begun, Duration::from_secs(3700));
        })
        .expect("a core");
}
