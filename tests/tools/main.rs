//! The tools among the examples, run as programs and held against those that everybody has.
//!
//! They are built by `cargo test`, but not by `cargo test --test tools`: then `cargo build --examples` comes first.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test binary, which prepares its input by itself")]

mod common;
mod trees;

mod copy;
mod count;
mod follow;
mod hash;
mod search;
