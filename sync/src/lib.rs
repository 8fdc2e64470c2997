//! The ground floor of corering: what cores and tasks use to talk to each other.
//!
//! Nothing here knows the runtime; [`core::task::Waker`] is all it needs. So every piece can be used
//! on any executor and is model-checked alone (`tests/loom.rs`).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`inbox`] | a lock-free list that many threads push to and one thread empties |
//! | [`sleep`] | the protocol between a thread that is about to sleep and those who must wake it |

pub mod inbox;
pub mod shim;
pub mod sleep;
