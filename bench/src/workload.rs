//! What can be measured, and with what.

use crate::files::{Action, Cache, How, Job};
use crate::machine;
use crate::network::programs;

/// All runtimes, in the order in which they are shown. The last ones are programs.
pub(crate) const RUNTIMES: &[&str] = &[
    "corering",
    "corering-behind",
    "corering-ready",
    "corering-read",
    "tokio",
    "tokio-fs",
    "compio",
    "monoio",
    "glommio",
    "kimojio",
    "raw",
    "raw-multi",
    "raw-direct",
    "raw-nowait",
    "std",
    "fio",
    "b3sum",
    "redis-server",
];

/// The others on io_uring, which are measured only if they were built in.
pub(crate) const PEERS: &[&str] = &["compio", "monoio", "glommio", "kimojio"];
const PROGRAMS: &[&str] = &["fio", "b3sum", "redis-server"];

/// Why a runtime cannot be measured here, if it cannot.
pub(crate) fn missing(runtime: &str) -> Option<&'static str> {
    if PEERS.contains(&runtime) && !cfg!(feature = "peers") {
        return Some("not built in (cargo run --release -p corering-bench --features peers)");
    }
    if PROGRAMS.contains(&runtime) && !machine::is_installed(runtime) {
        return Some("not installed");
    }
    None
}

/// One thing to measure.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    /// The metric by which runtimes are compared.
    pub(crate) metric: &'static str,
    pub(crate) runtimes: &'static [&'static str],
    pub(crate) goals: &'static [Goal],
    /// Whether it is measured if nothing is named.
    pub(crate) by_default: bool,
}

impl Workload {
    /// What it cannot be measured without, and is not there.
    pub(crate) fn lacks(&self) -> Option<String> {
        match self.kind {
            Kind::Wrk { .. } => (!machine::is_installed("wrk")).then(|| "wrk is not installed".to_owned()),
            Kind::Redis { .. } => programs::lacks(),
            Kind::Echo(_) | Kind::Http { .. } | Kind::Idle { .. } | Kind::Storm | Kind::Stream(_) | Kind::Proxy => None,
            Kind::Tasks | Kind::Files(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A server in a child that sends back what it gets, and connections that wait for it.
    Echo(Echo),
    /// A server of HTTP in a child, and so many connections that each ask for so many bytes, again and again.
    Http { connections: usize, bytes: usize },
    /// The same server, and wrk with so many connections.
    Wrk { connections: usize },
    /// The example `kv` or redis-server, and redis-benchmark with so many commands under way on each connection.
    Redis { pipeline: usize },
    /// A server in a child, and so many connections that do nothing after one message.
    Idle { connections: usize },
    /// A server in a child that closes each connection at once, and as many of them as can be made.
    Storm,
    /// A server in a child, and one connection that is always full.
    Stream(Flow),
    /// A proxy in a child, between a connection that is always full and one that takes all.
    Proxy,
    /// Tasks and timers, in the child.
    Tasks,
    /// Files, in the child.
    Files(Job),
}

impl Kind {
    pub(crate) fn is_files(self) -> bool {
        matches!(self, Kind::Files(_))
    }
}

/// Messages that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) by: Transport,
    pub(crate) connections: usize,
    /// Of one message.
    pub(crate) bytes: usize,
    /// Messages under way on each connection.
    pub(crate) depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Unix,
    Udp,
}

/// Which way the bytes of a stream go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    ToServer,
    FromServer,
}

/// What corering wants to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// So many times as good as a runtime, by the metric that is compared.
    Times(f64, &'static str),
    /// The same of another metric.
    TimesBy(f64, &'static str, &'static str),
    /// So many times as good as the best of the other runtimes on io_uring.
    TimesPeers(f64),
    /// So many times as good as the best of the raw loops.
    TimesRaw(f64),
    /// No more than that of a metric.
    AtMost(f64, &'static str),
}

const ECHO: &[&str] =
    &["corering", "tokio", "compio", "monoio", "glommio", "kimojio", "raw", "raw-multi", "raw-direct"];
const SOCKETS: &[&str] = &["corering", "tokio", "raw"];
const HTTP: &[&str] = &["corering", "corering-behind", "corering-ready", "tokio"];
const TASKS: &[&str] = &["corering", "tokio"];
const HOT: &[&str] = &["corering", "tokio", "compio", "monoio", "glommio", "raw", "raw-nowait", "std"];
const HOT_ONE: &[&str] = &["corering", "tokio", "compio", "monoio", "glommio", "raw", "raw-nowait", "std", "fio"];
const COLD: &[&str] = &["corering", "tokio", "compio", "monoio", "glommio", "raw"];
const SEQUENTIAL: &[&str] = &["corering", "tokio", "tokio-fs", "compio", "monoio", "glommio", "raw", "std", "fio"];
const DIRECT: &[&str] = &["corering", "tokio", "compio", "monoio", "glommio", "raw", "fio"];
const SMALL: &[&str] = &["corering", "tokio", "compio", "monoio", "glommio", "raw", "std"];
const WHOLE: &[&str] = &["corering", "tokio", "compio", "monoio", "glommio", "std"];

const P99_AS_TOKIO: Goal = Goal::TimesBy(1.0 / 1.05, "tokio", "p99_us");
/// Where the server's core is busy.
const ECHO_GOALS: &[Goal] =
    &[Goal::TimesRaw(1.0 / 1.04), Goal::TimesPeers(1.0), Goal::Times(1.0 / 0.97, "tokio"), P99_AS_TOKIO];
/// Where the kernel's sleep or its caches are most of it.
const ECHO_EDGE_GOALS: &[Goal] =
    &[Goal::TimesRaw(1.0 / 1.04), Goal::TimesPeers(1.0), Goal::Times(1.0 / 1.02, "tokio"), P99_AS_TOKIO];
const KV: &[&str] = &["corering", "redis-server"];
const HOT_GOALS: &[Goal] = &[Goal::Times(1.0, "raw"), Goal::Times(0.85, "std"), Goal::TimesPeers(1.0)];
const DIRECT_GOALS: &[Goal] = &[Goal::Times(0.97, "fio"), Goal::TimesBy(1.0 / 1.1, "fio", "cpu_ns_per_op")];
const SEQUENTIAL_GOALS: &[Goal] = &[Goal::Times(0.97, "fio"), Goal::Times(1.5, "tokio-fs")];
const DEVICE_GOALS: &[Goal] = &[Goal::Times(0.97, "fio")];

/// A file workload that is measured if it is asked for.
const fn files(
    name: &'static str,
    about: &'static str,
    job: Job,
    runtimes: &'static [&'static str],
    goals: &'static [Goal],
) -> Workload {
    Workload { name, about, kind: Kind::Files(job), metric: "ops_per_s", runtimes, goals, by_default: false }
}

/// A server of HTTP, which is measured if it is asked for.
const fn http(name: &'static str, about: &'static str, connections: usize, bytes: usize) -> Workload {
    let kind = Kind::Http { connections, bytes };
    Workload {
        name,
        about,
        kind,
        metric: "cpu_ns_per_msg",
        runtimes: HTTP,
        goals: &[Goal::Times(1.0, "tokio")],
        by_default: false,
    }
}

/// Messages over TCP that come back, one under way on each connection; measured if it is asked for.
const fn echo(name: &'static str, about: &'static str, connections: usize, bytes: usize) -> Workload {
    Workload {
        name,
        about,
        kind: Kind::Echo(Echo { by: Transport::Tcp, connections, bytes, depth: 1 }),
        metric: "cpu_ns_per_msg",
        runtimes: ECHO,
        goals: if connections == 1 || connections > 1024 { ECHO_EDGE_GOALS } else { ECHO_GOALS },
        by_default: false,
    }
}

/// One connection that is always full.
const fn stream(name: &'static str, about: &'static str, flow: Flow, runtimes: &'static [&'static str]) -> Workload {
    let goals = &[Goal::TimesRaw(1.0), Goal::TimesBy(1.0, "tokio", "cpu_us_per_mb")];
    Workload { name, about, kind: Kind::Stream(flow), metric: "mb_per_s", runtimes, goals, by_default: false }
}

/// The example `kv` beside what it stands in for.
const fn kv(name: &'static str, about: &'static str, pipeline: usize, goals: &'static [Goal]) -> Workload {
    let kind = Kind::Redis { pipeline };
    Workload { name, about, kind, metric: "ops_per_s", runtimes: KV, goals, by_default: false }
}

const fn wrk(name: &'static str, about: &'static str, connections: usize) -> Workload {
    Workload {
        name,
        about,
        kind: Kind::Wrk { connections },
        metric: "ops_per_s",
        runtimes: TASKS,
        goals: &[
            Goal::Times(1.0, "tokio"),
            Goal::TimesBy(1.0, "tokio", "cpu_ns_per_op"),
            Goal::TimesBy(1.0, "tokio", "p99_us"),
        ],
        by_default: false,
    }
}

const fn by_default(workload: Workload) -> Workload {
    Workload { by_default: true, ..workload }
}

const fn random(cache: Cache, depth: usize) -> Job {
    Job::Random { cache, depth }
}

const fn in_order(action: Action, direct: bool, block: usize, depth: usize) -> Job {
    Job::Sequential { action, direct, block, depth }
}

const KIB_128: usize = 128 << 10;
const M1: usize = 1 << 20;

pub(crate) const WORKLOADS: &[Workload] = &[
    by_default(echo("echo-64x64", "64 connections, 64 bytes, one message under way on each", 64, 64)),
    by_default(echo("echo-1x64", "one connection, 64 bytes", 1, 64)),
    by_default(echo("echo-512x1k", "512 connections, 1024 bytes, one message under way on each", 512, 1024)),
    echo("echo-1x1k", "one connection, 1024 bytes", 1, 1024),
    echo("echo-1x16k", "one connection, 16 KiB", 1, 16384),
    echo("echo-64x1k", "64 connections, 1024 bytes", 64, 1024),
    echo("echo-64x16k", "64 connections, 16 KiB", 64, 16384),
    echo("echo-512x64", "512 connections, 64 bytes", 512, 64),
    echo("echo-512x16k", "512 connections, 16 KiB", 512, 16384),
    echo("echo-4096x64", "4096 connections, 64 bytes", 4096, 64),
    echo("echo-4096x1k", "4096 connections, 1024 bytes", 4096, 1024),
    echo("echo-4096x16k", "4096 connections, 16 KiB", 4096, 16384),
    Workload {
        kind: Kind::Echo(Echo { by: Transport::Unix, connections: 64, bytes: 64, depth: 1 }),
        ..echo("echo-unix-64x64", "64 connections over Unix sockets, 64 bytes", 64, 64)
    },
    Workload {
        kind: Kind::Echo(Echo { by: Transport::Tcp, connections: 64, bytes: 64, depth: 32 }),
        goals: &[Goal::Times(1.2, "tokio"), Goal::TimesPeers(1.0), P99_AS_TOKIO],
        ..echo("pipelined-64x32", "64 connections, 32 messages of 64 bytes under way on each", 64, 64)
    },
    Workload {
        kind: Kind::Echo(Echo { by: Transport::Udp, connections: 64, bytes: 64, depth: 1 }),
        metric: "ops_per_s",
        runtimes: SOCKETS,
        goals: &[Goal::Times(1.1, "tokio"), Goal::TimesBy(1.1, "tokio", "cpu_ns_per_msg"), P99_AS_TOKIO],
        ..echo("udp-echo", "one UDP socket, 64 others that each have a datagram of 64 bytes under way", 64, 64)
    },
    stream(
        "stream-1m-receive",
        "one connection, the server receives (64 KiB at once) what is written 1 MiB at once",
        Flow::ToServer,
        &["corering", "corering-read", "tokio", "raw", "raw-multi"],
    ),
    stream("stream-1m-send", "one connection, the server writes 1 MiB at once", Flow::FromServer, SOCKETS),
    Workload {
        name: "proxy",
        about: "a proxy (tokio's is copy_bidirectional) between a connection that is always full and one that takes all",
        kind: Kind::Proxy,
        metric: "cpu_us_per_mb",
        runtimes: TASKS,
        goals: &[Goal::Times(1.0 / 0.7, "tokio")],
        by_default: false,
    },
    Workload {
        name: "accept-storm",
        about: "64 connections at once that are accepted, given to a task and closed there (SO_LINGER of 0), then others",
        kind: Kind::Storm,
        metric: "ops_per_s",
        runtimes: &["corering", "tokio", "raw", "raw-direct"],
        goals: &[Goal::Times(1.2, "tokio"), Goal::TimesBy(1.2, "tokio", "cpu_ns_per_op")],
        by_default: false,
    },
    Workload {
        name: "idle-conns",
        about: "10,000 connections that have sent one message: private anonymous memory of the server for each",
        kind: Kind::Idle { connections: 10_000 },
        metric: "bytes_per_conn",
        runtimes: TASKS,
        goals: &[Goal::AtMost(1024.0, "bytes_per_conn")],
        by_default: true,
    },
    kv(
        "kv-p1",
        "the example kv, and redis-benchmark: SET and GET, 50 connections, one command under way on each",
        1,
        &[Goal::Times(1.0, "redis-server")],
    ),
    kv("kv-p16", "the same, 16 commands under way on each", 16, &[Goal::Times(1.5, "redis-server")]),
    wrk("wrk-64", "hyper, and wrk with 64 connections: answers of 64 bytes", 64),
    wrk("wrk-512", "hyper, and wrk with 512 connections: answers of 64 bytes", 512),
    http("http-1x64", "hyper, 1 connection, answers of 64 bytes", 1, 64),
    http("http-16x64", "hyper, 16 connections, answers of 64 bytes", 16, 64),
    by_default(http("http-64x64", "hyper, 64 connections, answers of 64 bytes", 64, 64)),
    http("http-256x64", "hyper, 256 connections, answers of 64 bytes", 256, 64),
    http("http-1x4k", "hyper, 1 connection, answers of 4 KiB", 1, 4096),
    http("http-16x4k", "hyper, 16 connections, answers of 4 KiB", 16, 4096),
    http("http-64x4k", "hyper, 64 connections, answers of 4 KiB", 64, 4096),
    http("http-256x4k", "hyper, 256 connections, answers of 4 KiB", 256, 4096),
    http("http-1x16k", "hyper, 1 connection, answers of 16 KiB", 1, 16384),
    http("http-16x16k", "hyper, 16 connections, answers of 16 KiB", 16, 16384),
    http("http-64x16k", "hyper, 64 connections, answers of 16 KiB", 64, 16384),
    http("http-256x16k", "hyper, 256 connections, answers of 16 KiB", 256, 16384),
    http("http-1x256k", "hyper, 1 connection, answers of 256 KiB", 1, 262144),
    http("http-16x256k", "hyper, 16 connections, answers of 256 KiB", 16, 262144),
    http("http-64x256k", "hyper, 64 connections, answers of 256 KiB", 64, 262144),
    http("http-256x256k", "hyper, 256 connections, answers of 256 KiB", 256, 262144),
    http("http-512x64", "hyper, 512 connections, answers of 64 bytes", 512, 64),
    by_default(files(
        "read-hot-1",
        "random reads of 4 KiB from the page cache, one under way",
        random(Cache::Hot, 1),
        HOT_ONE,
        HOT_GOALS,
    )),
    by_default(files("read-hot-32", "the same, 32 under way", random(Cache::Hot, 32), HOT, HOT_GOALS)),
    by_default(files("read-hot-128", "the same, 128 under way", random(Cache::Hot, 128), HOT, HOT_GOALS)),
    files(
        "read-cold-1",
        "random reads of 4 KiB of which nothing is cached, one under way",
        random(Cache::Cold, 1),
        COLD,
        &[Goal::Times(0.97, "raw")],
    ),
    files("read-cold-32", "the same, 32 under way", random(Cache::Cold, 32), COLD, &[Goal::Times(0.97, "raw")]),
    files(
        "read-direct-1",
        "random reads of 4 KiB past the page cache (O_DIRECT), one under way",
        random(Cache::Passed, 1),
        DIRECT,
        DIRECT_GOALS,
    ),
    files("read-direct-32", "the same, 32 under way", random(Cache::Passed, 32), DIRECT, DIRECT_GOALS),
    files("read-direct-128", "the same, 128 under way", random(Cache::Passed, 128), DIRECT, DIRECT_GOALS),
    files(
        "seq-read-128k",
        "a cached file in order, 128 KiB at once, 8 under way",
        in_order(Action::Read, false, KIB_128, 8),
        SEQUENTIAL,
        SEQUENTIAL_GOALS,
    ),
    files(
        "seq-read-1m",
        "a cached file in order, 1 MiB at once, one under way",
        in_order(Action::Read, false, M1, 1),
        SEQUENTIAL,
        SEQUENTIAL_GOALS,
    ),
    files(
        "seq-write-128k",
        "over a cached file in order, 128 KiB at once, 8 under way",
        in_order(Action::Write, false, KIB_128, 8),
        SEQUENTIAL,
        SEQUENTIAL_GOALS,
    ),
    files(
        "seq-write-1m",
        "over a cached file in order, 1 MiB at once, one under way",
        in_order(Action::Write, false, M1, 1),
        SEQUENTIAL,
        SEQUENTIAL_GOALS,
    ),
    files(
        "seq-read-direct-128k",
        "a file in order, past the page cache, 128 KiB at once, 8 under way",
        in_order(Action::Read, true, KIB_128, 8),
        DIRECT,
        DEVICE_GOALS,
    ),
    files(
        "seq-read-direct-1m",
        "the same, 1 MiB at once, one under way",
        in_order(Action::Read, true, M1, 1),
        DIRECT,
        DEVICE_GOALS,
    ),
    files(
        "seq-write-direct-128k",
        "over a file in order, past the page cache, 128 KiB at once, 8 under way",
        in_order(Action::Write, true, KIB_128, 8),
        DIRECT,
        DEVICE_GOALS,
    ),
    files(
        "seq-write-direct-1m",
        "the same, 1 MiB at once, one under way",
        in_order(Action::Write, true, M1, 1),
        DIRECT,
        DEVICE_GOALS,
    ),
    by_default(files(
        "small-files",
        "open, read and close files of 4 KiB, one after the other of 10,000, into buffers, 64 under way",
        Job::SmallFiles(How::IntoBuffer),
        SMALL,
        &[Goal::Times(0.95, "raw"), Goal::Times(1.0, "std"), Goal::Times(2.5, "tokio"), Goal::TimesPeers(1.0)],
    )),
    by_default(files(
        "whole-files",
        "the same by the call that reads a file of any length",
        Job::SmallFiles(How::Whole),
        WHOLE,
        &[Goal::Times(1.1, "std"), Goal::Times(2.5, "tokio"), Goal::TimesPeers(1.3)],
    )),
    files(
        "small-writes",
        "create, write and close 10,000 files of 4 KiB in a new folder, 64 under way",
        Job::SmallWrites,
        SMALL,
        &[Goal::Times(0.9, "std"), Goal::Times(2.0, "tokio"), Goal::TimesPeers(1.0)],
    ),
    files(
        "stat-tree",
        "walk /usr and ask what each entry is; std is the crate walkdir",
        Job::StatTree,
        &["corering", "tokio", "std"],
        &[Goal::Times(0.9, "std"), Goal::Times(3.0, "tokio"), Goal::AtMost(1000.0, "late_p99_us")],
    ),
    Workload {
        metric: "mb_per_s",
        ..files(
            "cold",
            "BLAKE3 of the files of a tree (--tree) of which nothing is cached; fio: as many bytes in one go",
            Job::Cold,
            &["corering", "tokio", "std", "fio", "b3sum"],
            &[Goal::Times(1.2, "b3sum")],
        )
    },
    files(
        "lines",
        "the lines of a cached text, one after the other",
        Job::Lines,
        &["corering", "tokio", "std"],
        &[Goal::Times(0.9, "std")],
    ),
    Workload {
        name: "spawn",
        about: "spawn an empty task and await it",
        kind: Kind::Tasks,
        metric: "ns_per_op",
        runtimes: TASKS,
        goals: &[],
        by_default: true,
    },
    Workload {
        name: "spawn-batch",
        about: "spawn 1,000 empty tasks, then await them",
        kind: Kind::Tasks,
        metric: "ns_per_op",
        runtimes: TASKS,
        goals: &[],
        by_default: true,
    },
    Workload {
        name: "yield",
        about: "one task gives way",
        kind: Kind::Tasks,
        metric: "ns_per_op",
        runtimes: TASKS,
        goals: &[],
        by_default: true,
    },
    Workload {
        name: "pingpong",
        about: "two tasks wake each other: one round trip",
        kind: Kind::Tasks,
        metric: "ns_per_op",
        runtimes: TASKS,
        goals: &[],
        by_default: true,
    },
    Workload {
        name: "timer-arm",
        about: "make a timer of an hour, poll it, drop it",
        kind: Kind::Tasks,
        metric: "ns_per_op",
        runtimes: TASKS,
        goals: &[],
        by_default: true,
    },
    Workload {
        name: "sleepers",
        about: "100,000 tasks that sleep up to a second: CPU time, and how late they are",
        kind: Kind::Tasks,
        metric: "cpu_s",
        runtimes: TASKS,
        goals: &[],
        by_default: true,
    },
];

/// The unit of a metric, and whether more of it is better.
pub(crate) fn unit(metric: &str) -> (&'static str, bool) {
    match metric {
        "ops_per_s" => ("1/s", true),
        "mb_per_s" => ("MB/s", true),
        "ns_per_op" | "cpu_ns_per_op" | "user_ns_per_op" | "cpu_ns_per_msg" | "user_ns_per_msg" => ("ns", false),
        "cpu_s" => ("s", false),
        "cpu_us_per_mb" | "user_us_per_mb" => ("us", false),
        "set_per_s" | "get_per_s" => ("1/s", true),
        "user_share" | "load_share" | "lost_share" => ("", false),
        "syscalls_per_msg" => ("", false),
        "p50_us" | "p99_us" | "least_us" | "late_p99_us" => ("us", false),
        "bytes_per_conn" => ("B", false),
        _ => ("", false),
    }
}
