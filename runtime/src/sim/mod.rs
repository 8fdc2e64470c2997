//! The simulated kernel: takes the submissions that a ring takes, gives the completions that it gives, and draws all
//! that is left open (order, time, faults) from a seed.
//!
//! Everything in here is plain data that one thread owns. It calls nobody back: it fills memory, posts completions,
//! and says when it has something to do next.
//!
//! ```text
//! driver --> Ring --> State { hosts { disk, descriptors }, network, requests, clock, trace }
//! seam of the plain calls --> calls ----^        ^---- the controls of a world
//! ```

pub(crate) mod calls;
mod chime;
mod control;
pub(crate) mod disk;
pub(crate) mod file_calls;
pub(crate) mod folder_calls;
pub(crate) mod host;
mod kernel;
mod memory;
pub(crate) mod net;
pub(crate) mod passing_calls;
mod perform;
mod place;
mod queues;
mod request;
mod ring;
pub(crate) mod state;
mod submission;
pub(crate) mod trace;

use std::fmt;

pub(crate) use self::chime::Chime;
pub use self::disk::Storage;
pub use self::host::Call;
pub use self::kernel::Kernel;
pub use self::net::Link;
pub use self::place::is_in_flight;
pub(crate) use self::place::{Place, pass_time_until};
pub(crate) use self::ring::Ring;
pub(crate) use self::state::State;

/// `IORING_CQE_F_*`.
const F_BUFFER: u32 = 1;
const F_MORE: u32 = 1 << 1;
const F_SOCK_NONEMPTY: u32 = 1 << 2;
const F_NOTIF: u32 = 1 << 3;

/// An error of a system call, by its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl From<Errno> for std::io::Error {
    fn from(error: Errno) -> Self {
        std::io::Error::from_raw_os_error(error.0)
    }
}

/// What a system call answers.
pub(crate) type Answer<T> = Result<T, Errno>;

/// A machine of the world, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) u16);
