//! The simulated kernel: takes the submissions that a ring takes, gives the completions that it gives, and draws all
//! that is left open (order, time, faults) from a seed.
//!
//! Everything in here is plain data that one thread owns. It calls nobody back: it fills memory, posts completions,
//! and says when it has something to do next.

#![allow(dead_code, reason = "its parts come one after the other")]

use std::fmt;

#[allow(unused_imports, reason = "its parts come one after the other")]
pub(crate) use crate::sys::random;

/// An error of a system call, by its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

/// What a system call answers.
pub(crate) type Answer<T> = Result<T, Errno>;

/// A machine of the world, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) u16);
