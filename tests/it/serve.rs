//! Servers: what they accept, what they count, and how they end.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{self, TcpListener, TcpStream};
use corering::sync::Event;

use crate::{OnDrop, alive, clean, poll_once, soon, told, turn, visit};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

async fn echo(mut stream: TcpStream, _: SocketAddr) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.write_all(chunk).await.0?;
    }
    Ok(())
}

/// An event to end a server by.
fn stop() -> (Rc<Event>, impl Future<Output = ()>) {
    let stop = Rc::new(Event::new());
    (stop.clone(), async move { stop.wait().await })
}

async fn until(mut is_so: impl FnMut() -> bool) {
    soon(async {
        while !is_so() {
            turn().await;
        }
    })
    .await;
}

#[test]
fn after_the_shutdown_connections_go_on_and_no_more_are_accepted() {
    clean(async || {
        let (listener, address) = listener().await;
        let (stop, stopped) = stop();
        let server = net::serve(listener, echo).shutdown(stopped);
        let metrics = server.metrics();
        let server = corering::spawn(server.into_future());
        let mut clients = Vec::new();
        for number in 0..20_u8 {
            let mut client = visit(address).await;
            client.write_all(&[number]).await.expect("sent");
            assert_eq!(client.read_exact(1).await.expect("served"), [number]);
            clients.push(client);
        }
        assert_eq!((metrics.accepted(), metrics.active()), (20, 20));
        stop.set();
        // The listener is closed in the background.
        soon(async {
            while TcpStream::connect(address).await.is_ok() {
                turn().await;
            }
        })
        .await;
        for mut client in clients {
            client.write_all(b"last").await.expect("sent");
            assert_eq!(client.read_exact(4).await.expect("still served"), b"last");
            assert!(!server.is_finished());
        }
        soon(server).await.expect("ended").expect("in good order");
        assert_eq!((metrics.active(), metrics.failed(), metrics.accept_errors()), (0, 0, 0));
    });
}

#[test]
fn what_does_not_end_within_the_drain_is_cancelled_and_waited_for() {
    clean(async || {
        let (listener, address) = listener().await;
        let (stop, stopped) = stop();
        let ended = Rc::new(Cell::new(0));
        let count = ended.clone();
        let handler = async move |_stream, _peer| {
            let _end = OnDrop(|| count.set(count.get() + 1));
            std::future::pending().await
        };
        let server = net::serve(listener, handler).shutdown(stopped).drain(Duration::from_millis(20));
        let metrics = server.metrics();
        let server = corering::spawn(server.into_future());
        let mut clients = [visit(address).await, visit(address).await];
        until(|| metrics.active() == 2).await;
        stop.set();
        soon(server).await.expect("ended").expect("in good order");
        assert_eq!((ended.get(), metrics.active()), (2, 0));
        for client in &mut clients {
            assert_eq!(client.read_to_end().await.expect("closed"), b"");
        }
    });
}

#[test]
fn no_more_than_the_limit_are_served_at_once_and_the_others_wait() {
    clean(async || {
        let (listener, address) = listener().await;
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (serving, seen) = (now.clone(), most.clone());
        let handler = async move |stream, peer| {
            serving.set(serving.get() + 1);
            seen.set(seen.get().max(serving.get()));
            let served = echo(stream, peer).await;
            serving.set(serving.get() - 1);
            served
        };
        let (stop, stopped) = stop();
        let server = net::serve(listener, handler).max_connections(3).shutdown(stopped);
        let metrics = server.metrics();
        let server = corering::spawn(server.into_future());
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(visit(address).await);
        }
        until(|| metrics.active() == 3).await;
        turn().await;
        assert_eq!((metrics.accepted(), now.get()), (3, 3), "the others wait");
        for mut client in clients {
            client.write_all(b"x").await.expect("sent");
            assert_eq!(soon(client.read_exact(1)).await.expect("served in its turn"), b"x");
        }
        stop.set();
        soon(server).await.expect("ended").expect("in good order");
        assert_eq!((metrics.accepted(), most.get()), (8, 3));
    });
}

#[test]
fn a_handler_that_fails_or_panics_ends_its_connection_alone_and_is_told_by_name() {
    clean(async || {
        let told = told();
        let (listener, address) = listener().await;
        let handler = async |mut stream: TcpStream, peer| match soon(stream.recv()).await?.as_deref() {
            Some(b"fail") => Err(io::Error::other("no luck")),
            Some(b"panic") => panic!("worse luck"),
            Some(b"reset") => Err(ErrorKind::ConnectionReset.into()),
            Some(b"echo") => {
                stream.write_all("echo").await.0?;
                echo(stream, peer).await
            }
            other => Err(io::Error::other(format!("{other:?}"))),
        };
        let (stop, stopped) = stop();
        let server = net::serve(listener, handler).shutdown(stopped);
        let metrics = server.metrics();
        let server = corering::spawn(server.into_future());
        let mut names = Vec::new();
        for what in ["fail", "panic", "reset"] {
            let mut client = visit(address).await;
            names.push(client.local_addr().to_string());
            client.write_all(what).await.expect("sent");
            assert_eq!(soon(client.read_to_end()).await.expect("closed"), b"");
        }
        let mut client = visit(address).await;
        client.write_all("echo").await.expect("sent");
        assert_eq!(client.read_exact(4).await.expect("others are served"), b"echo");
        drop(client);
        stop.set();
        soon(server).await.expect("ended").expect("in good order");
        assert_eq!((metrics.accepted(), metrics.failed(), metrics.reset()), (4, 2, 1));
        let told = told.borrow();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains(&format!("connection from {}", names[0])) && told[0].contains("no luck"), "{told:?}");
        assert!(
            told[1].contains(&format!("connection from {}", names[1])) && told[1].contains("worse luck"),
            "{told:?}"
        );
    });
}

#[test]
fn a_connection_that_takes_too_long_is_cancelled_and_counted() {
    clean(async || {
        let (listener, address) = listener().await;
        let (stop, stopped) = stop();
        let server = net::serve(listener, echo).connection_timeout(Duration::from_millis(10)).shutdown(stopped);
        let metrics = server.metrics();
        let server = corering::spawn(server.into_future());
        let mut slow = visit(address).await;
        assert_eq!(soon(slow.read_to_end()).await.expect("closed"), b"");
        assert_eq!((metrics.timed_out(), metrics.failed()), (1, 0));
        stop.set();
        soon(server).await.expect("ended").expect("in good order");
    });
}

#[test]
fn a_server_that_is_dropped_leaves_nothing() {
    clean(async || {
        let before = alive();
        for polls in 0..4 {
            let (listener, address) = listener().await;
            let mut server = net::serve(listener, echo).into_future();
            let mut client = visit(address).await;
            client.write_all("hello").await.expect("sent");
            for _ in 0..polls {
                assert!(!poll_once(&mut pin!(&mut server)).await);
                turn().await;
            }
            drop(server);
            // Reset, or closed: it depends on what was read.
            let _end = soon(client.read_to_end()).await;
            until(|| alive() == before).await;
        }
    });
}

#[test]
fn handlers_may_own_what_they_share() {
    clean(async || {
        let (listener, address) = listener().await;
        let seen = RefCell::new(Vec::new());
        let all = Rc::new(seen);
        let shared = all.clone();
        let (stop, stopped) = stop();
        let handler = async move |mut stream: TcpStream, _peer| {
            let number = shared.borrow().len();
            shared.borrow_mut().push(number);
            stream.write_all(format!("{number}")).await.0
        };
        let server = corering::spawn(net::serve(listener, handler).shutdown(stopped).into_future());
        for number in 0..3 {
            let mut client = visit(address).await;
            assert_eq!(client.read_to_end().await.expect("read"), format!("{number}").as_bytes());
        }
        stop.set();
        soon(server).await.expect("ended").expect("in good order");
        assert_eq!(*all.borrow(), [0, 1, 2]);
    });
}
