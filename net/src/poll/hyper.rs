//! As `hyper` reads and writes, and what it runs on: its executor, and its timer.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use corering_runtime::time::{self, Instant};
use hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};

use super::PollStream;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

macro_rules! reads_and_writes {
    ($stream:ident) => {
        impl<S> Read for $stream<S> {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut room: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                let copied = self.get_mut().poll_copy(cx, |arrived| {
                    let count = arrived.len().min(room.remaining());
                    room.put_slice(&arrived[..count]);
                    count
                });
                copied.map_ok(drop)
            }
        }

        writes!(
            $stream,
            Write,
            poll_shutdown,
            fn is_write_vectored(&self) -> bool {
                true
            }
        );
    };
}

reads_and_writes!(PollStream);
#[cfg(feature = "tls")]
reads_and_writes!(TlsStream);

/// Runs what `hyper` spawns, HTTP/2 for one, as tasks of this core. Nothing has to be `Send`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreExecutor;

impl<F> Executor<F> for CoreExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(corering_runtime::spawn(future));
    }
}

/// Times what `hyper` limits, by the timers of this core: without one, a server lets clients take all the time they want
/// to send a request. Made on the core that uses it, so that it follows its clock, also where that is
/// [paused](corering_runtime::Builder::paused_time).
#[derive(Clone, Copy, Debug)]
pub struct CoreTimer {
    /// The same moment by both clocks.
    theirs: std::time::Instant,
    ours: Instant,
}

impl CoreTimer {
    /// By the clock of the core that this thread is.
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "only differences count, and those are of the core's clock")]
        Self { theirs: std::time::Instant::now(), ours: Instant::now() }
    }

    fn ours(&self, theirs: std::time::Instant) -> Instant {
        match theirs.checked_duration_since(self.theirs) {
            Some(later) => self.ours + later,
            None => self.ours - self.theirs.duration_since(theirs),
        }
    }
}

impl Default for CoreTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for CoreTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(CoreSleep(time::sleep(duration)))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(CoreSleep(time::sleep_until(self.ours(deadline))))
    }

    fn now(&self) -> std::time::Instant {
        self.theirs + self.ours.elapsed()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: std::time::Instant) {
        match sleep.as_mut().downcast_mut_pin::<CoreSleep>() {
            Some(sleep) => sleep.get_mut().0.reset(self.ours(deadline)),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

struct CoreSleep(time::Sleep);

impl Future for CoreSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl Sleep for CoreSleep {}
