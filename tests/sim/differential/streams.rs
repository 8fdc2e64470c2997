//! Programs over two sides of TCP connections, as `corering::net` has them.
//!
//! Both sides are in one task, so what has been sent is known: a read is only awaited if it will end, and goes on until
//! it has all that there is, since a stream may be cut anywhere.

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use corering::io;
use corering::net::{TcpListener, TcpStream};
use corering::op::Op;

use super::{Run, STEPS, room, shown, told};

const SIZES: &[usize] = &[0, 1, 2, 10, 100, 1000, 5000, 20_000];
/// Long enough to be asked of the kernel; what it limits never happens.
const LIMIT: Duration = Duration::from_millis(2);

/// One side of a connection, and what the program knows of it.
struct Side {
    stream: Option<TcpStream>,
    /// Bytes that are on their way to it, or lie there.
    coming: usize,
    /// It will not send any more.
    ended: bool,
    /// It has been told the end, or has said that it will not read.
    finished: bool,
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), coming: 0, ended: false, finished: false }
    }
}

pub(super) async fn program(run: &mut Run) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut done = 0;
    while done < STEPS {
        done += connection(run, &listener, address).await;
    }
    run.say(format!("close the listener -> {}", told(&listener.close().await)));
    let refused = TcpStream::connect(address).await;
    run.say(format!("connect to nobody -> {:?}", refused.map(drop).map_err(|error| error.kind())));
}

/// Returns how many steps were taken.
async fn connection(run: &mut Run, listener: &TcpListener, address: SocketAddr) -> u64 {
    let client = TcpStream::connect(address).await;
    let accepted = listener.accept().await;
    run.say(format!(
        "connect -> {}, accept -> {}",
        told(&client.as_ref().map(drop).map_err(copy)),
        told(&accepted.as_ref().map(drop).map_err(copy))
    ));
    let (Ok(client), Ok((server, from))) = (client, accepted) else { return 1 };
    let same = [
        client.local_addr().ok() == Some(from),
        server.peer_addr().ok() == client.local_addr().ok(),
        client.peer_addr().ok() == Some(address),
        server.local_addr().ok() == Some(address),
    ];
    run.say(format!("addresses -> {same:?}"));
    let mut sides = [Side::new(client), Side::new(server)];
    let steps = 3 + run.below(12);
    for _ in 0..steps {
        let at = run.below(2) as usize;
        step(run, at, &mut sides).await;
    }
    end(run, &mut sides).await;
    steps
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

async fn step(run: &mut Run, at: usize, sides: &mut [Side; 2]) {
    let len = run.pick(SIZES);
    let [side, peer] = two(sides, at);
    let (Some(stream), true) = (&mut side.stream, peer.stream.is_some()) else { return };
    match run.below(14) {
        0..4 => {
            // More is not asked of a stream whose buffers may be full.
            if peer.coming + len > 60_000 || peer.finished {
                return;
            }
            let bytes = run.bytes(len);
            let (written, _) = match run.below(3) {
                0 => stream.write_all(bytes).await,
                1 => stream.write_all(bytes).deadline(Duration::from_secs(60)).await,
                _ => send_vectored(stream, bytes).await,
            };
            run.say(format!("{at}: write_all {len} -> {}", told(&written)));
            peer.coming += if written.is_ok() { len } else { 0 };
        }
        4 => {
            // Dropped in flight or before, it goes out whole or not at all.
            if peer.coming + 5000 > 60_000 || peer.finished || side.ended {
                return;
            }
            let bytes = run.bytes(5000);
            let mut writing = stream.write_all(bytes);
            let submitted = submit(&mut writing).await;
            drop(writing);
            run.say(format!("{at}: write_all 5000, dropped, submitted {submitted}"));
            peer.coming += if submitted { 5000 } else { 0 };
        }
        5..8 => {
            let most = run.pick(&[1, 7, 100, 3000, 100_000]);
            let want = side.coming.min(most);
            if want > 0 {
                let read = read_whole(stream, want).await;
                run.say(format!("{at}: read {want} of {} -> {}", side.coming, told(&read.map(|bytes| shown(&bytes)))));
                side.coming -= want;
            } else if peer.ended && !side.finished {
                let (read, _) = stream.read(room(10)).await;
                run.say(format!("{at}: read at the end -> {}", told(&read)));
            } else if !side.finished {
                let (read, _) = stream.read(room(10)).deadline(LIMIT).await;
                run.say(format!("{at}: read of nothing -> {:?}", read.map_err(|error| error.kind())));
            }
        }
        8 => {
            let how = run.pick(&[Shutdown::Write, Shutdown::Write, Shutdown::Both, Shutdown::Read]);
            // What comes after the end of reading is let in or refused, as the kernel likes.
            if how != Shutdown::Write && (!peer.ended || side.coming > 0) {
                return;
            }
            run.say(format!("{at}: shutdown {how:?} -> {}", told(&stream.shutdown(how).await)));
            side.ended |= how != Shutdown::Read;
            side.finished |= how != Shutdown::Write;
        }
        9 => {
            let on = run.flip();
            let set = stream.set_nodelay(on);
            run.say(format!("{at}: set_nodelay {on} -> {}, {}", told(&set), told(&stream.nodelay())));
        }
        10 => {
            let (read, _) = stream.read(room(0)).await;
            run.say(format!("{at}: read into nothing -> {}", told(&read)));
        }
        11 => {
            if side.coming == 0 && !peer.ended && !side.finished {
                let waited = corering::timeout(LIMIT, stream.recv()).await;
                run.say(format!("{at}: recv of nothing, dropped -> {}", waited.is_err()));
            }
        }
        12 => {
            if side.coming > 0 {
                let chunk = stream.recv().await;
                let chunk = chunk.map(|chunk| chunk.map(|chunk| chunk.to_vec()));
                let Ok(Some(mut bytes)) = chunk else {
                    run.say(format!("{at}: recv -> {}", told(&chunk.map(|chunk| chunk.is_some()))));
                    return;
                };
                // How much comes at once is the kernel's to say, so the rest is read, too.
                let rest = read_whole(stream, side.coming - bytes.len()).await;
                let whole = rest.map(|rest| {
                    bytes.extend(rest);
                    shown(&bytes)
                });
                run.say(format!("{at}: recv and the rest -> {}", told(&whole)));
                side.coming = 0;
            }
        }
        _ => {
            let peers = stream.peer_addr().map(drop);
            run.say(format!(
                "{at}: peer_addr -> {}, local_addr -> {}",
                told(&peers),
                told(&stream.local_addr().map(drop))
            ));
        }
    }
}

fn two(sides: &mut [Side; 2], at: usize) -> [&mut Side; 2] {
    let [first, second] = sides;
    if at == 0 { [first, second] } else { [second, first] }
}

async fn send_vectored(stream: &mut TcpStream, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
    let mut sent = 0;
    loop {
        let left = &bytes[sent..];
        let (first, second) = left.split_at(left.len() / 3);
        let (written, _) = stream.write_vectored(vec![first.to_vec(), second.to_vec()]).await;
        match written {
            Ok(count) => sent += count,
            Err(error) => return (Err(error), bytes),
        }
        if sent == bytes.len() {
            return (Ok(()), bytes);
        }
    }
}

/// Polls a write until the kernel has it, or it has ended.
async fn submit<O: corering::op::Operation>(writing: &mut corering::net::Writing<'_, Op<O>>) -> bool {
    std::future::poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut *writing).poll(cx);
        std::task::Poll::Ready(())
    })
    .await;
    writing.is_submitted()
}

async fn read_whole(stream: &mut TcpStream, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let (read, buffer) = stream.read(room(count - bytes.len())).await;
        let read = read?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
    Ok(bytes)
}

/// One side closes; the other one looks at what it sees then. What was unread would reset the connection: that is for
/// the programs over sockets, which can wait for it.
async fn end(run: &mut Run, sides: &mut [Side; 2]) {
    let at = run.below(2) as usize;
    let [side, peer] = two(sides, at);
    let (Some(mut stream), Some(mut left)) = (side.stream.take(), peer.stream.take()) else { return };
    if !side.finished {
        let read = read_whole(&mut stream, side.coming).await;
        run.say(format!("{at}: read {} -> {}", side.coming, told(&read.map(|bytes| shown(&bytes)))));
    }
    // A close would give up a write that was dropped; what is written later waits for it.
    let (settled, _) = stream.write_all("").await;
    run.say(format!("{at}: settled -> {}, close -> {}", told(&settled), told(&stream.close().await)));
    if !peer.finished {
        let read = read_whole(&mut left, peer.coming).await;
        run.say(format!("{}: read {} -> {}", 1 - at, peer.coming, told(&read.map(|bytes| shown(&bytes)))));
        let (read, _) = left.read(room(10)).await;
        run.say(format!("{}: read at the end -> {}", 1 - at, told(&read)));
    }
    let (written, _) = left.write_all("more").await;
    run.say(format!("{}: write_all -> {}", 1 - at, told(&written)));
}
