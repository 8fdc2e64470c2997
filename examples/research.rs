//! Asks several sources at once and makes the best of it: `research [WORDS...] [--deadline SECONDS] [--down NAME]...`.
//!
//! asyncio's research agents and API gateways: `gather(return_exceptions=True)` over calls that may fail, be late or
//! not answer at all. Here each part has the tool for it:
//!
//! - all sources at once, each with a deadline, and a result for each: `gather_settled`;
//! - what is needed from every one, or not at all: a `TaskGroup`, where the first failure ends the rest;
//! - any one of several mirrors: `first_ok`; the next only if the one before is slow: `staggered`.
//!
//! The sources are asked by HTTP, through one session. They are servers on loopback ports that the kernel picks, with
//! delays and failures of their own.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::TaskGroup;
use corering::net::client::{Error, Session};
use corering::net::{self, TcpListener};
use corering::task::{first_ok, gather_settled, staggered};
use corering::time::{Duration, Instant, sleep, timeout};

/// Asks some sources, and says what each of them knows.
#[derive(Parser)]
struct Arguments {
    /// What to look for.
    #[arg(default_value = "completion queues")]
    words: Vec<String>,
    /// How many seconds a source has to answer.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    deadline: Duration,
    /// A source that refuses to answer. May be given several times.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(SOURCES.map(|source| source.name)))]
    down: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) | None => Err("give a number of seconds above 0".to_owned()),
    }
}

struct Source {
    name: &'static str,
    /// How long it takes; `None` if it never answers.
    delay: Option<Duration>,
    /// What it knows of anything.
    finds: u64,
}

const fn source(name: &'static str, delay_ms: u64, finds: u64) -> Source {
    Source { name, delay: Some(Duration::from_millis(delay_ms)), finds }
}

const SOURCES: [Source; 6] = [
    source("archive", 20, 12),
    source("library", 40, 7),
    source("forum", 60, 31),
    source("mirror-a", 300, 5),
    source("mirror-b", 30, 5),
    Source { name: "oracle", delay: None, finds: 1 },
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match corering::run(research(arguments)).map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has gone, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("research: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn research(arguments: Arguments) -> io::Result<()> {
    let question: Rc<str> = arguments.words.join(" ").into();
    let deadline = arguments.deadline;
    let session = Session::new();
    let mut sources = Vec::new();
    for source in SOURCES {
        let down = arguments.down.iter().any(|name| name == source.name);
        sources.push(start(source, down, session.clone()).await?);
    }
    let mut output = io::stdout();

    writeln!(output, "everybody at once, {} ms for each", deadline.as_millis())?;
    let start = Instant::now();
    let answers = gather_settled(sources.iter().map(async |source| {
        // The first question mark is for the deadline, the second for what the source says.
        let finds = timeout(deadline, source.ask(&question)).await??;
        Ok::<_, io::Error>((finds, start.elapsed()))
    }))
    .await;
    let (mut sum, mut failed) = (0, Vec::new());
    for (source, answer) in sources.iter().zip(answers) {
        match answer {
            Ok((finds, after)) => {
                writeln!(output, "  {:9} {finds:3} finds after {:3} ms", source.name, after.as_millis())?;
                sum += finds;
            }
            Err(error) => failed.push((source.name, error)),
        }
    }
    for (name, error) in &failed {
        writeln!(output, "  {name:9} failed: {error}")?;
    }
    writeln!(output, "  {sum} finds from {} of {} sources", sources.len() - failed.len(), sources.len())?;

    writeln!(output, "archive and library, both or none")?;
    let both = TaskGroup::scope(async |group| {
        let archive = group.spawn(sources[0].clone().asked(question.clone())).name("archive");
        let library = group.spawn(sources[1].clone().asked(question.clone())).name("library");
        // A handle gives its value, or says that the task failed: then the group has the error, and ends here.
        Ok(archive.await? + library.await?)
    });
    // Two errors: the time may be over, and then the group has been cancelled; or something in it has failed.
    match timeout(deadline, both).await {
        Ok(Ok(finds)) => writeln!(output, "  {finds} finds")?,
        Ok(Err(error)) => {
            for failure in &error {
                let task = failure.task().and_then(|task| task.name()).unwrap_or("the body");
                writeln!(output, "  failed: {task}: {}", failure.error())?;
            }
        }
        Err(late) => writeln!(output, "  failed: {late}")?,
    }

    let mirrors = &sources[3..5];
    writeln!(output, "the faster of two mirrors")?;
    let start = Instant::now();
    let fastest = first_ok(mirrors.iter().map(|mirror| mirror.ask_and_tell(&question)));
    tell(&mut output, start, timeout(deadline, fastest).await)?;

    writeln!(output, "the second mirror only if the first has not answered within 50 ms")?;
    let start = Instant::now();
    let hedged = staggered(Duration::from_millis(50), mirrors.iter().map(|mirror| mirror.ask_and_tell(&question)));
    tell(&mut output, start, timeout(deadline, hedged).await)
}

/// Says which mirror answered, or why none did.
fn tell<E: Display, L: Display>(
    output: &mut impl Write,
    start: Instant,
    answer: Result<Result<(&str, u64), E>, L>,
) -> io::Result<()> {
    match answer {
        Ok(Ok((name, finds))) => {
            writeln!(output, "  {finds} finds from {name} after {} ms", start.elapsed().as_millis())
        }
        Ok(Err(error)) => writeln!(output, "  failed: {error}"),
        Err(late) => writeln!(output, "  failed: {late}"),
    }
}

/// A source that can be asked.
#[derive(Clone)]
struct Asked {
    name: &'static str,
    url: String,
    session: Session,
}

impl Asked {
    /// A number, or what is wrong. Dropped, it takes its connection along; the session makes others.
    async fn ask(&self, question: &str) -> Result<u64, Error> {
        self.session.get(&self.url).query([("question", question)]).send().await?.error_for_status()?.json().await
    }

    /// As [`ask`](Self::ask), for a task, which borrows nothing.
    async fn asked(self, question: Rc<str>) -> io::Result<u64> {
        Ok(self.ask(&question).await?)
    }

    async fn ask_and_tell(&self, question: &str) -> Result<(&'static str, u64), Error> {
        Ok((self.name, self.ask(question).await?))
    }
}

/// Starts the server of a source.
async fn start(source: Source, down: bool, session: Session) -> io::Result<Asked> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let asked = Asked { name: source.name, url: format!("http://{}/{}", listener.local_addr()?, source.name), session };
    let Source { name, delay, finds } = source;
    let server = net::serve(listener, async move |mut stream, _peer| {
        let mut request = Vec::new();
        while let Some(chunk) = stream.recv().await? {
            request.extend_from_slice(&chunk);
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            request.clear();
            let (status, body) = match delay {
                _ if down => ("503 Service Unavailable", "come back later".to_owned()),
                Some(delay) => {
                    sleep(delay).await;
                    ("200 OK", finds.to_string())
                }
                // Nothing comes until the client goes.
                None => continue,
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer).await.0?;
        }
        Ok(())
    });
    corering::spawn(server.into_future()).name(name);
    Ok(asked)
}
