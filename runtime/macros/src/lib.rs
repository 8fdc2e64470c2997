//! The attribute macros of [corering](https://docs.rs/corering), which re-exports them: `main` and `test`.
//!
//! What is read and what is written are apart: `parse` finds the parts of a function in a list of plain words, so it
//! can be tested without a compiler around it; `expand` puts the compiler's own tokens together again. The function
//! stays as it was written, inside one that runs it: so every error in it points at what was written.

#![deny(clippy::unwrap_used, clippy::print_stdout)]

mod expand;
mod parse;

use proc_macro::TokenStream;

/// Runs an `async fn main` on a core of its own.
///
/// The function keeps its attributes and its return type. If no core can be set up, the program prints
/// `error: ` and the reason, which names the setting to change, and exits with 1.
///
/// # Options
///
/// They stand in brackets, separated by commas, and mean the methods of `Builder` with the same name:
///
/// | option | meaning |
/// | --- | --- |
/// | `cancel_on_ctrl_c` | the first Ctrl-C drops the function's future and runs its cleanup |
/// | `debug` | reports tasks that do not give way |
/// | `entries = 512` | the length of the submission queue |
/// | `paused_time` | a clock that stands still, and jumps when all tasks wait |
/// | `thread_name = "proxy"` | the thread's name |
/// | `crate = path::to::corering` | where the facade is, if not at `::corering` |
///
/// A value is any expression; `cancel_on_ctrl_c`, `debug` and `paused_time` without one mean `= true`.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(parse::Macro::Main, options, item)
}

/// Makes an `async fn` a test that runs on a core of its own.
///
/// The function keeps its attributes (`#[should_panic]`, `#[cfg(..)]`) and its return type. If no core can be set
/// up, the test fails with the reason.
///
/// # Options
///
/// The same as those of [`main`](macro@main). Tests mostly use `paused_time`, with which sleeps and time-outs take
/// no time and are exact. With the feature `sim` there are also
///
/// | option | meaning |
/// | --- | --- |
/// | `sim` | the function is called with a simulated world: `async fn name(world: corering::sim::World)` |
/// | `seeds = 1000` | how many worlds, each of a seed of its own; 100 unless it is given |
///
/// The function then runs as the program of the world's host `main`, whose core is as the other options say. It
/// returns nothing or a `Result`; an error fails the test. `corering::sim::Check` tells how it is run, and how a seed
/// that failed is run again.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(parse::Macro::Test, options, item)
}

/// A pattern as it is matched against a reference: without `mut` and `ref`. For `select!`.
#[doc(hidden)]
#[proc_macro]
pub fn pattern(pattern: TokenStream) -> TokenStream {
    expand::by_reference(pattern)
}
