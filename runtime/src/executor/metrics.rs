//! How a core stands: counted always, asked for when needed.

use crate::op::context;
use crate::task;
use crate::time::timers;

/// Counters of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// Operations that the kernel has.
    pub operations_in_flight: usize,
    /// Operations whose slot is taken: in flight, or their result not fetched.
    pub operations: usize,
    /// Bytes of the memory that operations lie in.
    pub operation_bytes: usize,
    /// Pooled buffers that chunks hold. (Those of results that were not fetched are known to the kernel only.)
    pub buffers_held: usize,
    /// Empty pipes that are kept for what passes from socket to socket: two descriptors each, and 16 of them at most.
    pub pipes_kept: usize,
    /// Times the kernel was entered.
    pub enters: u64,
    /// Times the kernel was entered while completions had overflowed their queue. None are lost by that.
    pub overflows: u64,
    /// Completions that belonged to no operation: somebody else has the ring's descriptor.
    pub unknown_completions: u64,
}

/// The counters of this thread's core; `None` where there is none.
///
/// # Examples
///
/// ```
/// corering_runtime::run(async {
///     let metrics = corering_runtime::metrics().expect("inside a runtime");
///     assert_eq!(metrics.tasks, 1);
///     assert_eq!(metrics.operations, 0);
/// })?;
/// # Ok::<(), corering_runtime::RunError>(())
/// ```
pub fn metrics() -> Option<Metrics> {
    let counts = context::with(context::Operations::counts)?;
    Some(Metrics {
        tasks: task::local::alive(),
        timers: timers::waiting(),
        operations_in_flight: counts.in_flight,
        operations: counts.occupied,
        operation_bytes: counts.slot_bytes,
        buffers_held: counts.buffers_held,
        pipes_kept: counts.pipes_kept,
        enters: counts.enters,
        overflows: counts.overflows,
        unknown_completions: counts.unknown_completions,
    })
}
