//! Programs over sockets of streams by single operations: what is asked of which socket in which state, and what of it
//! is refused.

use std::future::poll_fn;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use corering::io;
use corering::op::socket2::{Domain, SockAddr, Type};
use corering::op::{
    AcceptMulti, Connect, Descriptor, Multishot, MultishotOperation, Op, Operation, Read, Readiness, Receive,
    ReceiveMulti, Send, SendAll, SocketOption, Sync, Truncate, Write,
};

use super::{Run, STEPS, room, shown, told, told_read};

/// What it limits never happens.
const LIMIT: Duration = Duration::from_millis(2);

const OPTIONS: &[SocketOption] = &[
    SocketOption::NoDelay,
    SocketOption::ReuseAddress,
    SocketOption::ReusePort,
    SocketOption::KeepAlive,
    SocketOption::Broadcast,
    SocketOption::Ttl,
    SocketOption::OnlyV6,
    SocketOption::Linger,
];

pub(super) async fn program(run: &mut Run) {
    let mut done = 0;
    while done < STEPS {
        match run.below(8) {
            0 => lonely(run, Type::STREAM).await,
            1 => listening(run).await,
            2 => resets(run).await,
            3 => many(run).await,
            4 => multishot(run).await,
            5 => parts(run).await,
            6 => options(run, Type::STREAM),
            _ => connected(run).await,
        }
        done += 4;
    }
}

pub(super) fn local(port: u16) -> SockAddr {
    SocketAddr::from(([127, 0, 0, 1], port)).into()
}

pub(super) fn socket(kind: Type) -> Descriptor {
    Descriptor::socket(Domain::IPV4, kind, None).expect("a socket")
}

fn listener(run: &Run, backlog: i32) -> Descriptor {
    let listener = socket(Type::STREAM);
    let bound = listener.bind(&local(0));
    run.say(format!("bind -> {}, listen {backlog} -> {}", told(&bound), told(&listener.listen(backlog))));
    listener
}

/// Two ends of a connection.
async fn pair(run: &Run) -> (Descriptor, Descriptor) {
    let listener = listener(run, 8);
    let client = socket(Type::STREAM);
    let connected = Op::new(Connect::new(&client, listener.local_addr().expect("an address"))).await;
    let mut accept = Multishot::new(AcceptMulti::new(&listener));
    let accepted = next(&mut accept).await;
    run.say(format!(
        "connect -> {}, accept -> {}",
        told(&connected),
        told(&accepted.as_ref().map(drop).map_err(number))
    ));
    accept.close().await;
    (client, accepted.expect("a connection"))
}

fn number(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

async fn next<M: MultishotOperation>(multishot: &mut Multishot<M>) -> M::Item {
    poll_fn(|cx| multishot.poll_next(cx)).await
}

/// Polls an operation once; whether it has not ended by that.
async fn submit<O: Operation>(op: &mut Op<O>) -> bool {
    let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut *op).poll(cx).is_pending())).await;
    corering::task::yield_now().await;
    pending
}

/// Waits until both directions have ended, or for an error.
async fn hung_up(run: &Run, socket: &Descriptor) {
    // Also the end of one direction ends such a wait.
    let ended = |events: u32| events & (libc::POLLERR | libc::POLLHUP) as u32 != 0;
    let mut events = Op::new(Readiness::of(socket, 0)).await;
    while events.as_ref().is_ok_and(|events| !ended(*events)) {
        corering::sleep(LIMIT).await;
        events = Op::new(Readiness::of(socket, 0)).await;
    }
    run.say(format!("wait for the end of both -> {}", told(&events.map(|events| format!("{events:#x}")))));
}

/// Waits until there is something to read.
async fn readable(socket: &Descriptor) {
    let _ = Op::new(Readiness::of(socket, libc::POLLIN)).await;
}

/// One operation that ends by itself, on whatever socket.
async fn one(run: &mut Run, what: &str, socket: &Descriptor, may_wait: bool) {
    let len = run.pick(&[0, 1, 10, 100]);
    let said = match run.below(if may_wait { 8 } else { 14 }) {
        0 => {
            format!("take_error -> {}", told(&socket.take_error().map(|error| error.map(|error| error.raw_os_error()))))
        }
        1 => format!("peer_addr -> {}", told(&socket.peer_addr().map(drop))),
        2 => format!("sync -> {}", told(&Op::new(Sync::all(socket)).await)),
        3 => format!("truncate -> {}", told(&Op::new(Truncate::to(socket, 5)).await)),
        4 => {
            let (read, buffer) = Op::new(Read::at(socket, room(len), 7)).deadline(LIMIT).await;
            format!("read {len} at 7 -> {}", told_read(&read, &buffer))
        }
        // The kernel lets an ended connection be bound once more: not simulated.
        5 if matches!(what, "lonely" | "listener") => format!("bind -> {}", told(&socket.bind(&local(0)))),
        5 | 6 => format!("is_seekable -> {}", socket.is_seekable()),
        7 => format!("settled {}", socket.has_orphans()),
        8 => {
            let (sent, _) = Op::new(Send::new(socket, run.bytes(len))).await;
            format!("send {len} -> {}", told(&sent))
        }
        9 => {
            let (sent, _) = Op::new(SendAll::new(socket, run.bytes(len))).await;
            format!("send_all {len} -> {}", told(&sent))
        }
        10 => {
            let (written, _) = Op::new(Write::stream(socket, run.bytes(len))).await;
            format!("write {len} -> {}", told(&written))
        }
        11 => {
            let (received, buffer) = Op::new(Receive::new(socket, room(len + 1))).await;
            format!("receive {} -> {}", len + 1, told_read(&received, &buffer))
        }
        12 => {
            let (received, buffer) = Op::new(Receive::all(socket, room(len + 1))).await;
            format!("receive_all {} -> {}", len + 1, told_read(&received, &buffer))
        }
        _ => {
            let how = run.pick(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
            format!("shutdown {how:?} -> {}", told(&socket.shutdown(how)))
        }
    };
    run.say(format!("{what}: {said}"));
}

/// A socket that is not connected.
async fn lonely(run: &mut Run, kind: Type) {
    let socket = socket(kind);
    run.say("a socket");
    if run.flip() {
        run.say(format!("bind -> {}", told(&socket.bind(&local(0)))));
    }
    for _ in 0..4 {
        one(run, "lonely", &socket, false).await;
    }
    let mut accept = Multishot::new(AcceptMulti::new(&socket));
    run.say(format!("accept -> {}", told(&next(&mut accept).await.map(drop))));
    accept.close().await;
    if run.flip() {
        let address = run.pick(&[[127, 0, 0, 1], [192, 0, 2, 77]]);
        if address[0] == 192 {
            let bound = socket.bind(&SocketAddr::from((address, 0)).into());
            run.say(format!("bind to another host's address -> {}", told(&bound)));
        }
    }
    run.say(format!("close -> {}", told(&socket.close().await)));
}

/// A socket that listens.
async fn listening(run: &mut Run) {
    let socket_ = listener(run, run.state as i32 & 7);
    let address = socket_.local_addr().expect("an address");
    let other = socket(Type::STREAM);
    if run.flip() {
        let on = i32::from(run.flip());
        run.say(format!("reuse {on} -> {}", told(&other.set_option(SocketOption::ReuseAddress, on))));
    }
    run.say(format!("bind to the taken -> {}", told(&other.bind(&address))));
    run.say(format!("listen again -> {}", told(&socket_.listen(4))));
    for _ in 0..3 {
        one(run, "listener", &socket_, false).await;
    }
    let connected = Op::new(Connect::new(&other, address.clone())).await;
    run.say(format!("connect -> {}", told(&connected)));
    run.say(format!("connect the listener -> {}", told(&Op::new(Connect::new(&socket_, address)).await)));
    if connected.is_ok() {
        run.say(format!("listen on a connection -> {}", told(&other.listen(1))));
        run.say(format!("bind a connection -> {}", told(&other.bind(&local(0)))));
    }
    run.say(format!("close -> {}", told(&socket_.close().await)));
    if connected.is_ok() {
        // It was never accepted.
        hung_up(run, &other).await;
        for _ in 0..2 {
            one(run, "orphan", &other, false).await;
        }
    }
}

/// A connection that is reset.
async fn resets(run: &mut Run) {
    let (client, server) = pair(run).await;
    let (ours, theirs) = if run.flip() { (client, server) } else { (server, client) };
    let (sent, _) = Op::new(SendAll::new(&theirs, run.bytes(10))).await;
    run.say(format!("send to who will not read -> {}", told(&sent)));
    readable(&ours).await;
    let half = run.flip();
    if half {
        run.say(format!("shutdown -> {}", told(&ours.shutdown(Shutdown::Write))));
    }
    match run.below(3) {
        0 => run.say(format!("linger 0 -> {}", told(&ours.set_option(SocketOption::Linger, 0)))),
        1 => {
            let (received, buffer) = Op::new(Receive::all(&ours, room(10))).await;
            run.say(format!("receive -> {}", told_read(&received, &buffer)));
            let (sent, _) = Op::new(SendAll::new(&theirs, run.bytes(3))).await;
            run.say(format!("send -> {}", told(&sent)));
            readable(&ours).await;
        }
        _ => {}
    }
    run.say(format!("close with something unread -> {}", told(&ours.close().await)));
    hung_up(run, &theirs).await;
    for _ in 0..4 {
        one(run, "reset", &theirs, false).await;
    }
    run.say(format!("close -> {}", told(&theirs.close().await)));
}

/// Several connections wait, and are accepted one after the other.
async fn many(run: &mut Run) {
    let listener = listener(run, 16);
    let address = listener.local_addr().expect("an address");
    let count = 1 + run.below(5);
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = socket(Type::STREAM);
        run.say(format!("connect -> {}", told(&Op::new(Connect::new(&client, address.clone())).await)));
        clients.push(client);
    }
    let mut accept = Multishot::new(AcceptMulti::new(&listener));
    for client in &clients {
        let accepted = next(&mut accept).await.expect("a connection");
        let same = accepted.peer_addr().ok() == client.local_addr().ok();
        run.say(format!("accept -> in order {same}"));
    }
    accept.close().await;
    // Its own end, not the peers', while nothing was sent.
    let first = clients.remove(0);
    run.say(format!("connect again -> {}", told(&Op::new(Connect::new(&first, address)).await)));
}

/// A multishot receive.
async fn multishot(run: &mut Run) {
    let (client, server) = pair(run).await;
    let Some(receive) = ReceiveMulti::new(&server, 100) else { return };
    let mut receive = Multishot::new(receive);
    for _ in 0..1 + run.below(4) {
        let len = run.pick(&[1, 10, 1000, 9000]);
        let (sent, _) = Op::new(SendAll::new(&client, run.bytes(len))).await;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            bytes.extend_from_slice(&next(&mut receive).await.expect("bytes"));
        }
        run.say(format!("send {len} -> {}, received {}", told(&sent), shown(&bytes)));
    }
    if run.flip() {
        run.say(format!("close -> {}", told(&client.close().await)));
        let end = next(&mut receive).await;
        run.say(format!("the end -> {}", told(&end.map(|chunk| chunk.len()))));
    }
    receive.close().await;
    run.say(format!("close -> {}", told(&server.close().await)));
}

/// Receives that have a part when they are ended.
async fn parts(run: &mut Run) {
    let (client, server) = pair(run).await;
    for _ in 0..3 {
        let len = run.pick(&[0, 1, 10, 100]);
        let (sent, _) = Op::new(SendAll::new(&client, run.bytes(len))).await;
        run.say(format!("send {len} -> {}", told(&sent)));
        if len > 0 {
            readable(&server).await;
        }
        let mut receive = Op::new(Receive::all(&server, room(len + 5)));
        let way = run.below(4);
        if way != 3 {
            let waits = submit(&mut receive).await;
            run.say(format!("receive_all {} waits {waits}", len + 5));
        }
        let (received, buffer) = match way {
            0 => receive.deadline(LIMIT).await,
            1 => receive.cancel().await,
            2 => {
                server.cancel_all();
                receive.await
            }
            _ => receive.cancel().await,
        };
        // What it had, or nothing: then it is still there.
        let mut bytes = received.as_ref().map_or(Vec::new(), |count| buffer[..*count].to_vec());
        if let (Err(error), true) = (&received, len == 0 || way == 3) {
            run.say(format!("ended with nothing -> {:?}", error.kind()));
        }
        while bytes.len() < len {
            let (received, buffer) = Op::new(Receive::new(&server, room(200))).await;
            bytes.extend_from_slice(&buffer[..received.expect("bytes")]);
        }
        run.say(format!("in all {}", shown(&bytes)));
    }
}

/// Settings, set and read back.
pub(super) fn options(run: &mut Run, kind: Type) {
    let socket = socket(kind);
    for _ in 0..6 {
        let option = run.pick(OPTIONS);
        let value = run.pick(&[0, 1, 1, 2, 64, 255, 256, -1, -2, i32::MAX]);
        let set = if run.flip() {
            format!(", set {value} -> {}", told(&socket.set_option(option, value)))
        } else {
            String::new()
        };
        run.say(format!("{option:?}{set}, is {}", told(&socket.option(option))));
    }
}

/// Whatever can be asked of two ends, that does not wait.
async fn connected(run: &mut Run) {
    let (client, server) = pair(run).await;
    for _ in 0..4 {
        one(run, "client", &client, true).await;
    }
    run.say(format!("shutdown -> {}", told(&client.shutdown(Shutdown::Write))));
    readable(&server).await;
    let events = Op::new(Readiness::of(&server, libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP)).await;
    run.say(format!("half closed, ready for -> {}", told(&events.map(|events| format!("{events:#x}")))));
    let (received, _) = Op::new(Receive::all(&server, room(5))).await;
    run.say(format!("receive -> {}", told(&received)));
    run.say(format!("shutdown -> {}", told(&server.shutdown(Shutdown::Write))));
    hung_up(run, &client).await;
    for (what, socket) in [("client", &client), ("server", &server)] {
        for _ in 0..2 {
            one(run, what, socket, false).await;
        }
    }
}
