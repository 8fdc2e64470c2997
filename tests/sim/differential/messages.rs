//! Programs over messages: datagrams with addresses, cut and whole, and sockets of the Unix family by their names.

use std::path::Path;
use std::time::Duration;

use corering::io;
use corering::net::{Shutdown, Truncated, UdpSocket, UnixDatagram, UnixListener, UnixSeqpacket, UnixStream};

use super::{Run, STEPS, room, shown, told};

/// What it limits never happens.
const LIMIT: Duration = Duration::from_millis(2);
const SIZES: &[usize] = &[0, 1, 10, 100, 1400, 9000];
/// More is not left lying.
const MOST: usize = 8;

pub(super) async fn program(run: &mut Run) {
    let mut done = 0;
    while done < STEPS {
        match run.below(5) {
            0 => udp(run).await,
            1 => letters(run).await,
            2 => messages(run).await,
            3 => names(run).await,
            _ => pair_of_letters(run).await,
        }
        done += 6;
    }
}

/// What came of a receive: of one that was cut, how long it was.
fn came<T>(result: io::Result<T>, buffer: &[u8], count: impl Fn(&T) -> usize) -> String {
    match result {
        Ok(got) => shown(&buffer[..count(&got)]),
        Err(error) => match error.get_ref().and_then(|error| error.downcast_ref::<Truncated>()) {
            Some(cut) => format!("{} of {}", shown(&buffer[..cut.count()]), cut.length()),
            None => told::<()>(&Err(error)),
        },
    }
}

async fn udp(run: &mut Run) {
    let log = run.clone();
    let bound = [UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await];
    let [here, there] = bound.map(|bound| bound.expect("a port"));
    let (from, to) = (here.local_addr().expect("bound"), there.local_addr().expect("bound"));
    if run.flip() {
        log.say(format!("connect -> {}", told(&here.connect(to).await)));
    }
    let mut lying = 0;
    for _ in 0..10 {
        if run.flip() && lying < MOST {
            let bytes = run.pick(SIZES);
            let bytes = run.bytes(bytes);
            let (sent, what) = match run.below(3) {
                0 => (here.send_to(bytes, to).await.0, "send_to"),
                1 => (here.send(bytes).await.0, "send"),
                _ => (here.send_msg_to(vec![bytes, run.bytes(3)], Default::default(), to).await.0, "send_msg_to"),
            };
            log.say(format!("udp {what} -> {}", told(&sent)));
            lying += usize::from(sent.is_ok());
            continue;
        }
        if lying == 0 {
            let (received, _) = there.recv_from(room(10)).deadline(LIMIT).await;
            log.say(format!("udp nothing -> {:?}", received.map(drop).map_err(|error| error.kind())));
            continue;
        }
        // It is there before anything else happens.
        log.say(format!("udp readable -> {}", told(&there.readable().await)));
        let len = run.pick(&[1, 10, 100, 20_000]);
        let said = match run.below(5) {
            0 => {
                let (got, buffer) = there.peek_from(room(len)).await;
                lying += 1;
                format!("peek_from {len} -> {}", came(got, &buffer, |got| got.0))
            }
            1 => {
                let (got, buffer) = there.recv(room(len)).await;
                format!("recv {len} -> {}", came(got, &buffer, |got| *got))
            }
            2 => {
                let (got, buffers) = there.recv_msg(vec![room(len), room(5)], 1).await;
                let got = got.map(|got| (got.count(), got.length(), got.socket_addr() == Some(from)));
                format!("recv_msg {len} -> {}, {}", told(&got), shown(&buffers[1]))
            }
            3 => {
                let mut datagrams = there.recv_stream(20_000);
                let got = datagrams.next().await.expect("no end");
                let same = got.as_ref().is_ok_and(|got| got.1 == from);
                // How large the buffers are is the core's own affair.
                let whole = got.is_ok_and(|got| got.0.len() <= 1403);
                format!("recv_stream -> {}", same || !whole)
            }
            _ => {
                let (got, buffer) = there.recv_from(room(len)).await;
                let same = got.as_ref().is_ok_and(|got| got.1 == from);
                format!("recv_from {len} -> {}, {same}", came(got, &buffer, |got| got.0))
            }
        };
        lying -= 1;
        log.say(format!("udp {said}"));
    }
}

/// A name in the program's folder, or one that is in none.
fn name(run: &mut Run, of: &str) -> String {
    let path = format!("{}/{of}", run.root);
    if run.flip() { path } else { format!("\0{path}") }
}

async fn letters(run: &mut Run) {
    let log = run.clone();
    let (one, other) = (name(run, "one"), name(run, "other"));
    let (Ok(here), Ok(there)) = (UnixDatagram::bind(&one), UnixDatagram::bind(&other)) else {
        log.say("taken");
        clear(run).await;
        return;
    };
    let mut lying = 0;
    let mut connected = false;
    for _ in 0..12 {
        match run.below(6) {
            0 | 1 if lying < MOST => {
                let bytes = run.pick(SIZES);
                let bytes = run.bytes(bytes);
                let sent = match connected {
                    true => here.send(bytes).await.0,
                    false => here.send_to(bytes, &other).await.0,
                };
                log.say(format!("letter -> {}", told(&sent)));
                lying += usize::from(sent.is_ok());
            }
            2 => {
                log.say(format!("connect -> {}", told(&here.connect(&other).await)));
                connected = true;
            }
            3 => {
                let nobody = UnixDatagram::unbound().expect("a socket");
                let sent = nobody.send_to(run.bytes(4), format!("{}/nobody", run.root)).await.0;
                log.say(format!(
                    "to nobody -> {}, unnamed {}",
                    told(&sent),
                    nobody.local_addr().is_ok_and(|name| name.is_unnamed())
                ));
            }
            _ if lying > 0 => {
                let len = run.pick(&[1, 10, 20_000]);
                let (got, buffer) = there.recv_from(room(len)).await;
                let named = got.as_ref().is_ok_and(|got| !got.address.is_unnamed());
                log.say(format!("from {named} -> {}", came(got, &buffer, |got| got.count)));
                lying -= 1;
            }
            _ => log.say(format!("too large -> {}", told(&here.send_to(vec![0; 300_000], &other).await.0))),
        }
    }
    log.say(format!("shutdown -> {}", told(&there.shutdown(Shutdown::Read))));
    log.say(format!("then -> {}", told(&here.send_to(run.bytes(3), &other).await.0)));
    log.say(format!("close -> {}", told(&there.close().await)));
    let sent = if connected { here.send(run.bytes(3)).await.0 } else { here.send_to(run.bytes(3), &other).await.0 };
    log.say(format!("then -> {}", told(&sent)));
    drop(here);
    clear(run).await;
}

async fn pair_of_letters(run: &mut Run) {
    let log = run.clone();
    let (here, there) = UnixDatagram::pair().expect("a pair");
    let mut lying = 0;
    for _ in 0..8 {
        if run.flip() && lying < MOST {
            let bytes = run.pick(SIZES);
            log.say(format!("pair send -> {}", told(&here.send(run.bytes(bytes)).await.0)));
            lying += 1;
        } else if lying > 0 {
            let (got, buffer) = there.recv_from(room(50)).await;
            let named = got.as_ref().is_ok_and(|got| !got.address.is_unnamed());
            log.say(format!("pair from {named} -> {}", came(got, &buffer, |got| got.count)));
            lying -= 1;
        }
    }
    log.say(format!("close -> {}", told(&there.close().await)));
    log.say(format!("pair, left -> {}", told(&here.send(run.bytes(3)).await.0)));
    log.say(format!("again -> {}", told(&here.send(run.bytes(3)).await.0)));
}

async fn messages(run: &mut Run) {
    let log = run.clone();
    let (here, there) = UnixSeqpacket::pair().expect("a pair");
    let mut lying = 0;
    for _ in 0..10 {
        if run.flip() && lying < MOST {
            let bytes = run.pick(SIZES).max(1);
            log.say(format!("message -> {}", told(&here.send(run.bytes(bytes)).await.0)));
            lying += 1;
        } else if lying > 0 {
            let len = run.pick(&[1, 10, 20_000]);
            let (got, buffer) = there.recv(room(len)).await;
            log.say(format!("message {len} -> {}", came(got, &buffer, |got| *got)));
            lying -= 1;
        }
    }
    if run.flip() {
        log.say(format!("shutdown -> {}", told(&here.shutdown(Shutdown::Write))));
        log.say(format!("then -> {}", told(&here.send(run.bytes(3)).await.0)));
    } else {
        log.say(format!("close -> {}", told(&here.close().await)));
    }
    for _ in 0..=lying {
        let (got, buffer) = there.recv(room(20_000)).await;
        log.say(format!("left -> {}", came(got, &buffer, |got| *got)));
    }
}

/// Who may bind and connect where.
async fn names(run: &mut Run) {
    let log = run.clone();
    let path = name(run, "listener");
    let missing = UnixStream::connect(&path).await;
    log.say(format!("connect to nothing -> {:?}", missing.map(drop).map_err(|error| error.kind())));
    let full = UnixListener::bind(format!("{}/full", run.root));
    log.say(format!("bind to a file -> {:?}", full.map(drop).map_err(|error| error.kind())));
    let file = UnixStream::connect(format!("{}/full", run.root)).await;
    log.say(format!("connect to a file -> {:?}", file.map(drop).map_err(|error| error.kind())));
    let Ok(listener) = UnixListener::bind(&path) else {
        log.say("taken");
        clear(run).await;
        return;
    };
    log.say(format!("again -> {:?}", UnixListener::bind(&path).map(drop).map_err(|error| error.kind())));
    if !path.starts_with('\0') {
        let found = corering::fs::metadata(&path).await.map(|found| (found.len(), found.is_file(), found.is_dir()));
        log.say(format!("there -> {}", told(&found)));
        log.say(format!(
            "open -> {:?}",
            corering::fs::File::open(&path).await.map(drop).map_err(|error| error.raw_os_error())
        ));
    }
    let wrong = UnixSeqpacket::connect(&path).await;
    log.say(format!("of another kind -> {:?}", wrong.map(drop).map_err(|error| error.kind())));
    let mut client = UnixStream::connect(&path).await.expect("there");
    let (mut server, _) = listener.accept().await.expect("a connection");
    let bytes = run.bytes(20);
    log.say(format!("write -> {}", told(&client.write_all(bytes).await.0)));
    let end = run.below(3);
    if end == 0 {
        log.say(format!("shutdown -> {}", told(&client.shutdown(Shutdown::Write).await)));
    }
    let mut all = Vec::new();
    while all.len() < 20 {
        all.extend_from_slice(&server.recv().await.expect("received").expect("bytes"));
    }
    log.say(format!("read -> {}", shown(&all)));
    match end {
        0 => log.say(format!("end -> {}", told(&server.recv().await.map(|chunk| chunk.is_none())))),
        // Something that the other side has not read resets the connection.
        1 => {
            server.write_all(run.bytes(3)).await.0.expect("sent");
            log.say(format!("close -> {}", told(&client.close().await)));
            log.say(format!(
                "then -> {:?}",
                server.recv().await.map(|chunk| chunk.is_none()).map_err(|error| error.kind())
            ));
        }
        _ => {
            log.say(format!("close -> {}", told(&client.close().await)));
            log.say(format!("then -> {}", told(&server.recv().await.map(|chunk| chunk.is_none()))));
            log.say(format!("write -> {:?}", server.write_all(run.bytes(3)).await.0.map_err(|error| error.kind())));
        }
    }
    log.say(format!("close -> {}", told(&listener.close().await)));
    let gone = UnixStream::connect(&path).await;
    log.say(format!("nobody listens -> {:?}", gone.map(drop).map_err(|error| error.kind())));
    clear(run).await;
}

/// The paths go.
async fn clear(run: &mut Run) {
    let log = run.clone();
    for of in ["one", "other", "listener"] {
        let path = format!("{}/{of}", run.root);
        let removed = corering::fs::remove_file(Path::new(&path)).await;
        log.say(format!("remove {of} -> {}", removed.is_ok()));
    }
}
