//! Models of the lock-free pieces, over every order that two pushers and a receiver can have.
//!
//! Run with `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p corering-sync --release --test loom`.
#![cfg(loom)]
#![allow(missing_docs, reason = "a test binary has no public API")]

use std::ptr::{self, NonNull};

use corering_sync::inbox::{Inbox, Node};
use corering_sync::shim::atomic::{AtomicPtr, AtomicUsize, Ordering};
use corering_sync::sleep::Sleeper;
use loom::sync::Arc;
use loom::thread;

struct Letter {
    link: AtomicPtr<Letter>,
    text: u32,
}

// SAFETY: `link` returns the one link of the node, which only the inbox writes.
unsafe impl Node for Letter {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

fn letter(text: u32) -> NonNull<Letter> {
    NonNull::from(Box::leak(Box::new(Letter { link: AtomicPtr::new(ptr::null_mut()), text })))
}

fn open(letter: NonNull<Letter>) -> u32 {
    // SAFETY: made by `letter` from a box, and owned by whoever took it out of the inbox.
    unsafe { Box::from_raw(letter.as_ptr()) }.text
}

fn send(inbox: &Inbox<Letter>, text: u32) -> bool {
    let node = letter(text);
    // SAFETY: the node is leaked, so it stays valid until `open` takes it.
    let sent = unsafe { inbox.push(node) };
    if sent.is_err() {
        open(node);
    }
    sent.is_ok()
}

#[test]
fn every_letter_arrives_once_and_in_each_senders_order() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let senders: Vec<_> = [10, 20]
            .map(|base| {
                let inbox = inbox.clone();
                thread::spawn(move || {
                    assert!(send(&inbox, base));
                    assert!(send(&inbox, base + 1));
                })
            })
            .into();
        let mut seen: Vec<u32> = inbox.take().map(open).collect();
        for sender in senders {
            sender.join().unwrap();
        }
        seen.extend(inbox.take().map(open));
        let of = |base: u32| -> Vec<u32> { seen.iter().copied().filter(|t| t / 10 == base).collect() };
        assert_eq!(of(1), [10, 11]);
        assert_eq!(of(2), [20, 21]);
    });
}

#[test]
fn after_close_a_letter_is_either_taken_or_refused() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let sender = {
            let inbox = inbox.clone();
            thread::spawn(move || usize::from(send(&inbox, 1)) + usize::from(send(&inbox, 2)))
        };
        let taken = inbox.take().map(open).count() + inbox.close().map(open).count();
        assert_eq!(sender.join().unwrap(), taken);
    });
}

#[test]
fn no_wake_is_lost_between_the_announcement_and_the_sleep() {
    loom::model(|| {
        let sleeper = Arc::new(Sleeper::new());
        let inbox = Arc::new(Inbox::new());
        let bells = Arc::new(AtomicUsize::new(0));
        let wakers: Vec<_> = (0..2)
            .map(|text| {
                let (sleeper, inbox, bells) = (sleeper.clone(), inbox.clone(), bells.clone());
                thread::spawn(move || {
                    assert!(send(&inbox, text));
                    if sleeper.must_wake() {
                        bells.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();

        sleeper.announce();
        let mut seen = inbox.take().map(open).count();
        for waker in wakers {
            waker.join().unwrap();
        }
        // Asleep now: whatever we did not see, somebody has rung for.
        let late = inbox.take().map(open).count();
        if late > 0 {
            assert!(bells.load(Ordering::SeqCst) > 0, "a letter lies there and nobody rang");
        }
        seen += late;
        assert_eq!(seen, 2);
        assert!(bells.load(Ordering::SeqCst) <= 1, "one bell for a burst");
    });
}
