//! `copy`: what cp leaves behind, and never half of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{end_of, folder, interrupt, other, output_of, text, tool, until};
use crate::trees::{add_special, files, plainly, planted};

fn copy(folder: &Path, arguments: &[&str]) -> Option<Output> {
    Some(end_of(plainly(&mut tool("copy")?).current_dir(folder).args(arguments)))
}

#[track_caller]
fn well(output: &Output) {
    assert_eq!((text(&output.stderr), output.status.code()), (String::new(), Some(0)));
}

/// All that is known of what is below a folder but when it was read.
fn known(folder: &Path) -> Option<String> {
    let format = "%P %y %m %U %G %s %n %T@ %l\\n";
    let found = end_of(other("find")?.current_dir(folder).args([".", "-not", "-type", "d", "-printf", format]));
    let folders = end_of(other("find")?.current_dir(folder).args([".", "-type", "d", "-printf", "%P %m %U %G %T@\\n"]));
    let mut lines: Vec<String> = text(&found.stdout).lines().map(str::to_owned).collect();
    lines.extend(text(&folders.stdout).lines().map(str::to_owned));
    lines.sort();
    Some(lines.join("\n"))
}

#[track_caller]
fn same(one: &Path, other_one: &Path) -> Option<()> {
    let differences = end_of(other("diff")?.args(["-r", "--no-dereference"]).arg(one).arg(other_one));
    assert_eq!((text(&differences.stdout), differences.status.code()), (String::new(), Some(0)));
    Some(())
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a name").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_copied_tree_is_the_same_and_its_holes_are_holes() {
    let folder = planted();
    for options in [&["-r"][..], &["-r", "--verify"], &["-r", "--resume"], &["-r", "--reflink=never", "--jobs", "1"]] {
        let Some(copied) = copy(folder.path(), &[options, &["tree", "copied"]].concat()) else { return };
        well(&copied);
        let Some(()) = same(&folder.path().join("tree"), &folder.path().join("copied")) else { return };
        let room = |name: &str| fs::metadata(folder.path().join(name).join("deep/er/sparse")).expect("there").blocks();
        assert_eq!(room("copied"), room("tree"));
        fs::remove_dir_all(folder.path().join("copied")).expect("removed");
    }
}

#[test]
fn an_archive_keeps_all_that_is_known() {
    let folder = planted();
    let tree = folder.path().join("tree");
    fs::set_permissions(tree.join("text"), fs::Permissions::from_mode(0o4751)).expect("set");
    fs::set_permissions(tree.join("deep/er"), fs::Permissions::from_mode(0o500)).expect("set");
    let Some(copied) = copy(folder.path(), &["-a", "tree", "copied"]) else { return };
    well(&copied);
    assert_eq!(known(&folder.path().join("copied")), known(&tree));
    // A folder that is there is gone into.
    fs::create_dir(folder.path().join("into")).expect("made");
    let Some(copied) = copy(folder.path(), &["-a", "tree", "into"]) else { return };
    well(&copied);
    assert_eq!(known(&folder.path().join("into/tree")), known(&tree));
    for name in ["tree/deep/er", "copied/deep/er", "into/tree/deep/er"] {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o700)).expect("set");
    }
}

#[test]
fn what_is_there_is_left_or_replaced_as_it_was_asked_for() {
    let folder = folder();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let set = |path: &Path, content: &str, seconds: u64| {
        fs::write(path, content).expect("written");
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).expect("a file").set_modified(time).expect("set");
    };
    let cases = [
        (&["--no-clobber"][..], 2, "old"),
        (&["--update"], 1, "old"),
        (&["--update"], 2, "new"),
        (&["--resume"], 1, "old"),
        (&["--resume"], 2, "new"),
        (&["--dry-run"], 2, "old"),
        (&[], 1, "new"),
    ];
    for (options, seconds, expected) in cases {
        set(&to, "old", 1);
        set(&from, "new", seconds);
        let Some(copied) = copy(folder.path(), &[options, &["from", "to"]].concat()) else { return };
        well(&copied);
        assert_eq!(fs::read_to_string(&to).expect("there"), expected, "{options:?}, {seconds}");
        assert_eq!(names(folder.path()), ["from", "to"]);
    }
}

#[test]
fn nothing_is_copied_onto_or_into_itself() {
    let folder = planted();
    symlink("tree/text", folder.path().join("link")).expect("a link");
    let refused = [
        (&["tree/text", "tree/text"][..], "both are the same file"),
        (&["tree/text", "tree/deep/same as text"], "both are the same file"),
        (&["tree/text", "link"], "both are the same file"),
        (&["-r", "tree", "tree/deep/new"], "a folder cannot be copied into itself"),
        (&["-r", "tree", "tree"], "a folder cannot be copied into itself"),
        (&["tree", "other"], "copied only with -r"),
        (&["tree/text", "tree/empty", "-T", "tree/deep"], "is no folder"),
        (&["-T", "tree/text", "tree/deep"], "it is a folder there"),
    ];
    let before = known(&folder.path().join("tree"));
    for (arguments, reason) in refused {
        let Some(copied) = copy(folder.path(), arguments) else { return };
        assert!(matches!(copied.status.code(), Some(1 | 2)), "{arguments:?}");
        assert!(text(&copied.stderr).contains(reason), "{arguments:?}: {}", text(&copied.stderr));
        assert_eq!(known(&folder.path().join("tree")), before, "{arguments:?}");
    }
}

#[test]
fn special_files_are_reported_and_the_rest_is_copied() {
    let folder = planted();
    let Some(()) = add_special(&folder.path().join("tree")) else { return };
    let Some(copied) = copy(folder.path(), &["-r", "tree", "copied"]) else { return };
    let stderr = text(&copied.stderr);
    assert_eq!((stderr.lines().count(), copied.status.code()), (2, Some(1)), "{stderr}");
    fs::remove_file(folder.path().join("tree/deep/pipe")).expect("removed");
    fs::remove_file(folder.path().join("tree/s")).expect("removed");
    same(&folder.path().join("tree"), &folder.path().join("copied"));
}

#[test]
fn what_says_that_it_is_empty_is_copied_whole() {
    let folder = folder();
    let Some(copied) = copy(folder.path(), &["/proc/version", "version"]) else { return };
    well(&copied);
    let version = fs::read("/proc/version").expect("there");
    assert_eq!(fs::read(folder.path().join("version")).expect("there"), version);
}

/// Old and new contents of the same length, so that a mixture is seen.
fn old_and_new(folder: &Path) -> [Vec<u8>; 2] {
    let contents = [vec![b'o'; 24 << 20], vec![b'n'; 24 << 20]];
    fs::write(folder.join("from"), &contents[1]).expect("written");
    contents
}

/// So many copies are killed.
const KILLS: u32 = 200;

/// Lets a copy begin and kills it: some while they start, some while they copy, some when they have ended. False if the
/// tool is not there.
fn kill_a_copy(folder: &Path, round: u32, longest: Duration, arguments: &[&str]) -> bool {
    let Some(mut command) = tool("copy") else { return false };
    let mut child = command.current_dir(folder).args(arguments).spawn().expect("it runs");
    // Spread evenly, in no order.
    let wait = longest.mul_f64(f64::from(round.wrapping_mul(0x9e37_79b1)) / f64::from(u32::MAX));
    let began = Instant::now();
    while began.elapsed() < wait && child.try_wait().expect("its state").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("it is there");
    child.wait().expect("its state");
    true
}

/// How long one takes that is left alone, and a little more.
fn whole_copy(folder: &Path, arguments: &[&str]) -> Option<Duration> {
    let began = Instant::now();
    well(&copy(folder, arguments)?);
    Some(began.elapsed() * 5 / 4)
}

#[test]
fn a_copy_that_is_killed_leaves_the_old_or_the_new_and_never_a_mixture() {
    let folder = folder();
    let [old, new] = [vec![b'o'; 4 << 20], vec![b'n'; 4 << 20]];
    fs::write(folder.path().join("from"), &new).expect("written");
    let Some(longest) = whole_copy(folder.path(), &["from", "to"]) else { return };
    for round in 0..KILLS {
        // What has the name stays, or nothing does.
        let is_there = round % 2 == 0;
        fs::remove_file(folder.path().join("to")).ok();
        if is_there {
            fs::write(folder.path().join("to"), &old).expect("written");
        }
        if !kill_a_copy(folder.path(), round, longest, &["--reflink=never", "from", "to"]) {
            return;
        }
        match fs::read(folder.path().join("to")) {
            Ok(left) => assert!(left == new || is_there && left == old, "round {round}: {} bytes", left.len()),
            Err(error) => assert!(!is_there, "round {round}: {error}"),
        }
        for name in names(folder.path()) {
            if name.starts_with(".to.") && name.ends_with(".copying") {
                fs::remove_file(folder.path().join(name)).expect("removed");
            } else {
                assert!(name == "from" || name == "to", "round {round}: {name}");
            }
        }
    }
}

#[test]
fn a_copied_tree_that_is_killed_has_only_whole_files() {
    let folder = folder();
    let from = folder.path().join("from");
    let content = |number: u32| vec![number as u8; (number as usize * 9_973) % 70_000 + 1];
    for number in 0..60_u32 {
        let inner = from.join(format!("{}/deep", number % 7));
        fs::create_dir_all(&inner).expect("made");
        fs::write(inner.join(number.to_string()), content(number)).expect("written");
    }
    let Some(longest) = whole_copy(folder.path(), &["-r", "from", "whole"]) else { return };
    for round in 0..KILLS / 4 {
        let to = folder.path().join(format!("to {round}"));
        if !kill_a_copy(folder.path(), round, longest, &["-r", "from", to.to_str().expect("text")]) {
            return;
        }
        for path in files(folder.path()).into_iter().filter(|path| path.starts_with(&to)) {
            let name = path.file_name().expect("a file").to_str().expect("text");
            if let Ok(number) = name.parse() {
                assert!(fs::read(&path).expect("there") == content(number), "round {round}: {}", path.display());
            } else {
                assert!(name.starts_with('.') && name.ends_with(".copying"), "round {round}: {name}");
            }
        }
    }
}

#[test]
fn an_interrupted_copy_leaves_nothing_and_a_resumed_one_goes_on() {
    let folder = folder();
    let [old, new] = old_and_new(folder.path());
    fs::write(folder.path().join("to"), &old).expect("written");
    // Long enough for an interrupt in the middle.
    fs::File::options().append(true).open(folder.path().join("from")).expect("a file").set_len(4 << 30).expect("set");
    let begun = |mark: &str| names(folder.path()).iter().any(|name| name.ends_with(mark));
    for (option, mark, left) in [("--reflink=never", ".copying", 2), ("--resume", ".partial", 3)] {
        let Some(mut command) = tool("copy") else { return };
        command.current_dir(&folder).args([option, "--verify", "from", "to"]).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        until("it has begun", || begun(mark) || child.try_wait().expect("its state").is_some());
        interrupt(&child);
        let ended = output_of(child);
        assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
        assert_eq!(names(folder.path()).len(), left, "{:?}", names(folder.path()));
        assert!(fs::read(folder.path().join("to")).expect("there") == old);
    }
    fs::File::options().write(true).open(folder.path().join("from")).expect("a file").set_len(24 << 20).expect("cut");
    let Some(copied) = copy(folder.path(), &["--resume", "from", "to"]) else { return };
    well(&copied);
    assert!(fs::read(folder.path().join("to")).expect("there") == new);
}

#[test]
fn a_new_folder_gets_its_name_with_what_is_whole_when_it_is_interrupted() {
    let folder = folder();
    let from = folder.path().join("from");
    fs::create_dir(&from).expect("made");
    for number in 0..40 {
        fs::write(from.join(number.to_string()), vec![number; 10_000]).expect("written");
    }
    // Long enough for an interrupt in the middle.
    fs::File::create(from.join("long")).expect("made").set_len(4 << 30).expect("set");
    let interrupted = |meanwhile: &dyn Fn()| {
        let mut command = tool("copy")?;
        command.current_dir(&folder).args(["-r", "--verify", "from", "to"]).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let has_begun = || {
            let names = names(folder.path());
            let hidden = names.iter().find(|name| name.starts_with(".to.") && name.ends_with(".copying"));
            hidden.is_some_and(|hidden| folder.path().join(hidden).join("long").exists())
        };
        until("it has begun", || has_begun() || child.try_wait().expect("its state").is_some());
        assert!(!folder.path().join("to").exists());
        meanwhile();
        interrupt(&child);
        let ended = output_of(child);
        assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
        Some(text(&ended.stderr))
    };
    let Some(_) = interrupted(&|| {}) else { return };
    assert_eq!(names(folder.path()), ["from", "to"]);
    for name in names(&folder.path().join("to")) {
        let whole = fs::read(folder.path().join("to").join(&name)).expect("there");
        let number: u8 = name.parse().expect("no other is whole");
        assert!(whole == vec![number; 10_000], "{name}: {} bytes", whole.len());
    }
    // Somebody takes the name meanwhile.
    fs::remove_dir_all(folder.path().join("to")).expect("removed");
    let take = || {
        fs::create_dir(folder.path().join("to")).expect("free");
        fs::write(folder.path().join("to/theirs"), "theirs").expect("written");
    };
    let hidden = names(folder.path()).into_iter().find(|name| name.starts_with(".to."));
    assert_eq!(hidden, None);
    let Some(said) = interrupted(&take) else { return };
    assert!(said.contains("copy: to: what was copied stays in .to."), "{said}");
    assert_eq!(names(&folder.path().join("to")), ["theirs"]);
}

#[test]
fn folders_of_one_name_come_together() {
    let folder = folder();
    for (path, content) in [("a/x/same", "a"), ("a/x/one", "a"), ("b/x/same", "b"), ("b/x/other", "b")] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
    }
    fs::create_dir(folder.path().join("into")).expect("made");
    let Some(copied) = copy(folder.path(), &["-rv", "a/x", "b/x", "into"]) else { return };
    well(&copied);
    assert!(!text(&copied.stdout).contains(".copying"), "{}", text(&copied.stdout));
    assert_eq!(names(&folder.path().join("into/x")), ["one", "other", "same"]);
}

#[test]
fn what_a_resumed_copy_finds_is_not_copied_again() {
    let folder = folder();
    let [_, new] = old_and_new(folder.path());
    let from = fs::metadata(folder.path().join("from")).expect("there");
    let modified = i128::from(from.mtime()) * 1_000_000_000 + i128::from(from.mtime_nsec());
    let partial = format!(".to.{}-{}-{modified:x}.partial", from.ino(), from.len());
    let mut begun = new[..17 << 20].to_vec();
    begun[5] = b'k';
    fs::write(folder.path().join(&partial), &begun).expect("written");
    let Some(copied) = copy(folder.path(), &["--resume", "from", "to"]) else { return };
    well(&copied);
    let there = fs::read(folder.path().join("to")).expect("there");
    assert!(there.len() == new.len() && there[5] == b'k' && there[6..] == new[6..]);
    assert_eq!(names(folder.path()), ["from", "to"]);
}
