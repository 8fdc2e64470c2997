//! Ways to go about an operation, and what becomes of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use corering::op::{Op, Operation};

use crate::cases::{a_moment, below, poll_once};

/// What has become of an operation.
pub(super) enum Fate<T> {
    /// It has ended; perhaps since it was cancelled.
    Ended(T),
    /// The kernel never had it.
    Never,
    /// Its future was dropped while the kernel had it, or before its result was fetched.
    Orphaned,
    /// One of the two.
    NeverOrOrphaned,
}

/// Goes about it in any way that ends with the future.
pub(super) async fn any_way<O: Operation<Output: 'static>>(op: Op<O>) -> Fate<O::Output> {
    match below(6) {
        0 => Fate::Ended(op.await),
        1 => poll_then_drop(op).await,
        2 => poll_then_cancel(op).await,
        3 => Fate::Ended(op.deadline(Duration::from_micros(below(150))).await),
        4 => in_a_task(op).await,
        _ => cancel_then_drop(op).await,
    }
}

/// Goes about it in any way that does not cancel what changes something.
pub(super) async fn any_way_but_cancel<O: Operation<Output: 'static>>(op: Op<O>) -> Fate<O::Output> {
    match below(4) {
        0 | 1 => Fate::Ended(op.await),
        2 => poll_then_drop(op).await,
        _ => in_a_task(op).await,
    }
}

/// Polls it so often, with moments in between. The output, if it has ended.
async fn poll_some<O: Operation>(op: &mut Op<O>) -> Option<O::Output> {
    for poll in 0..below(4) {
        if poll > 0 {
            a_moment(60).await;
        }
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *op).poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
    }
    if below(2) == 0 {
        a_moment(100).await;
    }
    None
}

async fn poll_then_drop<O: Operation>(mut op: Op<O>) -> Fate<O::Output> {
    match poll_some(&mut op).await {
        Some(output) => Fate::Ended(output),
        None if op.is_submitted() => Fate::Orphaned,
        None => Fate::Never,
    }
}

async fn poll_then_cancel<O: Operation>(mut op: Op<O>) -> Fate<O::Output> {
    match poll_some(&mut op).await {
        Some(output) => Fate::Ended(output),
        None => Fate::Ended(op.cancel().await),
    }
}

async fn cancel_then_drop<O: Operation>(mut op: Op<O>) -> Fate<O::Output> {
    if let Some(output) = poll_some(&mut op).await {
        return Fate::Ended(output);
    }
    let submitted = op.is_submitted();
    let mut cancel = op.cancel();
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut cancel).poll(cx))).await;
    match polled {
        Poll::Ready(output) => Fate::Ended(output),
        Poll::Pending if submitted => Fate::Orphaned,
        Poll::Pending => Fate::NeverOrOrphaned,
    }
}

async fn in_a_task<O: Operation<Output: 'static>>(op: Op<O>) -> Fate<O::Output> {
    let task = corering::spawn(op);
    if below(2) == 0 {
        a_moment(80).await;
        task.abort();
    }
    match task.await {
        Ok(output) => Fate::Ended(output),
        Err(error) => {
            assert!(error.is_cancelled(), "{error}");
            Fate::NeverOrOrphaned
        }
    }
}

/// Begins it and forgets its future: it stays until the core ends.
pub(super) async fn forget<O: Operation>(mut op: Op<O>) {
    // One that waits for others before it is submitted is still the future's own, and would be lost with it.
    if !poll_once(&mut op).await && op.is_submitted() {
        std::mem::forget(op);
    }
}
