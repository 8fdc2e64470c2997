//! Programs in simulated worlds.
#![allow(missing_docs, reason = "a test binary has no public API")]

mod cases;
mod hunts;
mod tracked;
mod worlds;
