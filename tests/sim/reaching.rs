//! Connecting in worlds: by the names of hosts, to hosts that do not answer, and to those that do.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use corering::sim::World;
use corering::time::{Instant, sleep, timeout};

const PORT: u16 = 7000;
/// RFC 8305 recommends it.
const HEAD_START: Duration = Duration::from_millis(250);

/// A world with a host that listens and answers each connection with its name, and one that no packet comes to.
fn world(seed: u64) -> (World, SocketAddr, SocketAddr) {
    let world = World::new(seed);
    let (main, live, dead) = (world.host("main"), world.host("live"), world.host("dead"));
    live.start(|| async {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            corering::spawn(async move { stream.write_all("live").await.0 });
        }
        #[expect(unreachable_code, reason = "says what the errors are")]
        std::io::Result::Ok(())
    });
    world.cut(&main, &dead);
    (world, live.addr(PORT), dead.addr(PORT))
}

async fn is_live(mut stream: TcpStream) {
    let mut name = Vec::new();
    while name.len() < 4 {
        name.extend_from_slice(&stream.recv().await.expect("received").expect("bytes"));
    }
    assert_eq!(name, b"live");
}

#[test]
fn an_address_that_does_not_answer_costs_a_head_start() {
    for seed in 0..20 {
        let (world, live, dead) = world(seed);
        let host = world.host("main");
        world.run(async move |_| {
            sleep(Duration::from_millis(10)).await;
            let before = host.descriptors();
            let began = Instant::now();
            is_live(TcpStream::connect([dead, live]).await.expect("one answers")).await;
            let took = began.elapsed();
            assert!(took >= HEAD_START && took < HEAD_START + Duration::from_millis(200), "{took:?}");
            // All attempts are given up, and closed.
            while host.descriptors() > before {
                sleep(Duration::from_millis(1)).await;
            }
            let began = Instant::now();
            is_live(TcpStream::connect([live, dead]).await.expect("the first answers")).await;
            assert!(began.elapsed() < HEAD_START);
        });
    }
}

#[test]
fn a_limit_ends_connecting_to_who_does_not_answer() {
    for seed in 0..20 {
        let (world, _, dead) = world(seed);
        let host = world.host("main");
        world.run(async move |_| {
            let before = host.descriptors();
            for addresses in [vec![dead], vec![dead, dead, dead]] {
                let limit = Duration::from_secs(2);
                let began = Instant::now();
                let error = TcpStream::connect_timeout(addresses, limit).await.expect_err("nobody answers");
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(error.to_string().contains(&dead.to_string()), "{error}");
                let took = began.elapsed();
                assert!(took >= limit && took < limit + Duration::from_millis(10), "{took:?}");
            }
            // Given up at any moment.
            for ms in [0, 1, 100, 249, 250, 251, 600] {
                let attempt = TcpStream::connect([dead, dead, dead]);
                assert!(timeout(Duration::from_millis(ms), attempt).await.is_err());
            }
            while host.descriptors() > before {
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

#[test]
fn hosts_are_found_by_their_names() {
    for seed in 0..10 {
        let (world, live, _) = world(seed);
        world.run(async move |_| {
            sleep(Duration::from_millis(10)).await;
            assert_eq!(lookup_host(("live", PORT)).await.expect("known").collect::<Vec<_>>(), [live]);
            is_live(TcpStream::connect(format!("live:{PORT}")).await.expect("there")).await;
            let error = TcpStream::connect("nowhere:1").await.expect_err("no such host");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().starts_with("cannot look up nowhere: "), "{error}");
            let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a port");
            socket.connect(("live", PORT)).await.expect("known");
            assert_eq!(socket.peer_addr().expect("connected"), live);
            assert_eq!(
                socket.send_to("x", ("nowhere", 1)).await.0.expect_err("no such host").kind(),
                ErrorKind::NotFound
            );
            socket.send_to("x", ("live", PORT)).await.0.expect("sent, whether it arrives or not");
        });
    }
}

/// Datagrams get lost, doubled and out of order, but each is whole, and says truly where it is from.
#[test]
fn datagrams_between_hosts_may_be_lost_and_doubled_and_are_never_mixed() {
    let mut kinds = [0; 3];
    for seed in 0..30 {
        let link = corering::sim::Link::new().loss(0.1).duplication(0.1).reordering(0.2);
        let world = World::new(seed).link(link);
        let (main, other) = (world.host("main"), world.host("other"));
        let to = main.addr(PORT);
        other.start(move || async move {
            let socket = UdpSocket::bind(("0.0.0.0", 9)).await?;
            sleep(Duration::from_millis(5)).await;
            for number in 0..100_u8 {
                socket.send_to(vec![number; 1 + usize::from(number)], to).await.0?;
            }
            std::io::Result::Ok(())
        });
        let from = other.addr(9);
        let seen = world.run(async move |_| {
            let socket = UdpSocket::bind(("0.0.0.0", PORT)).await.expect("a port");
            let mut seen = Vec::new();
            let mut datagrams = socket.recv_stream(200);
            while let Ok(next) = timeout(Duration::from_secs(1), datagrams.next()).await {
                let (bytes, source) = next.expect("no end").expect("received");
                assert_eq!(source, from);
                assert!(bytes.len() == 1 + usize::from(bytes[0]) && bytes.iter().all(|byte| *byte == bytes[0]));
                seen.push(bytes[0]);
            }
            seen
        });
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        kinds[1] += usize::from(sorted != seen);
        sorted.dedup();
        kinds[0] += usize::from(sorted.len() < seen.len());
        kinds[2] += usize::from(sorted.len() < 100);
    }
    assert!(kinds.iter().all(|count| *count > 0), "doubled, out of order, lost: {kinds:?}");
}
