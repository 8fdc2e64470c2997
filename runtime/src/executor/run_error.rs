//! Why a future was not run to its end.

use std::{fmt, io};

use super::Deadlock;
use crate::error::SetupError;

/// A future was not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The core could not be set up.
    Setup(SetupError),
    /// Nothing could ever run again.
    Deadlock(Deadlock),
    /// Ctrl-C was pressed: see [`Builder::cancel_on_ctrl_c`](crate::Builder::cancel_on_ctrl_c).
    Interrupted,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Deadlock(deadlock) => deadlock.fmt(f),
            Self::Interrupted => f.write_str("interrupted by Ctrl-C"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is this one's.
            Self::Setup(error) => error.source(),
            Self::Deadlock(_) | Self::Interrupted => None,
        }
    }
}

impl From<SetupError> for RunError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<Deadlock> for RunError {
    fn from(deadlock: Deadlock) -> Self {
        Self::Deadlock(deadlock)
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Setup(error) => error.into(),
            RunError::Deadlock(deadlock) => io::Error::new(io::ErrorKind::Deadlock, deadlock),
            RunError::Interrupted => io::Error::new(io::ErrorKind::Interrupted, error),
        }
    }
}
