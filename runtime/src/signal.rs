//! Signals of the process: Ctrl-C, and what else others send.
//!
//! ```text
//!  the kernel, on any thread --> handler (sys::signal) --> the listener's bell --> the ring --> Signals::next
//! ```
//!
//! While somebody listens for a signal, it does not do what it does otherwise, such as ending the process. A handler that
//! was set before by somebody else is called, too. When the last one who listens for a signal is dropped, what was set
//! before is set again: a second Ctrl-C behind [`ctrl_c`] or [`shutdown`] ends the process at once.
//!
//! The wait for the bell belongs to the listener, not to the call that waits: a call that is dropped loses nothing.
//!
//! # Examples
//!
//! Until the first Ctrl-C, or `kill`:
//!
//! ```
//! use corering_runtime::{signal, time};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # unsafe extern "C" { fn raise(signal: i32) -> i32; }
//!
//! corering_runtime::run(async {
//!     let work = corering_runtime::spawn(async { time::sleep(time::Duration::from_secs(3600)).await });
//!     # corering_runtime::spawn(async { corering_runtime::task::yield_now().await; unsafe { raise(15) } });
//!     let signal = signal::shutdown().await?;
//!     println!("{signal}: shutting down");
//!     work.abort();
//!     # assert_eq!(signal, signal::SignalKind::TERMINATE);
//!     std::io::Result::Ok(())
//! })??;
//! # Ok(()) }
//! ```

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::driver::calls;
use crate::op::{Descriptor, Op, Readiness};
use crate::sys::signal::{LAST, Listening, real_time, signals_of};

/// Waits for Ctrl-C (SIGINT). It listens from the call on, not only from its first poll on.
///
/// The next Ctrl-C, when this has ended or was dropped, does what it did before: it ends the process, unless somebody else
/// listens. To hear each, also between two waits, keep a [`Signals`].
///
/// # Errors
///
/// As [`Signals::new`].
///
/// # Cancel safety
///
/// Dropped, it listens no more.
///
/// # Examples
///
/// ```
/// # unsafe extern "C" { fn raise(signal: i32) -> i32; }
/// corering_runtime::run(async {
///     # corering_runtime::spawn(async { corering_runtime::task::yield_now().await; unsafe { raise(2) } });
///     corering_runtime::signal::ctrl_c().await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> + use<> {
    let signals = Signals::new([SignalKind::INTERRUPT]);
    async move {
        // Dropped as soon as it has been told.
        let mut signals = signals?;
        signals.next().await.map(drop)
    }
}

/// Waits for what asks a program to end: Ctrl-C (SIGINT), or SIGTERM, which `kill`, service managers and containers send.
/// It listens from the call on, not only from its first poll on.
///
/// The next one, when this has ended or was dropped, does what it did before: it ends the process at once, unless somebody
/// else listens. So a shutdown that takes long can be cut short.
///
/// # Errors
///
/// As [`Signals::new`].
///
/// # Cancel safety
///
/// Dropped, it listens no more.
pub fn shutdown() -> impl Future<Output = io::Result<SignalKind>> + use<> {
    let signals = Signals::new([SignalKind::INTERRUPT, SignalKind::TERMINATE]);
    async move {
        let mut signals = signals?;
        signals.next().await
    }
}

/// Tells of signals as they come. A [`Stream`], which does not end.
///
/// A signal that comes while nobody waits is told next. As in the kernel, several of one kind that come before the first is
/// told may be told once. Of several kinds the lowest number is told first. Every listener in the process, on whatever core,
/// is told of each signal.
///
/// # Kernel
///
/// A handler by `sigaction(2)`, with `SA_RESTART`, which rings an eventfd; the ring waits for that by `IORING_OP_POLL_ADD`.
///
/// # Examples
///
/// ```
/// use corering_runtime::signal::{SignalKind, Signals};
/// # unsafe extern "C" { fn raise(signal: i32) -> i32; }
///
/// corering_runtime::run(async {
///     let mut signals = Signals::new([SignalKind::HANGUP, SignalKind::USER1])?;
///     # unsafe { raise(SignalKind::USER1.as_raw()) };
///     # unsafe { raise(SignalKind::HANGUP.as_raw()) };
///     // Somebody has sent both meanwhile.
///     assert_eq!(signals.next().await?, SignalKind::HANGUP);
///     assert_eq!(signals.next().await?, SignalKind::USER1);
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Signals {
    /// The wait for the bell that is under way.
    waiting: Option<Op<Readiness>>,
    bell: Descriptor,
    listening: Listening,
    /// What has come and was not told.
    untold: u64,
}

impl Signals {
    /// Listens for signals of these kinds from now on, on any thread.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for signals that no program can catch (SIGKILL, SIGSTOP), that tell of a
    /// fault in the very code that is running (SIGSEGV, SIGBUS, SIGFPE, SIGILL), or that are none; and if there are no kinds.
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) if 256 listen already in this process. What `eventfd(2)` says, if no
    /// descriptors are left. [`Unsupported`](io::ErrorKind::Unsupported) in a simulated world.
    pub fn new(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Self> {
        let signals: Vec<i32> = kinds.into_iter().map(SignalKind::listenable).collect::<io::Result<_>>()?;
        if signals.is_empty() {
            return Err(invalid("nobody can listen for no signal: name one kind at least".to_owned()));
        }
        let (listening, bell) = calls::listen_for(&signals)?;
        Ok(Self { waiting: None, bell: Descriptor::new(bell), listening, untold: 0 })
    }

    /// Waits for the next signal.
    ///
    /// # Errors
    ///
    /// What `poll(2)` says: nothing, unless the kernel has no memory.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses no signal.
    pub async fn next(&mut self) -> io::Result<SignalKind> {
        poll_fn(|cx| self.poll_signal(cx)).await
    }

    fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SignalKind>> {
        loop {
            if let Some(signal) = signals_of(self.untold).next() {
                self.untold &= self.untold - 1;
                return Poll::Ready(Ok(SignalKind(signal)));
            }
            let waiting = self.waiting.get_or_insert_with(|| Op::new(Readiness::of(&self.bell, libc::POLLIN)));
            let rung = ready!(Pin::new(waiting).poll(cx));
            self.waiting = None;
            rung?;
            // The bell may have been rung for one that was taken together with the last.
            self.untold = self.listening.take();
        }
    }
}

impl Stream for Signals {
    type Item = io::Result<SignalKind>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_signal(cx).map(Some)
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = signals_of(self.listening.wanted()).map(SignalKind);
        f.debug_tuple("Signals").field(&wanted.collect::<Vec<_>>()).finish()
    }
}

/// A kind of signal. See `signal(7)` for what they mean.
///
/// ```
/// use corering_runtime::signal::SignalKind;
///
/// assert_eq!(SignalKind::TERMINATE.as_raw(), 15);
/// assert_eq!(SignalKind::from_raw(10).to_string(), "SIGUSR1");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalKind(i32);

impl SignalKind {
    /// SIGHUP: the terminal is gone. Servers take it as 'read your settings again'.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// SIGINT: Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// SIGQUIT: Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// SIGUSR1, which means what the program says.
    pub const USER1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2, which means what the program says.
    pub const USER2: Self = Self(libc::SIGUSR2);
    /// SIGPIPE: something was written that nobody can read any more. Rust programs ignore it.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// SIGALRM: a timer of `setitimer(2)` or `alarm(2)`.
    pub const ALARM: Self = Self(libc::SIGALRM);
    /// SIGTERM: the polite wish that the program end.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// SIGCHLD: a child has ended or was stopped.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// SIGCONT: it goes on after a stop.
    pub const CONTINUE: Self = Self(libc::SIGCONT);
    /// SIGTSTP: Ctrl-Z.
    pub const TERMINAL_STOP: Self = Self(libc::SIGTSTP);
    /// SIGWINCH: the terminal has another size.
    pub const WINDOW_CHANGE: Self = Self(libc::SIGWINCH);
    /// SIGIO: a descriptor is ready.
    pub const IO: Self = Self(libc::SIGIO);

    /// By its number; those that the C library calls `SIGRTMIN` to `SIGRTMAX` among them.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::SIGHUP => "SIGHUP",
            libc::SIGINT => "SIGINT",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGILL => "SIGILL",
            libc::SIGTRAP => "SIGTRAP",
            libc::SIGABRT => "SIGABRT",
            libc::SIGBUS => "SIGBUS",
            libc::SIGFPE => "SIGFPE",
            libc::SIGKILL => "SIGKILL",
            libc::SIGUSR1 => "SIGUSR1",
            libc::SIGSEGV => "SIGSEGV",
            libc::SIGUSR2 => "SIGUSR2",
            libc::SIGPIPE => "SIGPIPE",
            libc::SIGALRM => "SIGALRM",
            libc::SIGTERM => "SIGTERM",
            libc::SIGCHLD => "SIGCHLD",
            libc::SIGCONT => "SIGCONT",
            libc::SIGSTOP => "SIGSTOP",
            libc::SIGTSTP => "SIGTSTP",
            libc::SIGTTIN => "SIGTTIN",
            libc::SIGTTOU => "SIGTTOU",
            libc::SIGURG => "SIGURG",
            libc::SIGXCPU => "SIGXCPU",
            libc::SIGXFSZ => "SIGXFSZ",
            libc::SIGVTALRM => "SIGVTALRM",
            libc::SIGPROF => "SIGPROF",
            libc::SIGWINCH => "SIGWINCH",
            libc::SIGIO => "SIGIO",
            libc::SIGPWR => "SIGPWR",
            libc::SIGSYS => "SIGSYS",
            _ => return None,
        })
    }

    /// Its number, if it can be listened for.
    fn listenable(self) -> io::Result<i32> {
        match self.0 {
            libc::SIGKILL | libc::SIGSTOP => Err(invalid(format!("{self} does what it does: no program can catch it"))),
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => Err(invalid(format!(
                "{self} tells of a fault in the code that runs: that cannot go on and be told of it"
            ))),
            number if self.name().is_some() || real_time().contains(&number) && number <= LAST as i32 => Ok(number),
            number => Err(invalid(format!("{number} is not the number of a signal that programs may use"))),
        }
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_cannot_be_caught_are_refused_by_name() {
        for (number, says) in [(9, "SIGKILL does"), (19, "SIGSTOP does"), (11, "SIGSEGV tells"), (7, "SIGBUS tells")] {
            let error = Signals::new([SignalKind::USER1, SignalKind::from_raw(number)]).expect_err("refused");
            assert!(error.to_string().starts_with(says), "{error}");
        }
        for number in [i32::MIN, -1, 0, 32, 33, 65, i32::MAX] {
            let error = Signals::new([SignalKind::from_raw(number)]).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}");
        }
        assert_eq!(Signals::new([]).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn real_time_signals_can_be_listened_for() {
        let signals = Signals::new([SignalKind::from_raw(*real_time().end()), SignalKind::USER2]).expect("can be");
        assert_eq!(format!("{signals:?}"), "Signals([SIGUSR2, signal 64])");
    }
}
