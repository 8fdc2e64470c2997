//! The comparison, run as a program: each workload for a moment, to see that all that was asked for is in the report.
//! How fast anything is, no test says.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test binary, which runs a program")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_corering-bench");

/// How the names of workloads begin that are not about files.
const OTHERS: &[&str] = &[
    "echo",
    "pipelined",
    "udp",
    "stream",
    "accept",
    "idle",
    "http",
    "wrk",
    "kv",
    "spawn",
    "yield",
    "pingpong",
    "timer",
    "sleepers",
];

fn bench(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Each workload that `list` names, with its runtimes; and the runtimes that cannot be measured here.
fn listed() -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let output = bench(&["list"]);
    let list = text(&output.stdout);
    let (workloads, runtimes) = list.split_once("runtimes:\n").expect("both parts");
    let workloads = workloads.lines().skip(1).filter(|line| !line.starts_with("* if")).map(|line| {
        let name = line[1..].split_whitespace().next().expect("a name");
        let (_, names) = line.rsplit_once('(').expect("runtimes at the end");
        (name.to_owned(), names.trim_end_matches(')').split(", ").map(str::to_owned).collect())
    });
    let missing = runtimes.lines().filter_map(|line| {
        let (name, reason) = line.trim().split_once(' ')?;
        (!reason.trim().is_empty()).then(|| name.to_owned())
    });
    (workloads.collect(), missing.collect())
}

/// Runs for a moment, and gives the rows of the report; `None`, with a word about it, if there is no disk to measure on.
fn report(arguments: &[&str]) -> Option<(String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = tempfile::NamedTempFile::new_in(folder).expect("a file");
    let path = file.path().to_str().expect("text").to_owned();
    let directory = folder.to_str().expect("text");
    let moment = ["--seconds", "0.02", "--rounds", "1", "--size", "4", "--tree", "1"];
    let output = bench(&[arguments, &moment, &["--dir", directory, "--json", &path]].concat());
    let said = text(&output.stderr);
    if output.status.code() == Some(2) && said.contains("is in memory") {
        assert!(std::env::var_os("CORERING_REQUIRE_ALL").is_none(), "{said}");
        println!("SKIPPED: {said}");
        return None;
    }
    assert!(output.status.success(), "{said}");
    let rows = std::fs::read_to_string(path).expect("a report");
    Some((text(&output.stdout), serde_json::from_str(&rows).expect("JSON")))
}

#[test]
fn every_file_workload_runs_with_everything_that_is_there() {
    let Some((printed, rows)) = report(&["--files"]) else { return };
    let (workloads, missing) = listed();
    let is_about_files = |name: &str| !OTHERS.iter().any(|other| name.starts_with(other));
    let mut files = 0;
    for (workload, runtimes) in &workloads {
        if !is_about_files(workload) {
            continue;
        }
        files += 1;
        assert!(printed.contains(&format!("\n{workload}: ")), "{workload} in {printed}");
        for runtime in runtimes {
            let found = rows.iter().any(|row| {
                row["workload"] == workload.as_str()
                    && row["runtime"] == runtime.as_str()
                    && row["median"].as_f64().is_some_and(|median| median > 0.0)
            });
            assert_ne!(found, missing.contains(runtime), "{workload} with {runtime}");
        }
    }
    assert!(files > 15, "{files} workloads are about files");
    let with_files = workloads.iter().filter(|(workload, _)| is_about_files(workload)).flat_map(|(_, names)| names);
    for name in with_files.filter(|name| missing.contains(name)) {
        assert!(printed.contains(&format!("without {name}: ")), "it is said that {name} is missing: {printed}");
    }
    assert!(printed.contains("files are on "), "it says where: {printed}");
    assert!(rows.iter().any(|row| row["goal"].is_string()), "goals are among the results");
}

#[test]
fn only_what_is_named_is_measured() {
    let Some((_, rows)) = report(&["read-hot-1", "yield", "--against", "corering,std"]) else { return };
    let mut found: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row["workload"].as_str()?.to_owned(), row["runtime"].as_str()?.to_owned())))
        .collect();
    found.dedup();
    let expected = [("read-hot-1", "corering"), ("read-hot-1", "std"), ("yield", "corering")];
    assert_eq!(found, expected.map(|(workload, runtime)| (workload.to_owned(), runtime.to_owned())));
}

#[test]
fn nothing_is_left_of_the_files_to_measure_with() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let directory = folder.path().to_str().expect("text");
    let output = bench(&["whole-files", "--against", "std", "--seconds", "0.02", "--rounds", "1", "--dir", directory]);
    let is_in_memory = text(&output.stderr).contains("is in memory");
    assert!(output.status.success() || is_in_memory, "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is() {
    for (arguments, reason) in [
        (&["read-warm"][..], "no workload is called 'read-warm'"),
        (&["yield", "--against", "tokyo"], "no runtime is called 'tokyo'"),
        (&["yield", "--seconds", "0"], "give --seconds a number above 0"),
        (&["yield", "--dir", "/nowhere/at/all"], "/nowhere/at/all"),
    ] {
        let output = bench(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    }
    if Path::new("/dev/shm").is_dir() {
        let output = bench(&["small-files", "--dir", "/dev/shm", "--rounds", "1"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("/dev/shm is in memory (tmpfs)"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_server_of_http_is_measured_with_every_way_to_serve_it() {
    let Some((printed, rows)) = report(&["http-16x4k"]) else { return };
    for runtime in ["corering", "corering-behind", "corering-ready", "tokio"] {
        let found = rows.iter().any(|row| {
            row["runtime"] == runtime && row["metric"] == "cpu_ns_per_msg" && row["median"].as_f64() > Some(0.0)
        });
        assert!(found, "{runtime} in {printed}");
    }
}

/// The large ones (thousands of connections) and those that need programs are not run here.
#[test]
fn every_small_network_workload_runs_with_everything_that_is_there() {
    let small = ["echo-1x64", "echo-1x16k", "echo-64x64", "echo-unix", "pipelined", "udp", "stream", "proxy", "accept"];
    let Some((printed, rows)) = report(&small) else { return };
    let (workloads, missing) = listed();
    let is_meant = |name: &str| small.iter().any(|meant| name.starts_with(meant));
    let mut found = 0;
    for (workload, runtimes) in workloads.iter().filter(|(name, _)| is_meant(name)) {
        for runtime in runtimes.iter().filter(|runtime| !missing.contains(runtime)) {
            for metric in ["ops_per_s", "mb_per_s"] {
                found += rows
                    .iter()
                    .filter(|row| row["workload"] == workload.as_str() && row["runtime"] == runtime.as_str())
                    .filter(|row| row["metric"] == metric && row["median"].as_f64() > Some(0.0))
                    .count();
            }
        }
    }
    let wanted: usize = workloads
        .iter()
        .filter(|(name, _)| is_meant(name))
        .map(|(_, runtimes)| runtimes.iter().filter(|runtime| !missing.contains(runtime)).count())
        .sum();
    assert_eq!(found, wanted, "each has a rate: {printed}");
    assert!(rows.iter().any(|row| row["metric"] == "lost_share"), "datagrams that are lost are counted: {printed}");
    assert!(printed.contains("(best raw) by cpu_ns_per_msg"), "goals say what is compared: {printed}");
}

#[test]
fn what_a_workload_needs_and_is_not_there_is_named() {
    // Nothing is installed where nobody looks.
    let output = Command::new(PROGRAM).args(["kv-p1", "wrk-64", "--rounds", "1"]).env("PATH", "").output();
    let output = output.expect("the program runs");
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("without kv-p1: redis-benchmark is not installed"), "{printed}");
    assert!(printed.contains("without wrk-64: wrk is not installed"), "{printed}");
}

#[test]
fn a_measurement_that_fails_is_named_the_rest_goes_on_and_the_exit_code_tells() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).to_str().expect("text");
    // No file may be longer than 64 KiB, and whoever writes one is killed: as a runtime that crashes.
    let script = format!(
        "ulimit -f 64; exec {PROGRAM} seq-read-128k spawn-batch --against std,tokio --seconds 0.02 --rounds 1 --size 4 --dir {folder}"
    );
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    if output.status.code() == Some(2) && said.contains("is in memory") {
        assert!(std::env::var_os("CORERING_REQUIRE_ALL").is_none(), "{said}");
        println!("SKIPPED: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{printed}{said}");
    assert!(printed.contains("FAILED: seq-read-128k with tokio: "), "{printed}");
    assert!(said.contains("measurements failed"), "{said}");
    let (_, rest) = printed.split_once("spawn-batch:").expect("the workload after it");
    assert!(rest.contains("tokio") && !rest.contains("FAILED"), "{rest}");
}
