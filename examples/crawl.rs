//! A crawler: `crawl [URL] [--pages N] [--at-once N] [--rate N] [--attempts N] [--deadline SECONDS]`.
//!
//! asyncio's scraper (`gather` over `aiohttp` calls, with a `Semaphore`), done with all that it needs: a session that
//! keeps its connections, so many fetches at a time, so many a second (which a semaphore does not limit), a deadline
//! for each, retries with growing pauses for what may pass, and failures that are kept and shown instead of ending
//! the rest.
//!
//! It follows the links of a host, from the page that it is given, and goes to no other host. Without one, it crawls
//! a small site that it serves itself, of which some pages are slow, some fail at first and some always. Ctrl-C ends
//! it with what it has by then.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use corering::net::client::{Error, Session, StatusCode, Uri};
use corering::net::{TcpListener, TcpStream};
use corering::select;
use corering::signal::{SignalKind, Signals};
use corering::sync::{RateLimiter, Semaphore};
use corering::task::JoinSet;
use corering::time::{Duration, Instant, sleep};

/// Follows the links of a site, and says what it found and what failed.
#[derive(Parser)]
struct Arguments {
    /// Where to begin: http://HOST/PATH or https://HOST/PATH. If it is left out, a site that is served by this very
    /// program.
    #[arg(value_parser = url)]
    url: Option<Uri>,
    /// How many pages are fetched at most; how many the own site has.
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
    /// How many seconds a fetch may take: a quarter for the own site, and else 20.
    #[arg(long, value_parser = seconds)]
    deadline: Option<Duration>,
}

/// The largest page that is read.
const MAX_PAGE: usize = 8 * 1024 * 1024;
/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("it is no URL: {error}"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err("give http://HOST/PATH or https://HOST/PATH".to_owned()),
    }
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
        Ok(code) => code,
        // Whoever reads has gone, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crawl: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn crawl(arguments: Arguments) -> io::Result<ExitCode> {
    let own = arguments.url.is_none();
    let start_at = match arguments.url {
        Some(url) => url,
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let site = listener.local_addr()?;
            corering::spawn(serve(listener, arguments.pages)).name("the site");
            format!("http://{site}/0").parse().map_err(io::Error::other)?
        }
    };
    let mut interrupted = Signals::new([SignalKind::INTERRUPT])?;
    let mut output = io::stdout();
    writeln!(output, "crawling {start_at}, {} at once, {} a second", arguments.at_once, arguments.rate)?;

    let usual = if own { Duration::from_millis(250) } else { Duration::from_secs(20) };
    let session = Session::builder()
        .limit(arguments.at_once.into())
        .timeout(arguments.deadline.unwrap_or(usual))
        .max_body(MAX_PAGE)
        // A page that has moved is a link like others: it may be at another host.
        .redirects(0)
        .build()?;
    let crawler = Rc::new(Crawler {
        session,
        slots: Semaphore::new(arguments.at_once.into()),
        pace: RateLimiter::new(arguments.rate, Duration::from_secs(1)),
        attempts: arguments.attempts,
    });
    let start = Instant::now();
    let (mut fetched, mut retries, mut failed, mut is_cut) = (0, 0, Vec::new(), false);
    // The own site has a dead link besides.
    let most = arguments.pages as usize + usize::from(own);
    let mut found = BTreeSet::from([start_at.to_string()]);
    let mut visits = JoinSet::new();
    visits.spawn(crawler.clone().visit(start_at.clone()));
    // Slots are given first come, first served: pages are fetched in the order in which they were found.
    loop {
        let visit = select! {
            visit = visits.join_next() => visit,
            _signal = interrupted.next() => {
                is_cut = true;
                break;
            }
        };
        let Some(visit) = visit else { break };
        let visit = visit?;
        writeln!(output, "{visit}")?;
        retries += visit.attempts - 1;
        match visit.outcome {
            Ok(links) => {
                fetched += 1;
                for link in links {
                    if link.authority() == start_at.authority() && found.len() < most && found.insert(link.to_string())
                    {
                        visits.spawn(crawler.clone().visit(link));
                    }
                }
            }
            Err(error) => failed.push((visit.page, error)),
        }
    }
    writeln!(
        output,
        "{} pages in {:.2} s: {fetched} fetched, {} failed, {retries} retries",
        found.len(),
        start.elapsed().as_secs_f64(),
        failed.len()
    )?;
    for (page, error) in failed {
        writeln!(output, "  {}: {error}", page.path())?;
    }
    if is_cut {
        // What is under way is dropped with its tasks.
        writeln!(output, "interrupted: {} pages were not fetched", visits.len())?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(if fetched > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Crawler {
    session: Session,
    slots: Semaphore,
    pace: RateLimiter,
    attempts: u32,
}

/// What became of a page.
struct Visit {
    page: Uri,
    attempts: u32,
    outcome: Result<Vec<Uri>, Error>,
}

impl Crawler {
    async fn visit(self: Rc<Self>, page: Uri) -> Visit {
        let mut attempts = 0;
        let mut pause = Duration::from_millis(20);
        loop {
            attempts += 1;
            match self.fetch(&page).await {
                Err(error) if may_pass(&error) && attempts < self.attempts => {
                    sleep(pause).await;
                    pause *= 2;
                }
                outcome => return Visit { page, attempts, outcome },
            }
        }
    }

    /// One attempt. The slot is free again when it is over, so that nobody waits for another's pause.
    async fn fetch(&self, page: &Uri) -> Result<Vec<Uri>, Error> {
        let _slot = self.slots.acquire().await;
        self.pace.acquire().await;
        let mut response = self.session.get(page).send().await?.error_for_status()?;
        if response.status().is_redirection() {
            return Ok(response.header("location").and_then(|to| response.join(to).ok()).into_iter().collect());
        }
        if !response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            // Its connection goes with it, if there is more than was read.
            return Ok(Vec::new());
        }
        let text = response.text().await?;
        // What cannot be asked, such as mailto:, is none of ours.
        Ok(links(&text).filter_map(|link| response.join(link).ok()).collect())
    }
}

/// Whether it is worth another attempt: what is not there will not be there in a moment.
fn may_pass(error: &Error) -> bool {
    match error.status() {
        Some(status) => status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        None => !matches!(error, Error::Url { .. } | Error::Redirects { .. } | Error::TooLong { .. }),
    }
}

/// What stands in the `href`s of a page. No parser of HTML is needed to find them.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        Some(rest[1..].split_once(quote)?.0)
    })
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tries = if self.attempts == 1 { String::new() } else { format!(", {} attempts", self.attempts) };
        match &self.outcome {
            Ok(links) => write!(f, "  ok      {:9} {} links{tries}", self.page.path(), links.len()),
            Err(error) => write!(f, "  failed  {:9} {error}{tries}", self.page.path()),
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
    loop {
        while !request.ends_with(b"\r\n\r\n") {
            let Some(chunk) = stream.recv().await? else { return Ok(()) };
            request.extend_from_slice(&chunk);
        }
        let head = String::from_utf8_lossy(&request);
        let number = head.strip_prefix("GET /").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        request.clear();
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
                    body.push_str("<a href=\"/missing\">a dead link</a>\n<a href='mailto:us@here'>a letter</a>\n");
                }
                ("200 OK", body)
            }
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head + &body).await.0?;
    }
}
