//! Programs that are measured beside, where they are installed: fio, and b3sum.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Action, Blocks, Done, Order};
use crate::machine;

/// fio works as long as this at least: it needs a while to begin.
const LEAST: Duration = Duration::from_millis(300);

/// fio on a ring, with all that makes it fast: a registered file, registered buffers, no bookkeeping of places and times.
pub(crate) fn fio(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let mode = match (blocks.order, blocks.access.action) {
        (Order::Random, Action::Read) => "randread",
        (Order::Random, Action::Write) => "randwrite",
        (Order::Ascending, Action::Read) => "read",
        (Order::Ascending, Action::Write) => "write",
    };
    let mut command = of_ring(path, blocks.access.direct, blocks.bytes, blocks.depth);
    command.arg(format!("--rw={mode}")).arg(format!("--size={}", blocks.range));
    command.args(["--time_based", &format!("--runtime={}ms", time.max(LEAST).as_millis())]);
    let report = output(&mut command)?;
    // Of a cached write, most is done by kernel workers, which fio does not count.
    let counts_all = blocks.access.action == Action::Read || blocks.access.direct;
    done(&report, blocks.access.action, counts_all).ok_or_else(|| unclear(&report))
}

/// All of a file of that length or so, past the page cache, in order and in large blocks: as fast as the device gives it.
pub(crate) fn fio_whole(directory: &Path, bytes: u64) -> io::Result<Done> {
    // It counts in milliseconds.
    let bytes = bytes.max(256 << 20);
    let path = super::data::file(directory, bytes)?;
    super::data::evict(&path)?;
    let mut command = of_ring(&path, true, 1 << 20, 16);
    command.args(["--rw=read", &format!("--size={bytes}")]);
    let report = output(&mut command)?;
    done(&report, Action::Read, true).ok_or_else(|| unclear(&report))
}

fn of_ring(path: &Path, direct: bool, bytes: usize, depth: usize) -> Command {
    let mut command = Command::new("fio");
    command
        .args(["--name=bench", "--output-format=json", "--ioengine=io_uring", "--fixedbufs", "--registerfiles"])
        .args(["--nonvectored=1", "--invalidate=0", "--norandommap", "--gtod_reduce=1", "--allow_file_create=0"])
        .arg(format!("--filename={}", path.display()))
        .arg(format!("--direct={}", u8::from(direct)))
        .arg(format!("--bs={bytes}"))
        .arg(format!("--iodepth={depth}"));
    command
}

fn output(command: &mut Command) -> io::Result<Value> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("fio: {}{}", output.status, said.trim_end())));
    }
    // It may say something before the report.
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find('{').unwrap_or(0);
    serde_json::from_str(&text[start..]).map_err(io::Error::other)
}

fn unclear(report: &Value) -> io::Error {
    io::Error::other(format!("the report of fio lacks what was looked for: {report}"))
}

fn done(report: &Value, action: Action, counts_all: bool) -> Option<Done> {
    let job = report.get("jobs")?.get(0)?;
    let part = job.get(if action == Action::Read { "read" } else { "write" })?;
    let took = Duration::from_secs_f64(part.get("runtime")?.as_f64()? / 1000.0);
    let percent = job.get("usr_cpu")?.as_f64()? + job.get("sys_cpu")?.as_f64()?;
    Some(Done {
        operations: part.get("total_ios")?.as_u64()?,
        took,
        cpu: counts_all.then(|| took.mul_f64(percent / 100.0)),
        late_us: None,
    })
}

/// `b3sum` on one thread.
pub(crate) fn b3sum(tree: &[(PathBuf, u64)]) -> io::Result<Done> {
    let before = machine::children();
    let start = std::time::Instant::now();
    let mut command = Command::new("b3sum");
    command.args(["--num-threads", "1", "--no-names"]).args(tree.iter().map(|(path, _)| path));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("b3sum: {status}")));
    }
    let cpu = Some(machine::children().saturating_sub(before));
    Ok(Done { operations: tree.len() as u64, took: start.elapsed(), cpu, late_us: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fio_reports_is_understood() {
        let report = serde_json::json!({"jobs": [{
            "read": {"total_ios": 5000, "runtime": 500},
            "usr_cpu": 10.0,
            "sys_cpu": 30.0,
        }]});
        let found = done(&report, Action::Read, true).expect("all is there");
        assert_eq!((found.operations, found.took), (5000, Duration::from_millis(500)));
        assert_eq!(found.cpu, Some(Duration::from_millis(200)));
        assert!(done(&report, Action::Write, true).is_none());
    }
}
