//! `follow`: no line is lost or told twice, whatever becomes of the files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::common::{end_of, folder, interrupt, text, tool, until};

/// A follower at work.
struct Follower {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Follower {
    fn new(root: &Path, arguments: &[&str]) -> Option<Self> {
        let mut command = tool("follow")?;
        let command = command.current_dir(root).args(arguments).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let reader = std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || output.lines().for_each(|line| lines.lock().expect("no panic").push(line.expect("text")))
        });
        Some(Self { child, lines, reader: Some(reader) })
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Waits until it has told that.
    #[track_caller]
    fn has_told(&self, line: &str) {
        until(&format!("{line:?} is told"), || self.lines.lock().expect("no panic").iter().any(|told| told == line));
    }

    /// Waits until it has told so many lines.
    #[track_caller]
    fn has_told_lines(&self, count: usize) {
        until(&format!("{count} lines are told"), || self.lines.lock().expect("no panic").len() >= count);
    }

    /// Interrupts it. What it has told, and what it has said.
    fn end(mut self) -> (Vec<String>, String) {
        interrupt(&self.child);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().expect("a pipe"), &mut said).expect("text");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(130), "{said}");
        self.reader.take().expect("once").join().expect("no panic");
        (self.lines(), said)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("opened")
}

const MANY: usize = 30_000;

/// Writes numbered lines, and lets `rotate` make another file of it every so often.
fn write_many(mut file: File, every: usize, follower: &Follower, mut rotate: impl FnMut(File) -> File) {
    begin(&mut file, follower);
    for number in 1..MANY {
        if number % every == every - 1 {
            file = rotate(file);
        }
        writeln!(file, "line {number}").expect("written");
    }
}

/// Writes the first line and waits until it is told: from now on nothing may be lost.
fn begin(file: &mut File, follower: &Follower) {
    writeln!(file, "line 0").expect("written");
    follower.has_told("line 0");
}

#[track_caller]
fn assert_complete(lines: &[String], said: &str) {
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(
            line,
            &format!("line {number}"),
            "the line before is {:?}; {said}",
            lines.get(number.wrapping_sub(1))
        );
    }
    assert_eq!(lines.len(), MANY, "{said}");
}

/// Moves the older files one number on, and what is written to becomes the first of them. The last of three goes where
/// it stays.
fn shift(root: &Path, turn: usize) {
    let name = |number: usize| match number {
        0 => root.join("log"),
        3 => root.join(format!("kept.{turn}")),
        more => root.join(format!("log.{more}")),
    };
    for number in (0..3).rev() {
        // Not all are there yet.
        let _ = fs::rename(name(number), name(number + 1));
    }
}

#[test]
fn a_log_that_is_rotated_very_often_is_told_whole() {
    for every in [10_000, 500, 20] {
        let folder = folder();
        let root = folder.path();
        let log = root.join("log");
        let first = append(&log);
        let Some(follower) = Follower::new(root, &["log"]) else { return };
        // Everything that is ever written stays: only names change.
        let mut turn = 0;
        write_many(first, every, &follower, |_| {
            turn += 1;
            shift(root, turn);
            append(&log)
        });
        follower.has_told("line 29999");
        let (lines, said) = follower.end();
        assert_complete(&lines, &said);
    }
}

#[test]
fn a_writer_that_goes_on_with_the_old_file_for_a_while_loses_nothing() {
    let folder = folder();
    let root = folder.path();
    let log = root.join("log");
    let mut old = append(&log);
    let Some(follower) = Follower::new(root, &["log"]) else { return };
    begin(&mut old, &follower);
    for number in 1..MANY {
        if number % 3000 == 1000 {
            fs::rename(&log, root.join(format!("log.{number}"))).expect("moved");
        }
        if number % 3000 == 1500 {
            // The new file is there, and the old one is written to.
            drop(append(&log));
        }
        if number % 3000 == 2000 {
            old = append(&log);
        }
        writeln!(old, "line {number}").expect("written");
    }
    follower.has_told("line 29999");
    let (lines, said) = follower.end();
    assert_complete(&lines, &said);
}

#[test]
fn a_log_that_is_copied_and_cut_is_told_whole() {
    let folder = folder();
    let root = folder.path();
    let log = root.join("log");
    let first = append(&log);
    let Some(follower) = Follower::new(root, &["log"]) else { return };
    let mut number = 0;
    write_many(first, 1000, &follower, |file| {
        number += 1000;
        // What is cut before anybody has read it is gone, for every tool.
        follower.has_told(&format!("line {}", number - 2));
        fs::copy(&log, root.join(format!("log.{number}"))).expect("copied");
        file.set_len(0).expect("cut");
        file
    });
    follower.has_told("line 29999");
    let (lines, said) = follower.end();
    assert_complete(&lines, &said);
}

#[test]
fn a_file_that_is_cut_and_at_once_longer_than_before_is_told_from_its_beginning() {
    let folder = folder();
    let root = folder.path();
    let log = root.join("log");
    fs::write(&log, "one\ntwo\n").expect("written");
    let Some(follower) = Follower::new(root, &["log"]) else { return };
    follower.has_told("two");
    fs::write(&log, "three\nfour\nfive\nsix\n").expect("written");
    follower.has_told("six");
    // A writer that goes on where it was leaves a hole.
    let hole = File::options().write(true).open(&log).expect("opened");
    hole.set_len(0).expect("cut");
    std::os::unix::fs::FileExt::write_all_at(&hole, b"seven\n", 5000).expect("written");
    follower.has_told("seven");
    let (lines, _) = follower.end();
    assert_eq!(lines, ["one", "two", "three", "four", "five", "six", "seven"]);
}

#[test]
fn a_link_that_is_switched_is_told_whole() {
    let folder = folder();
    let root = folder.path();
    fs::create_dir(root.join("elsewhere")).expect("made");
    let file = |number: usize| root.join(format!("elsewhere/{number}"));
    let link_to = |number: usize| {
        symlink(file(number), root.join("new")).expect("made");
        fs::rename(root.join("new"), root.join("log")).expect("moved");
    };
    let first = append(&file(0));
    link_to(0);
    let Some(follower) = Follower::new(root, &["log"]) else { return };
    let mut number = 0;
    write_many(first, 2000, &follower, |_| {
        number += 1;
        // What a link has led to is not to be found when it leads elsewhere: it has to be seen in time.
        follower.has_told(&format!("line {}", number * 2000 - 2));
        let next = append(&file(number));
        link_to(number);
        next
    });
    follower.has_told("line 29999");
    let (lines, said) = follower.end();
    assert_complete(&lines, &said);
}

#[test]
fn without_the_kernels_help_it_is_told_as_well() {
    let folder = folder();
    let root = folder.path();
    let log = root.join("log");
    let first = append(&log);
    let Some(follower) = Follower::new(root, &["log", "--poll", "0.01"]) else { return };
    let mut number = 0;
    write_many(first, 5000, &follower, |_| {
        number += 5000;
        follower.has_told(&format!("line {}", number - 2));
        fs::rename(&log, root.join(format!("log.{number}"))).expect("moved");
        append(&log)
    });
    follower.has_told("line 29999");
    let (lines, said) = follower.end();
    assert_complete(&lines, &said);
}

#[test]
fn many_files_of_a_glob_are_told_whole_also_those_that_come_later() {
    let folder = folder();
    let root = folder.path();
    fs::create_dir(root.join("logs")).expect("made");
    let path = |number: usize| root.join(format!("logs/{number}.log"));
    for number in 0..5 {
        drop(append(&path(number)));
    }
    fs::write(path(0), "0 0\n").expect("written");
    let Some(follower) = Follower::new(root, &["logs/*.log", "--json"]) else { return };
    follower.has_told_lines(1);
    let writers: Vec<_> = (0..10)
        .map(|number| {
            let path: PathBuf = path(number);
            std::thread::spawn(move || {
                let mut file = append(&path);
                for line in usize::from(number == 0)..2000 {
                    if line == 1000 {
                        // The old name is one of the glob's, too, and the file is not told twice.
                        let old = if number % 2 == 0 { "old.log" } else { "old" };
                        fs::rename(&path, path.with_extension(old)).expect("moved");
                        file = append(&path);
                    }
                    writeln!(file, "{number} {line}").expect("written");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("no panic");
    }
    follower.has_told_lines(20_000);
    let (lines, said) = follower.end();
    let mut texts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for line in &lines {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object");
        let (number, line) = object["text"].as_str().expect("a text").split_once(' ').expect("two numbers");
        let line = line.parse().expect("a number");
        // In order under each name.
        let before = last.insert(object["path"].to_string(), line);
        assert!(before.is_none_or(|before| before < line), "{before:?} and {line} of {}", object["path"]);
        texts.entry(number.parse().expect("a number")).or_default().push(line);
    }
    assert_eq!(texts.len(), 10, "{said}");
    for (number, mut lines) in texts {
        lines.sort_unstable();
        assert_eq!(lines, (0..2000).collect::<Vec<_>>(), "of {number}; {said}");
    }
}

#[test]
fn the_last_lines_come_first_and_a_process_that_has_ended_ends_it() {
    let folder = folder();
    let root = folder.path();
    let lines: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    fs::write(root.join("log"), &lines).expect("written");
    fs::write(root.join("open"), "a\nb\nc").expect("written");
    fs::write(root.join("empty"), "").expect("written");
    let mut other = std::process::Command::new("true").spawn().expect("runs");
    let pid = other.id().to_string();
    other.wait().expect("it ends");
    for (arguments, expected) in [
        (&["log"][..], (49_990..50_000).map(|number| format!("{number}\n")).collect::<String>()),
        (&["-n", "20000", "log"], (30_000..50_000).map(|number| format!("{number}\n")).collect()),
        (&["-n", "100000", "log"], lines.clone()),
        (&["-n", "+1", "log"], lines.clone()),
        (&["-n", "+49999", "log"], "49998\n49999\n".to_owned()),
        (&["-n", "0", "log"], String::new()),
        (&["-n", "2", "open"], "b\nc".to_owned()),
        // Of several files, what is no line yet is told when nothing more comes.
        (&["-n", "1", "open", "empty", "log"], "==> log <==\n49999\n\n==> open <==\nc\n".to_owned()),
        (&["-n", "1", "--prefix", "open", "log"], "log: 49999\nopen: c\n".to_owned()),
        (&["-n", "1", "--prefix", "-0", "open", "log"], "log\x0049999\nopen\0c\n".to_owned()),
    ] {
        let Some(mut follow) = tool("follow") else { return };
        let output = end_of(follow.current_dir(root).args(arguments).args(["--pid", &pid]));
        let printed = text(&output.stdout);
        assert!(printed == expected, "{arguments:?}: {} of {} bytes", printed.len(), expected.len());
        assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
    }
}

#[test]
fn files_that_are_not_there_yet_are_told_from_their_beginning() {
    let folder = folder();
    let root = folder.path();
    let Some(follower) = Follower::new(root, &["later", "folder/log"]) else { return };
    fs::write(root.join("later"), "one\n").expect("written");
    follower.has_told("one");
    fs::create_dir(root.join("folder")).expect("made");
    fs::write(root.join("folder/log"), "two\n").expect("written");
    follower.has_told("two");
    let (lines, said) = follower.end();
    assert_eq!(lines, ["==> later <==", "one", "", "==> folder/log <==", "two"], "{said}");
}

#[test]
fn it_ends_when_nothing_comes_for_long_and_when_nobody_reads() {
    let folder = folder();
    let root = folder.path();
    fs::write(root.join("log"), "one\n").expect("written");
    let Some(mut follow) = tool("follow") else { return };
    let output = end_of(follow.current_dir(root).args(["log", "--until-idle", "0.05"]));
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("one\n", Some(0)));
    let Some(mut follow) = tool("follow") else { return };
    let follow = follow.current_dir(root).args(["log"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = follow.spawn().expect("runs");
    drop(child.stdout.take());
    let output = crate::common::output_of(child);
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
}
