//! Libraries that people use already, on corering: what each needs, in a few lines of safe code, to be copied.
//!
//! | module | library | how |
//! | --- | --- | --- |
//! | [`web`] | axum | its `Router`, served by `net::serve` and hyper, on every core |
//! | [`postgres`] | tokio-postgres | `connect_raw` over a `PollStream`, the connection as a task beside |
//! | [`redis`] | redis | `MultiplexedConnection` over a `PollStream`, its driver as a task beside |
//! | [`within_tokio`] | tokio | a core that a tokio runtime turns, on one thread |
//!
//! What calls tokio by itself, such as reqwest, needs nothing but `Builder::tokio_context`.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/ecosystem.md")]
mod guide {}

pub mod postgres;
pub mod redis;
pub mod web;
pub mod within_tokio;
