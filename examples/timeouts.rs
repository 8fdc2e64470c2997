//! Cancelling and deadlines, told step by step: `timeouts [STEP...] [--real-time]`.
//!
//! What asyncio does by an exception (`CancelledError`, caught by `finally`, `async with` and `timeout`) is done here
//! by dropping a future. The steps show what that means for code: what is not run any more, what is cleaned up and
//! who waits for that, what goes on, and which of several deadlines is the one that is over. Each step says what
//! happened, and panics if it was anything else.
//!
//! The clock is that of tests: it jumps to the next timer. With `--real-time` the run takes as long as it says.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Parser, ValueEnum};
use corering::sync::{Lock, Queue};
use corering::time::{Instant, sleep, timeout, timeout_scope};
use corering::{Builder, TaskGroup, cancel, shield, task};

/// Shows how things are cancelled, limited in time, and cleaned up after.
#[derive(Parser)]
struct Arguments {
    /// What to show; all if nothing is named.
    #[arg(value_enum)]
    steps: Vec<Step>,
    /// Wait in earnest.
    #[arg(long)]
    real_time: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Abort and cancel.
    Cancel,
    /// `timeout`, and what it leaves alone.
    Timeout,
    /// `shield`.
    Shield,
    /// `cancel::finally`.
    Finally,
    /// `cancel::with`.
    With,
    /// Deadlines within deadlines.
    Nested,
    /// A deadline that is moved.
    Reschedule,
    /// A deadline around a group.
    Group,
}

fn main() -> ExitCode {
    let Arguments { steps, real_time } = Arguments::parse();
    let result = Builder::new().paused_time(!real_time).run(async {
        for step in Step::value_variants() {
            if steps.is_empty() || steps.contains(step) {
                let story = Rc::new(Story { start: Instant::now(), lines: RefCell::default() });
                match step {
                    Step::Cancel => abort_and_cancel(&story).await,
                    Step::Timeout => a_timeout(&story).await,
                    Step::Shield => a_shield(&story).await,
                    Step::Finally => finally(&story).await,
                    Step::With => with(&story).await,
                    Step::Nested => nested(&story).await,
                    Step::Reschedule => reschedule(&story).await,
                    Step::Group => a_group(&story).await,
                }
            }
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("timeouts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What happened in a step, and when.
struct Story {
    start: Instant,
    lines: RefCell<Vec<String>>,
}

impl Story {
    fn tell(&self, line: &str) {
        let after = self.start.elapsed().as_secs_f64();
        // Whoever reads may have gone; the steps go on.
        let _ = writeln!(io::stdout(), "  {after:5.2} s  {line}");
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn title(&self, title: &str) {
        let _ = writeln!(io::stdout(), "{title}");
    }

    /// A future that says when it is over, or dropped.
    async fn work(self: Rc<Self>, name: &'static str, ms: u64) -> &'static str {
        struct Dropped(Option<Rc<Story>>, &'static str);
        impl Drop for Dropped {
            fn drop(&mut self) {
                if let Some(story) = self.0.take() {
                    story.tell(&format!("{}: dropped while it waited", self.1));
                }
            }
        }
        let mut dropped = Dropped(Some(self), name);
        sleep(millis(ms)).await;
        if let Some(story) = dropped.0.take() {
            story.tell(&format!("{name}: done"));
        }
        name
    }

    /// Panics unless these lines were told, in this order.
    fn was(&self, expected: &[&str]) {
        assert_eq!(*self.lines.borrow(), expected, "the story went otherwise");
    }
}

fn millis(ms: u64) -> corering::time::Duration {
    corering::time::Duration::from_millis(ms)
}

async fn abort_and_cancel(story: &Rc<Story>) {
    story.title("cancel: a task ends at its next wait");
    let aborted = corering::spawn(story.clone().work("aborted", 1000));
    let cancelled = corering::spawn(story.clone().work("cancelled", 1000));
    let never_begun = corering::spawn(story.clone().work("never begun", 1000));
    never_begun.abort();
    task::yield_now().await;
    aborted.abort();
    story.tell("abort has returned, the task is still there");
    assert!(cancelled.cancel().await.is_err_and(|error| error.is_cancelled()));
    story.tell("cancel().await has returned, the task is gone");
    // The error is a value: it does not cancel who awaits.
    assert!(aborted.await.is_err_and(|error| error.is_cancelled()));
    assert!(never_begun.await.is_err_and(|error| error.is_cancelled()));
    story.was(&[
        "abort has returned, the task is still there",
        "aborted: dropped while it waited",
        "cancelled: dropped while it waited",
        "cancel().await has returned, the task is gone",
    ]);
}

async fn a_timeout(story: &Rc<Story>) {
    story.title("timeout: the future is dropped, and loses nothing that others have");
    assert_eq!(timeout(millis(500), story.clone().work("quick", 200)).await, Ok("quick"));
    assert!(timeout(millis(300), story.clone().work("slow", 1000)).await.is_err());
    // A wait for an item, or for a lock, may be given up at any moment: nothing is lost, nothing stays locked.
    let (queue, lock) = (Queue::unbounded(), Lock::new(0));
    assert!(timeout(millis(100), queue.get()).await.is_err());
    let held = lock.lock().await;
    assert!(timeout(millis(100), lock.lock()).await.is_err());
    drop(held);
    assert!(queue.try_put("an item").is_ok() && queue.len() == 1 && !lock.is_locked());
    story.tell("the queue has its item, and the lock is free");
    story.was(&["quick: done", "slow: dropped while it waited", "the queue has its item, and the lock is free"]);
}

async fn a_shield(story: &Rc<Story>) {
    story.title("shield: the wait ends, the work goes on");
    let commit = shield(story.clone().work("commit", 1000));
    assert!(timeout(millis(400), commit).await.is_err());
    story.tell("nobody waits for it any more");
    sleep(millis(1000)).await;
    story.was(&["nobody waits for it any more", "commit: done"]);
}

async fn finally(story: &Rc<Story>) {
    story.title("cancel::finally: cleanup that may wait, too, on every path");
    let goodbye = |story: &Rc<Story>| {
        let story = story.clone();
        async move {
            sleep(millis(200)).await;
            story.tell("said goodbye");
        }
    };
    cancel::finally(story.clone().work("first", 100), goodbye(story)).await;
    let second = cancel::finally(story.clone().work("second", 5000), goodbye(story));
    assert!(timeout(millis(500), second).await.is_err());
    story.tell("the timeout has waited for the cleanup");
    story.was(&[
        "first: done",
        "said goodbye",
        "second: dropped while it waited",
        "said goodbye",
        "the timeout has waited for the cleanup",
    ]);
}

async fn with(story: &Rc<Story>) {
    story.title("cancel::with: acquire, use, release, as `async with` does");
    let open = Rc::new(Cell::new(0));
    let session = async |open: Rc<Cell<i32>>, story: Rc<Story>, ms| {
        let connect = async {
            open.set(open.get() + 1);
            Ok::<_, io::Error>(open.clone())
        };
        let query = async |_: &mut Rc<Cell<i32>>| Ok(story.clone().work("query", ms).await);
        let close = async |open: Rc<Cell<i32>>| {
            sleep(millis(50)).await;
            open.set(open.get() - 1);
            Ok(())
        };
        cancel::with(connect, query, close).await
    };
    assert!(session(open.clone(), story.clone(), 100).await.is_ok());
    let late = corering::spawn(session(open.clone(), story.clone(), 5000));
    sleep(millis(100)).await;
    assert_eq!(open.get(), 1);
    assert!(late.cancel().await.is_err());
    assert_eq!(open.get(), 0);
    story.tell("every connection is closed");
    story.was(&["query: done", "query: dropped while it waited", "every connection is closed"]);
}

async fn nested(story: &Rc<Story>) {
    story.title("nested deadlines: the one that is over says so");
    let inner_is_over = timeout(millis(900), timeout(millis(300), story.clone().work("a", 5000))).await;
    assert!(matches!(inner_is_over, Ok(Err(_))));
    story.tell("the inner one; the outer one has 0.6 s left");
    let outer_is_over = timeout(millis(300), timeout(millis(900), story.clone().work("b", 5000))).await;
    assert!(outer_is_over.is_err());
    story.tell("the outer one; what is inside has gone with it");
    story.was(&[
        "a: dropped while it waited",
        "the inner one; the outer one has 0.6 s left",
        "b: dropped while it waited",
        "the outer one; what is inside has gone with it",
    ]);
}

async fn reschedule(story: &Rc<Story>) {
    story.title("timeout_scope: more time while there is progress");
    let download = timeout_scope(millis(300), async |limit| {
        for part in ["part 1", "part 2", "part 3"] {
            story.clone().work(part, 200).await;
            limit.reschedule(Instant::now() + millis(300)).expect("the time is not over");
        }
        story.clone().work("a stalled part", 5000).await
    });
    assert!(download.await.is_err());
    story.was(&["part 1: done", "part 2: done", "part 3: done", "a stalled part: dropped while it waited"]);
}

async fn a_group(story: &Rc<Story>) {
    story.title("a deadline around a group: nothing of it is left");
    let group = TaskGroup::<io::Error>::scope(async |group| {
        for name in ["one", "two"] {
            group.spawn_infallible(story.clone().work(name, 5000));
        }
        group.spawn_infallible(story.clone().work("three", 100));
        Ok(())
    });
    assert!(timeout(millis(300), group).await.is_err());
    story.tell("all tasks of the group have ended");
    story.was(&[
        "three: done",
        "one: dropped while it waited",
        "two: dropped while it waited",
        "all tasks of the group have ended",
    ]);
}
