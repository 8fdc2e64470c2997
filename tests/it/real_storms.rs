//! Clients by the thousand, in other threads: they break off, are given up, and meet a server that gives its accepts up.
//!
//! `CORERING_SECONDS` says how long the last of these goes on.

use std::future::{Future as _, poll_fn};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use corering::net::{TcpListener, TcpStream};
use corering::select;
use corering::time::{sleep, timeout};
use socket2::{Domain, SockRef, Socket, Type};

use crate::{Random, clean, poll_once, soon, turn};

const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";
const CLOSE_WAIT: &str = "08";

/// How many sockets of this machine have that port at one end (this one, or the other), and are in one of those states.
fn sockets_at(port: u16, column: usize, states: &[&str]) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let end = format!(":{port:04X}");
    let counts = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(column).is_some_and(|address| address.ends_with(&end)) && states.contains(&words[3])
    };
    table.lines().filter(counts).count()
}

const HERE: usize = 1;
const THERE: usize = 2;

async fn until_none(port: u16, column: usize, states: &[&str]) {
    soon(async {
        while sockets_at(port, column, states) > 0 {
            turn().await;
        }
    })
    .await;
}

#[test]
fn resets_by_the_thousand_before_they_are_accepted_keep_nobody_out() {
    const RESETS: usize = 10_000;
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = Arc::new(AtomicBool::new(false));
        let clients = std::thread::spawn({
            let served = served.clone();
            move || {
                for _ in 0..RESETS {
                    let client = std::net::TcpStream::connect(address).expect("a listener");
                    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
                }
                let mut good = std::net::TcpStream::connect(address).expect("a listener");
                good.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
                let answered = good.write_all(b"good").and_then(|()| good.read_exact(&mut [0; 4]));
                served.store(true, Ordering::SeqCst);
                answered.expect("served");
            }
        });
        while !served.load(Ordering::SeqCst) {
            let Ok(accepted) = timeout(Duration::from_millis(1), listener.accept()).await else { continue };
            let (mut stream, _) = accepted.expect("the listener goes on");
            corering::spawn(async move {
                // Most of them are over.
                while let Ok(Some(chunk)) = stream.recv().await {
                    if stream.write_all(chunk).await.0.is_err() {
                        break;
                    }
                }
            });
        }
        clients.join().expect("the last was served");
        listener.close().await.expect("closed");
        until_none(address.port(), HERE, &[ESTABLISHED, CLOSE_WAIT]).await;
    });
}

#[test]
fn attempts_by_the_thousand_that_are_given_up_leave_no_socket() {
    const AT_ONCE: usize = 100;
    const ROUNDS: usize = 100;
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    full.listen(0).expect("listening");
    let address = full.local_addr().expect("an address").as_socket().expect("of IP");
    // The one for whom there is room.
    let _guest = std::net::TcpStream::connect(address).expect("there");
    clean(async || {
        let mut random = Random::new(11);
        for _ in 0..ROUNDS {
            let mut attempts: Vec<_> = (0..AT_ONCE).map(|_| Box::pin(TcpStream::connect(address))).collect();
            for attempt in &mut attempts {
                let polled = poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx))).await;
                assert!(polled.is_pending(), "nobody lets it in");
            }
            // Some are with the kernel when they are dropped, some are not.
            let rest = attempts.split_off(random.below(AT_ONCE as u64) as usize);
            drop(attempts);
            if random.below(4) > 0 {
                sleep(Duration::from_micros(random.below(1000))).await;
            }
            drop(rest);
        }
        until_none(address.port(), THERE, &[SYN_SENT]).await;
    });
}

/// A server selects between an accept and a moment, while clients connect: on many runtimes of this kind a connection that
/// the kernel has accepted for the accept that lost is gone, and its client waits for ever.
#[test]
fn whoever_connects_while_accepts_lose_against_a_moment_is_served() {
    const CLIENTS: usize = 3;
    let asked = std::env::var("CORERING_SECONDS").ok().map(|seconds| seconds.parse().expect("a number"));
    let time = Duration::from_secs_f64(asked.unwrap_or(1.5));
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (served, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let (served, gone, stop) = (served.clone(), gone.clone(), stop.clone());
                std::thread::spawn(move || {
                    let mut random = Random::new(seed as u64 + 7);
                    let mut visit = || -> std::io::Result<()> {
                        let mut stream = std::net::TcpStream::connect(address)?;
                        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                        let number = random.below(u64::MAX).to_le_bytes();
                        stream.write_all(&number)?;
                        let mut back = [0; 8];
                        stream.read_exact(&mut back)?;
                        assert_eq!(back, number, "the bytes of another");
                        // So that ports do not run out.
                        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
                    };
                    let mut result = Ok(());
                    while result.is_ok() && !stop.load(Ordering::SeqCst) {
                        result = visit();
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    gone.fetch_add(1, Ordering::SeqCst);
                    result.expect("served");
                })
            })
            .collect();
        let (mut random, began) = (Random::new(3), Instant::now());
        let (mut accepted, mut given_up) = (0, 0);
        while gone.load(Ordering::SeqCst) < CLIENTS {
            stop.store(began.elapsed() > time, Ordering::SeqCst);
            let moment = Duration::from_micros(random.below(100));
            let next = match random.below(3) {
                0 => select! {
                    next = listener.accept() => Some(next),
                    () = sleep(moment) => None,
                },
                1 => timeout(moment, listener.accept()).await.ok(),
                // Dropped after one look, with or without a turn: at worst as its connection comes.
                _ => {
                    let mut accept = listener.accept();
                    let polled = poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut accept).poll(cx))).await;
                    if polled.is_pending() {
                        turn().await;
                    }
                    match polled {
                        Poll::Ready(next) => Some(next),
                        Poll::Pending => None,
                    }
                }
            };
            match next {
                None => given_up += 1,
                Some(next) => {
                    accepted += 1;
                    let (mut stream, _) = next.expect("accepted");
                    corering::spawn(async move {
                        let (count, bytes) = stream.read(Vec::with_capacity(8)).await;
                        assert_eq!(count?, 8);
                        stream.write_all(bytes).await.0?;
                        // Until it breaks off.
                        drop(stream.recv().await);
                        stream.close().await
                    });
                }
            }
        }
        for client in clients {
            client.join().expect("each was served");
        }
        let mut last = listener.accept();
        assert!(!poll_once(&mut last).await, "nobody is left");
        drop(last);
        assert_eq!(accepted, served.load(Ordering::SeqCst));
        assert!(accepted > 0 && given_up > 0, "{accepted} accepted, {given_up} given up");
        listener.close().await.expect("closed");
        until_none(address.port(), HERE, &[ESTABLISHED, CLOSE_WAIT]).await;
        println!("{accepted} served, {given_up} accepts given up");
    });
}
