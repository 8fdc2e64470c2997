//! A crawler: `crawl [--pages N] [--at-once N] [--rate N] [--attempts N] [--deadline SECONDS]`.
//!
//! asyncio's scraper (`gather` over `aiohttp` calls, with a `Semaphore`), done with all that it needs: so many fetches
//! at a time, so many a second (which a semaphore does not limit), a deadline for each, retries with growing pauses for
//! what may pass, and failures that are kept and shown instead of ending the rest.
//!
//! It crawls a small site that it serves itself, of which some pages are slow, some fail at first and some always.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::net::{TcpListener, TcpStream};
use corering::sync::{RateLimiter, Semaphore};
use corering::task::JoinSet;
use corering::time::{Duration, Instant, sleep, timeout};

/// Crawls a site that it serves itself, and says what it found and what failed.
#[derive(Parser)]
struct Arguments {
    /// How many pages the site has.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pages: u32,
    /// How many pages are fetched at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// How many fetches begin in a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How often a page is tried.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// How many seconds a fetch may take.
    #[arg(long, default_value = "0.25", value_parser = seconds)]
    deadline: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) if !time.is_zero() => Ok(time),
        Some(_) | None => Err("give a number of seconds above 0".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match corering::run(crawl(arguments)).map_err(io::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has gone, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crawl: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn crawl(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let site = listener.local_addr()?;
    let mut output = io::stdout();
    corering::spawn(serve(listener, arguments.pages)).name("the site");
    writeln!(output, "crawling http://{site}/0, {} at once, {} a second", arguments.at_once, arguments.rate)?;

    let crawler = Rc::new(Crawler {
        site,
        slots: Semaphore::new(arguments.at_once.into()),
        pace: RateLimiter::new(arguments.rate, Duration::from_secs(1)),
        attempts: arguments.attempts,
        deadline: arguments.deadline,
    });
    let start = Instant::now();
    let (mut fetched, mut retries, mut failed) = (0, 0, Vec::new());
    let mut found = BTreeSet::from(["/0".to_owned()]);
    let mut visits = JoinSet::new();
    visits.spawn(crawler.clone().visit("/0".to_owned()));
    // Slots are given first come, first served: pages are fetched in the order in which they were found.
    while let Some(visit) = visits.join_next().await {
        let visit = visit?;
        writeln!(output, "{visit}")?;
        retries += visit.attempts - 1;
        match visit.outcome {
            Ok(links) => {
                fetched += 1;
                for link in links {
                    if found.insert(link.clone()) {
                        visits.spawn(crawler.clone().visit(link));
                    }
                }
            }
            Err(error) => failed.push((visit.path, error)),
        }
    }
    writeln!(
        output,
        "{} pages in {:.2} s: {fetched} fetched, {} failed, {retries} retries",
        found.len(),
        start.elapsed().as_secs_f64(),
        failed.len()
    )?;
    for (path, error) in failed {
        writeln!(output, "  {path}: {error}")?;
    }
    Ok(())
}

struct Crawler {
    site: SocketAddr,
    slots: Semaphore,
    pace: RateLimiter,
    attempts: u32,
    deadline: Duration,
}

/// What became of a page.
struct Visit {
    path: String,
    attempts: u32,
    outcome: io::Result<Vec<String>>,
}

impl Crawler {
    async fn visit(self: Rc<Self>, path: String) -> Visit {
        let mut attempts = 0;
        let mut pause = Duration::from_millis(20);
        loop {
            attempts += 1;
            match self.fetch(&path).await {
                // What is not there will not be there in a moment; all else may pass.
                Err(error) if error.kind() != io::ErrorKind::NotFound && attempts < self.attempts => {
                    sleep(pause).await;
                    pause *= 2;
                }
                outcome => return Visit { path, attempts, outcome },
            }
        }
    }

    /// One attempt. The slot is free again when it is over, so that nobody waits for another's pause.
    async fn fetch(&self, path: &str) -> io::Result<Vec<String>> {
        let _slot = self.slots.acquire().await?;
        self.pace.acquire().await;
        let (status, body) = timeout(self.deadline, get(self.site, path)).await??;
        match status {
            200 => {
                let links = body.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
                Ok(links.map(|(link, _)| link.to_owned()).collect())
            }
            404 => Err(io::ErrorKind::NotFound.into()),
            other => Err(io::Error::other(format!("status {other}"))),
        }
    }
}

/// The least of HTTP: one request on a connection, whose end is the end of the answer.
async fn get(site: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(site).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {site}\r\nConnection: close\r\n\r\n")).await.0?;
    let mut answer = Vec::new();
    while let Some(chunk) = stream.recv().await? {
        answer.extend_from_slice(&chunk);
    }
    let answer = String::from_utf8(answer).map_err(io::Error::other)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tries = if self.attempts == 1 { String::new() } else { format!(", {} attempts", self.attempts) };
        match &self.outcome {
            Ok(links) => write!(f, "  ok      {:9} {} links{tries}", self.path, links.len()),
            Err(error) => write!(f, "  failed  {:9} {error}{tries}", self.path),
        }
    }
}

/// The site. Page `n` links to `n + 1`, `2n + 1` and `2n + 2`.
async fn serve(listener: TcpListener, pages: u32) {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    while let Ok((stream, peer)) = listener.accept().await {
        // A client that gives up is no failure of the site.
        let answer = answer(stream, pages, seen.clone());
        corering::spawn(async { drop(answer.await) }).name(format_args!("visitor {peer}"));
    }
}

async fn answer(mut stream: TcpStream, pages: u32, seen: Rc<RefCell<BTreeSet<u32>>>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Some(chunk) = stream.recv().await? else { return Ok(()) };
        request.extend_from_slice(&chunk);
    }
    let request = String::from_utf8_lossy(&request);
    let number = request.strip_prefix("GET /").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    let (status, body) = match number.filter(|number| *number < pages) {
        None => ("404 Not Found", String::new()),
        Some(number) if number % 17 == 9 => {
            // Says nothing until the client has gone.
            stream.recv().await?;
            return Ok(());
        }
        Some(number) if number % 11 == 5 => ("500 Internal Server Error", String::new()),
        Some(number) if number % 7 == 3 && seen.borrow_mut().insert(number) => {
            ("503 Service Unavailable", String::new())
        }
        Some(number) => {
            if number % 13 == 7 {
                sleep(Duration::from_millis(30)).await;
            }
            let links = [number + 1, 2 * number + 1, 2 * number + 2].into_iter().filter(|link| *link < pages);
            let mut body: String = links.map(|link| format!("<a href=\"/{link}\">{link}</a>\n")).collect();
            if number == 0 {
                body.push_str("<a href=\"/missing\">a dead link</a>\n");
            }
            ("200 OK", body)
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer).await.0
}
