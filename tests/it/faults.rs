//! What goes wrong in between: destructors, submissions and hooks that panic, parts that end early, and cores that
//! end at a bad moment.

use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use corering::buf::{IoBuf, IoBufMut, Room};
use corering::op::{
    Completion, Multishot, Op, Operation, Receive, ReceiveMulti, Receiver, SendAll, Submission, WriteAll, chain,
    io_uring,
};
use corering::{Builder, io};

use crate::{clean, clean_on, folder, metrics, pair, pipe_to, poll_once, put_into, run_then, soon, turn};

/// A buffer that does something when it is dropped.
pub(crate) struct Dropped<F: FnMut()>(pub(crate) Vec<u8>, pub(crate) F);

impl<F: FnMut()> Drop for Dropped<F> {
    fn drop(&mut self) {
        (self.1)();
    }
}

impl<F: FnMut() + 'static> IoBuf for Dropped<F> {
    fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl<F: FnMut() + 'static> IoBufMut for Dropped<F> {
    fn room(&mut self) -> Room<'_> {
        self.0.room()
    }

    unsafe fn advance(&mut self, count: usize) {
        // SAFETY: the caller's promise is about the same room.
        unsafe { self.0.advance(count) };
    }
}

/// A buffer whose destructor panics, and counts how often it ran.
fn explosive(runs: &Rc<Cell<u32>>) -> Dropped<impl FnMut() + 'static> {
    let runs = runs.clone();
    Dropped(Vec::with_capacity(8), move || {
        runs.set(runs.get() + 1);
        panic!("a destructor that panics");
    })
}

/// A no-op of the kernel, whose submission may panic.
pub(crate) struct Nop {
    panics: bool,
    _buffer: Option<Box<dyn Send>>,
}

// SAFETY: a no-op points to nothing.
unsafe impl Operation for Nop {
    type Output = io::Result<u32>;

    fn submission(&mut self) -> Submission {
        assert!(!self.panics, "a submission that panics");
        io_uring::opcode::Nop::new().build()
    }

    fn complete(self, completion: Completion) -> io::Result<u32> {
        completion.to_result()
    }
}

pub(crate) fn nop(panics: bool) -> Op<Nop> {
    Op::new(Nop { panics, _buffer: None })
}

#[test]
fn a_destructor_that_panics_in_the_background_hits_nobody_else() {
    clean(async || {
        let runs = Rc::new(Cell::new(0));
        let (socket, mut peer) = pair().await;
        let mut receive = Op::new(Receive::new(&socket, explosive(&runs)));
        assert!(!poll_once(&mut receive).await);
        turn().await;
        drop(receive);
        // Completions that come in the same batch reach those who wait for them.
        let others: Vec<_> = (0..20).map(|_| corering::spawn(nop(false))).collect();
        peer.write_all(b"now").await.expect("open");
        for other in others {
            other.await.expect("no panic").expect("done");
        }
        while runs.get() == 0 {
            turn().await;
        }
        assert_eq!(runs.get(), 1);
    });
}

#[test]
fn a_destructor_that_panics_runs_once_and_its_slot_is_free_again() {
    clean(async || {
        let runs = Rc::new(Cell::new(0));
        let (socket, mut peer) = pair().await;
        let mut receive = Op::new(Receive::new(&socket, explosive(&runs)));
        assert!(!poll_once(&mut receive).await);
        peer.write_all(b"done").await.expect("open");
        // Completed, and not fetched.
        corering::time::sleep(Duration::from_millis(5)).await;
        assert!(catch_unwind(AssertUnwindSafe(|| drop(receive))).is_err());
        assert_eq!(runs.get(), 1);
        assert_eq!(metrics().operations, 0);
    });
}

#[test]
fn a_chain_whose_submission_panics_gives_up_what_came_before() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        let mut linked = chain((Op::new(SendAll::new(&socket, "never")), nop(true), nop(false)));
        let polled = corering::spawn(async move { poll_once(&mut linked).await }).await;
        assert!(polled.expect_err("it panics").is_panic());
        Op::new(SendAll::new(&socket, "sent")).await.0.expect("sent");
        assert_eq!(soon(peer.read_exact(4)).await.expect("four bytes"), b"sent");
    });
}

#[test]
fn chains_stay_whole_in_the_shortest_queue() {
    clean_on(Builder::new().entries(1), async || {
        let folder = folder();
        let paths: Rc<Vec<_>> = Rc::new((0..40).map(|number| folder.join(number.to_string())).collect());
        for (number, path) in paths.iter().enumerate() {
            put_into(path, number.to_string());
        }
        for round in 0..8 {
            let mut readers = Vec::new();
            for number in 0..paths.len() {
                let paths = paths.clone();
                // Single operations in between, so that chains meet every amount of room.
                for _ in 0..(number + round) % 4 {
                    drop(corering::spawn(nop(false)));
                }
                readers.push(corering::spawn(async move { corering::fs::read(&paths[number]).await }));
            }
            for (number, reader) in readers.into_iter().enumerate() {
                let bytes = reader.await.expect("no panic").expect("read");
                assert_eq!(bytes, number.to_string().as_bytes());
            }
        }
    });
}

#[test]
fn what_a_dropped_chain_has_not_begun_is_cancelled_when_it_begins() {
    clean(async || {
        let (socket, mut peer) = pair().await;
        // The send is left to finish, and then the receive begins, for which nobody waits.
        let send = Op::new(SendAll::new(&socket, "sent"));
        let receive = Op::new(Receive::new(&socket, Vec::with_capacity(8)));
        let mut linked = chain((send, receive));
        assert!(!poll_once(&mut linked).await);
        drop(linked);
        turn().await;
        assert_eq!(soon(peer.read_exact(4)).await.expect("four bytes"), b"sent");
        // `clean` waits until nothing is in flight; the peer is open until then.
        while metrics().operations > 0 {
            turn().await;
        }
        drop(peer);
    });
}

#[test]
fn a_deadline_ends_a_send_that_went_out_in_part() {
    clean(async || {
        for cancels in [false, true] {
            let (socket, peer) = pair().await;
            let send = Op::new(SendAll::new(&socket, vec![7; 8 << 20]));
            let (result, buffer) = if cancels {
                let mut send = send;
                assert!(!poll_once(&mut send).await);
                turn().await;
                send.cancel().await
            } else {
                send.deadline(Duration::from_millis(20)).await
            };
            let error = result.expect_err("nobody reads");
            if cancels {
                assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
            } else {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }
            assert_eq!(buffer.len(), 8 << 20);
            drop(peer);
        }
    });
}

#[test]
fn a_write_of_many_parts_goes_on_after_its_future_was_dropped() {
    clean(async || {
        // A pipe takes 64 KiB at once, so this is four parts at least.
        let (pipe, mut reader) = pipe_to().await;
        let mut write = Op::new(WriteAll::stream(&pipe, vec![b'a'; 256 * 1024]));
        assert!(!poll_once(&mut write).await);
        turn().await;
        drop(write);
        let all = corering::spawn(async move { reader.read_to_end().await });
        Op::new(WriteAll::stream(&pipe, "end")).await.0.expect("written");
        pipe.close().await.expect("closed");
        let all = all.await.expect("no panic").expect("to the end");
        assert_eq!(all.len(), 256 * 1024 + 3);
        assert!(all.ends_with(b"aend"));
    });
}

#[test]
fn cancelling_a_descriptor_ends_what_waits_on_it() {
    clean(async || {
        let (socket, peer) = pair().await;
        let mut items = Multishot::new(ReceiveMulti::new(&socket, 0).expect("a pool"));
        let waiting = corering::spawn(async move { std::future::poll_fn(|cx| items.poll_next(cx)).await.map(drop) });
        let (pipe, _other) = pair().await;
        let write = corering::spawn({
            let pipe = pipe.clone();
            async move { Op::new(SendAll::new(&pipe, vec![0; 8 << 20])).await.0 }
        });
        for _ in 0..5 {
            turn().await;
        }
        socket.cancel_all();
        pipe.cancel_all();
        for ended in [waiting.await, write.await] {
            let error = ended.expect("no panic").expect_err("cancelled");
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}");
        }
        drop(peer);
    });
}

#[test]
fn a_descriptor_closes_after_a_multishot_on_it_was_dropped() {
    clean(async || {
        for _ in 0..50 {
            let (socket, _peer) = pair().await;
            let mut items = Multishot::new(ReceiveMulti::new(&socket, 0).expect("a pool"));
            assert!(!poll_once(&mut std::future::poll_fn(|cx| items.poll_next(cx))).await);
            turn().await;
            drop(items);
            socket.close().await.expect("nobody else holds it");
        }
    });
}

#[test]
fn stopping_a_receiver_may_be_given_up() {
    clean(async || {
        for own in [false, true] {
            let (socket, mut peer) = pair().await;
            let mut receiver = Receiver::new(socket);
            receiver.set_chunk_bytes(if own { 1 << 20 } else { 0 });
            assert!(!poll_once(&mut std::future::poll_fn(|cx| receiver.poll_chunk(cx))).await);
            turn().await;
            // It has arrived, and the kernel says so only in the next turn.
            peer.write_all(b"early").await.expect("open");
            {
                let mut stop = Box::pin(receiver.stop());
                let _ = poll_once(&mut stop).await;
            }
            let chunk = std::future::poll_fn(|cx| receiver.poll_chunk(cx)).await.expect("received");
            assert_eq!(&chunk.expect("not the end")[..], b"early");
            receiver.stop().await;
        }
    });
}

#[test]
fn descriptors_that_are_dropped_last_are_closed_when_the_core_ends() {
    let body = async || {
        let (mut sockets, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            let (socket, peer) = pair().await;
            sockets.push(socket);
            peers.push(peer);
        }
        drop(sockets);
        peers
    };
    for _ in 0..20 {
        run_then(Builder::new(), body, |peers| {
            for mut peer in peers {
                assert!(peer.is_closed());
            }
        });
    }
}

#[test]
fn a_hook_that_panics_stops_nothing() {
    clean(async || {
        let told = Rc::new(Cell::new(0));
        corering::task::on_unhandled({
            let told = told.clone();
            move |_| {
                told.set(told.get() + 1);
                panic!("a hook that panics");
            }
        });
        for _ in 0..3 {
            drop(corering::spawn(async { panic!("a task that panics") }));
        }
        struct Unprintable;
        impl std::fmt::Display for Unprintable {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("an error that panics")
            }
        }
        corering::spawn(async { Err::<(), _>(Unprintable) }).detach();
        turn().await;
        turn().await;
        assert_eq!(told.get(), 4);
    });
}
