//! Programs over files by single operations: in chains, in direct places, cancelled, dropped, with deadlines, and such
//! as no file has.

use std::ffi::CString;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use corering::io;
use corering::op::{
    AcceptMulti, CloseDirect, Connect, Descriptor, DirectSlot, Multishot, Op, OpenAt, OpenDirect, Operation, Read,
    ReadDirect, Readiness, Receive, Send, Stat, Sync, Truncate, Write, WriteAll, WriteVectored, chain,
};

use super::files::{described, path};
use super::sockets::local;
use super::{Run, STEPS, room, shown, told, told_read};

const SIZES: &[usize] = &[0, 1, 10, 20, 21, 100, 4096, 5000];
const OFFSETS: &[u64] = &[0, 0, 1, 10, 19, 20, 4096, 9000, 1 << 63];
/// Nothing here takes so long.
const AMPLE: Duration = Duration::from_secs(60);

pub(super) async fn program(run: &mut Run) {
    let mut file = None;
    for _ in 0..STEPS {
        file = match file.take() {
            None => open(run).await,
            Some(_) if run.below(6) == 0 => open(run).await,
            Some(file) => {
                match run.below(10) {
                    0..4 => simple(run, &file).await,
                    4 => foreign(run, &file).await,
                    5 => unsubmitted(run, &file).await,
                    6 => dropped(run, &file).await,
                    7 => chained(run, &file).await,
                    _ => direct(run).await,
                }
                Some(file)
            }
        };
    }
    if let Some(file) = file {
        run.say(format!("close -> {}", told(&file.close().await)));
    }
}

fn text(path: &str) -> CString {
    CString::new(path.split('\0').next().unwrap_or_default()).expect("no zero within")
}

async fn open(run: &mut Run) -> Option<Descriptor> {
    let (path, said) = path(run);
    let access = run.pick(&[("r", libc::O_RDONLY), ("w", libc::O_WRONLY), ("rw", libc::O_RDWR), ("rw", libc::O_RDWR)]);
    let more = run.pick(&[
        ("", 0),
        ("", 0),
        (" O_CREAT", libc::O_CREAT),
        (" O_CREAT", libc::O_CREAT),
        (" O_APPEND", libc::O_APPEND),
        (" O_CREAT O_APPEND", libc::O_CREAT | libc::O_APPEND),
        (" O_CREAT O_EXCL", libc::O_CREAT | libc::O_EXCL),
        (" O_TRUNC", libc::O_TRUNC),
        (" O_CREAT O_TRUNC", libc::O_CREAT | libc::O_TRUNC),
        (" O_DIRECTORY", libc::O_DIRECTORY),
        (" O_EXCL", libc::O_EXCL),
    ]);
    let open = Op::new(OpenAt::new(text(&path), access.1 | more.1, 0o600));
    let opened = match run.below(3) {
        0 => open.deadline(AMPLE).await,
        _ => open.await,
    };
    run.say(format!("open {said} {}{} -> {}", access.0, more.0, told(&opened.as_ref().map(drop).map_err(number))));
    opened.ok()
}

fn number(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// An operation awaited as it is, or with a deadline that does not pass.
async fn done<O: Operation>(run: &mut Run, op: Op<O>) -> O::Output {
    if run.below(3) == 0 { op.deadline(AMPLE).await } else { op.await }
}

async fn simple(run: &mut Run, file: &Descriptor) {
    let (len, offset) = (run.pick(SIZES), run.pick(OFFSETS));
    let said = match run.below(10) {
        0 => {
            let (read, buffer) = done(run, Op::new(Read::at(file, room(len), offset))).await;
            format!("read {len} at {offset} -> {}", told_read(&read, &buffer))
        }
        1 => {
            let (read, buffer) = done(run, Op::new(Read::stream(file, room(len)))).await;
            format!("read {len} -> {}", told_read(&read, &buffer))
        }
        2 => {
            let op = Op::new(Write::at(file, run.bytes(len), offset));
            format!("write {len} at {offset} -> {}", told(&done(run, op).await.0))
        }
        3 => {
            let op = Op::new(Write::stream(file, run.bytes(len)));
            format!("write {len} -> {}", told(&done(run, op).await.0))
        }
        4 => {
            let op = Op::new(WriteAll::stream(file, run.bytes(len)));
            format!("write_all {len} -> {}", told(&done(run, op).await.0))
        }
        5 => {
            let op = Op::new(WriteVectored::stream(file, vec![run.bytes(len), run.bytes(3)]));
            format!("write_vectored {len} 3 -> {}", told(&done(run, op).await.0))
        }
        6 => format!("sync -> {}", told(&done(run, Op::new(Sync::data(file))).await)),
        7 => format!("truncate {len} -> {}", told(&done(run, Op::new(Truncate::to(file, len as u64))).await)),
        8 => format!("stat -> {}", told(&Stat::of(file).map(described))),
        _ => {
            let (path, said) = path(run);
            let stat = done(run, Op::new(Stat::new(text(&path), true))).await;
            format!("stat {said} -> {}", told(&stat.map(described)))
        }
    };
    run.say(said);
}

/// What is for sockets.
async fn foreign(run: &mut Run, file: &Descriptor) {
    let said = match run.below(8) {
        0 => format!("receive -> {}", told(&Op::new(Receive::new(file, room(5))).await.0)),
        1 => format!("send -> {}", told(&Op::new(Send::new(file, "bytes")).await.0)),
        2 => {
            let mut accept = Multishot::new(AcceptMulti::new(file));
            let accepted = poll_fn(|cx| accept.poll_next(cx)).await;
            accept.close().await;
            format!("accept -> {}", told(&accepted.map(drop)))
        }
        3 => format!("connect -> {}", told(&Op::new(Connect::new(file, local(9))).await)),
        4 => {
            let ready = Op::new(Readiness::of(file, libc::POLLIN | libc::POLLOUT)).await;
            format!("ready for -> {}", told(&ready))
        }
        5 => format!("bind -> {}, listen -> {}", told(&file.bind(&local(0))), told(&file.listen(1))),
        6 => format!("peer_addr -> {}", told(&file.peer_addr().map(drop))),
        _ => format!("seekable {}", file.is_seekable()),
    };
    run.say(said);
}

/// Cancelled before the kernel has heard of it: the file stays as it is.
async fn unsubmitted(run: &mut Run, file: &Descriptor) {
    let op = Op::new(Write::at(file, run.bytes(50), 0));
    run.say(format!("write, cancelled at once -> {}", told(&op.cancel().await.0)));
    drop(Op::new(Truncate::to(file, 0)));
    run.say("truncate, dropped at once");
}

/// Dropped in flight, it happens all the same, before whatever comes later.
async fn dropped(run: &mut Run, file: &Descriptor) {
    let len = run.pick(SIZES);
    let mut op = Op::new(WriteAll::at(file, run.bytes(len), 5));
    let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut op).poll(cx).is_pending())).await;
    drop(op);
    let (read, buffer) = Op::new(Read::at(file, room(40), 0)).await;
    run.say(format!("write {len}, dropped in flight {pending}, then read -> {}", told_read(&read, &buffer)));
}

/// What came of a link: how it is logged, and whether it did all that was asked.
type Came = (String, bool);

/// A kernel worker may be interrupted, and that breaks a chain: then it is done again. The operations are such as may be.
async fn until_not_interrupted(run: &Run, what: &str, mut attempt: impl AsyncFnMut() -> Vec<Came>) {
    loop {
        let came = attempt().await;
        let cancelled = name_of_cancelled();
        let interrupted = came.windows(2).any(|pair| pair[0].1 && pair[1].0 == cancelled);
        if !interrupted {
            let said: Vec<String> = came.into_iter().map(|(said, _)| said).collect();
            run.say(format!("{what} -> {}", said.join("; ")));
            return;
        }
    }
}

/// Whether what is linked to a read begins after it.
fn goes_on(read: &io::Result<usize>, asked: usize, always: bool) -> bool {
    match read {
        Ok(count) => always || *count == asked,
        Err(error) => always && error.raw_os_error() != Some(libc::ECANCELED),
    }
}

fn name_of_cancelled() -> String {
    super::name_of(libc::ECANCELED)
}

async fn chained(run: &mut Run, file: &Descriptor) {
    if file.is_append() {
        // Done again, it would be there twice.
        return;
    }
    let (len, asked, offset) = (run.pick(SIZES), run.pick(SIZES), run.pick(&[0, 10, 4096]));
    let bytes = run.bytes(len);
    let always = run.flip();
    let what = format!("chain write_all {len}, read {asked}{}, sync", if always { " always" } else { "" });
    until_not_interrupted(run, &what, async || {
        let write = Op::new(WriteAll::at(file, bytes.clone(), offset));
        let read = Op::new(Read::at(file, room(asked), offset));
        let read = if always { read.always() } else { read };
        let ((written, _), (read, buffer), synced) = chain((write, read, Op::new(Sync::all(file)))).await;
        let whole = goes_on(&read, asked, always);
        vec![(told(&written), written.is_ok()), (told_read(&read, &buffer), whole), (told(&synced), synced.is_ok())]
    })
    .await;
}

/// Open, read and close in a place that only the ring knows.
async fn direct(run: &mut Run) {
    let (path, said) = path(run);
    let (asked, offset) = (run.pick(SIZES), run.pick(OFFSETS));
    let always = run.flip();
    let what = format!("direct {said}, read {asked} at {offset}{}, close", if always { " always" } else { "" });
    until_not_interrupted(run, &what, async || {
        let Some(slot) = DirectSlot::take() else { return Vec::new() };
        let open = Op::new(OpenDirect::new(text(&path), libc::O_RDONLY, &slot));
        let read = Op::new(ReadDirect::new(&slot, room(asked), offset));
        let read = if always { read.always() } else { read };
        let (opened, (read, buffer), closed) = chain((open, read, Op::new(CloseDirect::new(slot)))).await;
        let whole = goes_on(&read, asked, always);
        vec![(told(&opened), opened.is_ok()), (told_read(&read, &buffer), whole), (told(&closed), closed.is_ok())]
    })
    .await;
    // Once more, from the cache alone: after a read of the same part it is there, unless the kernel has let it go.
    let Some(slot) = DirectSlot::take() else { return };
    if Op::new(OpenDirect::new(text(&path), libc::O_RDONLY, &slot)).await.is_err() || asked == 0 {
        return;
    }
    for _ in 0..50 {
        let (_, _) = Op::new(ReadDirect::new(&slot, room(asked), offset)).await;
        let (read, buffer) = Op::new(ReadDirect::new(&slot, room(asked), offset).cached()).await;
        if read.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)) {
            continue;
        }
        run.say(format!("cached -> {}", told_read(&read, &buffer)));
        return;
    }
    run.say(format!("never cached, {}", shown(said.as_bytes())));
}
