//! What can be measured, and with what.

/// All runtimes, in the order in which they are shown.
pub(crate) const RUNTIMES: [&str; 5] = ["corering", "tokio", "raw", "raw-multi", "std"];

/// One thing to measure.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    /// The metric by which runtimes are compared.
    pub(crate) metric: &'static str,
    pub(crate) runtimes: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A server in a child, and so many connections that each send so many bytes and wait for them.
    Echo { connections: usize, bytes: usize },
    /// A server in a child, and so many connections that do nothing after one message.
    Idle { connections: usize },
    /// Everything happens in the child.
    InChild,
}

const NETWORK: &[&str] = &["corering", "tokio", "raw", "raw-multi"];
const FILES: &[&str] = &["corering", "tokio", "raw", "std"];
const TASKS: &[&str] = &["corering", "tokio"];

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "echo-64x64",
        about: "64 connections, 64 bytes, one message under way on each",
        kind: Kind::Echo { connections: 64, bytes: 64 },
        metric: "cpu_ns_per_msg",
        runtimes: NETWORK,
    },
    Workload {
        name: "echo-1x64",
        about: "one connection, 64 bytes",
        kind: Kind::Echo { connections: 1, bytes: 64 },
        metric: "cpu_ns_per_msg",
        runtimes: NETWORK,
    },
    Workload {
        name: "echo-512x1k",
        about: "512 connections, 1024 bytes, one message under way on each",
        kind: Kind::Echo { connections: 512, bytes: 1024 },
        metric: "cpu_ns_per_msg",
        runtimes: NETWORK,
    },
    Workload {
        name: "idle-conns",
        about: "10,000 connections that have sent one message: memory of the server for each",
        kind: Kind::Idle { connections: 10_000 },
        metric: "bytes_per_conn",
        runtimes: TASKS,
    },
    Workload {
        name: "read-hot",
        about: "random reads of 4 KiB from the page cache, 64 under way",
        kind: Kind::InChild,
        metric: "ops_per_s",
        runtimes: FILES,
    },
    Workload {
        name: "small-files",
        about: "open, read and close files of 4 KiB, one after the other of 10,000, 64 under way",
        kind: Kind::InChild,
        metric: "ops_per_s",
        runtimes: FILES,
    },
    Workload {
        name: "spawn",
        about: "spawn an empty task and await it",
        kind: Kind::InChild,
        metric: "ns_per_op",
        runtimes: TASKS,
    },
    Workload {
        name: "spawn-batch",
        about: "spawn 1,000 empty tasks, then await them",
        kind: Kind::InChild,
        metric: "ns_per_op",
        runtimes: TASKS,
    },
    Workload { name: "yield", about: "one task gives way", kind: Kind::InChild, metric: "ns_per_op", runtimes: TASKS },
    Workload {
        name: "pingpong",
        about: "two tasks wake each other: one round trip",
        kind: Kind::InChild,
        metric: "ns_per_op",
        runtimes: TASKS,
    },
    Workload {
        name: "timer-arm",
        about: "make a timer of an hour, poll it, drop it",
        kind: Kind::InChild,
        metric: "ns_per_op",
        runtimes: TASKS,
    },
    Workload {
        name: "sleepers",
        about: "100,000 tasks that sleep up to a second: CPU time, and how late they are",
        kind: Kind::InChild,
        metric: "cpu_s",
        runtimes: TASKS,
    },
];

/// The unit of a metric, and whether more of it is better.
pub(crate) fn unit(metric: &str) -> (&'static str, bool) {
    match metric {
        "ops_per_s" => ("1/s", true),
        "ns_per_op" | "cpu_ns_per_msg" | "user_ns_per_msg" => ("ns", false),
        "cpu_s" => ("s", false),
        "user_share" => ("", false),
        "syscalls_per_msg" => ("", false),
        "p50_us" | "p99_us" | "least_us" => ("us", false),
        "bytes_per_conn" => ("B", false),
        _ => ("", false),
    }
}
