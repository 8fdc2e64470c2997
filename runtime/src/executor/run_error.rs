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
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Deadlock(deadlock) => deadlock.fmt(f),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is this one's.
            Self::Setup(error) => error.source(),
            Self::Deadlock(_) => None,
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
        }
    }
}
