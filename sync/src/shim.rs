//! Atomics and cells from `std`, or from loom when a model is checked (`--cfg loom`).
//!
//! Everything that is checked by a model takes its atomics from here, so that the code that ships is the code
//! that was checked.

/// Atomic types and fences.
pub mod atomic {
    #[cfg(loom)]
    pub use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
    #[cfg(not(loom))]
    pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
}
