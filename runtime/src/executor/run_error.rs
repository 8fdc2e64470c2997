//! Why a future was not run to its end.

use std::{fmt, io};

use crate::error::SetupError;

/// A future was not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The core could not be set up.
    Setup(SetupError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is this one's.
            Self::Setup(error) => error.source(),
        }
    }
}

impl From<SetupError> for RunError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Setup(error) => error.into(),
        }
    }
}
