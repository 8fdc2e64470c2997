//! The client for HTTP, and TLS.
#![allow(missing_docs, reason = "a test binary")]

mod client;
mod scripted;
mod tls;
