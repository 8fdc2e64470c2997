//! The suite of the whole project, through the facade only.
//!
//! A module is either for whatever fills the driver, or for the real kernel alone. The former know nothing but the
//! library, `common`, and what `real` says that a filling gives: so they can be run on another filling as they are.
//!
//! For both fillings:
//!
//! - `asyncio`, `tasks`, `locals`, `gathers`, `groups`, `waits`, `selects`: tasks, and what waits for several of them
//! - `cancel`, `cleanups`, `drops`, `panics`, `life`, `faults`: what is given up, fails, or ends at a bad moment
//! - `time`, `timeouts`: clocks that jump, and time that is over
//! - `deadlocks`: cores on which nothing can run
//! - `gates`, `scenarios`: programs that hold whatever is cancelled in them
//! - `blocking`: calls that block
//! - `files`, `names`, `trees`, `order`: files, their names, and the order of what is done to them
//! - `direct`, `chunks`: direct I/O, and files that are read and written in order
//! - `io`, `text`: readers and writers with buffers, copies, and text
//! - `atomic`, `temp`: files that are replaced as a whole, and temporary ones
//! - `net`, `streams`, `multishots`, `serve`: connections, what they carry, and servers
//! - `crowds`: clients that come from everywhere, at once, and go again
//! - `udp`, `unix`, `messages`: datagrams, and sockets of the Unix family
//! - `passing`: what passes from a socket or a file to a socket without being copied
//! - `pools`: what is lent, and kept for the next
//! - `limits`, `load`, `smoke`: full queues, much of everything, and first light
//! - `common`, `guard`, `tracked`: helpers, and buffers that notice what is done to them
//!
//! For the real kernel alone:
//!
//! - `real`: what the real kernel gives to the modules above
//! - `scene`: one of everything that the real kernel has, for `drops`
//! - `pipes`: named pipes, and threads that write to them
//! - `wakers`, `real_threads`, `real_races`, `real_blocking`: other threads
//! - `real_runtimes`, `real_panics`: runtimes that are made by hand, since they are used again after a panic, or nested
//! - `real_embedded`: cores that another loop turns
//! - `real_files`, `real_names`, `real_trees`, `real_net`: devices, other users, whole trees, descriptors and sockets that
//!   only this machine has
//! - `real_sockets`: what goes along with messages, settings, and sockets that others have opened
//! - `real_storms`: clients by the thousand, in other threads, that break off, give up, and come and go
//! - `real_time`: the clock of the world
//! - `real_watch`: being told of what happens to files
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::waker_clone_wake,
    reason = "a test binary has no public API, sets its scenes with the standard library, and wakes in every way"
)]

// For both fillings.
mod asyncio;
mod atomic;
mod blocking;
mod cancel;
mod chunks;
mod cleanups;
mod common;
mod crowds;
mod deadlocks;
mod direct;
mod drops;
mod faults;
mod files;
mod gates;
mod gathers;
mod groups;
mod guard;
mod io;
mod life;
mod limits;
mod load;
mod locals;
mod messages;
mod multishots;
mod names;
mod net;
mod order;
mod panics;
mod passing;
mod pools;
mod scenarios;
mod selects;
mod serve;
mod smoke;
mod streams;
mod tasks;
mod temp;
mod text;
mod time;
mod timeouts;
mod tracked;
mod trees;
mod udp;
mod unix;
mod waits;

// For the real kernel alone.
mod pipes;
mod real;
mod real_blocking;
mod real_embedded;
mod real_files;
mod real_names;
mod real_net;
mod real_panics;
mod real_races;
mod real_runtimes;
mod real_sockets;
mod real_storms;
mod real_threads;
mod real_time;
mod real_trees;
mod real_watch;
mod scene;
mod wakers;

use common::*;
use real::*;
