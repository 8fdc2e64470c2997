//! Libraries that people use, on corering: with servers that we did not write, which are started here.
//!
//! What a test needs and does not find, it skips aloud; with `CORERING_REQUIRE_ALL` it fails.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    reason = "a test binary, which starts servers by the standard library"
)]

mod common;

mod examples;
mod postgres;
mod redis;
mod tokio_context;
mod web;
mod within_tokio;
