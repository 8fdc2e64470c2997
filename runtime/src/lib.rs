//! The core of [corering](https://docs.rs/corering): ring, operations, buffers, tasks, executor and timers of one
//! core. Programs use it through the facade crate, `corering`.
//!
//! Modules use only what stands to their left:
//! `sys < ring < buf < sim < driver < scope < time < op < task < blocking < executor < world < io < signal`; `error` is everybody's.

#![deny(clippy::unwrap_used, clippy::print_stdout)]

pub mod blocking;
pub mod buf;
mod driver;
mod error;
mod executor;
pub mod io;
pub mod op;
mod ring;
mod scope;
pub mod signal;
#[cfg(feature = "sim")]
mod sim;
mod sys;
pub mod task;
pub mod time;
#[cfg(feature = "sim")]
pub mod world;

pub use driver::calls::random;
pub use error::SetupError;
pub use executor::{Builder, Deadlock, Metrics, Pass, RunError, Runtime, metrics, run};
pub use ring::{Probe, probe};
pub use sys::current::CoreId;
pub use task::{JoinError, JoinHandle, spawn};

#[doc(hidden)]
pub use task::reexport as __reexport;

/// What the runtime has to say when nobody else can be told.
fn report(message: std::fmt::Arguments<'_>) {
    use std::io::Write;
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
        tracing::error!(target: "corering", "{message}");
        return;
    }
    // If nobody listens there either, there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "corering: {message}");
}
