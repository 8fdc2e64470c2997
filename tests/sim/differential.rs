//! The simulated kernel compared with the real one: the same random programs run on both, and their logs are equal.
//!
//! ```text
//!   seed --> program --+--> the real kernel, in a new folder ----------> log --+
//!                      +--> a world in which nothing is drawn ---------> log --+--> equal, line by line
//!                      +--> a world that draws all that it may draw ---> log --+
//! ```
//!
//! A program draws as it goes, so its log is also its text: what it does next depends on the seed and on what it has
//! logged, on nothing else. Invariant of every program: what a line says does not depend on time or on anything that a
//! kernel may do in either way.

mod datagrams;
mod files;
mod messages;
mod names;
mod operations;
mod sockets;
mod streams;

use std::cell::RefCell;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use corering::sim::World;

/// What each program finds in its folder: paths, and what is in them.
const PREPARED: &[(&str, &[u8])] = &[("full", b"0123456789abcdefghij"), ("dir/within", b"here"), ("dir/sub/deep", b"")];

/// Steps of a program.
const STEPS: u64 = 30;

/// How long a real program may take; a simulated one has an hour.
const LONGEST: Duration = Duration::from_secs(20);

/// What a program runs with.
#[derive(Clone)]
struct Run {
    /// The folder of its files, with no slash behind.
    root: String,
    state: u64,
    log: Rc<RefCell<Vec<String>>>,
}

impl Run {
    fn new(root: &Path, seed: u64) -> Self {
        Self { root: root.display().to_string(), state: seed, log: Rc::default() }
    }

    /// A number below `end` (splitmix64).
    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Some bytes, which say where they begin.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let start = self.below(26) as usize;
        (0..len).map(|at| b'a' + ((start + at + at / 26) % 26) as u8).collect()
    }

    /// One line of the log. The folder is not told.
    fn say(&self, line: impl Into<String>) {
        self.log.borrow_mut().push(line.into().replace(&self.root, "~"));
    }

    fn lines(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

/// A result as it is logged: errors of the system by their number, others by their kind and text.
fn told<T: Debug>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.raw_os_error().map_or_else(|| format!("{:?}: {error}", error.kind()), name_of),
    }
}

fn name_of(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    format!("errno {errno} ({})", text.split(" (").next().unwrap_or_default())
}

/// Bytes as they are logged: few as they are, many by their number and a hash.
fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 24 {
        return format!("'{}'", bytes.escape_ascii());
    }
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{} bytes, {hash:016x}", bytes.len())
}

/// What a read brought, as it is logged.
fn told_read(result: &io::Result<usize>, buffer: &[u8]) -> String {
    match result {
        Ok(count) => shown(&buffer[..*count]),
        Err(_) => told(result),
    }
}

/// A buffer of exactly that room.
fn room(len: usize) -> Box<[u8]> {
    vec![0; len].into()
}

type Program = for<'a> fn(&'a mut Run) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

async fn whole(program: Program, run: &mut Run, longest: Duration) {
    let log = run.clone();
    if corering::timeout(longest, program(run)).await.is_err() {
        log.say("(the program has not ended)");
    }
}

#[allow(clippy::disallowed_methods, reason = "it prepares the folder before the runtime begins")]
fn on_the_real_kernel(program: Program, seed: u64) -> Vec<String> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // What is beside it is nobody else's: programs look at the folder above, too.
    let root = folder.path().join("root");
    for (path, bytes) in PREPARED {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    let mut run = Run::new(&root, seed);
    corering::run(whole(program, &mut run, LONGEST)).expect("a runtime");
    run.lines()
}

fn in_a_world(world: World, program: Program, seed: u64) -> Vec<String> {
    world.run(async |world| {
        let host = world.host("main");
        for (path, bytes) in PREPARED {
            host.write_file(Path::new("/tmp/root").join(path), bytes).expect("a file");
        }
        let mut run = Run::new(Path::new("/tmp/root"), seed);
        whole(program, &mut run, Duration::from_secs(3600)).await;
        run.lines()
    })
}

/// Runs programs of many seeds everywhere. `CORERING_SEEDS` says of how many, `CORERING_SEED` of which one alone.
fn compare(name: &str, seeds: u64, program: Program) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("CORERING_SEED");
    let seeds = only.map_or(0..number("CORERING_SEEDS").unwrap_or(seeds), |seed| seed..seed + 1);
    let mut differences = Vec::new();
    for seed in seeds {
        let real = on_the_real_kernel(program, seed);
        if only.is_some() {
            real.iter().for_each(|line| println!("{line}"));
        }
        let found = difference(seed, "in order", &real, &in_a_world(World::in_order(), program, seed));
        let found = found.or_else(|| difference(seed, "drawn", &real, &in_a_world(World::new(seed), program, seed)));
        differences.extend(found);
    }
    if let Some((first, _)) = differences.first() {
        let others: String = differences[1..].iter().take(20).map(|(_, short)| short.as_str()).collect();
        panic!("{name}: {} programs differ\n{first}\nothers:\n{others}", differences.len());
    }
}

/// The program up to the first line that differs, and the difference alone.
fn difference(seed: u64, world: &str, real: &[String], simulated: &[String]) -> Option<(String, String)> {
    if real == simulated {
        return None;
    }
    let same = real.iter().zip(simulated).take_while(|(real, simulated)| real == simulated).count();
    let line = |log: &[String]| log.get(same).map_or("(nothing)", |line| line).to_owned();
    let short = format!("seed {seed}, world {world}\n  real      {}\n  simulated {}\n", line(real), line(simulated));
    let before: String = real[..same].iter().map(|line| format!("  both      {line}\n")).collect();
    Some((before + &short, short))
}

#[test]
fn files_are_as_on_the_real_kernel() {
    compare("files", 150, |run| Box::pin(files::program(run)));
}

#[test]
fn names_are_as_on_the_real_kernel() {
    compare("names", 200, |run| Box::pin(names::program(run)));
}

#[test]
fn what_is_noted_of_files_is_as_on_the_real_kernel() {
    compare("noted", 100, |run| Box::pin(names::noted(run)));
}

#[test]
fn operations_on_files_are_as_on_the_real_kernel() {
    compare("operations", 150, |run| Box::pin(operations::program(run)));
}

#[test]
fn streams_are_as_on_the_real_kernel() {
    compare("streams", 100, |run| Box::pin(streams::program(run)));
}

#[test]
fn sockets_are_as_on_the_real_kernel() {
    compare("sockets", 100, |run| Box::pin(sockets::program(run)));
}

#[test]
fn messages_are_as_on_the_real_kernel() {
    compare("messages", 100, |run| Box::pin(messages::program(run)));
}

#[test]
fn datagrams_are_as_on_the_real_kernel() {
    compare("datagrams", 100, |run| Box::pin(datagrams::program(run)));
}
