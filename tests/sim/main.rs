//! Programs in simulated worlds.
#![allow(missing_docs, reason = "a test binary has no public API")]

mod cases;
mod life_cycle;
mod tracked;
mod worlds;
