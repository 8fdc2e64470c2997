//! Programs over datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use corering::op::socket2::{SockAddr, Type};
use corering::op::{Connect, Descriptor, Op, Read, Readiness, Receive, ReceivePooled, Send, SendAll, Write};

use super::sockets::{local, options, socket};
use super::{Run, STEPS, room, shown, told, told_read};

const SIZES: &[usize] = &[0, 1, 10, 100, 1400, 9000, 60_000, 65_507, 65_508, 70_000];
/// What it limits never happens.
const LIMIT: Duration = Duration::from_millis(2);
/// More than that is not left lying in a socket, which would throw it away.
const MOST: usize = 60_000;

pub(super) async fn program(run: &mut Run) {
    let ours = socket(Type::DGRAM);
    lonely(run, &ours).await;
    let theirs = socket(Type::DGRAM);
    for socket in [&ours, &theirs] {
        run.say(format!("bind -> {}", told(&socket.bind(&local(0)))));
    }
    let (here, there) = (ours.local_addr().expect("an address"), theirs.local_addr().expect("an address"));
    run.say(format!("bind again -> {}", told(&ours.bind(&local(0)))));
    run.say(format!("bind to the taken -> {}", told(&socket(Type::DGRAM).bind(&there))));
    for (socket, address) in [(&ours, &there), (&theirs, &here)] {
        run.say(format!("connect -> {}", told(&Op::new(Connect::new(socket, address.clone())).await)));
    }
    run.say(format!("peers -> {} {}", same(&ours, &there), same(&theirs, &here)));
    let mut lying = [Vec::new(), Vec::new()];
    for _ in 0..STEPS {
        let at = run.below(2) as usize;
        let [from, to] = if at == 0 { [&ours, &theirs] } else { [&theirs, &ours] };
        if run.flip() {
            send(run, at, from, &mut lying[1 - at]).await;
            if lying[1 - at].is_empty() {
                continue;
            }
            // It is there before anything else happens.
            let ready = Op::new(Readiness::of(to, libc::POLLIN)).await;
            run.say(format!("{}: ready -> {}", 1 - at, told(&ready)));
        } else {
            receive(run, at, from, &mut lying[at]).await;
        }
    }
    options(run, Type::DGRAM);
    closed_port(run, &ours, theirs, &here).await;
}

fn same(socket: &Descriptor, address: &SockAddr) -> bool {
    socket.peer_addr().ok().as_ref() == Some(address)
}

/// Neither bound nor connected.
async fn lonely(run: &mut Run, socket: &Descriptor) {
    let (sent, _) = Op::new(Send::new(socket, run.bytes(3))).await;
    run.say(format!("send to nobody -> {}", told(&sent)));
    run.say(format!("peer_addr -> {}, listen -> {}", told(&socket.peer_addr().map(drop)), told(&socket.listen(1))));
    let (received, _) = Op::new(Receive::new(socket, room(10))).deadline(LIMIT).await;
    run.say(format!("receive from nobody -> {:?}", received.map_err(|error| error.kind())));
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    run.say(format!("address -> {:?}", address.map(|address| (address.ip(), address.port() == 0))));
    let other: SocketAddr = ([192, 0, 2, 77], 0).into();
    run.say(format!("bind to another host's address -> {}", told(&socket.bind(&other.into()))));
}

async fn send(run: &mut Run, at: usize, socket: &Descriptor, lying: &mut Vec<Vec<u8>>) {
    let len = run.pick(SIZES);
    if lying.iter().map(Vec::len).sum::<usize>() + len.min(65_507) > MOST && !lying.is_empty() && len <= 65_507 {
        return;
    }
    let bytes = run.bytes(len);
    let (sent, what) = match run.below(3) {
        0 => (Op::new(Send::new(socket, bytes.clone())).await.0, "send"),
        1 => (Op::new(SendAll::new(socket, bytes.clone())).await.0.map(|()| len), "send_all"),
        // A write of nothing sends nothing, or an empty datagram: that depends on how it is asked for.
        _ if len == 0 => return,
        _ => (Op::new(Write::stream(socket, bytes.clone())).await.0, "write"),
    };
    run.say(format!("{at}: {what} {len} -> {}", told(&sent)));
    if sent.is_ok() {
        lying.push(bytes);
    }
}

async fn receive(run: &mut Run, at: usize, socket: &Descriptor, lying: &mut Vec<Vec<u8>>) {
    if lying.is_empty() {
        let receive = Op::new(Receive::new(socket, room(10)));
        let received = match run.below(3) {
            0 => receive.deadline(LIMIT).await.0,
            1 => receive.cancel().await.0,
            _ => {
                let waited = corering::timeout(LIMIT, receive).await;
                run.say(format!("{at}: receive of nothing, dropped -> {}", waited.is_err()));
                while socket.has_orphans() {
                    corering::sleep(LIMIT).await;
                }
                return;
            }
        };
        run.say(format!("{at}: receive of nothing -> {:?}", received.map_err(|error| error.kind())));
        return;
    }
    let sent = lying.remove(0);
    let len = run.pick(&[1, 5, 10, 100, 2000, 70_000]);
    let said = match run.below(4) {
        0 => {
            let (received, buffer) = Op::new(Receive::all(socket, room(len))).await;
            format!("receive_all {len} -> {}", told_read(&received, &buffer))
        }
        1 => {
            let (received, buffer) = Op::new(Read::stream(socket, room(len))).await;
            format!("read {len} -> {}", told_read(&received, &buffer))
        }
        2 => match ReceivePooled::new(socket, 100_000) {
            // How large the buffers are is the core's own affair.
            Some(receive) if sent.len() <= 2000 => {
                let received = Op::new(receive).await;
                format!("receive_pooled -> {}", told(&received.map(|chunk| shown(&chunk))))
            }
            _ => {
                let (received, buffer) = Op::new(Receive::new(socket, room(len))).await;
                format!("receive {len} -> {}", told_read(&received, &buffer))
            }
        },
        _ => {
            let (received, buffer) = Op::new(Receive::new(socket, room(len))).await;
            format!("receive {len} -> {}", told_read(&received, &buffer))
        }
    };
    run.say(format!("{at}: {said}"));
}

/// What is sent to a closed port comes back as an error.
async fn closed_port(run: &mut Run, ours: &Descriptor, theirs: Descriptor, here: &SockAddr) {
    run.say(format!("close -> {}", told(&theirs.close().await)));
    // What was there before is read, so that only the error is there to wait for.
    let mut left = Op::new(Readiness::of(ours, libc::POLLIN)).deadline(LIMIT).await;
    while left.is_ok() {
        let (received, buffer) = Op::new(Receive::new(ours, room(70_000))).await;
        run.say(format!("left -> {}", told_read(&received, &buffer)));
        left = Op::new(Readiness::of(ours, libc::POLLIN)).deadline(LIMIT).await;
    }
    let (sent, _) = Op::new(Send::new(ours, run.bytes(5))).await;
    run.say(format!("send to a closed port -> {}", told(&sent)));
    let ready = Op::new(Readiness::of(ours, 0)).await;
    run.say(format!("ready for -> {}", told(&ready)));
    let said = match run.below(3) {
        0 => told(&Op::new(Receive::new(ours, room(5))).await.0),
        1 => told(&Op::new(Send::new(ours, run.bytes(5))).await.0),
        _ => told(&ours.take_error().map(|error| error.and_then(|error| error.raw_os_error()))),
    };
    run.say(format!("the error -> {said}"));
    run.say(format!(
        "it is told once -> {}",
        told(&ours.take_error().map(|error| error.and_then(|error| error.raw_os_error())))
    ));
    let connected = Op::new(Connect::new(ours, here.clone())).await;
    run.say(format!("connect to itself -> {}, {}", told(&connected), same(ours, here)));
    let (sent, _) = Op::new(Send::new(ours, run.bytes(5))).await;
    let (received, buffer) = Op::new(Receive::new(ours, room(9))).await;
    run.say(format!("send to itself -> {}, received {}", told(&sent), told_read(&received, &buffer)));
}
