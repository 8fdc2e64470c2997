//! What is printed, and what is written as JSON.

use std::io::{IsTerminal, Write};

use crate::stats::{Results, Spread};
use crate::workload::{Goal, RUNTIMES, WORKLOADS, Workload, missing as missing_here, unit};

pub(crate) fn list() {
    println!("workloads:");
    for workload in WORKLOADS {
        let mark = if workload.by_default { '*' } else { ' ' };
        println!("{mark} {:<21} {} ({})", workload.name, workload.about, workload.runtimes.join(", "));
    }
    println!("* if nothing is named; else give names, --files or --all");
    println!("runtimes:");
    for runtime in RUNTIMES {
        println!("  {runtime:<15}{}", missing_here(runtime).map_or_else(String::new, |reason| format!(" {reason}")));
    }
    for (workload, reason) in WORKLOADS.iter().filter_map(|workload| Some((workload, workload.lacks()?))) {
        println!("  without {}: {reason}", workload.name);
    }
}

/// Says what of these workloads is left out, and why.
pub(crate) fn missing(workloads: &[&Workload]) {
    for workload in workloads {
        if let Some(reason) = workload.lacks() {
            println!("without {}: {reason}", workload.name);
        }
    }
    for runtime in RUNTIMES {
        if let Some(reason) = missing_here(runtime) {
            if workloads.iter().any(|workload| workload.runtimes.contains(runtime)) {
                println!("without {runtime}: {reason}");
            }
        }
    }
}

/// Says on what it measures: without that, numbers mean nothing.
pub(crate) fn machine() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("Linux {}, {cores} cores, {model}", read("/proc/sys/kernel/osrelease").trim());
    if let Some(reason) = crate::perf::no_syscalls() {
        println!("system calls are not counted: {reason}");
    }
    if cores < 2 {
        println!("only one core: server and load share it, so the network workloads say little");
    }
}

pub(crate) fn progress(workload: &str, runtime: &str, round: usize, rounds: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{workload}: {runtime}, round {} of {rounds}", round + 1);
        let _ = std::io::stderr().flush();
    }
}

pub(crate) fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

pub(crate) fn table(results: &Results) {
    let workload = results.workload;
    println!("\n{}: {}", workload.name, workload.about);
    let raw = results.best_raw();
    println!("  {:<12} {:<17} {:>12} {:>12} {:>12}  {:>9}  {:>9}", "", "", "median", "min", "max", "x tokio", "x raw");
    for (runtime, _) in &results.rows {
        for metric in results.metrics() {
            let Some(spread) = results.spread(runtime, metric) else {
                continue;
            };
            let ratio = |other: Option<&str>| {
                let ratio = other.and_then(|other| results.ratio(runtime, other, metric));
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.3}", ratio.median))
            };
            let compared = metric == workload.metric;
            let (to_tokio, to_raw) =
                if compared { (ratio(Some("tokio")), ratio(raw)) } else { (String::new(), String::new()) };
            let name = if compared { runtime } else { "" };
            let (unit, _) = unit(metric);
            println!(
                "  {name:<12} {:<17} {:>12} {:>12} {:>12}  {to_tokio:>9}  {to_raw:>9}",
                format!("{metric} {unit}").trim_end(),
                number(spread.median),
                number(spread.min),
                number(spread.max),
            );
        }
    }
    for failure in &results.failures {
        println!("  FAILED: {failure}");
    }
    for goal in workload.goals {
        if let Some(line) = goal_line(results, *goal) {
            println!("  goal: {line}");
        }
    }
}

/// What is wanted and what is reached; `None` if the other side was not measured.
fn goal_line(results: &Results, goal: Goal) -> Option<String> {
    let (wanted, found) = reached(results, goal)?;
    let is_reached = match goal {
        Goal::AtMost(limit, _) => found.median <= limit,
        Goal::Times(times, _) | Goal::TimesBy(times, _, _) | Goal::TimesPeers(times) | Goal::TimesRaw(times) => {
            found.median >= times
        }
    };
    let mark = if is_reached { "reached" } else { "MISSED" };
    let [median, min, max] = [found.median, found.min, found.max].map(number);
    // On a machine that has other work, too, this says more than how long it took.
    let by_cpu = match goal {
        Goal::Times(_, other) => results.advantage("corering", other, "cpu_ns_per_op"),
        Goal::TimesPeers(_) => {
            results.best_peer().and_then(|best| results.advantage("corering", best, "cpu_ns_per_op"))
        }
        Goal::TimesRaw(_) | Goal::TimesBy(..) | Goal::AtMost(..) => None,
    };
    let by_cpu = by_cpu.map_or_else(String::new, |ratio| format!(", {} by processor time", number(ratio.median)));
    Some(format!("{wanted:<48} {median:>8} ({min} to {max})  {mark}{by_cpu}"))
}

fn reached(results: &Results, goal: Goal) -> Option<(String, Spread)> {
    let compared = results.workload.metric;
    let times = |times: f64, who: &str, other: &str, metric: &str| {
        let wanted = format!("{} x {other}{who} by {metric}", number(times));
        Some((wanted, results.advantage("corering", other, metric)?))
    };
    match goal {
        Goal::Times(wanted, other) => times(wanted, "", other, compared),
        Goal::TimesBy(wanted, other, metric) => times(wanted, "", other, metric),
        Goal::TimesPeers(wanted) => times(wanted, " (best peer)", results.best_peer()?, compared),
        Goal::TimesRaw(wanted) => times(wanted, " (best raw)", results.best_raw()?, compared),
        Goal::AtMost(limit, metric) => {
            let (unit, _) = unit(metric);
            Some((format!("{metric} at most {} {unit}", number(limit)), results.spread("corering", metric)?))
        }
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn json(all: &[Results]) -> String {
    let mut rows = Vec::new();
    for results in all {
        for (runtime, rounds) in &results.rows {
            for metric in results.metrics() {
                if let Some(spread) = results.spread(runtime, metric) {
                    rows.push(serde_json::json!({
                        "workload": results.workload.name,
                        "runtime": runtime,
                        "metric": metric,
                        "unit": unit(metric).0,
                        "median": spread.median,
                        "min": spread.min,
                        "max": spread.max,
                        "rounds": rounds.iter().filter(|round| round.contains_key(metric)).count(),
                    }));
                }
            }
        }
        for failure in &results.failures {
            rows.push(serde_json::json!({ "workload": results.workload.name, "failed": failure }));
        }
        for goal in results.workload.goals {
            if let Some((wanted, found)) = reached(results, *goal) {
                rows.push(serde_json::json!({
                    "workload": results.workload.name,
                    "goal": wanted,
                    "median": found.median,
                    "min": found.min,
                    "max": found.max,
                }));
            }
        }
    }
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
