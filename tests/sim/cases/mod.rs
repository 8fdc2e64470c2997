//! What goes wrong on real machines once in a million times, made common, and run from many seeds.
//!
//! - `enters`: calls into the kernel that fail, queues that are full, bursts, strange completions
//! - `drops`: futures that are dropped at every point
//! - `cancels`: operations that are cancelled at every point
//! - `ends`: cores that end with everything pending
//!
//! Invariant: a scenario ends with [`leaves_nothing`], or looks at what is left in its own way.

mod cancels;
mod drops;
mod ends;
mod enters;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::op::socket2::{Domain, Type};
use corering::op::{Connect, Descriptor, Op};
use corering::sim::{Host, Kernel};
use corering::{Builder, io};

use crate::lent::Buffers;

/// Runs a scenario from each of so many seeds; fewer where nothing is optimised. `CORERING_SEEDS` says how many,
/// `CORERING_SEED` which one.
#[track_caller]
pub(crate) fn seeds(most: u64, scenario: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a whole number"));
    let most = number("CORERING_SEEDS").unwrap_or(if cfg!(debug_assertions) { most.div_ceil(25) } else { most });
    let chosen: Option<u64> = number("CORERING_SEED");
    for seed in chosen.map_or(0..most, |seed| seed..seed + 1) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("failed from CORERING_SEED={seed}");
            resume_unwind(payload);
        }
    }
}

/// A kernel that does everything that it may do, often.
pub(crate) fn wild() -> Kernel {
    Kernel::new()
        .short_transfers(0.5)
        .short_files(0.3)
        .deferred(0.5)
        .interrupted(0.3)
        .refused(0.3)
        .multishots_ended(0.2)
        .worker_interrupted(0.2)
        .not_cached(0.3)
}

/// A core of which everything is small.
pub(crate) fn tiny() -> Builder {
    Builder::new().entries(8).cq_entries(16).buffers(4, 256)
}

/// Numbers for a scenario, of a world's own.
pub(crate) fn below(limit: u64) -> u64 {
    corering::random() % limit
}

/// Waits a moment, of up to so many microseconds.
pub(crate) async fn a_moment(most_us: u64) {
    corering::sleep(Duration::from_micros(below(most_us + 1))).await;
}

/// Polls once. True if it has ended.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await
}

/// Polls a future up to so many times, each time after a moment, then drops it. What it gave, if it ended.
pub(crate) async fn poll_and_drop<F: Future>(future: F, polls: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    for poll in 0..polls {
        if poll > 0 {
            a_moment(40).await;
        }
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
    }
    None
}

/// Connects to who may not listen yet.
pub(crate) async fn connect(host: &Host, port: u16) -> TcpStream {
    loop {
        match TcpStream::connect(host.addr(port)).await {
            Ok(stream) => return stream,
            Err(_) => corering::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// A plain socket that is connected to itself over a listener, and the stream at its other end.
pub(crate) async fn socket_and_peer(host: &Host) -> io::Result<(Descriptor, TcpStream)> {
    let listener = TcpListener::bind(host.addr(0)).await?;
    let socket = Descriptor::socket(Domain::IPV4, Type::STREAM, None)?;
    Op::new(Connect::new(&socket, listener.local_addr()?.into())).await?;
    let (peer, _) = listener.accept().await?;
    listener.close().await?;
    Ok((socket, peer))
}

/// The bytes from `start` on of a stream in which every position has its own byte.
pub(crate) fn pattern(start: usize, len: usize) -> Vec<u8> {
    (start..start + len).map(byte_at).collect()
}

fn byte_at(position: usize) -> u8 {
    (position.wrapping_mul(0x9e37_79b1) >> 13) as u8
}

/// Waits until what was given up has ended; then nothing may be left of a program on the only core of `host`.
pub(crate) async fn leaves_nothing(host: &Host, buffers: &Buffers) {
    let mut left = String::new();
    for _ in 0..2_000 {
        let metrics = corering::metrics().expect("a core");
        let counts = (metrics.operations, metrics.operations_in_flight, metrics.timers, metrics.tasks);
        let held = (metrics.buffers_held, buffers.alive());
        // The core's own are its bell, and the poll of it.
        let open = (host.descriptors(), host.open_files(), host.requests());
        if counts == (0, 0, 0, 1) && held == (0, 0) && open == (1, 0, 1) {
            assert_eq!(metrics.unknown_completions, 0, "completions that belong to nothing");
            buffers.assert_untouched();
            return;
        }
        left = format!("{counts:?}; {held:?}; {open:?}");
        corering::sleep(Duration::from_millis(1)).await;
    }
    panic!(
        "operations, in flight, timers, tasks; pooled buffers, buffers; descriptors, files, requests are left: {left}"
    );
}
