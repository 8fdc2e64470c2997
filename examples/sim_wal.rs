//! A store that keeps its promises: `sim_wal [--seeds N | --seed N] [--forget-sync | --forget-directory] [--real DIR]`.
//!
//! A write-ahead log, a server that acknowledges a write when it is durable, and clients that remember what was
//! acknowledged. Worlds of simulated hosts run them, one world for each seed; the store's machine loses its power at
//! moments that the seed draws, and starts again. What was acknowledged must be there each time, and nothing else than
//! what was sent.
//!
//! ```text
//!   clients --TCP--> connections --queue--> one writer: append a group, sync once --> acknowledge all of the group
//! ```
//!
//! Everything from `Wal` to `client` runs unchanged on the real kernel: `--real DIR` does that.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::buf::IoBufMut;
use corering::fs::{self, File};
use corering::net::{TcpListener, TcpStream};
use corering::sim::World;
use corering::sync::{Receiver, Sender, channel, oneshot};
use corering::time::{Duration, Instant, sleep, timeout};

/// Runs a store in simulated worlds in which its machine loses its power, and checks that it keeps its promises.
#[derive(Parser)]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Only the world of this seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Plants a mistake: writes are acknowledged without having been synced.
    #[arg(long)]
    forget_sync: bool,
    /// Plants a mistake: the directory is not synced when a file of the log was made.
    #[arg(long)]
    forget_directory: bool,
    /// Prints the hash of all that happened, and nothing else.
    #[arg(long)]
    hash: bool,
    /// Runs the same store and clients in this directory, once, on the real kernel.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["seeds", "seed", "hash"])]
    real: Option<PathBuf>,
}

/// What is forgotten on purpose.
#[derive(Clone, Copy)]
struct Mistakes {
    no_sync: bool,
    no_directory_sync: bool,
}

/// The log: files of records in a directory, each file made when the one before it is full.
struct Wal {
    directory: PathBuf,
    mistakes: Mistakes,
    file: File,
    file_number: u32,
    /// Where the next record begins.
    end: u64,
    /// How many records there are, in all files.
    records: u64,
}

/// A file that is as long gets no more records.
const FULL: u64 = 4096;
/// Length and checksum stand before each record.
const HEAD: usize = 4 + CHECKSUM;
const CHECKSUM: usize = 16;

impl Wal {
    /// Opens the log of a directory, and gives back what is in it.
    async fn open(directory: &Path, mistakes: Mistakes) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let mut records = Vec::new();
        let (mut last, mut end, mut is_torn) = (0, 0, false);
        for number in 0.. {
            let path = path_of(directory, number);
            let bytes = match fs::read(&path).await {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let whole = if is_torn { 0 } else { take_whole(&bytes, &mut records) };
            if !is_torn {
                (last, end) = (number, whole);
            }
            if whole < bytes.len() {
                // What comes later must not stand behind it: records to come would bring it to light.
                is_torn = true;
                let file = File::options().write(true).open(&path).await?;
                file.set_len(whole as u64).await?;
                file.sync_all().await?;
            }
        }
        let file = open_file(directory, last, mistakes).await?;
        let (end, count) = (end as u64, records.len() as u64);
        let wal = Self { directory: directory.to_owned(), mistakes, file, file_number: last, end, records: count };
        // It may only be in the page cache, if just the program had ended.
        wal.sync().await?;
        Ok((wal, records))
    }

    /// Appends records; they are durable when it returns. After an error nothing is known, and the log is to be opened
    /// again.
    async fn append(&mut self, records: impl IntoIterator<Item = &[u8]>) -> io::Result<()> {
        if self.end >= FULL {
            self.file_number += 1;
            self.file = open_file(&self.directory, self.file_number, self.mistakes).await?;
            self.end = 0;
        }
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend((record.len() as u32).to_le_bytes());
            bytes.extend(checksum(self.records, record));
            bytes.extend(record);
            self.records += 1;
        }
        let (written, bytes) = self.file.write_all_at(bytes, self.end).await;
        written?;
        self.end += bytes.len() as u64;
        self.sync().await
    }

    async fn sync(&self) -> io::Result<()> {
        if self.mistakes.no_sync { Ok(()) } else { self.file.sync_data().await }
    }
}

fn path_of(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.log"))
}

/// Opens a file of the log. Syncing the file alone would not keep its name.
async fn open_file(directory: &Path, number: u32, mistakes: Mistakes) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).open(path_of(directory, number)).await?;
    if !mistakes.no_directory_sync {
        File::open(directory).await?.sync_all().await?;
    }
    Ok(file)
}

/// The number of a record is part of it, so one of another place is not taken for one of this.
fn checksum(number: u64, record: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(record);
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM]);
    checksum
}

/// Takes the records up to the first that is not whole; returns how many bytes they take.
fn take_whole(bytes: &[u8], records: &mut Vec<Vec<u8>>) -> usize {
    let mut at = 0;
    while let Some(record) = record_at(bytes, at, records.len() as u64) {
        at += HEAD + record.len();
        records.push(record.to_vec());
    }
    at
}

fn record_at(bytes: &[u8], at: usize, number: u64) -> Option<&[u8]> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (stored, rest) = rest.split_first_chunk::<CHECKSUM>()?;
    let record = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (checksum(number, record) == *stored).then_some(record)
}

/// A record that a client wants to be written.
struct Request {
    record: Vec<u8>,
    durable: oneshot::Sender<()>,
}

/// Serves clients until the log fails: then nothing more is acknowledged.
async fn serve(listener: TcpListener, mut wal: Wal) -> io::Result<()> {
    let (requests, queue) = channel(64);
    let accepting = corering::spawn(accept_all(listener, requests));
    let written = write_groups(&queue, &mut wal).await;
    accepting.abort();
    written
}

async fn accept_all(listener: TcpListener, requests: Sender<Request>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let requests = requests.clone();
        // A connection that breaks is the client's concern: it asks again.
        corering::spawn(async move { drop(connection(stream, requests).await) });
    }
}

/// Whatever has been asked for meanwhile is written together, and synced once.
async fn write_groups(queue: &Receiver<Request>, wal: &mut Wal) -> io::Result<()> {
    while let Ok(first) = queue.get().await {
        let mut group = vec![first.into_inner()];
        while let Ok(next) = queue.try_get() {
            group.push(next.into_inner());
        }
        wal.append(group.iter().map(|request| &request.record[..])).await?;
        for request in group {
            // Whoever has gone asks again.
            let _ = request.durable.send(());
        }
    }
    Ok(())
}

/// Records come with their lengths before them; a zero says that one is durable.
async fn connection(mut stream: TcpStream, requests: Sender<Request>) -> io::Result<()> {
    loop {
        let length = read_exactly(&mut stream, 4).await?;
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let record = read_exactly(&mut stream, length).await?;
        let (durable, mut waiting) = oneshot::channel();
        requests.put(Request { record, durable }).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        waiting.recv().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        stream.write_all([0]).await.0?;
    }
}

async fn read_exactly(stream: &mut TcpStream, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let left = count - bytes.len();
        let (read, limited) = stream.read(bytes.limit(left)).await;
        bytes = limited.into_inner();
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}

/// What the clients know: records that they have sent, and those that were acknowledged.
#[derive(Default)]
struct Ledger {
    sent: BTreeSet<Vec<u8>>,
    acknowledged: BTreeSet<Vec<u8>>,
}

impl Ledger {
    /// Compares it with what was found in the log.
    fn check(&self, found: &[Vec<u8>]) -> Result<(), String> {
        let name = |record: &[u8]| String::from_utf8_lossy(&record[..record.len().min(24)]).into_owned();
        let there: BTreeSet<&Vec<u8>> = found.iter().collect();
        if let Some(lost) = self.acknowledged.iter().find(|record| !there.contains(record)) {
            return Err(format!("'{}' was acknowledged and is lost", name(lost)));
        }
        match found.iter().find(|record| !self.sent.contains(*record)) {
            Some(strange) => Err(format!("'{}' was never sent", name(strange))),
            None => Ok(()),
        }
    }
}

/// How many writes each client does.
const WRITES: u32 = 30;
const CLIENTS: u32 = 3;

/// Writes one record after the other, each as often as it takes.
async fn client(number: u32, store: SocketAddr, ledger: Rc<RefCell<Ledger>>) {
    let mut stream = None;
    for write in 0..WRITES {
        let filling = "x".repeat(corering::random() as usize % 400);
        let record = format!("client {number}, write {write}: {filling}").into_bytes();
        ledger.borrow_mut().sent.insert(record.clone());
        while !matches!(timeout(PATIENCE, put(&mut stream, store, &record)).await, Ok(Ok(()))) {
            stream = None;
            sleep(Duration::from_millis(5)).await;
        }
        ledger.borrow_mut().acknowledged.insert(record);
    }
}

/// A machine that has lost its power does not say that it is gone.
const PATIENCE: Duration = Duration::from_millis(50);

async fn put(stream: &mut Option<TcpStream>, store: SocketAddr, record: &[u8]) -> io::Result<()> {
    let stream = match stream {
        Some(stream) => stream,
        None => stream.insert(TcpStream::connect(store).await?),
    };
    let mut message = (record.len() as u32).to_le_bytes().to_vec();
    message.extend(record);
    stream.write_all(message).await.0?;
    read_exactly(stream, 1).await.map(drop)
}

/// The store's program: recovers, checks what it has found, and serves.
async fn store(address: SocketAddr, ledger: Rc<RefCell<Ledger>>, mistakes: Mistakes) -> Result<(), Failure> {
    let (wal, found) = Wal::open(Path::new("/"), mistakes).await?;
    ledger.borrow().check(&found)?;
    serve(TcpListener::bind(address).await?, wal).await?;
    Ok(())
}

type Failure = Box<dyn std::error::Error>;

const PORT: u16 = 7000;

/// What there is to tell of worlds.
#[derive(Default)]
struct Tally {
    worlds: u64,
    crashes: u64,
    acknowledged: u64,
    hash: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.worlds += other.worlds;
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        // Of a single world it is that world's own.
        self.hash = self.hash.rotate_left(7) ^ other.hash;
    }
}

/// Runs the world of a seed.
///
/// # Panics
///
/// If a promise was broken: then the world has told its last steps.
fn simulate(seed: u64, mistakes: Mistakes) -> Tally {
    let world = World::new(seed);
    let (crashes, acknowledged) = world.run(async |world: World| {
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let machine = world.host("store");
        let address = machine.addr(PORT);
        let known = ledger.clone();
        machine.start(move || store(address, known.clone(), mistakes));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| world.host(&format!("client-{number}")).run(client(number, address, ledger.clone())))
            .collect();
        let mut crashes = 0;
        while ledger.borrow().acknowledged.len() < (CLIENTS * WRITES) as usize {
            sleep(Duration::from_micros(corering::random() % 60_000)).await;
            machine.crash();
            crashes += 1;
            sleep(Duration::from_micros(corering::random() % 10_000)).await;
            machine.restart();
        }
        for client in clients {
            client.await.expect("the clients' machines do not stop");
        }
        machine.crash();
        let found = machine.run(async move { Wal::open(Path::new("/"), mistakes).await.map(|(_, found)| found) });
        let found = found.await.expect("nobody stops it any more").expect("a log that can be read");
        if let Err(broken) = ledger.borrow().check(&found) {
            panic!("{broken}");
        }
        (crashes + 1, ledger.borrow().acknowledged.len() as u64)
    });
    Tally { worlds: 1, crashes, acknowledged, hash: world.trace_hash() }
}

/// Runs the worlds that were asked for, until one fails.
fn simulate_all(arguments: &Arguments, mistakes: Mistakes) -> io::Result<ExitCode> {
    let began = Instant::now();
    let mut tally = Tally::default();
    let seeds = arguments.seed.map_or(0..arguments.seeds, |seed| seed..seed + 1);
    let mut output = io::stdout().lock();
    for seed in seeds {
        let Ok(of_this) = catch_unwind(|| simulate(seed, mistakes)) else {
            let planted = [(mistakes.no_sync, " --forget-sync"), (mistakes.no_directory_sync, " --forget-directory")];
            let options: String = planted.iter().filter(|(on, _)| *on).map(|(_, option)| *option).collect();
            writeln!(output, "seed {seed} breaks a promise; to see it again: sim_wal{options} --seed {seed}")?;
            return Ok(ExitCode::FAILURE);
        };
        tally.add(&of_this);
    }
    if arguments.hash {
        writeln!(output, "{:016x}", tally.hash)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Tally { worlds, crashes, acknowledged, .. } = tally;
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        output,
        "{worlds} seeds, {crashes} crashes, {acknowledged} acknowledged writes, none lost: {seconds:.1} s"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The same store and clients, on the real kernel.
async fn run_for_real(directory: PathBuf, mistakes: Mistakes) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let (wal, found) = Wal::open(&directory, mistakes).await?;
    let before = found.len();
    ledger.borrow_mut().sent.extend(found);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = corering::spawn(serve(listener, wal));
    let clients = (0..CLIENTS).map(|number| corering::spawn(client(number, address, ledger.clone())));
    for client in clients.collect::<Vec<_>>() {
        client.await?;
    }
    server.abort();
    if let Ok(Err(error)) = server.await {
        return Err(error.into());
    }
    let (_, found) = Wal::open(&directory, mistakes).await?;
    ledger.borrow().check(&found)?;
    let (written, seconds) = (ledger.borrow().acknowledged.len(), began.elapsed().as_secs_f64());
    let place = directory.display();
    writeln!(io::stdout(), "{written} writes acknowledged, {before} found before, in {place}: {seconds:.1} s")?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    let mistakes = Mistakes { no_sync: arguments.forget_sync, no_directory_sync: arguments.forget_directory };
    let ended: Result<ExitCode, Failure> = match arguments.real.take() {
        Some(directory) => {
            corering::run(run_for_real(directory, mistakes)).map_err(Failure::from).and_then(|ended| ended)
        }
        None => simulate_all(&arguments, mistakes).map_err(Failure::from),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("sim_wal: {error}");
        ExitCode::FAILURE
    })
}
