//! The suite of simulated worlds: what is special to them, and all that the suite of the real kernel asks of whatever
//! fills the driver, from many seeds. See `tests/it/main.rs` for what its modules are about.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::waker_clone_wake,
    reason = "a test binary has no public API, sets its scenes with the standard library, and wakes in every way"
)]

mod cases;
mod checks;
mod differential;
mod hunts;
mod lent;
mod life_cycle;
mod reaching;
mod refusals;
mod replaced;
mod scene;
mod short;
mod simulated;
mod worlds;

#[path = "../it/asyncio.rs"]
mod asyncio;
#[path = "../it/atomic.rs"]
mod atomic;
#[path = "../it/blocking.rs"]
mod blocking;
#[path = "../it/cancel.rs"]
mod cancel;
#[path = "../it/chunks.rs"]
mod chunks;
#[path = "../it/cleanups.rs"]
mod cleanups;
#[path = "../it/common.rs"]
mod common;
#[path = "../it/crowds.rs"]
mod crowds;
#[path = "../it/deadlocks.rs"]
mod deadlocks;
#[path = "../it/direct.rs"]
mod direct;
#[path = "../it/drops.rs"]
mod drops;
#[path = "../it/faults.rs"]
mod faults;
#[path = "../it/files.rs"]
mod files;
#[path = "../it/gates.rs"]
mod gates;
#[path = "../it/gathers.rs"]
mod gathers;
#[path = "../it/groups.rs"]
mod groups;
#[path = "../it/guard.rs"]
mod guard;
#[path = "../it/io.rs"]
mod io;
#[path = "../it/life.rs"]
mod life;
#[path = "../it/limits.rs"]
mod limits;
#[path = "../it/load.rs"]
mod load;
#[path = "../it/locals.rs"]
mod locals;
#[path = "../it/messages.rs"]
mod messages;
#[path = "../it/multishots.rs"]
mod multishots;
#[path = "../it/names.rs"]
mod names;
#[path = "../it/net.rs"]
mod net;
#[path = "../it/order.rs"]
mod order;
#[path = "../it/panics.rs"]
mod panics;
#[path = "../it/passing.rs"]
mod passing;
#[path = "../it/scenarios.rs"]
mod scenarios;
#[path = "../it/selects.rs"]
mod selects;
#[path = "../it/serve.rs"]
mod serve;
#[path = "../it/smoke.rs"]
mod smoke;
#[path = "../it/streams.rs"]
mod streams;
#[path = "../it/tasks.rs"]
mod tasks;
#[path = "../it/temp.rs"]
mod temp;
#[path = "../it/text.rs"]
mod text;
#[path = "../it/time.rs"]
mod time;
#[path = "../it/timeouts.rs"]
mod timeouts;
#[path = "../it/tracked.rs"]
mod tracked;
#[path = "../it/trees.rs"]
mod trees;
#[path = "../it/udp.rs"]
mod udp;
#[path = "../it/unix.rs"]
mod unix;
#[path = "../it/waits.rs"]
mod waits;

use common::*;
use simulated::*;
