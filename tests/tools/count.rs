//! `count`: what wc and du say.

use std::fs;
use std::process::Stdio;

use crate::common::{end_of, folder, other, output_of, text, tool};
use crate::trees::{add_special, files, lines, plainly, planted};

#[test]
fn every_column_is_what_wc_counts() {
    let folder = planted();
    let tree = folder.path().join("tree");
    // wc prints what cannot be in a line in a way of its own.
    fs::remove_file(tree.join("new\nline and \\ backslash\r")).expect("removed");
    for options in [&[][..], &["-l"], &["-w"], &["-c"], &["-m"], &["-L"], &["-lwcmL"]] {
        let Some(mut count) = tool("count") else { return };
        let Some(mut wc) = other("wc") else { return };
        let ours = end_of(plainly(&mut count).args(options).args(files(&tree)));
        let theirs = end_of(plainly(&mut wc).args(options).args(files(&tree)));
        assert_eq!(text(&ours.stderr), "");
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "with {options:?}");
    }
}

#[test]
fn characters_are_those_of_the_locale() {
    let folder = folder();
    // Whole ones, cut ones, wrong ones, and some that stand across what is looked at together.
    let mut bytes = "línea ünd 日本 \u{a0}\u{2003}x\n".repeat(20_000).into_bytes();
    bytes.extend_from_slice(b"\xff\xc3 \xe2\x82 \xed\xa0\x80 \xf0\x9f\x98\x80\xf0\x9f\x98");
    fs::write(folder.path().join("file"), bytes).expect("written");
    for options in ["-m", "-w", "-L", "-lwcmL"] {
        let Some(mut count) = tool("count") else { return };
        let Some(mut wc) = other("wc") else { return };
        let path = folder.path().join("file");
        let ours = end_of(count.env("LC_ALL", "C.UTF-8").arg(options).arg(&path));
        let theirs = end_of(wc.env("LC_ALL", "C.UTF-8").arg(options).arg(&path));
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "with {options}");
    }
}

#[test]
fn the_room_of_each_folder_is_what_du_finds() {
    let folder = planted();
    let Some(()) = add_special(&folder.path().join("tree")) else { return };
    for (ours, theirs) in [(&[][..], &["-s"][..]), (&["--depth", "99"], &[]), (&["-H"], &["-sh"])] {
        let Some(mut count) = tool("count") else { return };
        let Some(mut du) = other("du") else { return };
        let ours = end_of(count.arg("--disk").args(ours).arg(folder.path()));
        let theirs = end_of(du.args(theirs).arg(folder.path()));
        assert_eq!(lines(&ours.stdout), lines(&theirs.stdout));
    }
}

#[test]
fn what_was_counted_below_one_name_is_not_counted_below_another() {
    let folder = planted();
    let arguments = [folder.path().join("tree/deep"), folder.path().join("tree")];
    let Some(mut count) = tool("count") else { return };
    let Some(mut du) = other("du") else { return };
    let ours = end_of(count.arg("--disk").args(&arguments));
    let theirs = end_of(du.arg("-s").args(&arguments));
    assert_eq!(text(&ours.stdout), text(&theirs.stdout));
}

#[test]
fn sums_of_folders_hold_all_that_is_below() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("a/b")).expect("made");
    fs::write(folder.path().join("a/b/file"), "1\n2\n").expect("written");
    fs::write(folder.path().join("a/file"), "3\n").expect("written");
    let Some(mut count) = tool("count") else { return };
    let ended = end_of(count.current_dir(&folder).args(["-l", "--depth", "1", "--json", "a"]));
    let objects: Vec<serde_json::Value> =
        text(&ended.stdout).lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let expected = [serde_json::json!({"path": "a/b", "lines": 2}), serde_json::json!({"path": "a", "lines": 3})];
    assert_eq!(objects, expected);
}

#[test]
fn a_long_file_with_nothing_in_it_needs_no_memory() {
    let folder = folder();
    let path = folder.path().join("sparse");
    fs::File::create(&path).expect("made").set_len(512 << 20).expect("made longer");
    let Some(mut count) = tool("count") else { return };
    let mut child = count.arg("-l").arg(&path).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut most = 0;
    while child.try_wait().expect("its state").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: u64 = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        most = most.max(peak);
    }
    assert_eq!(text(&output_of(child).stdout), format!("0 {}\n", path.display()));
    assert!(most <= 32 * 1024, "{most} KiB");
}
