//! A server that keeps keys and values, and speaks the protocol of Redis: `kv [ADDRESS] --log FILE`.
//!
//! It works with `redis-cli` and `redis-benchmark`: GET, SET (EX, PX), DEL, EXISTS, INCR, DECR, INCRBY, EXPIRE, PEXPIRE, PERSIST,
//! TTL, PTTL, DBSIZE, FLUSHALL, PING, ECHO. One core does it all, so no command sees half of another.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own, which takes the time of the day for keys that end"
)]

mod log;
mod protocol;
mod store;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use corering::net::{self, Keepalive, TcpListener, TcpStream};
use corering::sync::Event;
use corering::time::{sleep, timeout};

use crate::log::{Fsync, Log};
use crate::protocol::{Limits, Replies};
use crate::store::{Changed, Store};

/// A server that keeps keys and values, and speaks the protocol of Redis.
///
/// Ends in good order by Ctrl-C or SIGTERM: what was answered is in the log. Exit codes: 0, 1 if it failed, 2 for wrong usage.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:6379")]
    address: String,
    /// Appends every change to this file, and reads it when it starts. Without it, all is in memory alone.
    #[arg(long)]
    log: Option<PathBuf>,
    /// When what was appended is brought to the disk.
    #[arg(long, value_enum, default_value = "everysec", requires = "log")]
    fsync: Fsync,
    /// How many clients are served at once; others wait.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Seconds after which a client is cut off that sends nothing, or takes no replies; 0 waits for ever, as programs that keep
    /// connections for later expect.
    #[arg(long, default_value = "0", value_parser = seconds)]
    timeout: Duration,
    /// MiB that one string may have.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    max_string: u16,
}

/// Replies that are held back at most, before a client has to take them.
const REPLIES: usize = 1 << 20;
/// How long a client may say nothing before it is asked whether it is still there: of one whose machine has gone nobody is told.
const SILENCE: Duration = Duration::from_secs(300);
/// How long clients may go on after the end was asked for.
const DRAIN: Duration = Duration::from_millis(500);

struct Server {
    store: RefCell<Store>,
    log: Option<Log>,
    limits: Limits,
    /// How long a client is waited for.
    patience: Option<Duration>,
    /// A key with an end has been set.
    ends_changed: Event,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = corering::run(run(arguments));
    match result.map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let mut store = Store::new();
    let log = match &arguments.log {
        Some(path) => {
            let log = Log::open(path, arguments.fsync, &mut store).await;
            Some(log.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?)
        }
        None => None,
    };
    let limits = Limits { string: usize::from(arguments.max_string) << 20, ..Limits::default() };
    let patience = Some(arguments.timeout).filter(|limit| !limit.is_zero());
    let server = Rc::new(Server { store: RefCell::new(store), log, limits, patience, ends_changed: Event::new() });
    let listener = TcpListener::bind(&arguments.address).await?;
    println!("listening on {}", listener.local_addr()?);
    println!("{} keys", server.store.borrow().len());

    let writing = corering::spawn({
        let server = server.clone();
        async move {
            match &server.log {
                Some(log) => log.write_on().await,
                None => Ok(()),
            }
        }
    });
    let ending = corering::spawn(remove_what_ends(server.clone())).abort_on_drop();
    let handler = {
        let server = server.clone();
        async move |stream, _peer| serve(stream, &server).await
    };
    let served = net::serve(listener, handler)
        .max_connections(arguments.max_connections as usize)
        .shutdown(async move {
            // If nobody can listen for signals, they end the process as they always do.
            if corering::signal::shutdown().await.is_err() {
                std::future::pending().await
            }
        })
        .drain(DRAIN)
        .await;
    drop(ending);
    if let Some(log) = &server.log {
        log.end();
    }
    writing.await??;
    served
}

/// Removes keys that have ended, some at a time.
async fn remove_what_ends(server: Rc<Server>) {
    loop {
        server.ends_changed.clear();
        let next = server.store.borrow_mut().remove_ended(1000);
        server.log_what_ended();
        match next {
            // Not sooner than that: others have something to do, too.
            Some(next) => drop(timeout(next.max(Duration::from_millis(1)), server.ends_changed.wait()).await),
            None => server.ends_changed.wait().await,
        }
        sleep(Duration::from_millis(1)).await;
    }
}

async fn serve(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_keepalive(Some(Keepalive::new().idle(SILENCE)))?;
    // The beginning of a command whose rest has not come.
    let mut rest: Vec<u8> = Vec::new();
    let (mut parser, mut replies) = (protocol::Parser::default(), Replies(Vec::new()));
    while let Some(chunk) = server.limited("has sent nothing", stream.recv()).await?? {
        let is_cut = !rest.is_empty();
        if is_cut {
            rest.extend_from_slice(&chunk);
        }
        let input: &[u8] = if is_cut { &rest } else { &chunk };
        server.store.borrow().look_at_clock();
        let mut at = 0;
        let mut logged = None;
        loop {
            match parser.parse(&input[at..], server.limits) {
                Ok(Some(len)) => {
                    let whole = &input[at..at + len];
                    logged = server.execute(whole, &parser.words, &mut replies).or(logged);
                    at += len;
                }
                Ok(None) => break,
                Err(malformed) => {
                    replies.error(format_args!("ERR Protocol error: {malformed}"));
                    server.answer(&mut stream, &mut replies, logged).await?;
                    // Where the next command begins, nobody knows. The client may have gone already; that it spoke nonsense is
                    // told all the same, once.
                    drop(stream.shutdown(net::Shutdown::Write).await);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, malformed));
                }
            }
            if replies.0.len() >= REPLIES {
                server.answer(&mut stream, &mut replies, logged.take()).await?;
                server.store.borrow().look_at_clock();
            }
        }
        if is_cut {
            rest.drain(..at);
        } else {
            rest.extend_from_slice(&chunk[at..]);
        }
        if rest.is_empty() && rest.capacity() > REPLIES {
            rest = Vec::new();
        }
        drop(chunk);
        server.answer(&mut stream, &mut replies, logged).await?;
    }
    Ok(())
}

impl Server {
    /// Does a command, and says up to where the log has to be written before it is answered.
    fn execute(&self, whole: &[u8], words: &[std::ops::Range<usize>], replies: &mut Replies) -> Option<u64> {
        // Few commands have more.
        let mut few = [&[][..]; 8];
        let many: Vec<&[u8]>;
        let found = match few.get_mut(..words.len()) {
            Some(few) => {
                for (place, word) in few.iter_mut().zip(words) {
                    *place = &whole[word.clone()];
                }
                &*few
            }
            None => {
                many = words.iter().map(|word| &whole[word.clone()]).collect();
                &many
            }
        };
        let mut otherwise = Vec::new();
        let changed = self.store.borrow_mut().execute(found, replies, &mut otherwise);
        self.log_what_ended();
        match (changed, &self.log) {
            // It may show what others have changed.
            (Changed::Nothing, log) => log.as_ref().map(Log::appended),
            (Changed::AsAsked, Some(log)) => {
                // As an array, whatever the client has typed.
                if whole.first() == Some(&b'*') {
                    return Some(log.append(whole));
                }
                protocol::command(&mut otherwise, found);
                Some(log.append(&otherwise))
            }
            (Changed::Logged, log) => {
                self.ends_changed.set();
                log.as_ref().map(|log| log.append(&otherwise))
            }
            (Changed::AsAsked, None) => None,
        }
    }

    fn log_what_ended(&self) {
        let mut store = self.store.borrow_mut();
        if !store.ended.is_empty() {
            if let Some(log) = &self.log {
                log.append(&store.ended);
            }
            store.ended.clear();
        }
    }

    /// Waits for a client, but not longer than is said.
    async fn limited<F: IntoFuture>(&self, what: &str, wait: F) -> io::Result<F::Output> {
        let Some(limit) = self.patience else { return Ok(wait.await) };
        timeout(limit, wait)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("the client {what} for {limit:?}")))
    }

    /// Sends the replies, once what they acknowledge is as safe as was asked for.
    async fn answer(&self, stream: &mut TcpStream, replies: &mut Replies, logged: Option<u64>) -> io::Result<()> {
        if let (Some(log), Some(up_to)) = (&self.log, logged) {
            log.may_answer(up_to).await?;
        }
        if replies.0.is_empty() {
            return Ok(());
        }
        let sending = stream.write_all(std::mem::take(&mut replies.0));
        let (sent, mut back) = self.limited("has taken no replies", sending).await?;
        back.clear();
        if back.capacity() <= REPLIES {
            replies.0 = back;
        }
        sent
    }
}
