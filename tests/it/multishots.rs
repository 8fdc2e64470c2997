//! Multishots that are dropped, closed, cancelled or not fetched from while completions queue up.

use std::future::poll_fn;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use corering::Builder;
use corering::buf::Chunk;
use corering::op::{AcceptMulti, Descriptor, Multishot, Op, ReceiveMulti, ReceivePooled};

use crate::life::{poll_once, turn};
use crate::{clean, clean_on, idle, soon};

/// A pair of sockets that keep messages apart.
fn messages() -> (Descriptor, UnixStream) {
    let mut fds = [0; 2];
    // SAFETY: there is room for two descriptors.
    let made =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: both are new, and nobody else's.
    let [ours, theirs] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (Descriptor::new(ours), theirs.into())
}

async fn next(items: &mut Multishot<ReceiveMulti>) -> std::io::Result<Chunk> {
    soon(poll_fn(|cx| items.poll_next(cx))).await
}

fn number_in(chunk: &Chunk) -> u32 {
    u32::from_le_bytes(chunk[..].try_into().expect("one message"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Dropped,
    DroppedElsewhere,
    Closed,
}

#[test]
fn connections_that_a_multishot_had_accepted_are_closed_with_it_and_the_others_stay() {
    clean(async || {
        for (round, end) in [End::Dropped, End::DroppedElsewhere, End::Closed].into_iter().cycle().take(30).enumerate()
        {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let socket = Descriptor::new(OwnedFd::from(listener.try_clone().expect("a copy")));
            let mut accepts = Multishot::new(AcceptMulti::new(&socket));
            assert!(!poll_once(&mut poll_fn(|cx| accepts.poll_next(cx))).await);
            let connect = || TcpStream::connect(listener.local_addr().expect("an address")).expect("there");
            let mut clients: Vec<_> = (0..4).map(|_| connect()).collect();
            // Not accepted yet, accepted and not reported, queued.
            for _ in 0..round % 4 {
                turn().await;
            }
            clients.extend((0..4).map(|_| connect()));
            match end {
                End::Dropped => drop(accepts),
                End::DroppedElsewhere => std::thread::spawn(move || drop(accepts)).join().expect("no panic"),
                End::Closed => soon(accepts.close()).await,
            }
            idle().await;
            // What nobody fetched is closed in the background: that has to reach the kernel.
            turn().await;
            // Every client is either gone, or waits for whoever accepts next.
            listener.set_nonblocking(true).expect("set");
            let mut waiting = Vec::new();
            while let Ok((server, _)) = listener.accept() {
                waiting.push(server);
            }
            drop(socket);
            let mut closed = 0;
            for client in &mut clients {
                let here = client.local_addr().expect("an address");
                if waiting.iter().any(|server| server.peer_addr().expect("an address") == here) {
                    continue;
                }
                client.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
                let ended = client.read(&mut [0]);
                assert!(
                    matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
                    "{end:?}, {} turns: neither closed nor waiting, but {ended:?}",
                    round % 4
                );
                closed += 1;
            }
            assert_eq!(closed + waiting.len(), clients.len());
        }
    });
}

#[test]
fn buffers_that_a_multishot_had_filled_come_home_with_it() {
    const BUFFERS: u32 = 32;
    clean_on(Builder::new().buffers(BUFFERS, 64), async || {
        for (round, end) in [End::Dropped, End::DroppedElsewhere, End::Closed].into_iter().cycle().take(60).enumerate()
        {
            let (socket, mut peer) = messages();
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            turn().await;
            for number in 0..10_u32 {
                peer.write_all(&number.to_le_bytes()).expect("room");
            }
            for _ in 0..round % 4 {
                turn().await;
            }
            if round % 2 == 0 && round % 4 > 0 {
                assert_eq!(number_in(&next(&mut items).await.expect("received")), 0);
            }
            match end {
                End::Dropped => drop(items),
                End::DroppedElsewhere => std::thread::spawn(move || drop(items)).join().expect("no panic"),
                End::Closed => soon(items.close()).await,
            }
            idle().await;
        }
        // All of them are there: each of so many receives finds one, before any is fetched.
        let (socket, mut peer) = messages();
        let mut receives: Vec<_> =
            (0..BUFFERS).map(|_| Op::new(ReceivePooled::new(&socket, 1).expect("a pool"))).collect();
        for receive in &mut receives {
            assert!(!poll_once(receive).await);
            peer.write_all(&[1]).expect("room");
        }
        for _ in 0..4 {
            turn().await;
        }
        for receive in receives {
            soon(receive).await.expect("a buffer was lost");
        }
    });
}

#[test]
fn what_was_queued_before_a_cancel_is_fetched_before_its_error() {
    clean(async || {
        let (socket, mut peer) = messages();
        for _ in 0..20 {
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            turn().await;
            for number in 0..10_u32 {
                peer.write_all(&number.to_le_bytes()).expect("room");
            }
            turn().await;
            socket.cancel_all();
            turn().await;
            for number in 0..10 {
                assert_eq!(number_in(&next(&mut items).await.expect("received before")), number);
            }
            let error = next(&mut items).await.expect_err("cancelled");
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            // It is armed again by whoever goes on.
            peer.write_all(&77_u32.to_le_bytes()).expect("room");
            assert_eq!(number_in(&next(&mut items).await.expect("received")), 77);
        }
    });
}

#[test]
fn a_multishot_that_nobody_fetches_from_is_stopped_and_goes_on_without_a_gap() {
    clean_on(Builder::new().buffers(2048, 64), async || {
        let (socket, mut peer) = messages();
        peer.set_nonblocking(true).expect("set");
        let mut items = Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"));
        let (mut written, mut fetched) = (0_u32, 0_u32);
        for _ in 0..4 {
            assert!(!poll_once(&mut poll_fn(|cx| items.poll_next(cx))).await);
            // As many as are taken in by the multishot, and lie in the socket.
            let mut before = u32::MAX;
            while std::mem::replace(&mut before, written) != written {
                while peer.write_all(&written.to_le_bytes()).is_ok() {
                    written += 1;
                }
                for _ in 0..10 {
                    turn().await;
                }
            }
            let taken = written - fetched;
            assert!((256..800).contains(&taken), "{taken} messages were taken in, and nobody fetched them");
            while fetched < written {
                assert_eq!(number_in(&next(&mut items).await.expect("received")), fetched);
                fetched += 1;
            }
        }
        drop(peer);
        assert!(next(&mut items).await.expect("the end").is_empty());
    });
}

#[test]
fn several_tasks_that_wait_for_one_multishot_share_what_comes() {
    clean(async || {
        let (socket, mut peer) = messages();
        let items =
            std::rc::Rc::new(std::cell::RefCell::new(Multishot::new(ReceiveMulti::new(&socket, 1).expect("a pool"))));
        let start = || {
            let items = items.clone();
            corering::spawn(poll_fn(move |cx| items.borrow_mut().poll_next(cx)))
        };
        let (first, second, third) = (start(), start(), start());
        turn().await;
        // The one who waited first is gone: its turn is not lost.
        first.abort();
        for number in [1_u32, 2] {
            peer.write_all(&number.to_le_bytes()).expect("room");
        }
        let mut got = [soon(second).await, soon(third).await]
            .map(|chunk| number_in(&chunk.expect("no panic").expect("received")));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}
