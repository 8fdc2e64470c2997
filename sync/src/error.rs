//! What can be wrong.

use std::error::Error;
use std::fmt;
use std::io;

/// It could not be had at once: somebody has it, or waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldBlock;

impl fmt::Display for WouldBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be had at once: somebody has it, or waits for it")
    }
}

impl Error for WouldBlock {}

/// No permit was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// The semaphore is closed.
    Closed,
    /// More were wanted than there are.
    TooMany {
        /// How many were wanted.
        wanted: usize,
        /// How many there are, out and not.
        limit: usize,
    },
    /// Not at once: too few are free, or others wait.
    WouldBlock,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the semaphore is closed"),
            Self::TooMany { wanted, limit } => write!(
                f,
                "{wanted} permits were wanted of a semaphore that has {limit}: ask for fewer, or raise it with set_limit"
            ),
            Self::WouldBlock => f.write_str("too few permits are free, or others wait for them"),
        }
    }
}

impl Error for AcquireError {}

/// It is closed, and lets nothing more in or gives nothing more out. Carries what was to go in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T = ()>(pub T);

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is closed")
    }
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

impl<T> Error for Closed<T> {}

/// The item did not go in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPutError<T> {
    /// There is no room, or it is promised to others.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> TryPutError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full, or its room is promised to those who wait",
            Self::Closed(_) => "the queue is closed",
        })
    }
}

impl<T> fmt::Debug for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> Error for TryPutError<T> {}

/// There is no item to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryGetError {
    /// None is there now, or those that are are promised to others.
    Empty,
    /// None is there, and the queue is closed.
    Closed,
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing is there, or it is promised to those who wait",
            Self::Closed => "nothing is there, and it is closed",
        })
    }
}

impl Error for TryGetError {}

/// A size of zero, where at least one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroSize {
    pub(crate) what: &'static str,
}

impl fmt::Display for ZeroSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be at least 1, and is 0", self.what)
    }
}

impl Error for ZeroSize {}

/// The value was set before. Carries the one that came too late.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlreadySet<T>(pub T);

impl<T> fmt::Display for AlreadySet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it has its outcome already")
    }
}

impl<T> fmt::Debug for AlreadySet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlreadySet")
    }
}

impl<T> Error for AlreadySet<T> {}

/// Nobody will set the value any more: it was cancelled, or the one who could has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody will set the value any more: it was cancelled, or its promise was dropped")
    }
}

impl Error for Abandoned {}

/// The barrier was reset or aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier was reset or aborted while this one waited, or has been aborted before")
    }
}

impl Error for Broken {}

/// A value that was sent was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// This many were dropped, since the receiver was too slow; the next are there.
    Lagged(u64),
    /// All senders have gone, and nothing is left.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(count) => write!(f, "the receiver was too slow: {count} values were dropped"),
            Self::Closed => f.write_str("all senders have gone, and nothing is left"),
        }
    }
}

impl Error for RecvError {}

macro_rules! into_io {
    ($($kind:ident: $error:ty),+) => {$(
        impl From<$error> for io::Error {
            fn from(error: $error) -> Self {
                io::Error::new(io::ErrorKind::$kind, error)
            }
        }
    )+};
}

into_io!(WouldBlock: WouldBlock, Other: AcquireError, Other: TryGetError, BrokenPipe: Abandoned, Other: Broken,
    Other: RecvError, InvalidInput: ZeroSize);

impl<T> From<Closed<T>> for io::Error {
    /// What was to go in is dropped.
    fn from(_: Closed<T>) -> Self {
        io::Error::new(io::ErrorKind::BrokenPipe, Closed(()))
    }
}

impl<T> From<TryPutError<T>> for io::Error {
    /// What was to go in is dropped.
    fn from(error: TryPutError<T>) -> Self {
        match error {
            TryPutError::Full(_) => io::Error::new(io::ErrorKind::WouldBlock, TryPutError::Full(())),
            TryPutError::Closed(_) => io::Error::new(io::ErrorKind::BrokenPipe, Closed(())),
        }
    }
}
