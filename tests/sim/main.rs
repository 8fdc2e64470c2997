//! Programs in simulated worlds.
#![allow(missing_docs, reason = "a test binary has no public API")]

mod hunts;
mod worlds;
