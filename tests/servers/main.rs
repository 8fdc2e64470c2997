//! The servers among the examples, run as programs, with clients that we did not write and clients that misbehave.
//!
//! They are built by `cargo test --workspace`, but not by `cargo test --test servers`: then `cargo build --examples
//! --all-features` comes first.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test binary, whose clients are of the standard library")]

mod common;

mod chat;
#[cfg(all(feature = "client", feature = "tls"))]
mod client;
mod http;
mod kv;
mod proxy;
#[cfg(all(feature = "client", feature = "tls"))]
mod tls;
