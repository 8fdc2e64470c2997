//! axum's `Router`, served by cores.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use corering::time::sleep;
use corering::{fs, io};
use corering_ecosystem::web::{on_core, serve_on_cores};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::common::{LONG, until};

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    number: u32,
}

#[derive(Clone, Default)]
struct Shop(Arc<AtomicU64>);

/// How many have asked for what takes a while.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What each core has for itself: a handler runs where its connection is.
    static SERVED: Rc<Cell<u64>> = Rc::default();
}

fn router() -> Router {
    let shop = Shop::default();
    Router::new()
        .route("/hello/{name}", get(async |Path(name): Path<String>| format!("hello, {name}\n")))
        .route(
            "/orders",
            post(async |State(shop): State<Shop>, Json(order): Json<Order>| {
                let orders = shop.0.fetch_add(1, Ordering::Relaxed) + 1;
                (StatusCode::CREATED, Json(Order { item: order.item, number: order.number * 2 + (orders == 0) as u32 }))
            }),
        )
        // What is `Send` is awaited as it is.
        .route(
            "/slow",
            get(async || {
                ARRIVED.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(50)).await;
                "slow\n"
            }),
        )
        .route("/self", get(async || fs::read("/proc/self/comm").await.map_err(|error| error.to_string())))
        // What is not, as a task of the core.
        .route(
            "/local",
            get(async || {
                let served = on_core(async || {
                    let served = SERVED.with(Rc::clone);
                    corering::task::yield_now().await;
                    served.set(served.get() + 1);
                    served.get()
                });
                served.await.map(|served| format!("{served}\n")).map_err(|error| error.to_string())
            }),
        )
        .with_state(shop)
}

/// What is said on a connection of its own.
fn say(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("can be set");
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn ask(address: SocketAddr, path: &str) -> String {
    say(address, &format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"))
}

fn served_by(cores: usize, ask: impl FnOnce(SocketAddr, &watch::Sender<bool>) + Send) {
    let (stop, _) = watch::channel(false);
    let (told, address) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let stop = &stop;
        let server = scope.spawn(move || {
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let cores = NonZero::new(cores).expect("some");
            serve_on_cores(cores, anywhere, &router(), stop, |address| told.send(address).expect("awaited"))
        });
        ask(address.recv().expect("it listens"), stop);
        stop.send_replace(true);
        server.join().expect("no panic").expect("no error");
    });
}

#[test]
fn a_router_answers_on_every_core() {
    served_by(2, |address, _| {
        for round in 0..40 {
            let answer = ask(address, &format!("/hello/{round}"));
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("\r\n\r\nhello, {round}\n")),
                "{answer}"
            );
        }
        assert!(ask(address, "/nowhere").starts_with("HTTP/1.1 404 "));
        let order = r#"{"item":"apples","number":21}"#;
        let head = format!("Host: here\r\nConnection: close\r\nContent-Length: {}", order.len());
        let answer =
            say(address, &format!("POST /orders HTTP/1.1\r\n{head}\r\nContent-Type: application/json\r\n\r\n{order}"));
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(answer.ends_with(r#"{"item":"apples","number":42}"#), "{answer}");
        let answer = say(
            address,
            &format!(
                "POST /orders HTTP/1.1\r\n{head}\r\nContent-Type: application/json\r\n\r\n{}",
                order.replace('2', "x")
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(ask(address, "/self").starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_handler_has_what_is_its_cores() {
    served_by(1, |address, _| {
        for served in 1..=10 {
            assert!(ask(address, "/local").ends_with(&format!("\r\n\r\n{served}\n")));
        }
    });
}

#[test]
fn what_was_asked_is_answered_when_the_server_ends() {
    served_by(2, |address, stop| {
        let mut streams: Vec<_> = (0..8)
            .map(|_| {
                let mut stream = TcpStream::connect(address).expect("it listens");
                stream.set_read_timeout(Some(LONG)).expect("can be set");
                stream.write_all(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n").expect("it reads");
                stream
            })
            .collect();
        until("all have arrived", || ARRIVED.load(Ordering::Relaxed) == 8);
        stop.send_replace(true);
        for stream in &mut streams {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer, and the end");
            assert!(answer.ends_with("slow\n"), "{answer}");
        }
    });
}

#[test]
fn an_address_that_is_taken_is_an_error_on_all_cores() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (stop, _) = watch::channel(false);
    let address = taken.local_addr().expect("bound");
    let served = serve_on_cores(NonZero::<usize>::MIN, address, &router(), &stop, |_| panic!("it does not listen"));
    assert_eq!(served.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn connections_streams_and_sleeps_are_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    corering::run(async {
        let listener = is_send(corering::net::TcpListener::bind("127.0.0.1:0")).await?;
        let mut stream = is_send(corering::net::TcpStream::connect(listener.local_addr()?)).await?;
        let (mut peer, _) = listener.accept().await?;
        is_send(peer.write_all(vec![1_u8; 10])).await.0?;
        is_send(stream.recv()).await?;
        is_send(sleep(Duration::ZERO)).await;
        is_send(corering::timeout(Duration::ZERO, std::future::ready(()))).await.expect("at once");
        is_send(corering::net::PollStream::new(stream));
        io::Result::Ok(())
    })
    .expect("io_uring")
    .expect("loopback");
}
